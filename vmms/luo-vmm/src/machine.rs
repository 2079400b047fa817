// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest with all that it has: made, saved, restored, run and stopped.

use std::fs::File;
use std::time::Instant;

use vm_superio::serial::SerialState;

use crate::boot::{self, Program};
use crate::clocks::{Choice, Stopped};
use crate::exit::Error;
use crate::ram;
use crate::run::{Ended, Running, Still, Why};
use crate::serial::{self, Serial};
use crate::state::guest::{Devices, State};
use crate::system::System;
use crate::vcpu::host;
use crate::vm::Vm;

/// What says in a state who has written it.
const WRITER: &str = concat!("luo-vmm ", env!("CARGO_PKG_VERSION"));

fn map(file: &File, bytes: u64) -> Result<ram::Ram, Error> {
    ram::map(file, bytes).map_err(Error::system("the guest's RAM"))
}

/// Where what the guest says goes to.
pub type Out<'a> = Option<&'a std::path::Path>;

/// A guest.
pub struct Machine {
    vm: Vm,
    /// Registers of a model that this KVM knows.
    msrs: Vec<u32>,
    ram: u64,
    /// The host's counter when it was told to stop.
    told: u64,
    /// None only for as long as it changes from one to the other.
    life: Option<Life>,
}

enum Life {
    Still(Still),
    Runs(Running),
}

impl Machine {
    /// A guest at its first start. It stands still.
    ///
    /// # Errors
    /// [`Error`].
    pub fn first(file: &File, bytes: u64, program: &Program, out: Out<'_>) -> Result<Self, Error> {
        let system = System::open()?;
        let (vm, ram) = (system.create()?, map(file, bytes)?);
        vm.furnish(&ram)?;
        let vcpu = vm.vcpu()?;
        vcpu.set_cpuid(&system.cpuid()?)?;
        let regs = boot::load(program, &ram)?;
        vcpu.start_at(&regs, boot::flatten)?;
        // Its counter begins at zero, by an offset that is known from here on.
        vcpu.set_counter(0u64.wrapping_sub(host()?))?;
        let serial = Serial::new(&vm, &SerialState::default(), serial::out(out)?)?;
        Ok(Self {
            msrs: system.msrs()?,
            vm,
            ram: bytes,
            told: 0,
            life: Some(Life::Still(Still { vcpu, serial })),
        })
    }

    /// A guest that goes on from a state, in RAM that is mapped as it is. It stands still: its
    /// clocks are set when it goes on.
    ///
    /// # Errors
    /// [`Error::NotResumed`], [`Error::Kvm`].
    pub fn restore(file: &File, state: &State, out: Out<'_>) -> Result<Self, Error> {
        let system = System::open()?;
        let (vm, ram) = (system.create()?, map(file, state.ram)?);
        vm.furnish(&ram)?;
        let vcpu = vm.vcpu()?;
        let khz = state.clocks.tsc_khz;
        if !state.clocks.runs_at(vcpu.khz()?) && system.scales() {
            vcpu.set_khz(khz)?;
        }
        vcpu.restore(&state.vcpu)?;
        // It may raise its line; what the controllers have of that comes next.
        let serial = Serial::new(&vm, &state.devices.serial, serial::out(out)?)?;
        vm.set_pit(&state.devices.pit)?;
        vm.set_chips(&state.devices.chips)?;
        Ok(Self {
            msrs: system.msrs()?,
            vm,
            ram: state.ram,
            told: 0,
            life: Some(Life::Still(Still { vcpu, serial })),
        })
    }

    /// Sets the clocks of a guest that was restored; gives what people should know of them.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_clocks(
        &mut self,
        stopped: &Stopped,
        choice: Choice,
    ) -> Result<Option<String>, Error> {
        let vm = self.vm.clone();
        let still = self.still()?;
        let has = still.vcpu.khz()?;
        let warning = (!stopped.runs_at(has)).then(|| {
            let was = stopped.tsc_khz;
            format!(
                "the guest's counter ran at {was} kHz, and this kernel has measured {has} kHz, which \
                 this processor cannot scale: the guest's clocks leap. tsc_early_khz={was} on the \
                 command line of each kernel keeps them from it"
            )
        });
        let plan = stopped.go_on(host()?, choice);
        still.vcpu.set_counter(plan.tsc_offset)?;
        vm.set_clock(plan.kvmclock_ns)?;
        still.vcpu.stood();
        Ok(warning)
    }

    fn still(&mut self) -> Result<&mut Still, Error> {
        match &mut self.life {
            Some(Life::Still(still)) => Ok(still),
            _ => Err(Error::Guest("it does not stand still".into())),
        }
    }

    /// The state of a guest that stands still.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn save(&mut self) -> Result<State, Error> {
        let (vm, msrs, ram, told) = (self.vm.clone(), self.msrs.clone(), self.ram, self.told);
        let still = self.still()?;
        // At once: kvmclock goes on while the guest does not.
        let counter = still.vcpu.counter()?;
        let kvmclock_ns = vm.clock()?;
        Ok(State {
            ram,
            clocks: Stopped {
                kvmclock_ns,
                ticks: counter.ticks,
                tsc_offset: counter.offset,
                tsc_khz: counter.khz,
            },
            vcpu: still.vcpu.save(&msrs)?,
            devices: Devices {
                pit: vm.pit()?,
                chips: vm.chips()?,
                serial: still.serial.state(),
            },
            writer: WRITER.to_owned(),
            told,
        })
    }

    /// Lets the guest run.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn start(&mut self) -> Result<(), Error> {
        self.life = match self.life.take() {
            Some(Life::Still(still)) => Some(Life::Runs(still.start()?)),
            other => other,
        };
        Ok(())
    }

    /// Has the guest stand still; gives its end, if it has ended.
    ///
    /// # Errors
    /// [`Error::Guest`], or why it could not be run on.
    pub fn stop(&mut self, late: Instant) -> Result<Option<Ended>, Error> {
        let Some(Life::Runs(running)) = self.life.take_if(|life| matches!(life, Life::Runs(_)))
        else {
            return Ok(None);
        };
        self.told = host()?;
        let within = late.saturating_duration_since(Instant::now());
        let (still, why) = running.stop(within)?;
        self.life = Some(Life::Still(still));
        match why {
            Why::Told => Ok(None),
            Why::Ended(ended) => Ok(Some(ended)),
            Why::Failed(why) => Err(why),
        }
    }

    /// The guest that runs, if it does.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match &self.life {
            Some(Life::Runs(running)) => Some(running),
            _ => None,
        }
    }

    /// Bytes of its RAM.
    #[must_use]
    pub fn ram(&self) -> u64 {
        self.ram
    }

    /// Ticks of its counter in a millisecond, while it stands still.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn khz(&mut self) -> Result<u32, Error> {
        self.still()?.vcpu.khz()
    }
}
