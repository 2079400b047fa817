// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side. Each call is one attempt at each server, and blocks; who wants to try again
//! does so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::{
    Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem,
};

use crate::limits::{MAX_ANSWER, short};
use crate::lock::{Body, ClientParams, HEADER, HEADER_VALUE, PRE_REBOOT, Refusal};
use crate::lock::{REPORT, STEADY_STATE};
use crate::report::{Asking, Report};
use crate::status::{AUDIT, AuditLine, ByHand, Done, FLEET, Fleet, STATUS};

/// What a client needs to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The servers' bases: `https://fleet.example.org`. Any of them will do.
    pub servers: Vec<String>,
    /// The file with the certificates that the servers' are signed by (PEM).
    pub ca: Option<PathBuf>,
    /// The files with the client's certificate and its key (PEM).
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The file with the token.
    pub token: Option<PathBuf>,
    /// How long a server may take.
    pub timeout: Option<Duration>,
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server has refused.
    #[error("{}", .refusal.value)]
    Refused {
        /// The status code.
        status: u16,
        /// How it was refused.
        refusal: Refusal,
        /// Seconds after which to ask again, if the server says so.
        again: Option<u64>,
    },
    /// No server has answered.
    #[error("no server of the fleet answers: {why}")]
    Unreachable {
        /// Each server, and what came of it.
        why: String,
    },
    /// The client's own files or settings cannot be used.
    #[error("{place}: {why}")]
    Settings {
        /// The file or the setting.
        place: String,
        /// What is wrong about it.
        why: String,
    },
}

impl Error {
    /// Whether a server has answered, and said no.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether another answer may come by itself: no server was reached, or none could say.
    #[must_use]
    pub const fn is_for_now(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Refused { status: 500.., .. }
        )
    }

    /// Whether the server does not know the call, as one that is not this project's.
    #[must_use]
    pub const fn is_unknown_call(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 404 | 405 | 501,
                ..
            }
        )
    }
}

/// A client.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    servers: Vec<String>,
    token: Option<String>,
}

/// How long a server may take if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a refusal that are read.
const MAX_REFUSAL: u64 = 64 * 1024;

