// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How much a step looks at while it has the engine's lock. What others have does not
//! count, so nobody makes a call on another's session slow.

use luo_abi::contract::{LIST_INCOMING, LIST_OUTGOING};
use luo_core::ops::{self, Needed, MAX_PAGE};
use luo_core::Actor::Administrator;
use luo_core::SessionId;

use crate::support::ledger::take_longest;
use crate::support::TestHost;

/// What chains of a hash table may differ by.
const CHAINS: u64 = 24;

/// Calls, and what the longest step of each has looked at.
struct Costs(Vec<(&'static str, u64)>);

impl Costs {
    fn of<R>(&mut self, call: &'static str, run: impl FnOnce() -> R) -> R {
        take_longest();
        let done = run();
        self.0.push((call, take_longest()));
        done
    }
}

/// Sessions with a file each, one with as many in a chain, and as many on the device.
fn crowd(host: &TestHost, count: u64) -> Vec<SessionId> {
    let chain = host.create("chain");
    let device = host.device();
    for at in 0..count {
        host.preserve(chain, at, 10 * at).unwrap();
        if at > 0 {
            host.needs(chain, at - 1, Needed::Here(at)).unwrap();
        }
        host.register_file(device, 10 * at + 1).unwrap();
    }
    let one = |at| {
        let session = host.create(&format!("{at}"));
        host.preserve(session, 1, 10 * at + 2).unwrap();
        session
    };
    (0..count).map(one).collect()
}

fn pages(costs: &mut Costs, host: &TestHost, which: u32, call: &'static str) {
    costs.of(call, || {
        let mut cursor = 0;
        for _ in 0..2 {
            let page = ops::list_sessions(host, Administrator, which, cursor, MAX_PAGE);
            let page = page.unwrap();
            assert_eq!(page.entries.len(), MAX_PAGE);
            cursor = page.next;
        }
    });
}

/// The calls of one session's life, while others have so much.
fn life(others: u64) -> Vec<(&'static str, u64)> {
    let mut costs = Costs(Vec::new());
    let costs = &mut costs;
    let cold = TestHost::cold();
    let host = &cold;
    let crowd_before = crowd(host, others);
    let last = *crowd_before.last().unwrap();
    let vm = costs.of("create", || host.create("vm"));
    for token in 0..4 {
        costs.of("preserve", || {
            host.preserve(vm, token, 9 + 10 * token).unwrap()
        });
    }
    for on in [Needed::Here(1), Needed::Of(last, 1)] {
        costs.of("add", || host.needs(vm, 0, on).unwrap());
    }
    costs.of("drop", || host.drops(vm, 0, Needed::Here(1)).unwrap());
    costs.of("files", || ops::list_files(host, vm, 0, MAX_PAGE).unwrap());
    costs.of("needs", || {
        ops::list_dependencies(host, Administrator, vm, 0, 0, MAX_PAGE).unwrap()
    });
    pages(costs, host, LIST_OUTGOING, "outgoing");
    costs.of("unpreserve", || ops::unpreserve_file(host, vm, 3).unwrap());
    costs.of("info", || host.engine(|e| e.info(Administrator, "test", 0)));
    let gone = host.create("gone");
    host.preserve(gone, 1, 7).unwrap();
    costs.of("close", || host.close(gone).unwrap());

    host.needs(vm, 1, Needed::Here(2)).unwrap();
    host.drops(vm, 0, Needed::Of(last, 1)).unwrap();
    host.reboot().unwrap();
    let warm = TestHost::opened(cold.kexec());
    let host = &warm;
    let vm = costs.of("claim", || host.claim("vm").unwrap());
    costs.of("retrieve", || host.retrieve(vm, 1).unwrap());
    pages(costs, host, LIST_INCOMING, "incoming");
    costs.of("on the device", || {
        let mut cursor = 0;
        for _ in 0..2 {
            let page = ops::list_arrived_files(host, cursor, MAX_PAGE).unwrap();
            assert_eq!((page.entries.len(), page.total), (MAX_PAGE, others));
            cursor = page.next;
        }
    });
    costs.of("info after", || {
        host.engine(|e| e.info(Administrator, "test", 0))
    });
    costs.of("finish", || host.finish(vm).unwrap());
    costs.of("close after", || host.close(vm).unwrap());
    std::mem::take(&mut costs.0)
}

#[test]
fn what_others_have_makes_no_step_longer() {
    let few = life(300);
    let many = life(6000);
    for ((call, few), (same, many)) in few.into_iter().zip(many) {
        assert_eq!(call, same);
        println!("{call}: {few}, {many}");
        assert!(many <= few + CHAINS, "{call}: {few}, {many}");
    }
}
