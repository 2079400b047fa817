// SPDX-License-Identifier: MIT OR Apache-2.0
//! The argument of one ioctl: composed as the call has it, then damaged.

use arbitrary::{Result, Unstructured};
use core::ops::Range;
use luo_abi::contract::{
    ADD_DEPENDENCY, DROP_DEPENDENCY, Dependency, DependencyInfo, Failure, FileInfo, GET_FAILURE,
    GET_INFO, Info, LIST_DEPENDENCIES, LIST_FILES, LIST_PARTICIPANTS, LIST_SESSIONS, List,
    ParticipantInfo, SessionInfo, UNPRESERVE_FD, UnpreserveFd,
};
use luo_abi::errno::Errno;
use luo_abi::rfc::{
    EVENT_CANCEL, EVENT_FINISH, EVENT_FREEZE, EVENT_PREPARE, FD_PRESERVE, FD_RESTORE,
    FD_UNPRESERVE, GET_STATE, LiveupdateFd,
};
use luo_abi::uapi::{
    CREATE_SESSION, CreateSession, Finish, GetName, PreserveFd, RETRIEVE_SESSION, RetrieveFd,
    RetrieveSession, SESSION_FINISH, SESSION_GET_NAME, SESSION_PRESERVE_FD, SESSION_RETRIEVE_FD,
};
use luo_core::ops::MAX_PAGE;
use luo_sim::bench::BASE;
use std::os::fd::RawFd;
use zerocopy::IntoBytes;

/// Bytes of the program's memory.
pub(super) const MEMORY: usize = 16 << 10;
/// Where in it the argument is, mostly: below is room for one that is too long.
const ARGUMENT: usize = 64;
/// Where entries of a list go, mostly.
const ENTRIES: usize = 5 << 10;
/// What is in memory that nobody has written.
const UNTOUCHED: u8 = 0xa5;

/// How an argument begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With its size.
    Sized,
    /// It has always the same size.
    Fixed,
}

/// All calls that there are: command, form, and bytes of the structure as the host
/// knows it.
const COMMANDS: [(u32, Form, usize); 23] = {
    use Form::{Fixed, Sized};
    [
        (CREATE_SESSION, Sized, size_of::<CreateSession>()),
        (RETRIEVE_SESSION, Sized, size_of::<RetrieveSession>()),
        (SESSION_PRESERVE_FD, Sized, size_of::<PreserveFd>()),
        (SESSION_RETRIEVE_FD, Sized, size_of::<RetrieveFd>()),
        (SESSION_FINISH, Sized, size_of::<Finish>()),
        (SESSION_GET_NAME, Sized, size_of::<GetName>()),
        (UNPRESERVE_FD, Sized, size_of::<UnpreserveFd>()),
        (ADD_DEPENDENCY, Sized, size_of::<Dependency>()),
        (DROP_DEPENDENCY, Sized, size_of::<Dependency>()),
        (LIST_FILES, Sized, size_of::<List>()),
        (LIST_DEPENDENCIES, Sized, size_of::<List>()),
        (LIST_SESSIONS, Sized, size_of::<List>()),
        (LIST_PARTICIPANTS, Sized, size_of::<List>()),
        (GET_INFO, Sized, size_of::<Info>()),
        (GET_FAILURE, Sized, size_of::<Failure>()),
        (FD_PRESERVE, Fixed, size_of::<LiveupdateFd>()),
        (FD_UNPRESERVE, Fixed, size_of::<u64>()),
        (FD_RESTORE, Fixed, size_of::<LiveupdateFd>()),
        (GET_STATE, Fixed, size_of::<u32>()),
        (EVENT_PREPARE, Fixed, 0),
        (EVENT_FREEZE, Fixed, 0),
        (EVENT_CANCEL, Fixed, 0),
        (EVENT_FINISH, Fixed, 0),
    ]
};

/// Bytes of an entry of a list.
const fn entry(command: u32) -> Option<usize> {
    match command {
        LIST_FILES => Some(size_of::<FileInfo>()),
        LIST_DEPENDENCIES => Some(size_of::<DependencyInfo>()),
        LIST_SESSIONS => Some(size_of::<SessionInfo>()),
        LIST_PARTICIPANTS => Some(size_of::<ParticipantInfo>()),
        _ => None,
    }
}

pub(super) struct Argument {
    pub(super) command: u32,
    pub(super) address: u64,
    /// Its bytes as the program has put them, which lie at `at`.
    bytes: Vec<u8>,
    at: usize,
}

