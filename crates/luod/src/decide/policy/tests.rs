// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the policy.

use super::*;

const TEXT: &str = r#"
        [limits]
        sessions = 2
        [[allow]]
        unit = "vmm@*.service"
        names = ["vm-*", "shared"]
        bytes = 1000
        [[allow]]
        uid = 1000
        gid = 100
        names = ["lab"]
        sessions = 9
    "#;

fn identity(uid: u32, gid: u32, unit: Option<&str>) -> Identity {
    Identity {
        uid,
        gid,
        unit: unit.map(str::to_owned),
    }
}

#[test]
fn the_default_is_ones_own() {
    let policy = Policy::default();
    let service = identity(990, 990, Some("cache.service"));
    assert_eq!(policy.may_own(&service, "cache.index"), Ok(()));
    let refusal = policy.may_own(&service, "vm-1").unwrap_err();
    assert!(refusal.contains("'cache' and 'cache.*'"), "{refusal}");
    assert_eq!(policy.limits(&service), Limits::default());
}

#[test]
fn rules_allow_more() {
    let policy = Policy::parse(TEXT).unwrap();
    let vmm = identity(107, 107, Some("vmm@7.service"));
    for name in ["vm-7", "shared", "vmm@7", "vmm@7.ram"] {
        assert_eq!(policy.may_own(&vmm, name), Ok(()), "{name}");
    }
    assert!(policy.may_own(&vmm, "lab").is_err());
    assert_eq!(policy.limits(&vmm).bytes, 1000);
    assert_eq!(policy.limits(&vmm).sessions, 2);
}

#[test]
fn all_that_a_rule_names_must_fit() {
    let policy = Policy::parse(TEXT).unwrap();
    assert!(policy.may_own(&identity(1000, 100, None), "lab").is_ok());
    assert!(policy.may_own(&identity(1000, 101, None), "lab").is_err());
    assert!(policy.may_own(&identity(1001, 100, None), "lab").is_err());
    assert_eq!(policy.limits(&identity(1000, 100, None)).sessions, 9);
}

#[test]
fn the_rule_that_is_named_allows_it() {
    for who in [
        identity(990, 990, Some("cache.service")),
        identity(990, 990, Some("vmm@g\\x2d1.service")),
        identity(1000, 100, None),
        identity(0, 0, Some("machine-qemu\\x2d1\\x2dguest.scope")),
    ] {
        let refusal = Policy::default().may_own(&who, "vm-1").unwrap_err();
        let (_, rule) = refusal.split_once(":\n").unwrap();
        let policy = Policy::parse(rule).unwrap();
        assert_eq!(policy.may_own(&who, "vm-1"), Ok(()), "{rule}");
        assert!(policy.may_own(&identity(7, 7, None), "vm-1").is_err());
    }
}

#[test]
fn a_unit_is_a_service_or_a_scope() {
    for unit in [
        "a.service",
        "vm*",
        "*",
        "vm@*.service",
        "a-?.scope",
        "machine-*.sc?pe",
    ] {
        assert!(can_be_a_unit(unit), "{unit}");
    }
    for unit in [
        "vm",
        "vm.socket",
        "*.slice",
        ".service",
        "a.services",
        "vm@*.serv",
    ] {
        assert!(!can_be_a_unit(unit), "{unit}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_readers_words() {
    let text = "[[allow]]\nunit = \"vm\"\n[[allow]]\nnames = [\"\"]\n\
                [limits]\nconnections = 0";
    let bad = Policy::parse(text).unwrap_err().to_string();
    let begins = [
        "line 1: rule 1 of [[allow]] has neither",
        "line 2: rule 1 of [[allow]] has the unit",
        "line 3: rule 2 of [[allow]] names neither",
        "line 4: rule 2 of [[allow]] has an empty pattern",
        "line 6: [limits] has connections = 0",
    ];
    let lines: Vec<_> = bad.lines().collect();
    assert_eq!(lines.len(), begins.len(), "{bad}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    for (text, expected) in [
        ("[limits]\nfiles = \"x\"", "a whole number"),
        ("[[allow]]\nuid = \"x\"", "a whole number"),
        ("[[allow]]\nuid = 7\nnames = \"x\"", "expected a list"),
    ] {
        let bad = Policy::parse(text).unwrap_err().to_string();
        assert!(bad.contains(expected), "{bad}");
    }
}

#[test]
fn misfits_are_told_with_all_else_and_without_what_follows_from_them() {
    let text = "[limits]\nsessions = \"x\"\n[[allow]]\nunit = 7\n\
                [[allow]]\nuid = 7\nnames = [\"[\"]\n";
    let bad = Policy::parse(text).unwrap_err().to_string();
    let begins = [
        "line 2, column 12: ",
        "line 4, column 8: ",
        "line 7: rule 2 of [[allow]] has the pattern",
    ];
    let mut lines: Vec<_> = bad.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), begins.len(), "{bad}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{bad}");
    }
}

