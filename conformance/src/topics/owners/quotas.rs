// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a user may have at most, alone and with all other users together.

use std::fs;

use anyhow::{Context as _, Result};
use luo_sys::{Device, Errno, Needed, Token};

use super::super::tools::memory;
use super::stage::create;
use crate::case::Context;
use crate::check::{device, name, refused, same};
use crate::kmsg::{Message, Reader};
use crate::look::{SYSFS, sysfs};
use crate::user::{Delegated, USERS, as_user};

/// A quota of users that is another until it is dropped.
pub(in crate::topics) struct Quota {
    file: String,
    before: String,
}

impl Quota {
    pub(in crate::topics) fn set(what: &str, number: u64) -> Result<Self> {
        Self::set_file(&format!("user_{what}"), number)
    }

    fn set_file(name: &str, number: u64) -> Result<Self> {
        let before = sysfs(name)?;
        let file = format!("{SYSFS}/{name}");
        fs::write(&file, number.to_string()).context("a quota")?;
        let seen = sysfs(name)?;
        same("the quota", seen, format!("{number}\n"))?;
        Ok(Self { file, before })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::write(&self.file, self.before.trim());
    }
}

pub(super) fn defaults(_: &mut Context<'_>) -> Result<()> {
    for (what, number) in [
        ("sessions", 64u64),
        ("files", 4096),
        ("dependencies", 16_384),
        ("bytes", 1 << 30),
    ] {
        same(what, sysfs(&format!("user_{what}"))?, format!("{number}\n"))?;
        let together = format!("{}\n", 64 * number);
        same(what, sysfs(&format!("users_{what}"))?, together)?;
    }
    Ok(())
}

/// A user that has several numbers has several quotas, and no more than all users together
/// may have. The log says so once.
pub(super) fn quotas_together(_: &mut Context<'_>) -> Result<()> {
    let _few = [
        Quota::set_file("users_sessions", 2)?,
        Quota::set_file("users_files", 2)?,
        Quota::set_file("users_dependencies", 0)?,
        Quota::set_file("users_bytes", 3 * 4096)?,
    ];
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let small = || luo_sys::memfd::create("small", 4096);
    let sessions = [create(one, "first")?, create(other, "first")?];
    sessions[0].preserve_fd(small()?, Token(1))?;
    let mut log = Reader::from_now()?;
    for user in USERS {
        as_user(user, || {
            let device = Device::open()?;
            refused(device.create_session(&name("second")), Errno::EDQUOT)?;
            refused(device.create_session(&name("first")), Errno::EEXIST)
        })?;
    }
    let large = luo_sys::memfd::create("large", 3 * 4096)?;
    refused(sessions[1].preserve_fd(&large, Token(1)), Errno::EDQUOT)?;
    sessions[1].preserve_fd(small()?, Token(1))?;
    refused(sessions[0].preserve_fd(small()?, Token(2)), Errno::EDQUOT)?;
    let needs = sessions[0].add_dependency_of(Token(1), &sessions[1], Token(1));
    refused(needs, Errno::EDQUOT)?;
    let own = log.read()?.into_iter().filter(Message::is_luo);
    let told = own.filter(|message| message.text.contains("users together"));
    same("lines of the log", told.count(), 4)?;
    // The administrator has no quota.
    let device = device()?;
    let roots = device.create_session(&name("of root"))?;
    roots.preserve_fd(memory("of root", 1)?, Token(1))?;
    // What one has given back another may have.
    let [first, second] = sessions;
    drop(first);
    create(other, "second").map(drop)?;
    drop(second);
    Ok(())
}

pub(super) fn quotas(_: &mut Context<'_>) -> Result<()> {
    let _few = [
        Quota::set("sessions", 2)?,
        Quota::set("files", 3)?,
        Quota::set("dependencies", 1)?,
        Quota::set("bytes", 3 * 4096)?,
    ];
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let small = || luo_sys::memfd::create("small", 4096);
    let _held = as_user(one, || {
        let device = Device::open()?;
        let first = device.create_session(&name("first"))?;
        let second = device.create_session(&name("second"))?;
        refused(device.create_session(&name("third")), Errno::EDQUOT)?;
        refused(device.create_session(&name("first")), Errno::EEXIST)?;
        first.preserve_fd(small()?, Token(1))?;
        second.preserve_fd(small()?, Token(1))?;
        let large = luo_sys::memfd::create("large", 2 * 4096)?;
        refused(first.preserve_fd(&large, Token(2)), Errno::EDQUOT)?;
        first.preserve_fd(small()?, Token(2))?;
        refused(second.preserve_fd(small()?, Token(2)), Errno::EDQUOT)?;
        first.add_dependency(Token(1), Needed::Here(Token(2)))?;
        let more = second.add_dependency(Token(1), Needed::In(name("first"), Token(2)));
        refused(more, Errno::EDQUOT)?;
        Ok((first, second))
    })?;
    // Another user has as much, and the administrator has no quota.
    let _others = create(other, "first")?;
    let device = device()?;
    let mut roots = Vec::new();
    for number in 0..3 {
        let session = device.create_session(&name(&format!("of root {number}")))?;
        session.preserve_fd(memory("of root", number)?, Token(1))?;
        roots.push(session);
    }
    Ok(())
}

pub(super) fn room_again(_: &mut Context<'_>) -> Result<()> {
    let _few = [
        Quota::set("sessions", 1)?,
        Quota::set("files", 2)?,
        Quota::set("dependencies", 1)?,
        Quota::set("bytes", 2 * 4096)?,
    ];
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let small = || luo_sys::memfd::create("small", 4096);
    as_user(user, || {
        let device = Device::open()?;
        for _ in 0..3 {
            let session = device.create_session(&name("again"))?;
            for _ in 0..3 {
                session.preserve_fd(small()?, Token(1))?;
                session.preserve_fd(small()?, Token(2))?;
                let on = Needed::Here(Token(2));
                session.add_dependency(Token(1), on)?;
                session.drop_dependency(Token(1), on)?;
                session.add_dependency(Token(1), on)?;
                session.unpreserve_fd(Token(2))?;
                session.unpreserve_fd(Token(1))?;
            }
            session.preserve_fd(small()?, Token(1))?;
        }
        Ok(())
    })
}
