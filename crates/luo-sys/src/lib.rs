// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system calls of live update, typed, and nothing above them.
//!
//! | type or module | what it wraps |
//! |---|---|
//! | [`Device`] | an open `/dev/liveupdate`: sessions, events, queries |
//! | [`Session`] | a session descriptor: files and what they need |
//! | [`FileEntry`], [`SessionEntry`], ... | what the lists list |
//! | [`Info`], [`Failure`] | how the orchestrator stands, and why it failed |
//! | [`memfd`] | memory that a session can preserve |
//! | [`cached`] | which pages of a file are in memory |
//! | [`message`] | messages over local sockets, with descriptors |
//! | [`MappedFile`] | such memory, mapped and shared |
//! | [`kexec`] | loading the next kernel and jumping into it |
//! | [`clock`] | a counter that goes on over a kexec |
//! | `kvm` (a feature) | what KVM's crates leave unsafe, or out |
//! | [`same`] | whether two descriptors are one open file |
//! | [`pinned`] | memory that is pinned as for a device, for tests |
//! | [`raw`] | the same ioctls without manners, for negative tests |
//! | [`scheduling`] | when a thread runs beside others, for tests |
//! | [`standard`] | standard output, of which nothing is lost without a word |
//! | [`swap`] | room for pages that are swapped out, for tests |
//! | [`test_driver`] | the parameters of the simulator's test driver |
//! | [`timer`] | how often a timer has expired |
//! | [`unanswered`] | memory whose pages come late, for tests |
//! | [`userfault`] | faults that a program answers, for tests |
//! | [`supervise`], [`seccomp`], [`process`], [`descriptors`] | what a simulator needs of the kernel |
//!
//! There is no policy here: no retry (but of a list that changed under the
//! reader, a bounded number of times), no bookkeeping, no thread. This is the
//! only user-space crate of the workspace that may contain unsafe code, and
//! each unsafe block names the invariant it rests on.
//!
//! # Example
//!
//! ```no_run
//! use luo_sys::{Device, SessionName, Token, kexec, memfd};
//!
//! # fn main() -> Result<(), luo_sys::Error> {
//! let device = Device::open()?;
//! let name = SessionName::new("guest-7").expect("a valid name");
//! let session = device.create_session(&name)?;
//! let memory = memfd::create("ram", 1 << 20)?;
//! session.preserve_fd(&memory, Token(1))?;
//! // With an image loaded, this returns only if the update is refused.
//! Err(kexec::execute())
//! # }
//! ```
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod anonymous;
pub mod cached;
mod call;
pub mod clock;
mod dependency;
pub mod descriptors;
mod device;
mod device_contract;
mod device_rfc;
mod entry;
mod error;
mod info;
pub mod kexec;
#[cfg(feature = "kvm")]
pub mod kvm;
mod list;
mod map;
pub mod memfd;
pub mod message;
mod name;
pub mod pinned;
pub mod process;
pub mod raw;
pub mod same;
pub mod scheduling;
pub mod seccomp;
mod session;
mod session_contract;
pub mod standard;
pub mod supervise;
pub mod swap;
pub mod test_driver;
mod text;
pub mod timer;
pub mod unanswered;
pub mod userfault;

pub use dependency::Needed;
pub use device::{Device, LOCK_PATH};
pub use device_contract::Which;
pub use entry::{
    DependencyEntry, Direction, FileEntry, FileStatus, ParticipantEntry, ParticipantKind,
    SessionEntry, SessionState,
};
pub use error::{Error, Result, hint};
pub use info::{Cause, Failure, Info, Tried};
pub use luo_abi::errno::Errno;
pub use luo_abi::rfc::{Event, State};
pub use map::{MappedFile, OutOfRange};
pub use name::{NameError, SessionName, Token};
pub use session::Session;
