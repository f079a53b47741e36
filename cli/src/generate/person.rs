//! A person: a draw of its own, apart from the resource that shows it.
//!
//! A subscriber is a Patient in one household and a `RelatedPerson` in the next, and the list asks for a fact about a member (a
//! death) without the resource.

use super::draw::{Draw, Purpose};
use super::fhir::Date;
use super::household::{Household, Part};
use super::json::Line;
use super::names::{Origin, Surname};
use super::population::Population;

/// Who somebody is.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Unique among people.
    pub number: u64,
    /// What they are to the household's subscriber.
    pub part: Part,
    /// Whether FHIR's `gender` is `female`; a few are `other`, see [`Person::gender`].
    pub female: bool,
    /// First given name.
    pub given: &'static str,
    /// Second given name.
    pub middle: Option<&'static str>,
    /// Surname.
    pub surname: Surname,
    /// Date of birth.
    pub born: Date,
    /// Date of death.
    pub died: Option<Date>,
    /// Where the name is from, and what goes with it.
    pub origin: &'static Origin,
}

impl Person {
    /// The person at `position` of the household.
    pub fn new(population: &Population, household: &Household, position: u64) -> Self {
        let number = household.person(position);
        let mut draw = population.draw(Purpose::Person, number);
        let part = household.part(position);
        let head = household.head_born;
        let year = match part {
            Part::Subscriber => head,
            Part::Spouse => head - 5 + draw.below(11),
            Part::Child => (head + 20 + draw.below(14)).clamp(2001, 2025),
            Part::Guardian => head - 20 - draw.below(15),
            Part::Contact => draw.between(1945, 2004),
        };
        let own_surname = match part {
            Part::Subscriber | Part::Child | Part::Guardian => false,
            Part::Spouse => draw.per_mille(250),
            Part::Contact => draw.per_mille(500),
        };
        let origin = if own_surname { Origin::any(&mut draw) } else { household.origin };
        let female = draw.per_mille(515);
        let first = if own_surname { origin.surname(&mut draw) } else { household.surname };
        let second = if draw.per_mille(40) { Some(Origin::any(&mut draw).surname(&mut draw)) } else { None };
        Self {
            number,
            part,
            female,
            given: origin.given(female, &mut draw),
            middle: if draw.per_mille(600) { Some(origin.given(female, &mut draw)) } else { None },
            surname: Surname { first, second: second.filter(|second| *second != first) },
            born: Date::new(year, draw.between(1, 12), draw.between(1, 28)),
            died: if draw.per_mille(4) && part != Part::Guardian {
                Some(Date::new(2026, draw.between(1, 5), draw.between(1, 28)))
            } else {
                None
            },
            origin,
        }
    }

    /// Years at the end of the contract.
    pub const fn age(&self) -> u64 {
        2026 - self.born.year
    }

    /// FHIR's `gender`.
    pub const fn gender(&self) -> &'static str {
        match (self.number % 1009, self.female) {
            (0, _) => "other",
            (_, true) => "female",
            (_, false) => "male",
        }
    }

    /// `"name":[…]`: the official name, now and then a nickname in quotes, a maiden name or a name in its own script.
    pub fn names(&self, line: &mut Line, draw: &mut Draw) {
        let prefix = match draw.below(100) {
            0..3 if self.age() > 30 => Some("Dr."),
            0..45 if self.age() > 18 => Some(if self.female { "Ms." } else { "Mr." }),
            _ => None,
        };
        let suffix = match draw.below(100) {
            0..3 if !self.female => Some("Jr."),
            3..5 if !self.female => Some("III"),
            5..7 if self.age() > 25 => Some("MSc"),
            _ => None,
        };
        let nickname = draw.per_mille(120);
        let maiden_name = self.female && self.age() > 25 && draw.per_mille(80);
        let former = self.origin.surname(draw);
        line.list("name", |line| {
            line.entry(|line| {
                line.text("use", "official");
                if nickname {
                    let short: String = self.given.chars().take(3).collect();
                    line.text("text", format_args!("{} \"{short}\" {}", self.given, self.surname));
                }
                line.text("family", self.surname);
                line.list("given", |line| {
                    line.item(self.given);
                    if let Some(middle) = self.middle {
                        line.item(middle);
                    }
                });
                if let Some(prefix) = prefix {
                    line.list("prefix", |line| line.item(prefix));
                }
                if let Some(suffix) = suffix {
                    line.list("suffix", |line| line.item(suffix));
                }
            });
            if maiden_name {
                line.entry(|line| {
                    line.text("use", "maiden");
                    line.text("family", former);
                    line.list("given", |line| line.item(self.given));
                    line.period("period", self.born, Some(Date::new(self.born.year + 24, 6, 1)));
                });
            }
            if let Some((family, given)) = self.origin.script {
                line.entry(|line| {
                    line.text("use", "usual");
                    line.text("family", family);
                    line.list("given", |line| line.item(given));
                });
            }
        });
    }

    /// `"telecom":[…]`: 555-01xx and example.com are kept free for made-up people.
    pub fn telecoms(&self, line: &mut Line, area: &str, draw: &mut Draw) {
        let (home, mobile) = (draw.below(100), draw.below(100));
        let has_mobile = self.age() > 11 && draw.per_mille(500);
        let mail = self.age() > 15 && draw.per_mille(700);
        line.list("telecom", |line| {
            line.telecom("phone", format_args!("({area}) 555-01{home:02}"), "home");
            if has_mobile {
                line.telecom("phone", format_args!("+1 {area} 555 01{mobile:02}"), "mobile");
            }
            if mail {
                line.telecom("email", format_args!("member.{}@example.com", self.number), "home");
            }
        });
    }
}

/// `"address":[…]` of the household.
pub fn address(line: &mut Line, household: &Household, draw: &mut Draw) {
    let apartment = if draw.per_mille(250) { Some(draw.between(1, 40)) } else { None };
    let place = household.place;
    line.list("address", |line| {
        line.entry(|line| {
            line.text("use", "home");
            line.list("line", |line| {
                line.item(format_args!("{} {}", household.house, household.street));
                if let Some(apartment) = apartment {
                    line.item(format_args!("Apt #{apartment}"));
                }
            });
            line.text("city", place.city);
            line.text("district", place.district);
            line.text("state", place.state);
            line.text("postalCode", format_args!("{}{:02}", place.postal, household.postal));
            line.text("country", "US");
        });
    });
}
