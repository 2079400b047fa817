// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cannot go with a reboot is lost alone, and the next kernel is told.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use luo_sys::unanswered::Unanswered;
use luo_sys::{Device, Errno, FileStatus, Needed, Session, State, Token};

use super::tools::{
    NO_CONTRACT, enter, incoming, lines, memory, retrieve, session, state_is, untouched,
};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, same, seen, skip};
use crate::difference::{Expect, missing, simulated};
use crate::forge::{self, Fault, HANDLER, Hold, ODD, SUBSYSTEMS, Subsystems};
use crate::kmsg::Reader;
use crate::patience::PATIENCE;
use crate::user::{AllKinds, Delegated, USERS, as_user};

/// The token of the file that is lost.
const BAD: Token = Token(7);

pub(super) const CASES: &[Case] = &[
    here("a-users-losses-leave-lines-for-others", lines_for_others).but(&[missing(NO_CONTRACT)]),
    alone("both-kernels-say-it", &[leave_watched, both_said]).but(&[missing(NO_CONTRACT)]),
    alone("a-veto-loses-the-file-alone", &[leave_bad, told]).but(&[missing(NO_CONTRACT)]),
    alone("after-the-events-too", &[leave_frozen, told]).but(&[missing(NO_CONTRACT)]),
    alone("with-those-that-need-it", &[leave_needed, dependents_too]).but(&[missing(NO_CONTRACT)]),
    alone("who-misses-another-is-lost", &[leave_missing, missed]).but(&[missing(NO_CONTRACT)]),
    alone("a-registered-file", &[leave_registered, registered_lost]).but(&[missing(NO_CONTRACT)]),
    alone(
        "held-memfds-are-waited-for-together",
        &[leave_held, held_lost],
    )
    .but(&[
        missing(NO_CONTRACT),
        simulated(Expect::Unseen("it waits for no lock of a memfd")),
    ]),
    alone("what-cannot-be-carried", &[leave_good, fail_to_carry, told])
        .but(&[missing(NO_CONTRACT)]),
    alone(
        "it-is-told-until-it-is-finished",
        &[leave_bad, untouched, told_again],
    )
    .but(&[missing(NO_CONTRACT)]),
];

/// A session with a memfd, and with a file of the driver.
fn with_bad() -> Result<Session> {
    let device = device()?;
    // What mainline lacks is said first.
    device.info()?;
    let session = session(&device, "lost", 1)?;
    session.preserve_fd(forge::open()?, BAD)?;
    Ok(session)
}

fn leave_bad(context: &mut Context<'_>) -> Result<()> {
    context.hold(with_bad()?);
    context.hold(Fault::Freeze(ODD).inject()?);
    Ok(())
}

fn leave_frozen(context: &mut Context<'_>) -> Result<()> {
    context.hold(with_bad()?);
    enter(&device()?, State::Frozen)?;
    context.hold(Fault::Freeze(ODD).inject()?);
    Ok(())
}

fn leave_good(context: &mut Context<'_>) -> Result<()> {
    context.hold(with_bad()?);
    Ok(())
}

/// The session is there without it.
fn look(session: &Session) -> Result<()> {
    refused(session.retrieve_fd(BAD), Errno::ENOTRECOVERABLE)?;
    refused(session.retrieve_fd(BAD), Errno::ENOTRECOVERABLE).context("again")?;
    refused(session.retrieve_fd(Token(9)), Errno::ENOENT)?;
    let files = session.list_files()?;
    let lost = files.iter().find(|file| file.token == BAD);
    let lost = lost.context("it is not listed")?;
    same("the status", lost.status, FileStatus::Lost)?;
    same("the error", lost.error, Some(ODD))?;
    retrieve(session, "lost", 1)?;
    Ok(())
}

/// This kernel says how many files the last one has lost.
fn says(files: u64) -> Result<()> {
    let files = if files == 1 {
        "1 file".to_owned()
    } else {
        format!("{files} files")
    };
    let line = format!("luo: {files}, 0 sessions and 0 subsystems were lost in the update");
    let log = Reader::from_boot()?.read()?;
    let said = log.iter().filter(|message| message.text == line);
    ensure!(said.count() == 1, "the log does not say once: {line}");
    Ok(())
}

