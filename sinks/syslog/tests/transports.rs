//! What the suite of faults leaves open: local sockets, datagrams, a full receiver, and the table.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, UdpSocket, UnixDatagram, UnixListener};
use trapline_schemas::{Field, Format};
use trapline_sink::config::{Common, Factory, NoticeSettings, Table};
use trapline_sink::conformance::{Driver, events};
use trapline_sink::dial::{Address, Resolver};
use trapline_sink::{Arrears, FaultKind, Outcome, Parcel, StreamSink};
use trapline_sink_syslog::{SINK, Settings, Transport};

const PATIENCE: Duration = Duration::from_secs(30);

fn build(settings: &dyn Factory, format: Format) -> Arc<dyn StreamSink> {
    let common = Common {
        name: "rsyslog".to_owned(),
        format,
        observer: "lure-test".to_owned(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    settings.build(&common).unwrap()
}

fn to(at: std::net::SocketAddr) -> Address {
    Address {
        host: at.ip().to_string(),
        port: at.port(),
    }
}

fn ids(parcels: &[Arc<Parcel>]) -> BTreeSet<String> {
    parcels.iter().map(|parcel| parcel.event.id.to_string()).collect()
}

fn id_in(message: &str) -> String {
    message
        .split_once(" id=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0
        .to_owned()
}

/// A table as the loader reads it; the problems it has.
fn read(toml: &str) -> (Box<dyn Factory>, usize) {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    ((SINK.parse)(&table), problems.count())
}

#[tokio::test]
async fn a_unix_datagram_socket_gets_a_message_a_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let sink = build(&Settings::new(Transport::Unix(path)), Format::Cef);
    assert_eq!(sink.check().await.unwrap(), "a unix datagram socket listens");
    let batch = events(3, false);
    assert!(sink.deliver(&batch).await.fault.is_none());
    let mut found = BTreeSet::new();
    for _ in &batch {
        let mut buffer = [0; 9000];
        let len = receiver.recv(&mut buffer).await.unwrap();
        found.insert(id_in(std::str::from_utf8(&buffer[..len]).unwrap()));
    }
    assert_eq!(found, ids(&batch));
}

#[tokio::test]
async fn a_unix_stream_socket_gets_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let sink = build(&Settings::new(Transport::Unix(path)), Format::Ecs);
    let batch = events(3, false);
    assert!(sink.deliver(&batch).await.fault.is_none());
    let (stream, _) = listener.accept().await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut found = BTreeSet::new();
    for _ in &batch {
        found.insert(id_in(&lines.next_line().await.unwrap().unwrap()));
    }
    assert_eq!(found, ids(&batch));
}

#[tokio::test]
async fn a_missing_unix_socket_is_sent_to_again_once_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let sink = build(&Settings::new(Transport::Unix(path.clone())), Format::Text);
    let batch = events(2, false);
    let first = sink.deliver(&batch).await;
    assert_eq!(first.outcomes, vec![Outcome::Retry; 2]);
    assert_eq!(first.fault.unwrap().kind, FaultKind::Unreachable);
    let _receiver = UnixDatagram::bind(Path::new(&path)).unwrap();
    assert_eq!(sink.deliver(&batch).await.outcomes, vec![Outcome::Delivered; 2]);
}

#[tokio::test]
async fn udp_sends_each_message_once_and_says_that_nobody_confirms() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sink = build(
        &Settings::new(Transport::Udp(to(receiver.local_addr().unwrap()))),
        Format::Leef,
    );
    assert!(sink.notes()[0].contains("never confirmed"));
    let batch = events(10, false);
    assert!(sink.deliver(&batch).await.fault.is_none());
    let mut found = Vec::new();
    for _ in &batch {
        let mut buffer = [0; 9000];
        let len = receiver.recv(&mut buffer).await.unwrap();
        assert!(len <= 1400);
        found.push(id_in(std::str::from_utf8(&buffer[..len]).unwrap()));
    }
    assert_eq!(found.len(), 10);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids(&batch));
}

#[tokio::test]
async fn udp_to_a_port_where_nobody_listens_is_noticed_and_sent_again() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = receiver.local_addr().unwrap();
    drop(receiver);
    let sink = build(&Settings::new(Transport::Udp(to(at))), Format::Text);
    for count in [20, 1, 1, 1] {
        let delivery = sink.deliver(&events(count, false)).await;
        assert_eq!(delivery.outcomes, vec![Outcome::Retry; count]);
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Unreachable);
    }
}

