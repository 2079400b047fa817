// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What can be seen: lists in pages, info, and the last failure.

use luo_abi::contract::{
    DependencyInfo, FileInfo, SessionInfo, CAUSE_CARRY, CAUSE_DEPENDENCY, CAUSE_HANDLER,
    CAUSE_INTERNAL, CAUSE_NONE, CAUSE_SUBSYSTEM, DEPENDENCY_ON_DEVICE, EVENT_REBOOT, FILE_BUSY,
    FILE_FAILED, FILE_FROZEN, FILE_INCOMING, FILE_MISSING, FILE_PRESERVED, FILE_REGISTERED,
    FILE_RETRIEVED, LIST_INCOMING, LIST_OUTGOING, PARTICIPANT_FILE_HANDLER, PARTICIPANT_FLB,
    PARTICIPANT_SUBSYSTEM, SESSION_CLAIMED, SESSION_CLOSED, SESSION_OF_DEVICE, SESSION_OPEN,
    SESSION_UNCLAIMED, SESSION_UNFINISHED,
};
use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_core::ops::{self, Needed, Page, MAX_PAGE};
use luo_core::{Error, SessionId};

use crate::support::{handed, name, Call, TestHost};

/// The text in a room.
fn text(room: &[u8]) -> String {
    let end = room.iter().position(|&byte| byte == 0).unwrap();
    String::from_utf8(room[..end].to_vec()).unwrap()
}

/// All of a list, `room` entries at a time.
fn all<T>(room: usize, page: impl Fn(u64, usize) -> Page<T>) -> Vec<T> {
    let (mut entries, mut cursor) = (Vec::new(), 0);
    loop {
        let page = page(cursor, room);
        assert!(page.entries.len() <= room);
        entries.extend(page.entries);
        cursor = page.next;
        if cursor == 0 {
            assert_eq!(page.total as usize, entries.len());
            return entries;
        }
    }
}

fn sessions(host: &TestHost, which: u32, room: usize) -> Vec<SessionInfo> {
    all(room, |cursor, room| {
        ops::list_sessions(host, luo_core::Actor::Administrator, which, cursor, room).unwrap()
    })
}

fn files(host: &TestHost, session: SessionId, room: usize) -> Vec<FileInfo> {
    all(room, |cursor, room| {
        ops::list_files(host, session, cursor, room).unwrap()
    })
}

fn statuses(host: &TestHost, session: SessionId) -> Vec<u32> {
    files(host, session, 9)
        .iter()
        .map(|file| file.status)
        .collect()
}

#[test]
fn lists_are_whole_whatever_the_room() {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    host.subsystem(1).unwrap();
    for at in 0..7 {
        host.create(&format!("in-{at}"));
    }
    let host = TestHost::opened(host.update());
    host.depend(0, 1).unwrap();
    host.subsystem(1).unwrap();
    let vm = host.create("vm");
    for at in 0..9 {
        host.preserve(vm, at, at).unwrap();
        if at > 0 {
            host.needs(vm, 0, Needed::Here(at)).unwrap();
        }
    }
    host.create("other");
    for room in 1..12 {
        let names = |which| -> Vec<String> {
            sessions(&host, which, room)
                .iter()
                .map(|s| text(&s.name))
                .collect()
        };
        let incoming: Vec<_> = (0..7).map(|at| format!("in-{at}")).collect();
        assert_eq!(names(LIST_OUTGOING), ["vm", "other"]);
        assert_eq!(names(LIST_INCOMING), incoming);
        let both = [vec!["vm".into(), "other".into()], incoming].concat();
        assert_eq!(names(0), both);
        assert_eq!(names(LIST_OUTGOING | LIST_INCOMING), both);
        let tokens: Vec<_> = files(&host, vm, room).iter().map(|f| f.token).collect();
        assert_eq!(tokens, (0..9).collect::<Vec<_>>());
        let needed: Vec<DependencyInfo> = all(room, |cursor, room| {
            ops::list_dependencies(&host, luo_core::Actor::Administrator, vm, 0, cursor, room)
                .unwrap()
        });
        let needed: Vec<_> = needed.iter().map(|d| (d.token, text(&d.session))).collect();
        let expected: Vec<_> = (1..9).map(|at| (at, "vm".to_string())).collect();
        assert_eq!(needed, expected);
        let participants = all(room, |cursor, room| {
            ops::list_participants(&host, cursor, room).unwrap()
        });
        let participants: Vec<_> = participants
            .iter()
            .map(|p| (p.kind, text(&p.name), p.files))
            .collect();
        let expected = [
            (PARTICIPANT_FILE_HANDLER, "handler-0".into(), 9),
            (PARTICIPANT_FILE_HANDLER, "handler-1".into(), 0),
            (PARTICIPANT_FLB, "flb-1".into(), 9),
            (PARTICIPANT_SUBSYSTEM, "subsystem-1".into(), 0),
        ];
        assert_eq!(participants, expected);
    }
    // With no room there is only the total.
    let page = ops::list_files(&host, vm, 0, 0).unwrap();
    assert_eq!((page.entries.len(), page.next, page.total), (0, 0, 9));
    let page = ops::list_participants(&host, 0, 0).unwrap();
    assert_eq!((page.entries.len(), page.next, page.total), (0, 0, 4));
    let page = ops::list_sessions(&host, luo_core::Actor::Administrator, 0, 0, 0).unwrap();
    assert_eq!((page.entries.len(), page.next, page.total), (0, 0, 9));
}

