// SPDX-License-Identifier: GPL-2.0-only
//! The pages and keys that the previous kernel has left, as the reader of the format asks for them.

use kernel::bindings;
use luo_core::PageError;
use luo_memfd::{Run, Source};

use crate::sys::kho::HandedPage;

/// The pages and keys of the previous kernel, for a reader.
pub(crate) struct Previous;

impl Source for Previous {
    type Page = HandedPage;

    fn page(&self, address: u64) -> Result<HandedPage, PageError> {
        HandedPage::at(address)
    }

    fn order(&self, frame: u64) -> Option<u32> {
        let address = frame.checked_mul(kernel::page::PAGE_SIZE as u64)?;
        // SAFETY: Takes any address.
        u32::try_from(unsafe { bindings::kho_preserved_order(address) }).ok()
    }

    fn keeps(&self, run: &Run, step: u64) -> bool {
        if step == 0 {
            return false;
        }
        let mut at = 0;
        while at < run.pages {
            let frame = run.frame.saturating_add(at);
            let Some(address) = frame.checked_mul(kernel::page::PAGE_SIZE as u64) else {
                return false;
            };
            // SAFETY: Takes any address.
            if !unsafe { bindings::kho_are_preserved_pages(address, step as usize) } {
                return false;
            }
            at = at.saturating_add(step);
        }
        true
    }
}
