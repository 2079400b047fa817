// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may make a call: judged when it is made, not when the device was opened.

use luo_abi::calls::{Kind, Who, CALLS};
use luo_abi::errno::Errno;
use luo_calls::{on_device, on_session, Identity, Instance};
use luo_core::ops;
use luo_testhost::TestHost;

use crate::program::{Numbers, Program, ADMINISTRATOR};

/// An address that is not the program's.
const NOWHERE: u64 = 0;

#[test]
fn what_moves_or_shows_the_machine_is_refused_before_its_argument_is_read() {
    let host = TestHost::cold();
    let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
    let session = host.create("vm");
    let program = Program::new(Numbers::Early);
    program.identity.set(Identity {
        uid: 1000,
        privileged: false,
    });
    for call in CALLS {
        let refused = call.who == Who::Administrator;
        let answer = |result: Result<(), Errno>| {
            assert_eq!(result == Err(Errno::EACCES), refused, "{}", call.word);
        };
        if call.on.takes(Kind::Device) {
            answer(on_device(&host, &program, &instance, call.command, NOWHERE));
        }
        if call.on.takes(Kind::Session) {
            answer(on_session(&host, &program, session, call.command, NOWHERE));
        }
    }
    // No event has moved the machine, and one that may moves it.
    program.identity.set(Identity {
        uid: 1000,
        privileged: true,
    });
    let prepare = luo_abi::rfc::EVENT_PREPARE;
    assert_eq!(on_device(&host, &program, &instance, prepare, 0), Ok(()));
    let _ = ops::cancel(&host);
}
