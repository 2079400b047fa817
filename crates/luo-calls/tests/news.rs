// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an open of the device knows, and what the log says.

use luo_abi::contract::{Info, GET_INFO};
use luo_abi::errno::Errno;
use luo_abi::rfc::{State, GET_STATE};
use luo_calls::{close_session, Instance, Level};
use luo_core::ops;
use luo_testhost::{Call, TestHost};
use zerocopy::FromZeros;

use crate::program::{Numbers, Program, ADMINISTRATOR};

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
    let _first = Instance::open(&host, ADMINISTRATOR).unwrap();
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
    // The next open tries again, and this time it succeeds.
    let _second = Instance::open(&host, ADMINISTRATOR).unwrap();
    assert_eq!(said(), []);
    assert_eq!(
        host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0))
            .incoming,
        0
    );
}
