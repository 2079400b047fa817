// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl fleet`

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use clap::Subcommand;
use luo_fleetlock::client::{Client, Settings};
use luo_fleetlock::status::{Fleet, HostState};

use super::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::fleet::keep::{Keeper, Step};
use crate::fleet::settings::{self, failed};
use crate::fleet::store::Store;
use crate::output::{Paint, Tone, complain};
use crate::table::Table;
use crate::text::plain;

/// The fleet that the machine is one of.
///
/// The servers are those of [fleet] in luod.toml, unless --server names one.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Shows the fleet: its groups, and each host with what it waits for and why.
    ///
    /// Takes a token or a certificate of somebody who may look.
    Status(Status),
    /// Gives a host no slot until `resume`. What it is at goes on.
    ///
    /// Takes an administrator's token or certificate. It is in the fleet's log, with the reason.
    Hold(Hand),
    /// Lets a host have a slot again that was held.
    ///
    /// Takes an administrator's token or certificate. It is in the fleet's log, with the reason.
    Resume(Hand),
    /// Takes a host's slot from it, whatever has become of the host.
    ///
    /// See to the host before: a slot is all that keeps the others from following it. The host
    /// may ask for one again. Takes an administrator's token or certificate. It is in the fleet's
    /// log, with the reason.
    Release(Hand),
    /// Drops a host that is gone for good, so that nobody waits for it.
    ///
    /// Takes an administrator's token or certificate. It is in the fleet's log, with the reason.
    Forget(Hand),
    /// Shows whether this machine has a slot, and what stands in the way of giving it back.
    ///
    /// Takes root.
    Slot(Slot),
    /// Gives this machine's slot back when it is time to; runs for ever.
    ///
    /// That is when the update is completed and the health command has said yes for the soak
    /// time, or when nothing has come of the update. A server that cannot be reached is tried for
    /// ever. It is what luod-fleet.service runs. Takes root.
    Keep(Keep),
}

/// What `status` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Status {
    #[command(flatten)]
    server: Server,
    /// Shows it again as often as something changes, until ^C.
    #[arg(long, short)]
    watch: bool,
}

/// What is done to a host takes this.
#[derive(clap::Args, Clone, Debug)]
pub struct Hand {
    #[command(flatten)]
    server: Server,
    /// The host's name in the fleet.
    host: String,
    /// Why, for the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What `slot` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Slot {
    /// Luod's configuration.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG)]
    config: PathBuf,
}

/// What `keep` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Keep {
    /// Luod's configuration.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG)]
    config: PathBuf,
    /// Ends as soon as there is no slot.
    #[arg(long)]
    once: bool,
}

/// Which server, and who asks.
#[derive(clap::Args, Clone, Debug)]
struct Server {
    /// The server, in place of those of luod.toml: https://fleet.example.org:7443.
    #[arg(
        long,
        value_name = "URL",
        env = "LUO_FLEET_SERVER",
        hide_env_values = true
    )]
    server: Option<String>,
    /// The file with the token, in place of the machine's own.
    #[arg(
        long,
        value_name = "FILE",
        env = "LUO_FLEET_TOKEN",
        hide_env_values = true
    )]
    token: Option<PathBuf>,
    /// The file with the certificates that the server's is signed by.
    #[arg(
        long,
        value_name = "FILE",
        env = "LUO_FLEET_CA",
        hide_env_values = true
    )]
    ca: Option<PathBuf>,
    /// The file with a certificate, in place of the machine's own.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The file with its key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Luod's configuration.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG)]
    config: PathBuf,
}

impl Server {
    fn client(&self, timeout: Duration) -> Result<Client> {
        let mut settings = match &self.server {
            Some(server) => Settings {
                servers: vec![server.clone()],
                ..Settings::default()
            },
            None => {
                let (_, fleet) = settings::read(&self.config)?;
                Settings {
                    servers: fleet.server.0,
                    ca: fleet.ca,
                    certificate: fleet.certificate.zip(fleet.key),
                    token: fleet.token,
                    timeout: None,
                }
            }
        };
        settings.timeout = Some(timeout);
        if self.ca.is_some() {
            settings.ca.clone_from(&self.ca);
        }
        if self.token.is_some() {
            settings.token.clone_from(&self.token);
        }
        if let Some(pair) = self.certificate.clone().zip(self.key.clone()) {
            settings.certificate = Some(pair);
        }
        Client::new(&settings).map_err(|why| failed(&why))
    }
}

pub(super) fn run(context: &mut Context, command: &Command) -> Result {
    match command {
        Command::Status(args) => status(context, args),
        Command::Hold(args) => by_hand(context, "hold", args),
        Command::Resume(args) => by_hand(context, "resume", args),
        Command::Release(args) => by_hand(context, "release", args),
        Command::Forget(args) => by_hand(context, "forget", args),
        Command::Slot(args) => slot(context, args),
        Command::Keep(args) => keep(context, args),
    }
}

/// How long a watcher waits that was not answered.
const AGAIN: Duration = Duration::from_secs(2);

/// A watcher is answered within half a minute, changed or not.
const WATCHED: Duration = Duration::from_secs(60);

