// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `luo-sim`.

mod built;

use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const SIM: &str = env!("CARGO_BIN_EXE_luo-sim");

/// The test program, as a path.
fn guest() -> String {
    built::program("luo-sim-guest").to_str().unwrap().to_owned()
}

fn sim(arguments: &[&str]) -> Output {
    Command::new(SIM).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_for_each_boot() {
    let first = format!(
        "{} hold vm <&- & sleep 0; echo one; exec {SIM} kexec",
        guest()
    );
    let output = sim(&["run", "--boot", &first, "--boot", "echo two; exit 3"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("two\n"));
}

#[test]
fn the_same_program_at_each_boot() {
    let output = sim(&["run", "--boots", "2", "--times", "--", &guest(), "cycle"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("boot 0 to 1: "));
}

/// What a kernel would pass over in silence, or list as two, is a mistake here.
#[test]
fn what_nobody_can_mean_is_refused() {
    for (option, value, words) in [
        (
            "--parameters",
            "quiet liveupdate_openers=zzz",
            "write one or many",
        ),
        (
            "--parameters",
            "liveupdate_unclaimed=",
            "write carry or discard",
        ),
        ("--subsystem", "a\nb", "'a\\nb' cannot be a subsystem"),
    ] {
        let output = sim(&["run", option, value, "--", "true"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let output = sim(&["run"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("there is nothing to run"));
    // What is meant instead is said.
    for (arguments, words) in [
        (&["run"][..], "luo-sim run --boots 2 -- PROGRAM"),
        (&["run", "true"], "luo-sim run --boots 2 -- true"),
        (
            &["run", "--fault", "bla", "--", "true"],
            "`luo-sim run --fault help` lists",
        ),
        (&["run", "--boots", "0", "--", "true"], "0 is not in 1.."),
        (&["run", "--at-most", "0", "--", "true"], "0 is not in 1.."),
    ] {
        let output = sim(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let output = sim(&["run", "--tr", "--", "true"]);
    assert!(!text(&output.stderr).contains("two dashes"));
    // What is missing on the machine is no fault of the command line.
    for arguments in [
        &["run", "--", "/nonexistent"][..],
        &["run", "--trace-json", "/nonexistent/trace", "--", "true"],
        &["system", "/dev/null/system"],
    ] {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(70), "{}", text(&output.stderr));
    }
    let known = "liveupdate_openers=many liveupdate_unclaimed=discard other=zzz";
    let output = sim(&["run", "--parameters", known, "--", "true"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Also those that have left their session and their parent. Nobody is asked to end them.
#[test]
fn whoever_is_killed_takes_the_machine_along() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead as _, BufReader, Read as _};
    let script = "(setsid sleep 1000 &) ; sleep 1000 & echo on; exec sleep 1000";
    for signal in [Signal::TERM, Signal::KILL] {
        let mut child = Command::new(SIM)
            .args(["run", "--boot", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "on\n");
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
        // Each of them has this end, so it is over when they are.
        assert_eq!(said.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}

#[test]
fn the_trace_is_lines_of_json() {
    let path = std::env::temp_dir().join(format!("luo-sim-{}.json", std::process::id()));
    let file = path.to_str().unwrap();
    let output = sim(&[
        "run",
        "--trace",
        "--trace-json",
        file,
        "--",
        &guest(),
        "cycle",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let trace = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            event["boot"].is_u64() && event["state"].is_string(),
            "{line}"
        );
        calls.push(event["call"].as_str().unwrap().to_owned());
    }
    for call in [
        "CREATE_SESSION",
        "PRESERVE_FD",
        "freeze",
        "RETRIEVE_FD",
        "close",
        "log",
    ] {
        assert!(
            calls.iter().any(|known| known == call),
            "{call} in {calls:?}"
        );
    }
    assert_eq!(text(&output.stderr).lines().count(), trace.lines().count());
}

#[test]
fn faults_are_listed_and_checked() {
    let output = sim(&["run", "--fault", "help"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("subsystem-prepare"));
    let output = sim(&["run", "--fault", "melt=EIO", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no step 'melt'"));
}

/// A test that tests nothing is no success.
#[test]
fn what_did_not_come_about_is_an_error() {
    let failed = |arguments: &[&str], says: &str| {
        let output = sim(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    failed(
        &["run", "--boots", "2", "--", "true"],
        "boot 0 ended without a kexec",
    );
    failed(
        &["run", "--fault", "freeze=EBUSY", "--", "true"],
        "the fault freeze:1=EBUSY did not come about",
    );
    let fault = ["run", "--boots", "2", "--fault", "1/kexec=crash", "--"];
    failed(
        &[&fault[..], &[&guest(), "cycle"]].concat(),
        "the fault 1/kexec:1=crash did not come about",
    );
    failed(
        &["run", "--trace-json", "/dev/full", "--", &guest(), "wait"],
        "the trace is not complete",
    );
    let bounded = sim(&["run", "--at-most", "2", "--", "true"]);
    assert!(bounded.status.success(), "{}", text(&bounded.stderr));
}

/// Such a write comes with a signal that ends who has no handler for it.
#[test]
fn a_trace_that_is_longer_than_a_file_may_be_is_an_error() {
    let path = std::env::temp_dir().join(format!("luo-sim-{}.long", std::process::id()));
    let script = "ulimit -f 0; exec \"$0\" \"$@\"";
    let output = Command::new("/bin/sh")
        .args(["-c", script, SIM, "run", "--trace-json"])
        .arg(&path)
        .args(["--", &guest(), "wait"])
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{:?}: {said}", output.status);
    assert!(said.contains("the trace is not complete"), "{said}");
}

#[test]
fn a_trace_that_nobody_can_be_told_is_an_error() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = Command::new(SIM);
    command.args(["run", "--trace", "--", &guest(), "wait"]);
    assert_eq!(command.stderr(full).status().unwrap().code(), Some(1));
}

#[test]
fn outside_of_a_simulation_nothing_is_loaded() {
    let output = Command::new(SIM)
        .arg("kexec")
        .env_remove("LUO_SIM_BOOT")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(text(&output.stderr).contains("luo-sim run"));
}

#[test]
fn what_cannot_be_written_is_no_success() {
    for arguments in [&["--help"][..], &["--version"], &["run", "--fault", "help"]] {
        let script = |to: &str| {
            let script = format!("exec \"$0\" \"$@\" {to}");
            let ended = Command::new("sh")
                .args(["-c", &script, SIM])
                .args(arguments)
                .output();
            ended.unwrap()
        };
        for to in [">&-", ">/dev/full"] {
            let output = script(to);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(70), "{arguments:?} {to}: {said}");
            assert!(said.contains("standard output"), "{said}");
        }
        assert!(script("").status.success());
        assert!(script(">/dev/null").status.success());
    }
}

/// No root is needed. Where the tests have it, they give it up.
#[test]
fn an_ordinary_user_can_simulate() {
    let folder = std::env::temp_dir().join(format!("luo-sim-user-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let copy = |from: &str, name: &str| {
        let to = folder.join(name);
        std::fs::copy(from, &to).unwrap();
        to
    };
    let (sim, guest) = (copy(SIM, "sim"), copy(&guest(), "guest"));
    let mut command = Command::new(sim);
    command
        .args(["run", "--boots", "2", "--"])
        .arg(guest)
        .arg("cycle");
    command.current_dir(&folder);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    std::fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// As many as were promised, if a process may have so many descriptors here: the
/// program holds one for each, and so does the simulator.
#[test]
fn twenty_thousand_sessions() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let mut lines = limits.lines();
    let line = lines.find(|line| line.starts_with("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().nth(4)?.parse::<u64>().ok());
    let count = most.unwrap_or(u64::MAX).saturating_sub(200).min(20_000);
    if count < 20_000 {
        // Past the test harness: it is less than what the name says.
        let said = format!("WARNING: a process may have too few files here: {count} sessions\n");
        std::io::stdout().lock().write_all(said.as_bytes()).unwrap();
    }
    let output = Command::new(SIM)
        .args(["run", "--boots", "2", "--", &guest(), "sessions"])
        .arg(count.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Runs the simulator where a filter, such as a container's, refuses a system call.
#[cfg(target_arch = "x86_64")]
fn without(call: i64) -> Output {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    const EPERM: u32 = 1;
    let rules = [(call, Vec::new())].into_iter().collect();
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(EPERM));
    let filter = SeccompFilter::new(rules, allow, refuse, TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // The filter is the thread's and what it starts, and goes with it.
    let filtered = std::thread::spawn(move || {
        apply_filter(&program).unwrap();
        sim(&["run", "--boots", "2", "--", &guest(), "cycle"])
    });
    filtered.join().unwrap()
}

/// What the simulator cannot do without: whoever forbids it is named.
#[cfg(target_arch = "x86_64")]
#[test]
fn what_forbids_the_simulator_is_named() {
    for (call, name) in [
        (317, "seccomp"),
        (434, "pidfd_open"),
        (438, "pidfd_getfd"),
        (310, "process_vm_readv"),
        (311, "process_vm_writev"),
    ] {
        let output = without(call);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{name}: {said}");
        assert!(said.contains("seccomp=unconfined"), "{name}: {said}");
        assert!(said.contains("filter of system calls"), "{name}: {said}");
    }
}
