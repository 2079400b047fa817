// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs one virtual machine and records what it says and when.
//!
//! The first serial port is the kernel's console, QEMU's standard output. The
//! second one carries events over a Unix socket. Both are stamped on arrival,
//! which is the only clock that goes on while the guest changes its kernel.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use luo_lab_protocol::{Event, WHERE};
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::interrupt;
use crate::run::scenario::{Clock, Processors};

const POLL: Duration = Duration::from_millis(50);
/// How long a guest may take to switch itself off after its last event.
const GOODBYE: Duration = Duration::from_secs(20);
/// How long before its time is over a guest is asked where its tasks stand.
const LAST_WORDS: Duration = Duration::from_secs(15);
/// The kernel's limit (`COMMAND_LINE_SIZE` on x86), less the final zero.
const CMDLINE_LIMIT: usize = 2047;

/// What a machine boots from.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// The first kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
}

/// A machine to boot.
#[derive(Debug)]
pub struct Machine {
    /// The first kernel and its initramfs.
    pub files: BootFiles,
    /// The kernel's command line.
    pub cmdline: String,
    /// Memory in MiB.
    pub memory: u32,
    /// Its processors.
    pub processors: Processors,
    /// Devices beside those that every machine has, in QEMU's words.
    pub devices: &'static [&'static str],
    /// QEMU's plugin and its arguments, if there is to be one.
    pub plugin: Option<String>,
    /// When to give up.
    pub timeout: Duration,
    /// Where the console goes.
    pub log: PathBuf,
    /// Whether the console is shown too.
    pub show_console: bool,
}

/// Something and the time since power-on at which it arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped<T> {
    /// Time since QEMU was started.
    pub at: Duration,
    /// What arrived.
    pub what: T,
}

/// How a machine came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It switched itself off, or rebooted after a panic.
    Off,
    /// It was switched off for taking too long.
    TimedOut,
    /// QEMU failed; what it said.
    Broken(String),
}

/// Everything that a machine said.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Events in order.
    pub events: Vec<Stamped<Event>>,
    /// Lines on the event port that are no events.
    pub noise: Vec<String>,
    /// Console lines in order.
    pub console: Vec<Stamped<String>>,
    /// How it ended.
    pub ended: Ended,
    /// How long it ran.
    pub took: Duration,
    /// How long a processor was busy with it, which does not depend on what else runs.
    pub processor: Duration,
    /// Where the console was written.
    pub log: PathBuf,
}

impl Recording {
    /// The console's lines without their times.
    pub fn console_lines(&self) -> impl Iterator<Item = &str> {
        self.console.iter().map(|line| line.what.as_str())
    }

    /// What is in a file that the guest has sent.
    #[must_use]
    pub fn file(&self, wanted: &str) -> Option<&str> {
        self.events.iter().find_map(|event| match &event.what {
            Event::File { name, text } if name == wanted => Some(text.as_str()),
            _ => None,
        })
    }

    /// The last lines of the console, for a message.
    #[must_use]
    pub fn console_tail(&self, count: usize) -> String {
        let skip = self.console.len().saturating_sub(count);
        let lines: Vec<_> = self
            .console_lines()
            .skip(skip)
            .map(|line| format!("    | {line}"))
            .collect();
        lines.join("\n")
    }
}

/// The arguments that every machine has.
#[must_use]
pub fn arguments(
    files: &BootFiles,
    cmdline: &str,
    memory: u32,
    processors: Processors,
) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let Processors {
        count,
        nodes,
        code,
        clock,
    } = processors;
    let (thread, time) = match clock {
        Clock::Host => ("multi", ""),
        Clock::Instructions => ("single", " -icount shift=0,sleep=off"),
    };
    let words = format!(
        "-accel tcg,thread={thread},tb-size={code} -smp {count},sockets={nodes}{time} \
         -cpu max -nodefaults -no-user-config -nographic -no-reboot"
    );
    let mut arguments: Vec<String> = words.split(' ').map(str::to_owned).collect();
    if nodes > 1 {
        arguments.extend(spread(count, nodes, memory));
    }
    arguments.extend([
        "-m".into(),
        format!("{memory}M"),
        "-kernel".into(),
        text(&files.kernel),
    ]);
    arguments.extend([
        "-initrd".into(),
        text(&files.initrd),
        "-append".into(),
        cmdline.to_owned(),
    ]);
    arguments
}

/// Spreads processors and memory over NUMA nodes, of which each is a socket.
fn spread(count: u32, nodes: u32, memory: u32) -> impl Iterator<Item = String> {
    let (of_node, size) = (count / nodes, memory / nodes);
    (0..nodes).flat_map(move |node| {
        let (first, last) = (node * of_node, (node + 1) * of_node - 1);
        [
            "-object".into(),
            format!("memory-backend-ram,id=node{node},size={size}M"),
            "-numa".into(),
            format!("node,nodeid={node},cpus={first}-{last},memdev=node{node}"),
        ]
    })
}

/// QEMU's program.
pub const PROGRAM: &str = "qemu-system-x86_64";

enum Message {
    Console(Instant, String),
    Event(Instant, String),
    ConsoleClosed,
}

