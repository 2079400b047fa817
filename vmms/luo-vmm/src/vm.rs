// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of a virtual machine: its RAM, its interrupt controllers, its timer, its clock.
//!
//! One that has come over a jump has its interrupt controllers and its timer already, and is the
//! process's that calls KVM with it first. Everything else is set as for a new one.
//!
//! Order matters on the way in: addresses that KVM takes for itself and interrupt controllers come
//! before processors; controllers get their state after the processors, whose local ones are a
//! part of them.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use kvm_bindings::{
    KVM_CLOCK_HOST_TSC, KVM_PIT_SPEAKER_DUMMY, kvm_clock_data, kvm_irqchip, kvm_pit_config,
    kvm_pit_state2,
};
use kvm_ioctls::VmFd;
use luo_sys::kvm::{MEMORY_INIT_SHARED, MEMORY_MMAP};
use rustix::io::Errno;

use crate::clocks::Look;
use crate::exit::Error;
use crate::ram::Ram;
use crate::state::guest::CHIPS;
use crate::vcpu::{Vcpu, host};

/// Pages that KVM needs on some processors, out of the way of everything.
const TSS: usize = 0xfffb_d000;
const IDENTITY_MAP: u64 = 0xfffb_c000;

/// A virtual machine.
#[derive(Clone)]
pub struct Vm {
    fd: Arc<VmFd>,
}

impl Vm {
    /// One that KVM has made.
    #[must_use]
    pub fn new(fd: VmFd) -> Self {
        Self { fd: Arc::new(fd) }
    }

    /// What calls of KVM's crates take.
    pub(crate) fn fd(&self) -> &VmFd {
        &self.fd
    }

