// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands, a file each.

mod aftermath;
mod cancel;
mod check;
mod completions;
mod context;
mod dry;
mod finish;
mod fleet;
mod freeze;
mod graph;
mod history;
mod hold;
mod inspect;
mod kexec;
mod passed_on;
mod plan;
mod prepare;
mod pulse;
mod release;
mod schema;
mod sessions;
mod slot;
mod status;
mod target;
mod update;
mod vigil;
mod waiting;
mod watch;

use std::io;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::options::Options;
use crate::output::complain;
use context::Context;

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "what each says of itself stands on its arguments; a comment here would hide it"
)]
pub enum Command {
    Status(status::Args),
    Sessions(sessions::Args),
    Graph(graph::Args),
    Check(check::Args),
    Plan(plan::Args),
    Prepare(prepare::Args),
    Freeze(freeze::Args),
    Kexec(kexec::Args),
    Cancel(cancel::Args),
    Update(update::Args),
    #[command(subcommand)]
    Fleet(fleet::Command),
    Finish(finish::Args),
    Release(release::Args),
    Hold(hold::Hold),
    Take(hold::Take),
    History(history::Args),
    Watch(watch::Args),
    Inspect(inspect::Args),
    Completions(completions::Args),
    Schema(schema::Args),
}

/// Runs a command, and says how it ended. `definition` is that of the command line, for
/// completions.
#[must_use]
pub fn run(options: &Options, command: &Command, definition: fn() -> clap::Command) -> Exit {
    let mut context = Context::new(options, definition);
    // Nothing is begun whose outcome nobody could be told. What ends an update is done all the
    // same.
    if changes(command)
        && let Err(why) = context.out.is_there()
    {
        return unwritten(&why);
    }
    match dispatch(&mut context, command) {
        Ok(exit) => exit,
        Err(Failure::Output(why)) => unwritten(&why),
        Err(Failure::Told(told)) => {
            complain(format_args!("luoctl: {}", told.message));
            if let Some(next) = &told.next {
                complain(format_args!("  {next}"));
            }
            if context.json
                && let Err(why) = context.out.record(&told.document())
                && why.kind() != io::ErrorKind::BrokenPipe
            {
                complain(format_args!("luoctl: standard output: {why}"));
            }
            told.exit
        }
    }
}

/// The end of a command whose output could not be written. A reader that has closed its
/// pipe has read enough, so that is no error.
#[must_use]
pub fn unwritten(why: &io::Error) -> Exit {
    if why.kind() == io::ErrorKind::BrokenPipe {
        return Exit::Done;
    }
    complain(format_args!("luoctl: standard output: {why}"));
    Exit::Output
}

/// Whether a command does something, and writes what came of it.
fn changes(command: &Command) -> bool {
    matches!(
        command,
        Command::Prepare(_)
            | Command::Freeze(_)
            | Command::Kexec(_)
            | Command::Update(_)
            | Command::Fleet(_)
            | Command::Finish(_)
            | Command::Release(_)
            | Command::Hold(_)
            | Command::Take(_)
    )
}

fn dispatch(context: &mut Context, command: &Command) -> Result {
    match command {
        Command::Status(args) => status::run(context, args),
        Command::Sessions(args) => sessions::run(context, args),
        Command::Graph(args) => graph::run(context, args),
        Command::Check(args) => check::run(context, args),
        Command::Plan(args) => plan::run(context, args),
        Command::Prepare(args) => prepare::run(context, args),
        Command::Freeze(args) => freeze::run(context, args),
        Command::Kexec(args) => kexec::run(context, args),
        Command::Cancel(args) => cancel::run(context, args),
        Command::Update(args) => update::run(context, args),
        Command::Fleet(command) => fleet::run(context, command),
        Command::Finish(args) => finish::run(context, args),
        Command::Release(args) => release::run(context, args),
        Command::Hold(args) => hold::hold(context, args),
        Command::Take(args) => hold::take(context, args),
        Command::History(args) => history::run(context, args),
        Command::Watch(args) => watch::run(context, args),
        Command::Inspect(args) => inspect::run(context, args),
        Command::Completions(args) => completions::run(context, args),
        Command::Schema(args) => schema::run(context, args),
    }
}
