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
//! the local interrupt controller, whose base is among them; model registers after that; then
//! events. The counter is set last, when the guest goes on, and behind it the moment at which it is
//! to interrupt: KVM reckons that by the counter that it has.
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

/// Model registers in one call. KVM takes fewer than 256.
const PIECE: usize = 128;

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

    /// The guest's counter, less the host's.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn offset(&self) -> Result<u64, Error> {
        luo_sys::kvm::tsc_offset(&self.fd).map_err(offset_of)
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
            tsc_offset: self.offset()?,
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
        read_by(wanted, |piece| {
            let entries: Vec<_> = piece.iter().map(|&index| entry(index, 0)).collect();
            let mut msrs = list(&entries)?;
            let read = self.fd.get_msrs(&mut msrs);
            let read = read.map_err(Error::kvm("KVM_GET_MSRS"))?;
            Ok(msrs.as_slice().iter().take(read).copied().collect())
        })
    }

    /// Takes a state, but for its counter; gives when that is to interrupt, if it is. Nothing has
    /// run on it.
    ///
    /// # Errors
    /// [`Error::NotResumed`] names the part that KVM does not take.
    pub fn restore(&self, state: &guest::Vcpu) -> Result<Option<u64>, Error> {
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
        let (plain, deadline) = without_counter(&state.msrs);
        self.restore_msrs(&plain)?;
        took("VCPU_EVENTS", fd.set_vcpu_events(&state.events))?;
        Ok(deadline)
    }

    /// Sets when the counter is to interrupt. The counter is set.
    ///
    /// # Errors
    /// [`Error::NotResumed`].
    pub fn set_deadline(&self, deadline: Option<u64>) -> Result<(), Error> {
        let deadline = deadline.map(|ticks| entry(TSC_DEADLINE, ticks));
        self.restore_msrs(deadline.as_slice())
    }

    /// Sets model registers, those that have another value. KVM lists some that it does not let
    /// anybody set, not even to what they are.
    fn restore_msrs(&self, saved: &[kvm_msr_entry]) -> Result<(), Error> {
        let indices: Vec<_> = saved.iter().map(|msr| msr.index).collect();
        let has = self.read(&indices).map_err(Error::not_resumed)?;
        let is_other = |msr: &&kvm_msr_entry| {
            let mut has = has.iter();
            !has.any(|has| (has.index, has.data) == (msr.index, msr.data))
        };
        let others = saved.iter().filter(is_other);
        let entries: Vec<_> = others.map(|msr| entry(msr.index, msr.data)).collect();
        for piece in entries.chunks(PIECE) {
            let set = self.fd.set_msrs(&list(piece)?);
            let set = set.map_err(|why| Error::NotResumed(format!("MSRs: {why}")))?;
            if let Some(refused) = piece.get(set) {
                return Err(Error::NotResumed(format!(
                    "the model register {:#x} with {:#x}",
                    refused.index, refused.data
                )));
            }
        }
        Ok(())
    }

    /// Tells the guest's watchdogs that it stood still. It goes right before the first run, for
    /// what it is told is lost if the guest's clock was not set up yet.
    pub fn stood(&self) {
        // A guest without kvmclock cannot be told, and needs not be.
        let _ = self.fd.kvmclock_ctrl();
    }
}

fn offset_of(why: luo_sys::Error) -> Error {
    Error::call("the counter's offset")(why)
}

/// Reads in pieces. A call gives those before the first one that cannot be read.
fn read_by(
    wanted: &[u32],
    mut call: impl FnMut(&[u32]) -> Result<Vec<kvm_msr_entry>, Error>,
) -> Result<Vec<kvm_msr_entry>, Error> {
    let mut got = Vec::new();
    let mut rest = wanted;
    while !rest.is_empty() {
        let (piece, _) = rest.split_at_checked(PIECE).unwrap_or((rest, &[]));
        let read = call(piece)?;
        let done = match read.len() {
            all if all >= piece.len() => piece.len(),
            some => some.saturating_add(1),
        };
        got.extend(read);
        rest = rest.get(done..).unwrap_or_default();
    }
    Ok(got)
}

/// Model registers without the counter, which is set by its offset; and when that is to interrupt,
/// which is set behind it.
fn without_counter(saved: &[kvm_msr_entry]) -> (Vec<kvm_msr_entry>, Option<u64>) {
    let is_plain = |msr: &&kvm_msr_entry| ![TSC, TSC_DEADLINE].contains(&msr.index);
    let plain = saved.iter().filter(is_plain).copied().collect();
    let mut saved = saved.iter();
    let deadline = saved.find(|msr| msr.index == TSC_DEADLINE);
    (plain, deadline.map(|msr| msr.data))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_in_pieces_and_those_that_cannot_be_are_left_out() {
        let wanted: Vec<u32> = (0..700).collect();
        let bad = [0, 127, 128, 300, 699];
        let mut calls = 0;
        let got = read_by(&wanted, |piece| {
            calls += 1;
            assert!(!piece.is_empty() && piece.len() < 256, "{}", piece.len());
            let good = piece.iter().take_while(|index| !bad.contains(*index));
            Ok(good.map(|&index| entry(index, 1)).collect())
        });
        let got: Vec<_> = got.unwrap().iter().map(|msr| msr.index).collect();
        let good = wanted.iter().copied();
        let good: Vec<_> = good.filter(|index| !bad.contains(index)).collect();
        assert_eq!(got, good);
        assert!(calls <= 12, "{calls}");
        assert!(
            read_by(&[], |_| panic!("nothing is wanted"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn the_counter_and_its_deadline_are_set_apart_from_other_registers() {
        let saved = [
            entry(TSC_DEADLINE, 4711),
            entry(0x174, 1),
            entry(TSC, 2),
            entry(0x175, 3),
        ];
        let (plain, deadline) = without_counter(&saved);
        let plain: Vec<_> = plain.iter().map(|msr| msr.index).collect();
        assert_eq!((&plain[..], deadline), (&[0x174, 0x175][..], Some(4711)));
        assert_eq!(without_counter(&[entry(TSC, 2)]), (Vec::new(), None));
    }
}
