// SPDX-License-Identifier: MIT OR Apache-2.0
//! How `luoctl update` and its steps end: with the jump, without one, with its agent, by ^C.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use luoctl::exit::Exit;
use serde_json::json;

use crate::called::{LUOCTL, ends_with, is_cancel, luoctl, read_call, text};

/// An agent that says some words to the first call of its first caller, and then goes.
fn short_lived(folder: &Path, phases: &'static [&'static str]) -> JoinHandle<()> {
    let listener = UnixListener::bind(folder.join("admin")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut call = Vec::new();
        BufReader::new(&stream).read_until(0, &mut call).unwrap();
        for phase in phases {
            let event = json!({ "update": "u1", "time_us": 1, "phase": phase, "kind": "phase",
                "workload": null, "took_us": null, "detail": null });
            let reply = json!({ "parameters": { "event": event }, "continues": true });
            stream.write_all(format!("{reply}\0").as_bytes()).unwrap();
        }
    })
}

#[test]
fn the_jump_ends_the_connection_and_that_is_success() {
    let folder = tempfile::tempdir().unwrap();
    let agent = short_lived(folder.path(), &["preparing", "frozen", "jumping"]);
    let output = luoctl(folder.path(), &["update"]);
    agent.join().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(text(&output.stdout).contains("the machine probably jumps"));

    let folder = tempfile::tempdir().unwrap();
    let agent = short_lived(folder.path(), &["jumping"]);
    let output = luoctl(folder.path(), &["--json", "update"]);
    agent.join().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(
        text(&output.stdout).ends_with("{\"jumping\":{\"update\":\"u1\",\"probably\":true}}\n")
    );
}

/// A luod that is there again knows better than the end of a connection.
#[test]
fn a_luod_that_is_there_again_says_what_came_of_it() {
    let entry = |outcome: &str| {
        json!({ "update": "u1", "outcome": outcome, "reason": "luod was restarted",
            "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
            "to_kernel": "a", "timeline": [] })
    };
    let status = |phase: &str| {
        json!({ "status": { "phase": phase, "update": null, "orchestrator": "contract",
            "kernel_state": null, "kernel_release": "a", "version": "1", "workloads": [] } })
    };
    let cases = [
        ("normal", "cancelled", Exit::Refused, "luod was restarted"),
        ("normal", "lost", Exit::Damaged, "luod was restarted"),
        ("normal", "completed", Exit::Done, "the machine has jumped"),
        ("updated", "under_way", Exit::Done, "the machine jumps"),
        ("jumping", "under_way", Exit::Done, "the machine jumps"),
    ];
    for (phase, outcome, exit, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let agent = short_lived(folder.path(), &["jumping"]);
        let listener = UnixListener::bind(folder.path().join("status")).unwrap();
        let (status, entry) = (status(phase), entry(outcome));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, status, entry) = (stream.unwrap(), status.clone(), entry.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    loop {
                        let mut call = Vec::new();
                        if reader.read_until(0, &mut call).unwrap_or(0) == 0 {
                            return;
                        }
                        let call = String::from_utf8_lossy(&call).into_owned();
                        let answer = match call {
                            call if call.contains("GetStatus") => status.clone(),
                            call if call.contains("GetHistory") => json!({ "updates": [entry] }),
                            _ => json!({}),
                        };
                        let reply = json!({ "parameters": answer });
                        let _ = stream.write_all(format!("{reply}\0").as_bytes());
                    }
                });
            }
        });
        let output = luoctl(folder.path(), &["update"]);
        agent.join().unwrap();
        assert_eq!(output.status.code(), Some(exit.code().into()), "{output:?}");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn an_agent_that_is_lost_before_the_jump_is_no_success() {
    for phases in [&[][..], &["preparing"], &["jumping", "cancelling"]] {
        let folder = tempfile::tempdir().unwrap();
        let agent = short_lived(folder.path(), phases);
        let output = luoctl(folder.path(), &["update"]);
        agent.join().unwrap();
        ends_with(
            &output,
            Exit::Unavailable,
            &["was lost", "`luoctl history`"],
        );
    }
}

