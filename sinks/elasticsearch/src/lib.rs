//! Elasticsearch and OpenSearch: events as documents, by the bulk API.
//!
//! ```toml
//! [sinks.search]
//! type = "elasticsearch"
//! inputs = ["*"]
//! endpoint = "https://es.example:9200"
//! api_key = "${ELASTIC_API_KEY}"
//! index = "logs-trapline.events-default"   # a data stream; any index will do
//! ```
//!
//! In: parcels. Out: `POST /_bulk`, NDJSON, gzip; the document is the event as ECS or OCSF has it.
//! Invariants: 1 a document's id is the event's, and it is created, not written over: a repeat is answered 409, which
//! means that it is there; 2 each event is judged by its own item, and an answer that has not exactly one item for each
//! event, under its id, is none; 3 only 400 of an item, by a word that is about documents, is an event's fault:
//! a missing index, a block for want of disk or a missing right alarms, and the event is tried again; 4 what the server
//! echoes of an event is cleaned and cut before it is shown; 5 where none of a request's events is taken, they are at
//! fault only if the index takes a document of ours (`event.action` is `record-control`) at that moment.
//! It does not: make indices or templates, route, update, or look for doubles beyond one backing index of a data stream.
//!
//! Source: Elastic, "Bulk API" (items, statuses, `filter_path`); OpenSearch, "Bulk"; answers of OpenSearch 2.19.

mod answer;
mod auth;
mod check;
mod config;
mod doubt;
mod request;
mod sink;

pub use config::SINK;
