// SPDX-License-Identifier: MIT OR Apache-2.0
//! luo-fleet, in this process with a clock of its own, or as a process that can be killed.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use luo_fleet::config::Config;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::show::{BEGINS, until_fresh};
use luo_fleet::run::run;
use luo_fleet::state::keeper::Keeper;
use luo_fleet::view;
use luo_fleetlock::status::{Fleet, HostState};
use tempfile::TempDir;

use crate::machine::program;

/// How long a fleet may take to come to something.
const PATIENCE: Duration = Duration::from_secs(600);

/// What all servers' clocks are ahead by, in seconds.
pub(super) type Ahead = Arc<AtomicI64>;

/// A server in this process.
pub(super) struct Server {
    pub(super) address: String,
    pub(super) keeper: Arc<Keeper>,
}

/// Starts a server whose clock is so far off.
pub(super) async fn server(cluster: &Cluster, off: SignedDuration, ahead: &Ahead) -> Server {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Config::default()
    };
    config.access.open = true;
    config.etcd.endpoints = cluster.endpoints();
    let ahead = Arc::clone(ahead);
    let clock = move || {
        let ahead = SignedDuration::from_secs(ahead.load(Ordering::SeqCst));
        Timestamp::now() + off + ahead
    };
    let running = run(&config, Box::new(clock)).await.unwrap();
    until_fresh(&running.keeper, BEGINS).await.unwrap();
    Server {
        address: running.addresses[0].to_string(),
        keeper: running.keeper,
    }
}

impl Server {
    /// Waits until the fleet is so.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&Fleet) -> bool) -> Fleet {
        let began = Instant::now();
        let mut revisions = self.keeper.mirror.revisions();
        loop {
            let fleet = view::fleet(&self.keeper.mirror.known(), self.keeper.now());
            if is(&fleet) {
                return fleet;
            }
            assert!(began.elapsed() < PATIENCE, "not {what}: {fleet:#?}");
            // What a clock decides changes without a revision.
            let _ = tokio::time::timeout(Duration::from_millis(200), revisions.changed()).await;
        }
    }

    /// Waits until so many hosts are done.
    pub(super) async fn until_done(&self, wanted: usize) -> Fleet {
        let is_done = |fleet: &Fleet| {
            let done = fleet.hosts.iter();
            done.filter(|host| host.state == HostState::Done).count() >= wanted
        };
        self.until(&format!("{wanted} done"), is_done).await
    }
}

/// A server as a process of its own.
pub(super) struct Process {
    pub(super) address: String,
    folder: TempDir,
    child: Child,
}

fn spawn(folder: &TempDir) -> Child {
    Command::new(program("luo-fleet"))
        .arg("--config")
        .arg(folder.path().join("luo-fleet.toml"))
        .arg("serve")
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Process {
    /// Starts one. Hosts find out when it is up.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A port that nobody listens on.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let text = format!(
            "listen = [\"{address}\"]\n[access]\nopen = true\n[etcd]\nendpoints = {:?}\n",
            cluster.endpoints()
        );
        std::fs::write(folder.path().join("luo-fleet.toml"), text).unwrap();
        let child = spawn(&folder);
        Self {
            address,
            folder,
            child,
        }
    }

    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn revive(&mut self) {
        self.child = spawn(&self.folder);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
