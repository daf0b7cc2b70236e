//! Signing up, in and out.

use reqwest::StatusCode;
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;

use crate::support::{PASSWORD, Servers, SignedIn, TestDatabase, ok, problem, start, start_with};

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

#[tokio::test]
async fn who_signs_up_is_a_member() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let somebody = json!({"email": "Somebody@Example.org", "password": "a long password", "display_name": "Some Body"});
    let signed_up = ok(api.post("/api/auth/register", None, &somebody).await, StatusCode::CREATED).await;
    assert_eq!((&signed_up["user"]["role"], &signed_up["expires_in"]), (&json!("member"), &json!(900)));
    let taken = problem(api.post("/api/auth/register", None, &somebody).await, StatusCode::CONFLICT).await;
    assert_eq!(taken["errors"][0]["pointer"], "/body/email");

    let credentials = json!({"email": "somebody@example.ORG", "password": "a long password"});
    let signed_in = SignedIn::read(&ok(api.post("/api/auth/login", None, &credentials).await, StatusCode::OK).await);
    let me = ok(api.get_as("/api/auth/me", &signed_in.access).await, StatusCode::OK).await;
    assert_eq!((&me["user"]["display_name"], &me["role"]), (&json!("Some Body"), &json!("member")));

    let stored = "SELECT password_hash FROM users WHERE email = 'Somebody@Example.org'";
    let stored: String = database.client().await.query_one(stored, &[]).await.unwrap().get(0);
    assert!(stored.starts_with("$argon2id$"), "{stored}");
    service.stop();
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_look_the_same() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let mut answers = Vec::new();
    for (email, password) in [("waiter@menu.test", "not the password"), ("nobody@menu.test", PASSWORD)] {
        let response = api.post("/api/auth/login", None, &json!({"email": email, "password": password})).await;
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let mut problem = problem(response, UNAUTHORIZED).await;
        problem["request_id"].take();
        answers.push(problem);
    }
    assert_eq!(answers[0], answers[1]);

    let waiter = api.sign_in("waiter").await;
    let client = database.client().await;
    client.batch_execute("UPDATE users SET disabled_at = now() WHERE email = 'waiter@menu.test'").await.unwrap();
    let again = json!({"email": "waiter@menu.test", "password": PASSWORD});
    problem(api.post("/api/auth/login", None, &again).await, UNAUTHORIZED).await;
    problem(api.get_as("/api/auth/me", &waiter.access).await, UNAUTHORIZED).await;
    service.stop();
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_betrays_its_thief() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let refresh = async |token: &str| api.post("/api/auth/refresh", None, &json!({"refresh_token": token})).await;

    let first = api.sign_in("waiter").await;
    let other = api.sign_in("waiter").await;
    let second = SignedIn::read(&ok(refresh(&first.refresh).await, StatusCode::OK).await);
    let third = SignedIn::read(&ok(refresh(&second.refresh).await, StatusCode::OK).await);
    ok(api.get_as("/api/auth/me", &third.access).await, StatusCode::OK).await;

    let reused = problem(refresh(&first.refresh).await, UNAUTHORIZED).await;
    assert_eq!(reused["code"], "refresh_token_reused");
    let ended = problem(refresh(&third.refresh).await, UNAUTHORIZED).await;
    assert_eq!(ended["code"], "invalid_refresh_token");
    problem(api.get_as("/api/auth/me", &third.access).await, UNAUTHORIZED).await;
    // The control: another sign-in of the same person goes on.
    ok(api.get_as("/api/auth/me", &other.access).await, StatusCode::OK).await;
    ok(refresh(&other.refresh).await, StatusCode::OK).await;
    problem(refresh("made up").await, UNAUTHORIZED).await;

    let expiring = api.sign_in("kitchen").await;
    let client = database.client().await;
    client.batch_execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 s'").await.unwrap();
    problem(refresh(&expiring.refresh).await, UNAUTHORIZED).await;
    service.stop();
}

