// SPDX-License-Identifier: MIT OR Apache-2.0
//! What docs/testing.md has to be pasted is true.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The script in the document.
fn script() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, from) = text.split_once("```sh\n#!/bin/sh\n").unwrap();
    let (script, _) = from.split_once("```\n").unwrap();
    script.to_owned()
}

/// A folder that is gone afterwards.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("luo-sim-docs-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(script: &str) -> (bool, String) {
    let folder = Folder::new();
    symlink(env!("CARGO_BIN_EXE_luo-sim-vmm"), folder.0.join("my-vmm")).unwrap();
    let simulator = Path::new(env!("CARGO_BIN_EXE_luo-sim")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("/bin/sh")
        .args(["-c", script])
        .current_dir(&folder.0)
        .env("PATH", format!("{}:{path}", simulator.display()))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

#[test]
fn the_script_runs_as_it_stands_and_finds_what_is_wrong() {
    let script = script();
    let (good, text) = run(&script);
    assert!(good && text.contains("-- all of it is well"), "{text}");
    assert_eq!(
        text.matches("the guest is back, whole").count(),
        1,
        "{text}"
    );
    assert_eq!(text.matches("and the guest goes on").count(), 1, "{text}");
    assert_eq!(text.matches("the guest starts cold").count(), 7, "{text}");

    // A VMM that takes nothing over does not get through.
    let broken = script.replacen("./my-vmm restore", "false", 1);
    let (good, text) = run(&broken);
    assert!(!good && !text.contains("all of it is well"), "{text}");
}
