// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Orders of files that their dependencies ask for.

use super::node::{Along, Nodes};
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

/// An order that is being made a stretch at a time. Nobody else arranges or removes files of
/// it meanwhile, and between these no dependency comes or goes.
pub(crate) struct Arranging {
    back: Along,
    forth: Along,
    set: u64,
    given: Order,
    /// Whether it is known of all that were given how many have to come before them.
    counted: bool,
    /// The file whose turn it is, of those that were given.
    turn: Option<FileId>,
    /// A file that has its place, and has not released those that wait for it yet.
    placed: Option<FileId>,
    order: Order,
}

impl Arranging {
    /// The order, once it is made.
    pub(crate) const fn order(&self) -> Order {
        self.order
    }
}

/// How much a stretch may still look at: files, and their dependencies in both directions.
pub(crate) struct Budget(usize);

impl Budget {
    /// A file and what needs it, or what it needs, are to be looked at. The first is, however
    /// many there are: see [`super::MAX_DEPENDENCIES_PER_FILE`].
    pub(crate) fn has_room_for(&mut self, others: usize) -> bool {
        let room = self.0 > 0;
        self.0 = self.0.saturating_sub(others.saturating_add(1));
        room
    }

    /// Files and their neighbours that a call looks at before it gives up the engine's lock
    /// for a moment.
    pub(crate) const fn of_a_stretch() -> Self {
        Self(128)
    }

    const fn without_end() -> Self {
        Self(usize::MAX)
    }
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
        let mut arranging = self.begin_arranging(first);
        for id in files {
            self.take_in(&mut arranging, id);
        }
        self.arrange_on(&mut arranging, &mut Budget::without_end());
        arranging.order
    }

    /// Begins an order as [`Self::arrange`] makes one, for files that are to be taken in.
    pub(crate) fn begin_arranging(&mut self, first: First) -> Arranging {
        let (back, forth) = match first {
            First::Dependencies => (Along::Needs, Along::NeededBy),
            First::Dependents => (Along::NeededBy, Along::Needs),
        };
        Arranging {
            back,
            forth,
            set: self.new_mark(),
            given: Order::EMPTY,
            counted: false,
            turn: None,
            placed: None,
            order: Order::EMPTY,
        }
    }

    /// Takes a file into the set, linked as given.
    pub(crate) fn take_in(&mut self, arranging: &mut Arranging, id: FileId) {
        match self.nodes.get_mut(id) {
            Some(node) if node.place.set != arranging.set => {
                node.place.set = arranging.set;
                node.place.waits = 0;
                node.place.passed = false;
                self.nodes.append(&mut arranging.given, id);
                arranging.turn = arranging.given.first;
            }
            _ => {}
        }
    }

    /// Goes on with an order that has all its files, for a stretch. True if it is made.
    pub(crate) fn arrange_on(&mut self, arranging: &mut Arranging, budget: &mut Budget) -> bool {
        while !arranging.counted {
            let Some(id) = arranging.turn else {
                arranging.turn = arranging.given.first;
                arranging.counted = true;
                break;
            };
            if !budget.has_room_for(self.count(id, arranging.back)) {
                return false;
            }
            self.count_waits(id, arranging.back);
            arranging.turn = self.next_in_order(id);
        }
        loop {
            // The order is its own queue: what a file releases is appended.
            if let Some(id) = arranging.placed {
                if !budget.has_room_for(self.count(id, arranging.forth)) {
                    return false;
                }
                self.release(id, arranging.forth, &mut arranging.order);
                arranging.placed = self.next_in_order(id);
                continue;
            }
            let Some(id) = arranging.turn else {
                return true;
            };
            if !budget.has_room_for(0) {
                return false;
            }
            let Some(node) = self.nodes.get_mut(id) else {
                return true;
            };
            arranging.turn = node.place.next;
            if node.place.waits > 0 {
                node.place.passed = true;
                continue;
            }
            self.nodes.append(&mut arranging.order, id);
            arranging.placed = Some(id);
        }
    }

    fn count(&self, id: FileId, along: Along) -> usize {
        match along {
            Along::Needs => self.dependency_count(id),
            Along::NeededBy => self.dependent_count(id),
        }
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
