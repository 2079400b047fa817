// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drawings, by pure functions.

use std::fs;

use luo_varlink::{
    HistoryEntry, Identity, Orchestrator, Outcome, Phase, Status, TimelineEvent, TimelineKind,
    Workload, WorkloadState,
};
use luoctl::graph;
use luoctl::output::Paint;
use luoctl::timeline::{self, Since};

const PLAIN: Paint = Paint(false);

fn workload(name: &str, needs: &[&str], state: WorkloadState) -> Workload {
    Workload {
        name: name.into(),
        identity: Identity {
            uid: 990,
            gid: 990,
            unit: Some(format!("{name}.service")),
        },
        state,
        connected: true,
        needs: needs.iter().map(|&need| need.into()).collect(),
        sessions: vec![name.into()],
        left_ms: None,
        about: None,
    }
}

fn status(workloads: Vec<Workload>) -> Status {
    Status {
        phase: Phase::Normal,
        update: None,
        work: None,
        orchestrator: Orchestrator::Contract,
        kernel_state: Some("normal".into()),
        kernel_release: "7.3.4".into(),
        version: "0.1.0".into(),
        workloads,
        warnings: None,
        unreadable: None,
    }
}

fn diamond() -> Status {
    use WorkloadState::{Frozen, Left, Ready, Running};
    status(vec![
        workload("api", &["cache", "db"], Running),
        workload("cache", &["disk"], Ready),
        workload("db", &["disk"], Frozen),
        workload("disk", &[], Left),
        workload("idle", &[], Running),
    ])
}

fn hostile() -> Status {
    use WorkloadState::Running;
    status(vec![
        workload("a<b>&\"\\\x1b[2J", &["b", "gone"], Running),
        workload("b", &["c"], Running),
        workload("c", &["b"], Running),
        workload("self", &["self"], Running),
    ])
}

#[test]
fn graphs_as_text() {
    let graph = graph::of(&diamond());
    insta::assert_snapshot!("graph_text", graph::text(&graph, PLAIN));
    insta::assert_snapshot!(
        "graph_text_hostile",
        graph::text(&graph::of(&hostile()), PLAIN)
    );
    let empty = graph::text(&graph::of(&status(vec![])), PLAIN);
    assert_eq!(empty, "no workload is registered\n");
}

#[test]
fn graphs_for_graphviz() {
    insta::assert_snapshot!("graph_dot", graph::dot(&graph::of(&diamond())));
    let hostile = graph::dot(&graph::of(&hostile()));
    assert!(!hostile.contains('\x1b'));
    insta::assert_snapshot!("graph_dot_hostile", hostile);
}

#[test]
fn graphs_as_pictures() {
    insta::assert_snapshot!("graph_svg", graph::svg(&graph::of(&diamond())));
    let hostile = graph::svg(&graph::of(&hostile()));
    assert!(hostile.contains("a&lt;b&gt;&amp;&quot;"), "{hostile}");
    assert!(!hostile.contains('\x1b'));
    // Nothing is drawn outside.
    assert!(!hostile.contains("=\"-"), "{hostile}");
    assert!(graph::svg(&graph::of(&status(vec![]))).ends_with("</svg>\n"));
}

#[test]
fn levels_are_those_of_the_needs() {
    let graph = graph::of(&diamond());
    let level = |name: &str| {
        graph
            .nodes
            .iter()
            .find(|node| node.name == name)
            .unwrap()
            .level
    };
    assert_eq!(
        ["disk", "idle", "cache", "db", "api"].map(level),
        [0, 0, 1, 1, 2].map(Some)
    );
    let graph = graph::of(&hostile());
    let placed = graph.nodes.iter().filter(|node| node.level.is_some());
    let placed: Vec<_> = placed.map(|node| node.name.as_str()).collect();
    assert_eq!(placed, ["gone"]);
}

/// A chain as long as there are workloads: no recursion.
#[test]
fn a_long_chain_is_drawn() {
    let name = |number: usize| format!("w{number}");
    let chain = (0..2000).map(|number: usize| {
        let needs = number.checked_sub(1).map(name);
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        workload(&name(number), &needs, WorkloadState::Running)
    });
    let graph = graph::of(&status(chain.collect()));
    let highest = graph.nodes.iter().filter_map(|node| node.level).max();
    assert_eq!(highest, Some(1999));
    assert!(graph::text(&graph, PLAIN).lines().count() == 4000);
}

const BEGAN: u64 = 1_795_645_587_000_000;

