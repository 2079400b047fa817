// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking part in updates through the agent.

use core::ffi::{c_char, c_int};
use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use luo_client::agent::varlink::limits::{MAX_NEEDS, MAX_WORKLOAD_NAME};
use luo_client::agent::varlink::paths;
use luo_client::agent::{Agent, CheckStatus, Phase, Report, Workload};
use luo_client::{Session, Token};
use rustix::io::Errno;

use crate::border::{
    Out, array, bytes, call, descriptor, exclusive, free, give, limit, session_name, shared, text,
};
use crate::error::Failure;
use crate::event::luo_event;

/// Bytes of a folder's path.
const MAX_PATH: usize = 4095;

/// Bytes of a veto's reason that are looked at; the agent takes fewer.
const MAX_REASON: usize = 65536;

/// No update is under way.
pub const LUO_PHASE_NORMAL: c_int = 0;
/// Workloads are asked to get ready.
pub const LUO_PHASE_PREPARING: c_int = 1;
/// All workloads are ready; they run on.
pub const LUO_PHASE_PREPARED: c_int = 2;
/// Workloads are asked to stand still.
pub const LUO_PHASE_FREEZING: c_int = 3;
/// All workloads stand still.
pub const LUO_PHASE_FROZEN: c_int = 4;
/// The machine is about to jump.
pub const LUO_PHASE_JUMPING: c_int = 5;
/// The update is being undone.
pub const LUO_PHASE_CANCELLING: c_int = 6;
/// After the jump: workloads take back their sessions.
pub const LUO_PHASE_UPDATED: c_int = 7;

/// A program that takes part in updates.
pub struct luo_workload {
    workload: Workload,
}

/// # Safety
/// The rules of the crate.
unsafe fn with<T: Into<c_int>>(
    workload: *mut luo_workload,
    run: impl FnOnce(&mut Workload) -> Result<T, Failure>,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise is the same.
        let workload = unsafe { exclusive(workload, "workload") }?;
        run(&mut workload.workload).map(Into::into)
    })
}

/// Connects to the agent whose sockets lie in `folder` (NULL: the machine's) and becomes
/// the workload `name`, which needs others: those are prepared and restored before it, and
/// frozen after it.
/// Gives 0, or ENOENT, ECONNREFUSED: there is no agent; EACCES: the policy forbids it;
/// EBUSY: another connection is this workload; EAGAIN: an update is under way; EINVAL:
/// not a name; EDQUOT: there are too many. `luo_workload_free` frees it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_register(
    folder: *const c_char,
    name: *const c_char,
    needs: *const *const c_char,
    needs_count: usize,
    workload: *mut *mut luo_workload,
) -> c_int {
    call(|| {
        let what = "the workload's name";
        // SAFETY: the caller keeps the rules of the crate.
        let (name, needs, out) = unsafe {
            let needs = array(needs, needs_count, MAX_NEEDS, "the needs")?;
            let out = Out::new(workload, "workload")?;
            (text(name, MAX_WORKLOAD_NAME, what)?, needs, out)
        };
        let needs = needs
            .iter()
            // SAFETY: as above.
            .map(|&need| unsafe { text(need, MAX_WORKLOAD_NAME, what) });
        let needs: Vec<&str> = needs.collect::<Result<_, _>>()?;
        let agent = if folder.is_null() {
            Agent::connect_to(&paths::runtime())?
        } else {
            // SAFETY: as above.
            let folder = unsafe { text(folder, MAX_PATH, "the folder") }?;
            Agent::connect_to(Path::new(folder))?
        };
        let workload = agent.register(name, &needs)?;
        out.set(Box::into_raw(Box::new(luo_workload { workload })));
        Ok(0)
    })
}

/// Ends the connection and frees the workload; NULL is allowed. Without
/// `luo_workload_unregister` or `luo_workload_detach` before, it is lost to the agent as
/// if the program had died.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_free(workload: *mut luo_workload) {
    // SAFETY: the caller keeps the rules of the crate, and a box was made of it.
    unsafe { free(workload) }
}

/// The descriptor of the connection, for `poll`; it can be read when there is an event.
/// It belongs to the workload, and is another one after `luo_workload_reconnect`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_fd(workload: *mut luo_workload) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe { with(workload, |workload| Ok(workload.as_fd().as_raw_fd())) }
}

