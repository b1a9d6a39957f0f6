//! Mail to the owner of a source, at a real mail server.
//!
//! Where exim or root's rights are missing, the tests say so on standard error and pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod server;

use std::sync::Arc;

use serde_json::Value;
use server::Exim;
use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Format, Timestamp, ids};
use trapline_sink::config::{Common, NoticeSettings, OwnerMail, Table};
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, FaultKind, Outcome, Parcel, StreamSink};
use trapline_sink_email::SINK;
use uuid::Uuid;

/// A sink that sends to it, with other keys.
fn sink(exim: &Exim, more: &str) -> Arc<dyn StreamSink> {
    let toml = format!(
        "server = '{}'\nuser = 'trapline'\npassword = 'hush'\nfrom = 'watch@example.org'\ntls = {{ ca = '{}' }}\n{more}",
        exim.at,
        exim.path("ca.pem").display()
    );
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

const TEAM: &str = "to = ['soc@example.org']\nowners = true";

/// An event of a source that somebody answers for, with all that could lead a mail astray.
fn event(action: Action, to: &str) -> Event {
    let at = Timestamp::now();
    let mut event = Event::new(ids::fresh(at), at, action);
    event.set(Field::SourceIp, std::net::IpAddr::from([10, 3, 4, 5]));
    event.set(Field::SourceOwner, "lab_team");
    event.set(Field::ObserverName, "lure-test");
    event.set(Field::DecoyId, "vault-decoy");
    event.set(Field::DestinationPort, 2222_i64);
    event.set(Field::DestinationIp, std::net::IpAddr::from([10, 9, 9, 9]));
    event.set(Field::UserName, "svc-backup");
    event.set(Field::EventReason, "the lab is in on it");
    event.set(Field::TouchLevel, "proof");
    event.set(Field::IncidentId, Uuid::from_u128(7 << 96));
    event.set(Field::FindingHits, 412_i64);
    event.set(Field::ReleaseBy, "alice");
    event.set(Field::ReleaseTo, to);
    event.set(Field::ReleaseServices, vec![SmolStr::new("ssh")]);
    event.set(Field::SourceSpoofable, true);
    event
}

fn parcel(event: Event) -> Arc<Parcel> {
    Arc::new(Parcel::new(1, Arc::new(event)))
}

fn header<'m>(mail: &'m Value, name: &str) -> Vec<&'m str> {
    let headers = mail["headers"].as_array().unwrap();
    let named = headers
        .iter()
        .filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|header| header[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_release_is_one_mail_to_the_owner_alone_that_says_nothing_to_an_intruder() {
    let Some(exim) = Exim::start(false) else { return };
    let sink = sink(&exim, TEAM);
    assert!(
        sink.destination()
            .unwrap()
            .ends_with("to soc@example.org (and to owners, what somebody releases)")
    );
    let release = event(Action::NoticeReleased, "Lab <lab@example.org>");
    let id = release.id;
    assert_eq!(sink.deliver(&[parcel(release)]).await, Delivery::all(1));
    let mail = &exim.mails("lab", 1)[0];
    let thread = format!("<incident.{}@example.org>", Uuid::from_u128(7 << 96));
    for (name, wanted) in [
        ("To", "Lab <lab@example.org>".to_owned()),
        ("From", "watch@example.org".to_owned()),
        ("Subject", "Your machine 10.3.4.5 (reference 00000007)".to_owned()),
        ("Message-ID", format!("<{id}@example.org>")),
        ("In-Reply-To", thread.clone()),
        ("References", thread),
        ("Auto-Submitted", "auto-generated".to_owned()),
    ] {
        assert_eq!(header(mail, name), [wanted], "{name}");
    }
    for name in ["Cc", "Bcc", "List-Id", "Precedence", "X-Trapline-Event"] {
        assert_eq!(header(mail, name), [""; 0], "{name}");
    }
    let quoted = |kind| serde_json::json!([kind, "quoted-printable", "utf-8"]);
    assert_eq!(
        mail["parts"],
        serde_json::json!([quoted("text/plain"), quoted("text/html")])
    );
    assert_eq!(
        (&mail["defects"], &mail["leads"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    for part in ["text", "shown"] {
        let said = mail[part].as_str().unwrap().to_lowercase();
        for fact in ["10.3.4.5", "lab_team", "412", "ssh", "let in again", "may be forged"] {
            assert!(said.contains(fact), "{fact} in {said}");
        }
        for ours in [
            "trapline",
            "lure",
            "decoy",
            "2222",
            "10.9.9.9",
            "svc-backup",
            "in on it",
            "alice",
        ] {
            assert!(!said.contains(ours), "{ours} in {said}");
        }
    }
    assert!(
        exim.mailbox("soc").is_empty(),
        "the team is not told in the owner's mail"
    );
}

#[tokio::test]
async fn nothing_but_a_release_is_written_to_an_owner() {
    let Some(exim) = Exim::start(false) else { return };
    let others = Action::ALL.iter().filter(|action| **action != Action::NoticeReleased);
    let batch: Vec<_> = others.map(|action| parcel(event(*action, "lab@example.org"))).collect();
    let (both, alone) = (sink(&exim, TEAM), sink(&exim, "owners = true"));
    assert_eq!(both.deliver(&batch).await, Delivery::all(batch.len()));
    for outcome in alone.deliver(&batch).await.outcomes {
        assert!(
            matches!(&outcome, Outcome::Rejected(why) if why.contains("has no `to`")),
            "{outcome:?}"
        );
    }
    let deaf = sink(&exim, "to = ['soc@example.org']");
    let refused = deaf
        .deliver(&[parcel(event(Action::NoticeReleased, "lab@example.org"))])
        .await;
    assert!(
        matches!(&refused.outcomes[0], Outcome::Rejected(why) if why.contains("owners = true")),
        "{refused:?}"
    );
    exim.mails("soc", batch.len());
    assert!(exim.mailbox("lab").is_empty());
}

#[tokio::test]
async fn an_owner_who_is_unknown_or_put_off_holds_up_nobody() {
    let Some(exim) = Exim::start(false) else { return };
    let sink = sink(&exim, TEAM);
    let batch = [
        parcel(event(Action::NoticeReleased, "nobody@example.org")),
        parcel(event(Action::NoticeReleased, "later@example.org")),
        parcel(event(Action::Credential, "")),
    ];
    let delivery = sink.deliver(&batch).await;
    assert!(
        matches!(&delivery.outcomes[0], Outcome::Rejected(why) if why.contains("`nobody@example.org`: 550 no such user")),
        "{delivery:?}"
    );
    assert_eq!(delivery.outcomes[1..], [Outcome::Retry, Outcome::Delivered]);
    let fault = delivery.fault.unwrap();
    assert!(
        fault.kind == FaultKind::Busy && fault.message.contains("owner `later@example.org` off"),
        "{fault:?}"
    );
    exim.mails("soc", 1);
    std::fs::write(exim.path("open"), "").unwrap();
    assert_eq!(sink.deliver(&batch[1..2]).await, Delivery::all(1));
    exim.mails("later", 1);
}

#[tokio::test]
async fn an_owner_whose_mail_is_put_off_at_its_end_holds_up_nobody() {
    let Some(exim) = Exim::start(false) else { return };
    let sink = sink(&exim, TEAM);
    let batch = [
        parcel(event(Action::NoticeReleased, "full@example.org")),
        parcel(event(Action::Credential, "")),
    ];
    let delivery = sink.deliver(&batch).await;
    assert_eq!(
        delivery.outcomes,
        [Outcome::Retry, Outcome::Delivered],
        "{:?}",
        delivery.fault
    );
    let fault = delivery.fault.unwrap();
    assert!(
        fault.kind == FaultKind::Busy && fault.message.contains("owner `full@example.org` off: 451 mailbox full"),
        "{fault:?}"
    );
    exim.mails("soc", 1);
    std::fs::write(exim.path("open"), "").unwrap();
    assert_eq!(sink.deliver(&batch[..1]).await, Delivery::all(1));
    exim.mails("full", 1);
}

#[tokio::test]
async fn what_is_no_address_gets_no_mail_and_no_word_to_the_server() {
    let Some(exim) = Exim::start(false) else { return };
    let sink = sink(&exim, TEAM);
    for to in [
        "",
        "lab",
        "lab@example.org, soc@example.org",
        "lab@example.org\r\nRCPT TO:<soc@example.org>",
        "Lab\r\nBcc: soc@example.org <lab@example.org>",
        "<lab@example.org> <soc@example.org>",
    ] {
        let delivery = sink.deliver(&[parcel(event(Action::NoticeReleased, to))]).await;
        assert!(
            matches!(&delivery.outcomes[0], Outcome::Rejected(why) if why.contains("no address of an owner")),
            "{to:?}: {delivery:?}"
        );
    }
    assert!(exim.mailbox("lab").is_empty() && exim.mailbox("soc").is_empty());
}

#[test]
fn owners_are_off_by_default_and_stand_beside_the_team_or_alone() {
    for (more, wanted) in [
        ("to = ['soc@example.org']", OwnerMail::Never),
        ("to = ['soc@example.org']\nowners = false", OwnerMail::Never),
        (TEAM, OwnerMail::Also),
        ("owners = true", OwnerMail::Alone),
    ] {
        let (table, problems) = Table::for_test(&format!("server = 's'\nfrom = 'a@b'\n{more}"), SINK.keys);
        assert_eq!((SINK.parse)(&table).owner_mail(), wanted, "{more}");
        assert_eq!(problems.count(), 0, "{more}");
    }
    for more in ["", "owners = false", "owners = true\nto = []"] {
        let (table, problems) = Table::for_test(&format!("server = 's'\nfrom = 'a@b'\n{more}"), SINK.keys);
        (SINK.parse)(&table);
        assert_eq!(problems.count(), 1, "{more}: {:?}", problems.take());
    }
}
