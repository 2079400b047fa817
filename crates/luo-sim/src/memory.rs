// SPDX-License-Identifier: MIT OR Apache-2.0
//! Simulated physical memory: pages and memfds that reach the next kernel, and
//! those that came from the previous one.
//!
//! What survives a simulated kexec is what lies in a [`Block`] or a [`Kept`] when
//! the engine is dropped with the jump prepared: nothing else has a way over.

use std::collections::BTreeMap;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luo_abi::handover::{BLOCK_SIZE, Root};
use luo_abi::supplement;
use luo_core::{BlockMemory, PageError};

use crate::descriptor::File;

/// Address of the first page that a machine hands out after a cold boot.
const FIRST_PAGE: u64 = 0x10_0000;

/// What one kernel has left for the next.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Address of the root.
    pub(crate) root: u64,
    /// Address of what goes beside it.
    pub(crate) supplement: u64,
    pub(crate) pages: BTreeMap<u64, Box<[u8]>>,
    /// Memfds by the address of the page that describes them.
    files: BTreeMap<u64, File>,
    next_address: u64,
}

impl Handed {
    /// Address and length of both roots, as a KHO tree would say.
    pub(crate) fn entries(&self) -> [(u64, usize); 2] {
        [
            (self.root, size_of::<Root>()),
            (self.supplement, supplement::ROOT_LENGTH),
        ]
    }
}

#[derive(Default)]
struct State {
    next_address: u64,
    arrived: BTreeMap<u64, Arc<[u8]>>,
    arrived_files: BTreeMap<u64, File>,
    /// Set when the machine jumps.
    jump: Option<Handed>,
}

/// The memory of one kernel.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

impl Memory {
    /// Memory after a cold boot, or after a kexec.
    pub(crate) fn new(handed: Option<Handed>) -> Self {
        let handed = handed.unwrap_or_default();
        let pages = handed.pages.into_iter();
        Self(Arc::new(Mutex::new(State {
            next_address: handed.next_address.max(FIRST_PAGE),
            arrived: pages.map(|(at, page)| (at, page.into())).collect(),
            arrived_files: handed.files,
            jump: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one statement: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A zeroed page for the next kernel.
    pub(crate) fn block(&self) -> Block {
        let mut state = self.state();
        let address = state.next_address;
        state.next_address += BLOCK_SIZE as u64;
        drop(state);
        Block {
            address,
            bytes: vec![0; BLOCK_SIZE].into(),
            memory: self.clone(),
        }
    }

    /// The page that the previous kernel left at an address.
    pub(crate) fn read(&self, address: u64) -> Result<Arc<[u8]>, PageError> {
        if !address.is_multiple_of(BLOCK_SIZE as u64) {
            return Err(PageError::Unaligned);
        }
        let page = self.state().arrived.get(&address).cloned();
        page.ok_or(PageError::NotPreserved)
    }

    /// Gives a page of the previous kernel to the allocator.
    pub(crate) fn free(&self, address: u64) {
        self.state().arrived.remove(&address);
    }

    /// Takes a memfd of the previous kernel, and frees the page that describes it.
    pub(crate) fn take_file(&self, address: u64) -> Option<File> {
        let mut state = self.state();
        state.arrived.remove(&address);
        state.arrived_files.remove(&address)
    }

    /// From here on what is dropped arrives in the next kernel.
    pub(crate) fn prepare_jump(&self, root: u64, supplement: u64) {
        let mut state = self.state();
        state.jump = Some(Handed {
            root,
            supplement,
            next_address: state.next_address,
            ..Handed::default()
        });
    }

    /// What has been left for the next kernel.
    pub(crate) fn jump(&self) -> Option<Handed> {
        self.state().jump.take()
    }
}

/// A page for the next kernel.
pub(crate) struct Block {
    address: u64,
    bytes: Box<[u8]>,
    memory: Memory,
}

impl BlockMemory for Block {
    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(jump) = &mut self.memory.state().jump {
            jump.pages
                .insert(self.address, std::mem::take(&mut self.bytes));
        }
    }
}

/// A memfd that is preserved, and the page that describes it.
pub(crate) struct Kept {
    pub(crate) page: Block,
    file: File,
}

impl Kept {
    pub(crate) fn new(page: Block, file: File) -> Self {
        Self { page, file }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(jump) = &mut self.page.memory.state().jump {
            jump.files.insert(self.page.address, Arc::clone(&self.file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_at_the_jump_arrives() {
        let memory = Memory::new(None);
        let (mut stays, goes) = (memory.block(), memory.block());
        let (address, gone) = (stays.address(), goes.address());
        stays.bytes()[7] = 42;
        drop(goes);
        memory.prepare_jump(address, 0);
        drop(stays);
        let next = Memory::new(memory.jump());
        assert_eq!(next.read(address).unwrap()[7], 42);
        assert_eq!(next.read(gone), Err(PageError::NotPreserved));
        assert_eq!(next.read(address + 1), Err(PageError::Unaligned));
        // Addresses are not given out twice in a chain of kernels.
        assert!(next.block().address() > gone);
        next.free(address);
        assert_eq!(next.read(address), Err(PageError::NotPreserved));
    }
}
