// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptors that programs hold of us, and how their last close is seen.
//!
//! Each is one end of a socket pair. However it is duplicated, inherited or passed
//! on, the kernel counts; when the last is closed, our end hangs up. A descriptor of
//! a program is recognised by the number of the socket behind it.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

use luo_abi::errno::Errno;
use luo_core::SessionId;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::Shutdown;

use crate::caller;
use crate::client::Client;
use crate::device::Instance;
use crate::driver::Participant;
use crate::lock::lock;
use crate::machine::Machine;
use crate::policy::Choice;
use crate::socket::{self, errno, may_be_ours, number, pair};

/// What a descriptor is.
#[derive(Clone)]
pub(crate) enum Object {
    /// An open instance of the device.
    Device(Arc<Instance>),
    /// A session.
    Session(SessionId),
    /// `/sys/kernel/liveupdate/unclaimed` or its like, opened to be written.
    Choice(Choice),
    /// The test driver's participant.
    Participant(Participant),
}

struct Entry {
    object: Object,
    /// Our end; for a device a copy of it, the other is with the instance.
    ours: OwnedFd,
}

/// All of them, by the number of the socket.
pub(crate) struct Table {
    epoll: Arc<OwnedFd>,
    entries: Mutex<HashMap<u64, Entry>>,
}

impl Table {
    pub(crate) fn new(epoll: Arc<OwnedFd>) -> Self {
        Self {
            epoll,
            entries: Mutex::default(),
        }
    }

    /// What a descriptor of a program is, if it is one of ours.
    pub(crate) fn find(&self, file: &OwnedFd) -> Option<Object> {
        if !may_be_ours(file) {
            return None;
        }
        let number = number(file).ok()?;
        let entries = lock(&self.entries);
        entries.get(&number).map(|entry| entry.object.clone())
    }

    /// Notes an object, to be told of its last close; `theirs` is what programs hold.
    fn add(&self, object: Object, ours: OwnedFd, theirs: &OwnedFd) -> Result<u64, Errno> {
        let number = number(theirs)?;
        let flags = match object {
            Object::Choice(_) => EventFlags::IN | EventFlags::HUP,
            _ => EventFlags::HUP,
        };
        let data = EventData::new_u64(number);
        epoll::add(&self.epoll, &ours, data, flags).map_err(errno)?;
        lock(&self.entries).insert(number, Entry { object, ours });
        Ok(number)
    }

    fn forget(&self, number: u64) -> Option<Entry> {
        // Closing our end takes it out of the epoll as well.
        lock(&self.entries).remove(&number)
    }

    /// Opens the device for a caller. As with all descriptors that are given, our own
    /// copy is gone before the caller is answered: its close has to be the last.
    pub(crate) fn give_device(
        &self,
        machine: &Machine,
        caller: &dyn Client,
        close_on_exec: bool,
    ) -> Result<RawFd, Errno> {
        let (ours, theirs) = pair().map_err(errno)?;
        socket::end_at_once(&theirs).map_err(errno)?;
        let bell = ours.try_clone().map_err(|_| Errno::ENOMEM)?;
        let instance = Instance::open(machine, caller.identity(), bell)?;
        let added = self.add(Object::Device(Arc::clone(&instance)), ours, &theirs);
        let given = added.and_then(|number| {
            self.or_forget(number, caller.install(theirs.as_fd(), close_on_exec))
        });
        given.inspect_err(|_| instance.calls.close(machine))
    }

    /// Opens the test driver's participant for a caller.
    pub(crate) fn give_participant(
        &self,
        machine: &Machine,
        caller: &dyn Client,
        close_on_exec: bool,
    ) -> Result<RawFd, Errno> {
        let (ours, theirs) = pair().map_err(errno)?;
        let (participant, text) = Participant::open(machine)?;
        let given = rustix::io::write(&ours, text.as_bytes())
            // Behind the text is the end of the file.
            .and_then(|_| rustix::net::shutdown(&ours, Shutdown::Write))
            .map_err(errno)
            .and_then(|()| self.add(Object::Participant(participant), ours, &theirs))
            .and_then(|number| {
                self.or_forget(number, caller.install(theirs.as_fd(), close_on_exec))
            });
        given.inspect_err(|_| participant.release(machine))
    }

