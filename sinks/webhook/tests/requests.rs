//! What a receiver sees, and what an operator is told: order, ids, templates, statuses, addresses, secrets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake::{Receiver, SECRET, events as events_of, problems, sink_in, sink_with};
use serde_json::json;
use trapline_schemas::{Action, CATALOGUE, Event, Field, Format, Kind, Origin, Timestamp};
use trapline_sink::conformance::events;
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::dial::Resolver;
use trapline_sink::{FaultKind, Outcome, Parcel, StreamSink};
use uuid::Uuid;

async fn started(keys: &str) -> (Server<Receiver>, Arc<dyn StreamSink>) {
    let server = Server::start(Receiver::default(), None).await;
    let toml = format!("url = '{}/hooks/honeyport'\nsecret = '{SECRET}'\n{keys}", server.url());
    let sink = sink_with(&toml, Resolver::default());
    (server, sink)
}

#[tokio::test]
async fn events_arrive_in_order_each_under_its_own_id() {
    let (server, sink) = started("").await;
    let batch = events(16, false);
    assert!(
        sink.deliver(&batch)
            .await
            .outcomes
            .iter()
            .all(|outcome| *outcome == Outcome::Delivered)
    );
    let ids: Vec<_> = batch.iter().map(|parcel| parcel.event.id).collect();
    server.with(|receiver| {
        assert_eq!(receiver.stored(), ids);
        let named: Vec<_> = receiver
            .kept
            .iter()
            .map(|request| request.header("webhook-id").to_owned())
            .collect();
        assert_eq!(named, ids.iter().map(Uuid::to_string).collect::<Vec<_>>());
        let first = &receiver.kept[0];
        assert_eq!(
            (first.method.as_str(), first.target.as_str()),
            ("POST", "/hooks/honeyport")
        );
        assert_eq!(first.header("content-type"), "application/json");
        assert_eq!(first.body, batch[0].rendered(Format::Ecs).to_vec());
    });
}

#[test]
fn the_requests_of_a_batch_that_go_one_after_the_other_end_before_the_batch_is_given_up() {
    for (timeout, in_flight) in [(1_u64, 1), (10, 1), (60, 1), (60, 8), (300, 1), (300, 64)] {
        let keys = format!("url = 'http://127.0.0.1:1/'\ntimeout = '{timeout}s'\nin_flight = {in_flight}");
        let events = sink_with(&keys, Resolver::default()).limits().events;
        let rounds = events.div_ceil(in_flight) as u64;
        assert!(events >= 1 && rounds * timeout < 600, "{keys}: {events} events");
    }
}

#[test]
fn where_it_sends_is_told_without_what_may_be_a_credential() {
    let sink = sink_with(
        "secret_url = 'https://soar.example:8443/hush?key=hush'",
        Resolver::default(),
    );
    assert_eq!(sink.destination().as_deref(), Some("https://soar.example:8443"));
}

#[tokio::test]
async fn the_status_of_the_last_request_that_was_taken_is_its_word() {
    let (_server, sink) = started("").await;
    assert_eq!(sink.word(), None);
    assert!(sink.deliver(&events(1, false)).await.fault.is_none());
    let word = sink.word().unwrap();
    assert!(word.starts_with("http status 2"), "{word}");
}

