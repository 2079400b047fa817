// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a reboot does with files of a user without privileges that cannot go, or that the
//! user has back.

use std::sync::atomic::Ordering;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Compat, Error, Failure};

use crate::owners::{claim, create, ALICE, ROOT};
use crate::support::{compat, Call, TestHost};

/// Alice's session "y" needs a file of her session "x", which she has back; "x" is closed,
/// and "y" not claimed. Each has another file, too.
fn one_back(back: bool) -> TestHost {
    let host = TestHost::cold();
    let [x, y] = ["x", "y"].map(|text| create(&host, ALICE, text).unwrap());
    for (session, token, object) in [(x, 1, 10), (x, 2, 11), (y, 1, 20), (y, 2, 21)] {
        host.preserve(session, token, object).unwrap();
    }
    ops::add_dependency(&host, ALICE, y, 1, Needed::Of(x, 1)).unwrap();
    let host = TestHost::opened(host.update());
    let x = claim(&host, ALICE, "x").unwrap();
    if back {
        host.retrieve(x, 1).unwrap();
        // As big as the machine; but who preserves it now is not asked whether that fits.
        host.script().grown = 1 << 40;
    }
    assert!(matches!(host.close(x), Err(Error::Needed { .. })));
    host.take_log();
    host
}

/// The objects that were preserved.
fn preserved(host: &TestHost) -> Vec<String> {
    let log = host.take_log();
    let lines = log.iter().filter_map(|line| line.strip_prefix("preserve "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_file_that_its_user_has_back_is_not_carried_on() {
    let host = one_back(true);
    // Nobody's reboot fails by it, whatever vetoes.
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.losses.files), (2, 2));
    assert_eq!(preserved(&host), ["11", "21"]);
    let host = TestHost::opened(host.kexec());
    let y = claim(&host, ALICE, "y").unwrap();
    assert_eq!(host.retrieve(y, 1).err(), Some(Error::Lost(Errno::ENOLINK)));
    assert_eq!(host.retrieve(y, 2).unwrap().object, 21);
}

#[test]
fn one_that_nobody_has_taken_goes_with_who_needs_it() {
    let host = one_back(false);
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.losses.files), (2, 0));
    assert_eq!(preserved(&host).len(), 4);
    let host = TestHost::opened(host.kexec());
    let y = claim(&host, ALICE, "y").unwrap();
    assert_eq!(host.retrieve(y, 1).unwrap().object, 20);
}

/// What of a user's cannot go is lost alone, at the reboot: no user keeps the machine from
/// its update, even where the administrator has the reboot veto.
#[test]
fn no_file_of_a_users_vetoes() {
    let host = TestHost::cold();
    let own = create(&host, ALICE, "own").unwrap();
    for token in [1, 2, 3] {
        host.preserve(own, token, token).unwrap();
    }
    host.needs(own, 1, Needed::Here(2)).unwrap();
    let vm = create(&host, ROOT, "vm").unwrap();
    host.preserve(vm, 1, 10).unwrap();
    ops::unpreserve_file(&host, own, 2).unwrap();
    ops::prepare(&host).unwrap();
    // The first misses what it needs, the third's handler refuses, each time.
    host.fail(Call::Freeze, 1, Errno::EFBIG);
    ops::freeze(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EFBIG);
    let report = host.reboot().unwrap();
    assert_eq!(report.losses.files, 2);
    let host = TestHost::opened(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    for (token, why) in [(1, Errno::ENOLINK), (3, Errno::EFBIG)] {
        let lost = host.retrieve(own, token).map(|file| file.object);
        assert_eq!(lost, Err(Error::Lost(why)));
    }
    let vm = claim(&host, ROOT, "vm").unwrap();
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 10);
}

