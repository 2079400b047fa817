// SPDX-License-Identifier: MIT OR Apache-2.0
//! Targets and files, as they are checked before anybody is asked.

use std::sync::Arc;

use luo_preflight::file::Kind;
use luo_varlink::CheckStatus;
use luo_varlink::admin::Error as Refusal;

use super::*;
use crate::agent::Declaration;

/// What `update` refuses, `check` does not call possible.
#[test]
fn after_the_jump_it_says_who_has_not_finished() {
    run(async {
        let two: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram"], &[]), ("web", &[], &[])];
        let world = restoring(Fake::with_incoming(&["db.ram"]), two);
        let agent = &world.agent;
        let state = async || {
            let report = agent.check_target(&world.target).await;
            let mut checks = report.checks.into_iter();
            let check = checks
                .find(|check| check.name == "running-state" && check.status == CheckStatus::Failed);
            (report.ok, check.map(|check| check.found))
        };
        let words = "luod is updated, update u-1 is not over: db has not finished db.ram; web \
                     does not serve yet";
        assert_eq!(state().await, (false, Some(words.to_owned())));
        let mut web = Peer::new(1, 990);
        web.register(&world, "web", &[]).unwrap();
        agent.restored(&web.caller).unwrap();
        let found = state().await.1.unwrap();
        assert!(
            found.ends_with("over: db has not finished db.ram"),
            "{found}"
        );
        assert!(agent.prepare(&world.target).await.is_err());
        comes_back(&world).await;
        assert_eq!(world.phase(), Phase::Normal);
        assert_eq!(state().await.1, None);
    });
}

#[test]
fn an_initrd_that_is_none_is_found_out_before_anybody_is_asked() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    run(async {
        let (mut world, peer) = with_one().await;
        let fifo = world.folder.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let empty = world.folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        // The beginning of an archive, as a copy leaves it whose disk is full.
        let cut = world.folder.path().join("cut");
        std::fs::write(&cut, "070701").unwrap();
        let folder = world.folder.path().to_owned();
        for path in [fifo, empty, cut, folder, "/dev/zero".into()] {
            world.target.initrd = path.to_str().map(str::to_owned);
            let refused = world.agent.prepare(&world.target).await.unwrap_err();
            assert!(
                matches!(refused, Refusal::CheckFailed { .. }),
                "{path:?}: {refused}"
            );
            assert!(
                refused.to_string().contains("target-initrd"),
                "{path:?}: {refused}"
            );
            assert!(peer.inbox.take().is_none());
        }
    });
}

/// The check of a name in a report.
fn found<'a>(report: &'a luo_varlink::Report, name: &str) -> &'a luo_varlink::Check {
    let mut checks = report.checks.iter();
    let check = checks.find(|check| check.name == name);
    check.unwrap_or_else(|| panic!("{name} in {report:?}"))
}

#[test]
fn a_file_of_a_kind_that_is_not_taken_in_is_answered() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        drop(agent.create_session(&peer.caller, "db").await.unwrap());
        for kind in [
            Kind::Path,
            Kind::Other("a folder"),
            Kind::Object("a device"),
        ] {
            let file = Declaration::NotTaken(kind);
            let declared = agent.declare(&peer.caller, "db", 1, file).await.unwrap();
            let check = found(&declared.report, "file-kind");
            assert_eq!(check.status, CheckStatus::Failed, "{check:?}");
        }
        // The kernel cannot be asked now, as where somebody else has the device open.
        world.kernel.refuse("LIST_PARTICIPANTS");
        let file = Declaration::NotTaken(Kind::Object("a device"));
        let declared = agent.declare(&peer.caller, "db", 1, file).await.unwrap();
        let check = found(&declared.report, "file-kind");
        assert!(check.found.contains("of memfd-v2 only"), "{check:?}");
    });
}

#[test]
fn where_nothing_is_named_the_boot_loaders_entry_is_taken() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let report = world.agent.check_target(&Target::default()).await;
        let check = found(&report, "target-entry");
        assert_eq!(check.status, CheckStatus::Ok);
        assert!(check.found.contains("boot/vmlinuz"), "{check:?}");
        let named = Target {
            entry: Some("nobody".to_owned()),
            ..Target::default()
        };
        let report = world.agent.check_target(&named).await;
        let check = found(&report, "target-entry");
        assert!(!report.ok && check.found.contains("nobody"), "{check:?}");
        // Nothing is said of an image that nobody knows.
        assert!(
            report
                .checks
                .iter()
                .all(|check| check.name != "target-image")
        );
    });
}

#[test]
fn declared_files_are_limited_by_user() {
    run(async {
        let policy = format!("{OPEN}[limits]\nfiles = 2\nsessions = 1\n");
        let world = World::new(&policy, Fake::default());
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        drop(agent.create_session(&peer.caller, "db").await.unwrap());
        let refused = agent
            .create_session(&peer.caller, "db.2")
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::TooMany { .. }), "{refused}");
        let memfd = Arc::new(luo_sys::memfd::create("x", 4096).unwrap());
        let declare = async |session: &str, token| {
            let fd = std::os::fd::OwnedFd::from(memfd.try_clone().unwrap());
            let file = Declaration::File(fd.into());
            agent.declare(&peer.caller, session, token, file).await
        };
        for token in 0..2 {
            declare("db", token).await.unwrap();
        }
        let refused = declare("db", 2).await.unwrap_err();
        assert!(matches!(refused, Error::TooMany { .. }), "{refused}");
        assert!(declare("other", 0).await.is_err());
    });
}