/// Boots a machine and waits for its end; `on_event` sees events as they come.
///
/// # Errors
/// QEMU cannot be started, or a signal arrives.
pub fn run(machine: &Machine, on_event: impl FnMut(&Stamped<Event>)) -> Result<Recording> {
    if machine.cmdline.len() > CMDLINE_LIMIT {
        bail!(
            "the kernel's command line has {} bytes of at most {CMDLINE_LIMIT}",
            machine.cmdline.len()
        );
    }
    let sockets = tempfile::tempdir()?;
    let path = sockets.path().join("events");
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    let mut recorder = Recorder::begin(machine, on_event)?;
    let mut qemu = Qemu::start(machine, &path)?;
    let (sender, receiver) = mpsc::channel();
    qemu.read_console(sender.clone())?;

    let mut events = None;
    loop {
        if events.is_none() {
            events = accept(&listener, &sender)?;
        }
        if let Some(events) = &mut events
            && recorder.is_nearly_late()
        {
            events.ask();
        }
        match receiver.recv_timeout(POLL) {
            Ok(Message::Console(at, line)) => recorder.console(at, line)?,
            Ok(Message::Event(at, line)) => recorder.event(at, line),
            Ok(Message::ConsoleClosed) => break,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if recorder.is_late() {
            qemu.kill();
            break;
        }
        interrupt::check()?;
    }
    let processor = qemu.wait()?;
    recorder.ended(processor, qemu.finish()?);
    // Events may still be on their way from the socket.
    drop(sender);
    if let Some(events) = events {
        drop(events.reader.join());
    }
    while let Ok(message) = receiver.try_recv() {
        if let Message::Event(at, line) = message {
            recorder.event(at, line);
        }
    }
    Ok(recorder.end())
}

/// What a machine says, as it is written down.
struct Recorder<F> {
    recording: Recording,
    /// The console's file.
    log: File,
    show_console: bool,
    started: Instant,
    deadline: Instant,
    /// It has sent its last event.
    said_done: bool,
    on_event: F,
}

impl<F: FnMut(&Stamped<Event>)> Recorder<F> {
    /// Begins, before QEMU does.
    fn begin(machine: &Machine, on_event: F) -> Result<Self> {
        if let Some(parent) = machine.log.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let log = File::create(&machine.log)
            .with_context(|| format!("cannot write {}", machine.log.display()))?;
        let started = Instant::now();
        Ok(Self {
            recording: Recording {
                events: Vec::new(),
                noise: Vec::new(),
                console: Vec::new(),
                ended: Ended::Off,
                took: Duration::ZERO,
                processor: Duration::ZERO,
                log: machine.log.clone(),
            },
            log,
            show_console: machine.show_console,
            started,
            deadline: started + machine.timeout,
            said_done: false,
            on_event,
        })
    }

    /// A line of the console.
    fn console(&mut self, at: Instant, line: String) -> Result<()> {
        writeln!(self.log, "{line}")?;
        let at = at - self.started;
        if self.show_console {
            println!("[{:8.3}] {line}", at.as_secs_f64());
        }
        self.recording.console.push(Stamped { at, what: line });
        Ok(())
    }

    /// A line of the event port.
    fn event(&mut self, at: Instant, line: String) {
        match Event::from_line(&line) {
            Ok(what) => {
                let event = Stamped {
                    at: at - self.started,
                    what,
                };
                (self.on_event)(&event);
                if matches!(event.what, Event::Done { .. }) {
                    self.said_done = true;
                    self.deadline = Instant::now() + GOODBYE;
                }
                self.recording.events.push(event);
            }
            Err(_) if line.trim().is_empty() => {}
            Err(_) => self.recording.noise.push(line),
        }
    }

    /// Whether it is asked where it stands, because its time is nearly over.
    fn is_nearly_late(&self) -> bool {
        !self.said_done && Instant::now() + LAST_WORDS > self.deadline
    }

    /// Whether its time is over. One that said its last word has nothing left to lose.
    fn is_late(&mut self) -> bool {
        let late = Instant::now() > self.deadline;
        if late && !self.said_done {
            self.recording.ended = Ended::TimedOut;
        }
        late
    }

    /// QEMU has ended, and has perhaps failed.
    fn ended(&mut self, processor: Duration, failure: Option<String>) {
        self.recording.processor = processor;
        let failure = failure.filter(|_| !self.said_done);
        if let (Ended::Off, Some(failure)) = (&self.recording.ended, failure) {
            self.recording.ended = Ended::Broken(failure);
        }
    }

    fn end(mut self) -> Recording {
        self.recording.took = self.started.elapsed();
        self.recording
    }
}

/// QEMU's process, which does not outlive this value.
struct Qemu {
    child: Child,
    stderr: Option<std::thread::JoinHandle<String>>,
    killed: bool,
}

impl Qemu {
    fn start(machine: &Machine, events: &Path) -> Result<Self> {
        let mut command = Command::new(PROGRAM);
        command.args(arguments(
            &machine.files,
            &machine.cmdline,
            machine.memory,
            machine.processors,
        ));
        for device in machine.devices {
            command.args(["-device", device]);
        }
        if let Some(plugin) = &machine.plugin {
            command.args(["-plugin", plugin]);
        }
        command.args(["-serial", "stdio", "-chardev"]);
        command
            .arg(format!("socket,id=events,path={}", events.display()))
            .args(["-serial", "chardev:events"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| {
            format!("cannot run {PROGRAM}: install the package qemu-system-x86")
        })?;
        let stderr = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).trim().to_owned()
            })
        });
        Ok(Self {
            child,
            stderr,
            killed: false,
        })
    }

    fn read_console(&mut self, sender: Sender<Message>) -> Result<()> {
        let stdout = self
            .child
            .stdout
            .take()
            .context("QEMU has no standard output")?;
        std::thread::spawn(move || {
            read_lines(stdout, &sender, Message::Console);
            let _ = sender.send(Message::ConsoleClosed);
        });
        Ok(())
    }

    fn kill(&mut self) {
        self.killed = true;
        let _ = self.child.kill();
    }

    /// Waits for the end, and leaves the process there for [`Self::finish`]; gives how
    /// long a processor was busy with it.
    fn wait(&self) -> Result<Duration> {
        let pid = Pid::from_child(&self.child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), options)?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        processor_time(&stat, rustix::param::clock_ticks_per_second())
            .context("/proc does not say what QEMU took")
    }

    /// Waits for the end; gives what QEMU complained of if it failed.
    fn finish(&mut self) -> Result<Option<String>> {
        let status = self.child.wait()?;
        let said = self
            .stderr
            .take()
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default();
        // One that somebody else has ended says so, and that all went well.
        let is_ended = said.contains("terminating on signal");
        let failed = (!status.success() || is_ended) && !self.killed;
        Ok(failed.then(|| format!("{PROGRAM} ended with {status}: {said}")))
    }
}

