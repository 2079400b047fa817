// SPDX-License-Identifier: MIT OR Apache-2.0
//! File handlers: how each kind of file is saved and restored. One file a kind, which
//! implements [`luo_core::Kind`] as the kernel's do.

use std::any::Any;

use luo_abi::errno::Errno;
use luo_core::{
    AnyKind, Compat, FileCallbacks, Incoming, Keeps, Outgoing, Preserved, Subject, Unrestored, ops,
};

use crate::descriptor::File;
use crate::driver;
use crate::fault::Step;
use crate::machine::Machine;
use crate::memfd;
use crate::participant::Pin;

mod eventfd;
mod forge;
mod memfd_kind;
mod pipe;
mod timerfd;

/// The handlers of a machine, in the order in which they are asked whether they know a file.
pub(crate) fn all(machine: &Machine) -> Vec<Handler> {
    let mut all: Vec<&'static dyn AnyKind<Machine>> = vec![&memfd_kind::MAINLINES];
    // A kernel with mainline's handler of memfds has mainline's only.
    if !machine.mainlines_memfds {
        all.push(&memfd_kind::IN_RUNS);
        all.push(&memfd_kind::HUGE);
        all.push(&eventfd::EVENTFDS);
        all.push(&timerfd::TIMERS);
        all.push(&pipe::PIPES);
    }
    let is_late = machine.policy.has(driver::LATE);
    if machine.driver.is_some() && !is_late {
        all.push(&forge::Forge);
    }
    all.into_iter().map(Handler).collect()
}

/// The test driver's handler is registered, or is not any more.
///
/// # Errors
/// It is already, or is not.
pub(crate) fn register_drivers(machine: &Machine, on: bool) -> Result<(), Errno> {
    let handler = Handler(&forge::Forge);
    let done = match on {
        true => {
            let name = Compat::try_from(handler.name()).map_err(|_| Errno::EINVAL)?;
            ops::register_handler(machine, name, &handler)
        }
        false => ops::unregister_handler(machine, &handler),
    };
    done.map_err(|why| why.errno())
}

/// A handler. The engine's callbacks come here after the faults that a test has asked for.
#[derive(Clone, Copy)]
pub(crate) struct Handler(&'static dyn AnyKind<Machine>);

impl Handler {
    /// The name that the next kernel finds it by.
    pub(crate) fn name(self) -> &'static str {
        self.0.compatible()
    }
}

impl PartialEq for Handler {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Keeps for Machine {
    fn keep<T: Send + 'static>(value: T) -> Result<Self::Private, Errno> {
        Ok(Box::new(value))
    }

    fn kept<T: 'static>(private: &mut Self::Private) -> Option<&mut T> {
        (&mut **private as &mut dyn Any).downcast_mut()
    }
}

impl FileCallbacks<Machine> for Handler {
    fn pin(&self, _: &Machine) -> Option<Pin> {
        Some(Pin)
    }

    fn object_id(&self, machine: &Machine, file: &File) -> u64 {
        self.0.object_id(machine, file)
    }

    fn can_preserve(&self, machine: &Machine, file: &File) -> bool {
        self.0.knows(machine, file)
    }

    fn bytes(&self, machine: &Machine, file: &File) -> u64 {
        self.0.bytes(machine, file)
    }

    fn preserve(
        &self,
        machine: &Machine,
        of: &Subject,
        file: &File,
    ) -> Result<Preserved<Machine>, Errno> {
        machine.callback(Step::Preserve, Bytes(file))?;
        self.0.preserve(machine, of, file)
    }

    fn unpreserve(&self, machine: &Machine, file: Outgoing<'_, Machine>) {
        let _ = machine.callback(Step::Unpreserve, Bytes(file.file));
        self.0.unpreserve(machine, &file);
    }

    fn freeze(&self, machine: &Machine, file: Outgoing<'_, Machine>) -> Result<u64, Errno> {
        machine.callback(Step::Freeze, Bytes(file.file))?;
        let data = file.data;
        self.0.freeze(machine, file)?;
        Ok(data)
    }

    fn unfreeze(&self, machine: &Machine, file: Outgoing<'_, Machine>) {
        let _ = machine.callback(Step::Unfreeze, Bytes(file.file));
        self.0.unfreeze(machine, file);
    }

    fn lose(&self, machine: &Machine, file: Outgoing<'_, Machine>) {
        self.0.lose(machine, file);
    }

    fn retrieve(&self, machine: &Machine, of: &Subject, data: u64) -> Result<File, Unrestored> {
        let told = machine.callback(Step::Retrieve, format_args!("{data:#x}"));
        told.inspect_err(|_| self.0.discard(machine, data))?;
        self.0.retrieve(machine, of, data)
    }

    fn can_finish(&self, machine: &Machine, file: &Incoming<'_, Machine>) -> bool {
        let told = machine.callback(Step::CanFinish, format_args!("{:#x}", file.data));
        told.is_ok() && self.0.can_finish(machine)
    }

    fn finish(&self, machine: &Machine, file: &Incoming<'_, Machine>) {
        let data = file.data;
        let _ = machine.callback(Step::Finish, format_args!("{data:#x}"));
        self.0.finish(machine, file);
    }
}

/// A file in a trace: how large it is.
struct Bytes<'a>(&'a File);

impl core::fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes", memfd::bytes(self.0))
    }
}
