//! Dates that are searched for (R4 search, "date").
//!
//! Both sides are ranges: see `range`.

use serde_json::Value;

use super::range::Range;

const WRITTEN: &str = "write it as 2026, 2026-01, 2026-01-31, 2026-01-31T08:30Z or 2026-01-31T08:30:00+01:00 \
                       (a '+' in a URL as %2B), after eq, ne, gt, lt, ge, le, sa, eb, ap or nothing";

/// How a range is compared with the one that is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
    Approximately,
}

/// A date that is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    prefix: Prefix,
    range: Range,
}

impl When {
    /// Reads one unescaped value: a prefix or none, and a date. Fails with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (prefix, date) = prefix(text);
        Ok(Self { prefix, range: Range::parse(date).ok_or(WRITTEN)? })
    }

    /// Whether a date, dateTime, instant or Period of a resource is found.
    pub(super) fn is(&self, value: &Value) -> bool {
        Range::of(value).is_some_and(|target| self.finds(target))
    }

    fn finds(&self, target: Range) -> bool {
        let Range { from, until } = self.range;
        let contains = from <= target.from && target.until <= until;
        match self.prefix {
            Prefix::Equal => contains,
            Prefix::NotEqual => !contains,
            Prefix::Greater => target.until > until,
            Prefix::Less => target.from < from,
            Prefix::GreaterOrEqual => target.until > until || contains,
            Prefix::LessOrEqual => target.from < from || contains,
            Prefix::StartsAfter => target.from >= until,
            Prefix::EndsBefore => target.until <= from,
            // R4 suggests a tenth of the way to now; there is no clock here, and a search gives the same tomorrow.
            Prefix::Approximately => {
                let length = until - from;
                target.from < until + length && target.until > from - length
            }
        }
    }
}

fn prefix(text: &str) -> (Prefix, &str) {
    let found = text.split_at_checked(2).and_then(|(prefix, date)| {
        let prefix = match prefix {
            "eq" => Prefix::Equal,
            "ne" => Prefix::NotEqual,
            "gt" => Prefix::Greater,
            "lt" => Prefix::Less,
            "ge" => Prefix::GreaterOrEqual,
            "le" => Prefix::LessOrEqual,
            "sa" => Prefix::StartsAfter,
            "eb" => Prefix::EndsBefore,
            "ap" => Prefix::Approximately,
            _ => return None,
        };
        Some((prefix, date))
    });
    found.unwrap_or((Prefix::Equal, text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finds(search: &str, value: &Value) -> bool {
        When::parse(search).expect("the test writes a date").is(value)
    }

    #[test]
    fn every_prefix_compares_ranges() {
        for (search, found, not_found) in [
            (
                "2026",
                vec!["2026", "2026-02", "2026-12-31T23:59:59Z"],
                vec!["2025-12-31", "2027", "2027-01-01T00:00:00Z"],
            ),
            ("eq2026-02", vec!["2026-02-28", "2026-02"], vec!["2026", "2026-03-01"]),
            ("ne2026-02", vec!["2026", "2026-03-01"], vec!["2026-02-28"]),
            ("gt2026-02-10", vec!["2026-02-11", "2026-02", "2026"], vec!["2026-02-10", "2026-02-10T23:59:59Z", "2025"]),
            ("lt2026-02-10", vec!["2026-02-09", "2026-02", "2026"], vec!["2026-02-10", "2027"]),
            ("ge2026-02-10", vec!["2026-02-10", "2026-02-10T05:00Z", "2026", "2027"], vec!["2026-02-09", "2026-01"]),
            ("le2026-02-10", vec!["2026-02-10", "2026-02-10T05:00Z", "2026", "2025"], vec!["2026-02-11", "2026-03"]),
            ("sa2026-02-10", vec!["2026-02-11", "2026-03"], vec!["2026-02", "2026-02-10"]),
            ("eb2026-02-10", vec!["2026-02-09", "2026-01"], vec!["2026-02", "2026-02-10"]),
            ("ap2026-02-10", vec!["2026-02-09", "2026-02-10", "2026-02-11", "2026"], vec!["2026-02-08", "2026-02-12"]),
        ] {
            for text in found {
                assert!(finds(search, &json!(text)), "{search} finds {text}");
            }
            for text in not_found {
                assert!(!finds(search, &json!(text)), "{search} does not find {text}");
            }
        }
    }

    #[test]
    fn a_period_without_a_bound_goes_on_forever_there() {
        let since = json!({"start": "2026-01-01"});
        let until = json!({"end": "2026-12-31"});
        let both = json!({"start": "2026-01-01", "end": "2026-12-31"});
        for (search, of_since, of_until, of_both) in [
            ("2026", false, false, true),
            ("gt2030", true, false, false),
            ("lt2000", false, true, false),
            ("ge2026-12-31", true, false, false),
            ("ge2026-06", true, true, true),
            ("sa2025", true, false, true),
            ("eb2027", false, true, true),
            ("ap2026-06-01", true, true, true),
        ] {
            let found = [&since, &until, &both].map(|period| finds(search, period));
            assert_eq!(found, [of_since, of_until, of_both], "{search}");
        }
        assert!(!finds("ne2026", &json!({})));
        assert!(!finds("ne2026", &json!({"start": "soon"})));
    }

    #[test]
    fn a_time_is_as_long_as_the_last_part_that_is_written() {
        for (search, text, is_found) in [
            ("2026-01-31T08:30", "2026-01-31T08:30:59.999Z", true),
            ("2026-01-31T08:30Z", "2026-01-31T08:31:00Z", false),
            ("2026-01-31T08:30:00Z", "2026-01-31T08:30:00.500Z", true),
            ("2026-01-31T08:30:00.5Z", "2026-01-31T08:30:00.59Z", true),
            ("2026-01-31T08:30:00.5Z", "2026-01-31T08:30:00.6Z", false),
            ("2026-01-31T08:30:00.000Z", "2026-01-31T09:30:00.000+01:00", true),
            ("2026-01-31T08:30:00.000Z", "2026-01-31T03:00:00.000-05:30", true),
            ("2026-01-31", "2026-02-01T00:30:00+01:00", true),
            ("2026-01-31T08:30:00.1234567899Z", "2026-01-31T08:30:00.1234567891Z", true),
        ] {
            assert_eq!(finds(search, &json!(text)), is_found, "{search} and {text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "ge",
            "xx2026",
            "26",
            "2026-1",
            "2026-13",
            "2026-02-30",
            "2026-01-31T",
            "2026-01-31T08",
            "2026-01-31T24:00",
            "2026-01-31T08:60",
            "2026-01-31T08:30:61",
            "2026-01-31T08:30:00.Z",
            "2026-01-31T08:30:00 01:00",
            "2026-01T08:30",
            "2026-01-31T08:30+1",
            "2026-01-31T08:30+15:00",
            "0000",
            "2026-01-31-01",
            "+026",
            "２０２６",
            "e\u{301}2026",
        ] {
            assert_eq!(When::parse(text), Err(WRITTEN), "{text}");
        }
    }
}
