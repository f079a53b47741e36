//! Coverages: whose, under whose policy, paid by whom, and what it costs.

use super::draw::{Draw, Purpose};
use super::fhir::{Coding, Date, atr, code, identifier_type};
use super::household::{Holder, Household, Part, Scheme, position};
use super::json::Line;
use super::patient::MEMBER_NUMBERS;
use super::population::Population;

const CLASSES: &str = "http://terminology.hl7.org/CodeSystem/coverage-class";
const COPAY_TYPES: &str = "http://terminology.hl7.org/CodeSystem/coverage-copay-type";
const ACT_CODES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const RELATIONSHIPS: &str = "http://terminology.hl7.org/CodeSystem/subscriber-relationship";

/// Writes the Coverage of the person at `position`, their first or their `second` one.
///
/// The profile asks for `status` active whatever becomes of the member, for exactly one payor and beneficiary, and for the
/// subscriber's number.
pub fn coverage(line: &mut Line, population: &Population, household: &Household, position: u64, second: bool) {
    let id = household.coverage(population, position, second);
    let mut draw = population.draw(Purpose::Coverage, id.number);
    let draw = &mut draw;
    let subscriber = household.subscriber(population);
    let member = household.person(position);
    line.entry(|line| {
        line.start(id, atr!("atr-coverage"), draw);
        line.list("extension", |line| {
            line.extension(atr!("ext-insuranceProductType"), |line| {
                line.concept("valueCodeableConcept", household.product);
            });
        });
        line.list("identifier", |line| {
            let suffix = if second { "-2" } else { "" };
            let number = format_args!("M{member:010}{suffix}");
            line.identifier(identifier_type("MB", "Member Number"), MEMBER_NUMBERS, number);
        });
        line.text("status", "active");
        if household.pays_self || draw.per_mille(300) {
            line.concept("type", kind(household));
        }
        match household.holder {
            Holder::Unsaid => {}
            Holder::Employer(index) => line.reference("policyHolder", population.employer(index)),
            Holder::Subscriber => line.reference("policyHolder", subscriber),
            Holder::Guardian => line.reference("policyHolder", household.related(population, position::GUARDIAN)),
        }
        line.reference("subscriber", subscriber);
        line.text("subscriberId", format_args!("W{:08}", household.number));
        line.reference("beneficiary", household.patient(population, position));
        let part = household.part(position);
        line.text("dependent", format_args!("{:02}", if part == Part::Subscriber { 0 } else { position + 1 }));
        line.concept("relationship", relationship(part));
        line.period("period", Date::new(draw.between(2019, 2026), 1, 1), Some(Date::new(2026, 12, 31)));
        let insurer = (household.payer + u64::from(second)) % population.payers;
        let payor = if household.pays_self { subscriber } else { population.payer(insurer) };
        line.list("payor", |line| line.entry(|line| line.refer(payor)));
        classes(line, household, draw);
        line.bare("order", if second { 2 } else { 1 });
        costs(line, draw);
    });
}

fn kind(household: &Household) -> Coding {
    if household.pays_self {
        return code("http://terminology.hl7.org/CodeSystem/coverage-selfpay", "pay", "Pay");
    }
    match household.scheme {
        Scheme::Commercial => code(ACT_CODES, "HIP", "health insurance plan policy"),
        Scheme::Medicare => code(ACT_CODES, "RETIRE", "retiree health program"),
        Scheme::Medicaid => code(ACT_CODES, "SUBSIDIZ", "subsidized health program"),
    }
}

const fn relationship(part: Part) -> Coding {
    match part {
        Part::Subscriber => code(RELATIONSHIPS, "self", "Self"),
        Part::Spouse => code(RELATIONSHIPS, "spouse", "Spouse"),
        Part::Child => code(RELATIONSHIPS, "child", "Child"),
        Part::Guardian | Part::Contact => code(RELATIONSHIPS, "other", "Other"),
    }
}

fn classes(line: &mut Line, household: &Household, draw: &mut Draw) {
    let plan = draw.below(400);
    line.list("class", |line| {
        line.entry(|line| {
            line.concept("type", code(CLASSES, "plan", "Plan"));
            line.text("value", format_args!("{}-{plan:04}", household.product.code));
            line.text("name", format_args!("{} {plan}", household.product.display));
        });
        if let Holder::Employer(index) = household.holder {
            line.entry(|line| {
                line.concept("type", code(CLASSES, "group", "Group"));
                line.text("value", format_args!("GRP{index:06}"));
                line.text("name", format_args!("Employees' plan, group {index}"));
            });
        }
    });
}

/// `"costToBeneficiary":[…]`: the zeros at the end of these decimals are part of their value in FHIR, so an export must keep them.
fn costs(line: &mut Line, draw: &mut Draw) {
    let visit = draw.pick(&["10.00", "15.00", "20.00", "25.00", "30.50", "0.00"]);
    let share = draw.pick(&["1.10", "10.00", "12.50", "20.0", "0.50"]);
    let deductible = draw.pick(&["500.00", "1500.00", "2750.50", "6000.00"]);
    let (has_share, has_deductible) = (draw.per_mille(250), draw.per_mille(250));
    line.list("costToBeneficiary", |line| {
        line.entry(|line| {
            line.concept("type", code(COPAY_TYPES, "gpvisit", "GP Office Visit"));
            money(line, visit);
        });
        if has_share {
            line.entry(|line| {
                line.concept("type", code(COPAY_TYPES, "copaypct", "Copay Percentage"));
                line.object("valueQuantity", |line| {
                    line.bare("value", share);
                    line.text("unit", "%");
                    line.text("system", "http://unitsofmeasure.org");
                    line.text("code", "%");
                });
            });
        }
        if has_deductible {
            line.entry(|line| {
                line.concept("type", code(COPAY_TYPES, "deductible", "Deductible"));
                money(line, deductible);
            });
        }
    });
}

fn money(line: &mut Line, dollars: &str) {
    line.object("valueMoney", |line| {
        line.bare("value", dollars);
        line.text("currency", "USD");
    });
}
