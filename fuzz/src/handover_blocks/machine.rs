// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine that boots from a handover.

use std::sync::atomic::Ordering;

use luo_abi::contract::PARTICIPANT_AWAITED;
use luo_core::{Compat, Error};
use luo_testhost::{Handed, TestHost};

use crate::queries;

/// The number of the first handler that comes late.
const FIRST_LATE: u32 = 1000;

/// The participants that the good handovers know.
fn register(host: &TestHost) {
    host.foreign.store(true, Ordering::SeqCst);
    for number in 0..2 {
        host.register(number);
    }
    let memfd = Compat::try_from("memfd-v2").expect("a name");
    host.register_as(memfd, 2).expect("a handler more");
    for number in 1..3 {
        host.depend(0, number).expect("an FLB");
        host.subsystem(number).expect("a subsystem");
    }
}

/// Has the previous kernel's sessions taken over. The handlers that are missing for files of
/// theirs come afterwards, as those of modules do.
pub(super) fn open(host: &TestHost) -> Result<(), Error> {
    host.open()?;
    for (number, entry) in (FIRST_LATE..).zip(queries::participants(host)) {
        if entry.kind == PARTICIPANT_AWAITED {
            let name = Compat::parse(&entry.name).expect("a name that was taken over");
            host.register_as(name, number).expect("a handler more");
        }
    }
    let missing = queries::participants(host);
    let missing = missing.iter().filter(|p| p.kind == PARTICIPANT_AWAITED);
    assert_eq!(missing.count(), 0, "it is not taken for who was missing");
    Ok(())
}

/// A machine that boots from a handover, its device not open.
pub(super) fn boot(handed: Handed) -> (TestHost, Result<(), Error>) {
    let host = TestHost::boot(Some(handed), false);
    let admitted = host.admit();
    register(&host);
    host.arm();
    (host, admitted.map(drop))
}
