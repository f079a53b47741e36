//! The attribution list: a Group that is written member by member, since it is one line of any length.

use super::draw::Purpose;
use super::fhir::{Date, NPI, Npi, TIN, atr, code, identifier_type};
use super::json::Line;
use super::membership::{Attribution, Membership};
use super::population::{Id, Population, Resource};
use super::providers::tin;

const CHARACTERISTICS: &str = "http://hl7.org/fhir/us/davinci-atr/CodeSystem/davinci-group-characteristic-codes";

/// What tells one list of the population from another.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The id of the Group.
    pub id: &'a str,
    /// The number of its contract, which numbers its draws as well.
    pub contract: u64,
    /// How many people are on it, active or not.
    pub quantity: u64,
    /// `draft`, `open` or `final`.
    pub status: &'static str,
}

/// The Group up to the bracket after which its members come.
pub fn head(line: &mut Line, population: &Population, head: Head<'_>) {
    let mut draw = population.draw(Purpose::List, head.contract);
    let contract = head.contract;
    let settlement = population.settlement();
    line.open();
    line.text("resourceType", Resource::Group.name());
    line.text("id", head.id);
    line.meta(atr!("atr-group"), &mut draw);
    line.list("extension", |line| {
        line.extension(atr!("ext-contractValidityPeriod"), |line| {
            line.period("valuePeriod", Date::new(2026, 1, 1), Some(Date::new(2026, 12, 31)));
        });
        line.extension(atr!("ext-attributionListStatus"), |line| {
            line.text("valueCode", head.status);
        });
        line.extension(atr!("atr-intended-recipient-identifier-extension"), |line| {
            line.object("valueIdentifier", |line| {
                line.text("system", NPI);
                line.text("value", Npi::of_organization(settlement.number));
            });
        });
    });
    line.list("identifier", |line| {
        let npi = identifier_type("NPI", "National provider identifier");
        line.identifier(npi, NPI, Npi::of_organization(settlement.number));
        line.identifier(identifier_type("TAX", "Tax ID number"), TIN, tin(settlement.number));
        let resource = identifier_type("RI", "Resource identifier");
        line.identifier(resource, "https://payer.example.org/contract", format_args!("CONTRACT-2026-{contract:04}"));
        line.identifier(resource, "https://payer.example.org/settlement-entity", "ACO-1701");
    });
    line.bare("active", true);
    line.text("type", "person");
    line.bare("actual", true);
    line.text("name", format_args!("Members attributed in 2026, contract {contract}"));
    line.bare("quantity", head.quantity);
    line.reference("managingEntity", settlement);
    line.list("characteristic", |line| {
        let mut characteristic = |name, display, value: Id| {
            line.entry(|line| {
                line.concept("code", code(CHARACTERISTICS, name, display));
                line.reference("valueReference", value);
                line.bare("exclude", false);
                line.period("period", Date::new(2026, 1, 1), Some(Date::new(2026, 12, 31)));
            });
        };
        characteristic("practitioner", "Practitioner", population.id(Resource::Practitioner, contract));
        characteristic("organization", "Organization", population.clinic(contract));
        characteristic("location", "Location", population.id(Resource::Location, contract));
    });
    line.open_list("member");
}

/// The end of what [`head`] opened.
pub const TAIL: &str = "]}";

/// The entries of one member, without a comma before the first.
pub fn entries(line: &mut Line, membership: &Membership) {
    for attribution in &membership.attributions {
        line.entry(|line| entry(line, membership.patient, attribution));
    }
}

fn entry(line: &mut Line, patient: Id, attribution: &Attribution) {
    line.list("extension", |line| {
        let change = attribution.change.code();
        line.extension(atr!("ext-changeType"), |line| {
            line.text("valueCode", change);
        });
        line.extension(atr!("ext-coverageReference"), |line| {
            line.reference("valueReference", attribution.coverage);
        });
        if let Some(provider) = attribution.provider {
            line.extension(atr!("ext-attributedProvider"), |line| {
                line.reference("valueReference", provider);
            });
        }
        if let Some(associated) = attribution.associated {
            line.extension(atr!("atr-any-resource-extension"), |line| {
                line.reference("valueReference", associated);
            });
        }
    });
    line.reference("entity", patient);
    let (start, end) = attribution.period;
    line.period("period", start, Some(end));
    line.bare("inactive", attribution.change.is_inactive());
}
