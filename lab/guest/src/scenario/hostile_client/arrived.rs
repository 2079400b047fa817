// SPDX-License-Identifier: MIT OR Apache-2.0
//! The next kernel: the hostile program opens the device first, and asks for everything.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use luo_calls::{LINES, LINES_SECONDS};
use luo_conformance::check::skip;
use luo_sys::{Device, FileStatus, SessionState, State, Token};

use super::attack;
use super::cast::{
    BASE, BUSY, COSTLY, GIVEN, GUEST, JUMPED, LENGTHS, LINER, OTHER, OTHERS, PASSED, PASSED_BYTES,
    PATIENCE, SMALL, SUITE, UID, contents, wall_clock,
};
use super::evil::ARGUMENT;
use super::groups::{Evil, Groups};
use super::holdings::state_of;
use super::timed::Timed;
use super::{busy, ending, evil, groups, inherited, lines, programs, shares, small, taking_back};
use crate::cgroup::Group;
use crate::check::{device, name, same};
use crate::fill;
use crate::init::Guest;
use crate::kmsg::{Follower, Message};
use crate::port;
use crate::program::{self, Program};

/// Lines of the orchestrator's that an update has anyway.
const FEW: u64 = 64;

/// Bytes that a group has room for which is full.
const LITTLE: u64 = 512 << 10;

pub(super) fn run(guest: &Guest, groups: &Groups, timed: &Timed) -> Result<()> {
    let bound = timed.of_event();
    SUITE.case("the-reboot-ends-in-time", || jumped_within(guest, bound));
    let log = Follower::from_now("hostile-client: that is all")?;
    let begun = Instant::now();
    // It has no descriptor of the administrator's yet.
    let nothing = File::open("/dev/null")?;
    let mut evil = Evil::begin(groups, &[nothing.as_fd()], attack::AFTER)?;
    SUITE.case("each-attack-is-tried-after", || evil.has_tried_all());
    let mut costly = groups.start(COSTLY, programs::COSTLY_AFTER, &[])?;
    SUITE.case("costly-calls-are-tried-after", || try_costly(&mut costly));
    let device = device()?;
    SUITE.case("what-never-ended-is-lost-alone", || {
        is_lost_alone(&device, timed)
    });
    SUITE.case("what-others-shared-is-lost-alone", || {
        shares::are_lost_alone(&device, timed)
    });
    SUITE.case("closed-ones-of-others-are-let-alone", || {
        stays_closed(&device, timed)
    });
    SUITE.case("a-full-group-takes-nothing-of-others", || {
        // It makes so many calls that they would have no end soon, each behind all of theirs.
        let alone = || costly.while_it_stands(|| takes_nothing(&device, groups));
        evil.program.while_it_stands(alone)
    });
    SUITE.case("memory-comes-back-beside-idle-threads", || {
        taking_back::take_back_beside(&device, groups)
    });
    SUITE.case("memory-is-there", || guest_is_there(&device, timed));
    SUITE.case("memory-of-the-other-user-is-there", || {
        other_is_there(&device)
    });
    SUITE.case("sessions-end-in-a-full-group", || {
        ending::end_in_a_full_group(&device, groups, timed)
    });
    let mut stands = None;
    SUITE.case("one-end-of-a-pipe-is-had-and-held", || {
        shares::can_hold()?;
        let nothing = File::open("/dev/null")?;
        let passed = [nothing.as_fd()];
        let program = stands.insert(groups.start(LINER, lines::AFTER, &passed)?);
        program.says(evil::TRIED, 1, PATIENCE)?;
        Ok(())
    });
    SUITE.case("update-ends", || {
        // The ends that are held let nobody else's call do it before.
        let finished = timed.event("finish, beside lines of writers", || device.finish_update());
        if stands.is_some() {
            finished.context("finish")?;
        }
        same("the state", device.info()?.state, Some(State::Normal))
    });
    SUITE.case("the-log-is-not-flooded", || is_not_flooded(log, begun));
    SUITE.case("all-is-in-time-after", || {
        ensure!(costly.runs()?, "the costly calls have ended");
        costly.kill()?;
        timed.were_in_time()
    });
    if let Some(mut program) = stands {
        program.kill()?;
    }
    SUITE.case("nothing-is-let-through-after", || evil.was_let_nowhere());
    evil.program.kill()
}

/// Whether the machine has come from the load of the kernel to here within a bound.
fn jumped_within(guest: &Guest, bound: Duration) -> Result<()> {
    let jumped = guest.args.get(JUMPED, 0_u64)?;
    // Each kernel measures anew how fast its clock goes, which an emulated machine under load
    // has it get wrong by a factor.
    let took = wall_clock()?.checked_sub(jumped);
    let took = took.ok_or_else(|| skip("the clock of the kernel before went too fast"))?;
    let took = Duration::from_secs(took);
    port::progress(format!("from the load to here it took {took:?}"));
    ensure!(took <= bound, "{took:?} of {bound:?}");
    Ok(())
}

/// Has the costly calls begin.
fn try_costly(costly: &mut Program) -> Result<()> {
    port::progress(costly.says(program::READY, 1, PATIENCE)?);
    groups::storm_of(costly, programs::COSTLY_AFTER)
}

