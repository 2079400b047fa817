// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Every state, every event and the reboot, with a fault at every place: the
//! state it ends in, the callbacks in their order, who is named, that nothing is
//! left over, and that it works the next time.

mod oracle;
mod scene;

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_core::mem::fault;
use luo_core::{ops, transition, Error, Failure};

use self::oracle::lines;
use self::scene::{layouts, Act, Layout, Scene, Start, ACTS};
use crate::support::Call;

const CALLS: [Call; 9] = [
    Call::Preserve,
    Call::PinSubsystem,
    Call::SubsystemPrepare,
    Call::Freeze,
    Call::SubsystemFreeze,
    Call::Retrieve,
    Call::PinHandler,
    Call::AllocBlock,
    Call::CanFinish,
];

fn word(act: Act) -> &'static str {
    act.map_or("reboot", Event::word)
}

/// Where an act leads that goes well.
fn success(act: Act, from: State) -> State {
    act.map_or(State::Frozen, |event| {
        transition(event, from).unwrap().success
    })
}

fn each(mut check: impl FnMut(&Layout, Start, Act)) {
    for layout in layouts() {
        for start in Start::ALL {
            for act in ACTS {
                check(&layout, start, act);
            }
        }
    }
}

/// It goes well, in the right order and with the right words, or is illegal.
fn succeeds(scene: &Scene, layout: &Layout, start: Start, act: Act) {
    let host = &scene.host;
    let (from, before) = (start.state(), host.visible());
    let outcome = scene.act(act);
    let told = std::mem::take(&mut host.script().transitions);
    let Some(steps) = layout.steps(start, act) else {
        let (event, state) = (act.unwrap(), from);
        assert!(transition(event, state).is_none());
        let illegal = Error::Illegal { event, state };
        assert_eq!(outcome, Err(Failure::Engine(illegal)));
        assert_eq!(illegal.errno(), Errno::EINVAL);
        assert_eq!(host.visible(), before);
        assert!(host.take_log().is_empty() && told.is_empty());
        return;
    };
    let to = success(act, from);
    assert_eq!(outcome, Ok(to));
    assert_eq!(host.visible().state, to);
    let log = match act {
        Some(Event::Cancel) => layout.undo(&layout.done_before(start)),
        _ => lines(&steps),
    };
    assert_eq!(host.take_log(), log);
    let word = word(act);
    let ends = format!("{word}: {from} -> {to}");
    assert_eq!(told, [format!("{word} begins"), ends]);
}

#[test]
fn without_a_fault() {
    each(|layout, start, act| {
        let scene = Scene::new(layout, start);
        succeeds(&scene, layout, start, act);
        assert_eq!(
            scene.host.engine(|engine| engine.last_failure().copied()),
            None
        );
        scene.end();
    });
}

/// What is seen but for files that were restored meanwhile, which stay so.
fn seen(scene: &Scene) -> crate::support::build::Visible {
    let mut visible = scene.host.visible();
    visible.counts.files = 0;
    visible
}

/// Fails one call; false if there is no such call.
fn fails(layout: &Layout, start: Start, act: Act, call: Call, nth: usize) -> bool {
    let scene = Scene::new(layout, start);
    let host = &scene.host;
    let before = seen(&scene);
    host.fail(call, nth, Errno::EFBIG);
    let at = (start, act);
    let expected = layout.with_fault(&scene, at, (call, nth, Errno::EFBIG));
    let outcome = scene.act(act);
    let Some(expected) = expected else {
        assert!(host.script().relent(), "a call that is not foreseen");
        scene.end();
        return false;
    };
    assert!(!host.script().relent(), "a call that did not come");
    assert_eq!(host.take_log(), expected.log);
    let told = std::mem::take(&mut host.script().transitions);
    let Some(failure) = expected.failure else {
        // A finish cannot fail.
        assert_eq!(outcome, Ok(State::Normal));
        assert_eq!(told, ["finish begins", "finish: updated -> normal"]);
        scene.end();
        return true;
    };
    assert_eq!(outcome, Err(failure));
    let state = match start {
        Start::Updated => State::Updated,
        _ => State::Normal,
    };
    assert_eq!(host.visible().state, state);
    // A freeze that fails in a reboot is a freeze.
    let event = match act {
        _ if start.is_fixed() && act.is_none() => Some(Event::Freeze),
        _ => act,
    };
    let begins = format!("{} begins", word(act));
    let ends = format!("{} fails, {state}: {failure}", word(event));
    assert_eq!(told, [begins, ends]);
    let last = host
        .engine(|engine| engine.last_failure().copied())
        .unwrap();
    assert_eq!(
        (last.event, last.failure, last.sequence),
        (event, failure, 1)
    );
    if !start.is_fixed() {
        assert_eq!(seen(&scene), before);
    }
    again(&scene, layout, start, act, call);
    scene.end();
    true
}

