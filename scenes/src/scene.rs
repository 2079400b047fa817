// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenes: what happens before the jump, and what must be after it.
//!
//! Three workloads: `cache`, which two others need; `web`; and `batch`, which leaves
//! its session with the agent once it is ready.
//!
//! Each scene ends with an update that succeeds, whatever went wrong before it: that
//! nothing is lost shows in the next kernel.

mod check;
mod common;
mod kill;
mod refuse;
mod restore;

use anyhow::{Result, bail};

use crate::stage::Stage;

pub use common::NAMES;
pub use kill::{Kill, Point, Victim, combinations};

use common::{all_is_there, begin};

/// A scene: its part before the jump, and the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// Up to the jump. It does not return if all goes well.
    pub before: fn(&Stage) -> Result<()>,
    /// From the jump on.
    pub after: fn(&Stage) -> Result<()>,
}

/// The scenes, without those of [`combinations`].
pub const SCENES: &[Scene] = &[
    Scene {
        name: "update",
        before: begin,
        after: all_is_there,
    },
    Scene {
        name: "veto",
        before: refuse::veto,
        after: all_is_there,
    },
    Scene {
        name: "hung",
        before: refuse::hung,
        after: all_is_there,
    },
    Scene {
        name: "excess",
        before: refuse::excess,
        after: all_is_there,
    },
    Scene {
        name: "cancel",
        before: refuse::cancel,
        after: all_is_there,
    },
    Scene {
        name: "unclaimed",
        before: begin,
        after: restore::unclaimed,
    },
    Scene {
        name: "kept",
        before: begin,
        after: restore::kept,
    },
    Scene {
        name: "late",
        before: begin,
        after: restore::late,
    },
    Scene {
        name: "identity",
        before: begin,
        after: restore::identity,
    },
];

/// A scene of the table by its name, or a combination.
///
/// # Errors
/// There is none.
pub fn run(name: &str, stage: &Stage, is_after: bool) -> Result<()> {
    if let Some(scene) = SCENES.iter().find(|scene| scene.name == name) {
        return match is_after {
            true => (scene.after)(stage),
            false => (scene.before)(stage),
        };
    }
    if let Some(check) = name.strip_prefix("check-") {
        return check::refused(stage, check);
    }
    if name == "comes-back" {
        return check::comes_back(stage);
    }
    let Ok(kill) = name.parse::<Kill>() else {
        bail!("there is no scene '{name}'");
    };
    match is_after {
        true => kill.after(stage),
        false => kill.before(stage),
    }
}
