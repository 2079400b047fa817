// SPDX-License-Identifier: MIT OR Apache-2.0
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A state in which each byte of each record is another one than its neighbours'.
fn made_up() -> State {
    let mut next = 0u8;
    let mut bytes = |length: usize| -> Vec<u8> {
        let mut byte = || {
            next = next.wrapping_mul(5).wrapping_add(3);
            next
        };
        (0..length).map(|_| byte()).collect()
    };
    macro_rules! structure {
        ($kind:ty) => {
            <$kind>::read_from_bytes(&bytes(size_of::<$kind>())).unwrap()
        };
    }
    let chips = [0, 1, 2].map(|chip_id| kvm_irqchip {
        chip_id,
        ..structure!(kvm_irqchip)
    });
    State {
        ram: 256 << 20,
        clocks: Stopped {
            kvmclock_ns: 0x0102_0304_0506_0708,
            ticks: 0x1112_1314_1516_1718,
            tsc_offset: 0xf1f2_f3f4_f5f6_f7f8,
            tsc_khz: 2_400_000,
        },
        devices: Devices {
            pit: structure!(kvm_pit_state2),
            chips,
            serial: SerialState {
                in_buffer: b"input".to_vec(),
                ..SerialState::default()
            },
            doorbell: None,
        },
        vcpus: vec![Vcpu {
            cpuid: (0..3).map(|_| structure!(kvm_cpuid_entry2)).collect(),
            mp_state: structure!(kvm_mp_state),
            regs: structure!(kvm_regs),
            sregs: structure!(kvm_sregs),
            xsave: structure!(kvm_xsave),
            xcrs: structure!(kvm_xcrs),
            debug: structure!(kvm_debugregs),
            lapic: structure!(kvm_lapic_state),
            msrs: (0..5).map(|_| structure!(kvm_msr_entry)).collect(),
            events: structure!(kvm_vcpu_events),
            tsc_offset: 0xf1f2_f3f4_f5f6_f7f8,
        }],
        writer: "luo-vmm 0.1.0".to_owned(),
        told: 0x1112_1314_1516_1700,
    }
}

