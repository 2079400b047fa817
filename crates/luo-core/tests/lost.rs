// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What cannot go with a reboot is lost alone, and the next kernel is told.

use luo_abi::contract::{FileInfo, FILE_INCOMING, FILE_LOST, FILE_RETRIEVED};
use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, Failure, FileName, Losses, Part, SessionId};

use crate::support::{compat, handed, name, Call, TestHost};

fn cache(token: u64) -> Needed {
    Needed::In(name("cache"), token)
}

/// "vm" (1 needs 2, 2 needs 2 of "cache", 3 is alone) and "cache" (1, 2).
fn scene() -> (TestHost, [SessionId; 2]) {
    let host = TestHost::cold();
    let (vm, other) = (host.create("vm"), host.create("cache"));
    for token in 1..=3 {
        host.preserve(vm, token, 10 + token).unwrap();
    }
    for token in 1..=2 {
        host.preserve(other, token, 20 + token).unwrap();
    }
    host.needs(vm, 1, Needed::Here(2)).unwrap();
    host.needs(vm, 2, cache(2)).unwrap();
    host.take_log();
    (host, [vm, other])
}

fn files_lost(files: u64) -> Losses {
    Losses {
        files,
        ..Losses::NONE
    }
}

fn files(host: &TestHost, session: SessionId) -> Vec<FileInfo> {
    let page = ops::list_files(host, session, 0, 9).unwrap();
    page.entries.iter().copied().collect()
}

fn statuses(host: &TestHost, session: SessionId) -> Vec<(u64, u32, u32)> {
    let files = files(host, session).into_iter();
    files.map(|f| (f.token, f.status, f.error)).collect()
}

/// The next kernel has what is not lost, and tells what is.
#[test]
fn a_file_that_cannot_be_frozen_is_lost_with_those_that_need_it() {
    let (host, [vm, _]) = scene();
    // The third to be frozen is the one that two others need, which are frozen then.
    host.fail(Call::Freeze, 4, Errno::EFBIG);
    let report = host.reboot_or_lose().unwrap();
    assert_eq!((report.to, report.sessions), (State::Frozen, 2));
    let lost = host.script().lost.clone();
    let first = FileName {
        session: name("cache"),
        token: 2,
        of_device: false,
    };
    let veto = Failure::Handler {
        file: first,
        handler: compat("handler", 0),
        errno: Errno::EFBIG,
    };
    assert_eq!((lost[0], lost.len()), (veto, 3));
    assert_eq!((report.losses, report.files), (files_lost(3), 2));
    assert_eq!(
        host.take_log(),
        [
            "freeze 11",
            "freeze 12",
            "freeze 13",
            "freeze 21",
            "freeze 22",
            // Those that need it, as they were frozen, backwards; then all three.
            "unfreeze 12",
            "unfreeze 11",
            "unpreserve 11",
            "unpreserve 12",
            "unpreserve 22",
        ]
        .map(String::from)
    );
    let told = [(1, FILE_LOST, 67), (2, FILE_LOST, 67), (3, 3, 0)];
    assert_eq!(statuses(&host, vm), told);
    let host = TestHost::opened(host.kexec());
    let info = host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0));
    assert_eq!((info.lost_files, info.lost_sessions), (3, 0));
    let vm = host.claim("vm").unwrap();
    let told = [
        (3, FILE_INCOMING, 0),
        (1, FILE_LOST, 67),
        (2, FILE_LOST, 67),
    ];
    assert_eq!(statuses(&host, vm), told);
    assert_eq!(host.retrieve(vm, 3).unwrap().object, 13);
    assert_eq!(statuses(&host, vm)[0], (3, FILE_RETRIEVED, 0));
    for (token, why) in [(1, Errno::ENOLINK), (2, Errno::ENOLINK)] {
        let error = host.retrieve(vm, token).err().unwrap();
        assert_eq!(error, Error::Lost(why));
        assert_eq!(error.errno(), Errno::ENOTRECOVERABLE);
    }
    assert_eq!(host.retrieve(vm, 4).err(), Some(Error::NoToken));
    let other = host.claim("cache").unwrap();
    let why = host.retrieve(other, 2).err();
    assert_eq!(why, Some(Error::Lost(Errno::EFBIG)));
    host.retrieve(other, 1).unwrap();
    for session in [vm, other] {
        host.finish(session).unwrap();
        host.close(session).unwrap();
    }
    assert_eq!(host.state(), State::Normal);
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn if_the_jump_does_not_come_about_all_is_there_again() {
    let (host, [vm, other]) = scene();
    let before = host.visible();
    host.fail(Call::Freeze, 4, Errno::EFBIG);
    host.reboot_or_lose().unwrap();
    ops::cancel(&host).unwrap();
    assert_eq!(host.visible(), before);
    assert!(statuses(&host, vm).iter().all(|file| file.1 != FILE_LOST));
    // A second reboot tries everything again.
    host.fail(Call::Freeze, 4, Errno::EFBIG);
    host.reboot_or_lose().unwrap();
    let report = host.reboot_or_lose().unwrap();
    assert_eq!((report.losses, report.files), (Losses::NONE, 5));
    // What cannot be preserved again is gone.
    host.fail(Call::Freeze, 4, Errno::EFBIG);
    host.reboot_or_lose().unwrap();
    host.fail(Call::Preserve, 0, Errno::EFBIG);
    ops::cancel(&host).unwrap();
    let left: Vec<_> = files(&host, other).iter().map(|f| f.token).collect();
    assert_eq!(left, [1]);
    for session in [vm, other] {
        host.close(session).unwrap();
    }
    assert_eq!(host.counts(), TestHost::cold().counts());
}

