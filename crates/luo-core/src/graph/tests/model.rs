// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What the graph is compared with.

use super::*;

/// The graph as a list of its edges in the order of declaration.
#[derive(Default)]
pub(super) struct Model {
    pub(super) files: Vec<FileId>,
    pub(super) edges: Vec<(FileId, Target)>,
}

impl Model {
    pub(super) fn dependencies(&self, id: FileId) -> Vec<Target> {
        let of_id = self.edges.iter().filter(|(from, _)| *from == id);
        of_id.map(|(_, target)| *target).collect()
    }

    pub(super) fn dependents(&self, id: FileId) -> Vec<FileId> {
        let on_id = self.edges.iter().filter(|(_, on)| *on == Target::File(id));
        on_id.map(|(from, _)| *from).collect()
    }

    /// What is needed and there.
    pub(super) fn needed(&self, id: FileId) -> Vec<FileId> {
        let there = self.dependencies(id).into_iter();
        there
            .filter_map(|target| match target {
                Target::File(on) => Some(on),
                Target::Gone(_) => None,
            })
            .collect()
    }

    pub(super) fn closure(&self, id: FileId) -> Vec<FileId> {
        fn visit(model: &Model, id: FileId, all: &mut Vec<FileId>) {
            if !all.contains(&id) {
                for on in model.needed(id) {
                    visit(model, on, all);
                }
                all.push(id);
            }
        }
        let mut all = Vec::new();
        visit(self, id, &mut all);
        all
    }

    pub(super) fn declare(&mut self, from: FileId, on: FileId) -> Result<(), Error> {
        if self.edges.contains(&(from, Target::File(on))) {
            return Err(Error::DependencyExists);
        }
        if self.closure(on).contains(&from) {
            return Err(Error::DependencyCycle);
        }
        self.edges.push((from, Target::File(on)));
        Ok(())
    }

    pub(super) fn remove(&mut self, id: FileId, gone: FileName) {
        self.files.retain(|file| *file != id);
        self.edges.retain(|(from, _)| *from != id);
        for (_, target) in &mut self.edges {
            if *target == Target::File(id) {
                *target = Target::Gone(gone);
            }
        }
    }

    /// Those before and those behind a file, if these come first.
    pub(super) fn sides(&self, id: FileId, first: First) -> (Vec<FileId>, Vec<FileId>) {
        match first {
            First::Dependencies => (self.needed(id), self.dependents(id)),
            First::Dependents => (self.dependents(id), self.needed(id)),
        }
    }

    /// The rule of [`Graph::arrange`].
    pub(super) fn arrange(&self, given: &[FileId], first: First) -> Vec<FileId> {
        let waits = |id, placed: &[FileId]| {
            let mut before = self.sides(id, first).0.into_iter();
            before.any(|other| given.contains(&other) && !placed.contains(&other))
        };
        let mut order: Vec<FileId> = Vec::new();
        let mut passed: Vec<FileId> = Vec::new();
        for &turn in given {
            if waits(turn, &order) {
                passed.push(turn);
                continue;
            }
            let mut at = order.len();
            order.push(turn);
            while at < order.len() {
                for next in self.sides(order[at], first).1 {
                    if passed.contains(&next) && !waits(next, &order[..=at]) {
                        passed.retain(|id| *id != next);
                        order.push(next);
                    }
                }
                at += 1;
            }
        }
        order
    }
}
