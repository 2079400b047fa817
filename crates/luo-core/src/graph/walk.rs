// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Walks along the edges: is there a path, and what is all that a file needs?

use super::node::{Along, Visit};
use super::{Graph, MAX_DEPENDENCIES_PER_FILE};
use crate::error::Error;
use crate::id::FileId;
use crate::mem::Vec;

/// Steps that a walk takes at most, along an edge or back each. The search for a cycle ends
/// when either side of the new edge has been seen, so only an edge between two parts of
/// the graph that both have thousands of edges can take so many; and a file that needs
/// thousands of others has to be restored after some of those.
pub const MAX_SEARCH: usize = 65_536;

/// A walk in depth along the edges. It enters each node once.
struct Walk {
    along: Along,
    mark: u64,
    /// The walk that this one may meet, if any.
    other: Option<u64>,
    top: Option<FileId>,
}

/// The outcome of one step of a walk, along one edge.
enum Step {
    /// Nothing to tell.
    On,
    /// All that lies beyond this node was left before, and now the node.
    Left(FileId),
    /// The next node belongs to the other walk.
    Met,
    /// There is nothing more.
    Done,
}

impl Graph {
    /// Begins a walk at a file; `other` is the mark of a walk it may meet.
    fn walk(&mut self, from: FileId, along: Along, mark: u64, other: Option<u64>) -> Walk {
        let mut walk = Walk {
            along,
            mark,
            other,
            top: None,
        };
        self.enter(&mut walk, from);
        walk
    }

    fn enter(&mut self, walk: &mut Walk, id: FileId) -> Step {
        match self.nodes.get_mut(id) {
            Some(node) if Some(node.visit.mark) == walk.other => Step::Met,
            Some(node) if node.visit.mark != walk.mark => {
                node.visit = Visit {
                    mark: walk.mark,
                    below: walk.top.replace(id),
                    at: node.first_edge(walk.along),
                };
                Step::On
            }
            _ => Step::On,
        }
    }

    fn step(&mut self, walk: &mut Walk) -> Step {
        let Some(top) = walk.top else {
            return Step::Done;
        };
        let Some(visit) = self.nodes.get(top).map(|node| &node.visit) else {
            return Step::Done;
        };
        let Some(at) = visit.at else {
            walk.top = visit.below;
            return Step::Left(top);
        };
        let (next, file) = self.follow(at, walk.along);
        if let Some(node) = self.nodes.get_mut(top) {
            node.visit.at = next;
        }
        match file {
            Some(file) => self.enter(walk, file),
            None => Step::On,
        }
    }

    /// Declares that `from` needs `on`.
    ///
    /// The search for a cycle goes from both ends at once, so it costs at most
    /// twice the lesser of what `on` needs and of what needs `from`, directly or
    /// not: nothing where one of them stands alone.
    ///
    /// # Errors
    /// [`Error::NoToken`] if one of them has no node,
    /// [`Error::DependencyCycle`] if `on` is `from` or needs it, directly or not,
    /// [`Error::DependencyExists`], [`Error::TooManyDependencies`], [`Error::TooDense`],
    /// [`Error::NoMemory`]. Nothing has changed.
    pub(crate) fn declare(&mut self, from: FileId, on: FileId) -> Result<(), Error> {
        if !self.has_node(from) || !self.has_node(on) {
            return Err(Error::NoToken);
        }
        if self.find(from, on).is_some() {
            return Err(Error::DependencyExists);
        }
        if self.dependency_count(from) >= MAX_DEPENDENCIES_PER_FILE
            || self.dependent_count(on) >= MAX_DEPENDENCIES_PER_FILE
        {
            return Err(Error::TooManyDependencies);
        }
        if self.needs(on, from)? {
            return Err(Error::DependencyCycle);
        }
        self.link(from, on)
    }

    /// True if `from` is `on`, or needs it, directly or not.
    ///
    /// # Errors
    /// [`Error::TooDense`] if that takes more than [`MAX_SEARCH`] steps.
    fn needs(&mut self, from: FileId, on: FileId) -> Result<bool, Error> {
        if from == on {
            return Ok(true);
        }
        let (down, up) = (self.new_mark(), self.new_mark());
        let mut down_walk = self.walk(from, Along::Needs, down, Some(up));
        let mut up_walk = self.walk(on, Along::NeededBy, up, Some(down));
        // If there is a path, the walks meet on it before one of them ends.
        for _ in 0..MAX_SEARCH / 2 {
            for walk in [&mut down_walk, &mut up_walk] {
                match self.step(walk) {
                    Step::On | Step::Left(_) => {}
                    Step::Met => return Ok(true),
                    Step::Done => return Ok(false),
                }
            }
        }
        Err(Error::TooDense)
    }

    /// A file and all that it needs, directly or not: dependencies first, the
    /// file last. Missing ones are left out, and so are those that are `done` and
    /// what only those need. O(these files and their dependencies).
    ///
    /// # Errors
    /// [`Error::TooDense`] if it takes more than [`MAX_SEARCH`] steps; [`Error::NoMemory`].
    pub(crate) fn closure(
        &mut self,
        id: FileId,
        done: impl Fn(FileId) -> bool,
    ) -> Result<Vec<FileId>, Error> {
        let mark = self.new_mark();
        let mut walk = self.walk(id, Along::Needs, mark, None);
        let mut closure = Vec::new();
        for _ in 0..MAX_SEARCH {
            // A file that is done is left at once: nothing below it is wanted.
            let top = walk.top.filter(|&top| top != id && done(top));
            if let Some(node) = top.and_then(|top| self.nodes.get_mut(top)) {
                node.visit.at = None;
            }
            match self.step(&mut walk) {
                Step::Left(file) if file != id && done(file) => {}
                Step::Left(file) => closure.push(file)?,
                Step::On => {}
                Step::Met | Step::Done => return Ok(closure),
            }
        }
        Err(Error::TooDense)
    }
}
