// SPDX-License-Identifier: MIT OR Apache-2.0
//! The folder `/sys/kernel/liveupdate`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context as _, Result};
use luo_sys::{Errno, State};

use super::tools::{NO_SYSFS, enter, session};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{Absent, Mismatch, device, same};
use crate::difference::{Differs, Expect, absent, simulated};
use crate::look::{SYSFS, sysfs};
use crate::user::{USERS, as_user};

pub(super) const CASES: &[Case] = &[
    here("state-is-a-word", word).but(&[absent(NO_SYSFS)]),
    here("update-count-is-that-of-info", update_count).but(&[absent(NO_SYSFS)]),
    here("state-is-read-only", read_only).but(&[absent(NO_SYSFS)]),
    here("image-is-the-administrators", of_administrator).but(&[absent(NO_SYSFS)]),
    here("unclaimed-takes-two-words", |_| {
        two_words("unclaimed", ["carry", "discard"])
    })
    .but(TWO_WORDS),
    here("reboot-takes-two-words", |_| {
        two_words("reboot", ["lose", "veto"])
    })
    .but(TWO_WORDS),
    here("legacy-takes-two-words", |_| {
        two_words("legacy", ["refuse", "boot"])
    })
    .but(TWO_WORDS),
    here("user-kinds-takes-two-words", |_| {
        two_words("user_kinds", ["memfd", "all"])
    })
    .but(TWO_WORDS),
    shared("state-after-an-update", leave, updated).but(&[absent(NO_SYSFS)]),
    alone("unclaimed-by-parameter", &[discard_wanted, discard]).but(&[absent(NO_SYSFS)]),
    alone("reboot-by-parameter", &[veto_wanted, veto]).but(&[absent(NO_SYSFS)]),
    alone("memfd-by-parameter", &[runs_wanted, runs]).but(&[absent(NO_SYSFS)]),
];

const TWO_WORDS: &[Differs] = &[
    absent(NO_SYSFS),
    simulated(Expect::Accepts(
        "a write goes to a socket, so it cannot be refused: a warning in the log",
    )),
];

fn word(_: &mut Context<'_>) -> Result<()> {
    same("the word", sysfs("state")?.as_str(), "normal\n")?;
    let device = device()?;
    for state in [State::Prepared, State::Frozen] {
        enter(&device, state)?;
        same("the word", sysfs("state")?, format!("{}\n", state.word()))?;
        device.cancel()?;
        same("the word", sysfs("state")?.as_str(), "normal\n")?;
    }
    Ok(())
}

fn update_count(_: &mut Context<'_>) -> Result<()> {
    let count: u64 = sysfs("update_count")?.trim().parse()?;
    same("the count", count, device()?.info()?.update_count)
}

fn read_only(_: &mut Context<'_>) -> Result<()> {
    for file in ["state", "update_count"] {
        same("the mode", mode(file)?, 0o444)?;
        as_user(USERS[0], || sysfs(file).map(drop)).context("a user")?;
    }
    Ok(())
}

fn mode(file: &str) -> Result<u32> {
    sysfs(file)?;
    let path = format!("{SYSFS}/{file}");
    let Ok(found) = fs::metadata(&path) else {
        return Err(Absent(path).into());
    };
    Ok(found.permissions().mode() & 0o777)
}

/// A look takes the lock that kexec tries: who reads in a loop would make kexec fail.
fn of_administrator(_: &mut Context<'_>) -> Result<()> {
    same("the mode", mode("image")?, 0o400)?;
    let path = format!("{SYSFS}/image");
    let opened = as_user(USERS[0], || Ok(fs::File::open(&path).map(drop)));
    let refused = opened?.err().and_then(|error| error.raw_os_error());
    same("a user's open", refused, Some(Errno::EACCES.get()))
}

/// A choice, the default first.
fn two_words(file: &str, [first, second]: [&str; 2]) -> Result<()> {
    let by_default = format!("{first}\n");
    same("by default", sysfs(file)?, by_default.clone())?;
    let path = format!("{SYSFS}/{file}");
    for word in [second, first, &format!("{second}\n"), &by_default] {
        fs::write(&path, word)?;
        same("the word", sysfs(file)?, format!("{}\n", word.trim()))?;
    }
    for word in ["", "drop", &format!("{first} on"), &first[..3]] {
        let Err(error) = fs::write(&path, word) else {
            // Nothing written is no write to the kernel.
            if word.is_empty() {
                continue;
            }
            let expected = Errno::EINVAL;
            return Err(Mismatch::Accepted { expected }).with_context(|| format!("'{word}'"));
        };
        same("the error", error.raw_os_error(), Some(Errno::EINVAL.get()))?;
    }
    same("the word", sysfs(file)?, by_default)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let count: u64 = sysfs("update_count")?.trim().parse()?;
    context.note("count", count);
    Ok(())
}

fn updated(context: &mut Context<'_>) -> Result<()> {
    // The folder is right before anybody opens the device.
    same("the word", sysfs("state")?.as_str(), "updated\n")?;
    let count: u64 = sysfs("update_count")?.trim().parse()?;
    same("the count", count, context.noted("count")? + 1)
}

fn discard_wanted(context: &mut Context<'_>) -> Result<()> {
    sysfs("unclaimed")?;
    context.boot_with("liveupdate_unclaimed", "discard");
    Ok(())
}

fn discard(_: &mut Context<'_>) -> Result<()> {
    same("the word", sysfs("unclaimed")?.as_str(), "discard\n")
}

fn veto_wanted(context: &mut Context<'_>) -> Result<()> {
    sysfs("reboot")?;
    context.boot_with("liveupdate_reboot", "veto");
    Ok(())
}

fn veto(_: &mut Context<'_>) -> Result<()> {
    same("the word", sysfs("reboot")?.as_str(), "veto\n")
}

fn runs_wanted(context: &mut Context<'_>) -> Result<()> {
    same("by default", sysfs("memfd")?.as_str(), "memfd-v2\n")?;
    context.boot_with("liveupdate_memfd", "runs");
    Ok(())
}

/// What is preserved goes by that handler, and nobody has written the word to the file.
fn runs(_: &mut Context<'_>) -> Result<()> {
    same("the word", sysfs("memfd")?.as_str(), "runs\n")?;
    let session = session(&device()?, "runs", 1)?;
    let files = session.list_files()?;
    let handlers: Vec<_> = files.iter().map(|file| file.handler.as_str()).collect();
    same("its handler", handlers, vec!["luo-memfd-v1"])
}
