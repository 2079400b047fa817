// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent that is slow, or hangs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use luoctl::exit::Exit;
use serde_json::{Value, json};

use crate::called::{LUOCTL, ends_with, is_cancel, luoctl, read_call, text};

/// How a process stands, as proc(5) has it.
fn state_of(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, state) = stat.rsplit_once(") ").unwrap();
    state.chars().next().unwrap()
}

/// An agent that is slow to accept, and a signal meanwhile.
#[test]
fn a_signal_does_not_end_the_attempt_to_connect() {
    use rustix::process::{Pid, Signal, kill_process};
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("status")).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _all_there_is_room_for = UnixStream::connect(folder.path().join("status")).unwrap();
    let mut command = Command::new(LUOCTL);
    command.arg("--runtime-directory").arg(folder.path());
    command.arg("status").stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let until = |state| {
        while state_of(child.id()) != state {
            assert_ne!(state_of(child.id()), 'Z', "it has ended");
            std::thread::yield_now();
        }
    };
    until('S');
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    until('T');
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    until('S');
    drop(listener.accept().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    let refusal = json!({ "error": "org.liveupdate.Status.TooMany",
        "parameters": { "limit": "lookers" } });
    stream.write_all(format!("{refusal}\0").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    ends_with(&output, Exit::Unavailable, &["lookers"]);
}

#[test]
fn an_agent_that_hangs_is_told_of_at_once_and_waited_for_as_long_as_one_says() {
    let folder = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(folder.path().join("status")).unwrap();
    let begun = Instant::now();
    let output = luoctl(folder.path(), &["status", "--timeout", "2.5"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    ends_with(&output, Exit::TimedOut, &["does not answer yet", "2.5 s"]);
    let output = luoctl(folder.path(), &["status", "--timeout", "0"]);
    ends_with(&output, Exit::Usage, &[]);
}

/// An agent that answers nobody, or for a while only those who ask whether it is there.
struct Hangs {
    folder: tempfile::TempDir,
    admin: UnixListener,
    _client: UnixListener,
    status: UnixListener,
}

impl Hangs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bind = |name: &str| UnixListener::bind(folder.path().join(name)).unwrap();
        let (admin, client, status) = (bind("admin"), bind("client"), bind("status"));
        Self {
            folder,
            admin,
            _client: client,
            status,
        }
    }

    /// Answers so many questions whether it is there, in a thread of its own.
    fn answers(&self, pings: usize) {
        let status = self.status.try_clone().unwrap();
        std::thread::spawn(move || {
            for _ in 0..pings {
                let (mut stream, _) = status.accept().unwrap();
                let call = read_call(&stream);
                assert!(call.contains("org.varlink.service.GetInfo"), "{call}");
                // The command that asked may have gone.
                let _ = stream.write_all(b"{\"parameters\":{\"vendor\":\"x\"}}\0");
            }
        });
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(LUOCTL);
        command.arg("--runtime-directory").arg(self.folder.path());
        // As short as a moment that else is not worth a word.
        command.args(["--timeout", "2", "--json"]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

/// Of an agent that hangs nothing is asked that it could do later, when nobody waits for it.
#[test]
fn whatever_is_asked_of_an_agent_that_hangs_it_is_told_and_given_up() {
    let hangs = Hangs::new();
    let all: [&[&str]; 13] = [
        &["watch"],
        &["check"],
        &["prepare"],
        &["freeze"],
        &["kexec"],
        &["update", "--yes"],
        &["update", "--dry-run"],
        &["finish"],
        &["release", "a"],
        &["release", "--force", "a"],
        &["release", "--user", "1000"],
        &["hold", "a", "--", "true"],
        &["take", "a", "--", "true"],
    ];
    let children = all.map(|arguments| (arguments, hangs.start(arguments)));
    for (arguments, child) in children {
        let output = child.wait_with_output().unwrap();
        ends_with(&output, Exit::TimedOut, &["does not answer yet", "2 s"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["kind"], "timed-out", "{arguments:?}");
    }
    hangs.admin.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = hangs.admin.accept() {
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).unwrap();
        assert!(sent.is_empty(), "{}", text(&sent));
    }
}

#[test]
fn a_cancel_is_left_with_an_agent_that_hangs() {
    let hangs = Hangs::new();
    let output = hangs.start(&["cancel"]).wait_with_output().unwrap();
    let words = ["does not answer yet", "has been asked to cancel"];
    ends_with(&output, Exit::TimedOut, &words);
    is_cancel(&hangs.admin.accept().unwrap().0);
}

#[test]
fn an_agent_that_is_busy_is_waited_for() {
    let report: &[u8] = b"{\"parameters\":{\"report\":{\"ok\":true,\"checks\":[]}}}\0";
    let done: &[u8] = b"{\"parameters\":{}}\0";
    let all: [(&[&str], _); 3] = [
        (&["check"], report),
        (&["release", "a"], done),
        (&["release", "--force", "a"], done),
    ];
    let all = all.map(|(arguments, answer)| {
        let hangs = Hangs::new();
        hangs.answers(usize::MAX);
        let child = hangs.start(arguments);
        let (admin, _) = hangs.admin.accept().unwrap();
        read_call(&admin);
        (hangs, child, admin, answer)
    });
    // Longer than it has to answer whether it is there.
    std::thread::sleep(Duration::from_millis(5500));
    for (_hangs, child, mut admin, answer) in all {
        admin.write_all(answer).unwrap();
        let output = child.wait_with_output().unwrap();
        ends_with(&output, Exit::Done, &[]);
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn an_agent_that_hangs_in_the_middle_is_given_up_where_nothing_is_under_way() {
    let hangs = Hangs::new();
    hangs.answers(1);
    let output = hangs.start(&["check"]).wait_with_output().unwrap();
    ends_with(&output, Exit::TimedOut, &["nothing was changed"]);
    // An update may be under way, so its end is waited for.
    let hangs = Hangs::new();
    hangs.answers(1);
    let mut child = hangs.start(&["update", "--yes"]);
    let (mut admin, _) = hangs.admin.accept().unwrap();
    read_call(&admin);
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.contains("it is waited for"), "{said}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(child.try_wait().unwrap(), None);
    let cancelled = json!({ "error": "org.liveupdate.Admin.Cancelled",
        "parameters": { "reason": "somebody" } });
    admin
        .write_all(format!("{cancelled}\0").as_bytes())
        .unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(i32::from(Exit::Refused.code())));
}

/// Reads a call and answers it, if the command is still there.
fn answer(stream: &mut UnixStream, wanted: &str, parameters: &Value) {
    let call = read_call(stream);
    assert!(call.contains(wanted), "{call}");
    let reply = json!({ "parameters": parameters });
    let _ = stream.write_all(format!("{reply}\0").as_bytes());
}

/// What takes its time beside an agent that answers is not said to be the agent's delay.
#[test]
fn an_agent_that_answers_is_not_said_to_be_late() {
    // Each answer takes less than a moment, and all of them together more.
    let hangs = Hangs::new();
    let child = hangs.start(&["release", "--user", "1000"]);
    let info = json!({ "vendor": "", "product": "", "version": "", "url": "", "interfaces": [] });
    let stands = json!({ "status": { "phase": "normal", "update": null, "orchestrator": "contract",
        "kernel_state": "normal", "kernel_release": "7.3", "version": "0", "workloads": [] } });
    // It is looked again and again whether the agent is awake, and it is.
    let status = hangs.status.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in status.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let call = read_call(&stream);
            let said = if call.contains("GetInfo") {
                &info
            } else {
                &stands
            };
            let reply = json!({ "parameters": said });
            let _ = stream.write_all(format!("{reply}\0").as_bytes());
        }
    });
    let (mut admin, _) = hangs.admin.accept().unwrap();
    let session = |name: &str| {
        json!({ "name": name, "workload": name, "custody": "agent", "incoming": false,
            "files": null, "bytes": null, "identity": { "uid": 1000, "gid": 1000, "unit": null } })
    };
    let sessions = ["a", "b", "c", "d"].map(session);
    answer(&mut admin, "ListSessions", &json!({ "sessions": sessions }));
    for _ in sessions {
        std::thread::sleep(Duration::from_millis(400));
        answer(&mut admin, "Release", &json!({}));
    }
    let output = child.wait_with_output().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));

    // Its reader takes its time.
    let hangs = Hangs::new();
    let mut child = hangs.start(&["history"]);
    let (mut status, _) = hangs.status.accept().unwrap();
    let entry = json!({ "update": "u-1", "outcome": "cancelled", "reason": "x".repeat(200_000),
        "began_us": 1, "took_us": 1, "blackout_us": null, "from_kernel": "7.3",
        "to_kernel": "7.3", "timeline": [] });
    answer(&mut status, "GetHistory", &json!({ "updates": [entry] }));
    std::thread::sleep(Duration::from_millis(1500));
    let mut told = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut told).unwrap();
    let output = child.wait_with_output().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(told.len() > 200_000);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}
