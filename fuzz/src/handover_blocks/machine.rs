// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine that boots from a handover.

use std::sync::atomic::Ordering;

use luo_core::{Compat, Error};
use luo_testhost::{Handed, TestHandler, TestHost};

/// The participants that the good handovers know.
fn register(host: &TestHost) {
    host.foreign.store(true, Ordering::SeqCst);
    for number in 0..2 {
        host.register(number);
    }
    let memfd = Compat::try_from("memfd-v2").expect("a name");
    let known = host.engine(|engine| engine.register_handler(memfd, TestHandler(2)));
    known.expect("a handler more");
    for number in 1..3 {
        host.depend(0, number).expect("an FLB");
        host.subsystem(number).expect("a subsystem");
    }
}

/// A machine that boots from a handover, its device not open.
pub(super) fn boot(handed: Handed) -> (TestHost, Result<(), Error>) {
    let host = TestHost::boot(Some(handed), false);
    let admitted = host.admit();
    register(&host);
    host.arm();
    (host, admitted.map(drop))
}
