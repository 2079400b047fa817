// SPDX-License-Identifier: MIT OR Apache-2.0
//! Man pages, out of the definitions of the command lines.
//!
//! | file | what |
//! |---|---|
//! | `parts` | what stands on a page beside the command line, and how it is set |
//! | `ends` | that of each page |
//! | `exits` | how the programs end |
//! | `synopsis` | the line of a command in short, and the environment |
//! | `files` | the pages of the configuration files |
//! | `fleet` | what stands on the pages about fleets |

mod ends;
mod exits;
mod files;
mod fleet;
mod parts;
mod synopsis;

use std::io;

use clap::Command;
use clap::builder::Resettable;
use clap_mangen::Man;
use roff::Roff;

use ends::end;
use parts::{Entry, entries, examples, see_also, without_preamble};

/// The manual that a page belongs to, as its head says.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The number.
    pub number: &'static str,
    /// The manual's name.
    pub manual: &'static str,
}

/// Commands of users.
pub const USER: Section = Section {
    number: "1",
    manual: "User Commands",
};

/// Commands of the administrator and daemons.
pub const SYSTEM: Section = Section {
    number: "8",
    manual: "System Administration",
};

/// The pages of a command and of its subcommands: each a file's name and its text.
///
/// # Errors
/// There are none in practice, for the page is written to memory.
pub fn pages(command: Command, section: Section) -> io::Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    let mut command = command.disable_help_subcommand(true);
    command.build();
    // A package has one version, and the commands of a program have that.
    let version = command.get_version().unwrap_or_default();
    let source = format!("{} {version}", command.get_name());
    add(&mut pages, &command, section, &source, None)?;
    Ok(pages)
}

/// The pages of configuration files: each a file's name and its text.
#[must_use]
pub fn file_pages() -> Vec<(String, String)> {
    let fleet = fleet::FILES
        .iter()
        .map(|page| files::render(page, "luo-fleet"));
    let own = files::PAGES.iter().map(|page| files::render(page, "luod"));
    own.chain(fleet).collect()
}

fn add(
    pages: &mut Vec<(String, String)>,
    command: &Command,
    section: Section,
    source: &str,
    above: Option<&str>,
) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let name = name.to_owned();
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .collect();
    for subcommand in &subcommands {
        add(pages, subcommand, section, source, Some(&name))?;
    }
    // How it ends has a section of its own on a page.
    let command = command.clone();
    let command = command
        .after_help(Resettable::Reset)
        .after_long_help(Resettable::Reset);
    let man = Man::new(command.clone())
        .source(source)
        .section(section.number)
        .manual(section.manual)
        // A page has no date, so that it is the same for each build.
        .date("");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut text = synopsis::put(
        &String::from_utf8_lossy(&text),
        &name_as_typed(&command),
        &command,
    );
    text += &rest(&command, &name, above, section);
    pages.push((format!("{name}.{}", section.number), text));
    Ok(())
}

/// A command with those above it, as somebody types it.
fn name_as_typed(command: &Command) -> String {
    command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_owned()
}

/// The configuration that a command reads, if it reads one.
fn configuration(command: &Command) -> &'static [Entry] {
    let mut arguments = command.get_arguments();
    let config = arguments.find(|argument| argument.get_long() == Some("config"));
    let default = config.and_then(|config| config.get_default_values().first());
    match default.and_then(|path| path.to_str()) {
        Some(luod::command::CONFIG) => &[(
            luod::command::CONFIG,
            "luod's configuration, if `--config` names no other, see luod.toml(5).",
        )],
        Some(fleet::CONFIG) => &[(
            fleet::CONFIG,
            "luo-fleet's configuration, if `--config` names no other, see luo-fleet.toml(5).",
        )],
        _ => &[],
    }
}

/// What follows after the command line.
fn rest(command: &Command, name: &str, above: Option<&str>, section: Section) -> String {
    let end = fleet::end(name).unwrap_or_else(|| end(name));
    let mut page = Roff::new();
    exits::section(&mut page, name);
    synopsis::environment(&mut page, command);
    entries(&mut page, "SIGNALS", end.signals);
    let files = match end.files {
        [] => configuration(command),
        files => files,
    };
    entries(&mut page, "FILES", files);
    examples(&mut page, end.examples);
    let above = above.map(|above| format!("{above}({})", section.number));
    let mut see: Vec<_> = above.into_iter().collect();
    see.extend(end.see.iter().map(|&name| name.to_owned()));
    // Whoever reads of luoctl looks for the agent, too.
    if name.starts_with("luoctl") {
        see.push("luod(8)".to_owned());
    }
    if !see.is_empty() {
        see_also(&mut page, &see);
    }
    without_preamble(&page.render()).to_owned()
}
