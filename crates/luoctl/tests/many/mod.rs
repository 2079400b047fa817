// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many hosts: luod and luoctl on machines of the simulator, servers of luo-fleet whose clocks are
//! minutes apart, and Debian's etcd. Wires are cut at each call, and all kinds of them die.
//!
//! Two witnesses tell how many were at it at once: etcd's log of slots, whose lines the transactions
//! have written, and the history of each luod.

mod by_hand;
mod host;
mod server;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::state::keeper::Hand;
use luo_fleetlock::status::{AuditLine, HostState};
use luo_varlink::{HistoryEntry, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use host::{Fault, Host, Ran, host, most_at_once};
use server::{Ahead, Process, Server, server};
use wire::{Cut, Servers};

/// A fleet.
struct Fleet {
    cluster: Cluster,
    /// Those with clocks of their own.
    here: Vec<Server>,
    /// Those that can be killed.
    processes: Vec<Process>,
    servers: Servers,
    ahead: Ahead,
    folder: tempfile::TempDir,
    hosts: usize,
}

impl Fleet {
    async fn start(members: usize, processes: usize, policy: &str) -> Self {
        let cluster = Cluster::start(members).await.unwrap();
        let ahead = Ahead::default();
        let mut here = Vec::new();
        for off in [4, -3] {
            here.push(server(&cluster, SignedDuration::from_mins(off), &ahead).await);
        }
        let policy = format!("version = 1\n{policy}");
        let set = here[0].keeper.set_policy(&policy, "a test", "a test");
        set.await.unwrap();
        let processes: Vec<_> = (0..processes).map(|_| Process::start(&cluster)).collect();
        let addresses = here.iter().map(|server| &server.address);
        let addresses = addresses.chain(processes.iter().map(|process| &process.address));
        let servers = Servers {
            addresses: addresses.cloned().collect(),
            failures: watch::Sender::new(0),
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sick"), "").unwrap();
        Self {
            cluster,
            here,
            processes,
            servers,
            ahead,
            folder,
            hosts: 0,
        }
    }

    fn sick(&self) -> PathBuf {
        self.folder.path().join("sick")
    }

    fn begin(&mut self, host: Host) -> JoinHandle<Ran> {
        let (servers, sick, number) = (self.servers.clone(), self.sick(), self.hosts);
        self.hosts += 1;
        tokio::task::spawn_blocking(move || host.run(&servers, number, &sick))
    }

    /// Waits until a host has met what was killed just now.
    async fn until_felt(&self, before: u64) {
        let mut failures = self.servers.failures.subscribe();
        let felt = failures.wait_for(|now| *now > before);
        let felt = tokio::time::timeout(Duration::from_secs(120), felt).await;
        assert!(felt.is_ok(), "nobody has met it");
    }

    fn failures(&self) -> u64 {
        *self.servers.failures.borrow()
    }

    /// The log of slots.
    async fn log(&self) -> Vec<AuditLine> {
        let etcd = self.cluster.client().unwrap();
        let keys = luo_fleet::state::keys::Keys::new(&luo_fleet::config::Config::default().prefix);
        let lines = luo_fleet::state::audit::last(&etcd, &keys).await.unwrap();
        assert!(
            lines.len() < luo_fleet::state::audit::TOLD,
            "some are missing"
        );
        lines
    }

    /// The most slots that were taken at once.
    async fn most_taken(&self) -> usize {
        let mut taken = std::collections::BTreeSet::new();
        let mut most = 0;
        for line in self.log().await {
            let host = line.host.unwrap_or_default();
            match line.what.as_str() {
                "granted" => assert!(taken.insert(host.clone()), "{host} has two"),
                "returned" => assert!(taken.remove(&host), "{host} has none"),
                "release" => drop(taken.remove(&host)),
                _ => {}
            }
            most = most.max(taken.len());
        }
        most
    }

    /// All but one host are done: the last one is away for too long, which halts the rest, and
    /// burns no more than its slot. Released by hand, all goes on where it stood.
    async fn one_never_returns(&mut self, lost: &str, group: &str) -> Vec<Ran> {
        let here = &self.here;
        let taken = here[0].until("one slot taken", |fleet| {
            let taken = |host: &&luo_fleetlock::status::Host| host.slot_since_ms.is_some();
            fleet.hosts.iter().filter(taken).count() == 1
        });
        let fleet = taken.await;
        assert!(!fleet.is("Halted"), "{fleet:#?}");
        // Those whose clocks are not moved are dead by now.
        for process in &mut self.processes {
            process.kill();
        }
        self.ahead.store(3_600, Ordering::SeqCst);
        let halted = self.here[1]
            .until("halted", |fleet| fleet.is("Halted"))
            .await;
        let failed = halted.hosts.iter();
        let failed = failed.filter(|host| host.state == HostState::Failed);
        assert_eq!(
            failed.map(|host| host.id.as_str()).collect::<Vec<_>>(),
            [lost]
        );
        let refused = self.begin(host("late", group).with(Fault::AsksOnce));
        let refused = refused.await.unwrap();
        assert!(refused.said.contains("[exit Some(1)]"), "{}", refused.said);
        assert!(refused.updates.is_empty(), "{}", refused.said);
        let why = self.here[0]
            .keeper
            .by_hand(&Hand::Release, lost, "replaced", "a test");
        why.await.unwrap();
        self.here[0]
            .until("not halted", |fleet| !fleet.is("Halted"))
            .await;
        let late = self.begin(host("late", group)).await.unwrap();
        assert!(late.is_updated(), "{}", late.said);
        vec![late]
    }
}

/// What has to be so of hosts that have run, `canaries` of them before all others.
fn is_as_promised(ran: &[Ran], slots: i64, of_canaries: i64, of_a_rack: i64, racks: &[&str]) {
    for ran in ran.iter().filter(|ran| ran.host.fault != Fault::IsLost) {
        assert!(ran.is_updated(), "{}: {}", ran.host.id, ran.said);
        // What was lost amid an update has come about, and is told.
        if matches!(ran.host.fault, Fault::LosesPower | Fault::LosesLuodAmidst) {
            let cancelled = |entry: &HistoryEntry| entry.outcome == Outcome::Cancelled;
            let has_one = ran.updates.iter().any(cancelled);
            assert!(has_one, "{}: {}", ran.host.id, ran.said);
        }
    }
    let most = most_at_once(ran, |_| true);
    assert!(most <= slots, "{most} hosts at once");
    let most = most_at_once(ran, |host| host.group == "canary");
    assert!(most <= of_canaries, "{most} canaries at once");
    for rack in racks {
        let most = most_at_once(ran, |host| host.group == *rack);
        assert!(most <= of_a_rack, "{most} of {rack} at once");
    }
    let of = |is_canary: bool| {
        let of = ran.iter();
        let of = of.filter(move |ran| (ran.host.group == "canary") == is_canary);
        of.flat_map(|ran| &ran.updates)
    };
    let over = of(true).map(|entry| entry.began_us + entry.took_us.unwrap_or(0));
    let (over, begun) = (over.max(), of(false).map(|entry| entry.began_us).min());
    assert!(
        over < begun,
        "a rack has begun before the canaries were done"
    );
}

const ASKS: &str = "pre-reboot";
const GIVES_BACK: &str = "steady-state";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn ten_luods_roll_out_with_one_of_each_fault() {
    let began = Instant::now();
    let policy = "rollout = \"r\"\nslots = 3\noverdue = \"30m\"\nretry = \"0s\"\nbudget = 0\n\
                  [[group]]\nname = \"canary\"\nslots = 1\n\
                  [[group]]\nname = \"rack-a\"\nstage = 2\nslots = 2\n\
                  [[group]]\nname = \"rack-b\"\nstage = 2\nslots = 2\n";
    let mut fleet = Fleet::start(1, 1, policy).await;
    let mut tasks = vec![
        fleet.begin(host("c1", "canary").with(Fault::Vetoes)),
        fleet.begin(host("c2", "canary").with(Fault::IsKilled)),
    ];
    // Canaries that have not come yet are waited for; these have.
    let both = |fleet: &luo_fleetlock::status::Fleet| fleet.hosts.len() == 2;
    fleet.here[0].until("both canaries", both).await;
    for host in [
        host("a1", "rack-a").cut(&[Cut::Call(ASKS)]),
        host("a2", "rack-a").cut(&[Cut::Answer(ASKS)]),
        host("a3", "rack-a").with(Fault::IsLost),
        host("b1", "rack-b")
            .with(Fault::LosesPower)
            .cut(&[Cut::Call(GIVES_BACK), Cut::Call(GIVES_BACK)]),
        host("b2", "rack-b").cut(&[Cut::Answer(GIVES_BACK)]),
        host("b3", "rack-b").with(Fault::LosesLuod),
        host("b4", "rack-b").with(Fault::IsSick),
        host("b5", "rack-b").with(Fault::LosesLuodAmidst),
    ] {
        tasks.push(fleet.begin(host));
    }
    fleet.here[0].until_done(2).await;
    // A server is killed, and the whole of etcd; hosts find that out.
    let before = fleet.failures();
    fleet.processes[0].kill();
    fleet.cluster.kill(0);
    fleet.until_felt(before).await;
    fleet.cluster.revive(0).unwrap();
    fleet.processes[0].revive();
    // One says that it is not healthy: the budget halts all. It gets well, and all goes on.
    fleet.here[1]
        .until("halted", |fleet| fleet.is("Halted"))
        .await;
    std::fs::remove_file(fleet.sick()).unwrap();
    fleet.here[0].until_done(9).await;
    let mut ran = fleet.one_never_returns("a3", "rack-b").await;
    for task in tasks {
        ran.push(task.await.unwrap());
    }
    is_as_promised(&ran, 3, 1, 2, &["rack-a", "rack-b"]);
    let most = fleet.most_taken().await;
    assert!(most <= 3, "{most} slots taken at once");
    let took = began.elapsed();
    println!("ten hosts: {took:?}, {most} slots at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd and --all"]
async fn fifty_luods_roll_out_while_members_servers_and_wires_die() {
    let began = Instant::now();
    let racks = ["rack-0", "rack-1", "rack-2"];
    let mut policy = "rollout = \"r\"\nslots = 4\ngroups_at_once = 2\noverdue = \"30m\"\n\
                      retry = \"0s\"\nbudget = 0\n[[group]]\nname = \"canary\"\nslots = 2\n"
        .to_owned();
    for rack in racks {
        policy += &format!("[[group]]\nname = \"{rack}\"\nstage = 2\nslots = 3\n");
    }
    let mut fleet = Fleet::start(3, 2, &policy).await;
    let canary = |number: usize| {
        let fault = [
            Fault::Vetoes,
            Fault::IsKilled,
            Fault::LosesLuod,
            Fault::None,
        ];
        host(&format!("c{number}"), "canary").with(fault[number % 4])
    };
    let mut tasks: Vec<_> = (0..4).map(|number| fleet.begin(canary(number))).collect();
    let known = |fleet: &luo_fleetlock::status::Fleet| fleet.hosts.len() == 4;
    fleet.here[0].until("all canaries", known).await;
    for number in 4..50 {
        let cuts: &[Cut] = match number % 7 {
            0 => &[Cut::Call(ASKS), Cut::Answer(ASKS)],
            1 => &[Cut::Answer(ASKS)],
            2 => &[Cut::Call(GIVES_BACK), Cut::Answer(GIVES_BACK)],
            3 => &[Cut::Answer(GIVES_BACK)],
            _ => &[],
        };
        let fault = match number {
            20 => Fault::IsSick,
            25 => Fault::IsLost,
            10 | 34 => Fault::LosesPower,
            16 | 40 => Fault::LosesLuodAmidst,
            number if number % 6 == 0 => Fault::LosesLuod,
            number if number % 6 == 3 => Fault::Vetoes,
            _ => Fault::None,
        };
        let rack = racks[number % 3];
        tasks.push(fleet.begin(host(&format!("h{number}"), rack).with(fault).cut(cuts)));
    }
    let sick = fleet.sick();
    let watcher = Arc::clone(&fleet.here[0].keeper);
    // Whenever it is halted by the one that is sick, that gets well.
    let heals = tokio::spawn(async move {
        let mut revisions = watcher.mirror.revisions();
        loop {
            let fleet = luo_fleet::view::fleet(&watcher.mirror.known(), watcher.now());
            if fleet.is("Halted") {
                std::fs::remove_file(&sick).unwrap();
                return;
            }
            revisions.changed().await.unwrap();
        }
    });
    for round in 0..3 {
        let at = 4 + 14 * round;
        fleet.here[0].until_done(at).await;
        // A member dies, and a server, and both come back.
        let before = fleet.failures();
        fleet.cluster.kill(round);
        fleet.processes[round % 2].kill();
        fleet.until_felt(before).await;
        fleet.here[1].until_done(at + 4).await;
        fleet.cluster.revive(round).unwrap();
        fleet.processes[round % 2].revive();
        // Another one stands still, as if it were cut off, and comes back with what it knew.
        fleet.here[0].until_done(at + 8).await;
        let other = fleet.cluster.process((round + 1) % 3).unwrap();
        let other = Pid::from_raw(i32::try_from(other).unwrap()).unwrap();
        kill_process(other, Signal::STOP).unwrap();
        fleet.here[1].until_done(at + 11).await;
        kill_process(other, Signal::CONT).unwrap();
    }
    fleet.here[0].until_done(49).await;
    heals.await.unwrap();
    let mut ran = fleet.one_never_returns("h25", "rack-1").await;
    for task in tasks {
        ran.push(task.await.unwrap());
    }
    is_as_promised(&ran, 4, 2, 3, &racks);
    let most = fleet.most_taken().await;
    assert!(most <= 4, "{most} slots taken at once");
    let took = began.elapsed();
    println!("fifty hosts: {took:?}, {most} slots at once");
}
