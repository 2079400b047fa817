// SPDX-License-Identifier: MIT OR Apache-2.0
//! The labels by which sessions go in the descriptor store: short ones, for their names together
//! have room for little (`store` says why).

use std::collections::{BTreeMap, BTreeSet};

use super::protocol::MOST;

/// Which label each session in the store has.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) room: usize,
    pub(super) by_session: BTreeMap<String, String>,
    /// Numbers below `next` that no label has.
    free: BTreeSet<usize>,
    next: usize,
    /// Labels of what is gone here, and the manager has not been told so.
    pub(super) closing: Vec<String>,
}

impl Labels {
    /// The labels of the sessions that are in the store already.
    pub(super) fn of(room: usize, stored: impl Iterator<Item = (String, String)>) -> Self {
        let by_session: BTreeMap<_, _> = stored.collect();
        let taken: BTreeSet<usize> = by_session
            .values()
            .filter_map(|label| label.parse().ok().filter(|&number| number < MOST))
            .collect();
        let next = taken.last().map_or(0, |last| last + 1);
        Self {
            room,
            by_session,
            free: (0..next).filter(|number| !taken.contains(number)).collect(),
            next,
            closing: Vec::new(),
        }
    }

    /// A label for a session; none if there is no room.
    pub(super) fn give(&mut self, session: &str) -> Option<String> {
        if let Some(label) = self.by_session.get(session) {
            return Some(label.clone());
        }
        if self.by_session.len() + self.closing.len() >= self.room {
            return None;
        }
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let label = number.to_string();
        self.by_session.insert(session.to_owned(), label.clone());
        Some(label)
    }

    /// The label of a session that goes.
    pub(super) fn take(&mut self, session: &str) -> Option<String> {
        let label = self.by_session.remove(session)?;
        self.frees(&label);
        Some(label)
    }

    /// A label is free for another session.
    pub(super) fn frees(&mut self, label: &str) {
        let number = label.parse().ok();
        self.free
            .extend(number.filter(|&number: &usize| number < self.next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_used_again() {
        let mut labels = Labels::of(MOST, std::iter::empty());
        let mut bytes = 0;
        for number in 0..MOST {
            let label = labels.give(&format!("session-{number}")).unwrap();
            bytes += label.len() + 1;
        }
        // One variable of a process may have so many bytes, its name and the end included.
        assert!("LISTEN_FDNAMES=".len() + bytes < 128 * 1024, "{bytes}");
        assert_eq!(labels.give("one more"), None);
        assert_eq!(labels.take("session-7").as_deref(), Some("7"));
        assert_eq!(labels.take("session-7"), None);
        assert_eq!(labels.give("one more").as_deref(), Some("7"));
        assert_eq!(labels.give("one more").as_deref(), Some("7"));
    }

    #[test]
    fn labels_of_an_earlier_process_stay() {
        let stored = [("a", "4"), ("b", "0"), ("c", "a name")];
        let stored = stored.map(|(session, label)| (session.to_owned(), label.to_owned()));
        let mut labels = Labels::of(6, stored.into_iter());
        assert_eq!(labels.give("a").as_deref(), Some("4"));
        let given: Vec<_> = ["d", "e", "f", "g"]
            .into_iter()
            .filter_map(|session| labels.give(session))
            .collect();
        assert_eq!(given, ["1", "2", "3"]);
        assert_eq!(labels.take("c").as_deref(), Some("a name"));
        assert_eq!(labels.give("g").as_deref(), Some("5"));
    }
}