fn told(_: &mut Context<'_>) -> Result<()> {
    says(1)?;
    let device = device()?;
    let info = device.info()?;
    same("lost files", info.lost_files, 1)?;
    same("lost sessions", info.lost_sessions, 0)?;
    let session = device.retrieve_session(&name("lost"))?;
    look(&session)?;
    session.finish()?;
    state_is(&device, State::Normal)
}

/// What a user loses, and how much of it the log names.
const USERS_FILES: u64 = 6;
const USERS_NAMED: usize = 4;

/// A session of a user's with files of the driver, more than are named when they are lost.
fn of_user() -> Result<Session> {
    let (_delegated, _kinds) = (Delegated::new()?, AllKinds::new()?);
    let made = || Ok(Device::open()?.create_session(&name("drowns"))?);
    let session = as_user(USERS[0], made)?;
    for token in 1..=USERS_FILES {
        session.preserve_fd(forge::open()?, Token(token))?;
    }
    Ok(session)
}

/// The lines of the orchestrator that name what of a session is lost.
fn naming<'a>(lines: &'a [String], session: &str) -> Vec<&'a String> {
    let begin =
        format!("luo: lost in the reboot: handler {HANDLER} vetoes for session \"{session}\"");
    let is_such = |line: &&String| line.starts_with(&begin) && line.ends_with(": EFBIG");
    lines.iter().filter(is_such).collect()
}

/// However much a user loses, a few lines name it, and one counts the rest.
fn lines_for_others(context: &mut Context<'_>) -> Result<()> {
    device()?.info()?;
    let _users = of_user()?;
    // Asked behind the user's, it vetoes the reboot, so that the log can be read here.
    let _own = with_bad()?;
    let mut log = Reader::from_now()?;
    let fault = Fault::Freeze(ODD).inject()?;
    let refusal = context.refused_kexec()?;
    drop(fault);
    refused(Err::<(), _>(refusal), ODD)?;
    let lines = lines(&mut log)?;
    let named = naming(&lines, &format!("uid:{}:drowns", USERS[0]));
    same("lines that name a user's", named.len(), USERS_NAMED)?;
    let rest = format!(
        "luo: lost in the reboot: {} more of users without privileges, not named one by one",
        USERS_FILES - USERS_NAMED as u64
    );
    let rest = lines.iter().filter(|line| **line == rest).count();
    same("lines that count the rest", rest, 1)?;
    let veto = lines.iter().filter(|line| line.contains("reboot fails"));
    let veto: Vec<_> = veto.collect();
    ensure!(
        veto.len() == 1 && veto[0].contains("\"lost\", token 0x7"),
        "the veto is {veto:?}"
    );
    Ok(())
}

/// The file in which a kernel's log goes over to the next one.
const LOG: Token = Token(1);

/// When files are lost, and before subsystems freeze, the reboot is held up. What the log says
/// then is written into memory that goes over.
fn leave_watched(context: &mut Context<'_>) -> Result<()> {
    device()?.info()?;
    let users = of_user()?;
    let own = device()?.create_session(&name("lost"))?;
    let paper = memory("lost", 1)?;
    own.preserve_fd(&paper, LOG)?;
    own.preserve_fd(forge::open()?, BAD)?;
    Subsystems::register()?.keep();
    let hold = Hold::on(format!("freeze:{}", SUBSYSTEMS[0]))?;
    let mut log = Reader::from_now()?;
    context.hold((users, own, Fault::Freeze(ODD).inject()?));
    thread::spawn(move || -> Result<()> {
        hold.reached()?;
        let mut text = lines(&mut log)?.join("\n");
        text.push('\0');
        Ok(paper.write_all_at(text.as_bytes(), 0)?)
    });
    Ok(())
}

fn both_said(_: &mut Context<'_>) -> Result<()> {
    let files = USERS_FILES + 1;
    says(files)?;
    same("lost files", device()?.info()?.lost_files, files)?;
    let session = incoming("lost")?;
    let mut text = Vec::new();
    let mut paper = File::from(session.retrieve_fd(LOG)?);
    paper.rewind()?;
    paper.read_to_end(&mut text)?;
    let end = text.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&text[..end.context("nothing was written")?]).into_owned();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let users = naming(&lines, &format!("uid:{}:drowns", USERS[0])).len();
    let own = naming(&lines, "lost").len();
    ensure!(
        (users, own) == (USERS_NAMED, 1),
        "the last kernel said {lines:?}"
    );
    session.finish()?;
    Ok(incoming(&format!("uid:{}:drowns", USERS[0]))?.finish()?)
}

