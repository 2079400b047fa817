// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The handler of pipes in the engine: what belongs together, who waits for whom, and who is
//! charged for what.

use std::thread;

use luo_abi::errno::Errno;
use luo_core::held::PAUSES;
use luo_core::mem::fault;
use luo_core::ops::{self, Needed};
use luo_core::pipe::End;
use luo_core::{Actor, Error, Failure, Quota, Quotas, SessionId, Whom};

use crate::owners::{claim, create, ALICE, BOB, ROOT};
use crate::support::host::{TestFile, TestPipe};
use crate::support::ledger::take_longest;
use crate::support::{name, Call, Handed, TestHandler, TestHost};

const READ: u64 = 1;
const WRITE: u64 = 2;
const PAGE: u64 = 4096;

fn with_pipes(host: TestHost) -> TestHost {
    host.register(TestHandler::PIPES);
    host
}

fn cold() -> TestHost {
    with_pipes(TestHost::cold())
}

fn next(handed: Handed) -> TestHost {
    let host = with_pipes(TestHost::warm(handed));
    host.open().unwrap();
    host
}

fn preserve(
    host: &TestHost,
    session: SessionId,
    token: u64,
    pipe: u64,
    end: End,
) -> Result<(), Error> {
    ops::preserve_file(host, Actor::Administrator, session, token, || {
        Ok(host.end_of(pipe, end))
    })
}

/// Both ends, under [`READ`] and [`WRITE`] of a round.
fn preserve_both(host: &TestHost, session: SessionId, pipe: u64) {
    preserve(host, session, 10 * pipe + READ, pipe, End::Read).unwrap();
    preserve(host, session, 10 * pipe + WRITE, pipe, End::Write).unwrap();
}

fn holds(host: &TestHost, pipe: u64, text: &[u8]) {
    host.change_pipe(pipe, |pipe| pipe.held = vec![(text.to_vec(), false)]);
}

fn held(pipe: &TestPipe) -> Vec<u8> {
    pipe.held
        .iter()
        .flat_map(|(bytes, _)| bytes.clone())
        .collect()
}

fn text_of(host: &TestHost, file: &TestFile) -> Vec<u8> {
    held(&host.pipe_of(file))
}

/// How often somebody has looked into a pipe since this was asked last, and for how many
/// pauses that was waited for.
fn looks(host: &TestHost) -> (u64, u64) {
    let mut pipes = host.pipes.lock().unwrap();
    (
        std::mem::take(&mut pipes.looks),
        std::mem::take(&mut pipes.pauses),
    )
}

fn bytes_of(host: &TestHost, session: SessionId, token: u64) -> u64 {
    let files = ops::list_files(host, session, 0, ops::MAX_PAGE).unwrap();
    let file = files.entries.iter().find(|file| file.token == token);
    file.unwrap().bytes
}

#[test]
fn both_ends_come_back_as_one_pipe() {
    let host = cold();
    let vm = host.create("vm");
    host.change_pipe(1, |pipe| {
        pipe.slots = 4;
        pipe.nonblock = [true, false];
        pipe.packets = true;
        pipe.held = vec![(b"packet".to_vec(), true), (vec![7; 9000], false)];
    });
    preserve_both(&host, vm, 1);
    let before = host.pipe_of(&host.end_of(1, End::Read));
    let host = next(host.update());
    let vm = host.claim("vm").unwrap();
    let reads = host.retrieve(vm, 11).unwrap();
    let writes = host.retrieve(vm, 12).unwrap();
    assert_eq!(reads.object + 1, writes.object);
    let after = host.pipe_of(&reads);
    assert_eq!(held(&after), held(&before));
    assert_eq!(after.held[0], before.held[0]);
    let facts = |pipe: TestPipe| (pipe.slots, pipe.nonblock, pipe.packets);
    assert_eq!(facts(after), facts(before));
    host.finish(vm).unwrap();
    assert_eq!(host.arrived_pages(), 0);
    assert_eq!(host.engine(|engine| engine.pipe_counts()), [0, 0]);
}

