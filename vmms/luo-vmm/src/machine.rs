// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest with all that it has: made, saved, restored, run and stopped.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use luo_monitor::exit::Ended;
use vm_superio::serial::SerialState;

use crate::boot::{self, Program};
use crate::clocks::{self, Choice, Stopped};
use crate::doorbell::Doorbell;
use crate::exit::Error;
use crate::preserved::{self, Kept};
use crate::ram;
use crate::run::{Life, Running, Still};
use crate::said::Said;
use crate::serial::{self, Serial};
use crate::state::guest::{Devices, State};
use crate::system::System;
use crate::vcpu::{Vcpu, host};
use crate::vm::Vm;

/// What says in a state who has written it.
const WRITER: &str = concat!("luo-vmm ", env!("CARGO_PKG_VERSION"));

fn map(file: &File, bytes: u64) -> Result<ram::Ram, Error> {
    ram::map(file, bytes).map_err(Error::system("the guest's RAM"))
}

/// How long the last words of a guest that stands still are waited for.
const WORDS: Duration = Duration::from_millis(100);

/// Processors that stand still, and the devices that they share.
fn still(vcpus: Vec<Vcpu>, serial: Serial, kept: Option<&Kept>) -> Life<Still> {
    let serial = Arc::new(Mutex::new(serial));
    let heard = kept.map(|kept| kept.doorbell.heard());
    let one = |vcpu| Still {
        vcpu,
        serial: Arc::clone(&serial),
        heard: heard.clone(),
    };
    Life::Still(vcpus.into_iter().map(one).collect())
}

/// Ticks of a guest's counter in a millisecond, which is the same on each of its processors.
fn khz_of<'a>(vcpus: impl IntoIterator<Item = &'a Vcpu>) -> Result<u32, Error> {
    let none = || Error::Guest("it has no processor".into());
    vcpus.into_iter().next().ok_or_else(none)?.khz()
}

/// Where what the guest says goes to.
pub type Out<'a> = Option<&'a std::path::Path>;

/// What a guest is started with.
pub struct First<'a> {
    /// Bytes of RAM.
    pub bytes: u64,
    /// Its processors.
    pub processors: u8,
    /// What goes over a jump.
    pub preserve: preserved::Choice,
    /// Its program.
    pub program: &'a Program,
    /// Where what it says goes to.
    pub out: Out<'a>,
}

/// A guest.
pub struct Machine {
    /// The VM in which it runs.
    vm: Vm,
    /// The file of its RAM.
    file: File,
    kept: Option<Kept>,
    /// Registers of a model that this KVM knows.
    msrs: Vec<u32>,
    ram: u64,
    /// Ticks of its counter in a millisecond, as at its first start: what a later kernel measures is
    /// another number, and not what the guest has.
    khz: u32,
    /// Ticks of the host's in a millisecond, as this kernel has measured it.
    host_khz: u32,
    /// When the counter of each processor is to interrupt, until that is set, and its offset.
    counters: Vec<(Option<u64>, u64)>,
    /// The host's counter when it was told to stop.
    told: u64,
    said: Arc<Said>,
    life: Life<Still>,
}

impl Machine {
    /// A guest with so many processors, at its first start. It stands still.
    ///
    /// # Errors
    /// [`Error`].
    pub fn first(first: &First<'_>) -> Result<Self, Error> {
        let (bytes, count) = (first.bytes, first.processors);
        let system = System::open()?;
        let vm = system.create()?;
        vm.furnish()?;
        let (file, kept) = match first.preserve {
            preserved::Choice::Ram => {
                let made = ram::create(bytes);
                (made.map_err(Error::system("the guest's RAM"))?, None)
            }
            preserved::Choice::Machine => (vm.memory(bytes)?, Some(Kept::new(&vm)?)),
        };
        let ram = map(&file, bytes)?;
        vm.give(&ram, kept.as_ref().map(|_| &file))?;
        let regs = boot::load(first.program, &ram)?;
        // All counters begin at zero, by one offset that is known from here on.
        let offset = 0u64.wrapping_sub(host()?);
        let mut vcpus = Vec::new();
        for number in 0..count {
            let vcpu = vm.vcpu(number)?;
            vcpu.set_cpuid(&system.cpuid(number, count)?)?;
            if number == 0 {
                vcpu.start_at(&regs, boot::flatten)?;
            }
            vcpu.set_counter(offset)?;
            vcpus.push(vcpu);
        }
        let khz = khz_of(&vcpus)?;
        let said = serial::out(first.out)?;
        let serial = Serial::new(&vm, &SerialState::default(), &said)?;
        Ok(Self {
            msrs: system.msrs()?,
            life: still(vcpus, serial, kept.as_ref()),
            vm,
            file,
            kept,
            ram: bytes,
            khz,
            host_khz: khz,
            counters: Vec::new(),
            told: 0,
            said,
        })
    }

