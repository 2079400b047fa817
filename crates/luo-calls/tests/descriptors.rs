// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that give a descriptor, on hosts that know its number early and late.

use luo_abi::errno::Errno;
use luo_abi::rfc::{LiveupdateFd, FD_PRESERVE, FD_RESTORE};
use luo_abi::uapi::{
    CreateSession, RetrieveFd, CREATE_SESSION, RETRIEVE_SESSION, SESSION_RETRIEVE_FD,
};
use luo_calls::Instance;
use luo_testhost::{Handed, TestHost};

use crate::program::{Numbers, Program, Thing, ADMINISTRATOR};

const BOTH: [Numbers; 2] = [Numbers::Early, Numbers::Late];

fn named(text: &str) -> CreateSession {
    CreateSession {
        size: 72,
        fd: 99,
        name: *luo_testhost::name(text).room(),
    }
}

fn token(token: u64) -> RetrieveFd {
    RetrieveFd {
        size: 16,
        fd: 99,
        token,
    }
}

/// What a kernel leaves that had a session "vm" with a file under the token 1, and a
/// file that was registered on the device, which got the token 1, too.
fn handed() -> Handed {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
    let program = Program::new(Numbers::Early);
    let fd = program.open(host.new_file(0, 2));
    let argument = LiveupdateFd {
        fd,
        flags: 0,
        token: 0,
    };
    let registered = program.device(&host, &instance, FD_PRESERVE, &argument);
    assert_eq!(registered, Ok(()));
    assert_eq!(program.argument::<LiveupdateFd>().token, 1);
    host.reboot().unwrap();
    host.begin_kexec();
    drop((instance, program));
    host.kexec()
}

fn outgoing(host: &TestHost) -> u64 {
    host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0))
        .outgoing
}

#[test]
fn the_answer_has_the_number_of_the_descriptor() {
    for numbers in BOTH {
        let (host, program) = (TestHost::warm(handed()), Program::new(numbers));
        let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
        let device = |command, text| {
            let done = program.device(&host, &instance, command, &named(text));
            assert_eq!(done, Ok(()), "{numbers:?}");
            program.argument::<CreateSession>().fd
        };
        assert_eq!(device(CREATE_SESSION, "new"), 0);
        assert_eq!(device(RETRIEVE_SESSION, "vm"), 1);
        let Some(Thing::Session(id)) = program.descriptors.borrow().get(&1).cloned() else {
            panic!("no session");
        };
        let done = program.session(&host, id, SESSION_RETRIEVE_FD, &token(1));
        assert_eq!(done, Ok(()));
        assert_eq!(program.argument::<RetrieveFd>().fd, 2);
        let restore = LiveupdateFd {
            fd: 99,
            flags: 0,
            token: 1,
        };
        let done = program.device(&host, &instance, FD_RESTORE, &restore);
        assert_eq!(done, Ok(()));
        assert_eq!(program.argument::<LiveupdateFd>().fd, 3);
        assert_eq!(program.descriptors.borrow().len(), 4);
    }
}

/// Whatever cannot be given, because no descriptor is free or the answer cannot be
/// written, has not happened: it succeeds afterwards.
#[test]
fn what_cannot_be_given_has_not_happened() {
    for numbers in BOTH {
        for (room, writable, errno) in [(0, usize::MAX, Errno::EMFILE), (8, 0, Errno::EFAULT)] {
            let host = TestHost::warm(handed());
            let program = Program::new(numbers);
            let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
            let odd = |call: &dyn Fn() -> Result<(), Errno>| {
                let before = program.descriptors.borrow().len();
                let (old, size) = (program.room.get(), program.writable.get());
                program.room.set(room.min(before));
                if room > 0 {
                    program.room.set(old);
                }
                program.writable.set(writable);
                for _ in 0..2 {
                    assert_eq!(call(), Err(errno), "{numbers:?}");
                    assert_eq!(program.descriptors.borrow().len(), before);
                }
                program.room.set(old);
                program.writable.set(size);
                assert_eq!(call(), Ok(()), "{numbers:?}");
                assert_eq!(program.descriptors.borrow().len(), before + 1);
            };
            odd(&|| program.device(&host, &instance, CREATE_SESSION, &named("new")));
            assert_eq!(outgoing(&host), 1);
            odd(&|| program.device(&host, &instance, RETRIEVE_SESSION, &named("vm")));
            let Some(Thing::Session(id)) = program.descriptors.borrow().get(&1).cloned() else {
                panic!("no session");
            };
            odd(&|| program.session(&host, id, SESSION_RETRIEVE_FD, &token(1)));
            let restore = LiveupdateFd {
                fd: 99,
                flags: 0,
                token: 1,
            };
            odd(&|| program.device(&host, &instance, FD_RESTORE, &restore));
        }
    }
}

/// A host that knows the number early says that none is free before anything else is
/// looked at that the call is about.
#[test]
fn no_descriptor_comes_before_a_name_that_is_taken() {
    let (host, program) = (TestHost::cold(), Program::new(Numbers::Early));
    let instance = Instance::open(&host, ADMINISTRATOR).unwrap();
    host.create("vm");
    program.room.set(0);
    let done = program.device(&host, &instance, CREATE_SESSION, &named("vm"));
    assert_eq!(done, Err(Errno::EMFILE));
    let mut nameless = named("vm");
    nameless.name.fill(b'x');
    let done = program.device(&host, &instance, CREATE_SESSION, &nameless);
    assert_eq!(done, Err(Errno::EINVAL));
}