#[test]
fn what_nobody_takes_back_leaves_nothing() {
    for taken in [None, Some(11), Some(12)] {
        let host = cold();
        let vm = host.create("vm");
        holds(&host, 1, &[7; 20_000]);
        preserve_both(&host, vm, 1);
        let host = next(host.update());
        let files = host.counts().files;
        let vm = host.claim("vm").unwrap();
        let file = taken.map(|token| host.retrieve(vm, token).unwrap());
        host.finish(vm).unwrap();
        // The end that nobody has asked for is closed.
        let left = isize::from(file.is_some());
        assert_eq!(host.counts().files, files + left);
        assert_eq!(host.arrived_pages(), 0, "{taken:?}");
        assert_eq!(host.engine(|engine| engine.pipe_counts()), [0, 0]);
    }
}

#[test]
fn it_goes_on_to_another_kernel_unclaimed_and_claimed() {
    let host = cold();
    let vm = host.create("vm");
    holds(&host, 1, b"text");
    preserve_both(&host, vm, 1);
    let host = next(host.update());
    // A reboot that fails leaves it where it was.
    host.fail(Call::SubsystemFreeze, 0, Errno::EFBIG);
    host.subsystem(1).unwrap();
    host.reboot().unwrap_err();
    assert_eq!(host.engine(|engine| engine.pipe_counts()[0]), 0);
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.losses.files), (1, 0));
    let host = next(host.kexec());
    let vm = host.claim("vm").unwrap();
    let [reads, writes] = [11, 12].map(|token| host.retrieve(vm, token).unwrap());
    assert_eq!(text_of(&host, &reads), b"text");
    let own = host.create("own");
    let pipe = reads.object / 2;
    for (token, file) in [(READ, &reads), (WRITE, &writes)] {
        // A file that came back counts as preserved until its session ends.
        let again =
            ops::preserve_file(&host, Actor::Administrator, own, token, || Ok(file.clone()));
        assert_eq!(again, Err(Error::AlreadyPreserved));
    }
    host.finish(vm).unwrap();
    for (token, file) in [(READ, reads), (WRITE, writes)] {
        ops::preserve_file(&host, Actor::Administrator, own, token, || Ok(file)).unwrap();
    }
    holds(&host, pipe, b"once more");
    let host = next(host.update());
    let own = host.claim("own").unwrap();
    assert_eq!(
        text_of(&host, &host.retrieve(own, READ).unwrap()),
        b"once more"
    );
}

#[test]
fn the_last_look_counts_and_its_pages_only() {
    let host = cold();
    let vm = host.create("vm");
    let blocks = host.counts().blocks;
    holds(&host, 1, &[7; 60_000]);
    preserve_both(&host, vm, 1);
    assert!(host.counts().blocks - blocks > 15);
    holds(&host, 1, b"");
    host.change_pipe(1, |pipe| pipe.held.clear());
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    // A page of files, one of records; the note.
    assert!(host.counts().blocks - blocks <= 3);
    holds(&host, 1, &[8; 9000]);
    host.reboot().unwrap();
    let host = next(host.kexec());
    let vm = host.claim("vm").unwrap();
    assert_eq!(text_of(&host, &host.retrieve(vm, 11).unwrap()), [8; 9000]);
    assert_eq!(host.arrived_pages(), 0);
}

