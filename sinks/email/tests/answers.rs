//! What a mail server's answers mean for mails, recipients and logins.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fake::{Behaviour, Protection, Server};
use trapline_schemas::{Format, text::is_clean};
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::certs::Authority;
use trapline_sink::conformance::events;
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, FaultKind, Outcome, StreamSink};
use trapline_sink_email::SINK;

const A: &str = "a@example.org";
const B: &str = "b@example.org";

fn sink_with(server: &Server, more: &str) -> Arc<dyn StreamSink> {
    let toml = format!(
        "server = '{}'\nfrom = 'Trapline <trapline@example.org>'\nto = ['{A}', 'Bea <{B}>']\ntimeout = '2s'\n{more}",
        server.address()
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

/// A server in clear, and a sink that is set to it.
fn plain() -> (Server, Arc<dyn StreamSink>) {
    let server = Server::start(Behaviour::Well, Protection::None);
    let sink = sink_with(&server, "security = 'off'");
    (server, sink)
}

fn plain_with_login(more: &str) -> (Server, Arc<dyn StreamSink>) {
    let server = Server::start(Behaviour::Well, Protection::None);
    let more = format!("security = 'off'\nuser = 'trapline'\npassword = 'hush'\n{more}");
    let sink = sink_with(&server, &more);
    (server, sink)
}

fn kind(delivery: &Delivery) -> Option<FaultKind> {
    delivery.fault.as_ref().map(|fault| fault.kind)
}

/// Who got which mail, in order.
fn got(server: &Server) -> Vec<Vec<String>> {
    server.mails().into_iter().map(|mail| mail.to).collect()
}

fn verbs(server: &Server, verb: &str) -> usize {
    server.heard().iter().filter(|line| line.starts_with(verb)).count()
}

#[tokio::test]
async fn where_it_sends_and_what_the_server_said_to_a_mail_are_told() {
    let (server, sink) = plain();
    assert_eq!(sink.destination(), Some(format!("{}, to {A}, {B}", server.address())));
    assert_eq!(sink.word(), None);
    assert_eq!(sink.deliver(&events(1, false)).await, Delivery::all(1));
    assert!(sink.word().unwrap().starts_with("250 "), "{:?}", sink.word());
}

#[tokio::test]
async fn a_recipient_that_is_refused_costs_the_others_nothing_and_is_named() {
    let (server, sink) = plain();
    server.answer(|line| line.starts_with("RCPT TO:<b@").then(|| "550 5.1.1 who?".to_owned()));
    let batch = events(2, false);
    assert_eq!(sink.deliver(&batch).await, Delivery::all(2));
    assert_eq!(got(&server), [[A], [A]]);
    assert_eq!(
        sink.notes().last().unwrap(),
        "`b@example.org` is refused and gets no mail: 550 5.1.1 who?"
    );
    server.answer(|_| None);
    assert_eq!(sink.deliver(&events(1, false)).await, Delivery::all(1));
    assert_eq!(got(&server).last().unwrap(), &[A, B]);
    assert!(!sink.notes().iter().any(|note| note.contains(B)), "{:?}", sink.notes());
}

#[tokio::test]
async fn who_has_the_mail_gets_no_second_one_while_another_is_greylisted() {
    let (server, sink) = plain();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    server.answer(move |line| {
        let put_off = line.starts_with("RCPT TO:<b@") && count.fetch_add(1, Ordering::Relaxed) < 2;
        put_off.then(|| "451 4.7.1 greylisted, come later".to_owned())
    });
    let batch = events(1, false);
    for _ in 0..2 {
        let delivery = sink.deliver(&batch).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry]);
        assert_eq!(kind(&delivery), Some(FaultKind::Busy));
        assert!(
            delivery
                .fault
                .unwrap()
                .message
                .contains("puts `b@example.org` off: 451 4.7.1")
        );
    }
    assert_eq!(sink.deliver(&batch).await, Delivery::all(1));
    assert_eq!(got(&server), [[A], [B]]);
    let mails = server.mails();
    let id = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("Message-ID: "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(id(&mails[0].text), id(&mails[1].text), "it is the same mail");
}

#[tokio::test]
async fn the_others_mails_go_on_while_one_recipient_is_put_off() {
    let (server, sink) = plain();
    server.answer(|line| {
        line.starts_with("RCPT TO:<b@")
            .then(|| "452 4.2.2 mailbox full".to_owned())
    });
    let batch = events(3, false);
    let delivery = sink.deliver(&batch).await;
    assert_eq!(delivery.outcomes, vec![Outcome::Retry; 3]);
    assert_eq!(got(&server), [[A], [A], [A]]);
    server.answer(|_| None);
    assert_eq!(sink.deliver(&batch).await, Delivery::all(3));
    assert_eq!(got(&server)[3..], [[B], [B], [B]]);
}

#[tokio::test]
async fn a_recipient_that_is_put_off_too_long_is_given_up_and_nobody_waits_for_it_until_it_is_back() {
    let (server, sink) = plain();
    let full = |line: &str| {
        line.starts_with("RCPT TO:<b@")
            .then(|| "452 4.2.2 mailbox full".to_owned())
    };
    server.answer(full);
    let batch = events(1, false);
    assert_eq!(sink.deliver(&batch).await.outcomes, [Outcome::Retry]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(601)).await;
    tokio::time::resume();
    assert_eq!(sink.deliver(&batch).await, Delivery::all(1));
    assert!(
        sink.notes()
            .iter()
            .any(|note| note.contains("put off for 10 min: 452 4.2.2")),
        "{:?}",
        sink.notes()
    );
    assert_eq!(sink.deliver(&events(1, false)).await, Delivery::all(1));
    assert_eq!(got(&server), [[A], [A]]);
    server.answer(|_| None);
    sink.deliver(&events(1, false)).await;
    server.answer(full);
    assert_eq!(
        sink.deliver(&events(1, false)).await.outcomes,
        [Outcome::Retry],
        "it was back"
    );
}

#[tokio::test]
async fn without_a_recipient_nothing_is_sent_and_the_mail_is_kept() {
    let (server, sink) = plain();
    for (said, wanted) in [
        ("451 4.7.1 greylisted", FaultKind::Busy),
        ("550 5.1.1 who?", FaultKind::Config),
    ] {
        server.answer(move |line| line.starts_with("RCPT").then(|| said.to_owned()));
        let delivery = sink.deliver(&events(2, false)).await;
        assert_eq!(delivery.outcomes, vec![Outcome::Retry; 2]);
        assert_eq!(kind(&delivery), Some(wanted), "{delivery:?}");
    }
    assert_eq!((got(&server).len(), verbs(&server, "DATA")), (0, 0));
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_then_has_each_mail_once() {
    let (server, sink) = plain();
    let batch = events(3, false);
    for said in [
        "421 4.3.2 closing",
        "450 4.2.0 busy",
        "451 4.3.0 local error",
        "452 4.3.1 disk full",
    ] {
        for verb in ["connect", "MAIL", "DATA", "Date: "] {
            server.answer(move |line| line.starts_with(verb).then(|| said.to_owned()));
            let delivery = sink.deliver(&batch).await;
            assert_eq!(delivery.outcomes, vec![Outcome::Retry; 3], "{verb} {said}");
            assert_eq!(kind(&delivery), Some(FaultKind::Busy), "{verb} {said}");
        }
    }
    server.answer(|_| None);
    assert_eq!(sink.deliver(&batch).await, Delivery::all(3));
    assert_eq!(got(&server).len(), 3);
}

#[tokio::test]
async fn what_the_server_will_not_have_is_a_dead_letter_with_its_words_bounded_and_escaped() {
    let (server, sink) = plain();
    server.answer(|text| {
        let long = format!("554-5.7.1 \x1b]0;spam\x07\u{202e}\r\n554 {}", "x".repeat(900));
        text.contains("refuse-this-event").then_some(long)
    });
    let batch = events(3, true);
    let delivery = sink.deliver(&batch).await;
    assert_eq!(
        (&delivery.outcomes[0], &delivery.outcomes[2]),
        (&Outcome::Delivered, &Outcome::Delivered)
    );
    let Outcome::Rejected(why) = &delivery.outcomes[1] else {
        panic!("{delivery:?}")
    };
    assert!(
        why.starts_with("the mail server refuses it: 554 5.7.1 \\x1b]0;spam"),
        "{why}"
    );
    assert!(is_clean(why) && why.chars().count() < 300, "{why}");
    assert_eq!(delivery.fault, None);
}

#[tokio::test]
async fn a_mail_larger_than_the_server_takes_is_a_dead_letter_and_is_not_sent() {
    let (server, sink) = plain();
    server.answer(|line| {
        line.starts_with("EHLO")
            .then(|| "250-mx.example\r\n250 SIZE 1000".to_owned())
    });
    let delivery = sink.deliver(&events(1, false)).await;
    assert!(
        matches!(&delivery.outcomes[0], Outcome::Rejected(why) if why.contains("the server takes 1000")),
        "{delivery:?}"
    );
    assert_eq!(verbs(&server, "MAIL"), 0);
}

#[tokio::test]
async fn a_login_that_is_refused_or_missing_alarms_and_the_password_is_nowhere() {
    for said in [
        "535 5.7.8 bad",
        "534 5.7.9 too weak",
        "530 5.7.0 first STARTTLS",
        "538 5.7.11 encrypt",
    ] {
        let (server, sink) = plain_with_login("");
        server.answer(move |line| line.starts_with("AUTH").then(|| said.to_owned()));
        let fault = sink.check().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Auth, "{said}");
        assert!(
            fault.message.contains(said) && !fault.message.contains("hush"),
            "{fault:?}"
        );
        assert!(!format!("{:?}", sink.notes()).contains("hush"));
    }
    let (server, sink) = plain_with_login("");
    server.answer(|line| line.starts_with("EHLO").then(|| "250 mx.example".to_owned()));
    assert_eq!(sink.check().await.unwrap_err().kind, FaultKind::Auth);
    assert_eq!(verbs(&server, "AUTH"), 0);
    let (server, sink) = plain();
    server.answer(|line| line.starts_with("MAIL").then(|| "530 5.7.0 log in".to_owned()));
    let fault = sink.deliver(&events(1, false)).await.fault.unwrap();
    assert!(
        fault.kind == FaultKind::Auth && fault.message.contains("set `user` and `password`"),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_server_that_quotes_the_login_it_refuses_is_not_quoted() {
    for (more, verb, quoted) in [
        ("", "AUTH PLAIN", "AHRyYXBsaW5lAGh1c2g="),
        ("auth = 'login'", "aHVzaA==", "aHVzaA=="),
        ("", "AUTH PLAIN", "trapline with hush"),
    ] {
        let (server, sink) = plain_with_login(more);
        let said = format!("535 5.7.8 refused: {quoted}");
        server.answer(move |line| match line {
            "AUTH LOGIN" => Some("334 VXNlcm5hbWU6".to_owned()),
            "dHJhcGxpbmU=" => Some("334 UGFzc3dvcmQ6".to_owned()),
            line => line.starts_with(verb).then(|| said.clone()),
        });
        let fault = sink.check().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Auth);
        let told = &fault.message;
        assert!(
            told.contains("535") && !told.contains(quoted) && !told.contains("hush"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn every_way_to_log_in_is_spoken() {
    let offers =
        |words: &'static str| move |line: &str| line.starts_with("EHLO").then(|| format!("250-mx\r\n250 {words}"));
    for (more, words, said) in [
        ("", "AUTH LOGIN PLAIN", &["AUTH PLAIN AHRyYXBsaW5lAGh1c2g="][..]),
        ("", "AUTH=LOGIN", &["AUTH LOGIN", "dHJhcGxpbmU=", "aHVzaA=="]),
        (
            "auth = 'login'",
            "AUTH PLAIN LOGIN",
            &["AUTH LOGIN", "dHJhcGxpbmU=", "aHVzaA=="],
        ),
        (
            "auth = 'xoauth2'",
            "AUTH PLAIN XOAUTH2",
            &["AUTH XOAUTH2 dXNlcj10cmFwbGluZQFhdXRoPUJlYXJlciBodXNoAQE="],
        ),
    ] {
        let (server, sink) = plain_with_login(more);
        server.answer(offers(words));
        sink.check().await.unwrap();
        let heard = server.heard();
        assert_eq!(heard[1..heard.len() - 1], *said, "{more} {words}");
    }
}

#[tokio::test]
async fn without_the_starttls_that_is_required_nothing_is_said() {
    let authority = Authority::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let more = format!(
        "user = 'trapline'\npassword = 'hush'\ntls = {{ ca = '{}' }}",
        ca.display()
    );
    let identity = || authority.issue("127.0.0.1").unwrap().server(None).unwrap();
    for (behaviour, said) in [
        (Behaviour::Stripped, "does not offer STARTTLS, so nothing is sent"),
        (Behaviour::Chatty, "somebody may be in between"),
    ] {
        let server = Server::start(behaviour, Protection::StartTls(identity()));
        let delivery = sink_with(&server, &more).deliver(&events(1, false)).await;
        assert_eq!(kind(&delivery), Some(FaultKind::Tls));
        assert!(delivery.fault.unwrap().message.contains(said));
        let heard = server.heard();
        assert!(
            heard.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"),
            "{heard:?}"
        );
    }
    let server = Server::start(Behaviour::Well, Protection::StartTls(identity()));
    server.answer(|line| (line == "STARTTLS").then(|| "454 4.7.0 no TLS today".to_owned()));
    let fault = sink_with(&server, &more).check().await.unwrap_err();
    assert!(
        fault.kind == FaultKind::Tls && fault.message.contains("454 4.7.0"),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_batch_has_one_connection_and_each_mail_its_own_transaction() {
    let (server, sink) = plain();
    assert_eq!(sink.deliver(&events(5, false)).await, Delivery::all(5));
    assert_eq!((verbs(&server, "EHLO [127.0.0.1]"), verbs(&server, "QUIT")), (1, 1));
    assert_eq!(
        (
            verbs(&server, "MAIL FROM:<trapline@example.org>"),
            verbs(&server, "RSET")
        ),
        (5, 4)
    );
    assert_eq!(got(&server), vec![vec![A, B]; 5]);
}

#[tokio::test]
async fn check_says_who_answered_and_how_and_sends_nothing() {
    let (server, sink) = plain_with_login("helo = 'lure.example.org'");
    let said = sink.check().await.unwrap();
    assert_eq!(said, "mx.example ESMTP answers, in clear, logged in as `trapline`");
    assert_eq!(verbs(&server, "EHLO lure.example.org"), 1);
    assert_eq!(verbs(&server, "MAIL"), 0);
    assert_eq!(sink.notes(), ["tls is off: mails and credentials travel in clear"]);
}

#[tokio::test]
async fn what_is_refused_of_us_names_the_key_to_look_at() {
    for (verb, key) in [("EHLO", "`helo`"), ("MAIL", "`from`")] {
        let (server, sink) = plain();
        server.answer(move |line| line.starts_with(verb).then(|| "550 5.7.1 no".to_owned()));
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(
            (&delivery.outcomes[0], kind(&delivery)),
            (&Outcome::Retry, Some(FaultKind::Config))
        );
        assert!(delivery.fault.unwrap().message.contains(key), "{verb}");
    }
}
