// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luod`: its options, its start and its end.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use luo_sys::standard;
use luo_varlink::{Orchestrator, paths};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::{Agent, Parts, Reread, Unusable, at_last, begin_to_count};
use crate::aside;
use crate::decide::config::{BadConfig, Config, ROOT};
use crate::decide::policy::Policy;
use crate::journal::notes::Notes;
use crate::journal::{log, regular};
use crate::kernel::{self, Linux, Worker};
use crate::manager::alone::alone;
use crate::manager::notify;
use crate::manager::store::Store;
use crate::manager::supervise::{BAD_CONFIG, REFUSED_HANDOVER};
use crate::server::{self, Sockets};
use crate::threads;
use crate::way_out::{cannot_be_used, is_of_the_machine, way_out};

/// Descriptors to have room for: two for each workload and some.
const DESCRIPTORS: u64 = 65_536;

/// The longest name of a socket in the folder of the sockets.
const LONGEST_SOCKET: &str = "metrics";

/// Bytes of a socket's path, as the kernel has it.
const MAX_SOCKET: usize = 107;

/// Bytes of a configuration, or of a policy.
const MAX_TEXT: u64 = 1 << 20;

/// The configuration that is read if no other is named.
pub const CONFIG: &str = "/etc/luod/luod.toml";

/// The policy that is read if no other is named.
pub const POLICY: &str = "/etc/luod/policy.toml";

/// The live update agent: takes workloads through a kernel update together.
///
/// It asks all of them to get ready and to stand still, in the order in which they need each
/// other, and has the machine jump into the new kernel. Whoever refuses, or is late, ends the
/// update, and all go on as before. After the jump the next luod gives each what it had preserved;
/// luoctl(1) looks at it and runs updates.
#[derive(Parser)]
#[command(name = "luod", version)]
struct Cli {
    /// The configuration; the default may be missing.
    #[arg(long, value_name = "FILE", default_value = CONFIG, global = true)]
    config: PathBuf,
    /// Who may own what; the default may be missing.
    #[arg(long, value_name = "FILE", default_value = POLICY, global = true)]
    policy: PathBuf,
    /// The folder of the sockets.
    #[arg(
        long,
        value_name = "FOLDER",
        env = paths::RUNTIME_VARIABLE,
        default_value = paths::RUNTIME,
        global = true
    )]
    runtime_directory: PathBuf,
    /// Reads the configuration and the policy, says what is wrong with them, and ends.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Reads a configuration. The default file may be missing.
///
/// # Errors
/// It cannot be read or used.
pub fn config(path: &Path) -> Result<Config> {
    let text = read(path, CONFIG)?;
    let config = Config::parse(&text).and_then(|config| {
        // A folder may come and go; without this one nothing can be checked.
        let why = match fs::metadata(&config.checks.root) {
            Ok(found) if found.is_dir() => return Ok(config),
            Ok(_) => "it is no folder".to_owned(),
            Err(why) if why.kind() == ErrorKind::NotFound => "there is no such folder".to_owned(),
            Err(why) => why.to_string(),
        };
        Err(BadConfig::value(&text, ROOT, why))
    });
    config.with_context(|| path.display().to_string())
}

/// Reads configuration and policy. The default files may be missing.
///
/// # Errors
/// One of them cannot be read or used; all that is wrong with both is told.
pub fn settings(config_file: &Path, policy_file: &Path) -> Result<(Config, Policy)> {
    let policy = read(policy_file, POLICY).and_then(|text| {
        let policy = Policy::parse(&text);
        policy.with_context(|| policy_file.display().to_string())
    });
    match (config(config_file), policy) {
        (Ok(config), Ok(policy)) => Ok((config, policy)),
        (Err(one), Err(other)) => {
            let of_the_machine = [&one, &other].map(is_of_the_machine);
            // Faults of a file are told before those of the machine.
            Err(match of_the_machine {
                [true, false] => other,
                [_, true] => one,
                [false, false] => anyhow::anyhow!("{one:#}\n{other:#}"),
            })
        }
        (Err(why), _) | (_, Err(why)) => Err(why),
    }
}

