// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session comes into the descriptor store, and goes from there.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::journal::notes::Owner;
use crate::kernel::duplicate;
use crate::manager::keeper::Keeper;

/// A world with a store, and a workload that has nothing yet.
fn kept_by(keeper: impl Keeper + 'static) -> (World, Peer) {
    let world = World::kept_by(keeper);
    let mut peer = Peer::new(1, 990);
    peer.register(&world, "db", &[]).unwrap();
    (world, peer)
}

/// A store that looks, whenever it is given a session, whether the notes say whose that is.
#[derive(Clone, Default)]
struct Looks {
    folder: Arc<Mutex<PathBuf>>,
    seen: Arc<Mutex<Vec<bool>>>,
}

impl Keeper for Looks {
    fn keep(&self, _label: &str, fd: BorrowedFd<'_>, _patience: Duration) -> std::io::Result<()> {
        let mut name = [0; 64];
        let read = rustix::net::recv(fd, &mut name[..], rustix::net::RecvFlags::PEEK)?.0;
        let name = String::from_utf8(name[..read].to_vec()).unwrap();
        let owners = notes(&self.folder.lock().unwrap()).owners()?;
        let is_noted = owners.iter().any(|owner| owner.sessions.contains(&name));
        self.seen.lock().unwrap().push(is_noted);
        Ok(())
    }

    fn close(&self, _label: &str) -> std::io::Result<()> {
        Ok(())
    }
}

/// luod may be killed at any moment: what the store has is somebody's.
#[test]
fn whose_a_session_is_is_noted_before_the_store_has_it() {
    run(async {
        let store = Looks::default();
        let (world, peer) = kept_by(store.clone());
        *store.folder.lock().unwrap() = world.folder.path().to_owned();
        let agent = &world.agent;
        let made = agent.create_session(&peer.caller, "db.ram").await.unwrap();
        let copy = duplicate(&world.kernel.create("db.log").unwrap()).unwrap();
        let given = luo_sys::Session::from_fd(copy).into();
        agent.give_back(&peer.caller, "db.log", given).unwrap();
        assert_eq!(*store.seen.lock().unwrap(), [true, true]);
        drop(made);
    });
}

/// luod was killed between the note and the store: the kernel has closed the session.
#[test]
fn a_note_of_a_session_that_is_nowhere_does_no_harm() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let owner = Owner {
            workload: "db".into(),
            identity: identity(990),
            needs: Vec::new(),
            sessions: vec!["db.ram".into()],
            incoming: Vec::new(),
            left: false,
            parked: Vec::new(),
        };
        agent.notes.set_owner(&owner).unwrap();
        agent.start(Vec::new()).await.unwrap();
        let (world, peer) = with_one_in(world).await;
        assert!(world.kernel.held().contains("db.ram"));
        assert!(world.agent.plan().obstacles.is_empty());
        drop(peer);
    });
}

/// A service manager that reads nothing as long as it is told to.
#[derive(Clone, Default)]
struct Sulks {
    sulks: Arc<std::sync::atomic::AtomicBool>,
    has: Arc<Mutex<std::collections::BTreeMap<String, std::os::fd::OwnedFd>>>,
}

impl Sulks {
    fn begins(&self, sulks: bool) {
        self.sulks
            .store(sulks, std::sync::atomic::Ordering::Relaxed);
    }

    fn count(&self) -> usize {
        self.has.lock().unwrap().len()
    }

    fn takes(&self) -> std::io::Result<()> {
        match self.sulks.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(std::io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }
}

impl Keeper for Sulks {
    fn keep(&self, label: &str, fd: BorrowedFd<'_>, _patience: Duration) -> std::io::Result<()> {
        self.takes()?;
        let known = self
            .has
            .lock()
            .unwrap()
            .insert(label.to_owned(), fd.try_clone_to_owned()?);
        assert!(known.is_none(), "label {label} is another session's");
        Ok(())
    }

    fn close(&self, label: &str) -> std::io::Result<()> {
        self.takes()?;
        assert!(self.has.lock().unwrap().remove(label).is_some(), "{label}");
        Ok(())
    }
}

#[test]
fn a_manager_that_reads_nothing_is_told_all_when_it_reads_again() {
    run_fast(async {
        let store = Sulks::default();
        let (world, mut peer) = kept_by(store.clone());
        let agent = &world.agent;
        let name = |number: usize| format!("db.{number}");
        for number in 0..5 {
            drop(
                agent
                    .create_session(&peer.caller, &name(number))
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(store.count(), 5);
        store.begins(true);
        for number in 5..16 {
            drop(
                agent
                    .create_session(&peer.caller, &name(number))
                    .await
                    .unwrap(),
            );
        }
        for number in 0..3 {
            agent
                .drop_session(&peer.caller, &name(number))
                .await
                .unwrap();
        }
        assert_eq!(agent.status().await.phase, Phase::Normal, "it answers");
        let refused = agent.detach(&mut peer.caller).unwrap_err().to_string();
        assert!(refused.contains("takes nothing just now"), "{refused}");
        assert_eq!(store.count(), 5);
        store.begins(false);
        agent.until(|agent| agent.store.is_behind().is_none()).await;
        while store.count() != 13 || agent.stores_later.get() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        agent.detach(&mut peer.caller).unwrap();
    });
}

/// The copy of a session in the store is closed whenever the manager comes to it.
#[test]
fn a_name_can_be_used_again_as_soon_as_the_manager_has_closed_its_copy() {
    run_fast(async {
        let store = Sulks::default();
        let (world, peer) = kept_by(store.clone());
        let agent = &world.agent;
        drop(agent.create_session(&peer.caller, "db.ram").await.unwrap());
        store.begins(true);
        agent.drop_session(&peer.caller, "db.ram").await.unwrap();
        let later = store.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            later.begins(false);
        });
        drop(agent.create_session(&peer.caller, "db.ram").await.unwrap());
        // It does not come to it.
        store.begins(true);
        agent.drop_session(&peer.caller, "db.ram").await.unwrap();
        let refused = agent
            .create_session(&peer.caller, "db.ram")
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("service manager"), "{refused}");
        // One that another program has is there at once.
        let others = world.kernel.create("db.log").unwrap();
        let refused = agent
            .create_session(&peer.caller, "db.log")
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("EEXIST"), "{refused}");
        drop(others);
    });
}
