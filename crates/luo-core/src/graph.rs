// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which file needs which: the graph of dependencies, and orders along it.
//!
//! A file is a *node*, by the slot of its id. That one file needs another is an
//! *edge*; it stands in two lists, among the dependencies of the one and among
//! the dependents of the other, so that any edge goes in constant time. There is
//! never a cycle: [`Graph::declare`] refuses the edge that would close one.
//!
//! When a file goes, the needs of its dependents stay declared and miss it from
//! then on: their edges keep the name of what is gone, and stand in the list of
//! dependencies only.
//!
//! Walks and orders take no memory and do not recurse: their marks, stacks and
//! links are in the nodes. A walk ends in the call that began it; an [`Order`]
//! outlives the call, so its links are its own.

mod node;
mod order;
#[cfg(test)]
mod tests;
mod walk;

use self::node::{Along, NeededBy, Needs, Node, Nodes};
pub(crate) use self::order::{Arranging, Budget, First, Order};
pub use self::walk::MAX_SEARCH;

use crate::error::Error;
use crate::file_name::FileName;
use crate::id::{of, EdgeId, FileId};
use crate::mem::OutOfMemory;
use crate::table::hash::Hash;
use crate::table::index::Index;
use crate::table::list::{Linked, Links};
use crate::table::slab::Slab;

/// Dependencies that a file may have declared, and files that may need it: as many steps
/// it takes to remove it.
pub const MAX_DEPENDENCIES_PER_FILE: usize = 16_384;

/// The target of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file that is there.
    File(FileId),
    /// A file that went, under the name it had: the dependency is missing.
    Gone(FileName),
}

/// A dependency: `from` needs `target`.
struct Edge {
    from: FileId,
    target: Target,
    /// Neighbours in the dependencies of `from`.
    needs: Links<of::Edge>,
    /// Neighbours in the dependents of the target, while that is a file.
    needed_by: Links<of::Edge>,
}

impl Linked<of::Edge, Needs> for Edge {
    fn links(&mut self) -> &mut Links<of::Edge> {
        &mut self.needs
    }
}

impl Linked<of::Edge, NeededBy> for Edge {
    fn links(&mut self) -> &mut Links<of::Edge> {
        &mut self.needed_by
    }
}

/// The files and what they need.
///
/// # Invariants
/// An edge is in the dependencies of its `from`. If its target is a file, the edge
/// is in the dependents of that, too, and in the index under both, which no other
/// edge has. Both files have a node. No path along the edges leads back to where
/// it began.
pub(crate) struct Graph {
    hash: Hash,
    nodes: Nodes,
    edges: Slab<of::Edge, Edge>,
    index: Index,
    /// The last walk or set that got a number.
    mark: u64,
}

impl Graph {
    pub(crate) const fn new(hash: Hash) -> Self {
        Self {
            hash,
            nodes: Nodes::new(),
            edges: Slab::new(),
            index: Index::new(),
            mark: 0,
        }
    }

