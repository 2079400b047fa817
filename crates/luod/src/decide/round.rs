// SPDX-License-Identifier: MIT OR Apache-2.0
//! One round of asking: all workloads are asked the same, in the order that the plan gives,
//! and each has a deadline. This module decides; `agent::asking` does the talking.
//!
//! ```text
//! not asked --what is before it has agreed--> asked --answer--> agreed
//!                                               |
//!                                               `-- veto, late, lost: the round has failed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use luo_varlink::Step;

use crate::decide::plan::Graph;

/// A round that is under way.
#[derive(Clone, Debug)]
pub struct Round {
    step: Step,
    /// Workloads not asked yet, each with how many before it have not agreed.
    waiting: BTreeMap<String, usize>,
    /// For each workload those that come after it.
    after: BTreeMap<String, Vec<String>>,
    /// Workloads that need not wait for others any more.
    next: BTreeSet<String>,
    /// Workloads that were asked, each with its deadline.
    asked: BTreeMap<String, (Instant, Duration)>,
    /// The same workloads, that with the next deadline first.
    deadlines: BTreeSet<(Instant, String)>,
    /// The workloads in the order in which they were asked.
    order: Vec<String>,
}

impl Round {
    /// A round of all workloads of a graph without obstacles.
    #[must_use]
    pub fn new(step: Step, graph: &Graph) -> Self {
        let mut waiting = BTreeMap::new();
        let mut after: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut next = BTreeSet::new();
        for (name, before) in graph.predecessors(step) {
            if before.is_empty() {
                next.insert(name.clone());
            }
            waiting.insert(name.clone(), before.len());
            for earlier in before {
                after.entry(earlier).or_default().push(name.clone());
            }
        }
        Self {
            step,
            waiting,
            after,
            next,
            asked: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            order: Vec::new(),
        }
    }

    /// The step that the workloads are asked to take.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Gives the workloads to be asked now. They count as asked from here on; `patience`
    /// says how long each has.
    pub fn ask(&mut self, now: Instant, patience: impl Fn(&str) -> Duration) -> Vec<String> {
        let names: Vec<_> = std::mem::take(&mut self.next).into_iter().collect();
        for name in &names {
            self.waiting.remove(name);
            let patience = patience(name);
            // A deadline beyond the end of the clock never comes.
            let deadline = now
                .checked_add(patience)
                .unwrap_or(now + Duration::from_secs(1 << 30));
            self.asked.insert(name.clone(), (deadline, patience));
            self.deadlines.insert((deadline, name.clone()));
        }
        self.order.extend(names.iter().cloned());
        names
    }

    /// Notes that a workload has agreed. Says whether it was asked and had not answered.
    pub fn agree(&mut self, name: &str) -> bool {
        let Some((deadline, _)) = self.asked.remove(name) else {
            return false;
        };
        self.deadlines.remove(&(deadline, name.to_owned()));
        for later in self.after.remove(name).unwrap_or_default() {
            if let Some(before) = self.waiting.get_mut(&later) {
                *before = before.saturating_sub(1);
                if *before == 0 {
                    self.next.insert(later);
                }
            }
        }
        true
    }

    /// Whether a workload was asked and has not answered.
    #[must_use]
    pub fn expects(&self, name: &str) -> bool {
        self.asked.contains_key(name)
    }

    /// The next moment at which a workload is late.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// A workload that is late, and how long it had.
    #[must_use]
    pub fn late(&self, now: Instant) -> Option<(&str, Duration)> {
        let (deadline, name) = self.deadlines.first()?;
        let &(_, patience) = self.asked.get(name)?;
        (*deadline <= now).then_some((name.as_str(), patience))
    }

    /// Whether all workloads have agreed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// The workloads that were asked, the first first.
    #[must_use]
    pub fn order(&self) -> &[String] {
        &self.order
    }
}

/// The order in which workloads are told that an update is off: the reverse of the order in
/// which they were asked, those that stand still before the rest.
#[must_use]
pub fn unwinding(prepare: &[String], freeze: &[String]) -> Vec<String> {
    let mut told = BTreeSet::new();
    let reverse = freeze.iter().rev().chain(prepare.iter().rev());
    reverse
        .filter(|name| told.insert(name.as_str()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let db = ["db".to_owned()];
        Graph::new([("db", &[][..]), ("web", &db[..]), ("cache", &db[..])])
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn the_next_are_asked_when_those_before_them_have_agreed() {
        let now = Instant::now();
        let mut round = Round::new(Step::Prepare, &graph());
        assert_eq!(round.ask(now, |_| PATIENCE), ["db"]);
        assert!(round.ask(now, |_| PATIENCE).is_empty());
        assert!(!round.agree("web"), "it was not asked");
        assert!(round.agree("db"));
        assert!(!round.agree("db"), "once only");
        assert_eq!(round.ask(now, |_| PATIENCE), ["cache", "web"]);
        assert!(round.agree("web") && !round.is_complete());
        assert!(round.agree("cache") && round.is_complete());
        assert_eq!(round.order(), ["db", "cache", "web"]);
    }

    #[test]
    fn freezing_goes_the_other_way() {
        let mut round = Round::new(Step::Freeze, &graph());
        assert_eq!(round.ask(Instant::now(), |_| PATIENCE), ["cache", "web"]);
        assert!(round.agree("cache"));
        assert!(round.ask(Instant::now(), |_| PATIENCE).is_empty());
        assert!(round.agree("web"));
        assert_eq!(round.ask(Instant::now(), |_| PATIENCE), ["db"]);
    }

    #[test]
    fn each_has_its_own_deadline() {
        let now = Instant::now();
        let mut round = Round::new(Step::Freeze, &graph());
        let patience = |name: &str| match name {
            "web" => Duration::from_secs(1),
            _ => PATIENCE,
        };
        round.ask(now, patience);
        assert_eq!(round.next_deadline(), Some(now + Duration::from_secs(1)));
        assert_eq!(round.late(now), None);
        let late = round.late(now + Duration::from_secs(1));
        assert_eq!(late, Some(("web", Duration::from_secs(1))));
        assert!(round.agree("web"));
        assert_eq!(round.late(now + Duration::from_secs(1)), None);
        assert_eq!(round.next_deadline(), Some(now + PATIENCE));
    }

    #[test]
    fn a_round_of_nobody_is_complete() {
        assert!(Round::new(Step::Prepare, &Graph::default()).is_complete());
    }

    #[test]
    fn unwinding_is_the_reverse() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        // web stands still and db was asked to: db goes on first, for web needs it.
        let told = unwinding(&names("db cache web"), &names("web db"));
        assert_eq!(told, ["db", "web", "cache"]);
    }
}
