// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handlers of memfds, over [`crate::memfd`]: one for each form in which a kernel of this
//! project hands them over. Here nothing is handed over but the file itself, so all that
//! differs is the name, and which of the two takes a file.

use luo_abi::errno::Errno;
use luo_core::Frozen;

use super::Kind;
use crate::machine::Machine;
use crate::memfd::{self, File};
use crate::memory::Kept;

/// A handler of memfds.
pub(crate) enum Memfd {
    /// In mainline's form.
    Mainlines,
    /// In runs of pages.
    Runs,
}

impl Kind for Memfd {
    fn name(&self) -> &'static str {
        match self {
            Self::Mainlines => memfd::COMPATIBLE,
            Self::Runs => memfd::RUNS,
        }
    }

    fn knows(&self, machine: &Machine, file: &File) -> bool {
        // A kernel with mainline's handler has no other, whatever is chosen.
        let runs = machine.policy.has_runs() && !machine.mainlines_memfds;
        matches!(self, Self::Runs) == runs && memfd::is_memfd(file)
    }

    fn preserve(&self, machine: &Machine, file: &File) -> Result<(u64, Option<Kept>), Errno> {
        let (data, kept) = machine.memfds.preserve(&machine.memory, file)?;
        Ok((data, Some(kept)))
    }

    fn unpreserve(&self, machine: &Machine, file: &File) {
        machine.memfds.unpreserve(file);
    }

    fn freeze(&self, machine: &Machine, file: Frozen<'_, Machine>) -> Result<(), Errno> {
        let kept = file.private.as_mut().ok_or(Errno::EIO)?;
        machine.memfds.freeze(file.file, kept).inspect_err(|_| {
            machine.warn(format_args!(
                "a preserved memfd was resized by writing to it, \
                 which the kernel would have refused: the freeze is vetoed"
            ));
        })
    }

    fn retrieve(&self, machine: &Machine, data: u64) -> Result<File, Errno> {
        machine.memfds.retrieve(&machine.memory, data)
    }

    fn discard(&self, machine: &Machine, data: u64) {
        machine.memfds.discard(&machine.memory, data);
    }
}
