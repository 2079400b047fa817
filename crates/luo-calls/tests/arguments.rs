// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that nobody has, and arguments that cannot be read or are too short or too
//! long: for each call by its form.

use luo_abi::calls::{Call, DescriptorKind, Form, CALLS};
use luo_abi::errno::Errno;
use luo_abi::extend::MAX_SIZE;
use luo_calls::{on_device, on_session, Instance};
use luo_core::SessionId;
use luo_testhost::TestHost;

use crate::program::{Numbers, Program, ADMINISTRATOR, BASE, LENGTH};

struct Stage {
    host: TestHost,
    instance: Instance,
    session: SessionId,
    program: Program,
}

impl Stage {
    fn new() -> Self {
        let host = TestHost::cold();
        Self {
            instance: Instance::open(&host, ADMINISTRATOR).unwrap(),
            session: host.create("vm"),
            host,
            program: Program::new(Numbers::Early),
        }
    }

    fn call(&self, command: u32, kind: DescriptorKind, address: u64) -> Result<(), Errno> {
        let (host, program) = (&self.host, &self.program);
        match kind {
            DescriptorKind::Device => on_device(host, program, &self.instance, command, address),
            DescriptorKind::Session => on_session(host, program, self.session, command, address),
        }
    }
}

/// The calls, each on each kind of descriptor that takes it.
fn all() -> impl Iterator<Item = (&'static Call, DescriptorKind)> {
    let kinds = [DescriptorKind::Device, DescriptorKind::Session];
    let taken = move |call: &'static Call| {
        let kinds = kinds.into_iter().filter(|&kind| call.on.takes(kind));
        kinds.map(move |kind| (call, kind))
    };
    CALLS.iter().flat_map(taken)
}

#[test]
fn a_descriptor_takes_its_own_calls_and_no_others() {
    let stage = Stage::new();
    for command in 0..=0xff {
        let command = 0xBA00 | command;
        if Call::of(command).is_none() {
            for kind in [DescriptorKind::Device, DescriptorKind::Session] {
                assert_eq!(stage.call(command, kind, BASE), Err(Errno::ENOTTY));
            }
        }
    }
    for call in CALLS {
        for kind in [DescriptorKind::Device, DescriptorKind::Session] {
            let outcome = Stage::new().call(call.command, kind, BASE);
            let foreign = outcome == Err(Errno::ENOTTY);
            assert_eq!(foreign, !call.on.takes(kind), "{} {kind:?}", call.word);
        }
    }
}

#[test]
fn what_cannot_be_read_is_efault() {
    for (call, kind) in all().filter(|(call, _)| call.form != Form::Nothing) {
        let stage = Stage::new();
        let end = BASE + LENGTH as u64;
        for address in [0, BASE - 1, end, end - 1, u64::MAX, u64::MAX - 2] {
            let outcome = stage.call(call.command, kind, address);
            assert_eq!(outcome, Err(Errno::EFAULT), "{} {address:#x}", call.word);
        }
    }
}

#[test]
fn sizes_are_judged_by_the_table() {
    for (call, kind) in all() {
        let Form::Sized { least, known } = call.form else {
            continue;
        };
        let stage = Stage::new();
        let with = |size: usize, odd: Option<usize>| {
            stage.program.put(&[0; 5000]);
            stage.program.put(&(size as u32).to_ne_bytes());
            if let Some(at) = odd {
                let mut bytes = stage.program.bytes(0, at + 1);
                bytes[at] = 1;
                stage.program.put(&bytes);
            }
            stage.call(call.command, kind, BASE)
        };
        for size in [0, 4, least - 1] {
            assert_eq!(with(size, None), Err(Errno::EINVAL), "{} {size}", call.word);
        }
        for size in [MAX_SIZE + 1, u32::MAX as usize] {
            assert_eq!(with(size, None), Err(Errno::E2BIG), "{} {size}", call.word);
        }
        for size in [known + 1, known + 64, known + 65, MAX_SIZE] {
            assert_ne!(with(size, None), Err(Errno::E2BIG), "{} {size}", call.word);
            for at in [known, size - 1] {
                let outcome = with(size, Some(at));
                assert_eq!(outcome, Err(Errno::E2BIG), "{} {size} {at}", call.word);
            }
        }
    }
}

/// What cannot be read whole is not judged by the part that can.
#[test]
fn a_long_argument_is_read_before_it_is_judged() {
    let stage = Stage::new();
    let command = luo_abi::contract::GET_INFO;
    let at = LENGTH - 1024;
    let mut memory = vec![1; LENGTH];
    memory[at..at + 4].copy_from_slice(&(MAX_SIZE as u32).to_ne_bytes());
    stage.program.put(&memory);
    let outcome = stage.call(command, DescriptorKind::Device, BASE + at as u64);
    assert_eq!(outcome, Err(Errno::EFAULT));
}
