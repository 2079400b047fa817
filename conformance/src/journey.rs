// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases that go through kexec, and how they find their way.
//!
//! A *voyage* is a sequence of kernels. The first one is shared by all cases
//! that need just one kexec and leave each other alone; each of the rest belongs
//! to one case. In each kernel of a voyage the cases do their next step:
//!
//! ```text
//!   kernel 0      kernel 1        kernel 2      kernel 3
//!   before  ====> after
//!                 step 0   ====>  step 1
//!                                 step 0  ====> step 1 ...
//!   `--- shared ---'  `-- a case ---'  `-- another ---
//! ```
//!
//! What the next kernel has to know travels on its command line, as a [`Log`].

use core::fmt;
use core::str::FromStr;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use crate::case::{Case, Context, Course, Luggage, Machine, Notes, Parameters, Step};
use crate::implementation::Implementation;
use crate::run::{Report, Verdict, cases, full_name, judge, settle};

/// How far the cases are, and what they have noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    voyage: usize,
    step: usize,
    /// Cases of this voyage that are over, by their place in it.
    over: BTreeSet<usize>,
    /// By the case's place in the voyage.
    notes: BTreeMap<usize, Notes>,
    /// This kernel has parameters that a case asked for.
    lent: bool,
}

/// Takes cases from kernel to kernel.
pub struct Journey<'a> {
    on: Implementation,
    machine: &'a dyn Machine,
    log: Log,
}

/// What is to be done next.
pub enum Next {
    /// Jump. If that is refused, tell [`Journey::refused`].
    Kexec(Onward),
    /// Nothing: all cases have been reported.
    Over,
}

/// A jump that is due.
pub struct Onward {
    /// For the next kernel's journey.
    pub log: Log,
    /// Further parameters of the next kernel, for this boot only.
    pub parameters: Parameters,
    /// To be kept until the jump.
    pub luggage: Luggage,
}

/// A case on a voyage.
struct Passenger {
    name: String,
    case: &'static Case,
    steps: Vec<Step>,
}

impl<'a> Journey<'a> {
    /// Goes on where the log ends; an empty log is the beginning.
    #[must_use]
    pub fn new(on: Implementation, machine: &'a dyn Machine, log: Log) -> Self {
        Self { on, machine, log }
    }

    /// Runs what there is to run in this kernel.
    pub fn proceed(&mut self, report: &mut dyn FnMut(Report)) -> Next {
        while let Some(passengers) = passengers(self.log.voyage) {
            if self.log.lent && self.log.step == 0 {
                // What the case before has asked for is not for this one.
                return Next::Kexec(Onward {
                    log: Log {
                        lent: false,
                        ..self.log.clone()
                    },
                    parameters: Parameters::new(),
                    luggage: Luggage::new(),
                });
            }
            if let Some(onward) = self.step(&passengers, report) {
                return Next::Kexec(onward);
            }
            self.disembark(&passengers, report);
        }
        Next::Over
    }

    /// The jump was refused: the cases on the voyage have failed.
    pub fn refused(&mut self, error: luo_sys::Error, report: &mut dyn FnMut(Report)) {
        for (index, passenger) in passengers(self.log.voyage).iter().flatten().enumerate() {
            if !self.is_over(index) {
                let verdict = Verdict::Failed(format!("the kexec was refused: {error}"));
                let name = passenger.name.clone();
                report(Report { name, verdict });
            }
        }
        self.next_voyage();
    }

    /// One step of each case; a jump if one of them has more to do.
    fn step(&mut self, passengers: &[Passenger], report: &mut dyn FnMut(Report)) -> Option<Onward> {
        let mut luggage = Luggage::new();
        let mut parameters = Parameters::new();
        let mut goes_on = false;
        let device = OnceCell::new();
        for (index, passenger) in passengers.iter().enumerate() {
            let Some(step) = passenger.steps.get(self.log.step) else {
                continue;
            };
            if self.is_over(index) {
                continue;
            }
            let notes = RefCell::new(self.log.notes.remove(&index).unwrap_or_default());
            let mut context = Context::new(self.on, &passenger.name, self.machine, &notes, &device);
            let result = step(&mut context);
            let (held, wanted) = context.into_held();
            let last = self.log.step + 1 == passenger.steps.len();
            if result.is_ok() && !last {
                luggage.extend(held);
                parameters.extend(wanted);
                self.log.notes.insert(index, notes.into_inner());
                goes_on = true;
                continue;
            }
            drop(held);
            self.log.over.insert(index);
            let verdict = judge(result, passenger.case.difference(self.on));
            let name = passenger.name.clone();
            report(Report { name, verdict });
        }
        if !goes_on {
            return None;
        }
        if let Some(device) = device.into_inner() {
            luggage.push(Box::new(device));
        }
        Some(Onward {
            log: Log {
                step: self.log.step + 1,
                lent: !parameters.is_empty(),
                ..self.log.clone()
            },
            parameters,
            luggage,
        })
    }

    fn is_over(&self, index: usize) -> bool {
        self.log.over.contains(&index)
    }

    /// The end of a voyage: the shared one ends with the update.
    fn disembark(&mut self, passengers: &[Passenger], report: &mut dyn FnMut(Report)) {
        for (index, passenger) in passengers.iter().enumerate() {
            if !self.is_over(index) {
                let verdict = Verdict::Failed("it was never run to its end".to_owned());
                let name = passenger.name.clone();
                report(Report { name, verdict });
            }
        }
        self.next_voyage();
    }

