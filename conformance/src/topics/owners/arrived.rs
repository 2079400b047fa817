// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose a session is in the next kernel.

use anyhow::{Result, ensure};
use luo_sys::{Device, Errno, FileStatus, Needed, Token, Which};

use super::super::tools::{self, incoming, memory, retrieve};
use super::stage::{create, full};
use crate::case::Context;
use crate::check::{device, name, refused, same};
use crate::look::session;
use crate::patience::until;
use crate::user::{Delegated, USERS, as_user};

/// A user's session with one file.
pub(super) fn leave_as(context: &mut Context<'_>, text: &'static str) -> Result<()> {
    // Of all cases that share the jump.
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let session = create(user, text)?;
    as_user(user, || {
        session.preserve_fd(memory(text, 1)?, Token(1))?;
        Ok(())
    })?;
    context.hold(session);
    Ok(())
}

pub(super) fn leave(context: &mut Context<'_>) -> Result<()> {
    leave_as(context, "left by a user")
}

pub(super) fn taken_back(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [user, other] = USERS;
    let text = "left by a user";
    let known = full(user, text);
    let session = name(text);
    refused(device()?.retrieve_session(&session), Errno::ENOENT)?;
    as_user(other, || {
        let device = Device::open()?;
        refused(device.retrieve_session(&session), Errno::ENOENT)?;
        refused(device.retrieve_session(&name(&known)), Errno::ENOENT)
    })?;
    as_user(user, || {
        let device = Device::open()?;
        let listed = device.list_sessions(Which::Incoming)?;
        let found = listed.iter().filter(|found| found.name == Some(session));
        same("how often it is listed", found.count(), 1)?;
        let taken = device.retrieve_session(&session)?;
        same("its name", taken.name()?, session)?;
        retrieve(&taken, text, 1)?;
        Ok(taken.finish()?)
    })
}

pub(super) fn leave_for_root(context: &mut Context<'_>) -> Result<()> {
    leave_as(context, "kept for a user")
}

pub(super) fn taken_by_root(_: &mut Context<'_>) -> Result<()> {
    let [user, _] = USERS;
    let session = incoming(&full(user, "kept for a user"))?;
    let statuses: Vec<_> = session.list_files()?.iter().map(|f| f.status).collect();
    same("its file", statuses, vec![FileStatus::Incoming])?;
    retrieve(&session, "kept for a user", 1)?;
    Ok(session.finish()?)
}

/// A file of one user's needs one of another's, who has agreed.
pub(super) fn leave_needed(context: &mut Context<'_>) -> Result<()> {
    // Of all cases that share the jump.
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let needed = create(other, "needed")?;
    as_user(other, || {
        Ok(needed.preserve_fd(memory("needed", 1)?, Token(1))?)
    })?;
    let needs = create(one, "needs")?;
    as_user(one, || {
        needs.preserve_fd(memory("needs", 1)?, Token(1))?;
        Ok(needs.add_dependency_of(Token(1), &needed, Token(1))?)
    })?;
    context.hold(needed);
    context.hold(needs);
    Ok(())
}

pub(super) fn tried_by_its_owner(_: &mut Context<'_>) -> Result<()> {
    // Its first call, which tries everybody's, comes before there is one to try.
    let root = device()?;
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let known = full(other, "needed");
    let waits = || Ok::<_, anyhow::Error>(session(&root, Which::Incoming, &known)?.is_some());
    ensure!(waits()?, "it has not arrived");
    as_user(other, || {
        drop(Device::open()?.retrieve_session(&name("needed"))?);
        Ok(())
    })?;
    ensure!(waits()?, "it was finished while it is needed");
    as_user(one, || {
        let needs = Device::open()?.retrieve_session(&name("needs"))?;
        Ok(needs.finish()?)
    })?;
    ensure!(waits()?, "another user's FINISH has finished it");
    as_user(other, || Ok(Device::open()?.state().map(drop)?))?;
    ensure!(!waits()?, "it is still there");
    Ok(())
}

const KEPT: &str = "of another service";
const PASSED: &str = "passed on";

/// Two sessions of the administrator's, as a manager makes them for its services. One needs the
/// other.
pub(super) fn leave_to_be_passed(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    let kept = tools::session(&device, KEPT, 1)?;
    let passed = tools::session(&device, PASSED, 1)?;
    passed.add_dependency(Token(1), Needed::In(name(KEPT), Token(1)))?;
    context.hold(kept);
    context.hold(passed);
    Ok(())
}

/// The other one's service has died: its session is closed, and stays for who needs it.
pub(super) fn has_its_own_alone(_: &mut Context<'_>) -> Result<()> {
    let [user, _] = USERS;
    // Its first call, which tries everybody's, comes before there is one to try.
    let root = device()?;
    drop(root.retrieve_session(&name(KEPT))?);
    let passed = root.retrieve_session(&name(PASSED))?;
    as_user(user, || {
        refused(passed.retrieve_fd(Token(1)), Errno::ENOTCONN)
    })?;
    let kept = root.retrieve_session(&name(KEPT))?;
    let statuses: Vec<_> = kept.list_files()?.iter().map(|f| f.status).collect();
    same("the other's file", statuses, vec![FileStatus::Incoming])?;
    drop(kept);
    // The administrator may have both.
    retrieve(&passed, PASSED, 1)?;
    as_user(user, || Ok(passed.retrieve_fd(Token(1)).map(drop)?))?;
    // Nor does it finish the other one: that is done for it.
    as_user(user, || Ok(passed.finish()?))?;
    until("that the other session is finished", || {
        Ok(session(&root, Which::Incoming, KEPT)?.is_none())
    })
}
