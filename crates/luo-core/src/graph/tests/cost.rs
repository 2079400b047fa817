// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Costs, in looks at a node.

use super::*;

const MANY: usize = 10_000;
/// More than this for each file and edge, and it is not linear.
const EACH: usize = 12;

fn visits(graph: &mut Graph, work: impl FnOnce(&mut Graph)) -> usize {
    let before = graph.nodes.visits.get();
    work(graph);
    graph.nodes.visits.get() - before
}

fn is_linear(graph: &mut Graph, work: impl FnOnce(&mut Graph)) {
    let size = MANY + graph.edge_count();
    let visits = visits(graph, work);
    assert!(visits <= EACH * size, "{visits} visits for {size}");
}

/// Orders, closures, and the end of it all.
fn all_else_is_linear(mut graph: Graph, files: &[FileId], top: FileId) {
    for first in [First::Dependencies, First::Dependents] {
        is_linear(&mut graph, |graph| {
            let order = graph.arrange(files.iter().copied(), first);
            assert_eq!(order.len, MANY);
        });
        is_linear(&mut graph, |graph| {
            let order = graph.arrange(files.iter().rev().copied(), first);
            assert_eq!(order.len, MANY);
        });
    }
    is_linear(&mut graph, |graph| {
        assert_eq!(graph.closure(top, |_| false).unwrap().last(), Some(&top));
    });
    is_linear(&mut graph, |graph| {
        for (&file, token) in files.iter().zip(0..) {
            graph.remove_node(file, Some(gone(token)));
        }
    });
    assert_eq!(graph.edge_count(), 0);
}

#[test]
fn a_chain_is_linear_from_either_end() {
    for reverse in [false, true] {
        let (mut graph, files) = files(MANY);
        let mut pairs: Vec<_> = files.windows(2).collect();
        if reverse {
            pairs.reverse();
        }
        let declared = visits(&mut graph, |graph| {
            for pair in pairs {
                graph.declare(pair[0], pair[1]).unwrap();
            }
        });
        assert!(declared <= 2 * EACH * MANY, "{declared} visits");
        let cycle = graph.declare(files[MANY - 1], files[0]);
        assert_eq!(cycle, Err(Error::DependencyCycle));
        let closure = graph.closure(files[0], |_| false).unwrap();
        assert!(closure.iter().eq(files.iter().rev()));
        all_else_is_linear(graph, &files, files[0]);
    }
}

/// Each of many short chains is put on top of one that grows: the walk from
/// below would see all of it every time.
#[test]
fn the_search_for_a_cycle_takes_the_shorter_side() {
    let (mut graph, files) = files(MANY);
    let mut pairs = files.chunks_exact(2);
    let mut head = pairs.next().unwrap()[0];
    let declared = visits(&mut graph, |graph| {
        for pair in pairs {
            graph.declare(pair[0], pair[1]).unwrap();
            graph.declare(pair[1], head).unwrap();
            head = pair[0];
        }
    });
    assert!(declared <= 2 * EACH * MANY, "{declared} visits");
}

#[test]
fn a_star_is_linear_both_ways() {
    for inward in [false, true] {
        let (mut graph, files) = files(MANY);
        let hub = files[MANY / 2];
        let declared = visits(&mut graph, |graph| {
            for &file in files.iter().filter(|file| **file != hub) {
                let (from, on) = if inward { (file, hub) } else { (hub, file) };
                graph.declare(from, on).unwrap();
            }
        });
        assert!(declared <= 2 * EACH * MANY, "{declared} visits");
        all_else_is_linear(graph, &files, hub);
    }
}

/// Two halves, each of which is dense: an edge between them is looked at from both
/// sides, for so long only.
#[test]
fn the_search_for_a_cycle_is_bounded() {
    const SIDE: usize = 600;
    let (mut graph, files) = files(2 * SIDE);
    let (upper, lower) = files.split_at(SIDE);
    for side in [upper, lower] {
        for (at, &from) in side.iter().enumerate() {
            for &on in &side[at + 1..] {
                // It is known that there is no cycle.
                graph.adopt(from, on).unwrap();
            }
        }
    }
    let before = graph.edge_count();
    let refused = visits(&mut graph, |graph| {
        let declared = graph.declare(upper[SIDE - 1], lower[0]);
        assert_eq!(declared, Err(Error::TooDense));
    });
    assert!(refused <= EACH * MAX_SEARCH, "{refused} visits");
    assert_eq!(graph.edge_count(), before);
    // Where one side is small nothing is refused.
    graph.declare(lower[SIDE - 1], upper[0]).unwrap_err();
    graph.declare(upper[0], lower[SIDE - 1]).unwrap();
}

#[test]
fn a_file_has_so_many_dependencies_and_dependents_only() {
    let (mut graph, files) = files(MAX_DEPENDENCIES_PER_FILE + 2);
    let (hub, others) = files.split_first().unwrap();
    let (&one_more, others) = others.split_last().unwrap();
    for inward in [false, true] {
        for &other in others {
            let (from, on) = if inward { (other, *hub) } else { (*hub, other) };
            graph.declare(from, on).unwrap();
        }
        let (from, on) = if inward {
            (one_more, *hub)
        } else {
            (*hub, one_more)
        };
        assert_eq!(graph.declare(from, on), Err(Error::TooManyDependencies));
        let removed = visits(&mut graph, |graph| {
            graph.remove_node(*hub, Some(gone(0)));
        });
        assert!(
            removed <= EACH * MAX_DEPENDENCIES_PER_FILE,
            "{removed} visits"
        );
        graph.add_node(*hub).unwrap();
    }
}

#[test]
fn a_dependency_is_taken_back_in_few_steps() {
    let (mut graph, files) = files(MANY);
    for &on in &files[1..] {
        graph.declare(files[0], on).unwrap();
    }
    let most = visits(&mut graph, |graph| {
        assert!(graph.withdraw(files[0], &Target::File(files[MANY - 1])));
    });
    assert!(most <= EACH, "{most} visits");
}
