// SPDX-License-Identifier: MIT OR Apache-2.0
//! One call of a server, without threads: what ten thousand hosts at once are made of.

use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use luo_fleetlock::lock::{Body, HEADER, HEADER_VALUE, Refusal};
use tokio::time::timeout;

use crate::etcd::connect::{Member, Sender};

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of an answer.
const MOST: usize = 64 * 1024;

/// What a server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// 200.
    Yes,
    /// Anything else, and after how many seconds to ask again.
    No(u16, Refusal, u64),
}

/// Makes calls of one server, by a connection that it keeps.
pub struct Caller {
    server: Member,
    sender: Option<Sender>,
}

impl Caller {
    /// Makes calls of a server: `http://127.0.0.1:7443`.
    ///
    /// # Errors
    /// It is no address.
    pub fn new(server: &str) -> Result<Self> {
        Ok(Self {
            server: Member::parse(server)?,
            sender: None,
        })
    }

    /// Closes the connection, as a host does that sleeps.
    pub fn hang_up(&mut self) {
        self.sender = None;
    }

    /// Makes a call.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn call(&mut self, path: &str, body: &Body) -> Result<Said> {
        let text = serde_json::to_vec(body)?;
        let called = self.send(path, text);
        match timeout(PATIENCE, called).await {
            Ok(Ok(said)) => Ok(said),
            failed => {
                self.sender = None;
                failed.context("no answer in time")?
            }
        }
    }

    async fn send(&mut self, path: &str, text: Vec<u8>) -> Result<Said> {
        let mut kept = self.sender.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.server.connect(None).await?,
        };
        let request = Request::post(path)
            .header("host", &self.server.authority)
            .header(HEADER, HEADER_VALUE)
            .body(Full::new(Bytes::from(text)))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let again = response.headers().get("retry-after");
        let again = again.and_then(|text| text.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|why| anyhow::anyhow!(why))?.to_bytes();
        self.sender = Some(sender);
        if status == 200 {
            return Ok(Said::Yes);
        }
        let refusal = serde_json::from_slice(&body).context("a refusal is JSON")?;
        Ok(Said::No(status, refusal, again.unwrap_or(1)))
    }
}
