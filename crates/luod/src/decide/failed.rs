// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the kernel, or the service manager, did not do something.

use std::path::Path;
use std::time::Duration;

use luo_sys::{Cause, Errno, Failure};
use luo_varlink::{admin, client};

use super::remedies::{ETIMEDOUT, TAKES_NOTHING_OVER, remedy, word};
use super::unwritable::unwritable;

/// A call of the kernel that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Failed {
    call: String,
    errno: Errno,
    message: String,
}

impl Failed {
    /// A failure that no call reported.
    #[must_use]
    pub fn new(call: &str, errno: Errno) -> Self {
        Self {
            call: call.to_owned(),
            errno,
            message: match remedy(call, errno).or_else(|| luo_sys::hint(errno)) {
                Some(remedy) => format!("{}: {remedy}", word(errno)),
                None => word(errno),
            },
        }
    }

    /// A call that has not come back in time.
    #[must_use]
    pub fn late(call: &str, patience: Duration) -> Self {
        let seconds = patience.as_secs_f64();
        Self {
            call: call.to_owned(),
            errno: ETIMEDOUT,
            message: format!(
                "it has not come back within {seconds} s: `dmesg` may say what it waits for; \
                 `kernel_deadline` in luod.toml is that time"
            ),
        }
    }

    /// The same of a call that nothing takes back: it is done whenever the kernel comes to it.
    #[must_use]
    pub fn later(call: &str, patience: Duration) -> Self {
        let seconds = patience.as_secs_f64();
        Self {
            message: format!(
                "it has not come back within {seconds} s, and is done as soon as the kernel does it: \
                 `dmesg` may say what it waits for; `kernel_deadline` in luod.toml is that time"
            ),
            ..Self::late(call, patience)
        }
    }

    /// A call that is not made, because an earlier one hangs, which is the subject of a sentence.
    #[must_use]
    pub fn hangs(call: &str, earlier: &str) -> Self {
        Self {
            call: call.to_owned(),
            errno: Errno::EBUSY,
            message: format!(
                "{earlier} has not come back yet: try again when it has; `dmesg` may say what \
                 it waits for"
            ),
        }
    }

