// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command without an agent.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use luoctl::exit::Exit;
use serde_json::{Value, json};

const LUOCTL: &str = env!("CARGO_BIN_EXE_luoctl");

fn luoctl(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(LUOCTL);
    command.arg("--runtime-directory").arg(folder);
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn ends_with(output: &Output, exit: Exit, words: &[&str]) {
    let code = output.status.code();
    let error = text(&output.stderr);
    assert_eq!(code, Some(i32::from(exit.code())), "{error}");
    for word in words {
        assert!(error.contains(word), "'{word}' in '{error}'");
    }
}

#[test]
fn an_agent_that_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let all: [&[&str]; 13] = [
        &["status"],
        &["sessions"],
        &["graph"],
        &["check"],
        &["plan"],
        &["prepare"],
        &["freeze"],
        &["kexec"],
        &["cancel"],
        &["update"],
        &["finish"],
        &["release", "x"],
        &["inspect"],
    ];
    for arguments in all {
        for dry in [false, true] {
            let dry: &[&str] = if dry { &["--dry-run"] } else { &[] };
            let output = luoctl(folder.path(), &[arguments, dry].concat());
            ends_with(&output, Exit::Unavailable, &["systemctl start luod"]);
            assert!(output.stdout.is_empty());
        }
    }
    // One that has died leaves its socket.
    drop(UnixListener::bind(folder.path().join("status")).unwrap());
    let output = luoctl(folder.path(), &["history"]);
    ends_with(
        &output,
        Exit::Unavailable,
        &["Connection refused", "systemctl start"],
    );
}

/// What is on the disk can be read without luod, and what is not there is not made up.
#[test]
fn a_history_without_luod() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let config = path("luod.toml");
    fs::write(&config, format!("state_directory = {:?}\n", path("state"))).unwrap();
    let read = |more: &[&str]| {
        let arguments = [&["history", "--config", config.as_str()], more].concat();
        luoctl(folder.path(), &arguments)
    };
    ends_with(&read(&[]), Exit::Unavailable, &["systemctl start luod"]);
    let none = read(&["--offline"]);
    ends_with(&none, Exit::Done, &[]);
    assert!(text(&none.stdout).contains("no update has been made"));

    fs::create_dir(path("state")).unwrap();
    let line = |outcome: &str| {
        let entry = json!({ "update": "u-1", "outcome": outcome, "reason": null,
            "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
            "to_kernel": "a", "timeline": [], "boot": "another" });
        fs::write(path("state/history.jsonl"), format!("{entry}\n")).unwrap();
    };
    line("completed");
    let output = read(&[]);
    ends_with(
        &output,
        Exit::Done,
        &["is luod running?", "is read without it"],
    );
    assert!(text(&output.stdout).contains("completed"));
    line("lost");
    ends_with(&read(&["last"]), Exit::Damaged, &[]);
    line("under_way");
    let output = read(&["--offline"]);
    ends_with(&output, Exit::Done, &[]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    assert!(
        told.contains("under way") && told.contains("luod has not told"),
        "{told}"
    );
    // What luod has noted, and could not write down.
    let notes = folder.path().join("state");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let count = fs::read_to_string("/sys/kernel/liveupdate/update_count").unwrap_or_default();
    fs::write(
        notes.join("epoch"),
        format!("{}/{}", boot.trim(), count.trim()),
    )
    .unwrap();
    let entry = json!([{ "update": "u-1", "outcome": "cancelled", "reason": "lunch",
        "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
        "to_kernel": "a", "timeline": [] }]);
    fs::write(notes.join("unwritten"), entry.to_string()).unwrap();
    let output = read(&[]);
    ends_with(&output, Exit::Damaged, &["u-1 is in luod's notes only"]);
    assert!(text(&output.stdout).contains("lunch"));
    fs::write(&config, "nonsense\n").unwrap();
    ends_with(&read(&[]), Exit::Config, &["luod.toml"]);
}

/// What `luoctl history` says of an agent's answer.
fn history(answer: &Value) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("status")).unwrap();
    let reply = json!({ "parameters": answer }).to_string() + "\0";
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_call(&stream);
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let output = luoctl(folder.path(), &["history", "last"]);
    agent.join().unwrap();
    output
}

#[test]
fn a_history_that_cannot_be_read_is_not_an_empty_one() {
    let why = "the history cannot be read: Permission denied";
    let output = history(&json!({ "updates": [], "problems": [why] }));
    ends_with(&output, Exit::Damaged, &[why, "may have been made"]);
    assert!(output.stdout.is_empty());

    let update = json!({ "update": "u-1", "outcome": "completed", "reason": null,
        "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
        "to_kernel": "b", "timeline": [] });
    let output = history(&json!({ "updates": [update], "problems": ["line 4: junk"] }));
    ends_with(&output, Exit::Done, &["line 4: junk"]);
    assert!(text(&output.stdout).contains("u-1"));

    let full = "update u-1 could not be written down";
    let output = history(&json!({ "updates": [update], "problems": [full], "unwritten": 1 }));
    ends_with(&output, Exit::Damaged, &[full]);
    assert!(text(&output.stdout).contains("u-1"));
}

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
fn programs_get_failures_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = luoctl(folder.path(), &["--json", "status"]);
    ends_with(&output, Exit::Unavailable, &[]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "no-agent");
    assert_eq!(document["error"]["exit_code"], 69);
    assert!(
        document["error"]["next"]
            .as_str()
            .unwrap()
            .contains("systemctl")
    );
}

