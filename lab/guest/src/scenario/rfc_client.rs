// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the client in C that knows the original proposal only.
//!
//! It tells step by step how it fares; each step is a case. The token that the
//! kernel gave it goes to its second half on the next kernel's command line.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use luo_lab_protocol::CLIENT_DIR;

use crate::check::Suite;
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("rfc-client");
const PROGRAM: &str = "rfc_client";
const TOKEN: &str = "token";

/// Runs the half of this kernel. The client has exited when the machine jumps:
/// what it has prepared is the kernel's.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.boot == 0 {
        let output = client(&["1"])?;
        let token = output.lines().find_map(|line| line.strip_prefix("token "));
        let token = token.context("the client has no token")?.to_owned();
        return kexec::go(guest, |_, args| args.set(TOKEN, token));
    }
    let token = guest.args.text(TOKEN).context("no token has arrived")?;
    client(&["2", token]).map(drop)
}

/// Runs the client and reports its steps; gives what it said.
fn client(args: &[&str]) -> Result<String> {
    let path = PathBuf::from(CLIENT_DIR).join(PROGRAM);
    let output = Command::new(&path).args(args).output();
    let output = output.with_context(|| format!("{}", path.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut steps = 0;
    for line in said.lines() {
        if let Some((name, outcome)) = step(line) {
            steps += 1;
            SUITE.case(name, || match outcome {
                Ok(()) => Ok(()),
                Err(why) => bail!("{why}"),
            });
        }
    }
    ensure!(steps > 0, "the client took no step: {said}");
    ensure!(output.status.success(), "the client: {}", output.status);
    Ok(said)
}

/// A step's name and, if it did not work, why.
fn step(line: &str) -> Option<(&str, Result<(), &str>)> {
    if let Some(name) = line.strip_prefix("ok ") {
        return Some((name, Ok(())));
    }
    let (name, why) = line.strip_prefix("not ok ")?.split_once(": ")?;
    Some((name, Err(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        assert_eq!(step("ok restore"), Some(("restore", Ok(()))));
        let failed = step("not ok restore: No such file or directory");
        assert_eq!(failed, Some(("restore", Err("No such file or directory"))));
        assert_eq!(step("token 7"), None);
    }
}