/// After the event as well: what it had agreed to may have changed since.
#[test]
fn after_the_events_too() {
    for frozen in [false, true] {
        let (host, _) = scene();
        ops::prepare(&host).unwrap();
        if frozen {
            ops::freeze(&host).unwrap();
        }
        host.fail(Call::Freeze, 2, Errno::EFBIG);
        let report = host.reboot_or_lose().unwrap();
        assert_eq!((report.losses, report.files), (files_lost(1), 4));
        let host = TestHost::opened(host.kexec());
        let (vm, other) = (host.claim("vm").unwrap(), host.claim("cache").unwrap());
        assert_eq!(host.retrieve(other, 2).unwrap().object, 22);
        assert_eq!(host.retrieve(vm, 1).unwrap().object, 11);
        let why = host.retrieve(vm, 3).err();
        assert_eq!(why, Some(Error::Lost(Errno::EFBIG)));
    }
}

#[test]
fn the_events_veto_as_ever() {
    let (host, _) = scene();
    ops::prepare(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EFBIG);
    assert_eq!(ops::freeze(&host).unwrap_err().errno(), Errno::EFBIG);
    assert!(host.script().lost.is_empty());
}

#[test]
fn a_missing_dependency_loses_who_has_it() {
    let (host, [vm, other]) = scene();
    ops::unpreserve_file(&host, other, 2).unwrap();
    let report = host.reboot_or_lose().unwrap();
    assert_eq!((report.losses, report.files), (files_lost(2), 2));
    let host_log = host.take_log();
    assert!(!host_log.contains(&"freeze 11".to_owned()), "{host_log:?}");
    assert_eq!(statuses(&host, vm)[0], (1, FILE_LOST, 67));
    let host = TestHost::opened(host.kexec());
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 3).unwrap().object, 13);
}

#[test]
fn a_registered_file_that_cannot_be_preserved_is_lost() {
    let host = TestHost::cold();
    let device = host.device();
    let tokens = [1, 2].map(|object| host.register_file(device, object).unwrap());
    host.fail(Call::Preserve, 0, Errno::EFBIG);
    assert_eq!(host.reboot_or_lose().unwrap().losses, files_lost(1));
    // Back to what it was, if the jump does not come about.
    ops::cancel(&host).unwrap();
    assert_eq!(host.reboot_or_lose().unwrap().losses, Losses::NONE);
    ops::cancel(&host).unwrap();
    host.fail(Call::Preserve, 1, Errno::EFBIG);
    host.reboot_or_lose().unwrap();
    let host = TestHost::opened(host.kexec());
    assert_eq!(host.restore(tokens[0]).unwrap().object, 1);
    let why = host.restore(tokens[1]).err();
    assert_eq!(why, Some(Error::Lost(Errno::EFBIG)));
    let page = ops::list_arrived_files(&host, 0, 9).unwrap();
    assert_eq!(
        page.entries
            .iter()
            .filter(|f| f.status == FILE_LOST)
            .count(),
        1
    );
    host.finish_update().unwrap();
    assert_eq!(host.visible().files, 0);
}

