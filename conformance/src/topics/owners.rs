// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open the device, and whose a session is.

mod arrived;
mod quotas;
mod stage;

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_abi::calls::{CALLS, DescriptorKind, Who};
use luo_abi::uapi::SESSION_LINK_PREFIX;
use luo_sys::{Device, Errno, Needed, Session, Token, Which, raw};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use self::arrived::{
    has_its_own_alone, leave, leave_for_root, leave_needed, leave_to_be_passed, taken_back,
    taken_by_root, tried_by_its_owner,
};
pub(super) use self::quotas::Quota;
use self::quotas::{defaults, quotas, quotas_together, room_again};
pub(super) use self::stage::{create, full};
use super::tools::{NO_CONTRACT, NO_DEPENDENCIES, NO_SYSFS, memory};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, refused_file, same};
use crate::difference::{Expect, absent, accepts, answers, missing, simulated};
use crate::look::{SYSFS, fdinfo, sysfs};
use crate::user::{AllKinds, Delegated, USERS, as_user, without_privileges};

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
    here("users-preserve-memfds-alone", memfds_alone).but(&[absent(NO_SYSFS)]),
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
    shared(
        "a-holder-without-privileges-restores-no-other-session",
        leave_to_be_passed,
        has_its_own_alone,
    )
    .but(&[missing(NO_DEPENDENCIES)]),
    alone("by-parameter", &[parameters_wanted, parameters]).but(&[accepts(NO_OWNERS)]),
];

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
            if call.who == Who::Administrator && call.on.takes(DescriptorKind::Device) {
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
const CHOICES: [(&str, &str); 12] = [
    ("unclaimed", "discard"),
    ("reboot", "veto"),
    ("legacy", "boot"),
    ("user_kinds", "all"),
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

/// What only some kernels read, a user preserves where the administrator has chosen so. To the
/// administrator that is all the same.
fn memfds_alone(_: &mut Context<'_>) -> Result<()> {
    same("by default", sysfs("user_kinds")?.as_str(), "memfd\n")?;
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    let session = create(user, "kinds")?;
    let made_for = device()?.create_session(&name(&full(user, "made for you")))?;
    let own = device()?.create_session(&name("own"))?;
    let kinds = files_of_each_kind()?;
    let preserve = |session: &Session| -> Vec<(&str, Option<Errno>)> {
        let preserve = |(at, (what, file)): (u64, &(&'static str, OwnedFd))| {
            let done = session.preserve_fd(file, Token(at));
            (*what, done.err().map(|why| why.errno()))
        };
        (1..).zip(&kinds).map(preserve).collect()
    };
    let all =
        |errno: Option<Errno>| -> Vec<_> { kinds.iter().map(|(what, _)| (*what, errno)).collect() };
    for session in [&session, &made_for] {
        same("by default", preserve(session), all(Some(Errno::ENOENT)))?;
        session.preserve_fd(memory("own", 9)?, Token(9))?;
    }
    // Having a session of the administrator's makes nobody the administrator.
    let passed = as_user(user, || Ok(preserve(&own)))?;
    same("passed on", passed, all(Some(Errno::ENOENT)))?;
    same("the administrator's", preserve(&own), all(None))?;
    drop(own);
    let kinds_chosen = AllKinds::new()?;
    same("by choice", preserve(&session), all(None))?;
    drop(kinds_chosen);
    same(
        "what is there stays",
        session.list_files()?.len(),
        kinds.len() + 1,
    )?;
    session.unpreserve_fd(Token(1))?;
    let again = session.preserve_fd(&kinds[0].1, Token(1));
    refused(again, Errno::ENOENT)
}

/// A file of each kind that this project has a handler of and mainline has not.
fn files_of_each_kind() -> Result<Vec<(&'static str, OwnedFd)>> {
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok(vec![
        ("an eventfd", eventfd(1, EventfdFlags::CLOEXEC)?),
        ("a timer", timer),
        ("the end of a pipe that reads", reads),
        ("the end of a pipe that writes", writes),
    ])
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

fn parameters_wanted(context: &mut Context<'_>) -> Result<()> {
    context.boot_with("liveupdate_open", "admin");
    context.boot_with("liveupdate_user", "sessions=5,bytes=8192");
    context.boot_with("liveupdate_users", "sessions=7");
    context.boot_with("liveupdate_user_kinds", "all");
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
        ("user_kinds", "all\n"),
    ] {
        same(file, sysfs(file)?.as_str(), number)?;
    }
    Ok(())
}
