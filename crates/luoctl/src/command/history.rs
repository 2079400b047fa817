// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl history`

use std::path::PathBuf;

use clap::ValueEnum;
use luo_varlink::HistoryEntry;

use super::context::Context;
use crate::document::History;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::{Paint, Tone, complain, json};
use crate::table::Table;
use crate::text::{date, plain, took};
use crate::timeline;

/// Updates that are looked through for one by its id: the agent gives no more.
const ALL: u32 = 1000;

/// Lists the last updates, or shows the timeline of one. Everybody may.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Shows all of one update: the beginning of its id, or `last`.
    #[arg(value_name = "UPDATE")]
    update: Option<String>,
    /// Lists so many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    most: u32,
    /// What to show the one update as.
    #[arg(
        long,
        short,
        value_enum,
        default_value_t,
        requires = "update",
        conflicts_with = "json"
    )]
    format: Format,
    /// Writes to a file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// Lines.
    #[default]
    Text,
    /// A picture, for any browser.
    Svg,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let paint = match args.output {
        Some(_) => Paint(false),
        None => context.out.paint,
    };
    let mut status = context.status()?;
    let most = match args.update.as_deref() {
        None => args.most,
        Some("last") => 1,
        Some(_) => ALL,
    };
    let past = status.past(most)?;
    let is_kept = past.unwritten.is_none();
    let (mut updates, problems) = (past.updates, past.problems.unwrap_or_default());
    if let Some(id) = args.update.as_deref().filter(|id| *id != "last") {
        updates.retain(|entry| entry.update.starts_with(id));
        updates.truncate(2);
    }
    if updates.is_empty() && !problems.is_empty() {
        return Err(unreadable(&problems));
    }
    for problem in &problems {
        complain(format_args!("luoctl: {}", plain(problem)));
    }
    if let Some(wanted) = &args.update {
        one(wanted, &updates)?;
    }
    let text = match (&args.update, updates.first(), args.format) {
        _ if context.json => json(&History { updates, problems })?,
        (Some(_), Some(entry), Format::Text) => timeline::render(entry, paint),
        (Some(_), Some(entry), Format::Svg) => timeline::svg(entry),
        (_, None, _) => "no update has been made\n".to_owned(),
        (None, Some(_), _) => list(&updates, paint),
    };
    context.write(args.output.as_deref(), &text)?;
    Ok(match is_kept {
        true => Exit::Done,
        // All was told, and some of it may never be told again.
        false => Exit::Damaged,
    })
}

/// Nothing can be told, and that does not mean that nothing has happened.
fn unreadable(problems: &[String]) -> Failure {
    let first = problems.first().map(String::as_str).unwrap_or_default();
    Failure::new(Exit::Damaged, "history", plain(first))
        .next("updates may have been made; `journalctl -u luod` tells of them")
}

/// Checks that exactly one update fits.
fn one(wanted: &str, found: &[HistoryEntry]) -> Result<()> {
    let problem = match found {
        [_] => return Ok(()),
        [] => "there is no update",
        _ => "there are several updates",
    };
    let message = format!("{problem} '{}' in the history", plain(wanted));
    Err(Failure::new(Exit::NotFound, "no-such-update", message)
        .next("`luoctl history -n 1000` lists them"))
}

fn list(updates: &[HistoryEntry], paint: Paint) -> String {
    let head = ["UPDATE", "BEGAN", "OUTCOME", ">TOOK", ">BLACKOUT", "REASON"];
    let mut table = Table::new(&head);
    for entry in updates {
        let reason = entry.reason.as_deref().unwrap_or_default();
        // Ids are random: some letters tell them apart.
        let id: String = entry.update.chars().take(8).collect();
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        table.row([
            (id, Tone::Plain),
            (date(entry.began_us), Tone::Plain),
            (entry.outcome.to_string(), timeline::tone(entry.outcome)),
            (took(entry.took_us), Tone::Plain),
            (
                entry.blackout_us.map_or_else(|| "-".to_owned(), took),
                Tone::Plain,
            ),
            (reason, Tone::Plain),
        ]);
    }
    table.render(paint)
}
