// SPDX-License-Identifier: MIT OR Apache-2.0
//! What docs/testing.md has to be pasted is true.

mod built;

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The script in the document.
fn script() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, from) = text.split_once("```sh\n#!/bin/sh\n").unwrap();
    let (script, _) = from.split_once("```\n").unwrap();
    script.to_owned()
}

/// Set where the programs that the document speaks of are found.
const IS_SET_UP: &str = "LUO_SIM_DOCUMENTS";

/// A folder that is gone afterwards.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        // Tests may run beside each other in one process.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("luo-sim-docs-{}-{own}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command where the reader's VMM and the simulator are found.
fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> (bool, String) {
    let folder = Folder::new();
    symlink(built::program("luo-sim-vmm"), folder.0.join("my-vmm")).unwrap();
    let simulator = Path::new(env!("CARGO_BIN_EXE_luo-sim")).parent().unwrap();
    let (folder_path, simulator) = (folder.0.display(), simulator.display());
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(&folder.0)
        .env("PATH", format!("{simulator}:{folder_path}:{path}"))
        .env(IS_SET_UP, "yes")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

#[test]
fn the_script_runs_as_it_stands_and_finds_what_is_wrong() {
    let script = script();
    let shell = |script: &str| run("/bin/sh", &["-c", script]);
    let (good, text) = shell(&script);
    assert!(good && text.contains("-- all of it is well"), "{text}");
    assert_eq!(
        text.matches("the guest is back, whole").count(),
        1,
        "{text}"
    );
    assert_eq!(text.matches("and the guest goes on").count(), 1, "{text}");
    assert_eq!(text.matches("the guest starts cold").count(), 8, "{text}");

    // A VMM that takes nothing over does not get through.
    let broken = script.replacen("./my-vmm restore", "false", 1);
    let (good, text) = shell(&broken);
    assert!(!good && !text.contains("all of it is well"), "{text}");
}

/// The Rust of the document, line by line; another test compares them.
fn from_rust() -> Result<(), Box<dyn std::error::Error>> {
    use luo_sim::{Program, Simulator};

    let outcome = Simulator::new()
        .boot(Program::shell("my-vmm start"))
        .boot(Program::shell("my-vmm restore --expect-cold"))
        .fault("1/retrieve=EIO".parse()?)
        .capture()
        .run()?;
    assert!(outcome.success(), "{}", outcome.output());
    Ok(())
}

#[test]
fn the_rust_runs_as_it_stands() {
    if std::env::var_os(IS_SET_UP).is_some() {
        return from_rust().unwrap();
    }
    // This very test, in a process that finds the reader's VMM.
    let arguments = ["--exact", "the_rust_runs_as_it_stands", "--nocapture"];
    let (good, text) = run(std::env::current_exe().unwrap(), &arguments);
    assert!(good && text.contains("1 passed"), "{text}");
}
