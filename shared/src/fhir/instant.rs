//! The FHIR `instant`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, in whole microseconds since 1970-01-01T00:00:00Z (R4 datatypes, `instant`).
///
/// Printed in UTC with as many fraction digits as it has, but at least three: `2026-01-05T10:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant {
    unix_micros: i64,
}

/// A text that is not a FHIR `instant`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "'{0}' is not an instant: write it as 2026-01-31T08:30:00Z or 2026-01-31T08:30:00.000+01:00, with seconds and a time zone (a '+' in a URL as %2B)"
)]
pub struct NotAnInstant(pub String);

impl Instant {
    /// From whole microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_micros(unix_micros: i64) -> Self {
        Self { unix_micros }
    }

    /// From whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(unix_millis: i64) -> Self {
        Self { unix_micros: unix_millis.saturating_mul(1_000) }
    }

    /// Whole microseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.unix_micros
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.unix_micros.div_euclid(1_000)
    }

    /// The same point, cut down to whole milliseconds.
    #[must_use]
    pub const fn floor_to_millis(self) -> Self {
        Self::from_unix_millis(self.unix_millis())
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.unix_micros.saturating_sub(earlier.unix_micros)).unwrap_or(0))
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_micros) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// As an HTTP date (RFC 9110 IMF-fixdate): `Mon, 05 Jan 2026 10:00:00 GMT`.
    #[must_use]
    pub fn http_date(self) -> String {
        let at = self.date_time();
        let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
        let (weekday, month, day, year) = (&weekday[..3], &month[..3], at.day(), at.year());
        format!("{weekday}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT", at.hour(), at.minute(), at.second())
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self { unix_micros: self.unix_micros.saturating_add(micros) }
    }
}

impl std::ops::Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self { unix_micros: self.unix_micros.saturating_sub(micros) }
    }
}

impl FromStr for Instant {
    type Err = NotAnInstant;

    /// Takes what the grammar of `instant` takes: a date, `T`, hours, minutes, seconds, a fraction of 1 to 9 digits or
    /// none, and `Z` or an offset. RFC 3339 parsers also take a space, lower case and leap seconds; FHIR does not.
    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        let refused = || NotAnInstant(text.chars().take(64).collect());
        let bytes = text.as_bytes();
        let shaped = (20..=35).contains(&bytes.len())
            && bytes[10] == b'T'
            && bytes.iter().all(|b| b"0123456789-+:.TZ".contains(b));
        if !shaped || text.ends_with("-00:00") {
            return Err(refused());
        }
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refused())?;
        let unix_micros = i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).map_err(|_| refused())?;
        // A parser that folds :60 into :59 would let a second through that FHIR does not have.
        if &bytes[17..19] == b"60" {
            return Err(refused());
        }
        Ok(Self { unix_micros })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.date_time();
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())?;
        match at.microsecond() {
            micros if micros % 1_000 == 0 => write!(f, ".{:03}Z", micros / 1_000),
            micros => write!(f, ".{micros:06}Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_any_zone_and_printed_in_utc() {
        for (text, printed) in [
            ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00.000Z"),
            ("2026-01-05T10:00:00.5+02:00", "2026-01-05T08:00:00.500Z"),
            ("2019-06-06T03:04:12.348-04:00", "2019-06-06T07:04:12.348Z"),
            ("2026-01-05T10:00:00.123456789Z", "2026-01-05T10:00:00.123456Z"),
        ] {
            assert_eq!(text.parse::<Instant>().map(|at| at.to_string()), Ok(printed.to_owned()));
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2026-01-05",
            "2026-01-05T10:00Z",
            "2026-01-05T10:00:00",
            "2026-01-05 10:00:00Z",
            "2026-01-05t10:00:00z",
            "20260105T100000Z",
            "2026-02-30T10:00:00Z",
            "2026-01-05T10:00:60Z",
            "2026-01-05T10:00:00-00:00",
            "2026-01-05T10:00:00.Z",
            "2026-01-05T10:00:00 01:00",
            "２026-01-05T10:00:00Z",
        ] {
            assert!(text.parse::<Instant>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_http_date_is_an_imf_fixdate() {
        assert_eq!(Instant::from_unix_millis(1_767_607_200_000).http_date(), "Mon, 05 Jan 2026 10:00:00 GMT");
    }
}
