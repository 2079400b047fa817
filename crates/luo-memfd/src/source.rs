// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The pages of the previous kernel, as the host has them.

use luo_core::{HandedMemory, PageError};
use zerocopy::{FromBytes, IntoBytes};

use crate::damage::{Damage, Unread};
use crate::run::Run;

/// Where the pages of the previous kernel are.
pub trait Source {
    /// A page that can be read.
    type Page: HandedMemory;

    /// The page at a physical address, which is untrusted.
    ///
    /// # Errors
    /// [`PageError`] if the previous kernel has kept none there.
    fn page(&self, address: u64) -> Result<Self::Page, PageError>;

    /// The order of what the previous kernel has kept under one key, which begins at a page
    /// frame; `None` if nothing does.
    fn order(&self, frame: u64) -> Option<u32>;

    /// Whether the previous kernel has kept all pages of a run, `step` by `step` as it
    /// keeps pages that follow each other, and nobody has got them yet.
    fn keeps(&self, run: &Run, step: u64) -> bool;
}

/// The page at an address.
pub(crate) fn page<S: Source>(source: &S, address: u64) -> Result<S::Page, Unread> {
    let found = source.page(address);
    found.map_err(|why| Damage::Page { address, why }.into())
}

/// A structure at an offset of a page.
pub(crate) fn record<T: FromBytes + IntoBytes>(
    page: &impl HandedMemory,
    offset: usize,
) -> Option<T> {
    let mut found = T::new_zeroed();
    page.copy(offset, found.as_mut_bytes()).then_some(found)
}
