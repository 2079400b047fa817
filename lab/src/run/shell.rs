// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine whose console is the terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::build::artifact::Artifact;
use crate::build::guest::Programs;
use crate::build::initramfs::{Node, Tree};
use crate::build::variant::Variant;
use crate::run::qemu::{self, BootFiles};
use crate::run::scenario::{Expect, Processors, Rules, Scenario, When};

/// A boot of `variant` with a shell; every kernel in `with` is there to be kexec'd
/// into.
#[must_use]
pub fn scenario(variant: &'static Variant, with: &[&'static Variant]) -> Scenario {
    Scenario {
        name: "shell".to_owned(),
        proves: "",
        guest: "shell",
        needs: &[Artifact::Shell, Artifact::Slot],
        first: variant.name,
        next: with.iter().map(|variant| variant.name).collect(),
        args: Vec::new(),
        memory: 2048,
        initrd: 0,
        timeout: Duration::MAX,
        processors: Processors::TWO,
        devices: &[],
        load: None,
        expect: Expect::default(),
        cmdline: Vec::new(),
        console: Rules::default(),
        when: When::Asked,
        cost: 0,
    }
}

/// What a person brings along: each file under `/root`, by its name.
///
/// # Errors
/// One is not there or no file, or two have the same name.
pub fn brought(files: &[PathBuf]) -> Result<Tree> {
    let mut tree = Tree::new();
    for from in files {
        let shown = from.display();
        let about = fs::metadata(from).with_context(|| format!("--with-file {shown}"))?;
        ensure!(about.is_file(), "--with-file {shown}: it is no file");
        let name = from.file_name().and_then(|name| name.to_str());
        let place = format!("root/{}", name.context("a name that is no text")?);
        // Not all of the permissions: whose they are is another in the machine.
        let runs = about.permissions().mode() & 0o100 != 0;
        let node = Node::File {
            from: from.clone(),
            mode: if runs { 0o755 } else { 0o644 },
        };
        ensure!(
            tree.insert(place, node).is_none(),
            "--with-file {shown}: another has this name, and they come into one folder"
        );
    }
    Ok(tree)
}

/// The tree of our own programs for people: the agent and its command line.
#[must_use]
pub fn own(programs: &Programs) -> Tree {
    let node = |name| Node::File {
        from: programs.folder.join(name),
        mode: 0o755,
    };
    let place = |name| (format!("bin/{name}"), node(name));
    ["luod", "luoctl"].map(place).into()
}

/// Boots it on the terminal and waits for its end.
///
/// # Errors
/// QEMU fails.
pub fn run(scenario: &Scenario, files: &BootFiles) -> Result<()> {
    eprintln!(
        "Leave with `poweroff -f`, or Ctrl-A x.\n\
         `jump KERNEL` goes by kexec into one of these, and a shell comes up again: {}.\n\
         Files of --with-file are in /root (programs have to be static), luod and luoctl in /bin.",
        scenario.next.join(", ")
    );
    let status = Command::new(qemu::PROGRAM)
        .args(qemu::arguments(
            files,
            &scenario.kernel_cmdline(),
            scenario.memory,
            scenario.processors,
        ))
        .args(["-serial", "mon:stdio", "-serial", "null"])
        .status()
        .with_context(|| format!("cannot run {}", qemu::PROGRAM))?;
    if !status.success() {
        bail!("{} ended with {status}", qemu::PROGRAM);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_along_lies_in_the_home_and_runs_if_it_ran() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (program, notes) = (file("program", 0o700), file("notes", 0o600));
        let tree = brought(&[program.clone(), notes.clone()]).unwrap();
        let found: Vec<_> = tree
            .iter()
            .map(|(place, node)| match node {
                Node::File { from, mode } => (place.as_str(), from, *mode),
                _ => panic!("{place} is no file"),
            })
            .collect();
        assert_eq!(
            found,
            [
                ("root/notes", &notes, 0o644),
                ("root/program", &program, 0o755)
            ]
        );

        let why = |files: &[PathBuf]| format!("{:#}", brought(files).unwrap_err());
        let gone = folder.path().join("gone");
        let refused = why(std::slice::from_ref(&gone));
        assert!(refused.contains(&format!("{}", gone.display())) && refused.contains("No such"));
        assert!(why(&[folder.path().to_owned()]).contains("no file"));
        let twice = why(&[program, file("other/program", 0o700)]);
        assert!(twice.contains("another has this name"), "{twice}");
    }
}