    /// Whether both are one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fd, &other.fd)
    }

    /// Its descriptor, which can be preserved.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        luo_sys::kvm::descriptor(&self.fd)
    }

    /// Whether it is this process's. One that has come over a jump becomes so by this.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn is_ours(&self) -> Result<bool, Error> {
        match self.fd.set_identity_map_address(IDENTITY_MAP) {
            Err(why) if why.errno() == Errno::IO.raw_os_error() => Ok(false),
            set => set
                .map(|()| true)
                .map_err(Error::kvm("KVM_SET_IDENTITY_MAP_ADDR")),
        }
    }

    /// Makes memory of its own (guest_memfd) for its RAM: shared with this process, and mapped.
    ///
    /// # Errors
    /// [`Error::Kvm`]: this KVM has none that is.
    pub fn memory(&self, bytes: u64) -> Result<File, Error> {
        let flags = MEMORY_MMAP | MEMORY_INIT_SHARED;
        let made = luo_sys::kvm::create_memory(&self.fd, bytes, flags);
        let made = made.map_err(Error::call("KVM_CREATE_GUEST_MEMFD"))?;
        Ok(OwnedFd::into(made))
    }

    /// Gives it its interrupt controllers and its timer. One that has come over a jump has them.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn furnish(&self) -> Result<(), Error> {
        let made = self.fd.create_irq_chip();
        made.map_err(Error::kvm("KVM_CREATE_IRQCHIP"))?;
        let config = kvm_pit_config {
            flags: KVM_PIT_SPEAKER_DUMMY,
            ..kvm_pit_config::default()
        };
        let made = self.fd.create_pit2(config);
        made.map_err(Error::kvm("KVM_CREATE_PIT2"))
    }

    /// Gives it its RAM. `own` is the file of that if it is this VM's own memory; other files are
    /// RAM by their mapping alone.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn give(&self, ram: &Ram, own: Option<&File>) -> Result<(), Error> {
        let set = self.fd.set_identity_map_address(IDENTITY_MAP);
        set.map_err(Error::kvm("KVM_SET_IDENTITY_MAP_ADDR"))?;
        let set = self.fd.set_tss_address(TSS);
        set.map_err(Error::kvm("KVM_SET_TSS_ADDR"))?;
        let given = match own {
            Some(file) => luo_sys::kvm::give_own_ram(&self.fd, ram, file),
            None => luo_sys::kvm::give_ram(&self.fd, ram),
        };
        given.map_err(Error::call("RAM"))
    }

    /// Makes a processor. The first, of the number 0, is the one that begins to run; the others wait
    /// until it starts them.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn vcpu(&self, number: u8) -> Result<Vcpu, Error> {
        let fd = self.fd.create_vcpu(number.into());
        Ok(Vcpu::new(
            fd.map_err(Error::kvm("KVM_CREATE_VCPU"))?,
            Arc::clone(&self.fd),
        ))
    }

    /// A line to its interrupt controllers.
    #[must_use]
    pub fn line(&self, number: u32) -> Line {
        Line {
            fd: Arc::clone(&self.fd),
            number,
        }
    }

    /// kvmclock, in nanoseconds, and the host's counter at the same moment. The processor stands
    /// still.
    ///
    /// # Errors
    /// [`Error::Kvm`]; there is no counter on this host.
    pub fn clock(&self) -> Result<(u64, u64), Error> {
        crate::clocks::read(|| {
            let before = host()?;
            let clock = self.fd.get_clock();
            let clock = clock.map_err(Error::kvm("KVM_GET_CLOCK"))?;
            Ok(Look {
                ns: clock.clock,
                // A kernel that has both by one look says so.
                ticks: (clock.flags & KVM_CLOCK_HOST_TSC != 0).then_some(clock.host_tsc),
                around: (before, host()?),
            })
        })
    }

    /// Sets kvmclock.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_clock(&self, nanoseconds: u64) -> Result<(), Error> {
        // With the flag for the real time KVM would add what the host's own clock says has
        // passed, and that is set from a clock of whole seconds after a kexec.
        let clock = kvm_clock_data {
            clock: nanoseconds,
            flags: 0,
            ..kvm_clock_data::default()
        };
        let set = self.fd.set_clock(&clock);
        set.map_err(Error::kvm("KVM_SET_CLOCK"))
    }

    /// The timer.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn pit(&self) -> Result<kvm_pit_state2, Error> {
        self.fd.get_pit2().map_err(Error::kvm("KVM_GET_PIT2"))
    }

    /// Sets the timer.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_pit(&self, pit: &kvm_pit_state2) -> Result<(), Error> {
        self.fd.set_pit2(pit).map_err(Error::kvm("KVM_SET_PIT2"))
    }

    /// The interrupt controllers.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn chips(&self) -> Result<[kvm_irqchip; CHIPS], Error> {
        let chip = |chip_id| -> Result<_, Error> {
            let mut chip = kvm_irqchip {
                chip_id,
                ..kvm_irqchip::default()
            };
            let read = self.fd.get_irqchip(&mut chip);
            read.map_err(Error::kvm("KVM_GET_IRQCHIP"))?;
            Ok(chip)
        };
        Ok([chip(0)?, chip(1)?, chip(2)?])
    }

    /// Sets the interrupt controllers.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_chips(&self, chips: &[kvm_irqchip; CHIPS]) -> Result<(), Error> {
        for chip in chips {
            let set = self.fd.set_irqchip(chip);
            set.map_err(Error::kvm("KVM_SET_IRQCHIP"))?;
        }
        Ok(())
    }
}

/// A line to the interrupt controllers. An edge on it is there when the call returns: no eventfd
/// has it on its way when the state is saved.
#[derive(Clone)]
pub struct Line {
    fd: Arc<VmFd>,
    number: u32,
}

impl vm_superio::Trigger for Line {
    type E = kvm_ioctls::Error;

    fn trigger(&self) -> Result<(), Self::E> {
        self.fd.set_irq_line(self.number, true)?;
        self.fd.set_irq_line(self.number, false)
    }
}
