// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may make a call: judged when it is made, not when the device was opened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use luo_abi::calls::{DescriptorKind, Who, CALLS};
use luo_abi::contract::{FileInfo, LIST_FILES};
use luo_abi::errno::Errno;
use luo_abi::rfc::GET_STATE;
use luo_calls::{on_device, on_session, Identity, Instance};
use luo_core::mem::fault;
use luo_core::ops;
use luo_testhost::script::Call;
use luo_testhost::TestHost;

use crate::lists::asked;
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
        if call.on.takes(DescriptorKind::Device) {
            answer(on_device(&host, &program, &instance, call.command, NOWHERE));
        }
        if call.on.takes(DescriptorKind::Session) {
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

/// Who stands in line for a step and has begun nothing can be killed there.
#[test]
fn who_is_killed_before_an_open_or_a_query_has_done_nothing() {
    let host = TestHost::cold();
    host.one_opener.store(true, Ordering::SeqCst);
    let session = host.create("vm");
    host.preserve(session, 1, 10).unwrap();
    let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
    let program = Program::new(Numbers::Early);
    let killed = || host.kills_before.store(true, Ordering::SeqCst);
    let lives = || host.kills_before.store(false, Ordering::SeqCst);
    // That is the first look of the first call.
    killed();
    let get_state = || program.device(&host, &instance, GET_STATE, &0u32);
    assert_eq!(get_state(), Err(Errno::EAGAIN));
    lives();
    assert_eq!(get_state(), Ok(()));
    killed();
    let listed = program.session(&host, session, LIST_FILES, &asked(size_of::<FileInfo>()));
    assert_eq!(listed, Err(Errno::EAGAIN));
    assert_eq!(get_state(), Err(Errno::EAGAIN));
    let another = Identity {
        uid: 1000,
        privileged: false,
    };
    assert_eq!(Instance::open(&host, another).err(), Some(Errno::EAGAIN));
    lives();
    // The one who was killed has not opened it.
    assert!(Instance::open(&host, another).is_ok());
    assert_eq!(get_state(), Ok(()));
}

/// Others may wait for whoever opens the device that have nothing to do with it.
#[test]
fn an_open_is_one_step_that_waits_in_no_line_and_for_no_memory() {
    let host = TestHost::cold();
    host.one_opener.store(true, Ordering::SeqCst);
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    host.set_hook(move |_, call, _| {
        counted.fetch_add((call == Call::Step).into(), Ordering::SeqCst);
    });
    let mut opens = 0;
    let mut open = |who| {
        let opened = Instance::open(&host, who);
        opens += 1;
        assert_eq!(host.steps_at_once.load(Ordering::SeqCst), opens);
        assert_eq!(steps.load(Ordering::SeqCst), opens);
        opened
    };
    let users = [0, 1000].map(|uid| Identity {
        uid,
        privileged: false,
    });
    let rooms = fault::rooms();
    for who in [ADMINISTRATOR].into_iter().chain(users) {
        fault::wait_after(0);
        let refused = open(who).err();
        // The administrator's asks for none.
        let asked = !fault::disarm();
        assert_eq!(refused, asked.then_some(Errno::ENOMEM));
        if asked {
            assert!(open(who).is_ok());
        }
        assert_eq!(open(who).err(), Some(Errno::EBUSY));
    }
    assert_eq!(fault::rooms(), rooms);
}