/// What is written to it while somebody looks makes them look again, not for ever.
#[test]
fn one_that_grows_meanwhile_is_looked_into_again() {
    let host = cold();
    let vm = host.create("vm");
    host.change_pipe(1, |pipe| {
        pipe.held = vec![(vec![1; 4000], false)];
        pipe.grows = vec![(vec![2; 4000], false)];
    });
    preserve(&host, vm, 1, 1, End::Read).unwrap();
    assert_eq!(looks(&host).0, 3);
    // More than a pipe of that size can hold.
    host.change_pipe(2, |pipe| {
        pipe.slots = 1;
        pipe.held = vec![(vec![1; 4097], false)];
    });
    let refused = preserve(&host, vm, 2, 2, End::Read);
    assert_eq!(refused, Err(Error::Host(Errno::EFBIG)));
    assert_eq!(host.engine(|engine| engine.pipe_counts()[0]), 1);
}

/// The end that is written to brings nothing: who has it alone could not read what the pipe
/// holds, and does not get to.
#[test]
fn the_end_that_writes_is_not_looked_through() {
    let host = cold();
    let vm = host.create("vm");
    holds(&host, 1, &[7; 9000]);
    // Whoever holds the pipe does not matter for it.
    host.change_pipe(1, |pipe| pipe.locked = u32::MAX);
    preserve(&host, vm, WRITE, 1, End::Write).unwrap();
    let handed = host.update();
    let host = next(handed);
    let vm = host.claim("vm").unwrap();
    let writes = host.retrieve(vm, WRITE).unwrap();
    assert_eq!(text_of(&host, &writes), b"");
    assert_eq!(
        host.counts().files,
        2,
        "the engine's and ours: the other end is closed"
    );
}

#[test]
fn ends_of_one_owner_go_into_one_session() {
    let host = cold();
    let (one, other) = (host.create("one"), host.create("other"));
    preserve(&host, one, READ, 1, End::Read).unwrap();
    let refused = preserve(&host, other, WRITE, 1, End::Write);
    assert_eq!(refused, Err(Error::Host(Errno::EBUSY)));
    host.close(one).unwrap();
    preserve(&host, other, WRITE, 1, End::Write).unwrap();
}

/// Whoever comes first: nobody refuses another's file by preserving its own.
#[test]
fn ends_of_different_owners_go_alone() {
    for alice_first in [false, true] {
        let host = cold();
        let vm = create(&host, ROOT, "vm").unwrap();
        let own = create(&host, ALICE, "own").unwrap();
        holds(&host, 1, b"roots");
        let mut ends = [(vm, READ, End::Read), (own, WRITE, End::Write)];
        if alice_first {
            ends.reverse();
        }
        for (session, token, end) in ends {
            preserve(&host, session, token, 1, end).unwrap();
        }
        let host = next(host.update());
        let vm = claim(&host, ROOT, "vm").unwrap();
        let own = claim(&host, ALICE, "own").unwrap();
        let reads = host.retrieve(vm, READ).unwrap();
        let writes = host.retrieve(own, WRITE).unwrap();
        assert_ne!(reads.object / 2, writes.object / 2, "two pipes");
        assert_eq!(text_of(&host, &reads), b"roots");
        assert_eq!(text_of(&host, &writes), b"");
        assert_eq!(host.arrived_pages(), 0);
    }
}

#[test]
fn what_a_pipe_may_hold_counts_for_the_end_that_reads() {
    let host = cold();
    let own = create(&host, ALICE, "own").unwrap();
    preserve_both(&host, own, 1);
    // 16 pages and what their records take, and the note.
    assert_eq!(bytes_of(&host, own, 11), 19 * PAGE);
    assert_eq!(bytes_of(&host, own, 12), PAGE);
    // At the freeze as much as it may hold then.
    host.change_pipe(1, |pipe| pipe.slots = 32);
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    assert_eq!(bytes_of(&host, own, 11), 36 * PAGE);
    ops::cancel(&host).unwrap();
    host.close(own).unwrap();
    let own = create(&host, ALICE, "own").unwrap();
    host.engine(|engine| {
        let mut quotas = Quotas::DEFAULT;
        quotas.set(Quota::Bytes, 38 * PAGE);
        engine.set_quotas(Whom::Each, quotas);
    });
    preserve_both(&host, own, 1);
    let refused = preserve(&host, own, 21, 2, End::Read);
    assert_eq!(refused, Err(Error::OverQuota(Quota::Bytes)));
}

