// SPDX-License-Identifier: MIT OR Apache-2.0
//! The previous kernel's record cannot be read.

use std::time::Duration;

use luo_varlink::{CheckStatus, HistoryEntry, Outcome, TimelineEvent};

use super::*;
use crate::journal::history::History;
use crate::journal::notes::Owner;
use crate::manager::store::Stored;

/// A world whose record another version of luod has written.
fn with_record_of_another(kernel: &Fake) -> World {
    kernel.hands_over(b"of another version".to_vec());
    World::new(OPEN, kernel.clone())
}

#[test]
fn nobody_begins_afresh_beside_what_came_along() {
    run(async {
        let kernel = Fake::with_incoming(&["db.ram"]);
        let world = with_record_of_another(&kernel);
        let agent = &world.agent;
        agent.start(Vec::new()).await.unwrap();
        let mut peer = Peer::new(1, 990);
        let refused = peer.register(&world, "db", &[]).unwrap_err();
        let Error::Denied { reason } = &refused else {
            panic!("{refused}");
        };
        let made = agent.create_session(&peer.caller, "db.ram").await;
        assert!(made.is_err(), "a second session of that name");
        let warnings = agent.status().await.warnings.unwrap();
        let status = agent.status().await;
        assert!(status.unreadable.is_some() && status.unreadable == agent.why_unreadable());
        let report = agent.check_target(&world.target).await;
        assert!(!report.ok, "{report:?}");
        let mut failed = report.checks.iter();
        let failed = failed.find(|check| {
            check.status == CheckStatus::Failed && check.found.contains("record cannot be read")
        });
        let refused = agent.prepare(&world.target).await.unwrap_err();
        assert!(matches!(refused, Refusal::BadPlan { .. }), "{refused}");
        for text in [
            reason.as_str(),
            &warnings.concat(),
            failed.unwrap().remedy.as_deref().unwrap(),
            &refused.to_string(),
        ] {
            assert!(text.contains("`luoctl finish --release`"), "{text}");
        }
        let refused = agent.finish(false).await.unwrap_err();
        assert!(matches!(refused, Refusal::Unreadable { .. }), "{refused}");
        assert!(kernel.incoming().contains("db.ram"), "not touched");

        // The way out.
        agent.finish(true).await.unwrap();
        assert_eq!(agent.unreadable(), None);
        peer.register(&world, "db", &[]).unwrap();
        agent.release_or_force("db.ram", true).await.unwrap();
        assert!(kernel.finished().contains("db.ram"));
        assert!(agent.plan().obstacles.is_empty());
    });
}

/// It had made a session since the jump, when luod was started anew and found its record
/// damaged.
#[test]
fn who_is_known_by_a_note_is_held_back_and_loses_nothing() {
    run_fast(async {
        let kernel = Fake::default();
        let world = with_record_of_another(&kernel);
        let agent = &world.agent;
        let owner = Owner {
            workload: "db".into(),
            identity: identity(990),
            needs: Vec::new(),
            sessions: vec!["db.new".into()],
            incoming: Vec::new(),
            left: false,
            parked: Vec::new(),
        };
        agent.notes.set_owner(&owner).unwrap();
        let stored = Stored {
            name: "db.new".into(),
            session: kernel.create("db.new").unwrap().into(),
            is_it: true,
        };
        agent.start(vec![stored]).await.unwrap();
        let mut peer = Peer::new(1, 990);
        let refused = peer.register(&world, "db", &[]).unwrap_err();
        assert!(
            matches!(refused, Error::UpdateUnderWay { .. }),
            "it tries again: {refused}"
        );
        // Longer than any workload is waited for that was connected.
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert!(kernel.held().contains("db.new"));
        // From here on it has half a minute.
        tokio::time::resume();
        agent.finish(true).await.unwrap();
        peer.register(&world, "db", &[]).unwrap();
        let (claimed, _fd) = agent.claim(&peer.caller, "db.new").await.unwrap();
        assert!(!claimed.incoming);
    });
}

/// An update, as the disk has it that was about to jump.
fn under_way() -> HistoryEntry {
    HistoryEntry {
        update: "u-1".into(),
        outcome: Outcome::UnderWay,
        reason: Some("it is jumping; `luoctl status` says who is waited for".into()),
        began_us: 1,
        took_us: Some(1),
        blackout_us: None,
        from_kernel: "a".into(),
        to_kernel: "a".into(),
        timeline: Vec::new(),
    }
}

/// The disk has it as under way, and nobody knows what came of it.
#[test]
fn the_history_says_that_it_is_not_known() {
    run(async {
        let world = with_record_of_another(&Fake::default());
        let agent = &world.agent;
        agent.history.put_under_way(&under_way(), None);
        agent.start(Vec::new()).await.unwrap();
        let past = agent.past(10).await;
        let [told] = past.updates.as_slice() else {
            panic!("{past:?}");
        };
        let reason = told.reason.as_deref().unwrap();
        assert!(
            reason.contains("its record cannot be read") && !reason.contains("waited for"),
            "{reason}"
        );
    });
}

/// luod has read the record and noted it; when it is started again, that note is gone.
#[test]
fn a_record_whose_note_is_gone_is_missed() {
    run(async {
        let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
        let agent = &world.agent;
        let bytes = record(&[("db", &["db.ram"], &[])]).encode(1 << 20).unwrap();
        agent.notes.begin_record(&bytes).unwrap();
        std::fs::remove_file(agent.notes.folder().join("record")).unwrap();
        let updated = TimelineEvent {
            phase: Phase::Updated,
            ..agent.present()
        };
        let entry = HistoryEntry {
            timeline: vec![updated],
            ..under_way()
        };
        // An earlier luod of this boot has written it.
        let history = History::in_directory(&agent.config().state_directory);
        history.put_under_way(&entry, None);
        history.write().unwrap();
        agent.start(Vec::new()).await.unwrap();
        let why = agent.why_unreadable().unwrap();
        assert!(why.contains("the note of it: it is gone"), "{why}");
        let mut peer = Peer::new(1, 990);
        let refused = peer.register(&world, "db", &[]).unwrap_err();
        assert!(refused.to_string().contains("`luoctl finish --release`"));

        agent.finish(true).await.unwrap();
        agent.until_written().await;
        let told = agent.past(1).await.updates.remove(0);
        assert_eq!(told.outcome, Outcome::Incomplete);
        assert!(told.reason.unwrap().contains("it is gone"));
        assert!(agent.notes.record().unwrap().is_none());
    });
}
