// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Orders of files that their dependencies ask for.

use super::node::{Along, Nodes, Place};
use super::Graph;
use crate::id::FileId;

/// Which files of an order come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A file comes after all that it needs.
    Dependencies,
    /// A file comes before all that it needs.
    Dependents,
}

/// The ends of an order; the links between are in the nodes.
///
/// It holds until one of its files is arranged anew. A file that is removed
/// leaves its order, but not these ends: step on before removing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) first: Option<FileId>,
    pub(crate) last: Option<FileId>,
    pub(crate) len: usize,
}

impl Order {
    pub(crate) const EMPTY: Self = Self {
        first: None,
        last: None,
        len: 0,
    };
}

impl Nodes {
    /// Appends a node to an order.
    fn append(&mut self, order: &mut Order, id: FileId) {
        let last = order.last.replace(id);
        if let Some(node) = self.get_mut(id) {
            node.place.prev = last;
            node.place.next = None;
        }
        match last.and_then(|last| self.get_mut(last)) {
            Some(before) => before.place.next = Some(id),
            None => order.first = Some(id),
        }
        order.len = order.len.saturating_add(1);
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

impl Graph {
    /// Puts files in an order that their dependencies on each other ask for, in
    /// O(files and their edges). Dependencies on other files do not count; a
    /// file given twice counts once, where it was given first.
    ///
    /// The rule: the files take their turns as given. One that has to come
    /// behind a file which is not placed yet is passed over; it is placed as
    /// soon as the last file it waits for is, before the next turn. Of several
    /// that wait for the same last file, those come first whose dependency on it
    /// (or its on them) was declared first. So files that may stand as given
    /// stay as given.
    ///
    /// Orders of disjoint sets of files may exist at once.
    pub(crate) fn arrange(&mut self, files: impl Iterator<Item = FileId>, first: First) -> Order {
        let (back, forth) = match first {
            First::Dependencies => (Along::Needs, Along::NeededBy),
            First::Dependents => (Along::NeededBy, Along::Needs),
        };
        let set = self.new_mark();
        let given = self.gather(files, set);
        let mut next = given.first;
        while let Some(id) = next {
            self.count_waits(id, back);
            next = self.next_in_order(id);
        }
        let mut order = Order::EMPTY;
        let mut next = given.first;
        while let Some(id) = next {
            let Some(node) = self.nodes.get_mut(id) else {
                break;
            };
            next = node.place.next;
            if node.place.waits > 0 {
                node.place.passed = true;
                continue;
            }
            // The order is its own queue: what a file releases is appended.
            self.nodes.append(&mut order, id);
            let mut placed = Some(id);
            while let Some(id) = placed {
                self.release(id, forth, &mut order);
                placed = self.next_in_order(id);
            }
        }
        order
    }

    /// Makes the files a set, linked as given.
    fn gather(&mut self, files: impl Iterator<Item = FileId>, set: u64) -> Order {
        let mut given = Order::EMPTY;
        for id in files {
            match self.nodes.get_mut(id) {
                Some(node) if node.place.set != set => {
                    node.place.set = set;
                    node.place.waits = 0;
                    node.place.passed = false;
                    self.nodes.append(&mut given, id);
                }
                _ => {}
            }
        }
        given
    }

    /// Counts the files of the set that have to come before one of them.
    fn count_waits(&mut self, id: FileId, back: Along) {
        let Some(node) = self.nodes.get(id) else {
            return;
        };
        let (set, mut next) = (node.place.set, node.first_edge(back));
        let mut waits = 0usize;
        while let Some(edge) = next {
            let file;
            (next, file) = self.follow(edge, back);
            if file.is_some_and(|file| self.in_set(file, set)) {
                waits = waits.saturating_add(1);
            }
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.place.waits = waits;
        }
    }

    fn in_set(&self, id: FileId, set: u64) -> bool {
        self.nodes.get(id).is_some_and(|node| node.place.set == set)
    }

    /// A file is placed: those that waited for it alone, and were passed over,
    /// are placed too.
    fn release(&mut self, id: FileId, forth: Along, order: &mut Order) {
        let Some(node) = self.nodes.get(id) else {
            return;
        };
        let (set, mut next) = (node.place.set, node.first_edge(forth));
        while let Some(edge) = next {
            let file;
            (next, file) = self.follow(edge, forth);
            let Some(file) = file else {
                continue;
            };
            let Some(node) = self.nodes.get_mut(file) else {
                continue;
            };
            if node.place.set != set {
                continue;
            }
            node.place.waits = node.place.waits.saturating_sub(1);
            if node.place.waits == 0 && node.place.passed {
                self.nodes.append(order, file);
            }
        }
    }

    /// The file behind one that is in an order.
    pub(crate) fn next_in_order(&self, id: FileId) -> Option<FileId> {
        self.nodes.get(id)?.place.next
    }

    /// The file before one that is in an order.
    pub(crate) fn prev_in_order(&self, id: FileId) -> Option<FileId> {
        self.nodes.get(id)?.place.prev
    }
}
