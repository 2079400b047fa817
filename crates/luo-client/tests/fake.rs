// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent that does what a test says: zlink's own connection, with a script for each
//! connection in the order in which they come.

use std::fmt::Debug;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use luo_varlink::client::{Method, Next, Registered};
use luo_varlink::{Event, EventKind, Phase, paths};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use zlink_core::{Call, Connection, Reply};

use crate::wire::Stream;

/// The script for one connection.
pub(crate) type Script = Box<dyn FnOnce(Peer) + Send>;

/// The agent. It must have served all its scripts when it is dropped.
pub(crate) struct Fake {
    folder: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Serves one connection of the clients' socket.
    pub(crate) fn client(script: impl FnOnce(Peer) + Send + 'static) -> Self {
        Self::serve(paths::CLIENT, vec![Box::new(script)])
    }

    /// Serves as many connections as there are scripts, one after the other.
    pub(crate) fn serve(socket: &str, scripts: Vec<Script>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(socket)).unwrap();
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                script(Peer(Connection::new(Stream(stream))));
            }
        });
        let thread = Some(thread);
        Self { folder, thread }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for the end of the scripts; a failed assertion in one fails the test.
    pub(crate) fn done(mut self) {
        if let Err(panic) = self.thread.take().unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A client, from the agent's side.
pub(crate) struct Peer(Connection<Stream>);

impl Peer {
    /// The next call, with what came with it; none if the client is gone.
    pub(crate) fn next<M: DeserializeOwned + Debug>(&mut self) -> Option<(Call<M>, Vec<OwnedFd>)> {
        match pollster::block_on(self.0.receive_call::<M>()) {
            Ok(call) => Some(call),
            Err(zlink_core::Error::UnexpectedEof | zlink_core::Error::Io(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// The next call must be this one, without a descriptor.
    #[track_caller]
    pub(crate) fn expect<M: DeserializeOwned + Debug + PartialEq>(&mut self, wanted: M) {
        let (call, fds) = self.next::<M>().expect("a call");
        assert_eq!(call.method(), &wanted);
        assert!(fds.is_empty());
    }

    /// The next call must be this one, with one descriptor.
    #[track_caller]
    pub(crate) fn expect_fd(&mut self, wanted: Method) -> OwnedFd {
        let (call, mut fds) = self.next::<Method>().expect("a call");
        assert_eq!(call.method(), &wanted);
        assert_eq!(fds.len(), 1);
        fds.remove(0)
    }

    /// There must be no further call.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        assert!(self.next::<serde_json::Value>().is_none());
    }

    pub(crate) fn reply(&mut self, parameters: impl Serialize + Debug) {
        self.send(&Reply::new(Some(parameters)), Vec::new());
    }

    pub(crate) fn reply_more(&mut self, parameters: impl Serialize + Debug) {
        let reply = Reply::new(Some(parameters)).set_continues(Some(true));
        self.send(&reply, Vec::new());
    }

    /// As Varlink has it: no parameters are an empty object.
    pub(crate) fn done(&mut self) {
        self.reply(serde_json::json!({}));
    }

    pub(crate) fn reply_fd(&mut self, parameters: impl Serialize + Debug, fd: impl AsFd) {
        let fd = fd.as_fd().try_clone_to_owned().unwrap();
        self.send(&Reply::new(Some(parameters)), vec![fd]);
    }

    pub(crate) fn send(&mut self, reply: &Reply<impl Serialize + Debug>, fds: Vec<OwnedFd>) {
        pollster::block_on(self.0.send_reply(reply, fds)).unwrap();
    }

    pub(crate) fn refuse(&mut self, error: impl Serialize + Debug) {
        pollster::block_on(self.0.send_error(&error, Vec::new())).unwrap();
    }

    /// Bytes as they are; says whether the client took them.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream().write_all(bytes).is_ok()
    }

    /// The stream itself.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.0.read().read_half().0
    }

    /// Answers a registration.
    #[track_caller]
    pub(crate) fn register(&mut self, workload: &str) {
        self.register_in(workload, Phase::Normal);
    }

    /// The same, where the agent is in a phase.
    #[track_caller]
    pub(crate) fn register_in(&mut self, workload: &str, phase: Phase) {
        let (call, _) = self.next::<Method>().expect("a call");
        match call.method() {
            Method::Register { workload: name, .. } => assert_eq!(name, workload),
            other => panic!("{other:?}"),
        }
        self.reply(Registered {
            phase,
            ..registered(&[])
        });
    }

    pub(crate) fn event(&mut self, event: Option<Event>) {
        self.reply(Next { event });
    }
}

pub(crate) fn registered(claimable: &[&str]) -> Registered {
    Registered {
        phase: Phase::Normal,
        claimable: claimable.iter().map(|&name| name.into()).collect(),
    }
}

/// An event of update "u1".
pub(crate) fn event(kind: EventKind) -> Event {
    Event {
        kind,
        update: "u1".into(),
        deadline_ms: 5000,
        reason: None,
    }
}
