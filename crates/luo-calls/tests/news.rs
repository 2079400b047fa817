// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an open of the device knows, and what the log says.

use luo_abi::contract::{Info, GET_INFO};
use luo_abi::errno::Errno;
use luo_abi::rfc::{State, GET_STATE};
use luo_calls::{close_session, Identity, Instance, Level};
use luo_core::ops;
use luo_testhost::{Call, TestHost};
use zerocopy::FromZeros;

use crate::program::{Numbers, Program, ADMINISTRATOR};

const USER: Identity = Identity {
    uid: 1000,
    privileged: false,
};

fn changes(host: &TestHost) -> u64 {
    host.engine(|engine| engine.state_changes())
}

#[test]
fn who_has_read_the_state_has_no_news() {
    let (host, program) = (TestHost::cold(), Program::new(Numbers::Early));
    let (first, second) = (
        Instance::open(&host, ADMINISTRATOR),
        Instance::open(&host, ADMINISTRATOR),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(!first.has_news(changes(&host)));
    ops::prepare(&host).unwrap();
    assert!(first.has_news(changes(&host)) && second.has_news(changes(&host)));
    let read = program.device(&host, &first, GET_STATE, &0u32);
    assert_eq!(read, Ok(()));
    assert_eq!(program.argument::<u32>(), State::Prepared as u32);
    assert!(!first.has_news(changes(&host)) && second.has_news(changes(&host)));
    let mut info = Info::new_zeroed();
    info.size = size_of::<Info>() as u32;
    assert_eq!(program.device(&host, &second, GET_INFO, &info), Ok(()));
    assert!(!second.has_news(changes(&host)));
    assert_eq!(program.told.get(), 2);
    // A program that could not be answered does not know the state.
    ops::cancel(&host).unwrap();
    program.writable.set(0);
    let read = program.device(&host, &first, GET_STATE, &0u32);
    assert_eq!(read, Err(Errno::EFAULT));
    assert!(first.has_news(changes(&host)));
    assert_eq!(program.told.get(), 2);
}

#[test]
fn the_log_says_what_nobody_can_be_told() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    host.reboot().unwrap();
    let host = TestHost::warm(host.kexec());
    let said = || std::mem::take(&mut *host.said.lock().unwrap());
    let program = Program::new(Numbers::Early);
    let first = Instance::open(&host, ADMINISTRATOR).unwrap();
    // An open only opens: the host may have locks then that callbacks need.
    assert_eq!((said(), host.take_log()), (vec![], vec![]));
    program.device(&host, &first, GET_STATE, &0u32).unwrap();
    let took_over = "took over sessions: 1, files: 1".to_owned();
    assert_eq!(said(), [(Level::Info, took_over)]);
    let session = ops::retrieve_session(
        &host,
        luo_core::Actor::Administrator,
        &luo_testhost::name("vm"),
    )
    .unwrap();
    host.fail(Call::CanFinish, 0, Errno::EBUSY);
    close_session(&host, session);
    let warned = said();
    assert!(
        matches!(&warned[..], [(Level::Warning, text)]
            if text.starts_with("session \"vm\" was closed but is not finished: ")),
        "{warned:?}"
    );
    // It is not tried again by one who has the device open already, nor by an open.
    host.take_log();
    program.device(&host, &first, GET_STATE, &0u32).unwrap();
    let second = Instance::open(&host, ADMINISTRATOR).unwrap();
    assert_eq!(host.take_log(), [""; 0]);
    // A user's calls run no callbacks of others.
    let stranger = Instance::open(&host, USER).unwrap();
    let user = Program::new(Numbers::Early);
    user.identity.set(USER);
    user.device(&host, &stranger, GET_STATE, &0u32).unwrap();
    assert_eq!(host.take_log(), [""; 0]);
    // The first call on the next one tries again, and this time it succeeds.
    program.device(&host, &second, GET_STATE, &0u32).unwrap();
    assert_ne!(host.take_log(), [""; 0]);
    assert_eq!(said(), []);
    assert_eq!(
        host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0))
            .incoming,
        0
    );
}
