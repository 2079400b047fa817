// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random histories of workloads and administrators. At any time a session has one owner,
//! and nothing is held for a workload that is forgotten; each history ends in NORMAL.

use luo_varlink::{EventKind, Step};
use proptest::prelude::*;

use super::*;

/// An act of a workload or an administrator. Numbers are taken modulo the count of what
/// there is.
#[derive(Clone, Debug)]
enum Act {
    Register(usize),
    Unregister(usize),
    Create(usize, usize),
    Drop(usize, usize),
    /// Answers what it was asked, or vetoes.
    Answer(usize, bool),
    Detach(usize),
    Claim(usize, usize),
    Restored(usize),
    Finish(usize, usize),
    Disconnect(usize),
    Prepare,
    Freeze,
    Jump,
    Cancel,
    EndRestore(bool),
    Release(usize),
    /// The kernel refuses its next call of a kind.
    Refuse(usize),
    /// Others get their turn.
    Turn,
}

const WORKLOADS: usize = 3;
const SESSIONS: usize = 4;
const CALLS: [&str; 6] = [
    "CREATE_SESSION",
    "RETRIEVE_SESSION",
    "FINISH",
    "PREPARE",
    "FREEZE",
    "kexec_file_load",
];

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..WORKLOADS;
    let which = || 0..SESSIONS;
    prop_oneof![
        4 => who().prop_map(Act::Register),
        1 => who().prop_map(Act::Unregister),
        4 => (who(), which()).prop_map(|(who, which)| Act::Create(who, which)),
        1 => (who(), which()).prop_map(|(who, which)| Act::Drop(who, which)),
        6 => (who(), prop::bool::weighted(0.1)).prop_map(|(who, veto)| Act::Answer(who, veto)),
        2 => who().prop_map(Act::Detach),
        3 => (who(), which()).prop_map(|(who, which)| Act::Claim(who, which)),
        2 => who().prop_map(Act::Restored),
        2 => (who(), which()).prop_map(|(who, which)| Act::Finish(who, which)),
        1 => who().prop_map(Act::Disconnect),
        3 => Just(Act::Prepare),
        3 => Just(Act::Freeze),
        1 => Just(Act::Jump),
        1 => Just(Act::Cancel),
        1 => any::<bool>().prop_map(Act::EndRestore),
        1 => which().prop_map(Act::Release),
        1 => (0..CALLS.len()).prop_map(Act::Refuse),
        4 => Just(Act::Turn),
    ]
}

fn workload(number: usize) -> String {
    format!("w{number}")
}

/// The world, and who is connected. Calls that wait run as tasks, as in the server.
struct Stage {
    world: World,
    peers: Vec<Peer>,
    /// Connections so far.
    count: u64,
}

impl Stage {
    fn new(incoming: bool) -> Self {
        let world = match incoming {
            false => World::new(OPEN, Fake::default()),
            true => restoring(
                Fake::with_incoming(&["s0", "s1"]),
                &[("w0", &["s0"], &[]), ("w1", &["s1", "s2"], &["w0"])],
            ),
        };
        let peers = (1..).map(|number| Peer::new(number, 990)).take(WORKLOADS);
        Self {
            world,
            peers: peers.collect(),
            count: WORKLOADS as u64,
        }
    }

    fn copy(&self, who: usize) -> Caller {
        let caller = &self.peers[who].caller;
        Caller {
            connection: caller.connection,
            identity: caller.identity.clone(),
            workload: caller.workload.clone(),
            group: None,
        }
    }

