// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Why what a file has left cannot be read.

use core::fmt;

use luo_core::mem::OutOfMemory;
use luo_core::PageError;

/// Why it could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Memory is short: it can be read later.
    NoMemory,
    /// Features are required that this kernel does not know, a bit each.
    Unknown(u64),
    /// It is damaged.
    Damaged(Damage),
}

/// A fault of what was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is no page where one is said to be.
    Page {
        /// The address.
        address: u64,
        /// Its fault.
        why: PageError,
    },
    /// A checksum is wrong: on the page at this address.
    Checksum(u64),
    /// Facts have another mark, or a length that they cannot have.
    Facts,
    /// There cannot be so many records on so many pages.
    Count(u64),
    /// The file cannot be as large as that, in bytes.
    Size(u64),
    /// The record of this number is not one of pages that the file can have, or that the
    /// previous kernel has kept.
    Record(u64),
}

impl From<OutOfMemory> for Unread {
    fn from(_: OutOfMemory) -> Self {
        Self::NoMemory
    }
}

impl From<Damage> for Unread {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("memory is short"),
            Self::Unknown(features) => {
                write!(
                    f,
                    "it needs features that this kernel does not know: {features:#x}"
                )
            }
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { address, why } => {
                let why = match why {
                    PageError::Unaligned => "is not the start of a page",
                    PageError::NotPreserved => "was not preserved",
                };
                write!(f, "{address:#x} {why}")
            }
            Self::Checksum(address) => write!(f, "wrong checksum of page {address:#x}"),
            Self::Facts => f.write_str("what is known of the file is garbled"),
            Self::Count(count) => write!(f, "there cannot be {count} records on its pages"),
            Self::Size(size) => write!(f, "it cannot have {size} bytes"),
            Self::Record(at) => write!(
                f,
                "record {at} is not one of pages that the file can have and that were preserved"
            ),
        }
    }
}
