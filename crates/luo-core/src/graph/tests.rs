// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The graph against a model of it, and what its operations cost.

mod cost;
mod model;

use self::model::Model;
use super::*;
use crate::mem::fault;
use crate::table::slab::Slab;
use crate::text::SessionName;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec::Vec;

/// Slots of the files in the property tests: few, so that they are used again.
const SLOTS: usize = 7;

fn gone(token: u64) -> FileName {
    FileName {
        session: SessionName::try_from("vm").unwrap(),
        token,
        of_device: false,
    }
}

/// A graph without edges, and its files.
fn files(count: usize) -> (Graph, Vec<FileId>) {
    let mut graph = Graph::new(Hash::new((1, 2)));
    let mut slab: Slab<of::File, ()> = Slab::new();
    let files: Vec<_> = (0..count).map(|_| slab.insert(()).unwrap()).collect();
    for &file in &files {
        graph.add_node(file).unwrap();
    }
    (graph, files)
}

/// An order, walked in both directions.
fn listed(graph: &Graph, order: Order) -> Vec<FileId> {
    let forth: Vec<_> =
        core::iter::successors(order.first, |&at| graph.next_in_order(at)).collect();
    let mut back: Vec<_> =
        core::iter::successors(order.last, |&at| graph.prev_in_order(at)).collect();
    back.reverse();
    assert_eq!(forth, back);
    assert_eq!(forth.len(), order.len);
    forth
}

#[derive(Clone, Debug)]
enum Step {
    /// Makes the file of a slot, or removes it.
    Toggle(usize),
    Declare(usize, usize),
    /// The n-th dependency of a file, or one that it does not have.
    Withdraw(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = || 0..SLOTS;
    let step = prop_oneof![
        1 => slot().prop_map(Step::Toggle),
        6 => (slot(), slot()).prop_map(|(a, b)| Step::Declare(a, b)),
        1 => (slot(), 0..4usize).prop_map(|(a, n)| Step::Withdraw(a, n)),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A graph and its model, which undergo the same.
struct Pair {
    graph: Graph,
    model: Model,
    slab: Slab<of::File, ()>,
    at: [Option<FileId>; SLOTS],
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            graph: Graph::new(Hash::new((1, 2))),
            model: Model::default(),
            slab: Slab::new(),
            at: [None; SLOTS],
        };
        (0..SLOTS).for_each(|slot| pair.toggle(slot));
        pair
    }

    fn toggle(&mut self, at: usize) {
        if let Some(id) = self.at[at].take() {
            // A file of the same place has the same name again.
            let gone = gone(at as u64);
            self.model.remove(id, gone);
            fault::fail_after(0);
            self.graph.remove_node(id, Some(gone));
            assert!(fault::disarm(), "removing asks for no memory");
            self.slab.remove(id);
        } else {
            let id = self.slab.insert(()).unwrap();
            self.graph.add_node(id).unwrap();
            self.model.files.push(id);
            self.at[at] = Some(id);
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Toggle(at) => self.toggle(at),
            Step::Declare(from, on) => {
                let stale = FileId::from_bits(u64::MAX);
                let ids = (self.at[from].unwrap_or(stale), self.at[on].unwrap_or(stale));
                let expected = if self.at[from].is_none() || self.at[on].is_none() {
                    Err(Error::NoToken)
                } else {
                    self.model.declare(ids.0, ids.1)
                };
                assert_eq!(self.graph.declare(ids.0, ids.1), expected);
            }
            Step::Withdraw(from, nth) => {
                let Some(from) = self.at[from] else {
                    return;
                };
                let target = self.model.dependencies(from).get(nth).copied();
                let target = target.unwrap_or(Target::Gone(gone(99)));
                let edges = &mut self.model.edges;
                let first = edges.iter().position(|edge| *edge == (from, target));
                let found = first.map(|first| edges.remove(first)).is_some();
                assert_eq!(self.graph.withdraw(from, &target), found);
            }
        }
    }

    fn check(&mut self) {
        let Self { graph, model, .. } = self;
        assert_eq!(graph.edge_count(), model.edges.len());
        for &file in &model.files {
            let edges: Vec<_> = graph.dependencies(file).collect();
            let targets: Vec<_> = edges.iter().map(|(_, target)| *target).collect();
            assert_eq!(targets, model.dependencies(file));
            assert_eq!(graph.dependency_count(file), targets.len());
            for (nth, (edge, _)) in edges.iter().enumerate() {
                let after = graph.dependencies_after(file, *edge).unwrap();
                assert_eq!(after.collect::<Vec<_>>(), edges[nth + 1..]);
            }
            let dependents: Vec<_> = graph.dependents(file).collect();
            assert_eq!(dependents, model.dependents(file));
            assert_eq!(graph.dependent_count(file), dependents.len());
            assert_eq!(
                graph.closure(file, |_| false).unwrap()[..],
                model.closure(file)
            );
        }
    }

    fn check_order(&self, order: Order, given: &[FileId], first: First) {
        let order = listed(&self.graph, order);
        assert_eq!(order, self.model.arrange(given, first));
        // What the rule promises, said without the rule: a permutation,
        let all = |ids: &[FileId]| ids.iter().map(|id| id.to_bits()).collect::<BTreeSet<_>>();
        assert_eq!((order.len(), all(&order)), (given.len(), all(given)));
        // that respects the dependencies, and leaves alone what respects them.
        assert!(self.respects(&order, first));
        if self.respects(given, first) {
            assert_eq!(order, given);
        }
    }

    fn respects(&self, order: &[FileId], first: First) -> bool {
        let place = |id| order.iter().position(|at| *at == id);
        order.iter().all(|&from| {
            let mut needed = self.model.needed(from).into_iter().filter_map(place);
            needed.all(|on| (Some(on) < place(from)) == (first == First::Dependencies))
        })
    }
}

proptest! {
    #[test]
    fn behaves_like_a_list_of_edges(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step);
            pair.check();
        }
    }

    /// Two sets at once, each in any order, over any graph.
    #[test]
    fn orders_follow_the_rule(steps in steps(),
                              given in Just((0..SLOTS).collect::<Vec<_>>()).prop_shuffle(),
                              split in 0..=SLOTS,
                              first in prop_oneof![Just(First::Dependencies),
                                                   Just(First::Dependents)]) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step);
        }
        let (one, other) = given.split_at(split);
        let ids = |slots: &[usize]| slots.iter().filter_map(|&slot| pair.at[slot]).collect();
        let (one, other): (Vec<_>, Vec<_>) = (ids(one), ids(other));
        let order = pair.graph.arrange(one.iter().copied(), first);
        // What is given twice, or has no node, does not count.
        let stale = FileId::from_bits(u64::MAX);
        let noisy = other.iter().chain(&other).copied().chain([stale]);
        let other_order = pair.graph.arrange(noisy, first);
        pair.check_order(order, &one, first);
        pair.check_order(other_order, &other, first);
        // Walks leave orders alone, and what goes leaves its order.
        pair.check();
        if let [_, mid, _, ..] = one[..] {
            let mut left = listed(&pair.graph, order);
            if order.first != Some(mid) && order.last != Some(mid) {
                pair.graph.remove_node(mid, Some(gone(0)));
                left.retain(|id| *id != mid);
                let len = order.len - 1;
                prop_assert_eq!(listed(&pair.graph, Order { len, ..order }), left);
            }
        }
    }
}

