//! Sample data: attribution lists that look like a payer's, of any length, from a seed.
//!
//! Everything is a function of the seed and of a number (`draw`), so nothing is kept: a list of a million members takes the
//! memory of one household and eight write buffers. The same settings give the same bytes.
//!
//! # The population
//!
//! About 2.3 resources a member, Patients and Coverages of 1.8 kB. Shares are of what the line is about; `N` is the number of
//! members.
//!
//! | what | how many |
//! |---|---|
//! | households | 55 % one member; 17 % subscriber and dependents, each with a Coverage; 7 % the same on one family Coverage, which several entries name; 13 % dependents of a Patient who is no member; 8 % dependents of a `RelatedPerson` |
//! | providers of a member | 3 % none; 2 % the settlement entity; 70 % one; 18 % two; 7 % three, one of each kind; one entry each |
//! | kinds of providers | half Practitioner, a third `PractitionerRole`, the rest Organization |
//! | entries | 70 % `nochange`, 15 % `new`, 9 % `changed` (half of these moved: one entry dropped, one new), 5 % `dropped`, 1 % `cancelled`; the last two are inactive |
//! | second Coverage | 15 % of Medicare, 2.5 % of others; one entry more |
//! | associated data | 7 % of members: a contact person, Location, Organization or Practitioner |
//! | contact persons | 5 % of members; 3 in 5 are associated data, the rest is out of reach |
//! | policy holders | employer, subscriber (Patient or `RelatedPerson`), guardian (`RelatedPerson`) or unsaid |
//! | payors | 4 insurers and more with `N`; 1 % or so pay themselves (Patient or `RelatedPerson`) |
//! | Practitioners, roles, Locations | N/20, N/16, N/80; one role in six has two or three locations |
//! | Organizations | employers N/250, clinics N/200, the insurers, one settlement entity |
//! | out of reach of the main list | N/40 Patients with Coverages, 4 % of Practitioners, roles, Locations and clinics, what the draw misses, and the small list |
//!
//! Every reference resolves. References that ATR does not walk (`Patient.generalPractitioner`, `Organization.partOf`,
//! `Location.managingOrganization`) often lead to what is out of reach, so that an export that walks too far shows.
//!
//! Two lists: the main one, and `<id>-small` with the first eight members of the main one and two people who are only there.
//!
//! Nobody is meant: NPIs begin with 9, social security numbers with 666, MBIs have an S in the second place, tax numbers begin
//! with 00, telephones are 555-01xx and mail goes to example.com; none of these is given to anybody.
//!
//! # Reading order
//!
//! `population` (how many, ids), `household` and `person` (who belongs together, who they are), `membership` (what a member is
//! to the list), then the resources: `list`, `patient`, `related_person`, `coverage`, `providers`. Below them `fhir`, `json`,
//! `names`, `draw`; beside them `folder`.

mod coverage;
mod draw;
mod fhir;
mod folder;
mod household;
mod json;
mod list;
mod membership;
mod names;
mod patient;
mod person;
mod population;
mod providers;
mod related_person;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use folder::Folder;
use household::{FIRST_STRANGER, Holder, Household, Households, Kind, MOST_MEMBERS, position};
use json::Line;
use list::Head;
use membership::Membership;
use population::{Population, Resource};

/// How many of the main list's members are on the small one too.
const SHARED_MEMBERS: u64 = 8;
/// How many strangers are on the small list.
const OWN_MEMBERS: u64 = 2;
/// Resources between two calls of `progress`.
const PROGRESS_STEP: u64 = 10_000;
/// The longest id of a list, so that the small one's is within FHIR's 64 characters.
const LONGEST_LIST_ID: usize = 58;

/// What to make and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// People on the main list, 1 to 40 million.
    pub members: u64,
    /// What everything is drawn from.
    pub seed: u64,
    /// The folder to write: new, empty, or from an earlier run, whose files are removed.
    pub out: PathBuf,
    /// The id of the main list's Group; `sample` if not given.
    pub list: Option<String>,
}

/// What has been made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The id of the main list's Group.
    pub list: String,
    /// Lines by type.
    pub resources: BTreeMap<&'static str, u64>,
    /// Bytes in all data files.
    pub bytes: u64,
}

/// Why nothing, or not all, was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too few or too many members.
    #[error("cannot make a list of {0} members: ask for 1 to {MOST_MEMBERS}")]
    Members(u64),
    /// Not an id in FHIR, or too long for the small list's suffix.
    #[error("`{0}` cannot be the id of a list: use 1 to {LONGEST_LIST_ID} letters, digits, `-` and `.`")]
    ListId(String),
    /// A file in the folder is not from an earlier run.
    #[error("{} was not written by `atr generate`: give a new or empty folder as --out", .0.display())]
    Foreign(PathBuf),
    /// The file system refused.
    #[error("failed to {doing} {}: check the rights and the room there, then run again", .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes the data files; the module's text says what is in them.
