// SPDX-License-Identifier: MIT OR Apache-2.0
//! All histories of small fleets, and random ones of larger fleets, against what is promised:
//! never more than the slots, never outside a window, never after a halt, never before its
//! turn; and from each state on, as soon as nothing stands in the way, all get done.

use std::collections::{BTreeMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use luo_fleetlock::report::{Ending, Report};
use proptest::prelude::*;

use super::decision::Decision;
use super::record::{Goal, Record};
use super::rules::{Question, decide};
use super::tally::Tally;
use crate::policy::document::Policy;
use crate::policy::parse::parse;

/// A fleet at a moment.
#[derive(Clone, Debug)]
struct World {
    hosts: BTreeMap<String, Record>,
    now: Timestamp,
    is_stopped: bool,
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask(usize),
    Done(usize),
    Fail(usize),
    Cancel(usize),
    Release(usize),
    Hold(usize),
    Resume(usize),
    /// It runs the rollout's release by another way, and tells so.
    Boots(usize),
    Stop,
    Go,
    Later,
}

/// A step of the clock.
const STEP: SignedDuration = SignedDuration::from_mins(20);

/// 2026-12-01 00:00 UTC, a Tuesday.
const BEGIN: i64 = 1_796_083_200;

fn policy(text: &str) -> Policy {
    let head =
        "version = 1\nrollout = \"r\"\nrelease = \"7.3.4\"\noverdue = \"50m\"\nretry = \"5m\"\n";
    parse(&format!("{head}{text}")).unwrap()
}

fn goal() -> Goal {
    Goal::new("r", Some("7.3.4"))
}

impl World {
    fn new(groups: &[&str]) -> Self {
        let hosts = groups.iter().enumerate().map(|(number, group)| {
            let record = Record {
                group: (*group).to_owned(),
                ..Record::default()
            };
            (format!("h{number}"), record)
        });
        Self {
            hosts: hosts.collect(),
            now: Timestamp::from_second(BEGIN).unwrap(),
            is_stopped: false,
        }
    }

    fn host(&mut self, number: usize) -> &mut Record {
        let all = self.hosts.len();
        self.hosts.values_mut().nth(number % all).unwrap()
    }

    /// Something happens. What is promised is checked where a slot is taken.
    fn step(&mut self, policy: &Policy, event: Event) {
        let now = self.now.as_millisecond();
        let report = |ending| Some(Report::new(ending));
        match event {
            Event::Ask(number) => self.ask(policy, number % self.hosts.len()),
            Event::Done(number) => drop(self.host(number).give_back(now, None)),
            Event::Cancel(number) => {
                self.host(number).give_back(now, report(Ending::Cancelled));
            }
            Event::Fail(number) => drop(self.host(number).fail("broken")),
            Event::Release(number) => drop(self.host(number).release(now)),
            Event::Hold(number) => self.host(number).held = Some("looked at".to_owned()),
            Event::Resume(number) => self.host(number).held = None,
            Event::Boots(number) => self.host(number).running = Some("7.3.4".to_owned()),
            Event::Stop => self.is_stopped = true,
            Event::Go => self.is_stopped = false,
            Event::Later => self.now += STEP,
        }
    }

    fn ask(&mut self, policy: &Policy, number: usize) {
        let (id, record) = self.hosts.iter().nth(number).unwrap();
        let (id, record) = (id.clone(), record.clone());
        let stop = self.is_stopped.then(|| "stopped".to_owned());
        let policy = Policy {
            stop,
            ..policy.clone()
        };
        let question = Question {
            id: &id,
            group: policy.group(&record.group).unwrap(),
            record: Some(&record),
            asking: None,
        };
        let tally = Tally::of(&goal(), &self.hosts);
        if decide(&policy, &tally, &question, self.now) == Decision::Permit {
            self.promised(&policy, &record);
            if record.slot.is_none() {
                let now = self.now.as_millisecond();
                self.hosts.get_mut(&id).unwrap().take(now, "r");
            }
        }
    }

    /// What is promised of each permit, counted anew and in another way than the rules do.
    fn promised(&self, policy: &Policy, own: &Record) {
        let is_overdue = |since: i64| {
            self.now.as_millisecond() - since >= i64::try_from(policy.overdue.as_millis()).unwrap()
        };
        let failed = |record: &&Record| {
            let slot = record.slot.as_ref();
            slot.is_some_and(|slot| slot.failed.is_some() || is_overdue(slot.since_ms))
        };
        let all = u64::try_from(self.hosts.len()).unwrap();
        let broken = u64::try_from(self.hosts.values().filter(failed).count()).unwrap();
        assert!(!self.is_stopped, "after a stop");
        assert!(broken <= policy.budget.at_most(all), "after a halt");
        assert!(own.held.is_none(), "while held");
        if !policy.windows.is_empty() {
            let minute = self.now.as_second() / 60 % (24 * 60);
            assert!((0..60).contains(&minute), "outside of the window");
        }
        if own.slot.is_some() {
            return;
        }
        let taken = |group: Option<&str>| {
            let holders = self.hosts.values().filter(|record| record.slot.is_some());
            let here = holders.filter(|record| group.is_none_or(|group| record.group == group));
            u64::try_from(here.count()).unwrap()
        };
        let group = policy.group(&own.group).unwrap();
        assert!(taken(None) < policy.slots, "more than the slots");
        assert!(
            taken(Some(&own.group)) < group.slots,
            "more than the group's"
        );
        for before in policy
            .groups
            .iter()
            .filter(|known| known.stage < group.stage)
        {
            let mut there = self.hosts.values().filter(|record| {
                let counts = record.held.is_none() || record.slot.is_some();
                record.group == before.name && counts && !failed(record)
            });
            assert!(
                there.all(|record| record.done_ms(&goal()).is_some()),
                "too early"
            );
        }
    }

    /// From here on nothing goes wrong any more: all get done.
    fn settle(mut self, policy: &Policy, from: &World) {
        self.is_stopped = false;
        for number in 0..self.hosts.len() {
            self.step(policy, Event::Resume(number));
        }
        for _ in 0..400 {
            for number in 0..self.hosts.len() {
                self.step(policy, Event::Done(number));
                if self.host(number).done_ms(&goal()).is_none() {
                    self.step(policy, Event::Ask(number));
                }
            }
            self.now += STEP;
            if self
                .hosts
                .values()
                .all(|record| record.done_ms(&goal()).is_some())
            {
                return;
            }
        }
        panic!("it stands still for ever:\n{self:#?}\nfrom\n{from:#?}");
    }
}

/// Goes through all states that are reached within some clock steps.
fn explore(policy: &Policy, groups: &[&str], clock: i64, most: usize) -> usize {
    let events = |number| {
        [
            Event::Ask(number),
            Event::Done(number),
            Event::Fail(number),
            Event::Cancel(number),
            Event::Release(number),
        ]
    };
    let mut all: Vec<_> = (0..groups.len()).flat_map(events).collect();
    // One host is enough for what an administrator does.
    all.extend([Event::Hold(0), Event::Resume(0), Event::Stop, Event::Go]);
    all.push(Event::Later);
    let begin = World::new(groups);
    let end = begin.now + STEP * i32::try_from(clock).unwrap();
    let mut seen = HashSet::from([format!("{begin:?}")]);
    let mut open = VecDeque::from([begin]);
    while let Some(world) = open.pop_front() {
        world.clone().settle(policy, &world);
        for event in &all {
            let mut next = world.clone();
            next.step(policy, *event);
            if next.now <= end && seen.len() < most && seen.insert(format!("{next:?}")) {
                open.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
fn each_history_of_two_hosts_keeps_what_is_promised() {
    let policy = policy(
        "slots = 1\nbudget = 0\n[[group]]\nname = \"a\"\n[[group]]\nname = \"b\"\nstage = 2\n",
    );
    // Nothing is cut off: these are all states.
    let states = explore(&policy, &["a", "b"], 1, usize::MAX);
    assert!(states > 500, "{states}");
}

#[test]
fn histories_of_three_hosts_with_a_window_and_a_budget_keep_what_is_promised() {
    let policy = policy(
        "slots = 2\nbudget = 1\n[[group]]\nname = \"a\"\nslots = 1\n[[group]]\nname = \"b\"\n\
         stage = 2\n[[window]]\nfrom = \"00:00\"\nuntil = \"01:00\"\n",
    );
    let states = explore(&policy, &["a", "b", "b"], 4, 3_000);
    assert_eq!(states, 3_000);
}

/// A canary that failed and was released is power-cycled into the new kernel, and another one has
/// run it since ever. Both are told that they are done, so nobody waits for them.
#[test]
fn who_runs_the_release_already_is_not_waited_for() {
    let policy = policy(
        "slots = 1\nbudget = 0\n[[group]]\nname = \"a\"\nsoak = \"30m\"\n[[group]]\nname = \"b\"\n\
         stage = 2\n",
    );
    let mut world = World::new(&["a", "a", "b"]);
    world.step(&policy, Event::Boots(0));
    world.step(&policy, Event::Ask(1));
    world.step(&policy, Event::Fail(1));
    world.step(&policy, Event::Boots(1));
    let may = |world: &World| {
        let tally = Tally::of(&goal(), &world.hosts);
        let question = Question {
            id: "h2",
            group: policy.group("b").unwrap(),
            record: world.hosts.get("h2"),
            asking: None,
        };
        decide(&policy, &tally, &question, world.now).kind()
    };
    // One that has failed is not done, whatever it runs.
    assert_eq!(may(&world), "failure_budget");
    world.step(&policy, Event::Release(1));
    assert_eq!(may(&world), "soak");
    world.step(&policy, Event::Later);
    world.step(&policy, Event::Later);
    assert_eq!(may(&world), "permit");
}

fn event() -> impl Strategy<Value = Event> {
    let host = 0_usize..12;
    prop_oneof![
        6 => host.clone().prop_map(Event::Ask),
        3 => host.clone().prop_map(Event::Done),
        1 => host.clone().prop_map(Event::Fail),
        1 => host.clone().prop_map(Event::Cancel),
        1 => host.clone().prop_map(Event::Release),
        1 => host.clone().prop_map(Event::Hold),
        1 => host.clone().prop_map(Event::Resume),
        1 => host.prop_map(Event::Boots),
        1 => Just(Event::Stop),
        2 => Just(Event::Go),
        2 => Just(Event::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_history_of_twelve_hosts_keeps_what_is_promised(
        events in prop::collection::vec(event(), 0..150),
        slots in 1_u64..5,
        budget in prop_oneof![Just("0"), Just("2"), Just("\"25%\"")],
        windows in any::<bool>(),
    ) {
        let window = "[[window]]\nfrom = \"00:00\"\nuntil = \"01:00\"\n";
        let policy = policy(&format!(
            "slots = {slots}\nbudget = {budget}\n[[group]]\nname = \"canary\"\nslots = 1\n\
             [[group]]\nname = \"rack-a\"\nstage = 2\nslots = 2\n\
             [[group]]\nname = \"rack-b\"\nstage = 2\n{}",
            if windows { window } else { "" },
        ));
        let groups = ["canary", "rack-a", "rack-a", "rack-b"];
        let groups: Vec<_> = groups.into_iter().cycle().take(12).collect();
        let mut world = World::new(&groups);
        for event in events {
            world.step(&policy, event);
        }
        world.clone().settle(&policy, &world);
    }

    /// What is kept up record by record is what a count of all would say.
    #[test]
    fn a_tally_that_is_kept_up_is_that_of_all(
        events in prop::collection::vec(event(), 0..120),
    ) {
        let policy = policy("slots = 4\nbudget = 12\n[[group]]\nname = \"a\"\n\
                             [[group]]\nname = \"b\"\n");
        let groups: Vec<_> = ["a", "b", "b"].into_iter().cycle().take(12).collect();
        let mut world = World::new(&groups);
        let mut tally = Tally::of(&goal(), &world.hosts);
        for event in events {
            let before = world.hosts.clone();
            world.step(&policy, event);
            for (id, record) in &world.hosts {
                tally.remove(id, &before[id]);
                tally.add(id, record);
            }
            prop_assert_eq!(&tally, &Tally::of(&goal(), &world.hosts));
        }
    }
}
