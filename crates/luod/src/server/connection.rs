// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection: its calls are answered in their order, each within a time.

use std::collections::VecDeque;
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use luo_varlink::interface::{self, Interface};
use luo_varlink::limits::MAX_CALL;
use luo_varlink::{Identity, TimelineEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use zlink_core::connection::ReadConnection;
use zlink_core::{Call, Connection, Reply, varlink_service};

use super::book::Entry;
use super::reply::{Answer, Refusal, Result, with};
use super::socket::{self, Peer, Reader};
use super::{Door, admin, client, status};
use crate::agent::{Agent, Caller, Inbox};
use crate::server::identity;

/// How long a peer may take to read what it is told.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Calls that a peer may send ahead while one is answered.
const BACKLOG: usize = 16;

/// A call, before anybody has looked what it is.
#[derive(Debug, Deserialize)]
struct Raw {
    method: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

/// Bytes of those. Nobody knows them yet, so they are kept as they are written.
const BACKLOG_BYTES: usize = 2 * MAX_CALL;

/// A call with what came along.
pub(super) struct Asked {
    method: String,
    parameters: Option<String>,
    pub(super) more: bool,
    oneway: bool,
    pub(super) fds: Vec<OwnedFd>,
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
    /// What the workload has not been told of yet.
    pub(super) inbox: Inbox,
    door: Door,
    entry: &'a Entry,
    stream: Rc<UnixStream>,
    reading: ReadConnection<Reader>,
    backlog: VecDeque<Asked>,
}

/// Serves a connection to its end.
pub(super) async fn serve(agent: &Rc<Agent>, door: Door, entry: &Entry, stream: UnixStream) {
    let stream = Rc::new(stream);
    let (identity, reading) = match identify(&stream).await {
        Ok(known) => known,
        Err(why) => {
            entry.warn(&format!("a connection is closed: {why}"));
            return;
        }
    };
    let mut served = Served {
        agent,
        caller: Caller {
            connection: entry.number,
            identity,
            workload: None,
        },
        inbox: Inbox::default(),
        door,
        entry,
        stream,
        reading,
        backlog: VecDeque::new(),
    };
    let end = served.run().await;
    if !end.is_ordinary() {
        agent.metrics.misbehaved.inc();
        let Caller { identity, .. } = &served.caller;
        entry.warn(&format!("the connection of {identity} is closed: {end:?}"));
    }
    agent.disconnected(&mut served.caller);
    drop(served);
    agent.heed().await;
}

/// Finds out who the peer is. Only the half that is read is kept: the other one would
/// keep room for what is written, and the peer's process a descriptor.
async fn identify(
    stream: &Rc<UnixStream>,
) -> std::result::Result<(Identity, ReadConnection<Reader>), identity::Unknown> {
    let mut connection = Connection::new(Peer::new(Rc::clone(stream)));
    let peer = connection.peer_credentials().await;
    let peer = peer.map_err(identity::Unknown::Socket)?;
    let identity = identity::of(identity::Peer {
        pid: peer.process_id().as_raw_nonzero().get(),
        uid: peer.unix_user_id().as_raw(),
        gid: peer.unix_primary_group_id().as_raw(),
        process: peer.process_fd(),
    })?;
    let (reading, _) = connection.split();
    Ok((identity, reading))
}

impl End {
    /// Whether the peer has just gone.
    fn is_ordinary(&self) -> bool {
        match self {
            Self::Peer(zlink_core::Error::UnexpectedEof) => true,
            Self::Peer(zlink_core::Error::Io(why)) => why.kind() != ErrorKind::InvalidData,
            _ => false,
        }
    }
}

impl Served<'_> {
    async fn run(&mut self) -> End {
        loop {
            let asked = match self.backlog.pop_front() {
                Some(asked) => asked,
                None => match receive(&mut self.reading).await {
                    Ok(asked) => asked,
                    Err(end) => return end,
                },
            };
            let oneway = asked.oneway;
            match self.dispatch(asked).await {
                Ok(Some(result)) if !oneway => {
                    if let Err(end) = self.reply(result).await {
                        return end;
                    }
                }
                Ok(_) => {}
                Err(end) => return end,
            }
        }
    }

    /// Does what is asked for. `None`: it has been answered already.
    ///
    /// Thousands of connections wait for an event most of the time. What else takes time
    /// is boxed, so that their tasks are no larger than that.
    async fn dispatch(&mut self, asked: Asked) -> std::result::Result<Option<Result>, End> {
        let Some((interface, _)) = asked.method.rsplit_once('.') else {
            return Ok(Some(Err(not_found(&asked.method))));
        };
        match (interface, self.door) {
            ("org.varlink.service", _) => Ok(Some(service(self.door, &asked))),
            (luo_varlink::status::INTERFACE, _) => Box::pin(status::dispatch(self, asked)).await,
            (luo_varlink::client::INTERFACE, Door::Client) => client::dispatch(self, asked).await,
            (luo_varlink::admin::INTERFACE, Door::Admin) => {
                Box::pin(admin::dispatch(self, asked)).await
            }
            (luo_varlink::client::INTERFACE | luo_varlink::admin::INTERFACE, _) => {
                Ok(Some(Err(varlink_service::Error::PermissionDenied.into())))
            }
            (interface, _) => {
                let interface = interface.to_owned().into();
                Ok(Some(Err(varlink_service::Error::InterfaceNotFound {
                    interface,
                }
                .into())))
            }
        }
    }

    /// Waits for something, and sees if the peer goes meanwhile. What it sends ahead is
    /// kept; with `yields`, that ends the wait: `None`.
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
                    self.backlog.push_back(ahead?);
                    let bytes: usize = self.backlog.iter().map(Asked::bytes).sum();
                    if self.backlog.len() > BACKLOG || bytes > BACKLOG_BYTES {
                        return Err(End::Ahead);
                    }
                }
            }
        }
    }

    /// What a long answer takes. Administrators' need nothing.
    pub(super) async fn long(&mut self) -> std::result::Result<Option<OwnedSemaphorePermit>, End> {
        if self.door == Door::Admin {
            return Ok(None);
        }
        let long = Arc::clone(&self.entry.long);
        let permit = self.wait(false, long.acquire_owned()).await?;
        Ok(permit.and_then(std::result::Result::ok))
    }

    async fn reply(&mut self, result: Result) -> std::result::Result<(), End> {
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

    /// One of several answers.
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

async fn receive(reading: &mut ReadConnection<Reader>) -> std::result::Result<Asked, End> {
    let received = reading.receive_call::<Raw>().await;
    let (call, fds): (Call<Raw>, _) = received.map_err(End::Peer)?;
    let raw = call.method();
    let parameters = raw.parameters.as_ref().filter(|all| !all.is_empty());
    Ok(Asked {
        method: raw.method.clone(),
        parameters: parameters.and_then(|all| serde_json::to_string(all).ok()),
        more: call.more(),
        oneway: call.oneway(),
        fds,
    })
}

fn not_found(method: &str) -> Refusal {
    let method = method.to_owned().into();
    varlink_service::Error::MethodNotFound { method }.into()
}

impl Asked {
    fn bytes(&self) -> usize {
        self.method.len() + self.parameters.as_ref().map_or(0, String::len)
    }

    /// Its parameters; a call without any may have an empty object.
    fn parameters(&self) -> Option<Value> {
        serde_json::from_str(self.parameters.as_deref()?).ok()
    }

    /// The call as one of an interface.
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
        let mut call = Map::new();
        call.insert("method".to_owned(), Value::String(method.clone()));
        if let Some(parameters) = self.parameters() {
            call.insert("parameters".to_owned(), parameters);
        }
        serde_json::from_value(Value::Object(call)).map_err(|why| {
            let parameter = why.to_string().into();
            varlink_service::Error::InvalidParameter { parameter }.into()
        })
    }
}

