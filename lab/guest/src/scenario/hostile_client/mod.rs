// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program without root tries all at once what could hurt others' sessions, while those
//! of a guest's size go through an update.
//!
//! | file | who |
//! |---|---|
//! | here | the administrator: sessions that behave, one of them a user's, and the update |
//! | [`arrived`] | the administrator in the next kernel |
//! | [`evil`] | the other user's program: a thread for each attack, again and again |
//! | [`cast`] | names and numbers |
//! | [`busy`] | a pipe of a user's that behaves |
//! | [`groups`] | the programs of users, and who is charged for them |
//! | [`attack`] | the ways in which it tries |
//! | [`parts`] | which program plays which part |
//! | [`programs`] | further programs of users, each with an attack of its own |
//! | [`endless`] | calls that never end |
//! | [`ends`] | a program that ends its sessions while its memory cgroup is full |
//! | [`given`] | a program that holds sessions of the administrator's |
//! | [`holdings`] | what the other user has, and may have |
//! | [`inherited`] | the descriptors that they get |
//! | [`lines`] | a program whose writers stand in lines for pipes |
//! | [`idle`] | programs for whose threads there is no processor |
//! | [`lining`], [`ending`], [`idling`] | the administrator's sides of [`lines`], [`ends`] and [`idle`] |
//! | [`neighbour`] | one that behaves, in the same line as one with many threads |
//! | [`readers`] | programs of which many threads want the lock to read |
//! | [`shares`] | a program that has descriptors of files of the administrator's |
//! | [`sharing`] | the administrator's side of that |
//! | [`small`] | files of kinds that not each kernel knows |
//! | [`taking_back`] | the administrator in the next kernel, beside [`idle`] |
//! | [`took`] | how long its calls take |
//! | [`timed`] | how long calls of those who behave may take |
//!
//! What is asserted: each step of the update succeeds the first time it is asked for, and each
//! call of those who behave has an end within a stated time; the other user has no more than a
//! user may have; no call was let through that must not be; nothing stays behind when the program
//! is killed; who behaves is charged for nothing of it; and each byte of those who behave is
//! there in the next kernel, where the other user's program is the first to open the device.
//!
//! Calls that never end stand in a handler that waits: files of the test driver's
//! ([`luo_conformance::forge`]) do that for as long as the administrator says.
//!
//! What the documents leave to a user is asserted as they say it: memory that is shared with one
//! is preserved once, and who holds a session of the administrator's, or shares a pipe or a timer
//! with it, can fail an event, which names that session or file then, and never the reboot.

mod arrived;
mod attack;
mod busy;
mod cast;
mod ending;
mod endless;
mod ends;
mod evil;
mod given;
mod groups;
mod holdings;
mod idle;
mod idling;
mod inherited;
mod lines;
mod lining;
mod neighbour;
pub(crate) mod parts;
mod programs;
mod readers;
mod shares;
mod sharing;
mod small;
mod taking_back;
mod timed;
mod took;

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, bail, ensure};
use luo_conformance::check::skip;
use luo_conformance::forge::{self, Hold};
use luo_scenes::stage::{until, within};
use luo_sys::unanswered::{self, Unanswered};
use luo_sys::{Device, Errno, FileStatus, Needed, Session, Token};

use crate::cgroup::{Group, INEXACT};
use crate::check::{device, name, refused, same};
use crate::fill::{self};
use crate::init::Guest;
use crate::program::{self, Program};
use crate::{kexec, port};

use cast::{
    BASE, COSTLY, GUEST, IDLE, JUMPED, LENGTHS, LINER, OTHER, OTHERS, PASSED, PASSED_BYTES,
    PATIENCE, PREFIX, SMALL, SUITE, WANTED, contents, wall_clock,
};
use endless::{Endless, preserves, stands_in};
pub(crate) use evil::ARGUMENT;
use groups::{Evil, Groups};
use holdings::{BYTES, FILES, sessions_of};
use timed::Timed;

