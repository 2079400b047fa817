// SPDX-License-Identifier: MIT OR Apache-2.0
//! The argument of one ioctl: composed as the call has it, then damaged.

use arbitrary::{Result, Unstructured};
use core::ops::Range;
use luo_abi::calls::{CALLS, Call, Form, Name, When};
use luo_abi::contract::{Dependency, List, SessionFreeze};
use luo_abi::errno::Errno;
use luo_abi::rfc::LiveupdateFd;
use luo_abi::uapi::{CreateSession, PreserveFd};
use luo_core::ops::MAX_PAGE;
use luo_sim::bench::BASE;
use std::os::fd::RawFd;
use zerocopy::IntoBytes;

/// What a host is told to fail with. None of them is EIO: what says so is wrong.
pub(super) const ERRORS: [Errno; 4] = [Errno::ENOMEM, Errno::EBUSY, Errno::EPERM, Errno::EINVAL];

/// Bytes of the program's memory.
pub(super) const MEMORY: usize = 16 << 10;
/// Where in it the argument is, mostly: below is room for one that is too long.
const ARGUMENT: usize = 64;
/// Where entries of a list go, mostly.
const ENTRIES: usize = 5 << 10;
/// What is in memory that nobody has written.
const UNTOUCHED: u8 = 0xa5;

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
        let which = usize::from(bytes.arbitrary::<u8>()?) % (CALLS.len() + 1);
        let Some(call) = CALLS.get(which) else {
            return Self::unknown(bytes);
        };
        let length = call.form.known();
        let mut argument = compose(call, fd, bytes)?;
        argument.resize(length, 0);
        // A program that is older, or newer, or lies.
        let how = bytes.arbitrary::<u8>()?;
        let size = match how % 16 {
            0 => bytes.arbitrary::<u32>()?,
            1 => u32::from(bytes.arbitrary::<u16>()?),
            2 => length as u32 + u32::from(bytes.arbitrary::<u8>()?),
            _ => length as u32,
        };
        if let Form::Sized { .. } = call.form {
            argument.resize(length.max(size.min(4200) as usize), 0);
            argument[..4].copy_from_slice(&size.to_ne_bytes());
        }
        for _ in 0..how / 64 {
            let at = usize::from(bytes.arbitrary::<u16>()?) % argument.len().max(1);
            if let Some(byte) = argument.get_mut(at) {
                *byte = bytes.arbitrary()?;
            }
        }
        Self::place(call.command, argument, bytes)
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

    fn known(&self) -> Option<&'static Call> {
        Call::of(self.command)
    }

    /// The word at an offset of the argument as the host sees it.
    fn word<const N: usize>(&self, memory: &[u8], offset: usize) -> Option<[u8; N]> {
        let start = usize::try_from(self.address.checked_sub(BASE)?).ok()?;
        let start = start.checked_add(offset)?;
        memory.get(start..start.checked_add(N)?)?.try_into().ok()
    }

    /// Where the host may write.
    fn answer(&self, before: &[u8]) -> [Range<u64>; 2] {
        let Some(call) = self.known() else {
            return [0..0, 0..0];
        };
        let size = match call.form {
            Form::Nothing => 0,
            Form::Fixed(length) => length,
            Form::Sized { known, .. } => {
                let size = self.word(before, 0).map_or(0, u32::from_ne_bytes);
                known.min(size as usize)
            }
        };
        let own = self.address..self.address.saturating_add(size as u64);
        let entries = call.list.and_then(|_| {
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
        match (self.known(), said) {
            (None, said) => assert_eq!(said, Err(Errno::ENOTTY), "{:#x}", self.command),
            (Some(call), Err(errno)) => {
                // Handlers say what they like. So does memory that is made to fail, of which a
                // call that neither changes nor makes anything wants none.
                let wants = call.when != When::Always || call.gives.is_some();
                let by_fault = wants && ERRORS.contains(&errno);
                let known = call.asks || by_fault || errno == Errno::ENOTTY;
                assert!(
                    known || call.may_answer(errno),
                    "{} ends with {errno}",
                    call.word
                );
            }
            (Some(_), Ok(())) => {}
        }
    }

    /// The descriptor that a call gives when it succeeds.
    pub(super) fn descriptor_of(&self, after: &[u8]) -> Option<RawFd> {
        let offset = self.known()?.gives?;
        self.word(after, offset).map(RawFd::from_ne_bytes)
    }

    pub(super) fn retrieves(&self) -> bool {
        let retrieves = |call: &Call| matches!(call.name, Name::RetrieveFd | Name::FdRestore);
        self.known().is_some_and(retrieves)
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
fn compose(call: &Call, fd: RawFd, bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let size = 0;
    let mut out = Vec::new();
    match call.name {
        Name::CreateSession | Name::RetrieveSession => {
            let name = name(bytes)?;
            out.extend_from_slice(CreateSession { size, fd, name }.as_bytes());
        }
        Name::PreserveFd | Name::RetrieveFd => {
            let token = token(bytes)?;
            out.extend_from_slice(PreserveFd { size, fd, token }.as_bytes());
        }
        Name::UnpreserveFd => {
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&token(bytes)?.to_ne_bytes());
        }
        // Mostly what has to be zero is.
        Name::SessionFreeze => {
            let reserved = u32::from(bytes.arbitrary::<u8>()? == 0);
            out.extend_from_slice(SessionFreeze { size, reserved }.as_bytes());
        }
        Name::AddDependency | Name::DropDependency => {
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
                session_fd: 0,
                reserved: 0,
            };
            out.extend_from_slice(dependency.as_bytes());
        }
        Name::FdPreserve | Name::FdRestore => {
            let flags = u32::from(bytes.arbitrary::<u8>()? == 0);
            let token = token(bytes)?;
            out.extend_from_slice(LiveupdateFd { fd, flags, token }.as_bytes());
        }
        Name::FdUnpreserve => out.extend_from_slice(&token(bytes)?.to_ne_bytes()),
        _ => {
            if let Some(entries) = call.list {
                out.extend_from_slice(list(entries.size, bytes)?.as_bytes());
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
