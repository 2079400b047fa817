// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where each workload stands in a drawing: its level, and the row of that level.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use luo_varlink::Status;

use crate::document::{Graph, Node};

/// The graph of the workloads that the agent knows.
#[must_use]
pub fn of(status: &Status) -> Graph {
    let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
    for workload in &status.workloads {
        for need in &workload.needs {
            nodes.entry(need).or_insert_with(|| Node {
                name: need.clone(),
                state: None,
                needs: Vec::new(),
                sessions: Vec::new(),
                level: None,
            });
        }
        let node = Node {
            name: workload.name.clone(),
            state: Some(workload.state),
            needs: workload.needs.clone(),
            sessions: workload.sessions.clone(),
            level: None,
        };
        nodes.insert(&workload.name, node);
    }
    let levels = levels(&nodes);
    let place = |mut node: Node| {
        node.level = levels.get(node.name.as_str()).copied();
        node
    };
    let placed = nodes.values().cloned().map(place).collect();
    Graph { nodes: placed }
}

/// How high each stands above those that need nobody. A workload that is in a circle, or
/// needs one that is, stands nowhere.
fn levels<'a>(nodes: &'a BTreeMap<&str, Node>) -> BTreeMap<&'a str, usize> {
    // A need that is named twice counts once.
    let needs_of = |node: &'a Node| node.needs.iter().map(String::as_str).collect();
    let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes.values() {
        let needs: BTreeSet<&str> = needs_of(node);
        for need in &needs {
            needed_by.entry(need).or_default().push(&node.name);
        }
        open.insert(&node.name, needs);
    }
    let mut levels = BTreeMap::new();
    let mut ready: VecDeque<(&str, usize)> = open
        .iter()
        .filter(|(_, needs)| needs.is_empty())
        .map(|(name, _)| (*name, 0))
        .collect();
    // The lower come first, so a workload becomes ready right above its highest need.
    while let Some((name, level)) = ready.pop_front() {
        levels.insert(name, level);
        for other in needed_by.remove(name).unwrap_or_default() {
            if let Some(needs) = open.get_mut(other) {
                needs.remove(name);
                if needs.is_empty() {
                    ready.push_back((other, level + 1));
                }
            }
        }
    }
    levels
}

/// The workloads of each level, the lowest first, and then those that stand nowhere.
pub(super) fn rows(graph: &Graph) -> Vec<(Option<usize>, Vec<&Node>)> {
    let mut rows: BTreeMap<usize, Vec<&Node>> = BTreeMap::new();
    for node in &graph.nodes {
        // This key is behind all levels: there are not so many.
        let key = node.level.unwrap_or(usize::MAX);
        rows.entry(key).or_default().push(node);
    }
    let level = |(level, row)| ((level != usize::MAX).then_some(level), row);
    rows.into_iter().map(level).collect()
}

/// How a workload stands, in a word.
pub(super) fn word(node: &Node) -> &'static str {
    node.state.map_or("missing", |state| state.word())
}
