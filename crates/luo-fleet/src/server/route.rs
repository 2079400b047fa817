// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which call is which, and who may make it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use luo_fleetlock::limits::MAX_BODY;
use luo_fleetlock::lock::{Body, HEADER, HEADER_VALUE, PRE_REBOOT, REPORT, STEADY_STATE};
use luo_fleetlock::report::Ending;
use luo_fleetlock::status::{AUDIT, ByHand, FLEET, Fleet, STATUS};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::answer::{Answer, by_hand, decided, document, done, refuse, undone, who_is_it, with};
use super::metrics::{Metrics, behind};
use super::page::{content_policy, page, unknown};
use super::room::Guest;
use crate::identity::{Caller, Certified, Identities, presented};
use crate::state::audit;
use crate::state::change::Undone;
use crate::state::keeper::{Hand, Keeper};
use crate::view;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a call may take that asks etcd. Hosts give up after 20 seconds, and are to know why.
const ANSWERED: Duration = Duration::from_secs(15);

/// How long somebody may wait for a newer status.
const WATCHED: Duration = Duration::from_secs(30);

/// For how long changes are gathered before they are told.
const TOGETHER: Duration = Duration::from_millis(500);

/// What serves.
pub struct Site {
    /// What does it.
    pub keeper: Arc<Keeper>,
    /// Who speaks.
    pub identities: Identities,
    /// Counters.
    pub metrics: Metrics,
}

/// Why a call is refused before anything is done.
type Refused = Box<Answer>;

/// Such a refusal.
fn refused(status: StatusCode, kind: &'static str, value: impl Into<String>) -> Refused {
    Box::new(refuse(status, kind, value))
}

