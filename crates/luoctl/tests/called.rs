// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command, called; and what it says to an agent that a test plays.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

use luoctl::exit::Exit;
use serde_json::{Value, json};

pub(crate) const LUOCTL: &str = env!("CARGO_BIN_EXE_luoctl");

pub(crate) fn luoctl(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(LUOCTL);
    command.arg("--runtime-directory").arg(folder);
    command.args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub(crate) fn ends_with(output: &Output, exit: Exit, words: &[&str]) {
    let code = output.status.code();
    let error = text(&output.stderr);
    assert_eq!(code, Some(i32::from(exit.code())), "{error}");
    for word in words {
        assert!(error.contains(word), "'{word}' in '{error}'");
    }
}

/// The next message.
pub(crate) fn read_call(stream: &UnixStream) -> String {
    let mut call = Vec::new();
    BufReader::new(stream).read_until(0, &mut call).unwrap();
    text(&call)
}

/// The next call must be a cancel.
pub(crate) fn is_cancel(stream: &UnixStream) {
    let call = read_call(stream);
    assert!(call.contains("org.liveupdate.Admin.Cancel"), "{call}");
}

/// Plays an agent that has an answer to each call.
pub(crate) fn plays(folder: &Path, sockets: &[&str], answer: fn(&str) -> Value) {
    for socket in sockets {
        let listener = UnixListener::bind(folder.join(socket)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || answers(&stream, answer));
            }
        });
    }
}

fn answers(stream: &UnixStream, answer: fn(&str) -> Value) {
    let mut calls = BufReader::new(stream);
    let mut stream = stream;
    loop {
        let mut call = Vec::new();
        if calls.read_until(0, &mut call).unwrap_or(0) == 0 {
            return;
        }
        let reply = json!({ "parameters": answer(&text(&call)) });
        if stream.write_all(format!("{reply}\0").as_bytes()).is_err() {
            return;
        }
    }
}
