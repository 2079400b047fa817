// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread whose call is being handled: its memory, its descriptors.
//!
//! What is read counts only if the thread waits still afterwards: until then nobody
//! else can have its number.

use std::cell::{Cell, OnceCell};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use luo_abi::errno::Errno;
use luo_calls::Identity;
use luo_sys::process::{self, Process};
use luo_sys::seccomp::{Listener, Notification};
use rustix::net::UCred;
use rustix::thread::CapabilitySet;

use crate::client::Client;

/// Bytes of the longest path.
const PATH_MAX: usize = 4096;

/// How long a killable wait goes on before it looks whether its caller is there.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

std::thread_local! {
    /// The call that this thread handles.
    static CURRENT: Cell<Option<(Arc<Listener>, u64)>> = const { Cell::new(None) };
    /// The thread that made it.
    static THREAD: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The thread whose call this thread handles, if it handles one.
pub(crate) fn current() -> Option<u32> {
    THREAD.get()
}

/// Whether this thread handles a call of a program without privileges.
pub(crate) fn is_users() -> bool {
    we_have(CapabilitySet::SYS_ADMIN)
        && current().is_some_and(|thread| !has(thread, CapabilitySet::SYS_ADMIN))
}

/// The number of the call that this thread handles, if it handles one.
pub(crate) fn current_call() -> Option<u64> {
    let current = CURRENT.take();
    let id = current.as_ref().map(|&(_, id)| id);
    CURRENT.set(current);
    id
}

/// Whether the caller of the call that this thread handles waits still; true if it
/// handles none.
pub(crate) fn is_waiting() -> bool {
    let Some((listener, id)) = CURRENT.take() else {
        return true;
    };
    let waiting = listener.is_waiting(id);
    CURRENT.set(Some((listener, id)));
    waiting
}

/// A thread that calls.
pub(crate) struct Thread<'a> {
    listener: &'a Arc<Listener>,
    call: Notification,
    process: OnceCell<Process>,
}

/// While it is there, this thread's waits end when the caller dies.
pub(crate) struct Handling(());

impl Drop for Handling {
    fn drop(&mut self) {
        CURRENT.take();
        THREAD.take();
    }
}

impl<'a> Thread<'a> {
    pub(crate) fn new(listener: &'a Arc<Listener>, call: Notification) -> Self {
        Self {
            listener,
            call,
            process: OnceCell::new(),
        }
    }

    pub(crate) fn handle(&self) -> Handling {
        CURRENT.set(Some((Arc::clone(self.listener), self.call.id)));
        THREAD.set(Some(self.call.thread));
        Handling(())
    }

    pub(crate) fn call(&self) -> &Notification {
        &self.call
    }

    pub(crate) fn thread(&self) -> u32 {
        self.call.thread
    }

    pub(crate) fn argument(&self, at: usize) -> u64 {
        self.call.arguments[at]
    }

    /// An argument that is a descriptor.
    pub(crate) fn fd_argument(&self, at: usize) -> RawFd {
        // The kernel looks at the lower half.
        self.call.arguments[at] as u32 as RawFd
    }

    fn is_waiting(&self) -> bool {
        self.listener.is_waiting(self.call.id)
    }

    fn process(&self) -> Result<&Process, luo_sys::Error> {
        if let Some(process) = self.process.get() {
            return Ok(process);
        }
        let thread = self.call.thread;
        let opened = match Process::of_thread(thread) {
            // Before Linux 6.9 only of a whole process; its threads share their
            // descriptors, but for rare exceptions.
            Err(error) if error.errno() == Errno::EINVAL => Process::open(leader(thread)),
            opened => opened,
        };
        let opened = opened?;
        Ok(self.process.get_or_init(|| opened))
    }

    /// A copy of one of its descriptors.
    ///
    /// # Errors
    /// EBADF: there is none. EPERM: something forbids to look.
    pub(crate) fn descriptor(&self, fd: RawFd) -> Result<OwnedFd, luo_sys::Error> {
        self.process()?.descriptor(fd)
    }

    /// A copy of a descriptor of a process.
    ///
    /// # Errors
    /// As [`Thread::descriptor`].
    pub(crate) fn descriptor_of(&self, whose: u32, fd: RawFd) -> Result<OwnedFd, luo_sys::Error> {
        if whose == self.call.thread || whose == self.leader() {
            return self.descriptor(fd);
        }
        Process::open(leader(whose))?.descriptor(fd)
    }

