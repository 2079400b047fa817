// SPDX-License-Identifier: MIT OR Apache-2.0
//! The models of the engine, with all that there is no time for in each run.

use anyhow::Result;
use luo_lab::lab::Lab;
use luo_lab::process;
use luo_lab::progress::Step;

use crate::checks::cargo;

/// What it is called where it is written down.
pub(super) const NAME: &str = "models";
/// And in words.
pub(super) const TITLE: &str = "the engine's models, whole";

/// Explores all of them.
///
/// # Errors
/// One finds something, or does not compile.
pub(super) fn are_explored(lab: &Lab) -> Result<()> {
    let arguments = ["test", "-p", "luo-core", "--test", "engine", "crash_model"];
    let mut command = cargo(&lab.repo, &arguments);
    command.env("LUO_MODEL", "whole");
    let mut step = Step::new("explore the models");
    process::logged(&mut command, &lab.cache.log(NAME), &mut step, |step, _| {
        step.tick();
    })?;
    step.done();
    Ok(())
}