/// Bytes of memory that the hostile program may read, and of memory that it may write.
const SHARED: u64 = 16 << 12;

/// Sessions that all users may have together, while many try.
const TOGETHER: u64 = 300;
const TOGETHER_BY_DEFAULT: u64 = 4096;

/// How often the machine prepares, freezes and takes it back under attack.
const ROUNDS: u32 = 5;

/// Goes through an update beside it.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    fs::set_permissions("/dev/liveupdate", fs::Permissions::from_mode(0o666))?;
    if Unanswered::is_there() {
        fs::set_permissions(unanswered::DEVICE, fs::Permissions::from_mode(0o666))?;
    }
    // It is to try each handler.
    fs::write("/sys/kernel/liveupdate/user_kinds", "all").context("kinds of files")?;
    let groups = Groups::new()?;
    let timed = Timed::new(guest)?;
    if guest.boot > 0 {
        return arrived::run(guest, &groups, &timed);
    }
    for (quota, most) in [("user_files", FILES), ("user_bytes", BYTES)] {
        let file = format!("/sys/kernel/liveupdate/{quota}");
        fs::write(file, most.to_string()).context(quota)?;
    }
    Before::new(&groups, &timed)?.run(guest)
}

/// The first kernel.
struct Before<'a> {
    groups: &'a Groups,
    timed: &'a Timed,
    device: Device,
    /// The guest's session,
    session: Session,
    /// and the others that behave.
    _others: [Session; 2],
    passed: Session,
    shared: File,
    /// An eventfd and a timer that the hostile program may use, too; and those that the guest's
    /// session has preserved first.
    shared_small: [OwnedFd; 2],
    guests_small: [OwnedFd; 2],
    /// Memory to which the hostile program writes without an end.
    written: File,
}

impl<'a> Before<'a> {
    fn new(groups: &'a Groups, timed: &'a Timed) -> Result<Self> {
        let device = device()?;
        let one = |called: &str, length| -> Result<Session> {
            let session = device.create_session(&name(called))?;
            session.preserve_fd(fill::memfd(called, length, contents(length))?, Token(1))?;
            Ok(session)
        };
        let (other, base) = (one(OTHER, OTHERS)?, one(BASE, 4096)?);
        busy::begin(&other)?;
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
        let guests_small = small::eventfd_and_timer()?;
        for (file, token) in guests_small.iter().zip(SMALL) {
            session.preserve_fd(file, token)?;
        }
        let shared = fill::memfd("shared", SHARED, contents(SHARED))?;
        let written = fill::memfd("written", SHARED, contents(SHARED))?;
        Ok(Self {
            groups,
            timed,
            device,
            session,
            _others: [other, base],
            passed,
            shared,
            shared_small: small::eventfd_and_timer()?,
            guests_small,
            written,
        })
    }

