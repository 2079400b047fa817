// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/liveupdate`: who may open it; makes and retrieves sessions.

use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel::fs::file::{flags, FileDescriptorReservation};
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};
use luo_abi::contract::{
    Failure, Info, ADD_DEPENDENCY, DROP_DEPENDENCY, FEATURE_MANY_OPENERS, FEATURE_POLL,
    GET_FAILURE, GET_INFO, LIST_DEPENDENCIES, LIST_FILES, LIST_PARTICIPANTS, LIST_SESSIONS,
};
use luo_abi::rfc::{
    LiveupdateFd, EVENT_CANCEL, EVENT_FINISH, EVENT_FREEZE, EVENT_PREPARE, FD_PRESERVE, FD_RESTORE,
    FD_UNPRESERVE, GET_STATE,
};
use luo_abi::uapi::{CreateSession, RetrieveSession, CREATE_SESSION, RETRIEVE_SESSION};
use luo_core::{ops, Lock, SessionId, SessionName};
use zerocopy::{FromBytes, IntoBytes};

use crate::argument;
use crate::boot;
use crate::contract;
use crate::errno;
use crate::host::{linux, Linux};
use crate::policy;
use crate::say::Say;
use crate::state;
use crate::sys::{file, session_file, task};

/// Set while the only one who may has the device open.
static OPEN: AtomicBool = AtomicBool::new(false);

/// The one who has the device open, if there may be only one.
struct Opener {
    only: bool,
}

impl Opener {
    fn new() -> Result<Self> {
        if policy::many_openers() {
            return Ok(Self { only: false });
        }
        match OPEN.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Self { only: true }),
            Err(_) => Err(EBUSY),
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if self.only {
            OPEN.store(false, Ordering::Release);
        }
    }
}

/// An open instance of the device. Dropping it is the release.
pub(crate) struct Instance {
    /// The number of changes of state that its owner knows of.
    seen: AtomicU64,
    /// The session of the files that are registered here: the bits of its id, 0
    /// before there is one.
    session: AtomicU64,
    _opener: Opener,
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let (Some(linux), Some(id)) = (linux(), self.session()) {
            // Outgoing: nobody can refuse.
            let _ = ops::close_session(linux, id);
        }
    }
}

/// What this orchestrator calls itself.
const IMPLEMENTATION: &str = "LUO in Rust, in the kernel";

impl Instance {
    /// Opens the device, exclusively or not.
    ///
    /// # Errors
    /// EACCES for who may not administer the machine, EINVAL for an exclusive
    /// open, EBUSY if there may be no more openers, EIO if the handover was
    /// refused.
    pub(crate) fn open(exclusive: bool) -> Result<Self> {
        if !task::is_administrator() {
            return Err(EACCES);
        }
        if exclusive {
            return Err(EINVAL);
        }
        let linux = linux().ok_or(ENODEV)?;
        let opener = Opener::new()?;
        take_over(linux)?;
        let (_, changes) = state::current();
        Ok(Self {
            seen: AtomicU64::new(changes),
            session: AtomicU64::new(0),
            _opener: opener,
        })
    }

    /// An ioctl on the device.
    pub(crate) fn ioctl(&self, command: u32, argument: usize) -> Result {
        let linux = linux().ok_or(ENODEV)?;
        let id = self.session();
        match command {
            CREATE_SESSION => create(linux, argument),
            RETRIEVE_SESSION => retrieve(linux, argument),
            GET_STATE => self.get_state(argument),
            FD_PRESERVE => self.preserve(linux, argument),
            FD_UNPRESERVE => self.unpreserve(linux, argument),
            FD_RESTORE => restore(linux, argument),
            EVENT_PREPARE => event(ops::prepare(linux)),
            EVENT_FREEZE => event(ops::freeze(linux)),
            EVENT_CANCEL => event(ops::cancel(linux)),
            EVENT_FINISH => event(ops::finish_update(linux, |_| ())),
            ADD_DEPENDENCY => contract::add_dependency(linux, id, argument),
            DROP_DEPENDENCY => contract::drop_dependency(linux, id, argument),
            LIST_FILES => contract::list_device_files(linux, id, argument),
            LIST_DEPENDENCIES => contract::list_dependencies(linux, id, argument),
            LIST_SESSIONS => contract::list_sessions(linux, argument),
            LIST_PARTICIPANTS => contract::list_participants(linux, argument),
            GET_INFO => self.get_info(linux, argument),
            GET_FAILURE => get_failure(linux, argument),
            _ => Err(ENOTTY),
        }
    }

