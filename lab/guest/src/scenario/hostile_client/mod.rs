// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program without root tries all at once what could hurt others' sessions, while those
//! of a guest's size go through an update.
//!
//! | file | who |
//! |---|---|
//! | here | the administrator: sessions that behave, one of them a user's, and the update |
//! | [`arrived`] | the administrator in the next kernel |
//! | [`evil`] | the other user's program: a thread for each attack, again and again |
//! | [`programs`] | further programs of users, each with an attack of its own |
//! | [`inherited`] | the descriptors that they get |
//!
//! What is asserted: each step of the update succeeds the first time it is asked for, and has an
//! end within the kernel's patience and [`ALLOWANCE`]; the other user has no more than a user may
//! have; no call was let through that must not be; nothing stays behind when the program is
//! killed; who behaves is charged for nothing of it; and each byte of those who behave is
//! there in the next kernel, where the other user's program is the first to open the device.
//!
//! What the documents leave to a user is asserted as they say it: memory that is shared with one
//! is preserved once, and who holds a session of the administrator's can fail an event, which
//! names that session then, and never the reboot.

mod arrived;
mod evil;
mod inherited;
mod programs;

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use luo_conformance::check::skip;
use luo_scenes::stage::until;
use luo_sys::unanswered::{self, Unanswered};
use luo_sys::{Device, Errno, FileStatus, Needed, Session, SessionEntry, Token, Which};

use crate::cgroup::{self, Group, INEXACT};
use crate::check::{Suite, device, name, refused, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::program::{self, Program};
use crate::{kexec, port};

pub(crate) use evil::ARGUMENT;

const SUITE: Suite = Suite::new("hostile-client");

/// Whom the hostile program runs as, and what the machine calls its sessions.
const UID: u32 = 3001;
const PREFIX: &str = "uid:3001:";
/// Whom the one runs as that holds sessions of the administrator's: of each user one may have the
/// device open.
const HOLDER: u32 = 3003;

/// A guest's memory, and what belongs to it: 256 MiB and a few files.
const LENGTHS: [u64; 5] = [256 << 20, 4 << 20, 4097, 4096, 1];

/// The session of the administrator's, and one of a user's that behaves.
const GUEST: &str = "vm";
const OTHER: &str = "uid:3002:vm";
const OTHERS: u64 = 1 << 20;

/// A session of the administrator's that the guest's needs, and that is closed early.
const BASE: &str = "base";
/// One whose descriptor the hostile program has, and its file's bytes.
const PASSED: &str = "passed";
const PASSED_BYTES: u64 = 5 << 12;
/// Those whose descriptors a program has that does its worst with them.
const GIVEN: [&str; 3] = ["given-misses", "given-hangs", "given-closes"];

/// Bytes of memory that the hostile program may read.
const SHARED: u64 = 16 << 12;

/// What a user may have here. The first two are the defaults.
const SESSIONS: u64 = 64;
const FILES: u64 = 4096;
const BYTES: u64 = 128 << 20;
/// Sessions that all users may have together, while many try.
const TOGETHER: u64 = 300;
const TOGETHER_BY_DEFAULT: u64 = 4096;

/// A file system that has no room, its bytes, and how often a hole in a file there is to be
/// preserved.
const SMALL: &str = "/small";
const SMALL_BYTES: u64 = 64 << 10;
const HOLES: u64 = 1000;

/// Names that others will want.
const WANTED: [&str; 2] = ["systemd", "luod"];

/// How long it may take until the hostile program has tried all: each of its attacks takes
/// the processors from the others, and a checker slows all of them down.
const PATIENCE: Duration = Duration::from_secs(600);

/// How much more than the kernel's patience an event or the reboot may take here: the storm takes
/// the processors from it. The checkers slow all down by another number.
const ALLOWANCE: Duration = Duration::from_secs(30);

/// The argument with when the machine has jumped, in seconds.
const JUMPED: &str = "jumped";

/// How often the machine prepares, freezes and takes it back under attack.
const ROUNDS: u32 = 10;

/// Goes through an update beside it.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    fs::set_permissions("/dev/liveupdate", fs::Permissions::from_mode(0o666))?;
    if Unanswered::is_there() {
        fs::set_permissions(unanswered::DEVICE, fs::Permissions::from_mode(0o666))?;
    }
    // Its own threads hang for as long as it likes; that others do not is asserted here.
    fs::write("/proc/sys/kernel/hung_task_timeout_secs", "0").context("hung tasks")?;
    let groups = Groups::new()?;
    let bound = bound(guest)?;
    if guest.boot > 0 {
        return arrived::run(guest, &groups, bound);
    }
    fs::write("/sys/kernel/liveupdate/user_bytes", BYTES.to_string())?;
    Before::new(&groups, bound)?.run(guest)
}

