// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler of the test driver's files, over [`crate::driver`].

use luo_abi::errno::Errno;
use luo_core::{Kind, Subject, Unrestored};

use crate::descriptor::File;
use crate::driver;
use crate::machine::Machine;
use crate::memfd;

pub(crate) struct Forge;

impl Kind<Machine> for Forge {
    type Kept = ();

    fn compatible(&self) -> &'static str {
        driver::HANDLER
    }

    fn knows(&self, machine: &Machine, file: &File) -> bool {
        machine
            .driver()
            .is_ok_and(|driver| driver.find(file).is_some())
    }

    fn object_id(&self, _: &Machine, file: &File) -> u64 {
        memfd::object_id(file)
    }

    fn bytes(&self, _: &Machine, _: &File) -> u64 {
        0
    }

    fn preserve(&self, machine: &Machine, _: &Subject, file: &File) -> Result<(u64, ()), Errno> {
        let data = machine.driver()?.preserve(machine, file)?;
        Ok((data, ()))
    }

    fn unpreserve(&self, machine: &Machine, file: &File) {
        if let Ok(driver) = machine.driver() {
            driver.unpreserve(machine, file);
        }
    }

    fn freeze(&self, machine: &Machine, file: &File, (): &mut ()) -> Result<(), Errno> {
        machine.driver()?.freeze(machine, file)
    }

    fn unfreeze(&self, machine: &Machine, file: &File, (): &mut ()) {
        if let Ok(driver) = machine.driver() {
            driver.unfreeze(machine, file);
        }
    }

    fn retrieve(&self, machine: &Machine, _: &Subject, data: u64) -> Result<File, Unrestored> {
        Ok(machine.driver()?.retrieve(machine, data)?)
    }

    fn can_finish(&self, machine: &Machine) -> bool {
        machine.driver().is_ok_and(driver::Driver::can_finish)
    }

    fn discard(&self, _: &Machine, _: u64) {}

    fn finish(&self, machine: &Machine, data: u64) {
        if let Ok(driver) = machine.driver() {
            driver.finish(machine, data);
        }
    }
}