    async fn act(&mut self, act: &Act) {
        let agent = Rc::clone(&self.world.agent);
        let session = |which: usize| format!("s{which}");
        // Refusals are fine; what matters is what is left.
        match *act {
            Act::Register(who) => {
                let needs: &[&str] = if who == 1 { &["w0"] } else { &[] };
                let _ = self.peers[who].register(&self.world, &workload(who), needs);
            }
            Act::Unregister(who) => {
                let _ = agent.unregister(&mut self.peers[who].caller);
            }
            Act::Create(who, which) => {
                let _ = agent
                    .create_session(&self.peers[who].caller, &session(which))
                    .await;
            }
            Act::Drop(who, which) => {
                let _ = agent
                    .drop_session(&self.peers[who].caller, &session(which))
                    .await;
            }
            Act::Answer(who, veto) => {
                let Some(event) = self.peers[who].inbox.take() else {
                    return;
                };
                let step = match event.kind {
                    EventKind::Prepare => Step::Prepare,
                    EventKind::Freeze => Step::Freeze,
                    EventKind::Cancel => return,
                };
                let veto = veto.then_some("no");
                let _ = agent.answer(&self.peers[who].caller, &event.update, step, veto);
            }
            Act::Detach(who) => {
                let _ = agent.detach(&mut self.peers[who].caller);
            }
            Act::Claim(who, which) => {
                // The peer may be gone before the answer: the task is not waited for.
                let caller = self.copy(who);
                tokio::task::spawn_local(async move {
                    let _ = agent.claim(&caller, &session(which)).await;
                });
            }
            Act::Restored(who) => {
                let _ = agent.restored(&self.peers[who].caller);
            }
            Act::Finish(who, which) => {
                let _ = agent
                    .finish_session(&self.peers[who].caller, &session(which))
                    .await;
            }
            Act::Disconnect(who) => {
                agent.disconnected(&mut self.peers[who].caller);
                self.count += 1;
                self.peers[who] = Peer::new(self.count, 990);
                agent.heed().await;
            }
            Act::Prepare => {
                let target = self.world.target.clone();
                tokio::task::spawn_local(async move { drop(agent.prepare(&target).await) });
            }
            Act::Freeze => {
                tokio::task::spawn_local(async move { drop(agent.freeze().await) });
            }
            Act::Jump => {
                tokio::task::spawn_local(async move { drop(agent.jump().await) });
            }
            Act::Cancel => {
                let _ = agent.cancel(None).await;
            }
            Act::EndRestore(release) => {
                let _ = agent.finish(release).await;
            }
            Act::Release(which) => {
                let _ = agent.release(&session(which)).await;
            }
            Act::Refuse(call) => self.world.kernel.refuse(CALLS[call]),
            Act::Turn => {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
        }
        self.holds();
    }

    /// Asserts the invariants that hold at any time.
    fn holds(&self) {
        let state = self.world.agent.state.borrow();
        for (name, held) in state.sessions.iter() {
            let owner = state.workloads.get(&held.workload);
            assert!(owner.is_some(), "{name} is held for {}", held.workload);
        }
        for name in self.world.kernel.finished() {
            assert!(!self.world.kernel.incoming().contains(&name));
        }
        let moves = !matches!(state.phase.0, Phase::Normal | Phase::Updated);
        assert_eq!(state.update.is_some(), moves, "{}", state.phase.0);
        assert_eq!(state.restore.is_some(), state.phase.0 == Phase::Updated);
        for peer in &self.peers {
            let Some(name) = &peer.caller.workload else {
                continue;
            };
            let link = state
                .workloads
                .get(name)
                .and_then(|known| known.link.as_ref());
            let connection = link.map(|link| link.connection);
            assert_eq!(connection, Some(peer.caller.connection), "{name}");
        }
    }

    /// Everybody goes, and nothing is left but what was left on purpose.
    async fn end(&mut self) {
        let agent = Rc::clone(&self.world.agent);
        // What was begun is under way: no administrator begins an update after the end.
        self.act(&Act::Turn).await;
        for peer in &mut self.peers {
            agent.disconnected(&mut peer.caller);
            agent.heed().await;
        }
        agent.shut_down().await;
        // A refusal of the kernel may be left to come.
        for _ in 0..=CALLS.len() {
            let _ = agent.finish(true).await;
        }
        assert_eq!(self.world.phase(), Phase::Normal);
        let left: Vec<_> = {
            let state = agent.state.borrow();
            assert!(!state.sessions.any_busy());
            state
                .sessions
                .iter()
                .map(|(name, _)| name.clone())
                .collect()
        };
        for name in left {
            for _ in 0..2 {
                let _ = agent.release(&name).await;
            }
        }
        self.holds();
        assert!(agent.state.borrow().sessions.iter().next().is_none());
        until(|| self.world.kernel.held().is_empty()).await;
        assert!(!self.world.kernel.is_prepared());
        assert!(self.world.kernel.incoming().is_empty());
        assert!(agent.plan().obstacles.is_empty(), "{:?}", agent.plan());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_history_ends_well(incoming: bool, acts in prop::collection::vec(act(), 0..60)) {
        run(async {
            let mut stage = Stage::new(incoming);
            for act in &acts {
                stage.act(act).await;
            }
            stage.end().await;
        });
    }
}