#[tokio::test]
async fn a_pause_of_no_time_is_none_so_that_nobody_makes_us_ask_without_end() {
    let (server, sink) = started("").await;
    for (asked, pause) in [
        ("0", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("7", Some(Duration::from_secs(7))),
    ] {
        server.order(Fault::Answer(Reply::status(503).with("Retry-After", asked)));
        assert_eq!(sink.deliver(&events(1, false)).await.retry_after, pause, "{asked}");
    }
}

#[tokio::test]
async fn after_a_fault_nothing_more_of_a_batch_is_sent_and_what_went_before_is_delivered() {
    let (server, sink) = started("").await;
    server.with(|receiver| receiver.statuses.extend([503]));
    let delivery = sink.deliver(&events(5, false)).await;
    assert_eq!(delivery.outcomes, vec![Outcome::Retry; 5]);
    assert_eq!(server.asked().len(), 1);
    server.with(|receiver| receiver.poison = None);
    let delivery = sink.deliver(&events(5, false)).await;
    assert!(delivery.fault.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_in_flight_requests_overlap_and_each_event_has_its_outcome() {
    let (server, sink) = started("in_flight = 8").await;
    server.order_lasting(Fault::Slow(Duration::from_millis(100)));
    server.with(|receiver| receiver.statuses.extend([204, 422]));
    let batch = events(16, false);
    assert!(sink.limits().events >= 64);
    let delivery = sink.deliver(&batch).await;
    let rejected = delivery
        .outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Rejected(_)));
    assert_eq!((delivery.outcomes.len(), rejected.count()), (16, 1));
    assert!(delivery.fault.is_none());
}

#[tokio::test]
async fn a_batch_keeps_its_id_when_it_is_sent_again() {
    let (server, sink) = started("payload = 'array'").await;
    let batch = events(3, false);
    server.order(Fault::ResetAfterStored);
    assert!(sink.deliver(&batch).await.fault.is_some());
    assert!(sink.deliver(&batch).await.fault.is_none());
    let ids: Vec<_> = server.with(|receiver| {
        let requests = receiver.kept.iter();
        requests
            .map(|request| request.header("webhook-id").to_owned())
            .collect()
    });
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(Uuid::parse_str(&ids[0]).unwrap().get_version_num(), 8);
}

#[tokio::test]
async fn the_form_is_ocsf_where_that_is_asked_for() {
    let server = Server::start(
        Receiver {
            signed: false,
            ..Receiver::default()
        },
        None,
    )
    .await;
    let sink = sink_in(
        Format::Ocsf,
        &format!("url = '{}/x'", server.url()),
        Resolver::default(),
    );
    let batch = events(1, false);
    assert!(sink.deliver(&batch).await.fault.is_none());
    server.with(|receiver| assert_eq!(receiver.stored(), [batch[0].event.id]));
    assert!(sink.notes().iter().any(|note| note.contains("nothing is signed")));
}

/// What people have tried on whoever builds JSON of texts.
const LURES: &[&str] = &[
    "\",\"admin\":true,\"x\":\"",
    "{{ whole }} {% raw %} {{ 7 * 7 }}",
    "\\\"}]\u{2028}\r\n\0",
    "${TOKEN} $(id) `id`",
    "😀 ünï \u{202e}",
];

#[tokio::test]
async fn a_template_puts_each_value_in_its_place_whatever_it_holds() {
    let body = r#"{"text": "{{ user.name }} at {{ destination.port }}", "port": "{{ destination.port }}", "gone": "{{ url.path }}", "id": "{{ event.id }}", "event": {"id": "{{ event.id }}"}, "whole": "{{ whole }}"}"#;
    let (server, sink) = started(&format!("body = '{body}'\npayload = 'array'")).await;
    for lure in LURES {
        let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), Action::Credential);
        event.set(Field::DestinationPort, 22_i64);
        event.set(Field::UserName, *lure);
        let kept = event.text(Field::UserName).unwrap().to_string();
        let parcel = Arc::new(Parcel::new(1, Arc::new(event)));
        assert_eq!(
            sink.deliver(std::slice::from_ref(&parcel)).await.outcomes,
            [Outcome::Delivered]
        );
        let sent = server.with(|receiver| events_of(receiver.kept.last().unwrap()).remove(0));
        let id = parcel.event.id.to_string();
        let whole: serde_json::Value = serde_json::from_slice(parcel.rendered(Format::Ecs)).unwrap();
        let expected = json!({
            "text": format!("{kept} at 22"), "port": 22, "id": id, "event": {"id": id}, "whole": whole,
        });
        assert_eq!(sent, expected);
    }
    assert_eq!(server.with(|receiver| receiver.wrong.clone()), Vec::<String>::new());
}

