// SPDX-License-Identifier: MIT OR Apache-2.0
//! Subsystems, and why there are no FLBs.

use luo_abi::errno::Errno;
use luo_core::{FlbCallbacks, SubsystemCallbacks};

use crate::driver;
use crate::fault::Step;
use crate::machine::Machine;

/// Nobody can go away: handlers and subsystems stay as long as the machine.
pub(crate) struct Pin;

/// A subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subsystem {
    /// One that was asked for by name: its place in the machine's list.
    Named(usize),
    /// One of the test driver's.
    Driver(driver::Subsystem),
}

impl Subsystem {
    fn name(self, machine: &Machine) -> String {
        match self {
            Self::Named(at) => {
                let name = machine.subsystems.get(at);
                name.map_or_else(String::new, ToString::to_string)
            }
            Self::Driver(which) => which.name().to_owned(),
        }
    }
}

impl SubsystemCallbacks<Machine> for Subsystem {
    fn pin(&self, _: &Machine) -> Option<Pin> {
        Some(Pin)
    }

    fn prepare(&self, machine: &Machine) -> Result<u64, Errno> {
        machine.callback(Step::SubsystemPrepare, self.name(machine))?;
        match *self {
            Self::Named(_) => Ok(machine.next_subsystem_data()),
            Self::Driver(which) => machine.driver()?.prepare_subsystem(machine, which),
        }
    }

    fn freeze(&self, machine: &Machine, data: u64) -> Result<u64, Errno> {
        machine.callback(Step::SubsystemFreeze, self.name(machine))?;
        match *self {
            Self::Named(_) => Ok(data),
            Self::Driver(which) => machine.driver()?.freeze_subsystem(machine, which, data),
        }
    }

    fn cancel(&self, machine: &Machine, data: u64) {
        let _ = machine.callback(Step::SubsystemCancel, self.name(machine));
        if let (Self::Driver(which), Ok(driver)) = (*self, machine.driver()) {
            driver.cancel_subsystem(machine, which, data);
        }
    }

    fn finish(&self, machine: &Machine, data: u64) {
        let _ = machine.callback(Step::SubsystemFinish, self.name(machine));
        if let (Self::Driver(which), Ok(driver)) = (*self, machine.driver()) {
            driver.finish_subsystem(machine, which, data);
        }
    }
}

/// There are no FLBs: no driver of the simulator has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Never {}

impl FlbCallbacks<Machine> for Never {
    fn pin(&self, _: &Machine) -> Option<Pin> {
        match *self {}
    }

    fn preserve(&self, _: &Machine) -> Result<(u64, Option<Never>), Errno> {
        match *self {}
    }

    fn unpreserve(&self, _: &Machine, _: u64, _: Option<Never>) {
        match *self {}
    }

    fn retrieve(&self, _: &Machine, _: u64) -> Result<Option<Never>, Errno> {
        match *self {}
    }

    fn finish(&self, _: &Machine, _: Option<Never>) {
        match *self {}
    }
}
