// SPDX-License-Identifier: GPL-2.0-only
//! The callbacks of file handlers, FLBs and subsystems, as the engine calls them.

use kernel::fs::File;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_core::{FileCallbacks, FlbCallbacks, Frozen, Incoming, Preserved, SubsystemCallbacks};

use crate::host::Linux;
use crate::sys::account;
use crate::sys::file;
use crate::sys::flb::{FlbObject, FlbTable};
use crate::sys::handler_table::HandlerTable;
use crate::sys::module::ModulePin;
use crate::sys::subsystem::SubsystemTable;

impl FileCallbacks<Linux> for HandlerTable {
    fn pin(&self, _: &Linux) -> Option<ModulePin> {
        ModulePin::new(self.owner())
    }

    fn object_id(&self, _: &Linux, file: &ARef<File>) -> u64 {
        HandlerTable::object_id(self, file)
    }

    fn can_preserve(&self, _: &Linux, file: &ARef<File>) -> bool {
        HandlerTable::can_preserve(self, file)
    }

    fn bytes(&self, _: &Linux, file: &ARef<File>) -> u64 {
        file::bytes(file)
    }

    fn preserve(&self, _: &Linux, file: &ARef<File>) -> Result<Preserved<Linux>, Errno> {
        let (data, private) = HandlerTable::preserve(self, file)?;
        Ok(Preserved { data, private })
    }

    fn unpreserve(&self, _: &Linux, file: Frozen<'_, Linux>) {
        HandlerTable::unpreserve(self, file.file, file.data, file.private);
    }

    fn freeze(&self, _: &Linux, file: Frozen<'_, Linux>) -> Result<u64, Errno> {
        HandlerTable::freeze(self, file.file, file.data, file.private)
    }

    fn unfreeze(&self, _: &Linux, file: Frozen<'_, Linux>) {
        HandlerTable::unfreeze(self, file.file, file.data, file.private);
    }

    fn retrieve(&self, _: &Linux, data: u64) -> Result<ARef<File>, Errno> {
        HandlerTable::retrieve(self, data)
    }

    fn can_finish(&self, _: &Linux, file: &Incoming<'_, Linux>) -> bool {
        HandlerTable::can_finish(self, file.file, file.data, file.retrieval)
    }

    fn finish(&self, _: &Linux, file: &Incoming<'_, Linux>) {
        HandlerTable::finish(self, file.file, file.data, file.retrieval);
    }
}

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

    fn prepare(&self, _: &Linux) -> Result<u64, Errno> {
        SubsystemTable::prepare(self)
    }

    fn freeze(&self, _: &Linux, data: u64) -> Result<u64, Errno> {
        SubsystemTable::freeze(self, data)
    }

    fn cancel(&self, _: &Linux, data: u64) {
        SubsystemTable::cancel(self, data);
    }

    fn finish(&self, _: &Linux, data: u64) {
        SubsystemTable::finish(self, data);
    }
}