impl Site {
    /// Serves a request. `certified` is whose certificate the connection has.
    pub async fn serve(&self, request: Request<Incoming>, certified: Certified) -> Answer {
        let served = self.answer(request, certified).await;
        served.unwrap_or_else(|refused| *refused)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        certified: Certified,
    ) -> Result<Answer, Refused> {
        let path = request.uri().path().to_owned();
        if path == "/healthz" {
            return Ok(match self.keeper.mirror.is_fresh() {
                true => with(StatusCode::OK, "text/plain", "ok\n"),
                false => refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "etcd"),
            });
        }
        let caller = self.caller(&request, certified)?;
        match (request.method(), path.as_str()) {
            (&Method::POST, PRE_REBOOT | STEADY_STATE | REPORT) => {
                self.lock(request, &caller, &path).await
            }
            (&Method::POST, path) if path.starts_with(FLEET) => {
                let verb = path.trim_start_matches(FLEET).to_owned();
                self.by_hand(request, &caller, &verb).await
            }
            (&Method::GET, _) => {
                if !caller.may_look() {
                    let why = "only viewers and administrators may look at the fleet";
                    return Err(refused(StatusCode::FORBIDDEN, "forbidden", why));
                }
                self.look(&path, request.uri().query()).await
            }
            _ => Err(refused(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such call",
            )),
        }
    }

    fn caller(&self, request: &Request<Incoming>, certified: Certified) -> Result<Caller, Refused> {
        let header = request.headers().get("authorization");
        if let Some(header) = header {
            let token = header.to_str().ok().and_then(presented);
            let caller = token.and_then(|token| self.identities.by_token(token.trim()));
            let why = "this token is not accepted (any more)";
            return caller.ok_or_else(|| Box::new(who_is_it(why)));
        }
        match certified {
            Certified::By(caller) => Ok(caller),
            Certified::Nobody => {
                let why = "this certificate has no name for DNS, or it is revoked";
                Err(Box::new(who_is_it(why)))
            }
            Certified::No => self
                .identities
                .anybody()
                .ok_or_else(|| Box::new(who_is_it("a client certificate or a token is wanted"))),
        }
    }

    async fn lock(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
        path: &str,
    ) -> Result<Answer, Refused> {
        let began = Instant::now();
        intended(&request)?;
        let body: Body = read(request).await?;
        let who = &body.client_params;
        let bad = |why: &str| refused(StatusCode::BAD_REQUEST, "bad_request", why);
        who.check().map_err(bad)?;
        if !caller.is(&who.id) {
            let why = format!("{} may not speak for {}", caller.name(), who.id);
            return Err(refused(StatusCode::FORBIDDEN, "forbidden", why));
        }
        let failed = |why: Undone| Box::new(undone(&why));
        match path {
            PRE_REBOOT => {
                let asked = in_time(self.keeper.ask(who, body.liveupdate.as_ref())).await;
                let kind = asked.as_ref().map_or("error", |decision| decision.kind());
                self.metrics.decided(kind, began.elapsed().as_secs_f64());
                Ok(decided(&asked.map_err(failed)?, self.keeper.now()))
            }
            STEADY_STATE => {
                let report = body.liveupdate_outcome;
                if report
                    .as_ref()
                    .is_some_and(|report| report.ending == Ending::Failed)
                {
                    return Err(bad("a host that failed keeps its slot: report it"));
                }
                let ended = in_time(self.keeper.steady(who, report)).await;
                ended.map_err(failed)?;
                Ok(done())
            }
            _ => {
                // Without a report it says no more than that the host is there.
                if let Some(report) = body.liveupdate_outcome
                    && report.ending == Ending::Failed
                {
                    let ended = in_time(self.keeper.fail(who, report)).await;
                    ended.map_err(failed)?;
                }
                Ok(done())
            }
        }
    }

    async fn by_hand(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
        verb: &str,
    ) -> Result<Answer, Refused> {
        intended(&request)?;
        if caller.role != crate::identity::Role::Admin {
            let why = "only administrators act by hand";
            return Err(refused(StatusCode::FORBIDDEN, "forbidden", why));
        }
        let hand = match verb {
            "hold" => Hand::Hold,
            "resume" => Hand::Resume,
            "release" => Hand::Release,
            "forget" => Hand::Forget,
            _ => return Err(refused(StatusCode::NOT_FOUND, "not_found", "no such verb")),
        };
        let ByHand { host, reason } = read(request).await?;
        let by = caller.name();
        let changed = in_time(self.keeper.by_hand(&hand, &host, &reason, by)).await;
        let changed = changed.map_err(|why| Box::new(undone(&why)))?;
        Ok(by_hand(changed))
    }

    async fn look(&self, path: &str, query: Option<&str>) -> Result<Answer, Refused> {
        let mirror = &self.keeper.mirror;
        // What is too old is not told: it would look as if it were so.
        let fleet = || -> Result<Fleet, Undone> {
            self.keeper.fresh()?;
            Ok(view::fleet(&mirror.known(), self.keeper.now()))
        };
        match path {
            "/" => {
                let (status, html) = match fleet() {
                    Ok(fleet) => (StatusCode::OK, page(&fleet)),
                    Err(why) => (StatusCode::SERVICE_UNAVAILABLE, unknown(&why)),
                };
                let mut answer = with(status, "text/html; charset=utf-8", html);
                if let Ok(policy) = content_policy().parse() {
                    let headers = answer.headers_mut();
                    headers.insert("content-security-policy", policy);
                }
                Ok(answer)
            }
            "/metrics" => {
                let lag = behind(self.keeper.now(), mirror.known().ledger.at_ms);
                let text = self.metrics.text(fleet().ok().as_ref(), lag);
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                Ok(with(StatusCode::OK, kind, text))
            }
            STATUS => {
                let after = query.and_then(|query| query.strip_prefix("after="));
                if let Some(after) = after.and_then(|after| after.parse::<i64>().ok()) {
                    let mut revisions = mirror.revisions();
                    let newer = revisions.wait_for(|revision| *revision > after);
                    // Whoever has waited for long enough is told how it stands all the same.
                    let _ = timeout(WATCHED, newer).await;
                    // Many changes that come together are told together.
                    sleep(TOGETHER).await;
                }
                match fleet() {
                    Ok(fleet) => Ok(document(&fleet)),
                    Err(why) => Err(Box::new(undone(&why))),
                }
            }
            AUDIT => {
                let lines = audit::last(self.keeper.etcd(), self.keeper.keys());
                let lines = in_time(async { Ok(lines.await?) }).await;
                let lines = lines.map_err(|why| Box::new(undone(&why)))?;
                Ok(document(&lines))
            }
            _ => Err(refused(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such page",
            )),
        }
    }
}

/// What comes of something, if it comes in time. Who has waited for its turn until then gives it up;
/// a change that etcd has been asked for may be made all the same, and whoever asks again is told so.
async fn in_time<T>(done: impl Future<Output = Result<T, Undone>>) -> Result<T, Undone> {
    timeout(ANSWERED, done).await.unwrap_or_else(|_| {
        let why = anyhow::anyhow!("nothing has come of it in {} seconds", ANSWERED.as_secs());
        Err(Undone::Unavailable(why))
    })
}

/// Each call that changes something has the protocol's header.
fn intended(request: &Request<Incoming>) -> Result<(), Refused> {
    let header = request.headers().get(HEADER);
    if header.is_some_and(|value| value == HEADER_VALUE) {
        return Ok(());
    }
    let why = format!("the header {HEADER}: {HEADER_VALUE} is missing");
    Err(refused(StatusCode::BAD_REQUEST, "bad_request", why))
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    let guest = request.extensions().get::<Arc<Guest>>().cloned();
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let body = timeout(PATIENCE, body).await.map_err(|_| {
        let why = "the body did not come in time";
        refused(StatusCode::REQUEST_TIMEOUT, "bad_request", why)
    })?;
    let body = body.map_err(|_| {
        let why = format!("a body has {MAX_BODY} bytes at most");
        refused(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", why)
    })?;
    if let Some(guest) = guest {
        guest.gets_busy();
    }
    serde_json::from_slice(&body.to_bytes()).map_err(|why| {
        let why = format!("the body is not as the protocol has it: {why}");
        refused(StatusCode::BAD_REQUEST, "bad_request", why)
    })
}
