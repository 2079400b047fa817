// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Each way in which a handover can be wrong is told by its name, leaves the
//! handover as it is, and is EIO from then on.

use luo_abi::errno::Errno;
use luo_abi::handover::FILES_PER_BLOCK;
use luo_core::mem::fault;
use luo_core::{Area, Error, PageError, Refusal, TextError};

use crate::support::{compat, name, Handed, TestHost};

/// Offset of record number `at` in a page of session records.
const fn session(at: usize) -> usize {
    16 + 80 * at
}

/// Offset of record number `at` in a page of file or FLB records.
const fn record(at: usize) -> usize {
    16 + 64 * at
}

/// Sessions "a" (tokens 1, 2), "b" (token 3) and "c"; FLBs 1 and 2.
fn good() -> Handed {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    host.depend(0, 2).unwrap();
    for (text, tokens) in [("a", 1..3u64), ("b", 3..4), ("c", 0..0)] {
        let session = host.create(text);
        for token in tokens {
            host.preserve(session, token, token * 10).unwrap();
        }
    }
    // Without digests, which would find all that is damaged here first.
    host.update().plain()
}

fn refused(damage: impl FnOnce(&mut Handed), at_boot: bool) -> Refusal {
    let mut handed = good();
    damage(&mut handed);
    let pages = handed.pages.clone();
    let host = TestHost::boot(Some(handed), false);
    host.register(0);
    let boot = host.admit();
    host.arm();
    assert_eq!(boot.is_err(), at_boot);
    let before = host.visible();
    let why = host.open().unwrap_err();
    assert_eq!(why.errno(), Errno::EIO);
    assert_eq!(host.refusals().len(), usize::from(!at_boot));
    if at_boot {
        assert_eq!(boot, Err(why));
        assert_eq!(host.get_incoming(1).err(), Some(why));
    }
    // For good, and told as news once; another handler changes nothing.
    let reads = host.arrived.lock().unwrap().reads;
    host.register(1);
    assert_eq!(host.open(), Err(why));
    assert_eq!(host.refusals(), []);
    assert_eq!(host.arrived.lock().unwrap().reads, reads);
    // Nothing is taken over and nothing is given away.
    assert_eq!(host.visible(), before);
    assert_eq!(host.arrived.lock().unwrap().pages, pages);
    // This kernel can still be updated.
    host.create("next");
    host.freeze().unwrap();
    let Error::Refused(refusal) = why else {
        panic!("{why}");
    };
    assert!(!refusal.to_string().is_empty());
    refusal
}

fn at_boot(damage: impl FnOnce(&mut Handed)) -> Refusal {
    refused(damage, true)
}

fn at_open(damage: impl FnOnce(&mut Handed)) -> Refusal {
    refused(damage, false)
}

fn page(area: Area, address: u64, why: PageError) -> Refusal {
    Refusal::Page { area, address, why }
}

#[test]
fn the_undamaged_one_is_taken_over() {
    let host = TestHost::opened(good());
    assert_eq!(host.arrived_pages(), 0);
}

#[test]
fn root() {
    let short = at_boot(|handed| handed.len = 31);
    assert_eq!(short, Refusal::RootTooShort { len: 31 });
    let version = at_boot(|handed| handed.set_bytes(handed.root, 5, b"6"));
    let found = *b"luo-v6\0\0";
    assert_eq!(version, Refusal::Version { found });
    assert!(version.to_string().contains("luo-v6"));
    let unaligned = at_boot(|handed| handed.root += 8);
    assert!(matches!(
        unaligned,
        Refusal::Page {
            area: Area::Root,
            why: PageError::Unaligned,
            ..
        }
    ));
    let missing = at_boot(|handed| handed.root = 0x5000);
    assert_eq!(missing, page(Area::Root, 0x5000, PageError::NotPreserved));
}