/// A handler that lets go of a file may wait for a lock which its user holds: in the reboot none
/// is asked to, and if the jump does not come about the file is as it was.
#[test]
fn a_users_lost_file_is_let_go_of_by_nobody() {
    let host = TestHost::cold();
    let own = create(&host, ALICE, "own").unwrap();
    for token in [1, 2, 3] {
        host.preserve(own, token, token).unwrap();
    }
    host.needs(own, 1, Needed::Here(2)).unwrap();
    ops::unpreserve_file(&host, own, 2).unwrap();
    host.take_log();
    for event in [None, Some(ops::freeze::<TestHost>)] {
        if let Some(freeze) = event {
            ops::prepare(&host).unwrap();
            freeze(&host).unwrap();
        }
        host.fail(Call::Freeze, 0, Errno::EFBIG);
        assert_eq!(host.reboot().unwrap().losses.files, 2);
        ops::cancel(&host).unwrap();
        let log = host.take_log();
        let touches =
            |line: &&String| line.starts_with("unpreserve") || line.starts_with("preserve");
        assert_eq!(log.iter().find(touches), None, "{log:?}");
        // Their handlers hear of it: the next kernel is not told of them by another way.
        for lost in ["lose 1", "lose 3"] {
            assert!(log.iter().any(|line| line == lost), "{lost}: {log:?}");
        }
    }
    ops::drop_dependency(&host, ALICE, own, 1, Needed::Here(2)).unwrap();
    assert_eq!(host.reboot().unwrap().losses.files, 0);
    let host = TestHost::opened(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    for token in [1, 3] {
        assert_eq!(host.retrieve(own, token).unwrap().object, token);
    }
}

/// Mended before the reboot, it goes.
#[test]
fn a_users_file_that_was_passed_over_may_be_mended() {
    let host = TestHost::cold();
    let own = create(&host, ALICE, "own").unwrap();
    host.preserve(own, 1, 1).unwrap();
    ops::prepare(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EFBIG);
    ops::freeze(&host).unwrap();
    assert_eq!(host.reboot().unwrap().losses.files, 0);
    let host = TestHost::opened(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    assert_eq!(host.retrieve(own, 1).unwrap().object, 1);
}

/// A handler of memfds, and files of that kind.
const MEMFDS: u32 = 7;

/// Whatever a user preserves goes to a kernel that may not have the handler, which then may take
/// over nothing: so it is memfds, unless the administrator has chosen.
#[test]
fn users_preserve_memfds_unless_the_administrator_has_chosen() {
    let host = TestHost::cold();
    for (name, kind) in [("memfd-v2", MEMFDS), ("luo-memfd-v1", MEMFDS + 1)] {
        let name = Compat::try_from(name).unwrap();
        host.register_as(name, kind).unwrap();
    }
    host.memfds_only.store(true, Ordering::SeqCst);
    let [own, vm] = [(ALICE, "own"), (ROOT, "vm")].map(|(by, text)| {
        let session = create(&host, by, text).unwrap();
        host.preserve_kind(session, 1, MEMFDS, u64::from(by == ROOT) + 1)
            .unwrap();
        session
    });
    host.preserve_kind(own, 2, MEMFDS + 1, 10).unwrap();
    // That it was made for a user does not make it the administrator's.
    let made = create(&host, ROOT, "uid:1000:made").unwrap();
    for session in [own, made] {
        let why = host.preserve(session, 3, 11);
        assert_eq!(why, Err(Error::NoHandler));
        assert_eq!(why.unwrap_err().errno(), Errno::ENOENT);
    }
    // Nor is one that holds the administrator's session the administrator.
    let open = || Ok(host.new_file(0, 14));
    let passed = ops::preserve_file(&host, ALICE, vm, 4, open);
    assert_eq!(passed, Err(Error::NoHandler));
    let open = || Ok(host.new_file(MEMFDS, 15));
    ops::preserve_file(&host, ALICE, vm, 4, open).unwrap();
    host.preserve(vm, 3, 12).unwrap();
    let device = host.device();
    host.register_file(device, 13).unwrap();
    host.memfds_only.store(false, Ordering::SeqCst);
    host.preserve(own, 3, 11).unwrap();
    // What is there already stays.
    host.memfds_only.store(true, Ordering::SeqCst);
    let report = host.reboot().unwrap();
    assert_eq!((report.files, report.losses.any()), (7, false));
}

/// Handler 2 is of this kernel's alone. Alice has a file of it, which another of hers needs, and
/// which needs a third.
fn foreign() -> TestHost {
    let host = TestHost::cold();
    host.register(2);
    let own = create(&host, ALICE, "own").unwrap();
    for (token, kind) in [(1, 0), (2, 2), (3, 0), (4, 0)] {
        host.preserve_kind(own, token, kind, token).unwrap();
    }
    for (token, on) in [(1, 2), (2, 3)] {
        ops::add_dependency(&host, ALICE, own, token, Needed::Here(on)).unwrap();
    }
    let vm = create(&host, ROOT, "vm").unwrap();
    host.preserve(vm, 1, 10).unwrap();
    host
}

/// A user's file without a handler here waits, with what needs it, and nothing else does.
#[test]
fn a_users_file_waits_alone_for_its_handler() {
    for through_mainline in [false, true] {
        let mut handed = foreign().update();
        if through_mainline {
            handed.supplement = None;
        }
        let host = TestHost::opened(handed);
        assert_eq!(host.taken_over(), Some((2, 5)));
        let info = host.engine(|engine| engine.info(ROOT, "", 0));
        assert_eq!(info.lost_files, 0);
        let line = "session \"uid:1000:own\", token 0x2, and 0 more files, wait for handler \
                    \"handler-2\"";
        assert_eq!(host.said_of(line), 1);
        let vm = claim(&host, ROOT, "vm").unwrap();
        assert_eq!(host.retrieve(vm, 1).unwrap().object, 10);
        let own = claim(&host, ALICE, "own").unwrap();
        assert_eq!(host.retrieve(own, 4).unwrap().object, 4);
        let waits = Error::AwaitsHandler(compat("handler", 2));
        assert_eq!(host.retrieve(own, 2).err(), Some(waits));
        if !through_mainline {
            // What it needs is there; what needs it is not to be had.
            assert_eq!(host.retrieve(own, 1).err(), Some(waits));
        }
        assert_eq!(host.retrieve(own, 3).unwrap().object, 3);
        let unhandled = Error::Unhandled {
            token: 2,
            handler: compat("handler", 2),
        };
        assert_eq!(host.finish(own), Err(unhandled));
        assert_eq!(unhandled.errno(), Errno::EBUSY);
        host.finish(vm).unwrap();
        host.register(2);
        for token in [1, 2] {
            assert_eq!(host.retrieve(own, token).unwrap().object, token);
        }
        host.finish(own).unwrap();
        for session in [own, vm] {
            host.close(session).unwrap();
        }
        assert_eq!(host.visible().files, 0);
        assert_eq!(host.state(), State::Normal);
        if !through_mainline {
            assert_eq!(host.arrived_pages(), 0);
        }
    }
}

/// It keeps the machine from no update, whatever vetoes: it is lost alone then, and that is told
/// in each kernel that it would have gone to.
#[test]
fn a_users_file_whose_handler_does_not_come_is_lost_alone() {
    let host = TestHost::opened(foreign().update());
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.losses.files), (2, 2));
    let mut host = TestHost::opened(host.kexec());
    for again in [true, false] {
        let info = host.engine(|engine| engine.info(ROOT, "", 0));
        assert_eq!(info.lost_files, if again { 2 } else { 0 });
        let own = claim(&host, ALICE, "own").unwrap();
        // That the handler comes now is too late.
        host.register(2);
        for (token, why) in [(1, Errno::ENOLINK), (2, Errno::ENOENT)] {
            assert_eq!(host.retrieve(own, token).err(), Some(Error::Lost(why)));
        }
        ops::put_back_session(&host, own);
        if again {
            host.reboot().unwrap();
            host = TestHost::opened(host.kexec());
        } else {
            let own = claim(&host, ALICE, "own").unwrap();
            assert_eq!(host.retrieve(own, 4).unwrap().object, 4);
            let vm = claim(&host, ROOT, "vm").unwrap();
            assert_eq!(host.retrieve(vm, 1).unwrap().object, 10);
        }
    }
}

/// The administrator's waits likewise, and may veto a reboot that would lose it.
#[test]
fn the_administrators_file_is_waited_for_with_its_handler() {
    let host = foreign();
    let vm = create(&host, ROOT, "device").unwrap();
    host.preserve_kind(vm, 9, 2, 20).unwrap();
    let host = TestHost::opened(host.update());
    let why = host.reboot().unwrap_err();
    let Failure::Carry {
        token: Some(9),
        why,
        ..
    } = why
    else {
        panic!("{why}");
    };
    assert_eq!(why, Error::NeverHandled(compat("handler", 2)));
    assert_eq!(why.errno(), Errno::ENOENT);
    host.register(2);
    // With it the user's has come, too.
    let own = claim(&host, ALICE, "own").unwrap();
    assert_eq!(host.retrieve(own, 1).unwrap().object, 1);
    ops::put_back_session(&host, own);
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.losses.files), (3, 0));
}
