// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the next kernel has made of a forged handover.

use std::fs;

use anyhow::{Context, Result, ensure};
use luo_sys::{Device, Errno, FileStatus, Token, memfd};
use rustix::fs::FallocateFlags;

use super::compose::checksum;
use super::kinds::{BESIDE, Expected, FileName, Kind, Session, WAITING};
use super::{machines, memfds, notes};
use crate::check::{device, name, refused, same};
use crate::forge::{Forge, PAGE};
use crate::kmsg;

/// Checks one kind; that the kernel is here at all is half of it.
///
/// # Errors
/// Says what is not as it must be.
pub(super) fn check(kind: &Kind, pages: &str, forge: &Forge) -> Result<()> {
    match kind.expected {
        Expected::Accepted { sessions, needs } => accepted(sessions, needs),
        Expected::Waits(own) => waits(own),
        Expected::Refused => refused_for_good(pages, forge),
        Expected::Memfds => {
            let taken = memfds::check()?;
            // What was refused is given to nobody, and what has come back to one.
            use_memory().context("using memory")?;
            let watched = pages.split('-').nth(memfds::WATCHED_PAGE);
            intact(watched.context("it was not described")?, forge)
                .context("a page of a damaged file")?;
            taken.are_whole()
        }
        Expected::Notes => notes::check(),
        Expected::Machines => machines::check(),
    }
}

fn accepted(sessions: &[Session], needs: &[(FileName, FileName)]) -> Result<()> {
    let device = device()?;
    let mut claimed = Vec::new();
    for (expected, tokens) in sessions {
        let session = device.retrieve_session(&name(expected))?;
        same("the name", session.name()?, name(expected))?;
        for &token in *tokens {
            let from_here = needs.iter().filter(|(from, _)| *from == (expected, token));
            let wanted: Vec<_> = from_here
                .map(|(_, (on, token))| (Some(name(on)), Token(*token)))
                .collect();
            let found = session.list_dependencies(Token(token))?.into_iter();
            let found: Vec<_> = found.map(|entry| (entry.session, entry.token)).collect();
            same("what it needs", found, wanted)?;
        }
        claimed.push((session, *tokens));
    }
    // Those that stand first need those behind them: these are taken back before them, and
    // finished after them.
    for (session, tokens) in claimed.iter().rev() {
        for &token in *tokens {
            session
                .retrieve_fd(Token(token))
                .with_context(|| format!("token {token:#x}"))?;
        }
    }
    for (session, _) in &claimed {
        session.finish()?;
    }
    same("the number of refusals", refusals()?.len(), 0)?;
    // What was accepted does not stand in the way of what comes.
    device.create_session(&name("new"))?;
    Ok(())
}

/// A file that no handler takes waits for one: everything else is there, and it stands in nobody's
/// way.
fn waits(own: &str) -> Result<()> {
    let device = device()?;
    same("lost files", device.info()?.lost_files, 0)?;
    let (victim, token) = BESIDE;
    let victim = device.retrieve_session(&name(victim))?;
    victim.retrieve_fd(Token(token))?;
    let own = device.retrieve_session(&name(own))?;
    let [waiting, other] = WAITING;
    let files = own.list_files()?;
    let told = files
        .iter()
        .map(|file| (file.token.0, file.status, file.error));
    let told = told.collect::<Vec<_>>();
    let here = FileStatus::Incoming;
    let expected = vec![(waiting, here, Some(Errno::EAGAIN)), (other, here, None)];
    same("its files", told, expected)?;
    refused(own.retrieve_fd(Token(waiting)), Errno::EAGAIN)?;
    own.retrieve_fd(Token(other))?;
    victim.finish()?;
    refused(own.finish(), Errno::EBUSY)?;
    same("the number of refusals", refusals()?.len(), 0)
}

/// All that is wrong is reported, not only the first of it.
fn refused_for_good(pages: &str, forge: &Forge) -> Result<()> {
    let mut complaints = Vec::new();
    let mut note = |result: Result<()>| complaints.extend(result.err());
    for attempt in ["first", "second"] {
        // What the boot has found is refused at the open, the rest at the first call.
        let used = Device::open().and_then(|device| device.info());
        note(refused(used, Errno::EIO).with_context(|| format!("the {attempt} use")));
    }
    note(reported_once());
    note(use_memory().context("using memory"));
    for page in pages.split('-') {
        note(intact(page, forge).with_context(|| format!("page {page}")));
    }
    let complaints: Vec<String> = complaints
        .iter()
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(())
}

/// A kernel that takes nothing over says that something was there.
///
/// # Errors
/// It does not.
pub(super) fn left_alone() -> Result<()> {
    let messages = kmsg::Reader::from_boot()?.read()?;
    let told = messages.iter().filter(|message| {
        message.is_luo()
            && message.is_warning()
            && message.text.contains("liveupdate=on is missing")
    });
    same("the number of warnings", told.count(), 1)
}

fn reported_once() -> Result<()> {
    let refusals = refusals()?;
    ensure!(
        refusals.len() == 1,
        "the kernel reports {refusals:?} instead of one refusal"
    );
    Ok(())
}

/// The orchestrator's warnings that say something was refused.
fn refusals() -> Result<Vec<String>> {
    let messages = kmsg::Reader::from_boot()?.read()?;
    let refusals = messages.into_iter().filter(|message| {
        message.is_luo() && message.is_warning() && message.text.contains("refused")
    });
    Ok(refusals.map(|message| message.text).collect())
}

/// Takes most of the free memory, which the kernel zeroes: were one of the
/// forged pages among it, its bytes would be gone.
fn use_memory() -> Result<()> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .context("/proc/meminfo has no MemAvailable")?;
    // Allocated by the kernel in one go: faulting it in page by page takes
    // three times as long under software emulation.
    let memory = memfd::create("all", 0)?;
    let length = kilobytes / 10 * 7 * 1024;
    Ok(rustix::fs::fallocate(
        &memory,
        FallocateFlags::empty(),
        0,
        length,
    )?)
}

/// `address.checksum`: the page still holds its bytes.
fn intact(page: &str, forge: &Forge) -> Result<()> {
    let (address, expected) = page.split_once('.').context("no address.checksum")?;
    let address = u64::from_str_radix(address, 16)?;
    let expected = u64::from_str_radix(expected, 16)?;
    let bytes: [u8; PAGE] = forge.memory(address)?;
    ensure!(checksum(&bytes) == expected, "its bytes have changed");
    Ok(())
}
