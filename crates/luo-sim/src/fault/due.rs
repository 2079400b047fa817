// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults that were asked for, when they are due, and the damage to what is handed over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Action, Damage, Fault, Kind, Step};
use crate::memory::Handed;
use crate::random::Random;

/// Faults that were asked for, and which of them have come about in any boot.
#[derive(Clone)]
pub(crate) struct Asked(Arc<[(Fault, AtomicBool)]>);

impl Asked {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let all = faults.iter().map(|&fault| (fault, AtomicBool::new(false)));
        Self(all.collect())
    }

    /// Those that have not come about.
    pub(crate) fn unfired(&self) -> Vec<Fault> {
        let left = self
            .0
            .iter()
            .filter(|(_, fired)| !fired.load(Ordering::Relaxed));
        left.map(|&(fault, _)| fault).collect()
    }
}

/// The faults of one boot.
pub(crate) struct Faults {
    asked: Asked,
    boot: usize,
    /// How often each step was reached.
    times: Mutex<[u64; Step::ALL.len()]>,
}

impl Faults {
    pub(crate) fn new(asked: &Asked, boot: usize) -> Self {
        Self {
            asked: asked.clone(),
            boot,
            times: Mutex::default(),
        }
    }

    /// Those of this boot.
    fn here(&self) -> impl Iterator<Item = (Kind, &AtomicBool)> {
        let is_here = |fault: &Fault| fault.boot.is_none_or(|boot| boot == self.boot);
        let all = self.asked.0.iter().filter(move |(fault, _)| is_here(fault));
        all.map(|(fault, fired)| (fault.kind, fired))
    }

    /// A step is reached: what happens.
    pub(crate) fn reached(&self, step: Step) -> Option<Action> {
        self.here().next()?;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = &mut times[step as usize];
        *counter += 1;
        let now = *counter;
        self.here().find_map(|(kind, fired)| match kind {
            Kind::At(at, n, action) if at == step && n.is_none_or(|n| n == now) => {
                fired.store(true, Ordering::Relaxed);
                Some(action)
            }
            _ => None,
        })
    }

    /// Whether any step may take longer.
    pub(crate) fn can_delay(&self) -> bool {
        let delays = |(kind, _)| matches!(kind, Kind::At(_, _, Action::Delay(_)));
        self.here().any(delays)
    }

    /// Damages what is handed over; says what was done.
    pub(crate) fn damage(&self, handed: &mut Handed, random: &mut Random) -> Vec<String> {
        let damages = self.here().filter_map(|(kind, fired)| match kind {
            Kind::Handover(damage) => Some((damage, fired)),
            Kind::At(..) => None,
        });
        damages
            .map(|(damage, fired)| {
                let done = match damage {
                    Damage::Flip(bit) => flip(handed, bit, random),
                    Damage::Truncate(page) => truncate(handed, page, random),
                };
                match done {
                    Ok(said) => {
                        fired.store(true, Ordering::Relaxed);
                        said
                    }
                    Err(said) => said,
                }
            })
            .collect()
    }
}

/// Bytes of a page up to the last that is not zero.
fn used(page: &[u8]) -> usize {
    page.iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1)
}

/// Says what was done, or as an error why nothing was.
fn flip(handed: &mut Handed, bit: Option<u64>, random: &mut Random) -> Result<String, String> {
    let bits: u64 = handed
        .pages
        .values()
        .map(|page| used(page) as u64 * 8)
        .sum();
    let Some(chosen) = bit.or_else(|| random.below(bits)) else {
        return Err("nothing to flip".to_owned());
    };
    let mut left = chosen;
    for (address, page) in &mut handed.pages {
        let here = used(page) as u64 * 8;
        if left < here {
            let at = (left / 8) as usize;
            page[at] ^= 1 << (left % 8);
            return Ok(format!(
                "bit {chosen}: byte {at} of the page at {address:#x}"
            ));
        }
        left -= here;
    }
    Err(format!("there is no bit {chosen}"))
}

/// As [`flip`].
fn truncate(handed: &mut Handed, page: Option<u64>, random: &mut Random) -> Result<String, String> {
    let count = handed.pages.len() as u64;
    let Some(first) = page.or_else(|| random.below(count)) else {
        return Err("nothing to truncate".to_owned());
    };
    let lost: Vec<u64> = handed.pages.keys().copied().skip(first as usize).collect();
    for address in &lost {
        handed.pages.remove(address);
    }
    if lost.is_empty() {
        return Err(format!("there is no page {first}"));
    }
    Ok(format!(
        "{} of {count} pages are lost, from number {first} on",
        lost.len()
    ))
}