#[test]
fn an_update_that_ends_without_a_jump_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("admin")).unwrap();
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut call = Vec::new();
        BufReader::new(&stream).read_until(0, &mut call).unwrap();
        let event = json!({ "update": "u1", "time_us": 1, "phase": "prepared", "kind": "phase",
            "workload": null, "took_us": null, "detail": null });
        let reply = json!({ "parameters": { "event": event } });
        stream.write_all(format!("{reply}\0").as_bytes()).unwrap();
        // It does not hang up.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    let output = luoctl(folder.path(), &["update"]);
    agent.join().unwrap();
    ends_with(
        &output,
        Exit::Unavailable,
        &["prepared", "`luoctl history`"],
    );
    assert!(!text(&output.stdout).contains("jumps"));
}

/// The next connection; none if it takes longer than any machine does.
fn accept_soon(listener: &UnixListener) -> Option<UnixStream> {
    let begun = Instant::now();
    listener.set_nonblocking(true).unwrap();
    while begun.elapsed() < Duration::from_secs(30) {
        if let Ok((stream, _)) = listener.accept() {
            return Some(stream);
        }
        std::thread::yield_now();
    }
    None
}

/// A command that an agent has heard and not answered: `luoctl update`, if nothing else is said.
struct Updating {
    _folder: tempfile::TempDir,
    agent: UnixListener,
    child: Child,
    update: UnixStream,
}

impl Updating {
    fn begin(stderr: impl Into<Stdio>) -> Self {
        Self::with(tempfile::tempdir().unwrap(), &["update"], stderr)
    }

    fn with(folder: tempfile::TempDir, words: &[&str], stderr: impl Into<Stdio>) -> Self {
        let agent = UnixListener::bind(folder.path().join("admin")).unwrap();
        let mut command = Command::new(LUOCTL);
        command
            .arg("--runtime-directory")
            .arg(folder.path())
            .args(words);
        let child = command.stderr(stderr).stdout(Stdio::piped()).spawn();
        let child = child.unwrap();
        let (update, _) = agent.accept().unwrap();
        read_call(&update);
        Self {
            _folder: folder,
            agent,
            child,
            update,
        }
    }

    /// A step that the agent says to be done, though ^C has been pressed meanwhile. Gives the
    /// cancel that it has got.
    fn done_in_vain(&mut self, reply: &str) -> UnixStream {
        self.interrupt();
        let (cancel, _) = self.agent.accept().unwrap();
        is_cancel(&cancel);
        let reply = format!("{reply}\0");
        self.update.write_all(reply.as_bytes()).unwrap();
        cancel
    }

    fn ends(self) -> Output {
        self.child.wait_with_output().unwrap()
    }

    fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// The agent says that it is cancelled, and luoctl ends so.
    fn ends_cancelled(mut self) {
        let cancelled = json!({ "error": "org.liveupdate.Admin.Cancelled",
            "parameters": { "reason": "^C" } });
        self.update
            .write_all(format!("{cancelled}\0").as_bytes())
            .unwrap();
        let code = self.child.wait().unwrap().code();
        assert_eq!(code, Some(i32::from(Exit::Refused.code())));
    }
}

/// ^C in a pipeline ends all of it, who reads luoctl's messages too.
#[test]
fn interrupted_with_nobody_who_reads_it_cancels() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let updating = Updating::begin(writer);
    updating.interrupt();
    let mut cancel = accept_soon(&updating.agent).expect("luoctl does not cancel");
    is_cancel(&cancel);
    cancel.write_all(b"{}\0").unwrap();
    updating.ends_cancelled();
}

/// The agent may get to the cancel before it has read what it is to undo.
#[test]
fn interrupted_before_the_agent_has_begun_it_cancels_still() {
    let updating = Updating::begin(Stdio::null());
    updating.interrupt();
    let (mut cancel, _) = updating.agent.accept().unwrap();
    let early = json!({ "error": "org.liveupdate.Admin.Illegal",
        "parameters": { "event": "cancel", "phase": "normal" } });
    for answer in [format!("{early}\0"), "{}\0".to_owned()] {
        is_cancel(&cancel);
        cancel.write_all(answer.as_bytes()).unwrap();
    }
    updating.ends_cancelled();
}

