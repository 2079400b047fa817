// SPDX-License-Identifier: MIT OR Apache-2.0
//! Simulated physical memory: what reaches the next kernel and what came from
//! the previous one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use luo_abi::handover::{BLOCK_SIZE, Root};
use luo_abi::supplement;
use luo_core::{BlockMemory, PageError};

use crate::ledger::{Ledger, Lent, Ticket};

/// Address of the first page a cold machine hands out.
pub const FIRST_PAGE: u64 = 0x10_0000;

/// Pages by address.
pub type Pages = BTreeMap<u64, Vec<u8>>;

/// Where blocks leave their bytes when the machine jumps; `None` before.
pub type Jump = Arc<Mutex<Option<Pages>>>;

/// A page for the next kernel.
pub struct TestBlock {
    address: u64,
    bytes: Vec<u8>,
    jump: Jump,
    _ticket: Ticket,
}

impl TestBlock {
    pub fn new(address: u64, jump: &Jump, ledger: &Arc<Ledger>) -> Self {
        Self {
            address,
            bytes: vec![0; BLOCK_SIZE],
            jump: Arc::clone(jump),
            _ticket: Ticket::new(ledger, Lent::Block),
        }
    }
}

impl BlockMemory for TestBlock {
    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for TestBlock {
    fn drop(&mut self) {
        if let Some(pages) = &mut *self.jump.lock().unwrap() {
            let twice = pages.insert(self.address, std::mem::take(&mut self.bytes));
            assert!(twice.is_none(), "two blocks at {:#x}", self.address);
        }
    }
}

/// What one kernel has left for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// Address of the root.
    pub root: u64,
    /// Its length by the account of the KHO tree.
    pub len: usize,
    /// Address and length of what goes beside it; none from a C kernel.
    pub supplement: Option<(u64, usize)>,
    pub pages: Pages,
    /// Where free memory begins.
    pub next_address: u64,
}

impl Handed {
    pub fn new(root: u64, supplement: u64, pages: Pages, next_address: u64) -> Self {
        Self {
            supplement: Some((supplement, supplement::ROOT_LENGTH)),
            ..Self::of_c(root, pages, next_address)
        }
    }

    /// What a C kernel leaves: nothing beside `luo-v5`.
    pub fn of_c(root: u64, pages: Pages, next_address: u64) -> Self {
        Self {
            root,
            len: size_of::<Root>(),
            supplement: None,
            pages,
            next_address,
        }
    }

    /// The same as a C kernel would have left it: without what goes beside
    /// `luo-v5`, and without its pages.
    pub fn plain(mut self) -> Self {
        if let Some((root, _)) = self.supplement.take() {
            let mut next = self.word(root, 48);
            while next != 0 {
                next = self.take_page(next).0;
            }
            let subsystems = self.word(root, 32);
            self.pages.remove(&root);
            self.pages.remove(&subsystems);
        }
        self
    }

    /// Takes a block out; gives the two words it begins with.
    fn take_page(&mut self, address: u64) -> (u64, u64) {
        let words = (self.word(address, 0), self.word(address, 8));
        self.pages.remove(&address);
        words
    }

    /// The word at an offset of a page.
    pub fn word(&self, address: u64, offset: usize) -> u64 {
        let bytes = &self.pages[&address][offset..offset + 8];
        u64::from_ne_bytes(bytes.try_into().unwrap())
    }

    pub fn set_word(&mut self, address: u64, offset: usize, word: u64) {
        self.set_bytes(address, offset, &word.to_ne_bytes());
    }

    pub fn set_bytes(&mut self, address: u64, offset: usize, bytes: &[u8]) {
        let page = self.pages.get_mut(&address).unwrap();
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Address of the first block of sessions.
    pub fn sessions(&self) -> u64 {
        self.word(self.root, 16)
    }

    /// Address of the page of FLBs.
    pub fn flbs(&self) -> u64 {
        self.word(self.root, 24)
    }

    /// Address of the first block of files of the session with record `at` in
    /// the first block of sessions.
    pub fn files(&self, at: usize) -> u64 {
        self.word(self.sessions(), 16 + 80 * at + 64)
    }
}

/// The previous kernel's pages as this kernel sees them.
#[derive(Default)]
pub struct Arrived {
    pub pages: Pages,
    pub reads: usize,
    pub freed: usize,
}

impl Arrived {
    pub fn read(&mut self, address: u64) -> Result<Vec<u8>, PageError> {
        self.reads += 1;
        if address % BLOCK_SIZE as u64 != 0 {
            return Err(PageError::Unaligned);
        }
        let page = self.pages.get(&address).ok_or(PageError::NotPreserved)?;
        Ok(page.clone())
    }

    pub fn free(&mut self, address: u64) {
        let page = self.pages.remove(&address);
        assert!(page.is_some(), "{address:#x} freed twice or never there");
        self.freed += 1;
    }
}
