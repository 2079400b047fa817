// SPDX-License-Identifier: MIT OR Apache-2.0
//! All checks of an update, made from all facts.

use std::path::Path;

use luo_varlink::Check;

use crate::abi::Abi;
use crate::file::{Facts, Kind};
use crate::image::{Error, Image};
use crate::initrd::{Archive, Unusable};
use crate::memfds::Memfds;
use crate::memory::{self, Need};
use crate::running::{self, Running};
use crate::{command_line, dangers, file, guest_clock, initrd, scratch, small, target};

/// An update that is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The running kernel.
    pub running: &'a Running,
    /// The formats that it hands over.
    pub abi: &'a Abi,
    /// The file handlers that it has, by their formats; `None` if it does not say.
    pub handlers: Option<&'a [String]>,
    /// Where the kernel to jump into is, for messages.
    pub path: &'a Path,
    /// The kernel to jump into.
    pub image: Result<&'a Image, &'a Error>,
    /// Its initrd, if it gets one.
    pub initrd: Result<Option<&'a Archive>, &'a Unusable>,
    /// The command line that it gets.
    pub command_line: &'a str,
    /// Those of [`dangers::paths`] of the line that counts ([`command_line::of`]) that are not
    /// there: see [`crate::system::System::missing`].
    pub missing: &'a [String],
    /// Those that lead to a shell: see [`crate::system::System::shells`].
    pub shells: &'a [String],
    /// The files that are going to be preserved and are not yet, each with a name for
    /// messages.
    pub files: &'a [(String, Facts)],
}

/// All checks, in the order in which a reader wants them.
#[must_use]
pub fn checks(update: &Update<'_>) -> Vec<Check> {
    let contents = update.image.ok().map(|image| &image.contents);
    let memfds = Memfds::of(update.handlers, contents);
    let mut checks = running::checks(update.running);
    if memfds.exactly() == Some(true) {
        // What must not be executed comes back as it was.
        checks.retain(|check| check.name != running::MEMFDS);
    }
    checks.extend(target::checks(
        update.path,
        update.image,
        update.running,
        update.abi,
    ));
    checks.extend(memfds.check());
    checks.extend(command_line::checks(update.command_line, update.image.ok()));
    let line = command_line::of(update.command_line, update.image.ok());
    checks.extend(dangers_of(update, &line));
    checks.extend(guest_clock::check(update.running.clock, &line));
    checks.extend(initrd::check(update.initrd, update.image.ok()));
    let initrd_bytes = match update.initrd {
        Ok(Some(archive)) => archive.bytes,
        Ok(None) | Err(_) => 0,
    };
    let mut need = Need::default();
    if let Ok(image) = update.image {
        checks.push(scratch::check(&update.running.scratch, image, initrd_bytes));
        need.image = Some(Need::of_image(
            image.file_bytes,
            image.boot.memory_bytes,
            initrd_bytes,
        ));
    }
    for (name, facts) in update.files {
        checks.extend(file::checks(
            name,
            facts,
            &update.running.memory,
            update.handlers,
            memfds,
        ));
        let own = match facts.kind {
            Kind::Small(small) => Some(small),
            Kind::HugeTlb => Some(&small::HUGE),
            _ => None,
        };
        checks.extend(own.and_then(|own| own.target_check(name, contents)));
    }
    let (files, same) = file::together(update.files, memfds);
    checks.extend(same);
    need.files = files;
    checks.extend(memory::check(&update.running.memory, need));
    checks
}

/// The dangers of the line that counts. What of it nobody has named is the target's own.
fn dangers_of(update: &Update<'_>, line: &str) -> Vec<Check> {
    let look = |line: &str| {
        dangers::checks(
            line,
            update.running,
            update
                .image
                .ok()
                .and_then(|image| image.contents.banner.as_deref()),
            update.missing,
            update.shells,
        )
    };
    let named = look(update.command_line);
    let mut found = look(line);
    for check in found.iter_mut().filter(|check| !named.contains(check)) {
        check
            .found
            .push_str(" (it is built into the target: CONFIG_CMDLINE)");
        let remedy = "build the target with another CONFIG_CMDLINE, or jump into another kernel";
        check.remedy = Some(remedy.to_owned());
    }
    found
}
