// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that goes on running through kexecs: QEMU's `edu`, whose driver is
//! `lib/tests/luo_edu` of the kernel's overlay. It brings bytes into memory a tenth of a second
//! after it was told to.
//!
//! ```text
//! luo_edu0  goes along      luo_edu1  does not      luo_edu2  goes along, behind a bridge
//! ```

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use luo_conformance::check::refused_file;
use luo_conformance::forge::{self, Fault, ODD};
use luo_sys::{Errno, Needed, Session, Token};

use crate::check::{Suite, device, name, refused, same};
use crate::fill::Prng;
use crate::init::Guest;
use crate::{kexec, kmsg, port};

const SUITE: Suite = Suite::new("device");
const SESSION: &str = "device";

/// Those that go along, by their numbers, which are their tokens, too; and the other one.
const GOING: [u32; 2] = [0, 2];
const OTHER: u32 = 1;

/// What the kernel says when it finds one of them, or a bridge above one.
const FOUND: &str = "has been running since the previous kernel";

/// Goes through four kernels.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    match guest.boot {
        0 => {
            before();
            leave(guest, |_| Ok(()))
        }
        1 => {
            let session = after()?;
            SUITE.case("finished-is-like-all-others", || Ok(session.finish()?));
            drop(session);
            leave(guest, |_| Ok(()))
        }
        2 => {
            SUITE.case("nobody-takes-it-back", nobody_takes_it_back);
            leave(guest, |_| {
                let path = "/sys/module/luo_forge/parameters/damage_pci";
                fs::write(path, "1").context(path)
            })
        }
        _ => {
            SUITE.case("damaged-table-is-refused", damaged);
            Ok(())
        }
    }
}

/// An open device.
struct Edu {
    file: File,
    number: u32,
}

impl Edu {
    fn open(number: u32) -> Result<Self> {
        let file = Self::try_open(number).with_context(|| format!("luo_edu{number}"))?;
        Ok(Self { file, number })
    }

