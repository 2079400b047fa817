// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notes are found again in the same boot, and in no other.

use luo_varlink::Identity;

use super::boot::{is_in_memory, is_same_boot};
use super::folder::{RESERVE, is_full};
use super::*;

#[test]
fn notes_are_of_one_boot() {
    let runtime = std::env::temp_dir().join(format!("luod-notes-{}", std::process::id()));
    fs::create_dir_all(&runtime).unwrap();
    let notes = Notes::open(&runtime).unwrap();
    let owner = Owner {
        workload: "cache".into(),
        identity: Identity {
            uid: 1,
            gid: 2,
            unit: None,
        },
        needs: vec![],
        sessions: vec!["cache".into()],
        incoming: vec![],
        left: true,
        parked: vec![],
    };
    notes.set_owner(&owner).unwrap();
    let begun = Begun {
        id: "u-1".into(),
        began_us: Some(7),
        boot_us: Some(5),
        report: Some("/var/lib/luod/a picture.svg".into()),
    };
    notes.set_update(Some(&begun)).unwrap();
    notes.set_record(Some(b"bytes")).unwrap();
    assert!(!notes.is_jumping().unwrap());
    notes.set_jumping().unwrap();
    assert!(notes.is_jumping().unwrap());
    notes.set_update(None).unwrap();
    assert!(!notes.is_jumping().unwrap());
    fs::write(runtime.join("state/update"), "u-0").unwrap();
    let of_old = notes.update().unwrap().unwrap();
    assert_eq!((of_old.id.as_str(), of_old.began_us), ("u-0", None));
    fs::write(runtime.join("state/update"), "u-0 7\n/picture.svg\n").unwrap();
    let of_old = notes.update().unwrap().unwrap();
    assert_eq!((of_old.began_us, of_old.boot_us), (Some(7), None));
    assert_eq!(of_old.report.as_deref(), Some("/picture.svg"));
    let no_report = Begun {
        report: None,
        ..begun.clone()
    };
    notes.set_update(Some(&no_report)).unwrap();
    assert_eq!(notes.update().unwrap(), Some(no_report));
    notes.set_update(Some(&begun)).unwrap();
    fs::write(runtime.join("state/workloads/junk"), "{").unwrap();

    let again = Notes::open(&runtime).unwrap();
    assert_eq!(again.owners().unwrap(), [owner]);
    assert_eq!(again.update().unwrap(), Some(begun));
    assert_eq!(again.record().unwrap().as_deref(), Some(&b"bytes"[..]));
    assert!(again.progress().is_err());
    again.set_progress(&Progress::default()).unwrap();
    assert_eq!(again.progress().unwrap(), Progress::default());

    fs::write(runtime.join("state/epoch"), "another").unwrap();
    let other = Notes::open(&runtime).unwrap();
    assert!(other.owners().unwrap().is_empty());
    assert_eq!(other.update().unwrap(), None);
    assert_eq!(other.record().unwrap(), None);
    fs::remove_dir_all(&runtime).unwrap();
}

#[test]
fn a_boot_is_known_by_what_can_be_read_of_it() {
    for (noted, now, same) in [
        ("a/1", "a/1", true),
        ("/", "/", true),
        ("a/1", "a/", true),
        ("a/1", "/1", true),
        ("a/", "a/1", true),
        ("a/1", "b/1", false),
        ("a/1", "a/2", false),
        ("a/1", "/2", false),
        ("a/1", "/", false),
        ("a/", "/1", false),
        ("x", "a/1", false),
        ("", "a/1", false),
    ] {
        assert_eq!(is_same_boot(noted, now), same, "{noted} {now}");
    }
}

#[test]
fn what_is_reserved_makes_way_for_notes() {
    let runtime = tempfile::tempdir().unwrap();
    let notes = Notes::open(runtime.path()).unwrap();
    let at = |name: &str| runtime.path().join("state").join(name);
    assert_eq!(fs::metadata(at(RESERVE)).unwrap().len(), ROOM);
    // There is no room for the next note.
    std::os::unix::fs::symlink("/dev/full", at(".new")).unwrap();
    notes.set_record(Some(b"bytes")).unwrap();
    assert_eq!(notes.record().unwrap().as_deref(), Some(&b"bytes"[..]));
    assert!(!at(RESERVE).exists());
    // Nor is there for the one after that, and nothing makes way for it.
    std::os::unix::fs::symlink("/dev/full", at(".new")).unwrap();
    assert!(is_full(&notes.set_record(Some(b"others")).unwrap_err()));
    assert_eq!(notes.record().unwrap().as_deref(), Some(&b"bytes"[..]));
    assert!(!at(".new").exists());
    notes.reserve().unwrap();
    assert_eq!(fs::metadata(at(RESERVE)).unwrap().len(), ROOM);
}

#[test]
fn where_there_is_no_room_notes_open_and_fail_until_there_is() {
    let runtime = tempfile::tempdir().unwrap();
    let state = runtime.path().join("state");
    Notes::open(runtime.path()).unwrap().set_jumping().unwrap();
    let full = || {
        let _ = fs::remove_file(state.join(RESERVE));
        for name in [RESERVE, ".new"] {
            std::os::unix::fs::symlink("/dev/full", state.join(name)).unwrap();
        }
    };
    // What is the same need not be written.
    full();
    let again = Notes::open(runtime.path()).unwrap();
    assert!(again.is_jumping().unwrap());
    fs::remove_file(state.join(".new")).unwrap();
    // No note is written without the word for which boot it is of.
    full();
    fs::remove_file(state.join("epoch")).unwrap();
    let of_none = Notes {
        folder: Folder::at(state.clone()),
    };
    assert!(is_full(&of_none.reserve().unwrap_err()));
    assert!(!state.join("epoch").exists());
    of_none.set_record(Some(b"bytes")).unwrap();
    assert!(state.join("epoch").exists());
}

