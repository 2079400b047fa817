// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests for faults as text: read, and written as they are read.

use core::fmt;
use core::str::FromStr;
use std::time::Duration;

use luo_abi::errno::Errno;

use super::{Action, Damage, Fault, Kind, Step};

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

impl FromStr for Step {
    type Err = BadFault;

    fn from_str(word: &str) -> Result<Self, BadFault> {
        let found = Self::ALL.iter().find(|step| step.word() == word);
        found
            .copied()
            .ok_or_else(|| BadFault::Step(word.to_owned()))
    }
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
