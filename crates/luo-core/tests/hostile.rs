// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Damaged handovers: whatever the bytes are, they are taken over whole or
//! refused whole, with no more reading than there are pages.

use std::sync::OnceLock;

use luo_abi::contract::PARTICIPANT_AWAITED;
use luo_core::ops::{self, MAX_PAGE};
use luo_core::Error;
use proptest::prelude::*;

use crate::support::{handed, Handed, TestHost};

/// A handover with chains of two blocks, several sessions, and FLBs.
fn good() -> &'static Handed {
    static GOOD: OnceLock<Handed> = OnceLock::new();
    GOOD.get_or_init(|| {
        let host = TestHost::cold();
        host.depend(0, 1).unwrap();
        host.depend(0, 2).unwrap();
        for at in 0..54u64 {
            let session = host.create(&format!("s{at}"));
            let files = if at == 3 { 65 } else { at % 3 };
            for token in 0..files {
                host.preserve(session, token, at * 100 + token).unwrap();
            }
        }
        // Without digests, which would find nearly all of it first.
        host.update().plain()
    })
}

#[derive(Clone, Debug)]
enum Damage {
    Bit {
        page: usize,
        bit: usize,
    },
    Byte {
        page: usize,
        at: usize,
        byte: u8,
    },
    /// A word that may be an address, a count or a handle.
    Word {
        page: usize,
        at: usize,
        word: u64,
    },
    /// A word that is the address of some page, or near one.
    Link {
        page: usize,
        at: usize,
        to: usize,
        off: u64,
    },
    Root {
        to: usize,
        off: u64,
    },
    Len(usize),
}

/// Where damage tells: in the first records, and now and then anywhere.
fn word_index() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..24, 1 => 0usize..512]
}

fn damage() -> impl Strategy<Value = Damage> {
    let any_page = any::<prop::sample::Index>();
    let pages = good().pages.len();
    let page = any_page.prop_map(move |index| index.index(pages));
    let word = prop_oneof![0u64..130, any::<u64>(), Just(u64::MAX), Just(1 << 63)];
    let off = prop_oneof![3 => Just(0u64), 1 => 1u64..0x2000];
    prop_oneof![
        (page.clone(), 0..4096usize * 8).prop_map(|(page, bit)| Damage::Bit { page, bit }),
        (page.clone(), 0..400usize, any::<u8>()).prop_map(|(page, at, byte)| Damage::Byte {
            page,
            at,
            byte
        }),
        (page.clone(), word_index(), word).prop_map(|(page, at, word)| Damage::Word {
            page,
            at,
            word
        }),
        (page.clone(), word_index(), page.clone(), off.clone())
            .prop_map(|(page, at, to, off)| Damage::Link { page, at, to, off }),
        (page, off).prop_map(|(to, off)| Damage::Root { to, off }),
        (0..4097usize).prop_map(Damage::Len),
    ]
}

fn apply(handed: &mut Handed, damage: &Damage) {
    let addresses: Vec<u64> = handed.pages.keys().copied().collect();
    match *damage {
        Damage::Bit { page, bit } => {
            let page = handed.pages.get_mut(&addresses[page]).unwrap();
            page[bit / 8] ^= 1 << (bit % 8);
        }
        Damage::Byte { page, at, byte } => handed.set_bytes(addresses[page], at, &[byte]),
        Damage::Word { page, at, word } => handed.set_word(addresses[page], at * 8, word),
        Damage::Link { page, at, to, off } => {
            let to = addresses[to].wrapping_add(off);
            handed.set_word(addresses[page], at * 8, to);
        }
        Damage::Root { to, off } => handed.root = addresses[to].wrapping_add(off),
        Damage::Len(len) => handed.len = len,
    }
}

fn check(handed: Handed) -> Result<(), TestCaseError> {
    let pages = handed.pages.clone();
    let host = TestHost::warm(handed);
    let before = host.visible();
    let outcome = host.open();
    prop_assert!(host.arrived.lock().unwrap().reads <= pages.len() + 1);
    match outcome {
        Ok(_) => {
            let (sessions, files) = host.taken_over().unwrap();
            let visible = host.visible();
            prop_assert_eq!((visible.incoming, visible.files), (sessions, files));
            // A name that was damaged is that of a handler which is not here.
            let waiting: u64 = ops::list_participants(&host, 0, MAX_PAGE)
                .unwrap()
                .entries
                .iter()
                .filter(|entry| entry.kind == PARTICIPANT_AWAITED)
                .map(|entry| entry.files)
                .sum();
            prop_assert_eq!(visible.counts.pins as usize, files - waiting as usize);
        }
        Err(Error::Refused(refusal)) => {
            prop_assert_eq!(host.visible(), before);
            prop_assert_eq!(&host.arrived.lock().unwrap().pages, &pages);
            prop_assert!(!refusal.to_string().is_empty());
        }
        Err(other) => prop_assert!(false, "{}", other),
    }
    // The machine works on either way.
    prop_assert!(host.try_create("next").is_ok());
    prop_assert!(host.freeze().is_ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damage_is_refused_whole_or_does_no_harm(
        damages in proptest::collection::vec(damage(), 1..4)
    ) {
        let mut handed = good().clone();
        for damage in &damages {
            apply(&mut handed, damage);
        }
        check(handed)?;
    }

    #[test]
    fn noise_is_refused(seed in proptest::collection::vec(any::<u8>(), 64..256)) {
        let mut handed = good().clone();
        let addresses: Vec<u64> = handed.pages.keys().copied().collect();
        // All but the root, which would be refused at once.
        for &address in addresses.iter().filter(|&&address| address != good().root) {
            let noise: Vec<u8> = seed.iter().cycle().take(4096).copied().collect();
            handed.set_bytes(address, 0, &noise);
        }
        check(handed)?;
    }
}

#[test]
fn each_bit_of_the_words_that_lead_on() {
    let good = handed(&[("a", &[(1, 10)]), ("b", &[])]).plain();
    let (root, sessions, files) = (good.root, good.sessions(), good.files(0));
    // Version, both addresses, next, count, and the session's two words.
    let words = [
        (root, 0),
        (root, 16),
        (root, 24),
        (sessions, 0),
        (sessions, 8),
        (sessions, 16 + 64),
        (sessions, 16 + 72),
        (files, 0),
        (files, 8),
    ];
    for (address, offset) in words {
        for bit in 0..64 {
            let mut handed = good.clone();
            handed.set_word(address, offset, good.word(address, offset) ^ 1 << bit);
            let pages = handed.pages.clone();
            let host = TestHost::warm(handed);
            let outcome = host.open();
            // A page of files read as a page of sessions: its record is that of
            // a session "handler-0" without files. Nothing tells them apart.
            let disguised = (address, offset, bit) == (root, 16, 12);
            assert_eq!(
                outcome.is_ok(),
                disguised,
                "{address:#x}+{offset} bit {bit}"
            );
            if outcome.is_err() {
                assert_eq!(host.arrived.lock().unwrap().pages, pages);
            }
        }
    }
}
