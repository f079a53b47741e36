//! `RelatedPersons`: subscribers, guardians who hold a policy, contact persons.

use super::draw::Purpose;
use super::fhir::{Date, atr, code, identifier_type};
use super::household::{Household, Part, position};
use super::json::Line;
use super::person::{Person, address};
use super::population::Population;

const ROLES: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const CONTACT_ROLES: &str = "http://terminology.hl7.org/CodeSystem/v2-0131";

/// Writes the `RelatedPerson` at `position` of the household, who is related to a member of it.
pub fn related_person(line: &mut Line, population: &Population, household: &Household, position: u64) {
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
        line.start(household.related(population, position), atr!("atr-relatedperson"), draw);
        line.list("identifier", |line| {
            let kind = identifier_type("PI", "Patient internal identifier");
            line.identifier(kind, "https://payer.example.org/related-person", format_args!("R{:010}", person.number));
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
