// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a previous kernel left, damaged or forged.
//!
//! The bytes change a good handover, or are one of their own. Checksums may be made
//! right again, so that what is behind them is reached. What is checked:
//!
//! - it is taken over whole or refused whole, with no more reading than there are
//!   pages, and no page is given back twice;
//! - if it is refused, nothing of it is touched, a reboot that would lose it is
//!   vetoed, and one that may is not;
//! - if it is taken over, each session can be claimed, each file retrieved, and all
//!   finished, here or in the kernel after the next; then nothing is left.

mod damage;
mod good;
mod machine;
mod taken;

use arbitrary::{Arbitrary, Unstructured};
use luo_abi::rfc::State;
use luo_core::Error;
use luo_testhost::{Handed, TestHost};

use damage::Damage;
use machine::boot;
use taken::Then;

/// The most changes of one handover.
const MOST_DAMAGES: usize = 12;

/// What came of a handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was refused.
    Refused,
    /// It was taken over: that many sessions and files.
    TakenOver(usize, usize),
}

/// How checksums are made right again.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Seal {
    No,
    Root,
    All,
}

/// Boots from a handover and does what there is to do.
pub fn run(data: &[u8]) -> Outcome {
    let mut bytes = Unstructured::new(data);
    // Where the bytes end, there are zeros.
    let then = bytes.arbitrary().unwrap_or(Then::TakeBack);
    let handed = handed(&mut bytes).unwrap_or_else(|_| good::all()[0].clone());
    check(handed, then)
}

fn handed(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Handed> {
    let which = usize::from(bytes.arbitrary::<u8>()?);
    let seal: Seal = bytes.arbitrary()?;
    crate::show::show(format_args!("handover {which}, sealed: {seal:?}"));
    let mut handed = match good::all().get(which % (good::all().len() + 1)) {
        Some(good) => good.clone(),
        None => damage::noise(bytes)?,
    };
    for _ in 0..MOST_DAMAGES {
        if bytes.is_empty() {
            break;
        }
        let damage = bytes.arbitrary::<Damage>()?;
        crate::show::show(format_args!("{damage:x?}"));
        damage.apply(&mut handed);
    }
    match seal {
        Seal::No => {}
        Seal::Root => handed.seal_root(),
        Seal::All => handed.seal(),
    }
    Ok(handed)
}

fn check(handed: Handed, then: Then) -> Outcome {
    let pages = handed.pages.clone();
    let (host, admitted) = boot(handed);
    let before = host.visible();
    let opened = machine::open(&host);
    crate::show::show(format_args!("{admitted:x?}, {opened:x?}; then {then:?}"));
    // Roots are read anew at the open; all else at one of both.
    let reads = host.arrived.lock().expect("a lock").reads;
    assert!(reads <= 2 * pages.len() + 8, "{reads} reads");
    match (admitted, opened) {
        (Ok(()), Ok(_)) => {
            let (sessions, files) = host.taken_over().expect("it was there");
            let visible = host.visible();
            // Files that the kernel before had lost stand beside those that came.
            assert_eq!(visible.incoming, sessions);
            assert!(visible.files >= files);
            taken::check(host, then);
            Outcome::TakenOver(sessions, files)
        }
        (admitted, Err(why)) => {
            if let Err(first) = admitted {
                assert_eq!(first, why);
            }
            assert!(matches!(why, Error::Refused(_)), "{why}");
            assert!(!why.to_string().is_empty());
            assert_eq!(host.visible(), before, "a refusal has changed something");
            refused(host, &pages);
            Outcome::Refused
        }
        (Err(why), Ok(_)) => panic!("refused at boot ({why}), and taken over"),
    }
}

/// The machine works on, and does not lose what was refused unless it may.
fn refused(host: TestHost, pages: &luo_testhost::memory::Pages) {
    assert_eq!(host.state(), State::Updated);
    let session = host.create("next");
    host.preserve(session, 1, u64::MAX >> 3)
        .expect("it works on");
    let before = host.visible();
    assert!(host.reboot().is_err(), "a reboot loses what was refused");
    assert_eq!(host.visible(), before, "a veto has changed something");
    assert_eq!(&host.arrived.lock().expect("a lock").pages, pages);
    let report = host.freeze().expect("a reboot that may lose it");
    assert!(report.losses.unread);
    taken::next_takes_over(host, "next");
}
