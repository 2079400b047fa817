// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open the device, and whose a session is.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_abi::calls::{CALLS, Kind, Who};
use luo_abi::uapi::SESSION_LINK_PREFIX;
use luo_sys::{Device, Errno, FileStatus, Needed, Session, Token, Which, raw};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::tools::{NO_CONTRACT, NO_SYSFS, incoming, memory, retrieve};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, refused_file, same};
use crate::difference::{Expect, absent, accepts, answers, missing, simulated};
use crate::kmsg::{Message, Reader};
use crate::look::{SYSFS, fdinfo, session, sysfs};
use crate::user::{Delegated, USERS, as_user, without_privileges};

const NO_OWNERS: &str = "mainline knows no owners: whoever may open the device has all sessions";
const ONE_OPENER: &str = "mainline has one opener, whoever it is";

pub(super) const CASES: &[Case] = &[
    here("who-may-open-follows-the-mode", mode),
    here(
        "a-descriptor-without-privileges-moves-nothing",
        moves_nothing,
    )
    .but(&[answers(Errno::EINVAL, NO_CONTRACT)]),
    here("openers-of-several-users", openers).but(&[answers(Errno::EBUSY, ONE_OPENER)]),
    here("names-are-a-users-own", own_names).but(&[answers(Errno::EEXIST, NO_OWNERS)]),
    here("a-name-must-fit-with-the-user", long_name).but(&[accepts(NO_OWNERS)]),
    here("the-administrator-acts-for-a-user", on_behalf).but(&[accepts(NO_OWNERS)]),
    here("what-procfs-says-is-the-full-name", full_name).but(&[answers(Errno::EBUSY, ONE_OPENER)]),
    here("a-user-sees-its-own-sessions", sees_own).but(&[missing(NO_CONTRACT)]),
    here("what-is-chosen-takes-privileges", chosen).but(&[absent(NO_SYSFS)]),
    here("a-descriptor-without-privileges-chooses-nothing", passed).but(&[
        absent(NO_SYSFS),
        simulated(Expect::Accepts(
            "a write goes to a socket, so it cannot be refused: nothing is chosen, and there is \
             a warning in the log",
        )),
    ]),
    here("quotas-have-defaults", defaults).but(&[absent(NO_SYSFS)]),
    here("quotas-are-a-users", quotas).but(&[absent(NO_SYSFS)]),
    here("quotas-are-for-all-users-together", quotas_together).but(&[absent(NO_SYSFS)]),
    here("given-back-room-is-there-again", room_again).but(&[absent(NO_SYSFS)]),
    here("consent-to-a-dependency", consent).but(&[answers(Errno::EBUSY, ONE_OPENER)]),
    shared("a-user-takes-its-session-back", leave, taken_back)
        .but(&[answers(Errno::EBUSY, ONE_OPENER)]),
    shared(
        "the-administrator-takes-a-users-session",
        leave_for_root,
        taken_by_root,
    )
    .but(&[answers(Errno::EBUSY, ONE_OPENER)]),
    shared(
        "a-finish-tries-its-owners-sessions-alone",
        leave_needed,
        tried_by_its_owner,
    )
    .but(&[answers(Errno::EBUSY, ONE_OPENER)]),
    alone("by-parameter", &[parameters_wanted, parameters]).but(&[accepts(NO_OWNERS)]),
];

/// Creates a session as a user, and closes the device.
fn create(user: u32, text: &str) -> Result<Session> {
    as_user(user, || Ok(Device::open()?.create_session(&name(text))?))
}

fn full(user: u32, text: &str) -> String {
    format!("uid:{user}:{text}")
}

fn mode(_: &mut Context<'_>) -> Result<()> {
    let [user, _] = USERS;
    as_user(user, || refused(Device::open(), Errno::EACCES)).context("by default")?;
    {
        let _delegated = Delegated::new()?;
        as_user(user, || Ok(Device::open().map(drop)?)).context("delegated")?;
    }
    as_user(user, || refused(Device::open(), Errno::EACCES)).context("not any more")?;
    // One who owns the file and lacks the capability is such a user.
    without_privileges(|| Ok(Device::open().map(drop)?)).context("without CAP_SYS_ADMIN")
}