    /// Of nodes, edges and index each: entries, room for entries.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [[usize; 2]; 3] {
        let nodes = self.nodes.slots.shape();
        [nodes, self.edges.shape(), self.index.shape()]
    }

    /// Makes sure that the node of the next file of a slab asks for no memory.
    pub(crate) fn reserve_node<T>(&mut self, files: &Slab<of::File, T>) -> Result<(), OutOfMemory> {
        self.nodes.slots.reserve_at(files.last_with_next())
    }

    /// Makes sure that the nodes of all files that a slab has room for ask for no memory.
    pub(crate) fn reserve_nodes<T>(
        &mut self,
        files: &Slab<of::File, T>,
    ) -> Result<(), OutOfMemory> {
        for segment in files.segments_with_room() {
            self.nodes.slots.reserve_segment(segment)?;
        }
        Ok(())
    }

    /// Gives back the room for the nodes of a segment of files that was given back.
    pub(crate) fn give_back_room(&mut self, segment: usize) {
        self.nodes.slots.give_back(segment);
    }

    /// Makes the node of a new file. A file that had the slot before must have
    /// been removed.
    pub(crate) fn add_node(&mut self, id: FileId) -> Result<(), OutOfMemory> {
        self.nodes.slots.set(id.slot, Node::new(id))
    }

    /// Whether a file has a node.
    pub(crate) fn has_node(&self, id: FileId) -> bool {
        self.nodes.get(id).is_some()
    }

    /// A file goes: what it needs is forgotten, and those who need it miss it
    /// from now on, under the name `gone`, which may be absent if there are none. Needs no
    /// memory and O(its edges).
    pub(crate) fn remove_node(&mut self, id: FileId, gone: Option<FileName>) {
        let Some(node) = self.nodes.get(id) else {
            return;
        };
        let (mut next, mut dependent) = (node.dependencies.first, node.dependents.first);
        while let Some(at) = next {
            let Some(edge) = self.edges.get(at) else {
                break;
            };
            next = edge.needs.next;
            self.remove_edge(at);
        }
        while let Some(at) = dependent {
            let Some(edge) = self.edges.get(at) else {
                break;
            };
            dependent = edge.needed_by.next;
            if let Some(gone) = gone {
                self.lose_target(at, gone);
            }
        }
        self.nodes.leave_order(id);
        self.nodes.slots.clear(id.slot);
    }

    /// The target of an edge goes.
    fn lose_target(&mut self, id: EdgeId, gone: FileName) {
        self.leave_target(id);
        if let Some(edge) = self.edges.get_mut(id) {
            edge.target = Target::Gone(gone);
            if let Some(node) = self.nodes.get_mut(edge.from) {
                node.missing = node.missing.saturating_add(1);
            }
        }
    }

    /// Takes an edge out of the index and out of the dependents of its target.
    fn leave_target(&mut self, id: EdgeId) {
        let Some(edge) = self.edges.get(id) else {
            return;
        };
        if let Target::File(on) = edge.target {
            self.index.remove(id.slot);
            if let Some(node) = self.nodes.get_mut(on) {
                node.dependents.unlink(&mut self.edges, id);
            }
        }
    }

    /// Makes sure that `additional` declarations in a row ask for no memory.
    pub(crate) fn reserve_edges(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        self.edges.reserve(additional)?;
        let segments = self.edges.segments_with_room();
        self.index.reserve_segments(segments, additional)
    }

    /// Declares that `from` needs `on` without looking for a cycle: for what was
    /// declared in another kernel. Records do not stand in the order of
    /// declaration, and in another one the search can cost a multiple. An order
    /// of all files that is shorter than they are many tells of a cycle.
    ///
    /// # Errors
    /// As [`Self::declare`], but for the cycle.
    pub(crate) fn adopt(&mut self, from: FileId, on: FileId) -> Result<(), Error> {
        if !self.has_node(from) || !self.has_node(on) {
            return Err(Error::NoToken);
        }
        if self.find(from, on).is_some() {
            return Err(Error::DependencyExists);
        }
        self.link(from, on)
    }

    fn link(&mut self, from: FileId, on: FileId) -> Result<(), Error> {
        self.edges.reserve(1)?;
        self.index.reserve_at(self.edges.last_with_next())?;
        let id = self.edges.insert(Edge {
            from,
            target: Target::File(on),
            needs: Links::new(),
            needed_by: Links::new(),
        })?;
        self.index.insert(self.key(from, on), id.slot)?;
        if let Some(node) = self.nodes.get_mut(from) {
            node.dependencies.push_back(&mut self.edges, id);
        }
        if let Some(node) = self.nodes.get_mut(on) {
            node.dependents.push_back(&mut self.edges, id);
        }
        Ok(())
    }

    /// Takes a dependency back. True if there was such a one.
    ///
    /// Constant time if the target is there; a missing one is looked for among all that
    /// `from` needs, [`MAX_DEPENDENCIES_PER_FILE`] at most, and of several of the same
    /// name the first goes.
    pub(crate) fn withdraw(&mut self, from: FileId, on: &Target) -> bool {
        let edge = match on {
            Target::File(on) => self.find(from, *on),
            Target::Gone(name) => self.find_gone(from, name),
        };
        if let Some(edge) = edge {
            self.remove_edge(edge);
        }
        edge.is_some()
    }

    fn remove_edge(&mut self, id: EdgeId) {
        self.leave_target(id);
        let Some(edge) = self.edges.get(id) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(edge.from) {
            if let Target::Gone(_) = edge.target {
                node.missing = node.missing.saturating_sub(1);
            }
            node.dependencies.unlink(&mut self.edges, id);
        }
        self.edges.remove(id);
        if let Some(segment) = self.edges.take_gone() {
            self.index.give_back(segment);
        }
    }

    /// The hash under which an edge is in the index.
    fn key(&self, from: FileId, on: FileId) -> u32 {
        self.hash.of_words(&[from.to_bits(), on.to_bits()])
    }

    /// Whether a file has been declared to need another.
    pub(crate) fn has(&self, from: FileId, on: FileId) -> bool {
        self.find(from, on).is_some()
    }

    fn find(&self, from: FileId, on: FileId) -> Option<EdgeId> {
        let same = |slot| {
            self.edges
                .at_slot(slot)
                .is_some_and(|(_, edge)| edge.from == from && edge.target == Target::File(on))
        };
        let slot = self.index.find(self.key(from, on), same)?;
        self.edges.at_slot(slot).map(|(id, _)| id)
    }

    fn find_gone(&self, from: FileId, name: &FileName) -> Option<EdgeId> {
        self.dependencies(from)
            .find_map(|(id, target)| match target {
                Target::Gone(gone) if gone.is_same(name) => Some(id),
                _ => None,
            })
    }

    /// How many dependencies are declared, missing ones included.
    pub(crate) fn edge_count(&self) -> usize {
        self.edges.len()
    }

    /// The dependencies of a file, in the order of declaration; one that is missing stays in its
    /// place.
    pub(crate) fn dependencies(&self, id: FileId) -> impl Iterator<Item = (EdgeId, Target)> + '_ {
        self.dependencies_from(self.nodes.get(id).and_then(|node| node.dependencies.first))
    }

    /// The dependencies of a file behind one of them, in the order of declaration. `None` if that
    /// one is gone or another file's.
    pub(crate) fn dependencies_after(
        &self,
        id: FileId,
        after: EdgeId,
    ) -> Option<impl Iterator<Item = (EdgeId, Target)> + '_> {
        let edge = self.edges.get(after).filter(|edge| edge.from == id)?;
        Some(self.dependencies_from(edge.needs.next))
    }

    fn dependencies_from(
        &self,
        mut next: Option<EdgeId>,
    ) -> impl Iterator<Item = (EdgeId, Target)> + '_ {
        core::iter::from_fn(move || {
            let id = next?;
            let edge = self.edges.get(id)?;
            next = edge.needs.next;
            Some((id, edge.target))
        })
    }

    /// The files that need a file, in the order of declaration.
    pub(crate) fn dependents(&self, id: FileId) -> impl Iterator<Item = FileId> + '_ {
        let mut next = self.nodes.get(id).and_then(|node| node.dependents.first);
        core::iter::from_fn(move || {
            let edge = self.edges.get(next?)?;
            next = edge.needed_by.next;
            Some(edge.from)
        })
    }

    /// How much a file needs, missing dependencies included.
    pub(crate) fn dependency_count(&self, id: FileId) -> usize {
        self.nodes.get(id).map_or(0, |node| node.dependencies.len)
    }

    /// How many of those are missing.
    pub(crate) fn missing_count(&self, id: FileId) -> usize {
        self.nodes.get(id).map_or(0, |node| node.missing)
    }

    /// How many need a file.
    pub(crate) fn dependent_count(&self, id: FileId) -> usize {
        self.nodes.get(id).map_or(0, |node| node.dependents.len)
    }

    /// A number that no walk and no set has had.
    fn new_mark(&mut self) -> u64 {
        // Would take centuries to wrap.
        self.mark = self.mark.wrapping_add(1);
        self.mark
    }

    /// The edge behind an edge, and the file at its far end, if that is there.
    fn follow(&self, id: EdgeId, along: Along) -> (Option<EdgeId>, Option<FileId>) {
        match (self.edges.get(id), along) {
            (None, _) => (None, None),
            (Some(edge), Along::NeededBy) => (edge.needed_by.next, Some(edge.from)),
            (Some(edge), Along::Needs) => match edge.target {
                Target::File(on) => (edge.needs.next, Some(on)),
                Target::Gone(_) => (edge.needs.next, None),
            },
        }
    }
}
