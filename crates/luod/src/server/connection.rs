// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection: its calls are answered in their order, each within a time.

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use luo_varlink::interface::{self, Interface};
use luo_varlink::{Event, TimelineEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use zlink_core::{Call, Connection, Reply, varlink_service};

use super::reply::{Answer, Refusal, Result, with};
use super::socket::Peer;
use super::{Door, admin, client, status};
use crate::agent::{Agent, Caller};
use crate::identity;

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

/// A call with what came along.
pub(super) struct Asked {
    raw: Raw,
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
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) hear: mpsc::UnboundedSender<Event>,
    door: Door,
    connection: Connection<Peer>,
    backlog: VecDeque<Asked>,
}

/// Serves a connection to its end.
pub(super) async fn serve(agent: &Rc<Agent>, door: Door, number: u64, stream: UnixStream) {
    let mut connection = Connection::new(Peer::new(stream));
    let identity = match connection.peer_credentials().await {
        Ok(peer) => identity::of(identity::Peer {
            pid: peer.process_id().as_raw_nonzero().get(),
            uid: peer.unix_user_id().as_raw(),
            gid: peer.unix_primary_group_id().as_raw(),
            process: peer.process_fd(),
        }),
        Err(why) => Err(identity::Unknown::Socket(why)),
    };
    let identity = match identity {
        Ok(identity) => identity,
        Err(why) => {
            tracing::warn!("a connection is closed: {why}");
            return;
        }
    };
    let (hear, events) = mpsc::unbounded_channel();
    let mut served = Served {
        agent,
        caller: Caller {
            connection: number,
            identity,
            workload: None,
        },
        events,
        hear,
        door,
        connection,
        backlog: VecDeque::new(),
    };
    let end = served.run().await;
    match end {
        End::Peer(zlink_core::Error::UnexpectedEof | zlink_core::Error::Io(_)) => {}
        end => {
            agent.metrics.misbehaved.inc();
            let Caller { identity, .. } = &served.caller;
            tracing::warn!("the connection of {identity} is closed: {end:?}");
        }
    }
    agent.disconnected(&mut served.caller);
    drop(served);
    agent.heed().await;
}

impl Served<'_> {
    async fn run(&mut self) -> End {
        loop {
            let asked = match self.backlog.pop_front() {
                Some(asked) => asked,
                None => match receive(&mut self.connection).await {
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
    async fn dispatch(&mut self, asked: Asked) -> std::result::Result<Option<Result>, End> {
        let method = asked.raw.method.clone();
        let Some((interface, _)) = method.rsplit_once('.') else {
            return Ok(Some(Err(not_found(&method))));
        };
        match (interface, self.door) {
            ("org.varlink.service", _) => Ok(Some(service(self.door, &asked.raw))),
            (luo_varlink::status::INTERFACE, _) => status::dispatch(self, asked).await,
            (luo_varlink::client::INTERFACE, Door::Client) => client::dispatch(self, asked).await,
            (luo_varlink::admin::INTERFACE, Door::Admin) => admin::dispatch(self, asked).await,
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
                ahead = receive(&mut self.connection) => {
                    self.backlog.push_back(ahead?);
                    if self.backlog.len() > BACKLOG {
                        return Err(End::Ahead);
                    }
                }
            }
        }
    }

    async fn reply(&mut self, result: Result) -> std::result::Result<(), End> {
        match result {
            Ok(Answer { parameters, fd }) => {
                let reply = Reply::new(parameters);
                let fds = fd.into_iter().collect();
                within(self.connection.send_reply(&reply, fds)).await
            }
            Err(refusal) => {
                let refusal: Refusal = refusal;
                within(self.connection.send_error(&refusal, Vec::new())).await
            }
        }
    }

    /// One of several answers.
    pub(super) async fn tell(&mut self, event: TimelineEvent) -> std::result::Result<(), End> {
        #[derive(Debug, Serialize)]
        struct Line {
            event: TimelineEvent,
        }
        let reply = Reply::new(Some(Line { event })).set_continues(Some(true));
        within(self.connection.send_reply(&reply, Vec::new())).await
    }
}

/// Whether a peer reads what it is told in time.
async fn within(
    sending: impl Future<Output = zlink_core::Result<()>>,
) -> std::result::Result<(), End> {
    match tokio::time::timeout(WRITE_PATIENCE, sending).await {
        Ok(sent) => sent.map_err(End::Peer),
        Err(_) => Err(End::Slow),
    }
}

async fn receive(connection: &mut Connection<Peer>) -> std::result::Result<Asked, End> {
    let received = connection.receive_call::<Raw>().await;
    let (call, fds): (Call<Raw>, _) = received.map_err(End::Peer)?;
    let (more, oneway) = (call.more(), call.oneway());
    let raw = Raw {
        method: call.method().method.clone(),
        parameters: call.method().parameters.clone(),
    };
    Ok(Asked {
        raw,
        more,
        oneway,
        fds,
    })
}

fn not_found(method: &str) -> Refusal {
    let method = method.to_owned().into();
    varlink_service::Error::MethodNotFound { method }.into()
}

impl Asked {
    /// The call as one of an interface.
    pub(super) fn read<M: DeserializeOwned>(&mut self, interface: &str) -> Result<M> {
        let known = interface::ALL.iter().find(|(name, _)| *name == interface);
        let method = &self.raw.method;
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
        if let Some(parameters) = self.raw.parameters.take() {
            // A call without parameters may have an empty object.
            if !parameters.is_empty() {
                call.insert("parameters".to_owned(), Value::Object(parameters));
            }
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
fn service(door: Door, raw: &Raw) -> Result {
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
    match raw.method.as_str() {
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
            let parameters = raw.parameters.as_ref();
            let wanted = parameters.and_then(|all| all.get("interface")?.as_str());
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