    /// The session of the files that are registered here, if there is one.
    fn session(&self) -> Option<SessionId> {
        match self.session.load(Ordering::Acquire) {
            0 => None,
            bits => Some(SessionId::from_bits(bits)),
        }
    }

    /// That session, made if there is none.
    fn make_session(&self, linux: &Linux) -> Result<SessionId> {
        if let Some(id) = self.session() {
            return Ok(id);
        }
        let made = ops::create_device_session(linux).map_err(errno::of_operation)?;
        let (bits, ordering) = (made.to_bits(), Ordering::AcqRel);
        match self
            .session
            .compare_exchange(0, bits, ordering, Ordering::Acquire)
        {
            Ok(_) => Ok(made),
            // Somebody else was first: theirs is the one. Ours has no files, so its
            // close cannot fail.
            Err(theirs) => {
                let _ = ops::close_session(linux, made);
                Ok(SessionId::from_bits(theirs))
            }
        }
    }

    /// FD_PRESERVE.
    fn preserve(&self, linux: &Linux, argument: usize) -> Result {
        let mut call: LiveupdateFd = read(argument)?;
        if call.flags != 0 {
            return Err(EINVAL);
        }
        let id = self.make_session(linux)?;
        let fd = call.fd;
        let open = || file::get(fd).map_err(errno::of_kernel);
        // Who does not learn the token has registered nothing.
        let answer = |token| {
            call.token = token;
            write(argument, &call).map_err(errno::of_kernel)
        };
        let registered = ops::register_file(linux, id, answer, open);
        registered.map(drop).map_err(errno::of_operation)
    }

    /// FD_UNPRESERVE.
    fn unpreserve(&self, linux: &Linux, argument: usize) -> Result {
        let token: u64 = read(argument)?;
        // Told also to those who have registered nothing.
        linux
            .wait(|engine| engine.may_change())
            .map_err(errno::of_operation)?;
        let id = self.session().ok_or(ENOENT)?;
        ops::unpreserve_file(linux, id, token).map_err(errno::of_operation)
    }

    /// GET_INFO; from now on the owner knows the state.
    fn get_info(&self, linux: &Linux, argument: usize) -> Result {
        let (call, answer) = argument::read::<Info>(argument)?;
        let many = if policy::many_openers() {
            FEATURE_MANY_OPENERS
        } else {
            0
        };
        let features = FEATURE_POLL | many;
        let mut info = linux.now(|engine| engine.info(IMPLEMENTATION, features));
        info.size = call.size;
        answer.write(&info)?;
        self.knows(info.state_changes);
        Ok(())
    }

    /// Says where the machine is in an update; from now on the owner knows.
    fn get_state(&self, argument: usize) -> Result {
        let (state, changes) = state::current();
        write(argument, &(state as u32))?;
        self.knows(changes);
        Ok(())
    }

    /// Notes that the owner knows of so many changes of state.
    fn knows(&self, changes: u64) {
        // Of two who read at once the later change counts.
        self.seen.fetch_max(changes, Ordering::Relaxed);
    }

    /// Whether the state has changed since the owner last read it.
    pub(crate) fn has_news(&self) -> bool {
        let (_, changes) = state::current();
        self.seen.load(Ordering::Relaxed) != changes
    }
}