fn leave_needed(context: &mut Context<'_>) -> Result<()> {
    let session = with_bad()?;
    session.preserve_fd(memory("lost", 2)?, Token(2))?;
    session.add_dependency(Token(2), Needed::Here(BAD))?;
    context.hold(session);
    context.hold(Fault::Freeze(ODD).inject()?);
    Ok(())
}

fn dependents_too(_: &mut Context<'_>) -> Result<()> {
    same("lost files", device()?.info()?.lost_files, 2)?;
    let session = incoming("lost")?;
    look(&session)?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOTRECOVERABLE)?;
    Ok(session.finish()?)
}

fn leave_missing(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    let session = session(&device, "misses", 3)?;
    session.add_dependency(Token(1), Needed::Here(Token(2)))?;
    session.unpreserve_fd(Token(2))?;
    context.hold(session);
    Ok(())
}

fn missed(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("misses")?;
    refused(session.retrieve_fd(Token(1)), Errno::ENOTRECOVERABLE)?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOENT)?;
    retrieve(&session, "misses", 3)?;
    Ok(session.finish()?)
}

fn leave_registered(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    let good = device.fd_preserve(memory("registered", 1)?)?;
    let bad = device.fd_preserve(forge::open()?)?;
    context.note("good", good.0);
    context.note("bad", bad.0);
    context.hold(device);
    context.hold(Fault::Preserve(ODD).inject()?);
    Ok(())
}

fn registered_lost(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let bad = Token(context.noted("bad")?);
    refused(device.fd_restore(bad), Errno::ENOTRECOVERABLE)?;
    let arrived = device.list_arrived_files()?;
    let lost = arrived.iter().find(|file| file.token == bad);
    same(
        "the status",
        lost.map(|file| file.status),
        Some(FileStatus::Lost),
    )?;
    device.fd_restore(Token(context.noted("good")?))?;
    Ok(device.finish_update()?)
}

/// Memfds that somebody writes to and does not end: two seconds for each would be too long.
const HELD: u64 = 60;
/// Seconds in which the machine goes over all the same.
const IN_TIME: u64 = 60;

/// Seconds of the wall clock, which each kernel begins by the machine's.
fn wall_clock() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn leave_held(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    seen(
        context.implementation.is_kernel(),
        "the simulator waits for no lock of a memfd",
    )?;
    if !Unanswered::is_there() {
        return Err(skip("no fault stays unanswered here"));
    }
    for number in 0..HELD {
        let file = memory("held", 1)?;
        let token = device.fd_preserve(&file)?;
        if number == 0 {
            context.note("first", token.0);
        }
        let page = Arc::new(Unanswered::new()?);
        let own = Arc::clone(&page);
        // It does not come back.
        thread::spawn(move || own.write_to(&file));
        ensure!(
            page.is_reached(PATIENCE)?,
            "the writer does not stand still"
        );
        context.hold(page);
    }
    context.hold(device);
    context.note("begun", wall_clock()?);
    Ok(())
}

fn held_lost(context: &mut Context<'_>) -> Result<()> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split('.').next().context("no uptime")?;
    let booted = wall_clock()?.saturating_sub(uptime.parse()?);
    let took = booted.saturating_sub(context.noted("begun")?);
    let device = device()?;
    same("lost files", device.info()?.lost_files, HELD)?;
    refused(
        device.fd_restore(Token(context.noted("first")?)),
        Errno::ENOTRECOVERABLE,
    )?;
    device.finish_update()?;
    ensure!(took <= IN_TIME, "the jump took {took} s");
    Ok(())
}

fn fail_to_carry(context: &mut Context<'_>) -> Result<()> {
    same("lost files", device()?.info()?.lost_files, 0)?;
    context.hold(Fault::Preserve(ODD).inject()?);
    Ok(())
}

/// The reboot between has lost nothing.
fn told_again(_: &mut Context<'_>) -> Result<()> {
    let info = device()?.info()?;
    ensure!(info.lost_files == 0, "lost anew: {}", info.lost_files);
    let session = incoming("lost")?;
    look(&session)?;
    Ok(session.finish()?)
}
