// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is told of the history, with an agent and without.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Output;

use luoctl::exit::Exit;
use serde_json::{Value, json};

use crate::called::{ends_with, luoctl, read_call, text};

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
    // That nothing is there does not mean that nothing has happened.
    let nowhere = ["where the history would be, is not there", "--config names"];
    ends_with(&read(&["--offline"]), Exit::Unavailable, &nowhere);

    fs::create_dir(path("state")).unwrap();
    let none = read(&["--offline"]);
    ends_with(&none, Exit::Done, &[]);
    assert!(text(&none.stdout).contains("no update has been made"));
    ends_with(&read(&[""]), Exit::Usage, &[]);
    let both = ["--json", "last", "--format", "svg"];
    ends_with(&read(&both), Exit::Usage, &[]);
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
    fs::write(notes.join("unwritten"), "[{").unwrap();
    let words = [
        "cannot be read",
        "an update, or the end of one, may be missing",
    ];
    ends_with(&read(&[]), Exit::Damaged, &words);
    fs::write(&config, "nonsense\n").unwrap();
    ends_with(&read(&[]), Exit::Config, &["luod.toml"]);
}

/// What `luoctl history last` says of an agent's answer.
fn history(answer: &Value) -> Output {
    asked(&["history", "last"], answer)
}

/// What a command says of it.
fn asked(arguments: &[&str], answer: &Value) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("status")).unwrap();
    let reply = json!({ "parameters": answer }).to_string() + "\0";
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_call(&stream);
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let output = luoctl(folder.path(), arguments);
    agent.join().unwrap();
    output
}

/// An answer has room for so much.
#[test]
fn what_is_not_shown_is_said() {
    let update = json!({ "update": "u-1", "outcome": "completed", "reason": null,
        "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
        "to_kernel": "b", "timeline": [] });
    let answer = json!({ "updates": [update], "left_out": 7 });
    let said = "7 older ones are not shown";
    ends_with(
        &asked(&["history"], &answer),
        Exit::Done,
        &[said, "--offline"],
    );
    let output = asked(&["--json", "history"], &answer);
    assert!(text(&output.stdout).contains("\"left_out\": 7"));
    // One that was looked for may be among them; one that was found is all that is wanted.
    let output = asked(&["history", "u-2"], &answer);
    ends_with(&output, Exit::NotFound, &[said, "there is no update"]);
    let output = asked(&["history", "u-1"], &answer);
    assert!(!text(&output.stderr).contains(said));
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

    let output = history(&json!({ "updates": [update], "problems": ["line 4: junk"],
        "unsure": true }));
    ends_with(
        &output,
        Exit::Damaged,
        &[
            "line 4: junk",
            "an update, or the end of one, may be missing",
        ],
    );
    assert!(text(&output.stdout).contains("u-1"));

    let full = "update u-1 could not be written down";
    let output = history(&json!({ "updates": [update], "problems": [full], "unwritten": 1 }));
    ends_with(&output, Exit::Damaged, &[full]);
    assert!(text(&output.stdout).contains("u-1"));
}
