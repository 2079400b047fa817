// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/liveupdate`: who may open it; makes and retrieves sessions.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use luo_abi::contract::{
    ADD_DEPENDENCY, DROP_DEPENDENCY, FEATURE_MANY_OPENERS, FEATURE_POLL, Failure, GET_FAILURE,
    GET_INFO, Info, LIST_DEPENDENCIES, LIST_FILES, LIST_PARTICIPANTS, LIST_SESSIONS,
};
use luo_abi::errno::Errno;
use luo_abi::rfc::{
    EVENT_CANCEL, EVENT_FINISH, EVENT_FREEZE, EVENT_PREPARE, FD_PRESERVE, FD_RESTORE,
    FD_UNPRESERVE, GET_STATE, LiveupdateFd,
};
use luo_abi::uapi::{CREATE_SESSION, CreateSession, RETRIEVE_SESSION, RetrieveSession};
use luo_core::{Error, Lock, SessionId, SessionName, ops};
use std::os::fd::AsFd;

use crate::argument::{self, Answer, read_fixed, write_fixed};
use crate::call::Call;
use crate::contract;
use crate::machine::{Machine, lock};
use crate::signal;

/// What this orchestrator calls itself.
const IMPLEMENTATION: &str = "LUO in Rust, simulated";

/// The one who has the device open, if there may be only one.
struct Opener(Option<Arc<AtomicBool>>);

impl Opener {
    fn new(machine: &Machine) -> Result<Self, Errno> {
        if machine.policy.many_openers {
            return Ok(Self(None));
        }
        if machine.opened.swap(true, Ordering::AcqRel) {
            return Err(Errno::EBUSY);
        }
        Ok(Self(Some(Arc::clone(&machine.opened))))
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if let Some(opened) = &self.0 {
            opened.store(false, Ordering::Release);
        }
    }
}

/// An open instance of the device.
pub(crate) struct Instance {
    /// The number of changes of state that its owner knows of.
    seen: AtomicU64,
    /// The session of the files that are registered here: the bits of its id, 0
    /// before there is one.
    session: AtomicU64,
    /// The end of its descriptor that makes the other one readable; true while it
    /// does.
    bell: Mutex<(OwnedFd, bool)>,
    _opener: Opener,
}

impl Instance {
    /// Opens the device. `bell` is the other end of what the program gets.
    ///
    /// # Errors
    /// EBUSY if there may be no more openers, EIO if the handover was refused.
    pub(crate) fn open(machine: &Machine, bell: OwnedFd) -> Result<Arc<Self>, Errno> {
        let opener = Opener::new(machine)?;
        take_over(machine)?;
        let (_, changes) = machine.state();
        let instance = Arc::new(Self {
            seen: AtomicU64::new(changes),
            session: AtomicU64::new(0),
            bell: Mutex::new((bell, false)),
            _opener: opener,
        });
        machine.watch(&instance);
        Ok(instance)
    }

    /// The last close of its descriptor.
    pub(crate) fn release(&self, machine: &Machine) {
        if let Some(id) = self.session() {
            // Outgoing: nobody can refuse.
            let _ = ops::close_session(machine, id);
        }
    }

