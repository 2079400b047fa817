// SPDX-License-Identifier: MIT OR Apache-2.0
//! A peer that is being served: what it has asked, and how it is answered and waited for.
//! Each interface has a file that does what is asked (`client`, `admin`, `status`);
//! `connection` reads call after call and has them do it.

use std::collections::VecDeque;
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use luo_varlink::TimelineEvent;
use luo_varlink::interface;
use luo_varlink::limits::{MAX_CALL, MAX_FDS};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use zlink_core::connection::ReadConnection;
use zlink_core::{Call, Reply, varlink_service};

use super::book::Entry;
use super::door::Door;
use super::reply::{Answer, Refusal, Result};
use super::socket::{self, Reader};
use crate::agent::{Agent, Caller, Inbox};
use crate::aside::Aside;

/// How long a peer may take to read an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Calls that a peer may send ahead while one is answered.
const BACKLOG: usize = 16;

/// Bytes of the calls that a peer may send ahead. Until its turn a call is kept as it was
/// written.
const BACKLOG_BYTES: usize = 2 * MAX_CALL;

/// A call as it arrives, before its method is known.
#[derive(Debug, Deserialize)]
struct Raw {
    method: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

/// A call with what came along.
pub(super) struct Asked {
    pub(super) method: String,
    parameters: Option<String>,
    pub(super) more: bool,
    pub(super) oneway: bool,
    pub(super) fds: Vec<Aside<OwnedFd>>,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The peer has closed it, or broken a rule.
    Peer(zlink_core::Error),
    /// The peer did not read.
    Slow,
    /// The peer sent too much ahead.
    Ahead,
}

/// A peer that is being served.
pub(super) struct Served<'a> {
    pub(super) agent: &'a Rc<Agent>,
    pub(super) caller: Caller,
    /// The events that the workload has not been told of yet.
    pub(super) inbox: Inbox,
    pub(super) door: Door,
    pub(super) entry: &'a Entry,
    pub(super) stream: Rc<UnixStream>,
    pub(super) reading: ReadConnection<Reader>,
    pub(super) backlog: VecDeque<Asked>,
    /// Whether it watches, which ends by itself never.
    pub(super) watches: bool,
}

impl End {
    /// Whether the peer has just gone.
    pub(super) fn is_ordinary(&self) -> bool {
        match self {
            Self::Peer(zlink_core::Error::UnexpectedEof) => true,
            Self::Peer(zlink_core::Error::Io(why)) => why.kind() != ErrorKind::InvalidData,
            _ => false,
        }
    }
}

impl End {
    /// The answer to a peer that has broken a rule of all messages.
    fn words(&self) -> Option<String> {
        match self {
            Self::Peer(zlink_core::Error::Json(why)) => Some(format!(
                "a message is a JSON object with a method, and a zero byte behind it, and this is \
                 none: {why}"
            )),
            Self::Peer(zlink_core::Error::BufferOverflow) => Some(format!(
                "a message has {MAX_CALL} bytes and {MAX_FDS} descriptor at most, and this one is \
                 longer or has more"
            )),
            Self::Peer(zlink_core::Error::Io(why)) if why.kind() == ErrorKind::InvalidData => {
                Some(why.to_string())
            }
            _ => None,
        }
    }
}