#[tokio::test]
async fn an_event_that_a_template_cannot_take_is_refused_alone() {
    let body = r#"{"event": {"id": "{{ event.id }}"}, "n": "{{ 10 / ((user.name | default('word') | length) - 3) }}"}"#;
    for payload in ["event", "array"] {
        let (server, sink) = started(&format!("body = '''{body}'''\npayload = '{payload}'")).await;
        let named = |name: &str| {
            let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), Action::Credential);
            event.set(Field::UserName, name);
            Arc::new(Parcel::new(1, Arc::new(event)))
        };
        let batch = [named("good"), named("bad"), named("fine")];
        let delivery = sink.deliver(&batch).await;
        assert!(
            matches!(&delivery.outcomes[1], Outcome::Rejected(why) if why.contains("`/n`")),
            "{delivery:?}"
        );
        server.with(|receiver| assert_eq!(receiver.stored(), [batch[0].event.id, batch[2].event.id]));
    }
}

#[tokio::test]
async fn an_event_with_everything_in_it_keeps_its_bound() {
    let (server, sink) = started("event_bytes_max = 4000").await;
    let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), Action::Payload);
    for row in CATALOGUE
        .iter()
        .filter(|row| row.origin == Origin::Stored && row.kind == Kind::Text)
    {
        event.set(row.field, "x".repeat(3000).as_str());
    }
    assert_eq!(
        sink.deliver(&[Arc::new(Parcel::new(1, Arc::new(event)))])
            .await
            .outcomes,
        [Outcome::Delivered]
    );
    assert!(server.with(|receiver| receiver.kept[0].body.len()) <= 4000);
}

#[tokio::test]
async fn each_status_has_its_outcome_and_a_pause_is_passed_on() {
    let (server, sink) = started("").await;
    for (reply, outcome, kind) in [
        (Reply::status(410), Outcome::Retry, Some(FaultKind::Config)),
        (Reply::status(404), Outcome::Retry, Some(FaultKind::Config)),
        (
            Reply::status(302).with("Location", "http://127.0.0.1:1/"),
            Outcome::Retry,
            Some(FaultKind::Config),
        ),
        (Reply::status(401), Outcome::Retry, Some(FaultKind::Auth)),
        (
            Reply::status(503).with("Retry-After", "9"),
            Outcome::Retry,
            Some(FaultKind::Busy),
        ),
        (Reply::status(500), Outcome::Retry, Some(FaultKind::Server)),
        (
            Reply::status(422),
            Outcome::Rejected("the webhook's receiver refused it: http status 422".into()),
            None,
        ),
    ] {
        let status = reply.status;
        server.order(Fault::Answer(reply));
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(delivery.outcomes, [outcome], "{status}");
        assert_eq!(delivery.fault.map(|fault| fault.kind), kind, "{status}");
        assert_eq!(delivery.retry_after, (status == 503).then_some(Duration::from_secs(9)));
    }
}

#[tokio::test]
async fn a_check_asks_with_head_and_sends_no_event() {
    let (server, sink) = started("token = 'hush'").await;
    assert!(sink.check().await.unwrap().contains("204"));
    assert_eq!(server.asked(), ["HEAD /hooks/honeyport"]);
    server.order(Fault::Answer(Reply::status(401)));
    assert_eq!(sink.check().await.unwrap_err().kind, FaultKind::Auth);
}

#[tokio::test]
async fn a_name_that_leads_to_metadata_is_not_asked_unless_that_is_allowed() {
    let server = Server::start(Receiver::default(), None).await;
    let (port, tls) = (server.address.port(), "tls = 'off'");
    let resolver = Resolver::new(move |_, port| Ok(vec![([169, 254, 169, 254], port).into()]));
    let toml = format!("url = 'http://metadata.example:{port}/x'\n{tls}\ntimeout = '300ms'");
    let fault = sink_with(&toml, resolver.clone())
        .deliver(&events(1, false))
        .await
        .fault
        .unwrap();
    assert!(fault.message.contains("allow_link_local"), "{fault:?}");
    let allowed = sink_with(&format!("{toml}\nallow_link_local = true"), resolver);
    let fault = allowed.deliver(&events(1, false)).await.fault.unwrap();
    assert!(!fault.message.contains("allow_link_local"), "{fault:?}");
}

