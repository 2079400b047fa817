// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers to calls, and refusals.

use std::os::fd::OwnedFd;

use luo_varlink::{admin, client, status};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::OwnedSemaphorePermit;
use zlink_core::varlink_service;

/// A refusal, of whichever interface.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Refusal {
    Service(varlink_service::Error<'static>),
    Client(client::Error),
    Admin(admin::Error),
    Status(status::Error),
}

impl From<varlink_service::Error<'static>> for Refusal {
    fn from(why: varlink_service::Error<'static>) -> Self {
        Self::Service(why)
    }
}

impl From<client::Error> for Refusal {
    fn from(why: client::Error) -> Self {
        Self::Client(why)
    }
}

impl From<admin::Error> for Refusal {
    fn from(why: admin::Error) -> Self {
        Self::Admin(why)
    }
}

impl From<status::Error> for Refusal {
    fn from(why: status::Error) -> Self {
        Self::Status(why)
    }
}

/// An answer: parameters, and the descriptor that goes along.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Parameters are kept as text: a tree of values would take several times the memory.
    pub(super) parameters: Option<Box<RawValue>>,
    pub(super) fd: Option<OwnedFd>,
    /// The permit of a long answer, held until it is written.
    pub(super) long: Option<OwnedSemaphorePermit>,
}

/// The result of a call.
pub(super) type Result<T = Answer> = std::result::Result<T, Refusal>;

/// An answer without parameters.
pub(super) fn done() -> Answer {
    Answer::default()
}

/// An answer with parameters.
pub(super) fn with(parameters: impl Serialize) -> Answer {
    Answer {
        // Our own types are always representable.
        parameters: to_raw_value(&parameters).ok(),
        ..Answer::default()
    }
}

/// An answer with a descriptor.
pub(super) fn with_fd(answer: Answer, fd: OwnedFd) -> Answer {
    Answer {
        fd: Some(fd),
        ..answer
    }
}
