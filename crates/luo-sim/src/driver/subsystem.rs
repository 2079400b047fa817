// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver's subsystems: `forge-a` and `forge-b`, and `forge-rust`.

use luo_abi::errno::Errno;
use luo_core::{Compat, Error, Lock};

use crate::driver::{Driver, fail_with};
use crate::log;
use crate::machine::Machine;

/// A subsystem of the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subsystem {
    /// Always agrees.
    ForgeA,
    /// The `subsystem_*_errno` are for this one.
    ForgeB,
    /// The participant's.
    ForgeRust,
}

/// Those that are registered on request, in that order.
const ON_REQUEST: [Subsystem; 2] = [Subsystem::ForgeA, Subsystem::ForgeB];

impl Subsystem {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ForgeA => "forge-a",
            Self::ForgeB => "forge-b",
            Self::ForgeRust => "forge-rust",
        }
    }

    /// What prepare leaves; freeze makes it one more.
    const fn data(self) -> u64 {
        match self {
            Self::ForgeA => 0xa0,
            Self::ForgeB => 0xb0,
            Self::ForgeRust => 0xc0,
        }
    }

    fn compat(self) -> Result<Compat, Errno> {
        Compat::try_from(self.name()).map_err(|_| Errno::EINVAL)
    }

    fn register(self, machine: &Machine) -> Result<(), Errno> {
        let (name, table) = (self.compat()?, crate::participant::Subsystem::Driver(self));
        let registered = machine.wait(|engine| engine.register_subsystem(name, &table));
        registered.map_err(|why| why.errno())
    }

    fn unregister(self, machine: &Machine) -> Result<(), Errno> {
        let table = crate::participant::Subsystem::Driver(self);
        let gone = machine.wait(|engine| engine.unregister_subsystem(&table));
        gone.map_err(|why| why.errno())
    }

    /// What it left in the previous kernel, as a text.
    fn left(self, machine: &Machine) -> Result<String, Errno> {
        let name = self.compat()?;
        machine.now(|engine| match engine.subsystem_data(&name) {
            Ok(data) => Ok(format!("{data:#x}")),
            Err(Error::NoData) => Ok("none".to_owned()),
            Err(why) => Err(why.errno()),
        })
    }
}

/// Registers both, or unregisters them; at the first error it goes no further.
pub(super) fn register(machine: &Machine, on: bool) -> Result<(), Errno> {
    let mut all = ON_REQUEST.into_iter();
    if on {
        all.try_for_each(|one| one.register(machine))
    } else {
        all.try_for_each(|one| one.unregister(machine))
    }
}

/// What they left in the previous kernel.
pub(super) fn data(machine: &Machine) -> Result<String, Errno> {
    let all = ON_REQUEST.map(|one| Ok(format!("{}={}", one.name(), one.left(machine)?)));
    Ok(all.into_iter().collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// An open `/dev/luo_participant`: the registration of `forge-rust`.
#[derive(Clone, Copy)]
pub(crate) struct Participant(());

impl Participant {
    /// Registers it; gives also what is to be read from the device.
    ///
    /// # Errors
    /// EEXIST if it is registered, EBUSY if nothing may be registered now.
    pub(crate) fn open(machine: &Machine) -> Result<(Self, String), Errno> {
        Subsystem::ForgeRust.register(machine)?;
        let left = Subsystem::ForgeRust.left(machine)?;
        Ok((Self(()), format!("{left}\n")))
    }

    /// The last close.
    pub(crate) fn release(self, machine: &Machine) {
        if let Err(why) = Subsystem::ForgeRust.unregister(machine) {
            machine.log.print(
                log::WARNING,
                "luo_participant",
                format_args!("a subsystem is not unregistered ({why}) and stays for good"),
            );
        }
    }
}

impl Driver {
    pub(crate) fn prepare_subsystem(
        &self,
        machine: &Machine,
        which: Subsystem,
    ) -> Result<u64, Errno> {
        self.called(machine, which, "prepare", None);
        if which == Subsystem::ForgeB {
            fail_with(self.state().numbers.subsystem_prepare_errno)?;
        }
        Ok(which.data())
    }

    pub(crate) fn freeze_subsystem(
        &self,
        machine: &Machine,
        which: Subsystem,
        data: u64,
    ) -> Result<u64, Errno> {
        self.called(machine, which, "freeze", Some(data));
        if which == Subsystem::ForgeB {
            fail_with(self.state().numbers.subsystem_freeze_errno)?;
        }
        Ok(which.data() + 1)
    }

    pub(crate) fn cancel_subsystem(&self, machine: &Machine, which: Subsystem, data: u64) {
        self.called(machine, which, "cancel", Some(data));
    }

    pub(crate) fn finish_subsystem(&self, machine: &Machine, which: Subsystem, data: u64) {
        self.called(machine, which, "finish", Some(data));
    }

    /// The participant's calls stand in the log of the kernel, the others' in the
    /// driver's own.
    fn called(&self, machine: &Machine, which: Subsystem, what: &str, data: Option<u64>) {
        let word = format!("{what}:{}", which.name());
        if which != Subsystem::ForgeRust {
            return self.enter(&machine.log, &machine.stop, &word);
        }
        let with = data.map_or_else(String::new, |data| format!(" {data:#x}"));
        machine
            .log
            .print(log::INFO, "luo_participant", format_args!("{word}{with}"));
    }
}