fn moves_nothing(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    without_privileges(|| {
        for call in CALLS {
            if call.who == Who::Administrator && call.on.takes(Kind::Device) {
                let result = raw::ioctl(&device, call.command, &mut [0; 256]);
                refused(result, Errno::EACCES).context(call.word)?;
            }
        }
        Ok(())
    })
}

fn openers(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let root = device()?;
    let [one, other] = USERS;
    let first = as_user(one, || Ok(Device::open()?)).context("a user")?;
    as_user(one, || refused(Device::open(), Errno::EBUSY)).context("the same user")?;
    let _second = as_user(other, || Ok(Device::open()?)).context("another user")?;
    refused(Device::open(), Errno::EBUSY).context("the administrator, twice")?;
    drop(root);
    drop(device().context("with users there")?);
    drop(first);
    as_user(one, || Ok(Device::open().map(drop)?)).context("after the close")
}

fn own_names(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let sessions = [create(one, "vm")?, create(other, "vm")?];
    let _root = device()?.create_session(&name("vm"))?;
    for (user, session) in USERS.into_iter().zip(&sessions) {
        let own = as_user(user, || Ok(session.name()?))?;
        same("what the user calls it", own, name("vm"))?;
        let known = session.name()?;
        same("what it is called", known, name(&full(user, "vm")))?;
    }
    let foreign = as_user(one, || Ok(sessions[1].name()?))?;
    same(
        "what another user calls it",
        foreign,
        name(&full(other, "vm")),
    )?;
    // By either name it is the same session.
    as_user(one, || {
        let device = Device::open()?;
        for taken in ["vm", &full(one, "vm")] {
            refused(device.create_session(&name(taken)), Errno::EEXIST)?;
        }
        let twice = full(one, &full(one, "vm"));
        refused(device.create_session(&name(&twice)), Errno::EINVAL)?;
        // Another user's name is one among the user's own.
        let odd = device.create_session(&name(&full(other, "vm")))?;
        same("its name", odd.name()?, name(&full(other, "vm")))
    })
}

fn long_name(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let longest = "x".repeat(63 - full(user, "").len());
    create(user, &longest)?;
    let longer = format!("{longest}x");
    as_user(user, || {
        refused(
            Device::open()?.create_session(&name(&longer)),
            Errno::ENAMETOOLONG,
        )
    })
}

fn on_behalf(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let _made = device()?.create_session(&name(&full(user, "made for you")))?;
    as_user(user, || {
        let device = Device::open()?;
        refused(device.create_session(&name("made for you")), Errno::EEXIST)
    })
}

/// A manager with privileges that keeps the descriptor for a user reads there by which name
/// it can take the session back.
fn full_name(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _root = device()?;
    let [user, _] = USERS;
    let session = create(user, "kept")?;
    let fd = session.as_fd().as_raw_fd();
    let link = fs::read_link(format!("/proc/self/fd/{fd}"))?;
    let link = link.to_string_lossy().into_owned();
    let known = full(user, "kept");
    same("the link", link, format!("{SESSION_LINK_PREFIX}{known}"))?;
    let lines = fdinfo(&session)?;
    let found = lines.into_iter().find(|(key, _)| key == "name");
    same("fdinfo", found.map(|(_, value)| value), Some(known))
}

fn sees_own(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let root = device()?;
    let before = root.info()?;
    let _roots = root.create_session(&name("of root"))?;
    let [one, other] = USERS;
    let _anothers = create(other, "of another")?;
    let _own = as_user(one, || {
        let device = Device::open()?;
        let own = device.create_session(&name("own"))?;
        own.preserve_fd(memory("own", 1)?, Token(1))?;
        let listed = device.list_sessions(Which::All)?;
        let names: Vec<_> = listed.iter().map(|session| session.name).collect();
        same("what is listed", names, vec![Some(name("own"))])?;
        let info = device.info()?;
        let counts = (info.outgoing, info.incoming, info.files);
        same("the counts", counts, (1, 0, 1))?;
        ensure!(
            device.list_arrived_files()?.is_empty(),
            "files of the device are listed"
        );
        Ok(own)
    })?;
    let info = root.info()?;
    same("all sessions", info.outgoing, before.outgoing + 3)?;
    let listed = root.list_sessions(Which::Outgoing)?;
    let known = Some(name(&full(one, "own")));
    ensure!(
        listed.iter().any(|session| session.name == known),
        "the administrator does not see it"
    );
    Ok(())
}

