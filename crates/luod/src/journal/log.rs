// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log: lines on standard error, or entries of the journal. Their reader may stand
//! still, and luod must not stand still with it: so a thread writes them, and a line that finds no
//! room before that thread is dropped and counted.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that wait for the thread at most.
const LINES: usize = 4096;

/// Bytes of them at most.
const BYTES: usize = 4 << 20;

/// How long what waits is written still when the program ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried in that time to say so.
const AGAIN: Duration = Duration::from_millis(10);

/// The variable by which systemd says which file standard error is, if that is the journal.
const STREAM: &str = "JOURNAL_STREAM";

/// The journal's socket.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Bytes of a field's value in the journal.
const MAX_VALUE: usize = 32 << 10;

/// The lines of this process.
static OWN: OnceLock<Lines> = OnceLock::new();

/// Sets the log up. What this gives waits, when it is dropped, until all is written, for a
/// second at most.
///
/// # Errors
/// There can be no thread.
pub(crate) fn begin() -> io::Result<Rest> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| "info".into());
    let registry = tracing_subscriber::registry().with(filter);
    let lines = match Journal::connect() {
        Some(journal) => {
            let entries = Lines::to(journal, |dropped| {
                let mut entry = Entry::of(Level::WARN);
                entry.field("MESSAGE", &words(dropped));
                entry.0
            })?;
            registry.with(Entries(entries.clone())).init();
            entries
        }
        None => {
            let lines = Lines::to(io::stderr(), |dropped| words(dropped).into_bytes())?;
            let own = lines.clone();
            let layer = tracing_subscriber::fmt::layer().with_target(false);
            let layer = layer.with_ansi(io::stderr().is_terminal());
            registry.with(layer.with_writer(move || own.clone())).init();
            lines
        }
    };
    let _ = OWN.set(lines.clone());
    Ok(Rest(lines))
}

/// That lines were dropped, as a line.
fn words(dropped: usize) -> String {
    format!("luod: nobody read this log: {dropped} lines were dropped\n")
}

/// How many lines were dropped, because nobody read those before.
pub(crate) fn dropped() -> usize {
    let own = OWN.get();
    own.map_or(0, |lines| lines.count.dropped.load(Ordering::Relaxed))
}

/// A message to the thread.
enum Said {
    Line(Vec<u8>),
    /// All before this is to be written, and then this to be dropped.
    End(SyncSender<()>),
}

#[derive(Default)]
struct Count {
    /// Bytes that wait.
    bytes: AtomicUsize,
    dropped: AtomicUsize,
}

/// Takes lines, and never waits.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Said>,
    count: Arc<Count>,
}

