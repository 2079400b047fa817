// SPDX-License-Identifier: MIT OR Apache-2.0
//! What luod alone has, and who keeps it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::manager::store::{Keeper, Which};

/// A supervisor that can die, with the labels that it keeps.
#[derive(Clone, Default)]
struct Mortal(Arc<Mutex<(Option<i64>, BTreeSet<String>)>>);

impl Mortal {
    fn becomes(&self, which: Option<i64>) {
        *self.0.lock().unwrap() = (which, BTreeSet::new());
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }
}

impl Keeper for Mortal {
    fn which(&self) -> Option<Which> {
        self.0.lock().unwrap().0.map(|number| [number; 4])
    }

    fn ends_with_the_agent(&self) -> bool {
        true
    }

    fn keep(&self, label: &str, _fd: BorrowedFd<'_>, _patience: Duration) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap();
        if kept.0.is_none() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        assert!(kept.1.insert(label.to_owned()), "twice: {label}");
        Ok(())
    }

    fn close(&self, label: &str) -> io::Result<()> {
        self.0.lock().unwrap().1.remove(label);
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