/// What can be chosen in the folder, each with something that it is not by default.
const CHOICES: [(&str, &str); 11] = [
    ("unclaimed", "discard"),
    ("reboot", "veto"),
    ("legacy", "boot"),
    ("user_sessions", "1"),
    ("user_files", "2"),
    ("user_dependencies", "3"),
    ("user_bytes", "4096"),
    ("users_sessions", "5"),
    ("users_files", "6"),
    ("users_dependencies", "7"),
    ("users_bytes", "8192"),
];

/// Each choice, as it is and as it could be. It has to be as it is afterwards.
fn each_choice(mut case: impl FnMut(&str, &str, &str) -> Result<()>) -> Result<()> {
    for (file, other) in CHOICES {
        let before = sysfs(file)?;
        let path = format!("{SYSFS}/{file}");
        let done = case(&path, &before, other);
        let after = sysfs(file)?;
        fs::write(&path, &before)?;
        // What is worse comes first.
        same(file, after, before)?;
        done.with_context(|| file.to_owned())?;
    }
    Ok(())
}

/// Everybody may look.
fn chosen(_: &mut Context<'_>) -> Result<()> {
    let access = |path: &str, wanted| {
        let access = accessat(CWD, path, wanted, AtFlags::empty());
        access.map_err(std::io::Error::from)
    };
    let open = |path: &str, reads| OpenOptions::new().read(reads).write(true).open(path);
    each_choice(|path, before, other| {
        let mode = fs::metadata(path)?.permissions().mode();
        same("the mode", mode & 0o777, 0o644)?;
        as_user(USERS[0], || {
            same(
                "what a user reads",
                fs::read_to_string(path)?.as_str(),
                before,
            )?;
            access(path, Access::READ_OK)?;
            refused_file(access(path, Access::WRITE_OK), Errno::EACCES).context("access")?;
            for reads in [false, true] {
                refused_file(open(path, reads), Errno::EACCES).context("a user's open")?;
            }
            Ok(())
        })?;
        // The file is root's, and who is root by number alone administers nothing.
        let written = without_privileges(|| Ok(fs::write(path, other)))?;
        refused_file(written, Errno::EACCES).context("without CAP_SYS_ADMIN")?;
        // The administrator reads and writes it by one descriptor.
        access(path, Access::READ_OK | Access::WRITE_OK)?;
        let mut file = open(path, true)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        same("what is read", text.as_str(), before)?;
        file.write_all(other.as_bytes())?;
        same("what is chosen", fs::read_to_string(path)?.trim(), other)?;
        Ok(file.write_all(before.as_bytes())?)
    })
}

/// Who opened the file does not count, but who writes.
fn passed(context: &mut Context<'_>) -> Result<()> {
    let is_kernel = context.implementation.is_kernel();
    each_choice(|path, _, other| {
        let file = OpenOptions::new().write(true).open(path)?;
        let write = || Ok((&file).write_all(other.as_bytes()));
        let mut outcomes = vec![as_user(USERS[0], write)?];
        // The simulator knows users afterwards, and not what a thread had given up.
        if is_kernel {
            outcomes.push(without_privileges(write)?);
        }
        let file = fs::read_to_string(path)?;
        ensure!(file.trim() != other, "it is chosen");
        for outcome in outcomes {
            refused_file(outcome, Errno::EACCES)?;
        }
        Ok(())
    })
}

/// A quota of users that is another until it is dropped.
struct Quota {
    file: String,
    before: String,
}

