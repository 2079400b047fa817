// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a command with its output in a log file and its progress on screen.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

use crate::interrupt;
use crate::progress::Step;

/// How much of a log is shown when a command fails.
const TAIL_LINES: usize = 40;
const POLL: Duration = Duration::from_millis(200);

/// A command's name and arguments as a person would type them.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs `command`, its output going to `log`; `on_line` sees every line.
///
/// The step is left open so that the caller can finish it with a remark.
///
/// # Errors
/// The command cannot start, fails, or a signal arrives. The message has the
/// last lines of the log and its path.
pub fn logged(
    command: &mut Command,
    log: &Path,
    step: &mut Step,
    mut on_line: impl FnMut(&mut Step, Option<&str>),
) -> Result<()> {
    let (status, tail) = to_log(command, log, |line| on_line(step, line))?;
    if !status {
        bail!(
            "`{}` failed; its last lines were:\n{}\nThe whole output is in {}",
            shown(command),
            tail.join("\n"),
            log.display()
        );
    }
    Ok(())
}

/// [`logged`] for a cargo command that compiles: the step counts crates.
///
/// # Errors
/// As [`logged`].
pub fn cargo(command: &mut Command, log: &Path, step: &mut Step) -> Result<()> {
    let mut crates = 0;
    logged(command, log, step, |step, line| {
        crates += u64::from(line.is_some_and(|line| line.trim_start().starts_with("Compiling ")));
        step.set(crates);
    })
}

/// What cargo knows of a workspace, as far as `T` wants to know it.
///
/// # Errors
/// Cargo cannot start or fails, or knows nothing of the kind.
pub fn cargo_metadata<T: DeserializeOwned>(workspace: &Path) -> Result<T> {
    let mut command = Command::new("cargo");
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace);
    serde_json::from_str(&output(&mut command)?).context("cargo metadata says nothing useful")
}

/// Runs `command` to its end, whatever its exit status, which is returned with
/// the last lines of output. `on_line` also gets a `None` when time passes.
///
/// # Errors
/// The command cannot start, or a signal arrives.
pub fn to_log(
    command: &mut Command,
    log: &Path,
    mut on_line: impl FnMut(Option<&str>),
) -> Result<(bool, Vec<String>)> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(out, "$ {}", shown(command))?;
    let (reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = spawn(command)?;
    // The command holds the pipe's writing ends; the reader would wait for
    // them for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, receiver) = mpsc::channel();
    let lines = std::thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let mut tail = VecDeque::new();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(line) => {
                writeln!(out, "{line}")?;
                on_line(Some(&line));
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => on_line(None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupt::requested() {
            terminate(&mut child);
            bail!("interrupted: {}", shown(command));
        }
    }
    let status = child.wait()?;
    drop(lines.join());
    Ok((status.success(), tail.into()))
}

/// Runs a short command and gives its standard output.
///
/// # Errors
/// The command cannot start or fails; the message has its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}",
            shown(command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn spawn(command: &mut Command) -> Result<Child> {
    command
        .spawn()
        .with_context(|| format!("cannot run `{}`: is it installed?", shown(command)))
}

/// A command that runs beside others, its output going to a log file. It does not
/// outlive this value.
#[derive(Debug)]
pub struct Background {
    child: Child,
}

impl Background {
    /// Starts `command`. It gives way to whatever else runs on this machine.
    ///
    /// # Errors
    /// It cannot start.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent)?;
        }
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut nice = Command::new("nice");
        nice.arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        Ok(Self {
            child: spawn(&mut nice)?,
        })
    }

    /// Waits for its end, and says whether it ended well.
    ///
    /// # Errors
    /// A signal arrives.
    pub fn wait(mut self, step: &mut Step) -> Result<bool> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            interrupt::check()?;
            step.tick();
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            terminate(&mut self.child);
        }
    }
}

/// Asks a child to end, so that it can end its own children, and waits.
fn terminate(child: &mut Child) {
    let asked = Command::new("kill").arg(child.id().to_string()).status();
    if !asked.is_ok_and(|status| status.success()) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_tail_and_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let mut seen = 0;
        let (ok, tail) = to_log(
            Command::new("sh").args(["-c", "seq 100; echo oops >&2; exit 3"]),
            &log,
            |line| {
                seen += usize::from(line.is_some());
            },
        )
        .unwrap();
        assert!(!ok);
        assert_eq!(seen, 101);
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().unwrap(), "oops");
        assert!(fs::read_to_string(&log).unwrap().starts_with("$ sh -c"));
    }

    #[test]
    fn what_runs_beside_ends_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut step = Step::new("test");
        let mut command = Command::new("sh");
        command.args(["-c", "echo here; exit 3"]);
        let background = Background::start(&command, &log).unwrap();
        assert!(!background.wait(&mut step).unwrap());
        assert_eq!(fs::read_to_string(&log).unwrap(), "here\n");
        step.done();

        let mut command = Command::new("sleep");
        let background = Background::start(command.arg("1000"), &log).unwrap();
        let process = format!("/proc/{}", background.child.id());
        assert!(Path::new(&process).exists());
        drop(background);
        assert!(!Path::new(&process).exists());
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("luo-no-such-program")).unwrap_err();
        assert!(format!("{error:#}").contains("luo-no-such-program"));
    }
}
