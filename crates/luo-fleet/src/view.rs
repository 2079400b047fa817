// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a fleet stands, for those who look: a document made of the state.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use luo_fleetlock::report::Asking;
use luo_fleetlock::status::{Condition, Fleet, Group, Host, HostState};

use crate::decide::decision::Decision;
use crate::decide::record::Record;
use crate::decide::rules::{Question, decide, failed, halted};
use crate::policy::document::Policy;
use crate::state::change::stamp;
use crate::state::known::Known;

/// The version of the document.
const VERSION: u32 = 1;

/// How the fleet stands.
#[must_use]
pub fn fleet(known: &Known, now: Timestamp) -> Fleet {
    let mut fleet = Fleet {
        version: VERSION,
        revision: known.revision,
        now_ms: stamp(known, now),
        rollout: None,
        target: None,
        conditions: Vec::new(),
        groups: Vec::new(),
        hosts: Vec::new(),
    };
    let policy = match known.policy() {
        Ok(policy) => policy,
        Err(halt) => {
            let reason = halt.to_string();
            fleet.conditions.push(condition("Halted", true, reason));
            return fleet;
        }
    };
    fleet.rollout = Some(policy.rollout.clone());
    fleet.target.clone_from(&policy.release);
    fleet.hosts = known
        .hosts
        .iter()
        .map(|(id, (record, _))| host(known, policy, id, record, now))
        .collect();
    fleet.groups = groups(known, policy, now);
    let halt = halted(policy, &known.tally, now);
    let is_halted = halt.is_some();
    let why = halt.map_or_else(String::new, |halt| halt.to_string());
    fleet.conditions.push(condition("Halted", is_halted, why));
    let done = fleet
        .hosts
        .iter()
        .filter(|host| host.state == HostState::Done)
        .count();
    let all = fleet.hosts.len();
    let words = format!("{done} of {all} hosts are done");
    let is_complete = done == all && all > 0;
    fleet
        .conditions
        .push(condition("Complete", is_complete, words));
    let held = known.tally.holders.len();
    let words = format!("{held} of {} slots are taken", policy.slots);
    fleet
        .conditions
        .push(condition("Progressing", held > 0 && !is_halted, words));
    fleet
}

fn condition(name: &str, is: bool, reason: String) -> Condition {
    Condition {
        name: name.to_owned(),
        is,
        reason,
    }
}

fn host(known: &Known, policy: &Policy, id: &str, record: &Record, now: Timestamp) -> Host {
    let (state, why) = stands(known, policy, id, record, now);
    let report = record.last.as_ref().and_then(|last| last.report.as_ref());
    Host {
        id: id.to_owned(),
        group: record.group.clone(),
        state,
        why,
        slot_since_ms: record.slot.as_ref().map(|slot| slot.since_ms),
        // One that has run the release since ever was never seen to get done.
        done_ms: record.done_ms(&policy.goal()).filter(|at| *at > 0),
        release: record.running.clone(),
        blackout_us: report.and_then(|report| report.blackout_us),
    }
}

fn stands(
    known: &Known,
    policy: &Policy,
    id: &str,
    record: &Record,
    now: Timestamp,
) -> (HostState, Option<String>) {
    let is_present = known.presence.contains_key(id);
    if let Some(slot) = &record.slot {
        let since = now.as_millisecond().saturating_sub(slot.since_ms);
        let is_overdue = i128::from(since) >= policy.overdue.as_millis();
        return match &slot.failed {
            Some(why) => (
                HostState::Failed,
                Some(format!("it says that it failed: {why}")),
            ),
            None if is_overdue => {
                let words = if is_present {
                    ""
                } else {
                    ", and it was not heard of"
                };
                let seconds = u64::try_from(since / 1_000).unwrap_or(0);
                let time = humantime::format_duration(Duration::from_secs(seconds));
                let words = format!("it has its slot for {time}{words}");
                (HostState::Failed, Some(words))
            }
            None => (HostState::Updating, None),
        };
    }
    if let Some(why) = &record.held {
        return (HostState::Held, Some(why.clone()));
    }
    if record.done_ms(&policy.goal()).is_some() {
        return (HostState::Done, None);
    }
    let state = if is_present {
        HostState::Waiting
    } else {
        HostState::Silent
    };
    let why = match policy.group(&record.group) {
        None => format!("the policy has no group {}", record.group),
        Some(group) => {
            let asking = Asking {
                running: record.running.clone(),
                target: record.target.clone(),
            };
            let question = Question {
                id,
                group,
                record: Some(record),
                asking: Some(&asking),
            };
            match decide(policy, &known.tally, &question, now) {
                Decision::Permit => "it may begin when it asks next".to_owned(),
                other => other.to_string(),
            }
        }
    };
    (state, Some(why))
}

fn groups(known: &Known, policy: &Policy, now: Timestamp) -> Vec<Group> {
    let mut blackouts = BTreeMap::<&str, Vec<u64>>::new();
    for (record, _) in known.hosts.values() {
        if record.completed_ms(&policy.rollout).is_some()
            && let Some(report) = record.last.as_ref().and_then(|last| last.report.as_ref())
            && let Some(blackout) = report.blackout_us
        {
            blackouts.entry(&record.group).or_default().push(blackout);
        }
    }
    let group = |group: &crate::policy::document::Group| {
        let count = known
            .tally
            .groups
            .get(&group.name)
            .cloned()
            .unwrap_or_default();
        let mut own = blackouts.remove(group.name.as_str()).unwrap_or_default();
        own.sort_unstable();
        let name = Some(group.name.as_str());
        Group {
            name: group.name.clone(),
            stage: group.stage,
            hosts: count.hosts,
            done: count.done,
            failed: failed(policy, &known.tally, name, now).0,
            slots_taken: count.slots,
            slots: group.slots,
            blackout_median_us: own.get(own.len() / 2).copied(),
            blackout_max_us: own.last().copied(),
        }
    };
    policy.groups.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock of this server was set back, or runs behind that of another one.
    #[test]
    fn nobody_has_a_slot_from_a_time_to_come() {
        let mut known = Known::default();
        known.ledger.at_ms = 5_000;
        let at = |ms| fleet(&known, Timestamp::from_millisecond(ms).unwrap()).now_ms;
        assert_eq!((at(2_000), at(7_000)), (5_000, 7_000));
    }
}