impl Argument {
    /// Composes one; `fd` is the descriptor it names.
    pub(super) fn read(bytes: &mut Unstructured<'_>, fd: RawFd) -> Result<Self> {
        let which = usize::from(bytes.arbitrary::<u8>()?) % (COMMANDS.len() + 1);
        let Some(&(command, form, length)) = COMMANDS.get(which) else {
            return Self::unknown(bytes);
        };
        let mut argument = compose(command, fd, bytes)?;
        argument.resize(length, 0);
        // A program that is older, or newer, or lies.
        let how = bytes.arbitrary::<u8>()?;
        let size = match how % 16 {
            0 => bytes.arbitrary::<u32>()?,
            1 => u32::from(bytes.arbitrary::<u16>()?),
            2 => length as u32 + u32::from(bytes.arbitrary::<u8>()?),
            _ => length as u32,
        };
        if form == Form::Sized {
            argument.resize(length.max(size.min(4200) as usize), 0);
            argument[..4].copy_from_slice(&size.to_ne_bytes());
        }
        for _ in 0..how / 64 {
            let at = usize::from(bytes.arbitrary::<u16>()?) % argument.len().max(1);
            if let Some(byte) = argument.get_mut(at) {
                *byte = bytes.arbitrary()?;
            }
        }
        Self::place(command, argument, bytes)
    }

    /// A call that no host has, or that one with another size; with any argument.
    fn unknown(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let command = bytes.arbitrary()?;
        let length = usize::from(bytes.arbitrary::<u8>()?).min(bytes.len());
        let argument = bytes.bytes(length)?.to_vec();
        Self::place(command, argument, bytes)
    }

    fn place(command: u32, argument: Vec<u8>, bytes: &mut Unstructured<'_>) -> Result<Self> {
        let at = match bytes.arbitrary::<u8>()? {
            // The end of memory is within it, or right behind it.
            0..8 => MEMORY - argument.len().min(usize::from(bytes.arbitrary::<u8>()?)),
            8..12 => usize::from(bytes.arbitrary::<u16>()?) % MEMORY,
            _ => ARGUMENT,
        };
        let address = match bytes.arbitrary::<u8>()? {
            0 => bytes.arbitrary()?,
            _ => BASE + at as u64,
        };
        Ok(Self {
            command,
            address,
            bytes: argument,
            at,
        })
    }

    /// The memory of a program that is about to call.
    pub(super) fn memory(&self) -> Vec<u8> {
        let mut memory = vec![UNTOUCHED; MEMORY];
        let end = (self.at + self.bytes.len()).min(MEMORY);
        memory[self.at..end].copy_from_slice(&self.bytes[..end - self.at]);
        memory
    }

    fn known(&self) -> Option<(Form, usize)> {
        let found = COMMANDS.iter().find(|(known, ..)| *known == self.command);
        found.map(|&(_, form, length)| (form, length))
    }

    /// The word at an offset of the argument as the host sees it.
    fn word<const N: usize>(&self, memory: &[u8], offset: usize) -> Option<[u8; N]> {
        let start = usize::try_from(self.address.checked_sub(BASE)?).ok()?;
        let start = start.checked_add(offset)?;
        memory.get(start..start.checked_add(N)?)?.try_into().ok()
    }

    /// Where the host may write.
    fn answer(&self, before: &[u8]) -> [Range<u64>; 2] {
        let Some((form, length)) = self.known() else {
            return [0..0, 0..0];
        };
        let size = match form {
            Form::Fixed => length,
            Form::Sized => {
                let size = self.word(before, 0).map_or(0, u32::from_ne_bytes);
                length.min(size as usize)
            }
        };
        let own = self.address..self.address.saturating_add(size as u64);
        let entries = entry(self.command).and_then(|_| {
            let to = u64::from_ne_bytes(self.word(before, 16)?);
            let size = u64::from(u32::from_ne_bytes(self.word(before, 24)?));
            let room = u32::from_ne_bytes(self.word(before, 28)?);
            let room = u64::from(room).min(MAX_PAGE as u64);
            Some(to..to.saturating_add(size.saturating_mul(room)))
        });
        [own, entries.unwrap_or(0..0)]
    }

    /// Checks what the host wrote, and what it said of calls that it cannot know.
    pub(super) fn check(&self, after: &[u8], said: Option<std::result::Result<(), Errno>>) {
        let before = self.memory();
        let allowed = self.answer(&before);
        for (at, (was, is)) in before.iter().zip(after).enumerate() {
            let address = BASE + at as u64;
            assert!(
                was == is || allowed.iter().any(|range| range.contains(&address)),
                "{:#x} wrote to {address:#x}",
                self.command
            );
        }
        let Some(said) = said else {
            assert_eq!(before, after, "a call that is nobody's wrote");
            return;
        };
        assert_ne!(said, Err(Errno::EIO), "{:#x}", self.command);
        if self.known().is_none() {
            assert_eq!(said, Err(Errno::ENOTTY), "{:#x}", self.command);
        }
    }

