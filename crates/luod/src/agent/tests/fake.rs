// SPDX-License-Identifier: MIT OR Apache-2.0
//! A made-up kernel: its sessions are sockets, whose other end sees when the last copy is
//! closed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use luo_preflight::guest_clock::Clock;
use luo_sys::{
    Direction, Errno, ParticipantEntry, ParticipantKind, Session, SessionEntry, SessionName,
    SessionState, State as KernelState,
};
use luo_varlink::{Orchestrator, Target};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use crate::decide::config::Jump;
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::kernel::{Kernel, Opener, Probe, Told};
use crate::manager::shutdown::Shutdown;

/// The facts of a made-up kernel.
pub(crate) fn probe() -> Probe {
    Probe {
        orchestrator: Orchestrator::Contract,
        state: None,
        handover_abi: None,
        supplement_abi: None,
    }
}

/// The state of the made-up kernel.
#[derive(Default)]
struct Ledger {
    /// Handed over, and not retrieved.
    incoming: BTreeSet<String>,
    /// Open sessions, each with the end that sees whether a copy is left.
    open: BTreeMap<String, UnixStream>,
    finished: BTreeSet<String>,
    prepared: bool,
    /// The state that another program has brought it into.
    foreign: Option<KernelState>,
    /// Whether it is mainline's, which lists nothing.
    mainline: bool,
    /// Whether it lists what it has been handed over, too.
    lists_incoming: bool,
    /// What was made here, and not taken back from the previous one.
    made: BTreeSet<String>,
    /// Sessions that it lists as closed.
    closed: Vec<&'static str>,
    loaded: bool,
    record: Vec<u8>,
    tail: Vec<u8>,
    /// The record that was handed over.
    handed_over: Option<Vec<u8>>,
    /// The service manager's answer. While it shuts down, it takes a jump upon itself.
    shutdown: Shutdown,
    /// How often it was asked how its shutdown stands.
    asked: u64,
    /// Where an administrator writes when the kernel is about to jump.
    late: Option<UnixStream>,
    /// How often it was told to jump.
    jumps: u64,
    /// How often somebody looked how it stands, or which sessions there are.
    looks: Cell<u64>,
    /// How often sessions were listed by who waits for another opener.
    waits: Cell<u64>,
    /// The disks take nothing before this ends.
    disk: Option<Receiver<()>>,
    /// A file that is read when it is told to, and what stood there.
    at_the_jump: Option<PathBuf>,
    read: Option<String>,
    /// The calls that are to hang next, until these end.
    hangs: BTreeMap<&'static str, Receiver<()>>,
    /// The calls that are to be refused next, and how often.
    refuse: BTreeMap<&'static str, u64>,
    /// Whether memfds are handed over in runs.
    runs: Option<bool>,
}

/// A handle of a made-up kernel, and what a process has of it for itself: the record's session.
#[derive(Default)]
pub(crate) struct Fake(Arc<Mutex<Ledger>>, Option<Session>);