/// Is one of the programs of users.
pub(crate) fn main(part: &str) {
    let played = programs::main(part).unwrap_or_else(|| evil::main(part));
    if let Err(error) = played {
        println!(
            "{}nothing, it could not begin: {error:#}",
            evil::LET_THROUGH
        );
    }
}

/// How long an event, or the reboot, may take.
fn bound(guest: &Guest) -> Result<Duration> {
    let patience = guest
        .line
        .get("liveupdate_patience")
        .context("no patience")?;
    let slower: u32 = guest.args.get("slower", 1)?;
    Ok(Duration::from_secs(patience.parse()?) + ALLOWANCE * slower)
}

/// Who is charged: the administrator with the guest's memory, and the programs; nobody where the
/// kernel has no such groups.
struct Groups(Option<[Group; 2]>);

impl Groups {
    /// Has the administrator in a group.
    fn new() -> Result<Self> {
        if !cgroup::are_there()? {
            return Ok(Self(None));
        }
        let [guest, evil] = [Group::new("guest")?, Group::new("evil")?];
        guest.enter()?;
        Ok(Self(Some([guest, evil])))
    }

    /// The administrator's.
    fn guest(&self) -> Result<&Group> {
        let groups = self.0.as_ref();
        let [guest, _] = groups.ok_or_else(|| skip("this kernel has no groups of memory"))?;
        Ok(guest)
    }

    /// Starts a program in a group of its own.
    fn start(&self, user: u32, part: &str, passed: &[BorrowedFd<'_>]) -> Result<Program> {
        let stdin = inherited::pass(passed)?;
        let begin = || Program::begin(user, &[ARGUMENT, part], stdin);
        match &self.0 {
            Some([guest, evil]) => evil.inside(guest, begin),
            None => begin(),
        }
    }
}

/// The first kernel.
struct Before<'a> {
    groups: &'a Groups,
    bound: Duration,
    device: Device,
    /// The guest's session,
    session: Session,
    /// and the others that behave.
    _others: [Session; 2],
    passed: Session,
    shared: File,
}

impl<'a> Before<'a> {
    fn new(groups: &'a Groups, bound: Duration) -> Result<Self> {
        let device = device()?;
        let one = |called: &str, length| -> Result<Session> {
            let session = device.create_session(&name(called))?;
            session.preserve_fd(fill::memfd(called, length, contents(length))?, Token(1))?;
            Ok(session)
        };
        let (other, base) = (one(OTHER, OTHERS)?, one(BASE, 4096)?);
        let passed = one(PASSED, PASSED_BYTES)?;
        let session = device.create_session(&name(GUEST))?;
        for (token, length) in (0..).zip(LENGTHS) {
            let file = fill::memfd(GUEST, length, contents(token))?;
            session.preserve_fd(file, Token(token))?;
            if let Some(on) = token.checked_sub(1) {
                session.add_dependency(Token(token), Needed::Here(Token(on)))?;
            }
        }
        session.add_dependency(Token(0), Needed::In(name(BASE), Token(1)))?;
        let shared = fill::memfd("shared", SHARED, contents(SHARED))?;
        Ok(Self {
            groups,
            bound,
            device,
            session,
            _others: [other, base],
            passed,
            shared,
        })
    }

