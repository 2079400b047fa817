// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Each pair of operations, the second begun at each step of the first.
//!
//! The first runs on the test's thread. Before its n-th step the second begins
//! on another and goes on until it ends or has to wait; then the first goes on.
//! The host asserts the protocol of its callbacks; at the end everything is
//! closed and nothing may be left. A wait that nobody ends fails in the host.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, SessionId};

use crate::support::host::TestObject;
use crate::support::{name, Call, Counts, Handed, TestHost};

struct Scene {
    host: TestHost,
    /// Incoming and claimed, with two files that depend on an FLB.
    old: SessionId,
    /// Outgoing, with two files of which one depends on the FLB.
    new: SessionId,
    /// Outgoing, empty.
    spare: SessionId,
    /// Outgoing, of a user, with two files of which the first needs the second.
    hers: SessionId,
    /// What is to be closed at the end.
    held: Mutex<Vec<SessionId>>,
    /// Objects of the incoming FLB that a driver holds until the end.
    objects: Mutex<Vec<Option<TestObject>>>,
}

fn previous() -> Handed {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let old = host.create("old");
    host.preserve(old, 1, 1).unwrap();
    host.preserve(old, 2, 2).unwrap();
    let [stuck, other] = ["stuck", "other"].map(|text| host.create(text));
    for (session, object) in [(stuck, 3), (other, 4)] {
        host.preserve_kind(session, 1, 1, object).unwrap();
        host.preserve_kind(session, 2, 1, object + 2).unwrap();
    }
    // Each needs the other: they are finished together.
    host.needs(other, 1, Needed::In(name("stuck"), 1)).unwrap();
    host.needs(stuck, 2, Needed::In(name("other"), 2)).unwrap();
    host.update()
}

impl Scene {
    fn new(previous: &Handed, frozen: bool, opened: bool) -> Self {
        let host = TestHost::warm_as(previous.clone(), true);
        host.depend(0, 1).unwrap();
        host.open().unwrap();
        let old = host.claim("old").unwrap();
        for text in ["stuck", "other"] {
            let session = host.claim(text).unwrap();
            host.script().stuck.extend([3, 4]);
            assert!(host.close(session).is_err());
        }
        if opened {
            host.script().stuck.clear();
        }
        let (new, spare) = (host.create("new"), host.create("spare"));
        host.preserve(new, 1, 10).unwrap();
        host.preserve_kind(new, 2, 1, 11).unwrap();
        let alice = luo_core::Actor::User(1000);
        let hers = ops::create_session(&host, alice, &name("hers")).unwrap();
        host.preserve(hers, 1, 12).unwrap();
        host.preserve(hers, 2, 13).unwrap();
        host.needs(hers, 1, Needed::Here(2)).unwrap();
        let held = Mutex::new(vec![old, new, spare, hers]);
        if frozen {
            host.freeze().unwrap();
            for session in [old, spare] {
                host.close(session).unwrap();
            }
        }
        Self {
            host,
            old,
            new,
            spare,
            hers,
            held,
            objects: Mutex::default(),
        }
    }

    fn hold(&self, session: SessionId) {
        self.held.lock().unwrap().push(session);
    }

    /// Closes all that is left, and looks whether it is all.
    fn end(&self) {
        let host = &self.host;
        let _ = host.script().hook.take();
        host.script().stuck.clear();
        host.script().relent();
        host.unfreeze();
        for session in self.held.lock().unwrap().drain(..) {
            let _ = host.close(session);
        }
        host.open().unwrap();
        let objects = std::mem::take(&mut *self.objects.lock().unwrap());
        let finished = host.script().log.contains(&"flb_finish 1".into());
        assert!(objects.is_empty() || !finished, "finished while held");
        for object in objects {
            drop(object);
            host.put_incoming(1);
        }
        let visible = host.visible();
        assert_eq!(visible.state, State::Normal);
        let left = (visible.outgoing, visible.incoming, visible.files);
        assert_eq!(left, (0, 0, 0));
        let nothing = Counts {
            blocks: 4,
            ..Counts::default()
        };
        assert_eq!(visible.counts, nothing);
        let log = host.take_log();
        let times = |what: &str| log.iter().filter(|line| *line == what).count();
        assert_eq!(times("finish 1") + times("finish 2"), 2);
        assert_eq!(times("flb_finish 1"), 1);
        assert_eq!(times("flb_preserve 1"), times("flb_unpreserve 1"));
        assert!(times("retrieve 1") <= 1);
    }
}

