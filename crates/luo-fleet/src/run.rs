// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server, from its configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::config::Config;
use crate::server::listen::{acceptor, identities, serve};
use crate::server::metrics::Metrics;
use crate::server::room::Room;
use crate::server::route::Site;
use crate::state::change::Clock;
use crate::state::keeper::{Keeper, Parts};
use crate::state::keys::Keys;

/// A server that listens.
pub struct Running {
    /// Where.
    pub addresses: Vec<SocketAddr>,
    /// What it does.
    pub keeper: Arc<Keeper>,
}

/// Begins to keep up with etcd.
///
/// # Errors
/// The configuration cannot be used.
pub fn keeper(config: &Config, clock: Clock) -> Result<Arc<Keeper>> {
    Ok(Keeper::begin(Parts {
        etcd: Arc::new(config.etcd()?),
        keys: Keys::new(&config.prefix),
        clock,
        presence: Duration::from_secs(config.presence),
        max_hosts: config.max_hosts,
    }))
}

/// Connections that wait to be accepted, as far as the kernel lets them: hosts that come all at
/// once wait a moment, and not the second after which TCP tries again.
const BACKLOG: u32 = 8_192;

async fn listen(address: &str) -> Result<TcpListener> {
    let mut last = None;
    for address in lookup_host(address).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A server that is started anew takes its address over at once.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(why) => last = Some(why),
        }
    }
    match last {
        Some(why) => Err(why.into()),
        None => bail!("there is no such address"),
    }
}

/// Begins to serve.
///
/// # Errors
/// The configuration cannot be used, or an address is taken.
pub async fn run(config: &Config, clock: Clock) -> Result<Running> {
    let tls = config.tls.as_ref();
    let tls = tls.map(|tls| acceptor(tls, &config.access)).transpose()?;
    let site = Arc::new(Site {
        keeper: keeper(config, clock)?,
        identities: identities(&config.access)?,
        metrics: Metrics::new(),
    });
    let room = Room::new(config.max_connections);
    let mut addresses = Vec::new();
    for address in &config.listen {
        let listener = listen(address).await;
        let listener = listener.with_context(|| address.clone())?;
        addresses.push(listener.local_addr()?);
        let (tls, site, room) = (tls.clone(), Arc::clone(&site), Arc::clone(&room));
        tokio::spawn(serve(listener, tls, site, room));
    }
    let keeper = Arc::clone(&site.keeper);
    Ok(Running { addresses, keeper })
}
