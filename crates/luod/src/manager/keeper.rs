// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keeper of descriptors for the agent: the service manager, or in tests something else.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::notify;
use super::protocol::{NOTIFY, SOCKET};

/// Which keeper it is: another one is another value.
pub(crate) type Which = [i64; 4];

/// Keeps descriptors for the agent, by label. It does not tell whether it had room.
pub(crate) trait Keeper: Send + Sync {
    /// Which one is there just now; `None` if none is.
    fn which(&self) -> Option<Which> {
        Some(Which::default())
    }

    /// Whether it ends with an agent that is told to end, and all that it keeps with it.
    fn ends_with_the_agent(&self) -> bool {
        false
    }

    /// Gives it a copy of a descriptor. If it takes nothing just now, it is waited for as long
    /// as `patience` says.
    fn keep(&self, label: &str, fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()>;

    /// Has it close its copy.
    fn close(&self, label: &str) -> io::Result<()>;
}

/// The service manager, by sd_notify(3).
pub(super) struct Manager {
    /// Where a `luod supervise` listens. It may die, and another one takes its place.
    mortal: Option<PathBuf>,
}

impl Manager {
    pub(super) fn of_this_process() -> Self {
        let is_mortal = std::env::var_os(SOCKET).is_some();
        let path = std::env::var_os(NOTIFY).filter(|_| is_mortal);
        Self {
            mortal: path.map(PathBuf::from),
        }
    }
}

/// Which socket stands at a path, if somebody listens there.
fn listener(path: &Path) -> Option<Which> {
    let sender = UnixDatagram::unbound().ok()?;
    sender.set_nonblocking(true).ok()?;
    // The file of one that is gone stays, and refuses.
    sender.connect(path).ok()?;
    let file = std::fs::metadata(path).ok()?;
    // A number may be used again, and not with the same time.
    let number = i64::from_ne_bytes(file.st_ino().to_ne_bytes());
    Some([number, file.st_ctime(), file.st_ctime_nsec(), 1])
}

impl Keeper for Manager {
    fn which(&self) -> Option<Which> {
        match &self.mortal {
            Some(path) => listener(path),
            None => Some(Which::default()),
        }
    }

    fn ends_with_the_agent(&self) -> bool {
        self.mortal.is_some()
    }

    fn keep(&self, label: &str, fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
        // A session's descriptor is no stream: there is nothing for the manager to watch.
        let text = format!("FDSTORE=1\nFDNAME={label}\nFDPOLL=0\n");
        notify::send_within(patience, &text, &[fd])
    }

    fn close(&self, label: &str) -> io::Result<()> {
        let text = format!("FDSTOREREMOVE=1\nFDNAME={label}\n");
        notify::send_within(Duration::ZERO, &text, &[])
    }
}