#[test]
fn every_mistake_of_a_table_is_told_at_its_place_and_no_secret_with_it() {
    const URL: &str = "url = 'https://h/x'";
    for (toml, said) in [
        ("".to_owned(), "neither `url` nor `secret_url`"),
        (
            format!("{URL}\nsecret_url = 'https://h/hush'"),
            "both `url` and `secret_url`",
        ),
        ("url = 'https://h/x?hush=1'".to_owned(), "secret_url"),
        ("url = 'http://h/x'".to_owned(), "`https://`"),
        ("url = 'https://169.254.169.254/latest'".to_owned(), "link-local"),
        ("secret_url = 'ftp://h/hush'".to_owned(), "https://"),
        (format!("{URL}\nsecret = 'whsec_hush'"), "base64"),
        (
            format!("{URL}\ntoken = 'hush'\nusername = 'u'\npassword = 'hush'"),
            "both `token` and `username`",
        ),
        (format!("{URL}\nusername = 'u'"), "`username` alone"),
        (format!("{URL}\ntoken = \"hush\\n\""), "no header can carry"),
        (format!("{URL}\nheaders = {{ 'webhook-id' = 'hush' }}"), "made of"),
        (format!("{URL}\nheaders = {{ 'a b' = 'hush' }}"), "no header has"),
        (
            format!("{URL}\nheaders = {{ authorization = 'hush' }}\ntoken = 'hush'"),
            "beside `token`",
        ),
        (format!("{URL}\nbody = '{{ \"a\": }}'"), "no JSON"),
        (format!("{URL}\nbody = '[\"{{{{ source.ipp }}}}\"]'"), "test.toml:2:14"),
        (
            format!("{URL}\nbody = '[\"{{{{ source.ip + 1 }}}}\"]'"),
            "invalid operation",
        ),
        (format!("{URL}\nbody = '\"{{{{ user.name }}}}\"'"), "missing"),
        (format!("{URL}\nsuccess = 'body.ok =='"), "test.toml:2:"),
        (format!("{URL}\nsuccess = 'answer.ok'"), "there is no `answer"),
    ] {
        let told = problems(&toml);
        assert!(told.contains(said) && !told.contains("hush"), "{toml}\n{told}");
    }
    assert_eq!(
        problems(&format!(
            "{URL}\nheaders = {{ X-Source = 'trapline', X-Api-Key = 'k' }}"
        )),
        ""
    );
}

/// Keeps every line of the log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn at_level_trace_no_credential_is_shown() {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone());
    tracing_subscriber::util::SubscriberInitExt::init(subscriber.finish());
    let server = Server::start(Receiver::default(), None).await;
    let toml = format!(
        "secret_url = '{}/HUSH/x?k=HUSH'\nsecret = '{SECRET}'\ntoken = 'HUSH'\ntimeout = '300ms'\n\
         headers = {{ x-api-key = 'HUSH' }}",
        server.url()
    );
    let sink = sink_with(&toml, Resolver::default());
    let mut told = String::new();
    for fault in [
        Fault::Slow(Duration::ZERO),
        Fault::Answer(Reply::status(302).with("Location", "http://127.0.0.1:1/")),
        Fault::Answer(Reply::text(400, "HUSH")),
        Fault::Answer(Reply::text(500, "HUSH")),
        Fault::Silence,
        Fault::ShortBody,
    ] {
        server.order(fault);
        told.push_str(&format!("{:?}", sink.deliver(&events(1, false)).await));
    }
    told.push_str(&format!("{:?}{:?}", sink.check().await, sink.notes()));
    let log = String::from_utf8_lossy(&kept.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "nothing was logged at all: {log}"
    );
    for text in [log, told] {
        assert!(!text.contains("HUSH") && !text.contains("MfKQ9r8"), "{text}");
    }
}
