//! What was recorded, used once more: dead letters, replays, exports, backups.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A collector that answers as told, and keeps what it took.
struct Collector {
    address: SocketAddr,
    ids: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    refuses: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            ids: Default::default(),
            refuses: Default::default(),
        };
        let (ids, refuses) = (collector.ids.clone(), collector.refuses.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (ids, refuses) = (ids.clone(), refuses.clone());
                std::thread::spawn(move || serve(stream, &ids, &refuses));
            }
        });
        collector
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }

    fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, std::sync::atomic::Ordering::SeqCst);
    }

    /// A sink that sends to it.
    fn sink(&self) -> String {
        format!(
            "[sinks.siem]\ntype = \"splunk_hec\"\ninputs = [\"decoys\"]\nendpoint = \"http://{}\"\ntoken = \"00000000-0000-0000-0000-000000000000\"\nacknowledge = false\ncompression = \"none\"\n",
            self.address
        )
    }
}

/// Answers requests of one connection: the ids of what it took are kept.
fn serve(
    stream: TcpStream,
    ids: &std::sync::Mutex<Vec<String>>,
    refuses: &std::sync::atomic::AtomicBool,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let answer = if refuses.load(std::sync::atomic::Ordering::SeqCst) {
            let text = "{\"text\":\"Invalid data format\",\"code\":6}";
            format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        } else {
            let events = serde_json::Deserializer::from_slice(&body).into_iter::<serde_json::Value>();
            let taken = events.flatten().filter_map(|event| {
                Some(
                    event["event"]["event"]["id"]
                        .as_str()
                        .or(event["event"]["event.id"].as_str())?
                        .to_owned(),
                )
            });
            ids.lock().unwrap().extend(taken);
            let text = "{\"text\":\"Success\",\"code\":0}";
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        };
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// The configuration holds a token.
fn keep_private(trap: &Trap) {
    std::fs::set_permissions(trap.config(), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The rows of `dead-letters list`.
fn letters(trap: &Trap) -> Vec<serde_json::Value> {
    let listed = trap.trapline(&["dead-letters", "list", "--json", "--limit", "0"]);
    assert_eq!(listed.status.code(), DONE, "{}", text(&listed.stderr));
    lines(&listed.stdout)
}

fn connects(trap: &Trap) -> Vec<String> {
    let connects = trap.events(&["--limit", "0", "--action", "decoy-connect"]);
    connects
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

fn stop(trap: &mut Trap) {
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE, "{}", trap.log());
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[test]
fn dead_letters_are_listed_retried_and_dropped_with_an_instance_and_without() {
    let collector = Collector::start();
    collector.refuse(true);
    let mut trap = Trap::idle(&format!("{PLAIN}\n{}", collector.sink()));
    keep_private(&trap);
    trap.launch();
    let door = trap.address("door");
    (0..3).for_each(|_| drop(touch(door)));
    let refused = eventually("all were refused", || {
        Some(letters(&trap)).filter(|letters| letters.len() >= 3)
    });
    assert!(
        refused
            .iter()
            .all(|row| row["sink"] == "siem" && row["reason"].as_str().unwrap().contains("400"))
    );
    assert!(
        refused
            .iter()
            .all(|row| row["event_id"].is_string() && row["retrying"] == false),
        "{refused:#?}"
    );
    let first = refused[0]["id"].as_str().unwrap();
    let shown = trap.trapline(&["dead-letters", "show", first]);
    assert!(
        text(&shown.stdout).contains(refused[0]["event_id"].as_str().unwrap()),
        "{}",
        text(&shown.stdout)
    );
    let table = text(&trap.trapline(&["dead-letters", "list", "--sink", "siem"]).stdout);
    assert!(
        table.contains("REASON") && table.contains(first) && !table.contains('\x1b'),
        "{table}"
    );
    for wrong in [
        &["dead-letters", "retry"][..],
        &["dead-letters", "drop"],
        &["dead-letters", "retry", "siem/999999"],
        &["dead-letters", "list", "--sink", "siam"],
        &["dead-letters", "drop", "x"],
    ] {
        assert_eq!(trap.trapline(wrong).status.code(), USAGE, "{wrong:?}");
    }
    collector.refuse(false);
    let one = trap.trapline(&["dead-letters", "retry", first]);
    assert_eq!(one.status.code(), DONE, "{}", text(&one.stderr));
    assert!(
        text(&one.stdout).contains("1 dead letter (siem 1) sent"),
        "{}",
        text(&one.stdout)
    );
    eventually("it is delivered", || {
        (letters(&trap).len() == refused.len() - 1).then_some(())
    });
    assert_eq!(collector.ids(), [refused[0]["event_id"].as_str().unwrap()]);
    stop(&mut trap);
    let left = letters(&trap);
    assert_eq!(left.len(), refused.len() - 1, "the file says the same");
    let dropped = trap.trapline(&["dead-letters", "drop", left[0]["id"].as_str().unwrap(), "--json"]);
    assert_eq!(dropped.status.code(), DONE, "{}", text(&dropped.stderr));
    assert_eq!(json(&dropped)["sinks"]["siem"], 1);
    let marked = trap.trapline(&["dead-letters", "retry", "--all"]);
    assert!(
        text(&marked.stdout).contains("when trapline runs"),
        "{}",
        text(&marked.stdout)
    );
    assert!(letters(&trap).iter().all(|row| row["retrying"] == true));
    trap.launch();
    eventually("the rest is delivered", || letters(&trap).is_empty().then_some(()));
    let expected: Vec<_> = refused
        .iter()
        .map(|row| row["event_id"].as_str().unwrap().to_owned())
        .collect();
    let gone = left[0]["event_id"].as_str().unwrap();
    let expected: Vec<_> = expected.into_iter().filter(|id| id != gone).collect();
    assert_eq!(sorted(collector.ids()), sorted(expected), "each once");
    let gaps = trap.events(&["--action", "journal-gap"]);
    let told = gaps
        .iter()
        .filter(|gap| gap["event.reason"].as_str().unwrap().contains("operator dropped"));
    assert_eq!(told.count(), 1, "{gaps:#?}");
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
}

#[test]
fn what_was_recorded_is_replayed_into_a_new_collector_every_id_once() {
    let collector = Collector::start();
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    (0..60).for_each(|_| drop(touch(door)));
    let recorded = eventually("all is recorded", || {
        Some(connects(&trap)).filter(|ids| ids.len() == 60)
    });
    keep_private(&trap);
    trap.configure(&format!("{PLAIN}\n{}", collector.sink()));
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    assert_eq!(trap.trapline(&["replay", "--sink", "siem"]).status.code(), USAGE);
    assert_eq!(
        trap.trapline(&["replay", "--sink", "sim", "--since", "1d"])
            .status
            .code(),
        USAGE
    );
    let dry = trap.trapline(&["replay", "--sink", "siem", "--since", "1d", "--dry-run", "--json"]);
    let would = json(&dry)["sent"].as_u64().unwrap();
    assert!(would >= 60 && collector.ids().is_empty(), "{would}");
    let replayed = trap.trapline(&["replay", "--sink", "siem", "--since", "1d"]);
    assert_eq!(replayed.status.code(), DONE, "{}", text(&replayed.stderr));
    assert!(
        text(&replayed.stdout).contains(&format!("is done: {would} events sent")),
        "{}",
        text(&replayed.stdout)
    );
    let got = collector.ids();
    assert_eq!(got.len() as u64, would);
    assert_eq!(
        sorted(got.clone()).windows(2).filter(|pair| pair[0] == pair[1]).count(),
        0,
        "each once"
    );
    assert!(recorded.iter().all(|id| got.contains(id)));
    stop(&mut trap);
    let seen = trap.trapline(&["replay", "--sink", "siem", "--status", "--json"]);
    assert_eq!(json(&seen)["state"], "done");
    assert_eq!(
        trap.trapline(&["replay", "--sink", "siem", "--since", "1d"])
            .status
            .code(),
        FAILED
    );
}

#[test]
fn a_replay_survives_a_kill_shows_in_status_and_can_be_cancelled() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    (0..5).for_each(|_| drop(touch(door)));
    eventually("all is recorded", || (connects(&trap).len() == 5).then_some(()));
    let far =
        format!("[sinks.far]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"tcp\"\naddress = \"{nobody}\"\n");
    trap.configure(&format!("{PLAIN}\n{far}"));
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    let mut asked = trap
        .command(&["replay", "--sink", "far", "--since", "1d"])
        .spawn()
        .unwrap();
    let running = |trap: &Trap| {
        let status = trap.status();
        let far = status["sinks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|sink| sink["name"] == "far")?
            .clone();
        (far["replay"]["state"] == "running").then_some(())
    };
    eventually("it is under way", || running(&trap));
    trap.signal("KILL");
    trap.ended();
    assert_ne!(asked.wait().unwrap().code(), DONE);
    trap.launch();
    eventually("it is under way again", || running(&trap));
    let other = trap.trapline(&["replay", "--sink", "far", "--since", "2d"]);
    assert_eq!(other.status.code(), FAILED);
    assert!(text(&other.stderr).contains("--cancel"), "{}", text(&other.stderr));
    let cancelled = trap.trapline(&["replay", "--sink", "far", "--cancel"]);
    assert_eq!(cancelled.status.code(), DONE);
    assert!(
        text(&cancelled.stdout).contains("is cancelled"),
        "{}",
        text(&cancelled.stdout)
    );
    assert!(running(&trap).is_none());
}

#[test]
fn an_export_is_whole_or_not_there_and_a_backup_starts_as_a_journal() {
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    (0..4).for_each(|_| drop(touch(door)));
    eventually("all is recorded", || (connects(&trap).len() == 4).then_some(()));
    for format in ["ecs", "ocsf", "cef", "leef", "text", "body"] {
        let exported = trap.trapline(&["journal", "export", "--format", format]);
        assert_eq!(exported.status.code(), DONE, "{}", text(&exported.stderr));
        assert!(text(&exported.stdout).lines().count() >= 4, "{format}");
    }
    let none = trap.trapline(&["journal", "export", "--until", "1d"]);
    assert!(none.status.success() && none.stdout.is_empty());
    let export = |more: &[&str]| {
        let mut all = vec!["journal", "export", "--source", "127.0.0.1", "-o", "out.ndjson"];
        all.extend(more);
        trap.trapline(&all)
    };
    assert_eq!(export(&[]).status.code(), DONE);
    let file = trap.path("out.ndjson");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(lines(&std::fs::read(&file).unwrap()).len() >= 4);
    assert_eq!(export(&[]).status.code(), FAILED, "it is not written over");
    assert_eq!(export(&["--force"]).status.code(), DONE);
    assert!(!trap.path("out.ndjson.part").exists());
    let backup = |trap: &Trap, more: &[&str]| {
        let mut all = vec!["journal", "backup", "copy.db"];
        all.extend(more);
        trap.trapline(&all)
    };
    let copied = backup(&trap, &["--json"]);
    assert_eq!(copied.status.code(), DONE, "{}", text(&copied.stderr));
    assert!(json(&copied)["entries"].as_u64().unwrap() >= 4);
    assert_eq!(backup(&trap, &[]).status.code(), FAILED);
    stop(&mut trap);
    assert_eq!(backup(&trap, &["--force"]).status.code(), DONE);
    let copy = trap.path("copy.db");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::create_dir(trap.path("other")).unwrap();
    std::fs::rename(copy, trap.path("other/journal.db")).unwrap();
    trap.configure(&PLAIN.replace("state/journal.db", "other/journal.db"));
    trap.launch();
    assert_eq!(connects(&trap).len(), 4);
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
}
