// SPDX-License-Identifier: GPL-2.0-only
//! Who has paid for memfds that are carried on for who has not come yet. Meanwhile nobody is charged
//! for them, so it cannot be told from their pages.

use kernel::prelude::*;
use kernel::rbtree::RBTree;
use luo_abi::memfd::GROUP_LENGTH;
use luo_memfd::Short;

use crate::sys::memory;

/// The path of a control group.
pub(crate) type Path = Short<GROUP_LENGTH>;

/// The control groups that had paid for files of the previous kernel, by the files' handles.
pub(crate) struct Owners(RBTree<u64, KBox<Path>>);

impl Owners {
    /// None.
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Notes who has paid for a file. Without memory for it, who takes the file back pays.
    pub(super) fn note(&mut self, data: u64, path: &Path) {
        if path.as_bytes().is_empty() {
            return;
        }
        if let Ok(path) = KBox::new(path.clone(), memory::uncharged()) {
            let _ = self.0.try_create_and_insert(data, path, memory::uncharged());
        }
    }

    /// Who has paid for a file, if it was noted.
    pub(super) fn get(&self, data: u64) -> Option<&Path> {
        self.0.get(&data).map(|path| &**path)
    }

    /// A file of the previous kernel is finished.
    pub(super) fn forget(&mut self, data: u64) {
        drop(self.0.remove_node(&data));
    }
}