    /// An ioctl on the device. `file` is the caller's descriptor.
    pub(crate) fn ioctl(&self, call: &Call<'_>, file: &OwnedFd, command: u32) -> Result<(), Errno> {
        let id = self.session();
        let machine = call.machine;
        match command {
            CREATE_SESSION => create(call),
            RETRIEVE_SESSION => retrieve(call),
            GET_STATE => self.get_state(call, file),
            FD_PRESERVE => self.preserve(call),
            FD_UNPRESERVE => self.unpreserve(call),
            FD_RESTORE => restore(call),
            EVENT_PREPARE => event(ops::prepare(machine)),
            EVENT_FREEZE => event(ops::freeze(machine)),
            EVENT_CANCEL => event(ops::cancel(machine)),
            EVENT_FINISH => event(ops::finish_update(machine, |_| ())),
            ADD_DEPENDENCY => contract::add_dependency(call, id),
            DROP_DEPENDENCY => contract::drop_dependency(call, id),
            LIST_FILES => contract::list_files(call, id),
            LIST_DEPENDENCIES => contract::list_dependencies(call, id),
            LIST_SESSIONS => contract::list_sessions(call),
            LIST_PARTICIPANTS => contract::list_participants(call),
            GET_INFO => self.get_info(call, file),
            GET_FAILURE => get_failure(call),
            _ => Err(Errno::ENOTTY),
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
    fn make_session(&self, machine: &Machine) -> Result<SessionId, Errno> {
        if let Some(id) = self.session() {
            return Ok(id);
        }
        let made = ops::create_device_session(machine).map_err(|why| why.errno())?;
        let (bits, ordering) = (made.to_bits(), Ordering::AcqRel);
        let stored = self
            .session
            .compare_exchange(0, bits, ordering, Ordering::Acquire);
        match stored {
            Ok(_) => Ok(made),
            // Somebody else was first: theirs is the one. Ours has no files, so its
            // close cannot fail.
            Err(theirs) => {
                let _ = ops::close_session(machine, made);
                Ok(SessionId::from_bits(theirs))
            }
        }
    }

    /// FD_PRESERVE.
    fn preserve(&self, call: &Call<'_>) -> Result<(), Errno> {
        let mut said: LiveupdateFd = read_fixed(call.caller, call.argument)?;
        if said.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let id = self.make_session(call.machine)?;
        let fd = said.fd;
        let open = || call.file(fd);
        // Who does not learn the token has registered nothing.
        let answer = |token| {
            said.token = token;
            write_fixed(call.caller, call.argument, &said)
        };
        let registered = ops::register_file(call.machine, id, answer, open);
        registered.map(drop).map_err(|why| why.errno())
    }

    /// FD_UNPRESERVE.
    fn unpreserve(&self, call: &Call<'_>) -> Result<(), Errno> {
        let token: u64 = read_fixed(call.caller, call.argument)?;
        // Told also to those who have registered nothing.
        let changeable = call.machine.wait(|engine| engine.may_change());
        changeable.map_err(|why| why.errno())?;
        let id = self.session().ok_or(Errno::ENOENT)?;
        ops::unpreserve_file(call.machine, id, token).map_err(|why| why.errno())
    }

    /// GET_INFO; from now on the owner knows the state.
    fn get_info(&self, call: &Call<'_>, file: &OwnedFd) -> Result<(), Errno> {
        let (said, answer) = argument::read::<Info>(call.caller, call.argument)?;
        let many = if call.machine.policy.many_openers {
            FEATURE_MANY_OPENERS
        } else {
            0
        };
        let features = FEATURE_POLL | many;
        let mut info = call
            .machine
            .now(|engine| engine.info(IMPLEMENTATION, features));
        info.size = said.size;
        answer.write(&info)?;
        self.knows(call.machine, file, info.state_changes);
        Ok(())
    }

    /// Says where the machine is in an update; from now on the owner knows.
    fn get_state(&self, call: &Call<'_>, file: &OwnedFd) -> Result<(), Errno> {
        let (state, changes) = call.machine.state();
        write_fixed(call.caller, call.argument, &(state as u32))?;
        self.knows(call.machine, file, changes);
        Ok(())
    }

    /// Notes that the owner knows of so many changes of state.
    fn knows(&self, machine: &Machine, file: &OwnedFd, changes: u64) {
        // Of two who read at once the later change counts.
        self.seen.fetch_max(changes, Ordering::Relaxed);
        let mut bell = lock(&self.bell);
        if bell.1 {
            signal::quiet(file);
            bell.1 = false;
        }
        drop(bell);
        // What has changed since is news again.
        self.tell(machine);
    }

    /// Makes the descriptor readable if the state has changed since the owner last
    /// read it.
    pub(crate) fn tell(&self, machine: &Machine) {
        let mut bell = lock(&self.bell);
        let (_, changes) = machine.state();
        if !bell.1 && self.seen.load(Ordering::Relaxed) != changes {
            signal::ring(&bell.0);
            bell.1 = true;
        }
    }
}

/// FD_RESTORE.
fn restore(call: &Call<'_>) -> Result<(), Errno> {
    let mut said: LiveupdateFd = read_fixed(call.caller, call.argument)?;
    if said.flags != 0 {
        return Err(Errno::EINVAL);
    }
    let restored = ops::restore_file(call.machine, said.token);
    let (id, file) = restored.map_err(|why| why.errno())?;
    said.fd = -1;
    // Who is not told gets nothing, and it can be restored again.
    said.fd = write_fixed(call.caller, call.argument, &said)
        .and_then(|()| call.caller.install(file.as_fd(), true))
        .inspect_err(|_| ops::put_back_file(call.machine, id))?;
    let _ = write_fixed(call.caller, call.argument, &said);
    Ok(())
}

/// The answer to an event; what happened is in the log already.
fn event<T, E: Into<luo_core::Failure>>(outcome: Result<T, E>) -> Result<(), Errno> {
    match outcome {
        Ok(_) => Ok(()),
        Err(why) => Err(why.into().errno()),
    }
}

/// GET_FAILURE.
fn get_failure(call: &Call<'_>) -> Result<(), Errno> {
    let (said, answer) = argument::read::<Failure>(call.caller, call.argument)?;
    let mut info = call.machine.now(|engine| engine.failure_info());
    info.size = said.size;
    answer.write(&info)
}

/// Takes over the previous kernel's sessions, at the first open, and finishes
/// what could not be finished at its close.
fn take_over(machine: &Machine) -> Result<(), Errno> {
    let unfinished = |why: &Error| {
        machine.warn(format_args!("a closed session is not finished yet: {why}"));
    };
    match ops::open_device(machine, unfinished) {
        Ok(report) => {
            if let Some((sessions, files)) = report.taken_over {
                machine.info(format_args!(
                    "took over {sessions} sessions with {files} files"
                ));
            }
            Ok(())
        }
        Err((why, news)) => {
            if news {
                machine.refused(&why);
            }
            Err(why.errno())
        }
    }
}

fn create(call: &Call<'_>) -> Result<(), Errno> {
    let (mut said, answer) = argument::read::<CreateSession>(call.caller, call.argument)?;
    let name = SessionName::parse(&said.name).map_err(|why| Error::from(why).errno())?;
    // A program that cannot be answered has made nothing.
    said.fd = -1;
    answer.write(&said)?;
    let id = ops::create_session(call.machine, &name).map_err(|why| why.errno())?;
    publish(call, &answer, id, |fd| {
        said.fd = fd;
        said
    })
    .inspect_err(|_| {
        // It has no files yet: closing it cannot fail.
        let _ = ops::close_session(call.machine, id);
    })
}

fn retrieve(call: &Call<'_>) -> Result<(), Errno> {
    let (mut said, answer) = argument::read::<RetrieveSession>(call.caller, call.argument)?;
    // No session has a name that is none: ENOENT, as in mainline.
    let name = SessionName::parse(&said.name).map_err(|_| Errno::ENOENT)?;
    let id = ops::retrieve_session(call.machine, &name).map_err(|why| why.errno())?;
    // Whoever is not told gets nothing: the session is there for another try.
    said.fd = -1;
    let answered = answer.write(&said).and_then(|()| {
        publish(call, &answer, id, |fd| {
            said.fd = fd;
            said
        })
    });
    answered.inspect_err(|_| ops::put_back_session(call.machine, id))
}

/// Makes a session's descriptor one of the program's.
fn publish<T: zerocopy::IntoBytes + zerocopy::Immutable>(
    call: &Call<'_>,
    answer: &Answer<'_>,
    id: SessionId,
    with: impl FnOnce(i32) -> T,
) -> Result<(), Errno> {
    let fd = call.table.give_session(call.caller, id)?;
    // The descriptor is there from here on: that the memory has gone since is the
    // business of the program's other thread, which took it.
    let _ = answer.write(&with(fd));
    Ok(())
}