#[test]
fn a_page_has_its_limit() {
    let host = TestHost::cold();
    let vm = host.create("vm");
    for at in 0..MAX_PAGE as u64 + 1 {
        host.preserve(vm, at, at).unwrap();
    }
    let page = ops::list_files(&host, vm, 0, usize::MAX).unwrap();
    assert_eq!(page.entries.len(), MAX_PAGE);
    let rest = ops::list_files(&host, vm, page.next, usize::MAX).unwrap();
    assert_eq!((rest.entries.len(), rest.next), (1, 0));
}

#[test]
fn a_cursor_whose_entry_is_gone_is_stale() {
    let host = TestHost::cold();
    let (vm, other) = (host.create("vm"), host.create("other"));
    for at in 0..4 {
        host.preserve(vm, at, at).unwrap();
    }
    host.needs(vm, 0, Needed::Here(1)).unwrap();
    host.needs(vm, 0, Needed::Here(2)).unwrap();
    host.needs(vm, 3, Needed::Here(2)).unwrap();
    let first = ops::list_files(&host, vm, 0, 2).unwrap().next;
    let need = ops::list_dependencies(&host, luo_core::Actor::Administrator, vm, 0, 0, 1)
        .unwrap()
        .next;
    let session = ops::list_sessions(&host, luo_core::Actor::Administrator, 0, 0, 1)
        .unwrap()
        .next;
    // Others may come and go meanwhile.
    ops::unpreserve_file(&host, vm, 0).unwrap();
    host.preserve(vm, 9, 9).unwrap();
    let rest = ops::list_files(&host, vm, first, 9).unwrap();
    assert_eq!(
        rest.entries.iter().map(|f| f.token).collect::<Vec<_>>(),
        [2, 3, 9]
    );
    ops::unpreserve_file(&host, vm, 1).unwrap();
    let stale = |outcome: Option<Error>| assert_eq!(outcome, Some(Error::Stale));
    stale(ops::list_files(&host, vm, first, 9).err());
    stale(ops::list_files(&host, vm, u64::MAX, 9).err());
    // Of another list, or gone.
    let token = ops::list_files(&host, vm, 0, 1).unwrap().next;
    stale(ops::list_files(&host, other, token, 9).err());
    stale(ops::list_dependencies(&host, luo_core::Actor::Administrator, vm, 3, need, 9).err());
    host.close(vm).unwrap();
    stale(ops::list_sessions(&host, luo_core::Actor::Administrator, 0, session, 9).err());
    assert_eq!(Error::Stale.errno(), Errno::ESTALE);
    assert_eq!(
        ops::list_files(&host, vm, 0, 9).err(),
        Some(Error::NoSession)
    );
    let outcome =
        ops::list_dependencies(&host, luo_core::Actor::Administrator, other, 7, 0, 9).err();
    assert_eq!(outcome, Some(Error::NoToken));
}

#[test]
fn a_file_is_seen_in_each_of_its_states() {
    let host = TestHost::cold();
    let (vm, device) = (host.create("vm"), host.device());
    host.preserve(vm, 1, 10).unwrap();
    let token = host.register_file(device, 20).unwrap();
    assert_eq!(statuses(&host, vm), [FILE_PRESERVED]);
    assert_eq!(statuses(&host, device), [FILE_REGISTERED]);
    host.set_hook(move |host, call, object| {
        if call == Call::Preserve || (call == Call::Freeze && object == 20) {
            assert_eq!(statuses(host, device), [FILE_BUSY]);
        }
    });
    ops::prepare(&host).unwrap();
    assert_eq!(statuses(&host, device), [FILE_PRESERVED]);
    ops::freeze(&host).unwrap();
    assert_eq!(statuses(&host, device), [FILE_FROZEN]);
    host.reboot().unwrap();
    let host = TestHost::opened(host.kexec());
    let vm = host.claim("vm").unwrap();
    assert_eq!(statuses(&host, vm), [FILE_INCOMING]);
    host.retrieve(vm, 1).unwrap();
    let file = &files(&host, vm, 1)[0];
    assert_eq!(
        (file.status, file.token, file.bytes),
        (FILE_RETRIEVED, 1, 40960)
    );
    assert_eq!(text(&file.handler), "handler-0");
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    assert!(host.restore(token).is_err());
    let device = host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0).unclaimed);
    assert_eq!(device, 1);
}

