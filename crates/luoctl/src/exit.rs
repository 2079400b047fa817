// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exit codes: all of them. From 64 on they are those of sysexits.h.

use std::process::ExitCode;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done,
    /// A check failed; an update was refused, vetoed or cancelled. All is as before.
    Refused,
    /// The command line makes no sense.
    Usage,
    /// The history or the record of an update cannot be read, or an update was lost.
    Damaged,
    /// There is no such session, workload or update.
    NotFound,
    /// The agent cannot be reached, or was lost.
    Unavailable,
    /// A fault of luoctl itself.
    Internal,
    /// The kernel refused.
    Kernel,
    /// A file cannot be made.
    CannotCreate,
    /// The output could not be written.
    Output,
    /// The agent did not answer in time.
    TimedOut,
    /// The agent is of another version.
    Protocol,
    /// This user is not allowed to.
    Permission,
    /// Luod's configuration cannot be used.
    Config,
    /// ^C was pressed, and nothing was cancelled, or it was pressed for the second time.
    Interrupted,
}

impl Exit {
    /// All exit codes, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Done,
        Self::Refused,
        Self::Usage,
        Self::Damaged,
        Self::NotFound,
        Self::Unavailable,
        Self::Internal,
        Self::Kernel,
        Self::CannotCreate,
        Self::Output,
        Self::TimedOut,
        Self::Protocol,
        Self::Permission,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number, and what it means.
    #[must_use]
    pub const fn describe(self) -> (u8, &'static str) {
        match self {
            Self::Done => (0, "done; after an update: the machine jumps"),
            Self::Refused => (
                1,
                "a check failed, or an update was refused, vetoed or cancelled; all is as before",
            ),
            Self::Usage => (64, "the command line makes no sense"),
            Self::Damaged => (
                65,
                "the history, its newest line, or the record of the update that is not over cannot \
                 be read, the disk does not take all of it, or its last update was lost in the jump",
            ),
            Self::NotFound => (66, "there is no such session, workload or update"),
            Self::Unavailable => (69, "the agent cannot be reached, or was lost"),
            Self::Internal => (70, "a fault of luoctl itself"),
            Self::Kernel => (71, "the kernel refused; all is as before"),
            Self::CannotCreate => (73, "a file cannot be made"),
            Self::Output => (74, "standard output cannot be written to"),
            Self::TimedOut => (75, "the agent did not answer in time; try again"),
            Self::Protocol => (76, "the agent is of another version"),
            Self::Permission => (77, "this user may not"),
            Self::Config => (78, "luod's configuration cannot be used"),
            Self::Interrupted => (
                130,
                "interrupted, and not cancelled; or interrupted for the second time: the agent \
                 goes on",
            ),
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.describe().0
    }

    /// All exit codes as text, for the help and the man page.
    #[must_use]
    pub fn table() -> String {
        let row = |exit: Self| {
            let (code, meaning) = exit.describe();
            format!("  {code:>3}  {meaning}\n")
        };
        Self::ALL.into_iter().map(row).collect()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order() {
        let codes = Exit::ALL.map(Exit::code);
        assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
    }
}
