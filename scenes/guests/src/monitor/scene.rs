// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest of luo-vmm, boot by boot.

mod damaged;
mod ends;
mod kills;
mod machine;
mod update;
mod veto;

use anyhow::Result;

use super::Monitor;
use super::guest::Kind;

/// A scene. Its last boot is the one in which it ends without a jump.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// Its guest.
    pub kind: Kind,
    /// In how many boots it plays.
    pub boots: usize,
    /// Plays what happens in a boot, counted from zero. It does not return if that ends with a
    /// jump.
    pub play: fn(&mut Monitor, usize) -> Result<()>,
}

/// All of them.
pub const SCENES: &[Scene] = &[
    scene("vmm-update", Kind::Bare, 3, update::bare),
    scene("vmm-two", Kind::Two, 3, update::bare),
    scene("vmm-twenty", Kind::Bare, 21, update::twenty),
    scene("vmm-linux", Kind::Linux, 2, update::linux),
    scene("vmm-veto", Kind::Bare, 2, veto::run),
    scene("vmm-damaged", Kind::Bare, 2, damaged::run),
    scene("vmm-ends", Kind::Bare, 1, ends::run),
    scene("vmm-machine", Kind::Machine, 4, machine::run),
    scene("vmm-kills", Kind::Bare, 3, kills::run),
];

const fn scene(
    name: &'static str,
    kind: Kind,
    boots: usize,
    play: fn(&mut Monitor, usize) -> Result<()>,
) -> Scene {
    Scene {
        name,
        kind,
        boots,
        play,
    }
}

impl Scene {
    /// The scene of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENES.iter().find(|scene| scene.name == name)
    }
}
