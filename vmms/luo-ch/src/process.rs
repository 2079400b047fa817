// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process that runs the guest: started, or found running, watched, ended.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use crate::api::Api;
use crate::exit::{DONE, Ended, Error, GUEST};

/// How long it may take to end by itself.
const END: Duration = Duration::from_secs(5);

/// Between two looks at a socket that comes into being.
const PAUSE: Duration = Duration::from_millis(10);

/// Where the sockets of a guest are.
#[derive(Clone, Debug)]
pub struct Room {
    folder: PathBuf,
}

impl Room {
    /// A folder, made if it is not there.
    ///
    /// # Errors
    /// [`Error::Monitor`]: it cannot be made.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        // Who may talk to the sockets has the guest.
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(Error::system(folder.display().to_string()))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// The control socket.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.folder.join("api"))
    }

    /// Where a guest is handed over, in either direction.
    ///
    /// # Errors
    /// [`Error::Monitor`]: what was left of an earlier time cannot be removed.
    pub fn fresh(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(path),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(path),
            Err(why) => Err(Error::system(path.display().to_string())(why)),
        }
    }
}

/// A cloud-hypervisor.
pub struct Process {
    pid: Pid,
    handle: OwnedFd,
    /// Where it is ours.
    child: Option<Child>,
}

impl Process {
    /// Starts it, and waits until its control socket answers.
    ///
    /// # Errors
    /// [`Error::NoProgram`], [`Error::Guest`].
    pub fn start(
        room: &Room,
        program: &str,
        arguments: &[String],
        late: Instant,
    ) -> Result<Self, Error> {
        let path = room.fresh("api")?;
        let child = Command::new(program)
            .arg("--api-socket")
            .arg(&path)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn();
        let child = child.map_err(|source| Error::NoProgram {
            program: program.to_owned(),
            source,
        })?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Guest("it has no number".into()))?;
        let mut process = Self {
            pid,
            handle: handle(pid)?,
            child: Some(child),
        };
        let api = room.api();
        while let Err(why) = api.ask("vmm.ping", &Value::Null, late) {
            if let Some(ended) = process.ended() {
                return Err(Error::Guest(format!(
                    "it ended at its start: {}",
                    ended.reason
                )));
            }
            if Instant::now() >= late {
                return Err(why);
            }
            // Nothing tells of a socket that comes into being.
            std::thread::sleep(PAUSE);
        }
        Ok(process)
    }

    /// One that runs already: a luo-ch that was killed has left it.
    #[must_use]
    pub fn found(room: &Room) -> Option<Self> {
        let pid = room.api().process().ok()?;
        let handle = handle(pid).ok()?;
        Some(Self {
            pid,
            handle,
            child: None,
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        if !self.is_over(Duration::ZERO) {
            return None;
        }
        let status = self.child.as_mut().and_then(|child| child.wait().ok());
        let Some(status) = status else {
            // Another program's child: that is told how it ended.
            return Some(Ended {
                code: DONE,
                reason: "cloud-hypervisor has ended".into(),
            });
        };
        Some(match status.success() {
            true => Ended {
                code: DONE,
                reason: "the guest was shut down".into(),
            },
            false => Ended {
                code: GUEST,
                reason: format!("cloud-hypervisor ended with {status}"),
            },
        })
    }

    /// Ends it.
    pub fn end(&mut self) {
        for (signal, within) in [(Signal::TERM, END), (Signal::KILL, END)] {
            let told = pidfd_send_signal(&self.handle, signal);
            if told.is_err() || self.is_over(within) {
                break;
            }
        }
        if let Some(child) = &mut self.child {
            // It has ended, or nothing ends it.
            let _ = child.try_wait();
        }
    }

    /// Whether it has ended, or does within a time.
    fn is_over(&self, within: Duration) -> bool {
        // It is seconds.
        let time = Timespec::try_from(within).ok();
        let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut fds, time.as_ref()).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

fn handle(pid: Pid) -> Result<OwnedFd, Error> {
    let handle = pidfd_open(pid, PidfdFlags::empty());
    handle.map_err(|why| Error::system("cloud-hypervisor's process")(why.into()))
}
