// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Status`.

use std::rc::Rc;

use luo_varlink::status::{Current, Error, History, INTERFACE, Method};
use tokio::sync::broadcast::error::RecvError;
use zlink_core::varlink_service;

use super::reply::{Answer, Result, with};
use super::served::{Asked, End, Served};
use crate::journal::history::Past;

/// Updates that one call lists.
const MOST: usize = 1000;

pub(super) async fn dispatch(
    served: &mut Served<'_>,
    mut asked: Asked,
) -> std::result::Result<Option<Result>, End> {
    let method: Method = match asked.read(INTERFACE) {
        Ok(method) => method,
        Err(refusal) => return Ok(Some(Err(refusal))),
    };
    let agent = Rc::clone(served.agent);
    match method {
        Method::GetStatus => {
            let long = served.long().await?;
            let status = agent.status().await;
            Ok(Some(Ok(Answer {
                long,
                ..with(Current { status })
            })))
        }
        Method::GetHistory { most } => {
            let long = served.long().await?;
            let most = usize::try_from(most).unwrap_or(MOST).min(MOST);
            let past = agent.past(most).await;
            let unreadable = agent.why_unreadable();
            let Past {
                updates,
                problems,
                left_out,
                is_unsure,
            } = past;
            let some = |count: usize| {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                (count > 0).then_some(count)
            };
            let problems = (!problems.is_empty()).then_some(problems);
            Ok(Some(Ok(Answer {
                long,
                ..with(History {
                    updates,
                    problems,
                    unwritten: some(agent.history().count_unwritten()),
                    left_out: some(left_out),
                    unsure: is_unsure.then_some(true),
                    unreadable,
                })
            })))
        }
        Method::Watch if !asked.more => Ok(Some(Err(varlink_service::Error::ExpectedMore.into()))),
        Method::Watch => watch(served).await.map(Some),
    }
}

/// Writes each line until the watcher goes, or is too far behind.
async fn watch(served: &mut Served<'_>) -> std::result::Result<Result, End> {
    let agent = Rc::clone(served.agent);
    let mut lines = agent.watch();
    if served.backlog.iter().any(|ahead| !ahead.fds.is_empty()) {
        return Err(End::Ahead);
    }
    served.watches = true;
    served.tell(&agent.present()).await?;
    loop {
        match served.wait(false, lines.recv()).await? {
            Some(Ok(event)) => served.tell(&event).await?,
            Some(Err(RecvError::Lagged(lost))) => {
                let limit = format!("the watcher is {lost} lines behind");
                return Ok(Err(Error::TooMany { limit }.into()));
            }
            Some(Err(RecvError::Closed)) | None => {
                let limit = "the agent ends".to_owned();
                return Ok(Err(Error::TooMany { limit }.into()));
            }
        }
    }
}
