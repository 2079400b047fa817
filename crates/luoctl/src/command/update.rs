// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl update`

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use luo_client::agent::Error;
use luo_varlink::{Phase, Target, TimelineEvent};

use super::context::Context;
use super::vigil::Vigil;
use super::waiting::Waiting;
use super::{aftermath, dry, slot, target};
use crate::document::Line;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::holder;
use crate::interrupt::Cancels;
use crate::timeline::{self, Since};

/// All of an update: check, prepare, freeze, jump.
///
/// It writes each line of the timeline as it happens. Where standard input is a terminal it says
/// before what will happen, and asks, wherever its output goes; not with `--yes` or `--json`. The
/// connection ends with the jump, which is success, unless a luod is there again within some
/// seconds and says that there was none. ^C has luod cancel, and is answered; ^C once
/// more does not wait for the answer. If luoctl ends by anything else, a lost terminal say, the
/// update goes on; `luoctl cancel` ends it. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// Writes a picture of the update (SVG) to this file when it is over, after the jump too.
    /// luod does, so the path is absolute, and luod's unit has to allow it: it does so for
    /// /var/lib/luod. A file that is there and no such picture is not replaced, and there is no
    /// update.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Does not ask. Where standard input is no terminal, and with `--json`, nobody is asked
    /// anyhow.
    #[arg(long, short)]
    yes: bool,
    /// Takes a slot of the fleet before anything is begun, and waits until there is one: what it
    /// waits for is told on standard error. If no server can be asked, there is no update.
    /// `luoctl fleet keep` gives the slot back (luod.toml, [fleet]).
    #[arg(long)]
    fleet: bool,
    /// Asks for the slot once, and ends with exit status 1 if there is none now.
    #[arg(long, requires = "fleet")]
    no_wait: bool,
    /// Luod's configuration, with --fleet.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG, requires = "fleet")]
    config: PathBuf,
}

impl Args {
    fn report(&self) -> Result<Option<&str>> {
        let Some(path) = &self.report else {
            return Ok(None);
        };
        match path.to_str().filter(|_| path.is_absolute()) {
            Some(text) => Ok(Some(text)),
            None => {
                let message = format!("{}: it has to be an absolute path", path.display());
                Err(Failure::new(Exit::Usage, "usage", message).next(
                    "luod writes the report, in the next kernel; /var/lib/luod is where it may",
                ))
            }
        }
    }
}

/// How far an update has come.
#[derive(Default)]
struct Seen {
    began_us: Option<u64>,
    update: Option<String>,
    phase: Option<Phase>,
    /// Why nothing can be written any more. The update goes on, and is waited for.
    unwritten: Option<io::Error>,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let target = args.target.target()?;
    let report = args.report()?;
    if context.dry_run {
        return dry::update(context, &target);
    }
    let somebody = Somebody::at_a_terminal().filter(|_| !args.yes && !context.json);
    if let Some(mut somebody) = somebody {
        match dry::update(context, &target)? {
            Exit::Done => {}
            refused => return Ok(refused),
        }
        if !somebody.agrees(context)? {
            context.out.line("nothing was done")?;
            return Ok(Exit::Refused);
        }
    }
    if !args.fleet {
        return go(context, &target, report);
    }
    let slot = slot::take(context, &args.config, &target, args.no_wait)?;
    let done = go(context, &target, report);
    if let Err(why) = &done {
        slot::give_back(slot, why);
    }
    done
}

/// Has luod update, and tells each line.
fn go(context: &mut Context, target: &Target, report: Option<&str>) -> Result {
    let mut admin = context.admin_awake()?;
    let cancels = Cancels::on_interrupt(&context.folder)?;
    let mut seen = Seen::default();
    let waiting = Waiting::begin(context);
    let vigil = Vigil::begin(context);
    for event in admin.update_with_report(target, report)? {
        waiting.heard();
        match event {
            Ok(event) => seen.tell(context, event),
            Err(Error::AgentGone) if seen.phase == Some(Phase::Jumping) => break,
            Err(Error::AgentGone) => return Err(seen.lost()),
            Err(why) => return Err(Failure::from(holder::named(why)).of_an_update()),
        }
    }
    drop((waiting, vigil));
    // If the timeline has ended without a line of a jump, the machine has not jumped.
    if seen.phase != Some(Phase::Jumping) {
        return Err(seen.lost());
    }
    let Some(unwritten) = seen.unwritten else {
        return aftermath::tell(context, &cancels, seen.update);
    };
    context.out.nobody_reads();
    match aftermath::tell(context, &cancels, seen.update)? {
        Exit::Done => Err(unwritten.into()),
        other => Ok(other),
    }
}

/// Who can be asked: whose answers come from a terminal.
enum Somebody {
    /// The output is a terminal, too.
    Here,
    /// The output goes elsewhere, to `tee` for example: this is the terminal.
    Beside(File),
}

impl Somebody {
    fn at_a_terminal() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        if io::stdout().is_terminal() {
            return Some(Self::Here);
        }
        let terminal = File::options().write(true).open("/dev/tty");
        terminal.ok().map(Self::Beside)
    }

    /// Asks whoever has seen what will happen.
    fn agrees(&mut self, context: &mut Context) -> Result<bool> {
        const QUESTION: &str = "\nthe machine jumps into another kernel; go on? [y/N] ";
        match self {
            Self::Here => context.out.text(QUESTION)?,
            Self::Beside(terminal) => terminal.write_all(QUESTION.as_bytes())?,
        }
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        let answer = answer.trim().to_lowercase();
        Ok(matches!(answer.as_str(), "y" | "yes"))
    }
}

impl Seen {
    fn tell(&mut self, context: &mut Context, event: TimelineEvent) {
        self.phase = Some(event.phase);
        if !event.update.is_empty() {
            self.update = Some(event.update.clone());
        }
        let began = *self.began_us.get_or_insert(event.time_us);
        if self.unwritten.is_some() {
            return;
        }
        let told = if context.json {
            context.out.record(&Line::Event(event))
        } else {
            let line = timeline::line(&event, Since::Moment(began), context.out.paint);
            context.out.line(line)
        };
        self.unwritten = told.err();
    }

    /// The agent was lost, and had not said that it jumps.
    fn lost(&self) -> Failure {
        let phase = self.phase.map_or("it had begun", |phase| phase.word());
        let message =
            format!("the connection to luod was lost; the last that it said was: {phase}");
        Failure::new(Exit::Unavailable, "agent-gone", message).next(
            "if luod has ended, the update is cancelled when it starts again; `luoctl history` \
             says what came of it, and where it has nothing of it, nothing was begun",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The history has nothing of an update that luod died before.
    #[test]
    fn where_luod_was_lost_before_it_said_anything_the_history_may_have_nothing() {
        let Failure::Told(told) = Seen::default().lost() else {
            panic!("it is no fault of the output");
        };
        assert!(told.message.ends_with("was: it had begun"), "{told:?}");
        let next = told.next.unwrap();
        assert!(
            next.ends_with("where it has nothing of it, nothing was begun"),
            "{next}"
        );
    }
}