/// Where the agent was when the workload registered: one of `LUO_PHASE_*`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_phase(workload: *mut luo_workload) -> c_int {
    let number = |phase| match phase {
        Phase::Normal => LUO_PHASE_NORMAL,
        Phase::Preparing => LUO_PHASE_PREPARING,
        Phase::Prepared => LUO_PHASE_PREPARED,
        Phase::Freezing => LUO_PHASE_FREEZING,
        Phase::Frozen => LUO_PHASE_FROZEN,
        Phase::Jumping => LUO_PHASE_JUMPING,
        Phase::Cancelling => LUO_PHASE_CANCELLING,
        Phase::Updated => LUO_PHASE_UPDATED,
    };
    // SAFETY: the caller keeps the rules of the crate.
    unsafe { with(workload, |workload| Ok(number(workload.registered().phase))) }
}

/// Whether, when the workload registered, this session could be claimed: 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_can_claim(
    workload: *mut luo_workload,
    session: *const c_char,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let name = session_name(session)?;
            let mut all = workload.registered().claimable.iter();
            Ok(all.any(|claimable| claimable.as_bytes() == name.as_bytes()))
        })
    }
}

/// How many milliseconds the agent has for an answer that waits for nobody, 30,000 if
/// nothing else is said, and how many `luo_workload_claim` and
/// `luo_workload_finish_session` wait, which have no limit but the agent's. Negative
/// numbers are no limit. Gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_set_times(
    workload: *mut luo_workload,
    timeout_ms: i64,
    patience_ms: i64,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.set_timeout(limit(timeout_ms));
            workload.set_patience(limit(patience_ms));
            Ok(0)
        })
    }
}

/// Makes a session for the next kernel, of which the agent keeps a copy. Gives its
/// descriptor, or EACCES: the policy forbids it; EDQUOT: there are too many; EAGAIN: an
/// update is under way; or an error of the kernel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_create_session(
    workload: *mut luo_workload,
    session: *const c_char,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            Ok(give(workload.create_session(&session_name(session)?)?))
        })
    }
}

/// Gives the agent a copy of a session that it does not have. Gives 0, or EBADF: it is
/// not that session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_attach(
    workload: *mut luo_workload,
    session: *const c_char,
    fd: c_int,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let (name, session) = (session_name(session)?, Session::from_fd(descriptor(fd)?));
            workload.attach(&name, &session)?;
            Ok(0)
        })
    }
}

/// Says that a file is going to be preserved in a session, so that checks look at it: now,
/// and before each update. Gives 0, or ENOEXEC: an update would fail because of it, and
/// the message says why and what to do; it is declared nevertheless. ENOENT: there is no
/// such session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_declare(
    workload: *mut luo_workload,
    session: *const c_char,
    token: u64,
    fd: c_int,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let (name, file) = (session_name(session)?, descriptor(fd)?);
            let report = workload.declare(&name, Token(token), file)?;
            if report.ok {
                Ok(0)
            } else {
                Err(failed(&report))
            }
        })
    }
}

fn failed(report: &Report) -> Failure {
    let failed = report.checks.iter();
    let failed = failed.filter(|check| check.status == CheckStatus::Failed);
    let lines = failed.map(|check| {
        let remedy = check.remedy.as_deref().unwrap_or_default();
        format!("{}: {} {remedy}", check.name, check.found)
    });
    let lines: Vec<_> = lines.collect();
    Failure::new(Errno::NOEXEC, lines.join("\n"))
}

/// Ends a session for the next kernel: the workload and the agent close their copies. If
/// the caller has no descriptor of it either, its files are released. Gives 0, or ENOENT;
/// EAGAIN: an update is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_drop_session(
    workload: *mut luo_workload,
    session: *const c_char,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.drop_session(&session_name(session)?)?;
            Ok(0)
        })
    }
}

