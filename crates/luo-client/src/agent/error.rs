// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors between a program and the agent.

use std::io;
use std::path::{Path, PathBuf};

use luo_varlink::{admin, client, status};
use rustix::io::Errno;

/// Why a call has failed. `R` are the refusals of the interface.
#[derive(Debug, thiserror::Error)]
pub enum Error<R = client::Error>
where
    R: core::error::Error + 'static,
{
    /// The agent cannot be connected to.
    #[error("the live update agent cannot be reached at {}: {why}{}", path.display(), hinted(path, why))]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// Why: ENOENT and ECONNREFUSED if the agent does not run, EACCES if this user
        /// may not, ETIMEDOUT if it hangs, EMFILE if this program has no descriptor left.
        why: io::Error,
    },
    /// The connection is over: the agent has ended, or an earlier call of this
    /// connection has failed in a way that leaves nothing to go on from.
    #[error("the connection to the live update agent is over: connect again")]
    AgentGone,
    /// No answer came in time. The connection is over.
    #[error("the live update agent did not answer {call} in time; the connection is given up")]
    TimedOut {
        /// The call.
        call: &'static str,
    },
    /// The agent refuses. Nothing has happened, and the connection can be used.
    #[error(transparent)]
    Refused(R),
    /// The agent does not know this call, or refuses with an error that is not known
    /// here: it is older, or newer. The connection can be used.
    #[error("the live update agent answers {call} with {error}: it is of another version")]
    Unknown {
        /// The call.
        call: &'static str,
        /// The error's name.
        error: String,
    },
    /// The agent's reply is not of the interface. The connection is over.
    #[error("the live update agent answers {call} with nonsense: {found}")]
    Protocol {
        /// The call.
        call: &'static str,
        /// The fault of the reply.
        found: String,
    },
    /// A system call of this process failed. The connection may be over because of that;
    /// then the next call says so.
    #[error("{call}: {why}")]
    Os {
        /// The agent's call.
        call: &'static str,
        /// Why.
        why: io::Error,
    },
    /// A call of the kernel failed in this process.
    #[error(transparent)]
    Kernel(#[from] luo_sys::Error),
}

/// The remedy when a socket cannot be connected to, if one is known.
fn hint(path: &Path, why: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(why) {
        Some(Errno::MFILE) => {
            "this program has no descriptor left: `ulimit -n` (LimitNOFILE= of a unit) says how \
             many it may have"
        }
        Some(Errno::NFILE) => "the machine can open no more files: `sysctl fs.file-nr`",
        Some(Errno::NOMEM | Errno::NOBUFS) => "the machine has no memory for that now: try again",
        Some(Errno::NAMETOOLONG) => LONG,
        _ => match why.kind() {
            io::ErrorKind::PermissionDenied if path.ends_with("client") => {
                "it is for root and for members of the group 'luo' (`usermod --append --groups \
                 luo USER`, or SupplementaryGroups=luo in the unit)"
            }
            io::ErrorKind::PermissionDenied => "it is for root only",
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "is luod running?",
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it does not accept connections",
            io::ErrorKind::InvalidInput => LONG,
            _ => return None,
        },
    })
}

/// A folder whose sockets nobody can name.
const LONG: &str = "the path of a socket has 107 bytes at most: luod has to have a shorter folder";

/// That, as it stands behind the reason.
fn hinted(path: &Path, why: &io::Error) -> String {
    hint(path, why).map_or_else(String::new, |hint| format!("; {hint}"))
}

/// The result of a workload's call.
pub type Result<T> = core::result::Result<T, Error>;

/// A refusal that can be told as an error number.
pub trait ErrorNumber: core::error::Error + 'static {
    /// The number, positive.
    fn errno(&self) -> i32;
}

impl<R: core::error::Error> Error<R> {
    /// Whether the connection is over because the agent has ended, or hangs: what was asked
    /// of it may be asked of the next one, see [`super::Workload::surely`].
    #[must_use]
    pub fn is_lost_agent(&self) -> bool {
        matches!(self, Self::AgentGone | Self::TimedOut { .. })
    }
}

impl Error {
    /// Whether the agent could not have the kernel do something because the kernel hangs, or is
    /// at work on something else: nothing is lost by that, the connection can be used, and the
    /// call can be made again, see [`super::Workload::surely`].
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let Self::Refused(client::Error::Kernel { errno, .. }) = self else {
            return false;
        };
        [Errno::BUSY, Errno::TIMEDOUT]
            .map(Errno::raw_os_error)
            .contains(errno)
    }
}

