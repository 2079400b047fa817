// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of a file that is to be preserved, and how much memory that takes.

use crate::memfds::Memfds;
use crate::small::Small;

/// Bytes that the kernel allocates for each page while it preserves a file.
const PER_PAGE: u64 = 24;

/// The kind of object that a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A memfd, or another file of shared memory without a name.
    Memfd,
    /// A file of shared memory that has a name.
    Named,
    /// A memfd of huge pages.
    HugeTlb,
    /// A descriptor of O_PATH, which stands for a name only.
    Path,
    /// A small file of which a handler of this project hands over all.
    Small(&'static Small),
    /// A device, or an object of the kernel, in words. Handlers of such are under way.
    Object(&'static str),
    /// Something else, in words.
    Other(&'static str),
}

/// The facts of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kind of file.
    pub kind: Kind,
    /// The file itself: its device and its number there.
    pub object: (u64, u64),
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of holes, in whole pages.
    pub holes: u64,
    /// Bytes that are swapped out, in whole pages; `None` if that cannot be told, and something
    /// on the machine is.
    pub swapped: Option<u64>,
    /// Bytes of a page; of one of its huge pages, if it is a memfd of such.
    pub page: u64,
    /// Its seals; 0 if it cannot have any.
    pub seals: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is open with `O_APPEND` or `O_NONBLOCK`.
    pub has_flags: bool,
}

impl Facts {
    /// The facts of a file of a kind and a size of which there is nothing else to say: all of it is
    /// there and in memory, and its rights are those of a memfd.
    #[must_use]
    pub const fn plain(kind: Kind, size: u64) -> Self {
        Self {
            kind,
            object: (1, size),
            size,
            holes: 0,
            swapped: Some(0),
            page: match kind {
                Kind::HugeTlb => 2 << 20,
                _ => 4096,
            },
            seals: 0,
            mode: 0o777,
            has_flags: false,
        }
    }

    /// Bytes that are allocated when the file is preserved: what is swapped out of it, the
    /// kernel's records of its pages, and its holes, which mainline's handler fills. 0 for a
    /// file that cannot be preserved.
    #[must_use]
    pub const fn to_allocate(&self, memfds: Memfds) -> u64 {
        match self.kind {
            Kind::Memfd => {
                let holes = match self.page {
                    0 => 0,
                    page => self.holes / page,
                };
                let kept = if memfds.here {
                    self.pages().saturating_sub(holes)
                } else {
                    self.pages()
                };
                let records = kept.saturating_mul(PER_PAGE);
                let swapped = match self.swapped {
                    Some(swapped) => swapped,
                    None => 0,
                };
                let holes = if memfds.here { 0 } else { self.holes };
                holes.saturating_add(swapped).saturating_add(records)
            }
            _ => 0,
        }
    }

    /// Bytes that count for the control group of who takes it back: at least, and at most, for
    /// mainline's handler fills holes, and which one the next kernel has may not be known. Huge
    /// pages count elsewhere, and small files for nothing.
    #[must_use]
    pub const fn charged(&self, memfds: Memfds) -> (u64, u64) {
        let whole = match self.kind {
            Kind::Memfd => self.pages().saturating_mul(self.page),
            _ => 0,
        };
        let used = whole.saturating_sub(self.holes);
        match memfds.exactly() {
            Some(true) => (used, used),
            Some(false) => (whole, whole),
            None => (used, whole),
        }
    }

    /// Bytes of huge pages that it has; they count for the pool of such of a control group.
    #[must_use]
    pub const fn huge(&self) -> u64 {
        match self.kind {
            Kind::HugeTlb => {
                let whole = self.pages().saturating_mul(self.page);
                whole.saturating_sub(self.holes)
            }
            _ => 0,
        }
    }

    pub(super) const fn pages(&self) -> u64 {
        match self.page {
            0 => 0,
            page => self.size.div_ceil(page),
        }
    }
}