#[test]
fn what_nobody_means_is_refused() {
    for (text, expected) in [
        (
            "uid = 7",
            "line 2: rule 1 of [[allow]] has neither names nor limits",
        ),
        (
            "uid = 7\nnames = []",
            "line 2: rule 1 of [[allow]] has neither names nor limits",
        ),
        (
            "unit = \"\"\nnames = [\"x\"]",
            "line 3: rule 1 of [[allow]] has an empty pattern",
        ),
        (
            "uid = 7\nnames = [\"\"]",
            "line 4: rule 1 of [[allow]] has an empty pattern",
        ),
        (
            "uid = 4294967295\nnames = [\"x\"]",
            "line 3: rule 1 of [[allow]] is for 4294967295",
        ),
        (
            "uid = 7\nnames = [\"x\", \"[a-\"]",
            "line 4: rule 1 of [[allow]] has the pattern \"[a-\", which no name fits",
        ),
        (
            "uid = 7\nnames = [\"x\"]\nsessions = 0",
            "line 5: rule 1 of [[allow]] allows names, and no sessions",
        ),
        (
            "\nunit = \"vm\"\nnames = [\"x\"]",
            "line 4: rule 1 of [[allow]] has the unit \"vm\"",
        ),
    ] {
        let error = Policy::parse(&format!("\n[[allow]]\n{text}")).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    }
    let text = "[[allow]]\nuid = 7\nnames = [\"a\"]\n\n[[allow]]\nnames = [\"*\"]";
    let error = Policy::parse(text).unwrap_err().to_string();
    assert!(
        error.starts_with("line 5: rule 2 of [[allow]] names neither"),
        "{error}"
    );
    let text = "\nallow = [\n  {uid = 7, names = [\"a\"]},\n  {names = [\"*\"]},\n]";
    let error = Policy::parse(text).unwrap_err().to_string();
    assert!(
        error.starts_with("line 4: rule 2 of [[allow]] names neither"),
        "{error}"
    );
    let text = "# [[allow]]\n\"limits\" = { files = 1, sessions = 0 }";
    let error = Policy::parse(text).unwrap_err().to_string();
    assert!(
        error.starts_with("line 2: [limits] has sessions = 0"),
        "{error}"
    );
    assert!(Policy::parse("[limits]\nsesions = 3").is_err());
    let none = Policy::parse("[limits]\n\nsessions = 0")
        .unwrap_err()
        .to_string();
    assert!(
        none.starts_with("line 3: [limits] has sessions = 0"),
        "{none}"
    );
    assert!(Policy::parse("[limits]\nconnections = 0").is_err());
    // Nothing for all, and something for some, and the other way round.
    let rule = "[[allow]]\nuid = 7\nsessions = 3";
    assert!(Policy::parse(&format!("[limits]\nsessions = 0\n{rule}")).is_ok());
    assert!(Policy::parse("[[allow]]\nuid = 7\nsessions = 0").is_ok());
    assert!(Policy::parse("allow = 3").is_err());
}

/// One bracket where two are due, which is how most begin.
#[test]
fn a_rule_in_one_bracket_is_told_how_it_is_written() {
    let why = Policy::parse("[allow]\nuid = 7\nnames = [\"a\"]\n").unwrap_err();
    assert_eq!(
        why.to_string(),
        "line 1, column 1: allow: invalid type: table, expected a list of tables: write [[allow]]"
    );
    let why = Policy::parse("[[allow]]\nuid = 7\nnames = {}\n").unwrap_err();
    assert!(!why.to_string().contains("[["), "{why}");
}
