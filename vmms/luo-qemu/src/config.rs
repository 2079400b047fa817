// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's configuration file, `/etc/luo-qemu/NAME.toml`:
//!
//! ```toml
//! memory = "4G"                    # as --memory: "2G,2G" are two NUMA nodes
//! command = [                      # QEMU's command line, without the options for RAM
//!     "qemu-system-x86_64", "-machine", "q35", "-accel", "kvm",
//!     "-drive", "file=/srv/web.img,format=raw,if=virtio",
//! ]
//! huge = "2M"                      # as --huge; ordinary pages
//! needs = ["storage"]              # as --needs; none
//! state_size = "32M"               # as --state-size; what is needed
//! disks_in_memory = false          # as --disks-in-memory
//! wait = 60                        # as --wait, in seconds
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::Error;
use crate::options::{Run, size};

/// Where the files of all guests are.
pub const FOLDER: &str = "/etc/luo-qemu";

/// The most bytes of a file.
const MOST: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    memory: String,
    huge: Option<String>,
    command: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    state_size: Option<String>,
    wait: Option<u64>,
    #[serde(default)]
    disks_in_memory: bool,
}

/// The file of a guest.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.toml"))
}

/// Reads what to run out of a guest's file.
///
/// # Errors
/// [`Error::Unfit`], with the place in the file; [`Error::System`].
pub fn read(name: &str, path: &Path) -> Result<Run, Error> {
    let failed = || Error::system(path.display().to_string());
    let about = fs::metadata(path).map_err(failed())?;
    if about.len() > MOST {
        return Err(Error::Unfit(format!(
            "{}: it has {} bytes of at most {MOST}",
            path.display(),
            about.len()
        )));
    }
    let text = fs::read_to_string(path).map_err(failed())?;
    parse(name, &text).map_err(|why| Error::Unfit(format!("{}: {why}", path.display())))
}

/// Reads what to run out of the text of a guest's file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(name: &str, text: &str) -> Result<Run, String> {
    let file: File = toml::from_str(text).map_err(|why| why.to_string())?;
    if file.command.is_empty() {
        return Err("`command` is empty: it is QEMU's program and its arguments".into());
    }
    let mut run = Run::new(name.to_owned(), memory(&file.memory)?, file.command);
    run.huge = file.huge.as_deref().map(size).transpose()?;
    run.needs = file.needs;
    run.disks_in_memory = file.disks_in_memory;
    if let Some(text) = file.state_size {
        run.state_size = Some(size(&text)?);
    }
    run.wait = file.wait.unwrap_or(run.wait);
    Ok(run)
}

/// The sizes in what stands for --memory.
fn memory(text: &str) -> Result<Vec<u64>, String> {
    text.split(',').map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_the_command_line_says() {
        let run = parse(
            "web",
            "memory = \"4G\"\ncommand = [\"qemu\", \"-nographic\"]",
        )
        .unwrap();
        assert_eq!(
            (run.memory, run.state_size, run.wait),
            (vec![4 << 30], None, 60)
        );
        assert_eq!(run.command, ["qemu", "-nographic"]);
        let all = "memory = \"256M,1G\"\ncommand = [\"qemu\"]\nneeds = [\"a\", \"b\"]\n\
                   state_size = \"16M\"\nhuge = \"2M\"\nwait = 5\ndisks_in_memory = true";
        let run = parse("web", all).unwrap();
        assert_eq!((run.state_size, run.wait), (Some(16 << 20), 5));
        assert_eq!(run.memory, [256 << 20, 1 << 30]);
        assert_eq!(run.huge, Some(2 << 20));
        assert!(run.disks_in_memory);
        assert_eq!(run.needs, ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told() {
        for (text, words) in [
            ("command = [\"qemu\"]", "memory"),
            ("memory = \"4G\"", "command"),
            ("memory = \"4G\"\ncommand = []", "empty"),
            ("memory = \"many\"\ncommand = [\"qemu\"]", "no size"),
            ("memory = \"4G\"\ncommand = [\"qemu\"]\nram = 1", "ram"),
        ] {
            let why = parse("web", text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
        let none = read("web", Path::new("/nowhere/web.toml")).unwrap_err();
        assert!(none.to_string().contains("/nowhere/web.toml"), "{none}");
    }

    #[test]
    fn the_example_is_one() {
        let text = include_str!("../../../dist/luo-qemu/example.toml");
        parse("example", text).unwrap();
    }
}
