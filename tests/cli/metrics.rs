//! `metrics`: the figures of the instance, read by somebody else's reader.

use std::collections::BTreeMap;

use super::*;

/// Debian's own, which sees Debian's modules.
const PYTHON: &str = "/usr/bin/python3";

/// Reads the text with the parser of the Python client of Prometheus, which its server's tests trust; one JSON value.
const READ: &str = r#"
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
    assert family.name not in families, family
    families[family.name] = [[s.name, s.labels, s.value] for s in family.samples]
json.dump(families, sys.stdout)
"#;

fn metrics(trap: &Trap) -> String {
    let output = trap.trapline(&["metrics"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Samples without histograms' buckets, as the text has them.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let split = lines.map(|line| line.rsplit_once(' ').unwrap());
    split
        .map(|(key, value)| (key.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn what_happened_is_counted_and_nothing_of_the_peer_is_a_label() {
    let trap = Trap::start(&PLAIN.replace("[decoys.door]", "[limits]\nsessions_per_source = 1\n\n[decoys.door]"));
    let address = trap.address("door");
    let mut first = TcpStream::connect(address).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    first.read_exact(&mut [0; 4]).unwrap();
    let mut second = TcpStream::connect(address).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(second.read(&mut [0; 4]), Ok(0) | Err(_)), "it is closed");
    let peer = first.local_addr().unwrap();
    let found = eventually("the contact is delivered", || {
        let found = samples(&metrics(&trap));
        let delivered = found["trapline_sink_latency_seconds_count{sink=\"archive\"}"];
        let working = found["trapline_sink_state{sink=\"archive\",state=\"working\"}"];
        (delivered >= 1.0 && working == 1.0).then_some(found)
    });
    for (sample, value) in [
        ("trapline_contacts_total{decoy=\"door\",transport=\"tcp\"}", 2.0),
        ("trapline_hits_total{decoy=\"door\",action=\"decoy-connect\"}", 2.0),
        ("trapline_open_sessions", 1.0),
        ("trapline_sessions_total", 1.0),
        ("trapline_refused_sessions_total{reason=\"source\"}", 1.0),
        ("trapline_sink_info{sink=\"archive\",type=\"file\"}", 1.0),
        ("trapline_health_state{state=\"ok\"}", 1.0),
    ] {
        assert_eq!(found.get(sample), Some(&value), "{sample} in {found:#?}");
    }
    assert!(found["trapline_journal_commit_duration_seconds_count"] >= 1.0);
    assert!(found["trapline_process_cpu_seconds_total"] > 0.0);
    let said = metrics(&trap);
    assert!(
        !said.contains(&peer.to_string()) && !said.contains(&peer.port().to_string()),
        "{said}"
    );
    drop(first);
    eventually("the session has ended", || {
        (samples(&metrics(&trap))["trapline_open_sessions"] == 0.0).then_some(())
    });
}

#[test]
fn the_reader_of_prometheus_reads_every_family() {
    let trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    let said = metrics(&trap);
    let mut python = Command::new(PYTHON);
    python
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let has_parser = Command::new(PYTHON)
        .args(["-c", "import prometheus_client.parser"])
        .output();
    if !has_parser.is_ok_and(|tried| tried.status.success()) {
        println!("SKIPPED: python3-prometheus-client is not installed");
        return;
    }
    let mut reader = python.spawn().unwrap();
    reader.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let families: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ours = said.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families.as_object().unwrap().len(), ours);
    let read: usize = families
        .as_object()
        .unwrap()
        .values()
        .map(|all| all.as_array().unwrap().len())
        .sum();
    assert_eq!(read, said.lines().filter(|line| !line.starts_with('#')).count());
}
