// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the document is written in TOML, and what is wrong about it: each error names the line
//! and what to write.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use luo_fleetlock::lock::check_group;
use serde::Deserialize;
use toml::Spanned;

use super::document::{Group, Policy};
use super::share::Share;
use super::window::{Days, Freeze, Window};

/// The version of the document.
pub const VERSION: i64 = 1;

/// Bytes of a document.
pub const MAX_TEXT: usize = 256 * 1024;

/// Groups of a document.
pub const MAX_GROUPS: usize = 1_024;

/// Windows, and freezes, of a document.
pub const MAX_TIMES: usize = 256;

/// Slots.
pub const MAX_SLOTS: i64 = 10_000;

/// The longest time: a year.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    /// It is too long.
    #[error("a policy has {MAX_TEXT} bytes at most")]
    Long,
    /// It cannot be parsed.
    #[error(transparent)]
    Syntax(#[from] toml::de::Error),
    /// A value that cannot be meant.
    #[error("line {line}: {why}")]
    Value {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong about it, and what to write.
        why: String,
    },
}

/// A value, or a way to say what is wrong about it.
type Text = Spanned<String>;

/// One that is a text, too, but that many write without its quotes: what is wrong is said in words
/// of this document, and not of TOML.
type Any = Spanned<toml::Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: Spanned<i64>,
    rollout: Text,
    release: Option<Text>,
    stop: Option<Text>,
    slots: Spanned<i64>,
    groups_at_once: Option<Spanned<i64>>,
    interval: Option<Any>,
    overdue: Option<Any>,
    retry: Option<Any>,
    budget: Option<Spanned<toml::Value>>,
    zone: Option<Text>,
    #[serde(default, rename = "group")]
    groups: Vec<Spanned<RawGroup>>,
    #[serde(default, rename = "window")]
    windows: Vec<Spanned<RawWindow>>,
    #[serde(default, rename = "freeze")]
    freezes: Vec<Spanned<RawFreeze>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Text,
    stage: Option<Spanned<i64>>,
    slots: Option<Spanned<i64>>,
    complete: Option<Spanned<toml::Value>>,
    soak: Option<Any>,
    budget: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    days: Option<Vec<Any>>,
    dates: Option<Vec<Any>>,
    from: Any,
    until: Any,
    #[serde(default)]
    groups: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFreeze {
    from: Any,
    until: Any,
    reason: Text,
}

/// Reads a document, and knows its lines.
struct Reader<'a> {
    text: &'a str,
}

type Read<T> = Result<T, BadPolicy>;

/// Reads a policy.
///
/// # Errors
/// The text is none; the error says where, and what to write.
pub fn parse(text: &str) -> Read<Policy> {
    if text.len() > MAX_TEXT {
        return Err(BadPolicy::Long);
    }
    let raw: Raw = toml::from_str(text)?;
    Reader { text }.policy(&raw)
}

