// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions: what can be made, and that it survives.

use std::os::unix::fs::FileExt;

use luo_client::kernel::memfd::{self, Seals};
use luo_client::memory::{Error, MAX_METADATA, MAX_NAME, MAX_REGIONS, Regions};
use luo_sim::{Program, Simulator};

#[test]
fn a_region_is_memory_of_that_size() {
    let mut regions = Regions::new();
    let ram = regions.create("ram", 4097).unwrap();
    ram.map().unwrap().store(4088, 7).unwrap();
    assert_eq!(ram.file().metadata().unwrap().len(), 4097);
    assert_eq!(
        memfd::seals(ram.file()).unwrap(),
        Seals::SHRINK | Seals::GROW
    );
    assert_eq!(regions.get("ram").unwrap().size(), 4097);
    assert!(regions.get("rom").is_none());
    assert!(regions.manifest().encode().is_ok());
}

#[test]
fn each_argument_is_checked() {
    let mut regions = Regions::new();
    let long = "x".repeat(MAX_NAME + 1);
    for name in ["", "a\0b", "a\nb", &long] {
        assert!(matches!(regions.create(name, 1), Err(Error::BadName)));
    }
    for size in [0, 1 << 63, u64::MAX] {
        assert!(matches!(regions.create("a", size), Err(Error::BadSize)));
    }
    regions.create(&long[1..], 1).unwrap();
    let again = regions.create(&long[1..], 1);
    assert!(matches!(again, Err(Error::Exists(_))));
    let much = regions.set_metadata(vec![0; MAX_METADATA + 1]);
    assert!(matches!(much, Err(Error::TooMuchMetadata)));
    regions.set_metadata(vec![0; MAX_METADATA]).unwrap();
    assert_eq!(regions.iter().count(), 1);
}

#[test]
fn tokens_are_the_first_that_are_free() {
    let mut regions = Regions::new();
    let tokens = ["c", "a", "b"].map(|name| regions.create(name, 1).unwrap().token().0);
    assert_eq!(tokens, [1, 2, 3]);
    assert!(tokens.iter().all(|&token| token <= MAX_REGIONS as u64));
}

#[test]
fn a_memfd_that_is_there_becomes_a_region() {
    let mut regions = Regions::new();
    let memory = memfd::create("other", 8192).unwrap();
    let same = memory.try_clone().unwrap();
    assert_eq!(regions.adopt("ram", memory).unwrap().size(), 8192);
    let map = regions.get("ram").unwrap().map().unwrap();
    map.store(8, 7).unwrap();
    let mut word = [0; 8];
    same.read_exact_at(&mut word, 8).unwrap();
    assert_eq!(u64::from_le_bytes(word), 7);

    let again = regions.adopt("ram", same.try_clone().unwrap());
    assert!(matches!(again, Err(Error::Exists(_))));
    assert!(matches!(regions.adopt("", same), Err(Error::BadName)));
    let empty = memfd::create("empty", 0).unwrap();
    assert!(matches!(regions.adopt("rom", empty), Err(Error::BadSize)));
    assert_ne!(regions.create("rom", 1).unwrap().token().0, 1);
}

/// A scenario of the guest, once at each boot.
#[track_caller]
fn simulate(scenario: &str) {
    let guest = crate::guest();
    let outcome = Simulator::new()
        .each_boot(Program::new(guest).args([scenario]))
        .at_most(2)
        .capture()
        .run()
        .unwrap();
    assert!(
        outcome.success(),
        "{:?}: {}",
        outcome.ending,
        outcome.output()
    );
    assert_eq!(outcome.boots.len(), 2);
}

#[test]
fn regions_survive_an_update() {
    simulate("survive");
}

#[test]
fn a_refused_manifest_releases_nothing() {
    simulate("refused");
}

#[test]
fn what_is_not_as_the_manifest_says_is_refused() {
    simulate("other-size");
}

#[test]
fn preserving_happens_whole_or_not_at_all() {
    simulate("undone");
}
