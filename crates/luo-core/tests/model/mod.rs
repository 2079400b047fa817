// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Random histories of a machine and its successors, compared with a model made
//! of plain vectors: each answer, each callback in its order, all that can be
//! seen, and all that is lent out.

mod machine;
mod world;

use luo_abi::errno::Errno;
use luo_core::ops;
use proptest::prelude::*;

use crate::support::{name, Call, TestHost};
use machine::{Expected, Incoming, Machine};
use world::World;

#[derive(Clone, Debug)]
pub enum Op {
    Create(u8),
    /// Session, token, object, kind, and which callback fails.
    Preserve(usize, u64, u64, u32, Option<Fault>),
    CloseOutgoing(usize),
    CloseIncoming(usize),
    Claim(u8),
    PutBack(usize),
    Retrieve(usize, u64, bool),
    Finish(usize),
    /// From now on an object cannot be finished; or can again.
    Stick(u64),
    Freeze(Option<usize>),
    Unfreeze,
    /// The next kernel has no handler of a kind; it comes with `Register`.
    Kexec(Option<u32>),
    Register(u32),
    /// The handler of files without an FLB goes; those of them that have it keep it.
    Unregister,
    Open,
    GetOutgoing,
    PutOutgoing,
    GetIncoming(bool),
    PutIncoming,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Open,
    Flb,
    Handler,
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0usize..4;
    let label = || 0u8..4;
    let (token, object) = (|| 0u64..4, || 0u64..8);
    let fault = prop_oneof![
        5 => Just(None),
        1 => prop_oneof![
            Just(Fault::Open), Just(Fault::Flb), Just(Fault::Handler)
        ].prop_map(Some),
    ];
    prop_oneof![
        4 => label().prop_map(Op::Create),
        10 => (at(), token(), object(), 0u32..3, fault)
            .prop_map(|(at, token, object, kind, fault)| Op::Preserve(at, token, object, kind, fault)),
        2 => at().prop_map(Op::CloseOutgoing),
        3 => at().prop_map(Op::CloseIncoming),
        4 => label().prop_map(Op::Claim),
        1 => at().prop_map(Op::PutBack),
        4 => (at(), token(), prop::bool::weighted(0.1))
            .prop_map(|(at, token, fail)| Op::Retrieve(at, token, fail)),
        2 => at().prop_map(Op::Finish),
        1 => object().prop_map(Op::Stick),
        4 => prop::option::weighted(0.3, 0usize..6).prop_map(Op::Freeze),
        2 => Just(Op::Unfreeze),
        3 => prop::option::weighted(0.5, 0u32..2).prop_map(Op::Kexec),
        3 => (0u32..2).prop_map(Op::Register),
        1 => Just(Op::Unregister),
        3 => Just(Op::Open),
        1 => Just(Op::GetOutgoing),
        1 => Just(Op::PutOutgoing),
        1 => prop::bool::weighted(0.1).prop_map(Op::GetIncoming),
        1 => Just(Op::PutIncoming),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_machine_does_what_the_model_says(history in proptest::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &history {
            world.step(op);
        }
        world.end();
    }
}

/// The model is worth nothing if it does not get anywhere.
#[test]
fn the_model_knows_a_plain_update() {
    let mut world = World::new();
    for op in [
        Op::Create(0),
        Op::Preserve(0, 1, 1, 0, None),
        Op::Freeze(Some(0)),
        Op::Freeze(None),
        Op::Kexec(Some(0)),
        Op::Open,
        Op::Register(0),
        Op::Claim(0),
        Op::Retrieve(0, 1, false),
        Op::CloseIncoming(0),
    ] {
        world.step(&op);
    }
    assert_eq!(world.updates(), 1);
    world.end();
}