#[test]
fn flbs() {
    let missing = at_boot(|handed| handed.set_word(handed.root, 24, 0x5000));
    assert_eq!(missing, page(Area::Flbs, 0x5000, PageError::NotPreserved));
    let two_pages = at_boot(|handed| handed.set_word(handed.flbs(), 0, 2));
    assert_eq!(two_pages, Refusal::FlbHeader { pages: 2, count: 2 });
    let too_many = at_boot(|handed| handed.set_word(handed.flbs(), 8, 64));
    assert_eq!(
        too_many,
        Refusal::FlbHeader {
            pages: 1,
            count: 64
        }
    );
    let nameless = at_boot(|handed| handed.set_word(handed.flbs(), 8, 3));
    assert_eq!(nameless, Refusal::FlbName(TextError::Empty));
    let endless = at_boot(|handed| handed.set_bytes(handed.flbs(), record(0), &[b'x'; 48]));
    assert_eq!(endless, Refusal::FlbName(TextError::Unterminated));
    let twice = at_boot(|handed| handed.set_bytes(handed.flbs(), record(1), b"flb-1"));
    assert_eq!(twice, Refusal::DuplicateFlb(compat("flb", 1)));
    let on_root = at_boot(|handed| handed.set_word(handed.root, 24, handed.root));
    assert!(matches!(on_root, Refusal::FlbHeader { .. }));
}

#[test]
fn blocks() {
    let missing = at_open(|handed| handed.set_word(handed.root, 16, 0x5000));
    let area = Area::Sessions;
    assert_eq!(missing, page(area, 0x5000, PageError::NotPreserved));
    let unaligned = at_open(|handed| handed.set_word(handed.sessions(), 0, 0x5001));
    assert_eq!(unaligned, page(area, 0x5001, PageError::Unaligned));
    let address = good().sessions();
    for count in [0, 52, u64::MAX] {
        let bad = at_open(|handed| handed.set_word(handed.sessions(), 8, count));
        assert_eq!(
            bad,
            Refusal::BlockCount {
                area,
                address,
                count
            }
        );
    }
    let (area, address) = (Area::Files, good().files(0));
    for count in [0, 64] {
        let bad = at_open(|handed| handed.set_word(handed.files(0), 8, count));
        assert_eq!(
            bad,
            Refusal::BlockCount {
                area,
                address,
                count
            }
        );
    }
}

#[test]
fn no_page_is_reached_twice() {
    let handed = good();
    let (sessions, files) = (handed.sessions(), handed.files(0));
    let looped = at_open(|handed| handed.set_word(sessions, 0, sessions));
    assert_eq!(
        looped,
        Refusal::Revisited {
            area: Area::Sessions,
            address: sessions
        }
    );
    let shared = at_open(|handed| handed.set_word(sessions, session(1) + 64, files));
    assert_eq!(
        shared,
        Refusal::Revisited {
            area: Area::Files,
            address: files
        }
    );
    for address in [handed.root, handed.flbs()] {
        let crossed = at_open(|handed| handed.set_word(handed.root, 16, address));
        assert_eq!(
            crossed,
            Refusal::Revisited {
                area: Area::Sessions,
                address
            }
        );
    }
}

#[test]
fn sessions() {
    let nameless = at_open(|handed| handed.set_bytes(handed.sessions(), session(1), &[0]));
    assert_eq!(nameless, Refusal::SessionName(TextError::Empty));
    let endless = at_open(|handed| handed.set_bytes(handed.sessions(), session(1), &[1; 64]));
    assert_eq!(endless, Refusal::SessionName(TextError::Unterminated));
    let twice = at_open(|handed| handed.set_bytes(handed.sessions(), session(2), b"a"));
    assert_eq!(twice, Refusal::DuplicateSession(name("a")));
    for (said, found) in [(0, 1), (1, 2), (3, 2), (u64::MAX, 2)] {
        let bad = at_open(|handed| handed.set_word(handed.sessions(), session(0) + 72, said));
        let session = name("a");
        assert_eq!(
            bad,
            Refusal::FileCount {
                session,
                said,
                found
            }
        );
    }
}

#[test]
fn files() {
    let session = name("a");
    let twice = at_open(|handed| handed.set_word(handed.files(0), record(1) + 56, 1));
    assert_eq!(twice, Refusal::DuplicateToken { session, token: 1 });
    let nameless = at_open(|handed| handed.set_bytes(handed.files(0), record(1), &[0]));
    let why = TextError::Empty;
    assert_eq!(
        nameless,
        Refusal::HandlerName {
            session,
            token: 2,
            why
        }
    );
}

