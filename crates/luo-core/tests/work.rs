// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How much a step looks at while it has the engine's lock. What others have does not
//! count, so nobody makes a call on another's session slow.

use luo_abi::contract::{LIST_INCOMING, LIST_OUTGOING};
use luo_core::ops::{self, Needed, MAX_PAGE};
use luo_core::Actor::Administrator;
use luo_core::{Error, Quotas, SessionId, Whom};

use crate::owners::{claim, create, ALICE};
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

/// As many sessions of a user's; and two of that user's and of the administrator's each, one of
/// which needs the other.
fn pairs(host: &TestHost, count: u64) {
    let all = Quotas {
        sessions: 2 * count,
        ..Quotas::TOGETHER
    };
    for whom in Whom::ALL {
        host.engine(|engine| engine.set_quotas(whom, all));
    }
    for (by, object) in [(Administrator, 5), (ALICE, 15)] {
        let [needs, needed] = ["needs", "needed"].map(|text| create(host, by, text).unwrap());
        for (session, object) in [(needs, object), (needed, object + 20)] {
            host.preserve(session, 1, object).unwrap();
        }
        ops::add_dependency(host, by, needs, 1, Needed::Of(needed, 1)).unwrap();
    }
    for at in 0..count {
        create(host, ALICE, &format!("{at}")).unwrap();
    }
}

/// The calls by which closed sessions are finished, and a user's queries.
fn ends(costs: &mut Costs, host: &TestHost) {
    for by in [ALICE, Administrator] {
        let needed = claim(host, by, "needed").unwrap();
        assert!(host.close(needed).is_err());
        costs.of("first call", || ops::catch_up(host, by, |_| ()).unwrap());
        let needs = claim(host, by, "needs").unwrap();
        costs.of("finish for another", || host.finish(needs).unwrap());
        assert_eq!(claim(host, by, "needed"), Err(Error::NoSession));
        costs.of("info of one's own", || {
            host.engine(|e| e.info(by, "test", 0))
        });
        costs.of("sessions of one's own", || {
            ops::list_sessions(host, by, LIST_INCOMING, 0, MAX_PAGE).unwrap()
        });
    }
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
    pairs(host, others);
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
    ends(costs, host);
    costs.of("finish", || host.finish(vm).unwrap());
    costs.of("close after", || host.close(vm).unwrap());
    std::mem::take(&mut costs.0)
}

/// Chains of files of one session, each as long as a call may restore: file 0 needs file 1,
/// and so on.
fn chains(host: &TestHost, session: SessionId, objects: u64, files: u64) {
    for token in 0..files {
        host.preserve(session, token, objects + token).unwrap();
        if token % 300 > 0 {
            host.needs(session, token - 1, Needed::Here(token)).unwrap();
        }
    }
}

/// The end of sessions that have so many files, with and without dependencies.
fn end_of(files: u64) -> Vec<(&'static str, u64)> {
    let mut costs = Costs(Vec::new());
    let cold = TestHost::cold();
    let undone = cold.create("undone");
    chains(&cold, undone, 100_000, files);
    costs.of("undo", || cold.close(undone).unwrap());
    for (at, text) in ["finished", "closed", "free"].into_iter().enumerate() {
        let session = cold.create(text);
        let objects = 100_000 * at as u64;
        match text {
            "free" => {
                for token in 0..files {
                    cold.preserve(session, token, objects + token).unwrap();
                }
            }
            _ => chains(&cold, session, objects, files),
        }
    }
    // These two need each other, and can be finished together only.
    let pair = ["one", "other"].map(|text| cold.create(text));
    for (session, objects) in pair.into_iter().zip([300_000, 400_000]) {
        chains(&cold, session, objects, files);
        cold.preserve(session, 1_000_000, objects + 90_000).unwrap();
    }
    let [one, other] = pair;
    cold.needs(one, 0, Needed::Of(other, 1_000_000)).unwrap();
    cold.needs(other, 0, Needed::Of(one, 1_000_000)).unwrap();
    cold.reboot().unwrap();
    let host = TestHost::opened(cold.kexec());
    let [finished, closed, free] =
        ["finished", "closed", "free"].map(|text| host.claim(text).unwrap());
    costs.of("retrieve", || host.retrieve(finished, 0).unwrap());
    costs.of("finish", || host.finish(finished).unwrap());
    costs.of("close", || host.close(closed).unwrap());
    costs.of("finish what is free", || host.finish(free).unwrap());
    let [one, other] = ["one", "other"].map(|text| host.claim(text).unwrap());
    assert!(host.close(one).is_err());
    costs.of("together", || host.close(other).unwrap());
    for gone in ["one", "other"] {
        assert_eq!(host.claim(gone), Err(luo_core::Error::NoSession));
    }
    costs.0
}

#[test]
fn what_a_session_has_makes_no_step_of_its_end_longer() {
    let few = end_of(600);
    let many = end_of(6000);
    for ((call, few), (_, many)) in few.into_iter().zip(many) {
        println!("{call}: {few}, {many}");
        assert!(many <= few + CHAINS, "{call}: {few}, {many}");
    }
}

/// What a call may go along while it has the lock is bounded, and what is more can be had
/// piece by piece.
#[test]
fn a_file_that_needs_too_much_is_restored_after_what_it_needs() {
    const FILES: u64 = 40_000;
    let cold = TestHost::cold();
    let session = cold.create("vm");
    for token in 0..FILES {
        cold.preserve(session, token, token).unwrap();
        if token > 0 {
            cold.needs(session, token, Needed::Here(token - 1)).unwrap();
        }
    }
    cold.reboot().unwrap();
    let host = TestHost::opened(cold.kexec());
    let session = host.claim("vm").unwrap();
    let mut costs = Costs(Vec::new());
    costs.of("refused", || {
        assert_eq!(
            host.retrieve(session, FILES - 1).err(),
            Some(luo_core::Error::TooDense)
        );
    });
    // A few looks at each step of the walk.
    assert!(costs.0[0].1 < 8 * ops::MAX_SEARCH as u64, "{:?}", costs.0);
    // Nothing was restored, so nothing is lost, and the first half goes.
    assert_eq!(host.visible().counts.files, 0);
    for token in [FILES / 2, FILES - 1] {
        assert_eq!(host.retrieve(session, token).unwrap().object, token);
    }
    host.finish(session).unwrap();
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
