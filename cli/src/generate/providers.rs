//! Clinicians, their roles, organisations and places.
//!
//! Numbers from a pool's `used` on are spare: nothing that a list reaches leads to them within the walk of standards.md §3.9. What
//! ATR does not walk (`Organization.partOf`, `Location.managingOrganization`) leads there now and then, on purpose.

use super::draw::{Draw, Purpose};
use super::fhir::{Coding, Date, LANGUAGES, NPI, Npi, SNOMED, TIN, atr, code, identifier_type, us_core};
use super::json::Line;
use super::names::{FIRM_NAMES, Origin, PLACES, Place, STREETS};
use super::population::{OrganizationKind, Population, Resource};

#[rustfmt::skip]
const SPECIALTIES: [Coding; 8] = [
    code(SNOMED, "408443003", "General medical practice"),
    code(SNOMED, "419772000", "Family practice"),
    code(SNOMED, "419192003", "Internal medicine"),
    code(SNOMED, "394579002", "Cardiology"),
    code(SNOMED, "394537008", "Pediatric specialty"),
    code(SNOMED, "394583002", "Endocrinology"),
    code(SNOMED, "394585009", "Obstetrics and gynecology"),
    code(SNOMED, "394582007", "Dermatology"),
];

const PROVIDER_NUMBER: Coding = identifier_type("NPI", "National provider identifier");
const TAX_NUMBER: Coding = identifier_type("TAX", "Tax ID number");

/// `"address":…` of a place of work, as the one address of a Location or the first of a list.
fn address(line: &mut Line, place: Place, draw: &mut Draw) {
    let house = draw.between(1, 9999);
    let street = draw.pick(&STREETS);
    let suite = if draw.per_mille(350) { Some(draw.between(100, 900)) } else { None };
    let postal = draw.below(100);
    line.text("use", "work");
    line.list("line", |line| {
        line.item(format_args!("{house} {street}"));
        if let Some(suite) = suite {
            line.item(format_args!("Suite {suite}"));
        }
    });
    line.text("city", place.city);
    line.text("district", place.district);
    line.text("state", place.state);
    line.text("postalCode", format_args!("{}{postal:02}", place.postal));
    line.text("country", "US");
}

fn telecoms(line: &mut Line, place: Place, mailbox: &str, number: u64, draw: &mut Draw) {
    let phone = draw.below(100);
    line.list("telecom", |line| {
        line.telecom("phone", format_args!("({}) 555-01{phone:02}", place.area), "work");
        line.telecom("email", format_args!("{mailbox}.{number}@example.org"), "work");
    });
}

/// Writes clinician `number`.
pub fn practitioner(line: &mut Line, population: &Population, number: u64) {
    let mut draw = population.draw(Purpose::Practitioner, number);
    let draw = &mut draw;
    let origin = Origin::any(draw);
    let female = draw.per_mille(500);
    let place = draw.pick(&PLACES);
    let suffix = draw.weighted(&[("MD", 65), ("DO", 15), ("NP", 12), ("PA-C", 8)]);
    line.entry(|line| {
        line.start(population.id(Resource::Practitioner, number), atr!("atr-practitioner"), draw);
        line.list("identifier", |line| {
            line.identifier(PROVIDER_NUMBER, NPI, Npi::of_practitioner(number));
            let license = identifier_type("MD", "Medical License number");
            line.identifier(license, "https://licence.example.org/number", format_args!("{}{number:07}", place.state));
        });
        line.bare("active", true);
        line.list("name", |line| {
            line.entry(|line| {
                line.text("use", "official");
                line.text("family", origin.surname(draw));
                line.list("given", |line| {
                    line.item(origin.given(female, draw));
                    line.item(origin.given(female, draw));
                });
                line.list("prefix", |line| line.item("Dr."));
                line.list("suffix", |line| line.item(suffix));
            });
        });
        telecoms(line, place, "clinician", number, draw);
        line.list("address", |line| {
            line.entry(|line| address(line, place, draw));
        });
        line.text("gender", if female { "female" } else { "male" });
        line.text("birthDate", Date::within(draw, 1955, 1996));
        line.list("qualification", |line| {
            line.entry(|line| {
                let degrees = "http://terminology.hl7.org/CodeSystem/v2-0360";
                let degree = match suffix {
                    "MD" => code(degrees, "MD", "Doctor of Medicine"),
                    "DO" => code(degrees, "DO", "Doctor of Osteopathy"),
                    "NP" => code(degrees, "NP", "Nurse Practitioner"),
                    _ => code(degrees, "PA", "Physician Assistant"),
                };
                line.concept("code", degree);
                line.period("period", Date::within(draw, 1999, 2023), None);
            });
        });
        line.list("communication", |line| {
            line.concept_entry(code(LANGUAGES, "en-US", "English (Region=United States)"));
            if let Some((name, display)) = origin.language {
                line.concept_entry(code(LANGUAGES, name, display));
            }
        });
    });
}

