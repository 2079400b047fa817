// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a program and a kernel of different age agree on a structure.

use anyhow::{Context as _, Result};
use luo_abi::calls::Call;
use luo_abi::extend::MAX_SIZE;
use luo_abi::{contract, uapi};
use luo_sys::{Errno, Session, raw};

use super::tools::{FIRST, NO_CONTRACT, incoming, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};
use crate::difference::{Differs, accepts, missing};

/// A call whose structure is tried in all sizes.
#[derive(Clone, Copy)]
struct Sized {
    command: u32,
    /// Bytes of its structure.
    size: usize,
    on: On,
    /// What it contains behind its size, from an offset on.
    at: usize,
    contents: &'static [u8],
    /// What a well-formed one is answered with.
    answer: Option<Errno>,
}

#[derive(Clone, Copy)]
enum On {
    Device,
    /// An outgoing session.
    Session,
}

/// Whose call it is, for what mainline lacks.
const MAINLINES: &[Differs] = &[];
const OURS: &[Differs] = &[missing(NO_CONTRACT)];

/// Mainline reads as far as a program says.
const NO_LIMIT: &[Differs] = &[accepts("mainline has no limit")];

/// A row for each call with a structure that begins with its size. What it asks for
/// creates nothing: nobody could close a descriptor that comes back.
macro_rules! table {
    ($($call:ident $of:ident $limit:ident {$($field:ident: $value:expr),+})+) => {
        pub(super) const CASES: &[Case] = &[
            $(
                here(concat!(stringify!($call), "-short-is-EINVAL"), |_| {
                    short(Sized { $($field: $value),+ })
                })
                .but($of),
                here(concat!(stringify!($call), "-longer-with-zeros-is-taken"), |_| {
                    longer(Sized { $($field: $value),+ })
                })
                .but($of),
                here(concat!(stringify!($call), "-longer-with-more-is-E2BIG"), |_| {
                    more(Sized { $($field: $value),+ })
                })
                .but($of),
                here(concat!(stringify!($call), "-beyond-4096-is-E2BIG"), |_| {
                    beyond(Sized { $($field: $value),+ })
                })
                .but($limit),
            )+
            shared("of-an-incoming-session", leave, arrived),
            here("the-answer-fits-the-callers-size", answer_fits),
        ];
    };
}

table! {
    CREATE_SESSION MAINLINES NO_LIMIT {
        command: uapi::CREATE_SESSION, size: 72, on: On::Device,
        at: 8, contents: b"taken", answer: Some(Errno::EEXIST)
    }
    RETRIEVE_SESSION MAINLINES NO_LIMIT {
        command: uapi::RETRIEVE_SESSION, size: 72, on: On::Device,
        at: 8, contents: b"nobody", answer: Some(Errno::ENOENT)
    }
    PRESERVE_FD MAINLINES NO_LIMIT {
        command: uapi::SESSION_PRESERVE_FD, size: 16, on: On::Session,
        at: 4, contents: &[0xff; 4], answer: Some(Errno::EBADF)
    }
    GET_NAME MAINLINES NO_LIMIT {
        command: uapi::SESSION_GET_NAME, size: 72, on: On::Session,
        at: 4, contents: &[], answer: None
    }
    UNPRESERVE_FD OURS OURS {
        command: contract::UNPRESERVE_FD, size: 16, on: On::Session,
        at: 8, contents: &[9], answer: Some(Errno::ENOENT)
    }
    ADD_DEPENDENCY OURS OURS {
        command: contract::ADD_DEPENDENCY, size: 88, on: On::Session,
        at: 8, contents: &[9], answer: Some(Errno::ENOENT)
    }
    DROP_DEPENDENCY OURS OURS {
        command: contract::DROP_DEPENDENCY, size: 88, on: On::Session,
        at: 8, contents: &[9], answer: Some(Errno::ENOENT)
    }
    LIST_FILES OURS OURS {
        command: contract::LIST_FILES, size: 56, on: On::Session,
        at: 24, contents: &[80], answer: None
    }
    LIST_DEPENDENCIES OURS OURS {
        command: contract::LIST_DEPENDENCIES, size: 56, on: On::Device,
        at: 24, contents: &[80], answer: Some(Errno::ENOENT)
    }
    LIST_SESSIONS OURS OURS {
        command: contract::LIST_SESSIONS, size: 56, on: On::Device,
        at: 24, contents: &[96], answer: None
    }
    LIST_PARTICIPANTS OURS OURS {
        command: contract::LIST_PARTICIPANTS, size: 56, on: On::Device,
        at: 24, contents: &[64], answer: None
    }
    GET_INFO OURS OURS {
        command: contract::GET_INFO, size: 184, on: On::Device,
        at: 4, contents: &[], answer: None
    }
    GET_FAILURE OURS OURS {
        command: contract::GET_FAILURE, size: 224, on: On::Device,
        at: 4, contents: &[], answer: None
    }
}

