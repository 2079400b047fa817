// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program that the tests run under the simulator: a machine at work, by a script.
//!
//! ```text
//! luod                            starts the agent
//! luod elsewhere                  starts another agent in a folder of its own, and writes what it says
//! luod ends                       the same of one that ends by itself, and with which code
//! fills                           keeps the state directory from taking anything
//! workload NAME [WORDS]           starts a workload, and waits until it is registered
//! luoctl ARGUMENTS                runs it, and writes what it wrote and its exit code
//! terminal ANSWER luoctl ARGS     runs it on a terminal, and answers what it asks
//! piped ANSWER luoctl ARGS        the same, but what it writes goes to a pipe
//! interrupt MOMENT luoctl ARGS    runs it, and interrupts it once it has printed such a line
//! killed MOMENT luoctl ARGS       the same, but it is killed
//! bereaved MOMENT luoctl ARGS     the same, but luod is killed; its supervisor starts it again
//! resets MOMENT luoctl ARGS       the same, but the machine is reset, as when its power is lost
//! kills                           kills the workload that was started last, or the supervisor of luod
//! ends                            the same, and tells it to end by TERM
//! breaks                          has luod.toml be one that no luod can use, and kills luod
//! mends                           the file is as it was, and HUP tells the supervisor
//! restarts SIGNAL                 ends luod by a signal; its supervisor starts it again
//! jump luoctl ARGUMENTS           runs it; what it writes until the jump differs
//! jumps luoctl ARGUMENTS          the same, and again until the machine jumps, as what starts updates does
//! cancels workload NAME [WORDS]   cancels, and starts a workload before that is done
//! kexec                           jumps without luod
//! forgets                         the agent loses its note of the update, and is killed
//! other prepares                  another program has the kernel prepare, and ends
//! other keeps, other leaves       the same, but it has the device open until it leaves
//! other loads, other unloads      another program loads an image by kexec_load, or unloads any
//! state                           writes how the kernel says that it stands
//! begins FILE                     writes the first word of a file
//! wait WHAT                       until `luoctl status` has that
//! without WHAT                    until it has that no more
//! ```
//!
//! The words of a workload: `needs=a,b`, `veto=prepare|freeze:REASON`,
//! `hang=prepare|freeze` (never answers), `stays` (outlives luod), `leave` (once it is ready), `claim` (its
//! session, of which it has one with a small memfd in it), `claim-only` (and does not
//! say that it serves again).
#![forbid(unsafe_code)]

mod common;
mod played;
mod terminal;

use luo_client::kernel::{Device, kexec, memfd};
use luo_client::{Session, Token};
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Result, command, folder};
use played::{start_workload, workload};
use terminal::{amidst, interrupt, piped, terminal};

/// How long a machine of a fleet may wait for its turn, and between two tries.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(900);
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["workload", name, words @ ..] => workload(name, words),
        ["preserve", word] => preserve(word),
        ["retrieve"] => retrieve(),
        ["stays"] => stays(),
        ["lingers"] => lingers(),
        ["amid", then @ ..] => amid(then),
        ["outlive", then @ ..] => outlive(then),
        [script] => machine(script),
        _ => Err("luoctl-guest SCRIPT".into()),
    }
}