impl Clone for Fake {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), None)
    }
}

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

    /// How memfds are handed over, if the agent has said so.
    pub(crate) fn runs(&self) -> Option<bool> {
        self.lock().runs
    }

    /// Has the next call of that name hang until what this gives is dropped.
    pub(crate) fn hangs_in(&self, call: &'static str) -> Sender<()> {
        let (gate, closed) = channel();
        self.lock().hangs.insert(call, closed);
        gate
    }

    /// Whether it has come to the call that was to hang.
    pub(crate) fn is_in(&self, call: &'static str) -> bool {
        !self.lock().hangs.contains_key(call)
    }

    fn hang(&self, call: &'static str) {
        let hangs = self.lock().hangs.remove(call);
        let _ = hangs.map(|hangs| hangs.recv());
    }

    /// Refuses the next call of that name.
    pub(crate) fn refuse(&self, call: &'static str) {
        self.refuse_times(call, 1);
    }

    /// Refuses the next calls of that name.
    pub(crate) fn refuse_times(&self, call: &'static str, times: u64) {
        self.lock().refuse.insert(call, times);
    }

    fn refused(&self, call: &'static str) -> Result<(), Failed> {
        match self.lock().refuse.get_mut(call) {
            Some(times @ 1..) => {
                *times -= 1;
                Err(Failed::new(call, Errno::ENOMEM))
            }
            _ => Ok(()),
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

    /// Whether a kernel is loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        self.lock().loaded
    }

    /// What it tells everybody.
    pub(crate) fn told(&self) -> Told {
        let ledger = self.lock();
        let state = match ledger.prepared {
            true => KernelState::Prepared,
            false => KernelState::Normal,
        };
        Told {
            state: Some(state),
            is_loaded: Some(ledger.loaded),
        }
    }

    /// The records, as they were written.
    pub(crate) fn record(&self) -> Vec<u8> {
        self.lock().record.clone()
    }

    /// The bytes that were added to the record before the jump.
    pub(crate) fn tail(&self) -> Vec<u8> {
        self.lock().tail.clone()
    }

    /// Is brought into a state by somebody else, with sessions that are closed by now.
    pub(crate) fn is_brought_into(&self, state: KernelState, closed: &[&'static str]) {
        let mut ledger = self.lock();
        ledger.foreign = Some(state);
        ledger.closed = closed.to_vec();
    }

    /// The state that somebody else has brought it into.
    pub(crate) fn foreign(&self) -> Option<KernelState> {
        self.lock().foreign
    }

    /// One with mainline's orchestrator.
    pub(crate) fn mainline() -> Self {
        let fake = Self::default();
        fake.lock().mainline = true;
        fake
    }

    /// Lists from here on what was handed over, and nobody has retrieved; and what was made.
    pub(crate) fn lists_incoming(&self) {
        self.lock().lists_incoming = true;
    }

    /// Hands a record over.
    pub(crate) fn hands_over(&self, record: Vec<u8>) {
        self.lock().handed_over = Some(record);
    }

    /// Says how the service manager's shutdown stands.
    pub(crate) fn shuts_down(&self, how: Shutdown) {
        self.lock().shutdown = how;
    }

    /// Has an administrator write something when all is written for the jump.
    pub(crate) fn writes_late(&self, line: UnixStream) {
        self.lock().late = Some(line);
    }

    /// Whether a record that was handed over is not finished.
    pub(crate) fn has_record(&self) -> bool {
        self.lock().handed_over.is_some()
    }

    /// How often it was told to jump.
    pub(crate) fn jumps(&self) -> u64 {
        self.lock().jumps
    }

    /// How often somebody has looked.
    pub(crate) fn looks(&self) -> u64 {
        self.lock().looks.get()
    }

    /// How often another opener would have been waited for.
    pub(crate) fn waits(&self) -> u64 {
        self.lock().waits.get()
    }

    /// Has the disks hang until what this gives is dropped.
    pub(crate) fn disks_hang(&self) -> Sender<()> {
        let (gate, closed) = channel();
        self.lock().disk = Some(closed);
        gate
    }

    /// Reads a file when it is told to jump.
    pub(crate) fn reads_at_the_jump(&self, path: PathBuf) {
        self.lock().at_the_jump = Some(path);
    }

    /// What stood there.
    pub(crate) fn read_at_the_jump(&self) -> Option<String> {
        self.lock().read.clone()
    }

    /// How often it was asked how the shutdown stands.
    pub(crate) fn asked(&self) -> u64 {
        self.lock().asked
    }
}

impl Kernel for Fake {
    fn probe(&self) -> Result<Probe, Failed> {
        let ledger = self.lock();
        ledger.looks.set(ledger.looks.get() + 1);
        let orchestrator = match ledger.mainline {
            true => Orchestrator::Mainline,
            false => Orchestrator::Contract,
        };
        Ok(Probe {
            orchestrator,
            state: ledger.foreign,
            ..probe()
        })
    }

    fn is_free(&self) -> Result<(), Failed> {
        self.refused("open /dev/liveupdate")
    }

    fn hand_over_in_runs(&mut self, runs: bool) -> Result<(), Failed> {
        self.refused("memfd")?;
        self.lock().runs = Some(runs);
        Ok(())
    }

    fn participants(&self) -> Result<Option<Vec<ParticipantEntry>>, Failed> {
        self.refused("LIST_PARTICIPANTS")?;
        Ok(Some(vec![ParticipantEntry {
            name: "memfd-v2".to_owned(),
            kind: ParticipantKind::FileHandler,
            files: 0,
        }]))
    }

    fn create(&self, name: &str) -> Result<Session, Failed> {
        self.refused("CREATE_SESSION")?;
        if self.held().contains(name) {
            return Err(Failed::new("CREATE_SESSION", Errno::EEXIST));
        }
        self.lock().made.insert(name.to_owned());
        Ok(self.open(name))
    }

    fn retrieve(&self, name: &str) -> Result<Session, Failed> {
        self.refused("RETRIEVE_SESSION")?;
        if !self.lock().incoming.remove(name) {
            let taken = self.held().contains(name);
            let errno = if taken { Errno::EINVAL } else { Errno::ENOENT };
            return Err(Failed::new("RETRIEVE_SESSION", errno));
        }
        Ok(self.open(name))
    }

    fn finish(&self, session: &Session) -> Result<(), Failed> {
        self.refused("FINISH")?;
        // The session's name waits in its socket to be read.
        let mut name = [0; 64];
        let read = rustix::net::recv(session, &mut name[..], RecvFlags::PEEK)
            .unwrap()
            .0;
        let name = String::from_utf8(name[..read].to_vec()).unwrap();
        let mut ledger = self.lock();
        ledger.finished.insert(name);
        Ok(())
    }

    fn sessions(&self, opener: Opener) -> Result<Option<Vec<SessionEntry>>, Failed> {
        let held = self.held();
        let ledger = self.lock();
        match opener {
            Opener::Moment => ledger.looks.set(ledger.looks.get() + 1),
            Opener::Waited => ledger.waits.set(ledger.waits.get() + 1),
        }
        let entry = |name: &str, direction, state| SessionEntry {
            name: SessionName::new(name).ok(),
            files: 1,
            bytes: 0,
            direction,
            state,
            of_device: false,
            frozen: false,
        };
        let closed = ledger.closed.iter();
        let closed = closed.map(|name| entry(name, Direction::Outgoing, SessionState::Closed));
        let incoming = ledger.incoming.iter().filter(|_| ledger.lists_incoming);
        let incoming =
            incoming.map(|name| entry(name, Direction::Incoming, SessionState::Unclaimed));
        let made = ledger.made.iter().filter(|_| ledger.lists_incoming);
        let made = made.filter(|name| held.contains(*name));
        let made = made.map(|name| entry(name, Direction::Outgoing, SessionState::Open));
        let taken = ledger.open.keys().filter(|_| ledger.lists_incoming);
        let taken = taken.filter(|name| !ledger.made.contains(*name));
        let taken = taken.filter(|name| !ledger.finished.contains(*name));
        let taken = taken.map(|name| entry(name, Direction::Incoming, SessionState::Open));
        let all: Vec<_> = closed.chain(incoming).chain(made).chain(taken).collect();
        Ok((ledger.lists_incoming || !all.is_empty()).then_some(all))
    }

    fn try_load(&mut self, _target: &Target, _clock: Clock) -> Result<(), Failed> {
        self.refused("kexec_file_load")
    }

    fn load(&mut self, _target: &Target, _clock: Clock) -> Result<(), Failed> {
        self.refused("kexec_file_load")?;
        self.lock().loaded = true;
        Ok(())
    }

    fn prepare(&mut self, record: &[u8], _room: usize) -> Result<(), Failed> {
        self.lock().record = record.to_vec();
        self.refused("PREPARE")?;
        self.lock().prepared = true;
        Ok(())
    }

    fn freeze(&mut self, record: &[u8]) -> Result<(), Failed> {
        self.lock().record.extend_from_slice(record);
        self.refused("FREEZE")
    }

    fn seal(&self, tail: &dyn Fn(usize) -> Vec<u8>) -> Result<(), Failed> {
        self.lock().tail = tail(usize::MAX);
        Ok(())
    }

    fn undo(&mut self) {
        self.abandon();
    }

    fn abandon(&self) {
        let mut ledger = self.lock();
        (ledger.prepared, ledger.loaded) = (false, false);
        ledger.foreign = None;
        ledger.closed.clear();
    }

    fn shutdown(&self) -> Shutdown {
        let mut ledger = self.lock();
        ledger.asked += 1;
        ledger.shutdown
    }

    fn settle(&mut self) {
        let disk = self.lock().disk.take();
        if let Some(disk) = disk {
            let _ = disk.recv();
        }
        let mut ledger = self.lock();
        let is_sealed = !ledger.tail.is_empty();
        if let Some(mut line) = ledger.late.take_if(|_| is_sealed) {
            line.write_all(b"cancel").unwrap();
        }
    }

    fn jump(&mut self, _how: Jump) -> Result<(), Failed> {
        {
            let mut ledger = self.lock();
            ledger.jumps += 1;
            let path = ledger.at_the_jump.take();
            ledger.read = path.and_then(|path| std::fs::read_to_string(path).ok());
        }
        self.hang("reboot(KEXEC)");
        if self.lock().shutdown == Shutdown::UnderWay {
            return Ok(());
        }
        Err(Failed::new("reboot(KEXEC)", Errno::EINVAL))
    }

    fn cancel(&mut self) -> Result<Option<KernelState>, Failed> {
        self.refused("CANCEL")?;
        let mut ledger = self.lock();
        ledger.closed.clear();
        Ok(ledger.foreign.take())
    }

    fn own_session(&self) -> Option<Session> {
        self.1.as_ref()?.try_clone().ok()
    }

    fn go_on(&mut self, _own: Option<Session>) {}

    fn take_record(
        &mut self,
        kept: Option<Session>,
        received: &mut dyn FnMut(&Session),
    ) -> Result<Option<Vec<u8>>, Failed> {
        self.refused("RETRIEVE_SESSION")?;
        let session = match self.1.take().or(kept) {
            Some(session) => session,
            None if !self.has_record() => return Ok(None),
            // Somebody has it, or it was closed, which finishes it.
            None if self.held().contains(OWN_SESSION) => {
                return Err(Failed::new("RETRIEVE_SESSION", Errno::EINVAL));
            }
            None if self.lock().open.contains_key(OWN_SESSION) => return Ok(None),
            None => self.open(OWN_SESSION),
        };
        received(&session);
        self.1 = Some(session);
        self.hang("RETRIEVE_FD");
        self.refused("RETRIEVE_FD")?;
        Ok(self.lock().handed_over.clone())
    }

    fn finish_record(&mut self) {
        self.hang("FINISH of the record");
        self.1 = None;
        let mut ledger = self.lock();
        ledger.handed_over = None;
        ledger.open.remove(OWN_SESSION);
    }
}
