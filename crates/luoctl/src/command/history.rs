// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl history`

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use luo_varlink::{HistoryEntry, Outcome, admin, status};
use luod::journal::history::Past;
use luod::journal::notes::Notes;

use super::context::Context;
use crate::document::History;
use crate::exit::Exit;
use crate::failure::{Failure, Refusal, Result, Told};
use crate::output::{Paint, Tone, complain, json};
use crate::table::Table;
use crate::text::{date, plain, took_or_not_known};
use crate::timeline;

/// Updates that are looked through for one by its id: the agent gives no more.
const ALL: u32 = 1000;

/// What names the newest.
const LAST: &str = "last";

/// Lists the last updates, or shows the timeline of one.
///
/// One that is under way is the first. Those that failed or were cancelled are in it, with the
/// reason. Everybody may. If luod does not run, the history is read from the disk, which takes
/// root. Luod gives 4 MiB of it at most; the disk is read as far as one asks.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Shows all of one update: the beginning of its id, or `last`.
    #[arg(value_name = "UPDATE", value_parser = NonEmptyStringValueParser::new())]
    update: Option<String>,
    /// Lists so many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    most: u32,
    /// What to show the one update as; of a picture that is the last, if none is named.
    #[arg(long, short, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Writes to a file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Reads the disk, without luod.
    #[arg(long)]
    offline: bool,
    /// Luod's configuration, for where the history is if luod does not run.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG)]
    config: PathBuf,
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
    if context.json && matches!(args.format, Format::Svg) {
        return Err(Failure::new(
            Exit::Usage,
            "usage",
            "--json and --format svg: one of them".to_owned(),
        ));
    }
    let wanted = wanted(args);
    let most = match wanted {
        None => args.most,
        Some(LAST) => 1,
        Some(_) => ALL,
    };
    let (mut past, is_offline) = past(context, args, most)?;
    if let Some(id) = wanted.filter(|id| *id != LAST) {
        past.updates.retain(|entry| entry.update.starts_with(id));
        past.updates.truncate(2);
    }
    tell_gaps(args, &past, is_offline)?;
    if let Some(wanted) = wanted {
        one(wanted, &past.updates)?;
    }
    let newest = past.updates.first();
    let is_lost = newest.is_some_and(|newest| newest.outcome == Outcome::Lost);
    // All was told. Some of it may never be told again, or is no end that anybody wanted.
    let is_well =
        past.unwritten.is_none() && !is_lost && !is_unsure(&past) && past.unreadable.is_none();
    let text = text(context, args, past, is_offline)?;
    context.write(args.output.as_deref(), &text)?;
    Ok(match is_well {
        true => Exit::Done,
        false => Exit::Damaged,
    })
}

/// Which update is asked for. A picture is of one.
fn wanted(args: &Args) -> Option<&str> {
    let last = matches!(args.format, Format::Svg).then_some(LAST);
    args.update.as_deref().or(last)
}

/// Whether an update, or the end of one, may be missing.
fn is_unsure(past: &status::History) -> bool {
    past.unsure == Some(true)
}

/// Tells of what cannot be read, and of what is left out.
fn tell_gaps(args: &Args, past: &status::History, is_offline: bool) -> Result<()> {
    let (updates, problems) = (&past.updates, past.problems.as_deref().unwrap_or_default());
    if updates.is_empty() && !problems.is_empty() {
        return Err(nothing_readable(problems));
    }
    for problem in problems {
        complain(format_args!("luoctl: {}", plain(problem)));
    }
    if is_unsure(past) {
        complain(format_args!(
            "luoctl: an update, or the end of one, may be missing: the newest line, or what luod has \
             noted, cannot be read"
        ));
    }
    if let Some(why) = &past.unreadable {
        let told = record_unreadable(why);
        complain(format_args!("luoctl: {}", plain(&told.0)));
        complain(format_args!("  {}", told.1));
    }
    let is_cut = args.most > ALL && updates.len() >= ALL as usize && !is_offline;
    // One that was looked for and found is all that is wanted.
    if (past.left_out.is_some() || is_cut) && (wanted(args).is_none() || updates.is_empty()) {
        let count = past
            .left_out
            .map(|count| format!("{count} "))
            .unwrap_or_default();
        complain(format_args!(
            "luoctl: {count}older ones are not shown: luod's answer has no room for them\n  \
             the disk has them: `luoctl history --offline`, as root"
        ));
    }
    Ok(())
}

/// What is asked for: the list, one update, or all of it for programs.
fn text(context: &Context, args: &Args, past: status::History, is_offline: bool) -> Result<String> {
    let paint = match args.output {
        Some(_) => Paint(false),
        None => context.out.paint,
    };
    let is_unreadable = past.unreadable.is_some();
    Ok(match (wanted(args), past.updates.first(), args.format) {
        _ if context.json => json(&History {
            unsure: is_unsure(&past),
            updates: past.updates,
            problems: past.problems.unwrap_or_default(),
            left_out: past.left_out,
            unreadable: past.unreadable,
            offline: is_offline,
        })?,
        (Some(_), Some(entry), Format::Text) => timeline::render(entry, paint),
        (Some(_), Some(entry), Format::Svg) => timeline::svg(entry),
        (_, None, _) if is_unreadable => "the history has no update\n".to_owned(),
        (_, None, _) => "no update has been made\n".to_owned(),
        (None, Some(_), _) => list(&past.updates, is_unreadable, paint),
    })
}

