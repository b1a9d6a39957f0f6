//! Apache Kafka: one record per event, from an idempotent producer.
//!
//! ```toml
//! [sinks.bus]
//! type = "kafka"
//! inputs = ["*"]
//! brokers = ["kafka-1.example:9093", "kafka-2.example:9093"]
//! topic = "honeyport.events"      # or with {site}, {observer}, {level}, {action}: "honeyport.{level}"
//! key = "source"                  # default: one source stays in order; observer | event | none
//! compression = "lz4"             # default; none | gzip | snappy | zstd
//! tls = { ca = "kafka-ca.pem" }   # "off" is the default; a table needs a build with the feature `kafka-tls`
//! sasl = { mechanism = "scram-sha-512", user = "lure", password = "${KAFKA_PASSWORD}" }
//! ```
//!
//! In: parcels. Out: records. The value is the event in `format`; the key is the source's address as text, so that the
//! partition of one source is its order; headers are `event.id`, `schema` (`ecs/9.4`), `content-type` and `observer`; the
//! timestamp is the event's. Partitions are chosen as Java producers do (murmur2).
//!
//! Invariants:
//! 1. An event is delivered when a report with an offset says so: all replicas in sync have it (`acks=all`).
//! 2. A topic's name is made of the configuration and of words of our own, never of what a peer sent; it is always legal.
//!    No topic is ever made: a missing one is an alarm, and its events wait.
//! 3. A producer that met a fault is dropped and a new one made for the next try: librdkafka keeps a refused topic, a
//!    fatal error and an epoch for as long as the producer lives.
//! 4. `deliver` comes back: at once where credentials or certificates are refused by all brokers, `timeout` after all
//!    brokers were lost, and soon after `delivery_timeout` in any case.
//! 5. Where the topic refuses a request as too large, requests become smaller; a record that is refused by itself becomes
//!    smaller and smaller by the drop order; what the topic refuses in its smallest form is a dead letter.
//! 6. Nothing overtakes what was refused: one source's events stay in order whatever becomes of a request.
//!
//! Doubles: sending again inside one delivery is the producer's business, and brokers drop what they have already. After
//! a fault nobody knows what was stored, so those events come again, under the same `event.id`.
//!
//! lz4 is the default because every client reads it and it costs the host least; zstd packs events about a third smaller,
//! and needs brokers and readers from 2018 on.
//!
//! It does not: consume, use transactions, make topics, or resolve names by itself. librdkafka does the latter, by the
//! system's resolver, and keeps no address of a name that is gone.
//!
//! Source: Kafka protocol guide; librdkafka 2.12, CONFIGURATION.md and INTRODUCTION.md ("Idempotent Producer").

mod check;
mod client;
mod config;
mod context;
mod fault;
mod ledger;
mod record;
mod send;
mod sink;
mod stats;
mod topic;

pub use config::SINK;
