// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is charged for memory: a user's program and the administrator's are in control groups
//! of their own.
//!
//! | file | who |
//! |---|---|
//! | here | the administrator, who also makes the updates |
//! | [`holder`] | a user's program |
//! | [`property`] | what that program has |
//!
//! | kernel | what is seen in it |
//! |---|---|
//! | first | what the user's program holds is charged to its group, which gets it back; when the group is full, the program hears ENOMEM and nobody is killed |
//! | second | nobody takes anything back; the administrator's group has room for a part of it when the machine jumps; a file that the user has paid for goes along |
//! | third | what the user's program lets go of in a full group comes back to the machine; all else has come along; what the user has paid for is the user's again, whoever takes it, and waits until its group has room; so is what the user has paid for most of, and what the machine has carried on is its owner's |

mod holder;
mod property;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_scenes::stage::within;
use luo_sys::{Device, Errno, Needed, Session, Token};

use crate::cgroup::{Group, INEXACT};
use crate::check::{Suite, device, name, same};
use crate::fill::{self};
use crate::init::Guest;
use crate::program::{self, Program};
use crate::{kexec, port};

pub(crate) use holder::{ARGUMENT, main};
use property::{
    ENDED, ENDED_PAGES, FILES, LEFT, NEEDS, PAGE, PIPE, PIPE_BYTES, contents, pipe_bytes,
};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

const SUITE: Suite = Suite::new("accounts");

/// The user.
const UID: u32 = 3001;

/// How long the user's program may take for what it is told to do.
const PATIENCE: Duration = Duration::from_secs(100);

/// More than a user may have by default, and as much as that.
const DEPENDENCIES: u64 = 100_000;
/// Bytes that all of that takes at the least: a number for each dependency and its back link,
/// and the name of each file and session.
const AT_LEAST: u64 = FILES / 2 * NEEDS * 16 + (FILES + 63) * 64;

/// What the administrator's group may be charged for at the jump: less than is carried on.
const ROOM: u64 = 48 << 20;

/// Which kinds of files users may have.
const KINDS: &str = "/sys/kernel/liveupdate/user_kinds";

/// The session that somebody else takes back than who has paid for its memory.
const BACK: &str = "back";
const BACK_AT: usize = LEFT.len();
const BOTH_AT: usize = BACK_AT + 1;
const MOST_AT: usize = BOTH_AT + 1;
/// Its bytes, and for how many the group of who has paid has room at first.
const OWED: u64 = 16 << 20;
const TOO_LITTLE: u64 = 8 << 20;

/// Runs a kernel's part.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let groups = Groups::new()?;
    groups.administrator.enter()?;
    match guest.boot {
        0 => first(guest, &groups),
        1 => second(guest, &groups),
        _ => third(&groups),
    }
}

struct Groups {
    user: Group,
    administrator: Group,
}

impl Groups {
    fn new() -> Result<Self> {
        Ok(Self {
            user: Group::new("user")?,
            administrator: Group::new("administrator")?,
        })
    }

    /// Starts the user's program in its group.
    fn start(&self, part: &str) -> Result<Program> {
        let start = || Program::begin(UID, &[ARGUMENT, part], File::open("/dev/null")?);
        self.user.inside(&self.administrator, start)
    }

    /// Asserts that the kernel has killed nobody for want of memory.
    fn nobody_is_killed(&self) -> Result<()> {
        for group in [&self.user, &self.administrator] {
            same("who was killed", group.times("oom_kill")?, 0)?;
        }
        Ok(())
    }
}

fn first(guest: &Guest, groups: &Groups) -> Result<()> {
    fs::set_permissions("/dev/liveupdate", fs::Permissions::from_mode(0o666))?;
    let quota = "/sys/kernel/liveupdate/user_dependencies";
    fs::write(quota, DEPENDENCIES.to_string()).context(quota)?;
    let device = device()?;
    SUITE.case("what-a-user-holds-is-charged-to-its-group", || {
        holds(groups)
    });
    SUITE.case("a-full-group-is-told-and-nobody-is-killed", || {
        is_full(&device, groups)
    });
    SUITE.case("who-freezes-is-charged-for-nothing-of-users", || {
        freezes(&device, groups)
    });
    let mut held = Vec::new();
    for (at, (called, length)) in LEFT.into_iter().enumerate() {
        let session = device.create_session(&name(called))?;
        session.preserve_fd(fill::memfd("left", length, contents(at))?, Token(1))?;
        held.push(session);
    }
    kexec::go(guest, |_, _| ())
}

