//! Families of metrics in the form that the library encodes. Their numbers were counted elsewhere: the library's own
//! counters would be a second set.

use std::time::Duration;

use hdrhistogram::Histogram as Ages;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Families in the order they are written.
#[derive(Default)]
pub(super) struct Families(pub(super) Vec<MetricFamily>);

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.push(name, help, MetricType::COUNTER, vec![counter(value as f64)]);
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str, value: Duration) {
        self.push(name, help, MetricType::COUNTER, vec![counter(value.as_secs_f64())]);
    }

    pub(super) fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        let metrics = values.iter().map(|(of, value)| labelled(counter(*value as f64), label, of)).collect();
        self.push(name, help, MetricType::COUNTER, metrics);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.push(name, help, MetricType::GAUGE, vec![gauge(value)]);
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        let metrics = values.iter().map(|(of, value)| labelled(gauge(*value), label, of)).collect();
        self.push(name, help, MetricType::GAUGE, metrics);
    }

    /// Gauges that count something.
    pub(super) fn gauges_of(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        let values: Vec<_> = values.iter().map(|(of, value)| (*of, *value as f64)).collect();
        self.gauges(name, help, label, &values);
    }

    /// A histogram of what was recorded in microseconds.
    pub(super) fn ages(&mut self, name: &str, help: &str, ages_us: &Ages<u64>) {
        let mut histogram = Histogram::default();
        let buckets = AGE_BOUNDS_MS.iter().map(|bound_ms| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound_ms as f64 / 1e3);
            bucket.set_cumulative_count(ages_us.count_between(0, bound_ms * 1000));
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(ages_us.len());
        histogram.set_sample_sum(ages_us.mean() * ages_us.len() as f64 / 1e6);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        // A family without a metric is an error to the encoder; that is a relay without shards.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn counter(value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn gauge(value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    metric
}

fn labelled(mut metric: Metric, label: &str, of: &str) -> Metric {
    let mut pair = LabelPair::default();
    pair.set_name(label.to_owned());
    pair.set_value(of.to_owned());
    metric.set_label(vec![pair]);
    metric
}

/// A client that keeps up stays below 50 ms; at 400 ms datagrams are dropped.
const AGE_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 400, 1000];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_the_buckets_above_them() {
        let mut ages = crate::shard::ports::empty_histogram();
        for us in [500, 1_500, 30_000, 399_000] {
            ages.record(us).unwrap();
        }
        let mut families = Families::default();
        families.ages("age", "Help.", &ages);
        let histogram = families.0[0].get_metric()[0].get_histogram();
        let counts: Vec<u64> = histogram.get_bucket().iter().map(Bucket::cumulative_count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2, 3, 3, 3, 4, 4]);
        assert!((histogram.get_sample_sum() - 0.431).abs() < 0.01);
    }
}
