//! Random data from a seed, so that what failed can be run again.

use std::fmt::Write as _;

/// A stream of numbers that a seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is 1 or more.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(things.len() as u64)).expect("a slice's length is a usize");
        &things[at]
    }
}

/// The base under which the data of [`list`] refers to its own resources, now and then.
pub const OWN_BASE: &str = "https://payer.example.org/fhir";

/// A point in time between those of `meta.lastUpdated` in the data of [`list`].
pub const SINCE: &str = "2020-01-01T00:00:00Z";

/// The resources of a small world and the list `Group/g` in it; see [`lists`].
pub fn list(seed: u64) -> Vec<String> {
    lists(seed, &["g"])
}

/// The resources of a small world and lists of these ids in it: few ids of each type, so that everything meets; some of
/// them missing; references of every form (standards §5.9 to §5.13).
pub fn lists(seed: u64, ids: &[&str]) -> Vec<String> {
    let mut world = World { random: Random::new(seed) };
    let mut lines = Vec::new();
    for (name, ids) in [
        ("Patient", 12),
        ("RelatedPerson", 5),
        ("Practitioner", 6),
        ("Organization", 6),
        ("Location", 5),
        ("Observation", 2),
    ] {
        for id in 0..ids {
            if !world.random.once_in(6) {
                let meta = world.meta();
                lines.push(format!(r#"{{"resourceType":"{name}","id":"{id}",{meta},"x":1.10}}"#));
            }
        }
    }
    for id in 0..10 {
        if !world.random.once_in(6) {
            lines.push(world.coverage(id));
        }
    }
    for id in 0..6 {
        if !world.random.once_in(6) {
            lines.push(world.role(id));
        }
    }
    for id in ids {
        lines.push(world.group(id));
    }
    lines
}

struct World {
    random: Random,
}

impl World {
    /// A third has changed since [`SINCE`].
    fn meta(&mut self) -> String {
        let year = if self.random.once_in(3) { 2021 } else { 2019 };
        format!(r#""meta":{{"lastUpdated":"{year}-06-06T00:00:00Z"}}"#)
    }

    fn reference(&mut self, types: &[&str]) -> String {
        let name = *self.random.pick(types);
        let id = self.random.below(14);
        match self.random.below(40) {
            0 => format!(r#"{{"reference":"{name}/{id}/_history/2"}}"#),
            1 => format!(r#"{{"reference":"{OWN_BASE}/{name}/{id}"}}"#),
            2 => format!(r#"{{"reference":"https://elsewhere.example.org/fhir/{name}/{id}"}}"#),
            3 => r##"{"reference":"#inside"}"##.to_owned(),
            4 => r#"{"reference":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}"#.to_owned(),
            5 => format!(r#"{{"type":"{name}","identifier":{{"value":"{id}"}}}}"#),
            6 => format!(r#"{{"reference":"{name}?identifier={id}"}}"#),
            7 => format!(r#"{{"reference":"{name}/a%2Fb"}}"#),
            _ => format!(r#"{{"reference":"{name}/{id}","display":"d"}}"#),
        }
    }

    fn field(&mut self, name: &str, types: &[&str]) -> String {
        if self.random.once_in(5) { String::new() } else { format!(r#","{name}":{}"#, self.reference(types)) }
    }

    fn references(&mut self, name: &str, types: &[&str], most: u64) -> String {
        let count = self.random.below(most + 1);
        let all: Vec<String> = (0..count).map(|_| self.reference(types)).collect();
        if all.is_empty() { String::new() } else { format!(r#","{name}":[{}]"#, all.join(",")) }
    }

    fn coverage(&mut self, id: u64) -> String {
        let mut line = format!(r#"{{"resourceType":"Coverage","id":"{id}",{}"#, self.meta());
        line += &self.field("beneficiary", &["Patient"]);
        line += &self.field("subscriber", &["Patient", "RelatedPerson"]);
        line += &self.field("policyHolder", &["Patient", "RelatedPerson", "Organization"]);
        line += &self.references("payor", &["Organization", "Patient", "RelatedPerson"], 2);
        line + r#","cost":25.00}"#
    }

    fn role(&mut self, id: u64) -> String {
        let mut line = format!(r#"{{"resourceType":"PractitionerRole","id":"{id}",{}"#, self.meta());
        line += &self.field("practitioner", &["Practitioner"]);
        line += &self.field("organization", &["Organization"]);
        line += &self.references("location", &["Location"], 3);
        line + "}"
    }

    fn group(&mut self, id: &str) -> String {
        const URL: &str = "http://hl7.org/fhir/us/davinci-atr/StructureDefinition/";
        let mut line = format!(r#"{{"resourceType":"Group","id":"{id}",{}"#, self.meta());
        line += &self.field("managingEntity", &["Organization", "PractitionerRole"]);
        if self.random.once_in(2) {
            let value = self.reference(&["Location", "Organization", "Practitioner", "PractitionerRole"]);
            let _ = write!(line, r#","characteristic":[{{"valueReference":{value}}}]"#);
        }
        let members = self.random.below(30);
        let members: Vec<String> = (0..members)
            .map(|_| {
                let mut extensions = Vec::new();
                let named: [(&str, &[&str], u64); 3] = [
                    ("ext-coverageReference", &["Coverage"], 1),
                    ("ext-attributedProvider", &["Practitioner", "PractitionerRole", "Organization"], 2),
                    (
                        "atr-any-resource-extension",
                        &["Observation", "Location", "Coverage", "PractitionerRole", "Group"],
                        6,
                    ),
                ];
                for (tail, types, one_in) in named {
                    if self.random.once_in(one_in) {
                        extensions
                            .push(format!(r#"{{"url":"{URL}{tail}","valueReference":{}}}"#, self.reference(types)));
                    }
                }
                let entity = if self.random.once_in(12) {
                    String::new()
                } else {
                    format!(r#""entity":{},"#, self.reference(&["Patient"]))
                };
                format!(r#"{{{entity}"extension":[{}]}}"#, extensions.join(","))
            })
            .collect();
        if members.is_empty() {
            line + "}"
        } else {
            format!(r#"{line},"member":[{}],"active":true}}"#, members.join(","))
        }
    }
}
