// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chapters of the book that a reader pastes from.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::{self, LUOCTL};

fn project(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(folder.join(path)).unwrap()
}

/// A program without the line of its licence.
fn code(path: &str) -> String {
    let text = project(path);
    text.split_once('\n').unwrap().1.trim().to_owned()
}

#[test]
fn the_programs_in_the_book_are_those_that_are_tested() {
    let book = project("docs/integrate.md");
    for path in [
        "crates/luo-client/examples/workload.rs",
        "crates/luo-client-c/examples/workload.c",
    ] {
        assert!(
            book.contains(&code(path)),
            "docs/integrate.md has another {path}"
        );
    }
}

#[test]
fn the_first_update_in_the_book_runs() {
    let book = project("docs/agent.md");
    let (_, script) = book.split_once("```sh\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("machine.sh"), script).unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(LUOCTL, bin.join("luoctl")).unwrap();
    for name in ["luod", "luo-sim", "workload"] {
        symlink(machine::program(name), bin.join(name)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(bin.join("luo-sim"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .env("PATH", &path);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        stdout
    };
    run(&["system", "system"]);
    let output = run(&["run", "--boots", "2", "--", "sh", "machine.sh"]);
    for words in [
        "start 1\n",
        "an update can begin",
        "agreed counter",
        "start 2\n",
        "completed",
        "blackout",
        "restored counter",
    ] {
        assert!(output.contains(words), "'{words}' in {output}");
    }
}
