// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why luod cannot begin, or cannot read its files: whether it is the machine's fault or a file's, and what
//! to do about it.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

use crate::decide::unwritable::unwritable;
use crate::threads;

/// Errors that keep a file from being read, or a socket from being made, and are not the file's
/// fault: a call that fails by one of them may succeed a moment later.
const OF_THE_MACHINE: [Errno; 8] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::ROFS,
    Errno::IO,
    Errno::STALE,
];

/// The first cause that is the machine's.
fn of_the_machine(why: &anyhow::Error) -> Option<&io::Error> {
    let mut causes = why.chain().filter_map(|why| why.downcast_ref());
    causes.find(|why| Errno::from_io_error(why).is_some_and(|is| OF_THE_MACHINE.contains(&is)))
}

/// Whether a configuration or a policy could not be read, whatever it says. It is no bad one then, and
/// to start luod again helps.
pub(crate) fn is_of_the_machine(why: &anyhow::Error) -> bool {
    of_the_machine(why).is_some()
}

/// The remedy for a configuration or a policy that luod cannot be started with.
pub(crate) fn cannot_be_used(why: &anyhow::Error) -> &'static str {
    match of_the_machine(why) {
        Some(why) => unwritable(&why.to_string(), ROOM),
        None => "mend the file: `luod --check-config` says whether it can be used",
    }
}

/// The remedy for want of room.
const ROOM: &str = "make room there: `df -h` and `df -i` say what is full";

/// The remedy for a right that is missing, if the user who has started luod is not root, for
/// descriptors that are missing, and for a disk.
pub(crate) fn way_out(why: &anyhow::Error) -> String {
    let is = |wanted: fn(&io::Error) -> bool| {
        let mut causes = why.chain();
        causes.any(|why| why.downcast_ref::<io::Error>().is_some_and(wanted))
    };
    if is(|why| why.kind() == ErrorKind::PermissionDenied) && !rustix::process::geteuid().is_root()
    {
        ": luod is to be run by root".to_owned()
    } else if is(threads::is_missing) {
        ": luod makes all its threads when it starts, and there can be no further one: see TasksMax= \
         and MemoryMax= of its unit, `ulimit -u` and `ulimit -v`"
            .to_owned()
    } else {
        let why = of_the_machine(why);
        why.map_or_else(String::new, |why| {
            format!(": {}", unwritable(&why.to_string(), ROOM))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_luod_that_lacks_something_says_what_to_do() {
        for (errno, part) in [
            (Errno::MFILE, "LimitNOFILE="),
            (Errno::NFILE, "fs.file-nr"),
            (Errno::NOSPC, "df -i"),
            (Errno::ROFS, "ReadWritePaths="),
            (Errno::IO, "dmesg"),
        ] {
            let why = anyhow::Error::from(io::Error::from(errno)).context("the runtime");
            assert!(way_out(&why).contains(part), "{}", way_out(&why));
        }
        let why = anyhow::Error::from(io::Error::from(Errno::INVAL)).context("the runtime");
        assert_eq!(way_out(&why), "");
    }

    /// To start luod again helps, so nobody is to be told that it does not.
    #[test]
    fn a_file_that_cannot_be_read_now_is_no_bad_one() {
        let failed = |errno| anyhow::Error::from(io::Error::from(errno)).context("luod.toml");
        for errno in OF_THE_MACHINE {
            assert!(is_of_the_machine(&failed(errno)), "{errno:?}");
            assert!(!cannot_be_used(&failed(errno)).contains("mend the file"));
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::ISDIR, Errno::LOOP] {
            assert!(!is_of_the_machine(&failed(errno)), "{errno:?}");
            assert!(cannot_be_used(&failed(errno)).contains("mend the file"));
        }
    }
}
