// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configuration and a policy that are read anew.

use super::*;

fn config(world: &World, text: &str) -> Config {
    let state_directory = world.agent.config().state_directory.clone();
    Config {
        state_directory,
        ..Config::parse(text).unwrap()
    }
}

#[test]
fn a_policy_counts_at_once() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        let config = config(&world, "");
        world.agent.reload(config, Policy::default());
        let mut other = Peer::new(2, 990);
        let refused = other.register(&world, "web", &[]).unwrap_err();
        assert!(matches!(refused, Error::Denied { .. }), "{refused}");
        other.register(&world, "uid-990", &[]).unwrap();
    });
}

#[test]
fn an_update_ends_by_the_configuration_that_it_began_with() {
    run(async {
        let (world, _peer) = prepared().await;
        let other = config(
            &world,
            "freeze_deadline = 3\nstate_directory = \"/nonexistent\"",
        );
        let freeze = |world: &World| world.agent.config().patience("db", Step::Freeze).as_secs();
        world.agent.reload(other, Policy::parse(OPEN).unwrap());
        assert_eq!(freeze(&world), 600);
        world.agent.cancel(None).await.unwrap();
        assert_eq!(freeze(&world), 3);
        // The history is where it was.
        assert_eq!(world.agent.history().last(1).unwrap().updates.len(), 1);
    });
}

/// All else of a configuration counts from the end of the update on.
#[test]
fn a_state_directory_that_takes_a_restart_stands_in_the_status() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let warnings = async || world.agent.status().await.warnings.unwrap_or_default();
        assert!(warnings().await.is_empty(), "{:?}", warnings().await);
        let here = config(&world, "");
        let another = Config {
            state_directory: "/another".into(),
            ..here.clone()
        };
        world.agent.reload(another, Policy::default());
        let told = warnings().await;
        let [told] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert!(
            told.contains("state_directory is /another by now"),
            "{told}"
        );
        assert!(told.contains("systemctl restart luod"), "{told}");
        world.agent.reload(here, Policy::default());
        assert!(warnings().await.is_empty());
    });
}

#[test]
fn the_next_scope_gets_what_one_has_left() {
    run(async {
        let rule = "[[allow]]\nunit = \"machine-qemu*.scope\"\nnames = [\"vm*\"]\n";
        let scope = |connection, unit: &str| {
            let mut peer = Peer::new(connection, 0);
            peer.caller.identity.unit = Some(unit.to_owned());
            peer
        };
        let world = World::new(rule, Fake::with_incoming(&["vm.ram"]));
        let mut record = record(&[("vm", &["vm.ram"], &[])]);
        let left = scope(1, "machine-qemu\\x2d1\\x2dguest.scope");
        record.participants[0].identity = left.caller.identity.clone();
        world.agent.begin_restore(record, Progress::default());
        // Neither root itself nor a scope that no rule names.
        let mut root = Peer::new(2, 0);
        let refused = root.register(&world, "vm", &[]).unwrap_err();
        assert!(refused.to_string().contains("has sessions of"), "{refused}");
        let mut other = scope(3, "docker-0123.scope");
        let refused = other.register(&world, "vm", &[]).unwrap_err();
        assert!(
            refused.to_string().contains("of which a scope has none"),
            "{refused}"
        );
        let mut next = scope(4, "machine-qemu\\x2d2\\x2dguest.scope");
        next.register(&world, "vm", &[]).unwrap();
        let (claimed, _) = world.agent.claim(&next.caller, "vm.ram").await.unwrap();
        assert!(claimed.incoming);
    });
}

/// It runs on with what it has read; the luod of the next kernel could not even be started.
#[test]
fn a_configuration_that_cannot_be_used_keeps_an_update_from_beginning() {
    run(async {
        let (world, peer) = with_one().await;
        *world.unusable.lock().unwrap() = Some(Unusable {
            why: "luod.toml: line 1: a mistake".to_owned(),
            remedy: "mend it",
        });
        let report = world.agent.check_target(&world.target).await;
        assert!(!report.ok, "{report:?}");
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == "running-configuration");
        let check = check.unwrap();
        assert!(check.found.contains("line 1: a mistake"), "{check:?}");
        assert_eq!(check.remedy.as_deref(), Some("mend it"));
        assert!(world.agent.prepare(&world.target).await.is_err());
        assert_eq!(world.phase(), Phase::Normal);
        *world.unusable.lock().unwrap() = None;
        let report = world.agent.check_target(&world.target).await;
        let mut checks = report.checks.iter();
        assert!(checks.all(|check| check.name != "running-configuration"));
        drop(peer);
    });
}

#[test]
fn a_configuration_that_could_not_be_read_again_is_told() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        agent.stays_as_it_was("/etc/luod/luod.toml: line 3".into());
        assert!(warnings(&world).await[0].contains("luod.toml: line 3"));
        let config = Config::clone(&agent.config());
        agent.reload(config, Policy::parse(OPEN).unwrap());
        assert_eq!(warnings(&world).await, Vec::<String>::new());
    });
}
