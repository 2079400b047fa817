// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of commands, each with what to do next.

use std::io;
use std::path::Path;

use luo_client::agent::Error;
use luo_varlink::{Phase, admin, client, paths, status};
use serde_json::Value;

use crate::document::{Failed, FailedInner};
use crate::exit::Exit;

/// Why a command has failed.
#[derive(Debug)]
pub enum Failure {
    /// Standard output cannot be written to.
    Output(io::Error),
    /// An error that is to be told.
    Told(Box<Told>),
}

/// The message of a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The exit code.
    pub exit: Exit,
    /// A word for programs.
    pub kind: &'static str,
    /// The error, in words.
    pub message: String,
    /// What to do next.
    pub next: Option<String>,
    /// The agent's own error, as it came.
    pub refusal: Option<Value>,
}

/// The result of a command.
pub type Result<T = Exit> = core::result::Result<T, Failure>;

impl Failure {
    /// A failure with its message.
    #[must_use]
    pub fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            exit,
            kind,
            message: message.into(),
            next: None,
            refusal: None,
        }))
    }

    /// What to do next.
    #[must_use]
    pub fn next(mut self, what: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.next = Some(what.into());
        }
        self
    }

    /// As whoever has asked for all of an update calls what was refused.
    #[must_use]
    pub(crate) fn of_an_update(mut self) -> Self {
        if let Self::Told(told) = &mut self
            && told.kind == ILLEGAL
            && let Some(rest) = told.message.strip_prefix("prepare ")
        {
            told.message = format!("an update {rest}");
        }
        self
    }

    /// A file could not be made.
    #[must_use]
    pub fn file(path: &std::path::Path, why: &io::Error) -> Self {
        let message = format!("{}: {why}", path.display());
        Self::new(Exit::CannotCreate, "file", message)
    }
}

impl Told {
    /// As a document for programs.
    #[must_use]
    pub fn document(&self) -> Failed {
        Failed {
            error: FailedInner {
                kind: self.kind.to_owned(),
                exit_code: self.exit.code(),
                message: self.message.clone(),
                next: self.next.clone(),
                refusal: self.refusal.clone(),
            },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Self::Output(why)
    }
}

/// A kind of refusal: how it ends the command, and what to do.
struct Kind {
    exit: Exit,
    word: &'static str,
    next: Option<&'static str>,
}

/// A refusal of an interface.
pub trait Refusal: core::error::Error + serde::Serialize + 'static {
    /// How the command ends, a word, and what to do next.
    fn told(&self) -> (Exit, &'static str, Option<&'static str>);
}

/// Calls of the kernel that change nothing.
const QUESTIONS: [&str; 3] = ["GET_INFO", "LIST_SESSIONS", "LIST_PARTICIPANTS"];

/// Whether an error of the kernel says that there is no device of live update.
fn is_no_device(call: &str, errno: i32) -> bool {
    use rustix::io::Errno;
    let errors = [Errno::NOENT, Errno::NODEV].map(Errno::raw_os_error);
    call == "open /dev/liveupdate" && errors.contains(&errno)
}

/// A step that is not legal in a phase.
const ILLEGAL: &str = "illegal";

/// What is due in a phase in place of a step that is not legal in it.
pub(crate) fn due(step: &str, phase: Phase) -> &'static str {
    match (phase, step) {
        (Phase::Normal, "freeze") => {
            "`luoctl prepare` comes first; `luoctl update` does all that is to be done"
        }
        (Phase::Normal, "kexec") => {
            "`luoctl prepare` and `luoctl freeze` come first; `luoctl update` does all that is to \
             be done"
        }
        (Phase::Normal, _) => "no update is under way, so nothing is to be done",
        (Phase::Preparing | Phase::Freezing, _) => {
            "an update is under way: `luoctl watch` shows it, `luoctl cancel` ends it"
        }
        (Phase::Prepared, "kexec") => {
            "`luoctl freeze` comes first; `luoctl cancel` ends the update"
        }
        (Phase::Prepared, "release") | (Phase::Frozen, "release") => {
            "when the update is over; `luoctl cancel` ends it"
        }
        (Phase::Prepared, _) => "an update is prepared: next `luoctl freeze`, or `luoctl cancel`",
        (Phase::Frozen, _) => "all stand still: next `luoctl kexec`, or `luoctl cancel`",
        (Phase::Jumping, _) => "the machine is about to jump: `luoctl status` says when it has",
        (Phase::Cancelling, _) => {
            "an update is being undone: try again when `luoctl status` says that it is"
        }
        (Phase::Updated, "cancel") => {
            "the machine has jumped, and nothing undoes that; `luoctl finish` ends the update"
        }
        (Phase::Updated, "release") => {
            "its workload is waited for: start it; or `luoctl finish --release` ends the update, \
             and releases what nobody has claimed"
        }
        (Phase::Updated, _) => {
            "the last update is not over: `luoctl status` says who is waited for, and `luoctl \
             finish` ends it"
        }
    }
}

