// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent without sockets, on a made-up kernel.

mod cancel;
mod checked;
mod custody;
mod deadline;
mod doubt;
mod elsewhere;
mod ends;
mod fake;
mod foreign;
mod full;
mod handed_over;
mod hanging;
mod histories;
mod kernel_steps;
mod orphaned;
mod parked;
mod restore;
mod settings;
mod shelf;
mod shutdown;
mod strays;
mod unreadable;
mod update;

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use luo_timeline::Moment;
use luo_varlink::admin::Error as Refusal;
use luo_varlink::client::Error;
use luo_varlink::{Event, Identity, Phase, Step, Target};

use fake::Fake;

use super::{Agent, Caller, Inbox, Parts, Unusable};
use crate::decide::config::Config;
use crate::decide::policy::Policy;
use crate::decide::record::{Participant, Record};
use crate::journal::notes::{Notes, Progress};
use crate::kernel::{Kernel, Worker, resolve};
use crate::manager::keeper::Keeper;
use crate::manager::store::Store;

/// An agent, with what it is made of.
struct World {
    agent: Rc<Agent>,
    kernel: Fake,
    target: Target,
    /// The folder of the boot entries does not answer before this ends.
    boot_hangs: BootHangs,
    /// Why the configuration cannot be used as it is by now, if so.
    unusable: Arc<Mutex<Option<Unusable>>>,
    folder: tempfile::TempDir,
}

type BootHangs = Arc<Mutex<Option<Receiver<()>>>>;

impl World {
    fn new(policy: &str, kernel: Fake) -> Self {
        Self::with(policy, kernel, "")
    }

    /// One whose machine jumps through the service manager.
    fn with_manager(kernel: Fake) -> Self {
        let ignore = "ignore = [\"jump-shutdown\"]";
        Self::with(OPEN, kernel, &format!("jump = \"systemctl\"|{ignore}"))
    }

    /// One whose descriptors somebody else keeps.
    fn kept_by(keeper: impl Keeper + 'static) -> Self {
        Self::made_of(OPEN, Fake::default(), "", Store::of(keeper))
    }

    /// `more` is what else stands in the configuration: `settings|checks`.
    fn with(policy: &str, kernel: Fake, more: &str) -> Self {
        Self::made_of(policy, kernel, more, Store::of(shelf::Shelf))
    }

    fn with_store(policy: &str, kernel: Fake, more: &str, store: Store) -> Self {
        Self::made_of(policy, kernel, more, store)
    }

    fn made_of(policy: &str, kernel: Fake, more: &str, store: Store) -> Self {
        let (settings, checks) = more.split_once('|').unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let system = folder.path().join("system");
        luo_sim::system::System::default().write(&system).unwrap();
        let text = format!(
            "state_directory = {:?}\nprepare_deadline = 600\nfreeze_deadline = 600\n\
             {settings}\n[checks]\nroot = {system:?}\n{checks}\n",
            folder.path().join("history")
        );
        let image = system.join("boot/vmlinuz").display().to_string();
        let boot_hangs = BootHangs::default();
        let unusable = Arc::<Mutex<Option<Unusable>>>::default();
        let agent = Agent::new(Parts {
            config: Config::parse(&text).unwrap(),
            policy: Policy::parse(policy).unwrap(),
            notes: notes(folder.path()),
            kernel: Worker::start(kernel.clone()).unwrap(),
            probe: kernel.probe().unwrap(),
            tell: Arc::new({
                let kernel = kernel.clone();
                move || kernel.told()
            }),
            resolve: Arc::new({
                let hangs = Arc::clone(&boot_hangs);
                move |target: Target, root: &Path| {
                    let hangs = hangs.lock().unwrap().take();
                    let _ = hangs.map(|hangs| hangs.recv());
                    resolve(target, root)
                }
            }),
            reread: Arc::new({
                let unusable = Arc::clone(&unusable);
                move || unusable.lock().unwrap().clone().map_or(Ok(()), Err)
            }),
            store,
        });
        Self {
            agent,
            kernel,
            target: Target {
                image: Some(image),
                initrd: None,
                command_line: Some("liveupdate=on kho=on".into()),
                ..Target::default()
            },
            boot_hangs,
            unusable,
            folder,
        }
    }

    /// Has what another one has noted, as the next process of an agent.
    fn takes_notes_of(&self, before: &Self) {
        let notes = |world: &Self| world.folder.path().join("run/state");
        for folder in [".", "workloads"] {
            let (from, to) = (notes(before).join(folder), notes(self).join(folder));
            for entry in std::fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
                }
            }
        }
    }

    /// Keeps the kernel from answering until what this gives is dropped.
    async fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (gate, closed) = std::sync::mpsc::channel();
        let (begin, mut begun) = tokio::sync::oneshot::channel();
        let agent = Rc::clone(&self.agent);
        tokio::task::spawn_local(async move {
            let wait = move |_: &mut dyn Kernel| {
                let _ = begin.send(());
                let _ = closed.recv();
            };
            agent.kernel.run(wait).await;
        });
        until(|| begun.try_recv().is_ok()).await;
        gate
    }

    fn phase(&self) -> Phase {
        self.agent.state.borrow().phase.0
    }
}

fn notes(folder: &Path) -> Notes {
    Notes::open(&folder.join("run")).unwrap()
}