/// What is in memory is of this boot, whatever has become of the word for it.
#[test]
fn a_damaged_word_for_the_boot_loses_nothing_in_memory() {
    for (place, is_kept) in [(Some("/dev/shm"), true), (None, false)] {
        let runtime = match place {
            // Without it nothing is to be seen.
            Some(place) if !is_in_memory(Path::new(place)) => continue,
            Some(place) => tempfile::tempdir_in(place).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        if !is_kept && is_in_memory(runtime.path()) {
            continue;
        }
        for damage in [Some("junk"), Some(""), None] {
            let notes = Notes::open(runtime.path()).unwrap();
            notes.set_record(Some(b"bytes")).unwrap();
            let word = runtime.path().join("state/epoch");
            match damage {
                Some(text) => fs::write(&word, text).unwrap(),
                None => fs::remove_file(&word).unwrap(),
            }
            let again = Notes::open(runtime.path()).unwrap();
            assert_eq!(again.record().unwrap().is_some(), is_kept, "{damage:?}");
            // It is made whole, and another boot's word counts as ever.
            assert_eq!(fs::read_to_string(&word).unwrap(), epoch());
            fs::write(&word, "another/1").unwrap();
            let other = Notes::open(runtime.path()).unwrap();
            assert_eq!(other.record().unwrap(), None);
        }
    }
}

/// Whatever stands in the place of a note, luod starts, at once, and says what it is.
#[test]
fn what_is_no_file_in_the_place_of_a_note_is_waited_for_by_nobody() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let runtime = tempfile::tempdir().unwrap();
    let at = |name: &str| runtime.path().join("state").join(name);
    let fifo =
        |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let zero = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let folder = |path: &Path| fs::create_dir(path).unwrap();
    let ways: [&dyn Fn(&Path); 3] = [&fifo, &zero, &folder];
    let names = [
        "update",
        "record",
        "late",
        "unwritten",
        "progress",
        "workloads/a",
    ];
    for put in ways {
        let notes = Notes::open(runtime.path()).unwrap();
        notes.set_record(Some(b"bytes")).unwrap();
        for name in names {
            let path = at(name);
            let _ = fs::remove_file(&path);
            put(&path);
        }
        let again = Notes::open(runtime.path()).unwrap();
        let told = [
            again.update().unwrap_err(),
            again.record().unwrap_err(),
            again.late().unwrap_err(),
            again.unwritten().unwrap_err(),
            again.progress().unwrap_err(),
        ];
        for why in told {
            let why = why.to_string();
            let path = at("").display().to_string();
            assert!(why.contains(&path), "which file: {why}");
        }
        assert!(again.owners().unwrap().is_empty());
        let _ = Notes::left_behind(runtime.path());
        // A note takes its place.
        again.set_record(Some(b"new")).unwrap();
        assert_eq!(again.record().unwrap().unwrap(), b"new");
        // Of which boot they are is told anew.
        fs::remove_file(at("epoch")).unwrap();
        put(&at("epoch"));
        let again = Notes::open(runtime.path()).unwrap();
        again.set_record(Some(b"new")).unwrap();
        assert!(again.folder.word().is_some());
        fs::remove_dir_all(at("")).unwrap();
    }
    let notes = Notes::open(runtime.path()).unwrap();
    fifo(&at(".new"));
    notes.set_record(Some(b"bytes")).unwrap();
    fs::remove_file(at(".reserve")).unwrap();
    fifo(&at(".reserve"));
    notes.reserve().unwrap();
    fifo(&at("jumping"));
    assert!(notes.is_jumping().unwrap());
}

#[test]
fn a_note_of_an_update_that_names_none_is_damaged() {
    let runtime = tempfile::tempdir().unwrap();
    let notes = Notes::open(runtime.path()).unwrap();
    let path = runtime.path().join("state/update");
    for text in ["", "\n", "garbage{", "a/b 1", "\u{e4}"] {
        fs::write(&path, text).unwrap();
        let why = notes.update().unwrap_err();
        assert_eq!(why.kind(), ErrorKind::InvalidData, "{text:?}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(notes.update().is_err());
    for text in ["update-7 1", "0b8a4f2e-1c7d-4d7e-9a55-0e9f0c1d2e3f"] {
        fs::write(&path, text).unwrap();
        assert!(notes.update().unwrap().is_some(), "{text:?}");
    }
}

#[test]
fn a_record_that_is_gone_is_missed_and_one_that_is_over_is_not() {
    let runtime = tempfile::tempdir().unwrap();
    let notes = Notes::open(runtime.path()).unwrap();
    let path = |name: &str| notes.folder().join(name);
    assert!(notes.record().unwrap().is_none());
    notes.begin_record(b"bytes").unwrap();
    fs::remove_file(path("record")).unwrap();
    assert_eq!(notes.record().unwrap_err().kind(), ErrorKind::NotFound);
    notes.set_record(None).unwrap();
    assert!(notes.record().unwrap().is_none());

    // luod was killed while it removed them: after each of its steps.
    for is_removed in [false, true] {
        notes.begin_record(b"bytes").unwrap();
        fs::rename(path("progress"), path(OVER)).unwrap();
        if is_removed {
            fs::remove_file(path("record")).unwrap();
        }
        assert!(notes.record().unwrap().is_none());
        assert!(!path("record").exists() && !path(OVER).exists());
    }
}
