//! The kinds of metrics, each made from its row.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{Program, Row};

/// A kind of metric.
pub(super) trait Metric: Collector + Clone + 'static {
    /// A metric of this kind, with its labels.
    fn made(row: &Row) -> prometheus::Result<Self>;

    /// The metric of a row, in the registry if one of the programs shows it.
    fn registered(row: Option<&Row>, programs: &[Program], registry: &Registry) -> Self {
        let row = row.expect("each metric has its row");
        let metric = Self::made(row).expect("names, labels and buckets of the page are legal");
        if row.shown_by.iter().any(|program| programs.contains(program)) {
            registry.register(Box::new(metric.clone())).expect("each name stands on the page once");
        }
        metric
    }
}

fn options(row: &Row) -> Opts {
    Opts::new(row.name, row.help.trim())
}

fn labels(row: &Row) -> Vec<&'static str> {
    row.labels.iter().map(|(label, _)| *label).collect()
}

/// Brings every combination of the listed values into being; of none when a label's values are not listed.
fn begin<B: MetricVecBuilder>(metric: &MetricVec<B>, row: &Row) {
    let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
    for (_, values) in row.labels {
        let with =
            |combination: Vec<&'static str>| values.iter().map(move |value| [&combination[..], &[*value]].concat());
        combinations = combinations.into_iter().flat_map(with).collect();
    }
    for combination in combinations {
        metric.with_label_values(&combination);
    }
}

impl Metric for IntCounter {
    fn made(row: &Row) -> prometheus::Result<Self> {
        Self::with_opts(options(row))
    }
}

impl Metric for IntGauge {
    fn made(row: &Row) -> prometheus::Result<Self> {
        Self::with_opts(options(row))
    }
}

impl Metric for IntCounterVec {
    fn made(row: &Row) -> prometheus::Result<Self> {
        let metric = Self::new(options(row), &labels(row))?;
        begin(&metric, row);
        Ok(metric)
    }
}

impl Metric for HistogramVec {
    fn made(row: &Row) -> prometheus::Result<Self> {
        let options = HistogramOpts { common_opts: options(row), buckets: row.buckets.to_vec() };
        let metric = Self::new(options, &labels(row))?;
        begin(&metric, row);
        Ok(metric)
    }
}

/// A gauge says nothing before it was measured: 0 would be a measurement.
impl Metric for IntGaugeVec {
    fn made(row: &Row) -> prometheus::Result<Self> {
        Self::new(options(row), &labels(row))
    }
}

/// As an [`IntGaugeVec`] does.
impl Metric for GaugeVec {
    fn made(row: &Row) -> prometheus::Result<Self> {
        Self::new(options(row), &labels(row))
    }
}
