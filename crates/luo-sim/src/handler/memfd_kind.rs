// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handlers of memfds, over [`crate::memfd`]: one for each form in which a kernel of this
//! project hands them over. Here nothing is handed over but the file itself, so all that
//! differs is the name, and which of them takes a file.

use luo_abi::errno::Errno;
use luo_core::{Kind, Subject, Unrestored};

use crate::descriptor::File;
use crate::machine::Machine;
use crate::memfd;
use crate::memory::Kept;

/// A handler of memfds.
pub(crate) enum Memfd {
    /// In mainline's form.
    Mainlines,
    /// In runs of pages.
    Runs,
    /// Of huge pages. The machine has them, or there are no such files.
    Huge,
}

/// In mainline's form.
pub(crate) static MAINLINES: Memfd = Memfd::Mainlines;

/// In runs of pages.
pub(crate) static IN_RUNS: Memfd = Memfd::Runs;

/// Of huge pages.
pub(crate) static HUGE: Memfd = Memfd::Huge;

impl Kind<Machine> for Memfd {
    type Kept = Kept;

    fn compatible(&self) -> &'static str {
        match self {
            Self::Mainlines => memfd::COMPATIBLE,
            Self::Runs => memfd::RUNS,
            Self::Huge => luo_abi::memfd::HUGE,
        }
    }

    fn knows(&self, machine: &Machine, file: &File) -> bool {
        // A kernel with mainline's handler has no other, whatever is chosen.
        let runs = machine.policy.has_runs() && !machine.mainlines_memfds;
        match self {
            Self::Mainlines => !runs && memfd::is_memfd(file),
            Self::Runs => runs && memfd::is_memfd(file),
            Self::Huge => memfd::is_huge(file),
        }
    }

    fn object_id(&self, _: &Machine, file: &File) -> u64 {
        memfd::object_id(file)
    }

    fn bytes(&self, _: &Machine, file: &File) -> u64 {
        memfd::bytes(file)
    }

    fn preserve(&self, machine: &Machine, _: &Subject, file: &File) -> Result<(u64, Kept), Errno> {
        machine.memfds.preserve(&machine.memory, file)
    }

    fn unpreserve(&self, machine: &Machine, file: &File) {
        machine.memfds.unpreserve(file);
    }

    fn freeze(&self, machine: &Machine, file: &File, kept: &mut Kept) -> Result<(), Errno> {
        machine.memfds.freeze(file, kept).inspect_err(|_| {
            machine.warn(format_args!(
                "a preserved memfd was resized by writing to it, \
                 which the kernel would have refused: the freeze is vetoed"
            ));
        })
    }

    fn retrieve(&self, machine: &Machine, _: &Subject, data: u64) -> Result<File, Unrestored> {
        Ok(machine.memfds.retrieve(&machine.memory, data)?)
    }

    fn discard(&self, machine: &Machine, data: u64) {
        machine.memfds.discard(&machine.memory, data);
    }
}
