//! What the writers of a run do: drawn from the seed before it begins, so that a seed is the same work each time, however
//! the threads fall.

use std::time::Duration;

use crate::harness::random::Random;

/// A step of somebody who loads as the product does.
pub struct Load {
    /// How long to wait before it.
    pub wait: Duration,
    /// What to load, or to delete where there is no body.
    pub writes: Writes,
}

/// What one transaction writes, two things or more: by `Type/id`, `None` to delete. A load does one or the other.
pub type Writes = Vec<(String, Option<String>)>;

/// A transaction by hand.
pub struct Late {
    /// How long to wait before it.
    pub wait: Duration,
    /// Where its stamp is to be.
    pub stamp: Stamp,
    /// What it writes.
    pub writes: Writes,
    /// How long to wait between writing and the end.
    pub hold: Duration,
    /// Whether it commits.
    pub commits: bool,
}

/// Where in its millisecond a stamp is, for the sake of those who are wrong by a microsecond.
#[derive(Clone, Copy)]
pub enum Stamp {
    /// Where it was taken.
    Taken,
    /// As soon as a stamp can be after the transaction time that is given beside it.
    Earliest,
    /// So many microseconds after the next whole millisecond, which is waited for.
    Next(i64),
}

/// How long a load of the list is held up by somebody else when it has its stamp already.
pub struct Block {
    pub wait: Duration,
    pub hold: Duration,
}

/// The work of a run.
pub struct Work {
    pub world: Vec<String>,
    pub loads: Vec<Vec<Load>>,
    pub late: Vec<Late>,
    pub blocks: Vec<Block>,
    /// How long each of the clients that export waits between two exports.
    pub pauses: [Duration; 4],
}

/// How many ids there are of each type. What refers to something draws from one more: that one never is there.
const IDS: [(&str, u64); 8] = [
    ("Patient", 8),
    ("RelatedPerson", 3),
    ("Practitioner", 3),
    ("Organization", 4),
    ("Location", 3),
    ("Observation", 2),
    ("Coverage", 6),
    ("PractitionerRole", 3),
];

/// Draws all of it.
pub fn work(seed: u64) -> Work {
    let mut seeds = Random::new(seed);
    let mut first = Draws::new("world", seeds.next());
    let world = first.world();
    let loads = ["loader-1", "loader-2"].map(|who| {
        let mut draws = Draws::new(who, seeds.next());
        draws.members.clone_from(&first.members);
        (0..24).map(|_| draws.load()).collect()
    });
    let mut draws = Draws::new("late", seeds.next());
    let late = (0..14).map(|_| draws.late()).collect();
    let blocks = (0..5).map(|_| Block { wait: draws.millis(300), hold: draws.millis(120) }).collect();
    let pauses = [draws.millis(20), draws.millis(60), draws.millis(300), draws.millis(60)];
    Work { world, loads: loads.into(), late, blocks, pauses }
}

struct Draws {
    who: &'static str,
    random: Random,
    /// How many transactions it has drawn: with its name it tells versions apart.
    count: u32,
    members: Vec<Member>,
}

/// A member of the list: the number of a Patient, of a Coverage, a provider, and something else that is named beside them.
#[derive(Clone)]
struct Member {
    patient: u64,
    coverage: u64,
    provider: String,
    other: Option<String>,
}

