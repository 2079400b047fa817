// SPDX-License-Identifier: MIT OR Apache-2.0
//! One handover, looked at from all sides.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use anyhow::{Context as _, Result};
use luo_conformance::user::{Delegated, USERS, as_user};
use luo_sys::memfd::{self, Seals};
use luo_sys::{Device, Errno, Session, Token};

use crate::check::{Suite, device, name, refused, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("handover");

/// A memfd that is handed over.
struct Memory {
    token: u64,
    length: u64,
    seals: Seals,
    position: u64,
}

/// An unsealed memfd at position 0.
const fn plain(token: u64, length: u64) -> Memory {
    Memory {
        token,
        length,
        seals: Seals::empty(),
        position: 0,
    }
}

/// A session that is handed over.
struct Plan {
    session: &'static str,
    files: &'static [Memory],
}

const PLANS: &[Plan] = &[
    Plan {
        session: "handover-empty",
        files: &[],
    },
    Plan {
        session: "handover-one",
        files: &[plain(7, 4096)],
    },
    Plan {
        session: "handover-many",
        files: &[
            plain(0, 0),
            plain(1, 1),
            plain(2, 4096),
            plain(3, 4097),
            plain(4, (1 << 20) + 3),
            Memory {
                token: 5,
                length: 8192,
                seals: SEALED,
                position: 0,
            },
            Memory {
                token: u64::MAX,
                length: 5000,
                seals: Seals::empty(),
                position: 1234,
            },
        ],
    },
];

/// A memfd that is registered on the device, if the first kernel can, and the name
/// under which a kernel in C finds it: the first of its kind, before any update.
const DEVICE_SESSION: &str = "liveupdate-device:0.0";
const DEVICE_LENGTH: u64 = 4097;

/// The argument with its token.
const TOKEN: &str = "token";

/// The argument that a user has a session, what the user calls it, and the bytes in it.
const OF_USER: &str = "of-user";
const USERS_SESSION: &str = "own";
const USERS_LENGTH: u64 = 4099;

const SEALED: Seals = Seals::WRITE.union(Seals::GROW).union(Seals::SHRINK);

/// Hands the plans over, and checks them in the next kernel.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let seed = guest.args.get("seed", 1)?;
    let device = device()?;
    if guest.boot == 0 {
        let mut sessions = Vec::new();
        for plan in PLANS {
            sessions.push(preserve(&device, plan, seed)?);
        }
        let token = register(&device, seed)?;
        // Mainline's has one opener, and knows no users.
        let users = match device.state() {
            Ok(_) => Some(of_user(seed)?),
            Err(_) => None,
        };
        return kexec::go(guest, |_, args| {
            if let Some(token) = token {
                args.set(TOKEN, token.0);
            }
            if users.is_some() {
                args.set(OF_USER, 1);
            }
        });
    }
    if guest.args.text(OF_USER).is_some() {
        SUITE.case("a-users-eventfd-loses-nobody-anything", || {
            users_came(&device, seed)
        });
    }
    if guest.args.text(TOKEN).is_some() {
        let token = Token(guest.args.get(TOKEN, 0)?);
        SUITE.case("file-of-the-device", || registered(&device, token, seed));
    }
    // Mainline's has one opener, and gives sessions to whom it is.
    if device.state().is_ok() {
        SUITE.case("not-for-users", not_for_users);
    }
    retrieve_all(&device, seed);
    SUITE.case("preserve-again", || preserve_again(&device));
    Ok(())
}

/// A user's session: memory goes into it, and an eventfd, which mainline's kernel could not take
/// over, with all the rest, does not.
fn of_user(seed: u64) -> Result<Session> {
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    as_user(user, || {
        let session = Device::open()?.create_session(&name(USERS_SESSION))?;
        let file = fill::memfd("own", USERS_LENGTH, contents(seed, USERS_LENGTH))?;
        session.preserve_fd(file, Token(1))?;
        let eventfd = rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?;
        refused(session.preserve_fd(eventfd, Token(2)), Errno::ENOENT)?;
        Ok(session)
    })
}

/// It is there under the name that the machine knows it by; the others are told of by their own
/// cases.
fn users_came(device: &Device, seed: u64) -> Result<()> {
    let known = format!("uid:{}:{USERS_SESSION}", USERS[0]);
    let session = device.retrieve_session(&name(&known))?;
    let file = File::from(session.retrieve_fd(Token(1))?);
    fill::verify(&file, USERS_LENGTH, contents(seed, USERS_LENGTH))?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOENT)?;
    Ok(session.finish()?)
}