    fn try_open(number: u32) -> std::io::Result<File> {
        let path = format!("/dev/luo_edu{number}");
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn token(&self) -> Token {
        Token(self.number.into())
    }

    /// Bytes into the device's buffer.
    fn fill(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(bytes, 0)
    }

    fn mark(&self, mark: u32) -> Result<()> {
        let marked = self.file.write_all_at(&mark.to_ne_bytes(), 4096);
        marked.context("marking it")
    }

    /// Has so many bytes of its buffer come into memory.
    fn fetch(&self, length: usize) -> Result<()> {
        let told = self.file.write_all_at(&(length as u32).to_ne_bytes(), 8192);
        told.context("having it fetch")
    }

    /// Asserts what is in memory once the device does nothing.
    fn holds(&self, bytes: &[u8]) -> Result<()> {
        let mut seen = vec![0; bytes.len()];
        self.file.read_exact_at(&mut seen, 0).context("reading")?;
        ensure!(seen == bytes, "the bytes are not those that were to come");
        Ok(())
    }

    /// What the driver says of it.
    fn says(&self, what: &str) -> Result<u32> {
        let path = format!("/proc/self/fdinfo/{}", self.file.as_raw_fd());
        let text = fs::read_to_string(&path).context(path)?;
        let prefix = format!("edu-{what}:");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        let number = line.with_context(|| format!("it does not say {what}: {text}"))?;
        Ok(number.trim().parse()?)
    }

    /// Asserts that it does all it can, with an interrupt for each of two things.
    fn works(&self) -> Result<()> {
        let before = self.says("interrupts")?;
        let bytes = bytes(0x77, self.number);
        self.fill(&bytes).context("filling its buffer")?;
        self.fetch(bytes.len())?;
        self.holds(&bytes)?;
        same("interrupts", self.says("interrupts")?, before + 2)
    }
}

/// The most that a device brings at once, which is not all of its buffer of 4096 bytes: QEMU aborts
/// where a transfer ends at the buffer's end.
const MOST: usize = 4088;

/// So many, different ones for each kernel and each device.
fn bytes(boot: u32, number: u32) -> Vec<u8> {
    let mut prng = Prng::of(&[0xed, boot.into(), number.into()]);
    (0..MOST / 8)
        .flat_map(|_| prng.next_u64().to_ne_bytes())
        .collect()
}

fn mark_of(boot: u32, number: u32) -> u32 {
    0x5eed_0000 | boot << 8 | number
}

/// A session with those that go along.
fn preserved() -> Result<(Session, [Edu; 2])> {
    let session = device()?.create_session(&name(SESSION))?;
    let edus = [Edu::open(GOING[0])?, Edu::open(GOING[1])?];
    for edu in &edus {
        session.preserve_fd(&edu.file, edu.token())?;
    }
    Ok((session, edus))
}

/// Before the first jump.
fn before() {
    SUITE.case("works", || {
        let all = [GOING[0], OTHER, GOING[1]];
        all.iter()
            .try_for_each(|&number| Edu::open(number)?.works())
    });
    SUITE.case("one-session-at-a-time", || {
        let (_session, [edu, _]) = preserved()?;
        let other = device()?.create_session(&name("other"))?;
        // Another open file of the same device.
        let same = Edu::open(edu.number)?;
        refused(other.preserve_fd(&same.file, Token(9)), Errno::EBUSY)
    });
    SUITE.case("let-go-of-with-its-session", || {
        let (session, edus) = preserved()?;
        drop(session);
        edus[0].works()?;
        preserved().map(drop)
    });
    SUITE.case("cancel-leaves-it-working", || {
        let (_session, edus) = preserved()?;
        let device = device()?;
        device.prepare()?;
        device.freeze()?;
        // This kernel has done its last with it.
        refused_file(edus[0].fill(&[1]), Errno::EBUSY)?;
        device.cancel()?;
        edus.iter().try_for_each(Edu::works)
    });
    SUITE.case("veto-leaves-it-working", || {
        let (session, edus) = preserved()?;
        let device = device()?;
        // What vetoes is frozen last.
        let vetoes = forge::open()?;
        session.preserve_fd(&vetoes, Token(3))?;
        session.add_dependency(edus[0].token(), Needed::Here(Token(3)))?;
        session.add_dependency(edus[1].token(), Needed::Here(Token(3)))?;
        device.prepare()?;
        let fault = Fault::Freeze(ODD).inject()?;
        refused(device.freeze(), ODD)?;
        drop(fault);
        edus.iter().try_for_each(Edu::works)
    });
}

/// Tells all devices to bring bytes, and jumps.
fn leave(guest: &Guest, last: impl FnOnce(&[Edu]) -> Result<()>) -> Result<()> {
    let (_session, going) = preserved()?;
    let other = Edu::open(OTHER)?;
    let all = || going.iter().chain([&other]);
    for edu in all() {
        edu.mark(mark_of(guest.boot, edu.number))?;
        edu.fill(&bytes(guest.boot, edu.number))?;
    }
    kexec::load(guest, |_, _| ())?;
    last(&going)?;
    port::flush();
    for edu in all() {
        edu.fetch(MOST)?;
    }
    Err(kexec::jump()).context("the kexec was refused")
}

/// How many devices and bridges the kernel has found as they were left.
fn found() -> Result<usize> {
    let messages = kmsg::Reader::from_boot()?.read()?;
    let lines = messages.iter().filter(|line| line.text.contains(FOUND));
    let lines: Vec<_> = lines.map(|line| line.text.as_str()).collect();
    for line in &lines {
        ensure!(line.ends_with("bus mastering is on"), "{line}");
    }
    Ok(lines.len())
}

/// In the kernel after the first jump, from boot 0.
fn after() -> Result<Session> {
    // With the bridge.
    SUITE.case("left-as-they-were", || same("found", found()?, 3));
    SUITE.case("for-nobody-before", || {
        let mut all = GOING.iter();
        all.try_for_each(|&number| refused_file(Edu::try_open(number), Errno::EBUSY))
    });
    let session = device()?.retrieve_session(&name(SESSION))?;
    for number in GOING {
        let place = if number == 0 { "" } else { "-behind-a-bridge" };
        let case = |what: &str| format!("{what}{place}");
        let file = match session.retrieve_fd(Token(number.into())) {
            Ok(fd) => File::from(fd),
            Err(error) => bail!("luo_edu{number} does not come back: {error}"),
        };
        let edu = Edu { file, number };
        SUITE.case(case("not-reset"), || {
            same("the mark", edu.says("mark")?, mark_of(0, number))?;
            same("bus mastering", edu.says("mastering")?, 1)?;
            same("arrived", edu.says("arrived")?, 1)
        });
        SUITE.case(case("finished-while-away"), || {
            same("away", edu.says("away")?, 1)?;
            same("running", edu.says("running")?, 0)?;
            edu.holds(&bytes(0, number))
        });
        SUITE.case(case("interrupt-taken-over"), || {
            same("interrupts", edu.says("interrupts")?, 1)
        });
        SUITE.case(case("interrupt-works-again"), || edu.works());
    }
    SUITE.case("other-is-reset", || {
        let edu = Edu::open(OTHER)?;
        same("the mark", edu.says("mark")?, 0)?;
        same("bus mastering", edu.says("mastering")?, 0)?;
        same("arrived", edu.says("arrived")?, 0)?;
        same("interrupts", edu.says("interrupts")?, 0)?;
        edu.works()
    });
    Ok(session)
}

/// A session is finished, and nobody has asked for its devices.
fn nobody_takes_it_back() -> Result<()> {
    let session = device()?.retrieve_session(&name(SESSION))?;
    refused_file(Edu::try_open(GOING[0]), Errno::EBUSY)?;
    session.finish()?;
    for number in GOING {
        let edu = Edu::open(number)?;
        same("the mark", edu.says("mark")?, 0)?;
        edu.works()?;
    }
    Ok(())
}

/// It is not known any more which devices have been running: all are stopped.
fn damaged() -> Result<()> {
    same("found", found()?, 0)?;
    let messages = kmsg::Reader::from_boot()?.read()?;
    let told = messages.iter().any(|line| {
        line.is_luo() && line.text.contains("luo-pci-v1") && line.text.contains("checksum")
    });
    ensure!(told, "the log does not say that the table is refused");
    let session = device()?.retrieve_session(&name(SESSION))?;
    for number in GOING {
        let edu = Edu::open(number)?;
        same("the mark", edu.says("mark")?, 0)?;
        refused(session.retrieve_fd(edu.token()), Errno::EINVAL)?;
    }
    session.finish()?;
    GOING
        .iter()
        .try_for_each(|&number| Edu::open(number)?.works())
}
