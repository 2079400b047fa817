// SPDX-License-Identifier: MIT OR Apache-2.0
//! How it is started, by whom and where: what is wrong is said.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::agent::{Luod, open_policy, until};

/// Another user than root.
const OTHER: u32 = 4711;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn who_starts_it_wrongly_is_told() {
    let luod = || Command::new(env!("CARGO_BIN_EXE_luod"));
    let output = luod().arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("goes by `luoctl`"), "{output:?}");
    // A folder that only root can make.
    for more in [&[][..], &["supervise"]] {
        let mut luod = luod();
        luod.args(["--config", "/dev/null", "--policy", "/dev/null"])
            .args(["--runtime-directory", "/run-of-nobody/luod"])
            .args(more)
            .env_remove("JOURNAL_STREAM")
            .current_dir("/");
        if rustix::process::getuid().is_root() {
            luod.uid(OTHER).gid(OTHER);
        }
        let output = luod.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(": luod is to be run by root"), "{said}");
    }
    // Nothing of the kind where the right is there, and something else is missing.
    let output = luod()
        .args(["--config", "/dev/null", "--policy", "/dev/null"])
        .args(["--runtime-directory", "/dev/null/luod"])
        .output()
        .unwrap();
    assert!(!said(&output).contains("run by root"), "{output:?}");
}

#[test]
fn a_kernel_without_live_update_is_warned_of() {
    let luod = Luod::start(&open_policy());
    let words = "has no /dev/liveupdate, so no update is possible";
    match Path::new("/dev/liveupdate").exists() {
        true => assert!(!luod.log().contains(words), "{}", luod.log()),
        false => until("the warning", || luod.log().contains(words)),
    }
}