    fn run(self, guest: &Guest) -> Result<()> {
        let charged = self.groups.guest().and_then(Group::charged);
        // As long as no user has made a call.
        SUITE.case("readers-of-sysfs-stand-in-line", || self.readers());
        // They begin first, because it takes many calls until their calls are costly.
        let mut costly = self.costly(COSTLY, programs::COSTLY)?;
        let mut bare = self.costly(0, programs::BARE)?;
        let mut idle = self.costly(IDLE, idle::IDLE)?;
        let endless = Endless::new()?;
        let callbacks = endless.callbacks()?;
        let hold = Hold::on_each(callbacks.clone())?;
        let mut evil = self.evil(&endless)?;
        SUITE.case("each-attack-is-tried", || evil.has_tried_all());
        let [hangs, _] = &callbacks;
        SUITE.case("calls-that-never-end-are-among-them", || {
            stands_in(&hold, core::slice::from_ref(hangs))
        });
        SUITE.case("update-goes-on-under-attack", || {
            self.rounds()?;
            stands_in(&hold, core::slice::from_ref(hangs))
        });
        SUITE.case("update-goes-on-beside-costly-calls", || {
            groups::storm_of(&mut costly, programs::COSTLY)?;
            self.rounds()
        });
        SUITE.case("who-shares-a-line-with-many-waits-for-few", || {
            self.neighbour()?;
            ensure!(costly.runs()?, "the costly calls have ended");
            costly.kill()
        });
        SUITE.case("root-without-privileges-stands-in-line-too", || {
            groups::storm_of(&mut bare, programs::BARE)?;
            self.rounds()?;
            bare.kill()
        });
        SUITE.case("idle-threads-delay-for-a-bounded-time", || {
            self.idle_threads(&mut idle)
        });
        SUITE.case("what-another-writes-to-is-busy-in-time", || {
            self.is_locked()
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
            for file in &self.shared_small {
                refused(self.session.preserve_fd(file, Token(200)), Errno::EBUSY)?;
            }
            Ok(())
        });
        SUITE.case("nothing-is-left-when-it-is-killed", || {
            evil.program.signal()?;
            // A call in a handler ends with that, whoever is killed.
            drop(hold);
            evil.program.kill()?;
            self.all_is_gone()?;
            for file in [&self.shared, &self.written] {
                self.session.preserve_fd(file, Token(200))?;
                self.session.unpreserve_fd(Token(200))?;
                file.set_len(SHARED)?;
            }
            for file in &self.shared_small {
                self.session.preserve_fd(file, Token(200))?;
                self.session.unpreserve_fd(Token(200))?;
            }
            Ok(())
        });
        SUITE.case("many-numbers-have-no-more-than-users-together", || {
            self.many_numbers()
        });
        SUITE.case(
            "who-holds-an-administrators-session-delays-for-a-bounded-time",
            || self.given(),
        );
        SUITE.case("what-others-share-is-named-in-time", || self.are_named());
        SUITE.case("lines-of-writers-hold-nobody-up", || self.stand_in_lines());
        SUITE.case("nobody-else-is-charged", || {
            let (charged, now) = (charged?, self.groups.guest()?.charged()?);
            port::progress(format!("the guest's group: {charged} before, {now} after"));
            ensure!(now <= charged + INEXACT, "{charged} became {now}");
            Ok(())
        });
        self.jump(guest)
    }

    fn evil(&self, endless: &Endless) -> Result<Evil> {
        // Whom it is shared with may read it.
        let read = File::open(format!("/proc/self/fd/{}", self.shared.as_raw_fd()))?;
        let [eventfd, timer] = &self.shared_small;
        let [guests_eventfd, guests_timer] = &self.guests_small;
        let passed = [
            self.device.as_fd(),
            read.as_fd(),
            self.passed.as_fd(),
            self.written.as_fd(),
            endless.hangs.as_fd(),
            endless.keeps.as_fd(),
            eventfd.as_fd(),
            timer.as_fd(),
            guests_eventfd.as_fd(),
            guests_timer.as_fd(),
        ];
        Evil::begin(self.groups, &passed, attack::BEFORE)
    }

    /// A program that has all it needs to make costly calls, and waits.
    fn costly(&self, user: u32, part: &str) -> Result<Program> {
        let mut costly = self.groups.start(user, part, &[])?;
        let said = costly.says(program::READY, 1, PATIENCE)?;
        port::progress(said);
        Ok(costly)
    }

    fn rounds(&self) -> Result<()> {
        for round in 0..ROUNDS {
            let done = self.under_attack();
            done.with_context(|| format!("round {round}"))?;
        }
        Ok(())
    }