/// What was in the hands of a call that never ended is lost, and nothing else.
fn is_lost_alone(device: &Device, timed: &Timed) -> Result<()> {
    // Of the user's: the call that hangs, and the file that nobody could let go of.
    let lost = device.info()?.lost_files;
    ensure!(lost > 2, "{lost} files are lost");
    let [_, hangs, _] = GIVEN;
    let session = timed.call("RETRIEVE_SESSION", || device.retrieve_session(&name(hangs)))?;
    let files = session.list_files()?;
    let told = files.iter().map(|file| (file.token, file.status));
    let hung = vec![(Token(1), FileStatus::Lost)];
    same("its files", told.collect::<Vec<_>>(), hung)?;
    session.finish().context("finish")
}

/// A session of the administrator's that is closed and needed stays as it is.
fn stays_closed(device: &Device, timed: &Timed) -> Result<()> {
    let base = timed.call("RETRIEVE_SESSION", || device.retrieve_session(&name(BASE)))?;
    timed.call("RETRIEVE_FD of a page", || base.retrieve_fd(Token(1)))?;
    drop(base);
    // The hostile program closes and finishes its own all the time.
    for _ in 0..100 {
        same(
            "the closed session",
            state_of(device, BASE)?,
            Some(SessionState::Unfinished),
        )?;
    }
    Ok(())
}

/// A program without memory left costs others nothing.
fn takes_nothing(device: &Device, groups: &Groups) -> Result<()> {
    let guest = groups.guest();
    if let Ok(guest) = guest {
        is_full(device, guest)?;
    }
    let session = device.retrieve_session(&name(PASSED))?;
    let file = File::from(session.retrieve_fd(Token(1))?);
    fill::verify(&file, PASSED_BYTES, contents(PASSED_BYTES))?;
    same("who was killed", guest?.times("oom_kill")?, 0)
}

/// The guest's memory comes back whole, and its session can be finished.
fn guest_is_there(device: &Device, timed: &Timed) -> Result<()> {
    let session = timed.call("RETRIEVE_SESSION", || device.retrieve_session(&name(GUEST)))?;
    for (token, length) in (0..).zip(LENGTHS).collect::<Vec<_>>().into_iter().rev() {
        // With the last all that it needs is restored, which is the guest's memory.
        let file = timed.call("RETRIEVE_FD", || session.retrieve_fd(Token(token)))?;
        fill::verify(&File::from(file), length, contents(token))?;
    }
    let [eventfd, timer] =
        SMALL.map(|token| timed.call("RETRIEVE_FD of a page", || session.retrieve_fd(token)));
    small::work(&[eventfd?, timer?])?;
    timed.call("LIST_FILES", || session.list_files())?;
    timed
        .call("FINISH", || session.finish())
        .context("finish")?;
    same("the closed session", state_of(device, BASE)?, None)
}

fn other_is_there(device: &Device) -> Result<()> {
    let session = device.retrieve_session(&name(OTHER))?;
    let file = File::from(session.retrieve_fd(Token(1))?);
    fill::verify(&file, OTHERS, contents(OTHERS))?;
    let [reads, writes] = BUSY.map(|token| session.retrieve_fd(token));
    busy::works(reads.context("the busy pipe")?, writes?)?;
    session.finish().context("finish")
}

/// What a program has repeated since `begun` does not push other lines out of the log.
fn is_not_flooded(log: Follower, begun: Instant) -> Result<()> {
    let told = log.end()?;
    let reserved = told
        .iter()
        .find(|line| line.text.contains("stays reserved"));
    ensure!(reserved.is_none(), "{reserved:?}");
    let spans = begun.elapsed().as_secs() / LINES_SECONDS + 2;
    let closed = |message: &&Message| message.is_luo() && message.text.contains("closed");
    let lines = told.iter().filter(closed).count() as u64;
    let ours = told.iter().filter(|message| message.is_luo()).count() as u64;
    let all = told.len();
    port::progress(format!(
        "of {all} lines in {:?} {ours} are the orchestrator's, {lines} of them of closes",
        begun.elapsed()
    ));
    let most = u64::from(LINES) * spans;
    ensure!((1..=most).contains(&lines), "{lines} lines of {most}");
    // What else it tells of is not for a program to repeat.
    ensure!(ours <= most + FEW, "{ours} lines of {most}");
    Ok(())
}

/// A program whose group is full asks for what needs another's.
fn is_full(device: &Device, guest: &Group) -> Result<()> {
    let quota = "/sys/kernel/liveupdate/user_dependencies";
    fs::write(quota, "1000000").context(quota)?;
    let full = Group::new("full")?;
    let stdin = inherited::pass(&[device.as_fd()])?;
    let arguments = [ARGUMENT, programs::IS_FULL];
    let begin = || Program::begin(UID, &arguments, stdin);
    let mut program = full.inside(guest, begin)?;
    program.says(program::READY, 1, PATIENCE)?;
    full.limit(Some(full.charged()? + LITTLE))?;
    fs::write(program::GO, "")?;
    program.says(evil::TRIED, 1, PATIENCE)?;
    let through = program.has_said(evil::LET_THROUGH);
    ensure!(through.is_empty(), "{through:?}");
    ensure!(full.times("max")? > 0, "it was never full");
    same("who was killed", full.times("oom_kill")?, 0)?;
    program.kill()
}
