// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a reboot does with files of a user without privileges that cannot go, or that the
//! user has back.

use luo_abi::errno::Errno;
use luo_core::ops::{self, Needed};
use luo_core::Error;

use crate::owners::{claim, create, ALICE, ROOT};
use crate::support::{Call, TestHost};

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