/// The time in user and in kernel mode in a process's `stat`.
fn processor_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name, in brackets, may have blanks in it. The times are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>().ok()?;
    let milliseconds = ticks.checked_mul(1000)?.checked_div(ticks_per_second)?;
    Some(Duration::from_millis(milliseconds))
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The event port of a machine.
struct Port {
    /// To the machine.
    to: UnixStream,
    reader: std::thread::JoinHandle<()>,
    asked: bool,
}

impl Port {
    /// Asks the machine where its tasks stand, once. It answers on the console, if it can.
    fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            // One that cannot be written to has ended, and is seen to have.
            let _ = writeln!(self.to, "{WHERE}");
        }
    }
}

/// Takes QEMU's connection once it is there.
fn accept(listener: &UnixListener, sender: &Sender<Message>) -> Result<Option<Port>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            let to = stream.try_clone()?;
            let sender = sender.clone();
            let reader = std::thread::spawn(move || read_lines(stream, &sender, Message::Event));
            Ok(Some(Port {
                to,
                reader,
                asked: false,
            }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("QEMU's event port"),
    }
}

fn read_lines(from: impl Read, sender: &Sender<Message>, message: fn(Instant, String) -> Message) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = plain(&String::from_utf8_lossy(&line));
        if sender.send(message(Instant::now(), line)).is_err() {
            break;
        }
    }
}

/// The line without carriage returns and without the firmware's escape
/// sequences, which would clear the terminal of whoever reads the log.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => {
                if chars.next() == Some('[') {
                    // Parameters end with a letter.
                    chars.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            '\t' => plain.push(char),
            _ if char.is_control() => {}
            _ => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_dropped() {
        assert_eq!(plain("\x1bc\x1b[?7l\x1b[2J\x1b[0mSea\tBIOS\r"), "Sea\tBIOS");
    }

    #[test]
    fn processor_time_is_that_of_user_and_kernel() {
        let stat = "7 (qemu (x) y) Z 1 2 3 4 5 6 7 8 9 10 150 75 0 0 20 0 1 0 5";
        let time = processor_time(stat, 100);
        assert_eq!(time, Some(Duration::from_millis(2250)));
    }

    #[test]
    fn nodes_have_equal_parts() {
        let words: Vec<_> = spread(4, 2, 2048).collect();
        assert_eq!(
            words.join(" "),
            "-object memory-backend-ram,id=node0,size=1024M \
             -numa node,nodeid=0,cpus=0-1,memdev=node0 \
             -object memory-backend-ram,id=node1,size=1024M \
             -numa node,nodeid=1,cpus=2-3,memdev=node1"
        );
    }

    #[test]
    fn a_command_line_that_would_be_cut_is_refused() {
        let machine = Machine {
            files: BootFiles {
                kernel: PathBuf::from("/k"),
                initrd: PathBuf::from("/i"),
            },
            cmdline: "x".repeat(CMDLINE_LIMIT + 1),
            memory: 1,
            processors: Processors::TWO,
            devices: &[],
            plugin: None,
            timeout: Duration::ZERO,
            log: PathBuf::from("/dev/null"),
            show_console: false,
        };
        assert!(
            run(&machine, |_| {})
                .unwrap_err()
                .to_string()
                .contains("2047")
        );
    }
}