#[test]
fn a_subsystem_is_lost_alone() {
    for call in [Call::SubsystemPrepare, Call::SubsystemFreeze] {
        let (host, _) = scene();
        for number in 1..=3 {
            host.subsystem(number).unwrap();
        }
        host.fail(call, 1, Errno::EFBIG);
        let report = host.reboot_or_lose().unwrap();
        let losses = Losses {
            subsystems: 1,
            ..Losses::NONE
        };
        assert_eq!((report.losses, report.files), (losses, 5));
        let log = host.take_log();
        let cancelled = log
            .iter()
            .filter(|line| line.starts_with("subsystem_cancel"));
        assert_eq!(
            cancelled.count(),
            usize::from(call == Call::SubsystemFreeze)
        );
        let next = TestHost::opened(host.kexec());
        let data =
            |number| next.engine(|engine| engine.subsystem_data(&compat("subsystem", number)));
        assert_eq!(data(2), Err(Error::NoData));
        assert!(data(1).is_ok() && data(3).is_ok());
        let info = next.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0));
        assert_eq!(info.lost_subsystems, 1);
    }
}

/// Sessions that nobody has claimed go on without the file that cannot, and what was
/// lost before stays so.
#[test]
fn what_cannot_be_carried_is_lost_alone() {
    let host = TestHost::opened(handed(&[
        ("vm", &[(1, 11), (2, 12)]),
        ("cache", &[(1, 21)]),
    ]));
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    let report = host.reboot_or_lose().unwrap();
    assert_eq!((report.carried, report.lost), (2, 0));
    assert_eq!((report.losses, report.files), (files_lost(1), 2));
    // And over one more kernel, where nothing is lost anew.
    let host = TestHost::opened(host.kexec());
    let report = host.reboot_or_lose().unwrap();
    assert_eq!((report.carried, report.losses), (2, Losses::NONE));
    let host = TestHost::opened(host.kexec());
    let info = host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0));
    assert_eq!(info.lost_files, 0);
    let vm = host.claim("vm").unwrap();
    let why = host.retrieve(vm, 1).err();
    assert_eq!(why, Some(Error::Lost(Errno::EFBIG)));
    assert_eq!(host.retrieve(vm, 2).unwrap().object, 12);
    host.close(vm).unwrap();
    let other = host.claim("cache").unwrap();
    assert_eq!(host.retrieve(other, 1).unwrap().object, 21);
    host.close(other).unwrap();
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_handover_that_cannot_be_read_is_lost_and_told() {
    let mut handed = handed(&[("vm", &[(1, 10)])]).plain();
    // A file without the name of a handler.
    handed.set_bytes(handed.files(0), 16, &[0]);
    let host = TestHost::warm(handed);
    let new = host.create("new");
    host.preserve(new, 1, 20).unwrap();
    let report = host.reboot_or_lose().unwrap();
    assert!(report.losses.unread);
    let host = TestHost::opened(host.kexec());
    assert!(
        host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0))
            .lost_flags
            != 0
    );
    assert!(host.claim("new").is_ok());
}

/// Each request for memory fails in turn: the reboot goes on, and what is not lost
/// arrives.
#[test]
fn memory_that_fails_never_fails_the_reboot() {
    use luo_core::mem::fault;
    for requests in 0.. {
        let host = TestHost::opened(handed(&[
            ("vm", &[(1, 11), (2, 12)]),
            ("cache", &[(1, 21)]),
        ]));
        fault::fail_after(requests);
        let outcome = host.reboot_or_lose();
        let through = fault::disarm();
        let report = outcome.unwrap();
        let next = TestHost::opened(host.kexec());
        let lost = report.losses;
        let arrived = next.visible();
        assert_eq!(arrived.incoming as u64 + lost.sessions, 2, "{report:?}");
        if through {
            assert!(!lost.any() && requests > 5);
            return;
        }
    }
}

/// What the records of lost files would have needed is given back: the next kernel frees
/// all that it is handed.
#[test]
fn no_page_is_left_over() {
    for bad in [0, 63, 64] {
        let host = TestHost::cold();
        let vm = host.create("vm");
        for token in 0..65 {
            host.preserve(vm, token, token + 1).unwrap();
        }
        let good = host.create("good");
        host.preserve(good, 1, 100).unwrap();
        for token in bad..64 {
            host.needs(vm, token, Needed::Here(64)).unwrap();
        }
        let before = host.visible();
        host.fail(Call::Freeze, 64, Errno::EFBIG);
        let report = host.reboot_or_lose().unwrap();
        assert_eq!(report.losses.files, 65 - bad);
        ops::cancel(&host).unwrap();
        assert_eq!(host.visible(), before);
        host.fail(Call::Freeze, 64, Errno::EFBIG);
        host.reboot_or_lose().unwrap();
        let next = TestHost::opened(host.kexec());
        assert_eq!(next.arrived_pages(), 0);
        let vm = next.claim("vm").unwrap();
        let lost = files(&next, vm).len();
        assert_eq!(lost, 9);
    }
}

