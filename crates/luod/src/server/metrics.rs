// SPDX-License-Identifier: MIT OR Apache-2.0
//! The metrics' socket: HTTP, as far as it takes to be scraped.

use std::time::Duration;

use tokio::net::UnixStream;

use crate::agent::Agent;

/// Bytes of a request that are read.
const MAX_REQUEST: usize = 4096;

/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers one request, whatever it asks for, with all metrics.
pub(super) async fn answer(agent: &Agent, stream: UnixStream) {
    // A peer that is slow gets no answer.
    let _ = tokio::time::timeout(PATIENCE, exchange(agent, &stream)).await;
}

async fn exchange(agent: &Agent, stream: &UnixStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 512];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
    let body = agent.metrics_text();
    let head = "HTTP/1.1 200 OK\r\n\
                Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
                Connection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(length) => rest = &rest[length..],
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}
