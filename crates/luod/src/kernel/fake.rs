// SPDX-License-Identifier: MIT OR Apache-2.0
//! A made-up kernel, for tests of the agent: sessions are sockets, whose other end sees
//! when the last copy is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};

use luo_sys::{Errno, Session, SessionEntry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use super::Failed;
use crate::shutdown::Shutdown;

/// What it knows.
#[derive(Default)]
struct Ledger {
    /// Handed over, and not retrieved.
    incoming: BTreeSet<String>,
    /// Held by somebody, or by nobody any more.
    open: BTreeMap<String, UnixStream>,
    finished: BTreeSet<String>,
    prepared: bool,
    tail: Vec<u8>,
    /// What the service manager says; if it shuts down, it takes a jump upon itself.
    shutdown: Shutdown,
    /// How often it was asked for that.
    asked: u64,
    /// What is to be refused next.
    refuse: BTreeSet<&'static str>,
}

/// A handle of it.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Ledger>>);

impl Fake {
    /// One that was handed over sessions.
    pub(crate) fn with_incoming(names: &[&str]) -> Self {
        let fake = Self::default();
        fake.lock()
            .incoming
            .extend(names.iter().map(|&name| name.into()));
        fake
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    /// Refuses the next call of that name.
    pub(crate) fn refuse(&self, call: &'static str) {
        self.lock().refuse.insert(call);
    }

    fn refused(&self, call: &'static str) -> Result<(), Failed> {
        match self.lock().refuse.remove(call) {
            true => Err(Failed::new(call, Errno::ENOMEM)),
            false => Ok(()),
        }
    }

    /// Sessions of which somebody has a copy.
    pub(crate) fn held(&self) -> BTreeSet<String> {
        let ledger = self.lock();
        let held = ledger.open.iter().filter(|(_, end)| {
            let mut fds = [PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).unwrap() == 0
        });
        held.map(|(name, _)| name.clone()).collect()
    }

    /// Sessions that were finished.
    pub(crate) fn finished(&self) -> BTreeSet<String> {
        self.lock().finished.clone()
    }

    /// Sessions that nobody has retrieved.
    pub(crate) fn incoming(&self) -> BTreeSet<String> {
        self.lock().incoming.clone()
    }

    /// Whether it is prepared or frozen.
    pub(crate) fn is_prepared(&self) -> bool {
        self.lock().prepared
    }

    fn open(&self, name: &str) -> Session {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(name.as_bytes()).unwrap();
        self.lock().open.insert(name.to_owned(), ours);
        Session::from_fd(OwnedFd::from(theirs))
    }

    pub(super) fn create(&self, name: &str) -> Result<Session, Failed> {
        self.refused("CREATE_SESSION")?;
        if self.held().contains(name) {
            return Err(Failed::new("CREATE_SESSION", Errno::EEXIST));
        }
        Ok(self.open(name))
    }

    pub(super) fn retrieve(&self, name: &str) -> Result<Session, Failed> {
        self.refused("RETRIEVE_SESSION")?;
        if !self.lock().incoming.remove(name) {
            let taken = self.held().contains(name);
            let errno = if taken { Errno::EINVAL } else { Errno::ENOENT };
            return Err(Failed::new("RETRIEVE_SESSION", errno));
        }
        Ok(self.open(name))
    }

    pub(super) fn finish(&self, session: &Session) -> Result<(), Failed> {
        self.refused("FINISH")?;
        // Its name waits in it to be read.
        let mut name = [0; 64];
        let read = rustix::net::recv(session, &mut name[..], RecvFlags::PEEK)
            .unwrap()
            .0;
        let name = String::from_utf8(name[..read].to_vec()).unwrap();
        let mut ledger = self.lock();
        ledger.finished.insert(name);
        Ok(())
    }

    pub(super) fn sessions(&self) -> Result<Option<Vec<SessionEntry>>, Failed> {
        Ok(None)
    }

    pub(super) fn load(&self) -> Result<(), Failed> {
        self.refused("kexec_file_load")
    }

    pub(super) fn prepare(&self) -> Result<(), Failed> {
        self.refused("PREPARE")?;
        self.lock().prepared = true;
        Ok(())
    }

    pub(super) fn freeze(&self, _record: &[u8]) -> Result<(), Failed> {
        self.refused("FREEZE")
    }

    pub(super) fn seal(&self, tail: Vec<u8>) {
        self.lock().tail = tail;
    }

    /// What was added to the record before the jump.
    pub(crate) fn tail(&self) -> Vec<u8> {
        self.lock().tail.clone()
    }

    pub(super) fn cancel(&self) {
        self.lock().prepared = false;
    }

    /// Says how the service manager's shutdown stands.
    pub(crate) fn shuts_down(&self, how: Shutdown) {
        self.lock().shutdown = how;
    }

    pub(super) fn shutdown(&self) -> Shutdown {
        let mut ledger = self.lock();
        ledger.asked += 1;
        ledger.shutdown
    }

    /// How often it was asked how the shutdown stands.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().asked
    }

    pub(super) fn jump(&self) -> Result<(), Failed> {
        if self.lock().shutdown == Shutdown::UnderWay {
            return Ok(());
        }
        Err(Failed::new("reboot(KEXEC)", Errno::EINVAL))
    }
}
