// SPDX-License-Identifier: MIT OR Apache-2.0
//! File handlers: how each kind of file is saved and restored. One file a kind.

use luo_abi::errno::Errno;
use luo_core::{FileCallbacks, Frozen, Incoming, Preserved, Unrestored};

use crate::fault::Step;
use crate::machine::Machine;
use crate::memfd::{self, File};
use crate::memory::Kept;
use crate::participant::Pin;

pub(crate) mod forge;
pub(crate) mod memfd_kind;

/// A kind of file that can be preserved. The engine's callbacks come here after the
/// faults that a test has asked for.
pub(crate) trait Kind: Sync {
    /// The name that the next kernel finds the handler by.
    fn name(&self) -> &'static str;

    /// Whether a file is of this kind.
    fn knows(&self, machine: &Machine, file: &File) -> bool;

    /// Saves a file's state: a number for the next kernel, and what is kept of it.
    ///
    /// # Errors
    /// The kind's; nothing is kept then.
    fn preserve(&self, machine: &Machine, file: &File) -> Result<(u64, Option<Kept>), Errno>;

    /// Undoes `preserve`.
    fn unpreserve(&self, machine: &Machine, file: &File);

    /// Takes the last look before the kexec.
    ///
    /// # Errors
    /// The kind's veto.
    fn freeze(&self, machine: &Machine, file: Frozen<'_, Machine>) -> Result<(), Errno>;

    /// Undoes `freeze`.
    fn unfreeze(&self, _machine: &Machine, _file: &File) {}

    /// Restores a file.
    ///
    /// # Errors
    /// The kind's; what was saved is released.
    fn retrieve(&self, machine: &Machine, data: u64) -> Result<File, Errno>;

    /// Whether the kind lets go of a file of the previous kernel.
    fn can_finish(&self, _machine: &Machine) -> bool {
        true
    }

    /// Releases what was saved and not restored.
    fn discard(&self, _machine: &Machine, _data: u64) {}

    /// Hears that a file of the previous kernel is finished.
    fn finish(&self, _machine: &Machine, _data: u64) {}
}

/// A handler, by its kind.
#[derive(Clone, Copy)]
pub(crate) struct Handler(pub(crate) &'static dyn Kind);

impl PartialEq for Handler {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl FileCallbacks<Machine> for Handler {
    fn pin(&self, _: &Machine) -> Option<Pin> {
        Some(Pin)
    }

    fn object_id(&self, _: &Machine, file: &File) -> u64 {
        memfd::object_id(file)
    }

    fn can_preserve(&self, machine: &Machine, file: &File) -> bool {
        self.0.knows(machine, file)
    }

    fn bytes(&self, _: &Machine, file: &File) -> u64 {
        memfd::bytes(file)
    }

    fn preserve(&self, machine: &Machine, file: &File) -> Result<Preserved<Machine>, Errno> {
        machine.callback(Step::Preserve, Bytes(file))?;
        let (data, private) = self.0.preserve(machine, file)?;
        Ok(Preserved { data, private })
    }

    fn unpreserve(&self, machine: &Machine, file: Frozen<'_, Machine>) {
        let _ = machine.callback(Step::Unpreserve, Bytes(file.file));
        self.0.unpreserve(machine, file.file);
    }

    fn freeze(&self, machine: &Machine, file: Frozen<'_, Machine>) -> Result<u64, Errno> {
        machine.callback(Step::Freeze, Bytes(file.file))?;
        let data = file.data;
        self.0.freeze(machine, file)?;
        Ok(data)
    }

    fn unfreeze(&self, machine: &Machine, file: Frozen<'_, Machine>) {
        let _ = machine.callback(Step::Unfreeze, Bytes(file.file));
        self.0.unfreeze(machine, file.file);
    }

    fn retrieve(&self, machine: &Machine, data: u64) -> Result<File, Unrestored> {
        let told = machine.callback(Step::Retrieve, format_args!("{data:#x}"));
        told.inspect_err(|_| self.0.discard(machine, data))?;
        Ok(self.0.retrieve(machine, data)?)
    }

    fn can_finish(&self, machine: &Machine, file: &Incoming<'_, Machine>) -> bool {
        let told = machine.callback(Step::CanFinish, format_args!("{:#x}", file.data));
        told.is_ok() && self.0.can_finish(machine)
    }

    fn finish(&self, machine: &Machine, file: &Incoming<'_, Machine>) {
        let data = file.data;
        let _ = machine.callback(Step::Finish, format_args!("{data:#x}"));
        // A file that was retrieved is its owner's; a failure has released it.
        if file.retrieval == luo_core::Retrieval::None {
            self.0.discard(machine, data);
        }
        self.0.finish(machine, data);
    }
}

/// A file in a trace: how large it is.
struct Bytes<'a>(&'a File);

impl core::fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes", memfd::bytes(self.0))
    }
}