/// Waits for the user's program to do something, and gives by how much more each group is
/// charged afterwards.
fn costs(
    groups: &Groups,
    program: &mut Program,
    until: &str,
    begin: impl FnOnce() -> Result<()>,
) -> Result<(u64, u64)> {
    let (user, own) = (groups.user.charged()?, groups.administrator.charged()?);
    begin()?;
    program.says(until, 1, PATIENCE)?;
    let user = groups.user.charged()?.saturating_sub(user);
    let own = groups.administrator.charged()?.saturating_sub(own);
    port::progress(format!(
        "{until}: the user's {user}, the administrator's {own}"
    ));
    Ok((user, own))
}

fn holds(groups: &Groups) -> Result<()> {
    let mut program = groups.start(holder::HOLDS)?;
    program.says(program::READY, 1, PATIENCE)?;
    let before = groups.user.charged()?;
    let (user, own) = costs(groups, &mut program, holder::DONE, go)?;
    ensure!(user >= AT_LEAST, "{user} of {AT_LEAST} bytes");
    ensure!(own <= INEXACT, "the administrator is charged {own} bytes");
    fs::remove_file(program::GO)?;
    program.kill()?;
    within(PATIENCE, "that it is charged no more", || {
        Ok(groups.user.charged()? <= before)
    })
    .with_context(|| format!("{:?}", groups.user.charged()))
}

/// The program goes on.
fn go() -> Result<()> {
    fs::write(program::GO, "").context(program::GO)
}

fn is_full(device: &Device, groups: &Groups) -> Result<()> {
    /// How often the program is refused, at the least.
    const TIMES: u64 = 20;
    /// What its group has room for.
    const LITTLE: u64 = 2 << 20;
    let mut program = groups.start(holder::FILLS)?;
    program.says(program::READY, 1, PATIENCE)?;
    let before = groups.user.times("max")?;
    groups.user.limit(Some(groups.user.charged()? + LITTLE))?;
    go()?;
    within(PATIENCE, "that the group is full", || {
        ensure!(program.runs()?, "it has ended");
        Ok(groups.user.times("max")? >= before + TIMES)
    })?;
    // All others go on, and so does an update.
    let session = device.create_session(&name("vm"))?;
    for token in 1..=64 {
        let file = luo_sys::memfd::create("vm", 4096)?;
        session.preserve_fd(file, Token(token))?;
    }
    session.add_dependency(Token(1), Needed::Here(Token(2)))?;
    device.prepare().context("prepare")?;
    device.freeze().context("freeze")?;
    device.cancel().context("cancel")?;
    ensure!(program.runs()?, "it was killed");
    groups.nobody_is_killed()?;
    groups.user.limit(None)?;
    let said = program.says(holder::DONE, 1, PATIENCE)?;
    port::progress(&said);
    groups.nobody_is_killed()?;
    fs::remove_file(program::GO)?;
    program.kill()
}

/// What a user has written to a preserved file is looked at by the event, for which nobody pays who
/// asks for it.
fn freezes(device: &Device, groups: &Groups) -> Result<()> {
    let mut program = groups.start(holder::GROWS)?;
    program.says(program::READY, 1, PATIENCE)?;
    go()?;
    program.says(holder::DONE, 1, PATIENCE)?;
    device.prepare().context("prepare")?;
    let before = groups.administrator.charged()?;
    device.freeze().context("freeze")?;
    let after = groups.administrator.charged()?;
    device.cancel().context("cancel")?;
    port::progress(format!("freeze: from {before} to {after}"));
    fs::remove_file(program::GO)?;
    program.kill()?;
    ensure!(after <= before + INEXACT, "{before} became {after}");
    Ok(())
}

/// What has come is handed on, in a group that has no room for it.
fn second(guest: &Guest, groups: &Groups) -> Result<()> {
    let device = device()?;
    let session = device.create_session(&name(BACK))?;
    let make = || fill::memfd("back", OWED, contents(BACK_AT));
    let file = groups.user.inside(&groups.administrator, make)?;
    session.preserve_fd(file, Token(1))?;
    session.preserve_fd(of_both(groups)?, Token(2))?;
    session.preserve_fd(of_most(groups)?, Token(3))?;
    // A kind that a user may have by the administrator's choice.
    fs::write(KINDS, "all").context(KINDS)?;
    let pipes = device.create_session(&name(&format!("uid:{UID}:{PIPE}")))?;
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&writes, PIPE_BYTES)?;
    same(
        "what goes in",
        rustix::io::write(&writes, &pipe_bytes())?,
        PIPE_BYTES,
    )?;
    pipes.preserve_fd(reads, Token(1))?;
    let mut ended = Vec::new();
    for called in ENDED {
        let session = device.create_session(&name(&format!("uid:{UID}:{called}")))?;
        session.preserve_fd(scattered()?, Token(1))?;
        ended.push(session);
    }
    // The next kernel and its initramfs are nobody's here.
    kexec::load(guest, |_, _| ())?;
    let charged = groups.administrator.charged()?;
    port::progress(format!("the administrator's group is charged {charged}"));
    groups.administrator.limit(Some(charged + ROOM))?;
    Err(kexec::jump().into())
}

