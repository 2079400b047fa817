// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's calls, typed: what `luo-sys` has for a program that takes part.
//!
//! ```no_run
//! use luo_client::kernel::{Device, SessionName, Token, memfd};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let name = SessionName::new("guest-7")?;
//! // Before the jump.
//! let session = Device::open()?.create_session(&name)?;
//! let memory = memfd::create("ram", 1 << 20)?;
//! session.preserve_fd(&memory, Token(1))?;
//! // After it, in the next kernel.
//! let session = Device::open()?.retrieve_session(&name)?;
//! let memory = session.retrieve_fd(Token(1))?;
//! session.finish()?;
//! # Ok(())
//! # }
//! ```

pub use luo_sys::{
    Cause, DependencyEntry, Device, Direction, Errno, Error, Event, Failure, FileEntry, FileStatus,
    Info, MappedFile, NameError, Needed, OutOfRange, ParticipantEntry, ParticipantKind, Result,
    Session, SessionEntry, SessionName, SessionState, State, Token, Tried, Which, kexec, memfd,
};
