//! What a member is to the list: the entries, each with its provider, its coverage and how it changed.
//!
//! ATR: a member who is attributed to several providers has as many entries, and one who is no longer attributed stays, inactive
//! and `dropped`. standards.md §3.6.

use super::draw::{Draw, Purpose};
use super::fhir::Date;
use super::household::{Household, Kind, Scheme, position};
use super::person::Person;
use super::population::{Id, Population, Resource};

/// How an entry differs from the last version of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// As it was.
    Nochange,
    /// First time on the list.
    New,
    /// Something of the entry changed.
    Changed,
    /// No longer attributed.
    Dropped,
    /// Was never right.
    Cancelled,
}

impl Change {
    /// The code of the system atr-changetype.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nochange => "nochange",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the entry no longer counts.
    pub const fn is_inactive(self) -> bool {
        matches!(self, Self::Dropped | Self::Cancelled)
    }
}

/// One `Group.member`.
#[derive(Clone, Copy, Debug)]
pub struct Attribution {
    /// How it changed.
    pub change: Change,
    /// Under which policy.
    pub coverage: Id,
    /// To whom; nobody for a few.
    pub provider: Option<Id>,
    /// Some other resource that the payer wants to be seen with the member.
    pub associated: Option<Id>,
    /// From when to when.
    pub period: (Date, Date),
}

/// All that one member has on the list.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The member.
    pub patient: Id,
    /// One or more entries.
    pub attributions: Vec<Attribution>,
    /// Whether the member has a second Coverage.
    pub has_second_coverage: bool,
    /// Whether there is a person to call; only some of them are named as associated data.
    pub has_contact: bool,
}

impl Membership {
    /// The membership of the member at `position`.
    pub fn new(population: &Population, household: &Household, position: u64) -> Self {
        let number = household.person(position);
        let mut draw = population.draw(Purpose::Membership, number);
        let draw = &mut draw;
        let has_died = Person::new(population, household, position).died.is_some();
        let second_share = if household.scheme == Scheme::Medicare { 150 } else { 25 };
        let has_second_coverage = household.kind != Kind::FamilyPolicy && draw.per_mille(second_share);
        let has_contact = draw.per_mille(50);
        let associated = associated(population, household, position, has_contact, draw);
        let change = match draw.below(100) {
            _ if has_died => Change::Dropped,
            0..70 => Change::Nochange,
            70..85 => Change::New,
            85..94 => Change::Changed,
            94..99 => Change::Dropped,
            _ => Change::Cancelled,
        };
        let has_moved = change == Change::Changed && draw.per_mille(500);
        let coverage = household.coverage(population, position, false);

        let mut attributions: Vec<_> = providers(population, has_moved, draw)
            .into_iter()
            .map(|provider| Attribution { change, coverage, provider, associated: None, period: period(change, draw) })
            .collect();
        if has_moved {
            let [former, latter] = [Change::Dropped, Change::New];
            attributions[0].change = former;
            attributions[0].period = period(former, draw);
            attributions[1].change = latter;
            attributions[1].period = period(latter, draw);
        }
        if has_second_coverage {
            let mut second = attributions[attributions.len() - 1];
            second.coverage = household.coverage(population, position, true);
            attributions.push(second);
        }
        attributions[0].associated = associated;
        let patient = household.patient(population, position);
        Self { patient, attributions, has_second_coverage, has_contact }
    }
}

/// Nobody, one, two or three providers; two are never of one kind, so that no provider comes twice.
fn providers(population: &Population, has_moved: bool, draw: &mut Draw) -> Vec<Option<Id>> {
    const KINDS: [Resource; 3] = [Resource::Practitioner, Resource::PractitionerRole, Resource::Organization];
    let count = match draw.below(100) {
        _ if has_moved => 2,
        0..3 => 0,
        3..5 => return vec![Some(population.settlement())],
        5..75 => 1,
        75..93 => 2,
        _ => 3,
    };
    let first: usize = draw.weighted(&[(0, 50), (1, 35), (2, 15)]);
    let provider = |kind| match kind {
        Resource::Practitioner => population.id(kind, draw.popular(population.practitioners.used)),
        Resource::PractitionerRole => population.id(kind, draw.popular(population.roles.used)),
        _ => population.clinic(draw.popular(population.clinics.used)),
    };
    let chosen: Vec<_> = (first..first + count).map(|turn| KINDS[turn % 3]).map(provider).map(Some).collect();
    if chosen.is_empty() { vec![None] } else { chosen }
}

/// In one of fifteen members, something else that belongs to the member: a contact person, a place, a clinic, a clinician.
fn associated(
    population: &Population,
    household: &Household,
    position: u64,
    has_contact: bool,
    draw: &mut Draw,
) -> Option<Id> {
    if has_contact && draw.per_mille(600) {
        return Some(household.related(population, position::CONTACT + position));
    }
    match draw.below(1000) {
        0..20 => Some(population.id(Resource::Location, draw.below(population.locations.used))),
        20..30 => Some(population.clinic(draw.below(population.clinics.used))),
        30..40 => Some(population.id(Resource::Practitioner, draw.below(population.practitioners.used))),
        _ => None,
    }
}

fn period(change: Change, draw: &mut Draw) -> (Date, Date) {
    let before = Date::new(draw.between(2021, 2026), 1, 1);
    let end_of_contract = Date::new(2026, 12, 31);
    match change {
        Change::New => (Date::new(2026, draw.between(5, 7), 1), end_of_contract),
        Change::Nochange | Change::Changed => (before, end_of_contract),
        Change::Dropped | Change::Cancelled => (before, Date::new(2026, draw.between(1, 6), draw.between(1, 28))),
    }
}
