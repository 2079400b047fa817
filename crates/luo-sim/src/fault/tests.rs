// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests are read as they are written, and each fault comes about when it is due.

use super::*;
use crate::memory::Handed;
use crate::random::Random;

fn parsed(text: &str) -> Fault {
    text.parse().unwrap()
}

#[test]
fn requests_are_understood() {
    let veto = Fault::at(Step::Freeze, Some(2), Action::Fail(Errno::EBUSY));
    assert_eq!(parsed("freeze:2=EBUSY"), veto);
    assert_eq!(parsed("1/freeze:2=16"), veto.in_boot(1));
    let crash = Fault::at(Step::Kexec, Some(1), Action::Crash);
    assert_eq!(parsed("kexec=crash"), crash);
    let delay = Action::Delay(Duration::from_millis(50));
    assert_eq!(
        parsed("call:*=delay:50ms"),
        Fault::at(Step::Call, None, delay)
    );
    assert_eq!(
        parsed("handover=flip:9"),
        Fault::handover(Damage::Flip(Some(9)))
    );
    assert_eq!(
        parsed("handover=truncate"),
        Fault::handover(Damage::Truncate(None))
    );
}

#[test]
fn nonsense_is_refused() {
    let refused = |text: &str| text.parse::<Fault>().unwrap_err();
    assert_eq!(refused("freeze"), BadFault::Form);
    assert_eq!(refused("melt=EIO"), BadFault::Step("melt".into()));
    assert_eq!(refused("freeze=EWHAT"), BadFault::Action("EWHAT".into()));
    assert_eq!(refused("freeze=-1"), BadFault::Action("-1".into()));
    assert_eq!(refused("finish=EIO"), BadFault::CannotFail("finish"));
    assert_eq!(refused("freeze:0=EIO"), BadFault::Number("0".into()));
    assert_eq!(refused("handover=melt"), BadFault::Damage("melt".into()));
}

#[test]
fn the_nth_time_is_struck_and_no_other() {
    let all = [parsed("freeze:2=EBUSY"), parsed("1/preserve:*=EIO")];
    let asked = Asked::new(&all);
    let faults = Faults::new(&asked, 0);
    let told: Vec<_> = (0..3).map(|_| faults.reached(Step::Freeze)).collect();
    assert_eq!(told, [None, Some(Action::Fail(Errno::EBUSY)), None]);
    assert_eq!(faults.reached(Step::Preserve), None);
    assert_eq!(asked.unfired(), [all[1]]);
    let later = Faults::new(&asked, 1);
    assert!((0..3).all(|_| later.reached(Step::Preserve).is_some()));
    assert!(asked.unfired().is_empty());
}

#[test]
fn damage_to_what_is_not_there_has_not_come_about() {
    for text in ["handover=flip:99999", "handover=truncate:7"] {
        let asked = Asked::new(&[parsed(text)]);
        let mut handed = Handed::default();
        handed.pages.insert(0x1000, vec![1; 4096].into());
        let said = Faults::new(&asked, 0).damage(&mut handed, &mut Random::new(0));
        assert!(said[0].starts_with("there is no"), "{said:?}");
        assert_eq!(asked.unfired().len(), 1, "{text}");
    }
}

#[test]
fn faults_read_as_they_are_asked_for() {
    for text in [
        "freeze:2=EBUSY",
        "1/retrieve:1=EIO",
        "call:*=delay:50",
        "kexec:1=crash",
        "freeze:1=77",
        "handover=flip",
        "0/handover=truncate:3",
    ] {
        assert_eq!(parsed(text).to_string(), text);
    }
}

#[test]
fn damage_is_repeatable() {
    let handed = || {
        let mut handed = Handed::default();
        handed.pages.insert(0x1000, vec![1; 4096].into());
        handed.pages.insert(0x2000, vec![0; 4096].into());
        handed
    };
    let faults = Faults::new(&Asked::new(&[parsed("handover=flip")]), 0);
    let run = |seed| {
        let mut handed = handed();
        let said = faults.damage(&mut handed, &mut Random::new(seed));
        (said, handed.pages)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
    assert_ne!(run(3).1, handed().pages);
    let mut short = handed();
    let faults = Faults::new(&Asked::new(&[parsed("handover=truncate:1")]), 0);
    faults.damage(&mut short, &mut Random::new(0));
    assert_eq!(short.pages.keys().collect::<Vec<_>>(), [&0x1000]);
}