    /// The descriptor that a call gives when it succeeds.
    pub(super) fn descriptor_of(&self, after: &[u8]) -> Option<RawFd> {
        let offset = match self.command {
            CREATE_SESSION | RETRIEVE_SESSION | SESSION_RETRIEVE_FD => 4,
            FD_RESTORE => 0,
            _ => return None,
        };
        self.word(after, offset).map(RawFd::from_ne_bytes)
    }

    pub(super) fn retrieves(&self) -> bool {
        matches!(self.command, SESSION_RETRIEVE_FD | FD_RESTORE)
    }
}

/// A name out of a few, or any.
fn name(bytes: &mut Unstructured<'_>) -> Result<[u8; 64]> {
    let mut name = [0; 64];
    match bytes.arbitrary::<u8>()? {
        0 => bytes.fill_buffer(&mut name)?,
        1 => name.fill(b'x'),
        which => name[0] = b'a' + which % 4,
    }
    Ok(name)
}

/// A token out of a few, of a program's choice or as the engine gives them for files
/// of the device; or any.
fn token(bytes: &mut Unstructured<'_>) -> Result<u64> {
    let which = bytes.arbitrary::<u8>()?;
    Ok(match which {
        0..96 => u64::from(which % 4),
        96..240 => u64::from(which / 4 % 4) << 32 | u64::from(which % 4 + 1),
        _ => bytes.arbitrary()?,
    })
}

/// The structure of a call, its size left out.
fn compose(command: u32, fd: RawFd, bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let size = 0;
    let mut out = Vec::new();
    match command {
        CREATE_SESSION | RETRIEVE_SESSION => {
            let name = name(bytes)?;
            out.extend_from_slice(CreateSession { size, fd, name }.as_bytes());
        }
        SESSION_PRESERVE_FD | SESSION_RETRIEVE_FD => {
            let token = token(bytes)?;
            out.extend_from_slice(PreserveFd { size, fd, token }.as_bytes());
        }
        UNPRESERVE_FD => {
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&token(bytes)?.to_ne_bytes());
        }
        ADD_DEPENDENCY | DROP_DEPENDENCY => {
            let flags = u32::from(bytes.arbitrary::<u8>()? % 3);
            let on_session = match bytes.arbitrary::<u8>()? % 2 {
                0 => [0; 64],
                _ => name(bytes)?,
            };
            let dependency = Dependency {
                size,
                flags,
                token: token(bytes)?,
                on_token: token(bytes)?,
                on_session,
            };
            out.extend_from_slice(dependency.as_bytes());
        }
        FD_PRESERVE | FD_RESTORE => {
            let flags = u32::from(bytes.arbitrary::<u8>()? == 0);
            let token = token(bytes)?;
            out.extend_from_slice(LiveupdateFd { fd, flags, token }.as_bytes());
        }
        FD_UNPRESERVE => out.extend_from_slice(&token(bytes)?.to_ne_bytes()),
        _ => {
            if let Some(entry) = entry(command) {
                out.extend_from_slice(list(entry, bytes)?.as_bytes());
            }
        }
    }
    Ok(out)
}

fn list(entry: usize, bytes: &mut Unstructured<'_>) -> Result<List> {
    let how = bytes.arbitrary::<u8>()?;
    Ok(List {
        size: 0,
        flags: u32::from(how % 4),
        cursor: match how / 4 % 8 {
            0 => bytes.arbitrary()?,
            // The id of an entry, perhaps.
            1 => u64::from(bytes.arbitrary::<u8>()? % 8) << 32 | u64::from(how % 4 + 1),
            _ => 0,
        },
        entries: match how / 32 {
            0 => bytes.arbitrary()?,
            1 => BASE + u64::from(bytes.arbitrary::<u16>()?),
            _ => BASE + ENTRIES as u64,
        },
        entry_size: match bytes.arbitrary::<u8>()? {
            0 => bytes.arbitrary()?,
            more @ 1..16 => entry as u32 + u32::from(more),
            _ => entry as u32,
        },
        capacity: match bytes.arbitrary::<u8>()? {
            0 => bytes.arbitrary()?,
            room => u32::from(room % 16),
        },
        count: 0,
        reserved: 0,
        total: 0,
        token: token(bytes)?,
    })
}
