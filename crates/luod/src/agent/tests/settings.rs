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
        let other = config(&world, "freeze_deadline = 3\nstate_directory = \"/nonexistent\"");
        let freeze = |world: &World| world.agent.config().patience("db", Step::Freeze).as_secs();
        world.agent.reload(other, Policy::parse(OPEN).unwrap());
        assert_eq!(freeze(&world), 600);
        world.agent.cancel(None).await.unwrap();
        assert_eq!(freeze(&world), 3);
        // The history is where it was.
        assert_eq!(world.agent.history().last(1).unwrap().updates.len(), 1);
    });
}
