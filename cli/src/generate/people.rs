//! Patients and `RelatedPersons`.
//!
//! A person is one draw of its own, apart from the resource that shows it, because a subscriber may be shown as a Patient in one
//! household and as a `RelatedPerson` in the next, and because the list asks for some facts (a death) without the resource.

use super::draw::{Draw, Purpose};
use super::fhir::{Coding, Date, LANGUAGES, atr, code, identifier_type, us_core};
use super::household::{Household, Kind, Part, Scheme, position};
use super::json::Line;
use super::names::{HISPANIC, NOT_HISPANIC, OTHER_RACES, Origin, Surname};
use super::population::{Population, Resource};

const MARITAL_STATUS: &str = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus";
const ENGLISH: &str = "English (Region=United States)";
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const CONTACT_ROLES: &str = "http://terminology.hl7.org/CodeSystem/v2-0131";
/// Where the payer's own numbers for members are from.
pub const MEMBER_NUMBERS: &str = "https://payer.example.org/member-number";

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
    origin: &'static Origin,
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
        let origin = if own_surname {
            Origin::any(&mut draw)
        } else {
            household.origin
        };
        let female = draw.per_mille(515);
        let first = if own_surname {
            origin.surname(&mut draw)
        } else {
            household.surname
        };
        let second = if draw.per_mille(40) {
            Some(Origin::any(&mut draw).surname(&mut draw))
        } else {
            None
        };
        Self {
            number,
            part,
            female,
            given: origin.given(female, &mut draw),
            middle: if draw.per_mille(600) {
                Some(origin.given(female, &mut draw))
            } else {
                None
            },
            surname: Surname {
                first,
                second: second.filter(|second| *second != first),
            },
            born: Date::new(year, draw.between(1, 12), draw.between(1, 28)),
            died: if draw.per_mille(4) && part != Part::Guardian {
                Some(Date::new(2026, draw.between(1, 5), draw.between(1, 28)))
            } else {
                None
            },
            origin,
        }
    }

    const fn age(&self) -> u64 {
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
    fn names(&self, line: &mut Line, draw: &mut Draw) {
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
                    line.text(
                        "text",
                        format_args!("{} \"{short}\" {}", self.given, self.surname),
                    );
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
                    line.period(
                        "period",
                        self.born,
                        Some(Date::new(self.born.year + 24, 6, 1)),
                    );
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
    fn telecoms(&self, line: &mut Line, area: &str, draw: &mut Draw) {
        let (home, mobile) = (draw.below(100), draw.below(100));
        let has_mobile = self.age() > 11 && draw.per_mille(500);
        let mail = self.age() > 15 && draw.per_mille(700);
        line.list("telecom", |line| {
            line.telecom("phone", format_args!("({area}) 555-01{home:02}"), "home");
            if has_mobile {
                line.telecom(
                    "phone",
                    format_args!("+1 {area} 555 01{mobile:02}"),
                    "mobile",
                );
            }
            if mail {
                line.telecom(
                    "email",
                    format_args!("member.{}@example.com", self.number),
                    "home",
                );
            }
        });
    }

    /// The US Core extensions for race, ethnicity and sex.
    fn extensions(&self, line: &mut Line, draw: &mut Draw) {
        let race = self.origin.race;
        let other = if draw.per_mille(60) {
            Some(draw.pick(&OTHER_RACES))
        } else {
            None
        };
        let other = other.filter(|other| other.code != race.code);
        let is_sex_known = draw.per_mille(400);
        let ethnicity = if self.origin.hispanic {
            HISPANIC
        } else {
            NOT_HISPANIC
        };
        let sex = if self.female {
            "248152002"
        } else {
            "248153007"
        };
        line.list("extension", |line| {
            line.extension(us_core!("us-core-race"), |line| {
                line.list("extension", |line| {
                    category(line, race);
                    if let Some(other) = other {
                        category(line, other);
                    }
                    line.extension("text", |line| match other {
                        Some(other) => line.text(
                            "valueString",
                            format_args!("{}; {}", race.display, other.display),
                        ),
                        None => line.text("valueString", race.display),
                    });
                });
            });
            line.extension(us_core!("us-core-ethnicity"), |line| {
                line.list("extension", |line| {
                    category(line, ethnicity);
                    line.extension("text", |line| line.text("valueString", ethnicity.display));
                });
            });
            if is_sex_known {
                line.extension(us_core!("us-core-sex"), |line| line.text("valueCode", sex));
            }
        });
    }
}

fn category(line: &mut Line, code: Coding) {
    line.extension("ombCategory", |line| {
        line.object("valueCoding", |line| line.code(code));
    });
}

/// `"address":[…]` of the household.
fn address(line: &mut Line, household: &Household, draw: &mut Draw) {
    let apartment = if draw.per_mille(250) {
        Some(draw.between(1, 40))
    } else {
        None
    };
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
            line.text(
                "postalCode",
                format_args!("{}{:02}", place.postal, household.postal),
            );
            line.text("country", "US");
        });
    });
}

