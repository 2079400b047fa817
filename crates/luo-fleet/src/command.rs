// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the commands do.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{Cli, Command, DevArgs, PolicyCommand};
use crate::config::Config;
use crate::decide::decision::Halt;
use crate::dev::show::{Show, show, until_fresh};
use crate::identity::{Role, token};
use crate::policy::parse::{MAX_TEXT, parse};
use crate::run::{keeper, run};
use crate::server::listen::token_key;
use crate::state::audit;
use crate::state::keeper::Keeper;
use crate::view;

/// How long etcd may take to be read.
const PATIENCE: Duration = Duration::from_secs(20);

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// It has failed.
    pub async fn run(&self) -> Result<()> {
        match &self.command {
            Command::Serve { check } => self.serve(*check).await,
            Command::Policy(PolicyCommand::Check { file }) => {
                let policy = parse(&text(file)?).with_context(|| file.display().to_string())?;
                let groups = policy.groups.len();
                line(&format!(
                    "rollout {}: {groups} groups, {} slots",
                    policy.rollout, policy.slots
                ))
            }
            Command::Policy(PolicyCommand::Set { file, reason }) => {
                let text = text(file)?;
                let policy = parse(&text).with_context(|| file.display().to_string())?;
                let keeper = self.keeper().await?;
                keeper.set_policy(&text, reason, &myself()).await?;
                line(&format!(
                    "rollout {}: in force for all servers",
                    policy.rollout
                ))?;
                line(&stands(&keeper))
            }
            Command::Policy(PolicyCommand::Show) => {
                let keeper = self.keeper().await?;
                let text = keeper.mirror.known().text.clone();
                let text = text.with_context(|| Halt::NoPolicy.to_string())?;
                line(text.trim_end())
            }
            Command::Stop { reason } => {
                let keeper = self.keeper().await?;
                keeper.stop(Some(reason), reason, &myself()).await?;
                line(&stands(&keeper))
            }
            Command::Go { reason } => {
                let keeper = self.keeper().await?;
                keeper.stop(None, reason, &myself()).await?;
                line(&stands(&keeper))
            }
            Command::Status => {
                let keeper = self.keeper().await?;
                let fleet = view::fleet(&keeper.mirror.known(), keeper.now());
                json(&fleet)
            }
            Command::Audit => {
                let etcd = self.config()?.etcd()?;
                let keys = crate::state::keys::Keys::new(&self.config()?.prefix);
                let lines = audit::last(&etcd, &keys).await?;
                lines.iter().try_for_each(json)
            }
            Command::Token {
                host,
                admin,
                viewer,
            } => self.token(host.as_deref(), admin.as_deref(), viewer.as_deref()),
            Command::Dev(args) => dev(args).await,
        }
    }

    fn config(&self) -> Result<Config> {
        Config::read(&self.config)
    }

    async fn serve(&self, check: bool) -> Result<()> {
        let config = self.config()?;
        if check {
            config.etcd()?;
            crate::server::listen::identities(&config.access)?;
            if let Some(tls) = &config.tls {
                crate::server::listen::acceptor(tls, &config.access)?;
            }
            return line("the configuration can be used");
        }
        let running = run(&config, Box::new(Timestamp::now)).await?;
        for address in &running.addresses {
            tracing::info!(
                "luo-fleet {} listens on {address}",
                env!("CARGO_PKG_VERSION")
            );
        }
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            ended = tokio::signal::ctrl_c() => ended?,
        }
        Ok(())
    }

    /// What acts on etcd itself: whoever has its credentials is an administrator.
    async fn keeper(&self) -> Result<std::sync::Arc<Keeper>> {
        let keeper = keeper(&self.config()?, Box::new(Timestamp::now))?;
        let place = || format!("see [etcd] in {}", self.config.display());
        until_fresh(&keeper, PATIENCE).await.with_context(place)?;
        Ok(keeper)
    }

    fn token(&self, host: Option<&str>, admin: Option<&str>, viewer: Option<&str>) -> Result<()> {
        let config = self.config()?;
        let (role, name) = match (host, admin, viewer) {
            (Some(name), None, None) => (Role::Host, name),
            (None, Some(name), None) => (Role::Admin, name),
            (None, None, Some(name)) => (Role::Viewer, name),
            _ => bail!("name one of --host, --admin and --viewer"),
        };
        luo_fleetlock::lock::check_id(name).map_err(|why| anyhow::anyhow!(why))?;
        let first = config.access.token_keys.first();
        let first = first.context("the configuration has no token_keys in [access]")?;
        let token = token(&token_key(first)?, role, name).context("the key")?;
        line(&token)
    }
}

async fn dev(args: &DevArgs) -> Result<()> {
    let wanted = Show {
        hosts: args.hosts.max(1),
        slots: args.slots.max(1),
        update: Duration::from_secs_f64(args.update),
        listen: args.listen.clone(),
        lose: args.lose,
        stay: args.stay,
        at_most: args.at_most.map(Duration::from_secs_f64),
        figures: args.figures,
    };
    show(&wanted, |text| line(&text)).await
}

/// Whether hosts may begin after what was done: a rollout may be halted by more than one thing.
fn stands(keeper: &Keeper) -> String {
    let fleet = view::fleet(&keeper.mirror.known(), keeper.now());
    let halted = fleet
        .conditions
        .iter()
        .find(|condition| condition.name == "Halted");
    match halted {
        Some(halted) if halted.is => format!("nobody begins: {}", halted.reason),
        _ => "hosts may begin, as the policy says".to_owned(),
    }
}

/// Who acts, for the log.
fn myself() -> String {
    let name = ["SUDO_USER", "USER"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let place = if std::io::stdin().is_terminal() {
        "at a terminal"
    } else {
        "by a program"
    };
    format!("{} {place}", name.unwrap_or_else(|| "root".to_owned()))
}

fn text(file: &Path) -> Result<String> {
    let place = || file.display().to_string();
    let mut text = String::new();
    let most = u64::try_from(MAX_TEXT)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(file).with_context(place)?;
        file.take(most)
            .read_to_string(&mut text)
            .with_context(place)?;
    }
    Ok(text)
}

fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

fn json(of: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(of)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
