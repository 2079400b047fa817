// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration with a guest: an unmodified QEMU is a workload of the agent, and
//! `luoctl update` takes its guest into the next kernel, where it counts on.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_lab_protocol::Event;
use luo_scenes_guests::machine::{Files, GUEST, Machine};

use super::guests::QEMU;
use super::{demo, scenes};
use crate::check::Suite;
use crate::init::Guest;
use crate::port;

const SUITE: Suite = Suite::new("demo-vm");

/// The files, in memory.
const FOLDER: &str = "/tmp/demo";

/// Runs a guest, updates the host, and looks at the guest.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.boot > 0 {
        port::mark("init_started");
    }
    let stage = scenes::stage_in(guest, Path::new(FOLDER))?;
    let machine = Machine::new(stage, QEMU.as_ref(), Files::Kept, |line| {
        port::progress(line)
    })?;
    machine.begin()?;
    let (log, heard) = (
        machine.path("luo-qemu.log"),
        heard(&machine.path("luo-qemu.log")),
    );
    std::thread::spawn(move || follow(&log, heard));
    machine.start()?;
    if guest.boot == 0 {
        machine.runs()?;
        machine.counts_on()?;
        count(&machine)?;
        return demo::luoctl_update(machine.stage());
    }
    SUITE.case("the guest went on", || {
        machine.is_completed()?;
        machine.runs()?;
        count(&machine)?;
        machine.counts_on()?;
        count(&machine)
    });
    demo::history(machine.stage())?;
    SUITE.case("luoctl inspect", || {
        let output = machine.stage().luoctl("inspect").arg(GUEST).output()?;
        let text = said(&output)?;
        text.lines().for_each(port::progress);
        ensure!(text.contains("stood still for"), "{text}");
        Ok(())
    });
    SUITE.case("the picture", || {
        let mut luoctl = machine.stage().luoctl("history");
        let output = luoctl.args(["last", "--format", "svg"]).output()?;
        let (name, text) = ("update.svg".to_owned(), said(&output)?);
        port::send(&Event::File { name, text });
        Ok(())
    });
    machine.end()
}

/// The standard output of a command that has to succeed.
fn said(output: &Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).context("its output is no text")
}

/// Says how far the guest has counted.
fn count(machine: &Machine) -> Result<()> {
    let count = machine.counts()?;
    port::progress(format!("the guest has counted to {count}, without a gap"));
    Ok(())
}

/// Bytes of a log that were told before.
fn heard(log: &Path) -> u64 {
    log.metadata().map_or(0, |about| about.len())
}

/// Tells what is written into a log, from a place on, and marks when the guest stops and goes on.
fn follow(log: &PathBuf, mut from: u64) {
    loop {
        // The sleep waits for nothing: this goes on for as long as the program.
        std::thread::sleep(Duration::from_millis(5));
        let mut text = String::new();
        let read = File::open(log).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.read_to_string(&mut text)
        });
        let Some((whole, _)) = read.ok().and_then(|_| text.rsplit_once('\n')) else {
            continue;
        };
        from += whole.len() as u64 + 1;
        for line in whole.lines() {
            if line.contains("state is written: ") {
                port::mark("guest_stopped");
            } else if line.contains("resumed: ") {
                port::mark("guest_runs");
            }
            port::progress(line);
        }
    }
}
