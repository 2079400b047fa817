// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client against a QEMU that says what a test wants.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::thread::JoinHandle;

use super::*;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10},
 "package": "Debian 1:10.0.2"}, "capabilities": ["oob"]}}"#;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A QEMU that greets, and answers each command with the next of these lines, in which `ID`
/// is the command's number. It ends after the last one.
fn qemu(answers: &'static [&'static str]) -> (UnixStream, JoinHandle<Vec<Value>>) {
    let (ours, mut its) = UnixStream::pair().unwrap();
    let talk = std::thread::spawn(move || {
        writeln!(its, "{}", GREETING.replace('\n', "")).unwrap();
        let mut commands = Vec::new();
        let mut lines = BufReader::new(its.try_clone().unwrap()).lines();
        for answer in std::iter::once(&r#"{"return": {}, "id": ID}"#).chain(answers) {
            let Some(Ok(line)) = lines.next() else { break };
            let command: Value = serde_json::from_str(&line).unwrap();
            let id = command.get("id").unwrap().to_string();
            its.write_all(answer.replace("ID", &id).as_bytes()).unwrap();
            its.write_all(b"\n").unwrap();
            commands.push(command);
        }
        commands
    });
    (ours, talk)
}

#[test]
fn answers_are_told_from_events_and_from_late_answers() {
    let (socket, talk) = qemu(&[concat!(
        r#"{"event": "STOP", "timestamp": {}}"#,
        "\n",
        r#"{"return": "late", "id": 4711}"#,
        "\n",
        r#"{"return": {"running": true}, "id": ID}"#,
    )]);
    let mut qmp = Qmp::greet(socket, soon()).unwrap();
    assert_eq!(qmp.version(), "10.0.2 (Debian 1:10.0.2)");
    let status = qmp.call("query-status", json!({}), soon()).unwrap();
    assert_eq!(status, json!({"running": true}));
    assert_eq!(qmp.event().unwrap().unwrap().name, "STOP");
    let commands = talk.join().unwrap();
    let names = commands
        .iter()
        .map(|command| command.get("execute").unwrap());
    assert!(names.eq(["qmp_capabilities", "query-status"]));
    assert!(matches!(qmp.event(), Err(Error::Gone)));
    let gone = qmp.call("query-status", json!({}), soon());
    assert!(matches!(gone, Err(Error::Gone)), "{gone:?}");
}

#[test]
fn a_refusal_is_told_in_qemus_words() {
    let (socket, talk) =
        qemu(&[r#"{"error": {"class": "GenericError", "desc": "State blocked"}, "id": ID}"#]);
    let mut qmp = Qmp::greet(socket, soon()).unwrap();
    let refused = qmp.call("migrate", json!({"uri": "fd:m"}), soon());
    assert_eq!(refused.unwrap_err().to_string(), "migrate: State blocked");
    drop(talk.join().unwrap());
}

#[test]
fn one_that_does_not_answer_is_late_and_not_waited_for() {
    let (ours, mut its) = UnixStream::pair().unwrap();
    writeln!(its, "{}", GREETING.replace('\n', "")).unwrap();
    let soon = Instant::now() + Duration::from_millis(20);
    let late = Qmp::greet(ours, soon).unwrap_err();
    assert_eq!(late.to_string(), "qmp_capabilities is not answered in time");
}

#[test]
fn what_is_no_qmp_is_an_error() {
    for line in ["hello", "{}", "[1, 2", r#"{"return": {}, "id": 1}"#] {
        let (ours, mut its) = UnixStream::pair().unwrap();
        writeln!(its, "{line}").unwrap();
        let nonsense = Qmp::greet(ours, soon());
        assert!(matches!(nonsense, Err(Error::Nonsense(_))), "{line}");
    }
}

#[test]
fn a_line_without_an_end_is_bounded() {
    let mut lines = Lines::default();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..MAX_LINE >> 20 {
        lines.push(&piece).unwrap();
        assert!(lines.next().is_none());
    }
    assert!(lines.push(b"x").is_err());
}

#[test]
fn a_descriptor_goes_along() {
    let (ours, its) = UnixStream::pair().unwrap();
    let talk = std::thread::spawn(move || {
        let mut its = its;
        writeln!(its, "{}", GREETING.replace('\n', "")).unwrap();
        let mut fds = Vec::new();
        for id in 1..=2 {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut buffer = [0; 4096];
            let flags = rustix::net::RecvFlags::empty();
            fds.extend(
                socket::receive(&its, &mut buffer, &mut room, flags)
                    .unwrap()
                    .fds,
            );
            writeln!(its, r#"{{"return": {{}}, "id": {id}}}"#).unwrap();
        }
        let mut file = File::from(fds.pop().unwrap());
        assert!(fds.is_empty());
        file.write_all(b"through the pipe").unwrap();
    });
    let mut qmp = Qmp::greet(ours, soon()).unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let arguments = json!({"fdname": "m"});
    qmp.call_with("getfd", arguments, Some(write.as_fd()), soon())
        .unwrap();
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through the pipe");
    talk.join().unwrap();
}
