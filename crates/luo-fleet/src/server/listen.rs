// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections, TLS, limits.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::route::Site;
use crate::config::{Access, Tls};
use crate::etcd::connect::{certificates, key, roots};
use crate::identity::{Caller, Identities, KEY};

/// How long the beginning of a connection, or of a request, may take; and how long a connection
/// may be idle.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let key = std::fs::read(path).with_context(|| path.display().to_string())?;
    if key.len() < KEY {
        bail!(
            "{}: a key has {KEY} bytes at least: head -c 32 /dev/urandom > {0}",
            path.display()
        );
    }
    Ok(key)
}

/// What tells who speaks.
///
/// # Errors
/// A key cannot be read.
pub fn identities(access: &Access) -> Result<Identities> {
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
    most: Arc<Semaphore>,
) {
    loop {
        // Who finds no room waits in the kernel's queue.
        let Ok(room) = Arc::clone(&most).acquire_owned().await else {
            return;
        };
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(why) => {
                // No descriptors are left, say.
                tracing::warn!("a connection was not accepted: {why}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, site) = (tls.clone(), Arc::clone(&site));
        tokio::spawn(async move {
            if let Err(why) = connection(tcp, tls, site).await {
                tracing::debug!("a connection has ended: {why:#}");
            }
            drop(room);
        });
    }
}

async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, site: Arc<Site>) -> Result<()> {
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else {
        return requests(TokioIo::new(tcp), None, site).await;
    };
    let stream = timeout(PATIENCE, tls.accept(tcp)).await??;
    let chain = stream.get_ref().1.peer_certificates();
    let own = chain.and_then(|chain| chain.first());
    let certified = own.and_then(|own| site.identities.by_certificate(own));
    if own.is_some() && certified.is_none() {
        bail!("a certificate without a name for DNS, or one that is revoked");
    }
    requests(TokioIo::new(stream), certified, site).await
}

async fn requests<T>(io: T, certified: Option<Caller>, site: Arc<Site>) -> Result<()>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request| {
        let (site, certified) = (Arc::clone(&site), certified.clone());
        async move { Ok::<_, Infallible>(site.serve(request, certified).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(io, service)
        .await?;
    Ok(())
}
