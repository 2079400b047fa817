// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration with guests: two of an unmodified QEMU, with a distribution's Linux in each and a TCP
//! connection between them, are workloads of the agent, and `luoctl update` takes both into the next
//! kernel.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_lab_protocol::{Event, guest_mark};
use luo_scenes_guests::linux::Side;
use luo_scenes_guests::linux::pair::Pair;
use luo_scenes_guests::linux::view;

use super::{demo, guests};
use crate::check::Suite;
use crate::init::Guest;
use crate::port;

const SUITE: Suite = Suite::new("demo-vm");

/// The file with what the guests saw.
const VIEWS: &str = "guests.txt";

/// The files, in memory.
const FOLDER: &str = "/tmp/demo";

/// Runs two guests, updates the host, and looks at them.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.boot > 0 {
        port::mark("init_started");
    }
    let mut machine = guests::in_kvm(guest, Path::new(FOLDER))?;
    Pair::keep(&mut machine);
    machine.begin()?;
    for side in Side::BOTH {
        let log = machine.path(side.name()).join("luo-qemu.log");
        let heard = heard(&log);
        std::thread::spawn(move || follow(side, &log, heard));
    }
    let pair = Pair::start(&machine)?;
    pair.run()?;
    if guest.boot == 0 {
        port::progress("both guests boot Debian's kernel, and the client connects to the server");
        pair.go_on()?;
        told(&pair)?;
        return demo::luoctl_update(machine.stage());
    }
    SUITE.case("the guests went on", || {
        machine.is_completed()?;
        port::progress("each guest reads all of its memory, and hears what was sent to it");
        pair.go_on()?;
        told(&pair)?;
        // Their boot ids, connections, records and memory were looked at with each tick.
        let text = view::render(&pair.views()?);
        let name = VIEWS.to_owned();
        port::send(&Event::File { name, text });
        Ok(())
    });
    demo::history(machine.stage())?;
    for side in Side::BOTH {
        SUITE.case(format!("luoctl inspect {}", side.name()), || {
            let output = machine
                .stage()
                .luoctl("inspect")
                .arg(side.name())
                .output()?;
            let text = said(&output)?;
            text.lines().for_each(port::progress);
            ensure!(text.contains("stood still for"), "{text}");
            Ok(())
        });
    }
    SUITE.case("the picture", || {
        let mut luoctl = machine.stage().luoctl("history");
        let output = luoctl.args(["last", "--format", "svg"]).output()?;
        let (name, text) = ("update.svg".to_owned(), said(&output)?);
        port::send(&Event::File { name, text });
        Ok(())
    });
    pair.end()?;
    drop(pair);
    machine.end()
}

/// The standard output of a command that has to succeed.
fn said(output: &Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).context("its output is no text")
}

/// Says how far the guests have come.
fn told(pair: &Pair) -> Result<()> {
    for side in Side::BOTH {
        let ticks = pair.ticks(side)?;
        let tick = ticks.last().context("it has said nothing")?;
        port::progress(format!(
            "{}: up for {:.2} s, tick {}, record {} was sent and record {} received",
            side.name(),
            tick.uptime.as_secs_f64(),
            tick.number,
            tick.sent,
            tick.received
        ));
    }
    Ok(())
}

/// Bytes of a log that were told before.
fn heard(log: &Path) -> u64 {
    log.metadata().map_or(0, |about| about.len())
}

/// Tells what is written into a log, from a place on, and marks when the guest stops and goes on.
fn follow(side: Side, log: &PathBuf, mut from: u64) {
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
                port::mark(&format!("{}{}", guest_mark::STOPPED, side.name()));
            } else if line.contains("resumed: ") {
                port::mark(&format!("{}{}", guest_mark::RUNS, side.name()));
            }
            port::progress(line);
        }
    }
}
