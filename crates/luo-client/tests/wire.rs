// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's end of a connection, for tests.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use zlink_core::connection::PassedCredentials;
use zlink_core::connection::socket::{ReadHalf, ReadResult, Socket, WriteHalf};
use zlink_core::unix_utils;

/// A blocking socket, as simple as can be.
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) UnixStream);

#[derive(Debug)]
pub(crate) struct Half(pub(crate) UnixStream);

impl Socket for Stream {
    type ReadHalf = Half;
    type WriteHalf = Half;

    const CAN_TRANSFER_FDS: bool = true;

    fn split(self) -> (Half, Half) {
        (Half(self.0.try_clone().unwrap()), Half(self.0))
    }
}

impl ReadHalf for Half {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink_core::Result<ReadResult> {
        Ok(unix_utils::recvmsg(&self.0, buffer)?)
    }
}

impl WriteHalf for Half {
    async fn write(
        &mut self,
        buffer: &[u8],
        fds: &[impl AsFd],
        credentials: Option<&PassedCredentials>,
    ) -> zlink_core::Result<()> {
        let mut fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let mut rest = buffer;
        while !rest.is_empty() {
            let sent = unix_utils::sendmsg(&self.0, rest, &fds, credentials)?;
            rest = &rest[sent..];
            fds.clear();
        }
        Ok(())
    }
}
