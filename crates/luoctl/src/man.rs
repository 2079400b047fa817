// SPDX-License-Identifier: MIT OR Apache-2.0
//! Man pages, out of the definitions of the command lines.

use std::io;

use clap::Command;
use clap_mangen::Man;

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
    add(&mut pages, &command, section)?;
    Ok(pages)
}

fn add(pages: &mut Vec<(String, String)>, command: &Command, section: Section) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let name = name.to_owned();
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .collect();
    for subcommand in &subcommands {
        add(pages, subcommand, section)?;
    }
    let man = Man::new(command.clone())
        .section(section.number)
        .manual(section.manual)
        // A page has no date, so that it is the same for each build.
        .date("");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    pages.push((format!("{name}.{}", section.number), text));
    Ok(())
}
