// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hostile program: a user without privileges to whom the device is delegated.
//!
//! It makes its sessions itself, so what a user may have binds it. It says when it has tried
//! an attack, and tells of each call that was let through and must not have been; what is
//! refused, or is harmless, it keeps for itself.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use luo_sys::unanswered::Unanswered;
use luo_sys::{Device, Errno, Needed, Session, Token, Which, memfd};

use super::{GUEST, LENGTHS, OTHER, WANTED};
use crate::check::name;

/// The argument that makes this program the hostile one; [`BEFORE`] or [`AFTER`] follows.
pub(crate) const ARGUMENT: &str = "hostile-client-itself";

/// In the kernel that is left.
pub(super) const BEFORE: &str = "before";
/// In the one that is entered.
pub(super) const AFTER: &str = "after";

/// What it says once each has been tried.
pub(super) const TRIED: &str = "tried ";
/// What it says of what must have been refused.
pub(super) const LET_THROUGH: &str = "let through: ";

/// Files that all need each other: more dependencies than a user may have.
const DENSE: u64 = 256;
/// Threads that call at once, so that they wait for each other and for every transition.
const STORM: u64 = 32;
/// Bytes of a big file.
const BIG: u64 = 16 << 20;
/// How long a page does not come: far longer than a step of an update takes.
const LATE: Duration = Duration::from_millis(50);

/// A way to hurt another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attack {
    /// Its files need another's.
    Dependencies,
    /// One of its files needs another that it has taken back.
    Missing,
    /// It makes as many sessions as it can, under names that others want.
    Sessions,
    /// It preserves as many files as it can, and takes them back.
    Files,
    /// It preserves as much memory as it can.
    Bytes,
    /// All its files need each other.
    Dense,
    /// It moves the machine, or asks about all of it; by a descriptor of the
    /// administrator's, too.
    Machine,
    /// Many threads that call, wait and are woken.
    Storm,
    /// It holds a file's lock, for as long as a page does not come, while it has that file
    /// preserved and taken back.
    Fault,
    /// It preserves a file whose lock it holds for ever: the page never comes.
    Hang,
    /// It takes back what is not its own, under all names it can think of.
    Others,
    /// It takes its own sessions back, and lets them go, out of order.
    Own,
}

impl Attack {
    const BEFORE: [Self; 10] = [
        Self::Dependencies,
        Self::Missing,
        Self::Sessions,
        Self::Files,
        Self::Bytes,
        Self::Dense,
        Self::Machine,
        Self::Storm,
        Self::Fault,
        Self::Hang,
    ];
    const AFTER: [Self; 4] = [Self::Others, Self::Own, Self::Machine, Self::Storm];
}

/// The attacks of a kernel.
pub(super) fn attacks(when: &str) -> impl Iterator<Item = Attack> {
    let all: &[Attack] = match when {
        AFTER => &Attack::AFTER,
        _ => &Attack::BEFORE,
    };
    // No kernel but those with checkers can leave a fault unanswered.
    let faults = [Attack::Fault, Attack::Hang];
    let can = move |attack: &Attack| !faults.contains(attack) || Unanswered::is_there();
    all.iter().copied().filter(can)
}

/// Is the hostile program.
pub(crate) fn main(when: &str) {
    match begin() {
        Ok(evil) => evil.attack(when),
        Err(error) => println!("{LET_THROUGH}nothing, it could not begin: {error:#}"),
    }
}

struct Evil {
    device: Device,
    /// What it has inherited: a device that the administrator has opened, in the first
    /// kernel.
    inherited: Device,
    /// The next token.
    next: AtomicU64,
    /// Which attacks have been told of.
    told: Mutex<BTreeSet<Attack>>,
}

fn begin() -> Result<Evil> {
    let inherited: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(Evil {
        device: Device::open()?,
        inherited: Device::from_fd(inherited),
        next: AtomicU64::new(1),
        told: Mutex::default(),
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
                        if round == 0 && attack != Attack::Hang {
                            println!("{TRIED}{attack:?}");
                        }
                    }
                });
            }
        });
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
            Attack::Others => self.others(),
            Attack::Own => self.own(round),
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
                break;
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
            if let Some(session) = &session {
                if let Some(token) = self.preserve(session, 1) {
                    let _ = session.list_files();
                    let _ = session.unpreserve_fd(token);
                }
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
            // Waits for that lock, in the kernel, with an operation under way.
            let preserves = scope.spawn(|| session.preserve_fd(&file, Token(1)));
            std::thread::sleep(LATE);
            page.answer();
            let _ = (writes.join(), preserves.join());
        });
        Ok(())
    }

    fn hang(&self) -> Result<()> {
        let Some(session) = self.session("hang") else {
            return Ok(());
        };
        let page = Unanswered::new()?;
        let file = memfd::create("evil", 4096)?;
        std::thread::scope(|scope| {
            // Neither comes back before the program is killed.
            scope.spawn(|| page.write_to(&file));
            scope.spawn(|| session.preserve_fd(&file, Token(1)));
            std::thread::sleep(LATE);
            println!("{TRIED}{:?}", Attack::Hang);
        });
        Ok(())
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
        for called in sessions.into_iter().filter_map(|session| session.name) {
            let Ok(session) = self.device.retrieve_session(&called) else {
                continue;
            };
            for file in session.list_files().unwrap_or_default() {
                if (file.token.0 + round) % 3 != 0 {
                    let _ = session.retrieve_fd(file.token);
                }
            }
            if round % 2 == 0 {
                let _ = session.finish();
            }
        }
        Ok(())
    }
}
