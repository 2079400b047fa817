// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files of the previous kernel whose handler comes late, as that of a module does. What becomes
//! of users' files is in `users_files`.

use luo_abi::contract::{FileInfo, FILE_INCOMING, PARTICIPANT_AWAITED, PARTICIPANT_FILE_HANDLER};
use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::mem::fault;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, SessionId};

use crate::support::ledger::take_longest;
use crate::support::{compat, Call, Handed, TestHost};

/// The handler that comes late, and files of its kind.
const LATE: u32 = 2;

fn waits() -> Error {
    Error::AwaitsHandler(compat("handler", LATE))
}

fn unhandled(token: u64) -> Error {
    Error::Unhandled {
        token,
        handler: compat("handler", LATE),
    }
}

/// "vm" with the files 1 and 3, and 2 and 4, which are of the late kind; 3 needs 2.
fn one_session() -> Handed {
    let host = TestHost::cold();
    host.register(LATE);
    let vm = host.create("vm");
    for (token, kind) in [(1, 0), (2, LATE), (3, 0), (4, LATE)] {
        host.preserve_kind(vm, token, kind, 10 * token).unwrap();
    }
    host.needs(vm, 3, Needed::Here(2)).unwrap();
    host.update()
}

fn arrived() -> (TestHost, SessionId) {
    let host = TestHost::opened(one_session());
    let vm = host.claim("vm").unwrap();
    (host, vm)
}

fn object(host: &TestHost, session: SessionId, token: u64) -> Result<u64, Error> {
    host.retrieve(session, token).map(|file| file.object)
}

fn files(host: &TestHost, session: SessionId) -> Vec<FileInfo> {
    let page = ops::list_files(host, session, 0, 9).unwrap();
    page.entries.into_iter().collect()
}

/// The error numbers of the files of a session, all of which nobody has got yet.
fn errors(host: &TestHost, session: SessionId) -> Vec<u32> {
    let files = files(host, session).into_iter();
    files
        .map(|file| {
            assert_eq!(file.status, FILE_INCOMING);
            file.error
        })
        .collect()
}

fn participants(host: &TestHost, kind: u32) -> Vec<(String, u64)> {
    let page = ops::list_participants(host, 0, 9).unwrap();
    let of_kind = page.entries.into_iter().filter(|entry| entry.kind == kind);
    let named = of_kind.map(|entry| {
        let end = entry.name.iter().position(|&byte| byte == 0).unwrap();
        let name = String::from_utf8(entry.name[..end].to_vec()).unwrap();
        (name, entry.files)
    });
    named.collect()
}

#[test]
fn other_files_of_its_session_can_be_had_at_once() {
    let (host, vm) = arrived();
    assert_eq!(object(&host, vm, 1), Ok(10));
    for token in [2, 4] {
        assert_eq!(object(&host, vm, token), Err(waits()));
    }
    // What needs one that waits does so, too.
    assert_eq!(object(&host, vm, 3), Err(waits()));
    host.register(LATE);
    assert_eq!(object(&host, vm, 3), Ok(30));
    for token in [2, 4] {
        assert_eq!(object(&host, vm, token), Ok(10 * token));
    }
    host.finish(vm).unwrap();
    assert_eq!(host.state(), State::Normal);
    assert_eq!(host.counts().pins, 0);
}

#[test]
fn the_lists_say_for_whom_it_waits() {
    let (host, vm) = arrived();
    let eagain = Errno::EAGAIN.get().unsigned_abs();
    assert_eq!(errors(&host, vm), [0, eagain, 0, eagain]);
    let name = compat("handler", LATE);
    assert!(files(&host, vm)[1].handler == *name.room());
    let awaited = || participants(&host, PARTICIPANT_AWAITED);
    assert_eq!(awaited(), [("handler-2".to_owned(), 2)]);
    assert_eq!(participants(&host, PARTICIPANT_FILE_HANDLER).len(), 2);
    host.register(LATE);
    assert_eq!(errors(&host, vm), [0; 4]);
    assert!(awaited().is_empty());
    let all = participants(&host, PARTICIPANT_FILE_HANDLER);
    assert!(all.contains(&("handler-2".to_owned(), 2)), "{all:?}");
}

