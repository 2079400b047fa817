// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What goes beside `luo-v5`: whatever is changed is found, whatever is wrong is
//! told by its name, and a kernel that leaves nothing there is not missed.

use std::sync::OnceLock;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_abi::supplement::{KIND_EDGE, KIND_FILE, KIND_SESSION};
use luo_core::ops::{self, Needed};
use luo_core::{Access, Actor, Area, BadRecord, Error, Refusal};
use proptest::prelude::*;

use crate::support::{compat, Handed, TestHost};

/// Sessions 0 "vm" (tokens 1, 2), 1 "cache" (0xff) and 2 of a device (token 1); 2
/// needs 1, and 0xff needs the device's. Two FLBs, two subsystems.
fn good() -> &'static Handed {
    static GOOD: OnceLock<Handed> = OnceLock::new();
    GOOD.get_or_init(|| {
        let host = TestHost::cold();
        for number in 1..3 {
            host.depend(0, number).unwrap();
            host.subsystem(number).unwrap();
        }
        let (vm, cache, device) = (host.create("vm"), host.create("cache"), host.device());
        host.preserve(vm, 1, 10).unwrap();
        let open = || Ok(host.new_file_with(0, 20, Access::ReadOnly));
        ops::preserve_file(&host, Actor::Administrator, vm, 2, open).unwrap();
        host.preserve(cache, 0xff, 30).unwrap();
        let token = host.register_file(device, 40).unwrap();
        host.needs(vm, 2, Needed::Here(1)).unwrap();
        host.needs(cache, 0xff, Needed::OnDevice(token)).unwrap();
        host.update()
    })
}

/// The parts of a handover that has one page of each kind.
trait Parts {
    /// The page of records.
    fn records(&self) -> u64;
    fn subsystems(&self) -> u64;
    fn count(&self, address: u64) -> usize;
    /// The parts that say something: a page and how much of it.
    fn said(&self) -> Vec<(u64, usize)>;
    fn set_u32(&mut self, address: u64, offset: usize, word: u32);
}

impl Parts for Handed {
    fn records(&self) -> u64 {
        self.word(self.supplement(), 48)
    }

    fn subsystems(&self) -> u64 {
        self.word(self.supplement(), 32)
    }

    fn count(&self, address: u64) -> usize {
        usize::try_from(self.word(address, 8)).unwrap()
    }

    fn said(&self) -> Vec<(u64, usize)> {
        let mut said = vec![
            (self.root, 32),
            (self.flbs(), 16 + 64 * self.count(self.flbs())),
            (self.supplement(), 88),
            (self.subsystems(), 2 * 56),
            (self.sessions(), 16 + 80 * self.count(self.sessions())),
            (self.records(), 16 + 64 * self.count(self.records())),
        ];
        for at in 0..self.count(self.sessions()) {
            said.push((self.files(at), 16 + 64 * self.count(self.files(at))));
        }
        said
    }

    fn set_u32(&mut self, address: u64, offset: usize, word: u32) {
        self.set_bytes(address, offset, &word.to_ne_bytes());
    }
}

/// Boots from it; the refusal, if there is one. What is refused is left as it is.
fn boot(handed: Handed) -> Option<Refusal> {
    let pages = handed.pages.clone();
    let host = TestHost::boot(Some(handed), false);
    host.register(0);
    let admitted = host.admit();
    host.arm();
    let outcome = host.open();
    let refusal = match (admitted, outcome) {
        (Ok(_), Ok(_)) => return None,
        (Err(why), opened) => {
            assert_eq!(opened, Err(why));
            why
        }
        (Ok(_), Err(why)) => why,
    };
    assert_eq!(refusal.errno(), Errno::EIO);
    assert_eq!(host.arrived.lock().unwrap().pages, pages);
    assert_eq!((host.visible().incoming, host.visible().files), (0, 0));
    assert_eq!(host.state(), State::Updated);
    // The machine works on.
    host.create("next");
    match refusal {
        Error::Refused(refusal) => {
            assert!(!refusal.to_string().is_empty());
            Some(refusal)
        }
        other => panic!("{other}"),
    }
}

/// Refused once it is changed and all checksums are right again.
fn sealed(change: impl FnOnce(&mut Handed)) -> Refusal {
    let mut handed = good().clone();
    change(&mut handed);
    handed.seal();
    boot(handed).expect("it was taken over")
}

/// [`sealed`], with chains that cannot be summed up.
fn sealed_root(change: impl FnOnce(&mut Handed)) -> Refusal {
    let mut handed = good().clone();
    change(&mut handed);
    handed.seal_root();
    boot(handed).expect("it was taken over")
}

