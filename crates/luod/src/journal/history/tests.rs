// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was written down is told, whatever the disk does.

use std::fs::{File, OpenOptions};
use std::io::Write;

use luo_varlink::Outcome;

use super::disk::{MAX_PROBLEMS, MAX_READ};
use super::*;

fn entry(update: &str) -> HistoryEntry {
    HistoryEntry {
        update: update.into(),
        outcome: Outcome::Completed,
        reason: None,
        began_us: 1,
        took_us: 2,
        blackout_us: Some(3),
        from_kernel: "a".into(),
        to_kernel: "b".into(),
        timeline: Vec::new(),
    }
}

fn add(history: &History, entry: &HistoryEntry) -> io::Result<bool> {
    history.put(entry);
    history.write()
}

fn names(past: &Past) -> Vec<&str> {
    let names = past.updates.iter().map(|entry| entry.update.as_str());
    names.collect()
}

fn append(history: &History, bytes: &[u8]) {
    let file = OpenOptions::new().append(true).open(&history.path);
    file.unwrap().write_all(bytes).unwrap();
}

#[test]
fn the_newest_comes_first_and_damage_is_named_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(&folder.path().join("state"));
    assert!(history.last(5).unwrap().updates.is_empty());
    for update in ["one", "two", "three"] {
        add(&history, &entry(update)).unwrap();
    }
    append(&history, b"{\"update\":\"half");
    let past = history.last(2).unwrap();
    assert_eq!(names(&past), ["three", "two"]);
    assert!(past.problems[0].contains("line 4: "), "{:?}", past.problems);
    // What is torn swallows nothing, and what is no entry takes no entry's place.
    add(&history, &entry("four")).unwrap();
    append(&history, b"{\"some\": \"thing\"}\n\n");
    let past = history.last(1).unwrap();
    assert_eq!(names(&past), ["four"]);
    assert_eq!(past.problems.len(), 2, "{:?}", past.problems);
}

#[test]
fn a_history_without_an_end_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    let file = File::create(&history.path).unwrap();
    file.set_len(MAX_READ + 1).unwrap();
    let why = history.last(5).unwrap_err().to_string();
    assert!(why.contains("more than"), "{why}");
}

#[test]
fn a_later_entry_of_an_update_takes_the_place_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    add(&history, &entry("one")).unwrap();
    add(&history, &entry("two")).unwrap();
    let later = HistoryEntry {
        reason: Some("late".into()),
        ..entry("one")
    };
    add(&history, &later).unwrap();
    let past = history.last(5).unwrap();
    assert_eq!(names(&past), ["two", "one"]);
    assert_eq!(past.updates[1], later);
    assert!(past.problems.is_empty());
}

#[test]
fn what_the_disk_does_not_take_is_told_of_and_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let history = History::in_directory(&state);
    add(&history, &entry("one")).unwrap();
    let file = fs::read(&history.path).unwrap();
    // Somebody has put a file where the folder was.
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "").unwrap();
    assert!(add(&history, &entry("two")).is_err());
    assert!(history.clone().last(5).is_err());
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(&history.path, file).unwrap();
    let past = history.last(5).unwrap();
    assert_eq!(names(&past), ["two", "one"]);
    assert!(past.problems[0].contains("update two"), "{past:?}");
    add(&history, &entry("three")).unwrap();
    let past = History::in_directory(&state).last(5).unwrap();
    assert_eq!(names(&past), ["three", "two", "one"]);
    assert!(past.problems.is_empty());
}

#[test]
fn a_folder_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let history = History::in_directory(&folder.path().join("file"));
    assert!(add(&history, &entry("one")).is_err());
    assert!(history.is_writable().is_err());
    assert!(history.last(5).is_err());
    let good = History::in_directory(&folder.path().join("new"));
    good.is_writable().unwrap();
    assert!(good.last(5).unwrap().updates.is_empty());
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    for name in [FILE, ".trial.0"] {
        let path = folder.path().join(name);
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    assert!(history.is_writable().is_err());
    assert!(history.last(5).is_err());
    assert!(add(&history, &entry("one")).is_err());
    fs::remove_file(&history.path).unwrap();
    history.is_writable().unwrap();
    let past = history.last(5).unwrap();
    assert!(
        past.problems[0].contains("is lost if luod ends"),
        "{past:?}"
    );
    history.are_noted(true);
    let past = history.last(5).unwrap();
    assert!(past.problems[0].contains("in its notes"), "{past:?}");
}

#[test]
fn many_try_at_the_same_time_and_none_is_in_anothers_way() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| history.is_writable().unwrap()));
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn of_many_bad_lines_some_are_named_and_all_counted() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    add(&history, &entry("one")).unwrap();
    append(&history, "x\n".repeat(100_000).as_bytes());
    let past = history.last(5).unwrap();
    assert_eq!(names(&past), ["one"]);
    assert_eq!(past.problems.len(), MAX_PROBLEMS + 1);
    assert!(past.problems[MAX_PROBLEMS].starts_with("99992 more"));
}

#[test]
fn who_asks_while_a_disk_hangs_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    // A thread is at it, and does not come back.
    history.queue().is_writing = true;
    assert!(!add(&history, &entry("one")).unwrap());
    assert_eq!(
        (history.count_unwritten(), history.unwritten().len()),
        (0, 1)
    );
    assert!(
        history.last(5).unwrap().problems.is_empty(),
        "it is being written"
    );
    history.is_not_taken("the disk does not answer");
    assert_eq!(history.count_unwritten(), 1);
    let past = history.last(5).unwrap();
    assert!(past.problems[0].contains("does not answer"), "{past:?}");
    assert_eq!(names(&past), ["one"]);
}