#[test]
fn a_failed_file_says_why() {
    let host = TestHost::opened(handed(&[("vm", &[(1, 10)])]));
    let vm = host.claim("vm").unwrap();
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    assert!(host.retrieve(vm, 1).is_err());
    let file = &files(&host, vm, 1)[0];
    assert_eq!((file.status, file.error), (FILE_FAILED, 27));
}

#[test]
fn dependencies_are_seen_with_what_is_missing() {
    let host = TestHost::cold();
    let (vm, other, device) = (host.create("vm"), host.create("other"), host.device());
    host.preserve(vm, 1, 10).unwrap();
    host.preserve(other, 5, 20).unwrap();
    host.preserve(other, 6, 30).unwrap();
    let token = host.register_file(device, 40).unwrap();
    for on in [5, 6] {
        host.needs(vm, 1, Needed::In(name("other"), on)).unwrap();
    }
    host.needs(vm, 1, Needed::OnDevice(token)).unwrap();
    ops::unpreserve_file(&host, other, 5).unwrap();
    let page = ops::list_dependencies(&host, luo_core::Actor::Administrator, vm, 1, 0, 9).unwrap();
    let seen: Vec<_> = page
        .entries
        .iter()
        .map(|d| (d.token, d.status, d.flags))
        .collect();
    let expected = [
        (5, FILE_MISSING, 0),
        (6, FILE_PRESERVED, 0),
        (token, FILE_REGISTERED, DEPENDENCY_ON_DEVICE),
    ];
    assert_eq!(seen, expected);
    let names: Vec<_> = page.entries.iter().map(|d| text(&d.session)).collect();
    assert_eq!(names, ["other", "other", "liveupdate-device:0.0"]);
    assert_eq!(files(&host, vm, 9)[0].dependencies, 3);
    assert_eq!(files(&host, other, 9)[0].dependents, 1);
}

#[test]
fn a_session_is_seen_in_each_of_its_states() {
    let host = TestHost::cold();
    let state = |host: &TestHost, at: usize| {
        let session = &sessions(host, 0, 9)[at];
        (session.state, session.flags)
    };
    let (vm, device) = (host.create("vm"), host.device());
    host.preserve(vm, 1, 10).unwrap();
    host.register_file(device, 20).unwrap();
    assert_eq!(state(&host, 0), (SESSION_OPEN, 0));
    assert_eq!(state(&host, 1), (SESSION_OPEN, SESSION_OF_DEVICE));
    ops::prepare(&host).unwrap();
    host.close(vm).unwrap();
    assert_eq!(state(&host, 0), (SESSION_CLOSED, 0));
    host.reboot().unwrap();
    let host = TestHost::opened(host.kexec());
    assert_eq!(state(&host, 0), (SESSION_UNCLAIMED, 0));
    assert_eq!(state(&host, 1), (SESSION_UNCLAIMED, SESSION_OF_DEVICE));
    let session = &sessions(&host, LIST_INCOMING, 9)[0];
    assert_eq!((session.files, session.bytes), (1, 40960));
    let vm = host.claim("vm").unwrap();
    assert_eq!(state(&host, 0), (SESSION_CLAIMED, 0));
    host.script().stuck.insert(10);
    assert!(host.close(vm).is_err());
    assert_eq!(state(&host, 0), (SESSION_UNFINISHED, 0));
    assert!(host.engine(|engine| engine.describe_session(vm)).is_some());
    // One that carries it on is nobody's.
    host.reboot().unwrap();
    assert_eq!(state(&host, 0), (SESSION_CLOSED, SESSION_OF_DEVICE));
}

#[test]
fn info_counts() {
    let host = TestHost::opened(handed(&[("a", &[(1, 10)]), ("b", &[])]));
    host.claim("a").unwrap();
    let vm = host.create("vm");
    host.preserve(vm, 1, 20).unwrap();
    let info =
        host.engine(|engine| engine.info(luo_core::Actor::Administrator, "test 1.0", 1 << 40));
    assert_eq!((info.state, info.update_count), (State::Updated as u32, 1));
    assert_eq!((info.outgoing, info.incoming, info.unclaimed), (1, 2, 1));
    assert_eq!((info.files, info.size), (2, 208));
    assert_eq!(text(&info.implementation), "test 1.0");
    assert_eq!(text(&info.handover_abi), "luo-v5");
    assert_eq!(text(&info.contract_abi), "luo-contract-v1");
    assert_ne!(info.features & (1 << 40), 0);
    // What is too long is cut, and terminated.
    let info =
        host.engine(|engine| engine.info(luo_core::Actor::Administrator, &"x".repeat(100), 0));
    assert_eq!(text(&info.implementation).len(), 71);
}

