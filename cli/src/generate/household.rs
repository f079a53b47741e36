//! Who belongs together: one to five members under a roof, with an address, an insurance and a subscriber.
//!
//! A household is made from its number alone. Members of a list are those of household 0, 1, 2 and so on; the last one is cut
//! so that the list has exactly as many members as were asked for.

use super::draw::Purpose;
use super::fhir::{Coding, code};
use super::names::{Origin, PLACES, Place, STREETS};
use super::population::{Id, Population, Resource};

/// The most members that a list may have: a household has at least one, so their numbers stay below those of strangers.
pub const MOST_MEMBERS: u64 = FIRST_STRANGER;

/// The household number of the first stranger: see [`Population::strangers`].
pub const FIRST_STRANGER: u64 = 40_000_000;

/// The positions of a household that are not members; members are 0 to 4, and 10 more is the contact person of each.
pub mod position {
    /// A parent who holds the policy of a young subscriber.
    pub const GUARDIAN: u64 = 8;
    /// The subscriber, where that is no member.
    pub const SUBSCRIBER: u64 = 9;
    /// Added to a member's position: the member's contact person.
    pub const CONTACT: u64 = 10;
    /// Above all positions.
    pub const LIMIT: u64 = 20;
}

/// How a household is insured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One member, who is the subscriber.
    Single,
    /// The subscriber is a member, and so are the dependents, each with a Coverage of their own.
    Family,
    /// As `Family`, but one Coverage, the subscriber's, is what all of their entries name.
    FamilyPolicy,
    /// Dependents only: the subscriber is a Patient who is no member.
    SubscriberElsewhere,
    /// Dependents only: the subscriber is a `RelatedPerson`.
    SubscriberRelated,
}

/// Who holds the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Coverage says nothing.
    Unsaid,
    /// An employer.
    Employer(u64),
    /// The subscriber: a Patient or a `RelatedPerson`.
    Subscriber,
    /// A parent, who is a `RelatedPerson`.
    Guardian,
}

/// Where the money comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Through work or bought.
    Commercial,
    /// Medicare, for people of 65 and more.
    Medicare,
    /// Medicaid.
    Medicaid,
}

const PRODUCTS: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/InsuranceProductTypeCS";

#[rustfmt::skip]
const COMMERCIAL: [(Coding, u64); 6] = [
    (code(PRODUCTS, "commppo", "Commercial PPO"), 40),
    (code(PRODUCTS, "commhmo", "Commercial HMO"), 25),
    (code(PRODUCTS, "commpos", "Commercial POS"), 10),
    (code(PRODUCTS, "commhdhp", "Commercial HDHP"), 15),
    (code(PRODUCTS, "commepo", "Commercial EPO"), 5),
    (code(PRODUCTS, "qhp", "Qualified Health Plan"), 5),
];
#[rustfmt::skip]
const MEDICARE: [(Coding, u64); 3] = [
    (code(PRODUCTS, "mediadv", "Medicare Advantage"), 40),
    (code(PRODUCTS, "mediadvhmo", "Medicare Advantage HMO"), 30),
    (code(PRODUCTS, "mediab", "Medicare A/B"), 30),
];
const MEDICAID: [(Coding, u64); 2] =
    [(code(PRODUCTS, "medi", "Medicaid"), 60), (code(PRODUCTS, "medihmo", "Medicaid HMO"), 40)];

/// What somebody is to the subscriber of the household.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The subscriber.
    Subscriber,
    /// The subscriber's husband or wife.
    Spouse,
    /// The subscriber's child.
    Child,
    /// A parent who holds the policy.
    Guardian,
    /// Somebody to call.
    Contact,
}

/// One household.
#[derive(Clone, Copy, Debug)]
pub struct Household {
    /// Its number.
    pub number: u64,
    /// How it is insured.
    pub kind: Kind,
    /// How many members it has; positions 0 to one less.
    pub members: u64,
    /// Where the names come from.
    pub origin: &'static Origin,
    /// The subscriber's surname.
    pub surname: &'static str,
    /// The town.
    pub place: Place,
    /// The house number.
    pub house: u64,
    /// The street.
    pub street: &'static str,
    /// The last two digits of the postal code.
    pub postal: u64,
    /// The subscriber's year of birth.
    pub head_born: u64,
    /// Whether the first dependent is the spouse.
    pub has_spouse: bool,
    /// The source of the money.
    pub scheme: Scheme,
    /// The product bought.
    pub product: Coding,
    /// The insurer.
    pub payer: u64,
    /// Who holds the policy.
    pub holder: Holder,
    /// Whether the subscriber pays and no insurer does.
    pub pays_self: bool,
}