impl Client {
    /// A client. Its files are read now.
    ///
    /// # Errors
    /// A file cannot be used, or no server is named.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        if settings.servers.is_empty() {
            return Err(wrong("server", "no server is named"));
        }
        for server in &settings.servers {
            if !server.starts_with("https://") && !server.starts_with("http://") {
                return Err(wrong(server, "a server begins with https:// or http://"));
            }
        }
        let mut by_tls = settings.servers.iter();
        let by_tls = by_tls.find(|server| server.starts_with("https://"));
        if let (Some(server), None) = (by_tls, &settings.ca) {
            let why = "name ca, too: the file with the certificates that the server's is signed by";
            return Err(wrong(server, why));
        }
        let mut tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let mut roots = Vec::new();
        if let Some(ca) = &settings.ca {
            roots = certificates(ca)?;
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
        if let Some((certificate, key)) = &settings.certificate {
            let chain = certificates(certificate)?;
            usable(certificate, key)?;
            let key = PrivateKey::from_pem(&read(key)?)
                .map_err(|why| wrong(&key.display().to_string(), &why.to_string()))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .timeout_global(Some(settings.timeout.unwrap_or(TIMEOUT)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .proxy(None)
            .build()
            .new_agent();
        let token = match &settings.token {
            Some(path) => Some(String::from_utf8_lossy(&read(path)?).trim().to_owned()),
            None => None,
        };
        Ok(Self {
            agent,
            servers: settings
                .servers
                .iter()
                .map(|server| server.trim_end_matches('/').to_owned())
                .collect(),
            token,
        })
    }

    /// Takes a slot. Success means that the host may begin.
    ///
    /// # Errors
    /// It may not, or nobody can be asked.
    pub fn pre_reboot(&self, who: &ClientParams, asking: Option<Asking>) -> Result<(), Error> {
        let body = Body {
            client_params: who.clone(),
            liveupdate: asking,
            liveupdate_outcome: None,
        };
        self.post(PRE_REBOOT, &body)
    }

    /// Gives a slot back.
    ///
    /// # Errors
    /// It is not given back, or nobody can be asked.
    pub fn steady_state(&self, who: &ClientParams, report: Option<Report>) -> Result<(), Error> {
        self.post(STEADY_STATE, &told(who, report))
    }

    /// Tells of a host that keeps its slot.
    ///
    /// # Errors
    /// It was not told.
    pub fn report(&self, who: &ClientParams, report: Option<Report>) -> Result<(), Error> {
        self.post(REPORT, &told(who, report))
    }

    /// How the fleet stands; with `after`, as soon as its revision is another one, or after half
    /// a minute.
    ///
    /// # Errors
    /// It was not told.
    pub fn status(&self, after: Option<i64>) -> Result<Fleet, Error> {
        match after {
            None => self.get(STATUS),
            Some(after) => self.get(&format!("{STATUS}?after={after}")),
        }
    }

    /// The last lines of the audit log.
    ///
    /// # Errors
    /// They were not told.
    pub fn audit(&self) -> Result<Vec<AuditLine>, Error> {
        self.get(AUDIT)
    }

    /// What an administrator does to a host: `hold`, `resume`, `release`, `forget`. Says whether
    /// that has changed anything.
    ///
    /// # Errors
    /// It is not done.
    pub fn by_hand(&self, verb: &str, host: &str, reason: &str) -> Result<bool, Error> {
        let body = ByHand {
            host: host.to_owned(),
            reason: reason.to_owned(),
        };
        let mut response = self.send(&format!("{FLEET}{verb}"), &body)?;
        let body = response.body_mut().with_config().limit(MAX_REFUSAL);
        let told: Option<Done> = body
            .read_to_vec()
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        // It is done in any case.
        Ok(told.is_none_or(|told| told.changed))
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<(), Error> {
        self.send(path, body).map(drop)
    }

    fn send(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<ureq::http::Response<ureq::Body>, Error> {
        let body = serde_json::to_vec(body).map_err(|why| wrong("the body", &why.to_string()))?;
        self.each(|server| {
            let mut request = self
                .agent
                .post(format!("{server}{path}"))
                .header(HEADER, HEADER_VALUE)
                .header("content-type", "application/json");
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.send(body.as_slice())
        })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let mut response = self.each(|server| {
            let mut request = self.agent.get(format!("{server}{path}"));
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.call()
        })?;
        let unread = |why: &dyn core::fmt::Display| Error::Unreachable {
            why: format!("an answer that cannot be read: {why}"),
        };
        let body = response.body_mut().with_config().limit(MAX_ANSWER);
        let bytes = body.read_to_vec().map_err(|why| unread(&why))?;
        serde_json::from_slice(&bytes).map_err(|why| unread(&why))
    }

    /// Asks the servers in turn, until one answers that is well. One that refuses has
    /// answered; one that says 5xx has not, if another may know better.
    fn each(
        &self,
        mut ask: impl FnMut(&str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, Error> {
        let mut failures = Vec::new();
        let mut refused = None;
        for server in &self.servers {
            match ask(server) {
                Ok(response) if response.status().as_u16() == 200 => return Ok(response),
                Ok(response) => {
                    let (is_final, refusal) = refusal(response);
                    if is_final {
                        return Err(refusal);
                    }
                    refused = Some(refusal);
                }
                Err(why) => failures.push(format!("{server}: {why}")),
            }
        }
        Err(refused.unwrap_or_else(|| Error::Unreachable {
            why: short(&failures.join("; ")),
        }))
    }
}

fn told(who: &ClientParams, report: Option<Report>) -> Body {
    Body {
        client_params: who.clone(),
        liveupdate: None,
        liveupdate_outcome: report,
    }
}

/// The refusal that a response is, and whether another server would say the same. What is no
/// JSON is told by its status code, as the protocol has it.
fn refusal(mut response: ureq::http::Response<ureq::Body>) -> (bool, Error) {
    let status = response.status();
    let again = response.headers().get("retry-after");
    let again = again.and_then(|text| text.to_str().ok()?.parse().ok());
    let body = response.body_mut().with_config().limit(MAX_REFUSAL);
    let refusal = body.read_to_vec().ok();
    let refusal: Option<Refusal> = refusal.and_then(|body| serde_json::from_slice(&body).ok());
    let refusal = refusal.map_or_else(
        || Refusal {
            kind: format!("http_{}", status.as_u16()),
            value: format!("the server of the fleet says {status}"),
        },
        |told| Refusal {
            kind: short(&told.kind),
            value: short(&told.value),
        },
    );
    let error = Error::Refused {
        status: status.as_u16(),
        refusal,
        again,
    };
    (!status.is_server_error(), error)
}

/// Whether a certificate can be shown, and the key is its own. ureq takes it that they are looked at
/// before, and panics where they are not good.
fn usable(certificate: &Path, key: &Path) -> Result<(), Error> {
    let bad = |path: &Path, why: String| wrong(&path.display().to_string(), &why);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|why| bad(certificate, why.to_string()))?;
    let own = PrivateKeyDer::from_pem_slice(&read(key)?);
    let own = own.map_err(|why| bad(key, why.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| bad(certificate, why.to_string()))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, own)
        .map_err(|why| {
            let key = key.display();
            bad(
                certificate,
                format!("it cannot be shown to a server, with {key} as its key: {why}"),
            )
        })?;
    Ok(())
}

fn wrong(place: &str, why: &str) -> Error {
    Error::Settings {
        place: place.to_owned(),
        why: why.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|why| wrong(&path.display().to_string(), &why.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let text = read(path)?;
    let mut all = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => all.push(certificate),
            Ok(_) => {}
            Err(why) => return Err(wrong(&path.display().to_string(), &why.to_string())),
        }
    }
    if all.is_empty() {
        return Err(wrong(
            &path.display().to_string(),
            "no certificate is in it",
        ));
    }
    Ok(all)
}