/// The same with a second processor, whose counter is another one.
fn with_two() -> State {
    let mut state = made_up();
    let mut other = made_up().vcpus.remove(0);
    other.regs.rip = 4711;
    other.tsc_offset = 42;
    state.vcpus.push(other);
    state
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// The file is what version 0.1.0 writes. A program that writes other bytes has changed a kind of
/// record, which is against the rules: make a new kind, and a new file.
#[test]
fn what_0_1_0_wrote_is_what_is_written_now() {
    let bytes = made_up().encode();
    let path = golden("state-0.1.0.bin");
    if std::env::var_os("LUO_VMM_WRITE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(bytes == std::fs::read(&path).unwrap(), "{}", path.display());
}

#[test]
fn what_0_1_0_wrote_is_read_and_means_the_same() {
    let bytes = std::fs::read(golden("state-0.1.0.bin")).unwrap();
    let state = State::decode(&bytes).unwrap();
    assert_eq!((state.ram, state.clocks), (256 << 20, made_up().clocks));
    assert_eq!(state.devices.serial, made_up().devices.serial);
    assert_eq!(state.vcpus.len(), 1);
    assert_eq!(state.vcpus[0].regs, made_up().vcpus[0].regs);
    assert_eq!(state.vcpus[0].tsc_offset, state.clocks.tsc_offset);
    assert_eq!(state.writer, "luo-vmm 0.1.0");
    assert_eq!(state.told, made_up().told);
    // The rest is compared as bytes.
    assert!(state.encode() == bytes);
}

#[test]
fn each_processor_is_written_and_read_by_its_number() {
    let bytes = with_two().encode();
    let state = State::decode(&bytes).unwrap();
    assert_eq!(state.vcpus.len(), 2);
    assert_eq!(state.vcpus[0].regs, made_up().vcpus[0].regs);
    assert_eq!(state.vcpus[1].regs.rip, 4711);
    let offsets: Vec<_> = state.vcpus.iter().map(|vcpu| vcpu.tsc_offset).collect();
    assert_eq!(offsets, [made_up().clocks.tsc_offset, 42]);
    assert!(state.encode() == bytes);
    // One that is left out between others, and more than there can be.
    let numbered = |to: u32| {
        let mut records: Vec<u8> = Vec::new();
        for record in parse(&bytes).unwrap() {
            let which = if record.which == 1 && record.kind != CHIP {
                to
            } else {
                record.which
            };
            append(&mut records, &Record { which, ..record });
        }
        State::decode(&records).err()
    };
    assert_eq!(numbered(2), Some(Refusal::Missing { kind: CPUID }));
    let what = "which of its kind it is";
    assert!(matches!(numbered(8), Some(Refusal::Number { what: found, .. }) if found == what));
}

#[test]
fn a_state_without_a_doorbell_is_one_of_ram_alone() {
    assert_eq!(
        State::decode(&made_up().encode()).unwrap().devices.doorbell,
        None
    );
    let mut state = made_up();
    state.devices.doorbell = Some(0x0102_0304_0506_0708);
    let bytes = state.encode();
    let read = State::decode(&bytes).unwrap();
    assert_eq!(read.devices.doorbell, state.devices.doorbell);
    assert!(read.encode() == bytes);
    let cut = changed(|records| records.push((DOORBELL, true, 0, vec![1; 7])));
    assert_eq!(
        cut.err(),
        Some(Refusal::Size {
            kind: DOORBELL,
            found: 7
        })
    );
}

/// The records of a made-up state, changed.
fn changed(change: impl Fn(&mut Vec<(u32, bool, u32, Vec<u8>)>)) -> Result<State, Refusal> {
    let bytes = made_up().encode();
    let records = parse(&bytes).unwrap();
    let mut records: Vec<_> = records
        .iter()
        .map(|record| {
            let content = record.content.to_vec();
            (record.kind, record.required, record.which, content)
        })
        .collect();
    change(&mut records);
    let mut to = Vec::new();
    for (kind, required, which, content) in &records {
        let (kind, required, which) = (*kind, *required, *which);
        append(
            &mut to,
            &Record {
                kind,
                required,
                which,
                content,
            },
        );
    }
    State::decode(&to)
}

#[test]
fn a_newer_states_record_is_passed_over_unless_it_is_required() {
    let with = |required| changed(move |records| records.push((77, required, 0, vec![1, 2, 3])));
    assert!(with(false).is_ok());
    assert_eq!(with(true).err(), Some(Refusal::Unknown { kind: 77 }));
}

#[test]
fn each_required_record_that_is_missing_is_named_and_the_other_is_not_missed() {
    for kind in KNOWN {
        let read = changed(|records| records.retain(|record| record.0 != kind));
        match kind {
            WRITER => assert_eq!(read.ok().unwrap().writer, ""),
            TOLD => assert_eq!(read.ok().unwrap().told, made_up().clocks.ticks),
            // One processor has none, and nor has a guest of which RAM alone goes along.
            OFFSET | DOORBELL => assert!(read.is_ok()),
            kind => assert_eq!(read.err(), Some(Refusal::Missing { kind })),
        }
    }
}

#[test]
fn a_record_of_another_length_twice_or_of_one_too_many_is_refused() {
    let there = |kind: &u32| ![WRITER, OFFSET, DOORBELL].contains(kind);
    for kind in KNOWN.into_iter().filter(there) {
        for by in [-1, 1] {
            let read = changed(|records| {
                let mut records = records.iter_mut();
                let record = records.find(|record| record.0 == kind).unwrap();
                let length = record.3.len().checked_add_signed(by).unwrap();
                record.3.resize(length, 0);
            });
            assert!(
                matches!(read.err(), Some(Refusal::Size { kind: found, .. }) if found == kind),
                "{kind} by {by}"
            );
        }
        let copy = |records: &mut Vec<(u32, bool, u32, Vec<u8>)>| {
            let record = records.iter().find(|record| record.0 == kind).unwrap();
            records.push(record.clone());
        };
        assert_eq!(changed(copy).err(), Some(Refusal::Twice { kind }));
        let read = changed(|records| {
            copy(records);
            records.last_mut().unwrap().2 = most(kind);
        });
        let what = "which of its kind it is";
        assert_eq!(read.err(), Some(Refusal::Number { kind, what }));
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let with = |kind: u32, from: usize, bytes: &'static [u8]| {
        changed(move |records| {
            let mut records = records.iter_mut();
            let record = records.find(|record| record.0 == kind).unwrap();
            record.3[from..from + bytes.len()].copy_from_slice(bytes);
        })
        .err()
    };
    let number = |kind, what| Some(Refusal::Number { kind, what });
    let ram = "bytes of RAM";
    assert_eq!(with(RAM, 0, &[0; 8]), number(RAM, ram));
    assert_eq!(with(RAM, 0, &[0xff; 8]), number(RAM, ram));
    let khz = "ticks in a millisecond";
    assert_eq!(with(CLOCKS, 24, &[0; 4]), number(CLOCKS, khz));
    let zero = "what has to be zero";
    assert_eq!(with(CLOCKS, 28, &[1]), number(CLOCKS, zero));
    let chip = "which interrupt controller it is";
    assert_eq!(with(CHIP, 0, &[2]), number(CHIP, chip));
    // More in the port's buffer than there is.
    let refused = with(SERIAL, 9, &[64]);
    assert!(matches!(refused, Some(Refusal::Size { kind: SERIAL, .. })));
}

#[test]
fn a_text_of_a_stranger_is_bounded_and_harmless() {
    let with = |text: &'static [u8]| {
        let read = changed(move |records| {
            let mut records = records.iter_mut();
            let record = records.find(|record| record.0 == WRITER).unwrap();
            record.3 = text.to_vec();
        });
        let text = read.ok().unwrap().writer;
        assert!(text.len() <= TEXT && !text.contains(char::is_control));
        text
    };
    assert_eq!(with(b"a\n\x1b[31mb"), "a[31mb");
    assert_eq!(with(&[b'x'; 70]), "x".repeat(64));
    // Three bytes stand in place of each.
    assert_eq!(with(&[0xff; 70]).chars().count(), 21);
}

#[test]
fn lists_have_a_limit() {
    let many = |kind: u32, bytes: usize| {
        let read = changed(|records| {
            let mut records = records.iter_mut();
            let record = records.find(|record| record.0 == kind).unwrap();
            record.3 = vec![0; bytes];
        });
        read.is_ok()
    };
    assert!(many(CPUID, MOST_CPUID * 40));
    assert!(!many(CPUID, (MOST_CPUID + 1) * 40));
    assert!(many(MSRS, MOST_MSRS * 16));
    assert!(!many(MSRS, (MOST_MSRS + 1) * 16));
}

#[test]
fn a_state_has_room_with_the_longest_lists() {
    let mut state = made_up();
    for vcpu in &mut state.vcpus {
        vcpu.cpuid = vec![kvm_cpuid_entry2::default(); MOST_CPUID];
        vcpu.msrs = vec![kvm_msr_entry::default(); MOST_MSRS];
    }
    while state.vcpus.len() < MOST_VCPUS {
        let other = with_two().vcpus.remove(1);
        state.vcpus.push(Vcpu {
            cpuid: vec![kvm_cpuid_entry2::default(); MOST_CPUID],
            msrs: vec![kvm_msr_entry::default(); MOST_MSRS],
            ..other
        });
    }
    let bytes = state.encode().len() as u64;
    assert!(
        bytes + luo_monitor::head::HEAD <= crate::begin::ROOM,
        "{bytes}"
    );
}

proptest! {
    #[test]
    fn nothing_panics(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = made_up().encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = State::decode(&bytes);
        let _ = State::decode(&bytes[..cut.index(bytes.len())]);
    }
}
