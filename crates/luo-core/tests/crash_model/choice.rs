// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Where a program stands, and what can happen next.

use super::programs::Act;
use crate::support::Call;

/// A program: two clients, and the agent that updates the machine.
pub type Who = usize;

pub const CLIENTS: usize = 2;
pub const AGENT: Who = CLIENTS;
pub const PROGRAMS: usize = CLIENTS + 1;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// A program goes on.
    Go(Who, How),
    /// All programs end at once, without a word; what is in memory is what the next
    /// kernel gets.
    Crash,
}

/// How a program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    Well,
    /// The callback it is in says no.
    Veto,
    /// The n-th request for memory until the next stop is refused.
    NoMemory(u8),
    /// The n-th handler that is to be kept until the next stop goes away.
    NoPin(u8),
    /// It is killed.
    Kill,
    /// The agent's next act.
    Act(Act),
}

impl How {
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Veto | Self::NoMemory(_) | Self::NoPin(_))
    }
}

/// Where a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between two calls.
    Between {
        at: u64,
        killable: bool,
    },
    /// It has done all that it wanted, and holds what it has until it is killed.
    Resting,
    /// The agent, between two calls.
    Deciding,
    /// Before a step of the engine, by where that stands.
    Step(u64),
    /// In a callback for an object.
    Callback(Call, u64),
    /// Before a step that had to wait; `woken` once another has run.
    Waiting {
        at: u64,
        killable: bool,
        woken: bool,
    },
    Gone,
}

impl Place {
    /// What tells it from all others.
    pub fn words(self) -> [u64; 3] {
        match self {
            Self::Between { at, killable } => [0, killable.into(), at],
            Self::Resting => [1, 0, 0],
            Self::Deciding => [2, 0, 0],
            Self::Step(at) => [3, at, 0],
            Self::Callback(call, object) => [4, call as u64, object],
            Self::Waiting {
                at,
                killable,
                woken,
            } => [5 + 2 * u64::from(killable) + u64::from(woken), at, 0],
            Self::Gone => [9, 0, 0],
        }
    }
}