    fn run(self, guest: &Guest) -> Result<()> {
        let charged = self.groups.guest().and_then(Group::charged);
        let mut evil = self.evil()?;
        SUITE.case("each-attack-is-tried", || evil.has_tried_all());
        SUITE.case(
            "calls-that-never-end-are-among-them",
            || match Unanswered::is_there() {
                true => Ok(()),
                false => Err(skip(format!("there is no {}", unanswered::DEVICE))),
            },
        );
        SUITE.case("update-goes-on-under-attack", || {
            for round in 0..ROUNDS {
                self.under_attack()
                    .with_context(|| format!("round {round}"))?;
            }
            Ok(())
        });
        SUITE.case("nothing-is-let-through", || evil.was_let_nowhere());
        SUITE.case("what-is-shared-is-preserved-once", || {
            refused(
                self.session.preserve_fd(&self.shared, Token(200)),
                Errno::EBUSY,
            )?;
            ensure!(
                self.shared.set_len(SHARED + 1).is_err(),
                "its size can change"
            );
            Ok(())
        });
        SUITE.case("nothing-is-left-when-it-is-killed", || {
            evil.program.kill()?;
            self.all_is_gone()?;
            self.session.preserve_fd(&self.shared, Token(200))?;
            self.session.unpreserve_fd(Token(200))?;
            Ok(self.shared.set_len(SHARED)?)
        });
        SUITE.case("many-numbers-have-no-more-than-users-together", || {
            self.many_numbers()
        });
        SUITE.case(
            "who-holds-an-administrators-session-delays-for-a-bounded-time",
            || self.given(),
        );
        SUITE.case("nobody-else-is-charged", || {
            let (charged, now) = (charged?, self.groups.guest()?.charged()?);
            port::progress(format!("the guest's group: {charged} before, {now} after"));
            ensure!(now <= charged + INEXACT, "{charged} became {now}");
            Ok(())
        });
        self.jump(guest)
    }

    fn evil(&self) -> Result<Evil> {
        // Whom it is shared with may read it.
        let read = File::open(format!("/proc/self/fd/{}", self.shared.as_raw_fd()))?;
        let passed = [self.device.as_fd(), read.as_fd(), self.passed.as_fd()];
        Evil::begin(self.groups, &passed, evil::BEFORE)
    }

    /// Makes a step of the update, which must come to its end.
    fn step<T>(&self, what: &str, step: impl FnOnce() -> luo_sys::Result<T>) -> luo_sys::Result<T> {
        let begun = Instant::now();
        let done = step();
        let took = begun.elapsed();
        if took > self.bound {
            port::case(
                format!("hostile-client::{what} in time"),
                luo_lab_protocol::Outcome::Failed,
                format!("{took:?} of {:?}", self.bound),
            );
        }
        done
    }