fn event(at: u64, phase: Phase, kind: TimelineKind) -> TimelineEvent {
    TimelineEvent {
        update: "5f2e".into(),
        time_us: BEGAN + at,
        phase,
        kind,
        workload: None,
        took_us: None,
        detail: None,
    }
}

fn of(workload: &str, took: u64, event: TimelineEvent) -> TimelineEvent {
    TimelineEvent {
        workload: Some(workload.into()),
        took_us: (took > 0).then_some(took),
        ..event
    }
}

/// An update that has all phases.
pub(crate) fn completed() -> HistoryEntry {
    use Phase::{Freezing, Frozen, Jumping, Prepared, Preparing, Updated};
    use TimelineKind::{Agreed, Asked, Claimed, Finished, Kernel, Left, Over, Restored};
    let phase = |at, phase| event(at, phase, TimelineKind::Phase);
    let asked = |workload, at, phase, step: &str| TimelineEvent {
        detail: Some(step.into()),
        ..of(workload, 0, event(at, phase, Asked))
    };
    HistoryEntry {
        update: "5f2e".into(),
        outcome: Outcome::Completed,
        reason: None,
        began_us: BEGAN,
        took_us: Some(3_000_000),
        blackout_us: Some(1_300_500),
        from_kernel: "7.3.4".into(),
        to_kernel: "7.3.5".into(),
        timeline: vec![
            phase(0, Preparing),
            TimelineEvent {
                detail: Some("the kernel is loaded".into()),
                took_us: Some(40_000),
                ..event(50_000, Preparing, Kernel)
            },
            asked("cache", 50_100, Preparing, "prepare"),
            of("cache", 12_300, event(62_400, Preparing, Agreed)),
            of("web", 800, event(63_300, Preparing, Agreed)),
            phase(70_000, Prepared),
            of("web", 0, event(71_000, Prepared, Left)),
            phase(1_000_000, Freezing),
            of("cache", 450, event(1_000_500, Freezing, Agreed)),
            phase(1_002_000, Frozen),
            phase(1_002_100, Jumping),
            phase(2_200_000, Updated),
            of("cache", 0, event(2_250_000, Updated, Claimed)),
            of("cache", 0, event(2_300_000, Updated, Restored)),
            of("web", 0, event(2_300_500, Updated, Restored)),
            of("web", 0, event(2_400_000, Updated, Finished)),
            event(3_000_000, Updated, Over),
        ],
    }
}

#[test]
fn a_timeline_of_an_update() {
    insta::assert_snapshot!("timeline_completed", timeline::render(&completed(), PLAIN));
}

/// The next kernel's clock was an hour behind.
#[test]
fn what_a_clock_that_was_set_back_hides_is_called_not_known() {
    let mut entry = completed();
    entry.took_us = None;
    entry.blackout_us = None;
    let is_after = |event: &&mut TimelineEvent| event.phase == Phase::Updated;
    for event in entry.timeline.iter_mut().filter(is_after) {
        event.time_us -= 3_600_000_000;
    }
    let text = timeline::render(&entry, PLAIN);
    assert!(text.contains("took      not known\n"), "{text}");
    assert!(text.contains("blackout  not known\n"), "{text}");
    let row = |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap();
    assert!(row("jumping").contains(" not known "), "{text}");
    assert!(row("freezing").contains(" 2.0 ms "), "{text}");
    assert!(row("cache").ends_with(" 100.0 ms"), "{text}");
    assert!(text.contains("\n  clock set  updated\n"), "{text}");
    assert!(!text.contains(" 0 us"), "{text}");
    let svg = timeline::svg(&entry);
    looked_at(&svg);
    for told in [
        "how long it took is not known",
        ">blackout not known<",
        ">not known<",
    ] {
        assert!(svg.contains(told), "{told}: {svg}");
    }
    // The bar in which it takes back what is its stands in the column of that.
    let at = |text: &str, attribute: &str| -> u64 {
        let line = svg.lines().find(|line| line.contains(text)).unwrap();
        let value = line.split_once(&format!("{attribute}=\"")).unwrap().1;
        value.split_once('"').unwrap().0.parse().unwrap()
    };
    assert!(
        at("cache: updated: restored", "x") > at(">jumping<", "x"),
        "{svg}"
    );
}

