//! Who may do what: one table of all routes. A route that is not in it answers nobody; a test sees to it that all are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use svc_common::problem::Problem;

use super::limiter::Rate;
use super::role::Caller;
use super::role::Role::{self, Admin, Guest, Kitchen, Manager, Member, Waiter};
use crate::app::App;
use crate::database::ApiError;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody; nobody is asked who they are.
    Open,
    /// Whoever is signed in with one of these roles.
    Roles(&'static [Role]),
}

/// One route's rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) rate: Rate,
}

const EVERYONE: Access = Access::Roles(&[Admin, Manager, Waiter, Kitchen, Member, Guest]);
const PEOPLE: Access = Access::Roles(&[Admin, Manager, Waiter, Kitchen, Member]);
const STAFF: Access = Access::Roles(&[Admin, Manager, Waiter, Kitchen]);
const FLOOR: Access = Access::Roles(&[Admin, Manager, Waiter]);
const TABLES: Access = Access::Roles(&[Admin, Manager, Waiter, Guest]);
const ORDERS: Access = Access::Roles(&[Admin, Manager, Waiter, Kitchen, Guest]);
const MANAGERS: Access = Access::Roles(&[Admin, Manager]);
const OPEN: Access = Access::Open;

const fn rule(method: &'static str, path: &'static str, access: Access, rate: Rate) -> Rule {
    Rule { method, path, access, rate }
}

/// The table.
pub(crate) const RULES: &[Rule] = &[
    rule("GET", "/api/health", OPEN, Rate::Free),
    rule("GET", "/api/health/ready", OPEN, Rate::Free),
    rule("GET", "/api/health/detailed", OPEN, Rate::Free),
    rule("GET", "/metrics", OPEN, Rate::Free),
    rule("GET", "/api/openapi.json", OPEN, Rate::Free),
    rule("GET", "/api/docs", OPEN, Rate::Free),
    rule("POST", "/api/auth/register", OPEN, Rate::SignIn),
    rule("POST", "/api/auth/login", OPEN, Rate::SignIn),
    rule("POST", "/api/auth/refresh", OPEN, Rate::Write),
    rule("POST", "/api/auth/table", OPEN, Rate::SignIn),
    rule("POST", "/api/auth/logout", PEOPLE, Rate::Write),
    rule("POST", "/api/auth/logout-all", PEOPLE, Rate::Write),
    rule("GET", "/api/auth/me", EVERYONE, Rate::Free),
    rule("GET", "/api/categories", OPEN, Rate::Free),
    rule("GET", "/api/products", OPEN, Rate::Free),
    rule("GET", "/api/products/{id}", OPEN, Rate::Free),
    rule("POST", "/api/products", MANAGERS, Rate::Write),
    rule("PUT", "/api/products/{id}", MANAGERS, Rate::Write),
    rule("PATCH", "/api/products/{id}", MANAGERS, Rate::Write),
    rule("DELETE", "/api/products/{id}", MANAGERS, Rate::Write),
    rule("GET", "/api/menu", OPEN, Rate::Free),
    rule("GET", "/api/products/{id}/similar", OPEN, Rate::Search),
    rule("GET", "/api/search", OPEN, Rate::Search),
    rule("POST", "/api/recommendations", EVERYONE, Rate::Search),
    rule("GET", "/api/tables", STAFF, Rate::Free),
    rule("POST", "/api/tables/{id}/sessions", FLOOR, Rate::Write),
    rule("POST", "/api/table-sessions/{id}/close", FLOOR, Rate::Write),
    rule("POST", "/api/tables/{id}/qr", MANAGERS, Rate::Write),
    rule("GET", "/api/orders", ORDERS, Rate::Free),
    rule("POST", "/api/orders", TABLES, Rate::Write),
    rule("GET", "/api/orders/{id}", ORDERS, Rate::Free),
    rule("POST", "/api/orders/{id}/status", STAFF, Rate::Write),
    rule("GET", "/api/notifications", PEOPLE, Rate::Free),
    rule("POST", "/api/notifications/read", PEOPLE, Rate::Write),
];

/// Finds a route's rule. Whoever may `GET` may `HEAD`.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Rule> {
    let method = if method == "HEAD" { "GET" } else { method };
    RULES.iter().find(|rule| rule.method == method && rule.path == path)
}

/// Lets a request pass to its route, or not.
pub(crate) async fn enforce(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    // Without a route, what follows says so.
    let Some(path) = request.extensions().get::<MatchedPath>() else { return next.run(request).await };
    let Some(rule) = find(request.method().as_str(), path.as_str()) else {
        // The router answers a method that the path does not take, with the header `Allow`.
        return next.run(request).await;
    };
    let caller = match rule.access {
        Access::Open => None,
        Access::Roles(roles) => match admit(&app, request.headers(), roles).await {
            Ok(caller) => Some(caller),
            Err(error) => return error.into_response(),
        },
    };
    let subject = caller.map_or_else(|| address(&request), |caller| caller.subject());
    let verdict = app.limiter.ask(rule.rate, &subject).await;
    if let Some(verdict) = &verdict
        && !verdict.allowed
    {
        app.metrics.rate_limited.inc();
        return verdict.refuse();
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    let mut response = next.run(request).await;
    // A handler that has turned the request away itself has told of its own limit.
    if let Some(verdict) = verdict
        && response.status() != StatusCode::TOO_MANY_REQUESTS
    {
        verdict.tell(response.headers_mut());
    }
    response
}

async fn admit(app: &App, headers: &HeaderMap, roles: &[Role]) -> Result<Caller, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized("not_signed_in", "sign in: this takes `Authorization: Bearer …`").into());
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let Some(token) = token else {
        return Err(Problem::unauthorized("invalid_token", "`Authorization` has to be `Bearer …`").into());
    };
    let caller = app.sessions.caller(app, token).await?;
    if roles.contains(&caller.role()) {
        Ok(caller)
    } else {
        Err(Problem::forbidden(format!("the role `{}` may not do this", caller.role().name())).into())
    }
}

/// Where a request comes from, for limits. Headers that a proxy may set are not believed, as anybody may set them.
fn address(request: &Request) -> String {
    let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return "ip:unknown".to_owned();
    };
    match address.ip() {
        IpAddr::V4(ip) => format!("ip:{ip}"),
        // A subscriber gets 2^64 addresses, all of the same first half.
        IpAddr::V6(ip) => format!("ip:{:x}", u128::from(ip) >> 64),
    }
}
