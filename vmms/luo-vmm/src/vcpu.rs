// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor of a processor: its state out and in.
//!
//! # The order
//!
//! Out: `MP_STATE` first, because reading it makes KVM accept what the local interrupt controller
//! has pending; then registers; the events last.
//!
//! In: CPUID before all else, because KVM judges the rest by it. The counter's frequency before
//! the counter. Registers before special ones, because setting them drops exceptions; those before
//! the local interrupt controller, whose base is among them; model registers after that, with the
//! deadline of the counter behind the counter; events last.
//!
//! A pending exit is finished before anything is read: see [`crate::run`].

use std::sync::Arc;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry, kvm_regs, kvm_sregs};
use kvm_ioctls::{Cap, VcpuExit, VcpuFd, VmFd};

use crate::exit::Error;
use crate::state::guest;

/// The counter.
const TSC: u32 = 0x10;
/// When the counter is to interrupt.
const TSC_DEADLINE: u32 = 0x6e0;

/// A processor.
pub struct Vcpu {
    fd: VcpuFd,
    vm: Arc<VmFd>,
}

/// The counter of a processor.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// The host's, when the guest's was read.
    pub ticks: u64,
    /// The guest's less that.
    pub offset: u64,
    /// Ticks in a millisecond.
    pub khz: u32,
}

impl Vcpu {
    /// One that KVM has made.
    pub(crate) fn new(fd: VcpuFd, vm: Arc<VmFd>) -> Self {
        Self { fd, vm }
    }