/// One pin from the registration on, and one for each file that has the handler.
#[test]
fn its_owner_stays_as_long_as_files_wait() {
    let (host, vm) = arrived();
    let pins = || host.counts().pins;
    assert_eq!(pins(), 2);
    host.register(LATE);
    assert_eq!(pins(), 3);
    host.retrieve(vm, 2).unwrap();
    assert_eq!(pins(), 4);
    // The last one has what was there.
    host.retrieve(vm, 4).unwrap();
    assert_eq!(pins(), 4);
    host.finish(vm).unwrap();
    assert_eq!(pins(), 0);
}

/// One whose module fails to begin, say.
#[test]
fn a_handler_that_goes_again_is_waited_for_again() {
    let (host, vm) = arrived();
    for _ in 0..3 {
        host.register(LATE);
        assert_eq!(host.unregister(LATE), Ok(()));
        assert_eq!(host.counts().pins, 2);
        assert_eq!(object(&host, vm, 2), Err(waits()));
    }
    host.register(LATE);
    host.retrieve(vm, 2).unwrap();
    // A file that has it keeps it.
    host.unregister(LATE).unwrap();
    assert_eq!(object(&host, vm, 2), Ok(20));
    assert_eq!(object(&host, vm, 4), Err(waits()));
    host.register(LATE);
    assert_eq!(object(&host, vm, 4), Ok(40));
    host.finish(vm).unwrap();
    assert_eq!(host.counts().pins, 0);
    // Nothing is left that could be taken for it.
    assert_eq!(host.unregister(LATE), Ok(()));
    assert!(participants(&host, PARTICIPANT_AWAITED).is_empty());
    host.register(LATE);
}

/// A module registers its handler and then what belongs to that: until it has begun no file
/// has it.
#[test]
fn it_is_waited_for_until_its_owner_is_all_there() {
    let (host, vm) = arrived();
    host.script().unready.insert(LATE);
    host.register(LATE);
    assert_eq!(object(&host, vm, 2), Err(waits()));
    assert_eq!(host.finish(vm), Err(unhandled(2)));
    host.script().unready.clear();
    assert_eq!(object(&host, vm, 2), Ok(20));
}

#[test]
fn one_whose_owner_is_going_is_waited_for() {
    let (host, vm) = arrived();
    host.fail(Call::PinHandler, 0, Errno::ENODEV);
    host.fail(Call::PinHandler, 0, Errno::ENODEV);
    host.register(LATE);
    assert_eq!(object(&host, vm, 2), Err(waits()));
    assert_eq!(object(&host, vm, 2), Ok(20));
}

/// Only its handler can let go of it.
#[test]
fn a_session_is_not_finished_before() {
    let (host, vm) = arrived();
    assert_eq!(host.finish(vm), Err(unhandled(2)));
    assert_eq!(host.visible().files, 4);
    assert_eq!(object(&host, vm, 1), Ok(10));
    // Nor when it is closed: it can be taken back, and is finished by the first call that can.
    assert_eq!(host.close(vm), Err(unhandled(2)));
    assert_eq!(host.open(), Ok(1));
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.close(vm), Err(unhandled(2)));
    host.register(LATE);
    host.take_log();
    assert_eq!(host.open(), Ok(0));
    let finished = ["finish 40", "finish 30", "finish 20", "finish 10"];
    let log = host.take_log();
    let log: Vec<_> = log.iter().filter(|line| line.starts_with("fin")).collect();
    assert_eq!(log, finished);
    assert_eq!(host.state(), State::Normal);
    assert_eq!(host.visible().files, 0);
}

