// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hostile program: a user without privileges to whom the device is delegated.
//!
//! It makes its sessions itself, so what a user may have binds it. It says when it has tried
//! an attack, and tells of each call that was let through and must not have been; what is
//! refused, or is harmless, it keeps for itself. Some sessions it has from the beginning to the
//! end, for the next kernel.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use luo_conformance::forge;
use luo_sys::unanswered::Unanswered;
use luo_sys::{Device, Errno, Needed, Session, Token, Which, memfd};

use super::attack::{Attack, BEFORE, attacks};
use super::cast::{GUEST, LENGTHS, OTHER, WANTED};
use super::inherited::taken;
use super::small::{self, OfEachKind};
use crate::check::name;
use crate::program::PAUSE;

/// The argument that makes this program the hostile one; a word of [`super::attack`] follows.
pub(crate) const ARGUMENT: &str = "hostile-client-itself";

/// What it says once each has been tried.
pub(super) const TRIED: &str = "tried ";
/// What it says of what must have been refused.
pub(super) const LET_THROUGH: &str = "let through: ";

/// Files that all need each other: more dependencies than a user may have.
const DENSE: u64 = 256;
/// So many of those that a call looks at a thousand dependencies.
const ENOUGH: usize = 48;
/// Threads that call at once, so that they wait for each other and for every transition.
const STORM: u64 = 32;
/// Threads that open the device at once.
const OPENERS: usize = 16;
/// Pipes that it has locked for ever: of the pauses that a transition has for pipes the first eight
/// take all.
const HELD: usize = 12;
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

