// SPDX-License-Identifier: MIT OR Apache-2.0
//! Further programs beside [`super::evil`], each with one way to hurt, which would keep the
//! attacks of that one from being seen.
//!
//! | part | what it does |
//! |---|---|
//! | [`HOLDS`] | it has sessions of the administrator's, makes one miss a file, and hangs in a call on another |
//! | [`HOLDS_FROZEN`] | as that once the machine is frozen; and it closes a third |
//! | [`NUMBERS`] | as many users, by one descriptor that all have inherited, make as many sessions as they can |
//! | [`IS_FULL`] | its control group is full, and it takes back what needs another's |

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};
use luo_conformance::user::as_user;
use luo_sys::unanswered::Unanswered;
use luo_sys::{Device, Errno, Needed, Session, State, Token, memfd};

use super::evil::{LET_THROUGH, NEEDY, TRIED};
use super::inherited::taken;
use crate::check::name;
use crate::program::{PAUSE, READY, stay, wait_to_go};

pub(super) const HOLDS: &str = "holds";
pub(super) const HOLDS_FROZEN: &str = "holds-frozen";
pub(super) const NUMBERS: &str = "numbers";
pub(super) const IS_FULL: &str = "is-full";

/// Users of [`NUMBERS`]: as of a range of /etc/subuid.
const FIRST_NUMBER: u32 = 200_000;
const HOW_MANY: u32 = 12;

/// Plays a part; `None` if it is none of these.
pub(super) fn main(part: &str) -> Option<Result<()>> {
    Some(match part {
        HOLDS => holds(false),
        HOLDS_FROZEN => holds(true),
        NUMBERS => numbers(),
        IS_FULL => is_full(),
        _ => return None,
    })
}

fn next<T>(fds: &mut impl Iterator<Item = OwnedFd>, from: fn(OwnedFd) -> T) -> Result<T> {
    fds.next().map(from).context("a descriptor is missing")
}

fn holds(frozen: bool) -> Result<()> {
    let mut fds = taken()?;
    let device = Device::open()?;
    let misses = next(&mut fds, Session::from_fd)?;
    let hangs = next(&mut fds, Session::from_fd)?;
    let closes = next(&mut fds, Session::from_fd)?;
    println!("{READY}");
    while frozen && device.state()? != State::Frozen {
        device.wait_for_change(PAUSE)?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u64.. {
                misses_one(&misses, round);
            }
        });
        if frozen {
            drop(closes);
        } else {
            // Closed with the program.
            core::mem::forget(closes);
        }
        if !frozen {
            wait_to_go();
        }
        if Unanswered::is_there() {
            scope.spawn(|| hang(&hangs));
        } else {
            println!(
                "{TRIED}nothing that hangs: there is no {}",
                luo_sys::unanswered::DEVICE
            );
        }
    });
    Ok(())
}

/// A file of the session needs another that is not there any more.
fn misses_one(session: &Session, round: u64) {
    let file = || memfd::create("misses", 4096);
    let (needs, gone) = (Token(2 * round + 10), Token(2 * round + 11));
    for token in [needs, gone] {
        let _ = file().map(|file| session.preserve_fd(file, token));
    }
    let _ = session.add_dependency(needs, Needed::Here(gone));
    let missing = session.unpreserve_fd(gone).is_ok();
    if round == 0 {
        println!("{TRIED}to miss a file: {missing}");
    }
    // Long enough for an event to meet it.
    std::thread::sleep(10 * PAUSE);
    let _ = session.unpreserve_fd(needs);
}

/// A call on the session that does not end before the program does.
fn hang(session: &Session) {
    let page = Unanswered::new();
    let file = memfd::create("hangs", 4096);
    let (Ok(page), Ok(file)) = (page, file) else {
        println!("{LET_THROUGH}nothing, it could not hang");
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| page.write_to(&file));
        std::thread::sleep(10 * PAUSE);
        scope.spawn(|| session.preserve_fd(&file, Token(1)));
        std::thread::sleep(10 * PAUSE);
        println!("{TRIED}to hang");
    });
}

fn numbers() -> Result<()> {
    let device = next(&mut taken()?, Device::from_fd)?;
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for user in (FIRST_NUMBER..).take(HOW_MANY as usize) {
        // It is who calls that counts, and not who has opened the device.
        let made = as_user(user, || {
            let mut made = Vec::new();
            let why = loop {
                match device.create_session(&name(&made.len().to_string())) {
                    Ok(session) => made.push(session),
                    Err(why) => break why.errno(),
                }
            };
            Ok((made, why))
        });
        let (made, why) = made?;
        held.extend(made);
        refused.push(why);
    }
    ensure!(
        refused.iter().all(|why| *why == Errno::EDQUOT),
        "{refused:?}"
    );
    println!("{TRIED}{} sessions of {HOW_MANY} users", held.len());
    stay()
}

/// It must ask for no memory but by calls of the orchestrator's: for other memory the kernel would
/// kill it.
fn is_full() -> Result<()> {
    const HALF: u64 = 256;
    /// How often it asks for what it cannot have.
    const TIMES: u32 = 200;
    let device = next(&mut taken()?, Device::from_fd)?;
    let needy = device.retrieve_session(&name(NEEDY))?;
    let fills = device.create_session(&name("fills"))?;
    for token in 0..2 * HALF {
        fills.preserve_fd(memfd::create("fills", 0)?, Token(token))?;
    }
    println!("{READY}");
    wait_to_go();
    let pairs = (HALF..2 * HALF).flat_map(|file| (0..HALF).map(move |on| (file, on)));
    let mut needs = pairs.map(|(file, on)| {
        let on = Needed::Here(Token(on));
        fills.add_dependency(Token(file), on)
    });
    let full = needs.find_map(|declared| Some(declared.err()?.errno()));
    for _ in 0..TIMES {
        match needy.retrieve_fd(Token(1)) {
            Err(why) if why.errno() == Errno::ENOTCONN => {}
            other => println!("{LET_THROUGH}what needs another's: {other:?}"),
        }
    }
    println!("{TRIED}what needs another's");
    ensure!(full == Some(Errno::ENOMEM), "{full:?}");
    stay()
}
