// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls and their replies, on one connection, in order.

use core::fmt::Debug;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zlink_core::{Call, Connection, Reply};

use super::error::Error;
use super::line::Line;

/// How long the agent has to answer a call that waits for nobody, and to be connected
/// to.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The parameters of a reply that has none.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// How long the reply to a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waits {
    /// The call waits only for the agent itself.
    Agent,
    /// The call waits for workloads, or for the kernel, too.
    Others,
    /// The call waits until this moment at most, and the wait can be taken up again.
    Until(Option<Instant>),
}

/// One reply of possibly several.
#[derive(Debug)]
pub(super) struct Answer<P> {
    pub(super) parameters: P,
    /// Whether more replies follow.
    pub(super) continues: bool,
}

/// A connection to the agent.
#[derive(Debug)]
pub(super) struct Caller {
    connection: Connection<Line>,
    line: Line,
    /// Whether the connection is over: no call can be sent on it any more.
    over: bool,
    pub(super) times: Times,
}

/// How long to wait; `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) timeout: Option<Duration>,
    pub(super) patience: Option<Duration>,
    /// The moment by which all calls together have to be done.
    pub(super) end: Option<Instant>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            timeout: Some(DEFAULT_TIMEOUT),
            patience: None,
            end: None,
        }
    }
}

impl Caller {
    pub(super) fn connect<R>(path: &Path, within: Duration) -> Result<Self, Error<R>>
    where
        R: core::error::Error + 'static,
    {
        let line = Line::connect(path, within).map_err(|why| Error::NoAgent {
            path: path.into(),
            why,
        })?;
        Ok(Self {
            connection: Connection::new(line.clone()),
            line,
            over: false,
            times: Times::default(),
        })
    }

    /// Ends the connection.
    pub(super) fn hang_up(&mut self) {
        self.over = true;
        self.line.hang_up();
    }

    /// Sends a call, with a descriptor if one belongs to it.
    pub(super) fn send<M, R>(
        &mut self,
        name: &'static str,
        call: &Call<M>,
        fd: Option<OwnedFd>,
    ) -> Result<(), Error<R>>
    where
        M: Serialize + Debug,
        R: core::error::Error + 'static,
    {
        if self.over {
            return Err(Error::AgentGone);
        }
        self.wait_for(Waits::Agent);
        let sending = self.connection.send_call(call, fd.into_iter().collect());
        pollster::block_on(sending).map_err(|error| self.failed(name, Waits::Agent, error))
    }

    /// Waits for the next reply.
    fn receive_any<P, R>(
        &mut self,
        name: &'static str,
        waits: Waits,
    ) -> Result<(Reply<P>, Option<OwnedFd>), Error<R>>
    where
        P: DeserializeOwned + Debug,
        R: core::error::Error + DeserializeOwned + 'static,
    {
        if self.over {
            return Err(Error::AgentGone);
        }
        self.wait_for(waits);
        let receiving = self.connection.receive_reply::<P, R>();
        let (reply, mut fds) =
            pollster::block_on(receiving).map_err(|error| self.failed(name, waits, error))?;
        Ok((reply.map_err(Error::Refused)?, fds.pop()))
    }

    /// Waits for a reply with parameters.
    pub(super) fn receive<P, R>(
        &mut self,
        name: &'static str,
        waits: Waits,
    ) -> Result<Answer<P>, Error<R>>
    where
        P: DeserializeOwned + Debug,
        R: core::error::Error + DeserializeOwned + 'static,
    {
        let (reply, _) = self.receive_any(name, waits)?;
        let continues = reply.continues() == Some(true);
        match reply.into_parameters() {
            Some(parameters) => Ok(Answer {
                parameters,
                continues,
            }),
            None => Err(self.nonsense(name, "a reply without parameters")),
        }
    }

    /// Waits for a reply without parameters.
    pub(super) fn receive_nothing<R>(
        &mut self,
        name: &'static str,
        waits: Waits,
    ) -> Result<(), Error<R>>
    where
        R: core::error::Error + DeserializeOwned + 'static,
    {
        self.receive_any::<Nothing, R>(name, waits).map(drop)
    }

    /// Waits for a reply that a descriptor comes with.
    pub(super) fn receive_fd<P, R>(
        &mut self,
        name: &'static str,
        waits: Waits,
    ) -> Result<(Option<P>, OwnedFd), Error<R>>
    where
        P: DeserializeOwned + Debug,
        R: core::error::Error + DeserializeOwned + 'static,
    {
        match self.receive_any(name, waits)? {
            (reply, Some(fd)) => Ok((reply.into_parameters(), fd)),
            (_, None) => Err(self.nonsense(name, "a reply without its descriptor")),
        }
    }

    /// Gives up the connection, because a reply is not of the interface.
    pub(super) fn nonsense<R>(&mut self, call: &'static str, found: impl Into<String>) -> Error<R>
    where
        R: core::error::Error + 'static,
    {
        self.hang_up();
        let found = found.into();
        Error::Protocol { call, found }
    }

    fn wait_for(&self, waits: Waits) {
        let after = |time: Option<Duration>| time.and_then(|time| Instant::now().checked_add(time));
        let deadline = match waits {
            Waits::Agent => after(self.times.timeout),
            Waits::Others => after(self.times.patience),
            Waits::Until(deadline) => deadline,
        };
        let both = [deadline, self.times.end];
        self.line.set_deadline(both.into_iter().flatten().min());
    }

    /// Sorts an error of zlink, and gives up a connection that cannot go on: after a
    /// message that was sent or read in part nobody can tell where the next one begins, and
    /// a late reply would be taken for the reply to the next call.
    fn failed<R>(&mut self, call: &'static str, waits: Waits, error: zlink_core::Error) -> Error<R>
    where
        R: core::error::Error + 'static,
    {
        use zlink_core::Error as Zlink;
        let error = match error {
            Zlink::UnknownErrorReply(error) => return Error::Unknown { call, error },
            Zlink::VarlinkService(error) => {
                let error = error.to_string();
                return Error::Unknown { call, error };
            }
            Zlink::UnexpectedEof => Error::AgentGone,
            Zlink::Io(why) => match why.kind() {
                io::ErrorKind::TimedOut if matches!(waits, Waits::Until(_)) => {
                    return Error::TimedOut { call };
                }
                io::ErrorKind::TimedOut => Error::TimedOut { call },
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::AgentGone,
                _ => Error::Os { call, why },
            },
            Zlink::BufferOverflow => Error::Protocol {
                call,
                found: "a reply that does not end".into(),
            },
            other => Error::Protocol {
                call,
                found: other.to_string(),
            },
        };
        self.hang_up();
        error
    }
}

impl AsFd for Caller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}
