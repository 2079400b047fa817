// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! File-lifecycle-bound globals: state that many files share.
//!
//! An FLB is preserved with the first file that depends on it and unpreserved
//! with the last; in the next kernel it is retrieved when somebody asks and
//! finished with the last file. Apart from files, drivers may hold it.
//!
//! ```text
//! outgoing:  Idle --first file--> Working --preserve()--> Live --last user--> Working --> Idle
//! incoming:  Waiting --asked--> Working --retrieve()--> Live | Failed
//!               '-----last file and holder gone-----> Working --finish()--> Finished
//! ```

use luo_abi::errno::Errno;
use luo_abi::handover::MAX_FLBS;

use crate::host::Host;
use crate::id::FlbId;
use crate::text::Compat;

/// Which FLBs a file holds. Remembered with the file, because a handler can gain
/// and lose FLBs while its files stay.
///
/// A set of slots: fewer than 64 FLBs can be registered at a time, and one that
/// is held keeps its slot.
#[derive(Clone, Copy)]
pub(crate) struct Held(u64);

impl Held {
    pub(crate) const NONE: Self = Self(0);

    fn bit(slot: u32) -> u64 {
        1u64.checked_shl(slot).unwrap_or(0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, id: FlbId) -> bool {
        self.contains_slot(id.slot)
    }

    /// Whether the FLB in a slot is among them.
    pub(crate) fn contains_slot(self, slot: u32) -> bool {
        self.0 & Self::bit(slot) != 0
    }

    pub(crate) fn insert(&mut self, id: FlbId) {
        self.0 |= Self::bit(id.slot);
    }

    pub(crate) fn remove(&mut self, id: FlbId) {
        self.0 &= !Self::bit(id.slot);
    }
}

// A slot of the last FLB that can be registered has its bit.
const _: () = assert!(MAX_FLBS <= u64::BITS as usize);

/// An FLB on its way to the next kernel.
pub(crate) struct Outgoing<H: Host> {
    pub(crate) state: OutgoingState<H>,
    /// Preserved files that depend on it; this number is handed over.
    pub(crate) files: u64,
    /// Drivers that hold its object.
    pub(crate) holders: u64,
}

pub(crate) enum OutgoingState<H: Host> {
    Idle,
    /// A callback is under way; everybody else waits.
    Working,
    Live {
        data: u64,
        object: Option<H::Object>,
        pin: H::Pin,
    },
}

impl<H: Host> Outgoing<H> {
    pub(crate) const fn new() -> Self {
        Self {
            state: OutgoingState::Idle,
            files: 0,
            holders: 0,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, OutgoingState::Idle)
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.files == 0 && self.holders == 0
    }
}

/// An FLB that the previous kernel handed over.
pub(crate) struct Arrived<H: Host> {
    pub(crate) name: Compat,
    pub(crate) data: u64,
    /// Files that depend on it and are not finished.
    pub(crate) files: u64,
    /// Drivers that hold its object.
    pub(crate) holders: u64,
    pub(crate) state: ArrivedState<H>,
}

pub(crate) enum ArrivedState<H: Host> {
    Waiting,
    /// A callback is under way; everybody else waits.
    Working,
    Live {
        object: Option<H::Object>,
        pin: H::Pin,
    },
    Failed(Errno),
    Finished,
}

impl<H: Host> Arrived<H> {
    pub(crate) fn new(name: Compat, data: u64, files: u64) -> Self {
        Self {
            name,
            data,
            files,
            holders: 0,
            state: ArrivedState::Waiting,
        }
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.files == 0 && self.holders == 0
    }
}
