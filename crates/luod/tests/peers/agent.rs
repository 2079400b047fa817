// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent in a folder of its own, and raw connections to it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

/// How long something may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The agent.
pub(crate) struct Luod {
    child: Child,
    folder: tempfile::TempDir,
}

impl Luod {
    /// Starts it, with a policy, and waits until it answers.
    pub(crate) fn start(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users are let in as well.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("policy.toml"), policy).unwrap();
        let state = path("state");
        fs::write(path("luod.toml"), format!("state_directory = {state:?}\n")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_luod"))
            .arg("--config")
            .arg(path("luod.toml"))
            .arg("--policy")
            .arg(path("policy.toml"))
            .arg("--runtime-directory")
            .arg(path("run"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env_remove("RUST_LOG")
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        let luod = Self { child, folder };
        until("luod", || luod.has_answered());
        luod
    }

    /// Whether it has answered a whole request and closed the connection: then it has
    /// opened all that it opens, and nothing of this is left.
    fn has_answered(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.socket("metrics")) else {
            return false;
        };
        let mut answer = Vec::new();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_end(&mut answer).is_ok()
            && !answer.is_empty()
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    pub(crate) fn connect(&self, name: &str) -> Raw {
        Raw::new(UnixStream::connect(self.socket(name)).unwrap())
    }

    /// Asserts that it serves whoever behaves.
    pub(crate) fn serves(&self) {
        let mut peer = self.connect("status");
        let answer = peer.call("org.varlink.service.GetInfo", json!({}));
        assert_eq!(answer["parameters"]["product"], "luod");
    }

    /// Bytes of memory that it has.
    pub(crate) fn resident(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Its threads, by number, each with its name.
    pub(crate) fn threads(&self) -> BTreeMap<String, String> {
        let all = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        all.map(|thread| {
            let thread = thread.unwrap();
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let number = thread.file_name().into_string().unwrap();
            (number, name.trim().to_owned())
        })
        .collect()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Luod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// A connection that says what it likes.
pub(crate) struct Raw {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes with descriptors, in one piece.
    pub(crate) fn send_with(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)));
        let sent = sendmsg(
            self.stream.as_fd(),
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        assert_eq!(sent.unwrap(), bytes.len());
    }

    /// The next answer; nothing if the connection is closed.
    pub(crate) fn answer(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == 0) {
                let message: Vec<_> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&message[..end]).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.read.extend_from_slice(&buffer[..length]),
                Err(why) if why.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(why) => panic!("neither an answer nor an end: {why}"),
            }
        }
    }

    /// What is told of a message that breaks a rule.
    #[track_caller]
    pub(crate) fn told(&mut self) -> String {
        let answer = self.answer().expect("a word about it");
        assert_eq!(answer["error"], "org.varlink.service.InvalidParameter");
        answer["parameters"]["parameter"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(&message(method, parameters)).unwrap();
        self.answer().expect("an answer")
    }

    /// Asserts that a call is refused.
    #[track_caller]
    pub(crate) fn refused(&mut self, method: &str, parameters: Value, error: &str) {
        let answer = self.call(method, parameters);
        assert_eq!(answer["error"], error, "{method}: {answer}");
    }

    pub(crate) fn register(&mut self, name: &str) -> Value {
        let parameters = json!({"workload": name, "needs": []});
        self.call("org.liveupdate.Client.Register", parameters)
    }
}

pub(crate) fn message(method: &str, parameters: Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(&json!({"method": method, "parameters": parameters}));
    bytes.as_mut().unwrap().push(0);
    bytes.unwrap()
}

/// A policy that lets this user have any name.
pub(crate) fn open_policy() -> String {
    let user = rustix::process::getuid().as_raw();
    format!("[[allow]]\nuid = {user}\nnames = [\"*\"]\n")
}

/// Looks again and again whether something has come about.
#[track_caller]
pub(crate) fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !seen() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come about");
        // Not to wait for something, but to leave the processor to it.
        std::thread::sleep(Duration::from_millis(5));
    }
}