/// Of two that need each other neither is finished, and both are together once it is here.
#[test]
fn closed_sessions_that_need_each_other_wait_for_it() {
    let host = TestHost::cold();
    host.register(LATE);
    let [one, other] = ["one", "other"].map(|text| host.create(text));
    for (session, at) in [(one, 1), (other, 2)] {
        host.preserve(session, 1, 10 * at).unwrap();
        host.preserve_kind(session, 2, LATE, 10 * at + 1).unwrap();
    }
    host.needs(one, 1, Needed::Of(other, 2)).unwrap();
    host.needs(other, 1, Needed::Of(one, 2)).unwrap();
    let host = TestHost::opened(host.update());
    for text in ["one", "other"] {
        let session = host.claim(text).unwrap();
        assert!(host.close(session).is_err());
    }
    assert_eq!(host.open(), Ok(2));
    host.register(LATE);
    assert_eq!(host.open(), Ok(0));
    assert_eq!((host.visible().incoming, host.visible().files), (0, 0));
    assert_eq!(host.state(), State::Normal);
}

/// The end of the update does not wait for it, and it can be had afterwards.
#[test]
fn finish_by_event_leaves_it_where_it_is() {
    let (host, vm) = arrived();
    let report = host.finish_update().unwrap();
    // 3 needs 2; nothing needs 3.
    assert_eq!((report.files, report.stuck), (2, 2));
    assert_eq!(host.state(), State::Normal);
    ops::prepare(&host).unwrap();
    ops::cancel(&host).unwrap();
    assert_eq!(object(&host, vm, 4), Err(waits()));
    host.register(LATE);
    assert_eq!(object(&host, vm, 4), Ok(40));
    host.finish(vm).unwrap();
    assert_eq!(host.visible().files, 0);
}

#[test]
fn a_file_of_the_device_waits_likewise() {
    let host = TestHost::cold();
    host.register(LATE);
    let device = host.device();
    let open = || Ok(host.new_file(LATE, 7));
    let late = ops::register_file(&host, device, |_| Ok(()), open).unwrap();
    let other = host.register_file(device, 8).unwrap();
    let host = host.next();
    assert_eq!(host.restore(late).err(), Some(waits()));
    assert_eq!(host.restore(other).unwrap().object, 8);
    host.register(LATE);
    assert_eq!(host.restore(late).unwrap().object, 7);
    assert_eq!(host.restore(late).err(), Some(Error::AlreadyRestored));
    host.finish_update().unwrap();
    assert_eq!(host.counts().pins, 0);
}

/// Who needs one of another session waits for who has that one, and that one for the handler.
#[test]
fn one_of_another_session_is_not_there_yet() {
    let host = TestHost::cold();
    host.register(LATE);
    let [needs, needed] = ["needs", "needed"].map(|text| host.create(text));
    host.preserve(needs, 1, 10).unwrap();
    host.preserve_kind(needed, 1, LATE, 20).unwrap();
    host.needs(needs, 1, Needed::Of(needed, 1)).unwrap();
    let host = TestHost::opened(host.update());
    let [needs, needed] = ["needs", "needed"].map(|text| host.claim(text).unwrap());
    let not_there = object(&host, needs, 1).unwrap_err();
    assert_eq!(not_there.errno(), Errno::ENOTCONN);
    assert_eq!(object(&host, needed, 1), Err(waits()));
    host.register(LATE);
    assert_eq!(object(&host, needs, 1), Err(not_there));
    assert_eq!(object(&host, needed, 1), Ok(20));
    assert_eq!(object(&host, needs, 1), Ok(10));
}

/// An update that comes first loses it alone, with what needs it.
#[test]
fn the_next_update_does_not_wait_for_it() {
    let host = TestHost::opened(one_session());
    let report = host.reboot_or_lose().unwrap();
    assert_eq!((report.carried, report.losses.files), (1, 3));
    let mut told: Vec<_> = host.script().lost.iter().map(ToString::to_string).collect();
    told.sort();
    let line = |token: u64, why: &str| {
        format!(
            "session \"vm\" of the previous kernel, which nobody has claimed, cannot be carried \
             on because of token {token:#x}: {why}"
        )
    };
    let gone = "handler \"handler-2\" is not here: its module was not loaded";
    let needs = "session \"vm\", token 0x2, which is needed, is not carried on";
    assert_eq!(told, [line(2, gone), line(3, needs), line(4, gone)]);
    let host = TestHost::opened(host.kexec());
    let info = host.engine(|engine| engine.info(Actor::Administrator, "", 0));
    assert_eq!(info.lost_files, 3);
    let vm = host.claim("vm").unwrap();
    host.register(LATE);
    for (token, why) in [(2, Errno::ENOENT), (3, Errno::ENOLINK), (4, Errno::ENOENT)] {
        assert_eq!(object(&host, vm, token), Err(Error::Lost(why)));
    }
    assert_eq!(object(&host, vm, 1), Ok(10));
    host.finish(vm).unwrap();
    assert_eq!(host.state(), State::Normal);
}

