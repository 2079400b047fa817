// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the kernel, or the service manager, did not do something, and what to do about it.

use std::path::Path;
use std::time::Duration;

use luo_sys::{Cause, Errno, Failure};
use luo_varlink::{admin, client};

/// What to do where something cannot be written; `with_room` is for want of room, or of what
/// nobody has thought of. `why` is as the standard library says it, or the kernel.
#[must_use]
pub fn unwritable(why: &str, with_room: &'static str) -> &'static str {
    let why = why.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    if has(&["file too large"]) {
        "set LimitFSIZE=infinity in luod's unit (`ulimit -f unlimited`)"
    } else if has(&["read-only"]) {
        "luod may not write there: have it mounted for writing (`findmnt -T` says how it is), and \
         allowed by ReadWritePaths= of luod's unit"
    } else if has(&[
        "file exists",
        "is a directory",
        "not a directory",
        "levels of symbolic links",
        "no regular file",
        "a link to what is not there",
    ]) {
        "something else has the place of a file or a folder of luod's: look with `ls -la`, and \
         move it away"
    } else if has(&["permission denied", "not permitted"]) {
        "luod may not write there: `ls -la` says whose it is, and the unit what it takes from root"
    } else if has(&["too many open files"]) {
        "luod has no descriptor left: set LimitNOFILE=65536 in its unit (`ulimit -n 65536`)"
    } else if has(&["input/output error"]) {
        "the disk does not work: `dmesg` says more"
    } else {
        with_room
    }
}

/// A call of the kernel that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Failed {
    call: String,
    errno: Errno,
    message: String,
}

