//! Events into the OTLP receiver of the OpenTelemetry Collector itself (`tests/collector/main.go`), built with Go.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fake::place;
use fake::store::attributes;
use serde_json::Value;
use trapline_schemas::Format;
use trapline_sink::conformance::certs::Authority;
use trapline_sink::conformance::web::Place;
use trapline_sink::conformance::{Driver, events};
use trapline_sink::dial::Resolver;
use trapline_sink::stream::{FaultKind, Outcome};
use trapline_sink::stubborn::TRIES;
use trapline_sink::{Parcel, StreamSink};

/// The built receiver, or why there is none.
static COLLECTOR: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collector");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("otlp-collector");
    let build = Command::new("go")
        .args(["build", "-mod=readonly", "-buildvcs=false", "-o"])
        .arg(&built)
        .arg(".")
        .current_dir(source)
        .output();
    match build {
        Ok(output) if output.status.success() => Ok(built),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr)
            .lines()
            .last()
            .unwrap_or("go build failed")
            .to_owned()),
        Err(error) => Err(format!("go: {error}")),
    }
});

/// How long anything may take; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running collector; it ends with this.
struct Collector {
    child: Child,
    lines: Receiver<String>,
    grpc: u16,
    http: u16,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Collector {
    /// Starts one, with a certificate and its key if it shall speak TLS; `None`, said aloud, where it cannot be built.
    fn start(tls: Option<(PathBuf, PathBuf)>) -> Option<Self> {
        let program = match &*COLLECTOR {
            Ok(program) => program,
            Err(why) => {
                println!("SKIPPED the OpenTelemetry Collector: {why}");
                return None;
            }
        };
        // Somebody else may get a port between its choice and its use.
        (0..5)
            .find_map(|_| Self::started(program, &tls))
            .or_else(|| panic!("the collector does not start"))
    }

    fn started(program: &Path, tls: &Option<(PathBuf, PathBuf)>) -> Option<Self> {
        let (grpc, http) = (free_port(), free_port());
        let mut command = Command::new(program);
        command.args([format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}")]);
        if let Some((cert, key)) = tls {
            command.args([cert, key]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        let ready = lines.recv_timeout(PATIENCE).is_ok_and(|line| line == "ready");
        let collector = Self {
            child,
            lines,
            grpc,
            http,
        };
        ready.then_some(collector)
    }

    fn port(&self, protocol: &str) -> u16 {
        if protocol == "grpc" { self.grpc } else { self.http }
    }

    fn sink(&self, protocol: &str, format: Format) -> Arc<dyn StreamSink> {
        self.sink_of("trapline", protocol, format)
    }

    /// A sink of this service, by which the collector behaves.
    fn sink_of(&self, service: &str, protocol: &str, format: Format) -> Arc<dyn StreamSink> {
        let place = place(format!("http://127.0.0.1:{}", self.port(protocol)));
        let lines = format!("compression = \"gzip\"\nservice_name = \"{service}\"");
        fake::sink(protocol, &place, format, &lines)
    }

    /// The records of the next export that is about events.
    fn records(&self) -> Vec<Value> {
        let is_control = |records: &Vec<Value>| records.iter().any(|one| one["eventName"] == "trapline.record_control");
        let next = std::iter::repeat_with(|| self.export());
        next.take(1000).find(|records| !is_control(records)).unwrap()
    }

    fn export(&self) -> Vec<Value> {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        let logs: Value = serde_json::from_str(&line).unwrap();
        logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
            .as_array()
            .unwrap()
            .clone()
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];

fn ids(records: &[Value]) -> Vec<String> {
    let id = |record: &Value| {
        attributes(record)["event.id"]["stringValue"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    records.iter().map(id).collect()
}

fn sent_ids(sent: &[Arc<Parcel>]) -> Vec<String> {
    sent.iter().map(|parcel| parcel.event.id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_takes_every_record_as_it_was_meant() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for protocol in PROTOCOLS {
        let sink = collector.sink(protocol, Format::Text);
        assert_eq!(sink.check().await.unwrap(), "the receiver answers", "{protocol}");
        let sent = events(300, false);
        let delivery = sink.deliver(&sent).await;
        assert!(
            delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered),
            "{protocol} {delivery:?}"
        );
        let records = collector.records();
        assert_eq!(ids(&records), sent_ids(&sent), "{protocol}");
        understood(&records[0], &sent[0]);
    }
}

/// The record as the collector wrote it.
fn understood(record: &Value, sent: &Parcel) {
    let nanos = sent.event.at.micros() * 1000;
    assert_eq!(record["timeUnixNano"], nanos.to_string());
    assert_eq!(record["severityNumber"], 13);
    assert_eq!(record["severityText"], "Medium");
    assert_eq!(record["eventName"], "trapline.decoy_credential");
    assert!(record["body"]["stringValue"].as_str().unwrap().contains("user=root"));
    let found: BTreeMap<String, Value> = attributes(record);
    assert_eq!(found["client.address"]["stringValue"], "203.0.113.77");
    assert_eq!(found["server.port"]["intValue"], "22");
    assert_eq!(found["event.risk_score"]["doubleValue"], 50.0);
    assert!(
        found["event.category"]["arrayValue"]["values"]
            .as_array()
            .is_some_and(|values| values.len() > 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_takes_a_map_for_a_body() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for protocol in PROTOCOLS {
        for format in [Format::Ecs, Format::Ocsf] {
            let delivery = collector.sink(protocol, format).deliver(&events(1, false)).await;
            assert_eq!(delivery.outcomes, [Outcome::Delivered], "{protocol} {delivery:?}");
            let record = collector.records().remove(0);
            let body = record["body"]["kvlistValue"]["values"].as_array().unwrap();
            let of_the_form = if format == Format::Ecs {
                "@timestamp"
            } else {
                "class_uid"
            };
            assert!(
                body.iter().any(|pair| pair["key"] == of_the_form),
                "{protocol} {record}"
            );
        }
    }
}

/// What stands behind the collector is set wrong: nothing gets through, whatever it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_collector_cannot_pass_on_of_anybody_is_kept_and_told() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for protocol in PROTOCOLS {
        for (service, kind) in [("invalid", FaultKind::Config), ("permanent", FaultKind::Server)] {
            let sink = collector.sink_of(service, protocol, Format::Text);
            let lone = events(1, false);
            for _ in 0..2 * TRIES {
                let delivery = sink.deliver(&lone).await;
                let found = (delivery.outcomes, delivery.fault.as_ref().map(|fault| fault.kind));
                assert_eq!(
                    found,
                    (vec![Outcome::Retry], Some(kind)),
                    "{protocol} {service} {:?}",
                    delivery.fault
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_collector_breaks_down_over_is_found_and_named() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for protocol in PROTOCOLS {
        let sent = events(16, true);
        let mut driver = Driver::new(collector.sink_of("breaks", protocol, Format::Text), sent.clone());
        while !driver.is_done() {
            driver.step(PATIENCE).await.unwrap();
        }
        assert_eq!((driver.delivered().len(), driver.dead().len()), (15, 1), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_collector_refuses_is_found_and_named() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for protocol in PROTOCOLS {
        let sent = events(16, true);
        let mut driver = Driver::new(collector.sink(protocol, Format::Text), sent.clone());
        while !driver.is_done() {
            driver.step(PATIENCE).await.unwrap();
        }
        let [(dead, reason)] = driver.dead() else {
            panic!("{protocol} {:?}", driver.dead())
        };
        assert!(reason.contains("refused, as ordered"), "{protocol} {reason}");
        let mut expected = sent_ids(&sent);
        expected.retain(|id| *id != dead.to_string());
        let mut taken = Vec::new();
        while taken.len() < expected.len() {
            taken.extend(ids(&collector.records()));
        }
        taken.sort();
        expected.sort();
        assert_eq!(taken, expected, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_is_reached_by_tls_and_its_wrong_ports_are_told() {
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let identity = authority
        .issue("localhost")
        .unwrap()
        .write(folder.path(), "server")
        .unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let Some(collector) = Collector::start(Some(identity)) else {
        return;
    };
    let at = |port| Place {
        base: format!("https://localhost:{port}"),
        ca: Some(ca.clone()),
        resolver: Resolver::default(),
    };
    for protocol in PROTOCOLS {
        let sink = fake::sink(protocol, &at(collector.port(protocol)), Format::Text, "");
        let sent = events(3, false);
        let delivery = sink.deliver(&sent).await;
        assert!(
            delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered),
            "{protocol} {delivery:?}"
        );
        assert_eq!(ids(&collector.records()), sent_ids(&sent));
    }
    let at_http = fake::sink("grpc", &at(collector.http), Format::Text, "")
        .check()
        .await
        .unwrap_err();
    assert!(
        at_http.message.contains("HTTP") && at_http.kind != FaultKind::Server,
        "{at_http:?}"
    );
    let at_grpc = fake::sink("http/json", &at(collector.grpc), Format::Text, "")
        .check()
        .await
        .unwrap_err();
    assert!(at_grpc.message.contains("gRPC port"), "{at_grpc:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collectors_wrong_ports_are_told_in_clear() {
    let Some(collector) = Collector::start(None) else {
        return;
    };
    for (protocol, port, hint) in [
        ("grpc", collector.http, "OTLP/HTTP port"),
        ("http/protobuf", collector.grpc, "gRPC port"),
    ] {
        let place = place(format!("http://127.0.0.1:{port}"));
        let fault = fake::sink(protocol, &place, Format::Text, "")
            .check()
            .await
            .unwrap_err();
        assert!(fault.message.contains(hint), "{protocol} {fault:?}");
    }
}