/// An MBI that CMS gives to nobody: the second place of a real one is never an S.
fn medicare_number(number: u64) -> String {
    const LETTERS: &[u8] = b"ACDEFGHJKMNPQRTUVWXY";
    const MIXED: &[u8] = b"0123456789ACDEFGHJKMNPQRTUVWXY";
    const DIGITS: &[u8] = b"0123456789";
    // 48,271 shares no factor with the number of patterns, so the numbers scatter and none comes twice.
    let mut rest = number * 48_271;
    let mut text = String::from("1S");
    for letters in [
        MIXED, DIGITS, LETTERS, MIXED, DIGITS, LETTERS, LETTERS, DIGITS, DIGITS,
    ] {
        let count = letters.len() as u64;
        let position = usize::try_from(rest % count).expect("a position in a slice is a usize");
        text.push(char::from(letters[position]));
        rest /= count;
    }
    text
}

/// Writes the Patient at `position` of the household.
pub fn patient(line: &mut Line, population: &Population, household: &Household, position: u64) {
    let person = Person::new(population, household, position);
    let mut draw = population.draw(Purpose::Patient, person.number);
    let draw = &mut draw;
    line.entry(|line| {
        line.start(
            household.patient(population, position),
            atr!("atr-patient"),
            draw,
        );
        person.extensions(line, draw);
        identifiers(line, household, &person, draw);
        line.bare("active", person.died.is_none());
        person.names(line, draw);
        person.telecoms(line, household.place.area, draw);
        line.text("gender", person.gender());
        line.text("birthDate", person.born);
        match person.died {
            Some(died) => line.text("deceasedDateTime", died),
            None if draw.per_mille(300) => line.bare("deceasedBoolean", false),
            None => {}
        }
        address(line, household, draw);
        if let Some(status) = marital_status(household, &person, draw) {
            line.concept("maritalStatus", status);
        }
        communication(line, &person, draw);
        // A general practitioner leads an export nowhere: half of them are spare ones, which a walk that goes too far shows.
        if draw.per_mille(300) {
            let spare = draw.per_mille(500);
            let pool = population.practitioners;
            let number = if spare {
                pool.spare(draw)
            } else {
                draw.popular(pool.used)
            };
            let practitioner = population.id(Resource::Practitioner, number);
            line.list("generalPractitioner", |line| {
                line.entry(|line| line.refer(practitioner));
            });
        }
    });
}

fn identifiers(line: &mut Line, household: &Household, person: &Person, draw: &mut Draw) {
    let number = person.number;
    let records = draw.weighted(&[(0, 45), (1, 45), (2, 10)]);
    let social_security = draw.per_mille(30);
    line.list("identifier", |line| {
        line.identifier(
            identifier_type("MB", "Member Number"),
            MEMBER_NUMBERS,
            format_args!("M{number:010}"),
        );
        for _ in 0..records {
            let system = draw.pick(&[
                "https://clinic.example.org/mrn",
                "https://hospital.example.org/mrn",
            ]);
            line.identifier(
                identifier_type("MR", "Medical Record Number"),
                system,
                format_args!("MR{:07}", draw.below(10_000_000)),
            );
        }
        if household.scheme == Scheme::Medicare {
            let medicare = identifier_type("MC", "Patient's Medicare number");
            line.identifier(
                medicare,
                "http://hl7.org/fhir/sid/us-mbi",
                medicare_number(number),
            );
        }
        if household.scheme == Scheme::Medicaid {
            let medicaid = identifier_type("MA", "Patient Medicaid number");
            line.identifier(
                medicaid,
                "https://medicaid.example.org/id",
                format_args!("MA{number:09}"),
            );
        }
        if social_security {
            // Numbers of area 666 are given to nobody.
            let (group, serial) = (draw.between(1, 99), draw.between(1, 9999));
            let kind = identifier_type("SB", "Social Beneficiary Identifier");
            line.identifier(
                kind,
                "http://hl7.org/fhir/sid/us-ssn",
                format_args!("666-{group:02}-{serial:04}"),
            );
        }
    });
}

