// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luo-fleet dev`: an etcd, a server and hosts that are not there, and a rollout over them.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use luo_fleetlock::status::{Fleet, HostState};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::cluster::Cluster;
use super::hosts::{Fault, Host, World, host, locked};
use crate::config::Config;
use crate::policy::parse::parse;
use crate::run::{Running, run};
use crate::state::keeper::Keeper;
use crate::view;

/// How often it is looked how far it is.
const OFTEN: Duration = Duration::from_millis(200);

/// How long a server may take to read etcd.
pub const BEGINS: Duration = Duration::from_secs(20);

/// What is shown.
#[derive(Clone, Debug)]
pub struct Show {
    /// How many hosts.
    pub hosts: usize,
    /// How many slots.
    pub slots: usize,
    /// How long an update takes.
    pub update: Duration,
    /// Where the server listens.
    pub listen: String,
    /// The last host of the canary never comes back.
    pub lose: bool,
    /// It stays when the rollout is over.
    pub stay: bool,
    /// It ends after so long, done or not.
    pub at_most: Option<Duration>,
    /// It writes figures, and not what happens.
    pub figures: bool,
}

/// Hosts, a tenth of them canaries and the others in racks.
#[must_use]
pub fn hosts(number: usize, lose: bool) -> Vec<Host> {
    let canaries = number.div_ceil(10);
    let one = |number: usize| {
        let is_canary = number < canaries;
        let rack = number % 3;
        Host {
            id: format!("host-{number:05}"),
            group: match is_canary {
                true => "canary".to_owned(),
                false => format!("rack-{rack}"),
            },
            fault: match lose && number + 1 == canaries {
                true => Fault::Lost,
                false => Fault::None,
            },
        }
    };
    (0..number).map(one).collect()
}

/// The policy of the show.
#[must_use]
pub fn policy(slots: usize, overdue: Duration) -> String {
    let mut text = format!(
        "version = 1\nrollout = \"first-look\"\nrelease = \"7.3.4\"\nslots = {slots}\n\
         overdue = \"{}ms\"\nbudget = 0\n\n[[group]]\nname = \"canary\"\nstage = 1\n\
         slots = {slots}\nsoak = \"1s\"\n",
        overdue.as_millis()
    );
    for rack in 0..3 {
        let _ = write!(text, "\n[[group]]\nname = \"rack-{rack}\"\nstage = 2\n");
    }
    text
}