/// Does something while a pipe is locked: somebody writes to it what does not come before that is
/// done.
pub(super) fn locked(writes: BorrowedFd<'_>, does: impl FnOnce() -> Result<()>) -> Result<()> {
    let page = Unanswered::new()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| page.write_into(writes));
        while !page.is_reached(PAUSE)? {
            ensure!(!writer.is_finished(), "the page has come");
        }
        let done = does();
        page.answer();
        done
    })
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

    fn dependencies(&self) -> Result<()> {
        let Some(session) = self.session("needs") else {
            return Ok(());
        };
        let Some(own) = self.preserve(&session, 1) else {
            return Ok(());
        };
        for called in [GUEST, OTHER, "uid:0:vm"] {
            for token in 0..LENGTHS.len() as u64 {
                let on = Needed::In(name(called), Token(token));
                let what = format!("its file needs token {token} of {called}");
                must_fail(&what, session.add_dependency(own, on))?;
                let on = Needed::OnDevice(Token(token));
                must_fail(
                    "its file needs one of the device",
                    session.add_dependency(own, on),
                )?;
            }
        }
        Ok(())
    }

    fn missing(&self) -> Result<()> {
        let Some(session) = self.session("misses") else {
            return Ok(());
        };
        for _ in 0..8 {
            let needs = self.preserve(&session, 1);
            let Some((needs, gone)) = needs.zip(self.preserve(&session, 1)) else {
                return Ok(());
            };
            let _ = session.add_dependency(needs, Needed::Here(gone));
            let _ = session.unpreserve_fd(gone);
        }
        // Long enough to be met by each step of an update.
        std::thread::sleep(LATE);
        Ok(())
    }

    fn sessions(&self) -> Result<()> {
        let mut held = Vec::new();
        for called in WANTED.into_iter().chain([GUEST, OTHER, "uid:0:vm"]) {
            held.extend(self.session(called));
        }
        for number in 0..u64::MAX {
            match self.device.create_session(&name(&format!("{number}"))) {
                Ok(session) => held.push(session),
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn files(&self, length: u64) -> Result<()> {
        let Some(session) = self.session(&format!("files-{length}")) else {
            return Ok(());
        };
        let mut tokens = Vec::new();
        while let Some(token) = self.preserve(&session, length) {
            tokens.push(token);
        }
        // Half of them one by one, the rest with their session.
        for token in tokens.into_iter().step_by(2) {
            let _ = session.unpreserve_fd(token);
        }
        Ok(())
    }

    fn dense(&self) -> Result<()> {
        let Some(session) = self.session("dense") else {
            return Ok(());
        };
        let mut tokens: Vec<Token> = Vec::new();
        for _ in 0..DENSE {
            let Some(token) = self.preserve(&session, 1) else {
                // Others have what it may have, until there is room.
                std::thread::sleep(PAUSE);
                continue;
            };
            let needs = |on: &Token| session.add_dependency(token, Needed::Here(*on)).is_ok();
            // As many as it may have: the first refusal ends it.
            let needed = tokens.iter().take_while(|on| needs(on)).count();
            // The longest search for a circle is the one that finds it at its end. There is
            // one only if the file does need the first.
            if let Some(&first) = tokens.first().filter(|_| needed > 0) {
                let circle = session.add_dependency(first, Needed::Here(token));
                must_fail("a circle", circle)?;
            }
            tokens.push(token);
            if tokens.len() == ENOUGH && !self.is_dense.swap(true, Ordering::Relaxed) {
                println!("{TRIED}{:?}", Attack::Dense);
            }
        }
        Ok(())
    }

    fn machine(&self) -> Result<()> {
        for device in [&self.device, &self.inherited] {
            must_fail("the event prepare", device.prepare())?;
            must_fail("the event freeze", device.freeze())?;
            must_fail("the event cancel", device.cancel())?;
            must_fail("the event finish", device.finish_update())?;
            let file = memfd::create("evil", 1)?;
            must_fail("FD_PRESERVE", device.fd_preserve(&file))?;
            must_fail("FD_UNPRESERVE", device.fd_unpreserve(Token(1)))?;
            must_fail("GET_FAILURE", device.failure())?;
            must_fail("LIST_PARTICIPANTS", device.list_participants())?;
            self.sees_its_own(device)?;
        }
        let again = Device::open();
        ensure!(again.is_err(), "it has the device open twice");
        Ok(())
    }

    fn sees_its_own(&self, device: &Device) -> Result<()> {
        let Ok(sessions) = device.list_sessions(Which::All) else {
            return Ok(());
        };
        for session in sessions {
            let Some(called) = session.name.map(|name| name.to_string()) else {
                bail!("it sees a session without a name");
            };
            ensure!(!session.of_device, "it sees the files of a device");
            // It has sessions of these names itself, with nothing in them.
            let wanted = WANTED.contains(&called.as_str()) || called == GUEST;
            let foreign = wanted || called.starts_with("uid:");
            ensure!(!foreign || session.files == 0, "it sees {called}");
        }
        Ok(())
    }

    fn storm(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..STORM)
                .map(|number| scope.spawn(move || self.gust(number)))
                .collect();
            for thread in threads {
                thread.join().unwrap_or(Ok(()))?;
            }
            Ok(())
        })
    }

    fn gust(&self, number: u64) -> Result<()> {
        // Some have no session then: a user may have no more.
        let session = self.session(&format!("storm-{number}"));
        for _ in 0..16 {
            if let Some(session) = &session
                && let Some(token) = self.preserve(session, 1)
            {
                let _ = session.list_files();
                let _ = session.unpreserve_fd(token);
            }
            let _ = self.device.info();
            let _ = self.device.state();
            let _ = self.device.list_sessions(Which::All);
            let _ = self.device.wait_for_change(Duration::from_millis(1));
        }
        Ok(())
    }

    fn fault(&self) -> Result<()> {
        let Some(session) = self.session("fault") else {
            return Ok(());
        };
        let page = Unanswered::new()?;
        let file = memfd::create("evil", 4096)?;
        std::thread::scope(|scope| {
            // Holds the file's lock until the page is there.
            let writes = scope.spawn(|| page.write_to(&file));
            let _ = page.is_reached(LATE);
            // Waits for that lock, in the kernel, with an operation under way.
            let preserves = scope.spawn(|| session.preserve_fd(&file, Token(1)));
            std::thread::sleep(LATE);
            page.answer();
            let _ = (writes.join(), preserves.join());
        });
        Ok(())
    }

    fn hang(&self) -> Result<()> {
        let hangs = &self.more()?.hangs;
        // Others have what it may have, until there is room.
        let Some(session) = self.session("hang") else {
            return Ok(());
        };
        std::thread::scope(|scope| {
            let call = scope.spawn(|| session.preserve_fd(hangs, Token(1)));
            while !call.is_finished() {
                if forge::is_reached(hangs, PAUSE)? {
                    println!("{TRIED}{:?}", Attack::Hang);
                    // It does not come back before the program is killed.
                    let _ = call.join();
                    break;
                }
            }
            Ok(())
        })
    }

    fn lock(&self) -> Result<()> {
        let written = &self.more()?.written;
        let page = Unanswered::new()?;
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| page.write_to(written));
            while !page.is_reached(PAUSE)? {
                ensure!(!writes.is_finished(), "the page has come");
            }
            println!("{TRIED}{:?}", Attack::Lock);
            Ok(())
        })
    }

    fn kinds(&self) -> Result<()> {
        let Some(session) = self.session("kinds") else {
            return Ok(());
        };
        let own = OfEachKind::new()?;
        for (token, file) in (1..).zip(own.all()) {
            let _ = session.preserve_fd(file, Token(token));
        }
        own.spoil()?;
        // Long enough to be met by each step of an update.
        std::thread::sleep(LATE);
        // The rest goes with the session.
        for token in [2, 4] {
            let _ = session.unpreserve_fd(Token(token));
        }
        Ok(())
    }

    /// One pipe is locked from here to the end of the program; another one each time that it is
    /// to be preserved.
    fn pipes(&self) -> Result<()> {
        let Some(session) = self.session("pipes") else {
            return Ok(());
        };
        let own = OfEachKind::new()?;
        for (token, end) in (1..).zip(own.ends()) {
            // Others have what it may have, until there is room.
            if session.preserve_fd(end, Token(token)).is_err() {
                return Ok(());
            }
        }
        let [_, writes] = own.ends();
        locked(writes, || {
            println!("{TRIED}{:?}", Attack::Pipes);
            loop {
                let late = OfEachKind::new()?;
                let [reads, writes] = late.ends();
                locked(writes, || {
                    let preserved = session.preserve_fd(reads, Token(3));
                    must_fail("a pipe that is locked", preserved)?;
                    let _ = session.preserve_fd(writes, Token(4));
                    Ok(())
                })?;
                let _ = session.unpreserve_fd(Token(4));
            }
        })
    }

    /// Of what a transition waits for each gets half of what the one before has left.
    fn held(&self) -> Result<()> {
        let pipes = (0..HELD).map(|_| OfEachKind::new());
        let pipes = pipes.collect::<Result<Vec<_>>>()?;
        // Others have what it may have, until there is room.
        let Some(session) = self.session("held") else {
            return Ok(());
        };
        for (token, pipe) in (0..).step_by(2).zip(&pipes) {
            let [reads, writes] = pipe.ends();
            let reads = session.preserve_fd(reads, Token(token));
            let writes = session.preserve_fd(writes, Token(token + 1));
            if reads.and(writes).is_err() {
                return Ok(());
            }
        }
        let pages = pipes.iter().map(|_| Unanswered::new());
        let pages = pages.collect::<luo_sys::Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            for (page, pipe) in pages.iter().zip(&pipes) {
                let [_, writes] = pipe.ends();
                scope.spawn(move || page.write_into(writes));
            }
            for page in &pages {
                while !page.is_reached(PAUSE)? {}
            }
            println!("{TRIED}{:?}", Attack::Held);
            Ok(())
        })
    }

    fn shared(&self) -> Result<()> {
        let its = &self.more()?.guests_small;
        if let Some(session) = self.session("shared") {
            for (token, file) in (1..).zip(its) {
                let preserved = session.preserve_fd(file, Token(token));
                must_fail("a file that the guest has preserved", preserved)?;
            }
        }
        for _ in 0..64 {
            small::play_with(its)?;
        }
        Ok(())
    }

    /// It has the device open already, so none is let in.
    fn opens() -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..OPENERS)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..64 {
                            must_fail("a second open", Device::open())?;
                        }
                        Ok::<(), anyhow::Error>(())
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap_or(Ok(()))?;
            }
            Ok(())
        })
    }

    fn others(&self) -> Result<()> {
        for called in WANTED.into_iter().chain([GUEST, OTHER]) {
            let taken = self.device.retrieve_session(&name(called));
            if let Ok(session) = taken {
                // It may have made one of that name itself.
                let own = session.retrieve_fd(Token(0));
                must_fail(&format!("token 0 of {called}"), own)?;
            }
        }
        Ok(())
    }

    fn own(&self, round: u64) -> Result<()> {
        let sessions = match self.device.list_sessions(Which::Incoming) {
            Ok(sessions) => sessions,
            Err(error) if error.errno() == Errno::ESTALE => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let kept = [FLOOD, FLOOD_BY, NEEDY].map(name);
        let names = sessions.into_iter().filter_map(|session| session.name);
        for called in names.filter(|name| !kept.contains(name)) {
            let Ok(session) = self.device.retrieve_session(&called) else {
                continue;
            };
            for file in session.list_files().unwrap_or_default() {
                if !(file.token.0 + round).is_multiple_of(3) {
                    let _ = session.retrieve_fd(file.token);
                }
            }
            if round.is_multiple_of(2) {
                let _ = session.finish();
            }
        }
        Ok(())
    }

    /// A session that another needs is closed and cannot be finished, which is a line of the
    /// log each time.
    fn flood(&self) -> Result<()> {
        const TIMES: u32 = 100;
        for _ in 0..TIMES {
            drop(self.device.retrieve_session(&name(FLOOD)));
        }
        Ok(())
    }
}
