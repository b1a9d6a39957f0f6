//! Microsoft Sentinel: events as records of a Log Analytics table, by the Logs Ingestion API of Azure Monitor.
//!
//! ```toml
//! [sinks.sentinel]
//! type = "sentinel"
//! inputs = ["*"]
//! endpoint = "https://trapline-x1y2.westeurope-1.ingest.monitor.azure.com"
//! rule = "dcr-00000000000000000000000000000000"
//! tenant = "00000000-0000-0000-0000-000000000000"
//! client_id = "00000000-0000-0000-0000-000000000000"
//! client_secret = "${AZURE_CLIENT_SECRET}"
//! ```
//!
//! In: parcels. Out: `POST /dataCollectionRules/{rule}/streams/{stream}`, a JSON array of records, gzip. A record has the
//! columns of [`record::COLUMNS`], named as ASIM names them where it does, and the whole event in the column `Event`;
//! `config/vendors/sentinel-dcr.json` makes the table and the rule.
//! Invariants: 1 events are delivered when the service answered 204 and in no other case; 2 a request is within the
//! service's megabyte, and a column within what it keeps; 3 a token that is refused is renewed once, then that is a fault;
//! 4 a fault says whether it is the token endpoint's or the ingestion endpoint's, and what to do; 5 an event is at
//! fault only where the service takes, at that moment, a record that no event has a part in ([`record::CONTROL`]): what it
//! refuses of everybody is a fault of the settings, and nothing is lost.
//! It does not: make tables or rules, or keep doubles out: the service has no ids, so what was sent and not answered comes
//! twice, under the same `EventOriginalUid`.
//!
//! Source: Microsoft, "Logs Ingestion API in Azure Monitor", "Azure Monitor service limits", troubleshooting guides of its
//! client libraries; "Microsoft Entra authentication and authorization error codes".

mod answer;
mod config;
pub mod record;
mod sink;

pub use config::SINK;
