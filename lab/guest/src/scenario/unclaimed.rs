// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session that nobody claims for two further kernels, and the fourth does.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result, ensure};
use luo_sys::memfd::{self, Seals};
use luo_sys::{
    Device, Direction, Errno, FileStatus, Needed, Session, SessionState, State, Token, Which,
};
use rustix::fs::OFlags;

use crate::check::{Suite, device, name, refused, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("unclaimed");
const SESSION: &str = "heirloom";

/// Kernels in which it waits, after the one that made it.
const WAITS: u32 = 2;

/// A memfd with seals, and one that its owner may only read; the first needs the
/// second.
const SEALED: Token = Token(7);
const READ_ONLY: Token = Token(u64::MAX);

const SEALS: Seals = Seals::WRITE.union(Seals::GROW).union(Seals::SHRINK);
const LENGTH: u64 = (1 << 18) + 77;
const POSITION: u64 = 1234;

/// Makes it, lets it wait, takes it back.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    match guest.boot {
        0 => {
            let _session = leave()?;
            kexec::go(guest, |_, _| ())
        }
        boot if boot <= WAITS => {
            SUITE.case(format_args!("waits-in-kernel-{boot}"), waits);
            kexec::go(guest, |_, _| ())
        }
        _ => arrive(),
    }
}

fn contents(token: Token) -> Prng {
    Prng::of(&[0xe1, token.0])
}

fn leave() -> Result<Session> {
    let session = device()?.create_session(&name(SESSION))?;
    let mut sealed = fill::memfd(SESSION, LENGTH, contents(SEALED))?;
    memfd::add_seals(&sealed, SEALS)?;
    session.preserve_fd(&sealed, SEALED)?;
    sealed.seek(SeekFrom::Start(POSITION))?;
    let writable = fill::memfd(SESSION, LENGTH, contents(READ_ONLY))?;
    let read_only = File::open(format!("/proc/self/fd/{}", writable.as_raw_fd()))?;
    session.preserve_fd(&read_only, READ_ONLY)?;
    session.add_dependency(SEALED, Needed::Here(READ_ONLY))?;
    Ok(session)
}

/// It is seen, and nobody touches it.
fn waits() -> Result<()> {
    let device = device()?;
    same("the state", device.state()?, State::Updated)?;
    let sessions = device.list_sessions(Which::All)?;
    let [session] = sessions.as_slice() else {
        anyhow::bail!("the sessions are {sessions:?}");
    };
    same("the name", session.name, Some(name(SESSION)))?;
    same("the direction", session.direction, Direction::Incoming)?;
    same("how it stands", session.state, SessionState::Unclaimed)?;
    same("the files", session.files, 2)
}

fn arrive() -> Result<()> {
    SUITE.case("waits-in-the-last-kernel", waits);
    let device = device()?;
    let session = device.retrieve_session(&name(SESSION))?;
    SUITE.case("dependency", || dependency(&session));
    SUITE.case("contents-and-position", || whole(&session));
    SUITE.case("seals", || seals(&session));
    SUITE.case("read-only", || read_only(&session));
    SUITE.case("finish", || finish(&device, &session));
    Ok(())
}

fn dependency(session: &Session) -> Result<()> {
    let tokens: Vec<Token> = session
        .list_files()?
        .iter()
        .map(|file| file.token)
        .collect();
    same("the tokens", tokens, vec![SEALED, READ_ONLY])?;
    let needs = session.list_dependencies(SEALED)?;
    ensure!(needs.len() == 1, "it needs {needs:?}");
    same("the token", needs[0].token, READ_ONLY)?;
    session.retrieve_fd(SEALED)?;
    let needed = session.list_dependencies(SEALED)?;
    same("what it needs", needed[0].status, FileStatus::Retrieved)
}

fn file(session: &Session, token: Token) -> Result<File> {
    Ok(File::from(session.retrieve_fd(token)?))
}

fn whole(session: &Session) -> Result<()> {
    for (token, position) in [(SEALED, POSITION), (READ_ONLY, 0)] {
        let mut file = file(session, token)?;
        same("the position", file.stream_position()?, position)?;
        fill::verify(&file, LENGTH, contents(token)).with_context(|| format!("token {token}"))?;
    }
    Ok(())
}

fn seals(session: &Session) -> Result<()> {
    same("the seals", memfd::seals(&file(session, SEALED)?)?, SEALS)?;
    let unsealed = file(session, READ_ONLY)?;
    same("the seals", memfd::seals(&unsealed)?, Seals::empty())
}

fn read_only(session: &Session) -> Result<()> {
    for (token, expected) in [(SEALED, OFlags::RDWR), (READ_ONLY, OFlags::RDONLY)] {
        let flags = rustix::fs::fcntl_getfl(file(session, token)?)?;
        same("the mode", flags & OFlags::ACCMODE, expected)?;
    }
    let file = file(session, READ_ONLY)?;
    ensure!(file.write_all_at(b"x", 0).is_err(), "it can be written");
    // A program that has the right to may open it for writing, as before.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let writable = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(writable.write_all_at(b"x", 0)?)
}

fn finish(device: &Device, session: &Session) -> Result<()> {
    same(
        "live updates",
        device.info()?.update_count,
        u64::from(WAITS) + 1,
    )?;
    session.finish()?;
    same("the state", device.state()?, State::Normal)?;
    // Its descriptor is still open: as in mainline it counts as retrieved.
    refused(device.retrieve_session(&name(SESSION)), Errno::EINVAL)
}
