//! Patients: members, subscribers who are no members, and strangers.

use super::draw::{Draw, Purpose};
use super::fhir::{Coding, LANGUAGES, atr, code, identifier_type, us_core};
use super::household::{Household, Kind, Part, Scheme};
use super::json::Line;
use super::names::{HISPANIC, NOT_HISPANIC, OTHER_RACES};
use super::person::{Person, address};
use super::population::{Population, Resource};

const MARITAL_STATUS: &str = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus";
const ENGLISH: &str = "English (Region=United States)";
/// Where the payer's own numbers for members are from.
pub const MEMBER_NUMBERS: &str = "https://payer.example.org/member-number";

/// Writes the Patient at `position` of the household.
pub fn patient(line: &mut Line, population: &Population, household: &Household, position: u64) {
    let person = Person::new(population, household, position);
    let mut draw = population.draw(Purpose::Patient, person.number);
    let draw = &mut draw;
    line.entry(|line| {
        line.start(household.patient(population, position), atr!("atr-patient"), draw);
        extensions(line, &person, draw);
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
            let number = if spare { pool.spare(draw) } else { draw.popular(pool.used) };
            let practitioner = population.id(Resource::Practitioner, number);
            line.list("generalPractitioner", |line| {
                line.entry(|line| line.refer(practitioner));
            });
        }
    });
}

/// The US Core extensions for race, ethnicity and sex.
fn extensions(line: &mut Line, person: &Person, draw: &mut Draw) {
    let race = person.origin.race;
    let other = if draw.per_mille(60) { Some(draw.pick(&OTHER_RACES)) } else { None };
    let other = other.filter(|other| other.code != race.code);
    let is_sex_known = draw.per_mille(400);
    let ethnicity = if person.origin.hispanic { HISPANIC } else { NOT_HISPANIC };
    let sex = if person.female { "248152002" } else { "248153007" };
    line.list("extension", |line| {
        line.extension(us_core!("us-core-race"), |line| {
            line.list("extension", |line| {
                category(line, race);
                if let Some(other) = other {
                    category(line, other);
                }
                line.extension("text", |line| match other {
                    Some(other) => line.text("valueString", format_args!("{}; {}", race.display, other.display)),
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

fn category(line: &mut Line, code: Coding) {
    line.extension("ombCategory", |line| {
        line.object("valueCoding", |line| line.code(code));
    });
}

fn identifiers(line: &mut Line, household: &Household, person: &Person, draw: &mut Draw) {
    let number = person.number;
    let records = draw.weighted(&[(0, 45), (1, 45), (2, 10)]);
    let social_security = draw.per_mille(30);
    line.list("identifier", |line| {
        line.identifier(identifier_type("MB", "Member Number"), MEMBER_NUMBERS, format_args!("M{number:010}"));
        for _ in 0..records {
            let system = draw.pick(&["https://clinic.example.org/mrn", "https://hospital.example.org/mrn"]);
            line.identifier(
                identifier_type("MR", "Medical Record Number"),
                system,
                format_args!("MR{:07}", draw.below(10_000_000)),
            );
        }
        if household.scheme == Scheme::Medicare {
            let medicare = identifier_type("MC", "Patient's Medicare number");
            line.identifier(medicare, "http://hl7.org/fhir/sid/us-mbi", medicare_number(number));
        }
        if household.scheme == Scheme::Medicaid {
            let medicaid = identifier_type("MA", "Patient Medicaid number");
            line.identifier(medicaid, "https://medicaid.example.org/id", format_args!("MA{number:09}"));
        }
        if social_security {
            // Numbers of area 666 are given to nobody.
            let (group, serial) = (draw.between(1, 99), draw.between(1, 9999));
            let kind = identifier_type("SB", "Social Beneficiary Identifier");
            line.identifier(kind, "http://hl7.org/fhir/sid/us-ssn", format_args!("666-{group:02}-{serial:04}"));
        }
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
    for letters in [MIXED, DIGITS, LETTERS, MIXED, DIGITS, LETTERS, LETTERS, DIGITS, DIGITS] {
        let count = letters.len() as u64;
        let position = usize::try_from(rest % count).expect("a position in a slice is a usize");
        text.push(char::from(letters[position]));
        rest /= count;
    }
    text
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
