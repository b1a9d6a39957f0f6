//! A producer of librdkafka, made from the settings.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use rdkafka::util::Timeout;
use tokio::sync::oneshot;
use trapline_sink::config::ExposeSecret;
use trapline_sink::{Fault, FaultKind};

use crate::config::{Sasl, Settings, TlsFiles};
use crate::context::{Context, Report};
use crate::fault::bounded;
use crate::stats;

/// Records that librdkafka keeps at most: some batches of ours.
const QUEUE_RECORDS: usize = 4096;
/// Memory that these take at most, in KiB; librdkafka's own bound is a GiB.
const QUEUE_KIB: usize = 32 * 1024;
/// What key, headers and framing of a record take at most.
const FRAME_BYTES: usize = 4096;
/// How long a topic may be missing before its records come back: one that was just made is not known everywhere.
const TOPIC_GRACE_MS: u64 = 5_000;

/// A producer with its thread. Dropped, it forgets what is in its queue; that may take half a second.
pub(crate) type Producer = ThreadedProducer<Context>;

/// Makes a producer, which connects when it has something to do. Blocking, short: it reads certificates.
///
/// In: `batch_bytes`, the most that one request carries for a partition.
pub(crate) fn producer(settings: &Settings, client_id: &str, batch_bytes: usize) -> Result<Producer, Fault> {
    let config = config(settings, client_id, batch_bytes);
    config
        .create_with_context(Context::default())
        .map_err(|error| refused(&error))
}

/// Puts a record into the producer's queue. Errors: why the producer does not take it.
pub(crate) fn enqueue(
    producer: &Producer,
    record: BaseRecord<'_, str, [u8], Box<oneshot::Sender<Report>>>,
) -> Result<(), RDKafkaErrorCode> {
    let sent = producer.send(record);
    sent.map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
}

/// Takes back what was not yet sent, and gives up waiting for what was.
pub(crate) fn purge(producer: &Producer) {
    producer.purge(PurgeConfig::default().queue().inflight());
}

/// Takes back what is not under way to a broker.
pub(crate) fn purge_queue(producer: &Producer) {
    producer.purge(PurgeConfig::default().queue());
}

/// Drops a producer on a thread of its own: it waits for its threads, which no task may.
pub(crate) fn retire<T: Send + 'static>(producer: T) {
    let thread = std::thread::Builder::new().name("kafka-retire".to_owned());
    if let Err(error) = thread.spawn(move || drop(producer)) {
        tracing::warn!(%error, "no thread to end a Kafka producer on, it was ended in place");
    }
}

/// How long a blocking call of librdkafka may take.
pub(crate) fn patience(settings: &Settings) -> Timeout {
    Timeout::After(settings.timeout)
}

