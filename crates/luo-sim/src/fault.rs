// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults on request: what goes wrong, at which step, and how.
//!
//! ```text
//! [BOOT/]STEP[:N]=ACTION          freeze:2=EBUSY   1/retrieve=EIO   kexec=crash
//! [BOOT/]handover=DAMAGE          handover=flip    handover=truncate:3
//! ```

use core::fmt;
use core::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use luo_abi::errno::Errno;

use crate::memory::Handed;
use crate::random::Random;

macro_rules! steps {
    ($($name:ident $word:literal $can_fail:literal $help:literal;)*) => {
        /// A place where something can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step {
            $(#[doc = $help] $name,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word in requests.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it is.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }

            /// Whether it can fail with an error number.
            #[must_use]
            pub const fn can_fail(self) -> bool {
                match self { $(Self::$name => $can_fail,)* }
            }
        }
    };
}

steps! {
    Boot "boot" false "the new kernel has booted, nothing is taken over yet";
    Call "call" true "a program's call of live update arrives";
    Reply "reply" false "it is done, and the program does not know yet";
    Page "page" true "a page for the next kernel is asked for";
    Preserve "preserve" true "a handler saves a file";
    Unpreserve "unpreserve" false "a handler undoes that";
    Freeze "freeze" true "a handler takes its last look at a file";
    Unfreeze "unfreeze" false "a handler undoes that";
    Retrieve "retrieve" true "a handler restores a file";
    CanFinish "can-finish" true "a handler is asked whether it lets a file go (any error: no)";
    Finish "finish" false "a handler lets a file go";
    SubsystemPrepare "subsystem-prepare" true "a subsystem gets ready";
    SubsystemFreeze "subsystem-freeze" true "a subsystem takes its last look";
    SubsystemCancel "subsystem-cancel" false "a subsystem undoes both";
    SubsystemFinish "subsystem-finish" false "a subsystem ends the update";
    Kexec "kexec" true "all is frozen, and the jump is next (an error: the jump fails)";
}

impl FromStr for Step {
    type Err = BadFault;

    fn from_str(word: &str) -> Result<Self, BadFault> {
        let found = Self::ALL.iter().find(|step| step.word() == word);
        found
            .copied()
            .ok_or_else(|| BadFault::Step(word.to_owned()))
    }
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It fails.
    Fail(Errno),
    /// Power is lost: every process ends, nothing is handed over.
    Crash,
    /// It takes longer.
    Delay(Duration),
}

/// What happens to what is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit is flipped: that one, counted over all pages up to the last byte in
    /// each that is not zero, or one that the seed chooses.
    Flip(Option<u64>),
    /// The pages from that one on are lost, in order of their addresses, or from
    /// one that the seed chooses.
    Truncate(Option<u64>),
}

/// Where, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    At(Step, Option<u64>, Action),
    Handover(Damage),
}

/// A fault that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    boot: Option<usize>,
    kind: Kind,
}

impl Fault {
    /// At the `n`-th time (from 1) of a step; `None` for every time. The times are
    /// counted anew in each boot.
    #[must_use]
    pub const fn at(step: Step, n: Option<u64>, action: Action) -> Self {
        Self {
            boot: None,
            kind: Kind::At(step, n, action),
        }
    }

    /// To what is handed over.
    #[must_use]
    pub const fn handover(damage: Damage) -> Self {
        Self {
            boot: None,
            kind: Kind::Handover(damage),
        }
    }

    /// In that boot only, counted from 0.
    #[must_use]
    pub const fn in_boot(mut self, boot: usize) -> Self {
        self.boot = Some(boot);
        self
    }
}

/// A request for a fault that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFault {
    /// It has no `=`.
    #[error("a fault is [BOOT/]STEP[:N]=ACTION")]
    Form,
    /// No such step.
    #[error("there is no step '{0}'")]
    Step(String),
    /// No such action.
    #[error("'{0}' is no error number, 'crash' or 'delay:MILLISECONDS'")]
    Action(String),
    /// No such damage.
    #[error("'{0}' is not 'flip[:BIT]' or 'truncate[:PAGE]'")]
    Damage(String),
    /// It is not a number, or 0.
    #[error("'{0}' is not a number of this kind")]
    Number(String),
    /// The step cannot fail.
    #[error("'{0}' cannot fail: only 'crash' and 'delay' are possible there")]
    CannotFail(&'static str),
}

