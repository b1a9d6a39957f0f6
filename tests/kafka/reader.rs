//! What stands in a topic, as kcat reads it: another client, by the JSON that it prints.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A record.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i64,
    pub key: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub value: String,
}

impl Record {
    /// The event's id by the header.
    pub fn id(&self) -> &str {
        &self.headers["event.id"]
    }

    /// The event.
    pub fn event(&self) -> Value {
        serde_json::from_str(&self.value).unwrap()
    }
}

/// All records, by partition and offset; none while the topic cannot be read.
pub fn records(brokers: &str, topic: &str) -> Vec<Record> {
    let read = Command::new("timeout")
        .args([
            "30",
            "kcat",
            "-C",
            "-J",
            "-q",
            "-e",
            "-o",
            "beginning",
            "-b",
            brokers,
            "-t",
            topic,
        ])
        .output()
        .unwrap();
    let mut found: Vec<(i64, i64, Record)> = String::from_utf8(read.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| Some(record(&serde_json::from_str(line).ok()?)))
        .collect();
    found.sort_by_key(|(partition, offset, _)| (*partition, *offset));
    found.into_iter().map(|(_, _, record)| record).collect()
}

fn record(line: &Value) -> (i64, i64, Record) {
    let (partition, offset) = (line["partition"].as_i64().unwrap(), line["offset"].as_i64().unwrap());
    // Names and values in turn.
    let flat: Vec<_> = line["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let headers = flat
        .chunks_exact(2)
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    let record = Record {
        partition,
        key: line["key"].as_str().map(str::to_owned),
        headers: headers.collect(),
        value: line["payload"].as_str().unwrap_or_default().to_owned(),
    };
    (partition, offset, record)
}

/// The places in the journal of each key's events, in the order in which their first records came.
pub fn order_by_key(records: &[Record]) -> BTreeMap<String, Vec<u64>> {
    let mut seen = BTreeSet::new();
    let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records.iter().filter(|record| seen.insert(record.id().to_owned())) {
        let place = record.event()["honeyport"]["journal"]["sequence"].as_u64().unwrap();
        by_key
            .entry(record.key.clone().unwrap_or_default())
            .or_default()
            .push(place);
    }
    by_key
}