/// The record for the next agent is sealed before the agent freezes the kernel.
#[test]
fn the_jump_is_told_apart_though_nobody_could_note_it() {
    let mut entry = completed();
    let is_noted = |event: &TimelineEvent| !matches!(event.phase, Phase::Frozen | Phase::Jumping);
    entry.timeline.retain(is_noted);
    let text = timeline::render(&entry, PLAIN);
    let row = |phase: &str| {
        text.lines()
            .find(|line| line.starts_with(phase))
            .unwrap()
            .to_owned()
    };
    assert!(row("freezing").contains(" 500 us "), "{text}");
    assert!(row("jumping").contains(" 1.19 s "), "{text}");
}

#[test]
fn a_timeline_of_a_veto() {
    let veto = TimelineEvent {
        detail: Some("no\x1b[31m\nway".into()),
        ..of("web", 0, event(500, Phase::Preparing, TimelineKind::Vetoed))
    };
    let entry = HistoryEntry {
        outcome: Outcome::Cancelled,
        reason: Some("workload 'web' vetoes at prepare: no\x1b[31m\nway".into()),
        took_us: Some(900),
        blackout_us: None,
        to_kernel: "7.3.4".into(),
        timeline: vec![
            event(0, Phase::Preparing, TimelineKind::Phase),
            veto,
            event(600, Phase::Cancelling, TimelineKind::Phase),
            event(800, Phase::Normal, TimelineKind::Phase),
        ],
        ..completed()
    };
    insta::assert_snapshot!("timeline_vetoed", timeline::render(&entry, PLAIN));
    let painted = timeline::render(&entry, Paint(true));
    assert!(painted.contains("\x1b[33mcancelled\x1b[0m"), "{painted:?}");
    assert!(
        !painted.contains("no\x1b[31m"),
        "a workload chooses no colours"
    );
}

/// Reads a picture as a browser would: it must be well-formed, and nothing in it may stand
/// outside of it.
fn looked_at(svg: &str) -> roxmltree::Document<'_> {
    let picture = roxmltree::Document::parse(svg).unwrap_or_else(|why| panic!("{why}: {svg}"));
    let number = |node: roxmltree::Node<'_, '_>, name: &str| -> u64 {
        let text = node.attribute(name).unwrap_or("0");
        text.parse()
            .unwrap_or_else(|why| panic!("{name}={text}: {why}"))
    };
    let root = picture.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    for node in root.descendants() {
        let right = number(node, "x") + number(node, "width");
        let bottom = number(node, "y") + number(node, "height");
        assert!(
            right <= width && bottom <= height,
            "{node:?} of {width}x{height}"
        );
    }
    picture
}

/// The titles of all bars.
fn bars(picture: &roxmltree::Document<'_>) -> Vec<String> {
    let bars = picture
        .descendants()
        .filter(|node| node.has_tag_name("rect"));
    let titles = bars.filter_map(|bar| bar.first_element_child()?.text().map(str::to_owned));
    titles.collect()
}

#[test]
fn an_update_as_a_picture() {
    let svg = timeline::svg(&completed());
    let picture = looked_at(&svg);
    assert_eq!(
        bars(&picture),
        [
            "kernel: preparing: kernel, 40.0 ms (the kernel is loaded)",
            "cache: preparing: agreed, 12.3 ms",
            "cache: freezing: agreed, 450 us",
            "cache: stood still for 1.19 s",
            "cache: updated: restored, 100.0 ms",
            "web: preparing: agreed, 800 us",
            "web: stood still for 2.12 s",
            "web: updated: restored, 100.5 ms",
        ]
    );
    assert!(svg.contains(">blackout 1.30 s<"), "{svg}");
    insta::assert_snapshot!("timeline_svg", svg);
}