#[test]
fn files_without_edges_stay_as_given() {
    let (mut graph, files) = files(5);
    let given = [files[3], files[0], files[4], files[1]];
    for first in [First::Dependencies, First::Dependents] {
        let order = graph.arrange(given.into_iter(), first);
        assert_eq!(listed(&graph, order), given);
    }
    assert_eq!(
        graph.arrange([].into_iter(), First::Dependents),
        Order::EMPTY
    );
}

#[test]
fn a_file_that_waits_comes_right_behind_the_last_it_waits_for() {
    let (mut graph, files) = files(5);
    let (a, b, c, d, e) = (files[0], files[1], files[2], files[3], files[4]);
    graph.declare(a, c).unwrap();
    graph.declare(b, a).unwrap();
    graph.declare(d, a).unwrap();
    let order = graph.arrange(files.iter().copied(), First::Dependencies);
    assert_eq!(listed(&graph, order), [c, a, b, d, e]);
    let order = graph.arrange(files.iter().copied(), First::Dependents);
    assert_eq!(listed(&graph, order), [b, d, a, c, e]);
}

#[test]
fn a_missing_dependency_keeps_its_place_and_its_name() {
    let (mut graph, files) = files(4);
    let (a, b, c, d) = (files[0], files[1], files[2], files[3]);
    for on in [b, c, d] {
        graph.declare(a, on).unwrap();
    }
    let edge = graph.dependencies(a).nth(1).unwrap().0;
    graph.remove_node(c, Some(gone(3)));
    let expected = [Target::File(b), Target::Gone(gone(3)), Target::File(d)];
    assert!(graph.dependencies(a).map(|(_, target)| target).eq(expected));
    assert_eq!(graph.closure(a, |_| false).unwrap()[..], [b, d, a]);
    // Each part of the name counts, unless the device gave the token.
    for other in [
        gone(4),
        FileName {
            of_device: true,
            ..gone(3)
        },
        FileName {
            session: SessionName::try_from("db").unwrap(),
            ..gone(3)
        },
    ] {
        assert!(!graph.withdraw(a, &Target::Gone(other)));
    }
    assert!(!graph.withdraw(b, &Target::Gone(gone(3))));
    assert!(graph.dependencies_after(a, edge).is_some());
    assert!(graph.withdraw(a, &Target::Gone(gone(3))));
    assert!(graph.dependencies_after(a, edge).is_none());
    graph.remove_node(a, Some(gone(1)));
    assert_eq!(graph.edge_count(), 0);
}

