//! The deterministic stream: every value is a function of the seed, of what is drawn and of its number.
//!
//! `SplitMix64` (Steele, Lea, Flood 2014) is enough here: nothing is secret, a stream starts in two multiplications, and its
//! output is fixed by the algorithm rather than by the version of a package, so that the same seed gives the same bytes for good.

/// What a stream is drawn for; two purposes never share a stream, even for the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The four hexadecimal digits at the end of an id.
    Salt = 1,
    /// The size, kind, address and insurance of a household.
    Household,
    /// One person: name, birth, languages.
    Person,
    /// What of a Patient is not the person: identifiers, contact points, versions.
    Patient,
    /// What of a `RelatedPerson` is not the person.
    RelatedPerson,
    /// One coverage.
    Coverage,
    /// One member's place on the list.
    Membership,
    /// One practitioner.
    Practitioner,
    /// One practitioner's role.
    PractitionerRole,
    /// One organisation.
    Organization,
    /// One location.
    Location,
    /// The head of a list.
    List,
}

/// A stream of draws. Draws are made in a fixed order, so a new draw goes to the end or everything after it changes.
#[derive(Clone, Debug)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// The stream for `purpose` number `number` under `seed`.
    pub fn new(seed: u64, purpose: Purpose, number: u64) -> Self {
        let of_purpose = mixed(seed ^ mixed(purpose as u64));
        Self { state: mixed(of_purpose ^ number) }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.bits()) * u128::from(limit);
        u64::try_from(product >> 64).expect("the upper half of a product of two u64 is a u64")
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number below `limit` where low ones come more often, as a few practices see most patients.
    pub fn popular(&mut self, limit: u64) -> u64 {
        let one = self.below(limit);
        let other = self.below(limit);
        one.min(other)
    }

    /// True in `share` of a thousand draws.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// One of `choices`, each as likely as the others.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let position = self.below(choices.len() as u64);
        choices[usize::try_from(position).expect("a position in a slice is a usize")]
    }

    /// One of `choices`, as likely as its weight among all weights.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, u64)]) -> T {
        let total = choices.iter().map(|(_, weight)| weight).sum();
        let mut rest = self.below(total);
        for (choice, weight) in choices {
            if rest < *weight {
                return *choice;
            }
            rest -= weight;
        }
        unreachable!("a draw below the sum of the weights falls into one of them")
    }
}

fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Draw, Purpose};

    #[test]
    fn a_stream_is_the_published_splitmix64() {
        let mut draw = Draw { state: 1_234_567 };
        assert_eq!(draw.bits(), 6_457_827_717_110_365_317);
        assert_eq!(draw.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn seeds_purposes_and_numbers_give_different_streams() {
        let first = |seed, purpose, number| Draw::new(seed, purpose, number).bits();
        let mut seen = vec![
            first(0, Purpose::Person, 0),
            first(0, Purpose::Person, 1),
            first(1, Purpose::Person, 0),
            first(0, Purpose::Coverage, 0),
        ];
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }
}
