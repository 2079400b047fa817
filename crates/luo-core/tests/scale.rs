// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Ten thousand files that need each other, in a chain and in a star: a whole
//! update. How often the graph looks at a file is counted in its own tests; here
//! the steps under the lock are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use luo_core::ops::{self, Needed};
use luo_core::SessionId;

use crate::support::{name, Call, TestHost};

const MANY: u64 = 10_000;

/// Counts the steps of what comes.
fn count(host: &TestHost) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let its = Arc::clone(&steps);
    host.set_hook(move |_, call, _| {
        if call == Call::Step {
            its.fetch_add(1, Ordering::Relaxed);
        }
    });
    steps
}

/// The whole update of registered files, with so many edges and one file that
/// needs all others in the end.
fn update(needs: impl Fn(&TestHost, SessionId, &[u64]) -> u64) {
    let host = TestHost::cold();
    let device = host.device();
    let tokens: Vec<u64> = (0..MANY)
        .map(|at| host.register_file(device, at).unwrap())
        .collect();
    let last = needs(&host, device, &tokens);
    let steps = count(&host);
    // Six steps a file or fewer, for each event.
    let few = |steps: &AtomicU64| {
        let steps = steps.swap(0, Ordering::Relaxed);
        assert!(steps < 12 * MANY, "{steps} steps");
    };
    ops::prepare(&host).unwrap();
    few(&steps);
    ops::freeze(&host).unwrap();
    few(&steps);
    ops::cancel(&host).unwrap();
    few(&steps);
    host.reboot().unwrap();
    let host = TestHost::opened(host.kexec());
    let steps = count(&host);
    host.restore(last).unwrap();
    few(&steps);
    let retrieved = |line: &&String| line.starts_with("retrieve");
    assert_eq!(
        host.take_log().iter().filter(retrieved).count() as u64,
        MANY
    );
    host.finish_update().unwrap();
    few(&steps);
    assert_eq!(host.visible().files, 0);
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_chain() {
    update(|host, device, tokens| {
        for pair in tokens.windows(2) {
            host.needs(device, pair[1], Needed::Here(pair[0])).unwrap();
        }
        tokens[tokens.len() - 1]
    });
}

#[test]
fn a_chain_that_was_declared_from_its_end() {
    update(|host, device, tokens| {
        for pair in tokens.windows(2).rev() {
            host.needs(device, pair[0], Needed::OnDevice(pair[1]))
                .unwrap();
        }
        tokens[0]
    });
}

#[test]
fn a_star() {
    update(|host, device, tokens| {
        for &token in &tokens[1..] {
            host.needs(device, tokens[0], Needed::Here(token)).unwrap();
        }
        tokens[0]
    });
}

/// Sessions that each need the next are closed from the one that all need: none can
/// be finished before the last is closed, and then all are.
#[test]
fn a_chain_of_sessions_that_is_closed_from_the_wrong_end() {
    let host = TestHost::cold();
    let many = MANY / 5;
    let mut before: Option<SessionId> = None;
    for at in 0..many {
        let session = host.create(&format!("{at}"));
        host.preserve(session, 1, at).unwrap();
        if before.replace(session).is_some() {
            let on = Needed::In(name(&format!("{}", at - 1)), 1);
            host.needs(session, 1, on).unwrap();
        }
    }
    let host = host.next();
    let sessions: Vec<_> = (0..many)
        .map(|at| host.claim(&format!("{at}")).unwrap())
        .collect();
    let steps = count(&host);
    for &session in &sessions[..sessions.len() - 1] {
        assert!(host.close(session).is_err());
    }
    host.close(sessions[sessions.len() - 1]).unwrap();
    assert_eq!(host.visible().incoming, 0);
    let steps = steps.load(Ordering::Relaxed);
    assert!(steps < 40 * many, "{steps} steps");
}

/// Two dense ends and many files between: declared from the middle it costs little,
/// and it must not cost more to read, where the order of declaration is lost.
#[test]
fn a_dense_graph_is_read_in_whatever_order() {
    let (ends, middle) = (100u64, 1000u64);
    let host = TestHost::cold();
    let session = host.create("vm");
    for token in 0..2 * ends + middle {
        host.preserve(session, token, token + 1).unwrap();
    }
    let declare = |from, on| host.needs(session, from, Needed::Here(on)).unwrap();
    for file in 2 * ends..2 * ends + middle {
        declare(file, ends);
    }
    for from in ends..2 * ends {
        (from + 1..2 * ends).for_each(|on| declare(from, on));
    }
    for file in 2 * ends..2 * ends + middle {
        declare(ends - 1, file);
    }
    for on in (0..ends).rev() {
        (0..on).rev().for_each(|from| declare(from, on));
    }
    let host = TestHost::opened(host.update());
    let session = host.claim("vm").unwrap();
    host.retrieve(session, 0).unwrap();
    assert_eq!(host.take_log().len() as u64, 2 * ends + middle);
}

/// A host may have users stand in line for each step, behind those of others: the end of a session
/// takes two for each file, whether it goes to the next kernel or has come from the one before.
#[test]
fn the_end_of_a_session_takes_two_steps_a_file() {
    const FILES: u64 = 1000;
    const BESIDE: u64 = 50;
    let host = TestHost::cold();
    let [goes, stays] = ["goes", "stays"].map(|text| host.create(text));
    for at in 0..FILES {
        host.preserve(goes, at, 2 * at).unwrap();
        host.preserve(stays, at, 2 * at + 1).unwrap();
    }
    let few = |host: &TestHost, session| {
        let steps = count(host);
        host.close(session).unwrap();
        let steps = steps.load(Ordering::Relaxed);
        assert!(steps < 2 * FILES + BESIDE, "{steps} steps");
    };
    few(&host, goes);
    let next = host.next();
    let stays = next.claim("stays").unwrap();
    few(&next, stays);
    assert_eq!(next.visible().files, 0);
}