///
/// A run that is interrupted leaves `generated.marker` with `"complete": false` and files named `*.partial`; the next run removes
/// them. Fails with [`Error::Foreign`] and leaves all as it is if the folder holds anything that is not from an earlier run.
///
/// `progress` is called now and then with the number of resources written so far. The counts that come back are exact.
pub fn generate(settings: &Settings, progress: impl FnMut(u64)) -> Result<Generated, Error> {
    if settings.members == 0 || settings.members > MOST_MEMBERS {
        return Err(Error::Members(settings.members));
    }
    let list = settings.list.as_deref().unwrap_or("sample");
    let is_legal = list.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    if list.is_empty() || list.len() > LONGEST_LIST_ID || !is_legal {
        return Err(Error::ListId(list.to_owned()));
    }

    let population = Population::new(settings.seed, settings.members);
    let folder = Folder::take(settings)?;
    let mut run = Run { population, folder, line: Line::default(), written: 0, progress };
    run.main_list(list)?;
    run.small_list(&format!("{list}-small"))?;
    for number in 0..population.strangers {
        run.household(&Household::new(&population, FIRST_STRANGER + number), |_, _| Ok(()))?;
    }
    run.each(Resource::Practitioner, population.practitioners.all(), providers::practitioner)?;
    run.each(Resource::PractitionerRole, population.roles.all(), providers::practitioner_role)?;
    run.each(Resource::Organization, population.organizations(), providers::organization)?;
    run.each(Resource::Location, population.locations.all(), providers::location)?;
    run.folder.finish(settings, list.to_owned())
}

/// One run: the population, and where it goes.
struct Run<F> {
    population: Population,
    folder: Folder,
    line: Line,
    written: u64,
    progress: F,
}

impl<F: FnMut(u64)> Run<F> {
    /// The list's one line grows while the files of its members do, so that each household is made once.
    fn main_list(&mut self, id: &str) -> Result<(), Error> {
        let population = self.population;
        self.begin_list(Head { id, contract: 1, quantity: population.members, status: "final" })?;
        let mut is_first = true;
        for household in Households::of(population, population.members) {
            self.household(&household, |run, membership| run.list_entries(membership, &mut is_first))?;
        }
        self.end_list()
    }

    fn small_list(&mut self, id: &str) -> Result<(), Error> {
        let population = self.population;
        let shared = SHARED_MEMBERS.min(population.members);
        self.begin_list(Head { id, contract: 2, quantity: shared + OWN_MEMBERS, status: "open" })?;
        let strangers = (0..OWN_MEMBERS).map(|number| Household::new(&population, FIRST_STRANGER + number));
        let mut is_first = true;
        for household in Households::of(population, shared).chain(strangers) {
            for position in 0..household.members {
                self.list_entries(&Membership::new(&population, &household, position), &mut is_first)?;
            }
        }
        self.end_list()
    }

    fn begin_list(&mut self, head: Head<'_>) -> Result<(), Error> {
        self.line.clear();
        list::head(&mut self.line, &self.population, head);
        self.folder.write(Resource::Group, self.line.as_str())
    }

    fn list_entries(&mut self, membership: &Membership, is_first: &mut bool) -> Result<(), Error> {
        if !*is_first {
            self.folder.write(Resource::Group, ",")?;
        }
        *is_first = false;
        self.line.clear();
        list::entries(&mut self.line, membership);
        self.folder.write(Resource::Group, self.line.as_str())
    }

    fn end_list(&mut self) -> Result<(), Error> {
        self.folder.write(Resource::Group, list::TAIL)?;
        self.end_line(Resource::Group)
    }

    /// The people and coverages of a household; `on_member` gets each membership.
    fn household(
        &mut self,
        household: &Household,
        mut on_member: impl FnMut(&mut Self, &Membership) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for position in 0..household.members {
            let membership = Membership::new(&self.population, household, position);
            self.person(Resource::Patient, household, position)?;
            if position == 0 || household.kind != Kind::FamilyPolicy {
                self.coverage(household, position, false)?;
            }
            if membership.has_second_coverage {
                self.coverage(household, position, true)?;
            }
            if membership.has_contact {
                self.person(Resource::RelatedPerson, household, position::CONTACT + position)?;
            }
            on_member(self, &membership)?;
        }
        match household.kind {
            Kind::SubscriberElsewhere => {
                self.person(Resource::Patient, household, position::SUBSCRIBER)?;
            }
            Kind::SubscriberRelated => {
                self.person(Resource::RelatedPerson, household, position::SUBSCRIBER)?;
            }
            Kind::Single | Kind::Family | Kind::FamilyPolicy => {}
        }
        if household.holder == Holder::Guardian {
            self.person(Resource::RelatedPerson, household, position::GUARDIAN)?;
        }
        Ok(())
    }

    fn person(&mut self, resource: Resource, household: &Household, position: u64) -> Result<(), Error> {
        self.put(resource, |line, population| match resource {
            Resource::Patient => patient::patient(line, population, household, position),
            _ => related_person::related_person(line, population, household, position),
        })
    }

    fn coverage(&mut self, household: &Household, position: u64, second: bool) -> Result<(), Error> {
        self.put(Resource::Coverage, |line, population| {
            coverage::coverage(line, population, household, position, second);
        })
    }

    /// All resources of a type that is numbered from 0.
    fn each(&mut self, resource: Resource, count: u64, make: fn(&mut Line, &Population, u64)) -> Result<(), Error> {
        for number in 0..count {
            self.put(resource, |line, population| make(line, population, number))?;
        }
        Ok(())
    }

    fn put(&mut self, resource: Resource, make: impl FnOnce(&mut Line, &Population)) -> Result<(), Error> {
        self.line.clear();
        make(&mut self.line, &self.population);
        self.folder.write(resource, self.line.as_str())?;
        self.end_line(resource)
    }

    fn end_line(&mut self, resource: Resource) -> Result<(), Error> {
        self.folder.end_line(resource)?;
        self.written += 1;
        if self.written.is_multiple_of(PROGRESS_STEP) {
            (self.progress)(self.written);
        }
        Ok(())
    }
}
