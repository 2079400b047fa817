// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The bytes of the format. They are written down in `golden/` and do not
//! change: another kernel, perhaps one in C, reads and writes them.
#![cfg(target_endian = "little")]

use luo_core::ops::{self, Needed};
use luo_core::{Access, Actor, Compat};

use crate::support::memory::Pages;
use crate::support::{Handed, TestHost};

/// Reads a golden file: pages at addresses, bytes at offsets.
fn parse(text: &str) -> Pages {
    let mut pages = Pages::new();
    let mut page = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap();
        let mut words = line.split_whitespace();
        match words.next() {
            None => {}
            Some("page") => {
                let address = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
                page = Some(pages.entry(address).or_insert_with(|| vec![0; 4096]));
            }
            Some(offset) => {
                let page = page.as_mut().unwrap();
                for (at, byte) in (offset.parse::<usize>().unwrap()..).zip(words) {
                    page[at] = u8::from_str_radix(byte, 16).unwrap();
                }
            }
        }
    }
    pages
}

/// Writes pages as a golden file has them, eight bytes a line, to be read when
/// they differ.
fn listing(pages: &Pages) -> Vec<String> {
    let mut lines = Vec::new();
    for (address, page) in pages {
        for (at, bytes) in page.chunks(8).enumerate() {
            if bytes.iter().any(|&byte| byte != 0) {
                lines.push(format!("{address:x}+{}: {bytes:02x?}", at * 8));
            }
        }
    }
    lines
}

/// A machine that has everything a handover can have, twice where it can.
fn scene() -> TestHost {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    host.subsystem(7).unwrap();
    host.subsystem(8).unwrap();
    let (vm, cache) = (host.create("vm"), host.create("cache"));
    host.preserve(vm, 1, 10).unwrap();
    host.preserve(cache, 0xff, 30).unwrap();
    let read_only = || Ok(host.new_file_with(0, 20, Access::ReadOnly));
    ops::preserve_file(&host, Actor::Administrator, vm, 2, read_only).unwrap();
    let device = ops::create_device_session(&host).unwrap();
    let token = host.register_file(device, 40).unwrap();
    ops::add_dependency(
        &host,
        luo_core::Actor::Administrator,
        vm,
        2,
        Needed::Here(1),
    )
    .unwrap();
    ops::add_dependency(
        &host,
        luo_core::Actor::Administrator,
        cache,
        0xff,
        Needed::OnDevice(token),
    )
    .unwrap();
    host
}

fn frozen_by_event(host: TestHost) -> Handed {
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    host.reboot().unwrap();
    host.kexec()
}

#[test]
fn what_is_written_is_the_golden_file() {
    let golden = parse(include_str!("golden/luo-contract-v1.hex"));
    let handed = frozen_by_event(scene());
    assert_eq!(listing(&handed.pages), listing(&golden));
    assert_eq!(handed.pages, golden);
    assert_eq!((handed.root, handed.len), (0x10_0000, 32));
    assert_eq!(handed.supplement, Some((0x10_2000, 128)));
}

#[test]
fn bytes_do_not_depend_on_what_was_there_before() {
    let host = scene();
    // A longer handover that did not come about.
    let extra = host.create("a-longer-name");
    host.preserve(extra, 5, 50).unwrap();
    host.freeze().unwrap();
    host.unfreeze();
    host.close(extra).unwrap();
    let handed = frozen_by_event(host);
    let golden = parse(include_str!("golden/luo-contract-v1.hex"));
    // Records behind the count are left over; nobody reads them.
    let mut leftover = handed.pages.clone();
    leftover.get_mut(&0x10_4000).unwrap()[256..336].fill(0);
    leftover.get_mut(&0x10_6000).unwrap()[464..528].fill(0);
    assert_eq!(listing(&leftover), listing(&golden));
}

/// What releases before the supplement wrote, and what C writes.
#[test]
fn the_golden_file_is_taken_over() {
    let golden = parse(include_str!("golden/luo-v5.hex"));
    let host = TestHost::opened(Handed::of_c(0x10_0000, golden, 0x20_0000));
    let session = host.claim("cache").unwrap();
    assert_eq!(host.retrieve(session, 0xff).unwrap().object, 30);
    assert_eq!(host.arrived_pages(), 0);
}

#[test]
fn what_mainline_writes_is_taken_over() {
    let golden = parse(include_str!("golden/mainline-luo-v5.hex"));
    let handed = Handed::of_c(0x7f0_0000, golden, 0x2_0000_0000);
    let host = TestHost::boot(Some(handed), false);
    let memfd = Compat::try_from("memfd-v2").unwrap();
    let known = host.register_as(memfd, 0);
    assert_eq!(known, Ok(()));
    assert_eq!(host.admit().unwrap().update_number, 2);
    host.open().unwrap();
    assert_eq!(host.taken_over(), Some((3, 3)));
    let systemd = host.claim("systemd").unwrap();
    assert_eq!(host.retrieve(systemd, 0).unwrap().object, 0xdead_e000);
    let criu = host.claim("criu").unwrap();
    assert_eq!(host.retrieve(criu, u64::MAX).unwrap().object, 0x1000);
    assert_eq!(host.retrieve(criu, 7).unwrap().object, 0x2000);
    let vmm = host.claim("vmm").unwrap();
    for session in [systemd, criu, vmm] {
        host.close(session).unwrap();
    }
    assert_eq!(host.arrived_pages(), 0);
    assert_eq!(host.visible().incoming, 0);
}

#[test]
fn the_golden_supplement_is_taken_over() {
    let golden = parse(include_str!("golden/luo-contract-v1.hex"));
    let handed = Handed::new(0x10_0000, 0x10_2000, golden, 0x20_0000);
    let host = TestHost::opened(handed);
    let device = ops::restore_file(&host, 1).unwrap().1;
    assert_eq!(device.object, 40);
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 2).unwrap().access, Access::ReadOnly);
    assert_eq!(
        host.take_log(),
        ["retrieve 40", "retrieve 10", "retrieve 20"]
    );
    assert_eq!(host.arrived_pages(), 0);
}