fn status(context: &mut Context, args: &Status) -> Result {
    let timeout = if args.watch { WATCHED } else { context.timeout };
    let client = args.server.client(timeout)?;
    let mut after = None;
    let mut is_told = false;
    loop {
        let fleet = match client.status(after) {
            Ok(fleet) => fleet,
            // Whoever watches is there to see it come back.
            Err(why) if after.is_some() && why.is_for_now() => {
                if !is_told {
                    complain(format_args!("luoctl: {why}; it is tried on"));
                }
                is_told = true;
                sleep(AGAIN);
                continue;
            }
            Err(why) => return Err(failed(&why)),
        };
        is_told = false;
        let is_new = after != Some(fleet.revision);
        after = Some(fleet.revision);
        match (context.json, args.watch) {
            (true, true) if is_new => context.out.record(&fleet)?,
            (true, false) => context.out.document(&fleet)?,
            (false, _) if is_new => {
                let text = render(&fleet, context.out.paint);
                context.out.text(&text)?;
            }
            _ => {}
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
    }
}

fn render(fleet: &Fleet, paint: Paint) -> String {
    let rollout = fleet
        .rollout
        .as_deref()
        .map_or_else(|| "none".to_owned(), plain);
    let mut text = format!("rollout  {rollout}");
    if let Some(target) = &fleet.target {
        text += &format!(", to {}", plain(target));
    }
    text.push('\n');
    for condition in fleet.conditions.iter().filter(|condition| condition.is) {
        let tone = match condition.name.as_str() {
            "Halted" => Tone::Bad,
            "Complete" => Tone::Good,
            _ => Tone::Plain,
        };
        let name = paint.tone(tone, plain(&condition.name));
        text += &format!("{name}: {}\n", plain(&condition.reason));
    }
    text.push('\n');
    let mut groups = Table::new(&[
        "GROUP", "STAGE", "HOSTS", "DONE", "FAILED", "SLOTS", "BLACKOUT",
    ]);
    for group in &fleet.groups {
        let blackout = group.blackout_median_us.zip(group.blackout_max_us);
        let seconds = |us: u64| us as f64 / 1e6;
        let blackout = blackout.map_or_else(String::new, |(middle, most)| {
            format!("{:.3} s, at most {:.3} s", seconds(middle), seconds(most))
        });
        let failed = if group.failed > 0 {
            Tone::Bad
        } else {
            Tone::Plain
        };
        groups.row([
            (plain(&group.name), Tone::Plain),
            (group.stage.to_string(), Tone::Plain),
            (group.hosts.to_string(), Tone::Plain),
            (group.done.to_string(), Tone::Plain),
            (group.failed.to_string(), failed),
            (
                format!("{} of {}", group.slots_taken, group.slots),
                Tone::Plain,
            ),
            (blackout, Tone::Plain),
        ]);
    }
    text += &groups.render(paint);
    text.push('\n');
    let mut hosts = Table::new(&["HOST", "GROUP", "STATE", "RELEASE", "WHY"]);
    for host in &fleet.hosts {
        let (word, tone) = state(host.state);
        hosts.row([
            (plain(&host.id), Tone::Plain),
            (plain(&host.group), Tone::Plain),
            (word.to_owned(), tone),
            (
                host.release.as_deref().map_or_else(String::new, plain),
                Tone::Plain,
            ),
            (
                host.why.as_deref().map_or_else(String::new, plain),
                Tone::Plain,
            ),
        ]);
    }
    text += &hosts.render(paint);
    text
}

const fn state(state: HostState) -> (&'static str, Tone) {
    match state {
        HostState::Waiting => ("waiting", Tone::Plain),
        HostState::Silent => ("silent", Tone::Warn),
        HostState::Updating => ("updating", Tone::Warn),
        HostState::Failed => ("failed", Tone::Bad),
        HostState::Done => ("done", Tone::Good),
        HostState::Held => ("held", Tone::Warn),
    }
}

fn by_hand(context: &mut Context, verb: &str, args: &Hand) -> Result {
    let client = args.server.client(context.timeout)?;
    let host = &args.host;
    if context.dry_run {
        let fleet = client.status(None).map_err(|why| failed(&why))?;
        if !fleet.hosts.iter().any(|known| known.id == *host) {
            let message = format!("no host {} is known", plain(host));
            return Err(Failure::new(Exit::NotFound, "fleet-not-found", message));
        }
        return context.done(verb, &format!("{verb} {}: nothing was done", plain(host)));
    }
    let changed = client.by_hand(verb, host, &args.reason);
    if !changed.map_err(|why| failed(&why))? {
        let already = match verb {
            "hold" => "it is held for this very reason",
            "resume" => "it is not held",
            "release" => "it has no slot",
            _ => "it was so before",
        };
        let words = format!("{verb} {}: {already}, so nothing was done", plain(host));
        return context.done(verb, &words);
    }
    context.done(
        verb,
        &format!("{verb} {}: done, and in the fleet's log", plain(host)),
    )
}

fn slot(context: &mut Context, args: &Slot) -> Result {
    let (config, fleet) = settings::read(&args.config)?;
    let store = Store::new(&config.state_directory);
    let slot = store.read().map_err(|why| store.failure(&why))?;
    if context.json {
        context.out.document(&slot)?;
        return Ok(Exit::Done);
    }
    let who = settings::who(&fleet);
    let words = match &slot {
        None => "this machine has no slot".to_owned(),
        Some(slot) => slot.words(),
    };
    context.out.line(format!(
        "{} ({}): {}",
        plain(&who.id),
        plain(&who.group),
        plain(&words)
    ))?;
    Ok(Exit::Done)
}

fn keep(context: &mut Context, args: &Keep) -> Result {
    let mut keeper = Keeper::new(&args.config, &context.folder);
    let mut told = String::new();
    loop {
        let (step, again) = keeper.step()?;
        match step {
            Step::Nothing if args.once => return Ok(Exit::Done),
            Step::Nothing => {}
            Step::Waits(words) if words == told => {}
            Step::Waits(words) => {
                complain(format_args!("luoctl: the slot of the fleet: {words}"));
                told = words;
            }
            Step::Back(ending) => {
                let ending = format!("{ending:?}").to_lowercase();
                complain(format_args!(
                    "luoctl: the slot of the fleet is given back: {ending}"
                ));
                told.clear();
                continue;
            }
        }
        sleep(again);
    }
}
