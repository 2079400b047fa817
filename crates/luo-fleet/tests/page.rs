// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page, as a browser lays it out.

use std::process::Command;

use luo_fleet::server::page::page;
use luo_fleetlock::status::{Condition, Fleet, Group, Host, HostState};

/// A rollout that has halted: `hosts` of which a part is done, and one has failed.
pub(crate) fn halted(hosts: usize) -> Fleet {
    let begin = 1_796_083_200_000_i64;
    let host = |number: usize| {
        let at = begin + i64::try_from(number).unwrap() * 60_000;
        let (state, why) = match number {
            0..9 => (HostState::Done, None),
            9 => (HostState::Failed, Some("the health command says no")),
            10 => (HostState::Updating, None),
            _ => (
                HostState::Waiting,
                Some("halted: hosts that failed: 1, and 0 may; see to host-09"),
            ),
        };
        Host {
            id: format!("host-{number:02}"),
            group: if number < 2 { "canary" } else { "rack-a" }.to_owned(),
            state,
            why: why.map(str::to_owned),
            slot_since_ms: matches!(number, 9 | 10).then_some(at),
            done_ms: (number < 9).then_some(at),
            release: Some(if number < 9 { "7.3.4" } else { "7.3.3" }.to_owned()),
            blackout_us: (number < 9).then_some(400_000),
        }
    };
    let group = |name: &str, stage, hosts, done, failed, slots_taken| Group {
        name: name.to_owned(),
        stage,
        hosts,
        done,
        failed,
        slots_taken,
        slots: 3,
        blackout_median_us: Some(400_000),
        blackout_max_us: Some(610_000),
    };
    Fleet {
        version: 1,
        revision: 4_711,
        now_ms: begin + 900_000,
        rollout: Some("2026-12".to_owned()),
        target: Some("7.3.4".to_owned()),
        conditions: vec![Condition {
            name: "Halted".to_owned(),
            is: true,
            reason: "hosts that failed: 1, and 0 may; see to host-09".to_owned(),
        }],
        groups: vec![
            group("canary", 1, 2, 2, 0, 0),
            group("rack-a", 2, 18, 7, 1, 2),
        ],
        hosts: (0..hosts).map(host).collect(),
    }
}

/// Debian's package `chromium`. It draws the page without any script, and is asked only how wide
/// that is; with `LUO_UPDATE` the picture of the book is made anew.
#[test]
#[ignore = "takes chromium"]
fn a_browser_draws_the_page_of_a_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    // Chromium prints the page after its script, which writes what it sees. The page itself has
    // none.
    let script = "<script>\
        const shown = [...document.querySelectorAll('svg rect, tr')].filter(one => {\
            const box = one.getBoundingClientRect();\
            return box.width >= 3 && box.height > 0 && box.right <= innerWidth;\
        });\
        document.title = `${shown.length} shown`;\
        </script>";
    let html = page(&halted(20));
    assert!(!html.contains("<script"));
    std::fs::write(&path, format!("{html}{script}")).unwrap();
    let chromium = |arguments: &[&str]| {
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .arg("--window-size=1100,1000")
            .args(arguments)
            .arg(&path)
            .output()
            .expect("chromium is not installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Eleven bars; two groups and twenty hosts, with the heads of both tables.
    let dumped = chromium(&["--dump-dom"]);
    assert!(dumped.contains("35 shown"), "{dumped}");
    if std::env::var_os("LUO_UPDATE").is_some() {
        std::fs::write(&path, html).unwrap();
        let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fleet.png");
        chromium(&[&format!("--screenshot={picture}")]);
    }
}