/// A file of pages each of which is told of alone.
fn scattered() -> Result<File> {
    let file = luo_sys::memfd::create("scattered", 2 * ENDED_PAGES * PAGE as u64)?;
    for page in 0..ENDED_PAGES {
        file.write_all_at(b"x", 2 * page * PAGE as u64)?;
    }
    Ok(file)
}

/// Bytes of memory that nobody has. Of pages that are freed each processor keeps some tens of MiB,
/// which `MemFree` does not count; one that has nothing to do never gives them back.
fn free() -> Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemFree:"));
    let number = line.context("no MemFree")?.trim().trim_end_matches(" kB");
    let zones = fs::read_to_string("/proc/zoneinfo")?;
    let kept = zones
        .lines()
        .filter_map(|line| line.trim().strip_prefix("count:"));
    let kept = kept.map(|pages| pages.trim().parse::<u64>());
    let pages = kept.sum::<Result<u64, _>>().context("zoneinfo")?;
    Ok(number.parse::<u64>()? * 1024 + pages * PAGE as u64)
}

/// Sessions of which a user has taken nothing back are ended by a program whose group is full:
/// by FINISH, and by being killed.
fn lets_go(groups: &Groups) -> Result<()> {
    /// What the group has room for: less than the list of the pages takes.
    const LITTLE: u64 = 32 << 10;
    /// What else is asked for meanwhile, or freed.
    const ELSE: u64 = 16 << 20;
    for part in [holder::FINISHES, holder::HAS] {
        let mut program = groups.start(part)?;
        program.says(program::READY, 1, PATIENCE)?;
        groups.user.limit(Some(groups.user.charged()? + LITTLE))?;
        let before = free()?;
        let killed = part == holder::HAS;
        if killed {
            program.kill()?;
        } else {
            go()?;
        }
        let come = before + ENDED_PAGES * PAGE as u64 - ELSE;
        let comes = within(PATIENCE, "that the memory comes back", || {
            Ok(free()? >= come)
        });
        port::progress(format!("{part}: {before} became {}", free()?));
        groups.user.limit(None)?;
        if !killed {
            fs::remove_file(program::GO)?;
            program.says(holder::DONE, 1, PATIENCE)?;
            program.kill()?;
        }
        comes?;
        groups.nobody_is_killed()?;
    }
    Ok(())
}

/// A file of which the user's group has one page, the first, and the administrator's all others.
fn of_both(groups: &Groups) -> Result<File> {
    let source = fill::memfd("source", OWED, contents(BOTH_AT))?;
    let mut bytes = vec![0; usize::try_from(OWED)?];
    source.read_exact_at(&mut bytes, 0)?;
    let (first, others) = bytes.split_at(PAGE);
    let make = || {
        let file = luo_sys::memfd::create("both", OWED)?;
        file.write_all_at(first, 0)?;
        Ok(file)
    };
    let file = groups.user.inside(&groups.administrator, make)?;
    file.write_all_at(others, PAGE as u64)?;
    Ok(file)
}

/// A file of which the administrator's group has one page, the first, and the user's all others.
fn of_most(groups: &Groups) -> Result<File> {
    let source = fill::memfd("source", OWED, contents(MOST_AT))?;
    let mut bytes = vec![0; usize::try_from(OWED)?];
    source.read_exact_at(&mut bytes, 0)?;
    let (first, others) = bytes.split_at(PAGE);
    let file = luo_sys::memfd::create("most", OWED)?;
    file.write_all_at(first, 0)?;
    let write = || Ok(file.write_all_at(others, PAGE as u64)?);
    groups.user.inside(&groups.administrator, write)?;
    Ok(file)
}

/// Takes a file back, and gives by how much more each group is charged afterwards.
fn taken(groups: &Groups, session: &Session, token: u64) -> Result<(File, u64, u64)> {
    let (user, own) = (groups.user.charged()?, groups.administrator.charged()?);
    let file = File::from(session.retrieve_fd(Token(token))?);
    let user = groups.user.charged()?.saturating_sub(user);
    let own = groups.administrator.charged()?.saturating_sub(own);
    port::progress(format!(
        "taken back: the user's {user}, the administrator's {own}"
    ));
    Ok((file, user, own))
}