impl Refusal for admin::Error {
    fn told(&self) -> (Exit, &'static str, Option<&'static str>) {
        let kind = |exit, word, next| (exit, word, Some(next));
        match self {
            Self::CheckFailed { .. } => kind(
                Exit::Refused,
                "check-failed",
                "do what stands under each obstacle, and look again with `luoctl check`",
            ),
            Self::Vetoed { .. } => kind(
                Exit::Refused,
                "vetoed",
                "everything runs on as before; when the workload's reason is gone, try again",
            ),
            Self::Late { .. } => kind(
                Exit::Refused,
                "late",
                "everything else runs on as before; see what the workload does: it may stand \
                 still until it reads that the update is off. Or give it more time in luod.toml \
                 ([workload.NAME])",
            ),
            Self::Lost { .. } => kind(
                Exit::Refused,
                "lost",
                "everything else runs on as before; see why the workload ended, and start it again",
            ),
            Self::Illegal { event, phase } => kind(Exit::Refused, ILLEGAL, due(event, *phase)),
            Self::Cancelled { .. } => {
                kind(Exit::Refused, "cancelled", "everything runs on as before")
            }
            Self::BadPlan { obstacles } => kind(
                Exit::Refused,
                "bad-plan",
                match obstacles.iter().any(|text| text.contains(" need")) {
                    true => "nothing was changed; `luoctl graph` shows who needs whom",
                    false => "nothing was changed; `luoctl sessions` shows who has what",
                },
            ),
            // Without a device nothing can have begun.
            Self::Kernel { call, errno, .. } if is_no_device(call, *errno) => kind(
                Exit::Kernel,
                "kernel",
                "nothing was changed; `luoctl check` says what the kernel lacks",
            ),
            Self::Kernel { call, .. } => kind(
                Exit::Kernel,
                "kernel",
                match QUESTIONS.contains(&call.as_str()) {
                    true => {
                        "nothing was changed; `journalctl -u luod` and `dmesg | grep luo` say more"
                    }
                    // It is opened for a question as for a step of an update.
                    false if call.starts_with("open ") => {
                        "what luod may have begun is undone; `luoctl check` names who has it open, \
                         to root, and `dmesg | grep luo` says more"
                    }
                    false => {
                        "what luod had begun is undone; `journalctl -u luod` and `dmesg | grep luo` \
                         say more"
                    }
                },
            ),
            Self::Unclaimed { .. } => kind(
                Exit::Refused,
                "unclaimed",
                "start who owns them (`luoctl sessions`), or release them, with all that is in \
                 them: `luoctl finish --release`",
            ),
            Self::Unreadable { .. } => kind(
                Exit::Refused,
                "unreadable",
                "start the luod that wrote it; or give the record up: `luoctl finish --release`. \
                 The sessions stay in the kernel then until `luoctl release --force` gives up each",
            ),
            Self::NoSuchSession { .. } => kind(
                Exit::NotFound,
                "no-such-session",
                "`luoctl sessions` lists all; one in custody has `agent` there. --force is for one \
                 that luod knows nothing of",
            ),
        }
    }
}

impl Refusal for client::Error {
    fn told(&self) -> (Exit, &'static str, Option<&'static str>) {
        let looks = Some("`luoctl status` says where the agent is, and who is registered");
        match self {
            Self::Denied { .. } => (Exit::Permission, "denied", None),
            Self::BadName { .. } => (Exit::Usage, "bad-name", None),
            Self::UpdateUnderWay { .. } => (Exit::Refused, "update-under-way", looks),
            Self::NoSuchSession { .. } => (
                Exit::NotFound,
                "no-such-session",
                Some("`luoctl sessions` lists all, with their owners"),
            ),
            Self::Kernel { .. } => (Exit::Kernel, "kernel", None),
            _ => (Exit::Refused, "refused", looks),
        }
    }
}

impl Refusal for status::Error {
    fn told(&self) -> (Exit, &'static str, Option<&'static str>) {
        match self {
            Self::TooMany { .. } => (
                Exit::Unavailable,
                "too-many",
                Some("try again; what was missed is in `luoctl history`"),
            ),
        }
    }
}

