// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection from its begin to its end. Its calls are answered one after the other.

use std::collections::VecDeque;
use std::rc::Rc;

use luo_varlink::Identity;
use serde::Serialize;
use tokio::net::UnixStream;
use zlink_core::connection::ReadConnection;
use zlink_core::{Connection, varlink_service};

use super::book::Entry;
use super::door::{Door, interfaces};
use super::reply::{Refusal, Result, with};
use super::served::{Asked, End, Served, not_found, receive};
use super::socket::{Peer, Reader};
use super::{admin, client, identity, status};
use crate::agent::{Agent, Caller, Inbox};
use crate::aside;

/// Serves a connection to its end.
pub(super) async fn serve(agent: &Rc<Agent>, door: Door, entry: &Entry, stream: UnixStream) {
    let stream = Rc::new(stream);
    speak(agent, door, entry, &stream).await;
    // Descriptors that came with calls which nobody has read go with the socket.
    if let Some(Ok(stream)) = Rc::into_inner(stream).map(UnixStream::into_std) {
        drop(aside::close(stream));
    }
}

async fn speak(agent: &Rc<Agent>, door: Door, entry: &Entry, stream: &Rc<UnixStream>) {
    if let Some(unread) = door.unread(agent) {
        unread.watch(stream);
    }
    let (identity, group, reading) = match identify(stream, door).await {
        Ok(known) => known,
        // A program may ask and end before it is heard. Nobody waits for an answer then.
        Err(identity::Unknown::Gone) => return,
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
            group,
        },
        inbox: Inbox::default(),
        door,
        entry,
        stream: Rc::clone(stream),
        reading,
        backlog: VecDeque::new(),
        watches: false,
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

/// Finds out the identity of the peer. Only the reading half of the connection is kept: the
/// other half would hold a buffer for writing, and a descriptor of the peer's process.
async fn identify(
    stream: &Rc<UnixStream>,
    door: Door,
) -> std::result::Result<(Identity, Option<String>, ReadConnection<Reader>), identity::Unknown> {
    let mut connection = Connection::new(Peer::new(Rc::clone(stream)));
    let peer = connection.peer_credentials().await;
    let peer = peer.map_err(identity::Unknown::Socket)?;
    let peer = identity::Peer {
        pid: peer.process_id().as_raw_nonzero().get(),
        uid: peer.unix_user_id().as_raw(),
        gid: peer.unix_primary_group_id().as_raw(),
        process: peer.process_fd(),
    };
    let identity = match identity::of(peer) {
        // A peer that may connect there is an administrator. A call that it made before it went, a
        // cancel for example, is done all the same.
        Err(_) if door == Door::Admin => Identity {
            uid: peer.uid,
            gid: peer.gid,
            unit: None,
        },
        identity => identity?,
    };
    let group = identity::group(peer.pid);
    let (reading, _) = connection.split();
    Ok((identity, group, reading))
}

impl Served<'_> {
    async fn run(&mut self) -> End {
        loop {
            let asked = match self.backlog.pop_front() {
                Some(asked) => asked,
                None => match receive(&mut self.reading).await {
                    Ok(asked) => asked,
                    Err(end) => {
                        Box::pin(self.say_why(&end)).await;
                        return end;
                    }
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

    /// Does what a call asks for. Gives `None` if the call has been answered already.
    ///
    /// Thousands of connections wait for an event most of the time. The futures of all
    /// other waits are boxed, so that a task needs no more memory than that one wait.
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