fn contents(seed: u64, token: u64) -> Prng {
    Prng::of(&[seed, token])
}

fn preserve(device: &Device, plan: &Plan, seed: u64) -> Result<Session> {
    let session = device.create_session(&name(plan.session))?;
    for memory in plan.files {
        let mut file = fill::memfd("handover", memory.length, contents(seed, memory.token))?;
        memfd::add_seals(&file, memory.seals)?;
        session.preserve_fd(&file, Token(memory.token))?;
        // Only now: the position counts at the last moment.
        file.seek(SeekFrom::Start(memory.position))?;
    }
    Ok(session)
}

/// Registers a file on the device; mainline has no such call.
fn register(device: &Device, seed: u64) -> Result<Option<Token>> {
    let file = fill::memfd("handover", DEVICE_LENGTH, contents(seed, DEVICE_LENGTH))?;
    match device.fd_preserve(&file) {
        Ok(token) => Ok(Some(token)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the kernel does not know the call: mainline says EINVAL to a number that
/// is beyond its table.
fn is_missing(error: &luo_sys::Error) -> bool {
    matches!(error.errno(), Errno::ENOTTY | Errno::EINVAL)
}

/// A kernel with the call gives it back by its token, mainline's as a session.
fn registered(device: &Device, token: Token, seed: u64) -> Result<()> {
    let contents = contents(seed, DEVICE_LENGTH);
    match device.fd_restore(token) {
        Ok(fd) => return fill::verify(&File::from(fd), DEVICE_LENGTH, contents),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let session = device.retrieve_session(&name(DEVICE_SESSION))?;
    same("the name", session.name()?, name(DEVICE_SESSION))?;
    refused(session.retrieve_fd(Token(token.0 + 1)), Errno::ENOENT)?;
    let file = File::from(session.retrieve_fd(token)?);
    fill::verify(&file, DEVICE_LENGTH, contents)?;
    session.finish()?;
    drop(session);
    refused(
        device.retrieve_session(&name(DEVICE_SESSION)),
        Errno::ENOENT,
    )
    .context("it is finished")
}

/// They are the administrator's, or may have been: no user takes them.
fn not_for_users() -> Result<()> {
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    as_user(user, || {
        let device = Device::open()?;
        for plan in PLANS {
            refused(device.retrieve_session(&name(plan.session)), Errno::ENOENT)?;
        }
        Ok(())
    })
}

/// Takes everything back in the opposite order.
fn retrieve_all(device: &Device, seed: u64) {
    SUITE.case("unknown-session", || {
        refused(device.retrieve_session(&name("nobody")), Errno::ENOENT)
    });
    for plan in PLANS.iter().rev() {
        let session = match device.retrieve_session(&name(plan.session)) {
            Ok(session) => session,
            Err(error) => {
                SUITE.case(plan.session, || Err(error.into()));
                continue;
            }
        };
        SUITE.case(format_args!("{}::name", plan.session), || {
            same("the name", session.name()?, name(plan.session))
        });
        SUITE.case(format_args!("{}::unknown-token", plan.session), || {
            refused(session.retrieve_fd(Token(0xdead)), Errno::ENOENT)
        });
        for memory in plan.files.iter().rev() {
            let case = format!("{}::token-{}", plan.session, Token(memory.token));
            SUITE.case(case, || retrieve(&session, memory, seed));
        }
        SUITE.case(format_args!("{}::finish", plan.session), || {
            session.finish()?;
            refused(session.retrieve_fd(Token(7)), Errno::ENOENT)
        });
        drop(session);
        SUITE.case(format_args!("{}::gone", plan.session), || {
            refused(device.retrieve_session(&name(plan.session)), Errno::ENOENT)
        });
    }
}

fn retrieve(session: &Session, memory: &Memory, seed: u64) -> Result<()> {
    let mut file = File::from(session.retrieve_fd(Token(memory.token))?);
    same("the position", file.stream_position()?, memory.position)?;
    same("the seals", memfd::seals(&file)?, memory.seals)?;
    fill::verify(&file, memory.length, contents(seed, memory.token))
}

/// The new kernel can do what the old one could, under the same names.
fn preserve_again(device: &Device) -> Result<()> {
    for plan in PLANS {
        let session = preserve(device, plan, 2)?;
        same("the name", session.name()?, name(plan.session))?;
    }
    Ok(())
}