/// Writes role `number`.
///
/// ATR allows one location a role, US Core and FHIR several. Payers do send several, so one role in six has two or three; those
/// claim the US Core profile and not the one of ATR.
pub fn practitioner_role(line: &mut Line, population: &Population, number: u64) {
    let mut draw = population.draw(Purpose::PractitionerRole, number);
    let draw = &mut draw;
    let is_spare = number >= population.roles.used;
    let clinicians = population.practitioners;
    let clinician = if is_spare { clinicians.spare(draw) } else { draw.below(clinicians.used) };
    let clinic = draw.popular(population.clinics.used);
    let locations = draw.weighted(&[(1, 83), (2, 12), (3, 5)]);
    let first = draw.below(population.locations.used);
    let specialty = draw.pick(&SPECIALTIES);
    let place = draw.pick(&PLACES);
    let profile = if locations == 1 { atr!("atr-practitionerrole") } else { us_core!("us-core-practitionerrole") };
    line.entry(|line| {
        line.start(population.id(Resource::PractitionerRole, number), profile, draw);
        line.list("identifier", |line| {
            let kind = identifier_type("PRN", "Provider number");
            line.identifier(kind, "https://payer.example.org/provider-number", format_args!("PR{number:07}"));
        });
        line.bare("active", !is_spare);
        line.period("period", Date::within(draw, 2012, 2024), None);
        line.reference("practitioner", population.id(Resource::Practitioner, clinician));
        line.reference("organization", population.clinic(clinic));
        line.list("code", |line| {
            line.concept_entry(code("http://terminology.hl7.org/CodeSystem/practitioner-role", "doctor", "Doctor"));
        });
        line.list("specialty", |line| line.concept_entry(specialty));
        line.list("location", |line| {
            for turn in 0..locations {
                let location = (first + turn) % population.locations.used;
                line.entry(|line| line.refer(population.id(Resource::Location, location)));
            }
        });
        telecoms(line, place, "role", number, draw);
        line.list("availableTime", |line| {
            line.entry(|line| {
                line.list("daysOfWeek", |line| {
                    for day in ["mon", "tue", "thu"] {
                        line.item(day);
                    }
                });
                line.text("availableStartTime", "09:00:00");
                line.text("availableEndTime", "16:30:00");
            });
        });
        line.text("availabilityExceptions", "Not on public holidays, nor between Christmas and New Year's Eve");
    });
}

/// Writes organisation `number`.
pub fn organization(line: &mut Line, population: &Population, number: u64) {
    let mut draw = population.draw(Purpose::Organization, number);
    let draw = &mut draw;
    let kind = population.organization_kind(number);
    let types = "http://terminology.hl7.org/CodeSystem/organization-type";
    let (type_code, what) = match kind {
        OrganizationKind::Settlement => (code(types, "prov", "Healthcare Provider"), "Health Partners ACO"),
        OrganizationKind::Payer => (code(types, "ins", "Insurance Company"), "Mutual Health Plan"),
        OrganizationKind::Employer => {
            let what = draw.pick(&["Manufacturing", "Schools", "Logistics", "Foods", "Software"]);
            (code(types, "bus", "Non-Healthcare Business or Corporation"), what)
        }
        OrganizationKind::Clinic => {
            let what = draw.pick(&["Family Medicine", "Medical Group", "Women's Clinic", "Children's Hospital"]);
            (code(types, "prov", "Healthcare Provider"), what)
        }
        OrganizationKind::System => (code(types, "prov", "Healthcare Provider"), "Health System"),
    };
    let provides = matches!(kind, OrganizationKind::Settlement | OrganizationKind::Clinic | OrganizationKind::System);
    let firm = draw.pick(&FIRM_NAMES);
    let place = draw.pick(&PLACES);
    let has_owner = kind == OrganizationKind::Clinic && draw.per_mille(400);
    let owner = population.clinics.spare(draw);
    line.entry(|line| {
        line.start(population.id(Resource::Organization, number), atr!("atr-organization"), draw);
        line.list("identifier", |line| {
            if provides {
                line.identifier(PROVIDER_NUMBER, NPI, Npi::of_organization(number));
            }
            line.identifier(TAX_NUMBER, TIN, tin(number));
        });
        line.bare("active", true);
        line.list("type", |line| line.concept_entry(type_code));
        line.text("name", format_args!("{firm} {what}"));
        line.list("alias", |line| {
            line.item(format_args!("{firm} ({})", place.state));
        });
        telecoms(line, place, "office", number, draw);
        line.list("address", |line| {
            line.entry(|line| address(line, place, draw));
        });
        if has_owner {
            line.reference("partOf", population.clinic(owner));
        }
    });
}

/// A tax number that nobody has: no office gives out the prefix 00.
pub fn tin(number: u64) -> String {
    format!("00{:07}", 1000 + number)
}

/// Writes location `number`.
pub fn location(line: &mut Line, population: &Population, number: u64) {
    let mut draw = population.draw(Purpose::Location, number);
    let draw = &mut draw;
    let place = draw.pick(&PLACES);
    let firm = draw.pick(&FIRM_NAMES);
    let wing = draw.pick(&["South Wing", "North Wing", "Main Building", "Annex B"]);
    let floor = draw.between(1, 6);
    let has_directions = draw.per_mille(200);
    let managed_by_owner = draw.per_mille(300);
    let clinics = population.clinics;
    let manager = if managed_by_owner { clinics.spare(draw) } else { draw.below(clinics.used) };
    line.entry(|line| {
        line.start(population.id(Resource::Location, number), atr!("atr-location"), draw);
        line.list("identifier", |line| {
            let kind = identifier_type("XX", "Organization identifier");
            line.identifier(kind, "https://payer.example.org/site", format_args!("B{number}-F{floor}"));
        });
        line.text("status", "active");
        line.text("name", format_args!("{firm}, {wing}, floor {floor}"));
        if has_directions {
            // Escapes that an export must keep as they are, above all the line break that must not end the NDJSON line.
            line.text("description", "Ramp at the east door.\nRing twice; ask for \"Imaging\\Lab\".");
        }
        line.text("mode", "instance");
        line.list("type", |line| {
            let types = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
            line.concept_entry(code(types, "OF", "Outpatient facility"));
        });
        telecoms(line, place, "site", number, draw);
        line.object("address", |line| address(line, place, draw));
        line.object("position", |line| {
            line.bare("longitude", place.position.0);
            line.bare("latitude", place.position.1);
        });
        line.reference("managingOrganization", population.clinic(manager));
    });
}
