//! Rate limits by the generic cell rate algorithm: per subject one time stamp, kept in Redis so that all replicas count
//! together, and here while Redis is away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use svc_common::problem::Problem;

use crate::redis_link::RedisLink;

/// How many subjects are remembered here.
const SUBJECTS: usize = 10_000;

/// The same as [`step`], where all replicas see it. Redis has the clock.
const SCRIPT: &str = "
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local next = due + interval
local room = now + interval * burst - next
if room < 0 then
  return {0, 0, -room}
end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return {1, math.floor(room / interval), 0}
";

/// What a request counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Nothing: reading costs little.
    Free,
    /// A change.
    Write,
    /// A search, or another question that takes the database some work.
    Search,
    /// A sign-in, by address.
    SignIn,
    /// A sign-in, by account: a password must not be tried out from many addresses.
    Account,
}

/// How much of something there may be.
#[derive(Debug, Clone, Copy)]
struct Quota {
    name: &'static str,
    burst: u32,
    window: Duration,
}

impl Rate {
    fn quota(self) -> Option<Quota> {
        let minute = |name, burst| Some(Quota { name, burst, window: Duration::from_mins(1) });
        match self {
            Self::Free => None,
            Self::Write => minute("write", 120),
            Self::Search => minute("search", 240),
            Self::SignIn => minute("sign-in", 20),
            Self::Account => minute("account", 5),
        }
    }
}

impl Quota {
    /// The time that one request uses up.
    fn interval(self) -> Duration {
        self.window / self.burst
    }
}

/// Whether a request may pass, and how many more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    quota: Quota,
    remaining: u32,
    retry_in: Duration,
}

impl Verdict {
    /// Turns the request away.
    pub(crate) fn refuse(&self) -> Response {
        let seconds = u32::try_from(self.retry_in.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let detail = format!("too many requests; try again in {seconds} s");
        let problem = Problem {
            retry_after: Some(seconds),
            ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        };
        let mut response = problem.into_response();
        self.tell(response.headers_mut());
        response
    }

    /// Says how much is left, as draft-ietf-httpapi-ratelimit-headers does.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let Quota { name, burst, window } = self.quota;
        let seconds = self.retry_in.as_secs();
        for (header, value) in [
            ("ratelimit-policy", format!("\"{name}\";q={burst};w={}", window.as_secs())),
            ("ratelimit", format!("\"{name}\";r={};t={seconds}", self.remaining)),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(header), value);
            }
        }
    }
}

/// Counts requests.
pub(crate) struct Limiter {
    redis: RedisLink,
    script: redis::Script,
    local: Mutex<HashMap<String, Instant>>,
    enabled: bool,
}

impl Limiter {
    pub(crate) fn new(redis: RedisLink, enabled: bool) -> Self {
        Self { redis, script: redis::Script::new(SCRIPT), local: Mutex::default(), enabled }
    }

    /// Counts a request; none means that nothing limits it.
    pub(crate) async fn ask(&self, rate: Rate, subject: &str) -> Option<Verdict> {
        let quota = rate.quota().filter(|_| self.enabled)?;
        let key = self.redis.key("rl", &format!("{}:{subject}", quota.name));
        let interval = u64::try_from(quota.interval().as_micros()).unwrap_or(u64::MAX);
        let mut call = self.script.key(&key);
        call.arg(interval).arg(quota.burst);
        let (allowed, remaining, retry_in) = match self.redis.run::<(u8, u32, u64)>(&call).await {
            Some((allowed, remaining, retry)) => (allowed == 1, remaining, Duration::from_micros(retry)),
            None => self.ask_here(key, quota),
        };
        Some(Verdict { allowed, quota, remaining, retry_in })
    }

    fn ask_here(&self, key: String, quota: Quota) -> (bool, u32, Duration) {
        let now = Instant::now();
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= SUBJECTS {
            local.retain(|_, due| *due > now);
        }
        let (due, verdict) = step(local.get(&key).copied(), now, quota);
        // Full of subjects that are all busy: the newest are counted anew each time rather than without bound.
        if local.len() < SUBJECTS || local.contains_key(&key) {
            local.insert(key, due);
        }
        verdict
    }
}

/// One step of the algorithm: the new time stamp, and allowed, remaining, wait.
fn step(due: Option<Instant>, now: Instant, quota: Quota) -> (Instant, (bool, u32, Duration)) {
    let due = due.map_or(now, |due| due.max(now));
    let next = due + quota.interval();
    let limit = now + quota.interval() * quota.burst;
    match limit.checked_duration_since(next) {
        Some(room) => {
            let remaining = room.as_micros() / quota.interval().as_micros().max(1);
            (next, (true, u32::try_from(remaining).unwrap_or(u32::MAX), Duration::ZERO))
        }
        None => (due, (false, 0, next - limit)),
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let quota = Quota { name: "x", burst: 3, window: Duration::from_secs(3) };
        let start = Instant::now();
        let mut due = None;
        let mut ask = |at: u64| {
            let (next, (allowed, remaining, wait)) = step(due, start + Duration::from_millis(at), quota);
            due = Some(next);
            (allowed, remaining, wait.as_millis())
        };
        assert_eq!([ask(0), ask(0), ask(0)], [(true, 2, 0), (true, 1, 0), (true, 0, 0)]);
        assert_eq!([ask(0), ask(400)], [(false, 0, 1000), (false, 0, 600)]);
        assert_eq!([ask(1000), ask(1000)], [(true, 0, 0), (false, 0, 1000)]);
        assert_eq!(ask(60_000), (true, 2, 0), "after a pause the whole burst is there again, and no more");
    }
}
