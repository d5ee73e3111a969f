//! Encoding of series that are measured at a scrape.

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};
use std::{collections::BTreeMap, fmt};

/// Encodes a gauge with its samples, if it has any.
pub(super) fn gauge<const N: usize, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([(&'static str, &'static str); N], V)>,
) -> fmt::Result {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    samples.try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
}

/// Encodes a gauge without labels, if it has a value.
pub(super) fn single<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: Option<V>,
) -> fmt::Result {
    gauge(encoder, name, help, value.map(|value| ([], value)))
}

/// Encodes a gauge labelled with states, each counted under the first name and shown as the second.
pub(super) fn by_state(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    counts: &BTreeMap<String, u64>,
    states: &[(&'static str, &'static str)],
) -> fmt::Result {
    let samples = states.iter().map(|(state, shown)| ([("state", *shown)], counts.get(*state).copied().unwrap_or(0)));
    gauge(encoder, name, help, samples)
}

/// Encodes a counter without labels; `_total` is appended to its name.
pub(super) fn counter(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: impl EncodeCounterValue,
) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}
