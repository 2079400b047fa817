// SPDX-License-Identifier: MIT OR Apache-2.0
//! A simulated machine without programs, for fuzzing: a test plays the program.
//!
//! Its calls take the way of a supervised program's from where they are known to be
//! ours: argument, engine, handler, answer. What is missing is seccomp.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use luo_abi::errno::Errno;
use luo_core::{Compat, ops};
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventFlags};

use crate::boot::Parts;
use crate::call::{Call, Done};
use crate::client::Client;
use crate::error::Error;
use crate::fault::{Asked, Fault, Faults};
use crate::machine::Machine;
use crate::memory::Handed;
use crate::policy::Policy;
use crate::stop::Stop;
use crate::table::Table;
use crate::trace::{Journal, Sinks};

/// Address at which the program's memory begins; below it and behind its end there
/// is none.
pub const BASE: u64 = 0x1_0000;

/// Descriptors that the program can have.
const MOST_DESCRIPTORS: usize = 64;

/// The program: memory and descriptors.
#[derive(Default)]
struct Program {
    memory: RefCell<Vec<u8>>,
    descriptors: RefCell<BTreeMap<RawFd, OwnedFd>>,
}

impl Program {
    /// Where in its memory a range of addresses is.
    fn range(&self, address: u64, length: usize) -> Result<core::ops::Range<usize>, Errno> {
        let start = address.checked_sub(BASE).ok_or(Errno::EFAULT)?;
        let start = usize::try_from(start).map_err(|_| Errno::EFAULT)?;
        let end = start.checked_add(length).ok_or(Errno::EFAULT)?;
        if end > self.memory.borrow().len() {
            return Err(Errno::EFAULT);
        }
        Ok(start..end)
    }

    fn add(&self, file: OwnedFd) -> Result<RawFd, Errno> {
        let mut descriptors = self.descriptors.borrow_mut();
        if descriptors.len() == MOST_DESCRIPTORS {
            return Err(Errno::EMFILE);
        }
        let free = (0..).find(|fd| !descriptors.contains_key(fd));
        let fd = free.ok_or(Errno::EMFILE)?;
        descriptors.insert(fd, file);
        Ok(fd)
    }
}

impl Client for Program {
    /// The administrator: what is measured are the calls, not refusals.
    fn identity(&self) -> luo_calls::Identity {
        luo_calls::Identity {
            uid: 0,
            privileged: true,
        }
    }

    fn descriptor(&self, fd: RawFd) -> Result<OwnedFd, Errno> {
        let descriptors = self.descriptors.borrow();
        let file = descriptors.get(&fd).ok_or(Errno::EBADF)?;
        file.try_clone().map_err(|_| Errno::EMFILE)
    }

    fn read(&self, address: u64, to: &mut [u8]) -> Result<(), Errno> {
        let range = self.range(address, to.len())?;
        to.copy_from_slice(&self.memory.borrow()[range]);
        Ok(())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), Errno> {
        if from.is_empty() {
            return Ok(());
        }
        let range = self.range(address, from.len())?;
        self.memory.borrow_mut()[range].copy_from_slice(from);
        Ok(())
    }

    fn install(&self, fd: BorrowedFd<'_>, _close_on_exec: bool) -> Result<RawFd, Errno> {
        let copy = fd.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
        self.add(copy)
    }
}

/// What the engine of a bench has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Outgoing sessions.
    pub outgoing: usize,
    /// Incoming sessions that are not finished.
    pub incoming: usize,
    /// Files of both.
    pub files: usize,
}

/// A machine and the one program on it.
pub struct Bench {
    /// `None` for the moment of the jump only.
    machine: Option<Machine>,
    faults: Vec<Fault>,
    boot: usize,
    epoll: Arc<OwnedFd>,
    table: Table,
    program: Program,
}

