// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checksums of a handover, made right again after a change.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

use luo_abi::handover::BLOCK_SIZE;

use crate::memory::Handed;

const SESSION: usize = 80;
const FILE: usize = 64;
const RECORD: usize = 64;
const SUBSYSTEM: usize = 56;

impl Handed {
    /// Address of the root of what goes beside `luo-v5`.
    pub fn supplement(&self) -> u64 {
        self.supplement.unwrap().0
    }

    /// Makes all checksums right again, as far as there is something to sum up: by the
    /// standard library's hash, which is the one that the format asks for.
    pub fn seal(&mut self) {
        let Some((root, _)) = self.supplement else {
            return;
        };
        let mut early = DefaultHasher::new();
        let flbs = self.look(self.root, 24);
        let count = self.look(flbs, 8).min(63) as usize;
        early.write(self.slice(flbs, 16, 64 * count));
        let subsystems = self.look(root, 40).min(72) as usize;
        early.write(self.slice(self.look(root, 32), 0, SUBSYSTEM * subsystems));
        let mut late = DefaultHasher::new();
        for session in self.records_of(self.look(self.root, 16), SESSION) {
            late.write(&session[..64]);
            late.write_u64(0);
            late.write(&session[72..]);
            let files = u64::from_ne_bytes(session[64..72].try_into().unwrap());
            for file in self.records_of(files, FILE) {
                late.write(file);
            }
        }
        for record in self.records_of(self.look(root, 48), RECORD) {
            late.write(record);
        }
        let (early, late) = (early.finish(), late.finish());
        self.change(root, 64, early);
        self.change(root, 72, late);
        self.seal_root();
    }

    /// Makes the checksum of the root right again.
    pub fn seal_root(&mut self) {
        let Some((root, _)) = self.supplement else {
            return;
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(self.slice(root, 0, 80));
        let sum = hasher.finish();
        self.change(root, 80, sum);
    }

    /// A part of a page, as much of it as there is.
    fn slice(&self, address: u64, offset: usize, len: usize) -> &[u8] {
        let page = self.pages.get(&address).map_or(&[][..], Vec::as_slice);
        let end = (offset + len).min(page.len());
        page.get(offset..end).unwrap_or_default()
    }

    /// The word there, 0 if there is none.
    fn look(&self, address: u64, offset: usize) -> u64 {
        let bytes = self.slice(address, offset, 8).try_into();
        bytes.map_or(0, u64::from_ne_bytes)
    }

    /// Puts a word there, if there is room.
    fn change(&mut self, address: u64, offset: usize, word: u64) {
        if self.slice(address, offset, 8).len() == 8 {
            self.set_word(address, offset, word);
        }
    }

    /// The records of a chain of pages, each page once.
    pub fn records_of(&self, mut address: u64, size: usize) -> Vec<&[u8]> {
        let most = (BLOCK_SIZE - 16) / size;
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        while seen.insert(address) {
            let count = self.look(address, 8).min(most as u64) as usize;
            let at = |at| self.slice(address, 16 + size * at, size);
            records.extend((0..count).map(at).filter(|record| record.len() == size));
            address = self.look(address, 0);
        }
        records
    }
}
