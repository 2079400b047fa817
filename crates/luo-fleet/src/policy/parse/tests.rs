// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

const GOOD: &str = r#"version = 1
rollout = "2026-12"
release = "7.3.4"
slots = 4
groups_at_once = 2
interval = "90s"
overdue = "45m"
budget = "5%"
zone = "Europe/Berlin"

[[group]]
name = "rack-b"
stage = 2
slots = 2

[[group]]
name = "canary"
complete = 2
soak = "1h 30m"
budget = 0

[[window]]
days = ["mon", "thu"]
from = "22:00"
until = "04:00"
groups = ["rack-b"]

[[freeze]]
from = "2026-12-20"
until = "2027-01-06"
reason = "holidays"
"#;

#[test]
fn a_document_is_read_with_its_defaults() {
    let policy = parse(GOOD).unwrap();
    assert_eq!(policy.budget, Share::Percent(5));
    assert_eq!(policy.retry, SignedDuration::from_mins(15));
    // By stage, whatever the order of the text.
    let names: Vec<_> = policy.groups.iter().map(|group| &group.name).collect();
    assert_eq!(names, ["canary", "rack-b"]);
    let canary = policy.group("canary").unwrap();
    assert_eq!((canary.stage, canary.slots), (1, 4));
    assert_eq!(canary.soak, SignedDuration::from_mins(90));
    assert_eq!(policy.windows.len() + policy.freezes.len(), 2);
}

#[test]
fn each_error_names_its_line_and_what_to_write() {
    for (what, instead, line, says) in [
        ("version = 1", "version = 2", 1, "version = 1"),
        ("slots = 4", "slots = 0", 4, "1 to 10000"),
        ("\"90s\"", "\"soon\"", 6, "\"15m\""),
        ("\"5%\"", "\"a few\"", 8, "\"5%\""),
        ("Europe/Berlin", "Berlin", 9, "Europe/Berlin"),
        ("\"rack-b\"\nstage", "\"rack b\"\nstage", 12, "letters"),
        ("name = \"canary\"", "name = \"rack-b\"", 17, "another name"),
        ("\"thu\"", "\"Thursday\"", 23, "\"thu\""),
        ("22:00", "25:00", 24, "\"22:00\""),
        ("[\"rack-b\"]", "[\"rack-c\"]", 26, "no [[group]]"),
        ("2027-01-06", "2026-12-19", 30, "later"),
        ("2027-01-06", "soon", 30, "2026-12-24"),
        // What is written without its quotes.
        ("\"45m\"", "45", 7, "\"15m\""),
        ("\"22:00\"", "22:00:00", 24, "in quotes"),
        ("\"2026-12-20\"", "2026-12-20", 29, "in quotes"),
        ("[\"mon\", \"thu\"]", "[1]", 23, "\"mon\""),
        // What would halt all, or open never.
        ("\"45m\"", "\"0s\"", 7, "longest update"),
        ("[\"mon\", \"thu\"]", "[]", 22, "never opens"),
        ("\"5%\"", "\"150%\"", 8, "budget is a share of"),
    ] {
        let text = GOOD.replacen(what, instead, 1);
        assert_ne!(text, GOOD, "{what}");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line}: ")), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let unknown = parse(&GOOD.replace("slots = 4", "slot = 4")).unwrap_err();
    assert!(unknown.to_string().contains("line 4"), "{unknown}");
    let none = "version = 1\nrollout = \"x\"\nslots = 1\n";
    assert!(parse(none).unwrap_err().to_string().contains("[[group]]"));
    let long = format!("# {}\n{GOOD}", "x".repeat(MAX_TEXT));
    assert!(matches!(parse(&long), Err(BadPolicy::Long)));
}