impl Quota {
    fn set(what: &str, number: u64) -> Result<Self> {
        Self::set_file(&format!("user_{what}"), number)
    }

    fn set_file(name: &str, number: u64) -> Result<Self> {
        let before = sysfs(name)?;
        let file = format!("{SYSFS}/{name}");
        fs::write(&file, number.to_string()).context("a quota")?;
        let seen = sysfs(name)?;
        same("the quota", seen, format!("{number}\n"))?;
        Ok(Self { file, before })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::write(&self.file, self.before.trim());
    }
}

fn defaults(_: &mut Context<'_>) -> Result<()> {
    for (what, number) in [
        ("sessions", 64u64),
        ("files", 4096),
        ("dependencies", 16_384),
        ("bytes", 1 << 30),
    ] {
        same(what, sysfs(&format!("user_{what}"))?, format!("{number}\n"))?;
        let together = format!("{}\n", 64 * number);
        same(what, sysfs(&format!("users_{what}"))?, together)?;
    }
    Ok(())
}

/// A user that has several numbers has several quotas, and no more than all users together
/// may have. The log says so once.
fn quotas_together(_: &mut Context<'_>) -> Result<()> {
    let _few = [
        Quota::set_file("users_sessions", 2)?,
        Quota::set_file("users_files", 2)?,
        Quota::set_file("users_dependencies", 0)?,
        Quota::set_file("users_bytes", 3 * 4096)?,
    ];
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let small = || luo_sys::memfd::create("small", 4096);
    let sessions = [create(one, "first")?, create(other, "first")?];
    sessions[0].preserve_fd(small()?, Token(1))?;
    let mut log = Reader::from_now()?;
    for user in USERS {
        as_user(user, || {
            let device = Device::open()?;
            refused(device.create_session(&name("second")), Errno::EDQUOT)?;
            refused(device.create_session(&name("first")), Errno::EEXIST)
        })?;
    }
    let large = luo_sys::memfd::create("large", 3 * 4096)?;
    refused(sessions[1].preserve_fd(&large, Token(1)), Errno::EDQUOT)?;
    sessions[1].preserve_fd(small()?, Token(1))?;
    refused(sessions[0].preserve_fd(small()?, Token(2)), Errno::EDQUOT)?;
    let needs = sessions[0].add_dependency_of(Token(1), &sessions[1], Token(1));
    refused(needs, Errno::EDQUOT)?;
    let own = log.read()?.into_iter().filter(Message::is_luo);
    let told = own.filter(|message| message.text.contains("users together"));
    same("lines of the log", told.count(), 4)?;
    // The administrator has no quota.
    let device = device()?;
    let roots = device.create_session(&name("of root"))?;
    roots.preserve_fd(memory("of root", 1)?, Token(1))?;
    // What one has given back another may have.
    let [first, second] = sessions;
    drop(first);
    create(other, "second").map(drop)?;
    drop(second);
    Ok(())
}

fn quotas(_: &mut Context<'_>) -> Result<()> {
    let _few = [
        Quota::set("sessions", 2)?,
        Quota::set("files", 3)?,
        Quota::set("dependencies", 1)?,
        Quota::set("bytes", 3 * 4096)?,
    ];
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let small = || luo_sys::memfd::create("small", 4096);
    let _held = as_user(one, || {
        let device = Device::open()?;
        let first = device.create_session(&name("first"))?;
        let second = device.create_session(&name("second"))?;
        refused(device.create_session(&name("third")), Errno::EDQUOT)?;
        refused(device.create_session(&name("first")), Errno::EEXIST)?;
        first.preserve_fd(small()?, Token(1))?;
        second.preserve_fd(small()?, Token(1))?;
        let large = luo_sys::memfd::create("large", 2 * 4096)?;
        refused(first.preserve_fd(&large, Token(2)), Errno::EDQUOT)?;
        first.preserve_fd(small()?, Token(2))?;
        refused(second.preserve_fd(small()?, Token(2)), Errno::EDQUOT)?;
        first.add_dependency(Token(1), Needed::Here(Token(2)))?;
        let more = second.add_dependency(Token(1), Needed::In(name("first"), Token(2)));
        refused(more, Errno::EDQUOT)?;
        Ok((first, second))
    })?;
    // Another user has as much, and the administrator has no quota.
    let _others = create(other, "first")?;
    let device = device()?;
    let mut roots = Vec::new();
    for number in 0..3 {
        let session = device.create_session(&name(&format!("of root {number}")))?;
        session.preserve_fd(memory("of root", number)?, Token(1))?;
        roots.push(session);
    }
    Ok(())
}