/// If the jump does not come about, it waits on.
#[test]
fn after_a_jump_that_has_not_come_about_it_waits_on() {
    let host = TestHost::opened(one_session());
    host.reboot_or_lose().unwrap();
    ops::cancel(&host).unwrap();
    let vm = host.claim("vm").unwrap();
    assert_eq!(object(&host, vm, 2), Err(waits()));
    host.register(LATE);
    assert_eq!(object(&host, vm, 3), Ok(30));
    assert_eq!(object(&host, vm, 4), Ok(40));
}

/// One that has come is carried on, though nobody has asked for it.
#[test]
fn one_that_has_come_goes_on() {
    let host = TestHost::opened(one_session());
    host.register(LATE);
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.losses.files), (1, 0));
    let host = TestHost::opened(host.kexec());
    let vm = host.claim("vm").unwrap();
    assert_eq!(object(&host, vm, 2), Err(waits()));
    host.register(LATE);
    assert_eq!(object(&host, vm, 2), Ok(20));
}

/// State that files of the late handler share is there when the handler is, with its files.
#[test]
fn its_flb_comes_with_it() {
    let host = TestHost::cold();
    host.register(LATE);
    host.depend(LATE, 1).unwrap();
    let vm = host.create("vm");
    for token in [1, 2] {
        host.preserve_kind(vm, token, LATE, 10 * token).unwrap();
    }
    let host = TestHost::opened(host.update());
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.finish(vm), Err(unhandled(1)));
    host.take_log();
    host.register(LATE);
    host.depend(LATE, 1).unwrap();
    assert_eq!(host.get_incoming(1).unwrap().unwrap().flb, 1);
    host.put_incoming(1);
    assert_eq!(object(&host, vm, 1), Ok(10));
    host.finish(vm).unwrap();
    let log = host.take_log();
    let of_flb = log.iter().filter(|line| line.starts_with("flb"));
    assert_eq!(
        of_flb.collect::<Vec<_>>(),
        ["flb_retrieve 1", "flb_finish 1"]
    );
    let counts = host.counts();
    assert_eq!((counts.pins, counts.objects), (0, 0));
}

/// However many files wait, to register their handler looks at none of them.
#[test]
fn to_register_it_costs_the_same_for_any_number_of_files() {
    let cost = |files: u64| {
        let host = TestHost::cold();
        host.register(LATE);
        let vm = host.create("vm");
        for token in 0..files {
            host.preserve_kind(vm, token, LATE, token).unwrap();
        }
        let host = TestHost::opened(host.update());
        take_longest();
        host.register(LATE);
        let of_register = take_longest();
        host.unregister(LATE).unwrap();
        (of_register, take_longest())
    };
    assert_eq!(cost(2), cost(2000));
}

/// Memory that is refused while the files are taken over is no end.
#[test]
fn memory_that_is_refused_changes_nothing() {
    let handed = one_session();
    for requests in 0.. {
        let host = TestHost::warm(handed.clone());
        let before = host.visible();
        fault::fail_after(requests);
        let outcome = host.open();
        if fault::disarm() {
            assert!(requests > 0);
            break;
        }
        assert_eq!(outcome, Err(Error::NoMemory));
        assert_eq!(host.visible(), before);
        host.open().unwrap();
        host.register(LATE);
        let vm = host.claim("vm").unwrap();
        assert_eq!(object(&host, vm, 3), Ok(30));
    }
}