/// The session that `luoctl hold` and `luoctl take` give a command.
fn given() -> Result<Session> {
    Ok(Session::from_fd(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Preserves a word in the session that it is given, unless the word is `nothing`.
fn preserve(word: &str) -> Result {
    if word == "nothing" {
        return Err("there is nothing to preserve".into());
    }
    let memory = memfd::create("word", 64)?;
    memory.write_all_at(word.as_bytes(), 0)?;
    Ok(given()?.preserve_fd(memory, Token(7))?)
}

/// Writes the word of the session that it is given.
fn retrieve() -> Result {
    let mut word = [0; 64];
    File::from(given()?.retrieve_fd(Token(7))?).read_exact_at(&mut word, 0)?;
    let word = String::from_utf8_lossy(&word);
    println!("{}", word.trim_end_matches('\0'));
    Ok(())
}

/// Is done in the middle of an update, of which luoctl knows nothing yet.
fn amid(then: &[&str]) -> Result {
    let parent = rustix::process::getppid().ok_or("no parent")?;
    rustix::process::kill_process(parent, rustix::process::Signal::STOP)?;
    let mut prepare = command(&["prepare"]);
    prepare.stdout(Stdio::null()).stderr(Stdio::null());
    drop(prepare.spawn()?);
    let begun = wait("preparing").and_then(|()| match then {
        ["preserve", word] => preserve(word),
        _ => Ok(()),
    });
    rustix::process::kill_process(parent, rustix::process::Signal::CONT)?;
    begun
}

/// Does nothing until it is told to end, or is left alone.
fn stays() -> Result {
    let parent = rustix::process::getppid();
    println!("it stays");
    while rustix::process::getppid() == parent {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

/// Keeps what it was given, whoever is killed above it, and nothing that is waited for.
fn lingers() -> Result {
    println!("it lingers");
    let mut sleep = Command::new("sleep");
    sleep.arg("20").stdout(Stdio::null()).stderr(Stdio::null());
    Err(sleep.exec().into())
}

/// The agent loses its note of the update, and is killed.
fn forgets() -> Result {
    std::fs::remove_file(luo_varlink::paths::runtime().join("state/update"))?;
    restart("KILL")
}

/// Outlives the agent, and does something then.
fn outlive(then: &[&str]) -> Result {
    restart("KILL")?;
    match then {
        ["preserve", word] => preserve(word),
        ["retrieve"] => retrieve(),
        _ => Err("outlive preserve|retrieve".into()),
    }
}

/// The number of the agent's process.
fn luods_process() -> Result<i32> {
    let stream = UnixStream::connect(luo_varlink::paths::runtime().join("status"))?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    Ok(peer.pid.as_raw_nonzero().get())
}

/// Ends the agent by a signal; its supervisor starts it again.
fn restart(signal: &str) -> Result {
    let before = luods_process()?;
    let kill = format!("kill -{signal} {before}");
    Command::new("/bin/sh").arg("-c").arg(kill).status()?;
    while luods_process().map_or(true, |now| now == before) {
        std::thread::yield_now();
    }
    wait("phase")
}

/// luod is killed, and started again.
fn bereave() -> Result {
    restart("KILL")
}

/// The simulated machine is reset. All processes end at once, and it boots as one that was off.
fn reset() -> Result {
    env::var_os("LUO_SIM_BOOT").ok_or("this is no simulated machine")?;
    Err(luo_sys::kexec::restart().into())
}

/// Runs a script to its end.
fn machine(script: &str) -> Result {
    let mut children = Vec::new();
    let mut held: Option<Device> = None;
    // FOLDER stands for that of the agent's files.
    let script = script.replace("FOLDER", &folder()?.display().to_string());
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let words: Vec<_> = words.collect();
        match command {
            "luod" => match words.as_slice() {
                ["ends"] => println!("luod has ended: {:?}\n", supervisor()?.wait()?.code()),
                ["elsewhere"] => elsewhere()?,
                _ => children.push(agent()?),
            },
            "fills" => fills()?,
            "workload" => children.push(start_workload(&words)?),
            "cancels" => children.push(amid_a_cancel(words.get(1..).unwrap_or_default())?),
            "luoctl" => luoctl(line, &words)?,
            "interrupt" | "killed" => match words.as_slice() {
                [moment, "luoctl", words @ ..] => {
                    let signal = if command == "killed" { "KILL" } else { "INT" };
                    interrupt(line, moment, words, signal)?;
                }
                _ => return Err(format!("no such line: {line}").into()),
            },
            "bereaved" | "resets" => match words.as_slice() {
                [moment, "luoctl", words @ ..] => {
                    let does = if command == "resets" { reset } else { bereave };
                    // A server may be gone for a while.
                    while !amidst(line, moment, words, |_| does())? {
                        std::thread::sleep(PAUSE);
                    }
                }
                _ => return Err(format!("no such line: {line}").into()),
            },
            "breaks" => breaks()?,
            "mends" => mends(children.last().ok_or("nobody was started")?)?,
            "restarts" => restart(words.first().unwrap_or(&"KILL"))?,
            "ends" => {
                let mut last: Child = children.pop().ok_or("nobody was started")?;
                rustix::process::kill_process(
                    rustix::process::Pid::from_child(&last),
                    rustix::process::Signal::TERM,
                )?;
                last.wait()?;
            }
            "kills" => {
                let mut last: Child = children.pop().ok_or("nobody was started")?;
                last.kill()?;
                last.wait()?;
            }
            "terminal" => match words.as_slice() {
                [answer, "luoctl", words @ ..] => terminal(line, answer, common::command(words))?,
                _ => return Err(format!("no such line: {line}").into()),
            },
            "piped" => match words.as_slice() {
                [answer, "luoctl", words @ ..] => piped(line, answer, &common::command(words))?,
                _ => return Err(format!("no such line: {line}").into()),
            },
            "jump" => match words.as_slice() {
                ["luoctl", words @ ..] => jump(words)?,
                _ => return Err(format!("no such line: {line}").into()),
            },
            "jumps" => match words.as_slice() {
                ["luoctl", words @ ..] => jumps(words)?,
                _ => return Err(format!("no such line: {line}").into()),
            },
            "kexec" => kexec()?,
            "forgets" => forgets()?,
            "other" => match words.as_slice() {
                ["keeps"] => held = Some(prepared()?),
                ["leaves"] => held = None,
                ["prepares"] => drop(prepared()?),
                ["loads"] => kexec::load_legacy(&[0; 4096], 0)?,
                ["unloads"] => kexec::unload()?,
                _ => return Err(format!("no such line: {line}").into()),
            },
            "state" => println!(
                "{}",
                fs::read_to_string("/sys/kernel/liveupdate/state")?.trim()
            ),
            "begins" => begins(&words.join(" "))?,
            "wait" => wait(&words.join(" "))?,
            "without" => wait_for(&words.join(" "), false)?,
            _ => return Err(format!("no such line: {line}").into()),
        }
    }
    drop(held);
    for mut child in children {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Another program has the kernel prepare.
fn prepared() -> Result<Device> {
    let device = Device::open()?;
    device.prepare()?;
    Ok(device)
}

/// A file in the place of the state directory.
fn fills() -> Result {
    let state = folder()?.join("state");
    let _ = fs::remove_dir_all(&state);
    Ok(fs::write(state, "")?)
}

/// luod does not come back, and its supervisor has said what to do.
fn breaks() -> Result {
    let folder = folder()?;
    fs::copy(folder.join("luod.toml"), folder.join("luod.toml.good"))?;
    fs::write(folder.join("luod.toml"), "prepare_dedline = 3")?;
    let log = || fs::read_to_string(folder.join("log"));
    let before = log()?.len();
    let kill = format!("kill -KILL {}", luods_process()?);
    Command::new("/bin/sh").arg("-c").arg(kill).status()?;
    let is_said = |log: String| log[before..].contains("do not end this process");
    while !is_said(log()?) {
        std::thread::yield_now();
    }
    Ok(())
}

fn mends(supervisor: &Child) -> Result {
    let folder = folder()?;
    fs::rename(folder.join("luod.toml.good"), folder.join("luod.toml"))?;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(supervisor),
        rustix::process::Signal::HUP,
    )?;
    wait("phase")
}

fn agent() -> Result<Child> {
    let child = supervisor()?;
    wait("phase")?;
    Ok(child)
}

fn supervisor() -> Result<Child> {
    let folder = folder()?;
    let log = File::options()
        .append(true)
        .create(true)
        .open(folder.join("log"))?;
    // With a descriptor store, so that workloads may leave.
    Ok(luod(&folder)?.arg("supervise").stderr(log).spawn()?)
}

/// The agent, with the configuration of a folder.
fn luod(folder: &Path) -> Result<Command> {
    let program = env::var_os("LUOCTL_TEST_LUOD").ok_or("no luod")?;
    let mut command = Command::new(program);
    command
        .arg("--config")
        .arg(folder.join("luod.toml"))
        .arg("--policy")
        .arg(folder.join("policy.toml"));
    Ok(command)
}

/// Another agent: until it is up or has ended.
fn elsewhere() -> Result {
    let folder = folder()?;
    let mut child = luod(&folder)?
        .arg("--runtime-directory")
        .arg(folder.join("elsewhere"))
        .env_remove("NOTIFY_SOCKET")
        .stderr(Stdio::piped())
        .spawn()?;
    for line in BufReader::new(child.stderr.take().ok_or("no pipe")?).lines() {
        let line = line?;
        println!("{line}");
        if line.contains("is up") {
            child.kill()?;
        }
    }
    println!("[exit {:?}]\n", child.wait()?.code());
    Ok(())
}

/// Until the status has a text.
fn wait(text: &str) -> Result {
    wait_for(text, true)
}

fn wait_for(text: &str, is_there: bool) -> Result {
    let found = |output: &[u8]| String::from_utf8_lossy(output).contains(text) == is_there;
    while !found(&command(&["status"]).output()?.stdout) {
        std::thread::yield_now();
    }
    Ok(())
}

fn luoctl(line: &str, words: &[&str]) -> Result {
    let mut out = io::stdout();
    writeln!(out, "$ {line}")?;
    let child = command(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Each line is written at once, because the machine may jump.
    let mut child = child;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            writeln!(out, "{}", line?)?;
        }
    }
    let output = child.wait_with_output()?;
    out.write_all(&output.stderr)?;
    match output.status.code() {
        Some(0) => {}
        code => writeln!(out, "[exit {code:?}]")?,
    }
    writeln!(out)?;
    Ok(())
}

/// Starts a workload while an update is being cancelled.
fn amid_a_cancel(words: &[&str]) -> Result<Child> {
    let mut cancel = command(&["cancel"]).stdout(Stdio::null()).spawn()?;
    // Watching does not wait for the kernel, as the status does.
    let watch = command(&["watch", "--until", "cancelling"]).output()?;
    if !watch.status.success() {
        return Err(format!("nothing was cancelled: {watch:?}").into());
    }
    let started = start_workload(words)?;
    match cancel.wait()?.success() {
        true => Ok(started),
        false => Err("it was not cancelled".into()),
    }
}

/// It does not come back.
fn jump(words: &[&str]) -> Result {
    let output = command(words).output()?;
    Err(format!("no jump: {output:?}").into())
}

/// The same, and once more whenever that fails: a server may be gone for a while.
fn jumps(words: &[&str]) -> Result {
    let began = std::time::Instant::now();
    loop {
        let output = command(words).output()?;
        if began.elapsed() > PATIENCE {
            return Err(format!("no jump: {output:?}").into());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Somebody else's jump. It does not come back.
fn kexec() -> Result {
    let program = env::var_os("LUOCTL_TEST_SIMULATOR").ok_or("no simulator")?;
    let output = Command::new(program).arg("kexec").output()?;
    Err(format!("no jump: {output:?}").into())
}

/// What a file begins with, once it is there: luod writes a report when the update is over, and
/// nobody waits for that disk before the machine is said to be normal.
fn begins(path: &str) -> Result {
    let text = loop {
        match fs::read_to_string(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => std::thread::yield_now(),
            read => break read?,
        }
    };
    let word = text.split_whitespace().next().unwrap_or_default();
    println!(
        "{} begins with {word}",
        path.rsplit('/').next().unwrap_or_default()
    );
    Ok(())
}