    /// All of an update but the jump, and what those who behave do beside it.
    fn under_attack(&self) -> Result<()> {
        let late = luo_sys::memfd::create("late", 4096)?;
        let (device, session, timed) = (&self.device, &self.session, self.timed);
        let one = Token(100);
        timed
            .event("prepare", || device.prepare())
            .context("prepare")?;
        timed
            .call("PRESERVE_FD", || session.preserve_fd(&late, one))
            .context("late")?;
        timed
            .event("freeze", || device.freeze())
            .context("freeze")?;
        timed
            .call("UNPRESERVE_FD", || session.unpreserve_fd(one))
            .context("taken back")?;
        timed
            .event("cancel", || device.cancel())
            .context("cancel")?;
        for wanted in WANTED {
            let create = || device.create_session(&name(wanted));
            let made = timed.call("CREATE_SESSION", create).context(wanted)?;
            timed
                .call("PRESERVE_FD", || made.preserve_fd(&late, Token(1)))
                .context(wanted)?;
            timed.call("close", || drop(made));
        }
        let on = || Needed::Here(Token(2));
        timed.call("ADD_DEPENDENCY", || session.add_dependency(Token(4), on()))?;
        timed.call("DROP_DEPENDENCY", || {
            session.drop_dependency(Token(4), on())
        })?;
        // All devices of this kind are opened under one lock.
        let open = || Device::open();
        refused(timed.open("open, with one opener", open), Errno::EBUSY)?;
        if Unanswered::is_there() {
            let open = || File::open(unanswered::DEVICE);
            timed.open("open of another device", open)?;
        }
        for file in timed.call("LIST_FILES", || session.list_files())? {
            // The files of its own that need it: each but the last.
            let own = u32::from(file.token.0 + 1 < LENGTHS.len() as u64);
            same("how many need a file of the guest's", file.dependents, own)?;
            same("how it stands", file.status, FileStatus::Preserved)?;
        }
        holdings::are_within_quotas(|| timed.call("LIST_SESSIONS", || sessions_of(device, PREFIX)))
    }

    /// Somebody writes to memory of the guest's and does not end.
    fn is_locked(&self) -> Result<()> {
        if !Unanswered::is_there() {
            return Err(skip(format!("there is no {}", unanswered::DEVICE)));
        }
        let preserve = || self.session.preserve_fd(&self.written, Token(201));
        refused(
            self.timed.locked("PRESERVE_FD of a locked file", preserve),
            Errno::EBUSY,
        )
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

    /// The reboot, with all of them there.
    fn jump(self, guest: &Guest) -> Result<()> {
        // As long as nobody else calls.
        let idle = self.leave_idle()?;
        let mut costly = self.costly(COSTLY, programs::COSTLY)?;
        let (endless, given) = (Endless::new()?, forge::open()?);
        let callbacks = [endless.callbacks()?.to_vec(), vec![preserves(&given)?]].concat();
        let hold = Hold::on_each(callbacks.clone())?;
        let mut evil = self.evil(&endless)?;
        evil.has_tried_all()?;
        groups::storm_of(&mut costly, programs::COSTLY)?;
        let program = self.give(programs::HOLDS_FROZEN, &given)?;
        let mut shares = self.share_frozen()?;
        let left = (ending::leave(self.groups)?, idle);
        let mut lines = self.groups.start(LINER, lines::LEAVES, &[])?;
        lines.says(program::READY, 1, PATIENCE)?;
        self.timed
            .event("prepare", || self.device.prepare())
            .context("prepare")?;
        let now = wall_clock()?;
        kexec::load(guest, |_, args| args.set(JUMPED, now))?;
        self.timed
            .event("freeze", || self.device.freeze())
            .context("freeze")?;
        let [hangs, keeps, given] = &callbacks[..] else {
            bail!("{callbacks:?}");
        };
        within(PATIENCE, "that a call on a given session hangs", || {
            Ok(hold.held()?.contains(given))
        })?;
        if let Some((_, sharer)) = &mut shares {
            sharer.says(evil::TRIED, 1, PATIENCE)?;
        }
        ensure!(hold.held()?.contains(hangs), "no call of the user's hangs");
        ensure!(!hold.held()?.contains(keeps), "somebody has let go of it");
        evil.was_let_nowhere()?;
        SUITE.case("all-is-in-time", || self.timed.were_in_time());
        let error = kexec::jump();
        drop((self, evil, program, shares, left, lines, costly, hold));
        Err(error.into())
    }
}