impl Cli {
    fn settings(&self) -> Result<(Config, Policy)> {
        settings(&self.config, &self.policy)
    }

    /// Says whether the next luod can use the files as they are then.
    fn reread(&self) -> Reread {
        let (config, policy) = (self.config.clone(), self.policy.clone());
        Arc::new(move || match settings(&config, &policy) {
            Ok(_) => Ok(()),
            Err(why) => Err(Unusable {
                remedy: cannot_be_used(&why),
                why: format!("{why:#}"),
            }),
        })
    }
}

#[derive(Subcommand)]
enum Command {
    /// Runs the agent as a small service manager would, for machines without systemd.
    ///
    /// It starts the agent again when that dies, and keeps its sessions meanwhile.
    ///
    /// An agent that cannot be started, or ends within a minute each time, is tried again ten times,
    /// ever more slowly, and then given up; one whose configuration cannot be used at once (exit code 78), and one whose kernel
    /// refuses what the previous one has handed over (71). As long as sessions are kept that
    /// would be lost, or the machine has jumped and workloads wait for what is theirs, it is tried for ever, and HUP has it tried at once: mend what is wrong, and do not
    /// end this program, with which they go. Where another one runs, or a luod, it ends at once and
    /// says which process that is (1). One that is up and has not been heard of for 30 seconds
    /// is killed, and started again.
    ///
    /// If this program is killed the agent runs on. The next one with the same folder takes it over,
    /// with all that it has.
    Supervise,
}

/// The arguments and options of `luod`, for man pages and completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs the command. `prefix` are the arguments with which the running program becomes
/// `luod`, if that is built into it, so that `luod supervise` can start it.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>, prefix: &[&str]) -> ExitCode {
    outlive_long_files();
    keep_files_private();
    let _log = match log::begin() {
        Ok(log) => log,
        Err(why) => {
            eprintln!("luod: there can be no log: {why}");
            return ExitCode::FAILURE;
        }
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(why) if why.use_stderr() => {
            let _ = why.print();
            if why.kind() == clap::error::ErrorKind::InvalidSubcommand {
                eprintln!(
                    "\nluod is the agent itself; what it is asked goes by `luoctl` (`luoctl --help`)"
                );
            }
            return ExitCode::from(USAGE);
        }
        Err(help) => return told(&help.render().to_string()),
    };
    if cli.check_config {
        return check_config(&cli);
    }
    let done = match cli.command {
        Some(Command::Supervise) => supervise(&cli, prefix),
        None => match cli.settings() {
            Ok((config, policy)) => run(&cli, config, policy),
            Err(why) if is_of_the_machine(&why) => Err(why),
            Err(why) => {
                tracing::error!("luod ends: {why:#}");
                return ExitCode::from(BAD_CONFIG);
            }
        },
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            tracing::error!("luod ends: {why:#}{}", way_out(&why));
            ExitCode::FAILURE
        }
    }
}