impl<R: ErrorNumber> Error<R> {
    /// The error number that says the same, positive. The C header has the same table.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let of = |why: &io::Error, other: Errno| {
            let number = why.raw_os_error().filter(|&number| number > 0);
            number.unwrap_or(other.raw_os_error())
        };
        match self {
            Self::NoAgent { why, .. } => of(why, Errno::INVAL),
            Self::AgentGone => Errno::CONNRESET.raw_os_error(),
            Self::TimedOut { .. } => Errno::TIMEDOUT.raw_os_error(),
            Self::Refused(refusal) => refusal.errno(),
            Self::Unknown { .. } => Errno::OPNOTSUPP.raw_os_error(),
            Self::Protocol { .. } => Errno::PROTO.raw_os_error(),
            Self::Os { why, .. } => of(why, Errno::IO),
            Self::Kernel(error) => error.errno().get(),
        }
    }
}

/// The number of a refusal by the kernel is the kernel's own, if it is a valid one.
fn kernel(errno: i32) -> i32 {
    match errno {
        1..=4095 => errno,
        _ => Errno::IO.raw_os_error(),
    }
}

impl ErrorNumber for client::Error {
    fn errno(&self) -> i32 {
        match self {
            Self::Denied { .. } => Errno::ACCESS.raw_os_error(),
            Self::BadName { .. } => Errno::INVAL.raw_os_error(),
            Self::WorkloadTaken { .. } => Errno::BUSY.raw_os_error(),
            Self::NotRegistered => Errno::NOTCONN.raw_os_error(),
            Self::UpdateUnderWay { .. } => Errno::AGAIN.raw_os_error(),
            Self::NotExpected { .. } => Errno::STALE.raw_os_error(),
            Self::NoSuchSession { .. } => Errno::NOENT.raw_os_error(),
            Self::BadDescriptor { .. } => Errno::BADF.raw_os_error(),
            Self::Kernel { errno, .. } => kernel(*errno),
            Self::TooMany { .. } => Errno::DQUOT.raw_os_error(),
        }
    }
}

impl ErrorNumber for admin::Error {
    fn errno(&self) -> i32 {
        match self {
            Self::CheckFailed { .. } => Errno::NOEXEC.raw_os_error(),
            Self::Vetoed { .. } => Errno::BUSY.raw_os_error(),
            Self::Late { .. } => Errno::TIME.raw_os_error(),
            Self::Lost { .. } => Errno::PIPE.raw_os_error(),
            Self::Illegal { .. } => Errno::INVAL.raw_os_error(),
            Self::Cancelled { .. } => Errno::CANCELED.raw_os_error(),
            Self::BadPlan { .. } => Errno::LOOP.raw_os_error(),
            Self::Kernel { errno, .. } => kernel(*errno),
            Self::Unclaimed { .. } => Errno::NOTEMPTY.raw_os_error(),
            Self::Unreadable { .. } => Errno::BADMSG.raw_os_error(),
            Self::NoSuchSession { .. } => Errno::NOENT.raw_os_error(),
        }
    }
}

impl ErrorNumber for status::Error {
    fn errno(&self) -> i32 {
        match self {
            Self::TooMany { .. } => Errno::DQUOT.raw_os_error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_connect_is_told_the_group() {
        let error = |socket: &str, kind: io::ErrorKind| {
            let error: Error = Error::NoAgent {
                path: PathBuf::from("/run/luod").join(socket),
                why: kind.into(),
            };
            error.to_string()
        };
        let denied = io::ErrorKind::PermissionDenied;
        assert!(error("client", denied).contains("members of the group 'luo'"));
        assert!(error("admin", denied).ends_with("it is for root only"));
        assert!(error("client", io::ErrorKind::NotFound).ends_with("is luod running?"));
    }

    #[test]
    fn who_has_no_descriptor_left_is_not_sent_to_luod() {
        let error = |number: Errno| {
            let error: Error = Error::NoAgent {
                path: "/run/luod/admin".into(),
                why: number.into(),
            };
            error.to_string()
        };
        for (number, part) in [
            (Errno::MFILE, "`ulimit -n`"),
            (Errno::NFILE, "fs.file-nr"),
            (Errno::NOMEM, "no memory"),
            (Errno::TIMEDOUT, "does not accept connections"),
            (Errno::NAMETOOLONG, "107 bytes"),
            (Errno::LOOP, "admin: Too many levels of symbolic links"),
        ] {
            let told = error(number);
            assert!(told.contains(part), "{told}");
            assert!(!told.contains("is luod running?"), "{told}");
        }
        assert!(error(Errno::CONNREFUSED).ends_with("is luod running?"));
    }
}
