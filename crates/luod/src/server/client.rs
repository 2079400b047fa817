// SPDX-License-Identifier: MIT OR Apache-2.0
//! `org.liveupdate.Client`.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use luo_varlink::client::{Error, INTERFACE, Method, Next};

use super::foreign;
use super::reply::{Answer, Refusal, Result, done, with, with_fd};
use super::served::{Asked, End, Served};
use crate::agent::{Caller, Inbox};
use crate::aside::Aside;

/// Whether a descriptor has to come with a call.
fn takes_descriptor(method: &Method) -> bool {
    matches!(
        method,
        Method::AttachSession { .. } | Method::Declare { .. }
    )
}

/// The descriptor that came with a call, if one has to.
fn descriptor(
    method: &Method,
    fds: Vec<Aside<OwnedFd>>,
) -> std::result::Result<Option<Aside<OwnedFd>>, Error> {
    let mut fds = fds.into_iter();
    let wrong = |reason: &str| {
        let reason = reason.to_owned();
        Err(Error::BadDescriptor { reason })
    };
    match (takes_descriptor(method), fds.next(), fds.next()) {
        (true, Some(fd), None) => Ok(Some(fd)),
        (false, None, None) => Ok(None),
        (true, None, _) => wrong("one has to come with this call"),
        (true, Some(_), Some(_)) => wrong("one has to come with this call, and more came"),
        (false, Some(_), _) => wrong("none comes with this call"),
        (false, None, Some(_)) => wrong("none comes with this call"),
    }
}

/// Whether a call is refused while an update is being cancelled, and is not when it is.
fn waits_for_a_cancel(method: &Method) -> bool {
    matches!(
        method,
        Method::Register { .. }
            | Method::Unregister
            | Method::CreateSession { .. }
            | Method::AttachSession { .. }
            | Method::DropSession { .. }
            | Method::FinishSession { .. }
    )
}

pub(super) async fn dispatch(
    served: &mut Served<'_>,
    mut asked: Asked,
) -> std::result::Result<Option<Result>, End> {
    let fds = std::mem::take(&mut asked.fds);
    let method: Method = match asked.read(INTERFACE) {
        Ok(method) => method,
        Err(refusal) => return Ok(Some(Err(refusal))),
    };
    let fd = match descriptor(&method, fds) {
        Ok(fd) => fd,
        Err(why) => return Ok(Some(Err(why.into()))),
    };
    drop(asked);
    if waits_for_a_cancel(&method) {
        let agent = Rc::clone(served.agent);
        served.wait(false, agent.until_cancelled()).await?;
    }
    let answer = answer(served, method, fd).await?;
    Ok(Some(answer.map_err(Refusal::from)))
}

async fn answer(
    served: &mut Served<'_>,
    method: Method,
    fd: Option<Aside<OwnedFd>>,
) -> std::result::Result<std::result::Result<Answer, Error>, End> {
    let agent = Rc::clone(served.agent);
    let answer = match method {
        Method::Register { workload, needs } => {
            // Events for an earlier workload of this connection are not for this one.
            let inbox = Inbox::default();
            let registered = agent.register(&mut served.caller, &workload, needs, inbox.clone());
            if registered.is_ok() {
                served.inbox = inbox;
            }
            registered.map(with)
        }
        Method::Unregister => agent.unregister(&mut served.caller).map(|()| done()),
        // Boxed: see `Served::dispatch`.
        Method::CreateSession { name } => return Box::pin(create(served, &name)).await,
        Method::AttachSession { name } => match fd {
            Some(fd) => agent
                .attach_session(&served.caller, &name, fd)
                .await
                .map(|()| done()),
            None => Err(Error::NotRegistered),
        },
        Method::DropSession { name } => agent
            .drop_session(&served.caller, &name)
            .await
            .map(|()| done()),
        Method::Declare { session, token } => match fd {
            Some(fd) => {
                // Boxed: see `Served::dispatch`.
                let file = foreign::declaration(fd);
                let declared = Box::pin(agent.declare(&served.caller, &session, token, file));
                declared.await.map(with)
            }
            None => Err(Error::NotRegistered),
        },
        Method::NextEvent => return next_event(served).await,
        Method::Answer { update, step, veto } => agent
            .answer(&served.caller, &update, step, veto.as_deref())
            .map(|()| done()),
        Method::Detach => agent.detach(&mut served.caller).map(|()| done()),
        // Boxed: see `Served::dispatch`.
        Method::Claim { session } => return Box::pin(claim(served, &session)).await,
        Method::Restored => agent.restored(&served.caller).map(|()| done()),
        Method::Describe { about } => agent.describe(&served.caller, &about).map(|()| done()),
        // Boxed: see `Served::dispatch`.
        Method::FinishSession { name } => return Box::pin(finish(served, &name)).await,
    };
    Ok(answer)
}

async fn next_event(
    served: &mut Served<'_>,
) -> std::result::Result<std::result::Result<Answer, Error>, End> {
    if let Err(why) = served.caller.workload() {
        return Ok(Err(why));
    }
    let inbox = served.inbox.clone();
    if let Some(event) = inbox.take() {
        return Ok(Ok(with(Next { event: Some(event) })));
    }
    let event = served.wait(true, inbox.next()).await?;
    Ok(Ok(with(Next { event })))
}

/// The caller, for a call that is waited for while the connection is listened to.
fn caller_of(served: &Served<'_>) -> Caller {
    Caller {
        connection: served.caller.connection,
        identity: served.caller.identity.clone(),
        workload: served.caller.workload.clone(),
        group: None,
    }
}

/// The outcome of a workload's call, during which the connection is listened to: a kernel that
/// hangs in it keeps no place for a workload that has gone and comes back.
async fn listening<T>(
    served: &mut Served<'_>,
    call: impl Future<Output = std::result::Result<T, Error>>,
) -> std::result::Result<std::result::Result<T, Error>, End> {
    let done = served.wait(false, call).await?;
    // This wait does not yield, so there is an outcome.
    Ok(done.unwrap_or(Err(Error::NotRegistered)))
}

async fn create(
    served: &mut Served<'_>,
    name: &str,
) -> std::result::Result<std::result::Result<Answer, Error>, End> {
    let (agent, caller) = (Rc::clone(served.agent), caller_of(served));
    let made = listening(served, agent.create_session(&caller, name)).await?;
    Ok(made.map(|fd| with_fd(done(), fd)))
}

async fn finish(
    served: &mut Served<'_>,
    name: &str,
) -> std::result::Result<std::result::Result<Answer, Error>, End> {
    let (agent, caller) = (Rc::clone(served.agent), caller_of(served));
    let finished = listening(served, agent.finish_session(&caller, name)).await?;
    Ok(finished.map(|()| done()))
}

async fn claim(
    served: &mut Served<'_>,
    session: &str,
) -> std::result::Result<std::result::Result<Answer, Error>, End> {
    let (agent, caller) = (Rc::clone(served.agent), caller_of(served));
    let claimed = listening(served, agent.claim(&caller, session)).await?;
    Ok(claimed.map(|(claimed, fd)| with_fd(with(claimed), fd)))
}
