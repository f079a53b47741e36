//! Dates and times as the ranges that they stand for (R4 search, "date").
//!
//! `2026-03` is the whole of March, `10:30` the whole minute, a Period goes from the beginning of its start to the end
//! of its end, and one without start or end has no bound there. A date and a time without a zone are in UTC.

use serde_json::Value;
use time::util::{days_in_month, days_in_year};
use time::{Date, Month};

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// Nanoseconds since 1970-01-01T00:00:00Z, with `from` and without `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: i128,
    pub(super) until: i128,
}

impl Range {
    /// The range of a date, a dateTime, an instant or a Period. `None` for any other value, and for a Period that says
    /// neither when it starts nor when it ends.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let bound = |name: &str| value.get(name).and_then(Value::as_str).map(Self::parse);
        match (value, bound("start"), bound("end")) {
            (Value::String(text), ..) => Self::parse(text),
            (_, None, None) => None,
            (_, start, end) => {
                let from = start.map_or(Some(i128::MIN), |start| Some(start?.from))?;
                let until = end.map_or(Some(i128::MAX), |end| Some(end?.until))?;
                Some(Self { from, until })
            }
        }
    }

    /// The range of a date, a dateTime or an instant; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((date, time)) = text.split_once('T') else {
            let (from, length) = of_date(text)?;
            return Some(Self { from, until: from + length });
        };
        let (from, length) = of_date(date)?;
        let (clock, offset) = zone(time)?;
        let (since_midnight, precision) = of_clock(clock)?;
        if length != DAY {
            return None;
        }
        let from = from + since_midnight - offset;
        Some(Self { from, until: from + precision })
    }
}

/// When a year, a month or a day begins in UTC, and how long it is.
fn of_date(text: &str) -> Option<(i128, i128)> {
    let mut parts = text.split('-');
    let year = i32::try_from(digits(parts.next()?, 4)?).ok()?;
    let month = parts.next().map(|part| Month::try_from(u8::try_from(digits(part, 2)?).ok()?).ok());
    let day = parts.next().map(|part| u8::try_from(digits(part, 2)?).ok());
    if parts.next().is_some() || year == 0 {
        return None;
    }
    let (month, day, days) = match (month, day) {
        (None, _) => (Month::January, 1, i128::from(days_in_year(year))),
        (Some(month), None) => (month?, 1, i128::from(days_in_month(month?, year))),
        (Some(month), Some(day)) => (month?, day?, 1),
    };
    let midnight = Date::from_calendar_date(year, month, day).ok()?.midnight().assume_utc();
    Some((midnight.unix_timestamp_nanos(), days * DAY))
}

/// How long after midnight `hh:mm`, `hh:mm:ss` or `hh:mm:ss.f…` is, and how long it lasts. A fraction counts to the
/// nanosecond. Second 60, which FHIR allows for leap seconds, is the first of the next minute.
fn of_clock(text: &str) -> Option<(i128, i128)> {
    let mut parts = text.splitn(3, ':');
    let hours = digits(parts.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let to_the_minute = i128::from(hours) * HOUR + i128::from(minutes) * MINUTE;
    let Some(rest) = parts.next() else {
        return Some((to_the_minute, MINUTE));
    };
    let (seconds, fraction) =
        rest.split_once('.').map_or((rest, None), |(seconds, fraction)| (seconds, Some(fraction)));
    let seconds = digits(seconds, 2).filter(|seconds| *seconds <= 60)?;
    let to_the_second = to_the_minute + i128::from(seconds) * SECOND;
    let Some(fraction) = fraction else {
        return Some((to_the_second, SECOND));
    };
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let counted = &fraction[..fraction.len().min(9)];
    let unit = SECOND / 10_i128.pow(u32::try_from(counted.len()).ok()?);
    Some((to_the_second + i128::from(digits(counted, counted.len())?) * unit, unit))
}

/// Cuts `Z` or `+hh:mm` off a time, and says how far it is ahead of UTC.
fn zone(time: &str) -> Option<(&str, i128)> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let Some(at) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let hours = digits(hours, 2).filter(|hours| *hours <= 14)?;
    let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
    let ahead = i128::from(hours) * HOUR + i128::from(minutes) * MINUTE;
    Some((&time[..at], if time.as_bytes()[at] == b'+' { ahead } else { -ahead }))
}

/// A number that is written with exactly so many digits, at most nine.
fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}