/// Writes a text to standard output.
fn told(text: &str) -> ExitCode {
    match standard::write(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("luod: standard output: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether the configuration and the policy can be used.
fn check_config(cli: &Cli) -> ExitCode {
    match cli.settings() {
        Ok(_) => {
            let line = |path: &PathBuf| {
                // A default file may be missing.
                let word = match path.try_exists() {
                    Ok(false) => "is not there, so the defaults count",
                    // It was read.
                    _ => "can be used",
                };
                format!("{} {word}\n", path.display())
            };
            told(&[line(&cli.config), line(&cli.policy)].concat())
        }
        Err(why) if is_of_the_machine(&why) => {
            eprintln!("luod: it cannot be read now: {why:#}{}", way_out(&why));
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("luod: it cannot be used: {why:#}");
            ExitCode::from(BAD_CONFIG)
        }
    }
}

/// The command line makes no sense.
const USAGE: u8 = 2;

/// Raises the limit of descriptors: the agent, and `luod supervise`, have one for each
/// session that they keep.
fn make_room_for_descriptors() {
    if let Err(why) = luo_sys::supervise::raise_descriptor_limit(DESCRIPTORS) {
        tracing::warn!("the limit of descriptors could not be raised: {why}");
    }
}

/// Has a write beyond the limit of a file's length fail, with EFBIG. The kernel sends a signal as
/// well, which ends a process that has no handler for it.
fn outlive_long_files() {
    let is_sent = Arc::new(AtomicBool::new(false));
    // The log is told if this fails, as far as it can be.
    if let Err(why) = signal_hook::flag::register(Signal::XFSZ.as_raw(), is_sent) {
        eprintln!("luod: a file that becomes too long may end it: {why}");
    }
}

/// Keeps the files that luod makes to itself, whichever user has started it: notes say whose
/// sessions are, and the sockets of `luod supervise` give them. A file that others may read gets
/// its mode by name.
fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Raises the limit of a file's length as far as it goes.
fn make_room_for_files() {
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = limit.maximum;
    if let Err(why) = setrlimit(Resource::Fsize, limit) {
        tracing::warn!("the limit of a file's length could not be raised: {why}");
    }
}

fn supervise(cli: &Cli, prefix: &[&str]) -> Result<ExitCode> {
    make_room_for_descriptors();
    let program = std::env::current_exe().context("the program itself")?;
    has_room_for_sockets(&cli.runtime_directory)?;
    // A name need not be a text.
    let own: [&OsStr; 6] = [
        "--config".as_ref(),
        cli.config.as_ref(),
        "--policy".as_ref(),
        cli.policy.as_ref(),
        "--runtime-directory".as_ref(),
        cli.runtime_directory.as_ref(),
    ];
    let prefix = prefix.iter().map(OsStr::new);
    let arguments: Vec<_> = prefix.chain(own).map(OsStr::to_owned).collect();
    let status =
        crate::manager::supervise::run(&program, &arguments, &cli.runtime_directory, has_jumped)?;
    Ok(ExitCode::from(status.code().map_or(1, |code| code as u8)))
}

/// Whether the machine has jumped, and not all of what came along has been taken back.
fn has_jumped() -> bool {
    kernel::Told::now().state == Some(luo_sys::State::Updated)
}

/// Whether the kernel takes the names of sockets in a folder.
fn has_room_for_sockets(folder: &Path) -> Result<()> {
    let has = folder.as_os_str().len() + "/".len() + LONGEST_SOCKET.len();
    anyhow::ensure!(
        has <= MAX_SOCKET,
        "{}: the name is too long for a folder of sockets, whose paths have {MAX_SOCKET} bytes at \
         most: name a shorter one (--runtime-directory)",
        folder.display()
    );
    Ok(())
}

fn run(cli: &Cli, config: Config, policy: Policy) -> Result<ExitCode> {
    has_room_for_sockets(&cli.runtime_directory)?;
    threads::can_be_had()?;
    aside::begin().map_err(threads::missing)?;
    begin_to_count().map_err(threads::missing)?;
    // With a part of what is kept the rest would pass for lost: it is tried again.
    let (store, stored) = Store::take().context("the descriptor store")?;
    make_room_for_descriptors();
    make_room_for_files();
    let runtime = threads::runtime()?;
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, async {
        // From here on none of these ends the process by itself.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let alone = tokio::select! {
            alone = alone(&cli.runtime_directory) => Some(alone?),
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        };
        let Some(_alone) = alone else {
            tracing::info!("luod is told to end, and has not begun");
            return Ok(ExitCode::SUCCESS);
        };
        let sockets = Sockets::bind(&cli.runtime_directory)
            .with_context(|| cli.runtime_directory.display().to_string())?;
        let notes = Notes::open(&cli.runtime_directory).context("the notes")?;
        let kernel = Worker::start(Linux::default()).map_err(threads::missing)?;
        let probing = kernel.run(|kernel| kernel.probe());
        let probe = match at_last("GET_INFO", probing).await {
            Ok(probe) => probe,
            Err(why) if why.is_refused_handover() => {
                tracing::error!("luod ends: {}", why);
                return Ok(ExitCode::from(REFUSED_HANDOVER));
            }
            Err(why) => return Err(why.into()),
        };
        tracing::info!(
            orchestrator = probe.orchestrator.word(),
            "luod {} is up",
            env!("CARGO_PKG_VERSION")
        );
        if probe.orchestrator == Orchestrator::None {
            tracing::warn!(
                "this kernel has no /dev/liveupdate, so no update is possible here: `luoctl check` \
                 says why"
            );
        }
        let agent = Agent::new(Parts {
            config,
            policy,
            notes,
            kernel,
            probe,
            tell: Arc::new(kernel::Told::now),
            resolve: Arc::new(kernel::resolve),
            reread: cli.reread(),
            store,
        });
        agent.start(stored).await.context("how things stand")?;
        tokio::task::spawn_local(watchdog());
        notify::ready(agent.present().phase.word());
        let serving = server::serve(Rc::clone(&agent), sockets);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                () = &mut serving => break,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(cli, &agent),
            }
        }
        tracing::info!("luod is told to end");
        agent.shut_down().await;
        Ok(ExitCode::SUCCESS)
    });
    // A thread that reads a file of a dead disk is not waited for.
    runtime.shutdown_background();
    done
}

