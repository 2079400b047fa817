// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections, TLS, limits.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, full};
use super::room::{Guest, Room};
use super::route::Site;
use crate::config::{Access, Tls};
use crate::etcd::connect::{certificates, key, roots};
use crate::identity::{Certified, Identities, KEY, check_revoked};
use crate::seldom::Seldom;

/// How long the beginning of a connection, or of a request, may take; and how long a connection
/// may be idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many that cannot be let in are told so at once, and how long that may take. More are let
/// go of without a word.
const TURNED_AWAY: usize = 256;
const ADIEU: Duration = Duration::from_secs(2);

/// How often it is told that somebody's TLS, or certificate, is not accepted.
const TOLD: Duration = Duration::from_secs(10);

/// Bytes of a request's head, and of what is read at once.
const BUFFER: usize = 16 * 1024;

/// What TLS takes.
///
/// # Errors
/// A file cannot be used.
pub fn acceptor(tls: &Tls, access: &Access) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = match &tls.client_ca {
        Some(ca) => {
            let roots = Arc::new(roots(ca)?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if !access.token_keys.is_empty() {
                verifier = verifier.allow_unauthenticated();
            }
            config.with_client_cert_verifier(verifier.build()?)
        }
        None => config.with_no_client_auth(),
    };
    tell_if_open(&tls.key);
    let config = config
        .with_single_cert(certificates(&tls.certificate)?, key(&tls.key)?)
        .with_context(|| tls.certificate.display().to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A key for tokens.
///
/// # Errors
/// The file cannot be read, or is too short.
pub fn token_key(path: &Path) -> Result<Vec<u8>> {
    tell_if_open(path);
    let key = std::fs::read(path).with_context(|| path.display().to_string())?;
    if key.len() < KEY {
        bail!(
            "{}: a key has {KEY} bytes at least: head -c 32 /dev/urandom > {0}",
            path.display()
        );
    }
    Ok(key)
}

/// Whoever can read a key is an administrator, or passes for the server.
fn tell_if_open(path: &Path) {
    if is_open(path) {
        tracing::warn!(
            "{}: every user of this machine can read this key: chgrp luo-fleet {0}; chmod 640 {0}",
            path.display()
        );
    }
}

fn is_open(path: &Path) -> bool {
    let mode = std::fs::metadata(path).map(|known| known.permissions().mode());
    mode.is_ok_and(|mode| mode & 0o007 != 0)
}

/// What tells who speaks.
///
/// # Errors
/// A key cannot be read.
pub fn identities(access: &Access) -> Result<Identities> {
    check_revoked(access).map_err(anyhow::Error::msg)?;
    let keys = access.token_keys.iter().map(|path| token_key(path));
    Ok(Identities::new(
        access.clone(),
        keys.collect::<Result<_>>()?,
    ))
}

/// Serves whoever connects, for ever.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    room: Arc<Room>,
) {
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let told = Arc::new(Seldom::new(TOLD));
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(why) => {
                // No descriptors are left, say.
                tracing::warn!("a connection was not accepted: {why}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let tls = tls.clone();
        let Some(guest) = room.enter().await else {
            if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
                tokio::spawn(async move {
                    // Whoever says nothing meanwhile is told nothing.
                    let _ = timeout(ADIEU, connection(tcp, tls, By::Nobody)).await;
                    drop(place);
                });
            }
            continue;
        };
        let by = By::Site(Arc::clone(&site), Arc::clone(&guest));
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            let ended = tokio::select! {
                biased;
                ended = connection(tcp, tls, by) => ended,
                () = guest.has_to_leave() => Ok(()),
            };
            match ended {
                Err(why) if why.is::<NoTls>() => {
                    if let Some(left_out) = told.may(Instant::now()) {
                        tracing::warn!(
                            "{peer}: {why:#} ({left_out} more since the last such line)"
                        );
                    }
                }
                Err(why) => tracing::debug!("a connection has ended: {why:#}"),
                Ok(()) => {}
            }
        });
    }
}

/// By whom requests are seen to.
#[derive(Clone)]
enum By {
    /// The site, for one that is let in.
    Site(Arc<Site>, Arc<Guest>),
    /// Nobody: there is no room.
    Nobody,
}

impl By {
    async fn answer(self, mut request: Request<Incoming>, certified: Certified) -> Answer {
        let Self::Site(site, guest) = self else {
            return full();
        };
        if request.body().is_end_stream() {
            guest.gets_busy();
        }
        // Whoever reads the body knows when it is whole.
        request.extensions_mut().insert(Arc::clone(&guest));
        let answer = site.serve(request, certified).await;
        guest.falls_quiet();
        answer
    }
}

/// TLS that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("no TLS with it, so it is not served: {0}")]
struct NoTls(std::io::Error);

async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, by: By) -> Result<()> {
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else {
        return requests(TokioIo::new(tcp), Certified::No, by).await;
    };
    let stream = timeout(PATIENCE, tls.accept(tcp)).await?;
    let stream = stream.map_err(|why| match why.kind() {
        // What somebody has sent is no TLS, or one of the two does not accept the other.
        std::io::ErrorKind::InvalidData => anyhow::Error::new(NoTls(why)),
        _ => why.into(),
    })?;
    let By::Site(site, guest) = &by else {
        return requests(TokioIo::new(stream), Certified::No, by).await;
    };
    guest.has_come_further();
    let chain = stream.get_ref().1.peer_certificates();
    let own = chain.and_then(|chain| chain.first());
    let certified = match own.map(|own| site.identities.by_certificate(own)) {
        None => Certified::No,
        Some(Some(caller)) => Certified::By(caller),
        Some(None) => Certified::Nobody,
    };
    requests(TokioIo::new(stream), certified, by).await
}

async fn requests<T>(io: T, certified: Certified, by: By) -> Result<()>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let stays = matches!(by, By::Site(..));
    let service = service_fn(move |request| {
        let (by, certified) = (by.clone(), certified.clone());
        async move { Ok::<_, Infallible>(by.answer(request, certified).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(stays)
        .header_read_timeout(PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(io, service)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_key_that_everybody_can_read_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        write(&path, [7; KEY]).unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open(&path), open, "{mode:o}");
        }
    }
}