/// Between the phase and the first who is asked the kernel is loaded and the disks are written: all
/// run on. And a clock that was set in the jump does not count.
#[test]
fn the_picture_and_the_text_tell_one_blackout() {
    let mut entry = completed();
    let freezing = entry
        .timeline
        .iter()
        .position(|event| event.phase == Phase::Freezing);
    let asked = TimelineEvent {
        detail: Some("freeze".into()),
        ..of(
            "cache",
            0,
            event(1_150_000, Phase::Freezing, TimelineKind::Asked),
        )
    };
    entry.timeline.insert(freezing.unwrap() + 1, asked);
    entry.blackout_us = Some(1_100_000);
    let (svg, text) = (timeline::svg(&entry), timeline::render(&entry, PLAIN));
    assert!(text.contains("blackout  1.10 s, "), "{text}");
    assert!(svg.contains(">blackout 1.10 s<"), "{svg}");
    // The bracket begins right of where the phase does.
    let left = |svg: &str| -> u64 {
        let path = svg.split("<path d=\"M").nth(1).unwrap();
        path.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(left(&svg) > left(&timeline::svg(&completed())), "{svg}");
}

#[test]
fn what_has_not_jumped_is_not_said_to_have() {
    let mut entry = completed();
    entry.blackout_us = None;
    entry.to_kernel.clone_from(&entry.from_kernel);
    let text = timeline::render(&entry, PLAIN);
    // Nobody who serves again was waited for, and still another kernel runs.
    assert!(text.contains("kernel    7.3.4 -> 7.3.4\n"), "{text}");
    assert!(
        text.contains("from kernel to kernel, until luod was up again"),
        "{text}"
    );
    assert!(timeline::svg(&entry).contains("kernel 7.3.4 -&gt; 7.3.4"));
    entry.timeline.retain(|event| event.phase != Phase::Updated);
    for (outcome, words) in [
        (Outcome::Lost, "about to jump; no kernel took over"),
        (Outcome::Refused, "about to jump, which did not come about"),
        (Outcome::UnderWay, "about to jump\n"),
    ] {
        entry.outcome = outcome;
        let text = timeline::render(&entry, PLAIN);
        assert!(text.contains("kernel    7.3.4\n"), "{text}");
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("from kernel to kernel"), "{text}");
    }
}

/// Debian's package `chromium`. The bars are asked for as the browser has laid them out.
#[test]
#[ignore = "takes chromium"]
fn a_browser_draws_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    // Chromium prints the page after its script, which writes what it sees of the picture.
    let script = "<script>\
        const seen = [...document.querySelectorAll('svg rect > title')].map(title => {\
            const box = title.parentNode.getBoundingClientRect();\
            return box.width >= 3 && box.height > 0 && box.right <= innerWidth;\
        });\
        document.title = `${seen.filter(Boolean).length} of ${seen.length} bars`;\
        </script>";
    let svg = timeline::svg(&completed());
    fs::write(
        &page,
        format!("<!doctype html><body style='margin:0'>{svg}{script}"),
    )
    .unwrap();
    let chromium = std::process::Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1000,600",
        ])
        .arg("--dump-dom")
        .arg(&page)
        .output()
        .expect("chromium is not installed");
    let page = String::from_utf8_lossy(&chromium.stdout);
    assert!(page.contains("8 of 8 bars"), "{page}");
}

#[test]
fn what_went_wrong_is_in_the_picture() {
    let mut entry = completed();
    entry.outcome = Outcome::Incomplete;
    let is_back = |event: &TimelineEvent| {
        event.kind == TimelineKind::Restored && event.workload.as_deref() == Some("web")
    };
    entry.timeline.retain(|event| !is_back(event));
    let svg = timeline::svg(&entry);
    let found = bars(&looked_at(&svg));
    assert!(
        found.contains(&"web: has not come back".to_owned()),
        "{found:?}"
    );
    // A workload's words are data.
    let hostile = TimelineEvent {
        detail: Some("</title><script>\x1b[31m]]>\u{ffff}".into()),
        ..of(
            "<b>&\"",
            0,
            event(60_000, Phase::Preparing, TimelineKind::Vetoed),
        )
    };
    entry.timeline.insert(4, hostile);
    entry.reason = Some("two\nlines".into());
    let svg = timeline::svg(&entry);
    let found = bars(&looked_at(&svg));
    assert!(
        found
            .iter()
            .any(|bar| bar.starts_with("<b>&\": preparing: vetoed")),
        "{found:?}"
    );
    assert!(!svg.contains("<script"), "{svg}");
}

#[test]
fn times_out_of_all_range_are_drawn() {
    let mut entry = completed();
    entry.took_us = Some(u64::MAX);
    entry.began_us = u64::MAX;
    for event in &mut entry.timeline {
        event.time_us = u64::MAX - event.time_us;
        event.took_us = Some(u64::MAX);
    }
    let text = timeline::render(&entry, PLAIN);
    for told in [
        "began     after the year 9999",
        "took      over a year",
        "clock set  preparing",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    looked_at(&timeline::svg(&entry));
    let line = timeline::line(&entry.timeline[0], Since::Clock, PLAIN);
    assert!(line.ends_with("preparing"), "{line}");
    entry.timeline.clear();
    looked_at(&timeline::svg(&entry));
    assert!(timeline::render(&entry, PLAIN).ends_with("7.3.5\n"));
}
