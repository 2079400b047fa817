// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Admin`.

use std::rc::Rc;

use luo_varlink::Target;
use luo_varlink::admin::{
    Checked, Error, Finished, INTERFACE, Method, Planned, Prepared, Sessions,
};
use tokio::sync::oneshot;

use super::reply::{Answer, Refusal, Result, done, with};
use super::served::{Asked, End, Served};
use crate::agent::Agent;

pub(super) async fn dispatch(
    served: &mut Served<'_>,
    mut asked: Asked,
) -> std::result::Result<Option<Result>, End> {
    let method: Method = match asked.read(INTERFACE) {
        Ok(method) => method,
        Err(refusal) => return Ok(Some(Err(refusal))),
    };
    if let Method::Update { target, report } = method {
        let wanted = (target, report);
        return update(served, wanted, asked.more).await.map(Some);
    }
    // An update is called off as soon as that is read.
    let ending = match &method {
        Method::Cancel { reason, force } => match served.agent.call_off(reason.as_deref()) {
            Ok(ending) => Some(ending),
            // None of this agent's: the kernel may be in another.
            Err(_) if *force == Some(true) => None,
            Err(why) => return Ok(Some(Err(why.into()))),
        },
        _ => None,
    };
    // A task of its own does the work to its end, even if the administrator goes.
    let (tell, told) = oneshot::channel();
    let agent = Rc::clone(served.agent);
    tokio::task::spawn_local(async move {
        let answer = match ending {
            Some(ending) => {
                agent.until_undone(ending).await;
                Ok(done())
            }
            None => answer(&agent, method).await,
        };
        // If the administrator has gone, nobody wants the answer.
        let _ = tell.send(answer);
    });
    let answer = served.wait(false, told).await?;
    Ok(match answer {
        Some(Ok(answer)) => Some(answer.map_err(Refusal::from)),
        _ => None,
    })
}

async fn answer(agent: &Agent, method: Method) -> std::result::Result<Answer, Error> {
    match method {
        Method::Plan => Ok(with(Planned { plan: agent.plan() })),
        Method::Check { target } => {
            let report = agent.check_target(&target).await;
            Ok(with(Checked { report }))
        }
        Method::Prepare { target } => {
            let update = agent.prepare(&target).await?;
            let warnings = agent.warnings_of_update();
            let warnings = (!warnings.is_empty()).then_some(warnings);
            Ok(with(Prepared { update, warnings }))
        }
        Method::Freeze => agent.freeze().await.map(|()| done()),
        Method::Kexec => Err(agent.jump().await),
        Method::Cancel { reason, .. } => agent
            .cancel_by_force(reason.as_deref())
            .await
            .map(|()| done()),
        Method::Update { target, report } => Err(agent.update(&target, report.as_deref()).await),
        Method::Finish { release_unclaimed } => {
            let released = agent.finish(release_unclaimed).await?;
            Ok(with(Finished { released }))
        }
        Method::Release { session, force } => {
            let force = force == Some(true);
            agent
                .release_or_force(&session, force)
                .await
                .map(|()| done())
        }
        Method::ListSessions => {
            let sessions = agent.sessions().await?;
            Ok(with(Sessions { sessions }))
        }
    }
}

/// Runs all of an update, and writes each line of its timeline. If all goes well this does
/// not return, for the machine jumps.
async fn update(
    served: &mut Served<'_>,
    (target, report): (Target, Option<String>),
    more: bool,
) -> std::result::Result<Result, End> {
    let agent = Rc::clone(served.agent);
    let mut lines = agent.watch();
    let (tell, mut told) = oneshot::channel();
    tokio::task::spawn_local(async move {
        let _ = tell.send(agent.update(&target, report.as_deref()).await);
    });
    loop {
        let next = async {
            tokio::select! {
                biased;
                line = lines.recv(), if more => Ok(line),
                why = &mut told => Err(why),
            }
        };
        match served.wait(false, next).await? {
            Some(Ok(Ok(event))) => served.tell(&event).await?,
            // Lines that were missed are in the history.
            Some(Ok(Err(_))) | None => {}
            Some(Err(why)) => {
                let why = why.unwrap_or_else(|_| Error::Cancelled {
                    reason: "luod ends".to_owned(),
                });
                return Ok(Err(why.into()));
            }
        }
    }
}
