//! CloudWatch's embedded metric format.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// The directives of the embedded metric format: which members of a line are metrics. They are the same for every
/// request, except for the metric that only a call of the store has.
pub struct Metrics {
    without_store: Box<RawValue>,
    with_store: Box<RawValue>,
}

/// The member `_aws` of a line.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Directive<'a> {
    timestamp: i64,
    cloud_watch_metrics: &'a RawValue,
}

impl Metrics {
    /// Creates the directives for a namespace.
    pub fn new(namespace: &str) -> Self {
        let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
        let sets = |metrics: &[Value]| {
            to_raw_value(&json!([
                {"Namespace": namespace, "Dimensions": [["code"]], "Metrics": [metric("Requests", "Count")]},
                {"Namespace": namespace, "Dimensions": [[]], "Metrics": metrics},
            ]))
            .unwrap_or_default()
        };
        let (duration, cold_start) = (metric("Duration", "Milliseconds"), metric("ColdStart", "Count"));
        let store = metric("StoreDuration", "Milliseconds");
        Self {
            without_store: sets(&[duration.clone(), cold_start.clone()]),
            with_store: sets(&[duration, cold_start, store]),
        }
    }

    /// Returns the member `_aws` of a line with this time.
    pub fn directive(&self, now: DateTime<Utc>, with_store: bool) -> Directive<'_> {
        let cloud_watch_metrics = if with_store { &self.with_store } else { &self.without_store };
        Directive { timestamp: now.timestamp_millis(), cloud_watch_metrics }
    }
}
