// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the agent and members, hears what they say, and is patient but not for ever.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use luo_client::agent::{Admin, Status};
use luo_varlink::{HistoryEntry, Phase, Target, WorkloadState, paths};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::member::{Member, gate_path};

/// How long something may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A stage in one boot.
pub struct Stage {
    folder: PathBuf,
    /// The kernel to jump into.
    target: Target,
    /// Where the agent looks for the system's files.
    root: PathBuf,
    /// The agent's program, and the word that makes it the agent.
    luod: (PathBuf, Option<&'static str>),
    /// Of the policy.
    limits: String,
    agent: Mutex<Option<Child>>,
    members: Mutex<BTreeMap<String, Actor>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member that was started.
struct Actor {
    process: Child,
    said: Receiver<String>,
    /// All that was heard.
    heard: Vec<String>,
}

impl Stage {
    /// A stage with its files in a folder, which all boots share.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn new(folder: &Path, target: Target, root: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            target,
            root: root.to_owned(),
            luod: ("/proc/self/exe".into(), Some("luod")),
            limits: String::new(),
            agent: Mutex::default(),
            members: Mutex::default(),
        })
    }

    /// A stage in the simulator, with a machine that `luo-sim system` has written.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn simulated(folder: &Path, system: &Path) -> Result<Self> {
        let target = Target {
            image: Some(system.join("boot/vmlinuz").display().to_string()),
            initrd: None,
            command_line: Some("liveupdate=on kho=on".to_owned()),
        };
        Self::new(folder, target, system)
    }

    /// With an agent that is a program by itself, instead of this very program.
    #[must_use]
    pub fn with_luod(mut self, program: &Path) -> Self {
        self.luod = (program.to_owned(), None);
        self
    }

    /// With limits in the policy, see [`Stage::limit`].
    #[must_use]
    pub fn with_limits(mut self, limits: &str) -> Self {
        limits.clone_into(&mut self.limits);
        self
    }

    /// The folder of the agent's sockets.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kernel to jump into.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Starts the agent, as its small service manager would, with lines of
    /// configuration; waits until it can be talked to.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_agent(&self, lines: &str) -> Result<()> {
        let config = self.folder.join("luod.toml");
        let state = self.folder.join("state");
        let root = &self.root;
        let text = format!("state_directory = {state:?}\n{lines}\n[checks]\nroot = {root:?}\n");
        fs::write(&config, text)?;
        self.limit(&self.limits)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("luod.log"))?;
        let (program, word) = &self.luod;
        let child = Command::new(program)
            .args(word)
            .arg("--config")
            .arg(config)
            .arg("--policy")
            .arg(self.folder.join("policy.toml"))
            .arg("--runtime-directory")
            .arg(self.runtime())
            .arg("supervise")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("luod")?;
        *lock(&self.agent) = Some(child);
        self.agent_answers()
    }

    /// Writes the policy, with limits. It counts when the agent is started again.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn limit(&self, limits: &str) -> Result<()> {
        // Names alone keep nobody out here: identities have to.
        let policy = format!("[limits]\n{limits}\n[[allow]]\nuid = 4711\nnames = [\"*\"]\n");
        fs::write(self.folder.join("policy.toml"), policy)?;
        Ok(())
    }

    /// Waits until the agent answers.
    ///
    /// # Errors
    /// It does not.
    pub fn agent_answers(&self) -> Result<()> {
        until("luod", || Ok(self.status().is_ok()))
    }

    /// How the agent stands.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<luo_varlink::Status> {
        Ok(Status::connect_to(&self.runtime())?.get()?)
    }

    /// The agent, as administrators have it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn admin(&self) -> Result<Admin> {
        Ok(Admin::connect_to(&self.runtime())?)
    }

    /// The last updates, the newest first.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn history(&self) -> Result<Vec<HistoryEntry>> {
        Ok(Status::connect_to(&self.runtime())?.history(100)?)
    }

    /// The agent's process, whose parent is who manages it.
    ///
    /// # Errors
    /// It is not there.
    pub fn agent_process(&self) -> Result<Pid> {
        let manager = lock(&self.agent).as_ref().map(Child::id);
        child_of(manager.context("no agent was started")?)
    }

    /// Kills the agent itself with SIGKILL; who manages it starts it again.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill_agent(&self) -> Result<()> {
        let pid = self.agent_process()?;
        kill_process(pid, Signal::KILL)?;
        let path = format!("/proc/{}", pid.as_raw_nonzero());
        // Its number is gone once its parent has seen that it has ended.
        until("the end of luod", || Ok(!Path::new(&path).exists()))
    }

    /// Starts a member.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, member: &Member) -> Result<()> {
        if member.gate.is_some() {
            let path = gate_path(&self.folder, &member.name);
            let _ = fs::remove_file(&path);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let mut process = Command::new("/proc/self/exe")
            .arg("member")
            .args(arguments(member))
            .arg("--folder")
            .arg(&self.folder)
            .env(paths::RUNTIME_VARIABLE, self.runtime())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| member.name.clone())?;
        let out = process.stdout.take().context("its output")?;
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let actor = Actor {
            process,
            said,
            heard: Vec::new(),
        };
        lock(&self.members).insert(member.name.clone(), actor);
        Ok(())
    }

    /// Waits until a member says a word, from now on; gives the whole line.
    ///
    /// # Errors
    /// It does not, or says that something is wrong.
    pub fn hear(&self, name: &str, word: &str) -> Result<String> {
        let mut members = lock(&self.members);
        let actor = members.get_mut(name).with_context(|| name.to_owned())?;
        let end = Instant::now() + PATIENCE;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            match actor.said.recv_timeout(rest) {
                Ok(line) => {
                    actor.heard.push(line.clone());
                    if line.split(' ').next() == Some(word) {
                        return Ok(line);
                    }
                }
                Err(why) => {
                    let ended = match why {
                        RecvTimeoutError::Timeout => "in time",
                        RecvTimeoutError::Disconnected => "before it ended",
                    };
                    bail!(
                        "{name} did not say '{word}' {ended}; it said {:?}",
                        actor.heard
                    );
                }
            }
        }
    }

    /// Waits until a member is at its gate, and leaves it there. Dropping what this
    /// gives opens the gate.
    ///
    /// # Errors
    /// It does not come there.
    pub fn at_gate(&self, name: &str, point: &str) -> Result<File> {
        self.hear(name, point)?;
        let path = gate_path(&self.folder, name);
        // It opens when the member has opened the other end.
        Ok(OpenOptions::new().write(true).open(path)?)
    }

    /// Kills a member with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It was not there.
    pub fn kill(&self, name: &str) -> Result<()> {
        let actor = lock(&self.members).remove(name);
        let mut actor = actor.with_context(|| name.to_owned())?;
        actor.process.kill()?;
        actor.process.wait()?;
        Ok(())
    }

    /// Waits until a member has ended by itself.
    ///
    /// # Errors
    /// It has failed.
    pub fn ended(&self, name: &str) -> Result<()> {
        let actor = lock(&self.members).remove(name);
        let mut actor = actor.with_context(|| name.to_owned())?;
        let mut status = None;
        until("the end of a member", || {
            status = actor.process.try_wait()?;
            Ok(status.is_some())
        })?;
        let status = status.context("its status")?;
        ensure!(status.success(), "{name} ended with {status}");
        Ok(())
    }

    /// Registers as somebody else; gives the refusal.
    ///
    /// # Errors
    /// It was not refused; this process may not become somebody else.
    pub fn register_as(&self, who: &luo_varlink::Identity, name: &str) -> Result<String> {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;
        let socket = self.runtime().join(paths::CLIENT);
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
        let output = Command::new("/proc/self/exe")
            .args(["try-register", name])
            .env(paths::RUNTIME_VARIABLE, self.runtime())
            .uid(who.uid)
            .gid(who.gid)
            .output()
            .context("becoming somebody else takes root")?;
        ensure!(!output.status.success(), "it was let in");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits until the agent is in a phase.
    ///
    /// # Errors
    /// It does not come there.
    pub fn phase(&self, phase: Phase) -> Result<()> {
        until(phase.word(), || {
            Ok(self.status().is_ok_and(|status| status.phase == phase))
        })
    }

    /// Asserts that members run, connected, and that no update is under way.
    ///
    /// # Errors
    /// One does not.
    pub fn all_run(&self, names: &[&str]) -> Result<()> {
        let status = self.status()?;
        ensure!(
            status.phase == Phase::Normal,
            "the phase is {}",
            status.phase
        );
        for name in names {
            let mut workloads = status.workloads.iter();
            let workload = workloads.find(|workload| workload.name == *name);
            let workload = workload.with_context(|| format!("{name} is not there"))?;
            ensure!(
                workload.state == WorkloadState::Running && workload.connected,
                "{name} is {}",
                workload.state
            );
        }
        Ok(())
    }

    /// Ends everything that was started here.
    ///
    /// # Errors
    /// Something cannot be ended.
    pub fn end(self) -> Result<()> {
        for actor in lock(&self.members).values_mut() {
            // It may have ended by itself.
            let _ = actor.process.kill();
            actor.process.wait()?;
        }
        let Some(mut manager) = lock(&self.agent).take() else {
            return Ok(());
        };
        let agent = child_of(manager.id())?;
        manager.kill()?;
        manager.wait()?;
        kill_process(agent, Signal::KILL)?;
        let path = format!("/proc/{}/stat", agent.as_raw_nonzero());
        until("the end of luod", || {
            // Whoever it belongs to now takes its time to see that it has ended.
            let stat = fs::read_to_string(&path).unwrap_or_default();
            Ok(stat.is_empty() || stat.contains(") Z "))
        })
    }

    /// A command of `luoctl`, on this stage.
    #[must_use]
    pub fn luoctl(&self, command: &str) -> Command {
        let mut luoctl = Command::new("/proc/self/exe");
        luoctl
            .args(["luoctl", command])
            .env(paths::RUNTIME_VARIABLE, self.runtime())
            .stdin(Stdio::null());
        luoctl
    }

    /// The same, with the target that this stage has.
    #[must_use]
    pub fn luoctl_with_target(&self, command: &str) -> Command {
        let mut luoctl = self.luoctl(command);
        let Target {
            image,
            initrd,
            command_line,
        } = &self.target;
        let options = [
            ("--kernel", image),
            ("--initrd", initrd),
            ("--command-line", command_line),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                luoctl.arg(format!("{option}={value}"));
            }
        }
        luoctl
    }

    /// Runs `luoctl update`, which is expected to jump, and does not come back then.
    ///
    /// # Errors
    /// Always: what it said instead.
    pub fn update(&self) -> Result<std::convert::Infallible> {
        let output = self.luoctl_with_target("update").output()?;
        if output.status.success() {
            // The machine is on its way.
            until("the jump", || Ok(false))?;
        }
        bail!(
            "luoctl update: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
    }
}