/// The first ^C asks an agent to cancel, the second leaves one that does not answer.
#[test]
fn interrupted_twice_it_leaves() {
    let mut updating = Updating::begin(Stdio::piped());
    updating.interrupt();
    let (cancel, _) = updating.agent.accept().unwrap();
    is_cancel(&cancel);
    updating.interrupt();
    let child = &mut updating.child;
    let mut error = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{error}");
    assert!(error.contains("the agent goes on"), "{error}");
    assert!(error.contains("has not answered"), "{error}");
}

/// The agent has done a step and reads the cancel after that: nothing is said to be ready that is
/// about to be undone.
#[test]
fn interrupted_at_the_end_of_a_step_it_waits_for_the_answer() {
    for (word, reply, done) in [
        (
            "prepare",
            "{\"parameters\":{\"update\":\"u1\"}}",
            "all are ready",
        ),
        ("freeze", "{}", "all stand still"),
    ] {
        let begin = || Updating::with(tempfile::tempdir().unwrap(), &[word], Stdio::piped());
        let mut updating = begin();
        let mut cancel = updating.done_in_vain(reply);
        // Long enough to say the wrong thing.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(updating.child.try_wait().unwrap(), None);
        cancel.write_all(b"{}\0").unwrap();
        let output = updating.ends();
        ends_with(&output, Exit::Refused, &["the update was cancelled"]);
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));

        let mut updating = begin();
        let mut cancel = updating.done_in_vain(reply);
        let refused = json!({ "error": "org.liveupdate.Admin.Illegal",
            "parameters": { "event": "cancel", "phase": "jumping" } });
        cancel.write_all(format!("{refused}\0").as_bytes()).unwrap();
        let output = updating.ends();
        let words = ["could not be cancelled", done, "and it was not cancelled"];
        ends_with(&output, Exit::Interrupted, &words);

        // luod is gone, and with it the step.
        let mut updating = begin();
        drop(updating.done_in_vain(reply));
        ends_with(&updating.ends(), Exit::Unavailable, &["is over"]);
    }
}

/// `luoctl kexec` can be cancelled as `luoctl update` can.
#[test]
fn interrupted_before_the_jump_it_cancels() {
    let folder = tempfile::tempdir().unwrap();
    let status = UnixListener::bind(folder.path().join("status")).unwrap();
    std::thread::spawn(move || {
        let frozen = json!({ "parameters": { "status": { "phase": "frozen", "update": "u1",
            "orchestrator": "contract", "kernel_state": "frozen", "kernel_release": "x",
            "version": "x", "workloads": [], "warnings": null } } });
        for stream in status.incoming() {
            let mut stream = stream.unwrap();
            let answer = match read_call(&stream).contains("GetStatus") {
                true => frozen.to_string(),
                false => "{\"parameters\":{\"vendor\":\"x\"}}".to_owned(),
            };
            // Who asked may have gone.
            let _ = stream.write_all(format!("{answer}\0").as_bytes());
        }
    });
    let updating = Updating::with(folder, &["kexec"], Stdio::piped());
    updating.interrupt();
    let (mut cancel, _) = updating.agent.accept().unwrap();
    is_cancel(&cancel);
    cancel.write_all(b"{}\0").unwrap();
    updating.ends_cancelled();
}

/// The machine may jump before the agent has come to the cancel.
#[test]
fn interrupted_too_late_it_says_so() {
    let mut updating = Updating::begin(Stdio::piped());
    updating.interrupt();
    let (cancel, _) = updating.agent.accept().unwrap();
    is_cancel(&cancel);
    let event = json!({ "update": "u1", "time_us": 1, "phase": "jumping", "kind": "phase",
        "workload": null, "took_us": null, "detail": null });
    let reply = json!({ "parameters": { "event": event }, "continues": true });
    let mut update = updating.update;
    update.write_all(format!("{reply}\0").as_bytes()).unwrap();
    drop((update, cancel, updating.agent));
    let mut error = String::new();
    let stderr = updating.child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut error).unwrap();
    assert_eq!(updating.child.wait().unwrap().code(), Some(0), "{error}");
    assert!(error.contains("it was not cancelled"), "{error}");
}
