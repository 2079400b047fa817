// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program gets from the administrator: descriptors, over a socket that is its standard
//! input.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result};
use luo_sys::message;
use rustix::net::{RecvFlags, SendFlags};

/// The most that is passed.
const MOST: usize = 16;

/// The standard input of a program that is to get these.
pub(super) fn pass(fds: &[BorrowedFd<'_>]) -> Result<OwnedFd> {
    let (from, to) = UnixStream::pair()?;
    let mut room =
        [const { core::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(MOST))];
    message::send(&from, b"!", fds, &mut room, SendFlags::empty())
        .context("passing descriptors")?;
    Ok(to.into())
}

/// What this program has got.
pub(super) fn taken() -> Result<impl Iterator<Item = OwnedFd>> {
    let mut room =
        [const { core::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(MOST))];
    let stdin = std::io::stdin();
    let received = message::receive(stdin.as_fd(), &mut [0], &mut room, RecvFlags::empty());
    Ok(received.context("standard input")?.fds.into_iter())
}
