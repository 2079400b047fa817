// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hostile program: a user without privileges to whom the device is delegated.
//!
//! It makes its sessions itself, so what a user may have binds it. It says when it has tried
//! an attack, and tells of each call that was let through and must not have been; what is
//! refused, or is harmless, it keeps for itself. Some sessions it has from the beginning to the
//! end, for the next kernel.

mod foreign;
mod room;
mod stuck;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Needed, Session, Token, memfd};

pub(super) use stuck::locked;

use super::attack::{Attack, BEFORE, attacks};
use super::inherited::taken;
use crate::check::name;

/// The argument that makes this program the hostile one; a word of [`super::attack`] follows.
pub(crate) const ARGUMENT: &str = "hostile-client-itself";

/// What it says once each has been tried.
pub(super) const TRIED: &str = "tried ";
/// What it says of what must have been refused.
pub(super) const LET_THROUGH: &str = "let through: ";

/// Bytes of a big file.
const BIG: u64 = 16 << 20;

/// Its session with a file that needs one of the administrator's, who has passed that session on.
pub(super) const NEEDY: &str = "needy";
/// Its session with memory that the administrator shares with it.
const SQUATS: &str = "squats";
/// Its session with a file whose handler never comes back from letting go of it, and which the
/// reboot has to lose, for it needs another that is not there.
const KEEPS: &str = "keeps";
/// Its session whose close is told in the log, because [`FLOOD_BY`] needs it.
const FLOOD: &str = "flood";
const FLOOD_BY: &str = "flood-by";
/// How long a page does not come: far longer than a step of an update takes.
const LATE: Duration = Duration::from_millis(50);

/// Is the hostile program.
pub(super) fn main(when: &str) -> Result<()> {
    let evil = begin()?;
    if when == BEFORE {
        evil.settle()?;
    }
    evil.attack(when);
    Ok(())
}

struct Evil {
    device: Device,
    /// What it has inherited: a device that the administrator has opened, and in the first
    /// kernel more.
    inherited: Device,
    more: Option<Inherited>,
    /// The next token.
    next: AtomicU64,
    /// Which attacks have been told of.
    told: Mutex<BTreeSet<Attack>>,
    /// Whether there have been many files that all need each other.
    is_dense: AtomicBool,
    /// The sessions that it has to the end.
    held: Mutex<Vec<Session>>,
}

/// What it inherits in the first kernel.
struct Inherited {
    /// Memory that it may read.
    shared: File,
    passed: Session,
    /// Memory that it may write.
    written: File,
    /// An eventfd and a timer that it may use.
    shared_small: [OwnedFd; 2],
    /// Those of the guest's, which its session has preserved.
    guests_small: [OwnedFd; 2],
    /// Files whose handler does not come back: from preserving it,
    hangs: File,
    /// and from letting go of it.
    keeps: File,
}

impl Inherited {
    fn of(fds: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        Some(Self {
            shared: fds.next()?.into(),
            passed: Session::from_fd(fds.next()?),
            written: fds.next()?.into(),
            hangs: fds.next()?.into(),
            keeps: fds.next()?.into(),
            shared_small: [fds.next()?, fds.next()?],
            guests_small: [fds.next()?, fds.next()?],
        })
    }
}

fn begin() -> Result<Evil> {
    let mut fds = taken()?;
    Ok(Evil {
        device: Device::open()?,
        inherited: Device::from_fd(fds.next().context("no device is inherited")?),
        more: Inherited::of(&mut fds),
        next: AtomicU64::new(1),
        told: Mutex::default(),
        is_dense: AtomicBool::new(false),
        held: Mutex::default(),
    })
}

/// A refusal is as it should be, whatever it says.
fn must_fail<T>(what: &str, result: luo_sys::Result<T>) -> Result<()> {
    ensure!(result.is_err(), "{what}");
    Ok(())
}

impl Evil {
    fn attack(&self, when: &str) {
        std::thread::scope(|scope| {
            for attack in attacks(when) {
                scope.spawn(move || {
                    for round in 0_u64.. {
                        if let Err(error) = self.once(attack, round) {
                            self.tell(attack, &error);
                        }
                        if round == 0 && !Attack::TELLING.contains(&attack) {
                            println!("{TRIED}{attack:?}");
                        }
                    }
                });
            }
        });
    }

    /// Makes the sessions that it has to the end.
    fn settle(&self) -> Result<()> {
        let one = Token(1);
        let session = |called: &str, length| -> Result<Session> {
            let session = self.device.create_session(&name(called))?;
            if length > 0 {
                session.preserve_fd(memfd::create(called, length)?, one)?;
            }
            Ok(session)
        };
        let more = self.more()?;
        let squats = session(SQUATS, 0)?;
        // Whoever can read a file can preserve it.
        squats
            .preserve_fd(&more.shared, one)
            .context("what is shared")?;
        for (token, file) in (2..).zip(&more.shared_small) {
            squats
                .preserve_fd(file, Token(token))
                .context("what is small")?;
        }
        let (flood, flood_by) = (session(FLOOD, 1)?, session(FLOOD_BY, 1)?);
        let on = Needed::In(name(FLOOD), one);
        flood_by.add_dependency(one, on).context(FLOOD)?;
        let needy = session(NEEDY, 4096)?;
        // Its descriptor is the consent of the administrator's session.
        needy
            .add_dependency_of(one, &more.passed, one)
            .context(NEEDY)?;
        let (keeps, gone) = (session(KEEPS, 0)?, Token(2));
        keeps.preserve_fd(memfd::create(KEEPS, 1)?, gone)?;
        keeps.preserve_fd(&more.keeps, one).context(KEEPS)?;
        keeps.add_dependency(one, Needed::Here(gone))?;
        keeps.unpreserve_fd(gone)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend([squats, flood, flood_by, needy, keeps]);
        Ok(())
    }

    fn more(&self) -> Result<&Inherited> {
        self.more.as_ref().context("it has inherited too little")
    }

    fn tell(&self, attack: Attack, error: &anyhow::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(attack) {
            println!("{LET_THROUGH}{attack:?}: {error:#}");
        }
    }

    /// Tries it once. An error is what was let through.
    fn once(&self, attack: Attack, round: u64) -> Result<()> {
        match attack {
            Attack::Dependencies => self.dependencies(),
            Attack::Missing => self.missing(),
            Attack::Sessions => self.sessions(),
            Attack::Files => self.files(1),
            Attack::Bytes => self.files(BIG),
            Attack::Dense => self.dense(),
            Attack::Machine => self.machine(),
            Attack::Storm => self.storm(),
            Attack::Fault => self.fault(),
            Attack::Hang => self.hang(),
            Attack::Lock => self.lock(),
            Attack::Kinds => self.kinds(),
            Attack::Pipes => self.pipes(),
            Attack::Held => self.held(),
            Attack::Shared => self.shared(),
            Attack::Opens => Self::opens(),
            Attack::Others => self.others(),
            Attack::Own => self.own(round),
            Attack::Flood => self.flood(),
        }
    }

    /// A session of its own, if it may have one more.
    fn session(&self, called: &str) -> Option<Session> {
        self.device.create_session(&name(called)).ok()
    }

    /// Preserves a file; whether there was room.
    fn preserve(&self, session: &Session, length: u64) -> Option<Token> {
        let token = Token(self.next.fetch_add(1, Ordering::Relaxed));
        let file = memfd::create("evil", length).ok()?;
        session.preserve_fd(file, token).ok()?;
        Some(token)
    }
}