impl Bench {
    /// A machine after a cold boot, with one subsystem. Any number of openers may
    /// have the device.
    ///
    /// # Errors
    /// Too many open files; a fault at boot.
    pub fn new(faults: Vec<Fault>) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
        let epoll = Arc::new(epoll.map_err(Error::system("epoll"))?);
        Ok(Self {
            machine: Some(boot(&faults, 0, None)?),
            faults,
            boot: 0,
            table: Table::new(Arc::clone(&epoll)),
            epoll,
            program: Program::default(),
        })
    }

    fn machine(&self) -> Result<&Machine, Errno> {
        self.machine.as_ref().ok_or(Errno::ENODEV)
    }

    /// Opens the device.
    ///
    /// # Errors
    /// As the open of `/dev/liveupdate`.
    pub fn open(&self) -> Result<RawFd, Errno> {
        self.table.give_device(self.machine()?, &self.program, true)
    }

    /// Gives the program a file.
    ///
    /// # Errors
    /// EMFILE: it has too many.
    pub fn give(&self, file: OwnedFd) -> Result<RawFd, Errno> {
        self.program.add(file)
    }

    /// Closes a descriptor of the program; false if there is none.
    pub fn close(&self, fd: RawFd) -> bool {
        let file = self.program.descriptors.borrow_mut().remove(&fd);
        let was_there = file.is_some();
        drop(file);
        self.see_closes();
        was_there
    }

    /// What the supervisor does before each call.
    fn see_closes(&self) {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events: Vec<Event> = Vec::with_capacity(MOST_DESCRIPTORS);
        let room = rustix::buffer::spare_capacity(&mut events);
        let waited = epoll::wait(&self.epoll, room, Some(&now));
        if let (Ok(_), Some(machine)) = (waited, &self.machine) {
            for event in events {
                let flags = event.flags;
                let closed = flags.intersects(EventFlags::HUP | EventFlags::ERR);
                let object = self.table.happened(machine, event.data.u64(), closed);
                if let Some(object) = object {
                    object.release(machine);
                }
            }
        }
    }

    /// Replaces the program's memory, which begins at [`BASE`].
    pub fn set_memory(&self, memory: Vec<u8>) {
        self.program.memory.replace(memory);
    }

    /// A copy of the program's memory.
    #[must_use]
    pub fn memory(&self) -> Vec<u8> {
        self.program.memory.borrow().clone()
    }

    /// The descriptors that the program has.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.program.descriptors.borrow().keys().copied().collect()
    }

    /// An ioctl; `None` if the descriptor is none of the simulator's.
    pub fn ioctl(&self, fd: RawFd, command: u32, argument: u64) -> Option<Result<(), Errno>> {
        let machine = self.machine.as_ref()?;
        let file = self.program.descriptor(fd).ok()?;
        let object = self.table.find(&file)?;
        let call = Call {
            machine,
            table: &self.table,
            client: &self.program,
            object: &object,
            file: &file,
        };
        match call.run(command, argument) {
            Ok(Done::Value(_)) => Some(Ok(())),
            Ok(Done::Foreign | Done::Gone) => None,
            Err(errno) => Some(Err(errno)),
        }
    }

    /// What the engine has.
    ///
    /// # Errors
    /// ENODEV: the machine did not come up again.
    pub fn held(&self) -> Result<Held, Errno> {
        let info = self
            .machine()?
            .look(|engine| engine.info(luo_core::Actor::Administrator, "", 0));
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(Held {
            outgoing: count(info.outgoing),
            incoming: count(info.incoming),
            files: count(info.files),
        })
    }

    /// A reboot by kexec: the program is gone with all it had, and the next kernel
    /// is up.
    ///
    /// # Errors
    /// The veto; the program goes on.
    pub fn reboot(&mut self) -> Result<(), Errno> {
        let machine = self.machine()?;
        ops::reboot(machine, machine.policy.of_reboot(), ops::Image::Handover)
            .map_err(|why| why.errno())?;
        self.program = Program::default();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|_| Errno::EMFILE)?;
        self.epoll = Arc::new(epoll);
        self.table = Table::new(Arc::clone(&self.epoll));
        self.boot += 1;
        let handed = self.machine.take().and_then(Machine::jump);
        let next = boot(&self.faults, self.boot, handed).map_err(|_| Errno::ENODEV)?;
        self.machine = Some(next);
        Ok(())
    }
}

fn boot(faults: &[Fault], boot: usize, handed: Option<Handed>) -> Result<Machine, Error> {
    let name = Compat::try_from("subsystem");
    let name = name.map_err(|why| Error::Engine(why.to_string()))?;
    Machine::boot(Parts {
        seed: (1, 2),
        handed,
        policy: Policy::of("liveupdate_openers=many"),
        faults: Faults::new(&Asked::new(faults), boot),
        journal: Arc::new(Journal::new(Sinks::default())),
        stop: Arc::new(Stop::new().map_err(Error::system("eventfd"))?),
        subsystems: vec![name],
        test_driver: false,
        mainlines_memfds: false,
    })
}
