//! The `postgres` probe: start-up packet, authentication and `SELECT 1` on the target database, over TCP.
//!
//! The official image runs a temporary server while it initialises an empty volume. That server listens on its Unix
//! socket alone, and users, passwords and the database are there before TCP opens. So whatever is said over TCP is said
//! by the real server, and a wrong password or a missing database is final: waiting will not mend it.

use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, Error, NoTls};

use super::opening::Opening;
use super::{ATTEMPT_LIMIT, Attempt, Reply, address, last_line, tcp};

/// Whom to ask, as whom, about what.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) database: &'a str,
}

/// Asks once. `managed` is whether devctl runs the server, which decides what can be done about a wrong password.
pub(super) async fn ask(question: Question<'_>, managed: bool) -> Reply {
    let Question { host, port, .. } = question;
    let deadline = Instant::now() + ATTEMPT_LIMIT;
    let stream = match tcp::connect(host, port, deadline).await {
        Ok(stream) => stream,
        Err(answer) => return Reply::Unreached(answer),
    };
    let (opening, foreign) = Opening::new(stream, begins_an_answer);
    let outcome = timeout_at(deadline, select_one(question, opening)).await;
    Reply::Reached(match (foreign.get(), outcome) {
        (Some(line), _) => Attempt::Never {
            message: format!("{} is not PostgreSQL: it says `{line}`", address(host, port)),
            hints: vec!["set the port that PostgreSQL is published on".to_owned()],
        },
        (None, Ok(Ok(()))) => Attempt::Ready,
        (None, Ok(Err(e))) => judge(&e, question, managed),
        (None, Err(_)) => Attempt::NotYet(tcp::silent(host, port)),
    })
}

/// Asks for the least that proves the whole path: parser, executor and the target database.
async fn select_one(question: Question<'_>, stream: Opening) -> Result<(), Error> {
    let Question { user, password, database, .. } = question;
    let mut config = Config::new();
    config.user(user).password(password).dbname(database).application_name("devctl").ssl_mode(SslMode::Disable);
    let (client, mut connection) = config.connect_raw(stream, NoTls).await?;
    tokio::select! {
        answer = client.simple_query("SELECT 1") => { answer?; }
        // Ends first only when the server goes away; the query could not say more.
        end = &mut connection => end?,
    }
    // Says goodbye, so that the server's log does not tell of a client that vanished. Whether that arrives changes
    // nothing about the answer.
    drop(client);
    let _ = connection.await;
    Ok(())
}

/// Whether a `PostgreSQL` server's first answer to a start-up packet can begin so: authentication request, error, notice
/// or protocol negotiation.
fn begins_an_answer(byte: u8) -> bool {
    matches!(byte, b'R' | b'E' | b'N' | b'v')
}

/// Tells what passes from what does not.
fn judge(error: &Error, question: Question<'_>, managed: bool) -> Attempt {
    match error.as_db_error() {
        Some(e) => judge_answer(e.code(), e.message(), question, managed),
        None => Attempt::NotYet(broken(error, question)),
    }
}

/// Judges what the server itself said. By its code: the text is in the server's language.
fn judge_answer(code: &SqlState, message: &str, question: Question<'_>, managed: bool) -> Attempt {
    let said = last_line(message).unwrap_or_else(|| code.code().to_owned());
    let hints = match *code {
        SqlState::INVALID_PASSWORD => password_hints(question, managed),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => login_hints(question, managed),
        SqlState::INVALID_CATALOG_NAME => database_hints(question, managed),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            let Question { user, database, .. } = question;
            vec![format!("let it in: `GRANT CONNECT ON DATABASE {} TO {}`", identifier(database), identifier(user))]
        }
        // Starting up, shutting down, in recovery, out of connections: that passes, and of the rest nobody knows.
        _ => return Attempt::NotYet(said),
    };
    Attempt::Never { message: said, hints }
}

fn password_hints(question: Question<'_>, managed: bool) -> Vec<String> {
    if managed {
        let set = format!("ALTER USER {} PASSWORD '…'", identifier(question.user));
        vec![
            "the data were made with another password; `POSTGRES_PASSWORD` counts only when they are made".to_owned(),
            format!("set `POSTGRES_PASSWORD` back to what it was; a new one is set by `{set};` in `devctl db shell`"),
            "or start anew: `devctl down -v` (destroys the data)".to_owned(),
        ]
    } else {
        vec![format!("give the password of that server's user `{}`; devctl did not start it", question.user)]
    }
}

