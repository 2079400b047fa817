// SPDX-License-Identifier: MIT OR Apache-2.0
//! Good handovers, from which damaged ones are made.

use std::sync::OnceLock;

use luo_core::ops::{self, Needed};
use luo_core::{Access, Actor, SessionId};
use luo_testhost::memory::Pages;
use luo_testhost::{Handed, TestHost};

/// What mainline writes, in the notation of the engine's tests.
const MAINLINE: &str = include_str!("../../../crates/luo-core/tests/golden/mainline-luo-v5.hex");
/// What a release wrote.
const RELEASED: &str = include_str!("../../../crates/luo-core/tests/golden/luo-contract-v1.hex");

/// All of them, the simplest first.
pub(super) fn all() -> &'static [Handed] {
    static GOOD: OnceLock<Vec<Handed>> = OnceLock::new();
    GOOD.get_or_init(|| {
        vec![
            everything(),
            everything().plain(),
            chains(),
            chains().plain(),
            mutual(),
            cold().update(),
            Handed::of_c(0x7f0_0000, parse(MAINLINE), 0x2_0000_0000),
            Handed::new(0x10_0000, 0x10_2000, parse(RELEASED), 0x20_0000),
        ]
    })
}

fn cold() -> TestHost {
    let host = TestHost::cold();
    for number in 1..3 {
        host.depend(0, number).expect("an FLB");
        host.subsystem(number).expect("a subsystem");
    }
    host
}

fn preserve(host: &TestHost, session: SessionId, token: u64, object: u64, access: Access) {
    let open = || Ok(host.new_file_with(0, object, access));
    ops::preserve_file(host, Actor::Administrator, session, token, open).expect("a file");
}

/// One of each kind, twice where it can be.
fn everything() -> Handed {
    let host = cold();
    let (vm, cache, device) = (host.create("vm"), host.create("cache"), host.device());
    host.preserve(vm, 1, 10).expect("a file");
    preserve(&host, vm, 2, 20, Access::ReadOnly);
    host.preserve_kind(cache, 0xff, 1, 30).expect("a file");
    let token = host.register_file(device, 40).expect("a file");
    let depend = |session, token, on| host.needs(session, token, on).expect("a dependency");
    depend(vm, 2, Needed::Here(1));
    depend(cache, 0xff, Needed::OnDevice(token));
    host.update()
}

/// Chains of more than one block, of sessions, files and records.
fn chains() -> Handed {
    let host = cold();
    for at in 0..52u64 {
        let session = host.create(&format!("s{at}"));
        let files = if at == 3 { 65 } else { at % 2 };
        for token in 0..files {
            host.preserve(session, token, at * 100 + token)
                .expect("a file");
        }
    }
    host.update()
}

/// Sessions that need each other's files, one of them closed before the kexec.
fn mutual() -> Handed {
    let host = cold();
    let (a, b, c) = (host.create("a"), host.create("b"), host.create("c"));
    for (session, object) in [(a, 10), (b, 20), (c, 30)] {
        host.preserve(session, 1, object).expect("a file");
        host.preserve(session, 2, object + 1).expect("a file");
    }
    let name = |text| luo_testhost::name(text);
    let depend = |session, token, on| host.needs(session, token, on).expect("a dependency");
    depend(a, 1, Needed::In(name("b"), 2));
    depend(b, 1, Needed::In(name("a"), 2));
    depend(c, 2, Needed::In(name("a"), 1));
    // The kernel after the next gets it closed.
    let next = TestHost::warm(host.update());
    for number in 1..3 {
        next.depend(0, number).expect("an FLB");
        next.subsystem(number).expect("a subsystem");
    }
    next.open().expect("a good handover");
    let a = next.claim("a").expect("a session");
    let _ = next.close(a);
    next.reboot().expect("nothing is in the way");
    next.kexec()
}

/// Reads a golden file: pages at addresses, bytes at offsets.
fn parse(text: &str) -> Pages {
    let mut pages = Pages::new();
    let mut page = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_whitespace();
        match words.next() {
            None => {}
            Some("page") => {
                let address = words.next().expect("an address");
                let address = u64::from_str_radix(address, 16).expect("an address");
                page = Some(pages.entry(address).or_insert_with(|| vec![0; 4096]));
            }
            Some(offset) => {
                let page = page.as_mut().expect("a page first");
                for (at, byte) in (offset.parse::<usize>().expect("an offset")..).zip(words) {
                    page[at] = u8::from_str_radix(byte, 16).expect("a byte");
                }
            }
        }
    }
    pages
}
