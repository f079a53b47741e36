//! Many values of one thing: which share of them is how large.

use serde_json::{Value, json};

use crate::figures::as_float;

/// Values in their order.
pub struct Spread(Vec<f64>);

impl Spread {
    /// The values, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value that this share of all (0 to 1) does not exceed; NaN of none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length is an index")]
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (as_float(self.0.len() as u64) * share).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Its figures.
    pub fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "least": self.quantile(0.0),
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "p99": self.quantile(0.99),
            "most": self.quantile(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_value_that_its_share_does_not_exceed() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        for (share, value) in [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((spread.quantile(share) - value).abs() < f64::EPSILON, "{share}");
        }
        assert!((Spread::of(vec![7.0]).quantile(0.95) - 7.0).abs() < f64::EPSILON);
        assert!(Spread::of(Vec::new()).quantile(0.5).is_nan());
    }
}