#[test]
fn the_last_failure_is_told_in_the_words_of_the_abi() {
    let host = TestHost::cold();
    let failure = || host.engine(|engine| engine.failure_info());
    assert_eq!(
        (failure().cause, failure().sequence, failure().error),
        (CAUSE_NONE, 0, 0)
    );
    let (vm, device) = (host.create("vm"), host.device());
    host.preserve(vm, 1, 10).unwrap();
    let token = host.register_file(device, 20).unwrap();
    host.fail(Call::Preserve, 0, Errno::EFBIG);
    assert!(ops::prepare(&host).is_err());
    let told = failure();
    assert_eq!(
        (told.cause, told.event),
        (CAUSE_HANDLER, Event::Prepare as u32)
    );
    assert_eq!((told.error, told.token, told.sequence), (27, token, 1));
    assert_eq!(text(&told.participant), "handler-0");
    assert_eq!(text(&told.session), "liveupdate-device:0.0");
    host.subsystem(1).unwrap();
    ops::prepare(&host).unwrap();
    host.fail(Call::SubsystemFreeze, 0, Errno::EFBIG);
    assert!(ops::freeze(&host).is_err());
    let told = failure();
    assert_eq!(
        (told.cause, told.event),
        (CAUSE_SUBSYSTEM, Event::Freeze as u32)
    );
    assert_eq!(text(&told.participant), "subsystem-1");
    host.needs(vm, 1, Needed::OnDevice(token)).unwrap();
    host.close(device).unwrap();
    assert!(host.reboot().is_err());
    let told = failure();
    assert_eq!((told.cause, told.event), (CAUSE_DEPENDENCY, EVENT_REBOOT));
    assert_eq!((text(&told.session), told.token), ("vm".into(), 1));
    assert_eq!(
        (told.on_token, told.on_flags),
        (token, DEPENDENCY_ON_DEVICE)
    );
    assert_eq!((told.error, told.sequence), (67, 3));
    // What is illegal is not a failure of a transition.
    assert!(ops::freeze(&host).is_err());
    assert_eq!(failure().sequence, 3);
}

#[test]
fn what_cannot_be_carried_is_told_too() {
    let host = TestHost::opened(handed(&[("vm", &[(1, 10)])]));
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    assert!(host.reboot().is_err());
    let told = host.engine(|engine| engine.failure_info());
    assert_eq!((told.cause, told.error, told.token), (CAUSE_CARRY, 27, 1));
    assert_eq!(text(&told.session), "vm");
    let host = TestHost::boot(None, false);
    assert!(host.reboot().is_err());
    let told = host.engine(|engine| engine.failure_info());
    assert_eq!((told.cause, told.event), (CAUSE_INTERNAL, EVENT_REBOOT));
}

#[test]
fn nothing_waits_for_a_transition_to_look() {
    let host = TestHost::cold();
    let (vm, device) = (host.create("vm"), host.device());
    host.register_file(device, 20).unwrap();
    host.set_hook(move |host, call, _| {
        if call == Call::Preserve {
            assert_eq!(sessions(host, 0, 9).len(), 2);
            assert!(files(host, vm, 9).is_empty());
            ops::list_participants(host, 0, 9).unwrap();
            host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0));
        }
    });
    ops::prepare(&host).unwrap();
}

#[test]
fn files_of_the_device_say_how_they_stand() {
    let host = TestHost::cold();
    let device = host.device();
    let tokens: Vec<u64> = (1..=5)
        .map(|o| host.register_file(device, o).unwrap())
        .collect();
    let host = host.next();
    host.restore(tokens[0]).unwrap();
    host.fail(Call::Retrieve, 0, Errno::EINVAL);
    assert!(host.restore(tokens[1]).is_err());
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        let page = ops::list_arrived_files(&host, cursor, 2).unwrap();
        assert_eq!(page.total, 5);
        seen.extend(
            page.entries
                .iter()
                .map(|file| (file.token, file.status, file.error)),
        );
        cursor = page.next;
        if cursor == 0 {
            break;
        }
    }
    let einval = Errno::EINVAL.get().unsigned_abs();
    let status = [(FILE_RETRIEVED, 0), (FILE_FAILED, einval)];
    let status = status
        .into_iter()
        .chain(std::iter::repeat((FILE_INCOMING, 0)));
    let expected: Vec<_> = tokens
        .iter()
        .zip(status)
        .map(|(&t, (s, e))| (t, s, e))
        .collect();
    assert_eq!(seen, expected);
    let stale = ops::list_arrived_files(&host, u64::MAX, 2);
    assert_eq!(stale.err(), Some(Error::Stale));
}