/// What luod tells, or else what the disk has; and whether it is the latter.
fn past(context: &Context, args: &Args, most: u32) -> Result<(status::History, bool)> {
    let gone = match args.offline {
        true => None,
        false => match context.asks(|| context.status()) {
            Ok(mut status) => return Ok((context.asks(|| Ok(status.past(most)?))?, false)),
            Err(Failure::Told(told)) if told.exit == Exit::Unavailable => Some(told),
            Err(why) => return Err(why),
        },
    };
    let config = luod::command::config(&args.config).map_err(|why| {
        Failure::new(Exit::Config, "config", format!("{why:#}"))
            .next("it says where the history is; --config names another")
    })?;
    let folder = &config.state_directory;
    let _impatience = context.impatient_of(format!(
        "{} is not read yet: a long history takes its time, and a disk may hang",
        folder.display()
    ));
    let history = luod::journal::history::History::in_directory(folder);
    let is_there = history.is_there().map_err(|why| root_only(folder, &why))?;
    match gone {
        // Luod makes its folder when it starts for the first time.
        _ if !folder.is_dir() => return Err(no_folder(folder, gone.as_deref())),
        Some(told) if !is_there => return Err(Failure::Told(told)),
        Some(told) => complain(format_args!(
            "luoctl: {}\n  the history is read without it, from {}",
            told.message,
            folder.display()
        )),
        None => {}
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let past = history.last_of_all(most);
    let mut past = past.map_err(|why| root_only(folder, &why))?;
    let unwritten = noted(&context.folder, &mut past);
    past.updates.truncate(most);
    for entry in &mut past.updates {
        if let (false, Some(reason)) = (entry.outcome.is_over(), &mut entry.reason) {
            reason.push_str("; luod has not told what came of it");
        }
    }
    let past = status::History {
        updates: past.updates,
        problems: Some(past.problems),
        unwritten: (unwritten > 0).then_some(unwritten),
        left_out: None,
        unsure: past.is_unsure.then_some(true),
        unreadable: None,
    };
    Ok((past, true))
}

/// Adds what a luod of this boot could not write down; says how many updates that are.
fn noted(runtime: &Path, past: &mut Past) -> i64 {
    let noted = match Notes::left_behind(runtime) {
        Ok(noted) => noted,
        Err(why) => {
            let folder = runtime.display();
            let problem = format!("what luod has noted in {folder} cannot be read: {why}");
            past.problems.push(problem);
            past.is_unsure = true;
            return 0;
        }
    };
    let mut count = 0;
    for entry in noted {
        count += 1;
        past.problems.push(format!(
            "update {} is in luod's notes only, which end with this boot",
            entry.update
        ));
        past.put(entry);
    }
    count
}

/// Without luod, and there is nothing that a luod of this configuration has left.
fn no_folder(folder: &Path, gone: Option<&Told>) -> Failure {
    let message = format!(
        "{}{}, where the history would be, is not there",
        gone.map(|told| format!("{}; ", told.message))
            .unwrap_or_default(),
        folder.display()
    );
    Failure::new(Exit::Unavailable, "no-history", message).next(
        "if luod's configuration is elsewhere, --config names it; else luod has not run on this \
         machine: `systemctl start luod` (without systemd: `luod supervise`)",
    )
}

fn root_only(folder: &Path, why: &std::io::Error) -> Failure {
    let message = format!("the history in {}: {why}", folder.display());
    match why.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Permission, "permission", message)
                .next("without luod it is for root: run it as root")
        }
        _ => Failure::new(Exit::Damaged, "history", message),
    }
}

/// Nothing can be told, and that does not mean that nothing has happened.
fn nothing_readable(problems: &[String]) -> Failure {
    let first = problems.first().map(String::as_str).unwrap_or_default();
    Failure::new(Exit::Damaged, "history", plain(first))
        .next("updates may have been made; `journalctl -u luod` tells of them")
}

/// Checks that exactly one update fits.
fn one(wanted: &str, found: &[HistoryEntry]) -> Result<()> {
    let problem = match found {
        [_] => return Ok(()),
        // No list would have it.
        [] if wanted == LAST => {
            let message = "there is no update in the history";
            return Err(Failure::new(Exit::NotFound, "no-such-update", message));
        }
        [] => "there is no update",
        _ => "there are several updates",
    };
    let message = format!("{problem} '{}' in the history", plain(wanted));
    Err(Failure::new(Exit::NotFound, "no-such-update", message)
        .next("`luoctl history -n 1000` lists them"))
}

/// That the previous kernel's record cannot be read, and what to do.
fn record_unreadable(why: &str) -> (String, &'static str) {
    let refusal = admin::Error::Unreadable {
        reason: why.to_owned(),
    };
    let (_, _, next) = refusal.told();
    (refusal.to_string(), next.unwrap_or_default())
}

/// `is_unreadable` says whether the previous kernel's record cannot be read: nothing is under way
/// then.
fn list(updates: &[HistoryEntry], is_unreadable: bool, paint: Paint) -> String {
    let head = ["UPDATE", "BEGAN", "OUTCOME", ">TOOK", ">BLACKOUT", "REASON"];
    let mut table = Table::new(&head);
    for entry in updates {
        let reason = entry.reason.as_deref().unwrap_or_default();
        // Ids are random: some letters tell them apart.
        let id: String = entry.update.chars().take(8).collect();
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        let outcome = match entry.outcome.is_over() || !is_unreadable {
            true => timeline::words(entry.outcome),
            false => "not known".to_owned(),
        };
        table.row([
            (id, Tone::Plain),
            (date(entry.began_us), Tone::Plain),
            (outcome, timeline::tone(entry.outcome)),
            (took_or_not_known(entry.took_us), Tone::Plain),
            (
                match entry.blackout_us.is_some() || entry.lacks_its_blackout() {
                    true => took_or_not_known(entry.blackout_us),
                    false => "-".to_owned(),
                },
                Tone::Plain,
            ),
            (reason, Tone::Plain),
        ]);
    }
    table.render(paint)
}
