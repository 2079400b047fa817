// SPDX-License-Identifier: MIT OR Apache-2.0
//! The decision: (document, host records, time) -> permit, wait or halted.
//!
//! Rules are looked at in this order, and the first that says no is the answer:
//!
//! | rule | whose | a clock alone ends it |
//! |---|---|---|
//! | stop switch, failure budget | all | no: halted |
//! | held, other target, runs it already | the host | no |
//! | freeze, window | all, the group | yes |
//! | it has a slot already | the host | (permit) |
//! | earlier stages complete, soaked | the group | no, yes |
//! | groups apart, slots of the group, slots of all | the group, all | no |
//! | interval, retry | all, the host | yes |
//!
//! So a host that has a slot and asks again (its first answer was lost) may begin, but not where
//! by then nobody may. Its slot stays its own all the same.

use jiff::{SignedDuration, Timestamp};
use luo_fleetlock::report::Asking;

use super::decision::{Decision, Halt, Wait};
use super::record::{End, Record};
use super::tally::{Count, Tally};
use crate::policy::document::{Group, Policy};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The host.
    pub id: &'a str,
    /// Its group, which the policy has.
    pub group: &'a Group,
    /// What is known of it, if anything is.
    pub record: Option<&'a Record>,
    /// What it says of itself, if it does.
    pub asking: Option<&'a Asking>,
}

/// A moment in milliseconds since 1970, and a time later.
fn after(at_ms: i64, time: SignedDuration) -> Timestamp {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MIN);
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Until when is waited that begins at a moment, if that is not over. A time of zero is over
/// whatever the clocks of the servers say.
fn left(at_ms: i64, time: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    let until = after(at_ms, time);
    (!time.is_zero() && now < until).then_some(until)
}

/// Those that failed, or have not been heard of for too long: how many in a group, or of all, and
/// one of them.
#[must_use]
pub fn failed<'a>(
    policy: &Policy,
    tally: &'a Tally,
    group: Option<&str>,
    now: Timestamp,
) -> (u64, Option<&'a str>) {
    let holders = tally.holders.iter();
    let mut all = holders.filter(|(_, holder)| {
        let is_asked_for = group.is_none_or(|group| holder.group == group);
        let is_overdue = now >= after(holder.since_ms, policy.overdue);
        is_asked_for && (holder.has_failed || is_overdue)
    });
    let one = all.next();
    let rest = u64::try_from(all.count()).unwrap_or(u64::MAX);
    match one {
        Some((id, _)) => (rest.saturating_add(1), Some(id)),
        None => (0, None),
    }
}

/// Why nobody begins, if nobody does.
#[must_use]
pub fn halted(policy: &Policy, tally: &Tally, now: Timestamp) -> Option<Halt> {
    if let Some(reason) = &policy.stop {
        let reason = reason.clone();
        return Some(Halt::Stopped { reason });
    }
    let own = policy.groups.iter().filter_map(|group| {
        let known = tally.groups.get(&group.name).map_or(0, |count| count.hosts);
        Some((Some(group.name.as_str()), group.budget?, known))
    });
    let mut budgets = std::iter::once((None, policy.budget, tally.hosts)).chain(own);
    budgets.find_map(|(group, budget, known)| {
        let budget = budget.at_most(known);
        let (failed, one) = failed(policy, tally, group, now);
        (failed > budget).then(|| Halt::Budget {
            group: group.map(str::to_owned),
            failed,
            budget,
            host: one.unwrap_or_default().to_owned(),
        })
    })
}

/// What a group waits for that goes before, if it has to.
fn earlier(policy: &Policy, tally: &Tally, own: &Group, now: Timestamp) -> Option<Wait> {
    let before = policy.groups.iter().filter(|group| group.stage < own.stage);
    before.into_iter().find_map(|group| {
        let count = tally.groups.get(&group.name);
        let numbers = |count: &Count| (count.hosts, count.held, count.done);
        let (hosts, held, done) = count.map_or((0, 0, 0), numbers);
        // Those that are held or failed are not waited for (the budget is what stops for them), and
        // a group of which nobody has come yet is.
        let (failed, _) = failed(policy, tally, Some(&group.name), now);
        let there = hosts.saturating_sub(held).saturating_sub(failed);
        let needed = group.complete.at_least(there).max(1);
        if done < needed {
            let group = group.name.clone();
            return Some(Wait::Stage {
                group,
                done,
                needed,
            });
        }
        let until = left(count?.last_done_ms()?, group.soak, now)?;
        Some(Wait::Soak {
            group: group.name.clone(),
            until,
        })
    })
}

fn full(policy: &Policy, tally: &Tally, own: &Group) -> Option<Wait> {
    let taken = |name: &str| tally.groups.get(name).map_or(0, |count| count.slots);
    let here = taken(&own.name);
    if let Some(most) = policy.groups_at_once {
        let at_it = tally
            .groups
            .values()
            .filter(|count| count.slots > 0)
            .count();
        let at_it = u64::try_from(at_it).unwrap_or(u64::MAX);
        if here == 0 && at_it >= most {
            return Some(Wait::Apart { groups: most });
        }
    }
    if here >= own.slots {
        return Some(Wait::Full {
            group: Some(own.name.clone()),
            slots: own.slots,
        });
    }
    let all = u64::try_from(tally.holders.len()).unwrap_or(u64::MAX);
    (all >= policy.slots).then_some(Wait::Full {
        group: None,
        slots: policy.slots,
    })
}

/// What concerns the host alone.
fn own(policy: &Policy, question: &Question<'_>) -> Option<Wait> {
    if let Some(reason) = question.record.and_then(|record| record.held.as_ref()) {
        let reason = reason.clone();
        return Some(Wait::Held { reason });
    }
    let wanted = policy.release.as_ref()?;
    let asking = question.asking?;
    if asking.running.as_ref() == Some(wanted) {
        let release = wanted.clone();
        return Some(Wait::Done { release });
    }
    match &asking.target {
        Some(own) if own != wanted => Some(Wait::OtherTarget {
            wanted: wanted.clone(),
            own: own.clone(),
        }),
        _ => None,
    }
}

fn retry(policy: &Policy, question: &Question<'_>, now: Timestamp) -> Option<Wait> {
    let last = question.record?.last.as_ref()?;
    let until = left(last.at_ms, policy.retry, now)?;
    (last.end == End::Cancelled).then_some(Wait::Retry { until })
}

/// Whether a host may begin. The tally is that of all hosts, counted for the policy's rollout.
#[must_use]
pub fn decide(policy: &Policy, tally: &Tally, question: &Question<'_>, now: Timestamp) -> Decision {
    if let Some(halt) = halted(policy, tally, now) {
        return Decision::Halted(halt);
    }
    let wait = own(policy, question)
        .or_else(|| {
            let (freeze, until) = policy.frozen(now)?;
            let reason = freeze.reason.clone();
            Some(Wait::Frozen { reason, until })
        })
        .or_else(|| {
            let closed = policy.open(&question.group.name, now).err()?;
            Some(Wait::Closed { next: closed })
        });
    if let Some(wait) = wait {
        return Decision::Wait(wait);
    }
    if tally.holders.contains_key(question.id) {
        return Decision::Permit;
    }
    let interval = || {
        let until = left(tally.last_ms()?, policy.interval, now)?;
        Some(Wait::Interval { until })
    };
    let wait = earlier(policy, tally, question.group, now)
        .or_else(|| full(policy, tally, question.group))
        .or_else(interval)
        .or_else(|| retry(policy, question, now));
    wait.map_or(Decision::Permit, Decision::Wait)
}
