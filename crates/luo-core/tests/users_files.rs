// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a user without privileges can have a reboot do with a file that the user has back.

use luo_abi::errno::Errno;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, SessionId};

use crate::support::{name, TestHost};

const ALICE: Actor = Actor::User(1000);

/// Alice's session "y" needs a file of her session "x", which she has back; "x" is closed,
/// and "y" not claimed. Each has another file, too.
fn one_back(back: bool) -> TestHost {
    let host = TestHost::cold();
    let [x, y] = ["x", "y"].map(|text| ops::create_session(&host, ALICE, &name(text)).unwrap());
    for (session, token, object) in [(x, 1, 10), (x, 2, 11), (y, 1, 20), (y, 2, 21)] {
        host.preserve(session, token, object).unwrap();
    }
    ops::add_dependency(&host, ALICE, y, 1, Needed::Of(x, 1)).unwrap();
    let host = TestHost::opened(host.update());
    let x = claim(&host, "x");
    if back {
        host.retrieve(x, 1).unwrap();
        // As big as the machine; but who preserves it now is not asked whether that fits.
        host.script().grown = 1 << 40;
    }
    assert!(matches!(host.close(x), Err(Error::Needed { .. })));
    host.take_log();
    host
}

fn claim(host: &TestHost, text: &str) -> SessionId {
    ops::retrieve_session(host, ALICE, &name(text)).unwrap()
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
    let y = claim(&host, "y");
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
    let y = claim(&host, "y");
    assert_eq!(host.retrieve(y, 1).unwrap().object, 20);
}