#[tokio::test]
async fn an_event_that_fits_in_no_message_is_rejected_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = to(listener.local_addr().unwrap());
    let settings = Settings {
        message_bytes_max: Some(2700),
        ..Settings::new(Transport::Tcp(at))
    };
    let sink = build(&settings, Format::Ocsf);
    let large = |parcel: &Arc<Parcel>| {
        let mut event = (*parcel.event).clone();
        for field in [
            Field::UserName,
            Field::ErrorMessage,
            Field::DecoyId,
            Field::ObserverName,
        ] {
            event.set(field, "\u{10348}".repeat(300));
        }
        Arc::new(Parcel::new(parcel.offset, Arc::new(event)))
    };
    let batch: Vec<_> = events(2, false).iter().map(large).collect();
    let delivery = sink.deliver(&batch).await;
    assert!(matches!(&delivery.outcomes[..], [Outcome::Rejected(why), Outcome::Rejected(_)] if why.contains("2700")));
}

/// What a peer may fill besides.
const LONG: &[Field] = &[
    Field::FileName,
    Field::HttpForwardedFor,
    Field::HttpReferrer,
    Field::NtlmDomain,
    Field::NtlmWorkstation,
    Field::RdpCookie,
    Field::SmbShare,
    Field::SshClientVersion,
    Field::SshHasshAlgorithms,
    Field::TelnetOptions,
    Field::TelnetTerminal,
    Field::UrlOriginal,
    Field::UrlPath,
    Field::UserAgent,
];

/// The bound that `check` asks for is one in which whatever a peer sends still comes, with what was offered.
#[tokio::test]
async fn a_credential_beside_a_large_payload_comes_within_the_least_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = to(listener.local_addr().unwrap());
    for (format, least) in [(Format::Ecs, 2400), (Format::Ocsf, 2750)] {
        let settings = Settings {
            message_bytes_max: Some(least),
            ..Settings::new(Transport::Tcp(at.clone()))
        };
        let mut event = (*events(1, false)[0].event).clone();
        event.set(Field::UserName, "administrator");
        event.set(Field::CredentialSecretHmac, "f".repeat(64));
        event.set(Field::PayloadBase64, vec![b'x'; 60_000]);
        for field in LONG {
            event.set(*field, "long".repeat(200));
        }
        let batch = [Arc::new(Parcel::new(1, Arc::new(event)))];
        assert_eq!(
            build(&settings, format).deliver(&batch).await.outcomes,
            [Outcome::Delivered]
        );
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut message = String::new();
        stream.read_to_string(&mut message).await.unwrap();
        assert!(
            message.contains("administrator") && message.contains(&"f".repeat(64)),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_never_reads_is_given_up_after_the_deadline_and_gets_all_later() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let at = to(listener.local_addr().unwrap());
    let settings = Settings {
        timeout: Duration::from_millis(200),
        resend_frames: 10_000,
        ..Settings::new(Transport::Tcp(at))
    };
    let sink = build(&settings, Format::Ecs);
    let mut driver = Driver::new(sink.clone(), events(200, false));
    let mut sent = BTreeSet::new();
    let fault = loop {
        let batch = events(200, false);
        sent.extend(ids(&batch));
        driver.push(batch);
        if let Some(fault) = driver.step(PATIENCE).await.unwrap().fault {
            break fault;
        }
        assert!(sent.len() < 20_000, "a peer that never reads was never noticed");
    };
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.message.contains("did not take"), "{}", fault.message);
    // The stuck connection is the first in the listener's queue; the others are read.
    let (_stuck, _) = listener.accept().await.unwrap();
    let reader = tokio::spawn(async move {
        let (mut all, mut text) = (BTreeSet::new(), String::new());
        while let Ok((mut stream, _)) = listener.accept().await {
            text.clear();
            stream.read_to_string(&mut text).await.unwrap_or(0);
            all.extend(
                text.split(" id=\"")
                    .skip(1)
                    .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
            );
            if sent.is_subset(&all) {
                return true;
            }
        }
        false
    });
    while !driver.is_done() {
        driver.step(PATIENCE).await.unwrap();
    }
    sink.close().await;
    assert!(tokio::time::timeout(PATIENCE, reader).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_is_not_written_to_even_without_frames_to_resend() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = to(listener.local_addr().unwrap());
    let sink = build(
        &Settings {
            resend_frames: 0,
            ..Settings::new(Transport::Tcp(at))
        },
        Format::Text,
    );
    for _ in 0..8 {
        assert!(sink.deliver(&events(1, false)).await.fault.is_none());
        // A batch that went to the connection closed before would leave nobody to accept here.
        let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept())
            .await
            .unwrap()
            .unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_peer_that_answers_is_never_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = to(listener.local_addr().unwrap());
    let web = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let sink = build(&Settings::new(Transport::Tcp(at)), Format::Text);
    let mut believed = 0;
    for _ in 0..6 {
        let delivery = sink.deliver(&events(1, false)).await;
        believed += delivery
            .outcomes
            .iter()
            .filter(|outcome| **outcome == Outcome::Delivered)
            .count();
    }
    let last = sink.deliver(&events(1, false)).await.fault.unwrap();
    web.abort();
    assert_eq!(believed, 0, "batches were called delivered");
    assert_eq!(last.kind, FaultKind::Server);
    assert!(
        last.message.contains("HTTP/1.1 400") && last.message.contains("is this one?"),
        "{}",
        last.message
    );
}

#[tokio::test]
async fn the_last_frames_come_again_although_no_new_event_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = build(
        &Settings::new(Transport::Tcp(to(listener.local_addr().unwrap()))),
        Format::Text,
    );
    let batch = events(2, false);
    assert!(sink.deliver(&batch).await.fault.is_none());
    let (first, _) = listener.accept().await.unwrap();
    first.set_zero_linger().unwrap();
    drop(first);
    let (mut second, _) = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap();
    let mut text = String::new();
    while text.matches(" id=\"").count() < 2 {
        let mut chunk = [0; 4096];
        let len = second.read(&mut chunk).await.unwrap();
        text.push_str(std::str::from_utf8(&chunk[..len]).unwrap());
    }
    assert!(ids(&batch).iter().all(|id| text.contains(id)));
}