/// Waits until a server knows how etcd stands.
///
/// # Errors
/// It does not, in time; the error says why etcd cannot be asked.
pub async fn until_fresh(keeper: &Keeper, patience: Duration) -> Result<()> {
    let began = Instant::now();
    while !keeper.mirror.is_fresh() {
        if began.elapsed() > patience {
            return Ok(keeper.fresh()?);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn line(fleet: &Fleet) -> String {
    let mut line = String::new();
    for group in &fleet.groups {
        let _ = write!(line, "{} {}/{}", group.name, group.done, group.hosts);
        if group.slots_taken > 0 {
            let _ = write!(line, " (+{})", group.slots_taken);
        }
        line.push_str("   ");
    }
    line
}

/// Runs the show. `tell` writes a line. However it ends, its etcd ends with it, and nothing stays
/// on the disk.
///
/// # Errors
/// Something of it does not begin, etcd ends, or a signal comes before the rollout is over.
pub async fn show(show: &Show, tell: impl FnMut(String) -> Result<()>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let is_over = Cell::new(false);
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        shown = rollout(show, tell, &is_over) => return shown,
    }
    match is_over.get() {
        true => Ok(()),
        false => bail!("it was ended before the rollout was over"),
    }
}

/// Says so if etcd has ended: nothing would happen any more.
fn lives(cluster: &mut Cluster) -> Result<()> {
    match cluster.ended() {
        Some(how) => bail!("its etcd has ended: {how}"),
        None => Ok(()),
    }
}

async fn rollout(
    show: &Show,
    mut tell: impl FnMut(String) -> Result<()>,
    is_over: &Cell<bool>,
) -> Result<()> {
    // One that is at it for five times as long as it should is lost. Where it is measured how long
    // answers take, they may take long.
    let overdue = match show.figures {
        true => Duration::from_secs(3_600),
        false => show.update * 5 + Duration::from_secs(1),
    };
    let policy = policy(show.slots, overdue);
    parse(&policy).context("the policy of the show")?;
    let mut cluster = Cluster::start(1).await?;
    let mut config = Config {
        listen: vec![show.listen.clone()],
        ..Config::default()
    };
    config.access.open = true;
    config.etcd.endpoints = cluster.endpoints();
    let running = run(&config, Box::new(Timestamp::now)).await;
    let Running { addresses, keeper } = running.context("--listen ADDRESS:PORT names another")?;
    let address = addresses.first().context("no address")?;
    let server = format!("http://{address}");
    until_fresh(&keeper, BEGINS).await?;
    keeper
        .set_policy(&policy, "luo-fleet dev", "luo-fleet dev")
        .await?;
    if !show.figures {
        tell(format!("{policy}\nthe page: {server}/\n"))?;
    }
    let poll = match show.figures {
        // As often as the server asks for.
        true => Duration::from_secs(15),
        false => Duration::from_millis(300),
    };
    let world = World::new(vec![server.clone()], show.update, poll);
    let began = Instant::now();
    for (number, own) in hosts(show.hosts, show.lose).into_iter().enumerate() {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            if let Err(why) = host(&world, &own, number).await {
                tracing::error!("{}: {why:#}", own.id);
            }
        });
    }
    let mut last = String::new();
    let end = loop {
        sleep(if show.figures { 5 * OFTEN } else { OFTEN }).await;
        lives(&mut cluster)?;
        let fleet = view::fleet(&keeper.mirror.known(), keeper.now());
        let now = line(&fleet);
        if now != last && !show.figures {
            tell(format!("{:6.1} s  {now}", began.elapsed().as_secs_f64()))?;
        }
        last = now;
        let all = fleet.hosts.len() == show.hosts;
        let is_late = show.at_most.is_some_and(|most| began.elapsed() >= most);
        if is_late || all && (fleet.is("Complete") || fleet.is("Halted")) {
            break fleet;
        }
    };
    is_over.set(true);
    if show.figures {
        let done = end
            .hosts
            .iter()
            .filter(|host| host.state == HostState::Done);
        tell(format!("hosts that are done        {}", done.count()))?;
        return figures(show, &world, &cluster, began.elapsed(), tell).await;
    }
    for condition in &end.conditions {
        if condition.is {
            tell(format!("{}: {}", condition.name, condition.reason))?;
        }
    }
    let failed = end
        .hosts
        .iter()
        .filter(|host| host.state == HostState::Failed);
    for one in failed {
        let why = one.why.as_deref().unwrap_or_default();
        tell(format!(
            "{}: {why}; it keeps its slot, and nobody else begins",
            one.id
        ))?;
    }
    if show.stay {
        tell(format!("the page stays until this is ended: {server}/"))?;
        loop {
            sleep(OFTEN).await;
            lives(&mut cluster)?;
        }
    }
    Ok(())
}

async fn figures(
    show: &Show,
    world: &World,
    cluster: &Cluster,
    took: Duration,
    mut tell: impl FnMut(String) -> Result<()>,
) -> Result<()> {
    let mut all = locked(&world.took_us).clone();
    all.sort_unstable();
    let at = |share: usize| {
        let one = all.get(all.len().saturating_sub(1) * share / 100);
        f64::from(one.copied().unwrap_or_default()) / 1_000.0
    };
    let seconds = took.as_secs_f64();
    tell(format!("hosts                     {}", show.hosts))?;
    tell(format!("slots                     {}", show.slots))?;
    tell(format!("rollout                   {seconds:.1} s"))?;
    tell(format!("answers                   {}", all.len()))?;
    tell(format!(
        "answers a second          {:.0}",
        all.len() as f64 / seconds
    ))?;
    tell(format!(
        "latency, 50/90/99/100 %   {:.1} / {:.1} / {:.1} / {:.1} ms",
        at(50),
        at(90),
        at(99),
        at(100)
    ))?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap_or_default().trim();
    tell(format!("memory, hosts included    {peak}"))?;
    let size = cluster.size().await?;
    let each = size / u64::try_from(show.hosts.max(1)).unwrap_or(1);
    tell(format!(
        "etcd, after compaction    {size} bytes, {each} for each host"
    ))?;
    for (kind, count) in locked(&world.kinds).iter() {
        tell(format!("answer {kind:28} {count}"))?;
    }
    Ok(())
}
