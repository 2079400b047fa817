// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that the agent has let go of and some program has still, mostly a child that a workload
//! has left behind.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;
use std::{fs, io};

use super::*;

/// A descriptor store that takes nothing, so it has no copy that it may not have closed yet.
struct Refuses;

impl Keeper for Refuses {
    fn keep(&self, _label: &str, _fd: BorrowedFd<'_>, _patience: Duration) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn close(&self, _label: &str) -> io::Result<()> {
        Ok(())
    }
}

/// Writes down in the made-up `/proc` that a program has a session.
fn has(world: &World, session: &str) {
    let process = world.folder.path().join("system/proc/77");
    fs::create_dir_all(process.join("fdinfo")).unwrap();
    fs::write(process.join("comm"), "sleep\n").unwrap();
    let text = format!("luo-name:      {session}\nluo-direction: outgoing\n");
    fs::write(process.join("fdinfo/3"), text).unwrap();
}

async fn makes(world: &World, peer: &Peer, session: &str) -> Result<OwnedFd, Error> {
    world.agent.create_session(&peer.caller, session).await
}

async fn checked(world: &World) -> Vec<String> {
    let report = world.agent.check_target(&world.target).await;
    assert!(report.ok, "it is a warning");
    let checks = report.checks.into_iter();
    let those = checks.filter(|check| check.name == "running-sessions");
    those.map(|check| check.found).collect()
}

/// Why it may not make the session that it had before.
async fn is_refused(world: &World, peer: &Peer) -> String {
    makes(world, peer, "db.log").await.unwrap_err().to_string()
}

#[test]
fn what_a_child_has_kept_is_told_before_anybody_is_asked() {
    run(async {
        let kernel = Fake::default();
        kernel.lists_incoming();
        let world = World::with_store(OPEN, kernel, "", Store::of(Refuses));
        let (world, mut peer) = with_one_in(world).await;
        let copy = makes(&world, &peer, "db.log").await.unwrap();
        assert!(checked(&world).await.is_empty(), "it is the workload's");
        world.agent.disconnected(&mut peer.caller);
        let closing = |name| world.agent.state.borrow().sessions.is_closing(name);
        until(|| !closing("db.log") && !closing("db.ram")).await;

        let words = "session 'db.log' is open, and luod does not have it: 'db' cannot make one";
        let found = checked(&world).await;
        assert!(found.len() == 1 && found[0].starts_with(words), "{found:?}");
        let warned = warnings(&world).await;
        assert!(
            warned.iter().any(|text| text.starts_with(words)),
            "{warned:?}"
        );
        // It is refused at once, and not to be tried again.
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        let refused = is_refused(&world, &peer).await;
        assert!(refused.contains("EEXIST"), "{refused}");
        assert!(
            refused.contains("a program that luod may not look at"),
            "{refused}"
        );

        has(&world, "db.log");
        let refused = is_refused(&world, &peer).await;
        assert!(refused.contains("is open in sleep (77)"), "{refused}");
        let found = checked(&world).await;
        assert!(found[0].ends_with("it is open in sleep (77)"), "{found:?}");

        // When that program has ended, all is well.
        drop(copy);
        drop(makes(&world, &peer, "db.log").await.unwrap());
        assert!(checked(&world).await.is_empty());
        assert!(
            !warnings(&world)
                .await
                .iter()
                .any(|text| text.starts_with(words))
        );
    });
}

/// A program that nobody has let anything to counts as well: it has what a workload asks for.
#[test]
fn what_another_program_has_made_is_told_once_a_workload_was_refused() {
    run(async {
        let kernel = Fake::default();
        kernel.lists_incoming();
        let others = kernel.create("db.log").unwrap();
        let (world, peer) = with_one_in(World::new(OPEN, kernel)).await;
        assert!(checked(&world).await.is_empty(), "it may be nobody's here");
        let refused = is_refused(&world, &peer).await;
        assert!(refused.contains("EEXIST"), "{refused}");
        assert_eq!(checked(&world).await.len(), 1);
        drop(others);
        assert!(checked(&world).await.is_empty());
    });
}

#[test]
fn as_long_as_the_manager_may_have_its_copy_only_who_is_seen_counts() {
    run_fast(async {
        let (world, peer) = with_one_in(World::kept_by(shelf::Shelf)).await;
        let copy = makes(&world, &peer, "db.log").await.unwrap();
        world
            .agent
            .drop_session(&peer.caller, "db.log")
            .await
            .unwrap();
        let refused = is_refused(&world, &peer).await;
        assert!(
            refused.contains("the service manager, which may"),
            "{refused}"
        );
        has(&world, "db.log");
        let refused = is_refused(&world, &peer).await;
        assert!(refused.contains("is open in sleep (77)"), "{refused}");
        drop(copy);
        drop(makes(&world, &peer, "db.log").await.unwrap());
    });
}
