// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows and freezes: when updates may begin, in a place's own time.
//!
//! A time that a change of the clocks leaves out is taken as if the clocks had not been changed
//! yet, and one that is there twice is the first. So a window is never longer than was written,
//! but for the night that has an hour more.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// On which days a window opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Days {
    /// On each day.
    All,
    /// On these days of each week.
    Week(Vec<Weekday>),
    /// On these dates.
    Dates(Vec<Date>),
}

/// A window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days that it opens on.
    pub days: Days,
    /// When it opens.
    pub from: Time,
    /// When it closes; on the next day if that is not later than `from`.
    pub until: Time,
    /// The groups that it is for; all if there are none.
    pub groups: Vec<String>,
}

/// Days on which no update begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
    /// Why.
    pub reason: String,
}

/// How many days ahead the next opening is looked for.
const AHEAD: i32 = 400;

impl Window {
    /// Whether it is for a group.
    #[must_use]
    pub fn is_for(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|known| known == group)
    }

    fn opens_on(&self, date: Date) -> bool {
        match &self.days {
            Days::All => true,
            Days::Week(days) => days.contains(&date.weekday()),
            Days::Dates(dates) => dates.contains(&date),
        }
    }

    /// From when until when it is open that opens on a date.
    fn on(&self, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.opens_on(date) {
            return None;
        }
        let moment = |date: Date, time: Time| {
            let moment = zone.to_ambiguous_zoned_datetime(date.to_datetime(time));
            moment.compatible().ok().map(|zoned| zoned.timestamp())
        };
        let last = if self.until > self.from {
            date
        } else {
            date.tomorrow().ok()?
        };
        Some((moment(date, self.from)?, moment(last, self.until)?))
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let today = zone.to_datetime(now).date();
        let days = [today.yesterday().ok(), Some(today)];
        let mut times = days
            .into_iter()
            .flatten()
            .filter_map(|day| self.on(day, zone));
        times.any(|(from, until)| from <= now && now < until)
    }

    /// When it opens next, if it does within a year.
    #[must_use]
    pub fn next(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(now).date();
        let days = (0..AHEAD).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        let mut times = days.filter_map(|day| self.on(day, zone));
        times.find_map(|(from, until)| (from > now && from < until).then_some(from))
    }
}

impl Freeze {
    /// When it ends, if it is in force.
    #[must_use]
    pub fn ends(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(now).date();
        if today < self.from || today > self.until {
            return None;
        }
        let after = self.until.tomorrow().ok()?.at(0, 0, 0, 0);
        let after = zone.to_ambiguous_zoned_datetime(after).compatible();
        after.ok().map(|zoned| zoned.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(days: Days, from: Time, until: Time) -> Window {
        Window {
            days,
            from,
            until,
            groups: Vec::new(),
        }
    }

    #[test]
    fn over_midnight_it_belongs_to_the_day_that_it_opens_on() {
        let tuesday = Days::Week(vec![Weekday::Tuesday]);
        let window = window(tuesday, time(22, 0, 0, 0), time(4, 0, 0, 0));
        // Winter: an hour before UTC. 2026-12-01 is a Tuesday.
        for (moment, open) in [
            ("2026-12-01T20:59:59Z", false),
            ("2026-12-01T21:00:00Z", true),
            ("2026-12-02T02:59:59Z", true),
            ("2026-12-02T03:00:00Z", false),
            ("2026-12-01T02:00:00Z", false),
            ("2026-12-02T21:00:00Z", false),
        ] {
            assert_eq!(window.is_open(at(moment), &berlin()), open, "{moment}");
        }
        let next = window.next(at("2026-12-01T21:00:00Z"), &berlin());
        assert_eq!(next, Some(at("2026-12-08T21:00:00Z")));
    }

    #[test]
    fn when_the_clocks_go_forward_what_is_left_out_keeps_its_length() {
        // 2027-03-28: 02:00 is followed by 03:00.
        let night = window(Days::All, time(1, 30, 0, 0), time(2, 30, 0, 0));
        let hours = night.on(date(2027, 3, 28), &berlin()).unwrap();
        assert_eq!(
            hours,
            (at("2027-03-28T00:30:00Z"), at("2027-03-28T01:30:00Z"))
        );
        let gap = window(Days::All, time(2, 15, 0, 0), time(2, 45, 0, 0));
        let hours = gap.on(date(2027, 3, 28), &berlin()).unwrap();
        assert_eq!(
            hours,
            (at("2027-03-28T01:15:00Z"), at("2027-03-28T01:45:00Z"))
        );
    }

    #[test]
    fn when_the_clocks_go_back_the_first_of_two_counts() {
        // 2026-10-25: 03:00 is followed by 02:00.
        let night = window(Days::All, time(2, 0, 0, 0), time(2, 30, 0, 0));
        assert!(night.is_open(at("2026-10-25T00:15:00Z"), &berlin()));
        assert!(!night.is_open(at("2026-10-25T01:15:00Z"), &berlin()));
        let long = window(Days::All, time(1, 0, 0, 0), time(4, 0, 0, 0));
        let (from, until) = long.on(date(2026, 10, 25), &berlin()).unwrap();
        assert_eq!(until.duration_since(from).as_hours(), 4);
    }

    #[test]
    fn dates_and_freezes_are_days_of_the_zone() {
        let dates = Days::Dates(vec![date(2026, 12, 1)]);
        let once = window(dates, time(0, 0, 0, 0), time(0, 0, 0, 0));
        assert!(once.is_open(at("2026-11-30T23:00:00Z"), &berlin()));
        assert!(!once.is_open(at("2026-12-01T23:00:00Z"), &berlin()));
        assert_eq!(once.next(at("2026-12-01T23:00:00Z"), &berlin()), None);
        let freeze = Freeze {
            from: date(2026, 12, 20),
            until: date(2027, 1, 6),
            reason: "holidays".to_owned(),
        };
        assert_eq!(freeze.ends(at("2026-12-19T22:59:59Z"), &berlin()), None);
        let end = Some(at("2027-01-06T23:00:00Z"));
        assert_eq!(freeze.ends(at("2026-12-19T23:00:00Z"), &berlin()), end);
        assert_eq!(freeze.ends(at("2027-01-06T23:00:00Z"), &berlin()), None);
    }
}