impl Reader<'_> {
    fn wrong<T>(&self, value: &Spanned<T>, why: impl Into<String>) -> BadPolicy {
        let before = self.text.get(..value.span().start).unwrap_or_default();
        BadPolicy::Value {
            line: before.matches('\n').count() + 1,
            why: why.into(),
        }
    }

    fn policy(&self, raw: &Raw) -> Read<Policy> {
        if *raw.version.get_ref() != VERSION {
            let why = format!("this luo-fleet reads version = {VERSION}");
            return Err(self.wrong(&raw.version, why));
        }
        let slots = self.number(&raw.slots, "slots", 1, MAX_SLOTS)?;
        let mut groups = self.groups(raw, slots)?;
        groups.sort_by_key(|group| group.stage);
        let at_once = raw.groups_at_once.as_ref();
        let optional = |text: &Option<Text>, key: &str| {
            text.as_ref().map(|text| self.text(text, key)).transpose()
        };
        Ok(Policy {
            rollout: self.text(&raw.rollout, "rollout")?,
            release: optional(&raw.release, "release")?,
            stop: optional(&raw.stop, "stop")?,
            slots,
            groups_at_once: at_once
                .map(|value| self.number(value, "groups_at_once", 1, MAX_SLOTS))
                .transpose()?,
            interval: self.time(raw.interval.as_ref(), SignedDuration::ZERO)?,
            overdue: self.overdue(raw.overdue.as_ref())?,
            retry: self.time(raw.retry.as_ref(), SignedDuration::from_mins(15))?,
            budget: match &raw.budget {
                Some(value) => self.share(value, "budget")?,
                None => Share::Count(0),
            },
            zone: match &raw.zone {
                Some(name) => self.zone(name)?,
                None => TimeZone::UTC,
            },
            windows: self.windows(raw)?,
            freezes: self.freezes(raw)?,
            groups,
        })
    }

    fn groups(&self, raw: &Raw, slots: u64) -> Read<Vec<Group>> {
        if raw.groups.is_empty() {
            let why = "a policy has at least one [[group]]; write [[group]] and name = \"default\" \
                       below the rest";
            return Err(self.wrong(&raw.version, why));
        }
        if let Some(more) = raw.groups.get(MAX_GROUPS) {
            let why = format!("a policy has {MAX_GROUPS} groups at most");
            return Err(self.wrong(more, why));
        }
        let mut names = BTreeSet::new();
        let mut all = Vec::new();
        for group in &raw.groups {
            let raw = group.get_ref();
            let name = raw.name.get_ref();
            check_group(name).map_err(|why| self.wrong(&raw.name, why))?;
            if !names.insert(name.clone()) {
                let why = format!("there is another group {name:?}; give this one another name");
                return Err(self.wrong(&raw.name, why));
            }
            let stage = raw.stage.as_ref();
            let stage = stage.map_or(Ok(1), |value| self.number(value, "stage", 1, 1_000_000))?;
            let own = raw.slots.as_ref();
            let own = own.map_or(Ok(slots), |value| self.number(value, "slots", 1, MAX_SLOTS))?;
            let complete = match &raw.complete {
                Some(value) => self.share(value, "complete")?,
                None => Share::Percent(100),
            };
            let budget = raw.budget.as_ref();
            all.push(Group {
                name: name.clone(),
                stage: u32::try_from(stage).unwrap_or(u32::MAX),
                slots: own,
                complete,
                soak: self.time(raw.soak.as_ref(), SignedDuration::ZERO)?,
                budget: budget
                    .map(|value| self.share(value, "budget"))
                    .transpose()?,
            });
        }
        Ok(all)
    }

    fn windows(&self, raw: &Raw) -> Read<Vec<Window>> {
        let mut all = Vec::new();
        for window in &raw.windows {
            if all.len() == MAX_TIMES {
                let why = format!("a policy has {MAX_TIMES} windows at most");
                return Err(self.wrong(window, why));
            }
            let own = window.get_ref();
            let lists = [own.days.as_ref(), own.dates.as_ref()];
            if lists.into_iter().flatten().any(Vec::is_empty) {
                let why = "a window with days = [] or dates = [] never opens; leave it out for each \
                           day, or write stop = \"why\" to have nobody begin";
                return Err(self.wrong(window, why));
            }
            let days = match (&own.days, &own.dates) {
                (None, None) => Days::All,
                (Some(days), None) => {
                    let days = days.iter().map(|day| self.day(day));
                    Days::Week(days.collect::<Read<_>>()?)
                }
                (None, Some(dates)) => {
                    let dates = dates.iter().map(|date| self.date(date));
                    Days::Dates(dates.collect::<Read<_>>()?)
                }
                (Some(_), Some(_)) => {
                    let why = "a window has days or dates; write two windows for both";
                    return Err(self.wrong(window, why));
                }
            };
            let mut groups = Vec::new();
            for group in &own.groups {
                let known = raw
                    .groups
                    .iter()
                    .map(|group| group.get_ref().name.get_ref());
                if !known.into_iter().any(|name| name == group.get_ref()) {
                    let why = format!("there is no [[group]] {:?}", group.get_ref());
                    return Err(self.wrong(group, why));
                }
                groups.push(group.get_ref().clone());
            }
            all.push(Window {
                days,
                from: self.clock(&own.from)?,
                until: self.clock(&own.until)?,
                groups,
            });
        }
        Ok(all)
    }

    fn freezes(&self, raw: &Raw) -> Read<Vec<Freeze>> {
        let mut all = Vec::new();
        for freeze in &raw.freezes {
            if all.len() == MAX_TIMES {
                let why = format!("a policy has {MAX_TIMES} freezes at most");
                return Err(self.wrong(freeze, why));
            }
            let own = freeze.get_ref();
            let (from, until) = (self.date(&own.from)?, self.date(&own.until)?);
            if until < from {
                let why = "a freeze ends on the day that it begins on, or later";
                return Err(self.wrong(&own.until, why));
            }
            all.push(Freeze {
                from,
                until,
                reason: self.text(&own.reason, "reason")?,
            });
        }
        Ok(all)
    }

    fn text(&self, text: &Text, key: &str) -> Read<String> {
        let value = text.get_ref();
        if value.is_empty() || value.len() > 128 || value.chars().any(char::is_control) {
            let why = format!("{key} is a text of 1 to 128 bytes without control characters");
            return Err(self.wrong(text, why));
        }
        Ok(value.clone())
    }

    fn number(&self, value: &Spanned<i64>, key: &str, least: i64, most: i64) -> Read<u64> {
        let number = *value.get_ref();
        match u64::try_from(number) {
            Ok(positive) if (least..=most).contains(&number) => Ok(positive),
            _ => Err(self.wrong(value, format!("{key} is {least} to {most}, not {number}"))),
        }
    }

    fn share(&self, value: &Spanned<toml::Value>, key: &str) -> Read<Share> {
        let share = match value.get_ref() {
            toml::Value::Integer(number) => Share::parse(&number.to_string()),
            toml::Value::String(text) => Share::parse(text),
            other => Share::parse(&other.to_string()),
        };
        share.map_err(|why| self.wrong(value, format!("{key} is {why}")))
    }

    fn time(&self, text: Option<&Any>, default: SignedDuration) -> Read<SignedDuration> {
        let Some(text) = text else {
            return Ok(default);
        };
        let time = text.get_ref().as_str().map(humantime::parse_duration);
        let time = time
            .and_then(Result::ok)
            .and_then(|time| SignedDuration::try_from(time).ok());
        match time {
            Some(time) if time <= LONGEST => Ok(time),
            _ => {
                let why = format!(
                    "a time is written like \"90s\", \"15m\" or \"1h 30m\", and is a year at most; \
                     not {}",
                    text.get_ref()
                );
                Err(self.wrong(text, why))
            }
        }
    }

    fn overdue(&self, text: Option<&Any>) -> Read<SignedDuration> {
        let time = self.time(text, SignedDuration::from_mins(30))?;
        match text {
            Some(text) if time.is_zero() => {
                let why = "with overdue = \"0s\" each slot is a failure as soon as it is taken; \
                           write more than the longest update, like \"30m\"";
                Err(self.wrong(text, why))
            }
            _ => Ok(time),
        }
    }

    fn zone(&self, text: &Text) -> Read<TimeZone> {
        TimeZone::get(text.get_ref()).map_err(|_| {
            let why = format!(
                "there is no time zone {:?}; write a name like \"Europe/Berlin\" or \"UTC\"",
                text.get_ref()
            );
            self.wrong(text, why)
        })
    }

    fn day(&self, text: &Any) -> Read<Weekday> {
        let days = [
            ("mon", Weekday::Monday),
            ("tue", Weekday::Tuesday),
            ("wed", Weekday::Wednesday),
            ("thu", Weekday::Thursday),
            ("fri", Weekday::Friday),
            ("sat", Weekday::Saturday),
            ("sun", Weekday::Sunday),
        ];
        let day = days
            .iter()
            .find(|(name, _)| Some(*name) == text.get_ref().as_str());
        day.map(|(_, day)| *day).ok_or_else(|| {
            let why = "a day is \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\" or \"sun\"";
            self.wrong(text, why)
        })
    }

    fn date(&self, text: &Any) -> Read<Date> {
        let date = text.get_ref().as_str().and_then(|text| text.parse().ok());
        date.ok_or_else(|| self.wrong(text, "a date is written in quotes, like \"2026-12-24\""))
    }

    fn clock(&self, text: &Any) -> Read<Time> {
        let wrong = || {
            self.wrong(
                text,
                "a time of the day is written in quotes, like \"22:00\"",
            )
        };
        let clock = text
            .get_ref()
            .as_str()
            .and_then(|text| text.split_once(':'));
        let (hour, minute) = clock.ok_or_else(wrong)?;
        let number = |digits: &str| digits.parse().map_err(|_| wrong());
        Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| wrong())
    }
}
