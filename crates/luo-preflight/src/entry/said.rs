// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an entry of the boot loader says.

use std::path::{Path, PathBuf};

use super::grub::Environment;
use super::parse::Text;
use crate::system::{if_there, small_text};

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name: that of its file, without `.conf` or `.efi`, and without a count of
    /// attempts.
    pub name: String,
    /// The kernel's image.
    pub kernel: PathBuf,
    /// Its initrds, in order. A unified kernel image has its own in it.
    pub initrds: Vec<PathBuf>,
    /// Its command line, if the entry says one.
    pub command_line: Option<String>,
    /// What the boot loader hands to the image beside those, and kexec cannot.
    pub extras: Vec<String>,
    pub(super) sort_key: Option<String>,
    pub(super) machine: Option<String>,
    pub(super) version: Option<String>,
    /// Whether the boot loader has given it up: no attempt is left.
    pub(super) is_given_up: bool,
}

impl Entry {
    /// Takes in what the file of an entry says; its place in the order even where it cannot be
    /// used.
    pub(super) fn fill(
        &mut self,
        boot: &str,
        path: &Path,
        root: &Path,
        environment: &Environment,
    ) -> Result<(), String> {
        let text = Text::parse(&small_text(path).map_err(|why| why.to_string())?);
        self.sort_key = text.sort_key;
        self.machine = text.machine;
        self.version = text.version;
        let kernel = text.kernel.ok_or("it names no kernel")?;
        // The first is the image as it is without any.
        if let Some(profile) = text.profile.filter(|profile| profile != "0") {
            return Err(format!(
                "it takes profile {profile} of the image {kernel}, and only the first is read here: \
                 name the image (--kernel) with that profile's command line (--command-line)"
            ));
        }
        self.extras = text.extras;
        // A path begins at the partition that the entry is on. Where that is the root's, it
        // is the root's path.
        let file = |path: &str| {
            let relative = path.trim_start_matches('/');
            for place in [root.join(boot).join(relative), root.join(relative)] {
                let found = if_there(place.metadata()).map_err(|why| format!("{path}: {why}"))?;
                if found.is_some() {
                    return Ok(place);
                }
            }
            Err(format!("{path} is not there"))
        };
        self.kernel = file(&kernel)?;
        let initrds = text.initrds.iter();
        let initrds = initrds.flat_map(|line| environment.words(line));
        self.initrds = initrds.map(|path| file(&path)).collect::<Result<_, _>>()?;
        self.command_line = text.options.map(|line| environment.expanded(&line));
        Ok(())
    }
}
