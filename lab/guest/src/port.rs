// SPDX-License-Identifier: MIT OR Apache-2.0
//! The line to the host.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use luo_lab_protocol::{Event, GUEST_PORT, Outcome, WHERE};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

/// The open port; without one, events go to the console.
static PORT: Mutex<Option<File>> = Mutex::new(None);

/// Whether any case has failed, in this kernel or, as `luo.args` tells, in an
/// earlier one.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Opens the port. A machine without one still runs: its events are mixed into
/// the console's output, which is what one wants when running by hand.
pub(crate) fn open() {
    // Not as a terminal of this process: its children would ask for passwords there.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(GUEST_PORT, flags, Mode::empty()).map(File::from);
    let port = file.ok().filter(|file| raw_mode(file).is_ok());
    *PORT.lock().unwrap_or_else(PoisonError::into_inner) = port;
}

/// Without this the line discipline would echo what the host sends and turn
/// each newline into two characters.
fn raw_mode(file: &File) -> rustix::io::Result<()> {
    let mut termios = tcgetattr(file)?;
    termios.make_raw();
    tcsetattr(file, OptionalActions::Now, &termios)
}

/// Waits for what the host asks, and has it answered by the kernel: the stacks of all tasks, which
/// say where a machine hangs.
pub(crate) fn answers() {
    let port = PORT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(port) = port.as_ref().and_then(|port| port.try_clone().ok()) else {
        return;
    };
    std::thread::spawn(move || {
        let asked = BufReader::new(port).lines().map_while(Result::ok);
        for _ in asked.filter(|line| line == WHERE) {
            stacks();
        }
    });
}

/// Has the kernel write to its console what each processor does and where each task is.
pub(crate) fn stacks() {
    for key in ["l", "t"] {
        // A kernel without it has nothing to say.
        let _ = std::fs::write("/proc/sysrq-trigger", key);
    }
}

/// Sends one event. A host that no longer listens is not the guest's problem.
pub(crate) fn send(event: &Event) {
    let line = event.to_line() + "\n";
    let mut port = PORT.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = match port.as_mut() {
        Some(file) => file.write_all(line.as_bytes()),
        None => std::io::stdout().write_all(line.as_bytes()),
    };
}

/// Waits until the host has everything: neither a kexec nor a power-off waits
/// for a serial port.
pub(crate) fn flush() {
    let port = PORT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = port.as_ref() {
        let _ = tcdrain(file);
    }
}

/// A sentence for people.
pub(crate) fn progress(text: impl Into<String>) {
    send(&Event::Progress { text: text.into() });
}

/// A point in time.
pub(crate) fn mark(name: &str) {
    send(&Event::Mark { name: name.into() });
}

/// The unit of figures that are read from the processor's counter.
pub(crate) const TICKS: &str = "ticks";

/// A figure.
pub(crate) fn sample(metric: &str, n: u64, value: f64, unit: &str) {
    send(&Event::Sample {
        metric: metric.into(),
        n,
        value,
        unit: unit.into(),
    });
}

/// A case that has ended.
pub(crate) fn case(name: impl Into<String>, outcome: Outcome, detail: impl Into<String>) {
    if outcome == Outcome::Failed {
        set_failed();
    }
    send(&Event::Case {
        name: name.into(),
        outcome,
        detail: detail.into(),
    });
}

/// Remembers that something failed.
pub(crate) fn set_failed() {
    FAILED.store(true, Ordering::Relaxed);
}

/// Whether something has failed.
pub(crate) fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}
