// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is answered, and in which words.

use core::fmt;

use jiff::Timestamp;

/// What is answered to a host that asks for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may begin.
    Permit,
    /// Not now.
    Wait(Wait),
    /// Nobody begins until somebody has looked.
    Halted(Halt),
}

/// What a host waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// An administrator holds it.
    Held {
        /// Why.
        reason: String,
    },
    /// It would jump into another release than the rollout's.
    OtherTarget {
        /// The rollout's.
        wanted: String,
        /// Its own.
        own: String,
    },
    /// It runs the rollout's release.
    Done {
        /// The release.
        release: String,
    },
    /// No updates on these days.
    Frozen {
        /// Why.
        reason: String,
        /// When it ends.
        until: Timestamp,
    },
    /// No window is open.
    Closed {
        /// When the next one opens, if one does.
        next: Option<Timestamp>,
    },
    /// A group that goes before is not complete.
    Stage {
        /// That group.
        group: String,
        /// Hosts of it that have completed.
        done: u64,
        /// Those that have to.
        needed: u64,
    },
    /// A group that goes before is complete, and is watched for a while.
    Soak {
        /// That group.
        group: String,
        /// When that ends.
        until: Timestamp,
    },
    /// As many groups as may have slots at once.
    Apart {
        /// How many.
        groups: u64,
    },
    /// All slots are taken.
    Full {
        /// The group whose; else those of all.
        group: Option<String>,
        /// How many.
        slots: u64,
    },
    /// A slot was taken or given back a moment ago.
    Interval {
        /// When the next may be taken.
        until: Timestamp,
    },
    /// Its last update did not take place.
    Retry {
        /// When it may try again.
        until: Timestamp,
    },
}

/// Why nobody begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// There is no policy.
    NoPolicy,
    /// The stop switch.
    Stopped {
        /// Why.
        reason: String,
    },
    /// More hosts failed than may.
    Budget {
        /// The group whose budget it is; else that of all.
        group: Option<String>,
        /// How many failed.
        failed: u64,
        /// How many may.
        budget: u64,
        /// One of those that failed.
        host: String,
    },
}

impl Decision {
    /// A word for programs. There are these only, as the protocol asks for.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Wait(wait) => match wait {
                Wait::Held { .. } => "held",
                Wait::OtherTarget { .. } => "other_target",
                Wait::Done { .. } => "done",
                Wait::Frozen { .. } => "frozen",
                Wait::Closed { .. } => "outside_window",
                Wait::Stage { .. } => "earlier_group",
                Wait::Soak { .. } => "soak",
                Wait::Apart { .. } => "groups_apart",
                // The word of the protocol's own example.
                Wait::Full { .. } => "failed_lock_semaphore_full",
                Wait::Interval { .. } => "interval",
                Wait::Retry { .. } => "retry",
            },
            Self::Halted(halt) => match halt {
                Halt::NoPolicy => "no_policy",
                Halt::Stopped { .. } => "stopped",
                Halt::Budget { .. } => "failure_budget",
            },
        }
    }

    /// When the answer may be another one, if a clock alone decides that.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Wait(
                Wait::Frozen { until, .. }
                | Wait::Soak { until, .. }
                | Wait::Interval { until }
                | Wait::Retry { until },
            ) => Some(*until),
            Self::Wait(Wait::Closed { next }) => *next,
            _ => None,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit => f.write_str("it may begin"),
            Self::Wait(wait) => wait.fmt(f),
            Self::Halted(halt @ Halt::Budget { .. }) => write!(f, "halted: {halt}"),
            Self::Halted(halt) => halt.fmt(f),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { reason } => write!(f, "an administrator holds this host: {reason}"),
            Self::OtherTarget { wanted, own } => write!(
                f,
                "the rollout is about {wanted}, and this host would start {own}"
            ),
            Self::Done { release } => write!(f, "this host runs {release} already"),
            Self::Frozen { reason, until } => write!(f, "no updates until {until}: {reason}"),
            Self::Closed { next: Some(next) } => write!(f, "the next window opens at {next}"),
            Self::Closed { next: None } => f.write_str("no window opens within a year"),
            Self::Stage {
                group,
                done,
                needed,
            } => write!(f, "group {group} goes before: {done} of {needed} are done"),
            Self::Soak { group, until } => {
                write!(f, "group {group} is done, and is watched until {until}")
            }
            Self::Apart { groups } => {
                write!(f, "other groups are at it, and {groups} may be at once")
            }
            Self::Full { group, slots } => match group {
                Some(group) => write!(f, "group {group} has {slots} slots, and all are taken"),
                None => write!(f, "there are {slots} slots, and all are taken"),
            },
            Self::Interval { until } => write!(f, "the next slot may be taken at {until}"),
            Self::Retry { until } => write!(
                f,
                "the last update of this host did not take place; it may try again at {until}"
            ),
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => {
                f.write_str("there is no policy: luo-fleet policy set FILE --reason TEXT")
            }
            Self::Stopped { reason } => write!(f, "stopped: {reason}"),
            Self::Budget {
                group,
                failed,
                budget,
                host,
            } => {
                if let Some(group) = group {
                    write!(f, "in group {group} ")?;
                }
                write!(
                    f,
                    "hosts that failed: {failed}, and {budget} may; see to {host}"
                )
            }
        }
    }
}