/// Waits for the next event, so many milliseconds at most; a negative number is no limit,
/// and 0 does not wait. Gives 1, or 0: there is none yet.
///
/// In an event loop: call it with 0 until it gives 0, then wait until the descriptor can
/// be read. Do so after each other call as well: another call ends the wait for an event,
/// and an event may have come with its answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_next_event(
    workload: *mut luo_workload,
    timeout_ms: i64,
    event: *mut luo_event,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let out = Out::new(event, "event")?;
            let found = match limit(timeout_ms) {
                None => Some(workload.next_event()?),
                Some(Duration::ZERO) => workload.try_event()?,
                Some(time) => workload.next_event_within(time)?,
            };
            let Some(found) = found else {
                return Ok(false);
            };
            out.set(luo_event::new(&found)?);
            Ok(true)
        })
    }
}

/// Answers an event: the workload has done what was asked for. Gives 0, or ESTALE: the
/// answer is not expected, because the update is over, or it is late.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_ready(
    workload: *mut luo_workload,
    event: *const luo_event,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.ready(&shared(event, "event")?.read()?)?;
            Ok(0)
        })
    }
}

/// Answers an event: the workload cannot do it, and the update has to be called off. The
/// first 1,024 bytes of the reason are shown to the administrator. Gives as
/// `luo_workload_ready`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_veto(
    workload: *mut luo_workload,
    event: *const luo_event,
    reason: *const c_char,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let event = shared(event, "event")?.read()?;
            let reason = bytes(reason, MAX_REASON, "the reason")?;
            workload.veto(&event, &String::from_utf8_lossy(reason))?;
            Ok(0)
        })
    }
}

/// Leaves the sessions with the agent, which gives them back to the same identity: in an
/// update once the workload is ready, else at any time. Gives 0, or ESTALE: the workload is
/// asked to prepare and has not agreed, or is asked to freeze, or has a session of the
/// previous kernel that it has not finished; EACCES: the agent has nothing that would keep
/// the sessions if it died. All that is left to do is to free it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_detach(workload: *mut luo_workload) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.detach()?;
            Ok(0)
        })
    }
}

/// Ends the registration; the agent lets go of the workload's sessions. Gives 0, or EAGAIN:
/// an update is under way. All that is left to do is to free it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_unregister(workload: *mut luo_workload) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.unregister()?;
            Ok(0)
        })
    }
}

/// Takes a session back, once the workloads that this one needs serve again. Gives its
/// descriptor, and in `incoming` 1 if it came from the previous kernel: its files are to
/// be retrieved; else 0: it was in the agent's custody. Or ENOENT, EACCES, ETIMEDOUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_claim(
    workload: *mut luo_workload,
    session: *const c_char,
    incoming: *mut c_int,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let out = Out::new(incoming, "incoming")?;
            let claim = workload.claim(&session_name(session)?)?;
            out.set(claim.incoming.into());
            Ok(give(claim.session))
        })
    }
}

/// Tells the agent that the workload serves again after an update. Workloads that need it
/// may go on then. Gives 0, or ESTALE: there was no update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_restored(workload: *mut luo_workload) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.restored()?;
            Ok(0)
        })
    }
}

/// Finishes a session of the previous kernel: files that were not retrieved are released.
/// Gives 0, or ENOENT; EBUSY: a file cannot be let go of yet, or the kernel hangs in
/// something else; ETIMEDOUT: it hangs in this. What was retrieved is there all the same: go
/// on serving, and call it again later, after ETIMEDOUT as after ECONNRESET.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_finish_session(
    workload: *mut luo_workload,
    session: *const c_char,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            workload.finish_session(&session_name(session)?)?;
            Ok(0)
        })
    }
}

/// Connects again after ECONNRESET, registers, and gives the agent copies of all sessions
/// and declared files again. It tries for so many milliseconds; a negative number is
/// EINVAL. Gives 0, or the error of the last attempt. The call in which the agent was lost can
/// be made again then: a session that it had made or finished is not made or finished twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn luo_workload_reconnect(
    workload: *mut luo_workload,
    within_ms: i64,
) -> c_int {
    // SAFETY: the caller keeps the rules of the crate.
    unsafe {
        with(workload, |workload| {
            let within = limit(within_ms)
                .ok_or_else(|| Failure::new(Errno::INVAL, "attempts to reconnect have to end"))?;
            workload.reconnect(within)?;
            Ok(0)
        })
    }
}