    /// A guest that goes on from a state, in RAM that is mapped as it is, and in the VM that came
    /// with it, if one did. It stands still: its clocks are set when it goes on.
    ///
    /// # Errors
    /// [`Error::NotResumed`]; [`Error::Kvm`] if KVM has no machine for it.
    pub fn restore(
        file: File,
        state: &State,
        kept: Option<Kept>,
        out: Out<'_>,
    ) -> Result<Self, Error> {
        let system = System::open()?;
        let ram = map(&file, state.ram)?;
        let vm = preserved::home(&system, kept.as_ref(), &ram, &file)?;
        let mut vcpus = Vec::new();
        for (number, _) in (0..).zip(&state.vcpus) {
            vcpus.push(vm.vcpu(number)?);
        }
        let (khz, host_khz) = (state.clocks.tsc_khz, khz_of(&vcpus)?);
        let mut counters = Vec::new();
        for (vcpu, its) in vcpus.iter().zip(&state.vcpus) {
            if !state.clocks.runs_at(host_khz) && system.scales() {
                vcpu.set_khz(khz).map_err(Error::not_resumed)?;
            }
            counters.push((vcpu.restore(its)?, its.tsc_offset));
        }
        let said = serial::out(out)?;
        // It may raise its line; what the controllers have of that comes next.
        let serial = Serial::new(&vm, &state.devices.serial, &said)?;
        let took = vm.set_pit(&state.devices.pit);
        took.map_err(Error::not_resumed)?;
        let took = vm.set_chips(&state.devices.chips);
        took.map_err(Error::not_resumed)?;
        Ok(Self {
            msrs: system.msrs()?,
            life: still(vcpus, serial, kept.as_ref()),
            vm,
            file,
            kept,
            ram: state.ram,
            khz,
            host_khz,
            counters,
            told: 0,
            said,
        })
    }

    /// Sets the clocks of a guest that was restored; gives what people should know of them.
    /// Nothing runs yet, and it can be tried again.
    ///
    /// # Errors
    /// [`Error::NotResumed`].
    pub fn set_clocks(
        &mut self,
        stopped: &Stopped,
        choice: Choice,
    ) -> Result<Option<String>, Error> {
        let (vm, host_khz) = (self.vm.clone(), self.host_khz);
        let counters = self.counters.clone();
        let processors = self.still()?;
        let has = khz_of(processors.iter().map(|still| &still.vcpu))?;
        let warning = (!stopped.runs_at(has)).then(|| {
            let was = stopped.tsc_khz;
            format!(
                "the guest's counter ran at {was} kHz, and this kernel has measured {has} kHz, which \
                 this processor cannot scale: the guest's clocks leap. tsc_early_khz={was} on the \
                 command line of each kernel keeps them from it"
            )
        });
        // One for all, by one look at the host's counter: they stay as far apart as they were.
        let plan = stopped.go_on(host()?, choice, host_khz);
        for (still, (deadline, was)) in processors.iter().zip(counters) {
            let offset = plan.offset_of(was, stopped);
            let took = still.vcpu.set_counter(offset);
            took.map_err(Error::not_resumed)?;
            // Behind the counter, by which it is reckoned.
            still.vcpu.set_deadline(deadline)?;
        }
        let took = clocks::settle(&plan, host, |ns| vm.set_clock(ns), || vm.clock());
        took.map_err(Error::not_resumed)?;
        for still in processors {
            still.vcpu.stood();
        }
        Ok(warning)
    }

