// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program without root tries all at once what could hurt others' sessions, while those
//! of a guest's size go through an update.
//!
//! | file | who |
//! |---|---|
//! | here | the administrator: two sessions that behave, one of them a user's, and the update |
//! | [`evil`] | the other user's program: a thread for each attack, again and again |
//!
//! What is asserted are counts and outcomes, never times: each step of the update succeeds
//! the first time it is asked for; the other user has no more than a user may have; no call
//! was let through that must not be; nothing stays behind when the program is killed; and
//! each byte of those who behave is there in the next kernel, where the other user's
//! program is the first to open the device.

mod evil;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_scenes::stage::{until, within};
use luo_sys::unanswered::{self, Unanswered};
use luo_sys::{Device, FileStatus, Needed, Session, SessionEntry, State, Token, Which};

use crate::check::{Suite, device, name, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, port};

pub(crate) use evil::{ARGUMENT, main};

const SUITE: Suite = Suite::new("hostile-client");

/// Whom the hostile program runs as, and what the machine calls its sessions.
const UID: u32 = 3001;
const PREFIX: &str = "uid:3001:";

/// A guest's memory, and what belongs to it: 256 MiB and a few files.
const LENGTHS: [u64; 5] = [256 << 20, 4 << 20, 4097, 4096, 1];

/// The session of the administrator's, and one of a user's that behaves.
const GUEST: &str = "vm";
const OTHER: &str = "uid:3002:vm";
const OTHERS: u64 = 1 << 20;

/// What a user may have here. The first two are the defaults.
const SESSIONS: u64 = 64;
const FILES: u64 = 4096;
const BYTES: u64 = 128 << 20;

/// Names that others will want.
const WANTED: [&str; 2] = ["systemd", "luod"];

/// How long it may take until the hostile program has tried all: each of its attacks takes
/// the processors from the others, and a checker slows all of them down.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the machine prepares, freezes and takes it back under attack.
const ROUNDS: u32 = 10;

/// Goes through an update beside it.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    fs::set_permissions("/dev/liveupdate", fs::Permissions::from_mode(0o666))?;
    if Unanswered::is_there() {
        fs::set_permissions(unanswered::DEVICE, fs::Permissions::from_mode(0o666))?;
    }
    if guest.boot > 0 {
        return arrived();
    }
    fs::write("/sys/kernel/liveupdate/user_bytes", BYTES.to_string())?;
    let device = device()?;
    let session = device.create_session(&name(GUEST))?;
    for (token, length) in (0..).zip(LENGTHS) {
        let file = fill::memfd(GUEST, length, contents(token))?;
        session.preserve_fd(file, Token(token))?;
        if let Some(on) = token.checked_sub(1) {
            session.add_dependency(Token(token), Needed::Here(Token(on)))?;
        }
    }
    let other = device.create_session(&name(OTHER))?;
    other.preserve_fd(fill::memfd(OTHER, OTHERS, contents(OTHERS))?, Token(1))?;
    let mut evil = Evil::begin(&device, evil::BEFORE)?;
    SUITE.case("each-attack-is-tried", || evil.has_tried_all());
    SUITE.case("update-goes-on-under-attack", || {
        for round in 0..ROUNDS {
            under_attack(&device, &session).with_context(|| format!("round {round}"))?;
        }
        Ok(())
    });
    SUITE.case("nothing-is-let-through", || evil.was_let_nowhere());
    SUITE.case("nothing-is-left-when-it-is-killed", || {
        evil.kill()?;
        until("that all of it is gone", || Ok(its(&device)?.is_empty()))
    });
    let mut evil = Evil::begin(&device, evil::BEFORE)?;
    evil.has_tried_all()?;
    device.prepare().context("prepare")?;
    kexec::load(guest, |_, _| ())?;
    device.freeze().context("freeze")?;
    evil.was_let_nowhere()?;
    let error = kexec::jump();
    drop((session, other, evil));
    Err(error.into())
}

fn contents(token: u64) -> Prng {
    Prng::of(&[7, token])
}

