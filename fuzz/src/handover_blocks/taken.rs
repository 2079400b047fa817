// SPDX-License-Identifier: MIT OR Apache-2.0
//! A handover that was taken over: all of it can be had, and finished.

use arbitrary::Arbitrary;
use luo_abi::contract::{LIST_INCOMING, SESSION_OF_DEVICE, SESSION_UNFINISHED};
use luo_abi::rfc::State;
use luo_core::{Access, Actor, Error, SessionId, SessionName, ops};
use luo_testhost::TestHost;

use super::machine::{boot, open};
use crate::queries;

/// What the next kernel does with what it gets.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Then {
    TakeBack,
    Finish,
    /// A reboot at once: unclaimed sessions are carried on.
    GoOn,
}

pub(super) fn check(host: TestHost, then: Then) {
    match then {
        Then::TakeBack => {
            let sessions = take_back(&host);
            end(host, &sessions);
        }
        Then::Finish => end(host, &[]),
        Then::GoOn => go_on(host),
    }
}

/// Claims each session and retrieves each file.
fn take_back(host: &TestHost) -> Vec<SessionId> {
    let mut claimed = Vec::new();
    let mut open = Vec::new();
    for session in queries::sessions(host, LIST_INCOMING) {
        if session.flags & SESSION_OF_DEVICE != 0 || session.state == SESSION_UNFINISHED {
            continue;
        }
        let name = SessionName::parse(&session.name).expect("a name that was taken over");
        let id = ops::retrieve_session(host, luo_core::Actor::Administrator, &name)
            .expect("a session that is listed");
        assert_eq!(
            ops::retrieve_session(host, luo_core::Actor::Administrator, &name),
            Err(Error::AlreadyRetrieved)
        );
        let files = queries::files(host, id);
        assert_eq!(files.len() as u64, session.files);
        for file in files {
            queries::dependencies(host, id, file.token);
            open.push((id, file.token));
        }
        claimed.push(id);
    }
    restore(host, open);
    claimed
}

/// Restores all files. What needs a file of another session waits until that one is
/// restored; each round gets further, or nothing is left but what waits for a file of the
/// device whose token another one has.
fn restore(host: &TestHost, mut open: Vec<(SessionId, u64)>) {
    loop {
        for file in queries::arrived(host) {
            // Of two with one token the first is given.
            let _ = ops::restore_file(host, file.token);
        }
        let before = open.len();
        let mut only_for_device = true;
        open.retain(|&(id, token)| match host.retrieve(id, token) {
            Ok(restored) => {
                drop(restored);
                false
            }
            Err(Error::Awaits(on)) => {
                only_for_device &= on.of_device;
                true
            }
            Err(why) => panic!("a file that is listed: {why}"),
        });
        if open.len() == before {
            assert!(open.is_empty() || only_for_device, "nothing goes on");
            return;
        }
    }
}

fn end(host: TestHost, sessions: &[SessionId]) {
    for &session in sessions {
        // Sessions that need each other's files are finished with the last of them.
        let _ = host.close(session);
    }
    let _ = ops::finish_update(&host, |_| ());
    nothing_is_held(&host);
    let session = host.create("next");
    let open = || Ok(host.new_file_with(0, u64::MAX >> 3, Access::Full));
    ops::preserve_file(&host, Actor::Administrator, session, 1, open).expect("it works on");
    host.reboot().expect("nothing is in the way");
    next_takes_over(host, "next");
}

fn nothing_is_held(host: &TestHost) {
    let visible = host.visible();
    assert_eq!(visible.state, State::Normal);
    let counts = visible.counts;
    assert_eq!((visible.incoming, visible.files), (0, 0), "left over");
    assert_eq!((counts.files, counts.pins), (0, 0), "lent still");
    assert_eq!((counts.privates, counts.objects), (0, 0), "lent still");
}

/// Closes what is there; nothing may be left.
pub(super) fn nothing_left(host: TestHost, sessions: &[SessionId]) {
    for &session in sessions {
        host.close(session).expect("nothing is in the way");
    }
    let _ = ops::finish_update(&host, |_| ());
    nothing_is_held(&host);
}

/// Reboots at once. What is vetoed is there still; what is not arrives.
fn go_on(host: TestHost) {
    let before = queries::sessions(&host, LIST_INCOMING);
    let Ok(report) = host.reboot() else {
        assert_eq!(host.state(), State::Updated);
        let now = queries::sessions(&host, LIST_INCOMING);
        assert_eq!(now.len(), before.len(), "a veto has lost a session");
        return end(host, &[]);
    };
    assert_eq!((report.lost, report.losses.unread), (0, false));
    let carried = report.carried;
    let (next, admitted) = boot(host.kexec());
    assert_eq!(admitted, Ok(()));
    open(&next).expect("what was carried on");
    let arrived = queries::sessions(&next, LIST_INCOMING);
    assert_eq!(arrived.len(), carried);
    let names = |all: &[luo_abi::contract::SessionInfo]| {
        let named = all.iter().filter(|session| session.flags == 0);
        let mut names: Vec<_> = named.map(|session| (session.name, session.files)).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&arrived), names(&before));
    let sessions = take_back(&next);
    end(next, &sessions);
}

/// The kernel after it finds the one session that was made here.
pub(super) fn next_takes_over(host: TestHost, name: &str) {
    let (next, admitted) = boot(host.kexec());
    assert_eq!(admitted, Ok(()));
    next.open().expect("a good handover");
    assert_eq!(next.taken_over(), Some((1, 1)));
    let session = next.claim(name).expect("the session");
    let file = next.retrieve(session, 1).expect("the file");
    assert_eq!(file.object, u64::MAX >> 3);
    drop(file);
    nothing_left(next, &[session]);
}