impl<R: Refusal> From<Error<R>> for Failure {
    fn from(error: Error<R>) -> Self {
        let message = error.to_string();
        let kind = match &error {
            Error::NoAgent { path, why } => return unreachable_agent(message, path, why),
            Error::Refused(refusal) => {
                let (exit, word, next) = refusal.told();
                return Self::Told(Box::new(Told {
                    exit,
                    kind: word,
                    message,
                    next: next.map(str::to_owned),
                    refusal: serde_json::to_value(refusal).ok(),
                }));
            }
            Error::AgentGone => Kind {
                exit: Exit::Unavailable,
                word: "agent-gone",
                next: Some(
                    "if luod has ended, an update that had not jumped is cancelled when it starts \
                     again; if it has not, it takes no more connections; `journalctl -u luod` says \
                     which and why",
                ),
            },
            Error::TimedOut { .. } => Kind {
                exit: Exit::TimedOut,
                word: "timed-out",
                next: Some(
                    "`systemctl status luod` (without systemd `ps -o pid,stat,wchan -C luod`) says whether it hangs",
                ),
            },
            Error::Unknown { .. } | Error::Protocol { .. } => Kind {
                exit: Exit::Protocol,
                word: "protocol",
                next: Some("use the luoctl that belongs to the running luod (`luoctl --version`)"),
            },
            _ => Kind {
                exit: Exit::Internal,
                word: "system",
                next: None,
            },
        };
        let failure = Self::new(kind.exit, kind.word, message);
        match kind.next {
            Some(next) => failure.next(next),
            None => failure,
        }
    }
}

/// The agent cannot be connected to.
fn unreachable_agent(message: String, path: &Path, why: &io::Error) -> Failure {
    match why.kind() {
        // Root is not the only one who may use that of workloads, and the message says who may.
        io::ErrorKind::PermissionDenied if path.ends_with(paths::CLIENT) => {
            Failure::new(Exit::Permission, "permission", message)
                .next("a new member of the group logs in anew; a unit is started anew")
        }
        io::ErrorKind::PermissionDenied => Failure::new(Exit::Permission, "permission", message)
            .next(
                "run it as root; `luoctl status`, `graph`, `history` and `watch` are for everybody",
            ),
        io::ErrorKind::TimedOut => Failure::new(Exit::TimedOut, "timed-out", message).next(
            "luod does not accept connections: `systemctl status luod` (without systemd `ps -o pid,stat,wchan -C luod`) says whether it hangs",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::Unavailable, "no-agent", message).next(START)
        }
        // Whether luod runs is not known: the message says what is in the way here.
        _ => Failure::new(Exit::Unavailable, "system", message),
    }
}

/// What to do where no agent runs.
const START: &str = "start it: `systemctl start luod` (without systemd: `luod supervise`); if it \
                     does not stay, `journalctl -u luod` says why, and `luoctl history` and \
                     `luoctl check --offline` work without it; another folder of sockets is \
                     named by --runtime-directory";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: Error<admin::Error>) -> Told {
        match Failure::from(error) {
            Failure::Told(told) => *told,
            Failure::Output(why) => panic!("{why}"),
        }
    }

    /// A question undoes nothing, for it has begun nothing.
    #[test]
    fn a_question_that_fails_has_undone_nothing() {
        let next_of = |call: &str, errno| {
            let refused = admin::Error::Kernel {
                call: call.to_owned(),
                errno,
                message: "EIO".to_owned(),
            };
            told(Error::Refused(refused)).next.unwrap()
        };
        let next = |call: &str| next_of(call, 5);
        assert_eq!(
            next_of("open /dev/liveupdate", 2),
            "nothing was changed; `luoctl check` says what the kernel lacks"
        );
        for question in QUESTIONS {
            assert!(
                next(question).starts_with("nothing was changed;"),
                "{question}"
            );
        }
        assert!(next("PREPARE").starts_with("what luod had begun is undone;"));
        assert!(next("open /dev/liveupdate").starts_with("what luod may have begun is undone;"));
    }

    /// One that has no descriptor left closes what comes, and runs on.
    #[test]
    fn a_connection_that_is_over_need_not_be_the_end_of_luod() {
        let next = told(Error::AgentGone).next.unwrap();
        assert!(next.starts_with("if luod has ended, an update"), "{next}");
        assert!(
            next.contains("if it has not, it takes no more connections"),
            "{next}"
        );
    }

    #[test]
    fn nobody_is_told_to_start_luod_who_cannot_know_whether_it_runs() {
        let told = |why: io::Error| {
            told(Error::NoAgent {
                path: "/run/luod/admin".into(),
                why,
            })
        };
        // EMFILE
        let few = told(io::Error::from_raw_os_error(24));
        assert_eq!((few.exit, few.kind), (Exit::Unavailable, "system"));
        assert_eq!(few.next, None);
        assert!(few.message.contains("`ulimit -n`"), "{few:?}");
        let none = told(io::ErrorKind::ConnectionRefused.into());
        assert_eq!((none.exit, none.kind), (Exit::Unavailable, "no-agent"));
        assert!(none.next.is_some_and(|next| next.starts_with("start it")));
    }
}