/// All of an update but the jump, and what those who behave do beside it.
fn under_attack(device: &Device, session: &Session) -> Result<()> {
    let late = luo_sys::memfd::create("late", 4096)?;
    device.prepare().context("prepare")?;
    session.preserve_fd(&late, Token(100)).context("late")?;
    device.freeze().context("freeze")?;
    session.unpreserve_fd(Token(100)).context("taken back")?;
    device.cancel().context("cancel")?;
    for wanted in WANTED {
        let made = device.create_session(&name(wanted)).context(wanted)?;
        made.preserve_fd(&late, Token(1)).context(wanted)?;
    }
    for file in session.list_files()? {
        // The files of its own that need it: each but the last.
        let own = u32::from(file.token.0 + 1 < LENGTHS.len() as u64);
        same("how many need a file of the guest's", file.dependents, own)?;
        same("how it stands", file.status, FileStatus::Preserved)?;
    }
    let its = its(device)?;
    let sum = |of: fn(&SessionEntry) -> u64| its.iter().map(of).sum::<u64>();
    let (files, bytes) = (sum(|one| one.files), sum(|one| one.bytes));
    port::progress(format!(
        "it has {} sessions, {files} files, {bytes} bytes",
        its.len()
    ));
    ensure!(its.len() as u64 <= SESSIONS, "{} sessions", its.len());
    ensure!(files <= FILES, "{files} files");
    ensure!(bytes <= BYTES, "{bytes} bytes");
    Ok(())
}

/// The hostile program's sessions.
fn its(device: &Device) -> Result<Vec<SessionEntry>> {
    let mut sessions = device.list_sessions(Which::Outgoing)?;
    sessions.retain(|session| {
        let name = session.name.as_ref();
        name.is_some_and(|name| name.to_string().starts_with(PREFIX))
    });
    Ok(sessions)
}

/// The next kernel: the hostile program opens the device first, and asks for everything.
fn arrived() -> Result<()> {
    // It has no descriptor of the administrator's yet.
    let mut evil = Evil::begin(File::open("/dev/null")?, evil::AFTER)?;
    SUITE.case("each-attack-is-tried-after", || evil.has_tried_all());
    let device = device()?;
    SUITE.case("memory-is-there", || {
        let session = device.retrieve_session(&name(GUEST))?;
        for (token, length) in (0..).zip(LENGTHS).collect::<Vec<_>>().into_iter().rev() {
            let file = File::from(session.retrieve_fd(Token(token))?);
            fill::verify(&file, length, contents(token))?;
        }
        session.finish().context("finish")
    });
    SUITE.case("memory-of-the-other-user-is-there", || {
        let session = device.retrieve_session(&name(OTHER))?;
        let file = File::from(session.retrieve_fd(Token(1))?);
        fill::verify(&file, OTHERS, contents(OTHERS))?;
        session.finish().context("finish")
    });
    SUITE.case("update-ends", || {
        // It ends by itself with the last session that has come, which may be one of the
        // hostile program's.
        let finished = device.finish_update();
        same("the state", device.info()?.state, Some(State::Normal))
            .with_context(|| format!("{finished:?}"))
    });
    SUITE.case("nothing-is-let-through-after", || evil.was_let_nowhere());
    evil.kill()
}

/// The hostile program, as its parent sees it.
struct Evil {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    /// How many attacks it has.
    attacks: usize,
}

impl Evil {
    /// Starts it, with a descriptor that it inherits: of a device that an administrator
    /// has opened.
    fn begin(inherits: impl Into<Inherited>, when: &str) -> Result<Self> {
        let Inherited(stdin) = inherits.into();
        let mut child = Command::new("/proc/self/exe")
            .args([ARGUMENT, when])
            .stdin(stdin?)
            .stdout(Stdio::piped())
            .uid(UID)
            .gid(UID)
            .spawn()
            .context("the hostile program")?;
        let said = Arc::<Mutex<Vec<String>>>::default();
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                lock(&heard).push(line);
            }
        });
        let attacks = evil::attacks(when).count();
        Ok(Self {
            child,
            said,
            attacks,
        })
    }

    /// Waits until it has tried each attack once.
    fn has_tried_all(&self) -> Result<()> {
        within(PATIENCE, "that it has tried all", || {
            let said = lock(&self.said);
            let tried = said.iter().filter(|line| line.starts_with(evil::TRIED));
            Ok(tried.count() == self.attacks)
        })
        .with_context(|| format!("{:?}", lock(&self.said)))
    }

    fn was_let_nowhere(&mut self) -> Result<()> {
        let said = lock(&self.said);
        let through: Vec<_> = said
            .iter()
            .filter(|line| line.starts_with(evil::LET_THROUGH))
            .collect();
        ensure!(through.is_empty(), "{through:?}");
        ensure!(self.child.try_wait()?.is_none(), "it has ended: {said:?}");
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes its standard input.
struct Inherited(Result<Stdio>);

impl From<&Device> for Inherited {
    fn from(device: &Device) -> Self {
        use std::os::fd::AsFd as _;
        let fd = device.as_fd().try_clone_to_owned();
        Self(fd.map(Stdio::from).context("dup"))
    }
}

impl From<File> for Inherited {
    fn from(file: File) -> Self {
        Self(Ok(file.into()))
    }
}
