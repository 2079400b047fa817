// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many workloads and sessions one user may have here, and all users but root together.
//! A workload that has left its sessions with luod may stay away for years. So no user's share is
//! all there is, and root's programs, those that a machine is run with, always find some place. One
//! person can have many user numbers, so the sum over all users is limited, too.

use luo_varlink::client::Error;
use luo_varlink::limits::MAX_WORKLOADS;

use super::state::State;
use crate::decide::policy::Limits;

/// One place in so many is root's alone.
const ROOTS: usize = 8;

/// The places that all users but root have together.
fn strangers(places: usize) -> usize {
    places - places / ROOTS
}

/// The share of a user, and that of all users but root.
#[derive(Default)]
struct Count {
    own: usize,
    all: usize,
}

impl Count {
    /// Counts something of each workload that is not root's.
    fn of(state: &State, user: u32, what: impl Fn(&str) -> usize) -> Self {
        let mut count = Self::default();
        for (name, workload) in &state.workloads {
            let owner = workload.identity.uid;
            if owner != 0 {
                let has = what(name);
                count.all += has;
                count.own += if owner == user { has } else { 0 };
            }
        }
        count
    }

    /// Whether one more is too many.
    fn check(&self, what: &str, user: u32, own: (usize, &str), all: usize) -> Result<(), Error> {
        let (most, setting) = own;
        let limit = if self.own >= most {
            format!(
                "{most} {what} of user {user}; `{setting}` in [limits] of the policy file says so"
            )
        } else if self.all >= all {
            format!("{all} {what} of all users but root, for whom the others are kept")
        } else {
            return Ok(());
        };
        Err(Error::TooMany { limit })
    }
}

/// Whether a user may have one more workload.
pub(super) fn one_more_workload(state: &State, user: u32, limits: &Limits) -> Result<(), Error> {
    if state.workloads.len() >= MAX_WORKLOADS {
        return Err(Error::TooMany {
            limit: format!("{MAX_WORKLOADS} workloads"),
        });
    }
    if user == 0 {
        return Ok(());
    }
    let own = (limits.user_workloads, "user_workloads");
    Count::of(state, user, |_| 1).check("workloads", user, own, strangers(MAX_WORKLOADS))
}

/// Whether a user may have one more session, where the descriptor store has so many places.
pub(super) fn one_more_session(
    state: &State,
    user: u32,
    limits: &Limits,
    places: usize,
) -> Result<(), Error> {
    if user == 0 {
        return Ok(());
    }
    let own = (limits.user_sessions, "user_sessions");
    let count = Count::of(state, user, |workload| state.sessions.of(workload).count());
    count.check("sessions", user, own, strangers(places))
}

#[cfg(test)]
mod tests {
    use luo_varlink::{Identity, WorkloadState};

    use super::super::held::Held;
    use super::super::state::Workload;
    use super::*;

    /// Gives a user so many workloads, with a session each.
    fn give(state: &mut State, user: u32, workloads: usize) {
        for number in 0..workloads {
            let name = format!("{user}.{number}");
            let workload = Workload {
                identity: Identity {
                    uid: user,
                    gid: user,
                    unit: None,
                },
                needs: Vec::new(),
                state: WorkloadState::Left,
                link: None,
                late_at: None,
                about: None,
            };
            state.sessions.insert(&name, Held::new(&name, None, false));
            state.workloads.insert(name, workload);
        }
    }

    fn refused(refused: Result<(), Error>) -> String {
        match refused {
            Err(Error::TooMany { limit }) => limit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_has_a_share_and_nobody_elses() {
        let limits = Limits {
            user_workloads: 3,
            user_sessions: 2,
            ..Limits::default()
        };
        let mut state = State::default();
        give(&mut state, 7, 2);
        assert!(one_more_workload(&state, 7, &limits).is_ok());
        let limit = refused(one_more_session(&state, 7, &limits, 100));
        assert!(
            limit.contains("2 sessions of user 7; `user_sessions`"),
            "{limit}"
        );
        give(&mut state, 7, 3);
        let limit = refused(one_more_workload(&state, 7, &limits));
        assert!(
            limit.contains("3 workloads of user 7; `user_workloads`"),
            "{limit}"
        );
        for user in [8, 0] {
            assert!(one_more_workload(&state, user, &limits).is_ok());
            assert!(one_more_session(&state, user, &limits, 100).is_ok());
        }
    }

    /// A person with many user numbers.
    #[test]
    fn what_all_have_leaves_some_for_root() {
        let limits = Limits::default();
        let mut state = State::default();
        let most = strangers(MAX_WORKLOADS);
        for user in 1..=10 {
            give(&mut state, user, most / 10);
        }
        let limit = refused(one_more_workload(&state, 99, &limits));
        assert!(
            limit.contains("8750 workloads of all users but root"),
            "{limit}"
        );
        let limit = refused(one_more_session(&state, 99, &limits, 10_000));
        assert!(
            limit.contains("8750 sessions of all users but root"),
            "{limit}"
        );
        assert!(one_more_session(&state, 99, &limits, 10_001).is_ok());
        assert!(one_more_session(&state, 0, &limits, 10_000).is_ok());
        assert!(one_more_workload(&state, 0, &limits).is_ok());
        give(&mut state, 0, MAX_WORKLOADS - most);
        assert!(one_more_workload(&state, 0, &limits).is_err());
    }
}