/// Root may always; where the tests have it, the command gives it up.
#[test]
fn who_may_not_is_told_what_everybody_may() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(folder.path().join("admin")).unwrap();
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    fs::set_permissions(folder.path().join("admin"), mode(0)).unwrap();
    // Others may not go where this is built.
    let copy = folder.path().join("luoctl");
    fs::copy(LUOCTL, &copy).unwrap();
    let mut command = Command::new(&copy);
    command.arg("--runtime-directory").arg(folder.path());
    command.arg("update").current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    ends_with(
        &output,
        Exit::Permission,
        &["Permission denied", "run it as root", "`luoctl status`"],
    );
}

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
    assert!(text(&output.stdout).contains("the machine jumps"));

    let folder = tempfile::tempdir().unwrap();
    let agent = short_lived(folder.path(), &["jumping"]);
    let output = luoctl(folder.path(), &["--json", "update"]);
    agent.join().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(text(&output.stdout).ends_with("{\"jumping\":{\"update\":\"u1\"}}\n"));
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

/// The next message.
fn read_call(stream: &UnixStream) -> String {
    let mut call = Vec::new();
    BufReader::new(stream).read_until(0, &mut call).unwrap();
    text(&call)
}

/// `luoctl update`, which an agent has heard and not answered.
struct Updating {
    _folder: tempfile::TempDir,
    agent: UnixListener,
    child: Child,
    update: UnixStream,
}

impl Updating {
    fn begin(stderr: impl Into<Stdio>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = UnixListener::bind(folder.path().join("admin")).unwrap();
        let mut command = Command::new(LUOCTL);
        command
            .arg("--runtime-directory")
            .arg(folder.path())
            .arg("update");
        let child = command.stderr(stderr).spawn().unwrap();
        let (update, _) = agent.accept().unwrap();
        read_call(&update);
        Self {
            _folder: folder,
            agent,
            child,
            update,
        }
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

/// The next call must be a cancel.
fn is_cancel(stream: &UnixStream) {
    let call = read_call(stream);
    assert!(call.contains("org.liveupdate.Admin.Cancel"), "{call}");
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
                // Who asked may have gone.
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
    let all: [&[&str]; 9] = [
        &["check"],
        &["prepare"],
        &["freeze"],
        &["kexec"],
        &["update", "--yes"],
        &["update", "--dry-run"],
        &["finish"],
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
    let hangs = Hangs::new();
    hangs.answers(usize::MAX);
    let child = hangs.start(&["check"]);
    let (mut admin, _) = hangs.admin.accept().unwrap();
    read_call(&admin);
    // Longer than it has to answer whether it is there.
    std::thread::sleep(Duration::from_millis(5500));
    admin
        .write_all(b"{\"parameters\":{\"report\":{\"ok\":true,\"checks\":[]}}}\0")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
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

#[test]
fn nonsense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let all: [&[&str]; 6] = [
        &["jump"],
        &["status", "--jsn"],
        &["graph", "--format", "dot", "--json"],
        &["watch", "--until", "lunch"],
        &["release"],
        &[],
    ];
    for arguments in all {
        ends_with(&luoctl(folder.path(), arguments), Exit::Usage, &[]);
    }
    ends_with(
        &luoctl(folder.path(), &["schema", "x"]),
        Exit::Usage,
        &["no document 'x'"],
    );
    for arguments in [["--help"], ["--version"]] {
        ends_with(&luoctl(folder.path(), &arguments), Exit::Done, &[]);
    }
    let help = luoctl(folder.path(), &["--help"]);
    for exit in Exit::ALL {
        assert!(text(&help.stdout).contains(exit.describe().1), "{exit:?}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(LUOCTL);
    command.args(["completions", "bash"]).stdout(writer);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    // Output that cannot be written for another reason is an error.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(LUOCTL);
    command.args(["completions", "bash"]).stdout(full);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    ends_with(&output, Exit::Output, &["No space left"]);
}

#[test]
fn an_error_that_cannot_be_written_ends_it_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(LUOCTL);
    command.arg("--runtime-directory").arg(folder.path());
    let output = command.arg("status").stderr(full()).output().unwrap();
    ends_with(&output, Exit::Unavailable, &[]);
    let mut command = Command::new(LUOCTL);
    command.args(["completions", "bash"]).stdout(full());
    let output = command.stderr(full()).output().unwrap();
    ends_with(&output, Exit::Output, &[]);
}

#[test]
fn there_are_completions_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = luoctl(folder.path(), &["completions", shell]);
        ends_with(&output, Exit::Done, &[]);
        assert!(text(&output.stdout).contains("freeze"), "{shell}");
    }
}

#[test]
fn schemas_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for document in ["status", "line", "error"] {
        let output = luoctl(folder.path(), &["schema", document]);
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["$schema"].is_string(), "{document}");
    }
}