    fn next_voyage(&mut self) {
        // Cases that share a kernel leave it updated, and so may one that went
        // wrong: what they did not finish themselves ends here.
        let _ = settle(self.on);
        self.log = Log {
            voyage: self.log.voyage + 1,
            lent: self.log.lent,
            ..Log::default()
        };
    }
}

/// Who is on a voyage; `None` behind the last one.
fn passengers(voyage: usize) -> Option<Vec<Passenger>> {
    let passenger = |name, case, steps: &[Step]| Passenger {
        name,
        case,
        steps: steps.to_vec(),
    };
    let mut shared = Vec::new();
    let mut alone = Vec::new();
    for (topic, case) in cases() {
        let name = full_name(topic, case);
        match case.course {
            Course::Here(_) => {}
            Course::Shared(before, after) => shared.push(passenger(name, case, &[before, after])),
            Course::Alone(steps) => alone.push(passenger(name, case, steps)),
        }
    }
    match voyage.checked_sub(1) {
        None => Some(shared),
        Some(index) if index < alone.len() => Some(vec![alone.swap_remove(index)]),
        Some(_) => None,
    }
}

/// Places that one digit of [`Log::over`] stands for on the command line.
const PLACES: usize = 4;

/// What stands in a log for [`Log::lent`].
const LENT: &str = "lent";

/// One word without blanks, commas and colons: `voyage/step/over`, then `/lent` if that is
/// so, and `/case-key=value` a note, all numbers but the case's hexadecimal. It has to be
/// short, so `over` is a bit a case, the first ones in the first digit.
impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{:x}/", self.voyage, self.step)?;
        let digits = self.over.last().map_or(1, |last| last / PLACES + 1);
        for digit in 0..digits {
            let bits = (0..PLACES).filter(|bit| self.over.contains(&(digit * PLACES + bit)));
            write!(f, "{:x}", bits.fold(0, |sum, bit| sum | 1 << bit))?;
        }
        if self.lent {
            write!(f, "/{LENT}")?;
        }
        for (case, notes) in &self.notes {
            for (key, value) in notes {
                write!(f, "/{case}-{key}={value:x}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Log {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('/');
        let mut part = || parts.next().context("a part is missing");
        let mut log = Self {
            voyage: usize::from_str_radix(part()?, 16)?,
            step: usize::from_str_radix(part()?, 16)?,
            over: places(part()?)?,
            notes: BTreeMap::new(),
            lent: false,
        };
        for note in parts {
            if note == LENT {
                log.lent = true;
                continue;
            }
            let (case, note) = note.split_once('-').context("a note without a case")?;
            let (key, value) = note.split_once('=').context("a note without a value")?;
            ensure!(!key.is_empty(), "a note without a key");
            let notes = log.notes.entry(case.parse()?).or_default();
            notes.insert(key.to_owned(), u64::from_str_radix(value, 16)?);
        }
        Ok(log)
    }
}

/// The cases whose bits are set.
fn places(digits: &str) -> Result<BTreeSet<usize>> {
    let mut places = BTreeSet::new();
    for (index, digit) in digits.chars().enumerate() {
        let bits = digit.to_digit(16).context("no digit")?;
        let set = (0..PLACES).filter(|bit| bits & 1 << bit != 0);
        places.extend(set.map(|bit| index * PLACES + bit));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::own_name;

    #[test]
    fn a_log_survives_the_command_line() {
        assert_eq!(Log::default().to_string(), "0/0/0");
        let mut log = Log {
            voyage: 0x13,
            step: 1,
            over: BTreeSet::from([0, 2, 5, 130]),
            notes: BTreeMap::new(),
            lent: false,
        };
        assert_eq!(log.to_string(), format!("13/1/52{:030}4", 0));
        assert_eq!(log.to_string().parse::<Log>().unwrap(), log);
        let notes = log.notes.entry(12).or_default();
        notes.insert("token".into(), u64::MAX);
        notes.insert("count".into(), 0);
        log.lent = true;
        let text = log.to_string();
        assert!(!text.contains([' ', ',', ':']), "{text}");
        assert_eq!(text.parse::<Log>().unwrap(), log);
        assert!("1/2".parse::<Log>().is_err());
        assert!("1/2/3/x".parse::<Log>().is_err());
        assert!("1/2/x".parse::<Log>().is_err());
    }

    #[test]
    fn the_table_is_sound() {
        let mut names = BTreeSet::new();
        for (topic, case) in cases() {
            let name = full_name(topic, case);
            assert!(names.insert(name.clone()), "{name} is there twice");
            assert!(!name.contains([' ', ',']), "{name}");
            let mut declared = BTreeSet::new();
            for differs in case.differs {
                assert!(!differs.expect.reason().is_empty(), "{name}");
                assert!(declared.insert(differs.on.word()), "{name}");
            }
            if let Course::Alone(steps) = case.course {
                assert!(steps.len() > 1, "{name} needs no kexec");
            }
        }
    }

    /// Cases that share a kernel must not meet in one session.
    #[test]
    fn own_names_differ() {
        let mut names = BTreeSet::new();
        for (topic, case) in cases() {
            let name = full_name(topic, case);
            assert!(names.insert(own_name(&name).to_owned()), "{name}");
        }
    }

    #[test]
    fn each_case_is_on_one_voyage() {
        let mut seen = 0;
        let mut voyage = 0;
        while let Some(passengers) = passengers(voyage) {
            seen += passengers.len();
            voyage += 1;
        }
        let here = |case: &Case| matches!(case.course, Course::Here(_));
        assert_eq!(seen, cases().filter(|(_, case)| !here(case)).count());
    }
}