fn number(text: &str) -> Result<u64, BadFault> {
    text.parse().map_err(|_| BadFault::Number(text.to_owned()))
}

fn action(text: &str) -> Result<Action, BadFault> {
    if text == "crash" {
        return Ok(Action::Crash);
    }
    if let Some(delay) = text.strip_prefix("delay:") {
        let delay = number(delay.strip_suffix("ms").unwrap_or(delay))?;
        return Ok(Action::Delay(Duration::from_millis(delay)));
    }
    let named = |errno: &Errno| errno.name() == Some(text);
    let all = (1..=133).filter_map(|number: i32| Errno::check(-number).err());
    let errno = all.into_iter().find(named).or_else(|| {
        let number: i32 = text.parse().ok()?;
        Errno::check(number.checked_neg()?).err()
    });
    errno
        .map(Action::Fail)
        .ok_or_else(|| BadFault::Action(text.to_owned()))
}

fn damage(text: &str) -> Result<Damage, BadFault> {
    let (word, place) = match text.split_once(':') {
        Some((word, place)) => (word, Some(number(place)?)),
        None => (text, None),
    };
    match word {
        "flip" => Ok(Damage::Flip(place)),
        "truncate" => Ok(Damage::Truncate(place)),
        _ => Err(BadFault::Damage(text.to_owned())),
    }
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let (place, what) = text.split_once('=').ok_or(BadFault::Form)?;
        let (boot, place) = match place.split_once('/') {
            Some((boot, place)) => {
                let boot = usize::try_from(number(boot)?);
                (Some(boot.map_err(|_| BadFault::Form)?), place)
            }
            None => (None, place),
        };
        if place == "handover" {
            let kind = Kind::Handover(damage(what)?);
            return Ok(Self { boot, kind });
        }
        let (step, n) = match place.split_once(':') {
            Some((step, "*")) => (step, None),
            Some((step, n)) => (step, Some(number(n)?)),
            None => (place, Some(1)),
        };
        if n == Some(0) {
            return Err(BadFault::Number("0".to_owned()));
        }
        let step: Step = step.parse()?;
        let action = action(what)?;
        if matches!(action, Action::Fail(_)) && !step.can_fail() {
            return Err(BadFault::CannotFail(step.word()));
        }
        let kind = Kind::At(step, n, action);
        Ok(Self { boot, kind })
    }
}

/// As it is asked for.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(boot) = self.boot {
            write!(f, "{boot}/")?;
        }
        let (word, place) = match self.kind {
            Kind::At(step, n, action) => {
                match n {
                    Some(n) => write!(f, "{}:{n}=", step.word())?,
                    None => write!(f, "{}:*=", step.word())?,
                }
                return match action {
                    Action::Fail(errno) => match errno.name() {
                        Some(name) => f.write_str(name),
                        None => write!(f, "{}", errno.get()),
                    },
                    Action::Crash => f.write_str("crash"),
                    Action::Delay(time) => write!(f, "delay:{}", time.as_millis()),
                };
            }
            Kind::Handover(Damage::Flip(bit)) => ("flip", bit),
            Kind::Handover(Damage::Truncate(page)) => ("truncate", page),
        };
        match place {
            Some(place) => write!(f, "handover={word}:{place}"),
            None => write!(f, "handover={word}"),
        }
    }
}

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

/// The list that `--fault help` prints.
#[derive(Clone, Copy, Debug)]
pub struct Help;

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--fault [BOOT/]STEP[:N]=ACTION\n")?;
        writeln!(f, "BOOT counts from 0; without it, in each boot.")?;
        writeln!(
            f,
            "N is the time in that boot, from 1; '*' is each; 1 if left out.\n"
        )?;
        writeln!(f, "Steps ('!' can fail):")?;
        for step in Step::ALL {
            let mark = if step.can_fail() { '!' } else { ' ' };
            writeln!(f, "  {mark} {:18} {}", step.word(), step.help())?;
        }
        f.write_str(
            "\nActions:\n    \
             ERRNO              it fails: EBUSY, or 16\n    \
             crash              power is lost: all processes end, nothing is handed over\n    \
             delay:MS           it takes that many milliseconds longer\n\n\
             Damage to what is handed over:\n    \
             handover=flip[:BIT]        a bit is flipped; the seed chooses which\n    \
             handover=truncate[:PAGE]   pages are lost from that one on\n\n\
             Examples: freeze:2=EBUSY  1/retrieve=EIO  kexec=crash  handover=flip:100\n",
        )
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
