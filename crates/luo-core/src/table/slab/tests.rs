// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A slab is a map, gives room back, and asks for no memory where room was reserved.

use super::*;
use crate::id::of;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

type Files<T> = Slab<of::File, T>;

/// The first segment has room for some, and more are to come.
#[test]
fn room_is_added_to_room() {
    for there in 1..2 * SEGMENT {
        let mut slab: Files<usize> = Slab::new();
        for at in 0..there {
            slab.insert(at).unwrap();
        }
        let wanted = slab.room + 1;
        slab.reserve(wanted).unwrap();
        assert!(slab.room >= wanted);
    }
}

#[test]
fn a_stale_id_names_nothing() {
    let mut slab: Files<&str> = Slab::new();
    let first = slab.insert("first").unwrap();
    assert_eq!(slab.remove(first), Some("first"));
    let second = slab.insert("second").unwrap();
    assert_eq!(first.slot, second.slot);
    assert_eq!(slab.get(first), None);
    assert_eq!(slab.remove(first), None);
    assert_eq!(slab.get(second), Some(&"second"));
    assert_eq!(slab.len(), 1);
    assert_ne!(second.to_bits(), 0);
    assert_eq!(Id::from_bits(second.to_bits()), second);
}

#[test]
fn room_is_given_back_and_no_id_comes_again() {
    let mut slab: Files<usize> = Slab::new();
    let mut old = Vec::new();
    for round in 0..3 {
        let ids: Vec<_> = (0..10 * SEGMENT)
            .map(|at| slab.insert(at).unwrap())
            .collect();
        assert!(ids.iter().all(|id| !old.contains(id)), "{round}");
        for id in &ids {
            slab.remove(*id).unwrap();
        }
        assert!(slab.slots() <= 2 * SEGMENT, "{} slots", slab.slots());
        old.extend(ids);
    }
    assert_eq!(slab.len(), 0);
}

#[test]
fn what_is_reserved_asks_for_no_memory() {
    for (there, more) in [(0, 1), (0, 1000), (5, 300), (200, 1), (500, 129)] {
        let mut slab: Files<u8> = Slab::new();
        let ids: Vec<_> = (0..there).map(|_| slab.insert(0).unwrap()).collect();
        for id in ids.iter().step_by(3) {
            slab.remove(*id);
        }
        slab.reserve(more).unwrap();
        let room = slab.slots();
        for _ in 0..more {
            let next = slab.next_slot();
            assert!(slab
                .segments_with_room()
                .any(|segment| segment == next / SEGMENT));
            assert_eq!(slab.insert(1).unwrap().slot as usize, next);
        }
        assert_eq!(slab.slots(), room);
    }
}

proptest! {
    /// A slab is a map from id to object.
    #[test]
    fn behaves_like_a_map(steps in proptest::collection::vec((0u8..3, 0usize..400), 0..40)) {
        let mut slab: Files<usize> = Slab::new();
        let mut model: BTreeMap<u64, usize> = BTreeMap::new();
        for (step, (what, at)) in steps.into_iter().enumerate() {
            match what {
                // Many at once, so that there are segments.
                0 => for _ in 0..at {
                    model.insert(slab.insert(step).unwrap().to_bits(), step);
                },
                1 => if let Some((&bits, &value)) = model.iter().nth(at) {
                    model.remove(&bits);
                    prop_assert_eq!(slab.remove(Id::from_bits(bits)), Some(value));
                },
                _ => for _ in 0..at {
                    let Some((bits, value)) = model.pop_first() else { break };
                    prop_assert_eq!(slab.remove(Id::from_bits(bits)), Some(value));
                },
            }
            prop_assert_eq!(slab.len(), model.len());
        }
        let all: BTreeMap<_, _> = slab.iter().map(|(id, &value)| (id.to_bits(), value)).collect();
        prop_assert_eq!(&all, &model);
        prop_assert!(all.iter().all(|(&bits, value)| slab.get(Id::from_bits(bits)) == Some(value)));
    }
}