fn room_again(_: &mut Context<'_>) -> Result<()> {
    let _few = [
        Quota::set("sessions", 1)?,
        Quota::set("files", 2)?,
        Quota::set("dependencies", 1)?,
        Quota::set("bytes", 2 * 4096)?,
    ];
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let small = || luo_sys::memfd::create("small", 4096);
    as_user(user, || {
        let device = Device::open()?;
        for _ in 0..3 {
            let session = device.create_session(&name("again"))?;
            for _ in 0..3 {
                session.preserve_fd(small()?, Token(1))?;
                session.preserve_fd(small()?, Token(2))?;
                let on = Needed::Here(Token(2));
                session.add_dependency(Token(1), on)?;
                session.drop_dependency(Token(1), on)?;
                session.add_dependency(Token(1), on)?;
                session.unpreserve_fd(Token(2))?;
                session.unpreserve_fd(Token(1))?;
            }
            session.preserve_fd(small()?, Token(1))?;
        }
        Ok(())
    })
}

/// What a file of another session has to wait for, who has that one has to agree to.
fn consent(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let device = device()?;
    let make = |device: &Device, text: &str| -> Result<Session> {
        let session = device.create_session(&name(text))?;
        session.preserve_fd(memory(text, 1)?, Token(1))?;
        Ok(session)
    };
    let (root, root_two) = (make(&device, "root")?, make(&device, "root two")?);
    let (own, own_two) = as_user(one, || {
        let device = Device::open()?;
        Ok((make(&device, "own")?, make(&device, "own two")?))
    })?;
    let others = as_user(other, || make(&Device::open()?, "other"))?;
    let on = |text: &str| Needed::In(name(text), Token(1));
    as_user(one, || {
        // Of others nothing is seen, by whatever name.
        for text in ["root", "other", &full(other, "other")] {
            refused(own.add_dependency(Token(1), on(text)), Errno::ENOENT)?;
        }
        own.add_dependency(Token(1), on("own two"))?;
        refused(
            own.add_dependency(Token(1), on(&full(one, "own two"))),
            Errno::EEXIST,
        )?;
        // A program that shows a descriptor has it.
        own.add_dependency_of(Token(1), &others, Token(1))?;
        let listed = own.list_dependencies(Token(1))?;
        let names: Vec<_> = listed.iter().map(|entry| entry.session).collect();
        let expected = [name("own two"), name(&full(other, "other"))];
        same("their names", names, expected.map(Some).to_vec())?;
        own.drop_dependency(Token(1), on(&full(other, "other")))?;
        own.drop_dependency(Token(1), on("own two"))?;
        // Having a session of the administrator's does not open the others.
        refused(root.add_dependency(Token(1), on("root two")), Errno::ENOENT)
    })?;
    // The administrator decides about the administrator's, not for users.
    root.add_dependency(Token(1), on("root two"))?;
    let users = on(&full(one, "own"));
    refused(root.add_dependency(Token(1), users), Errno::EACCES)?;
    refused(own.add_dependency(Token(1), on("root")), Errno::EACCES)?;
    own.add_dependency(Token(1), on(&full(one, "own two")))?;
    root.add_dependency_of(Token(1), &own_two, Token(1))?;
    let none = root.add_dependency_of(Token(1), &own_two, Token(9));
    refused(none, Errno::ENOENT)?;
    drop((root, root_two));
    Ok(())
}

