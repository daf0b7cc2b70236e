//! Which route does what. Requests are read here, with limits; everything that was sent and is wrong is answered with a
//! problem that says what would be right.

use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::door::Guest;
use super::{Shared, streams};
use crate::control::openapi;
use crate::control::wire::{
    API, API_HEADER, Apply, Command, Down, Kill, MAX_REPLICAS, Problem, Refusal, Reply, Restart, Scale, Status,
};
use crate::name::ServiceName;

/// The longest body that is read. An environment is the longest thing that is sent.
pub(super) const MAX_BODY: usize = 2 * 1024 * 1024;

/// The routes, method and path, as docs/control-api.json has them.
pub const ROUTES: [(&str, &str); 12] = [
    ("get", "/v1/status"),
    ("get", "/v1/events"),
    ("get", "/v1/logs"),
    ("post", "/v1/services/{names}/start"),
    ("post", "/v1/services/{names}/stop"),
    ("post", "/v1/services/{names}/restart"),
    ("post", "/v1/services/{names}/kill"),
    ("post", "/v1/services/{name}/scale"),
    ("post", "/v1/apply"),
    ("post", "/v1/reload"),
    ("post", "/v1/down"),
    ("get", "/v1/openapi.json"),
];

type Answer<T> = Result<Json<T>, Problem>;

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(streams::events))
        .route("/v1/logs", get(streams::logs))
        .route("/v1/services/{names}/{verb}", post(service))
        .route("/v1/apply", post(apply))
        .route("/v1/reload", post(reload))
        .route("/v1/down", post(down))
        .route("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], openapi::json())))
        .fallback(async |method: Method, uri: Uri| no_route(&method, uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Problem::wrong_method(method.as_str(), uri.path())
        })
        .layer(middleware::from_fn(every_request))
        .with_state(shared)
}

/// What goes for every request: the version, and that its connection is not idle meanwhile.
async fn every_request(ConnectInfo(guest): ConnectInfo<Guest>, request: Request, next: Next) -> Response {
    let _busy = guest.busy();
    let mut request = request;
    request.extensions_mut().insert(guest);
    let theirs = request.headers().get(API_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut response = match theirs {
        Some(theirs) if theirs.trim() != API.to_string() => Problem::other_api(&theirs).into_response(),
        Some(_) | None => next.run(request).await,
    };
    response.headers_mut().insert(HeaderName::from_static(API_HEADER), HeaderValue::from(API));
    response
}

fn no_route(method: &Method, path: &str) -> Problem {
    let routes = ROUTES.into_iter().filter(|(of, _)| of.eq_ignore_ascii_case(method.as_str()));
    Problem::no_route(path, routes.map(|(of, path)| format!("there is `{} {path}`", of.to_uppercase())))
}

async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.supervisor.status())
}

/// `POST /v1/services/{names}/{verb}`.
async fn service(
    State(shared): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    body: Body,
) -> Answer<Reply> {
    let Path((names, verb)) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let command = match verb.as_str() {
        "start" => {
            empty(&shared, body).await?;
            // What does not run may not be part of the run yet: the supervisor knows what there is.
            Command::Start { services: several(&names)? }
        }
        "stop" => {
            empty(&shared, body).await?;
            Command::Stop { services: of_the_run(&shared, several(&names)?)? }
        }
        "restart" => {
            let Restart { build } = json(&shared, body).await?.unwrap_or_default();
            Command::Restart { services: of_the_run(&shared, several(&names)?)?, build }
        }
        "kill" => {
            let Kill { signal } = json(&shared, body).await?.unwrap_or_default();
            let services = of_the_run(&shared, several(&names)?)?;
            if services.is_empty() {
                return Err(Problem::bad_request("`*` cannot be killed: name the services"));
            }
            Command::Kill { services, signal }
        }
        "scale" => {
            let Some(Scale { replicas }) = json(&shared, body).await? else {
                return Err(Problem::bad_request("the body is missing: `{\"replicas\":3}`"));
            };
            if replicas > MAX_REPLICAS {
                return Err(Problem::bad_request(format!("{replicas} replicas are too many: {MAX_REPLICAS} at most")));
            }
            let service = one(&names)?;
            of_the_run(&shared, vec![service.clone()])?;
            Command::Scale { service, replicas }
        }
        _ => return Err(no_route(&Method::POST, uri.path())),
    };
    carry_out(&shared, command).await
}

async fn apply(State(shared): State<Shared>, body: Body) -> Answer<Reply> {
    let apply: Apply = json(&shared, body).await?.unwrap_or_default();
    carry_out(&shared, Command::Apply(apply)).await
}

async fn reload(State(shared): State<Shared>, body: Body) -> Answer<Reply> {
    empty(&shared, body).await?;
    carry_out(&shared, Command::Reload).await
}

async fn down(State(shared): State<Shared>, body: Body) -> Answer<Reply> {
    let down: Down = json(&shared, body).await?.unwrap_or_default();
    carry_out(&shared, Command::Down(down)).await
}

/// Has the supervisor carry a command out, to its end even where the client goes away meanwhile.
async fn carry_out(shared: &Shared, command: Command) -> Answer<Reply> {
    match tokio::spawn(shared.supervisor.command(command)).await {
        Ok(reply) => Ok(Json(reply?)),
        Err(_) => Err(Problem::bug("the command was not carried out to its end")),
    }
}

/// The services of `{names}`: names with commas between them, or `*` for all, which is an empty list.
fn several(names: &str) -> Result<Vec<ServiceName>, Problem> {
    if names == "*" {
        return Ok(Vec::new());
    }
    names.split(',').map(one).collect()
}

fn one(name: &str) -> Result<ServiceName, Problem> {
    name.parse().map_err(|error: crate::name::NameError| Problem::bad_request(error.to_string()))
}

/// Makes sure that all of them are part of the run.
fn of_the_run(shared: &Shared, services: Vec<ServiceName>) -> Result<Vec<ServiceName>, Problem> {
    let status = shared.supervisor.status();
    match services.iter().find(|name| status.service(name.as_str()).is_none()) {
        None => Ok(services),
        Some(stranger) => {
            let known = status.services.into_iter().map(|service| service.service).collect();
            Err(Refusal::NoService { name: stranger.to_string(), known }.into())
        }
    }
}

/// Reads a body of JSON, whatever it calls itself; `None` where there is none.
async fn json<T: DeserializeOwned>(shared: &Shared, body: Body) -> Result<Option<T>, Problem> {
    let read = tokio::time::timeout(shared.limits.body, to_bytes(body, MAX_BODY)).await;
    let bytes = read.map_err(|_| Problem::too_slow())?.map_err(|error| {
        let too_long =
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("length limit"));
        if too_long {
            Problem::too_large(MAX_BODY)
        } else {
            Problem::bad_request(format!("the body broke off: {error}"))
        }
    })?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Problem::bad_request(format!("the body is wrong: {error}")))
}

/// Makes sure that nothing was sent, or `{}`, so that a typing error is not taken for an order.
async fn empty(shared: &Shared, body: Body) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    json::<Nothing>(shared, body).await.map(|_| ())
}

/// Reads what stands behind the `?`.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::try_from_uri(uri).map(|Query(query)| query).map_err(|error| Problem::bad_request(error.body_text()))
}
