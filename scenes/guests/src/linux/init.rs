// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest with Linux runs as its init: it sets up its network card, connects to the other guest, and
//! sends and takes records from then on. It says a line for each tick ([`super::said`]), and if the
//! connection breaks that, and ends.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use luo_scenes::stage::within;
use rustix::mount::{MountFlags, mount};

use super::Side;
use super::clocks::Clocks;
use super::memory::Memory;
use super::record::{LENGTH, Stream};
use super::said::{FAILED, Tick};
use crate::monitor::archive::FILES;

/// The argument that makes a process this one; the side's name follows.
pub const ARGUMENT: &str = "linux-guest";

/// The only network card.
const CARD: &str = "/sys/class/net/eth0";

/// What the kernel does with an address: nobody else has it, so it need not ask and wait.
const ASKS: &str = "/proc/sys/net/ipv6/conf/eth0/accept_dad";

/// The flag of a card that is up.
const UP: u32 = 1;

/// Says that a module's file is compressed.
const COMPRESSED: i32 = 4;

/// Counters of TCP.
const COUNTERS: &str = "/proc/net/snmp";

const PORT: u16 = 7000;

/// How long the other guest may take to come up.
const PATIENCE: Duration = Duration::from_secs(400);

/// Records that are sent at each tick.
const RECORDS: u64 = 4;

/// Runs until the connection breaks.
///
/// # Errors
/// It has broken, or the machine is not as it has to be. That was said, too.
pub fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let why = match arguments.next().and_then(|name| Side::find(&name)) {
        Some(side) => talk(side),
        None => Err(anyhow!("no side is named")),
    };
    if let Err(why) = &why {
        println!("{FAILED}{why:#}");
    }
    why
}

fn talk(side: Side) -> Result<()> {
    for (kind, path) in [("proc", "/proc"), ("sysfs", "/sys")] {
        mount(kind, path, kind, MountFlags::empty(), None).context(path)?;
    }
    load()?;
    let link = up()?;
    let stream = connect(side, link)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let received = Arc::<AtomicU64>::default();
    let ear = hear(stream.try_clone()?, Arc::clone(&received));
    let mut sender = Sender {
        stream,
        records: Stream::default(),
        ear: Some(ear),
    };
    let mut memory = Memory::default();
    let mut clocks = Clocks::default();
    for number in 1.. {
        let hash = memory.tick(number);
        clocks.look();
        sender.send()?;
        clocks.look();
        let (opened, again) = counters(&fs::read_to_string(COUNTERS)?)?;
        let tick = Tick {
            number,
            boot: boot.trim().to_owned(),
            uptime: clocks.uptime(),
            sent: sender.records.number(),
            received: received.load(Ordering::Relaxed),
            opened,
            again,
            hash,
            pauses: clocks.take_pauses(),
        };
        println!("{tick}");
        clocks.look();
    }
    Ok(())
}

/// Loads the modules that came along.
fn load() -> Result<()> {
    let folder = format!("/{FILES}");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).context(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        let what = || path.display().to_string();
        let module = File::open(&path).with_context(what)?;
        rustix::system::finit_module(module, c"", COMPRESSED).with_context(what)?;
    }
    Ok(())
}

/// Has the card go up, and gives its number.
fn up() -> Result<u32> {
    fs::write(ASKS, "0").context(ASKS)?;
    let path = format!("{CARD}/flags");
    let flags = fs::read_to_string(&path).context("the card")?;
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16)?;
    fs::write(&path, format!("{:#x}", flags | UP)).context(path)?;
    Ok(fs::read_to_string(format!("{CARD}/ifindex"))?
        .trim()
        .parse()?)
}

fn connect(side: Side, link: u32) -> Result<TcpStream> {
    let other = SocketAddrV6::new(side.other().address(), PORT, 0, link);
    match side {
        Side::Server => {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
            let (stream, from) = listener.accept()?;
            ensure!(from.ip() == *other.ip(), "{from} has connected");
            Ok(stream)
        }
        Side::Client => {
            let mut stream = None;
            // Until the other one listens there is nobody, or somebody who refuses.
            within(PATIENCE, "a connection", || {
                stream = TcpStream::connect(other).ok();
                Ok(stream.is_some())
            })?;
            stream.context("no connection")
        }
    }
}

/// What a guest sends.
struct Sender {
    stream: TcpStream,
    records: Stream,
    ear: Option<JoinHandle<Result<()>>>,
}

impl Sender {
    /// Sends some records, if the other side goes on, too.
    fn send(&mut self) -> Result<()> {
        for _ in 0..RECORDS {
            self.stream
                .write_all(&self.records.tell())
                .context("the connection has broken")?;
        }
        if let Some(ear) = self.ear.take_if(|ear| ear.is_finished()) {
            ear.join().map_err(|_| anyhow!("the ear has panicked"))??;
            bail!("nothing is heard any more");
        }
        Ok(())
    }
}

/// Takes the other side's records, and counts them, until the connection breaks.
fn hear(mut stream: TcpStream, count: Arc<AtomicU64>) -> JoinHandle<Result<()>> {
    thread::spawn(move || {
        let mut records = Stream::default();
        loop {
            let mut record = [0; LENGTH];
            match stream.read_exact(&mut record) {
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                read => read.context("the connection has broken")?,
            }
            records.take(&record)?;
            count.store(records.number(), Ordering::Relaxed);
        }
    })
}

/// How many connections this kernel has opened and accepted, and how many segments it has sent again.
fn counters(text: &str) -> Result<(u64, u64)> {
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next(), lines.next());
    let names = names.context("no counters of TCP")?.split(' ');
    let counters: Vec<_> = names.zip(values.context("no values")?.split(' ')).collect();
    let value = |wanted: &str| -> Result<u64> {
        let found = counters.iter().find(|(name, _)| *name == wanted);
        let (_, value) = found.with_context(|| format!("no counter {wanted}"))?;
        Ok(value.parse()?)
    };
    let opened = value("ActiveOpens")? + value("PassiveOpens")?;
    Ok((opened, value("RetransSegs")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected() -> (Sender, TcpStream) {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        let ear = hear(stream.try_clone().unwrap(), Arc::default());
        let records = Stream::default();
        let sender = Sender {
            stream,
            records,
            ear: Some(ear),
        };
        (sender, other)
    }

    /// Sends until that is an error.
    fn ends(mut sender: Sender) -> String {
        let why = std::iter::from_fn(|| Some(sender.send())).find_map(Result::err);
        format!("{:#}", why.unwrap())
    }

    #[test]
    fn a_connection_that_breaks_ends_the_guest() {
        let (sender, other) = connected();
        drop(other);
        assert!(ends(sender).contains("has broken"));
    }

    #[test]
    fn a_record_that_was_sent_twice_ends_the_guest() {
        let (sender, mut other) = connected();
        let record = Stream::default().tell();
        other.write_all(&[record, record].concat()).unwrap();
        // It is drained, so that the guest can send.
        let mut drain = other.try_clone().unwrap();
        thread::spawn(move || std::io::copy(&mut drain, &mut std::io::sink()));
        assert_eq!(ends(sender), "record 1 came after 1");
    }

    #[test]
    fn counters_are_found_by_their_names() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: ActiveOpens PassiveOpens RetransSegs\nTcp: 1 2 5\n";
        assert_eq!(counters(text).unwrap(), (3, 5));
        assert!(counters("Tcp: ActiveOpens\nTcp: 1\n").is_err());
        assert!(counters("").is_err());
    }
}