fn config(settings: &Settings, client_id: &str, batch_bytes: usize) -> ClientConfig {
    let mut config = ClientConfig::new();
    let brokers: Vec<_> = settings.brokers.iter().map(ToString::to_string).collect();
    let (timeout, delivery) = (settings.timeout_ms(), settings.delivery_timeout.as_millis());
    for (key, value) in [
        ("bootstrap.servers", brokers.join(",")),
        ("client.id", client_id.to_owned()),
        ("enable.idempotence", "true".to_owned()),
        // Without it what stands behind a refused request is sent on, and overtakes it.
        ("enable.gapless.guarantee", "true".to_owned()),
        ("acks", "all".to_owned()),
        ("partitioner", "murmur2_random".to_owned()),
        ("compression.type", settings.compression.to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("topic.metadata.propagation.max.ms", TOPIC_GRACE_MS.to_string()),
        ("delivery.timeout.ms", delivery.to_string()),
        // What a broker may take for an answer, so that a silent one is left while there is time for another.
        ("request.timeout.ms", (delivery / 4).to_string()),
        ("socket.timeout.ms", (delivery / 3).to_string()),
        ("socket.connection.setup.timeout.ms", timeout.to_string()),
        ("api.version.request.timeout.ms", timeout.to_string()),
        ("socket.keepalive.enable", "true".to_owned()),
        ("reconnect.backoff.max.ms", "2000".to_owned()),
        ("linger.ms", "5".to_owned()),
        ("batch.size", batch_bytes.to_string()),
        (
            "message.max.bytes",
            (settings.event_bytes_max + FRAME_BYTES).to_string(),
        ),
        ("queue.buffering.max.messages", QUEUE_RECORDS.to_string()),
        ("queue.buffering.max.kbytes", QUEUE_KIB.to_string()),
        ("statistics.interval.ms", stats::INTERVAL_MS.to_string()),
        ("enable.metrics.push", "false".to_owned()),
        ("log.connection.close", "false".to_owned()),
    ] {
        config.set(key, value);
    }
    config.set("security.protocol", protocol(settings));
    settings.tls.iter().for_each(|files| encrypt(&mut config, files));
    settings.sasl.iter().for_each(|sasl| identify(&mut config, sasl));
    config.set_log_level(match tracing::enabled!(tracing::Level::DEBUG) {
        true => RDKafkaLogLevel::Info,
        false => RDKafkaLogLevel::Critical,
    });
    config
}

fn protocol(settings: &Settings) -> &'static str {
    match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

fn encrypt(config: &mut ClientConfig, files: &TlsFiles) {
    let path = |path: &std::path::Path| path.display().to_string();
    // An OpenSSL that was built in does not know where the system keeps its authorities: librdkafka looks around.
    let ca = files.ca.as_deref().map_or_else(|| "probe".to_owned(), path);
    config.set("ssl.ca.location", ca);
    config.set("ssl.endpoint.identification.algorithm", "https");
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        config.set("ssl.certificate.location", path(cert));
        config.set("ssl.key.location", path(key));
    }
}

fn identify(config: &mut ClientConfig, sasl: &Sasl) {
    config.set("sasl.mechanism", sasl.mechanism.to_uppercase());
    config.set("sasl.username", &sasl.user);
    config.set("sasl.password", sasl.password.expose_secret());
}

/// Why librdkafka makes no producer; the value of a setting is not told, it may be a secret.
fn refused(error: &KafkaError) -> Fault {
    let why = match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("this build does not take its setting `{key}`"),
        KafkaError::ClientCreation(why) => bounded(why),
        _ => "an error of librdkafka".to_owned(),
    };
    Fault {
        kind: FaultKind::Config,
        message: format!("no Kafka producer can be made: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::settings;

    #[test]
    fn every_setting_is_one_that_librdkafka_knows() {
        for compression in ["lz4", "zstd", "gzip", "snappy", "none"] {
            let settings = settings(&format!("compression = \"{compression}\""));
            drop(
                producer(&settings, "trapline-lure", 900_000)
                    .map_err(|fault| fault.message)
                    .unwrap(),
            );
        }
        let sasl = settings("sasl = { mechanism = \"plain\", user = \"u\", password = \"p\" }");
        assert!(producer(&sasl, "trapline-lure", 900_000).is_ok());
    }

    #[test]
    #[cfg(feature = "kafka-tls-system")]
    fn a_build_with_tls_takes_scram_and_certificates() {
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            let lines = format!("tls = {{}}\nsasl = {{ mechanism = \"{mechanism}\", user = \"u\", password = \"p\" }}");
            assert!(
                producer(&settings(&lines), "trapline-lure", 900_000).is_ok(),
                "{mechanism}"
            );
        }
    }

    #[test]
    fn a_refused_setting_is_named_without_its_value() {
        let mut config = ClientConfig::new();
        config.set("compression.type", "hush");
        let error = config.create_native_config().err().unwrap();
        let told = refused(&error).message;
        assert!(told.contains("`compression.type`") && !told.contains("hush"), "{told}");
    }

    #[test]
    fn the_queue_of_a_producer_holds_some_batches_and_no_more() {
        let config = config(&settings(""), "id", 900_000);
        assert_eq!(config.get("queue.buffering.max.kbytes"), Some("32768"));
        assert_eq!(config.get("queue.buffering.max.messages"), Some("4096"));
        assert_eq!(config.get("delivery.timeout.ms"), Some("60000"));
        assert_eq!(config.get("security.protocol"), Some("plaintext"));
    }
}
