// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor store has a session, and its note is gone.

use luo_sys::Session;
use luo_varlink::Custody;

use super::*;
use crate::manager::store::Stored;

/// What the store has of a session.
fn stored(kernel: &Fake, name: &str) -> Stored {
    Stored {
        name: name.into(),
        session: kernel.create(name).unwrap().into(),
        is_it: true,
    }
}

#[test]
fn it_is_kept_told_and_released_by_force_only() {
    run(async {
        let kernel = Fake::default();
        let world = World::new(OPEN, kernel.clone());
        let agent = &world.agent;
        let left = stored(&kernel, "dump");
        // Half a note, as a full disk leaves it.
        let note = agent.notes.folder().join("workloads/dump");
        std::fs::write(note, "{\"workload\":\"dump\"").unwrap();
        agent.start(vec![left]).await.unwrap();
        assert!(kernel.held().contains("dump"), "it is not closed");
        let listed = agent.sessions().await.unwrap();
        assert_eq!(listed[0].custody, Custody::Agent);
        let warnings = agent.status().await.warnings.unwrap().concat();
        let report = agent.check_target(&world.target).await;
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.found.contains("'dump'")).unwrap();
        assert!(!report.ok, "{report:?}");
        for text in [&warnings, check.remedy.as_ref().unwrap()] {
            assert!(text.contains("`luoctl release --force dump`"), "{text}");
        }
        let refused = agent.prepare(&world.target).await.unwrap_err();
        assert!(matches!(refused, Refusal::BadPlan { .. }), "{refused}");
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "dump", &[]).unwrap();
        let refused = agent.create_session(&peer.caller, "dump").await;
        assert!(matches!(refused, Err(Error::Denied { .. })), "{refused:?}");
        assert!(agent.release_or_force("dump", false).await.is_err());
        assert!(kernel.held().contains("dump"), "not without force");
        agent.release_or_force("dump", true).await.unwrap();
        assert!(!kernel.held().contains("dump"));
        assert!(agent.status().await.warnings.is_none());
        drop(agent.create_session(&peer.caller, "dump").await.unwrap());
    });
}

/// This is the part of AttachSession after the kernel has named the session.
#[test]
fn whoever_has_a_copy_gives_it_back() {
    run(async {
        let kernel = Fake::default();
        let world = World::new(OPEN, kernel.clone());
        let agent = &world.agent;
        agent.start(vec![stored(&kernel, "dump")]).await.unwrap();
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "dump", &[]).unwrap();
        let copy = {
            let state = agent.state.borrow();
            let stray = state.strays.get("dump").unwrap();
            crate::kernel::duplicate(&stray.session).unwrap()
        };
        let copy = Session::from_fd(copy).into();
        agent.give_back(&peer.caller, "dump", copy).unwrap();
        assert!(agent.plan().obstacles.is_empty());
        assert_eq!(agent.notes.owners().unwrap().len(), 1, "it is noted again");
        assert!(kernel.held().contains("dump"));
    });
}
