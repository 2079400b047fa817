// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Threads that run freely. `interleave` is systematic with two; here there are
//! more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use luo_core::{Error, SessionId};

use crate::support::{Call, Counts, TestHost};

const ROUNDS: u64 = 200;

type Job<'a, R> = Box<dyn FnOnce() -> R + Send + 'a>;

fn job<'a, R>(run: impl FnOnce() -> R + Send + 'a) -> Job<'a, R> {
    Box::new(run)
}

/// Runs all at once.
fn together<R: Send>(jobs: Vec<Job<'_, R>>) -> Vec<R> {
    let barrier = &Barrier::new(jobs.len());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for job in jobs {
            threads.push(scope.spawn(move || {
                barrier.wait();
                job()
            }));
        }
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn empty_but_blocks(counts: Counts) -> bool {
    counts.files == 0 && counts.pins == 0 && counts.privates == 0 && counts.objects == 0
}

#[test]
fn of_many_who_retrieve_one_does_the_work() {
    let host = TestHost::cold();
    for round in 0..ROUNDS {
        let session = host.create(&format!("{round}"));
        host.preserve(session, 7, round).unwrap();
    }
    let host = &TestHost::warm_as(host.update(), true);
    host.open().unwrap();
    for round in 0..ROUNDS {
        let session = host.claim(&format!("{round}")).unwrap();
        let retrieve = |_| job(move || host.retrieve(session, 7).unwrap());
        let files = together((0..4).map(retrieve).collect());
        assert!(files.iter().all(|file| file.serial == files[0].serial));
        assert_eq!(host.take_log(), [format!("retrieve {round}")]);
    }
}

#[test]
fn preserving_races_closing() {
    let host = &TestHost::cold_as(true);
    host.depend(0, 1).unwrap();
    for round in 0..ROUNDS {
        let session = host.create(&format!("{round}"));
        let preserve = |token| job(move || host.preserve(session, token, token));
        let close = job(move || host.close(session));
        let outcomes = together(vec![preserve(1), close, preserve(2), preserve(3)]);
        for outcome in outcomes {
            assert!(matches!(outcome, Ok(()) | Err(Error::NoSession)));
        }
        assert!(empty_but_blocks(host.counts()));
        assert_eq!(host.counts().blocks, 4);
    }
}

#[test]
fn freezing_races_preserving() {
    let host = &TestHost::cold_as(true);
    host.depend(0, 1).unwrap();
    for round in 0..ROUNDS {
        let session = host.create(&format!("{round}"));
        let frozen = &AtomicUsize::new(usize::MAX);
        let preserve = |from: u64| {
            let is_ok = move |&token: &u64| host.preserve(session, token, token).is_ok();
            job(move || (from..from + 5).filter(is_ok).count())
        };
        let freeze = job(move || {
            frozen.store(host.freeze().unwrap().files, Ordering::SeqCst);
            0
        });
        let done = together(vec![preserve(10), freeze, preserve(20)]);
        // What was told to be preserved is what was frozen, no more, no less:
        // nothing got in behind the freeze.
        assert_eq!(done.iter().sum::<usize>(), frozen.load(Ordering::SeqCst));
        host.unfreeze();
        host.close(session).unwrap();
        assert!(empty_but_blocks(host.counts()));
    }
}

#[test]
fn an_flb_is_finished_when_nobody_has_its_object() {
    for _ in 0..ROUNDS {
        let host = TestHost::cold();
        host.depend(0, 1).unwrap();
        let session = host.create("vm");
        host.preserve(session, 1, 1).unwrap();
        let host = &TestHost::warm_as(host.update(), true);
        host.depend(0, 1).unwrap();
        host.open().unwrap();
        host.set_hook(|host, call, _| {
            if call == Call::FlbFinish {
                assert_eq!(host.counts().objects, 0, "finished while held");
            }
        });
        let session = host.claim("vm").unwrap();
        let driver = || {
            job(move || match host.get_incoming(1) {
                Ok(object) => {
                    drop(object);
                    host.put_incoming(1);
                }
                Err(why) => assert_eq!(why, Error::NoData),
            })
        };
        let close = job(move || host.close(session).unwrap());
        together(vec![driver(), close, driver()]);
        let log = host.take_log();
        assert_eq!(log.iter().filter(|line| *line == "flb_finish 1").count(), 1);
        assert!(empty_but_blocks(host.counts()));
    }
}

/// A page that is got for a record and not in its chain yet: the next kernel would
/// find it preserved and named by nobody.
#[test]
fn nothing_is_frozen_while_a_page_is_in_hand() {
    type Use = fn(&TestHost, SessionId) -> Result<(), Error>;
    let uses: [Use; 2] = [
        |host, _| host.try_create("made").map(|_| ()),
        |host, session| host.preserve(session, 1, 1),
    ];
    for (at, wants_page) in uses.into_iter().enumerate() {
        let host = Arc::new(TestHost::cold_as(true));
        // The first session's page is there already in the second round only.
        let session = if at == 0 {
            None
        } else {
            Some(host.create("old"))
        };
        let session = session.unwrap_or(SessionId::from_bits(1));
        let other = Arc::clone(&host);
        let (told, freezing) = std::sync::mpsc::channel();
        host.set_hook(move |host, call, _| {
            if call == Call::AllocBlock {
                let other = Arc::clone(&other);
                let freeze = thread::spawn(move || other.freeze().map(|_| ()));
                while host.waiting.load(Ordering::SeqCst) == 0 {
                    assert!(!freeze.is_finished(), "frozen, and a page is in hand");
                    thread::yield_now();
                }
                told.send(freeze).unwrap();
            }
        });
        // It gives the page back and lets the update go first.
        assert_eq!(wants_page(&host, session), Err(Error::Frozen));
        freezing.recv().unwrap().join().unwrap().unwrap();
        drop(host.script().hook.take());
        assert_eq!(host.counts().blocks, 4 + isize::try_from(at).unwrap());
    }
}

#[test]
fn opens_and_names_race() {
    let host = TestHost::cold();
    for at in 0..4 {
        let session = host.create(&format!("{at}"));
        host.preserve(session, 1, at).unwrap();
    }
    let handed = host.update();
    for _ in 0..ROUNDS {
        let host = &TestHost::warm_as(handed.clone(), true);
        // Whoever took over, both see that it is done.
        let open = || {
            job(move || {
                host.open().unwrap();
                host.visible().incoming
            })
        };
        let create = || job(move || usize::from(host.try_create("same").is_ok()));
        let counts = together(vec![open(), create(), open(), create()]);
        // It is taken over once, one create makes the session.
        assert_eq!(host.taken_over(), Some((4, 4)));
        assert_eq!((counts[0], counts[2]), (4, 4));
        assert_eq!(counts[1] + counts[3], 1);
    }
}

/// A machine whose orphans are being closed by an unfreeze when the next freeze
/// comes.
#[test]
fn a_freeze_among_orphans_leaves_the_rest_to_the_next_unfreeze() {
    let host = Arc::new(TestHost::cold_as(true));
    let sessions: Vec<SessionId> = (1..4)
        .map(|at| {
            let session = host.create(&format!("{at}"));
            host.preserve(session, 1, at).unwrap();
            session
        })
        .collect();
    host.freeze().unwrap();
    for session in sessions {
        host.close(session).unwrap();
    }
    let other = Arc::clone(&host);
    let (told, freezing) = std::sync::mpsc::channel();
    host.set_hook(move |host, call, object| {
        if call == Call::Unpreserve && object == 1 {
            let other = Arc::clone(&other);
            let freeze = thread::spawn(move || other.freeze().unwrap().sessions);
            // It is there when it waits for this very callback.
            while host.waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            told.send(freeze).unwrap();
        }
    });
    host.unfreeze();
    assert_eq!(freezing.recv().unwrap().join().unwrap(), 2);
    drop(host.script().hook.take());
    host.unfreeze();
    assert_eq!(host.visible().outgoing, 0);
    assert!(empty_but_blocks(host.counts()));
}
