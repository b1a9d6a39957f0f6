//! Reaching the brokers without sending anything: what they say of the topic.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::Producer as _;
use trapline_sink::{Fault, FaultKind};

use crate::client::{Producer, patience};
use crate::config::Settings;
use crate::fault::of_topic;
use crate::topic::Topic;

/// Asks for the topic, or for all of a pattern. Blocking, at most about `timeout`.
///
/// Errors: why the brokers or the topic cannot be used.
pub(crate) fn ask(producer: &Producer, settings: &Settings) -> Result<String, Fault> {
    let topic = &settings.topic;
    let metadata = producer
        .client()
        .fetch_metadata(topic.fixed(), patience(settings))
        .map_err(|error| unanswered(producer, &error, topic))?;
    match topic.fixed() {
        Some(name) => one(&metadata, name),
        None => some(&metadata, topic),
    }
}

fn unanswered(producer: &Producer, error: &KafkaError, topic: &Topic) -> Fault {
    let trouble = producer.context().trouble();
    trouble.unwrap_or_else(|| match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OperationTimedOut) | None => Fault {
            kind: FaultKind::Unreachable,
            message: "no broker answered within `timeout`".to_owned(),
        },
        Some(code) => of_topic(code, &topic.to_string()),
    })
}

fn one(metadata: &Metadata, name: &str) -> Result<String, Fault> {
    let missing = || of_topic(RDKafkaErrorCode::UnknownTopic, name);
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)
        .ok_or_else(missing)?;
    if let Some(error) = topic.error() {
        return Err(of_topic(error.into(), name));
    }
    let (partitions, leaderless) = (topic.partitions().len(), leaderless(topic));
    match (partitions, leaderless) {
        (0, _) => Err(missing()),
        (_, 0) => Ok(format!(
            "{}, topic `{name}` has {}",
            brokers(metadata),
            counted(partitions, "partition")
        )),
        _ => Err(Fault {
            kind: FaultKind::Server,
            message: format!("{leaderless} of {partitions} partitions of topic `{name}` have no leader"),
        }),
    }
}

/// A pattern's topics depend on events to come, so what is there is told and only nothing at all is a fault.
fn some(metadata: &Metadata, topic: &Topic) -> Result<String, Fault> {
    let fits = |found: &&MetadataTopic| found.error().is_none() && topic.may_be(found.name());
    match metadata.topics().iter().filter(fits).count() {
        0 => Err(of_topic(RDKafkaErrorCode::UnknownTopic, &topic.to_string())),
        count => Ok(format!(
            "{}, {} like `{topic}`",
            brokers(metadata),
            counted(count, "topic")
        )),
    }
}

fn leaderless(topic: &MetadataTopic) -> usize {
    topic
        .partitions()
        .iter()
        .filter(|partition| partition.leader() < 0)
        .count()
}

fn brokers(metadata: &Metadata) -> String {
    counted(metadata.brokers().len(), "broker")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