    /// The files that a part of its memory is mapped from, each as
    /// [`crate::memfd::object_of`] numbers it.
    pub(crate) fn mapped(&self, address: u64, length: u64) -> Vec<u64> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.call.thread));
        let maps = maps.unwrap_or_default();
        let end = address.saturating_add(length);
        let object = |line: &str| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let (from, to) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16));
            let (from, to) = (from.ok()?, to.ok()?);
            let (major, minor) = words.nth(2)?.split_once(':')?;
            let major = u32::from_str_radix(major, 16).ok()?;
            let minor = u32::from_str_radix(minor, 16).ok()?;
            let inode = words.next()?.parse().ok().filter(|inode| *inode != 0)?;
            let is_there = from < end && address < to;
            is_there.then(|| crate::memfd::object_of(rustix::fs::makedev(major, minor), inode))
        };
        maps.lines().filter_map(object).collect()
    }

    /// Reads its memory.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn read(&self, address: u64, to: &mut [u8]) -> Result<(), Errno> {
        let read = process::read_memory(self.call.thread, address, to);
        match read {
            Ok(read) if read == to.len() && self.is_waiting() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Writes its memory.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        if from.is_empty() {
            return Ok(());
        }
        if !self.is_waiting() {
            return Err(Errno::EFAULT);
        }
        match process::write_memory(self.call.thread, address, from) {
            Ok(written) if written == from.len() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Reads a path; `None` if it cannot be read or is too long: the kernel knows
    /// what to say of that.
    pub(crate) fn path(&self, address: u64) -> Option<Vec<u8>> {
        let mut path = Vec::new();
        // Paths are short; the second part is read if need be.
        for part in [256, PATH_MAX - 256] {
            let mut bytes = vec![0; part];
            let from = address.checked_add(path.len() as u64)?;
            let read = process::read_memory(self.call.thread, from, &mut bytes).ok()?;
            bytes.truncate(read);
            if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                path.extend_from_slice(&bytes[..end]);
                return self.is_waiting().then_some(path);
            }
            path.append(&mut bytes);
            if read < part {
                return None;
            }
        }
        None
    }

    /// Gives it a descriptor.
    ///
    /// # Errors
    /// EMFILE: it has too many.
    pub(crate) fn install(&self, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<RawFd, Errno> {
        let installed = self.listener.install(self.call.id, fd, close_on_exec);
        installed.map_err(|error| error.errno())
    }

    /// Whether it may administer the simulated machine. If the simulator may the
    /// real one, the caller has to be allowed that, too; else everybody may.
    pub(crate) fn has(&self, capability: CapabilitySet) -> bool {
        !we_have(capability) || has(self.call.thread, capability)
    }

    /// The groups it is in: the effective one first.
    pub(crate) fn groups(&self) -> Vec<u32> {
        let numbers = |text: &str| text.split_whitespace().map(str::parse).collect::<Vec<_>>();
        let thread = self.call.thread;
        let effective = status(thread, "Gid:").and_then(|text| numbers(&text).into_iter().nth(1));
        let others = status(thread, "Groups:").map_or_else(Vec::new, |text| numbers(&text));
        effective.into_iter().chain(others).flatten().collect()
    }

    /// The process it belongs to.
    pub(crate) fn leader(&self) -> u32 {
        leader(self.call.thread)
    }
}

impl Client for Thread<'_> {
    fn identity(&self) -> Identity {
        let thread = self.call.thread;
        let users = status(thread, "Uid:");
        // The real user stands first, the effective one second.
        let effective = users.and_then(|users| users.split_whitespace().nth(1)?.parse().ok());
        Identity {
            // Whoever cannot be looked at is nobody that owns anything.
            uid: effective.unwrap_or(u32::MAX),
            privileged: self.has(CapabilitySet::SYS_ADMIN),
        }
    }

    fn descriptor(&self, fd: RawFd) -> Result<OwnedFd, Errno> {
        Thread::descriptor(self, fd).map_err(|error| error.errno())
    }

    fn read(&self, address: u64, to: &mut [u8]) -> Result<(), Errno> {
        Thread::read(self, address, to)
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        Thread::write(self, address, from)
    }

    fn install(&self, fd: BorrowedFd<'_>, close_on_exec: bool) -> Result<RawFd, Errno> {
        Thread::install(self, fd, close_on_exec)
    }
}

/// Whether the simulator has a capability.
fn we_have(capability: CapabilitySet) -> bool {
    let ours = rustix::thread::capabilities(None);
    ours.is_ok_and(|sets| sets.effective.contains(capability))
}

/// Whether a thread has a capability. One that cannot be looked at has.
fn has(thread: u32, capability: CapabilitySet) -> bool {
    let effective = status(thread, "CapEff:");
    let bits = effective.and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    bits.is_none_or(|bits| bits & capability.bits() == capability.bits())
}

/// Whether who has written something might administer the machine then, as far as can be told
/// afterwards: its user is that of the moment, its capabilities are those of now. A program
/// that is gone, or somebody else by now, may have had them if it was root.
pub(crate) fn might_administer(writer: UCred) -> bool {
    if !we_have(CapabilitySet::SYS_ADMIN) {
        return true;
    }
    let process = writer.pid.as_raw_nonzero().get().unsigned_abs();
    let users = status(process, "Uid:");
    // The real user stands first, as it does in what came with the message.
    let user = users.and_then(|users| users.split_whitespace().next()?.parse::<u32>().ok());
    match user {
        Some(user) if user == writer.uid.as_raw() => has(process, CapabilitySet::SYS_ADMIN),
        _ => writer.uid.is_root(),
    }
}

/// A word of what `/proc` says of a thread.
fn status(thread: u32, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().to_owned())
}

fn leader(thread: u32) -> u32 {
    let leader = status(thread, "Tgid:").and_then(|leader| leader.parse().ok());
    leader.unwrap_or(thread)
}
