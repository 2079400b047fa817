// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptors that the small manager keeps for its agent, and what it knows of each.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::manager::protocol::MOST;

/// How long an agent may be silent that is up, as in the unit for systemd (`WatchdogSec=`).
pub(super) const WATCHDOG: Duration = Duration::from_secs(30);

/// How long an agent may take until it is up, as systemd has it (`TimeoutStartSec=`).
pub(super) const START: Duration = Duration::from_secs(90);

/// The descriptors that are kept, by name.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) fds: Vec<(String, OwnedFd)>,
    /// The agent that runs now has said that it is up.
    pub(super) is_up: bool,
    /// When it was last heard of since it is up; before that, when it was started.
    heard: Option<Instant>,
}

impl Kept {
    /// Another agent begins.
    pub(super) fn begins(&mut self) {
        self.is_up = false;
        self.heard = Some(Instant::now());
    }

    /// An agent is taken over that has been up.
    pub(super) fn goes_on(&mut self) {
        self.begins();
        self.is_up = true;
    }

    /// Takes a message of the agent.
    pub(super) fn take(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let field = |key: &str| {
            let lines = text.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next()
        };
        self.is_up |= field("READY") == Some("1");
        if self.is_up {
            self.heard = Some(Instant::now());
        }
        let name = field("FDNAME").unwrap_or("stored");
        if field("FDSTORE") == Some("1") {
            for fd in fds {
                if self.fds.len() >= MOST {
                    tracing::error!("{MOST} descriptors are kept already: '{name}' is not");
                    return;
                }
                self.fds.push((name.to_owned(), fd));
            }
        } else if field("FDSTOREREMOVE") == Some("1") {
            self.fds.retain(|(known, _)| known != name);
        }
    }

    /// This process stood still itself, so the agent's silence says nothing.
    pub(super) fn stood_still(&mut self) {
        self.heard = self.heard.map(|_| Instant::now());
    }

    /// How much longer an agent may be silent, or take to be up.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.heard?);
        let most = if self.is_up { WATCHDOG } else { START };
        Some(most.saturating_sub(silent))
    }

    /// The work that an agent has failed to do which is out of patience.
    pub(super) fn failing(&self) -> String {
        match self.is_up {
            true => format!("has not been heard of for {} s", WATCHDOG.as_secs()),
            false => format!(
                "has not been up {} s after its start (`dmesg` may say what it waits for)",
                START.as_secs()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn descriptors_are_kept_and_removed_by_name() {
        let mut kept = Kept::default();
        kept.take("FDSTORE=1\nFDNAME=a\nFDPOLL=0", vec![fd()]);
        kept.take("FDSTORE=1\nFDNAME=b", vec![fd()]);
        kept.take("READY=1\nSTATUS=normal", vec![]);
        kept.take("FDSTORE=1", vec![fd()]);
        let names: Vec<_> = kept.fds.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "stored"]);
        kept.take("FDSTOREREMOVE=1\nFDNAME=a", vec![]);
        assert_eq!(kept.fds.len(), 2);
        // Descriptors that come with another message are closed.
        kept.take("STATUS=x", vec![fd()]);
        assert_eq!(kept.fds.len(), 2);
    }

    #[test]
    fn the_agent_says_that_it_is_up() {
        let mut kept = Kept::default();
        kept.take("STATUS=normal", vec![]);
        assert!(!kept.is_up);
        kept.take("READY=1\nSTATUS=normal", vec![]);
        assert!(kept.is_up);
    }

    #[test]
    fn who_is_up_may_be_silent_for_so_long() {
        let mut kept = Kept::default();
        kept.begins();
        // A start may take its time, and not for ever.
        kept.take("WATCHDOG=1", vec![]);
        let now = Instant::now();
        let left = kept.patience(now + WATCHDOG);
        assert!(left.is_some_and(|left| left >= START - 2 * WATCHDOG));
        assert_eq!(kept.patience(now + START), Some(Duration::ZERO));
        assert!(kept.failing().contains("90 s after its start"));
        kept.take("READY=1", vec![]);
        assert!(kept.failing().contains("not been heard of for 30 s"));
        let now = Instant::now();
        assert!(kept.patience(now).is_some_and(|left| !left.is_zero()));
        assert_eq!(kept.patience(now + WATCHDOG), Some(Duration::ZERO));
        kept.take("WATCHDOG=1", vec![]);
        assert!(
            kept.patience(now + WATCHDOG / 2)
                .is_some_and(|left| left >= WATCHDOG / 2)
        );
        kept.begins();
        assert!(
            kept.patience(now + WATCHDOG)
                .is_some_and(|left| !left.is_zero())
        );
    }
}
