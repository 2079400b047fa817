// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pages that follow each other both in a file and in memory.

/// The highest order of a folio, and of what Kexec HandOver is asked for in one piece:
/// 1 GiB.
pub const MOST_ORDER: u32 = 18;

/// The most pages of a file: 16 TiB, far above what a machine has.
pub const MOST_PAGES: u64 = 1 << 32;

/// Pages that follow each other in the file and in memory, in folios of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its place in the file, in pages.
    pub index: u64,
    /// The number of its first page frame.
    pub frame: u64,
    /// Pages; a multiple of [`Self::folio_pages`].
    pub pages: u64,
    /// The order of each folio, at most [`MOST_ORDER`].
    pub order: u32,
    /// Nobody has written to it: it reads as zeros, whatever it holds.
    pub fresh: bool,
}

impl Run {
    /// Pages of each of its folios.
    #[must_use]
    pub const fn folio_pages(&self) -> u64 {
        1 << if self.order > MOST_ORDER {
            MOST_ORDER
        } else {
            self.order
        }
    }

    /// How many folios it has.
    #[must_use]
    pub const fn folios(&self) -> u64 {
        self.pages
            >> if self.order > MOST_ORDER {
                MOST_ORDER
            } else {
                self.order
            }
    }

    /// Where it ends in the file, in pages.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.index.saturating_add(self.pages)
    }

    /// Whether another run goes on where this one ends, so that both are one.
    #[must_use]
    pub fn is_followed_by(&self, next: &Self) -> bool {
        self.end() == next.index
            && self.frame.checked_add(self.pages) == Some(next.frame)
            && self.order == next.order
            && self.fresh == next.fresh
            && self.pages.saturating_add(next.pages) <= u64::from(u32::MAX)
    }

    /// Whether it can be what somebody has handed over: at least a folio, of whole folios
    /// that are where folios can be, within bounds.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        if self.order > MOST_ORDER || self.pages == 0 || self.frame == 0 {
            return false;
        }
        let part = self.folio_pages().wrapping_sub(1);
        let ends_in_file = self.index.checked_add(self.pages);
        let ends_in_memory = self.frame.checked_add(self.pages);
        (self.index | self.frame | self.pages) & part == 0
            && ends_in_file.is_some_and(|end| end <= MOST_PAGES)
            && ends_in_memory.is_some_and(|end| end <= FRAMES)
    }
}

impl Run {
    /// The first part of a run that Kexec HandOver keeps by so many pages (`step`, a power of two
    /// or the whole run), and the rest: [`MOST_AT_ONCE`] pages at most, or one piece of
    /// Kexec HandOver's where that is larger. Where it is cut, pages can be joined on both sides.
    #[must_use]
    pub fn cut(self, step: u64) -> (Self, Option<Self>) {
        // As most runs, of files whose pages lie alone.
        if self.pages <= step.min(MOST_AT_ONCE) {
            return (self, None);
        }
        let pages = if step < self.pages {
            let to_boundary = MOST_AT_ONCE.saturating_sub(self.frame % MOST_AT_ONCE);
            to_boundary.max(step)
        } else {
            self.kept_pieces()
        };
        let pages = pages.min(self.pages);
        let rest = Self {
            index: self.index.saturating_add(pages),
            frame: self.frame.saturating_add(pages),
            pages: self.pages.saturating_sub(pages),
            ..self
        };
        (Self { pages, ..self }, (rest.pages > 0).then_some(rest))
    }

    /// Pages of the first pieces in which Kexec HandOver keeps all of it: as large as they can
    /// be where they lie. What is cut behind one of them is kept in the same pieces.
    fn kept_pieces(self) -> u64 {
        let mut pages = 0u64;
        while pages < MOST_AT_ONCE.min(self.pages) {
            let left = self.pages.saturating_sub(pages);
            let place = self.frame.saturating_add(pages).trailing_zeros();
            let order = left.checked_ilog2().unwrap_or(0).min(place);
            let more = pages.saturating_add(1u64.wrapping_shl(order));
            if pages > 0 && more > MOST_AT_ONCE {
                break;
            }
            pages = more;
        }
        pages
    }
}

/// Pages that are got back while nobody else can get any: 32 MiB.
pub const MOST_AT_ONCE: u64 = 1 << 13;

/// Page frames that there can be: addresses have 52 bits.
const FRAMES: u64 = 1 << 40;

/// The most pieces that [`joined`] makes of a run.
pub const MOST_PIECES: usize = 20;

/// The smallest order that pages are joined to.
const LEAST_ORDER: u32 = 2;

/// A run in pieces: single pages that lie where large folios of at most some order can be,
/// in the file as in memory, become such folios, which cost a guest and the kernel less. All
/// others stay what they are, and so does a run that is of folios already, or fresh. Folios of
/// a higher order, which the kernel does not have, become single pages.
///
/// Orders rise from the start of a run and fall to its end; adjacent folios of one order are
/// one piece.
pub fn joined(run: Run, most: u32) -> impl Iterator<Item = Run> {
    let mut left = run;
    if left.order > most {
        left.order = 0;
    }
    core::iter::from_fn(move || {
        if left.pages == 0 {
            return None;
        }
        let piece = first_piece(&left, most);
        left.index = piece.end();
        left.frame = left.frame.saturating_add(piece.pages);
        left.pages = left.pages.saturating_sub(piece.pages);
        Some(piece)
    })
}

/// The piece that a run begins with.
fn first_piece(run: &Run, most: u32) -> Run {
    // How much of the places in the file and in memory agrees: no larger folio fits anywhere.
    let agree = (run.index ^ run.frame).trailing_zeros().min(most);
    if run.order > 0 || run.fresh || agree < LEAST_ORDER || run.pages >> LEAST_ORDER == 0 {
        return *run;
    }
    let fits = |order: u32| run.pages >> order != 0;
    let here = run.index.trailing_zeros().min(agree);
    // To the next place where a larger one may begin there are single pages, or small folios.
    let (order, pages) = if here >= LEAST_ORDER && fits(here) {
        let size = 1u64.wrapping_shl(here);
        let all = run.pages & !size.wrapping_sub(1);
        // Of the largest as many as there are, of others one.
        (here, if here == agree { all } else { size })
    } else if here >= LEAST_ORDER {
        // The end: the largest that still fits.
        let order = run.pages.checked_ilog2().unwrap_or(0);
        match order {
            LEAST_ORDER.. => (order, 1u64.wrapping_shl(order)),
            _ => (0, run.pages),
        }
    } else {
        let size = 1u64.wrapping_shl(LEAST_ORDER);
        let gap = size.wrapping_sub(run.index & size.wrapping_sub(1));
        (0, gap.min(run.pages))
    };
    Run {
        pages,
        order,
        ..*run
    }
}
