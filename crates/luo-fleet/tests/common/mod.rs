// SPDX-License-Identifier: MIT OR Apache-2.0
//! An etcd with servers before it.

pub(crate) mod authority;
pub(crate) mod between;
pub(crate) mod program;
pub(crate) mod wires;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use luo_fleet::config::Config;
use luo_fleet::dev::call::{Caller, Said};
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::hosts::{Came, Host, World, host, locked};
use luo_fleet::dev::show::{BEGINS, until_fresh};
use luo_fleet::run::run;
use luo_fleet::state::keeper::Keeper;
use luo_fleet::state::known::Known;
use luo_fleet::view;
use luo_fleetlock::lock::{Body, ClientParams};
use luo_fleetlock::status::Fleet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long something may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server, in this process.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) keeper: Arc<Keeper>,
}

/// Starts a server whose clock is so far off.
pub(crate) async fn server(cluster: &Cluster, off: SignedDuration) -> Server {
    server_with(cluster, off, |_| {}).await
}

/// The same, and something of its configuration is another.
pub(crate) async fn server_with(
    cluster: &Cluster,
    off: SignedDuration,
    change: impl FnOnce(&mut Config),
) -> Server {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Config::default()
    };
    config.access.open = true;
    config.etcd.endpoints = cluster.endpoints();
    change(&mut config);
    let running = run(&config, Box::new(move || Timestamp::now() + off))
        .await
        .unwrap();
    until_fresh(&running.keeper, BEGINS).await.unwrap();
    Server {
        base: format!("http://{}", running.addresses[0]),
        keeper: running.keeper,
    }
}

impl Server {
    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub(crate) fn fleet(&self) -> Fleet {
        view::fleet(&self.keeper.mirror.known(), self.keeper.now())
    }

    /// Waits until the fleet is so.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Fleet) -> bool) -> Fleet {
        let began = Instant::now();
        let mut revisions = self.keeper.mirror.revisions();
        loop {
            let fleet = self.fleet();
            if is(&fleet) {
                return fleet;
            }
            assert!(began.elapsed() < PATIENCE, "not {what}: {fleet:#?}");
            // What a clock decides changes without a revision.
            let _ = timeout(Duration::from_millis(200), revisions.changed()).await;
        }
    }

    /// Waits until it knows something.
    pub(crate) async fn until_known(&self, what: &str, is: impl Fn(&Known) -> bool) {
        let known = async {
            let mut revisions = self.keeper.mirror.revisions();
            while !is(&self.keeper.mirror.known()) {
                revisions.changed().await.unwrap();
            }
        };
        assert!(timeout(PATIENCE, known).await.is_ok(), "not {what}");
    }

    pub(crate) async fn policy(&self, text: &str) {
        let text = format!("version = 1\n{text}");
        luo_fleet::policy::parse::parse(&text).unwrap();
        self.keeper
            .set_policy(&text, "a test", "a test")
            .await
            .unwrap();
    }
}

pub(crate) fn body(id: &str, group: &str) -> Body {
    Body {
        client_params: ClientParams {
            id: id.to_owned(),
            group: group.to_owned(),
        },
        liveupdate: None,
        liveupdate_outcome: None,
    }
}

/// One call of a server.
pub(crate) async fn call(server: &Server, path: &str, body: &Body) -> Said {
    Caller::new(&server.base)
        .unwrap()
        .call(path, body)
        .await
        .unwrap()
}

/// Writes a text to a server, and reads until it says no more. What it has said counts, whether or
/// not it has read everything.
pub(crate) async fn said(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The kind of a refusal.
pub(crate) fn kind(said: &Said) -> &str {
    match said {
        Said::Yes => "yes",
        Said::No(_, refusal, _) => &refusal.kind,
    }
}

/// Begins hosts.
pub(crate) fn begin(world: &Arc<World>, hosts: Vec<Host>) -> Vec<JoinHandle<Came>> {
    let begin = |(number, own): (usize, Host)| {
        let world = Arc::clone(world);
        tokio::spawn(async move { host(&world, &own, number).await.unwrap() })
    };
    hosts.into_iter().enumerate().map(begin).collect()
}

/// Waits until all hosts are done. They ask on for as long as they are not served, so this gives up.
pub(crate) async fn all_are_done(world: &World, tasks: Vec<JoinHandle<Came>>) {
    let all = async {
        for task in tasks {
            assert_eq!(task.await.unwrap(), Came::Done);
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        let unanswered = world.unanswered.load(Ordering::Relaxed);
        let kinds = locked(&world.kinds).clone();
        panic!("hosts are not done: {unanswered} calls without an answer, and {kinds:?}");
    }
}