/// A balancer without a receiver: it accepts and closes at once.
#[tokio::test]
async fn a_peer_that_closes_each_new_connection_has_got_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = to(listener.local_addr().unwrap());
    let balancer = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let sink = build(&Settings::new(Transport::Tcp(at)), Format::Text);
    for _ in 0..6 {
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry]);
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Unreachable);
    }
    balancer.abort();
}

/// Takes a connection and what comes first on it, and breaks it off.
async fn reads_once_and_resets(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn frames_that_a_lost_peer_does_not_take_back_are_told_without_a_new_event_and_again_when_they_are_home() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let sink = build(&Settings::new(Transport::Tcp(to(at))), Format::Text);
    let mut arrears = sink.arrears().unwrap();
    assert!(sink.deliver(&events(2, false)).await.fault.is_none());
    reads_once_and_resets(&listener).await;
    drop(listener);
    let wait = arrears.wait_for(|arrears| arrears.fault.is_some());
    let told = tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap().clone();
    assert_eq!((told.owed, told.fault.unwrap().kind), (2, FaultKind::Unreachable));
    let listener = TcpListener::bind(at).await.unwrap();
    let wait = arrears.wait_for(|arrears| arrears.fault.is_none() && arrears.owed == 0);
    let home = tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap().clone();
    assert_eq!(home, Arrears::default());
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0, "they came before that");
}

#[tokio::test]
async fn frames_still_owed_when_the_sink_is_closed_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let sink = build(&Settings::new(Transport::Tcp(to(at))), Format::Text);
    assert!(sink.deliver(&events(3, false)).await.fault.is_none());
    reads_once_and_resets(&listener).await;
    drop(listener);
    tokio::time::timeout(PATIENCE, sink.close()).await.unwrap();
    assert_eq!(sink.arrears().unwrap().borrow().owed, 3);
}

#[test]
fn the_table_of_the_readme_has_no_problem() {
    let readme = r#"
        transport = "tls"
        address = "logs.example:6514"
        tls = { ca = "ca.pem", cert = "lure.pem", key = "lure.key" }
        framing = "octet-counting"
        rfc = "5424"
        facility = "local0"
    "#;
    assert_eq!(read(readme).1, 0);
    assert_eq!(read("transport = \"udp\"\naddress = \"logs.example\"").1, 0);
    assert_eq!(read("transport = \"unix\"\naddress = \"/dev/log\"").1, 0);
}