impl Draws {
    fn new(who: &'static str, seed: u64) -> Self {
        Self { who, random: Random::new(seed), count: 0, members: Vec::new() }
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.below(most + 1))
    }

    /// Four of five things that may be, and the list.
    fn world(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, ids) in IDS {
            for id in 0..ids {
                if !self.random.once_in(5) {
                    lines.push(self.body(name, id));
                }
            }
        }
        self.members = (0..4).map(|_| self.member()).collect();
        lines.push(self.group());
        lines
    }

    fn load(&mut self) -> Load {
        self.count += 1;
        let wait = self.millis(50);
        let writes = match self.random.below(10) {
            0..=2 => {
                self.change_list();
                let group = ("Group/g".to_owned(), Some(self.group()));
                let other = self.several(1).remove(0);
                vec![group, other]
            }
            3..=5 => self.several(2).into_iter().map(|(key, _)| (key, None)).collect(),
            _ => {
                let most = 2 + self.random.below(3);
                self.several(most)
            }
        };
        Load { wait, writes }
    }

    fn late(&mut self) -> Late {
        self.count += 1;
        let stamp = match self.random.below(6) {
            0..=1 => Stamp::Earliest,
            2 => Stamp::Next(-1),
            3 => Stamp::Next(0),
            4 => Stamp::Next(1),
            _ => Stamp::Taken,
        };
        let writes = self.several(3).into_iter();
        let random = &mut self.random;
        let writes = writes.map(|(key, body)| (key, body.filter(|_| !random.once_in(3)))).collect();
        let wait = self.millis(60);
        // Most are short: while one holds its turn, nobody else writes.
        let longest = *self.random.pick(&[5, 60, 300]);
        Late { wait, stamp, writes, hold: self.millis(longest), commits: !self.random.once_in(4) }
    }

    /// New versions of so many different things.
    fn several(&mut self, count: u64) -> Writes {
        let mut writes = Writes::new();
        while (writes.len() as u64) < count {
            let (name, ids) = *self.random.pick(&IDS);
            let id = self.random.below(ids);
            let key = format!("{name}/{id}");
            if writes.iter().all(|(other, _)| *other != key) {
                let body = self.body(name, id);
                writes.push((key, Some(body)));
            }
        }
        writes
    }

    /// Somebody joins or comes back, leaves, or gets another Coverage or provider.
    fn change_list(&mut self) {
        for _ in 0..=self.random.below(3) {
            let count = self.members.len() as u64;
            if count < 3 || (count < 8 && self.random.once_in(3)) {
                let member = self.member();
                self.members.push(member);
                continue;
            }
            let at = usize::try_from(self.random.below(count)).expect("there are few");
            if self.random.once_in(2) {
                self.members.remove(at);
            } else {
                let new = self.member();
                let old = &mut self.members[at];
                (old.coverage, old.provider, old.other) = (new.coverage, new.provider, new.other);
            }
        }
    }

    fn member(&mut self) -> Member {
        let provider = self.target(&["Practitioner", "PractitionerRole", "Organization"]);
        let other = self.random.once_in(3).then(|| self.target(&["Observation", "Location", "RelatedPerson"]));
        Member { patient: self.random.below(8), coverage: self.random.below(7), provider, other }
    }

    /// The list with its members.
    fn group(&mut self) -> String {
        const URL: &str = "http://hl7.org/fhir/us/davinci-atr/StructureDefinition/";
        let extension = |tail: &str, target: &str| {
            format!(r#"{{"url":"{URL}{tail}","valueReference":{{"reference":"{target}"}}}}"#)
        };
        let members: Vec<String> = self
            .members
            .iter()
            .map(|Member { patient, coverage, provider, other }| {
                let mut extensions = vec![
                    extension("ext-coverageReference", &format!("Coverage/{coverage}")),
                    extension("ext-attributedProvider", provider),
                ];
                extensions.extend(other.iter().map(|other| extension("atr-any-resource-extension", other)));
                format!(r#"{{"extension":[{}],"entity":{{"reference":"Patient/{patient}"}}}}"#, extensions.join(","))
            })
            .collect();
        let (version, manager) = (self.version(), self.target(&["Organization", "PractitionerRole"]));
        format!(
            r#"{{"resourceType":"Group","id":"g","name":"{version}","managingEntity":{{"reference":"{manager}"}},"member":[{}],"actual":true}}"#,
            members.join(",")
        )
    }

    /// A new version of something, with what it refers to drawn anew.
    fn body(&mut self, name: &str, id: u64) -> String {
        let fields = match name {
            "RelatedPerson" => [self.field("patient", &["Patient"], 8)].concat(),
            "Coverage" => [
                self.field("beneficiary", &["Patient"], 8),
                self.field("subscriber", &["Patient", "RelatedPerson"], 4),
                self.field("policyHolder", &["Patient", "RelatedPerson", "Organization"], 2),
                format!(r#","payor":[{{"reference":"{}"}}]"#, self.target(&["Organization", "RelatedPerson"])),
            ]
            .concat(),
            "PractitionerRole" => [
                self.field("practitioner", &["Practitioner"], 4),
                self.field("organization", &["Organization"], 4),
                format!(r#","location":[{{"reference":"{}"}}]"#, self.target(&["Location"])),
            ]
            .concat(),
            _ => String::new(),
        };
        format!(r#"{{"resourceType":"{name}","id":"{id}","version":"{}"{fields}}}"#, self.version())
    }

    fn version(&self) -> String {
        format!("{}.{}", self.who, self.count)
    }

    /// A reference in a field, or, once in so many times, none.
    fn field(&mut self, field: &str, types: &[&str], none_in: u64) -> String {
        if self.random.once_in(none_in) {
            return String::new();
        }
        format!(r#","{field}":{{"reference":"{}"}}"#, self.target(types))
    }

    fn target(&mut self, types: &[&str]) -> String {
        let name = *self.random.pick(types);
        let ids = IDS.iter().find(|(other, _)| *other == name).map_or(0, |(_, ids)| *ids);
        format!("{name}/{}", self.random.below(ids + 1))
    }
}
