// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which file needs which.

use core::fmt;
use core::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use luo_abi::contract::{self, DEPENDENCY_BY_DESCRIPTOR, DEPENDENCY_ON_DEVICE, Dependency};
use luo_abi::uapi::SESSION_NAME_LENGTH;

use crate::call::with_argument;
use crate::error::Result;
use crate::name::{SessionName, Token};

/// The file that another needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Needed {
    /// One of the same session, or registered on the same open device.
    Here(Token),
    /// One of the outgoing session of that name.
    In(SessionName, Token),
    /// One that was registered on a device, by whomever.
    OnDevice(Token),
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(token) => write!(f, "{token}"),
            Self::In(session, token) => write!(f, "{token} of session {session}"),
            Self::OnDevice(token) => write!(f, "{token} on the device"),
        }
    }
}

/// Says that `token` needs file `on` of the session of which `session` is a descriptor.
pub(crate) fn add_of(
    fd: &impl AsFd,
    token: Token,
    session: BorrowedFd<'_>,
    on: Token,
) -> Result<()> {
    let mut argument = argument(token, Needed::Here(on));
    argument.flags = DEPENDENCY_BY_DESCRIPTOR;
    argument.session_fd = session.as_raw_fd();
    with_argument(fd, contract::ADD_DEPENDENCY, &mut argument)
}

/// Says that `token` needs another file.
pub(crate) fn add(fd: &impl AsFd, token: Token, on: Needed) -> Result<()> {
    with_argument(fd, contract::ADD_DEPENDENCY, &mut argument(token, on))
}

/// Takes that back.
pub(crate) fn drop(fd: &impl AsFd, token: Token, on: Needed) -> Result<()> {
    with_argument(fd, contract::DROP_DEPENDENCY, &mut argument(token, on))
}

fn argument(token: Token, on: Needed) -> Dependency {
    let (flags, on_token, on_session) = match on {
        Needed::Here(on) => (0, on, [0; SESSION_NAME_LENGTH]),
        Needed::In(session, on) => (0, on, *session.as_field()),
        Needed::OnDevice(on) => (DEPENDENCY_ON_DEVICE, on, [0; SESSION_NAME_LENGTH]),
    };
    Dependency {
        size: size_of::<Dependency>() as u32,
        flags,
        token: token.0,
        on_token: on_token.0,
        on_session,
        session_fd: 0,
        reserved: 0,
    }
}
