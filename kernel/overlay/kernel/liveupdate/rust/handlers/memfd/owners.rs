// SPDX-License-Identifier: GPL-2.0-only
//! The control groups that have paid for memfds which are carried on for who has not come yet.
//! Meanwhile nobody is charged for them, so it cannot be told from their pages.

use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNode};
use luo_abi::memfd::GROUP_LENGTH;
use luo_memfd::Short;

use crate::sys::memory;

/// The path of a control group.
pub(crate) type Path = Short<GROUP_LENGTH>;

/// Who has paid for a file of the previous kernel, which has this handle.
pub(crate) type Owner = RBTreeNode<u64, Path>;

/// All of them. Nothing here asks for memory or gives it back: whoever does holds a spinlock.
pub(crate) struct Owners(RBTree<u64, Path>);

/// Whom [`Owners::note`] is to note for a file; none if it is not known. Without memory for it,
/// who takes the file back pays.
pub(super) fn owner(data: u64, path: &Path) -> Option<Owner> {
    if path.as_bytes().is_empty() {
        return None;
    }
    Owner::new(data, path.clone(), memory::uncharged()).ok()
}

impl Owners {
    /// None.
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Notes one. What was noted of the file before is the caller's.
    pub(super) fn note(&mut self, owner: Owner) -> Option<Owner> {
        self.0.insert(owner)
    }

    /// Who has paid for a file, if it was noted.
    pub(super) fn get(&self, data: u64) -> Option<&Path> {
        self.0.get(&data)
    }

    /// A file of the previous kernel is finished. What was noted of it is the caller's.
    pub(super) fn forget(&mut self, data: u64) -> Option<Owner> {
        self.0.remove_node(&data)
    }
}