    /// All of an update but the jump, and what those who behave do beside it.
    fn under_attack(&self) -> Result<()> {
        let late = luo_sys::memfd::create("late", 4096)?;
        let (device, session) = (&self.device, &self.session);
        self.step("prepare", || device.prepare())
            .context("prepare")?;
        session.preserve_fd(&late, Token(100)).context("late")?;
        self.step("freeze", || device.freeze()).context("freeze")?;
        session.unpreserve_fd(Token(100)).context("taken back")?;
        self.step("cancel", || device.cancel()).context("cancel")?;
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
        let its = sessions_of(device, PREFIX)?;
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

    fn all_is_gone(&self) -> Result<()> {
        until("that all of it is gone", || {
            Ok(sessions_of(&self.device, PREFIX)?.is_empty())
        })
    }

    /// One program is many users, by a descriptor that all of them have.
    fn many_numbers(&self) -> Result<()> {
        const FILE: &str = "/sys/kernel/liveupdate/users_sessions";
        let users = || Ok::<_, anyhow::Error>(sessions_of(&self.device, "uid:")?.len() as u64);
        fs::write(FILE, TOGETHER.to_string())?;
        // It begins with the privileges that it gives up for each.
        let mut program = self
            .groups
            .start(0, programs::NUMBERS, &[self.device.as_fd()])?;
        let said = program.says(evil::TRIED, 1, PATIENCE)?;
        port::progress(&said);
        same("the sessions of all users", users()?, TOGETHER)?;
        self.under_attack()?;
        program.kill()?;
        fs::write(FILE, TOGETHER_BY_DEFAULT.to_string())?;
        // The one that behaves has its own still.
        until("that all of it is gone", || Ok(users()? == 1))
    }

    fn give(&self, part: &str) -> Result<Program> {
        let mut given = Vec::new();
        for called in GIVEN {
            given.push(self.device.create_session(&name(called))?);
        }
        let given: Vec<_> = given.iter().map(Session::as_fd).collect();
        let mut program = self.groups.start(HOLDER, part, &given)?;
        program.says(program::READY, 1, PATIENCE)?;
        Ok(program)
    }

    /// Somebody without privileges holds sessions of the administrator's: events may fail by
    /// them, in time, and say by which.
    fn given(&self) -> Result<()> {
        let [misses, hangs, _] = GIVEN;
        let mut program = self.give(programs::HOLDS)?;
        program.says(evil::TRIED, 1, PATIENCE)?;
        // Now and then nothing is missing.
        until("that it misses a file", || {
            self.fails_by(misses, Errno::ENOLINK)
        })?;
        fs::write(program::GO, "")?;
        program.says(evil::TRIED, 2, PATIENCE)?;
        if Unanswered::is_there() {
            ensure!(self.fails_by(hangs, Errno::EBUSY)?, "it waits for nobody");
        }
        fs::remove_file(program::GO)?;
        program.kill()?;
        until("that its sessions are gone", || {
            Ok(sessions_of(&self.device, "given-")?.is_empty())
        })?;
        self.under_attack()
    }

    /// Whether a prepare fails, so and by that session; if not, it is taken back.
    fn fails_by(&self, session: &str, errno: Errno) -> Result<bool> {
        let device = &self.device;
        match self.step("prepare, with one that holds", || device.prepare()) {
            Ok(()) => {
                self.step("cancel, with one that holds", || device.cancel())?;
                Ok(false)
            }
            Err(why) => {
                let by = device.failure()?.session;
                port::progress(format!("{why}, by {by:?}"));
                same("the error", why.errno(), errno)?;
                same("who is named", by, Some(name(session)))?;
                Ok(true)
            }
        }
    }

    /// The reboot, with all of them there.
    fn jump(self, guest: &Guest) -> Result<()> {
        let mut evil = self.evil()?;
        evil.has_tried_all()?;
        let mut program = self.give(programs::HOLDS_FROZEN)?;
        self.step("prepare", || self.device.prepare())
            .context("prepare")?;
        let now = wall_clock()?;
        kexec::load(guest, |_, args| args.set(JUMPED, now))?;
        self.step("freeze", || self.device.freeze())
            .context("freeze")?;
        program.says(evil::TRIED, 2, PATIENCE)?;
        evil.was_let_nowhere()?;
        let error = kexec::jump();
        drop((self, evil, program));
        Err(error.into())
    }
}

/// Seconds of the wall clock, which each kernel begins by the machine's.
fn wall_clock() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn contents(token: u64) -> Prng {
    Prng::of(&[7, token])
}

/// The sessions whose names begin so.
fn sessions_of(device: &Device, prefix: &str) -> Result<Vec<SessionEntry>> {
    let mut sessions = device.list_sessions(Which::Outgoing)?;
    sessions.retain(|session| {
        let name = session.name.as_ref();
        name.is_some_and(|name| name.to_string().starts_with(prefix))
    });
    Ok(sessions)
}

/// The hostile program, as its parent sees it.
struct Evil {
    program: Program,
    /// How many attacks it has.
    attacks: usize,
}

impl Evil {
    fn begin(groups: &Groups, passed: &[BorrowedFd<'_>], when: &str) -> Result<Self> {
        Ok(Self {
            program: groups.start(UID, when, passed)?,
            attacks: evil::attacks(when).count(),
        })
    }

    /// Waits until it has tried each attack once.
    fn has_tried_all(&mut self) -> Result<()> {
        self.program.says(evil::TRIED, self.attacks, PATIENCE)?;
        Ok(())
    }

    fn was_let_nowhere(&mut self) -> Result<()> {
        let through = self.program.has_said(evil::LET_THROUGH);
        ensure!(through.is_empty(), "{through:?}");
        ensure!(
            self.program.runs()?,
            "it has ended: {:?}",
            self.program.has_said("")
        );
        Ok(())
    }
}
