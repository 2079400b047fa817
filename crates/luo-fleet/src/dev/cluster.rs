// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's etcd, started here on loopback: one member or several, which can be killed, stopped
//! and started again.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::etcd::client::Etcd;
use crate::etcd::connect::Member;
use crate::etcd::wire::bytes;

/// How long a cluster may take to begin.
const PATIENCE: Duration = Duration::from_secs(40);

/// Some members, with a folder that goes with them.
pub struct Cluster {
    folder: TempDir,
    members: Vec<One>,
}

struct One {
    client: u16,
    /// Where it listens for its peers.
    peer: u16,
    /// Where they reach it: there, or at a wire that leads there.
    wire: u16,
    child: Option<Child>,
}

/// Whether there is an etcd on this machine.
#[must_use]
pub fn is_there() -> bool {
    let mut command = Command::new("etcd");
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A port that nobody listens on.
fn port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

impl Cluster {
    /// Starts members, and waits until they have a leader.
    ///
    /// # Errors
    /// There is no etcd, or it does not begin.
    pub async fn start(members: usize) -> Result<Self> {
        Self::wired(members, Ok).await
    }

    /// The same, but peers reach a member by a wire: `wire` gives its port, from that of the
    /// member.
    ///
    /// # Errors
    /// As [`Self::start`], or there is no wire.
    pub async fn wired(members: usize, mut wire: impl FnMut(u16) -> Result<u16>) -> Result<Self> {
        if !is_there() {
            bail!("there is no program etcd: apt-get install etcd-server");
        }
        let mut all = Vec::new();
        for _ in 0..members {
            let peer = port()?;
            all.push(One {
                client: port()?,
                peer,
                wire: wire(peer)?,
                child: None,
            });
        }
        let mut cluster = Self {
            folder: tempfile::tempdir()?,
            members: all,
        };
        for member in 0..members {
            cluster.revive(member)?;
        }
        cluster.until_ready().await?;
        Ok(cluster)
    }

    /// Where its members are.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| url(member.client))
            .collect()
    }

    /// A client of it.
    ///
    /// # Errors
    /// It has no members.
    pub fn client(&self) -> Result<Etcd> {
        let members = self.endpoints();
        let members = members.iter().map(|text| Member::parse(text));
        Etcd::new(members.collect::<Result<_>>()?, None)
    }

    fn data(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("m{member}"))
    }

    /// Starts a member, or starts it again with what it had.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn revive(&mut self, member: usize) -> Result<()> {
        let all = self.members.iter().enumerate();
        let all: Vec<_> = all
            .map(|(number, one)| format!("m{number}={}", url(one.wire)))
            .collect();
        let data = self.data(member);
        let log = std::fs::File::create(self.folder.path().join(format!("m{member}.log")))?;
        let one = self.members.get_mut(member).context("no such member")?;
        let child = Command::new("etcd")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg("--name")
            .arg(format!("m{member}"))
            .arg("--data-dir")
            .arg(data)
            .args(["--listen-client-urls", &url(one.client)])
            .args(["--advertise-client-urls", &url(one.client)])
            .args(["--listen-peer-urls", &url(one.peer)])
            .args(["--initial-advertise-peer-urls", &url(one.wire)])
            .args(["--initial-cluster", &all.join(",")])
            .args(["--initial-cluster-state", "new"])
            .args(["--logger", "zap"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("etcd")?;
        one.child = Some(child);
        Ok(())
    }

    /// Kills a member.
    pub fn kill(&mut self, member: usize) {
        if let Some(one) = self.members.get_mut(member)
            && let Some(mut child) = one.child.take()
        {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How a member has ended that nobody has killed here, if one has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let children = self.members.iter_mut();
        let mut children = children.filter_map(|one| one.child.as_mut());
        children.find_map(|child| child.try_wait().ok().flatten())
    }

    /// The process of a member.
    #[must_use]
    pub fn process(&self, member: usize) -> Option<u32> {
        let child = self.members.get(member)?.child.as_ref()?;
        Some(child.id())
    }

    /// Bytes that etcd says its data takes, after it was compacted and defragmented.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn size(&self) -> Result<u64> {
        let etcd = self.client()?;
        let revision = etcd
            .get("")
            .await
            .map(|range| range.header.revision)
            .unwrap_or(1);
        let compact = json!({ "revision": revision.to_string(), "physical": true });
        // Nothing to compact is no error here.
        let _ = etcd.call::<Value>("/v3/kv/compaction", &compact).await;
        let _: Value = etcd.call("/v3/maintenance/defragment", &json!({})).await?;
        let status: Value = etcd.call("/v3/maintenance/status", &json!({})).await?;
        let size = status["dbSizeInUse"].as_str().or(status["dbSize"].as_str());
        size.and_then(|size| size.parse().ok())
            .context("etcd tells no size")
    }

    /// Waits until it takes a write.
    ///
    /// # Errors
    /// It does not, in time.
    pub async fn until_ready(&self) -> Result<()> {
        let etcd = self.client()?;
        let began = Instant::now();
        loop {
            let put = json!({ "key": bytes("ready"), "value": bytes("yes") });
            match etcd.call::<Value>("/v3/kv/put", &put).await {
                Ok(_) => return Ok(()),
                Err(why) if began.elapsed() > PATIENCE => return Err(why),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in 0..self.members.len() {
            self.kill(member);
        }
    }
}