    /// Gives a caller the descriptor of a session.
    pub(crate) fn give_session(&self, caller: &dyn Client, id: SessionId) -> Result<RawFd, Errno> {
        let (ours, theirs) = pair().map_err(errno)?;
        // Nothing is ever sent: a read ends at once, and a poll says so, as the kernel's does
        // of a file without a poll of its own.
        rustix::net::shutdown(&ours, Shutdown::Write).map_err(errno)?;
        let number = self.add(Object::Session(id), ours, &theirs)?;
        self.or_forget(number, caller.install(theirs.as_fd(), true))
    }

    /// Opens a choice for a caller who may choose. What was chosen at the open can be read.
    pub(crate) fn give_choice(
        &self,
        caller: &dyn Client,
        choice: Choice,
        text: &str,
        close_on_exec: bool,
    ) -> Result<RawFd, Errno> {
        let (ours, theirs) = socket::messages_with_writers().map_err(errno)?;
        let number = rustix::io::write(&ours, text.as_bytes())
            // Behind the text is the end of the file.
            .and_then(|_| rustix::net::shutdown(&ours, Shutdown::Write))
            .map_err(errno)
            .and_then(|()| self.add(Object::Choice(choice), ours, &theirs))?;
        self.or_forget(number, caller.install(theirs.as_fd(), close_on_exec))
    }

    fn or_forget(&self, number: u64, given: Result<RawFd, Errno>) -> Result<RawFd, Errno> {
        given.inspect_err(|_| drop(self.forget(number)))
    }

    /// Something has happened to our end: what was written is read. At the last
    /// close gives the object, to be released.
    pub(crate) fn happened(&self, machine: &Machine, number: u64, closed: bool) -> Option<Object> {
        let object = lock(&self.entries)
            .get(&number)
            .map(|entry| entry.object.clone());
        if let Some(Object::Choice(choice)) = object {
            self.read_choice(machine, number, choice);
        }
        closed
            .then(|| self.forget(number))
            .flatten()
            .map(|entry| entry.object)
    }

    /// All that was written to a choice.
    fn read_choice(&self, machine: &Machine, number: u64, choice: Choice) {
        let next = || {
            let entries = lock(&self.entries);
            socket::next_message(&entries.get(&number)?.ours)
        };
        while let Some((line, writer)) = next() {
            let (line, name) = (String::from_utf8_lossy(&line), choice.name());
            let written = line.trim_end().escape_debug();
            if writer.is_some_and(|writer| !caller::might_administer(writer)) {
                machine.warn(format_args!(
                    "'{written}' was written to {name} without privileges: a kernel would have \
                     answered EACCES"
                ));
            } else if !machine.choose(choice, &line) {
                machine.warn(format_args!(
                    "'{written}' was written to {name}, which is {}: a kernel would have \
                     answered EINVAL",
                    choice.form()
                ));
            }
        }
    }
}

impl Object {
    /// The last close: its end.
    pub(crate) fn release(self, machine: &Machine) {
        match self {
            Self::Device(instance) => {
                instance.calls.close(machine);
                drop(instance);
                machine.note(0, "close", "device", "");
            }
            Self::Session(id) => {
                let info = machine.look(|engine| engine.session_info(id));
                luo_calls::close_session(machine, id);
                if let Some((name, _)) = info {
                    machine.note(0, "close", format_args!("session \"{name}\""), "");
                }
            }
            Self::Participant(participant) => participant.release(machine),
            Self::Choice(_) => {}
        }
    }
}