/// Reads an argument of a fixed size.
fn read<T: FromBytes + IntoBytes>(argument: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    UserSlice::new(UserPtr::from_addr(argument), size_of::<T>())
        .reader()
        .read_slice(value.as_mut_bytes())?;
    Ok(value)
}

/// Writes an answer of a fixed size.
fn write<T: IntoBytes + zerocopy::Immutable>(argument: usize, value: &T) -> Result {
    UserSlice::new(UserPtr::from_addr(argument), size_of::<T>())
        .writer()
        .write_slice(value.as_bytes())
}

/// FD_RESTORE.
fn restore(linux: &Linux, argument: usize) -> Result {
    let mut call: LiveupdateFd = read(argument)?;
    if call.flags != 0 {
        return Err(EINVAL);
    }
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    let (id, file) = ops::restore_file(linux, call.token).map_err(errno::of_operation)?;
    call.fd = fd.reserved_fd() as i32;
    // Who is not told gets nothing, and it can be restored again.
    write(argument, &call).inspect_err(|_| ops::put_back_file(linux, id))?;
    fd.fd_install(file);
    Ok(())
}

/// The answer to an event; what happened is in the log already.
fn event<T, E: Into<luo_core::Failure>>(outcome: Result<T, E>) -> Result {
    match outcome {
        Ok(_) => Ok(()),
        Err(why) => Err(errno::to_kernel(why.into().errno())),
    }
}

/// GET_FAILURE.
fn get_failure(linux: &Linux, argument: usize) -> Result {
    let (call, answer) = argument::read::<Failure>(argument)?;
    let mut info = linux.now(|engine| engine.failure_info());
    info.size = call.size;
    answer.write(&info)
}

/// Takes over the previous kernel's sessions, at the first open, and finishes
/// what could not be finished at its close.
fn take_over(linux: &Linux) -> Result {
    let unfinished =
        |why: &luo_core::Error| pr_warn!("a closed session is not finished yet: {}\n", Say(why));
    match ops::open_device(linux, unfinished) {
        Ok(report) => {
            if let Some((sessions, files)) = report.taken_over {
                pr_info!("took over sessions: {sessions}, files: {files}\n");
            }
            Ok(())
        }
        Err((why, news)) => {
            if news {
                boot::refused(&why);
            }
            Err(errno::of_operation(why))
        }
    }
}

fn create(linux: &Linux, argument: usize) -> Result {
    let (mut call, answer) = argument::read::<CreateSession>(argument)?;
    let name = SessionName::parse(&call.name).map_err(|why| errno::of_operation(why.into()))?;
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    call.fd = fd.reserved_fd() as i32;
    // A program that cannot be answered has made nothing. The descriptor is none
    // before the call has succeeded.
    answer.write(&call)?;
    let id = ops::create_session(linux, &name).map_err(errno::of_operation)?;
    publish(fd, &name, id).inspect_err(|_| {
        // It has no files yet: closing it cannot fail.
        let _ = ops::close_session(linux, id);
    })
}

fn retrieve(linux: &Linux, argument: usize) -> Result {
    let (mut call, answer) = argument::read::<RetrieveSession>(argument)?;
    // No session has a name that is none: ENOENT, as in mainline.
    let name = SessionName::parse(&call.name).map_err(|_| ENOENT)?;
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    call.fd = fd.reserved_fd() as i32;
    let id = ops::retrieve_session(linux, &name).map_err(errno::of_operation)?;
    // Whoever is not told gets nothing: the session is there for another try.
    // Before the file is made: closing a file would close the session.
    let answered = answer.write(&call).and_then(|()| publish(fd, &name, id));
    answered.inspect_err(|_| ops::put_back_session(linux, id))
}

/// Makes a session's descriptor one of the program's.
fn publish(fd: FileDescriptorReservation, name: &SessionName, id: SessionId) -> Result {
    fd.fd_install(session_file::create(name, id)?);
    Ok(())
}
