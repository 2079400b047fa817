// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands in a configuration, and what cannot.

use super::*;

#[test]
fn the_documented_file_reads() {
    let text = "
        prepare_deadline = 60
        freeze_deadline = 0.5
        unclaimed = \"keep\"
        jump = \"systemctl\"
        guest_clock = \"leave\"
        [target]
        image = \"/boot/vmlinuz\"
        initrd = \"/boot/initrd.img\"
        [checks]
        ignore = [\"target-signature\"]
        [workload.vm-7]
        prepare_deadline = 300
    ";
    let config = Config::parse(text).unwrap();
    assert_eq!(config.unclaimed, Unclaimed::Keep);
    assert_eq!(config.jump, Jump::Systemctl);
    assert_eq!(config.guest_clock, GuestClock::Leave);
    assert_eq!(Config::default().guest_clock, GuestClock::HandOn);
    assert_eq!(config.checks.ignore, ["target-signature"]);
    let seconds = |workload, step| config.patience(workload, step).as_secs_f64();
    assert_eq!(seconds("vm-7", Step::Prepare), 300.0);
    assert_eq!(seconds("vm-7", Step::Freeze), 0.5);
    assert_eq!(seconds("other", Step::Prepare), 60.0);
}

#[test]
fn deadlines_go_by_patterns() {
    let text = "[workload.\"vm-*\"]\nfreeze_deadline = 2\n\
                [workload.\"*\"]\nfreeze_deadline = 3\n\
                [workload.vm-7]\nfreeze_deadline = 4";
    let config = Config::parse(text).unwrap();
    let seconds = |workload| config.patience(workload, Step::Freeze).as_secs();
    assert_eq!(
        (seconds("vm-7"), seconds("vm-8"), seconds("cache")),
        (4, 2, 3)
    );
}

#[test]
fn an_initrd_belongs_to_its_image() {
    let config = Config::parse("[target]\nimage = \"/a\"\ninitrd = \"/b\"").unwrap();
    let all = config.complete(&Target::default());
    assert_eq!(all.initrd.as_deref(), Some("/b"));
    let other = Target {
        image: Some("/c".into()),
        ..Target::default()
    };
    assert_eq!(config.complete(&other).initrd, None);
}

#[test]
fn several_initrds_and_an_entry_are_taken() {
    let text = "[target]\nimage = \"/a\"\ninitrd = [\"/u\", \"/b\", \"/c\"]";
    let all = Config::parse(text).unwrap().complete(&Target::default());
    assert_eq!(all.initrd.as_deref(), Some("/u"));
    assert_eq!(all.more_initrds, Some(vec!["/b".into(), "/c".into()]));
    let config = Config::parse("[target]\nentry = \"a\"\ncommand_line = \"x\"").unwrap();
    let all = config.complete(&Target::default());
    assert_eq!(all.entry.as_deref(), Some("a"));
    assert_eq!(all.command_line.as_deref(), Some("x"));
    let other = Target {
        entry: Some("b".into()),
        ..Target::default()
    };
    // It has its own command line.
    assert_eq!(config.complete(&other), other);
    let bad = Config::parse("[target]\ninitrd = 3")
        .unwrap_err()
        .to_string();
    assert!(bad.contains("a list of paths"), "{bad}");
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "prepare_deadline = -1",
        "freeze_deadline = 0",
        "restore_deadline = 1e9",
        "prepare_deadline = nan",
        "unclaimed = \"lose\"",
        "prepare_dedline = 3",
    ] {
        assert!(Config::parse(text).is_err(), "{text}");
    }
    assert!(Config::parse("").is_ok());
}