fn login_hints(question: Question<'_>, managed: bool) -> Vec<String> {
    let mut hints = vec![format!(
        "the server must know the role `{}` and let it in from this machine (`pg_hba.conf`)",
        question.user
    )];
    if managed {
        hints.push("`POSTGRES_USER` counts only while the volume is empty".to_owned());
        hints.push("to start anew: `devctl down -v` (destroys the data)".to_owned());
    }
    hints
}

fn database_hints(question: Question<'_>, managed: bool) -> Vec<String> {
    let Question { host, port, user, database, .. } = question;
    let port = port.to_string();
    let create = shell_words::join(["createdb", "-h", host, "-p", &port, "-U", user, database]);
    let mut hints = vec![format!("create it: `{create}`")];
    if managed {
        hints.insert(0, "`POSTGRES_DB` counts only while the volume is empty".to_owned());
        hints.push("to start anew: `devctl down -v` (destroys the data)".to_owned());
    }
    hints
}

/// Says how the conversation broke off, where the server said nothing itself.
fn broken(error: &Error, question: Question<'_>) -> String {
    let Question { host, port, .. } = question;
    let source = std::error::Error::source(error);
    match source.map(|e| (e.downcast_ref::<std::io::Error>(), e)) {
        None if error.is_closed() => tcp::closed(host, port),
        None => format!("{}: {error}", address(host, port)),
        Some((Some(io), _)) if is_hang_up(io.kind()) => tcp::closed(host, port),
        Some((_, source)) => format!("{}: {error}: {source}", address(host, port)),
    }
}

/// Whether the peer went away.
pub(super) fn is_hang_up(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// A name as SQL takes it: quoted where it is not a plain one.
fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn question(port: u16) -> Question<'static> {
        Question { host: "127.0.0.1", port, user: "postgres", password: "postgres", database: "menu_ops" }
    }

    /// Has the probe talk to a peer that answers the start-up packet with `answer` and hangs up.
    async fn ask_peer_that_says(answer: &[u8]) -> (Reply, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The whole packet, so that closing does not reset the connection.
            let length = stream.read_u32().await.unwrap();
            let mut packet = vec![0; length as usize - 4];
            stream.read_exact(&mut packet).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let (reply, ()) = tokio::join!(ask(question(port), true), peer);
        (reply, port)
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let judge = |code, message| judge_answer(&SqlState::from_code(code), message, question(5432), true);
        for (code, message) in [
            ("57P03", "the database system is starting up"),
            ("57P03", "the database system is in recovery mode"),
            ("57P01", "terminating connection due to administrator command"),
            ("53300", "sorry, too many clients already"),
            ("XX000", "something else"),
        ] {
            assert_eq!(judge(code, message), Attempt::NotYet(message.to_owned()), "{code}");
        }
        for (code, message) in [
            ("28P01", "password authentication failed for user \"postgres\""),
            ("28000", "role \"postgres\" does not exist"),
            ("3D000", "database \"menu_ops\" does not exist"),
            ("42501", "permission denied for database \"menu_ops\""),
        ] {
            let answer = judge(code, message);
            let Attempt::Never { message: said, hints } = answer else { panic!("{code} is final, got {answer:?}") };
            assert_eq!(said, message, "{code}");
            assert!(!hints.is_empty(), "{code} has hints");
        }
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_is_not_yet_ready() {
        let (reply, port) = ask_peer_that_says(b"").await;
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(tcp::closed("127.0.0.1", port))));
    }

    #[tokio::test]
    async fn a_peer_that_is_not_postgresql_is_named_by_its_words() {
        let (reply, port) = ask_peer_that_says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        let Reply::Reached(Attempt::Never { message, .. }) = reply else { panic!("{reply:?}") };
        assert_eq!(message, format!("127.0.0.1:{port} is not PostgreSQL: it says `HTTP/1.1 400 Bad Request`"));
    }

    #[tokio::test]
    async fn a_peer_that_is_silent_is_given_up_within_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Reads on until the probe is gone.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        };
        let (reply, ()) = tokio::join!(ask(question(port), true), peer);
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(tcp::silent("127.0.0.1", port))));
    }

    #[test]
    fn hints_can_be_typed() {
        let strange = Question { user: "Joe \"x\"", database: "my db", ..question(5432) };
        assert_eq!(
            database_hints(strange, false),
            [r#"create it: `createdb -h 127.0.0.1 -p 5432 -U 'Joe "x"' 'my db'`"#]
        );
        assert!(password_hints(strange, true)[1].contains(r#"ALTER USER "Joe ""x""" PASSWORD '…';"#));
        assert!(password_hints(question(5432), true).iter().any(|hint| hint.contains("devctl down -v")));
        assert!(!password_hints(question(5432), false).iter().any(|hint| hint.contains("down -v")));
    }
}