type Operation = (&'static str, fn(&Scene));

const OPERATIONS: &[Operation] = &[
    ("create", |scene| {
        if let Ok(session) = scene.host.try_create("made") {
            scene.hold(session);
        }
    }),
    ("preserve", |scene| {
        let _ = scene.host.preserve(scene.new, 50, 500);
    }),
    ("preserve elsewhere", |scene| {
        let _ = scene.host.preserve(scene.spare, 50, 500);
    }),
    ("preserve of a user's", |scene| {
        let _ = scene.host.preserve(scene.hers, 50, 500);
    }),
    ("unpreserve of a user's", |scene| {
        let _ = ops::unpreserve_file(&scene.host, scene.hers, 2);
    }),
    ("close of a user's", |scene| {
        let _ = scene.host.close(scene.hers);
    }),
    ("preserve that fails", |scene| {
        let open = || Err(Errno::EBADF);
        let _ = ops::preserve_file(&scene.host, Actor::Administrator, scene.spare, 51, open);
    }),
    ("retrieve", |scene| {
        if let Ok(file) = scene.host.retrieve(scene.old, 1) {
            assert_eq!(file.object, 1);
        }
    }),
    ("finish", |scene| {
        let _ = scene.host.finish(scene.old);
    }),
    ("close old", |scene| {
        let _ = scene.host.close(scene.old);
    }),
    ("close new", |scene| {
        let _ = scene.host.close(scene.new);
    }),
    ("claim", |scene| {
        if let Ok(session) = scene.host.claim("other") {
            scene.hold(session);
            // It is the caller's: nobody finishes it but by request.
            match scene.host.retrieve(session, 1) {
                Ok(file) => assert_eq!(file.object, 4),
                // Or the event has finished all there was.
                // Or it needs one of a session that nobody has taken back.
                Err(why) => assert!(matches!(
                    why,
                    Error::Frozen | Error::NoToken | Error::Awaits(_)
                )),
            }
        }
    }),
    ("open", |scene| {
        scene.host.open().unwrap();
    }),
    ("freeze", |scene| {
        let _ = scene.host.freeze();
    }),
    ("freeze of one", |scene| {
        let _ = ops::freeze_session(&scene.host, scene.new);
    }),
    ("freeze of a user's", |scene| {
        let _ = ops::freeze_session(&scene.host, scene.hers);
    }),
    ("vetoed freeze", |scene| {
        scene.host.fail(Call::Freeze, 1, Errno::EBUSY);
        let _ = scene.host.freeze();
        scene.host.script().relent();
    }),
    ("unfreeze", |scene| scene.host.unfreeze()),
    ("prepare", |scene| {
        let _ = ops::prepare(&scene.host);
    }),
    ("freeze by event", |scene| {
        let _ = ops::freeze(&scene.host);
    }),
    ("finish by event", |scene| {
        let _ = scene.host.finish_update();
    }),
    ("unpreserve", |scene| {
        let _ = ops::unpreserve_file(&scene.host, scene.new, 2);
    }),
    ("register", |scene| {
        if let Ok(session) = ops::create_device_session(&scene.host) {
            scene.hold(session);
            let _ = scene.host.register_file(session, 60);
        }
    }),
    ("depend", |scene| {
        let on = Needed::Here(2);
        let _ = scene.host.needs(scene.new, 1, on);
        let _ = scene.host.drops(scene.new, 1, on);
    }),
    ("incoming FLB", |scene| {
        if let Ok(object) = scene.host.get_incoming(1) {
            drop(object);
            scene.host.put_incoming(1);
        }
    }),
    ("incoming FLB that is kept", |scene| {
        if let Ok(object) = scene.host.get_incoming(1) {
            scene.objects.lock().unwrap().push(object);
        }
    }),
    ("outgoing FLB", |scene| {
        if let Ok(object) = scene.host.get_outgoing(1) {
            drop(object);
            scene.host.put_outgoing(1);
        }
    }),
    ("change of handlers", |scene| {
        let _ = scene.host.unregister(1);
        // Another change may have been in between, and has registered it.
        let _ = scene.host.try_register(1);
    }),
];

/// False if the first has fewer steps than that.
fn run(scene: Scene, first: Operation, second: Operation, at: usize) -> bool {
    let scene = Arc::new(scene);
    let other: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
    let (begun, its) = (Arc::clone(&other), Arc::clone(&scene));
    let mut steps = 0;
    scene.host.set_hook(move |host, call, _| {
        if call != Call::Step || begun.lock().unwrap().is_some() {
            return;
        }
        if steps == at {
            let its = Arc::clone(&its);
            let thread = thread::spawn(move || second.1(&its));
            while !thread.is_finished()
                && host.waiting.load(std::sync::atomic::Ordering::SeqCst) == 0
            {
                thread::yield_now();
            }
            *begun.lock().unwrap() = Some(thread);
        }
        steps += 1;
    });
    first.1(&scene);
    let thread = other.lock().unwrap().take();
    let reached = thread.is_some();
    if let Some(thread) = thread {
        thread.join().expect("the second operation");
    }
    scene.end();
    reached
}

fn all_pairs(frozen: bool, opened: bool) {
    let previous = previous();
    for &first in OPERATIONS {
        for &second in OPERATIONS {
            let mut at = 0;
            loop {
                let outcome = std::panic::catch_unwind(|| {
                    run(Scene::new(&previous, frozen, opened), first, second, at)
                });
                match outcome {
                    Ok(true) => at += 1,
                    Ok(false) => break,
                    Err(_) => panic!("{}, at step {at}: {}", first.0, second.0),
                }
            }
            assert!(at > 0 || first.0 == "change of handlers", "{}", first.0);
        }
    }
}

#[test]
fn in_a_normal_machine() {
    all_pairs(false, true);
}

#[test]
fn with_sessions_that_cannot_be_finished() {
    all_pairs(false, false);
}

#[test]
fn in_a_frozen_machine_with_orphans() {
    all_pairs(true, true);
}