/// The first child of a process.
fn child_of(parent: u32) -> Result<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone());
    let number = match children {
        Ok(children) => children.split_whitespace().next().map(str::to_owned),
        // A kernel without CONFIG_PROC_CHILDREN: all have to be asked.
        Err(_) => child_by_search(parent)?,
    };
    let number = number.context("it has no child")?.parse()?;
    Pid::from_raw(number).context("its number")
}

fn child_by_search(parent: u32) -> Result<Option<String>> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
        // After the name in parentheses: the state, and the parent.
        let fields = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest)
            .unwrap_or_default();
        if fields.split_whitespace().nth(1) == Some(&parent.to_string()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn arguments(member: &Member) -> Vec<String> {
    let mut all = vec![member.name.clone(), format!("--bytes={}", member.bytes)];
    if !member.needs.is_empty() {
        all.push(format!("--needs={}", member.needs.join(",")));
    }
    if member.leave {
        all.push("--leave".to_owned());
    }
    let steps = [("veto", member.veto), ("hang", member.hang)];
    for (option, step) in steps {
        all.extend(step.map(|step| format!("--{option}={step}")));
    }
    all.extend(member.gate.as_ref().map(|gate| format!("--gate={gate}")));
    all
}

/// Looks again and again whether something has come about.
///
/// # Errors
/// If it does not, or cannot be seen.
pub fn until(what: &str, mut seen: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !seen()? {
        ensure!(begun.elapsed() < PATIENCE, "{what} does not come about");
        // Not to wait for something, but to leave the processor to it.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