/// Error numbers that the orchestrator's own interface does not have, with their names.
macro_rules! numbers {
    ($($name:ident = $number:literal;)*) => {
        $(const $name: Errno = number($number);)*
        const NAMES: &[(Errno, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

numbers! {
    ENOEXEC = 8;
    ETXTBSY = 26;
    ENOPKG = 65;
    EBADMSG = 74;
    ELIBBAD = 80;
    EADDRNOTAVAIL = 99;
    ETIMEDOUT = 110;
    ENOKEY = 126;
    EKEYREJECTED = 129;
}

/// An error number by its name, if it is one that calls fail with.
fn word(errno: Errno) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == errno);
    known.map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

/// Such a number.
const fn number(number: i32) -> Errno {
    match Errno::check(-number) {
        Err(errno) => errno,
        Ok(_) => Errno::EIO,
    }
}

/// What is handed over is read when the device is opened, or before the first call.
const NOT_TAKEN_OVER: &str = "what the previous kernel handed over could not be taken over: \
                              `dmesg | grep luo` says why. It stays quarantined, and luod cannot \
                              run, until the machine is booted anew by its firmware, not by kexec; \
                              `luoctl history` tells without luod how far the update was";

/// Something else than this agent has loaded the image.
const TAKES_NOTHING_OVER: &str = "the image that is loaded takes nothing over: another program has \
                                  loaded it over luod's, with kexec_load (`kexec -c`); find out \
                                  which, and update again";

/// The remedy for each call and error.
const REMEDIES: &[(&str, Errno, &str)] = &[
    (
        "open /dev/liveupdate",
        Errno::EBUSY,
        "somebody else has the device open: `fuser /dev/liveupdate` says who",
    ),
    (
        "open /dev/liveupdate",
        Errno::ENOENT,
        "this kernel has no live update: boot one with CONFIG_LIVEUPDATE=y and \
         'kho=on liveupdate=on' on its command line",
    ),
    ("open /dev/liveupdate", Errno::EIO, NOT_TAKEN_OVER),
    ("GET_INFO", Errno::EIO, NOT_TAKEN_OVER),
    ("LIST_SESSIONS", Errno::EIO, NOT_TAKEN_OVER),
    ("CREATE_SESSION", Errno::EIO, NOT_TAKEN_OVER),
    ("RETRIEVE_SESSION", Errno::EIO, NOT_TAKEN_OVER),
    (
        "open /dev/liveupdate",
        Errno::EACCES,
        "luod needs CAP_SYS_ADMIN",
    ),
    (
        "CREATE_SESSION",
        Errno::EEXIST,
        "a session of this name is there already (`luoctl sessions` says whose): close or claim it, or \
         choose another name",
    ),
    (
        "CREATE_SESSION",
        Errno::EBUSY,
        "a reboot is under way, or a step of an update, of whatever program: try again when it is \
         over",
    ),
    (
        "RETRIEVE_SESSION",
        Errno::ENOENT,
        "the previous kernel handed over no session of this name, or it is finished",
    ),
    (
        "RETRIEVE_SESSION",
        Errno::EINVAL,
        "somebody has retrieved this session already, and holds it",
    ),
    (
        "FINISH",
        Errno::EBUSY,
        "a handler or another call does not let go of it yet: `dmesg | grep luo` says more; try \
         again, or have luod let go of it with `luoctl release --force NAME`: the kernel finishes \
         it then as soon as it can",
    ),
    (
        "kexec_file_load",
        Errno::EPERM,
        "loading a kernel is not permitted: luod needs CAP_SYS_BOOT, and lockdown, \
         kernel.kexec_load_disabled or a missing signature may forbid it",
    ),
    (
        "kexec_file_load",
        ENOEXEC,
        "the image is not a kernel that this one can load",
    ),
    (
        "kexec_file_load",
        ENOKEY,
        "the image is signed with a key that this kernel does not know: `cat /proc/keys` and \
         `mokutil --list-enrolled` show those that it knows; install the distribution's own \
         image, or enroll the key with `mokutil --import`",
    ),
    (
        "kexec_file_load",
        EKEYREJECTED,
        "the image's signature does not fit it, its key is revoked or has expired, or this kernel \
         cannot check signatures of such images: install the image again; `dmesg` says more",
    ),
    (
        "kexec_file_load",
        Errno::ENODATA,
        "the image carries no signature, and this kernel loads none without: install the \
         distribution's own image, or sign it with a key that this kernel knows",
    ),
    (
        "kexec_file_load",
        ENOPKG,
        "the image's signature is made in a way that this kernel cannot check: sign it anew, with \
         SHA-256 say, or install the distribution's own image",
    ),
    (
        "kexec_file_load",
        ELIBBAD,
        "the image is no PE file that this kernel can read, so no signature is found in it: it is \
         damaged, or of a kind that carries none; install it again",
    ),
    (
        "kexec_file_load",
        Errno::EINVAL,
        "the kernel does not take the image or its command line: the line may be too long, or the \
         image compressed where only a plain one is loaded (arm64), or built for other pages or \
         another byte order; `luoctl check` looks at these",
    ),
    (
        "kexec_file_load",
        Errno::ENOMEM,
        "there is no memory for the kernel and its initrds now: free some, and try again",
    ),
    (
        "kexec_file_load",
        ETXTBSY,
        "a program writes to the image or to an initrd just now, a package manager say: try again \
         when it has ended",
    ),
    (
        "kexec_file_load",
        Errno::EACCES,
        "a policy of the machine forbids this image or initrd (IMA's appraisal, or a security \
         module's): `dmesg` and the audit log say which",
    ),
    (
        "kexec_file_load",
        EBADMSG,
        "the image's signature cannot be read: the image is damaged, or was changed after it \
         was signed; install it again, or sign it anew",
    ),
    (
        "kexec_file_load",
        Errno::EBUSY,
        "another kexec call is under way",
    ),
    (
        "kexec_file_load",
        EADDRNOTAVAIL,
        "the scratch area is too small for the image: boot with a larger kho_scratch=",
    ),
    (
        "reboot(KEXEC)",
        Errno::EINVAL,
        "no kernel is loaded any more",
    ),
    ("reboot(KEXEC)", Errno::EOPNOTSUPP, TAKES_NOTHING_OVER),
    (
        "reboot(KEXEC)",
        Errno::EBUSY,
        "another kexec call, or a call on a session, is under way and does not end: \
         `dmesg | grep luo` says more",
    ),
    (
        "reboot(KEXEC)",
        Errno::ENOLINK,
        "a file that is preserved needs one that is not: `dmesg | grep luo` says which",
    ),
    (
        "reboot(KEXEC)",
        Errno::EPERM,
        "luod may not reboot the machine: it needs CAP_SYS_BOOT",
    ),
    (
        "systemctl kexec",
        Errno::EIO,
        "the service manager has refused it: `journalctl -b` says why",
    ),
    (
        "systemctl kexec",
        Errno::EAGAIN,
        "the shutdown was begun, is off again, and the machine runs on: `journalctl -b` \
         says why",
    ),
];

impl Failed {
    /// A failure that no call reported.
    #[must_use]
    pub fn new(call: &str, errno: Errno) -> Self {
        let mut remedies = REMEDIES.iter();
        let remedy = remedies.find(|(part, known, _)| call == *part && *known == errno);
        let remedy = remedy.map(|(_, _, remedy)| *remedy);
        Self {
            call: call.to_owned(),
            errno,
            message: match remedy.or_else(|| luo_sys::hint(errno)) {
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
            message: "luod has let go of the session that had this name, and the service manager \
                      has not closed its copy yet: it may stand still; try again"
                .to_owned(),
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
    fn each_way_not_to_be_written_has_its_own_remedy() {
        for (errno, part) in [
            (28, "make room"),
            (122, "make room"),
            (30, "mounted for writing"),
            (17, "move it away"),
            (20, "move it away"),
            (21, "move it away"),
            (13, "may not write"),
            (1, "may not write"),
            (27, "LimitFSIZE"),
            (5, "dmesg"),
        ] {
            let why = std::io::Error::from_raw_os_error(errno);
            let failed = Failed::unnoted(Path::new("/run/luod/state"), &why).to_string();
            assert!(failed.contains(part), "{failed}");
            assert_eq!(
                failed.contains("make room"),
                part == "make room",
                "{failed}"
            );
        }
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