    /// Says what it is, for its first start.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_cpuid(&self, cpuid: &CpuId) -> Result<(), Error> {
        let set = self.fd.set_cpuid2(cpuid);
        set.map_err(Error::kvm("KVM_SET_CPUID2"))
    }

    /// Sets its registers, for its first start.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn start_at(
        &self,
        regs: &kvm_regs,
        edit: impl FnOnce(&mut kvm_sregs),
    ) -> Result<(), Error> {
        let sregs = self.fd.get_sregs();
        let mut sregs = sregs.map_err(Error::kvm("KVM_GET_SREGS"))?;
        edit(&mut sregs);
        let set = self.fd.set_sregs(&sregs);
        set.map_err(Error::kvm("KVM_SET_SREGS"))?;
        self.fd.set_regs(regs).map_err(Error::kvm("KVM_SET_REGS"))
    }

    /// Runs the guest until something is to be done for it.
    ///
    /// # Errors
    /// Of KVM; EINTR if it was kicked.
    pub fn run(&mut self) -> Result<VcpuExit<'_>, kvm_ioctls::Error> {
        self.fd.run()
    }

    /// Has the next [`Vcpu::run`] finish what is pending, and return without running the guest.
    pub fn set_immediate_exit(&mut self, on: bool) {
        self.fd.set_kvm_immediate_exit(on.into());
    }

    /// Ticks of the guest's counter in a millisecond.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn khz(&self) -> Result<u32, Error> {
        let khz = self.fd.get_tsc_khz();
        khz.map_err(Error::kvm("KVM_GET_TSC_KHZ"))
    }

    /// Sets the frequency of the guest's counter, where the processor scales.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_khz(&self, khz: u32) -> Result<(), Error> {
        let set = self.fd.set_tsc_khz(khz);
        set.map_err(Error::kvm("KVM_SET_TSC_KHZ"))
    }

    /// The guest's counter, beside the host's.
    ///
    /// # Errors
    /// [`Error::Kvm`]; there is no counter on this host.
    pub fn counter(&self) -> Result<Counter, Error> {
        let offset = luo_sys::kvm::tsc_offset(&self.fd).map_err(offset_of)?;
        Ok(Counter {
            ticks: host()?,
            offset,
            khz: self.khz()?,
        })
    }

    /// Sets the guest's counter by its offset to the host's: exactly, whenever it is done.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn set_counter(&self, offset: u64) -> Result<(), Error> {
        luo_sys::kvm::set_tsc_offset(&self.fd, offset).map_err(offset_of)
    }

    /// Its state, with the model registers of a list. It stands still.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn save(&self, msrs: &[u32]) -> Result<guest::Vcpu, Error> {
        let fd = &self.fd;
        let mp_state = fd.get_mp_state();
        let mp_state = mp_state.map_err(Error::kvm("KVM_GET_MP_STATE"))?;
        let cpuid = fd.get_cpuid2(KVM_MAX_CPUID_ENTRIES);
        let cpuid = cpuid.map_err(Error::kvm("KVM_GET_CPUID2"))?;
        Ok(guest::Vcpu {
            cpuid: cpuid.as_slice().to_vec(),
            mp_state,
            regs: fd.get_regs().map_err(Error::kvm("KVM_GET_REGS"))?,
            sregs: fd.get_sregs().map_err(Error::kvm("KVM_GET_SREGS"))?,
            xsave: self.xsave()?,
            xcrs: fd.get_xcrs().map_err(Error::kvm("KVM_GET_XCRS"))?,
            debug: fd
                .get_debug_regs()
                .map_err(Error::kvm("KVM_GET_DEBUGREGS"))?,
            lapic: fd.get_lapic().map_err(Error::kvm("KVM_GET_LAPIC"))?,
            msrs: self.read(msrs)?,
            events: fd
                .get_vcpu_events()
                .map_err(Error::kvm("KVM_GET_VCPU_EVENTS"))?,
        })
    }

    fn xsave(&self) -> Result<kvm_bindings::kvm_xsave, Error> {
        if self.vm.check_extension_int(Cap::Xsave2) > 4096 {
            // It takes a process that has asked for tiles, and this one has not.
            return Err(Error::Guest("its extended state is not known".into()));
        }
        self.fd.get_xsave().map_err(Error::kvm("KVM_GET_XSAVE"))
    }

    /// Model registers. KVM lists some that a processor with less features has not; those are
    /// left out.
    fn read(&self, wanted: &[u32]) -> Result<Vec<kvm_msr_entry>, Error> {
        let mut got = Vec::new();
        let mut rest = wanted;
        while !rest.is_empty() {
            let entries: Vec<_> = rest.iter().map(|&index| entry(index, 0)).collect();
            let mut msrs = list(&entries)?;
            let read = self.fd.get_msrs(&mut msrs);
            let read = read.map_err(Error::kvm("KVM_GET_MSRS"))?;
            got.extend(msrs.as_slice().iter().take(read));
            // The one after them cannot be read.
            rest = rest.get(read.saturating_add(1)..).unwrap_or_default();
        }
        Ok(got)
    }

    /// Takes a state, but for its counter. Nothing has run on it.
    ///
    /// # Errors
    /// [`Error::NotResumed`] names the part that KVM does not take.
    pub fn restore(&self, state: &guest::Vcpu) -> Result<(), Error> {
        let fd = &self.fd;
        let cpuid = CpuId::from_entries(&state.cpuid)
            .map_err(|_| Error::NotResumed("too many entries of CPUID".into()))?;
        let took = |what, done: Result<(), kvm_ioctls::Error>| {
            done.map_err(|why| Error::NotResumed(format!("{what}: {why}")))
        };
        took("CPUID", fd.set_cpuid2(&cpuid))?;
        took("MP_STATE", fd.set_mp_state(state.mp_state))?;
        took("REGS", fd.set_regs(&state.regs))?;
        took("SREGS", fd.set_sregs(&state.sregs))?;
        luo_sys::kvm::set_xsave(&self.vm, fd, &state.xsave)
            .map_err(|why| Error::NotResumed(why.to_string()))?;
        // A host without XSAVE has none of them.
        if state.xcrs.nr_xcrs > 0 {
            took("XCRS", fd.set_xcrs(&state.xcrs))?;
        }
        took("DEBUGREGS", fd.set_debug_regs(&state.debug))?;
        took("LAPIC", fd.set_lapic(&state.lapic))?;
        self.restore_msrs(&state.msrs)?;
        took("VCPU_EVENTS", fd.set_vcpu_events(&state.events))
    }

    /// Sets model registers, those that have another value. KVM lists some that it does not let
    /// anybody set, not even to what they are.
    fn restore_msrs(&self, saved: &[kvm_msr_entry]) -> Result<(), Error> {
        let indices: Vec<_> = saved.iter().map(|msr| msr.index).collect();
        let has = self.read(&indices)?;
        let is_other = |msr: &&kvm_msr_entry| {
            let mut has = has.iter();
            !has.any(|has| (has.index, has.data) == (msr.index, msr.data))
        };
        // The counter is set by its offset, and its deadline goes last.
        let is_deadline = |msr: &&kvm_msr_entry| msr.index == TSC_DEADLINE;
        let others = || saved.iter().filter(is_other);
        let plain = others().filter(|msr| msr.index != TSC && !is_deadline(msr));
        let wanted: Vec<_> = plain.chain(others().filter(is_deadline)).collect();
        let entries: Vec<_> = wanted
            .iter()
            .map(|msr| entry(msr.index, msr.data))
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let set = self.fd.set_msrs(&list(&entries)?);
        let set = set.map_err(|why| Error::NotResumed(format!("MSRs: {why}")))?;
        match wanted.get(set) {
            None => Ok(()),
            Some(refused) => Err(Error::NotResumed(format!(
                "the model register {:#x} with {:#x}",
                refused.index, refused.data
            ))),
        }
    }

    /// Tells the guest's watchdogs that it stood still. It goes right before the first run, for
    /// what it is told is lost if the guest's clock was not set up yet.
    pub fn stood(&self) {
        // A guest without kvmclock cannot be told, and needs not be.
        let _ = self.fd.kvmclock_ctrl();
    }
}

fn offset_of(why: luo_sys::Error) -> Error {
    Error::Kvm {
        what: "the counter's offset",
        source: why.into(),
    }
}

fn entry(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry {
        index,
        data,
        ..kvm_msr_entry::default()
    }
}

fn list(entries: &[kvm_msr_entry]) -> Result<Msrs, Error> {
    Msrs::from_entries(entries).map_err(|_| Error::NotResumed("too many model registers".into()))
}

/// The host's counter.
///
/// # Errors
/// There is none that programs may read.
pub fn host() -> Result<u64, Error> {
    let ticks = luo_sys::clock::ticks();
    ticks.ok_or_else(|| Error::Guest("this host has no counter that programs may read".into()))
}
