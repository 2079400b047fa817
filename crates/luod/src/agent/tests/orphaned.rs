// SPDX-License-Identifier: MIT OR Apache-2.0
//! What luod alone has, and who keeps it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::manager::keeper::{Keeper, Which};

/// What there is of a supervisor.
#[derive(Default)]
struct Life {
    which: Option<i64>,
    /// The labels that it keeps.
    labels: BTreeSet<String>,
    /// It reads nothing.
    sulks: bool,
}

/// A supervisor that can die, and stand still.
#[derive(Clone, Default)]
struct Mortal(Arc<Mutex<Life>>);

impl Mortal {
    fn becomes(&self, which: Option<i64>) {
        let mut life = self.0.lock().unwrap();
        (life.which, life.labels) = (which, BTreeSet::new());
    }

    fn sulks(&self, sulks: bool) {
        self.0.lock().unwrap().sulks = sulks;
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().labels.len()
    }
}

impl Keeper for Mortal {
    fn which(&self) -> Option<Which> {
        self.0.lock().unwrap().which.map(|number| [number; 4])
    }

    fn ends_with_the_agent(&self) -> bool {
        true
    }

    fn keep(&self, label: &str, _fd: BorrowedFd<'_>, _patience: Duration) -> io::Result<()> {
        let mut life = self.0.lock().unwrap();
        if life.which.is_none() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if life.sulks {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        assert!(life.labels.insert(label.to_owned()), "twice: {label}");
        Ok(())
    }

    fn close(&self, label: &str) -> io::Result<()> {
        let mut life = self.0.lock().unwrap();
        if life.sulks {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        life.labels.remove(label);
        Ok(())
    }
}

fn custody(world: &World) -> Option<String> {
    world.agent.unkept().map(|(words, _)| words)
}

#[test]
fn who_takes_over_gets_all_that_luod_has() {
    run(async {
        let supervisor = Mortal::default();
        supervisor.becomes(Some(1));
        let world = World::kept_by(supervisor.clone());
        let (world, mut peer) = with_one_in(world).await;
        world.agent.detach(&mut peer.caller).unwrap();
        assert_eq!((supervisor.count(), custody(&world)), (1, None));

        supervisor.becomes(None);
        let words = custody(&world).unwrap();
        assert!(words.contains("would be lost: db.ram"), "{words}");
        let report = world.agent.check_target(&world.target).await;
        assert!(report.ok, "an update takes it along");
        assert!(report.checks.iter().any(|check| check.name == "custody"));
        let mut other = Peer::new(2, 990);
        other.register(&world, "web", &[]).unwrap();
        let made = world.agent.create_session(&other.caller, "web.ram").await;
        drop(made.unwrap());
        let refused = world
            .agent
            .detach(&mut other.caller)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("supervisor is gone"), "{refused}");

        // It has all, once, by whoever looks first; and nothing is put in again after that.
        supervisor.becomes(Some(2));
        for _ in 0..2 {
            world.agent.look_at_the_store();
            assert_eq!((supervisor.count(), custody(&world)), (2, None));
        }
        world.agent.detach(&mut other.caller).unwrap();

        // One after another, with no look in between.
        supervisor.becomes(Some(3));
        world.agent.look_at_the_store();
        assert_eq!(supervisor.count(), 2);
    });
}

/// A session that is being claimed, one whose note is gone, and one that is left: whoever takes
/// over gets them by the one way that there is, however long it reads nothing.
#[test]
fn who_takes_over_and_stands_still_gets_all_when_it_goes_on() {
    run(async {
        let supervisor = Mortal::default();
        supervisor.becomes(Some(1));
        let kernel = Fake::with_incoming(&["db.ram"]);
        let stray = kernel.create("lost.ram").unwrap();
        let world = World::with_store(OPEN, kernel, "", Store::of(supervisor.clone()));
        let agent = Rc::clone(&world.agent);
        agent.begin_restore(record(&[("db", &["db.ram"], &[])]), Progress::default());
        assert!(agent.store.put("lost.ram", &stray));
        agent.keep_stray("lost.ram", stray.into());
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        drop(agent.create_session(&peer.caller, "db.log").await.unwrap());
        assert_eq!(supervisor.count(), 2);

        let gate = world.hold().await;
        let mut claim = std::pin::pin!(agent.claim(&peer.caller, "db.ram"));
        tokio::select! {
            biased;
            _ = &mut claim => panic!("the kernel is held"),
            () = tokio::task::yield_now() => {}
        }
        supervisor.becomes(Some(2));
        supervisor.sulks(true);
        agent.look_at_the_store();
        assert_eq!(supervisor.count(), 0);
        assert!(custody(&world).is_some_and(|words| words.contains("lost.ram")));
        let ((), claimed) = tokio::join!(async { drop(gate) }, claim);
        drop(claimed.unwrap());
        supervisor.sulks(false);
        until(|| supervisor.count() == 3 && !agent.stores_later.get()).await;
        assert_eq!(custody(&world), None);
        // Each has one label, and goes with it.
        agent.release_stray("lost.ram").await;
        agent.drop_session(&peer.caller, "db.log").await.unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        until(|| supervisor.count() == 0).await;
    });
}