    fn still(&mut self) -> Result<&mut Vec<Still>, Error> {
        match &mut self.life {
            Life::Still(processors) => Ok(processors),
            _ => Err(Error::Guest("it does not stand still".into())),
        }
    }

    /// The state of a guest that stands still.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn save(&mut self) -> Result<State, Error> {
        if let Some(kept) = &mut self.kept {
            kept.doorbell.disconnect(&self.vm)?;
        }
        let doorbell = self.doorbell().map(|bell| bell.heard().count());
        let (vm, msrs, ram, told) = (self.vm.clone(), self.msrs.clone(), self.ram, self.told);
        let tsc_khz = self.khz;
        let processors = self.still()?;
        // At one moment: kvmclock goes on while the guest does not.
        let (kvmclock_ns, ticks) = vm.clock()?;
        let vcpus = processors.iter().map(|still| still.vcpu.save(&msrs));
        let vcpus = vcpus.collect::<Result<Vec<_>, _>>()?;
        let first = processors.first().zip(vcpus.first());
        let (still, vcpu) = first.ok_or_else(|| Error::Guest("it has no processor".into()))?;
        let serial = still.serial.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(State {
            ram,
            clocks: Stopped {
                kvmclock_ns,
                ticks,
                tsc_offset: vcpu.tsc_offset,
                tsc_khz,
            },
            devices: Devices {
                pit: vm.pit()?,
                chips: vm.chips()?,
                serial: serial.state(),
                doorbell,
            },
            vcpus,
            writer: WRITER.to_owned(),
            told,
        })
    }

    /// Lets the guest run. One that runs already does so: it did not stop in time.
    ///
    /// # Errors
    /// As those of [`Machine::start_after`].
    pub fn start(&mut self) -> Result<(), Error> {
        self.start_after(|| Ok(()))
    }

    /// Lets the guest run. `before` is called right before that, on the thread on which it runs; if
    /// it fails, nothing has run.
    ///
    /// # Errors
    /// Those of `before`; [`Error::Monitor`], and the guest stands still as before; [`Error::Guest`]:
    /// it has ended.
    pub fn start_after(
        &mut self,
        before: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        if let Some(kept) = &mut self.kept {
            kept.doorbell.connect(&self.vm)?;
        }
        self.life.start(before)
    }

    /// Has the guest stand still. It may turn out that it has [`ended`](Self::ended).
    ///
    /// # Errors
    /// [`Error::Guest`]: it does not stop in time, and runs on.
    pub fn stop(&mut self, late: Instant) -> Result<(), Error> {
        if self.running().is_none() {
            return Ok(());
        }
        let told = host()?;
        let within = late.saturating_duration_since(Instant::now());
        self.life.stop(within)?;
        self.told = told;
        self.said.settle(WORDS);
        Ok(())
    }

    /// How the guest has ended, if it was seen to.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        match &self.life {
            Life::Over(ended) => Some(ended),
            _ => None,
        }
    }

    /// The guest that runs, if it does.
    #[must_use]
    pub fn running(&self) -> Option<&Running<Still>> {
        match &self.life {
            Life::Runs(running) => Some(running),
            _ => None,
        }
    }

    /// What the guest says.
    #[must_use]
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// Whether the VM that came with it was used up, and it runs in another one.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| !kept.vm.is_same(&self.vm))
    }

    /// The file of its RAM.
    #[must_use]
    pub fn memory(&self) -> &File {
        &self.file
    }

    /// Its doorbell, if it has one.
    #[must_use]
    pub fn doorbell(&self) -> Option<&Doorbell> {
        Some(&self.kept.as_ref()?.doorbell)
    }

    /// What goes over a jump beside its RAM, and before it.
    #[must_use]
    pub fn files(&self) -> preserved::Files<'_> {
        self.kept.as_ref().map(Kept::files).unwrap_or_default()
    }

    /// Ticks of its counter in a millisecond, as at its first start.
    #[must_use]
    pub fn khz(&self) -> u32 {
        self.khz
    }

    /// Ticks of the host's counter in a millisecond, as this kernel has measured it.
    #[must_use]
    pub fn host_khz(&self) -> u32 {
        self.host_khz
    }
}
