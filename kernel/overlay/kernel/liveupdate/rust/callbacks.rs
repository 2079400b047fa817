// SPDX-License-Identifier: GPL-2.0-only
//! The callbacks of FLBs and subsystems, as the engine calls them. Those of file handlers
//! are in [`crate::handler`].

use luo_abi::errno::Errno;
use luo_core::{FlbCallbacks, SubsystemCallbacks};

use crate::host::Linux;
use crate::sys::account;
use crate::sys::flb::{FlbObject, FlbTable};
use crate::sys::module::ModulePin;
use crate::sys::subsystem::SubsystemTable;

impl FlbCallbacks<Linux> for FlbTable {
    fn pin(&self, _: &Linux) -> Option<ModulePin> {
        ModulePin::new(self.owner())
    }

    fn preserve(&self, _: &Linux) -> Result<(u64, Option<FlbObject>), Errno> {
        // The object is one of all sessions that need it, and of none.
        account::of_machine(|| FlbTable::preserve(self))
    }

    fn unpreserve(&self, _: &Linux, data: u64, object: Option<FlbObject>) {
        FlbTable::unpreserve(self, data, object);
    }

    fn retrieve(&self, _: &Linux, data: u64) -> Result<Option<FlbObject>, Errno> {
        account::of_machine(|| FlbTable::retrieve(self, data))
    }

    fn finish(&self, _: &Linux, object: Option<FlbObject>) {
        FlbTable::finish(self, object);
    }
}

impl SubsystemCallbacks<Linux> for SubsystemTable {
    fn pin(&self, _: &Linux) -> Option<ModulePin> {
        ModulePin::new(self.owner())
    }

    // A subsystem is the machine's, whoever calls prepare or ends the last session.

    fn prepare(&self, _: &Linux) -> Result<u64, Errno> {
        account::of_machine(|| SubsystemTable::prepare(self))
    }

    fn freeze(&self, _: &Linux, data: u64) -> Result<u64, Errno> {
        account::of_machine(|| SubsystemTable::freeze(self, data))
    }

    fn cancel(&self, _: &Linux, data: u64) {
        account::of_machine(|| SubsystemTable::cancel(self, data));
    }

    fn finish(&self, _: &Linux, data: u64) {
        account::of_machine(|| SubsystemTable::finish(self, data));
    }
}
