// SPDX-License-Identifier: MIT OR Apache-2.0
//! The graph of which workload needs which, and the order in which they are asked.
//!
//! ```text
//! prepare, restore    needed workloads first
//! freeze              workloads that need others first
//! ```
//!
//! Workloads that do not need each other are asked at once.

use std::collections::{BTreeMap, BTreeSet};

use luo_varlink::{Plan, PlanStep, Step};

/// Workloads and what they need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    needs: BTreeMap<String, BTreeSet<String>>,
}

/// An obstacle: it makes an update impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The obstacle, in words.
    pub found: String,
    /// The remedy.
    pub remedy: String,
}

impl Obstacle {
    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}: {}", self.found, self.remedy)
    }
}

impl Graph {
    /// A graph of workloads, each with those it needs.
    pub fn new<'a>(workloads: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        let entry =
            |(name, needs): (&str, &[String])| (name.to_owned(), needs.iter().cloned().collect());
        Self {
            needs: workloads.into_iter().map(entry).collect(),
        }
    }

    /// For each workload, those that must have been asked before it.
    #[must_use]
    pub fn predecessors(&self, step: Step) -> BTreeMap<String, BTreeSet<String>> {
        match step {
            Step::Prepare => self.needs.clone(),
            Step::Freeze => {
                let empty = |name: &String| (name.clone(), BTreeSet::new());
                let mut reverse: BTreeMap<_, _> = self.needs.keys().map(empty).collect();
                for (name, needs) in &self.needs {
                    for need in needs {
                        if let Some(dependents) = reverse.get_mut(need) {
                            dependents.insert(name.clone());
                        }
                    }
                }
                reverse
            }
        }
    }

    /// The obstacles that make an update impossible.
    #[must_use]
    pub fn obstacles(&self) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        for (name, needs) in &self.needs {
            let missing = needs.iter().filter(|need| !self.needs.contains_key(*need));
            obstacles.extend(missing.map(|need| Obstacle {
                found: format!("workload '{name}' needs '{need}', which is not registered"),
                remedy: format!("start '{need}', or drop what needs it"),
            }));
        }
        let stuck = self.stuck();
        if !stuck.is_empty() {
            let names: Vec<_> = stuck.iter().map(String::as_str).collect();
            let names = names.join(", ");
            obstacles.push(Obstacle {
                found: format!("workloads need each other in a circle, or need such: {names}"),
                remedy: "have one of them register without that need".to_owned(),
            });
        }
        obstacles
    }

    /// Groups of workloads that can be asked at once, in order; and the workloads that are
    /// stuck. A need that is not registered counts as met. Each need is looked at once: whoever
    /// may register thousands of workloads must not keep the agent busy by a long chain of them.
    fn levels(&self, step: Step) -> (Vec<Vec<String>>, BTreeSet<String>) {
        let before = self.predecessors(step);
        // A workload that comes before another one at prepare comes after it at freeze.
        let after = self.predecessors(match step {
            Step::Prepare => Step::Freeze,
            Step::Freeze => Step::Prepare,
        });
        let known = |names: &BTreeSet<String>| {
            let known = names.iter().filter(|name| before.contains_key(*name));
            known.count()
        };
        let open = before.iter();
        let mut open: BTreeMap<&str, usize> = open
            .map(|(name, before)| (name.as_str(), known(before)))
            .collect();
        let mut levels = Vec::new();
        let ready = open.iter().filter(|(_, before)| **before == 0);
        let mut level: BTreeSet<&str> = ready.map(|(name, _)| *name).collect();
        while !level.is_empty() {
            let mut next = BTreeSet::new();
            for name in &level {
                open.remove(name);
                for later in after.get(*name).into_iter().flatten() {
                    if let Some(before) = open.get_mut(later.as_str()) {
                        *before = before.saturating_sub(1);
                        if *before == 0 {
                            next.insert(later.as_str());
                        }
                    }
                }
            }
            levels.push(level.into_iter().map(str::to_owned).collect());
            level = next;
        }
        (levels, open.into_keys().map(str::to_owned).collect())
    }

    /// Workloads that are in a circle, or need one that is.
    fn stuck(&self) -> BTreeSet<String> {
        self.levels(Step::Prepare).1
    }

    /// The order in which an update would ask.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let steps = [Step::Prepare, Step::Freeze].into_iter().flat_map(|step| {
            let levels = self.levels(step).0.into_iter();
            levels.map(move |workloads| PlanStep { step, workloads })
        });
        Plan {
            steps: steps.collect(),
            obstacles: self.obstacles().iter().map(Obstacle::words).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use luo_varlink::limits::MAX_NEEDS;
    use proptest::prelude::*;

    use super::*;

    fn graph(entries: &[(&str, &[&str])]) -> Graph {
        let owned: Vec<(&str, Vec<String>)> = entries
            .iter()
            .map(|(name, needs)| (*name, needs.iter().map(|&need| need.into()).collect()))
            .collect();
        Graph::new(owned.iter().map(|(name, needs)| (*name, needs.as_slice())))
    }

    fn levels(graph: &Graph, step: Step) -> Vec<Vec<String>> {
        graph.levels(step).0
    }

    #[test]
    fn what_is_needed_is_prepared_first_and_frozen_last() {
        let graph = graph(&[("db", &[]), ("web", &["cache", "db"]), ("cache", &["db"])]);
        assert_eq!(levels(&graph, Step::Prepare), [["db"], ["cache"], ["web"]]);
        assert_eq!(levels(&graph, Step::Freeze), [["web"], ["cache"], ["db"]]);
        assert!(graph.obstacles().is_empty());
    }

    #[test]
    fn the_independent_are_asked_at_once() {
        let graph = graph(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
        assert_eq!(levels(&graph, Step::Prepare), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(graph.plan().steps.len(), 4);
    }

    #[test]
    fn obstacles_are_named() {
        let graph = graph(&[
            ("a", &["b"]),
            ("b", &["a"]),
            ("c", &["a"]),
            ("d", &["gone"]),
            ("e", &["e"]),
        ]);
        let obstacles = graph.obstacles();
        assert_eq!(obstacles.len(), 2);
        assert!(
            obstacles[0].found.contains("'d' needs 'gone'"),
            "{obstacles:?}"
        );
        assert!(
            obstacles[1].found.ends_with(": a, b, c, e"),
            "{obstacles:?}"
        );
    }

    /// By a look at all needs for each level this took minutes, for which nobody was served.
    #[test]
    fn a_long_chain_of_workloads_is_put_in_order_at_once() {
        const MANY: usize = 4000;
        let name = |number: usize| format!("w{number:05}");
        let needs = |number: usize| {
            (number.saturating_sub(MAX_NEEDS)..number)
                .map(name)
                .collect()
        };
        let all: Vec<(String, Vec<String>)> = (0..MANY)
            .map(|number| (name(number), needs(number)))
            .collect();
        let graph = Graph::new(all.iter().map(|(name, needs)| (&**name, &**needs)));
        let began = std::time::Instant::now();
        for step in [Step::Prepare, Step::Freeze] {
            let (levels, stuck) = graph.levels(step);
            assert_eq!((levels.len(), stuck.len()), (MANY, 0));
            let first = levels[0].first().unwrap();
            let last = if step == Step::Prepare { 0 } else { MANY - 1 };
            assert_eq!(*first, name(last));
        }
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(30), "{took:?}");
    }

    proptest! {
        #[test]
        fn every_order_keeps_every_need(edges in prop::collection::vec((0..12u8, 0..12u8), 0..40)) {
            let name = |number: u8| format!("w{number}");
            let mut needs: BTreeMap<String, Vec<String>> = (0..12).map(|n| (name(n), vec![])).collect();
            for (from, on) in edges {
                // Only towards smaller numbers: no circle.
                if on < from {
                    needs.get_mut(&name(from)).unwrap().push(name(on));
                }
            }
            let graph = Graph::new(needs.iter().map(|(name, needs)| (name.as_str(), needs.as_slice())));
            prop_assert!(graph.obstacles().is_empty());
            for (step, first_is_needed) in [(Step::Prepare, true), (Step::Freeze, false)] {
                let at: BTreeMap<String, usize> = levels(&graph, step).into_iter().enumerate()
                    .flat_map(|(level, names)| names.into_iter().map(move |name| (name, level)))
                    .collect();
                prop_assert_eq!(at.len(), 12);
                for (from, on) in needs.iter().flat_map(|(from, on)| on.iter().map(move |on| (from, on))) {
                    prop_assert_eq!(at[on] < at[from], first_is_needed);
                    prop_assert!(at[on] != at[from]);
                }
            }
        }
    }
}
