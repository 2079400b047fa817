// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections to etcd's members.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection.
pub type Sender = SendRequest<Full<Bytes>>;

/// How a member's address is written.
const WRITTEN: &str = "an endpoint of etcd is written like http://127.0.0.1:2379";

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Host and port.
    pub authority: String,
    is_tls: bool,
}

impl Member {
    /// Reads `http://127.0.0.1:2379`.
    ///
    /// # Errors
    /// It is no address of a member.
    pub fn parse(text: &str) -> Result<Self> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => bail!("{text}: {WRITTEN}"),
        };
        let rest = rest.trim_end_matches('/');
        // An address of IPv6 stands in brackets, for its colons.
        let (host, port) = match rest.find(']') {
            Some(end) => rest.split_at(end.saturating_add(1)),
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Some(2_379),
            None => None,
            Some(port) => port.parse::<u16>().ok(),
        };
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-._[]:".contains(letter);
        match port {
            Some(port) if !host.is_empty() && host.chars().all(fits) => Ok(Self {
                authority: format!("{host}:{port}"),
                is_tls,
            }),
            _ => bail!("{text}: {WRITTEN}"),
        }
    }

    /// Whether it is asked by TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_matches(['[', ']'])
    }

    /// Connects.
    ///
    /// # Errors
    /// That is not possible.
    pub async fn connect(&self, tls: Option<&TlsConnector>) -> Result<Sender> {
        let tcp = TcpStream::connect(&self.authority).await;
        let tcp = tcp.with_context(|| self.authority.clone())?;
        tcp.set_nodelay(true)?;
        if !self.is_tls {
            return shake_hands(TokioIo::new(tcp)).await;
        }
        let tls = tls.context("no certificates for etcd are configured ([etcd] ca)")?;
        let name = ServerName::try_from(self.host().to_owned())?;
        let stream = tls.connect(name, tcp).await;
        shake_hands(TokioIo::new(
            stream.with_context(|| self.authority.clone())?,
        ))
        .await
    }
}

async fn shake_hands<T>(io: T) -> Result<Sender>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(async move {
        // Whoever sends is told of its end.
        let _ = connection.await;
    });
    Ok(sender)
}

/// The certificates of a file.
///
/// # Errors
/// It cannot be read, or there are none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.with_context(|| path.display().to_string())?;
    if all.is_empty() {
        bail!("{}: no certificate is in it", path.display());
    }
    Ok(all)
}

/// The key of a file.
///
/// # Errors
/// It cannot be read.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| path.display().to_string())
}

/// The certificates of a file, as those that others are signed by.
///
/// # Errors
/// It cannot be read.
pub fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .with_context(|| path.display().to_string())?;
    }
    Ok(roots)
}

/// What TLS with etcd takes.
///
/// # Errors
/// A file cannot be used.
pub fn connector(ca: &Path, own: Option<(&Path, &Path)>) -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?);
    let config = match own {
        Some((chain, own)) => config
            .with_client_auth_cert(certificates(chain)?, key(own)?)
            .with_context(|| format!("{}, with {} as its key", chain.display(), own.display()))?,
        None => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