/// Everybody may own everything, so that names alone keep nobody out.
const OPEN: &str = "[[allow]]\nuid = 990\nnames = [\"*\"]\n[[allow]]\nuid = 991\nnames = [\"*\"]\n";

fn identity(uid: u32) -> Identity {
    Identity {
        uid,
        gid: uid,
        unit: None,
    }
}

/// A connection.
struct Peer {
    caller: Caller,
    inbox: Inbox,
}

impl Peer {
    fn new(connection: u64, uid: u32) -> Self {
        let caller = Caller {
            connection,
            identity: identity(uid),
            workload: None,
            group: None,
        };
        Self {
            caller,
            inbox: Inbox::default(),
        }
    }

    fn register(&mut self, world: &World, name: &str, needs: &[&str]) -> Result<(), Error> {
        let inbox = Inbox::default();
        let needs = needs.iter().map(|&need| need.into()).collect();
        let agent = &world.agent;
        agent.register(&mut self.caller, name, needs, inbox.clone())?;
        self.inbox = inbox;
        Ok(())
    }

    async fn heard(&mut self) -> Event {
        self.inbox.next().await
    }
}

/// A world with one workload that has a session.
async fn with_one_in(world: World) -> (World, Peer) {
    let mut peer = Peer::new(1, 990);
    peer.register(&world, "db", &[]).unwrap();
    let agent = &world.agent;
    drop(agent.create_session(&peer.caller, "db.ram").await.unwrap());
    (world, peer)
}

/// Answers an event, with a reason to veto.
fn answers(world: &World, peer: &Peer, event: &Event, step: Step, veto: Option<&str>) {
    let answered = world.agent.answer(&peer.caller, &event.update, step, veto);
    answered.unwrap();
}

async fn agrees(world: &World, peer: &mut Peer, step: Step) {
    let event = peer.heard().await;
    answers(world, peer, &event, step, None);
}

async fn vetoes(world: &World, peer: &mut Peer, step: Step) {
    let event = peer.heard().await;
    answers(world, peer, &event, step, Some("no"));
}

async fn with_one() -> (World, Peer) {
    with_one_in(World::new(OPEN, Fake::default())).await
}

async fn prepared_in(world: World) -> (World, Peer) {
    let (world, mut peer) = with_one_in(world).await;
    let prepare = world.agent.prepare(&world.target);
    let (done, ()) = tokio::join!(prepare, agrees(&world, &mut peer, Step::Prepare));
    done.unwrap();
    (world, peer)
}

async fn prepared() -> (World, Peer) {
    prepared_in(World::new(OPEN, Fake::default())).await
}

async fn frozen_in(world: World) -> (World, Peer) {
    let (world, mut peer) = prepared_in(world).await;
    let freeze = world.agent.freeze();
    let (done, ()) = tokio::join!(freeze, agrees(&world, &mut peer, Step::Freeze));
    done.unwrap();
    (world, peer)
}

async fn frozen() -> (World, Peer) {
    frozen_in(World::new(OPEN, Fake::default())).await
}

/// A record of workloads, each with sessions and those that it needs.
fn record(participants: &[(&str, &[&str], &[&str])]) -> Record {
    let strings = |all: &[&str]| all.iter().map(|&text| text.into()).collect();
    let participants = participants
        .iter()
        .map(|(name, sessions, needs)| Participant {
            name: (*name).into(),
            identity: identity(990),
            needs: strings(needs),
            sessions: strings(sessions),
            parked: Vec::new(),
        });
    Record {
        update: "u-1".into(),
        began_us: 0,
        freeze: Moment::default(),
        frozen: true,
        from_kernel: "before".into(),
        report: None,
        participants: participants.collect(),
        timeline: Vec::new(),
        unwritten: Vec::new(),
    }
}

fn restoring(kernel: Fake, participants: &[(&str, &[&str], &[&str])]) -> World {
    let world = World::new(OPEN, kernel);
    let agent = &world.agent;
    agent.begin_restore(record(participants), Progress::default());
    world
}

/// A world behind the jump of one workload, which has taken back its session and finished it.
async fn behind(record: Record) -> World {
    let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
    world.agent.begin_restore(record, Progress::default());
    comes_back(&world).await;
    world
}

/// The workload of one session takes it back and finishes it, which ends the update.
async fn comes_back(world: &World) {
    let agent = &world.agent;
    let mut peer = Peer::new(1, 990);
    peer.register(world, "db", &[]).unwrap();
    agent.claim(&peer.caller, "db.ram").await.unwrap();
    agent.restored(&peer.caller).unwrap();
    agent.finish_session(&peer.caller, "db.ram").await.unwrap();
    agent.until_written().await;
}

/// What the status warns of.
async fn warnings(world: &World) -> Vec<String> {
    world.agent.status().await.warnings.unwrap_or_default()
}

/// Runs on one thread, as the agent does.
fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, what)
}

/// The same, with a clock that goes on when nothing else does: nobody waits in vain.
fn run_fast<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, what)
}

/// Begins an update, which goes on beside whatever the test does.
fn prepares(world: &World) -> tokio::task::JoinHandle<Result<String, Refusal>> {
    let agent = Rc::clone(&world.agent);
    let target = world.target.clone();
    tokio::task::spawn_local(async move { agent.prepare(&target).await })
}

/// Lets all tasks go on until something has come about.
async fn until(mut seen: impl FnMut() -> bool) {
    while !seen() {
        tokio::task::yield_now().await;
    }
}