impl Household {
    /// Household `number`; those from [`FIRST_STRANGER`] on are single.
    pub fn new(population: &Population, number: u64) -> Self {
        let mut draw = population.draw(Purpose::Household, number);
        let drawn_kind = draw.weighted(&[
            (Kind::Single, 55),
            (Kind::Family, 17),
            (Kind::FamilyPolicy, 7),
            (Kind::SubscriberElsewhere, 13),
            (Kind::SubscriberRelated, 8),
        ]);
        let kind = if number >= FIRST_STRANGER { Kind::Single } else { drawn_kind };
        let members = match kind {
            Kind::Single => 1,
            Kind::Family | Kind::FamilyPolicy => draw.weighted(&[(2, 30), (3, 30), (4, 28), (5, 12)]),
            Kind::SubscriberElsewhere | Kind::SubscriberRelated => draw.weighted(&[(1, 45), (2, 35), (3, 20)]),
        };
        let origin = Origin::any(&mut draw);
        let head_born = match kind {
            Kind::Single => draw.between(1936, 2006),
            _ => draw.between(1964, 1998),
        };
        let age = 2026 - head_born;
        let scheme = match draw.below(100) {
            _ if age > 65 => Scheme::Medicare,
            0..16 => Scheme::Medicaid,
            _ => Scheme::Commercial,
        };
        let product = match scheme {
            Scheme::Commercial => draw.weighted(&COMMERCIAL),
            Scheme::Medicare => draw.weighted(&MEDICARE),
            Scheme::Medicaid => draw.weighted(&MEDICAID),
        };
        let employer = draw.popular(population.employers);
        let holder = match (scheme, draw.below(100)) {
            (Scheme::Commercial, 0..60) if kind == Kind::Single && age < 27 => Holder::Guardian,
            (Scheme::Commercial, 0..70) => Holder::Employer(employer),
            (Scheme::Commercial, 70..95) => Holder::Subscriber,
            _ => Holder::Unsaid,
        };
        Self {
            number,
            kind,
            members,
            origin,
            surname: origin.surname(&mut draw),
            place: draw.pick(&PLACES),
            house: draw.between(1, 9999),
            street: draw.pick(&STREETS),
            postal: draw.below(100),
            head_born,
            has_spouse: draw.per_mille(650),
            scheme,
            product,
            payer: draw.popular(population.payers),
            holder,
            pays_self: draw.per_mille(60) && holder == Holder::Subscriber,
        }
    }

    /// The number of the person at `position`, unique among all people.
    pub const fn person(&self, position: u64) -> u64 {
        self.number * position::LIMIT + position
    }

    /// The Patient at `position`.
    pub fn patient(&self, population: &Population, position: u64) -> Id {
        population.id(Resource::Patient, self.person(position))
    }

    /// The `RelatedPerson` at `position`.
    pub fn related(&self, population: &Population, position: u64) -> Id {
        population.id(Resource::RelatedPerson, self.person(position))
    }

    /// The subscriber: a member, another Patient or a `RelatedPerson`.
    pub fn subscriber(&self, population: &Population) -> Id {
        match self.kind {
            Kind::Single | Kind::Family | Kind::FamilyPolicy => self.patient(population, 0),
            Kind::SubscriberElsewhere => self.patient(population, position::SUBSCRIBER),
            Kind::SubscriberRelated => self.related(population, position::SUBSCRIBER),
        }
    }

    /// What the person at `position` is to the subscriber.
    pub const fn part(&self, position: u64) -> Part {
        let first_dependent = match self.kind {
            Kind::Single | Kind::Family | Kind::FamilyPolicy => 1,
            Kind::SubscriberElsewhere | Kind::SubscriberRelated => 0,
        };
        match position {
            position::SUBSCRIBER => Part::Subscriber,
            position::GUARDIAN => Part::Guardian,
            position::CONTACT.. => Part::Contact,
            _ if position < first_dependent => Part::Subscriber,
            _ if position == first_dependent && self.has_spouse => Part::Spouse,
            _ => Part::Child,
        }
    }

    /// The Coverage that the entry of the member at `position` names; `second` asks for the member's other one.
    pub fn coverage(&self, population: &Population, position: u64, second: bool) -> Id {
        let insured = if self.kind == Kind::FamilyPolicy { 0 } else { position };
        population.id(Resource::Coverage, self.person(insured) * 2 + u64::from(second))
    }
}

/// The households of the main list, in order.
#[derive(Clone, Debug)]
pub struct Households {
    population: Population,
    next: u64,
    members_left: u64,
}

impl Households {
    /// As many households as hold the first `members` members.
    pub const fn of(population: Population, members: u64) -> Self {
        Self { population, next: 0, members_left: members }
    }
}

impl Iterator for Households {
    type Item = Household;

    fn next(&mut self) -> Option<Household> {
        if self.members_left == 0 {
            return None;
        }
        let mut household = Household::new(&self.population, self.next);
        household.members = household.members.min(self.members_left);
        self.next += 1;
        self.members_left -= household.members;
        Some(household)
    }
}