/// Nobody pays for what others have written to a file, because it has touched the file first.
fn owes_nothing(groups: &Groups, session: &Session) -> Result<()> {
    let (file, user, own) = taken(groups, session, 2)?;
    fill::verify(&file, OWED, contents(BOTH_AT))?;
    ensure!(user <= INEXACT, "the user is charged {user} bytes");
    ensure!(own + INEXACT >= OWED, "who takes it is charged {own} bytes");
    groups.nobody_is_killed()
}

/// Nobody gets rid of a file by having another touch a page of it.
fn owes_most(groups: &Groups, session: &Session) -> Result<()> {
    let (file, user, own) = taken(groups, session, 3)?;
    fill::verify(&file, OWED, contents(MOST_AT))?;
    ensure!(user + INEXACT >= OWED, "the user is charged {user} bytes");
    ensure!(own <= INEXACT, "who takes it is charged {own} bytes");
    groups.nobody_is_killed()
}

/// A file that its owner's group has no room for is not lost, and hurts nobody.
fn owes(groups: &Groups, session: &Session) -> Result<()> {
    groups
        .user
        .limit(Some(groups.user.charged()? + TOO_LITTLE))?;
    for _ in 0..3 {
        let refused = session.retrieve_fd(Token(1)).map_err(|why| why.errno());
        same("the file's error", refused.err(), Some(Errno::ENOMEM))?;
    }
    groups.user.limit(None)?;
    let (file, user, own) = taken(groups, session, 1)?;
    fill::verify(&file, OWED, contents(BACK_AT))?;
    ensure!(user + INEXACT >= OWED, "its owner is charged {user} bytes");
    ensure!(own <= INEXACT, "who takes it is charged {own} bytes");
    groups.nobody_is_killed()
}

/// A pipe that its owner's group has no room for is refused until there is some.
fn pipe_waits(groups: &Groups) -> Result<()> {
    /// What the group has room for: less than the pipe holds.
    const LITTLE: u64 = 32 << 10;
    /// How often the program is refused, at the least.
    const TIMES: u64 = 20;
    let mut program = groups.start(holder::PIPES)?;
    program.says(program::READY, 1, PATIENCE)?;
    let before = groups.user.times("max")?;
    groups.user.limit(Some(groups.user.charged()? + LITTLE))?;
    go()?;
    within(PATIENCE, "that the group is full", || {
        ensure!(program.runs()?, "it has ended");
        Ok(groups.user.times("max")? >= before + TIMES)
    })?;
    groups.user.limit(None)?;
    let said = program.says(holder::DONE, 1, PATIENCE)?;
    port::progress(&said);
    groups.nobody_is_killed()?;
    fs::remove_file(program::GO)?;
    program.kill()
}

fn third(groups: &Groups) -> Result<()> {
    fs::set_permissions("/dev/liveupdate", fs::Permissions::from_mode(0o666))?;
    SUITE.case("what-is-let-go-of-in-a-full-group-comes-back", || {
        lets_go(groups)
    });
    let opened = device()?;
    let session = opened.retrieve_session(&name(BACK))?;
    SUITE.case(
        "what-does-not-fit-is-tried-again-and-its-owner-pays",
        || owes(groups, &session),
    );
    SUITE.case("who-touched-it-first-does-not-pay-for-others", || {
        owes_nothing(groups, &session)
    });
    SUITE.case("who-has-most-of-it-pays", || owes_most(groups, &session));
    session.finish()?;
    drop((session, opened));
    SUITE.case("a-full-group-loses-nothing-that-it-carries-on", || {
        let device = device()?;
        let session = device.retrieve_session(&name("vm"))?;
        let file = File::from(session.retrieve_fd(Token(1))?);
        fill::verify(&file, LEFT[1].1, contents(1))?;
        Ok(session.finish()?)
    });
    SUITE.case("a-pipe-that-does-not-fit-kills-nobody", || {
        pipe_waits(groups)
    });
    // The administrator had written it, two kernels ago.
    SUITE.case("what-was-carried-on-is-its-owners", || {
        let mut program = groups.start(holder::TAKES)?;
        program.says(program::READY, 1, PATIENCE)?;
        let (user, own) = costs(groups, &mut program, holder::DONE, go)?;
        ensure!(own + INEXACT >= LEFT[0].1, "its owner: {own} bytes");
        ensure!(user <= INEXACT, "who takes it is charged {user} bytes");
        fs::remove_file(program::GO)?;
        program.kill()
    });
    Ok(())
}
