// SPDX-License-Identifier: MIT OR Apache-2.0
//! Becoming a workload, claiming what came over the jump, and giving it back.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use luo_client::agent::{self, Agent, Claim, Refusal, Workload};
use luo_client::memory::Regions;
use luo_client::{Session, SessionName, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::exit::Error;
use crate::point::Point;
use crate::told::Told;

/// Between two attempts to reach the agent.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an agent that was lost is waited for.
const AGENT: Duration = Duration::from_secs(60);

/// A socket on which each signal to end is a byte.
///
/// # Errors
/// [`Error::System`].
pub fn signals() -> Result<UnixStream, Error> {
    let signals = || {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
        }
        Ok(ours)
    };
    signals().map_err(Error::system("signals"))
}

/// Becomes a workload, as soon as the agent is there and in no update. Without it nobody can say
/// whether the guest is to be started or to go on.
///
/// # Errors
/// [`Error::Agent`]: it refuses, or is not there in time.
pub fn register(name: &str, needs: &[String], wait: Duration) -> Result<Workload, Error> {
    let end = Instant::now() + wait;
    let needs: Vec<_> = needs.iter().map(String::as_str).collect();
    loop {
        let why = match Agent::connect().and_then(|agent| agent.register(name, &needs)) {
            Ok(workload) => return Ok(workload),
            Err(why) => why,
        };
        let passes = matches!(
            why,
            agent::Error::NoAgent { .. }
                | agent::Error::Refused(
                    Refusal::UpdateUnderWay { .. } | Refusal::WorkloadTaken { .. }
                )
        );
        if !(passes || why.is_lost_agent()) || Instant::now() >= end {
            return Err(why.into());
        }
        // Nothing tells of an agent that comes into being.
        std::thread::sleep(PAUSE);
    }
}

/// The session of the previous kernel, if there is one.
///
/// # Errors
/// [`Error::Agent`].
pub fn incoming(name: &SessionName, workload: &mut Workload) -> Result<Option<Claim>, Error> {
    if !workload.registered().claimable.contains(&name.to_string()) {
        return Ok(None);
    }
    let claim = workload.surely(AGENT, |workload| workload.claim(name))?;
    if claim.incoming {
        return Ok(Some(claim));
    }
    // A session that has not jumped is one of a guest that has ended.
    drop(claim);
    workload.surely(AGENT, |workload| workload.drop_session(name))?;
    Ok(None)
}

/// Tells the agent that the guest runs again.
///
/// # Errors
/// [`Error::Agent`].
pub fn restored(workload: &mut Workload) -> Result<(), Error> {
    match workload.surely(AGENT, Workload::restored) {
        // It has been told, or the update is over.
        Err(agent::Error::Refused(Refusal::NotExpected { .. })) => Ok(()),
        told => Ok(told?),
    }
}

/// Ends the session of the previous kernel. It is the last thing: until here all of it can be
/// tried again.
///
/// # Errors
/// [`Error::Agent`].
pub fn finish(name: &SessionName, workload: &mut Workload, told: &Told<'_>) -> Result<(), Error> {
    match workload.surely(AGENT, |workload| workload.finish_session(name)) {
        // An agent that was lost in the middle has done it.
        Err(agent::Error::Refused(Refusal::NoSuchSession { .. })) => {}
        finished => finished?,
    }
    (told.reach)(Point::Finished);
    Ok(())
}

/// Makes the session for the next kernel, and has the agent look at what goes into it: files by
/// their tokens, and regions.
///
/// # Errors
/// [`Error::Agent`].
pub fn session(
    name: &SessionName,
    workload: &mut Workload,
    files: &[(Token, BorrowedFd<'_>)],
    regions: &Regions,
    told: &Told<'_>,
) -> Result<Session, Error> {
    let session = match workload.surely(AGENT, |workload| workload.create_session(name)) {
        // The one of an agent that was lost in the middle of this.
        Err(agent::Error::Refused(Refusal::Kernel { .. })) => {
            workload.surely(AGENT, |workload| workload.drop_session(name))?;
            workload.surely(AGENT, |workload| workload.create_session(name))?
        }
        session => session?,
    };
    let regions = regions.iter();
    let regions = regions.map(|(_, region)| (region.token(), region.as_fd()));
    for (token, file) in files.iter().copied().chain(regions) {
        let declared = workload.surely(AGENT, |workload| workload.declare(name, token, file))?;
        for check in declared.checks {
            if check.status != agent::CheckStatus::Ok {
                (told.say)(&format!("check {}: {}", check.name, check.found));
            }
        }
    }
    Ok(session)
}
