//! How many there are of everything, and the ids: what can be said of any resource without making it.

use std::fmt::{self, Display};

use super::draw::{Draw, Purpose};

/// The types that are made, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// An attribution list.
    Group,
    /// A person who is insured.
    Patient,
    /// An insurance policy.
    Coverage,
    /// A person who is known because of a Patient.
    RelatedPerson,
    /// A physician or other clinician.
    Practitioner,
    /// What a practitioner does for which organisation and where.
    PractitionerRole,
    /// A payer, employer, clinic or settlement entity.
    Organization,
    /// A place of care.
    Location,
}

impl Resource {
    /// All types, in order.
    pub const ALL: [Self; 8] = [
        Self::Group,
        Self::Patient,
        Self::Coverage,
        Self::RelatedPerson,
        Self::Practitioner,
        Self::PractitionerRole,
        Self::Organization,
        Self::Location,
    ];

    /// The name in FHIR, e.g. `RelatedPerson`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::Patient => "Patient",
            Self::Coverage => "Coverage",
            Self::RelatedPerson => "RelatedPerson",
            Self::Practitioner => "Practitioner",
            Self::PractitionerRole => "PractitionerRole",
            Self::Organization => "Organization",
            Self::Location => "Location",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Group => "list",
            Self::Patient => "p",
            Self::Coverage => "c",
            Self::RelatedPerson => "rp",
            Self::Practitioner => "dr",
            Self::PractitionerRole => "role",
            Self::Organization => "org",
            Self::Location => "loc",
        }
    }
}

/// The type and id of a resource; shown as the id alone, e.g. `p-000000001-7f3a`.
///
/// The number makes it unique; the salt keeps anybody from relying on ids that can be counted up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// The type.
    pub resource: Resource,
    /// The number among those of its type.
    pub number: u64,
    salt: u64,
}

impl Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{:09}-{:04x}", self.resource.prefix(), self.number, self.salt)
    }
}

/// How many of a type the list may name, and how many more there are that nothing leads to.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Numbers below this are there to be drawn.
    pub used: u64,
    /// As many numbers after those are never drawn by anything that the list reaches.
    pub spare: u64,
}

impl Pool {
    /// One for each `share` members, at least `least`, and 4 % spare, at least 2.
    const fn one_for(members: u64, share: u64, least: u64) -> Self {
        let used = if members / share < least { least } else { members / share };
        let extra = if used / 25 < 2 { 2 } else { used / 25 };
        Self { used, spare: extra }
    }

    /// Used and spare together.
    pub const fn all(self) -> u64 {
        self.used + self.spare
    }

    /// The number of a spare one.
    pub fn spare(self, draw: &mut Draw) -> u64 {
        self.used + draw.below(self.spare)
    }
}

/// The whole population: its size, seed and pools.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// What all draws start from.
    pub seed: u64,
    /// People on the main list.
    pub members: u64,
    /// Clinicians.
    pub practitioners: Pool,
    /// Clinicians' roles.
    pub roles: Pool,
    /// Places of care.
    pub locations: Pool,
    /// Insurers.
    pub payers: u64,
    /// Employers that hold policies.
    pub employers: u64,
    /// Organisations that provide care, and spare ones (health systems that own clinics).
    pub clinics: Pool,
    /// Single people who are insured and on no list, save the first two, who are on the small one.
    pub strangers: u64,
}

/// What an organisation is; its number says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrganizationKind {
    /// The settlement entity that manages the lists.
    Settlement,
    /// An insurer.
    Payer,
    /// An employer.
    Employer,
    /// A provider of care.
    Clinic,
    /// The owner of clinics; nothing that the list reaches leads to it, save by `partOf`.
    System,
}

impl Population {
    /// The population around a list of `members` people.
    pub const fn new(seed: u64, members: u64) -> Self {
        let employers = if members / 250 < 6 { 6 } else { members / 250 };
        let strangers = if members / 40 < 4 { 4 } else { members / 40 };
        let more_payers = if members / 50_000 < 20 { members / 50_000 } else { 20 };
        Self {
            seed,
            members,
            practitioners: Pool::one_for(members, 20, 12),
            roles: Pool::one_for(members, 16, 16),
            locations: Pool::one_for(members, 80, 8),
            payers: 4 + more_payers,
            employers,
            clinics: Pool::one_for(members, 200, 6),
            strangers,
        }
    }

    /// A stream for `purpose` number `number` under this population's seed.
    pub fn draw(&self, purpose: Purpose, number: u64) -> Draw {
        Draw::new(self.seed, purpose, number)
    }

    /// The id of number `number` of type `resource`.
    pub fn id(&self, resource: Resource, number: u64) -> Id {
        let stream = (number << 3) | resource as u64;
        let salt = self.draw(Purpose::Salt, stream).below(0x1_0000);
        Id { resource, number, salt }
    }

    /// The settlement entity.
    pub fn settlement(&self) -> Id {
        self.id(Resource::Organization, 0)
    }

    /// Insurer number `index`, below [`Self::payers`].
    pub fn payer(&self, index: u64) -> Id {
        self.id(Resource::Organization, 1 + index)
    }

    /// Employer number `index`, below [`Self::employers`].
    pub fn employer(&self, index: u64) -> Id {
        self.id(Resource::Organization, 1 + self.payers + index)
    }

    /// Clinic number `index`; from `clinics.used` on it is a health system.
    pub fn clinic(&self, index: u64) -> Id {
        self.id(Resource::Organization, 1 + self.payers + self.employers + index)
    }

    /// How many organisations there are; their numbers are all below this.
    pub const fn organizations(&self) -> u64 {
        1 + self.payers + self.employers + self.clinics.all()
    }

    /// What organisation `number` is.
    pub const fn organization_kind(&self, number: u64) -> OrganizationKind {
        if number == 0 {
            OrganizationKind::Settlement
        } else if number <= self.payers {
            OrganizationKind::Payer
        } else if number <= self.payers + self.employers {
            OrganizationKind::Employer
        } else if number <= self.payers + self.employers + self.clinics.used {
            OrganizationKind::Clinic
        } else {
            OrganizationKind::System
        }
    }
}
