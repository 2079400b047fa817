// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The notes of virtual machines and of their memory.

use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{
    Capability, GuestMemfd, KvmVm, GUEST_INIT_SHARED, GUEST_MEMFD_MAGIC, GUEST_MMAP, IRQCHIP,
    KVM_VM_MAGIC, MOST_CAPABILITIES, PIT, PIT_SPEAKER,
};

use super::Note;

/// Capabilities whose argument is a descriptor of the program that has enabled them: an enclave's
/// attribute, and what is copied or moved from another machine. The number means nothing in another
/// program.
const OF_DESCRIPTORS: [u32; 3] = [196, 197, 206];

/// A place for a call that is not used.
pub const NO_CALL: Capability = Capability {
    cap: 0,
    flags: 0,
    args: [0; 4],
};

/// The calls that a machine was set up with.
pub fn calls_of(note: &KvmVm) -> impl Iterator<Item = Capability> {
    let count = usize::try_from(note.count).unwrap_or(usize::MAX);
    note.calls.into_iter().take(count)
}

/// Whether a machine that was set up by a call can be set up so by another program.
#[must_use]
pub fn can_be_repeated(call: &Capability) -> bool {
    !OF_DESCRIPTORS.contains(&{ call.cap })
}

impl Note for KvmVm {
    const MAGIC: [u8; 16] = KVM_VM_MAGIC;

    fn is_sane(&self) -> bool {
        let (devices, count) = (self.devices, self.count);
        let calls = self.calls;
        let known = devices & !(IRQCHIP | PIT | PIT_SPEAKER) == 0;
        // A timer needs the controllers, and the port goes with the timer.
        let has_irqchip = devices & IRQCHIP != 0 || devices & PIT == 0;
        let has_pit = devices & PIT != 0 || devices & PIT_SPEAKER == 0;
        let used = usize::try_from(count).unwrap_or(usize::MAX);
        let rest = calls.get(used..).unwrap_or_default();
        known
            && has_irqchip
            && has_pit
            && self.identity != 0
            && used <= MOST_CAPABILITIES
            && rest.iter().all(|call| *call == NO_CALL)
            && calls_of(self).all(|call| can_be_repeated(&call))
    }
}

impl Note for GuestMemfd {
    const MAGIC: [u8; 16] = GUEST_MEMFD_MAGIC;

    fn is_sane(&self) -> bool {
        let (identity, flags, pages) = (self.identity, self.flags, self.pages);
        identity != 0
            && flags == GUEST_MMAP | GUEST_INIT_SHARED
            && pages != 0
            && pages.checked_rem(BLOCK_SIZE as u64) == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::note::{read, write, Unread};

    fn machine(caps: &[u32], devices: u64) -> KvmVm {
        let mut calls = [NO_CALL; MOST_CAPABILITIES];
        for (call, &cap) in calls.iter_mut().zip(caps) {
            (call.cap, call.args) = (cap, [7, 0, 0, u64::MAX]);
        }
        KvmVm {
            kind: 0,
            identity: 9,
            devices,
            count: caps.len() as u64,
            calls,
        }
    }

    fn back<N: Note>(note: &N) -> Result<N, Unread> {
        let mut page = vec![0; BLOCK_SIZE];
        write(&mut page, note);
        read(&page)
    }

    #[test]
    fn a_machine_comes_back_with_all_that_it_was_set_up_with() {
        let full = machine(&[121; MOST_CAPABILITIES], IRQCHIP | PIT | PIT_SPEAKER);
        assert_eq!(back(&full), Ok(full));
        let some = machine(&[121, 129, 168], 0);
        assert_eq!(back(&some), Ok(some));
        let caps: Vec<_> = calls_of(&some).map(|call| call.cap).collect();
        assert_eq!(caps, [121, 129, 168]);
        assert_eq!(calls_of(&machine(&[], 0)).count(), 0);
    }

    #[test]
    fn what_no_machine_can_be_is_refused() {
        let good = machine(&[121], IRQCHIP);
        let odd = [
            machine(&[121], PIT),
            machine(&[121], IRQCHIP | PIT_SPEAKER),
            machine(&[121], 8),
            // Its argument is a descriptor of a program that is gone.
            machine(&[121, 197], 0),
            KvmVm {
                identity: 0,
                ..good
            },
            KvmVm { count: 0, ..good },
            KvmVm { count: 33, ..good },
            KvmVm {
                count: u64::MAX,
                ..good
            },
        ];
        for note in odd {
            assert_eq!(back(&note), Err(Unread::Value), "{note:?}");
        }
        assert_eq!(back(&good), Ok(good));
    }

    #[test]
    fn memory_that_is_not_shared_or_nowhere_is_refused() {
        let good = GuestMemfd {
            machine: 0,
            identity: 9,
            flags: 3,
            pages: 0x5000,
        };
        let odd = [
            GuestMemfd {
                identity: 0,
                ..good
            },
            GuestMemfd { flags: 1, ..good },
            GuestMemfd { flags: 7, ..good },
            GuestMemfd { pages: 0, ..good },
            GuestMemfd {
                pages: 0x5008,
                ..good
            },
        ];
        for note in odd {
            assert_eq!(back(&note), Err(Unread::Value), "{note:?}");
        }
        assert_eq!(back(&good), Ok(good));
    }
}
