// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers, and how a call is refused.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use luo_fleetlock::lock::Refusal;
use luo_fleetlock::status::Done;
use serde::Serialize;

use crate::decide::decision::Decision;
use crate::state::change::Undone;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Seconds after which a host asks again, if nothing else is known; and as many more at most, so
/// that hosts which have asked at the same moment do not do so again.
const AGAIN: i64 = 15;

/// Seconds after which a host asks again that found a server which could not decide.
const SOON: i64 = 5;

/// The longest that a host is told to wait: a policy may change.
const LONGEST: i64 = 300;

/// An answer with a body.
#[must_use]
pub fn with(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let own = [
        ("content-type", kind),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    for (name, value) in own {
        headers.insert(name, hyper::header::HeaderValue::from_static(value));
    }
    answer
}

/// A document.
#[must_use]
pub fn document(of: &impl Serialize) -> Answer {
    match serde_json::to_vec(of) {
        Ok(text) => with(StatusCode::OK, "application/json", text),
        Err(why) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            why.to_string(),
        ),
    }
}

/// Success, as FleetLock has it.
#[must_use]
pub fn done() -> Answer {
    with(StatusCode::OK, "application/json", "{}")
}

/// What was done by hand: whether it has changed anything.
#[must_use]
pub fn by_hand(changed: bool) -> Answer {
    document(&Done { changed })
}

/// Somebody has to say who it is. A browser asks for a name and a password then, of which the
/// token is the password.
#[must_use]
pub fn who_is_it(why: &str) -> Answer {
    let mut answer = refuse(StatusCode::UNAUTHORIZED, "unauthorized", why);
    let asks = "Basic realm=\"luo-fleet: any name, and a token as the password\"";
    let headers = answer.headers_mut();
    headers.insert(
        "www-authenticate",
        hyper::header::HeaderValue::from_static(asks),
    );
    answer
}

/// How a call is refused.
#[must_use]
pub fn refuse(status: StatusCode, kind: &'static str, value: impl Into<String>) -> Answer {
    let refusal = Refusal {
        kind: kind.to_owned(),
        value: value.into(),
    };
    let text = serde_json::to_vec(&refusal).unwrap_or_default();
    with(status, "application/json", text)
}

fn after(mut answer: Answer, seconds: i64) -> Answer {
    answer.headers_mut().insert("retry-after", seconds.into());
    answer
}

/// A decision.
#[must_use]
pub fn decided(decision: &Decision, now: Timestamp) -> Answer {
    if *decision == Decision::Permit {
        return done();
    }
    let until = decision.until().map(|until| until.as_second());
    let left = until.map_or(AGAIN, |until| until.saturating_sub(now.as_second()));
    let answer = refuse(StatusCode::CONFLICT, decision.kind(), decision.to_string());
    // The moment of the answer is as good as chance.
    let spread = now.as_nanosecond().rem_euclid(i128::from(AGAIN + 1));
    let spread = i64::try_from(spread).unwrap_or(0);
    after(answer, left.clamp(1, LONGEST) + spread)
}

/// Nobody can be served: as many are as may be.
#[must_use]
pub fn full() -> Answer {
    let why = "as many connections are served as may be (max_connections); come again";
    after(refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", why), SOON)
}

/// Why something was not done.
#[must_use]
pub fn undone(why: &Undone) -> Answer {
    let (status, kind) = match why {
        Undone::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Undone::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Undone::NoSuchGroup(_) => (StatusCode::BAD_REQUEST, "no_such_group"),
        Undone::NoSuchHost(_) => (StatusCode::NOT_FOUND, "no_such_host"),
        Undone::TooManyHosts(_) => (StatusCode::CONFLICT, "too_many_hosts"),
        Undone::Senseless(_) => (StatusCode::BAD_REQUEST, "senseless"),
    };
    let answer = refuse(status, kind, why.to_string());
    match why {
        Undone::Unavailable(_) | Undone::Busy => after(answer, SOON),
        _ => answer,
    }
}
