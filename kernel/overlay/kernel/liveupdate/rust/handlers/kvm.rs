// SPDX-License-Identifier: GPL-2.0-only
//! The handler of virtual machines: what KVM_CREATE_VM was told, which devices are in the kernel,
//! and the capabilities that were enabled. It comes back as a new machine that was set up like
//! that. Whose it is then gives it memory and processors by KVM's own calls.
//!
//! Each capability is enabled anew by KVM itself, in the order in which the program has done it: so
//! a machine that this KVM would not make is refused, whoever has handed it over. Interrupt
//! controllers come first, as programs make them: some capabilities want them. The timer
//! needs them, too, and comes last.

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_abi::note::{self, KvmVm, IRQCHIP};
use luo_core::note::{calls_of, can_be_repeated};
use luo_core::{OnePage, Small, Unrestored};

use crate::errno;
use crate::host::Linux;
use crate::sys::kvm::machine::{self, New};
use crate::sys::lent::Lent;
use crate::sys::log;

/// The handler.
pub(super) static MACHINES: OnePage<Machines> = OnePage(Machines);

/// Virtual machines, of which a note tells everything.
pub(super) struct Machines;

/// Why a machine is not made: for good, if this KVM knows no such machine.
fn unmade(why: Error, step: &str) -> Unrestored {
    let is_unknown = [EINVAL, EOPNOTSUPP, ENOTTY, ENXIO, EEXIST].contains(&why);
    if is_unknown && log::may_say_more() {
        pr_err!("a virtual machine is not restored: KVM refuses {step} ({why:?})\n");
    }
    match is_unknown {
        true => Unrestored::Ever(Errno::EOPNOTSUPP),
        false => Unrestored::Now(errno::of_kernel(why)),
    }
}

impl Small<Linux> for Machines {
    type Note = KvmVm;

    fn compatible(&self) -> &'static str {
        note::KVM_VM
    }

    fn knows(&self, _: &Linux, file: &Lent) -> bool {
        machine::is_machine(file)
    }

    fn object_id(&self, _: &Linux, file: &Lent) -> u64 {
        // By this its memory knows it, too.
        machine::number(file)
    }

    /// # Errors
    /// EOPNOTSUPP for a machine whose memory or state the host does not see (SEV, TDX, private
    /// memory), and for one that was set up with another program's descriptor, or by more calls than
    /// are noted; EIO for one that is dead.
    fn look(&self, _: &Linux, file: &Lent) -> Result<KvmVm, Errno> {
        let note = machine::look(file).map_err(errno::of_kernel)?;
        match calls_of(&note).all(|call| can_be_repeated(&call)) {
            true => Ok(note),
            false => Err(Errno::EOPNOTSUPP),
        }
    }

    fn make(&self, _: &Linux, note: &KvmVm) -> Result<Lent, Unrestored> {
        let new = New::make(note.kind, note.identity);
        let new = new.map_err(|why| unmade(why, "its type"))?;
        let irqchip = new.furnish(note.devices & IRQCHIP);
        irqchip.map_err(|why| unmade(why, "interrupt controllers"))?;
        for call in calls_of(note) {
            new.repeat(&call)
                .map_err(|why| unmade(why, "a capability"))?;
        }
        let timer = new.furnish(note.devices & !IRQCHIP);
        timer.map_err(|why| unmade(why, "a timer"))?;
        Ok(new.into_file().into())
    }
}