#[tokio::test]
async fn of_two_refreshes_at_once_one_wins() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start_with(&servers, &database, &[("RATE_LIMITS", "off")]);
    for _ in 0..5 {
        let session = api.sign_in("member").await;
        let body = json!({"refresh_token": session.refresh});
        let one = api.post("/api/auth/refresh", None, &body);
        let (one, two) = tokio::join!(one, api.post("/api/auth/refresh", None, &body));
        let mut statuses = [one.status().as_u16(), two.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401]);
        let family = "SELECT count(*) FILTER (WHERE revoked_at IS NULL) FROM refresh_tokens WHERE family = \
                      (SELECT family FROM refresh_tokens ORDER BY issued_at DESC LIMIT 1)";
        let left: i64 = database.client().await.query_one(family, &[]).await.unwrap().get(0);
        assert_eq!(left, 0, "the session is ended");
    }
    service.stop();
}

#[tokio::test]
async fn signing_out_ends_tokens_at_once() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let (here, there) = (api.sign_in("manager").await, api.sign_in("manager").await);
    let me = async |session: &SignedIn| api.get_as("/api/auth/me", &session.access).await.status();
    let out = async |path: &str, session: &SignedIn| {
        ok(api.post(path, Some(&session.access), &json!({})).await, StatusCode::NO_CONTENT).await
    };
    assert_eq!((me(&here).await, me(&there).await), (StatusCode::OK, StatusCode::OK));
    out("/api/auth/logout", &here).await;
    assert_eq!((me(&here).await, me(&there).await), (UNAUTHORIZED, StatusCode::OK));
    let third = api.sign_in("manager").await;
    out("/api/auth/logout-all", &there).await;
    assert_eq!((me(&there).await, me(&third).await), (UNAUTHORIZED, UNAUTHORIZED));
    let refresh = json!({"refresh_token": third.refresh});
    problem(api.post("/api/auth/refresh", None, &refresh).await, UNAUTHORIZED).await;
    assert_eq!(me(&api.sign_in("manager").await).await, StatusCode::OK);
    service.stop();
}

#[tokio::test]
async fn a_new_secret_signs_nobody_out_while_the_old_one_is_known() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (old, new) = ("old-secret-of-at-least-32-characters", "new-secret-of-at-least-32-characters");
    let (service, api) = start_with(&servers, &database, &[("JWT_SECRET", old)]);
    let session = api.sign_in("member").await;
    service.stop();
    for (variables, status) in [
        (&[("JWT_SECRET", new), ("JWT_SECRET_PREVIOUS", old)][..], StatusCode::OK),
        (&[("JWT_SECRET", new)][..], UNAUTHORIZED),
    ] {
        let (service, api) = start_with(&servers, &database, variables);
        assert_eq!(api.get_as("/api/auth/me", &session.access).await.status(), status, "{variables:?}");
        service.stop();
    }
}

#[tokio::test]
async fn passwords_cannot_be_tried_out() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = Servers { database: servers.database.clone(), redis: format!("redis://{away}") };
    // With Redis, without it, and the control: without limits.
    for (servers, limits, allowed) in [(&servers, "on", 5), (&away, "on", 5), (&servers, "off", 7)] {
        let (service, api) = start_with(servers, &database, &[("RATE_LIMITS", limits)]);
        let guess = json!({"email": "Admin@menu.test", "password": "a guess"});
        let mut passed = 0;
        for _ in 0..7 {
            let response = api.post("/api/auth/login", None, &guess).await;
            if response.status() == UNAUTHORIZED {
                passed += 1;
                continue;
            }
            let wait: u32 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=13).contains(&wait), "{wait}");
            assert_eq!(response.headers()["ratelimit-policy"], "\"account\";q=5;w=60");
            problem(response, StatusCode::TOO_MANY_REQUESTS).await;
        }
        assert_eq!(passed, allowed, "limits {limits}, Redis {}", servers.redis);
        service.stop();
    }
}