impl Served<'_> {
    /// Tells the peer why its connection is closed, if it has broken a rule. It is told only
    /// where no call waits for its answer: it would take this for that.
    pub(super) async fn say_why(&mut self, end: &End) {
        if let Some(parameter) = end.words() {
            let parameter = parameter.into();
            let refusal = Refusal::from(varlink_service::Error::InvalidParameter { parameter });
            // Whether it reads that or not, it is over.
            let _ = self.write(&refusal, None).await;
        }
    }

    /// Waits for something, and notices if the peer goes meanwhile. Calls that the peer
    /// sends ahead are kept. With `yields`, such a call ends the wait, and this gives
    /// `None`.
    pub(super) async fn wait<T>(
        &mut self,
        yields: bool,
        what: impl Future<Output = T>,
    ) -> std::result::Result<Option<T>, End> {
        tokio::pin!(what);
        loop {
            if yields && !self.backlog.is_empty() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                done = &mut what => return Ok(Some(done)),
                ahead = receive(&mut self.reading) => {
                    let ahead = ahead?;
                    // It may be the peer's end of this connection, or have it on its way: nobody
                    // would end the connection then.
                    if self.watches && !ahead.fds.is_empty() {
                        return Err(End::Ahead);
                    }
                    self.backlog.push_back(ahead);
                    let bytes: usize = self.backlog.iter().map(Asked::bytes).sum();
                    if self.backlog.len() > BACKLOG || bytes > BACKLOG_BYTES {
                        return Err(End::Ahead);
                    }
                }
            }
        }
    }

    /// A permit for a long answer. Administrators need none.
    pub(super) async fn long(&mut self) -> std::result::Result<Option<OwnedSemaphorePermit>, End> {
        if self.door == Door::Admin {
            return Ok(None);
        }
        let long = Arc::clone(&self.entry.long);
        let permit = self.wait(false, long.acquire_owned()).await?;
        Ok(permit.and_then(std::result::Result::ok))
    }

    pub(super) async fn reply(&mut self, result: Result) -> std::result::Result<(), End> {
        match result {
            Ok(Answer {
                parameters,
                fd,
                long,
            }) => {
                let reply = Reply::new(parameters);
                self.write(&reply, fd).await?;
                drop(long);
                Ok(())
            }
            Err(refusal) => {
                let refusal: Refusal = refusal;
                self.write(&refusal, None).await
            }
        }
    }

    /// Writes one of several answers to a call.
    pub(super) async fn tell(&mut self, event: &TimelineEvent) -> std::result::Result<(), End> {
        #[derive(Debug, Serialize)]
        struct Line<'a> {
            event: &'a TimelineEvent,
        }
        let reply = Reply::new(Some(Line { event })).set_continues(Some(true));
        self.write(&reply, None).await
    }

    /// Writes a message, if the peer reads it in time.
    async fn write(
        &mut self,
        message: &impl Serialize,
        fd: Option<OwnedFd>,
    ) -> std::result::Result<(), End> {
        let bytes = serde_json::to_vec(message);
        let mut bytes = bytes.map_err(|why| End::Peer(why.into()))?;
        bytes.push(0);
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        let writing = socket::write(&self.stream, &bytes, &fds);
        match tokio::time::timeout(WRITE_PATIENCE, writing).await {
            Ok(written) => written.map_err(|why| End::Peer(why.into())),
            Err(_) => Err(End::Slow),
        }
    }
}

pub(super) async fn receive(
    reading: &mut ReadConnection<Reader>,
) -> std::result::Result<Asked, End> {
    let received = reading.receive_call::<Raw>().await;
    let (call, fds): (Call<Raw>, _) = received.map_err(End::Peer)?;
    let raw = call.method();
    let parameters = raw.parameters.as_ref().filter(|all| !all.is_empty());
    Ok(Asked {
        method: raw.method.clone(),
        parameters: parameters.and_then(|all| serde_json::to_string(all).ok()),
        more: call.more(),
        oneway: call.oneway(),
        fds: fds.into_iter().map(Aside::from).collect(),
    })
}

pub(super) fn not_found(method: &str) -> Refusal {
    let method = method.to_owned().into();
    varlink_service::Error::MethodNotFound { method }.into()
}

impl Asked {
    fn bytes(&self) -> usize {
        self.method.len() + self.parameters.as_ref().map_or(0, String::len)
    }

    /// The parameters of the call. A call without parameters may have an empty object.
    pub(super) fn parameters(&self) -> Option<Value> {
        serde_json::from_str(self.parameters.as_deref()?).ok()
    }

    /// Reads the call as one of an interface.
    pub(super) fn read<M: DeserializeOwned>(&mut self, interface: &str) -> Result<M> {
        let known = interface::ALL.iter().find(|(name, _)| *name == interface);
        let method = &self.method;
        let name = method.rsplit('.').next().unwrap_or_default();
        let declared = known.is_some_and(|(_, text)| {
            let mut lines = text.lines();
            lines.any(|line| {
                let rest = line.strip_prefix("method ");
                let rest = rest.and_then(|rest| rest.strip_prefix(name));
                rest.is_some_and(|rest| rest.starts_with('('))
            })
        });
        if !declared {
            return Err(not_found(method));
        }
        let read = |parameters: Option<Value>| {
            let mut call = Map::new();
            call.insert("method".to_owned(), Value::String(method.clone()));
            if let Some(parameters) = parameters {
                call.insert("parameters".to_owned(), parameters);
            }
            serde_json::from_value(Value::Object(call))
        };
        let parameters = self.parameters();
        let has_none = parameters.is_none();
        let mut call = read(parameters);
        // None, and an empty object, are the same: of a method whose parameters are all optional
        // as of one that takes none.
        if has_none && call.is_err() {
            call = read(Some(Value::Object(Map::new())));
        }
        call.map_err(|why| {
            let parameter = why.to_string().into();
            varlink_service::Error::InvalidParameter { parameter }.into()
        })
    }
}
