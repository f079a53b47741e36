//! What a seed lets happen to the system.

use std::time::Duration;

use crate::harness::mischief::Mix;
use crate::harness::random::Random;

/// The trouble of one seed. One kind excludes the other: only an attempt that is not killed is never held against its task.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Processes die at any call of a port or at any time, and stand still. A task may be started any number of times.
    Kills(Mix),
    /// Workers are stopped in good order, and calls of every port fail: no reason to lose one of the five tries.
    StopsAndFaults(Mix),
}

impl Trouble {
    /// Draws a mix of troubles: some of all that there are, each more often or less.
    pub fn draw(random: &mut Random) -> Self {
        let mut mix = Mix {
            dawdle: Duration::from_millis(*random.pick(&[2, 40, 40, 400])),
            hang: Duration::from_secs(5),
            delay: Duration::from_secs(*random.pick(&[1, 10, 60])),
            ..Mix::default()
        };
        // More of these, and no walk of seventy calls would ever come to its end.
        for rate in [&mut mix.fails, &mut mix.hangs] {
            *rate = often(random, &[60, 200, 1_000]);
        }
        for rate in [&mut mix.loses, &mut mix.doubles, &mut mix.delays, &mut mix.cuts] {
            *rate = often(random, &[10, 30, 100]);
        }
        if random.once_in(2) {
            return Self::StopsAndFaults(mix);
        }
        mix.hang = Duration::from_secs(*random.pick(&[5, 120]));
        mix.stop = Duration::from_secs(*random.pick(&[40, 200]));
        mix.stops = often(random, &[60, 300]);
        // A task of a dozen files has to come through all of them within its 65 tries.
        mix.late_objects = often(random, &[30, 100]);
        Self::Kills(mix)
    }

    /// What happens to calls and messages.
    pub fn mix(&self) -> &Mix {
        match self {
            Self::Kills(mix) | Self::StopsAndFaults(mix) => mix,
        }
    }

    /// How often a task may be started.
    pub fn attempts(&self, random: &mut Random) -> u32 {
        match self {
            Self::Kills(_) => 100_000,
            // Fewer than there are by default: none of them may be lost.
            Self::StopsAndFaults(_) => *random.pick(&[3, 5]),
        }
    }
}

/// One of these rates, or never.
fn often(random: &mut Random, rates: &[u64]) -> u64 {
    if random.once_in(2) { 0 } else { *random.pick(rates) }
}