/// A kernel that does not know of losses leaves a shorter root; one that finds a record
/// of a kind which it does not know refuses.
#[test]
fn other_kernels_are_understood_or_refused() {
    let (host, _) = scene();
    host.reboot_or_lose().unwrap();
    let mut older = host.kexec();
    let (root, _) = older.supplement.unwrap();
    older.supplement = Some((root, 88));
    let host = TestHost::opened(older);
    assert!(host.claim("vm").is_ok());

    let (host, _) = scene();
    host.fail(Call::Freeze, 4, Errno::EFBIG);
    host.reboot_or_lose().unwrap();
    let mut damaged = host.kexec();
    let (root, _) = damaged.supplement.unwrap();
    damaged.set_bytes(root, 88, &[9]);
    let host = TestHost::warm(damaged);
    assert!(matches!(host.open(), Err(Error::Refused(_))));
}

/// A session in which so many files need one that is not there any more.
fn missing(host: &TestHost, owner: Actor, text: &str, files: u64, objects: u64) {
    let session = ops::create_session(host, owner, &name(text)).unwrap();
    for token in 0..=files {
        host.preserve(session, token, objects + token).unwrap();
    }
    for token in 1..=files {
        ops::add_dependency(host, owner, session, token, Needed::Here(0)).unwrap();
    }
    ops::unpreserve_file(host, session, 0).unwrap();
}

/// The lines of the log, and how many of them there are of each session.
fn said(host: &TestHost, sessions: &[&str]) -> (Vec<String>, Vec<usize>) {
    let said = core::mem::take(&mut *host.said.lock().unwrap());
    let lines: Vec<String> = said.into_iter().map(|(_, line)| line).collect();
    let of = |session: &&str| {
        let begin = format!("lost in the reboot: session \"{session}\", ");
        lines.iter().filter(|line| line.starts_with(&begin)).count()
    };
    let counts = sessions.iter().map(of).collect();
    (lines, counts)
}

/// Of what is users' and of what is the administrator's so much is named, and the rest
/// counted: however much one of them loses, the log has the other's.
#[test]
fn each_has_lines_of_the_log() {
    let (few, many) = (Part::Users.most_named(), Part::Administrators.most_named());
    for (lost, [users, own]) in [
        ([few, many], [None, None]),
        ([few + 26, 1], [Some(26), None]),
        ([1, many + 7], [None, Some(7)]),
        ([few + 3, many + 2], [Some(3), Some(2)]),
    ] {
        let host = TestHost::cold();
        // Two users have no more than one.
        missing(&host, Actor::User(1000), "hers", lost[0] - 1, 100);
        missing(&host, Actor::User(1001), "his", 1, 200);
        missing(&host, Actor::Administrator, "vm", lost[1], 300);
        let names = ["uid:1000:hers", "uid:1001:his", "vm"];
        // Each reboot begins to count anew.
        for _ in 0..2 {
            host.script().lost.clear();
            let report = host.reboot_or_lose().unwrap();
            assert_eq!(report.losses, files_lost(lost[0] + lost[1]));
            let (lines, counts) = said(&host, &names);
            let named = host.script().lost.len();
            assert_eq!(counts.iter().sum::<usize>(), named, "{lines:?}");
            assert_eq!((counts[0] + counts[1]) as u64, lost[0].min(few));
            assert_eq!(counts[2] as u64, lost[1].min(many));
            for (more, part) in [
                (users, "users without privileges"),
                (own, "the administrator's"),
            ] {
                let ends = format!(" more of {part}, not named one by one");
                let rest: Vec<_> = lines.iter().filter(|line| line.ends_with(&ends)).collect();
                let expected = more.map(|more| format!("lost in the reboot: {more}{ends}"));
                assert_eq!(rest, Vec::from_iter(&expected));
            }
        }
        ops::cancel(&host).unwrap();
    }
}

/// A reboot that is refused in the end has named as much.
#[test]
fn a_refused_reboot_counts_the_rest_too() {
    let host = TestHost::cold();
    missing(&host, Actor::User(1000), "hers", 9, 100);
    let vm = host.create("vm");
    host.preserve(vm, 1, 10).unwrap();
    for _ in 0..2 {
        host.fail(Call::Freeze, 0, Errno::EFBIG);
        assert_eq!(host.reboot().unwrap_err().errno(), Errno::EFBIG);
        let (lines, counts) = said(&host, &["uid:1000:hers"]);
        assert_eq!(counts, [4]);
        let rest = "lost in the reboot: 5 more of users without privileges, not named one by one";
        assert_eq!(lines.last().map(String::as_str), Some(rest));
    }
}
