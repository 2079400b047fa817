// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's state in preserved memory: what is not RAM.
//!
//! | module | concern |
//! |---|---|
//! | [`luo_monitor::head`] | whether there is a state, whether it is whole, and whether it was used |
//! | [`record`] | the state as records, each with its kind and its length |
//! | [`guest`] | what the records mean |
//!
//! # What may change, and what may not
//!
//! An update brings an older state to a newer program, and one that is taken back brings a newer
//! state to an older program. So that both can go on:
//!
//! 1. **A kind of record never changes.** Its number stands for its layout for good. What has to
//!    be otherwise is a new kind.
//! 2. **Old to new.** A program reads each kind that any released version has written. Where a
//!    kind is missing that came later, what stands in its place is written beside the kind in
//!    [`guest`].
//! 3. **New to old.** Each record says whether it is required. A program that does not know a
//!    required one refuses the state and names the kind; one that is not required it passes over.
//!    Required is all without which the guest would notice.
//! 4. **Refused is not lost.** A refusal happens before anything runs, releases nothing, and
//!    leaves the state as it was: another program, or another version, can try. What releases a
//!    state, the mark that it was used, is a digest itself: no damage looks like it.
//! 5. **All of it is hostile.** The digest finds damage, not malice. Lengths, counts and
//!    numbers are compared with what there can be before anything is made of them.
//!
//! The files in `golden/` are states as released versions have written them; a test reads each.

pub mod guest;
pub mod record;

use luo_monitor::head::Kind;

/// Whose states they are.
pub const KIND: Kind = Kind {
    magic: *b"LUO-VMM\0",
    version: 1,
};

/// Why a state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A record has flags that this program does not know.
    #[error("it has flags that this luo-vmm does not know ({found:#x})")]
    Flags {
        /// Its flags.
        found: u32,
    },
    /// A record does not end before the state does, or what follows it is not zero.
    #[error("its record at byte {at} has no end")]
    Cut {
        /// Where.
        at: usize,
    },
    /// A record that this program does not know, and without which the guest cannot go on.
    #[error("it has a required record of kind {kind}, which this luo-vmm does not know")]
    Unknown {
        /// The kind.
        kind: u32,
    },
    /// A record is there twice.
    #[error("it has its record of kind {kind} twice")]
    Twice {
        /// The kind.
        kind: u32,
    },
    /// A record that has to be there is not.
    #[error("it has no record of kind {kind}")]
    Missing {
        /// The kind.
        kind: u32,
    },
    /// A record has not the bytes that its kind has.
    #[error("its record of kind {kind} has {found} bytes, which is no length of that kind")]
    Size {
        /// The kind.
        kind: u32,
        /// Its bytes.
        found: usize,
    },
    /// A number is none that can be.
    #[error("its record of kind {kind} has a number that cannot be: {what}")]
    Number {
        /// The kind.
        kind: u32,
        /// Which number.
        what: &'static str,
    },
}
