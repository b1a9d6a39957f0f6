//! What a strict receiver keeps: records as OTLP JSON, and whatever is not as the documentation has it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trapline_sink::conformance::BAD_USER;
use uuid::Uuid;

/// What the receiver does with a record of [`BAD_USER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Poison {
    /// It takes it.
    #[default]
    None,
    /// It refuses the request.
    Request,
    /// It takes the rest, and says how many it refused.
    Record,
    /// It refuses every record, whosever, and says so.
    All,
    /// It breaks down over the request.
    Breaks,
    /// Something on the way blocks it.
    Filtered,
    /// Something on the way blocks it, and answers a page as if nothing were wrong.
    Page,
    /// Something on the way cuts the connection.
    Cut,
}

/// The receiver's answer to a request that it could read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All but so many.
    AllBut(usize),
    /// None: bad data.
    Invalid,
    /// None: too many at once.
    TooMany,
    /// None: it broke down.
    Broken,
    /// None: it was not let through.
    Blocked,
    /// None: a page was shown instead.
    Page,
    /// None: the connection is over.
    Cut,
}

/// What it keeps.
#[derive(Debug, Default)]
pub struct Store {
    /// Of events.
    pub records: Vec<Value>,
    /// About no event.
    pub controls: Vec<Value>,
    /// Resource and scope of each request with records.
    pub frames: Vec<(Value, Value)>,
    /// What was wrong with requests.
    pub wrong: Vec<String>,
    pub poison: Poison,
    /// Most records of a request; 0 is no bound.
    pub records_max: usize,
    /// Bytes of each request, uncompressed.
    pub sizes: Vec<usize>,
}

impl Store {
    /// Takes a request as far as it is right.
    pub fn take(&mut self, request: &Value, bytes: usize) -> Taken {
        self.sizes.push(bytes);
        let found = match split(request) {
            Ok(found) => found,
            Err(why) => {
                self.wrong.push(why);
                return Taken::Invalid;
            }
        };
        let Some((frame, records)) = found else {
            return Taken::AllBut(0);
        };
        let (controls, records): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record["eventName"] == "trapline.record_control");
        for record in &records {
            if let Err(why) = strict(record) {
                self.wrong.push(format!("{why}: {record}"));
            }
        }
        let bad = |record: &Value| self.poison != Poison::None && record.to_string().contains(BAD_USER);
        let (bad, good): (Vec<_>, Vec<_>) = records.into_iter().partition(bad);
        if self.records_max > 0 && bad.len() + good.len() > self.records_max {
            return Taken::TooMany;
        }
        match self.poison {
            Poison::Request if !bad.is_empty() => return Taken::Invalid,
            Poison::Breaks if !bad.is_empty() => return Taken::Broken,
            Poison::Filtered if !bad.is_empty() => return Taken::Blocked,
            Poison::Page if !bad.is_empty() => return Taken::Page,
            Poison::Cut if !bad.is_empty() => return Taken::Cut,
            _ => {}
        }
        if self.poison == Poison::All {
            return Taken::AllBut(controls.len() + bad.len() + good.len());
        }
        self.controls.extend(controls);
        self.records.extend(good);
        self.frames.push(frame);
        Taken::AllBut(bad.len())
    }

    /// Ids in order of arrival; nothing was wrong so far.
    pub fn ids(&self) -> Vec<Uuid> {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        let id = |record: &Value| {
            attributes(record)["event.id"]["stringValue"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        self.records.iter().map(id).collect()
    }
}

type Frame = ((Value, Value), Vec<Value>);

/// Resource, scope and records; `None` for a request without any.
fn split(request: &Value) -> Result<Option<Frame>, String> {
    let one = |of: &Value, name: &str| match of[name].as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one.clone()),
        other => Err(format!("{name} are {other:?}")),
    };
    if request["resourceLogs"].as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let of_resource = one(request, "resourceLogs")?;
    let of_scope = one(&of_resource, "scopeLogs")?;
    let records = of_scope["logRecords"].as_array().filter(|records| !records.is_empty());
    let records = records.ok_or("a scope without records")?.clone();
    Ok(Some((
        (of_resource["resource"].clone(), of_scope["scope"].clone()),
        records,
    )))
}

/// A record's attributes by name.
pub fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let pairs = of["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    pairs
        .iter()
        .map(|pair| {
            (
                pair["key"].as_str().unwrap_or_default().to_owned(),
                pair["value"].clone(),
            )
        })
        .collect()
}

/// Holds a record against the data model.
fn strict(record: &Value) -> Result<(), String> {
    const FIELDS: [&str; 7] = [
        "timeUnixNano",
        "severityNumber",
        "severityText",
        "body",
        "attributes",
        "observedTimeUnixNano",
        "eventName",
    ];
    let names: BTreeSet<&str> = record
        .as_object()
        .ok_or("no record")?
        .keys()
        .map(String::as_str)
        .collect();
    if names != FIELDS.into() {
        return Err(format!("fields are {names:?}"));
    }
    let nanos = |name: &str| record[name].as_str().and_then(|text| text.parse::<u64>().ok());
    let known = |time: Option<u64>| time.is_some_and(|time| time > 1_500_000_000_000_000_000);
    if !known(nanos("timeUnixNano")) || nanos("observedTimeUnixNano") < nanos("timeUnixNano") {
        return Err("times".to_owned());
    }
    if !record["severityNumber"]
        .as_i64()
        .is_some_and(|number| (1..=24).contains(&number))
    {
        return Err("severity".to_owned());
    }
    if !record["eventName"]
        .as_str()
        .is_some_and(|name| name.starts_with("trapline."))
    {
        return Err("event name".to_owned());
    }
    kinds(record)
}

/// Each attribute once, and of the kind that the conventions say.
fn kinds(record: &Value) -> Result<(), String> {
    let found = attributes(record);
    if record["attributes"].as_array().map(Vec::len) != Some(found.len()) {
        return Err("an attribute is there twice".to_owned());
    }
    for (name, kind) in [
        ("client.address", "stringValue"),
        ("client.port", "intValue"),
        ("event.id", "stringValue"),
        ("event.risk_score", "doubleValue"),
        ("network.transport", "stringValue"),
        ("server.address", "stringValue"),
        ("server.port", "intValue"),
        ("session.id", "stringValue"),
    ] {
        if found.get(name).and_then(|value| value.get(kind)).is_none() {
            return Err(format!("{name} is no {kind}: {:?}", found.get(name)));
        }
    }
    Ok(())
}
