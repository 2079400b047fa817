// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both guests as workloads of an agent, with a cable between their QEMUs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use luo_lab_protocol::LINUX_DIR;
use luo_scenes::stage::within;

use super::memory::PIECES;
use super::said::{self, Tick};
use super::view::View;
use super::{Side, init};
use crate::machine::Machine;
use crate::monitor::archive;
use crate::patience::PATIENCE;

/// What Linux needs for itself, the pattern, and room.
const MEMORY: &str = "192M";

/// What a guest's kernel is told: to be quiet, so that its lines do not fall into those of the guest's
/// program. A word that it does not know would be an argument of that program.
const LINE: &str = "console=ttyS0 quiet loglevel=3";

/// Bytes at the end of what a guest has said in which there is a whole tick.
const TAIL: u64 = 1024;

/// Lines that are shown of a guest with which something is wrong.
const LINES: usize = 60;

/// Both, in one boot of their host.
pub struct Pair {
    guests: [Machine; 2],
    /// How many ticks each had said when this boot began.
    before: [usize; 2],
}

impl Pair {
    /// Has a machine keep what belongs to them, before it begins.
    pub fn keep(machine: &mut Machine) {
        for side in Side::BOTH {
            machine.keep_beside(side.name());
        }
    }

    /// Starts both on a machine that has begun, or has them go on.
    ///
    /// # Errors
    /// The machine has no Linux for them, or one cannot be started.
    pub fn start(machine: &Machine) -> Result<Self> {
        let initrd = machine.path("initrd");
        fs::write(&initrd, archive()?)?;
        let guests = [
            machine.beside(Side::Server.name())?,
            machine.beside(Side::Client.name())?,
        ];
        let mut pair = Self {
            guests,
            before: [0; 2],
        };
        pair.before = [
            pair.ticks(Side::Server)?.len(),
            pair.ticks(Side::Client)?.len(),
        ];
        for (side, guest) in Side::BOTH.into_iter().zip(&mut pair.guests) {
            guest.memory = MEMORY;
            guest.boots_by_itself();
            guest.extra = arguments(side, machine.path("").as_path(), &initrd);
            guest.start()?;
        }
        Ok(pair)
    }

    /// One of them.
    #[must_use]
    pub const fn guest(&self, side: Side) -> &Machine {
        let [server, client] = &self.guests;
        match side {
            Side::Server => server,
            Side::Client => client,
        }
    }

    /// All that one has said, each tick as it has to be.
    ///
    /// # Errors
    /// One is not.
    pub fn ticks(&self, side: Side) -> Result<Vec<Tick>> {
        let path = self.guest(side).path("serial");
        let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        said::read(&text).with_context(|| side.name())
    }

    /// Waits until the agent has both.
    ///
    /// # Errors
    /// It does not.
    pub fn run(&self) -> Result<()> {
        self.guests.iter().try_for_each(Machine::runs)
    }

    /// Waits until both have gone on: each has read all of its memory, and has heard all that the other one had
    /// sent before this. What they have found in memory is right.
    ///
    /// # Errors
    /// One does not go on, or something is wrong.
    pub fn go_on(&self) -> Result<()> {
        let begun = [self.ticks(Side::Server)?, self.ticks(Side::Client)?];
        let sent = begun
            .each_ref()
            .map(|ticks| ticks.last().map_or(0, |tick| tick.sent));
        let [by_server, by_client] = sent;
        for (side, begun, due) in [
            (Side::Server, &begun[0], by_client),
            (Side::Client, &begun[1], by_server),
        ] {
            let guest = self.guest(side);
            let number = begun.len() as u64 + PIECES + 1;
            let what = format!("tick {number} of the {}, with record {due}", side.name());
            let came = within(PATIENCE, &what, || {
                guest.lives()?;
                let last = last(&guest.path("serial"))?;
                Ok(last.is_some_and(|last| last.number >= number && last.received > due))
            });
            // Why one does not go on is often told by the other one.
            came.with_context(|| Side::BOTH.map(|side| self.said(side)).concat())?;
            let ticks = self.ticks(side)?;
            said::prove(ticks.get(begun.len()..).unwrap_or_default())
                .with_context(|| side.name())?;
        }
        Ok(())
    }

    /// The end of what one has said, and what luo-qemu has said of it.
    fn said(&self, side: Side) -> String {
        let guest = self.guest(side);
        let said = fs::read(guest.path("serial")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().collect();
        let end = lines
            .get(lines.len().saturating_sub(LINES)..)
            .unwrap_or_default();
        format!(
            "the {}:\n{}\n{}\n",
            side.name(),
            end.join("\n"),
            guest.log()
        )
    }

    /// What both have seen of the jump into this boot.
    ///
    /// # Errors
    /// What one has said is not right, or it has said nothing before or since.
    pub fn views(&self) -> Result<[View; 2]> {
        let view = |side: Side, before: usize| -> Result<View> {
            let ticks = self.ticks(side)?;
            let view = View::of(side, &ticks, before);
            view.with_context(|| format!("the {} saw no jump", side.name()))
        };
        let [server, client] = self.before;
        Ok([view(Side::Server, server)?, view(Side::Client, client)?])
    }

    /// Ends both.
    ///
    /// # Errors
    /// One cannot be ended.
    pub fn end(&self) -> Result<()> {
        self.guests.iter().try_for_each(Machine::end_guest)
    }
}

/// The initramfs of both: this program, and the modules.
fn archive() -> Result<Vec<u8>> {
    let folder = Path::new(LINUX_DIR).join("modules");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| anyhow::anyhow!("{}", name.display()))?;
        files.push((name, fs::read(entry.path())?));
    }
    ensure!(!files.is_empty(), "no modules are in {}", folder.display());
    files.sort();
    Ok(archive::with(&fs::read("/proc/self/exe")?, &files))
}

/// What QEMU is told of a guest, whose cables are in a folder.
fn arguments(side: Side, folder: &Path, initrd: &Path) -> Vec<String> {
    let cable = |side: Side| folder.join(side.name()).join("net").display().to_string();
    let network = format!(
        "dgram,id=n,local.type=unix,local.path={},remote.type=unix,remote.path={}",
        cable(side),
        cable(side.other())
    );
    let card = format!("virtio-net-pci,netdev=n,mac={},romfile=", side.card());
    let line = format!("{LINE} -- {} {}", init::ARGUMENT, side.name());
    [
        ("-kernel", format!("{LINUX_DIR}/vmlinuz")),
        ("-initrd", initrd.display().to_string()),
        ("-append", line),
        ("-netdev", network),
        ("-device", card),
    ]
    .into_iter()
    .flat_map(|(option, value)| [option.to_owned(), value])
    .collect()
}

/// The last tick in a file, which is not read whole: it is looked at again and again, and grows.
fn last(path: &Path) -> Result<Option<Tick>> {
    let Ok(mut file) = File::open(path) else {
        return Ok(None);
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    said::last(&tail)
}