#[test]
fn each_mistake_in_the_table_is_a_problem() {
    for (toml, why) in [
        ("address = \"logs.example\"", "no transport"),
        ("transport = \"tcp\"\naddress = \"logs.example:99999\"", "port"),
        ("transport = \"unix\"\naddress = \"dev/log\"", "relative path"),
        (
            "transport = \"tcp\"\naddress = \"logs.example\"\ntls = { ca = \"ca.pem\" }",
            "tls without tls",
        ),
        (
            "transport = \"tls\"\naddress = \"logs.example\"\ntls = \"off\"",
            "tls that is off",
        ),
        (
            "transport = \"tls\"\naddress = \"logs.example\"\ntls = { cert = \"a.pem\" }",
            "certificate without key",
        ),
        (
            "transport = \"tls\"\naddress = \"logs.example\"\ntls = { fingerprint = \"ab\" }",
            "short fingerprint",
        ),
        (
            "transport = \"tcp\"\naddress = \"logs.example\"\nfacility = \"local9\"",
            "facility",
        ),
        (
            "transport = \"tcp\"\naddress = \"logs.example\"\nmessage_bytes_max = 100",
            "too small",
        ),
    ] {
        assert!(read(toml).1 >= 1, "{why}");
    }
}

#[test]
fn what_has_no_effect_or_another_one_is_a_warning() {
    let udp = "transport = \"udp\"\naddress = \"logs.example\"\n";
    for (line, said) in [
        (
            "framing = \"newline\"",
            "`framing = \"newline\"` with `transport = \"udp\"`",
        ),
        ("tls = \"off\"", "`tls = \"off\"` with `transport = \"udp\"`"),
        ("app_name = \"a b\"", "`a b`, sent as `a_b`"),
        ("hostname = \"\u{fc} x\"", "`\u{fc} x`, sent as `__x`"),
    ] {
        let (table, problems) = Table::for_test(&format!("{udp}{line}"), SINK.keys);
        let _ = (SINK.parse)(&table);
        assert!(!problems.has_errors(), "{line}");
        let found: Vec<_> = problems.take().into_iter().map(|problem| problem.found).collect();
        assert_eq!(found, [said], "{line}");
    }
}

#[test]
fn a_missing_certificate_file_refuses_the_sink_by_name() {
    let (settings, _) = read("transport = \"tls\"\naddress = \"logs.example\"\ntls = { ca = \"missing.pem\" }");
    let common = Common {
        name: "rsyslog".to_owned(),
        format: Format::Ecs,
        observer: String::new(),
        resolver: Resolver::default(),
        notices: NoticeSettings::default(),
    };
    let fault = settings.build(&common).err().unwrap();
    assert_eq!(fault.kind, FaultKind::Config);
    assert!(fault.message.contains("missing.pem"), "{}", fault.message);
}

/// Tasks of this runtime, once those that end have had turns enough to end.
async fn tasks() -> usize {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn no_task_outlives_the_sink_and_its_connection_goes_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings::new(Transport::Tcp(to(listener.local_addr().unwrap())));
    let before = tasks().await;
    for closes in [true, false] {
        let sink = build(&settings, Format::Ecs);
        assert_eq!(sink.deliver(&events(1, false)).await.outcomes, [Outcome::Delivered]);
        let (mut peer, _) = listener.accept().await.unwrap();
        assert_eq!(tasks().await, before + 1);
        let read = async {
            let mut all = Vec::new();
            // An end or a reset: the connection is gone either way.
            let _ = peer.read_to_end(&mut all).await;
            drop(peer);
            all.len()
        };
        let end = async {
            if closes {
                sink.close().await;
            }
            drop(sink);
        };
        let (read, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(read, end) })
            .await
            .unwrap();
        assert!(read > 100);
        assert_eq!(tasks().await, before, "closed: {closes}");
    }
}

#[tokio::test]
async fn a_closed_sink_takes_nothing_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings::new(Transport::Tcp(to(listener.local_addr().unwrap())));
    let sink = build(&settings, Format::Ecs);
    assert_eq!(sink.deliver(&events(1, false)).await.outcomes, [Outcome::Delivered]);
    drop(listener);
    sink.close().await;
    let fault = sink.deliver(&events(1, false)).await.fault.unwrap();
    assert!(fault.message.contains("the sink is closed"), "{}", fault.message);
}
