// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manifest's bytes: they do not change, and none that are damaged are believed.

use luo_client::Token;
use luo_client::memory::{
    Entry, LAST, MAX_MANIFEST, MAX_METADATA, MAX_NAME, MAX_REGIONS, Manifest, Refusal,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn golden() -> Vec<u8> {
    let text = include_str!("golden/manifest-v1.hex");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(str::split_whitespace);
    words
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn entry(name: &str, size: u64, token: u64) -> Entry {
    Entry {
        name: name.into(),
        size,
        token: Token(token),
    }
}

fn example() -> Manifest {
    Manifest {
        regions: vec![entry("entries", 1 << 30, 2), entry("index", 4097, 1)],
        metadata: b"layout 3".to_vec(),
    }
}

/// The bytes, with a checksum that is right.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::new()
        .chain_update(&bytes[..32])
        .chain_update(&bytes[64..])
        .finalize();
    bytes[32..64].copy_from_slice(&digest);
    bytes
}

/// The example with bytes of it changed, and a checksum that is right.
fn changed(at: usize, to: &[u8]) -> Result<Manifest, Refusal> {
    let mut bytes = example().encode().unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    Manifest::parse(&sealed(bytes))
}

#[test]
fn what_is_written_is_the_golden_file() {
    assert_eq!(example().encode().unwrap(), golden());
    assert_eq!(Manifest::parse(&golden()), Ok(example()));
}

#[test]
fn another_version_is_refused_whatever_follows() {
    for version in [0, 2, u32::MAX] {
        let refusal = Refusal::Version { found: version };
        assert_eq!(changed(8, &version.to_le_bytes()), Err(refusal));
        let short = [b"LUO-MEM\0", &version.to_le_bytes()[..]].concat();
        assert_eq!(Manifest::parse(&short), Err(refusal));
    }
}

#[test]
fn each_number_is_bounded() {
    let many = (MAX_REGIONS as u32 + 1).to_le_bytes();
    assert_eq!(changed(12, &many), Err(Refusal::TooMuch("regions")));
    assert_eq!(changed(12, &[0xff; 4]), Err(Refusal::TooMuch("regions")));
    assert_eq!(changed(12, &3u32.to_le_bytes()), Err(Refusal::Length));
    assert_eq!(changed(16, &[0xff; 8]), Err(Refusal::Length));
    assert_eq!(changed(24, &[0xff; 8]), Err(Refusal::Length));
    // The first region: "entries".
    assert_eq!(
        changed(64, &0u64.to_le_bytes()),
        Err(Refusal::Region("token"))
    );
    assert_eq!(
        changed(64, &1u64.to_le_bytes()),
        Err(Refusal::Region("token"))
    );
    let beyond = (LAST.0 + 1).to_le_bytes();
    assert_eq!(changed(64, &beyond), Err(Refusal::Region("token")));
    assert_eq!(changed(72, &[0; 8]), Err(Refusal::Region("size")));
    assert_eq!(changed(72, &[0xff; 8]), Err(Refusal::Region("size")));
    assert_eq!(changed(80, &[0xff; 2]), Err(Refusal::Length));
    assert_eq!(changed(82, b"z"), Err(Refusal::Region("name")));
    assert_eq!(changed(82, b"\n"), Err(Refusal::Region("name")));
    assert_eq!(changed(82, b"\xff"), Err(Refusal::Region("name")));
}

#[test]
fn the_largest_one_is_read() {
    let region = |index: usize| {
        let token = index as u64 + 1;
        entry(&format!("{index:0width$}", width = MAX_NAME), 1, token)
    };
    let mut manifest = Manifest {
        regions: (0..MAX_REGIONS).map(region).collect(),
        metadata: vec![7; MAX_METADATA],
    };
    let bytes = manifest.encode().unwrap();
    assert_eq!(bytes.len(), MAX_MANIFEST);
    assert_eq!(Manifest::parse(&bytes).as_ref(), Ok(&manifest));
    manifest.metadata.push(7);
    assert_eq!(manifest.encode(), Err(Refusal::TooMuch("metadata")));
    let longer = [bytes, vec![0]].concat();
    assert_eq!(Manifest::parse(&longer), Err(Refusal::Length));
}

#[test]
fn what_would_not_be_read_is_not_written() {
    let wrong = |regions| Manifest {
        regions,
        metadata: vec![],
    };
    let twice = wrong(vec![entry("a", 1, 1), entry("a", 1, 2)]);
    assert_eq!(twice.encode(), Err(Refusal::Region("name")));
    let unnamed = wrong(vec![entry("", 1, 1)]);
    assert_eq!(unnamed.encode(), Err(Refusal::Region("name")));
    let same = wrong(vec![entry("a", 1, 1), entry("b", 1, 1)]);
    assert_eq!(same.encode(), Err(Refusal::Region("token")));
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let name = "[^\\p{C}]{1,30}";
    let size = 1..=i64::MAX as u64;
    (btree_map(name, size, 0..20), vec(any::<u8>(), 0..200)).prop_map(|(regions, metadata)| {
        let regions = regions.into_iter().zip(1..);
        let regions = regions.map(|((name, size), token)| entry(&name, size, token));
        Manifest {
            regions: regions.collect(),
            metadata,
        }
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(manifest in manifests()) {
        let bytes = manifest.encode().unwrap();
        prop_assert_eq!(Manifest::parse(&bytes), Ok(manifest));
    }

    #[test]
    fn any_change_is_found(manifest in manifests(), at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = manifest.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(Manifest::parse(&bytes).is_err());
    }

    #[test]
    fn any_piece_is_refused(manifest in manifests(), at: prop::sample::Index) {
        let bytes = manifest.encode().unwrap();
        prop_assert!(Manifest::parse(&bytes[..at.index(bytes.len())]).is_err());
    }

    /// Any bytes with a checksum that is right are refused, or they are what
    /// would be written.
    #[test]
    fn nothing_else_is_believed(body in vec(any::<u8>(), 0..200), count in 0u32..5,
                                metadata in 0u64..200) {
        let mut bytes = b"LUO-MEM\0\x01\0\0\0".to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend((64 + body.len() as u64).to_le_bytes());
        bytes.extend(metadata.to_le_bytes());
        bytes.extend([0; 32]);
        bytes.extend(body);
        let bytes = sealed(bytes);
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert_eq!(manifest.encode(), Ok(bytes));
        }
    }
}