/// A user's session with one file.
fn leave_as(context: &mut Context<'_>, text: &'static str) -> Result<()> {
    // Of all cases that share the jump.
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let session = create(user, text)?;
    as_user(user, || {
        session.preserve_fd(memory(text, 1)?, Token(1))?;
        Ok(())
    })?;
    context.hold(session);
    Ok(())
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    leave_as(context, "left by a user")
}

fn taken_back(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [user, other] = USERS;
    let text = "left by a user";
    let known = full(user, text);
    let session = name(text);
    refused(device()?.retrieve_session(&session), Errno::ENOENT)?;
    as_user(other, || {
        let device = Device::open()?;
        refused(device.retrieve_session(&session), Errno::ENOENT)?;
        refused(device.retrieve_session(&name(&known)), Errno::ENOENT)
    })?;
    as_user(user, || {
        let device = Device::open()?;
        let listed = device.list_sessions(Which::Incoming)?;
        let found = listed.iter().filter(|found| found.name == Some(session));
        same("how often it is listed", found.count(), 1)?;
        let taken = device.retrieve_session(&session)?;
        same("its name", taken.name()?, session)?;
        retrieve(&taken, text, 1)?;
        Ok(taken.finish()?)
    })
}

fn leave_for_root(context: &mut Context<'_>) -> Result<()> {
    leave_as(context, "kept for a user")
}

fn taken_by_root(_: &mut Context<'_>) -> Result<()> {
    let [user, _] = USERS;
    let session = incoming(&full(user, "kept for a user"))?;
    let statuses: Vec<_> = session.list_files()?.iter().map(|f| f.status).collect();
    same("its file", statuses, vec![FileStatus::Incoming])?;
    retrieve(&session, "kept for a user", 1)?;
    Ok(session.finish()?)
}

/// A file of one user's needs one of another's, who has agreed.
fn leave_needed(context: &mut Context<'_>) -> Result<()> {
    // Of all cases that share the jump.
    let _root = context.device()?;
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let needed = create(other, "needed")?;
    as_user(other, || {
        Ok(needed.preserve_fd(memory("needed", 1)?, Token(1))?)
    })?;
    let needs = create(one, "needs")?;
    as_user(one, || {
        needs.preserve_fd(memory("needs", 1)?, Token(1))?;
        Ok(needs.add_dependency_of(Token(1), &needed, Token(1))?)
    })?;
    context.hold(needed);
    context.hold(needs);
    Ok(())
}

fn tried_by_its_owner(_: &mut Context<'_>) -> Result<()> {
    // Its first call, which tries everybody's, comes before there is one to try.
    let root = device()?;
    let _delegated = Delegated::new()?;
    let [one, other] = USERS;
    let known = full(other, "needed");
    let waits = || Ok::<_, anyhow::Error>(session(&root, Which::Incoming, &known)?.is_some());
    ensure!(waits()?, "it has not arrived");
    as_user(other, || {
        drop(Device::open()?.retrieve_session(&name("needed"))?);
        Ok(())
    })?;
    ensure!(waits()?, "it was finished while it is needed");
    as_user(one, || {
        let needs = Device::open()?.retrieve_session(&name("needs"))?;
        Ok(needs.finish()?)
    })?;
    ensure!(waits()?, "another user's FINISH has finished it");
    as_user(other, || Ok(Device::open()?.state().map(drop)?))?;
    ensure!(!waits()?, "it is still there");
    Ok(())
}

fn parameters_wanted(context: &mut Context<'_>) -> Result<()> {
    context.boot_with("liveupdate_open", "admin");
    context.boot_with("liveupdate_user", "sessions=5,bytes=8192");
    context.boot_with("liveupdate_users", "sessions=7");
    Ok(())
}

fn parameters(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    as_user(user, || refused(Device::open(), Errno::EACCES))?;
    without_privileges(|| refused(Device::open(), Errno::EACCES))?;
    drop(device()?);
    for (file, number) in [
        ("user_sessions", "5\n"),
        ("user_files", "4096\n"),
        ("user_bytes", "8192\n"),
        ("users_sessions", "7\n"),
        ("users_files", "262144\n"),
    ] {
        same(file, sysfs(file)?.as_str(), number)?;
    }
    Ok(())
}
