//! A real mail server, and mails read back as mail clients read them.
//!
//! Where exim or root's rights are missing, the tests say so on standard error and pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod server;

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use server::Exim;
use trapline_schemas::{Action, Event, Field, Format, Timestamp, ids};
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, FaultKind, Outcome, Parcel, StreamSink};
use trapline_sink_email::SINK;
use uuid::Uuid;

/// A sink that sends to it.
fn sink(exim: &Exim, to: &str, more: &str) -> Arc<dyn StreamSink> {
    let toml = format!(
        "server = '{}'\nuser = 'trapline'\nfrom = 'Die Wächter <trapline@example.org>'\nto = [{to}]\n\
         tls = {{ ca = '{}' }}\n{more}",
        exim.at,
        exim.path("ca.pem").display()
    );
    let toml = if more.contains("password") {
        toml
    } else {
        toml + "\npassword = 'hush'"
    };
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    let factory = (SINK.parse)(&table);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "mail".into(),
        format: Format::Text,
        observer: "lure-test".into(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    factory.build(&common).unwrap()
}

fn touch(incident: Option<u128>, user: &str) -> Arc<Parcel> {
    let at = Timestamp::now();
    let mut event = Event::new(ids::fresh(at), at, Action::Credential);
    event.set(Field::SourceIp, std::net::IpAddr::from([203, 0, 113, 77]));
    event.set(Field::DestinationPort, 22_i64);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::ObserverName, "lure-test");
    event.set(Field::TouchLevel, "proof");
    event.set(Field::UserName, user);
    if let Some(incident) = incident {
        event.set(Field::IncidentId, Uuid::from_u128(incident));
    }
    Arc::new(Parcel::new(1, Arc::new(event)))
}

fn header<'m>(mail: &'m Value, name: &str) -> Vec<&'m str> {
    let headers = mail["headers"].as_array().unwrap();
    let named = headers
        .iter()
        .filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|header| header[1].as_str().unwrap()).collect()
}

/// Both parts are there, and what the table of one says, the lines of the other do.
fn assert_equal_parts(mail: &Value) {
    assert_eq!(mail["type"], "multipart/alternative");
    let quoted = |kind| serde_json::json!([kind, "quoted-printable", "utf-8"]);
    assert_eq!(
        mail["parts"],
        serde_json::json!([quoted("text/plain"), quoted("text/html")])
    );
    assert_eq!(mail["defects"], serde_json::json!([]));
    let bare = |text: &str| text.replace(|c: char| c.is_whitespace() || c == '|', "");
    let text = mail["text"].as_str().unwrap();
    let rows = mail["rows"].as_array().unwrap();
    assert!(rows.len() >= 3, "{rows:?}");
    for row in rows {
        let fact = bare(row[0].as_str().unwrap()) + &bare(row[1].as_str().unwrap());
        assert!(bare(text).contains(&fact), "{fact}\n{text}");
    }
    let (head, _) = text.split_once("\n\n").unwrap();
    assert!(bare(mail["shown"].as_str().unwrap()).contains(&bare(head)), "{head}");
    assert!(text.lines().all(|line| line.chars().count() <= 72), "{text}");
    assert!(
        mail["longest_line"].as_u64().unwrap() <= 200 && mail["ascii"] == true,
        "{mail}"
    );
}

