// SPDX-License-Identifier: MIT OR Apache-2.0
//! What changes below a prefix, as it does. Answers are lines of JSON; the events of one revision
//! come in one line.

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::client::Etcd;
use super::connect::Sender;
use super::wire::{Watched, bytes, end_of};

/// Bytes of a line.
const MOST: usize = 64 * 1024 * 1024;

/// A watch.
pub struct Watch {
    body: Incoming,
    /// Its end would be that of the connection.
    _sender: Sender,
    read: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    result: Option<Watched>,
}

impl Watch {
    /// Watches from a revision on.
    ///
    /// # Errors
    /// No member begins.
    pub async fn begin(etcd: &Etcd, prefix: &str, from: i64) -> Result<Self> {
        let asked = json!({ "create_request": {
            "key": bytes(prefix),
            "range_end": bytes(end_of(prefix)),
            "start_revision": from.to_string(),
        } });
        let (_, sender, body) = etcd.stream("/v3/watch", &asked).await?;
        Ok(Self {
            body,
            _sender: sender,
            read: Vec::new(),
        })
    }

    /// What has changed next.
    ///
    /// # Errors
    /// The watch has ended.
    pub async fn next(&mut self) -> Result<Watched> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line: Line = serde_json::from_slice(&line).context("etcd's watch")?;
                let watched = line.result.context("etcd has ended the watch")?;
                if watched.canceled {
                    bail!("etcd has ended the watch ({})", watched.compact_revision);
                }
                return Ok(watched);
            }
            let frame = self.body.frame().await;
            let frame = frame.context("etcd has ended the watch")??;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
            if self.read.len() > MOST {
                bail!("a line of etcd's watch is too long");
            }
        }
    }
}
