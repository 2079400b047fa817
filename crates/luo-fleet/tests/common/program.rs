// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server as a process of its own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use luo_fleet::dev::cluster::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server as a process of its own.
pub(crate) struct Program {
    pub(crate) base: String,
    folder: TempDir,
    child: Child,
    address: String,
}

fn spawn(folder: &TempDir) -> Child {
    Command::new(env!("CARGO_BIN_EXE_luo-fleet"))
        .arg("--config")
        .arg(folder.path().join("luo-fleet.toml"))
        .arg("serve")
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Program {
    pub(crate) async fn start(cluster: &Cluster, number: usize) -> Self {
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
        let program = Self {
            base: format!("http://{address}"),
            folder,
            child,
            address,
        };
        program.until_up(number).await;
        program
    }

    async fn until_up(&self, number: usize) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect(&self.address).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "server {number}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) async fn revive(&mut self, _: &Cluster) {
        self.child = spawn(&self.folder);
        self.until_up(0).await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process stands still, or goes on.
pub(crate) fn stand_still(process: u32, is_still: bool) {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let signal = if is_still { Signal::STOP } else { Signal::CONT };
    kill_process(pid, signal).unwrap();
}