impl Lines {
    /// Lines that a thread writes. `told` makes one that says how many were dropped.
    fn to(
        to: impl Write + Send + 'static,
        told: impl Fn(usize) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, said) = sync_channel(LINES);
        let count = Arc::<Count>::default();
        let counted = Arc::clone(&count);
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || write_all(&said, &counted, to, told))?;
        Ok(Self { queue, count })
    }

    fn put(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.count.bytes.fetch_add(length, Ordering::Relaxed);
        if before > BYTES || self.queue.try_send(Said::Line(line)).is_err() {
            self.count.bytes.fetch_sub(length, Ordering::Relaxed);
            self.count.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for Lines {
    /// Takes an event as it is formatted, and makes one line of it: whoever looks for something in
    /// a log looks at lines.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.put(one_line(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event in one line: what stands in several is told one after the other.
fn one_line(event: &[u8]) -> Vec<u8> {
    let (event, end) = match event.strip_suffix(b"\n") {
        Some(event) => (event, &b"\n"[..]),
        None => (event, &b""[..]),
    };
    let mut lines = event.split(|byte| *byte == b'\n');
    let mut line = lines.next().unwrap_or_default().to_vec();
    for more in lines {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(more.trim_ascii_start());
    }
    line.extend_from_slice(end);
    line
}

/// The thread: it stands still where the reader does.
fn write_all(
    said: &Receiver<Said>,
    count: &Count,
    mut to: impl Write,
    tell: impl Fn(usize) -> Vec<u8>,
) {
    let mut told = 0;
    for said in said {
        let line = match said {
            Said::Line(line) => line,
            Said::End(told) => {
                drop(told);
                continue;
            }
        };
        count.bytes.fetch_sub(line.len(), Ordering::Relaxed);
        // A log that cannot be written to has nobody to be told.
        let _ = to.write_all(&line);
        let dropped = count.dropped.load(Ordering::Relaxed);
        if dropped > told {
            let _ = to.write_all(&tell(dropped - told));
            told = dropped;
        }
    }
}

/// The lines that wait to be written.
pub(crate) struct Rest(Lines);

impl Drop for Rest {
    fn drop(&mut self) {
        let begun = Instant::now();
        let (end, ended) = sync_channel(1);
        let mut said = Said::End(end);
        while let Err(TrySendError::Full(back)) = self.0.queue.try_send(said) {
            if begun.elapsed() >= PATIENCE {
                return;
            }
            said = back;
            std::thread::sleep(AGAIN);
        }
        // The thread drops the other end when it is there.
        let _ = ended.recv_timeout(PATIENCE.saturating_sub(begun.elapsed()));
    }
}

/// Whether standard error is the journal: the variable may be inherited, and of another file.
fn is_journal() -> bool {
    let named = std::env::var(STREAM).ok();
    let stat = rustix::fs::fstat(io::stderr()).ok();
    named
        .zip(stat)
        .is_some_and(|(named, stat)| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Events for the journal, each with its fields, in its own protocol: "Native Journal Protocol" of
/// systemd's documentation.
struct Entries(Lines);

impl<S: Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::of(*event.metadata().level());
        event.record(&mut entry);
        self.0.put(entry.0);
    }
}

/// An entry of the journal.
struct Entry(Vec<u8>);

impl Entry {
    fn of(level: Level) -> Self {
        let mut entry = Self(Vec::new());
        entry.field("SYSLOG_IDENTIFIER", "luod");
        entry.field("PRIORITY", priority(level));
        entry
    }

    /// Adds a field: its name, the length of its value, and that, whatever is in it.
    fn field(&mut self, name: &str, value: &str) {
        // A datagram has room for so much.
        let value = value.get(..MAX_VALUE).unwrap_or(value);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.field("MESSAGE", value),
            // The program's own fields have names that nobody else gives.
            name => self.field(&format!("F_{}", name.to_ascii_uppercase()), value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn core::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// A level as a priority of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// The journal's socket.
struct Journal(UnixDatagram);

impl Journal {
    /// The journal, if standard error is it and it listens.
    fn connect() -> Option<Self> {
        let socket = UnixDatagram::unbound().ok().filter(|_| is_journal())?;
        socket.connect(JOURNAL).ok().map(|()| Self(socket))
    }
}

impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.0.send(entry)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn who_does_not_read_keeps_nobody_waiting() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let tell = |dropped| words(dropped).into_bytes();
        let mut lines = Lines::to(pipe, tell).unwrap();
        // A pipe has room for much less.
        let sent = 2 * LINES;
        for _ in 0..sent {
            lines.write_all(&[b'x'; 1024]).unwrap();
        }
        let dropped = lines.count.dropped.load(Ordering::Relaxed);
        assert!(dropped >= LINES / 2, "{dropped}");
        let begun = Instant::now();
        drop(Rest(lines.clone()));
        assert!(begun.elapsed() >= PATIENCE, "it has an end");
        // Once it is read again all comes that was not dropped, and that some was.
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        drop(lines);
        let all = reading.join().unwrap().unwrap();
        let came = all.iter().filter(|&&byte| byte == b'x').count() / 1024;
        assert_eq!(came, sent - dropped);
        let all = String::from_utf8(all).unwrap();
        let told = all.split("log: ").skip(1);
        let told = told.map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(told.sum::<usize>(), dropped);
    }

    #[test]
    fn an_event_is_one_line() {
        let text = |event: &str| String::from_utf8(one_line(event.as_bytes())).unwrap();
        let obstacle =
            "WARN refused: obstacles\n  memory: too little\n    free some update=\"a\"\n";
        let line = "WARN refused: obstacles; memory: too little; free some update=\"a\"\n";
        assert_eq!(text(obstacle), line);
        assert_eq!(text("plain\n"), "plain\n");
        assert_eq!(text("no end"), "no end");
        let (mut reader, pipe) = io::pipe().unwrap();
        let mut lines = Lines::to(pipe, |_| Vec::new()).unwrap();
        lines.write_all(obstacle.as_bytes()).unwrap();
        drop(lines);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, line);
    }

    #[test]
    fn the_journal_gets_each_field() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let lines = Lines::to(Journal(theirs), |_| Vec::new()).unwrap();
        let layer = tracing_subscriber::registry().with(Entries(lines));
        tracing::subscriber::with_default(layer, || {
            tracing::warn!(workload = "vm-7", number = 7, "two\nlines");
        });
        let mut entry = [0; 1024];
        let length = ours.recv(&mut entry).unwrap();
        let mut expected = Vec::new();
        for (name, value) in [
            ("SYSLOG_IDENTIFIER", "luod"),
            ("PRIORITY", "4"),
            ("MESSAGE", "two\nlines"),
            ("F_WORKLOAD", "vm-7"),
            ("F_NUMBER", "7"),
        ] {
            expected.extend_from_slice(format!("{name}\n").as_bytes());
            expected.extend_from_slice(&value.len().to_le_bytes());
            expected.extend_from_slice(format!("{value}\n").as_bytes());
        }
        assert_eq!(
            String::from_utf8_lossy(&entry[..length]),
            String::from_utf8_lossy(&expected)
        );
    }
}