/// The interfaces that a door has.
fn interfaces(door: Door) -> &'static [Interface] {
    match door {
        Door::Admin => &[interface::ADMIN, interface::STATUS],
        Door::Client => &[interface::CLIENT, interface::STATUS],
        Door::Status => &[interface::STATUS],
    }
}

/// `org.varlink.service`.
fn service(door: Door, asked: &Asked) -> Result {
    #[derive(Serialize)]
    struct Info {
        vendor: &'static str,
        product: &'static str,
        version: &'static str,
        url: &'static str,
        interfaces: Vec<&'static str>,
    }
    #[derive(Serialize)]
    struct Description {
        description: String,
    }
    let own = interfaces(door);
    match asked.method.as_str() {
        "org.varlink.service.GetInfo" => {
            let names = own.iter().map(|(name, _)| *name);
            Ok(with(Info {
                vendor: "LUO in Rust",
                product: "luod",
                version: env!("CARGO_PKG_VERSION"),
                url: "https://docs.kernel.org/core-api/liveupdate.html",
                interfaces: std::iter::once("org.varlink.service")
                    .chain(names)
                    .collect(),
            }))
        }
        "org.varlink.service.GetInterfaceDescription" => {
            let parameters = asked.parameters();
            let wanted = parameters.as_ref();
            let wanted = wanted.and_then(|all| all.get("interface")?.as_str());
            let wanted = wanted.ok_or_else(|| {
                let parameter = "interface".into();
                Refusal::from(varlink_service::Error::InvalidParameter { parameter })
            })?;
            let found = own.iter().find(|(name, _)| *name == wanted);
            let description = match found {
                Some((_, text)) => (*text).to_owned(),
                None if wanted == "org.varlink.service" => varlink_service::DESCRIPTION.to_string(),
                None => {
                    let interface = wanted.to_owned().into();
                    return Err(varlink_service::Error::InterfaceNotFound { interface }.into());
                }
            };
            Ok(with(Description { description }))
        }
        method => Err(not_found(method)),
    }
}
