// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenes that go over kexecs, one after the other. The boot in which a scene ends is the one in
//! which the next scene begins.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::check::Suite;
use crate::init::Guest;

/// The argument that names the scenes, in order, with a `+` between them.
const SCENES: &str = "scenes";

/// A scene and in how many boots it plays, of which the last one does not end with a jump.
pub(super) type Found<S> = (S, usize);

/// Where in a scene a boot is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The scene's boots before this one.
    pub(super) boot: usize,
    /// The scene ends in it.
    pub(super) ends: bool,
}

/// The scene that ends in this boot, and then the next one up to its first jump. `play` plays a
/// part; it does not return if that ends with a jump.
///
/// # Errors
/// A scene is not there, or the machine did not jump.
pub(super) fn run<'guest, S: Copy>(
    guest: &'guest Guest,
    suite: &Suite,
    find: impl Fn(&'guest str) -> Option<Found<S>>,
    play: impl Fn(S, Part) -> Result<()>,
) -> Result<()> {
    let names = guest.args.text(SCENES).context("no scenes are named")?;
    let boot = usize::try_from(guest.boot)?;
    let mut begins = 0;
    for name in names.split('+') {
        let (scene, boots) = find(name).with_context(|| format!("there is no scene '{name}'"))?;
        let last = begins + boots - 1;
        let part = |ends| Part {
            boot: boot - begins,
            ends,
        };
        if (begins..last).contains(&boot) {
            return play(scene, part(false)).with_context(|| name.to_owned());
        }
        if boot == last {
            suite.case(name, || play(scene, part(true)));
        }
        begins = last;
    }
    Ok(())
}

/// The ends of logs, for a scene that went wrong.
pub(super) fn ends_of(folder: &Path, logs: &[&str]) -> String {
    /// Lines that tell enough.
    const LINES: usize = 30;
    let ends = logs.iter().map(|name| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    });
    ends.collect::<Vec<_>>().join("\n")
}