/// A user that makes its pipe larger than it may lose that file, and nobody else one.
#[test]
fn one_that_has_grown_over_its_users_quota_is_lost_alone() {
    let host = cold();
    let own = create(&host, ALICE, "own").unwrap();
    let vm = create(&host, ROOT, "vm").unwrap();
    host.engine(|engine| {
        let mut quotas = Quotas::DEFAULT;
        quotas.set(Quota::Bytes, 38 * PAGE);
        engine.set_quotas(Whom::Each, quotas);
    });
    preserve_both(&host, own, 1);
    preserve_both(&host, vm, 2);
    let blocks = host.counts().blocks;
    for pipe in [1, 2] {
        host.change_pipe(pipe, |pipe| {
            pipe.slots = 1024;
            pipe.held = vec![(vec![7; 4096], false)];
        });
    }
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    let report = host.reboot().unwrap();
    assert_eq!(report.losses.files, 1);
    assert!(host.counts().blocks - blocks < 8);
    let host = next(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    assert_eq!(
        host.retrieve(own, 11).err(),
        Some(Error::Lost(Errno::EDQUOT))
    );
    // The other end comes back without it.
    assert_eq!(text_of(&host, &host.retrieve(own, 12).unwrap()), b"");
    let vm = claim(&host, ROOT, "vm").unwrap();
    host.retrieve(vm, 21).unwrap();
}

/// Somebody has a pipe locked for ever.
fn lock(host: &TestHost, pipe: u64) {
    host.change_pipe(pipe, |pipe| pipe.locked = u32::MAX);
}

#[test]
fn a_pipe_that_is_locked_is_waited_for_with_an_end() {
    let host = cold();
    let vm = host.create("vm");
    host.change_pipe(1, |pipe| pipe.locked = PAUSES);
    preserve(&host, vm, 11, 1, End::Read).unwrap();
    lock(&host, 2);
    looks(&host);
    let before = host.visible();
    let refused = preserve(&host, vm, 21, 2, End::Read);
    assert_eq!(refused, Err(Error::Host(Errno::EBUSY)));
    assert_eq!(looks(&host), (1, u64::from(PAUSES)));
    assert_eq!(host.visible(), before);
    assert_eq!(host.engine(|engine| engine.pipe_counts()[0]), 1);
}

/// While one is looked into, everything else goes on: others' pipes, and the engine.
#[test]
fn nobody_waits_for_who_looks_into_another_pipe() {
    let host = cold();
    let (vm, other) = (host.create("vm"), host.create("other"));
    preserve_both(&host, vm, 1);
    host.set_hook(move |host, call, pipe| {
        if call == Call::LookIntoPipe && pipe == 9 {
            preserve_both(host, other, 2);
            ops::unpreserve_file(host, other, 21).unwrap();
            host.close(vm).unwrap();
            assert_eq!(host.engine(|engine| engine.pipe_counts()[0]), 2);
        }
    });
    let own = host.create("own");
    preserve(&host, own, 1, 9, End::Read).unwrap();
}

/// Both ends at once: whoever begins, they are one pipe.
#[test]
fn ends_that_are_preserved_at_once_are_of_one_pipe() {
    for other in [End::Read, End::Write] {
        let host = cold();
        let vm = host.create("vm");
        let mut done = false;
        // Right before the page of its note is there.
        host.set_hook(move |host, call, _| {
            if call == Call::AllocBlock && host.counts().files > 0 && !done {
                done = true;
                let end = match other {
                    End::Read => End::Write,
                    End::Write => End::Read,
                };
                preserve(host, vm, 5, 1, end).unwrap();
            }
        });
        preserve(&host, vm, 6, 1, other).unwrap();
        assert_eq!(host.engine(|engine| engine.pipe_counts()), [1, 0]);
        host.set_hook(|_, _, _| {});
        ops::unpreserve_file(&host, vm, 5).unwrap();
        ops::unpreserve_file(&host, vm, 6).unwrap();
        assert_eq!(host.engine(|engine| engine.pipe_counts()), [0, 0]);
    }
}

/// However many pipes are held for ever: one patience for those of users, and another for
/// the administrator's.
#[test]
fn a_transition_has_one_patience_for_all_pipes() {
    let host = cold();
    let own = create(&host, ALICE, "own").unwrap();
    let vm = create(&host, ROOT, "vm").unwrap();
    for pipe in 1..=300 {
        preserve(&host, own, pipe, pipe, End::Read).unwrap();
    }
    preserve(&host, vm, READ, 1000, End::Read).unwrap();
    (1..=299).for_each(|pipe| lock(&host, pipe));
    // Of root's one holds for a moment.
    host.change_pipe(1000, |pipe| pipe.locked = 20);
    looks(&host);
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    let (_, pauses) = looks(&host);
    assert!(pauses <= u64::from(PAUSES) + 20, "{pauses}");
    let report = host.reboot().unwrap();
    let (_, pauses) = looks(&host);
    assert!(pauses <= u64::from(PAUSES) + 20, "{pauses}");
    assert_eq!(report.losses.files, 299);
    let host = next(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    assert_eq!(host.retrieve(own, 7).err(), Some(Error::Lost(Errno::EBUSY)));
    host.retrieve(own, 300).unwrap();
    let vm = claim(&host, ROOT, "vm").unwrap();
    host.retrieve(vm, READ).unwrap();
}

/// Who holds so many pipes that nothing is left of the patience takes nothing from a pipe that is
/// busy and not held.
#[test]
fn a_busy_pipe_comes_along_beside_held_ones() {
    for owner in [ALICE, ROOT] {
        let host = cold();
        let own = create(&host, owner, "own").unwrap();
        for pipe in 1..=10 {
            preserve(&host, own, pipe, pipe, End::Read).unwrap();
        }
        (1..=9).for_each(|pipe| lock(&host, pipe));
        host.change_pipe(10, |pipe| pipe.busy = 2);
        let report = host.reboot_or_lose().unwrap();
        assert_eq!(report.losses.files, 9);
        let host = next(host.kexec());
        let own = claim(&host, owner, "own").unwrap();
        host.retrieve(own, 10).unwrap();
    }
}

/// A pipe with pieces larger than a page among packets holds no more bytes and pages than one of
/// its size does, and does not fit into one all the same.
#[test]
fn what_takes_more_buffers_than_there_are_is_refused() {
    let host = cold();
    let vm = host.create("vm");
    host.change_pipe(1, |pipe| {
        pipe.held = vec![(vec![7; 4096], false); 10];
        pipe.held.extend(vec![(vec![1], true); 6]);
    });
    preserve(&host, vm, READ, 1, End::Read).unwrap();
    host.change_pipe(2, |pipe| {
        pipe.held = vec![(vec![7; 8192], false); 5];
        pipe.held.extend(vec![(vec![1], true); 11]);
    });
    let refused = preserve(&host, vm, 21, 2, End::Read);
    assert_eq!(refused, Err(Error::Host(Errno::EFBIG)));
}

/// Without memory to let go of what nobody has taken back it stays, and that is said.
#[test]
fn what_cannot_be_let_go_of_is_said() {
    for requests in 0.. {
        let host = cold();
        let vm = host.create("vm");
        holds(&host, 1, &[7; 9000]);
        preserve(&host, vm, READ, 1, End::Read).unwrap();
        let host = next(host.update());
        let vm = host.claim("vm").unwrap();
        host.take_log();
        fault::fail_after(requests);
        host.finish(vm).unwrap();
        let enough = fault::disarm();
        let said = host.take_log();
        let said = said.iter().filter(|line| line.contains("no memory"));
        let said = said.count();
        if enough {
            assert!(requests > 0);
            assert_eq!((host.arrived_pages(), said), (0, 0));
            return;
        }
        assert!(host.arrived_pages() > 0, "{requests}");
        assert_eq!(said, 1, "{requests}");
    }
}

#[test]
fn the_administrators_pipe_that_is_locked_is_named() {
    let host = cold();
    let vm = host.create("vm");
    preserve_both(&host, vm, 1);
    lock(&host, 1);
    ops::prepare(&host).unwrap();
    match ops::freeze(&host).unwrap_err() {
        Failure::Handler { file, errno, .. } => {
            assert_eq!((file.session, file.token), (name("vm"), 11));
            assert_eq!(errno, Errno::EBUSY);
        }
        other => panic!("{other:?}"),
    }
    let report = host.reboot_or_lose().unwrap();
    assert_eq!(report.losses.files, 1);
    let host = next(host.kexec());
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 11).err(), Some(Error::Lost(Errno::EBUSY)));
    host.retrieve(vm, 12).unwrap();
    host.finish(vm).unwrap();
    assert_eq!(host.arrived_pages(), 0);
}

