//! The shapes that FHIR repeats: references, codes, identifiers, dates; and the systems they are taken from.

use std::fmt::{self, Display};

use super::draw::Draw;
use super::json::Line;
use super::population::Id;

/// Where the profiles and extensions of Da Vinci ATR stand.
macro_rules! atr {
    ($name:literal) => {
        concat!("http://hl7.org/fhir/us/davinci-atr/StructureDefinition/", $name)
    };
}
/// Where the profiles and extensions of US Core stand.
macro_rules! us_core {
    ($name:literal) => {
        concat!("http://hl7.org/fhir/us/core/StructureDefinition/", $name)
    };
}
pub(super) use {atr, us_core};

/// Kinds of identifiers: MB, MC, NPI and so on.
pub const IDENTIFIER_TYPES: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
/// National Provider Identifiers.
pub const NPI: &str = "http://hl7.org/fhir/sid/us-npi";
/// Tax identification numbers.
pub const TIN: &str = "urn:oid:2.16.840.1.113883.4.4";
/// Languages.
pub const LANGUAGES: &str = "urn:ietf:bcp:47";
/// SNOMED CT.
pub const SNOMED: &str = "http://snomed.info/sct";

/// A code with its system and display.
#[derive(Clone, Copy, Debug)]
pub struct Coding {
    /// The code system's URL.
    pub system: &'static str,
    /// The code itself.
    pub code: &'static str,
    /// What people read.
    pub display: &'static str,
}

/// A code, in one line of a table.
pub const fn code(system: &'static str, code: &'static str, display: &'static str) -> Coding {
    Coding { system, code, display }
}

/// A kind of identifier (v2-0203).
pub const fn identifier_type(name: &'static str, display: &'static str) -> Coding {
    code(IDENTIFIER_TYPES, name, display)
}

/// A date. Days end at 28, which spares the arithmetic of months and is seen by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Four digits.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
}

impl Date {
    /// The date of these three numbers.
    pub const fn new(year: u64, month: u64, day: u64) -> Self {
        Self { year, month, day }
    }

    /// Any day of the years `first` to `last`.
    pub fn within(draw: &mut Draw, first: u64, last: u64) -> Self {
        Self::new(draw.between(first, last), draw.between(1, 12), draw.between(1, 28))
    }
}

impl Display for Date {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// An NPI with a right check digit that nobody can have: real ones begin with 1 or 2.
#[derive(Clone, Copy, Debug)]
pub struct Npi(u64);

impl Npi {
    /// The NPI of clinician `number`.
    pub const fn of_practitioner(number: u64) -> Self {
        Self(900_000_000 + number)
    }

    /// The NPI of organisation `number`.
    pub const fn of_organization(number: u64) -> Self {
        Self(980_000_000 + number)
    }

    /// The Luhn digit of `80840` (health, United States) followed by the nine digits.
    fn check_digit(self) -> u64 {
        let mut sum = 24;
        let mut rest = self.0;
        let mut doubled = true;
        while rest > 0 {
            let digit = rest % 10;
            sum += match digit * 2 {
                _ if !doubled => digit,
                twice if twice > 9 => twice - 9,
                twice => twice,
            };
            doubled = !doubled;
            rest /= 10;
        }
        (10 - sum % 10) % 10
    }
}

impl Display for Npi {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:09}{}", self.0, self.check_digit())
    }
}

impl Line {
    /// `"resourceType":…,"id":…,"meta":…` with a version and a time drawn from the year before the lists.
    pub fn start(&mut self, id: Id, profile: &'static str, draw: &mut Draw) {
        self.text("resourceType", id.resource.name());
        self.text("id", id);
        self.meta(profile, draw);
    }

    /// `"meta":{…}`; both ways of writing an instant, in UTC and with an offset, occur.
    pub fn meta(&mut self, profile: &'static str, draw: &mut Draw) {
        let version = draw.between(1, 9);
        let day = if draw.per_mille(500) {
            Date::new(2025, draw.between(7, 12), draw.between(1, 28))
        } else {
            Date::new(2026, draw.between(1, 6), draw.between(1, 28))
        };
        let (hour, minute, second) = (draw.below(24), draw.below(60), draw.below(60));
        let millisecond = draw.below(1000);
        let zone = if draw.per_mille(250) { "-05:00" } else { "Z" };
        self.object("meta", |line| {
            line.text("versionId", version);
            let time = format_args!("{day}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}{zone}");
            line.text("lastUpdated", time);
            line.list("profile", |line| line.item(profile));
        });
    }

    /// `"key":{"reference":"Type/id"}`.
    pub fn reference(&mut self, key: &'static str, to: Id) {
        self.object(key, |line| line.refer(to));
    }

    /// `"reference":"Type/id"`, within an object.
    pub fn refer(&mut self, to: Id) {
        self.text("reference", format_args!("{}/{to}", to.resource.name()));
    }

    /// An extension, in a list of extensions.
    pub fn extension(&mut self, url: &'static str, value: impl FnOnce(&mut Self)) {
        self.entry(|line| {
            line.text("url", url);
            value(line);
        });
    }

    /// `"key":{"coding":[…]}`.
    pub fn concept(&mut self, key: &'static str, code: Coding) {
        self.object(key, |line| line.coding(code));
    }

    /// A concept, in a list of concepts.
    pub fn concept_entry(&mut self, code: Coding) {
        self.entry(|line| line.coding(code));
    }

    /// `"coding":[…]`, within a concept.
    pub fn coding(&mut self, code: Coding) {
        self.list("coding", |line| line.entry(|line| line.code(code)));
    }

    /// The system, code and display, within a coding.
    pub fn code(&mut self, code: Coding) {
        self.text("system", code.system);
        self.text("code", code.code);
        self.text("display", code.display);
    }

    /// An identifier, in a list of identifiers.
    pub fn identifier(&mut self, kind: Coding, system: &'static str, value: impl Display) {
        self.entry(|line| {
            line.concept("type", kind);
            line.text("system", system);
            line.text("value", value);
        });
    }

    /// `"key":{"start":…,"end":…}`, the end left out while it is open.
    pub fn period(&mut self, key: &'static str, start: Date, end: Option<Date>) {
        self.object(key, |line| {
            line.text("start", start);
            if let Some(end) = end {
                line.text("end", end);
            }
        });
    }

    /// A contact point, in a list of contact points.
    pub fn telecom(&mut self, system: &'static str, value: impl Display, usage: &'static str) {
        self.entry(|line| {
            line.text("system", system);
            line.text("value", value);
            line.text("use", usage);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Npi;

    #[test]
    fn an_npi_ends_in_its_luhn_digit() {
        // 1234567893 is the worked example of CMS, "Requirements for NPI check digit".
        assert_eq!(Npi(123_456_789).to_string(), "1234567893");
    }
}