    /// A question that the kernel's thread does not get to.
    #[must_use]
    pub fn busy(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            errno: Errno::EBUSY,
            message: "the kernel is at work on something else, or hangs in it: try again; \
                      `dmesg` may say what it waits for"
                .to_owned(),
        }
    }

    /// A failure with a file.
    #[must_use]
    pub fn io(what: &str, why: &std::io::Error) -> Self {
        let raw = why.raw_os_error().unwrap_or(Errno::EIO.get());
        let errno = Errno::check(raw.wrapping_neg()).err().unwrap_or(Errno::EIO);
        Self {
            call: what.to_owned(),
            errno,
            message: why.to_string(),
        }
    }

    /// A note that cannot be written, without which a restart of luod would lose something.
    #[must_use]
    pub fn unnoted(folder: &Path, why: &std::io::Error) -> Self {
        let mut failed = Self::io("the notes", why);
        failed.message = format!(
            "luod cannot note this in {}, so its restart would lose it: {why}: {}",
            folder.display(),
            unwritable(&why.to_string(), "make room there")
        );
        failed
    }

    /// An event that the kernel refused. `failure` is what the orchestrator reports of the
    /// participant that vetoed, if it reports anything.
    #[must_use]
    pub fn event(why: luo_sys::Error, failure: Option<Failure>) -> Self {
        let mut failed = Self::from(why);
        let Some(failure) = failure else {
            return failed;
        };
        let session = failure
            .session
            .map(|session| format!(" for session '{session}'"));
        let session = session.unwrap_or_default();
        let who = match failure.cause {
            Cause::None => return failed,
            Cause::Handler => format!("handler {} vetoes{session}", failure.participant),
            Cause::Subsystem => format!("subsystem {} vetoes", failure.participant),
            Cause::Dependency => format!("a file{session} needs one that is not preserved"),
            Cause::Busy if failure.session.is_some() => {
                format!("a call{session} does not end: whoever holds it has to be stopped")
            }
            Cause::Busy => "another transition is under way and does not end".to_owned(),
            Cause::Image => TAKES_NOTHING_OVER.to_owned(),
            _ => format!("the orchestrator refuses{session}"),
        };
        failed.message = format!("{}: {who}; `dmesg | grep luo` says more", failed.errno);
        failed
    }

    /// Whether the kernel says that the previous kernel left no such session, or that the
    /// session is finished.
    #[must_use]
    pub fn is_no_session(&self) -> bool {
        self.call == "RETRIEVE_SESSION" && self.errno == Errno::ENOENT
    }

    /// Whether the kernel says that a session of this name is there.
    #[must_use]
    pub fn is_there_already(&self) -> bool {
        self.call == "CREATE_SESSION" && self.errno == Errno::EEXIST
    }

    /// A session cannot be made, because the service manager has not closed its copy of the one
    /// that had this name.
    #[must_use]
    pub fn not_closed(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            errno: Errno::EBUSY,
            message: "luod has let go of the session that had this name, and somebody has it open \
                      still: the service manager, which may stand still, or a program that has got \
                      the descriptor, mostly a child that the workload has left behind (`luoctl \
                      check` says to root which); try again"
                .to_owned(),
        }
    }

    /// A session cannot be made, because programs that are no workloads have the one of this name.
    #[must_use]
    pub fn held_elsewhere(call: &str, holders: &[String]) -> Self {
        let by = match holders {
            [] => {
                "a program that luod may not look at (`luoctl check` says to root which)".to_owned()
            }
            holders => holders.join(", "),
        };
        Self {
            call: call.to_owned(),
            errno: Errno::EEXIST,
            message: format!(
                "{}: a session of this name is open in {by}, mostly a child that a workload has left \
                 behind: end that program, or choose another name",
                Errno::EEXIST
            ),
        }
    }

    /// The same, where the one of this name is closed, and part of an update of another program.
    #[must_use]
    pub fn held_by_an_update(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            errno: Errno::EEXIST,
            message: format!(
                "{}: a session of this name is closed, and part of an update that another program has \
                 begun: it ends with that (`luoctl cancel --force` ends it)",
                Errno::EEXIST
            ),
        }
    }

    /// Whether the kernel says that another process has retrieved the session and holds it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.call == "RETRIEVE_SESSION" && self.errno == Errno::EINVAL
    }

    /// Whether the kernel refuses what the previous one has handed over: it finds that out at
    /// the open or at the first call.
    #[must_use]
    pub fn is_refused_handover(&self) -> bool {
        let calls = ["open /dev/liveupdate", "GET_INFO"];
        self.errno == Errno::EIO && calls.contains(&self.call.as_str())
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl From<luo_sys::Error> for Failed {
    fn from(why: luo_sys::Error) -> Self {
        Self::new(why.call(), why.errno())
    }
}

impl From<Failed> for client::Error {
    fn from(why: Failed) -> Self {
        Self::Kernel {
            call: why.call,
            errno: why.errno.get(),
            message: why.message,
        }
    }
}

impl From<Failed> for admin::Error {
    fn from(why: Failed) -> Self {
        Self::Kernel {
            call: why.call,
            errno: why.errno.get(),
            message: why.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::remedies::number;
    use super::*;

    #[test]
    fn what_is_known_has_a_remedy() {
        let failed = Failed::new("RETRIEVE_SESSION", Errno::ENOENT);
        assert!(
            failed.to_string().contains("handed over no session"),
            "{failed}"
        );
        let quota = Failed::new("CREATE_SESSION", Errno::EDQUOT).to_string();
        assert!(quota.contains("/sys/kernel/liveupdate/user_*"), "{quota}");
        let other = Failed::new("RETRIEVE_SESSION", Errno::ENOMEM);
        assert_eq!(other.to_string(), "RETRIEVE_SESSION: ENOMEM");
    }

    #[test]
    fn each_refusal_of_a_signature_has_its_own_remedy() {
        for (errno, part) in [
            (
                126,
                "ENOKEY: the image is signed with a key that this kernel does not know",
            ),
            (129, "EKEYREJECTED: the image's signature does not fit it"),
            (74, "EBADMSG: the image's signature cannot be read"),
            (61, "ENODATA: the image carries no signature"),
            (65, "ENOPKG: the image's signature is made in a way"),
            (80, "ELIBBAD: the image is no PE file"),
        ] {
            let failed = Failed::new("kexec_file_load", number(errno)).to_string();
            assert!(failed.contains(part), "{failed}");
        }
    }

    #[test]
    fn a_kernel_that_is_not_loaded_says_what_to_do() {
        for (errno, part) in [
            (
                22,
                "EINVAL: the kernel does not take the image or its command line",
            ),
            (12, "ENOMEM: there is no memory for the kernel"),
            (26, "ETXTBSY: a program writes to the image"),
            (13, "EACCES: a policy of the machine"),
        ] {
            let failed = Failed::new("kexec_file_load", number(errno)).to_string();
            assert!(failed.contains(part), "{failed}");
        }
    }

    #[test]
    fn each_refusal_of_the_jump_has_its_own_remedy() {
        for (errno, part) in [
            (Errno::EINVAL, "no kernel is loaded"),
            (Errno::EOPNOTSUPP, "kexec_load"),
            (Errno::EBUSY, "does not end"),
            (Errno::ENOLINK, "needs one that is not"),
            (Errno::EPERM, "CAP_SYS_BOOT"),
        ] {
            let failed = Failed::new("reboot(KEXEC)", errno).to_string();
            assert!(failed.contains(part), "{failed}");
        }
        // Nobody is told to cancel an update that there may not be.
        let busy = Failed::new("FINISH", Errno::EBUSY).to_string();
        assert!(busy.contains("luoctl release --force"), "{busy}");
        let busy = Failed::new("CREATE_SESSION", Errno::EBUSY).to_string();
        assert!(
            busy.contains("try again") && !busy.contains("cancel"),
            "{busy}"
        );
    }

    #[test]
    fn a_refused_handover_is_known_however_it_shows() {
        for call in ["open /dev/liveupdate", "GET_INFO"] {
            let failed = Failed::new(call, Errno::EIO);
            assert!(failed.is_refused_handover(), "{failed}");
            assert!(failed.to_string().contains("`luoctl history`"), "{failed}");
        }
        assert!(!Failed::new("GET_INFO", Errno::EBUSY).is_refused_handover());
    }

    #[test]
    fn the_number_is_positive() {
        let error = admin::Error::from(Failed::new("x", Errno::EBUSY));
        assert!(matches!(error, admin::Error::Kernel { errno: 16, .. }));
    }
}