/// What has failed works the next time.
fn again(scene: &Scene, layout: &Layout, start: Start, act: Act, call: Call) {
    if start == Start::Updated {
        // A file that could not be restored cannot be the next time.
        let discard = call == Call::Retrieve;
        assert_eq!(scene.act(act).is_err(), discard);
        assert!(scene.host.freeze().is_ok());
        return;
    }
    // From the beginning, which is NORMAL after a freeze that failed.
    match start {
        Start::Prepared | Start::Frozen => {
            succeeds(scene, layout, Start::Normal, Some(Event::Prepare));
        }
        Start::FrozenByReboot => succeeds(scene, layout, Start::Normal, None),
        Start::Normal | Start::Updated => {}
    }
    if start == Start::Frozen {
        succeeds(scene, layout, Start::Prepared, Some(Event::Freeze));
    }
    succeeds(scene, layout, start, act);
}

#[test]
fn with_each_call_failing() {
    let mut faults = 0;
    each(|layout, start, act| {
        for call in CALLS {
            let fails = |nth: &usize| fails(layout, start, act, call, *nth);
            faults += (0..).take_while(fails).count();
        }
    });
    assert!(faults > 500, "{faults}");
}

/// Whether nothing is left of what was done and undone.
fn is_balanced(log: &[String], done: &str, undone: &str) -> bool {
    let of = |word: &str| {
        let lines = log.iter().filter_map(|line| line.strip_prefix(word));
        let mut lines: Vec<_> = lines.filter(|rest| rest.starts_with(' ')).collect();
        lines.sort_unstable();
        lines.concat()
    };
    of(done) == of(undone)
}

#[test]
fn with_each_request_for_memory_refused() {
    each(|layout, start, act| {
        for requests in 0.. {
            let scene = Scene::new(layout, start);
            let (host, before) = (&scene.host, seen(&scene));
            fault::fail_after(requests);
            let outcome = scene.act(act);
            if fault::disarm() {
                // A veto has nothing to do with memory, only what is new asks.
                let asks = layout.steps(start, act).unwrap_or_default();
                assert!(requests > 0 || asks.iter().all(|s| s.call != Call::Preserve));
                scene.end();
                break;
            }
            assert_eq!(outcome.unwrap_err().errno(), Errno::ENOMEM);
            assert_eq!(seen(&scene), before);
            let log = host.take_log();
            // The one that was refused has been logged, and is not undone.
            let mut lines = log.clone();
            let is_last = |line: &String| line.starts_with("preserve");
            if !is_balanced(&log, "preserve", "unpreserve") {
                let last = lines.iter().rposition(is_last).unwrap();
                lines.remove(last);
            }
            assert!(is_balanced(&lines, "preserve", "unpreserve"), "{log:?}");
            assert!(is_balanced(&log, "freeze", "unfreeze"), "{log:?}");
            if start == Start::Updated {
                // A handler that had no memory to restore with is not asked again.
                assert!(scene.act(act).is_ok() || is_retrieve(&log));
                assert!(host.freeze().is_ok());
            } else {
                host.script().transitions.clear();
                succeeds(&scene, layout, start, act);
            }
            scene.end();
        }
    });
}

/// Whether the last thing that was not an undoing was a retrieve.
fn is_retrieve(log: &[String]) -> bool {
    let mut forth = log.iter().rev().filter(|line| !line.starts_with("un"));
    forth
        .next()
        .is_some_and(|line| line.starts_with("retrieve"))
}

/// A file that others need is taken back: whoever misses it is named, nothing is
/// called, and dropping the dependencies mends it.
#[test]
fn with_a_dependency_that_is_missing() {
    for layout in layouts() {
        for act in [Some(Event::Prepare), None] {
            for object in 1..4u64 {
                missing(&layout, act, object);
            }
        }
    }
}

fn missing(layout: &Layout, act: Act, object: u64) {
    let mut scene = Scene::new(layout, Start::Normal);
    let host = &scene.host;
    let (session, name) = (scene.session_of(layout, object), scene.name(object));
    ops::unpreserve_file(host, session, name.token).unwrap();
    host.take_log();
    let before = host.visible();
    let by = layout
        .given()
        .into_iter()
        .filter(|&by| layout.needs.contains(&(by, object)));
    for by in by {
        let failure = Failure::Dependency {
            file: scene.name(by),
            on: name,
        };
        assert_eq!(scene.act(act), Err(failure));
        assert_eq!(failure.errno(), Errno::ENOLINK);
        assert_eq!(host.visible(), before);
        assert!(host.take_log().is_empty());
        let last = host
            .engine(|engine| engine.last_failure().copied())
            .unwrap();
        assert_eq!((last.event, last.failure), (act, failure));
        let needed = scene.needed(layout, by, object);
        let (session, token) = (scene.session_of(layout, by), scene.name(by).token);
        ops::drop_dependency(host, luo_core::Actor::Administrator, session, token, needed).unwrap();
    }
    let to = success(act, State::Normal);
    assert_eq!(scene.act(act), Ok(to));
    scene.sessions.truncate(layout.sessions.len());
    scene.end();
}