/// Reads configuration and policy anew. If they cannot be used all stays as it was.
fn reload(cli: &Cli, agent: &Agent) {
    match cli.settings() {
        Ok((config, policy)) => {
            agent.reload(config, policy);
            tracing::info!("the configuration and the policy were read again");
        }
        Err(why) => {
            tracing::error!("all stays as it was: {why:#}");
            agent.stays_as_it_was(format!("{why:#}"));
        }
    }
}

/// The text of a file. The default one may be missing, and is empty then; a file that was
/// named has to be there.
fn read(path: &Path, default: &str) -> Result<String> {
    match regular::read(path, MAX_TEXT) {
        Ok(text) => Ok(text),
        Err(why) if why.kind() == ErrorKind::NotFound && path == Path::new(default) => {
            Ok(String::new())
        }
        Err(why) => Err(why).with_context(|| path.display().to_string()),
    }
}

/// Tells the service manager now and then that this thread is not stuck.
async fn watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut times = tokio::time::interval(patience / 3);
    loop {
        times.tick().await;
        notify::alive();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As those of luoctl may.
    #[test]
    fn options_may_stand_behind_the_command() {
        let options = [
            "--config",
            "/a",
            "--policy",
            "/b",
            "--runtime-directory",
            "/c",
        ];
        let before = [&["luod"][..], &options, &["supervise"]].concat();
        let behind = [&["luod", "supervise"][..], &options].concat();
        for arguments in [before, behind] {
            let cli = Cli::try_parse_from(&arguments).unwrap();
            let paths = [&cli.config, &cli.policy, &cli.runtime_directory];
            assert_eq!(paths, ["/a", "/b", "/c"].map(Path::new), "{arguments:?}");
            assert!(matches!(cli.command, Some(Command::Supervise)));
        }
    }

    #[test]
    fn only_the_default_file_may_be_missing() {
        let missing = "/nonexistent/luod.toml";
        assert_eq!(read(Path::new(missing), missing).unwrap(), "");
        let error = read(Path::new(missing), CONFIG).unwrap_err();
        assert!(format!("{error:#}").starts_with(missing), "{error:#}");
    }
}