#[tokio::test]
async fn a_notice_arrives_as_one_mail_with_two_equal_parts_for_each_recipient() {
    let Some(exim) = Exim::start(false) else { return };
    let sink = sink(
        &exim,
        "'soc@example.org', 'IT <it@example.org>'",
        "reply_to = 'ask@example.org'",
    );
    let said = sink.check().await.unwrap();
    assert!(
        said.starts_with("mx.example ESMTP Exim") && said.ends_with("answers, TLS 1.3, logged in as `trapline`"),
        "{said}"
    );
    let parcel = touch(Some(7), "root");
    assert_eq!(sink.deliver(std::slice::from_ref(&parcel)).await, Delivery::all(1));
    let event = parcel.event.id;
    for who in ["soc", "it"] {
        let mail = &exim.mails(who, 1)[0];
        assert_equal_parts(mail);
        let incident = Uuid::from_u128(7);
        for (name, wanted) in [
            ("From", "Die Wächter <trapline@example.org>".to_owned()),
            ("To", "soc@example.org, IT <it@example.org>".to_owned()),
            ("Reply-To", "ask@example.org".to_owned()),
            ("Subject", "Trapline: 203.0.113.77 (incident 00000000)".to_owned()),
            ("Message-ID", format!("<{event}@example.org>")),
            ("In-Reply-To", format!("<incident.{incident}@example.org>")),
            ("References", format!("<incident.{incident}@example.org>")),
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("Precedence", "bulk".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
            ("List-Id", "<trapline.example.org>".to_owned()),
            ("X-Trapline-Event", event.to_string()),
            ("X-Trapline-Incident", incident.to_string()),
            ("MIME-Version", "1.0".to_owned()),
        ] {
            assert_eq!(header(mail, name), [wanted], "{name}");
        }
        assert_eq!(header(mail, "Date").len(), 1);
        assert_eq!(header(mail, "Return-path"), ["<trapline@example.org>"]);
    }
}

#[tokio::test]
async fn nothing_that_a_peer_says_leaves_its_fact() {
    let Some(exim) = Exim::start(true) else { return };
    let sink = sink(&exim, "'soc@example.org'", "security = 'tls'");
    let long = "x".repeat(2000);
    let hostile = [
        "root\r\nBcc: evil@example.org\r\n\r\nhello",
        "\r\n.\r\nMAIL FROM:<x@y>\r\n",
        ".",
        "...\n.\n..",
        "=?utf-8?q?=0D=0ABcc:_evil=40example.org?=",
        "a\u{202e}b\u{200b}c\u{2028}d\u{0}e\u{7f}\u{9b}2J",
        "</code></td></tr></table><script>alert(1)</script><img src=https://evil.example/x onerror=x>",
        "https://evil.example/login www.evil.example evil@evil.example \\\\evil.example\\share",
        "--=_0123\r\nContent-Type: text/html\r\n\r\n<b>",
        "From someone Mon Nov 23 00:00:00 2026",
        long.as_str(),
    ];
    let batch: Vec<_> = hostile.iter().map(|user| touch(Some(1), user)).collect();
    assert_eq!(sink.deliver(&batch).await, Delivery::all(batch.len()));
    let mails = exim.mails("soc", batch.len());
    let names = |mail: &Value| {
        let headers = mail["headers"].as_array().unwrap();
        headers
            .iter()
            .map(|header| header[0].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for mail in &mails {
        assert_equal_parts(mail);
        assert_eq!(names(mail), names(&mails[0]));
        assert_eq!(mail["tags"], mails[2]["tags"]);
        assert_eq!(mail["leads"], serde_json::json!([]));
        for part in ["text", "shown"] {
            let text = mail[part].as_str().unwrap();
            assert!(text.lines().all(trapline_schemas::text::is_clean), "{text:?}");
            for lead in ["://", "www.evil", "evil@evil", "\\\\evil"] {
                assert!(!text.contains(lead), "{lead} in {text}");
            }
        }
    }
    let ids: std::collections::BTreeSet<_> = mails.iter().map(|mail| header(mail, "X-Trapline-Event")[0]).collect();
    assert_eq!(ids.len(), batch.len());
}

#[tokio::test]
async fn mails_of_an_incident_are_one_thread_of_one_subject() {
    let Some(exim) = Exim::start(false) else { return };
    let (one, another) = (0xaaaa_bbbb << 96 | 1, 0xcccc_dddd << 96 | 2);
    for incident in [Some(one), Some(another), Some(one), None, Some(one), Some(another)] {
        // A new sink each time, as after a restart.
        let sink = sink(&exim, "'soc@example.org'", "");
        assert_eq!(sink.deliver(&[touch(incident, "root")]).await, Delivery::all(1));
    }
    let mails = exim.mails("soc", 6);
    let mut subjects: Vec<_> = mails.iter().map(|mail| header(mail, "Subject")[0]).collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 3, "{subjects:?}");
    assert_eq!(threads(&exim), [1, 2, 3]);
}

/// How many mails each thread has that notmuch makes of them, the smallest first.
fn threads(exim: &Exim) -> Vec<u64> {
    let configuration = exim.path("notmuch.conf");
    let mails = exim.path("mail");
    std::fs::write(
        &configuration,
        format!("[database]\npath={}\n[new]\ntags=new\n", mails.display()),
    )
    .unwrap();
    let notmuch = |words: &[&str]| {
        let run = Command::new("notmuch")
            .env("NOTMUCH_CONFIG", &configuration)
            .args(words)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        run.stdout
    };
    notmuch(&["new", "--quiet"]);
    let found: Vec<Value> = serde_json::from_slice(&notmuch(&["search", "--format=json", "*"])).unwrap();
    let mut sizes: Vec<_> = found.iter().map(|thread| thread["total"].as_u64().unwrap()).collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
async fn one_of_two_recipients_is_unknown_and_another_is_greylisted_first() {
    let Some(exim) = Exim::start(false) else { return };
    let sink = sink(
        &exim,
        "'soc@example.org', 'nobody@example.org', 'later@example.org'",
        "",
    );
    let batch = [touch(None, "root")];
    let delivery = sink.deliver(&batch).await;
    assert_eq!(delivery.outcomes, [Outcome::Retry]);
    let fault = delivery.fault.unwrap();
    assert!(
        fault.kind == FaultKind::Busy && fault.message.contains("`later@example.org` off: 451 greylisted"),
        "{fault:?}"
    );
    std::fs::write(exim.path("open"), "").unwrap();
    assert_eq!(sink.deliver(&batch).await, Delivery::all(1));
    let notes = sink.notes();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("`nobody@example.org` is refused and gets no mail: 550 no such user")),
        "{notes:?}"
    );
    for who in ["soc", "later"] {
        assert_equal_parts(&exim.mails(who, 1)[0]);
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_content_that_is_refused_are_told_apart() {
    let Some(exim) = Exim::start(false) else { return };
    let fault = sink(&exim, "'soc@example.org'", "password = 'wrong'")
        .check()
        .await
        .unwrap_err();
    assert!(
        fault.kind == FaultKind::Auth && fault.message.contains("535"),
        "{fault:?}"
    );
    let sink = sink(&exim, "'soc@example.org'", "auth = 'login'");
    let delivery = sink
        .deliver(&[touch(None, "refuse-this-event"), touch(None, "root")])
        .await;
    assert!(
        matches!(&delivery.outcomes[0], Outcome::Rejected(why) if why.contains("550 not with us")),
        "{delivery:?}"
    );
    assert_eq!(delivery.outcomes[1], Outcome::Delivered);
    exim.mails("soc", 1);
}