#[test]
fn an_edge_of_another_file_is_no_place_to_go_on_from() {
    let (mut graph, files) = files(3);
    graph.declare(files[0], files[1]).unwrap();
    let edge = graph.dependencies(files[0]).next().unwrap().0;
    assert!(graph.dependencies_after(files[2], edge).is_none());
}

/// That there is no memory for another bucket of the index is no failure.
#[test]
fn what_is_reserved_does_not_fail_for_want_of_memory() {
    for refused in 0..3 {
        let (mut graph, files) = files(100);
        graph.reserve_edges(99).unwrap();
        let mut slab: Slab<of::File, ()> = Slab::new();
        for _ in 0..499 {
            slab.insert(()).unwrap();
        }
        slab.reserve(1).unwrap();
        let far = FileId::from_bits((1 << 32) | slab.next_slot() as u64);
        graph.reserve_node(&slab).unwrap();
        fault::fail_after(refused);
        for pair in files.windows(2) {
            graph.declare(pair[0], pair[1]).unwrap();
        }
        graph.add_node(far).unwrap();
        fault::disarm();
        assert_eq!(graph.edge_count(), 99);
    }
}

#[test]
fn what_goes_makes_room() {
    let (mut graph, files) = files(2);
    graph.reserve_edges(1).unwrap();
    fault::fail_after(0);
    for _ in 0..100 {
        graph.declare(files[0], files[1]).unwrap();
        assert!(graph.withdraw(files[0], &Target::File(files[1])));
        graph.declare(files[0], files[1]).unwrap();
        graph.remove_node(files[1], Some(gone(1)));
        assert!(graph.withdraw(files[0], &Target::Gone(gone(1))));
        graph.add_node(files[1]).unwrap();
    }
    assert!(fault::disarm());
}

#[test]
fn a_refused_declaration_changes_nothing() {
    let (mut graph, files) = files(40);
    let pairs: Vec<_> = files.windows(2).collect();
    let mut failures = 0;
    for pair in pairs {
        for request in 0.. {
            let edges = graph.edge_count();
            fault::fail_after(request);
            let declared = graph.declare(pair[0], pair[1]);
            if fault::disarm() {
                declared.unwrap();
                break;
            }
            failures += 1;
            assert_eq!(declared, Err(Error::NoMemory));
            assert_eq!(graph.edge_count(), edges);
            assert_eq!(graph.dependency_count(pair[0]), 0);
            assert_eq!(graph.dependent_count(pair[1]), 0);
        }
    }
    assert!(failures > 0);
}

#[test]
fn a_name_of_the_device_is_its_token() {
    let (mut graph, files) = files(2);
    let on_device = |session| FileName {
        session: SessionName::try_from(session).unwrap(),
        of_device: true,
        ..gone(7)
    };
    graph.declare(files[0], files[1]).unwrap();
    graph.remove_node(files[1], Some(on_device("one")));
    assert!(!graph.withdraw(files[0], &Target::Gone(gone(7))));
    assert!(graph.withdraw(files[0], &Target::Gone(on_device("other"))));
}

#[test]
fn of_two_that_are_missing_under_one_name_the_first_is_taken_back() {
    let (mut graph, files) = files(3);
    for &on in &files[1..] {
        graph.declare(files[0], on).unwrap();
        graph.remove_node(on, Some(gone(7)));
    }
    let edges: Vec<_> = graph.dependencies(files[0]).collect();
    assert!(graph.withdraw(files[0], &Target::Gone(gone(7))));
    assert!(graph.dependencies(files[0]).eq(edges[1..].iter().copied()));
}
