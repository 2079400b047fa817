// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler of the test driver's files, over [`crate::driver`].

use luo_abi::errno::Errno;
use luo_core::Frozen;

use super::Kind;
use crate::driver;
use crate::machine::Machine;
use crate::memfd::File;
use crate::memory::Kept;

pub(crate) struct Forge;

impl Kind for Forge {
    fn name(&self) -> &'static str {
        driver::HANDLER
    }

    fn knows(&self, machine: &Machine, file: &File) -> bool {
        machine
            .driver()
            .is_ok_and(|driver| driver.find(file).is_some())
    }

    fn preserve(&self, machine: &Machine, file: &File) -> Result<(u64, Option<Kept>), Errno> {
        let data = machine.driver()?.preserve(machine, file)?;
        Ok((data, None))
    }

    fn unpreserve(&self, machine: &Machine, file: &File) {
        if let Ok(driver) = machine.driver() {
            driver.unpreserve(machine, file);
        }
    }

    fn freeze(&self, machine: &Machine, file: Frozen<'_, Machine>) -> Result<(), Errno> {
        machine.driver()?.freeze(machine, file.file)
    }

    fn unfreeze(&self, machine: &Machine, file: &File) {
        if let Ok(driver) = machine.driver() {
            driver.unfreeze(machine, file);
        }
    }

    fn retrieve(&self, machine: &Machine, data: u64) -> Result<File, Errno> {
        machine.driver()?.retrieve(machine, data)
    }

    fn can_finish(&self, machine: &Machine) -> bool {
        machine.driver().is_ok_and(driver::Driver::can_finish)
    }

    fn finish(&self, machine: &Machine, data: u64) {
        if let Ok(driver) = machine.driver() {
            driver.finish(machine, data);
        }
    }
}
