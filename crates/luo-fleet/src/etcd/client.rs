// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of etcd. Each goes to the member that answered last, and then to the others. A call that
//! was sent twice is harmless: whatever changes something compares revisions before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

use super::connect::{Member, Sender};
use super::wire::{Lease, Range, Txn, bytes, end_of};

/// How long a member may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Bytes of an answer.
const MOST: usize = 64 * 1024 * 1024;

/// Keys that a range asks for at once.
const PAGE: usize = 500;

/// Connections that are kept.
const IDLE: usize = 16;

/// etcd.
pub struct Etcd {
    members: Vec<Member>,
    tls: Option<TlsConnector>,
    /// The member that answered last.
    at: AtomicUsize,
    idle: Mutex<Vec<(usize, Sender)>>,
}

impl Etcd {
    /// An etcd with these members.
    ///
    /// # Errors
    /// There are none.
    pub fn new(members: Vec<Member>, tls: Option<TlsConnector>) -> Result<Self> {
        if members.is_empty() {
            bail!("no endpoint of etcd is named");
        }
        Ok(Self {
            members,
            tls,
            at: AtomicUsize::new(0),
            idle: Mutex::new(Vec::new()),
        })
    }

    fn taken(&self, member: usize) -> Option<Sender> {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let at = idle.iter().position(|(of, _)| *of == member)?;
        Some(idle.swap_remove(at).1)
    }

    fn keep(&self, member: usize, sender: Sender) {
        let mut idle = self
            .idle
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if idle.len() < IDLE {
            idle.push((member, sender));
        }
    }

    /// Sends a request to a member, by a connection that is there or by a new one.
    async fn send(
        &self,
        member: usize,
        path: &str,
        body: &Bytes,
    ) -> Result<(Sender, Response<Incoming>)> {
        let target = self.members.get(member).context("no such member")?;
        let request = || {
            Request::post(path)
                .header("host", &target.authority)
                .header("content-type", "application/json")
                .body(Full::new(body.clone()))
        };
        while let Some(mut sender) = self.taken(member) {
            // One that has been closed meanwhile says so here, or when it is used.
            if sender.ready().await.is_ok()
                && let Ok(response) = sender.send_request(request()?).await
            {
                return Ok((sender, response));
            }
        }
        let mut sender = target.connect(self.tls.as_ref()).await?;
        let response = sender.send_request(request()?).await?;
        Ok((sender, response))
    }

    async fn call_one(&self, member: usize, path: &str, body: &Bytes) -> Result<Vec<u8>> {
        let (sender, response) = self.send(member, path, body).await?;
        let status = response.status();
        let text = Limited::new(response.into_body(), MOST).collect().await;
        let text = text.map_err(|why| anyhow::anyhow!(why))?.to_bytes();
        self.keep(member, sender);
        if status != StatusCode::OK {
            let said: Value = serde_json::from_slice(&text).unwrap_or_default();
            let said = said["message"].as_str().or(said["error"].as_str());
            bail!("etcd says {status}: {}", said.unwrap_or_default());
        }
        Ok(text.into())
    }

    /// Calls.
    ///
    /// # Errors
    /// No member has answered, or with an error.
    pub async fn call<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let body = Bytes::from(serde_json::to_vec(body)?);
        let mut failures = Vec::new();
        for _ in 0..self.members.len() {
            let member = self.at.load(Ordering::Relaxed) % self.members.len();
            let called = self.call_one(member, path, &body);
            match tokio::time::timeout(PATIENCE, called).await {
                Ok(Ok(text)) => return serde_json::from_slice(&text).context("etcd's answer"),
                Ok(Err(why)) => failures.push(format!("{why:#}")),
                Err(_) => failures.push(format!("{:?}: no answer", self.members.get(member))),
            }
            self.is_bad(member);
        }
        bail!("etcd: {}", failures.join("; "))
    }

    /// A member has not answered: the next one is asked from now on, and this one by new
    /// connections, because those that are there may be dead without saying so.
    pub(super) fn is_bad(&self, member: usize) {
        self.idle
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .retain(|(of, _)| *of != member);
        let next = member.wrapping_add(1);
        let _ = self
            .at
            .compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        if next >= self.members.len() {
            let _ = self
                .at
                .compare_exchange(next, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Sends a request whose answer goes on for ever, by a connection of its own.
    pub(super) async fn stream(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<(usize, Sender, Incoming)> {
        let member = self.at.load(Ordering::Relaxed) % self.members.len();
        let body = Bytes::from(serde_json::to_vec(body)?);
        let begun = async {
            let target = self.members.get(member).context("no such member")?;
            let mut sender = target.connect(self.tls.as_ref()).await?;
            let request = Request::post(path)
                .header("host", &target.authority)
                .header("content-type", "application/json")
                .body(Full::new(body))?;
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                bail!("etcd says {}", response.status());
            }
            Ok((member, sender, response.into_body()))
        };
        match tokio::time::timeout(PATIENCE, begun).await {
            Ok(Ok(begun)) => Ok(begun),
            Ok(Err(why)) => {
                self.is_bad(member);
                Err(why)
            }
            Err(_) => {
                self.is_bad(member);
                bail!("etcd does not answer")
            }
        }
    }

    /// One key, as a majority of the members has it.
    ///
    /// # Errors
    /// No member has answered.
    pub async fn get(&self, key: &str) -> Result<Range> {
        self.call("/v3/kv/range", &json!({ "key": bytes(key) }))
            .await
    }

    /// All keys that begin with a prefix, at one revision.
    ///
    /// # Errors
    /// No member has answered.
    pub async fn all(&self, prefix: &str) -> Result<Range> {
        let mut from = prefix.as_bytes().to_vec();
        let mut whole = Range::default();
        loop {
            let asked = json!({
                "key": bytes(&from),
                "range_end": bytes(end_of(prefix)),
                "limit": PAGE.to_string(),
                "revision": whole.header.revision.to_string(),
            });
            let page: Range = self.call("/v3/kv/range", &asked).await?;
            if whole.header.revision == 0 {
                whole.header = page.header;
            }
            let last = page.kvs.last().map(|last| last.key.clone());
            whole.kvs.extend(page.kvs);
            match last {
                Some(last) if page.more => {
                    from = last;
                    from.push(0);
                }
                _ => return Ok(whole),
            }
        }
    }

    /// The last keys that begin with a prefix, the last one first.
    ///
    /// # Errors
    /// No member has answered.
    pub async fn last(&self, prefix: &str, most: usize) -> Result<Range> {
        let asked = json!({
            "key": bytes(prefix),
            "range_end": bytes(end_of(prefix)),
            "limit": most.to_string(),
            "sort_order": "DESCEND",
            "sort_target": "KEY",
        });
        self.call("/v3/kv/range", &asked).await
    }

    /// A transaction.
    ///
    /// # Errors
    /// No member has answered.
    pub async fn txn(&self, txn: &Value) -> Result<Txn> {
        self.call("/v3/kv/txn", txn).await
    }

    /// A lease for so many seconds.
    ///
    /// # Errors
    /// No member has answered.
    pub async fn lease(&self, seconds: u64) -> Result<i64> {
        let asked = json!({ "TTL": seconds.to_string() });
        let lease: Lease = self.call("/v3/lease/grant", &asked).await?;
        Ok(lease.id)
    }
}
