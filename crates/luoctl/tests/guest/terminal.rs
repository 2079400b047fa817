// SPDX-License-Identifier: MIT OR Apache-2.0
//! luoctl with somebody before it: on a terminal, with its output elsewhere, interrupted.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::common::{Result, command, folder};

/// As somebody at a terminal would who has its output go elsewhere.
pub(crate) fn piped(line: &str, answer: &str, command: &Command) -> Result {
    let output = folder()?.join("piped");
    // The terminal is that of the session, so that it can be found without a descriptor of it.
    let mut shell = Command::new("setsid");
    shell
        .args([
            "--ctty",
            "--wait",
            "sh",
            "-c",
            r#"to=$1; shift; "$@" > "$to""#,
            "sh",
        ])
        .arg(&output)
        .arg(command.get_program())
        .args(command.get_args());
    terminal(line, answer, shell)?;
    println!("[elsewhere]\n{}", fs::read_to_string(&output)?);
    Ok(())
}

/// As somebody at a terminal would.
pub(crate) fn terminal(line: &str, answer: &str, mut command: Command) -> Result {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?.into_string()?;
    let theirs = File::options().read(true).write(true).open(path)?;
    let mut child = command
        .env("NO_COLOR", "1")
        .stdin(theirs.try_clone()?)
        .stdout(theirs.try_clone()?)
        .stderr(theirs)
        .spawn()?;
    // It has the terminal open as long as it is there.
    drop(command);
    let mut ours = File::from(ours);
    let mut seen = String::new();
    let mut is_answered = false;
    loop {
        let mut bytes = [0; 4096];
        // The end of the last that has it open is EIO.
        let Ok(length @ 1..) = ours.read(&mut bytes) else {
            break;
        };
        seen += &String::from_utf8_lossy(&bytes[..length]);
        if seen.contains("[y/N]") && !is_answered {
            is_answered = true;
            writeln!(ours, "{answer}")?;
        }
    }
    println!("$ {line}\n{seen}[exit {:?}]\n", child.wait()?.code());
    Ok(())
}

/// As ^C would, or worse: the signal is for luoctl alone, which no terminal has in its foreground.
pub(crate) fn interrupt(line: &str, moment: &str, words: &[&str], signal: &str) -> Result {
    let sends = |child: &Child| -> Result {
        let kill = format!("kill -{signal} {}", child.id());
        Command::new("/bin/sh").arg("-c").arg(kill).status()?;
        Ok(())
    };
    match amidst(line, moment, words, sends)? {
        true => Ok(()),
        false => Err(format!("'{moment}' was not said").into()),
    }
}

/// Runs it, and does something once it has printed a line: `moment`, with dashes for its blanks.
/// Says whether it has.
pub(crate) fn amidst(
    line: &str,
    moment: &str,
    words: &[&str],
    then: impl FnOnce(&Child) -> Result,
) -> Result<bool> {
    let mut child = command(words)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let moment = moment.replace('-', " ");
    let mut output = String::new();
    let is_said = loop {
        let before = output.len();
        if said.read_line(&mut output)? == 0 {
            break false;
        }
        if output[before..].contains(&moment) {
            break true;
        }
    };
    if is_said {
        then(&child)?;
    }
    said.read_to_string(&mut output)?;
    let ended = child.wait_with_output()?;
    let mut out = io::stdout();
    writeln!(out, "$ {line}")?;
    out.write_all(output.as_bytes())?;
    out.write_all(&ended.stderr)?;
    writeln!(out, "[exit {:?}]\n", ended.status.code())?;
    Ok(is_said)
}
