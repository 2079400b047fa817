// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases, and what they assert.

use core::fmt;

use anyhow::Result;
use luo_conformance::check::Skip;
use luo_lab_protocol::Outcome;

use crate::port;

pub(crate) use luo_conformance::check::{device, name, refused, same};

/// The cases of one scenario.
pub(crate) struct Suite {
    scenario: &'static str,
}

impl Suite {
    /// The cases of `scenario`.
    pub(crate) const fn new(scenario: &'static str) -> Self {
        Self { scenario }
    }

    /// Runs a case and reports it. Its failure does not end the scenario.
    pub(crate) fn case(&self, name: impl fmt::Display, body: impl FnOnce() -> Result<()>) {
        let (outcome, detail) = match body() {
            Ok(()) => (Outcome::Passed, String::new()),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(Skip(reason)) => (Outcome::Skipped, reason.clone()),
                None => (Outcome::Failed, format!("{error:#}")),
            },
        };
        port::case(format!("{}::{name}", self.scenario), outcome, detail);
    }
}
