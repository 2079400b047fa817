// SPDX-License-Identifier: GPL-2.0-only
//! The count of huge pages that the next kernel is told before it fills its pools.

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_core::Host as _;
use luo_memfd::{Format, Pools, Run};

use crate::host::{linux, Linux};
use crate::sys::kho::{self, Entry, PreservedPage};
use crate::sys::{memfd, memory};

/// The page that says it; none before the end of boot, or if there was no memory for it.
pub(crate) type Page = Option<Pools<PreservedPage>>;

/// Makes the page known to the next kernel. That of the previous one was read when the pools
/// were filled.
pub(crate) fn set_up(linux: &Linux) -> Result {
    if let Some((address, _)) = kho::incoming(Entry::HugePages) {
        kho::give_to_allocator(address);
    }
    let pools = Pools::new(linux.alloc_block().map_err(crate::errno::to_kernel)?);
    kho::add(Entry::HugePages, pools.address(), kernel::page::PAGE_SIZE)?;
    linux.with_pools(|page| *page = Some(pools));
    Ok(())
}

/// Huge pages of a file that the next kernel is told of, by node. Ends when it is dropped.
pub(super) struct Counted {
    order: u32,
    nodes: KVec<(u32, u64)>,
    /// The file does not go, and the next kernel is not told of it.
    is_lost: bool,
}

impl Counted {
    /// Those of a file's runs; of small pages nobody is told.
    ///
    /// # Errors
    /// ENOMEM.
    pub(super) fn new(linux: &Linux, format: Format, runs: &[Run]) -> Result<Self, Errno> {
        let mut counted = Self {
            order: runs.first().map_or(0, |run| run.order),
            nodes: KVec::new(),
            is_lost: false,
        };
        if format != Format::Huge {
            return Ok(counted);
        }
        let mut nodes = KVec::new();
        for run in runs {
            let node = memfd::node_of(run.frame);
            let known = nodes.iter_mut().find(|(known, _)| *known == node);
            match known {
                Some((_, pages)) => *pages = run.folios().saturating_add(*pages),
                None => {
                    let room = nodes.push((node, run.folios()), memory::flags());
                    room.map_err(|_| Errno::ENOMEM)?;
                }
            }
        }
        // Room for all: what is told is noted, so that it is taken back.
        let noted = KVec::with_capacity(nodes.len(), memory::flags());
        counted.nodes = noted.map_err(|_| Errno::ENOMEM)?;
        linux.with_pools(|page| {
            let page = page.as_mut().ok_or(Errno::ENOMEM)?;
            for (node, pages) in nodes {
                if !page.add(counted.order, node, pages) {
                    return Err(Errno::ENOMEM);
                }
                let _ = counted.nodes.push_within_capacity((node, pages));
            }
            Ok(())
        })?;
        Ok(counted)
    }
}

impl Counted {
    /// Whether the file is lost in the reboot: its pages are nobody's then, and the next kernel
    /// keeps no places for them.
    pub(super) fn set_lost(&mut self, linux: &Linux, is_lost: bool) {
        if self.is_lost == is_lost {
            return;
        }
        self.is_lost = is_lost;
        self.each(linux, |page, node, pages| match is_lost {
            true => page.remove(self.order, node, pages),
            false => {
                // Its record has stayed on the page: there is room.
                let _ = page.add(self.order, node, pages);
            }
        });
    }

    /// Does something for each of its nodes.
    fn each(&self, linux: &Linux, mut work: impl FnMut(&mut Pools<PreservedPage>, u32, u64)) {
        if self.nodes.is_empty() {
            return;
        }
        linux.with_pools(|page| {
            for &(node, pages) in &self.nodes {
                if let Some(page) = page {
                    work(page, node, pages);
                }
            }
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let (Some(linux), false) = (linux(), self.is_lost) {
            self.each(linux, |page, node, pages| {
                page.remove(self.order, node, pages)
            });
        }
    }
}
