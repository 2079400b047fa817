// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The nodes: a file's lists of edges, and its part in walks and orders.

use crate::id::{of, EdgeId, FileId};
use crate::table::beside::Beside;
use crate::table::list::List;

/// The role of the list in the file that needs.
pub(super) enum Needs {}
/// The role of the list in the file that is needed.
pub(super) enum NeededBy {}

/// A way along the edges.
#[derive(Clone, Copy)]
pub(super) enum Along {
    /// From a file to what it needs.
    Needs,
    /// From a file to those who need it.
    NeededBy,
}

pub(super) struct Node {
    /// The file that this is the node of; the slot may be used again.
    pub(super) file: FileId,
    pub(super) dependencies: List<of::Edge, Needs>,
    pub(super) dependents: List<of::Edge, NeededBy>,
    /// Dependencies on files that are gone.
    pub(super) missing: usize,
    pub(super) visit: Visit,
    pub(super) place: Place,
}

impl Node {
    pub(super) const fn new(file: FileId) -> Self {
        Self {
            file,
            dependencies: List::new(),
            dependents: List::new(),
            missing: 0,
            // No walk and no set has the number 0.
            visit: Visit {
                mark: 0,
                below: None,
                at: None,
            },
            place: Place {
                set: 0,
                waits: 0,
                passed: false,
                prev: None,
                next: None,
            },
        }
    }

    pub(super) fn first_edge(&self, along: Along) -> Option<EdgeId> {
        match along {
            Along::Needs => self.dependencies.first,
            Along::NeededBy => self.dependents.first,
        }
    }
}

/// A node's part in the last walk that came by.
pub(super) struct Visit {
    /// The walk that visited it.
    pub(super) mark: u64,
    /// The node the walk came from.
    pub(super) below: Option<FileId>,
    /// The edge to follow next.
    pub(super) at: Option<EdgeId>,
}

/// A node's part in the order it was last put in.
pub(super) struct Place {
    /// The set of files that was put in that order.
    pub(super) set: u64,
    /// How many files of the set are still to come before it.
    pub(super) waits: usize,
    /// Its turn came while it had to wait.
    pub(super) passed: bool,
    pub(super) prev: Option<FileId>,
    pub(super) next: Option<FileId>,
}

/// The nodes, by the slots of their files.
pub(super) struct Nodes {
    pub(super) slots: Beside<Node>,
    /// How often a node was looked at: what a test takes for the time.
    #[cfg(test)]
    pub(super) visits: core::cell::Cell<usize>,
}

impl Nodes {
    pub(super) const fn new() -> Self {
        Self {
            slots: Beside::new(),
            #[cfg(test)]
            visits: core::cell::Cell::new(0),
        }
    }

    fn count_visit(&self) {
        #[cfg(test)]
        self.visits.set(self.visits.get() + 1);
    }

    pub(super) fn get(&self, id: FileId) -> Option<&Node> {
        self.count_visit();
        self.slots.get(id.slot).filter(|node| node.file == id)
    }

    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut Node> {
        self.count_visit();
        self.slots.get_mut(id.slot).filter(|node| node.file == id)
    }

    /// Closes the gap that a node leaves in its order.
    pub(super) fn leave_order(&mut self, id: FileId) {
        let Some(node) = self.get(id) else {
            return;
        };
        let Place {
            set, prev, next, ..
        } = node.place;
        // A neighbour that is in another order by now keeps its links.
        if let Some(before) = prev.and_then(|prev| self.get_mut(prev)) {
            if before.place.set == set {
                before.place.next = next;
            }
        }
        if let Some(after) = next.and_then(|next| self.get_mut(next)) {
            if after.place.set == set {
                after.place.prev = prev;
            }
        }
    }
}