/// One that is missing refuses nothing; more than a kernel can have do.
#[test]
fn so_many_handlers_cannot_be_missing() {
    let host = TestHost::cold();
    let session = host.create("vm");
    for token in 0..257 {
        host.preserve(session, token, token).unwrap();
    }
    let handed = host.update().plain();
    let with_missing = |count: usize| {
        let mut handed = handed.clone();
        let mut block = handed.files(0);
        for token in 0..count {
            let at = token % FILES_PER_BLOCK;
            if token > 0 && at == 0 {
                block = handed.word(block, 0);
            }
            let name = format!("missing-{token}\0");
            handed.set_bytes(block, record(at), name.as_bytes());
        }
        TestHost::warm(handed)
    };
    let host = with_missing(256);
    host.open().unwrap();
    assert_eq!(host.said_of("wait for handler"), 16);
    assert_eq!(host.said_of("wait for 240 more handlers"), 1);
    let host = with_missing(257);
    let why = Error::Refused(Refusal::TooManyMissing {
        session: name("vm"),
        token: 256,
        handler: compat("missing", 256),
        others: 256,
    });
    for _ in 0..2 {
        assert_eq!(host.open(), Err(why));
    }
    assert_eq!(host.refusals(), [why]);
    // It is refused for good.
    host.register_as(compat("missing", 256), 2).unwrap();
    assert_eq!(host.open(), Err(why));
}

#[test]
fn memory_that_is_short_at_boot_refuses_for_good() {
    let host = TestHost::boot(Some(good()), false);
    fault::fail_after(0);
    assert_eq!(host.admit(), Err(Error::NoMemory));
    assert!(!fault::disarm());
    host.arm();
    let why = Error::Refused(Refusal::NoMemory);
    assert_eq!(host.open(), Err(why));
    assert_eq!(host.get_incoming(1).err(), Some(why));
    assert_eq!(host.arrived_pages(), good().pages.len());
}

#[test]
fn a_chain_that_is_too_long_is_not_followed() {
    let mut handed = good();
    let free = handed.next_address;
    let block = handed.pages[&handed.sessions()].clone();
    let address = |at: u64| free + 0x1000 * at;
    handed.set_word(handed.root, 16, free);
    for at in 0..10_001u64 {
        let mut page = vec![0; 4096];
        page[..8].copy_from_slice(&address(at + 1).to_ne_bytes());
        page[8] = 1;
        // A name of its own and no files.
        page[16..16 + 6].copy_from_slice(format!("{at:06}").as_bytes());
        handed.pages.insert(address(at), page);
    }
    handed.pages.insert(address(10_001), block);
    let host = TestHost::warm(handed);
    let why = host.open().unwrap_err();
    let area = Area::Sessions;
    assert_eq!(why, Error::Refused(Refusal::ChainTooLong { area }));
    // The root and the FLBs at boot, and no more blocks than the limit.
    assert_eq!(host.arrived.lock().unwrap().reads, 2 + 10_000);
}

/// Mainline's orchestrator writes such a block when a refused request had made
/// room for one more record. It says nothing, and no session may be lost to it.
#[test]
fn an_empty_block_behind_a_full_one_is_passed_over() {
    let mut handed = good();
    let (sessions, empty) = (handed.sessions(), 0x7000);
    handed.pages.insert(empty, vec![0; 4096]);
    handed.set_word(sessions, 0, empty);
    let host = TestHost::boot(Some(handed), false);
    host.register(0);
    host.admit().unwrap();
    host.arm();
    host.open().unwrap();
    assert_eq!(host.taken_over(), Some((3, 3)));
    // The empty page is given away with the rest.
    assert!(host.arrived.lock().unwrap().pages.is_empty());
    // One with a successor is no end of a chain, and is refused.
    let counted = refused(
        |handed| {
            let sessions = handed.sessions();
            handed.pages.insert(empty, vec![0; 4096]);
            handed.set_word(empty, 0, sessions);
            handed.set_word(sessions, 0, empty);
        },
        false,
    );
    assert!(matches!(counted, Refusal::BlockCount { count: 0, .. }));
}