/// Bytes for a structure that claims to have `size` of them.
fn argument(row: Sized, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size.max(row.size)];
    bytes[..4].copy_from_slice(&(size as u32).to_ne_bytes());
    bytes[row.at..row.at + row.contents.len()].copy_from_slice(row.contents);
    bytes
}

/// Makes the call, where there is an outgoing session "taken".
fn call(row: Sized, mut bytes: Vec<u8>) -> Result<luo_sys::Result<i32>> {
    let device = device()?;
    if row.command >= contract::UNPRESERVE_FD {
        // Whether such calls are there at all.
        device.info()?;
    }
    let session = session(&device, "taken", 1)?;
    Ok(match row.on {
        On::Device => raw::ioctl(&device, row.command, &mut bytes),
        On::Session => raw::ioctl(&session, row.command, &mut bytes),
    })
}

fn taken(row: Sized, size: usize) -> Result<()> {
    let result = call(row, argument(row, size))?;
    let judged = match row.answer {
        Some(errno) => refused(result, errno),
        None => result.map(drop).map_err(Into::into),
    };
    judged.with_context(|| format!("{size} bytes"))
}

/// Bytes that this version knows; `size` is that of the first form.
fn known(row: Sized) -> usize {
    Call::of(row.command).map_or(row.size, |call| call.form.known())
}

/// Its first form is as short as it gets.
fn short(row: Sized) -> Result<()> {
    for size in [0, 1, 4, 8, row.size - 1] {
        let result = call(row, argument(row, size))?;
        refused(result, Errno::EINVAL).with_context(|| format!("{size} bytes"))?;
    }
    taken(row, row.size)
}

/// The program is newer than the kernel, and wants nothing of what is new.
fn longer(row: Sized) -> Result<()> {
    let known = known(row);
    for size in [row.size + 1, known + 1, known + 8, 1000, MAX_SIZE] {
        taken(row, size)?;
    }
    Ok(())
}

/// It wants what the kernel does not know.
fn more(row: Sized) -> Result<()> {
    let known = known(row);
    for size in [known + 1, known + 8, MAX_SIZE] {
        for at in [known, size - 1] {
            let mut bytes = argument(row, size);
            bytes[at] = 1;
            let result = call(row, bytes)?;
            refused(result, Errno::E2BIG).with_context(|| format!("byte {at} of {size}"))?;
        }
    }
    Ok(())
}

fn beyond(row: Sized) -> Result<()> {
    for size in [MAX_SIZE + 1, 1 << 15] {
        let result = call(row, argument(row, size))?;
        let refused = match (result, row.answer) {
            // It went on to look at the structure, so it took it.
            (Err(error), Some(errno)) if error.errno() == errno => refused(Ok(()), Errno::E2BIG),
            (result, _) => refused(result, Errno::E2BIG),
        };
        refused.with_context(|| format!("{size} bytes"))?;
    }
    // What nobody can have, and is not looked at.
    let mut bytes = argument(row, row.size);
    bytes[..4].fill(0xff);
    refused(call(row, bytes)?, Errno::E2BIG)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 1)?;
    context.hold(session);
    Ok(())
}

const RETRIEVE_FD: Sized = Sized {
    command: uapi::SESSION_RETRIEVE_FD,
    size: 16,
    on: On::Session,
    at: 8,
    contents: &[9],
    answer: Some(Errno::ENOENT),
};

const FINISH: Sized = Sized {
    command: uapi::SESSION_FINISH,
    size: 8,
    on: On::Session,
    at: 4,
    contents: &[],
    answer: None,
};

/// The two calls that only such a one answers.
fn arrived(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let session = incoming(text)?;
    let call = |row: Sized, mut bytes: Vec<u8>| raw::ioctl(&session, row.command, &mut bytes);
    for row in [RETRIEVE_FD, FINISH] {
        for size in [0, 1, 4, row.size - 1] {
            refused(call(row, argument(row, size)), Errno::EINVAL)
                .with_context(|| format!("{size} bytes"))?;
        }
        for size in [row.size + 1, MAX_SIZE] {
            let mut bytes = argument(row, size);
            bytes[size - 1] = 1;
            refused(call(row, bytes), Errno::E2BIG).with_context(|| format!("{size} bytes"))?;
        }
    }
    let unknown = call(RETRIEVE_FD, argument(RETRIEVE_FD, MAX_SIZE));
    refused(unknown, Errno::ENOENT)?;
    retrieve(&session, text, 1)?;
    call(FINISH, argument(FINISH, MAX_SIZE))?;
    refused(session.retrieve_fd(FIRST), Errno::ENOENT)
}

/// What lies behind what the caller says it has is nobody's business.
fn answer_fits(_: &mut Context<'_>) -> Result<()> {
    let session: Session = device()?.create_session(&name("fits"))?;
    let mut argument = vec![0xaa; 96];
    argument[..4].copy_from_slice(&72_u32.to_ne_bytes());
    argument[4..8].fill(0);
    raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument)?;
    same("the name", &argument[8..13], b"fits\0")?;
    same("what lies behind", &argument[72..], &[0xaa; 24])
}
