// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends of pipes that go alone, and pipes of users.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Result;
use luo_sys::{Device, Errno};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::super::owners::create;
use super::super::tools::{incoming, session};
use super::ends::{Ends, READ, TEXT, WRITE, drain, pipe};
use crate::case::Context;
use crate::check::{kept, name, refused, same, skip};
use crate::user::{AllKinds, Delegated, USERS, as_user};

/// Leaves one end, and forgets the other.
fn leave_one(context: &mut Context<'_>, end: impl FnOnce(Ends) -> OwnedFd) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(end(ends), READ)?;
    context.hold(session);
    Ok(())
}

pub(super) fn leave_reader(context: &mut Context<'_>) -> Result<()> {
    leave_one(context, |ends| ends.reads.into())
}

pub(super) fn reader(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut reads = File::from(session.retrieve_fd(READ)?);
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    same("its end", reads.read(&mut [0; 8])?, 0)?;
    Ok(session.finish()?)
}

pub(super) fn leave_writer(context: &mut Context<'_>) -> Result<()> {
    leave_one(context, |ends| ends.writes.into())
}

pub(super) fn writer(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut writes = File::from(session.retrieve_fd(READ)?);
    let error = writes.write(b"x").err().map(|error| error.kind());
    same("a write", error, Some(std::io::ErrorKind::BrokenPipe))?;
    Ok(session.finish()?)
}

/// Of one pipe root preserves the end that reads, and a user the other, first.
pub(super) fn leave_ends(context: &mut Context<'_>) -> Result<()> {
    let root = context.device()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    let [user, _] = USERS;
    let users = create(user, "an end")?;
    as_user(user, || Ok(users.preserve_fd(&ends.writes, WRITE)?))?;
    let own = session(&root, context.own_name(), 0)?;
    own.preserve_fd(&ends.reads, READ)?;
    context.hold(users);
    context.hold(own);
    Ok(())
}

pub(super) fn alone_each(context: &mut Context<'_>) -> Result<()> {
    let own = incoming(context.own_name())?;
    let mut reads = File::from(own.retrieve_fd(READ)?);
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    same("its end", reads.read(&mut [0; 8])?, 0)?;
    own.finish()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    as_user(USERS[0], || {
        let users = Device::open()?.retrieve_session(&name("an end"))?;
        let mut writes = File::from(users.retrieve_fd(WRITE)?);
        let error = writes.write(b"x").err().map(|error| error.kind());
        same("a write", error, Some(std::io::ErrorKind::BrokenPipe))?;
        // Whoever had that end alone has not read what the pipe held, and does not now.
        let path = format!("/proc/thread-self/fd/{}", writes.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::ACCESS) => {}
            anew => same("what it holds", drain(&mut File::from(anew?))?, vec![])?,
        }
        Ok(users.finish()?)
    })
}

/// Bytes that only the administrator may have in a pipe.
const HUGE: usize = 1 << 22;

/// Root has made it as large, and given it to a user.
pub(super) fn leave_huge(context: &mut Context<'_>) -> Result<()> {
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let mut ends = pipe()?;
    match fcntl_setpipe_size(&ends.writes, HUGE) {
        Err(rustix::io::Errno::PERM) => return Err(skip("whoever runs this may not have it")),
        made => made?,
    };
    ends.writes.write_all(TEXT)?;
    let [user, _] = USERS;
    let users = create(user, "huge")?;
    as_user(user, || {
        users.preserve_fd(&ends.reads, READ)?;
        Ok(users.preserve_fd(&ends.writes, WRITE)?)
    })?;
    context.hold(users);
    Ok(())
}

pub(super) fn too_huge(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let users = as_user(user, || {
        let users = Device::open()?.retrieve_session(&name("huge"))?;
        refused(users.retrieve_fd(READ), Errno::EPERM)?;
        refused(users.retrieve_fd(WRITE), Errno::EPERM)?;
        Ok(users)
    })?;
    // Nothing is lost: who may have it takes it back.
    let mut reads = File::from(users.retrieve_fd(READ)?);
    let writes = users.retrieve_fd(WRITE)?;
    kept("its size", fcntl_getpipe_size(&writes)?, HUGE)?;
    kept("what it holds", drain(&mut reads)?, vec![TEXT.to_vec()])?;
    Ok(users.finish()?)
}
