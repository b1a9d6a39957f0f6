//! The file sink against the suite of faults.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use trapline_schemas::Format;
use trapline_sink::config::{Common, Factory, NoticeSettings};
use trapline_sink::conformance::{Case, Rig, Suite, events};
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, FaultKind, Outcome, StreamSink};
use trapline_sink_file::Settings;
use uuid::Uuid;

const NO_PEER: &str = "a local file has no peer that could answer, refuse or be unreachable";
const NO_NAME: &str = "a path is not resolved by name";

struct FileRig {
    _folder: tempfile::TempDir,
    path: PathBuf,
    sink: Arc<dyn StreamSink>,
}

#[async_trait]
impl Rig for FileRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }
    async fn heal(&mut self) {}
    fn stored(&self) -> Vec<Uuid> {
        ids(&self.path)
    }
}

fn ids(path: &Path) -> Vec<Uuid> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(id_of).collect()
}

fn id_of(line: &str) -> Uuid {
    let object: serde_json::Value = serde_json::from_str(line).unwrap();
    object["event"]["id"].as_str().unwrap().parse().unwrap()
}

fn build(path: &Path, format: Format) -> Arc<dyn StreamSink> {
    let common = Common {
        name: "archive".to_owned(),
        format,
        observer: "lure-test".to_owned(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    Settings {
        path: path.to_owned(),
        sync: true,
    }
    .build(&common)
    .unwrap()
}

fn start() -> FileRig {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    FileRig {
        sink: build(&path, Format::Ecs),
        path,
        _folder: folder,
    }
}

#[tokio::test]
async fn every_fault_is_run_or_declared() {
    let suite = Suite {
        name: "file",
        confirms: true,
        declared: &[
            (Case::Refused, NO_PEER),
            (Case::Slow, NO_PEER),
            (Case::HalfOpen, NO_PEER),
            (Case::Busy, NO_PEER),
            (Case::ServerError, NO_PEER),
            (Case::OneBad, "a file takes any line"),
            (Case::TooLarge, "a file takes any number of lines"),
            (Case::Unauthorized, NO_PEER),
            (Case::Forbidden, NO_PEER),
            (Case::Garbage, NO_PEER),
            (Case::Html, NO_PEER),
            (Case::Endless, NO_PEER),
            (Case::GzipBomb, NO_PEER),
            (Case::ShortBody, NO_PEER),
            (Case::ResetAfterStored, NO_PEER),
            (Case::TlsExpired, "a local file has no TLS"),
            (Case::TlsWrongHost, "a local file has no TLS"),
            (Case::TlsSelfSigned, "a local file has no TLS"),
            (Case::TlsPlainPort, "a local file has no TLS"),
            (Case::NameGone, NO_NAME),
            (Case::ResolverDead, NO_NAME),
            (Case::NameLost, NO_NAME),
        ],
        start: &|case| {
            Box::pin(async move { matches!(case, Case::Well | Case::Lone).then(|| Box::new(start()) as Box<dyn Rig>) })
        },
    };
    suite.run().await.unwrap();
}

#[tokio::test]
async fn where_it_writes_and_how_much_was_written_are_told() {
    let rig = start();
    assert_eq!(rig.sink.destination(), Some(rig.path.display().to_string()));
    assert_eq!(rig.sink.word(), None);
    assert_eq!(rig.sink.deliver(&events(2, false)).await, Delivery::all(2));
    let written = std::fs::metadata(&rig.path).unwrap().len();
    assert!(
        rig.sink
            .word()
            .unwrap()
            .starts_with(&format!("{written} bytes written"))
    );
}

#[tokio::test]
async fn what_was_not_written_is_sent_again_and_then_stands_once() {
    let rig = start();
    let batch = events(3, false);
    let other = std::fs::File::create(&rig.path).unwrap();
    other.lock().unwrap();
    let refused = rig.sink.deliver(&batch).await;
    assert_eq!(refused.outcomes, vec![Outcome::Retry; 3]);
    assert_eq!(refused.fault.unwrap().kind, FaultKind::Local);
    other.unlock().unwrap();
    assert_eq!(rig.sink.deliver(&batch).await, Delivery::all(3));
    assert_eq!(ids(&rig.path).len(), 3);
}

#[tokio::test]
async fn a_second_run_goes_on_where_the_first_ended() {
    let rig = start();
    let (first, second) = (events(3, false), events(2, false));
    rig.sink.deliver(&first).await;
    let again = build(&rig.path, Format::Ecs);
    again.deliver(&second).await;
    let expected: Vec<Uuid> = first.iter().chain(&second).map(|parcel| parcel.event.id).collect();
    assert_eq!(ids(&rig.path), expected);
}

#[tokio::test]
async fn every_format_is_one_line_an_event() {
    for format in Format::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        build(&path, *format).deliver(&events(4, false)).await;
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4, "{format:?}");
    }
}

#[tokio::test]
async fn building_the_sink_leaves_nothing_behind() {
    let rig = start();
    assert_eq!(rig.sink.check().await.unwrap(), "will be created");
    assert!(!rig.path.exists());
}

#[tokio::test]
async fn a_missing_folder_refuses_the_sink() {
    let common = Common {
        name: "archive".to_owned(),
        format: Format::Ecs,
        observer: String::new(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    let settings = Settings {
        path: "/nowhere/at/all/events.jsonl".into(),
        sync: true,
    };
    assert!(
        settings
            .build(&common)
            .err()
            .unwrap()
            .message
            .contains("does not exist")
    );
}
