// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pools of both kernels count each page once.

use std::fs::File;

use anyhow::Result;
use luo_sys::{Device, Errno, Needed, Token};

use super::super::tools::{FIRST, incoming, memory, session};
use super::tools::{Pool, fill, huge, is_filled, provide};
use crate::case::Context;
use crate::check::{device, name, refused, same};
use crate::user::{AllKinds, Delegated, USERS, as_user};

/// The pages of the file that is taken back, and of the one that is not.
const BACK: [u64; 3] = [0, 2, 3];
const LEFT: [u64; 2] = [0, 1];

/// The session of the file that is not.
const FORGOTTEN: &str = "forgotten";

pub(super) fn leave(context: &mut Context<'_>) -> Result<()> {
    leave_one(context)?;
    provide(context, 2)?;
    let session = session(&*context.device()?, FORGOTTEN, 0)?;
    let file = huge(FORGOTTEN, 2)?;
    fill(&file, &LEFT)?;
    session.preserve_fd(&file, FIRST)?;
    context.hold(session);
    Ok(())
}

/// The same, and the next kernel is to have a pool.
pub(super) fn leave_to_a_pool(context: &mut Context<'_>) -> Result<()> {
    context.boot_with("hugepages", "8");
    leave(context)
}

pub(super) fn leave_one(context: &mut Context<'_>) -> Result<()> {
    provide(context, 4)?;
    let session = session(&*context.device()?, "back", 0)?;
    let file = huge("back", 4)?;
    fill(&file, &BACK)?;
    session.preserve_fd(&file, FIRST)?;
    context.hold(session);
    Ok(())
}

/// What there must be in the pool, if it is this test's.
fn pool_is(
    context: &Context<'_>,
    when: &str,
    (total, free, surplus): (u64, u64, u64),
) -> Result<()> {
    if !context.implementation.is_kernel() {
        return Ok(());
    }
    let expected = Pool {
        total,
        free,
        reserved: 0,
        surplus,
    };
    same(when, Pool::read()?, expected)
}

/// Of the pages that were asked for at boot, those that have come are left out until their files
/// are there, or nobody's any more.
pub(super) fn room(context: &mut Context<'_>) -> Result<()> {
    pools_are(context, [(3, 3, 0), (6, 3, 0), (8, 5, 0), (8, 8, 0)])
}

/// Without a pool to take them in they are pages too many, and the machine's when they are free.
pub(super) fn surplus(context: &mut Context<'_>) -> Result<()> {
    pools_are(context, [(0, 0, 0), (3, 0, 3), (3, 0, 3), (0, 0, 0)])
}

/// Takes one file back and leaves the other; `pools` is what must be there at boot, with the file,
/// without the other one, and without both: in all, free, and too many.
fn pools_are(context: &Context<'_>, pools: [(u64, u64, u64); 4]) -> Result<()> {
    let [at_boot, with_it, without_other, without_both] = pools;
    pool_is(context, "at boot", at_boot)?;
    let session = incoming("back")?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    pool_is(context, "with the file", with_it)?;
    is_filled(&file, &BACK)?;
    session.finish()?;
    incoming(FORGOTTEN)?.finish()?;
    pool_is(context, "without the other", without_other)?;
    drop(file);
    pool_is(context, "without the file", without_both)
}

/// The session of a user's whose file is lost in the reboot: what it needs is gone.
const LOSES: &str = "loses";

/// Nobody lets go of the file in the reboot, for its user may have it locked.
pub(super) fn leave_lost(context: &mut Context<'_>) -> Result<()> {
    // What mainline lacks is said first.
    device()?.info()?;
    context.boot_with("hugepages", "8");
    provide(context, 3)?;
    let (_delegated, _kinds) = (Delegated::new()?, AllKinds::new()?);
    let made = || Ok(Device::open()?.create_session(&name(LOSES))?);
    let session = as_user(USERS[0], made)?;
    let file = huge(LOSES, 3)?;
    fill(&file, &[0, 2])?;
    let needed = Token(2);
    session.preserve_fd(&file, FIRST)?;
    session.preserve_fd(memory(LOSES, 1)?, needed)?;
    session.add_dependency(FIRST, Needed::Here(needed))?;
    session.unpreserve_fd(needed)?;
    context.hold(session);
    Ok(())
}

/// The pool is as large as was asked for: no places are left for what does not come.
pub(super) fn whole(context: &mut Context<'_>) -> Result<()> {
    pool_is(context, "at boot", (8, 8, 0))?;
    let session = incoming(&format!("uid:{}:{LOSES}", USERS[0]))?;
    refused(session.retrieve_fd(FIRST), Errno::ENOTRECOVERABLE)?;
    Ok(session.finish()?)
}

pub(super) fn gone_on(context: &mut Context<'_>) -> Result<()> {
    let session = incoming("back")?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    is_filled(&file, &BACK)?;
    pool_is(context, "with the file", (3, 0, 3))
}
