//! Time as a FHIR server tells it: milliseconds, never the same twice for two writes, never backwards.

use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// As `meta.lastUpdated` has it.
const INSTANT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// As the header `Last-Modified` has it.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

const NANOS_A_MILLISECOND: i128 = 1_000_000;

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// What the machine's clock shows.
    pub fn now() -> Self {
        let milliseconds = OffsetDateTime::now_utc().unix_timestamp_nanos() / NANOS_A_MILLISECOND;
        Self(i64::try_from(milliseconds).expect("the years that `time` knows fit"))
    }

    /// `2026-11-26T08:00:00.123Z`.
    pub fn instant(self) -> String {
        self.date_time().format(INSTANT).expect("a date has all the parts of the format")
    }

    /// `Thu, 26 Nov 2026 08:00:00 GMT`.
    pub fn http_date(self) -> String {
        self.date_time().format(HTTP_DATE).expect("a date has all the parts of the format")
    }

    /// In nanoseconds since 1970, as a [`Span`] counts.
    pub fn nanos(self) -> i128 {
        i128::from(self.0) * NANOS_A_MILLISECOND
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(self.nanos()).expect("a clock counts on from now, which `time` knows")
    }
}

/// The logical clock of a server. Whoever holds it decides the order of writes and of times told.
#[derive(Debug, Default)]
pub struct Clock {
    last: Option<Moment>,
}

impl Clock {
    /// The stamp of a write: later than every stamp before and than every time told.
    pub fn write(&mut self, now: Moment) -> Moment {
        let stamp = self.last.map_or(now, |last| now.max(Moment(last.0 + 1)));
        self.last = Some(stamp);
        stamp
    }

    /// A time to tell: everything written until now is not after it, and everything written later is.
    pub fn tell(&mut self, now: Moment) -> Moment {
        let told = self.last.map_or(now, |last| now.max(last));
        self.last = Some(told);
        told
    }
}

/// What a date of a search stands for: from `from` to before `to`, in nanoseconds since 1970. `2026-11` is all of that month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: i128,
    pub to: i128,
}

impl Span {
    /// A date, or a date and time, of any precision that FHIR knows; without a zone it is in UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        match time {
            Some(time) => Self::of_time(date, time),
            None => Self::of_date(date),
        }
    }

    fn of_date(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let (first, behind) = match parts[..] {
            [year] => {
                let first = date(year, "01", "01")?;
                (first, first.replace_year(first.year() + 1).ok()?)
            }
            [year, month] => {
                let first = date(year, month, "01")?;
                (first, first.replace_day(first.month().length(first.year())).ok()?.next_day()?)
            }
            [year, month, day] => {
                let first = date(year, month, day)?;
                (first, first.next_day()?)
            }
            _ => return None,
        };
        let nanos = |date: Date| date.midnight().assume_utc().unix_timestamp_nanos();
        Some(Self { from: nanos(first), to: nanos(behind) })
    }

    fn of_time(date: &str, time: &str) -> Option<Self> {
        let (clock, zone) = time.find(['Z', '+', '-']).map_or((time, "Z"), |at| time.split_at(at));
        let (whole, fraction) = clock.split_once('.').map_or((clock, None), |(whole, part)| (whole, Some(part)));
        let seconds = if whole.len() == 5 { ":00" } else { "" };
        let fraction_text = fraction.map(|digits| format!(".{digits}")).unwrap_or_default();
        let full = format!("{date}T{whole}{seconds}{fraction_text}{zone}");
        let from = OffsetDateTime::parse(&full, &Rfc3339).ok()?.unix_timestamp_nanos();
        let long = match fraction {
            None if !seconds.is_empty() => Duration::from_mins(1).as_nanos(),
            None => Duration::from_secs(1).as_nanos(),
            Some(digits) => 10_u128.pow(9_u32.saturating_sub(u32::try_from(digits.len()).ok()?)),
        };
        Some(Self { from, to: from + i128::try_from(long).ok()? })
    }
}

fn date(year: &str, month: &str, day: &str) -> Option<Date> {
    Date::parse(&format!("{year}-{month}-{day}"), DATE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Moment = Moment(1_795_600_800_123);

    #[test]
    fn a_write_is_later_than_all_that_was_written_or_told_even_when_the_clock_stands_still_or_goes_back() {
        let mut clock = Clock::default();
        let before = clock.write(NOON);
        let told = clock.tell(NOON);
        let after = clock.write(NOON);
        let later = clock.write(Moment(0));
        assert!(before <= told && told < after && after < later, "{before:?} {told:?} {after:?} {later:?}");
        assert_eq!(clock.tell(Moment(0)), later);
    }

    #[test]
    fn moments_are_told_in_milliseconds() {
        assert_eq!(Moment(0).instant(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Moment(1_234).instant(), "1970-01-01T00:00:01.234Z");
        assert_eq!(Moment(0).http_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_date_stands_for_all_of_what_it_names() {
        for (text, from, to) in [
            ("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2026-11-30", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-11-30T08:15", "2026-11-30T08:15:00Z", "2026-11-30T08:16:00Z"),
            ("2026-11-30T08:15:20+01:00", "2026-11-30T07:15:20Z", "2026-11-30T07:15:21Z"),
            ("2026-11-30T08:15:20.1Z", "2026-11-30T08:15:20.100Z", "2026-11-30T08:15:20.200Z"),
            ("2026-11-30T08:15:20.123Z", "2026-11-30T08:15:20.123Z", "2026-11-30T08:15:20.124Z"),
        ] {
            let nanos = |text| OffsetDateTime::parse(text, &Rfc3339).expect("a time").unix_timestamp_nanos();
            assert_eq!(Span::parse(text), Some(Span { from: nanos(from), to: nanos(to) }), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "now", "26", "2026-1", "2026-13", "2026-02-30", "2026-11-30T", "2026-11-30-1", "2026-11-30T8:15Z"]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
