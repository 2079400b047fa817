// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the table says of states is true.

use std::sync::atomic::Ordering;

use luo_abi::calls::{Call, DescriptorKind, Name, CALLS};
use luo_abi::contract::{Dependency, List, UnpreserveFd};
use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, LiveupdateFd, State};
use luo_abi::uapi::{CreateSession, PreserveFd};
use luo_calls::{on_device, on_session, Instance};
use luo_core::ops;
use luo_core::{SessionId, SessionName};
use luo_testhost::TestHost;
use zerocopy::{FromZeros, IntoBytes};

use crate::program::{Numbers, Program, ADMINISTRATOR, BASE};

/// A machine in a state. In UPDATED its session is one of the previous kernel, else an
/// outgoing one, with a file under the token 1 that takes part in the update.
struct Stage {
    host: TestHost,
    instance: Instance,
    session: SessionId,
    program: Program,
}

fn name() -> SessionName {
    luo_testhost::name("vm")
}

/// A machine with the outgoing session, and a file that is registered on the device.
fn cold() -> (TestHost, Instance, SessionId, Program) {
    let host = TestHost::cold();
    let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
    let program = Program::new(Numbers::Early);
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    let fd = program.open(host.new_file(0, 2));
    let argument = LiveupdateFd {
        fd,
        flags: 0,
        token: 0,
    };
    let registered = program.device(&host, &instance, luo_abi::rfc::FD_PRESERVE, &argument);
    assert_eq!(registered, Ok(()));
    (host, instance, session, program)
}

impl Stage {
    fn new(state: State) -> Self {
        let (host, instance, session, program) = cold();
        if state != State::Updated {
            if state != State::Normal {
                ops::prepare(&host).unwrap();
            }
            if state == State::Frozen {
                ops::freeze(&host).unwrap();
            }
            return Self {
                host,
                instance,
                session,
                program,
            };
        }
        host.reboot().unwrap();
        host.begin_kexec();
        drop((instance, program));
        let host = TestHost::warm(host.kexec());
        let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
        ops::catch_up(&host, luo_core::Actor::Administrator, |_| ()).unwrap();
        let session =
            ops::retrieve_session(&host, luo_core::Actor::Administrator, &name()).unwrap();
        Self {
            host,
            instance,
            session,
            program: Program::new(Numbers::Early),
        }
    }

    fn call(&self, call: &Call) -> Result<(), Errno> {
        self.program.put(&self.argument(call));
        let (host, program) = (&self.host, &self.program);
        match call.on.takes(DescriptorKind::Session) {
            true => on_session(host, program, self.session, call.command, BASE),
            false => on_device(host, program, &self.instance, call.command, BASE),
        }
    }

    /// An argument with which nothing is wrong.
    fn argument(&self, call: &Call) -> Vec<u8> {
        let size = call.form.known() as u32;
        let fd = self.program.open(self.host.new_file(0, 77));
        let mut other = [0; 64];
        other[..5].copy_from_slice(b"other");
        match call.name {
            Name::CreateSession => {
                let name = other;
                CreateSession { size, fd, name }.as_bytes().to_vec()
            }
            Name::RetrieveSession => {
                let name = *name().room();
                CreateSession { size, fd, name }.as_bytes().to_vec()
            }
            Name::PreserveFd => PreserveFd { size, fd, token: 2 }.as_bytes().to_vec(),
            Name::RetrieveFd => PreserveFd { size, fd, token: 1 }.as_bytes().to_vec(),
            Name::UnpreserveFd => {
                let mut argument = UnpreserveFd::new_zeroed();
                (argument.size, argument.token) = (size, 1);
                argument.as_bytes().to_vec()
            }
            Name::AddDependency | Name::DropDependency => {
                let mut argument = Dependency::new_zeroed();
                argument.size = size;
                (argument.token, argument.on_token) = (1, 9);
                argument.as_bytes().to_vec()
            }
            Name::FdPreserve => {
                let argument = LiveupdateFd {
                    fd,
                    flags: 0,
                    token: 0,
                };
                argument.as_bytes().to_vec()
            }
            Name::FdUnpreserve => 1u64.as_bytes().to_vec(),
            Name::FdRestore => {
                let argument = LiveupdateFd {
                    fd: -1,
                    flags: 0,
                    token: 1,
                };
                argument.as_bytes().to_vec()
            }
            _ => {
                let mut argument = vec![0; call.form.known()];
                if call.list.is_some() {
                    let mut list = List::new_zeroed();
                    list.entry_size = 96;
                    list.token = u64::from(call.name == Name::ListDependencies);
                    argument.copy_from_slice(list.as_bytes());
                }
                if argument.len() > 4 {
                    argument[..4].copy_from_slice(&size.to_ne_bytes());
                }
                argument
            }
        }
    }
}

#[test]
fn a_call_is_refused_in_the_states_that_the_table_says() {
    for state in State::ALL {
        for call in CALLS {
            let stage = Stage::new(state);
            let before = stage.host.engine(|engine| engine.state());
            assert_eq!(before, state);
            let outcome = stage.call(call);
            let what = format!("{} in {state}", call.word);
            match call.when.refusal(state) {
                Some(errno) => assert_eq!(outcome, Err(errno), "{what}"),
                None => {
                    // Elsewhere it may be wrong for another reason, of which the table
                    // knows.
                    let known = outcome.err().is_none_or(|errno| call.may_answer(errno));
                    assert!(known, "{what}: {outcome:?}");
                    assert_ne!(outcome, Err(Errno::EBUSY), "{what} is refused");
                }
            }
        }
    }
}

/// The engine has a table of the events of its own.
#[test]
fn an_event_is_legal_where_the_engine_says() {
    let events = [
        (Name::EventPrepare, Event::Prepare),
        (Name::EventFreeze, Event::Freeze),
        (Name::EventCancel, Event::Cancel),
        (Name::EventFinish, Event::Finish),
    ];
    for (name, event) in events {
        let call = CALLS.iter().find(|call| call.name == name).unwrap();
        for state in State::ALL {
            let legal = luo_core::transition(event, state).is_some();
            assert_eq!(
                call.when.refusal(state).is_none(),
                legal,
                "{event} in {state}"
            );
        }
    }
}

/// A host charges nobody for an event, and each caller for all else.
#[test]
fn an_event_alone_is_for_all() {
    let (host, instance, _, program) = cold();
    for call in CALLS
        .iter()
        .filter(|call| call.on.takes(DescriptorKind::Device))
    {
        let before = host.for_all.load(Ordering::SeqCst);
        // Whatever comes of it: no argument is given.
        let _ = on_device(&host, &program, &instance, call.command, 0);
        let is_event = call.word.starts_with("EVENT_");
        let was = host.for_all.load(Ordering::SeqCst) - before;
        assert_eq!(was, u64::from(is_event), "{}", call.word);
        assert_eq!(call.moves, is_event, "{}", call.word);
    }
}