#[test]
fn each_byte_that_says_something_is_looked_at() {
    assert_eq!(boot(good().clone()), None);
    for (address, len) in good().said() {
        for at in 0..len {
            for bits in [0x01, 0x80, 0xff] {
                let mut handed = good().clone();
                let byte = handed.pages[&address][at];
                handed.set_bytes(address, at, &[byte ^ bits]);
                let refused = boot(handed).is_some();
                assert!(refused, "{address:#x}+{at} ^ {bits:#x}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_change_of_what_is_said_is_found(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut handed = good().clone();
        for (page, at, byte) in changes {
            let (address, len) = good().said()[page.index(good().said().len())];
            handed.set_bytes(address, at.index(len), &[byte]);
        }
        prop_assert_eq!(boot(handed.clone()).is_some(), handed != *good());
    }
}

#[test]
fn seals_are_those_of_the_standard_library() {
    let mut handed = good().clone();
    handed.seal();
    assert_eq!(handed, *good());
}

#[test]
fn the_root_says_what_it_goes_with() {
    let root = good().supplement();
    let version = sealed(|handed| handed.set_bytes(root, 14, b"2"));
    let found = *b"luo-contract-v2\0";
    assert_eq!(version, Refusal::SupplementVersion { found });
    assert!(version.to_string().contains("luo-contract-v2"));
    let update = sealed(|handed| handed.set_word(root, 16, 9));
    assert_eq!(update, Refusal::SupplementUpdate { said: 9, root: 1 });
    let mut handed = good().clone();
    handed.supplement = Some((root, 87));
    assert_eq!(boot(handed), Some(Refusal::RootTooShort { len: 87 }));
    let mut handed = good().clone();
    handed.supplement = Some((0x5000, 88));
    let missing = boot(handed).unwrap();
    let area = Area::Supplement;
    assert!(matches!(missing, Refusal::Page { area: found, .. } if found == area));
    let mut handed = good().clone();
    handed.set_word(root, 80, 0);
    assert!(matches!(boot(handed), Some(Refusal::Checksum { area: found, .. }) if found == area));
}

#[test]
fn counts_have_to_be_right() {
    let root = good().supplement();
    for (said, found) in [(6, 7), (8, 7), (0, 1), (u64::MAX, 7)] {
        let refusal = sealed(|handed| handed.set_word(root, 56, said));
        let Refusal::SupplementCount {
            area,
            said: told,
            found: seen,
        } = refusal
        else {
            panic!("{refusal}");
        };
        assert_eq!((area, told), (Area::Records, said));
        assert_eq!(seen, if said < found { said + 1 } else { found });
    }
    let none = sealed_root(|handed| handed.set_word(root, 48, 0x5000));
    assert!(matches!(
        none,
        Refusal::Page {
            area: Area::Records,
            ..
        }
    ));
    for said in [64, u64::MAX] {
        let refusal = sealed(|handed| handed.set_word(root, 40, said));
        assert!(matches!(
            refusal,
            Refusal::SupplementCount {
                area: Area::Subsystems,
                ..
            }
        ));
    }
    for count in [0, 64] {
        let page = good().records();
        let refusal = sealed_root(|handed| handed.set_word(page, 8, count));
        assert!(matches!(
            refusal,
            Refusal::BlockCount {
                area: Area::Records,
                ..
            }
        ));
    }
}

#[test]
fn no_page_is_reached_twice() {
    let (records, root) = (good().records(), good().supplement());
    for to in [
        records,
        root,
        good().root,
        good().subsystems(),
        good().sessions(),
    ] {
        let refusal = sealed_root(|handed| handed.set_word(records, 0, to));
        let revisited = Refusal::Revisited {
            area: Area::Records,
            address: to,
        };
        assert_eq!(refusal, revisited);
    }
}

/// What is given back to the allocator has been preserved, records on it or not.
#[test]
fn a_page_without_records_has_to_be_there() {
    let root = good().supplement();
    for nowhere in [0x5000, 0x5001, u64::MAX] {
        let refusal = sealed(|handed| {
            handed.set_word(root, 32, nowhere);
            handed.set_word(root, 40, 0);
        });
        let area = Area::Subsystems;
        assert!(
            matches!(refusal, Refusal::Page { area: found, address, .. } if found == area && address == nowhere),
            "{refusal}"
        );
    }
}

#[test]
fn subsystems_have_names_of_their_own() {
    let page = good().subsystems();
    let mut handed = good().clone();
    handed.set_bytes(page, 56, b"subsystem-1");
    handed.seal();
    let twice = Refusal::DuplicateSubsystem(compat("subsystem", 1));
    assert_eq!(boot(handed), Some(twice));
    let nameless = sealed(|handed| handed.set_bytes(page, 0, &[0]));
    assert!(matches!(nameless, Refusal::SubsystemName(_)));
}

/// The refusal of record `at` for being wrong.
fn record(at: usize, kind: u32, why: BadRecord, change: impl FnOnce(&mut Handed, u64, usize)) {
    let refusal = sealed(|handed| {
        let page = handed.records();
        change(handed, page, 16 + 64 * at);
    });
    let at = at as u64;
    assert_eq!(refusal, Refusal::Record { at, kind, why });
}

#[test]
fn records_have_to_make_sense() {
    record(0, 9, BadRecord::Kind, |handed, page, at| {
        handed.set_u32(page, at, 9)
    });
    for (at, kind) in [(1, KIND_FILE), (3, KIND_SESSION), (5, KIND_EDGE)] {
        record(at, kind, BadRecord::Session, |handed, page, at| {
            handed.set_u32(page, at + 4, 3)
        });
    }
    for (at, kind) in [(1, KIND_FILE), (5, KIND_EDGE)] {
        record(at, kind, BadRecord::File, |handed, page, at| {
            handed.set_word(page, at + 8, 77)
        });
    }
    // The second file's record says that it is the first's.
    record(1, KIND_FILE, BadRecord::Duplicate, |handed, page, at| {
        let first = handed.word(page, at - 64 + 8);
        handed.set_word(page, at + 8, first)
    });
    for flags in [0, 1 << 31] {
        record(3, KIND_SESSION, BadRecord::Flags, |handed, page, at| {
            handed.set_u32(page, at + 8, flags)
        });
    }
    record(1, KIND_FILE, BadRecord::Access, |handed, page, at| {
        handed.set_u32(page, at + 24, 3)
    });
    record(5, KIND_EDGE, BadRecord::Session, |handed, page, at| {
        handed.set_u32(page, at + 16, 3)
    });
    record(5, KIND_EDGE, BadRecord::File, |handed, page, at| {
        handed.set_word(page, at + 24, 77)
    });
}

fn edge(
    handed: &mut Handed,
    page: u64,
    at: usize,
    (session, token, on_session, on): (u32, u64, u32, u64),
) {
    handed.set_u32(page, at, KIND_EDGE);
    handed.set_u32(page, at + 4, session);
    handed.set_word(page, at + 8, token);
    handed.set_u32(page, at + 16, on_session);
    handed.set_word(page, at + 24, on);
}

#[test]
fn dependencies_are_declared_once_and_have_no_cycle() {
    record(6, KIND_EDGE, BadRecord::Duplicate, |handed, page, at| {
        edge(handed, page, at, (0, 2, 0, 1));
    });
    // Of itself, of each other, and with one that needs it from outside.
    for (at, declared, files) in [(5, (0, 2, 0, 2), 1), (6, (0, 1, 0, 2), 2)] {
        let refusal = sealed(|handed| {
            let page = handed.records();
            edge(handed, page, 16 + 64 * at, declared);
        });
        assert_eq!(refusal, Refusal::DependencyCycle { files });
    }
}

#[test]
fn tokens_of_a_device_are_unique_and_of_the_past() {
    let future = |handed: &mut Handed| {
        let (files, page) = (handed.files(2), handed.records());
        handed.set_word(files, 16 + 56, 1 << 32 | 1);
        handed.set_word(page, 16 + 64 * 4 + 8, 1 << 32 | 1);
        edge(handed, page, 16 + 64 * 6, (1, 0xff, 2, 1 << 32 | 1));
    };
    record(3, KIND_SESSION, BadRecord::Token, |handed, _, _| {
        future(handed)
    });
    // Twice: the session of "vm" has a token 1 as well.
    record(3, KIND_SESSION, BadRecord::Token, |handed, page, _| {
        handed.set_u32(page, 16, KIND_SESSION);
    });
    // And no session is one of the device twice.
    record(4, KIND_SESSION, BadRecord::Duplicate, |handed, page, at| {
        handed.set_u32(page, at, KIND_SESSION);
    });
}

#[test]
fn marks_of_many_devices_are_read_in_one_go() {
    let host = TestHost::cold();
    for at in 0..10_000 {
        let device = host.device();
        host.register_file(device, at).unwrap();
    }
    let host = host.next();
    assert_eq!(host.visible().incoming, 10_000);
    assert_eq!(host.restore(10_000).unwrap().object, 9_999);
}

#[test]
fn from_a_c_kernel_it_is_not_missed() {
    let host = TestHost::opened(good().clone().plain());
    assert_eq!(host.state(), State::Updated);
    // What a device registered is a session like any other.
    assert_eq!(host.restore(1).err(), Some(Error::NoToken));
    let session = host.claim("liveupdate-device:0.0").unwrap();
    assert_eq!(host.retrieve(session, 1).unwrap().object, 40);
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 2).unwrap().access, Access::Full);
    assert_eq!(host.take_log(), ["retrieve 40", "retrieve 20"]);
    assert_eq!(host.arrived_pages(), 0);
}
