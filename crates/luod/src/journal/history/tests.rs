// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was written down is told, whatever the disk does.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use luo_varlink::{Outcome, Phase, TimelineEvent, TimelineKind};

use super::limits::MAX_READ;
use super::line::MAX_LINE;
use super::read::MAX_PROBLEMS;
use super::*;

fn entry(update: &str) -> HistoryEntry {
    HistoryEntry {
        update: update.into(),
        outcome: Outcome::Completed,
        reason: None,
        began_us: 1,
        took_us: Some(2),
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
    let file = OpenOptions::new().append(true).open(&history.disk.path);
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
    let file = File::create(&history.disk.path).unwrap();
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
    let file = fs::read(&history.disk.path).unwrap();
    // Somebody has put a file where the folder was.
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "").unwrap();
    assert!(add(&history, &entry("two")).is_err());
    assert!(history.clone().last(5).is_err());
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(&history.disk.path, file).unwrap();
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
    fs::remove_file(&history.disk.path).unwrap();
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

/// Memory ends somewhere; that an update is not told of any more is told.
#[test]
fn what_makes_way_while_a_disk_takes_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    history.queue().is_writing = true;
    let open = HistoryEntry {
        outcome: Outcome::UnderWay,
        ..entry("open")
    };
    history.put_under_way(&open, None);
    for number in 0..MAX_UNWRITTEN + 2 {
        history.put(&entry(&format!("u-{number}")));
    }
    history.is_not_taken("no room");
    // One that was under way has said all by what came after it.
    assert_eq!(history.count_unwritten(), MAX_UNWRITTEN + 2);
    let past = history.last(5).unwrap();
    let told = past.problems.last().unwrap();
    assert!(told.contains("2 updates, the last of them u-1,"), "{told}");
}

/// A line of a timeline, with much to tell.
fn event(number: usize, phase: Phase) -> TimelineEvent {
    TimelineEvent {
        update: "big".into(),
        time_us: number as u64,
        phase,
        kind: TimelineKind::Asked,
        workload: Some("w".repeat(60)),
        took_us: None,
        detail: Some(number.to_string()),
    }
}

/// An update with more lines than one line of the history may have.
fn big() -> HistoryEntry {
    let timeline = (0..40_000).map(|number| event(number, Phase::Preparing));
    let last = event(40_000, Phase::Jumping);
    HistoryEntry {
        timeline: timeline.chain([last]).collect(),
        ..entry("big")
    }
}

#[test]
fn what_is_written_can_be_read_however_much_has_happened() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    add(&history, &entry("one")).unwrap();
    add(&history, &big()).unwrap();
    let length = fs::metadata(&history.disk.path).unwrap().len();
    assert!(
        length > 2 << 20 && length < MAX_LINE as u64 + 1000,
        "{length}"
    );
    let past = history.last(5).unwrap();
    assert_eq!((names(&past), past.left_out), (vec!["big", "one"], 0));
    assert!(past.problems.is_empty() && !past.is_unsure, "{past:?}");
    let read = &past.updates[0];
    assert_eq!(read.outcome, Outcome::Completed);
    let left_out = 40_001 - read.timeline.len();
    let reason = read.reason.as_deref().unwrap();
    assert!(
        reason.starts_with(&format!("{left_out} of the 40001 lines")),
        "{reason}"
    );
    assert_eq!(read.timeline.first(), big().timeline.first());
    assert_eq!(read.timeline.last(), big().timeline.last());
    // An answer has no room for more, and says so.
    let long = HistoryEntry {
        reason: Some("r".repeat(MAX_LINE / 2)),
        ..entry("long")
    };
    add(&history, &long).unwrap();
    let past = history.last(5).unwrap();
    assert_eq!((names(&past), past.left_out), (vec!["long"], 2));
    assert_eq!(history.last(2).unwrap().left_out, 1);
    let all = history.last_of_all(5).unwrap();
    assert_eq!((names(&all), all.left_out), (vec!["long", "big", "one"], 0));
}

/// An older luod has written lines that are longer than one may be now.
#[test]
fn of_a_line_that_is_too_long_all_but_the_timeline_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    let under_way = HistoryEntry {
        outcome: Outcome::UnderWay,
        ..big()
    };
    add(
        &history,
        &HistoryEntry {
            timeline: Vec::new(),
            ..under_way.clone()
        },
    )
    .unwrap();
    let mut long = serde_json::to_vec(&under_way).unwrap();
    assert!(long.len() > MAX_LINE);
    long.push(b'\n');
    append(&history, &long);
    let (open, _) = history.open_ends().unwrap();
    assert_eq!(
        open[0].phase(),
        Phase::Jumping,
        "it is the newest line that counts"
    );
    let mut long = serde_json::to_vec(&big()).unwrap();
    long.push(b'\n');
    append(&history, &long);
    assert!(history.open_ends().unwrap().0.is_empty());
    let past = history.last(5).unwrap();
    assert_eq!(past.updates[0].outcome, Outcome::Completed);
    assert!(
        past.updates[0]
            .reason
            .as_deref()
            .unwrap()
            .contains("too long to be read")
    );
    assert!(past.problems.is_empty());
}

/// An update that has ended must not be ended in another way.
#[test]
fn what_cannot_be_read_may_be_the_end_of_what_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    let open = |history: &History| history.open_ends().unwrap().0.len();
    let under_way = |update: &str| HistoryEntry {
        outcome: Outcome::UnderWay,
        ..entry(update)
    };
    add(&history, &under_way("one")).unwrap();
    assert_eq!(open(&history), 1);
    // A line of another update says nothing of this one.
    append(&history, b"{\"update\":\"two\",\"outc\n");
    assert_eq!(open(&history), 1);
    append(&history, b"{\"update\":\"one\",\"outc\n");
    assert_eq!(open(&history), 0);
    let past = history.last(5).unwrap();
    assert!(past.is_unsure);
    assert!(
        past.updates[0]
            .reason
            .as_deref()
            .unwrap()
            .contains("cannot be read")
    );
    add(&history, &under_way("one")).unwrap();
    assert_eq!(open(&history), 1);
    append(&history, b"junk\n");
    assert_eq!(open(&history), 0);
    add(&history, &entry("three")).unwrap();
    assert_eq!(open(&history), 0);
    assert!(!history.last(5).unwrap().is_unsure);
}

#[test]
fn what_was_put_aside_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::in_directory(folder.path());
    add(&history, &entry("one")).unwrap();
    add(
        &history,
        &HistoryEntry {
            outcome: Outcome::UnderWay,
            ..entry("two")
        },
    )
    .unwrap();
    // Lines of other versions have filled it.
    append(&history, format!("{}\n", " ".repeat(16 << 20)).as_bytes());
    add(&history, &entry("two")).unwrap();
    add(&history, &entry("three")).unwrap();
    assert!(
        fs::metadata(&history.disk.path).unwrap().len() < 1000,
        "a new file is begun"
    );
    assert_eq!(names(&history.last(5).unwrap()), ["three", "two", "one"]);
    assert!(history.open_ends().unwrap().0.is_empty());
    fs::remove_file(&history.disk.path).unwrap();
    assert!(history.is_there().unwrap());
    assert_eq!(names(&history.last(5).unwrap()), ["two", "one"]);
    // The newer file is told of whatever the older one is.
    add(&history, &entry("four")).unwrap();
    fs::remove_file(history.disk.aside()).unwrap();
    fs::create_dir(history.disk.aside()).unwrap();
    let past = history.last(5).unwrap();
    assert_eq!(names(&past), ["four"]);
    assert_eq!(past.problems.len(), 1, "{past:?}");
}