#[test]
fn what_nobody_means_is_told_with_its_line() {
    for (text, expected) in [
        (
            "\nstate_directory = \"\"",
            "line 2: state_directory: a path begins with /",
        ),
        (
            "state_directory = \"/proc\"",
            "line 1: state_directory: the kernel makes the files there",
        ),
        (
            "\nstate_directory = \"/dev/null\"",
            "line 2: state_directory: the kernel makes",
        ),
        (
            "state_directory = \"/sys/kernel/luod\"",
            "line 1: state_directory: the kernel makes",
        ),
        ("[target]\nimage = \"vmlinuz\"", "line 2: image: a path"),
        ("[target]\nimage=\"\"", "line 2: image: a path"),
        ("[target]\ninitrd = \"./initrd\"", "line 2: initrd: a path"),
        (
            "[target]\nimage = \"/a\"\nentry = \"b\"",
            "line 3: entry: an entry has its own image",
        ),
        (
            "[target]\n\ncommand_line = \" \"",
            "line 3: command_line: an empty",
        ),
        (
            "\n\n[workload.\"\"]\nfreeze_deadline = 3",
            "line 3: [workload.\"\"]: a name must not be empty, or write a pattern",
        ),
        (
            "\n[workload.\"sp ace\"]\nfreeze_deadline = 3",
            "line 2: [workload.\"sp ace\"]: a name consists of letters",
        ),
        (
            "[workload.\"[a-\"]\nfreeze_deadline = 3",
            "line 1: [workload.\"[a-\"]: a name consists of letters",
        ),
        (
            "[workload.systemd]\nfreeze_deadline = 3",
            "line 1: [workload.systemd]: the names 'systemd'",
        ),
        (
            "state_directory = \"/../../tmp/x\"",
            "line 1: state_directory: write the path without ..",
        ),
        (
            "[target]\nimage = \"/a\\u0000b\"",
            "line 2: image: no path and no command line has a NUL",
        ),
        (
            "[target]\ncommand_line = \"a\\u0000b\"",
            "line 2: command_line: no path and no command line has a NUL",
        ),
        ("[checks]\nroot = \"root\"", "line 2: root: a path"),
        (
            "[checks]\nignore = [\"memory\", \"scrach\"]",
            "line 2: ignore: there is no check \"scrach\"; the checks are closing, custody, descriptors, file-facts",
        ),
        // However it is written.
        (
            "\n\ntarget.image = \"x\"",
            "line 3: image: a path begins with /",
        ),
        (
            "\ntarget = { entry = \"b\", image = \"x\" }",
            "line 2: image: a path begins with /",
        ),
        (
            "# state_directory = 7\n\"state_directory\" = \"x\"",
            "line 2: state_directory: a path begins with /",
        ),
        (
            "[target]\ninitrd = [\n  \"/a\",\n  \"b\",\n]",
            "line 4: initrd: a path begins with /",
        ),
        (
            "[checks]\nignore = [\n  \"memory\",\n  \"x\",\n]",
            "line 4: ignore: there is no check \"x\"",
        ),
        (
            "\nworkload = { \"a b\" = { freeze_deadline = 3 } }",
            "line 2: [workload.\"a b\"]: a name consists of letters",
        ),
    ] {
        let error = Config::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn a_fleet_is_read_with_its_defaults_and_each_error_names_its_line() {
    let good = "[fleet]\nserver = \"https://f.example:7443\"\nhealth = [\"/bin/true\"]\n";
    let fleet = Config::parse(good).unwrap().fleet.unwrap();
    assert_eq!((fleet.group.as_str(), fleet.soak), ("default", None));
    assert_eq!(fleet.server.0, ["https://f.example:7443"]);
    for (what, instead, line) in [
        ("https://", "ftp://", "line 2: server"),
        ("/bin/true", "true", "line 3: health"),
        ("health", "group = \"a b\"\nhealth", "line 3: group"),
        ("health", "key = \"/k\"\nhealth", "line 3: key"),
        ("health", "token = \"k\"\nhealth", "line 3: token"),
    ] {
        let error = Config::parse(&good.replace(what, instead)).unwrap_err();
        assert!(error.to_string().starts_with(line), "{error}");
    }
    assert!(Config::parse("[fleet]\n").is_err());
}

#[test]
fn all_mistakes_are_told_at_once_in_the_readers_words() {
    let text = "state_directory = \"here\"\n[target]\nentry = \"\"\n\
                command_line = \"a\\nb\"\n[checks]\nignore = [\"x\", \"y\"]";
    let bad = Config::parse(text).unwrap_err().to_string();
    let lines: Vec<_> = bad.lines().collect();
    let begins = [
        "line 1: state_directory: a path begins with /",
        "line 4: command_line: it has more than one line",
        "line 3: entry: no entry has an empty name",
        "line 6: ignore: there is no check \"x\"",
        "line 6: ignore: there is no check \"y\"",
    ];
    assert_eq!(lines.len(), begins.len(), "{bad}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    for (text, expected) in [
        ("prepare_deadline = \"1\"", "expected a number"),
        ("[checks]\nignore = \"x\"", "expected a list"),
        ("target = 3", "expected the table"),
    ] {
        let bad = Config::parse(text).unwrap_err().to_string();
        assert!(bad.contains(expected), "{bad}");
    }
}

#[test]
fn misfits_are_told_with_all_else_and_without_what_follows_from_them() {
    let text = "prepare_dedline = 3\nrestore_deadline = \"x\"\n[target]\nimage = \"x\"\n\
                [fleet]\nserver = 7\nkey = \"/k\"\n[workload.a]\nfreeze_deadline = -1\n";
    let bad = Config::parse(text).unwrap_err().to_string();
    let mut lines: Vec<_> = bad.lines().collect();
    lines.sort_unstable();
    let begins = [
        "line 1, column 1: unknown field `prepare_dedline`",
        "line 2, column 20: restore_deadline: invalid type: string \"x\", expected a number",
        "line 4: image: a path begins with /",
        "line 6, column 10: ",
        "line 9, column 19: ",
    ];
    assert_eq!(lines.len(), begins.len(), "{bad}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{bad}");
    }
}
