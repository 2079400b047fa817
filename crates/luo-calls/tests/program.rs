// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that calls: some memory, some descriptors.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use luo_abi::errno::Errno;
use luo_calls::{on_device, on_session, Caller, Identity, Instance};
use luo_core::{SessionId, SessionName};
use luo_testhost::host::TestFile;
use luo_testhost::TestHost;
use zerocopy::{FromBytes, IntoBytes};

/// Where a program's memory begins.
pub const BASE: u64 = 0x1000;
/// Bytes of it.
pub const LENGTH: usize = 16 << 10;

/// Who may do everything.
pub const ADMINISTRATOR: Identity = Identity {
    uid: 0,
    privileged: true,
};

/// When a host knows the number of a descriptor that it is going to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// When it is set aside, as in the kernel.
    Early,
    /// When something is installed, as in the simulator.
    Late,
}

/// A descriptor.
#[derive(Clone)]
pub enum Thing {
    File(TestFile),
    Session(SessionId),
}

pub struct Program {
    numbers: Numbers,
    memory: RefCell<Vec<u8>>,
    /// Bytes from the beginning of the memory that can be written.
    pub writable: Cell<usize>,
    pub descriptors: RefCell<BTreeMap<i32, Thing>>,
    /// Descriptors it can have.
    pub room: Cell<usize>,
    /// How often it was told the state.
    pub told: Cell<u32>,
    /// Who it is; the administrator at first.
    pub identity: Cell<Identity>,
}

/// A descriptor that is set aside.
pub struct Slot(Option<i32>);

impl Program {
    pub fn new(numbers: Numbers) -> Self {
        Self {
            numbers,
            memory: RefCell::new(vec![0; LENGTH]),
            writable: Cell::new(LENGTH),
            descriptors: RefCell::default(),
            room: Cell::new(8),
            told: Cell::new(0),
            identity: Cell::new(ADMINISTRATOR),
        }
    }

    /// Puts bytes at the beginning of its memory.
    pub fn put(&self, bytes: &[u8]) {
        self.memory.borrow_mut()[..bytes.len()].copy_from_slice(bytes);
    }

    /// The structure at the beginning of its memory.
    pub fn argument<T: FromBytes>(&self) -> T {
        T::read_from_prefix(&self.memory.borrow()).unwrap().0
    }

    /// The bytes of its memory.
    pub fn bytes(&self, at: usize, length: usize) -> Vec<u8> {
        self.memory.borrow()[at..at + length].to_vec()
    }

    /// Has it open a file.
    pub fn open(&self, file: TestFile) -> i32 {
        self.add(Thing::File(file)).unwrap()
    }

    fn free(&self) -> Result<i32, Errno> {
        let descriptors = self.descriptors.borrow();
        if descriptors.len() >= self.room.get() {
            return Err(Errno::EMFILE);
        }
        (0..)
            .find(|fd| !descriptors.contains_key(fd))
            .ok_or(Errno::EMFILE)
    }

    fn add(&self, thing: Thing) -> Result<i32, Errno> {
        let fd = self.free()?;
        self.descriptors.borrow_mut().insert(fd, thing);
        Ok(fd)
    }

    fn range(&self, address: u64, length: usize) -> Result<std::ops::Range<usize>, Errno> {
        let start = address.checked_sub(BASE).ok_or(Errno::EFAULT)?;
        let start = usize::try_from(start).map_err(|_| Errno::EFAULT)?;
        let end = start.checked_add(length).ok_or(Errno::EFAULT)?;
        (end <= LENGTH).then_some(start..end).ok_or(Errno::EFAULT)
    }

    /// Calls on the device, with an argument.
    pub fn device<T: IntoBytes + zerocopy::Immutable>(
        &self,
        host: &TestHost,
        instance: &Instance,
        command: u32,
        argument: &T,
    ) -> Result<(), Errno> {
        self.put(argument.as_bytes());
        on_device(host, self, instance, command, BASE)
    }

    /// Calls on a session, with an argument.
    pub fn session<T: IntoBytes + zerocopy::Immutable>(
        &self,
        host: &TestHost,
        id: SessionId,
        command: u32,
        argument: &T,
    ) -> Result<(), Errno> {
        self.put(argument.as_bytes());
        on_session(host, self, id, command, BASE)
    }
}

impl Caller for Program {
    type File = TestFile;
    type Slot = Slot;

    fn identity(&self) -> Identity {
        self.identity.get()
    }

    fn read(&self, from: u64, to: &mut [u8]) -> Result<(), Errno> {
        let range = self.range(from, to.len())?;
        to.copy_from_slice(&self.memory.borrow()[range]);
        Ok(())
    }

    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        let range = self.range(to, bytes.len())?;
        if range.end > self.writable.get() {
            return Err(Errno::EFAULT);
        }
        self.memory.borrow_mut()[range].copy_from_slice(bytes);
        Ok(())
    }

    fn file(&self, fd: i32) -> Result<TestFile, Errno> {
        match self.descriptors.borrow().get(&fd) {
            Some(Thing::File(file)) => Ok(file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    fn session(&self, fd: i32) -> Result<SessionId, Errno> {
        match self.descriptors.borrow().get(&fd) {
            Some(Thing::Session(id)) => Ok(*id),
            Some(Thing::File(_)) => Err(Errno::EINVAL),
            None => Err(Errno::EBADF),
        }
    }

    fn reserve(&self) -> Result<Slot, Errno> {
        match self.numbers {
            Numbers::Early => self.free().map(|fd| Slot(Some(fd))),
            Numbers::Late => Ok(Slot(None)),
        }
    }

    fn number(slot: &Slot) -> i32 {
        slot.0.unwrap_or(-1)
    }

    fn install_file(&self, _: Slot, file: TestFile) -> Result<i32, Errno> {
        self.add(Thing::File(file))
    }

    fn install_session(&self, _: Slot, _: &SessionName, id: SessionId) -> Result<i32, Errno> {
        self.add(Thing::Session(id))
    }

    fn knows_state(&self) {
        self.told.set(self.told.get() + 1);
    }
}