/// Said of adults, and not of all of them.
fn marital_status(household: &Household, person: &Person, draw: &mut Draw) -> Option<Coding> {
    let is_head = person.part == Part::Subscriber;
    let has_spouse = household.kind != Kind::Single && household.has_spouse;
    let (name, display) = match draw.below(100) {
        _ if person.age() < 18 => return None,
        _ if person.part == Part::Spouse || (is_head && has_spouse) => ("M", "Married"),
        0..20 if is_head => ("D", "Divorced"),
        20..40 if is_head && person.age() > 60 => ("W", "Widowed"),
        0..70 => ("S", "Never Married"),
        _ => return None,
    };
    Some(code(MARITAL_STATUS, name, display))
}

/// `"communication":[…]`: of those who speak English only, most leave it unsaid.
fn communication(line: &mut Line, person: &Person, draw: &mut Draw) {
    let prefers_other = draw.per_mille(300);
    let is_said = draw.per_mille(400);
    let spoken = |line: &mut Line, name, display, preferred: bool| {
        line.entry(|line| {
            line.concept("language", code(LANGUAGES, name, display));
            line.bare("preferred", preferred);
        });
    };
    match person.origin.language {
        Some((name, display)) if prefers_other || is_said => line.list("communication", |line| {
            spoken(line, name, display, prefers_other);
            spoken(line, "en-US", ENGLISH, !prefers_other);
        }),
        None if is_said => line.list("communication", |line| spoken(line, "en-US", ENGLISH, true)),
        _ => {}
    }
}

/// Writes the `RelatedPerson` at `position` of the household, who is related to a member of it.
pub fn related_person(
    line: &mut Line,
    population: &Population,
    household: &Household,
    position: u64,
) {
    let person = Person::new(population, household, position);
    let mut draw = population.draw(Purpose::RelatedPerson, person.number);
    let draw = &mut draw;
    let relative = position.saturating_sub(position::CONTACT);
    let relation = match (person.part, household.part(relative)) {
        (Part::Subscriber, Part::Spouse) if person.female => code(ROLES, "WIFE", "wife"),
        (Part::Subscriber, Part::Spouse) => code(ROLES, "HUSB", "husband"),
        (Part::Contact, _) => draw.pick(&[
            code(ROLES, "FRND", "unrelated friend"),
            code(ROLES, "SIB", "sibling"),
            code(ROLES, "NBOR", "neighbor"),
            code(ROLES, "EXT", "extended family member"),
        ]),
        _ if person.female => code(ROLES, "MTH", "mother"),
        _ => code(ROLES, "FTH", "father"),
    };
    let contact = match person.part {
        Part::Contact => code(CONTACT_ROLES, "C", "Emergency Contact"),
        _ => code(CONTACT_ROLES, "N", "Next-of-Kin"),
    };
    line.entry(|line| {
        line.start(
            household.related(population, position),
            atr!("atr-relatedperson"),
            draw,
        );
        line.list("identifier", |line| {
            let kind = identifier_type("PI", "Patient internal identifier");
            line.identifier(
                kind,
                "https://payer.example.org/related-person",
                format_args!("R{:010}", person.number),
            );
        });
        line.bare("active", true);
        line.reference("patient", household.patient(population, relative));
        line.list("relationship", |line| {
            line.entry(|line| {
                line.list("coding", |line| {
                    line.entry(|line| line.code(contact));
                    line.entry(|line| line.code(relation));
                });
            });
        });
        person.names(line, draw);
        person.telecoms(line, household.place.area, draw);
        line.text("gender", person.gender());
        line.text("birthDate", person.born);
        address(line, household, draw);
        line.period("period", Date::new(2024, 1, 1), None);
    });
}