/// A user has the end that is read from back, and holds the pipe: the other end, which goes on
/// with who needs it, is not waited for.
#[test]
fn an_end_whose_other_end_a_user_has_back_holds_nobody_up() {
    let host = cold();
    let [x, y] = ["x", "y"].map(|text| create(&host, ALICE, text).unwrap());
    preserve_both(&host, x, 1);
    host.preserve(y, 1, 20).unwrap();
    for token in [11, 12] {
        ops::add_dependency(&host, ALICE, y, 1, Needed::Of(x, token)).unwrap();
    }
    let host = next(host.update());
    let x = claim(&host, ALICE, "x").unwrap();
    let writes = host.retrieve(x, 12).unwrap();
    lock(&host, writes.object / 2);
    assert!(matches!(host.close(x), Err(Error::Needed { .. })));
    looks(&host);
    host.reboot().unwrap();
    let (_, pauses) = looks(&host);
    assert!(pauses <= u64::from(PAUSES), "{pauses}");
}

#[test]
fn the_second_end_waits_for_who_makes_the_pipe() {
    let host = cold();
    let vm = host.create("vm");
    holds(&host, 1, b"text");
    preserve_both(&host, vm, 1);
    let host = with_pipes(TestHost::warm_as(host.update(), true));
    host.open().unwrap();
    let vm = host.claim("vm").unwrap();
    host.set_hook(|host, call, _| {
        if call == Call::MakePipe {
            // Until the other is there and waits.
            while host.waiting.load(std::sync::atomic::Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
        }
    });
    let host = &host;
    let ends = thread::scope(|scope| {
        let retrieve = |token| scope.spawn(move || host.retrieve(vm, token).unwrap());
        let ends = [11, 12].map(retrieve);
        ends.map(|end| end.join().unwrap())
    });
    let made = host.take_log();
    let made = made.iter().filter(|line| line.starts_with("make a pipe"));
    assert_eq!(made.count(), 1);
    assert_eq!(ends[0].object + 1, ends[1].object);
    assert_eq!(host.arrived_pages(), 0);
}

/// Nothing is looked along: neither by who preserves and lets go, nor by who takes back.
#[test]
fn a_step_looks_at_one_pipe() {
    let longest = |pipes: u64| {
        let host = cold();
        let vm = host.create("vm");
        (1..=pipes).for_each(|pipe| preserve_both(&host, vm, pipe));
        take_longest();
        preserve_both(&host, vm, 1_000_000);
        ops::unpreserve_file(&host, vm, 11).unwrap();
        ops::unpreserve_file(&host, vm, 12).unwrap();
        let old = take_longest();
        let host = next(host.update());
        let vm = host.claim("vm").unwrap();
        // An end of each is kept.
        (2..=pipes).for_each(|pipe| drop(host.retrieve(vm, 10 * pipe + READ).unwrap()));
        take_longest();
        host.retrieve(vm, 10_000_001).unwrap();
        host.retrieve(vm, 10_000_002).unwrap();
        host.retrieve(vm, 10 * pipes + WRITE).unwrap();
        (old, take_longest())
    };
    let (few, many) = (longest(10), longest(4000));
    assert!(many.0 <= few.0 + 24, "{few:?}, {many:?}");
    assert!(many.1 <= few.1 + 24, "{few:?}, {many:?}");
}

fn scene(pipes: u64) -> (TestHost, SessionId) {
    let host = cold();
    let vm = host.create("vm");
    (1..=pipes).for_each(|pipe| preserve_both(&host, vm, pipe));
    holds(&host, 900, &[7; 9000]);
    (host, vm)
}

/// Memory that is refused at any point leaves everything as it was; where room can be made,
/// it is.
#[test]
fn memory_that_is_refused() {
    let mut rooms = 0;
    for (pipes, with_room) in [(0, false), (8, false), (0, true), (8, true)] {
        for requests in 0.. {
            let (host, vm) = scene(pipes);
            let before = host.visible();
            let joints = host.engine(|engine| engine.pipe_counts());
            let made = fault::rooms();
            match with_room {
                true => fault::wait_after(requests),
                false => fault::fail_after(requests),
            }
            let outcome = preserve(&host, vm, 1, 900, End::Read);
            if fault::disarm() {
                assert_eq!(outcome, Ok(()));
                break;
            }
            let made = fault::rooms() - made;
            rooms += made;
            if with_room && made > 0 {
                assert_eq!(outcome, Ok(()), "request {requests}");
                continue;
            }
            // Of what can wait nothing is refused where room can be made.
            if outcome.is_ok() {
                assert!(with_room);
                continue;
            }
            assert_eq!(outcome.unwrap_err().errno(), Errno::ENOMEM);
            assert_eq!(host.visible(), before, "request {requests}");
            assert_eq!(host.engine(|engine| engine.pipe_counts()), joints);
            preserve(&host, vm, 1, 900, End::Read).unwrap();
        }
    }
    assert!(rooms > 0);
}

/// A note that both ends lead to and that is damaged: each is refused, alone.
#[test]
fn a_damaged_note_is_refused_alone() {
    let host = cold();
    let vm = host.create("vm");
    holds(&host, 1, b"text");
    preserve_both(&host, vm, 1);
    host.preserve(vm, 1, 70).unwrap();
    let mut handed = host.update();
    let (&note, _) = handed
        .pages
        .iter()
        .find(|(_, page)| page.starts_with(b"luo-pipe"))
        .unwrap();
    handed.set_word(note, 56, 1 << 40);
    let host = next(handed);
    let vm = host.claim("vm").unwrap();
    for token in [11, 12] {
        let refused = host.retrieve(vm, token).err();
        assert_eq!(refused, Some(Error::Host(Errno::EINVAL)));
    }
    host.retrieve(vm, 1).unwrap();
    assert_eq!(host.engine(|engine| engine.pipe_counts()), [0, 0]);
    host.finish(vm).unwrap();
}

/// The same quota is another user's own.
#[test]
fn a_user_is_known_by_its_session() {
    let host = cold();
    let own = create(&host, ALICE, "own").unwrap();
    let other = create(&host, BOB, "own").unwrap();
    preserve(&host, own, READ, 1, End::Read).unwrap();
    preserve(&host, other, WRITE, 1, End::Write).unwrap();
    assert_eq!(host.engine(|engine| engine.pipe_counts()), [2, 0]);
    assert!(matches!(ALICE, Actor::User(_)));
    for session in [own, other] {
        host.close(session).unwrap();
    }
    assert_eq!(host.engine(|engine| engine.pipe_counts()), [0, 0]);
}
