//! Sessions and TCP listeners.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use sha2::{Digest as _, Sha256};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trapline_schemas::{Action, Field, Value};

use crate::decoy::personality::embedded;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{INPUT_BYTES_MAX, Session, SessionError};
use crate::decoy::testing::{Stage, actions, fact, personality, spec, spec_of};
use crate::decoy::{DecoySpec, Secrets};
use crate::roles::{Hit, Touch};

const GREETER: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\ngreeting = \"220 {{fqdn}}\\r\\n\"";
const SILENT: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";

/// A decoy that speaks a service of this file.
fn speaking(service: &'static Service) -> DecoySpec {
    spec_of(service, personality(SILENT))
}

macro_rules! service {
    ($name:ident, $session:ident, $body:block) => {
        static $name: Service = Service {
            name: "test",
            personality: "test",
            look: |_| unreachable!("the personality is another's"),
            provide: None,
            speak: Speak::Stream(|$session: &mut Session| async move $body.boxed()),
        };
    };
}

fn reason(hits: &[Hit]) -> String {
    match hits.last().and_then(|hit| fact(hit, Field::EventReason)) {
        Some(Value::Text(text)) => text.to_string(),
        other => format!("{other:?}"),
    }
}

fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

async fn connects(stage: &mut Stage, count: usize) -> Vec<Hit> {
    let mut connects = Vec::new();
    while connects.len() < count {
        let hit = stage.hit().await;
        if hit.action == Action::Connect {
            connects.push(hit);
        }
    }
    connects
}

#[tokio::test]
async fn peers_that_reset_at_once_are_all_recorded_from_where_they_came() {
    let mut decoy = spec(GREETER);
    decoy.limits.sessions_per_source = 1000;
    let mut stage = Stage::open(decoy).await;
    let mut sent = Vec::new();
    for _ in 0..300 {
        let client = stage.connect().await;
        sent.push(client.local_addr().unwrap());
        reset(client);
    }
    let seen = connects(&mut stage, 300).await;
    let seen: Vec<SocketAddr> = seen.iter().map(|hit| hit.contact.peer).collect();
    assert_eq!(seen, sent);
    assert!(stage.end().await.iter().all(|hit| hit.action != Action::Connect));
}

#[tokio::test]
async fn peers_that_close_at_once_are_all_recorded_and_nothing_else_is() {
    let mut decoy = spec(GREETER);
    decoy.limits.report_after = Duration::from_secs(50);
    let mut stage = Stage::open(decoy).await;
    for _ in 0..300 {
        drop(stage.connect().await);
    }
    let seen = connects(&mut stage, 300).await;
    assert!(seen.iter().all(|hit| hit.contact.local == stage.address));
    assert_eq!(actions(&stage.end().await), []);
}

#[tokio::test]
async fn connections_that_wait_in_the_backlog_at_the_stop_are_recorded() {
    let mut stage = Stage::open(spec(SILENT)).await;
    drop(stage.connect().await);
    assert_eq!(stage.hit().await.action, Action::Connect);
    // This runtime has one thread: nothing more is accepted until the role is awaited.
    let clients: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(stage.address).unwrap())
        .collect();
    let told = stage.end().await;
    assert_eq!(
        told.iter().filter(|hit| hit.action == Action::Connect).count(),
        clients.len()
    );
}

#[tokio::test]
async fn a_session_that_said_something_is_a_connect_a_payload_and_an_end() {
    let mut stage = Stage::open(spec(GREETER)).await;
    assert_eq!(stage.talk(b"HELO x\r\n").await, b"220 files03.corp.local\r\n");
    let hits = stage.session().await;
    assert_eq!(actions(&hits), [Action::Connect, Action::Payload, Action::SessionEnd]);
    let capture = hits[1].capture.as_deref().unwrap();
    assert_eq!((&capture.kept[..], capture.seen), (&b"HELO x\r\n"[..], 8));
    assert_eq!(capture.sha256, <[u8; 32]>::from(Sha256::digest(b"HELO x\r\n")));
    assert_eq!(hits[2].touch, Touch::Intent);
    assert_eq!(fact(&hits[2], Field::SourceBytes), Some(&Value::Int(8)));
    assert_eq!(fact(&hits[2], Field::DestinationBytes), Some(&Value::Int(24)));
    assert_eq!(reason(&hits), "the peer closed");
    assert!(hits.iter().all(|hit| hit.contact.session == hits[0].contact.session));
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_is_ended_by_the_idle_limit() {
    let mut stage = Stage::open(spec(SILENT)).await;
    let _client = stage.connect().await;
    let hits = stage.session().await;
    assert_eq!(actions(&hits), [Action::Connect, Action::SessionEnd]);
    assert_eq!(reason(&hits), "limit `idle` reached");
}

#[tokio::test(start_paused = true)]
async fn a_slow_drip_is_ended_by_the_total_limit() {
    let mut stage = Stage::open(spec(SILENT)).await;
    let mut client = stage.connect().await;
    let started = tokio::time::Instant::now();
    let drip = async {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    };
    let hits = tokio::select! {
        hits = stage.session() => hits,
        () = drip => panic!("the drip ended before the session did"),
    };
    assert_eq!(started.elapsed().as_secs(), 60);
    assert_eq!(actions(&hits), [Action::Connect, Action::Payload, Action::SessionEnd]);
    assert_eq!(reason(&hits), "limit `session` reached");
}

service!(TALKER, session, {
    loop {
        session.send(&[b'x'; 8192]).await?;
    }
});

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_ended_by_the_write_limit() {
    let mut stage = Stage::open(speaking(&TALKER)).await;
    let _client = stage.connect().await;
    assert_eq!(reason(&stage.session().await), "limit `write` reached");
}

service!(HOARDER, session, {
    loop {
        session.fill().await?;
    }
});

#[tokio::test]
async fn input_that_nobody_consumes_is_bounded() {
    let mut stage = Stage::open(speaking(&HOARDER)).await;
    let mut client = stage.connect().await;
    let _ = client.write_all(&vec![b'x'; 1 << 20]).await;
    let hits = stage.session().await;
    assert_eq!(reason(&hits), "limit `input` reached");
    assert_eq!(hits[1].capture.as_deref().unwrap().seen, INPUT_BYTES_MAX as u64);
}

#[tokio::test]
async fn eight_mebibytes_are_one_payload_with_the_digest_of_all_and_the_first_64_kib() {
    let mut stage = Stage::open(spec(SILENT)).await;
    let garbage: Vec<u8> = (0..8u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    stage.talk(&garbage).await;
    let hits = stage.session().await;
    assert_eq!(actions(&hits), [Action::Connect, Action::Payload, Action::SessionEnd]);
    let capture = hits[1].capture.as_deref().unwrap();
    assert_eq!(capture.kept, garbage[..64 << 10]);
    assert_eq!(capture.seen, 8 << 20);
    assert_eq!(capture.sha256, <[u8; 32]>::from(Sha256::digest(&garbage)));
}

#[tokio::test]
async fn a_session_that_sends_too_much_is_ended() {
    let mut decoy = spec(SILENT);
    decoy.limits.received_bytes_max = 100_000;
    let mut stage = Stage::open(decoy).await;
    let mut client = stage.connect().await;
    let _ = client.write_all(&vec![0; 1 << 20]).await;
    assert_eq!(reason(&stage.session().await), "limit `received_bytes_max` reached");
}

#[tokio::test]
async fn a_reset_midway_keeps_what_came_before() {
    let mut stage = Stage::open(spec(SILENT)).await;
    let mut client = stage.connect().await;
    client.write_all(b"half a li").await.unwrap();
    assert_eq!(stage.hit().await.action, Action::Connect);
    reset(client);
    let hits = stage.session().await;
    // The kernel may drop unread bytes with the reset; if they were read, they are kept.
    match &hits[..] {
        [payload, end] => {
            assert_eq!(payload.capture.as_deref().unwrap().kept, b"half a li");
            assert_eq!(end.action, Action::SessionEnd);
        }
        other => assert_eq!(actions(other), [Action::SessionEnd]),
    }
    assert_eq!(reason(&hits), "the peer reset");
}

/// What a peer does that has said all it has to say.
async fn leave(mut client: TcpStream, by_reset: bool) {
    match by_reset {
        true => reset(client),
        // It is closed with the greeting unread, or not, as it comes.
        false => client.shutdown().await.unwrap(),
    }
}

#[tokio::test]
async fn what_a_peer_said_before_it_left_is_read_to_the_end() {
    let mut stage = Stage::open(spec(embedded("vsftpd-3.0.5").unwrap())).await;
    for by_reset in [true, false].repeat(20) {
        let mut client = stage.connect().await;
        client.write_all(b"USER root\r\nPASS hunter2\r\n").await.unwrap();
        leave(client, by_reset).await;
        let hits = stage.session().await;
        let expected = [Action::Connect, Action::Credential, Action::Payload, Action::SessionEnd];
        assert_eq!(actions(&hits), expected, "{by_reset}: {}", reason(&hits));
        let ended = ["the peer reset", "the peer closed"].contains(&reason(&hits).as_str());
        assert!(ended, "{by_reset}: {}", reason(&hits));
    }
}

service!(LOGIN, session, {
    session.handshake(vec![]).await;
    session.handshake(vec![]).await;
    loop {
        let count = session.fill().await?;
        let line = session.input().to_vec();
        let range = session.consume(count);
        let secret = line
            .strip_prefix(b"PASS ")
            .unwrap_or_default()
            .trim_ascii_end()
            .to_vec();
        if secret.is_empty() {
            session.query(&line, vec![]).await;
        } else {
            let from = range.start + 5;
            session.mark_secret(from..from + secret.len() as u64);
            session.credential("password", b"root", &secret, vec![]).await;
        }
        session.send(b"530\r\n").await?;
    }
});

async fn lines(stage: &Stage, lines: &[&str]) {
    let mut client = stage.connect().await;
    for line in lines {
        client.write_all(line.as_bytes()).await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
    }
}

#[tokio::test]
async fn secrets_are_masked_in_the_capture_and_in_later_queries() {
    let mut stage = Stage::open(speaking(&LOGIN)).await;
    lines(&stage, &["PASS hunter2\r\n", "PASS abc\r\n", "echo xhunter2x abc\r\n"]).await;
    let hits = stage.session().await;
    let (credential, query, payload) = (&hits[2], &hits[4], &hits[5]);
    assert_eq!(hits[1].action, Action::Handshake);
    assert_eq!(*credential.secret.as_ref().unwrap().bytes, *b"hunter2");
    assert_eq!(credential.touch, Touch::Proof);
    let typed = Value::Texts(vec!["echo x*******x abc\\x0d\\x0a".into()]);
    assert_eq!(fact(query, Field::Commands), Some(&typed));
    let capture = payload.capture.as_deref().unwrap();
    let masked: Vec<&[u8]> = capture
        .secrets
        .iter()
        .map(|range| &capture.kept[range.clone()])
        .collect();
    // Three bytes occur by chance, so `abc` is masked only where it was typed as a secret.
    assert_eq!(masked, [&b"hunter2"[..], b"abc", b"hunter2"]);
    assert!(capture.has_secret);
}

#[tokio::test]
async fn with_clear_secrets_nothing_is_masked() {
    let mut decoy = speaking(&LOGIN);
    decoy.secrets = Secrets::Clear;
    let mut stage = Stage::open(decoy).await;
    lines(&stage, &["PASS hunter2\r\n", "echo hunter2\r\n"]).await;
    let hits = stage.session().await;
    let typed = Value::Texts(vec!["echo hunter2\\x0d\\x0a".into()]);
    assert_eq!(fact(&hits[3], Field::Commands), Some(&typed));
    let capture = hits[4].capture.as_deref().unwrap();
    assert!(capture.secrets.is_empty() && !capture.has_secret);
}

#[tokio::test]
async fn credentials_and_queries_beyond_their_limits_are_counted_at_the_end() {
    let mut decoy = speaking(&LOGIN);
    decoy.limits.credentials_per_session = 2;
    decoy.limits.queries_per_session = 1;
    let mut stage = Stage::open(decoy).await;
    lines(
        &stage,
        &["PASS aaaa\r\n", "PASS bbbb\r\n", "PASS cccc\r\n", "id\r\n", "id\r\n"],
    )
    .await;
    let hits = stage.session().await;
    let of = |action| hits.iter().filter(|hit| hit.action == action).collect::<Vec<_>>();
    assert_eq!(of(Action::Handshake).len(), 1);
    assert_eq!(of(Action::Credential).len(), 2);
    assert_eq!(of(Action::Query).len(), 1);
    assert_eq!(
        fact(of(Action::Credential)[1], Field::EventSequence),
        Some(&Value::Int(2))
    );
    let end = hits.last().unwrap();
    assert_eq!(fact(end, Field::SessionCredentials), Some(&Value::Int(3)));
    assert_eq!(fact(end, Field::SessionQueries), Some(&Value::Int(2)));
    let capture = of(Action::Payload)[0].capture.as_deref().unwrap();
    assert_eq!(capture.secrets.len(), 3, "a secret beyond the limit is masked as well");
}

service!(FAILS, session, {
    session.fill().await?;
    panic!("a parser's mistake")
});

#[tokio::test]
async fn a_service_that_panics_ends_its_session_alone_and_the_cause_is_kept() {
    let mut stage = Stage::open(speaking(&FAILS)).await;
    for _ in 0..2 {
        stage.talk(b"poison").await;
        let hits = stage.session().await;
        assert_eq!(actions(&hits), [Action::Connect, Action::Payload, Action::SessionEnd]);
        assert_eq!(hits[1].capture.as_deref().unwrap().kept, b"poison");
        assert_eq!(reason(&hits), "closed: the service failed");
    }
}

service!(READS_ONE_BYTE, session, {
    session.fill().await?;
    session.consume(1);
    session.send(b"bye").await
});

service!(ABORTS, session, {
    session.fill().await?;
    session.drop_input();
    session.abort();
    Ok::<(), SessionError>(())
});

#[tokio::test]
async fn the_peer_sees_a_reset_when_asked_for_and_else_an_end() {
    for (service, said, resets) in [
        (&READS_ONE_BYTE, &b"xy"[..], false),
        (&READS_ONE_BYTE, b"x", false),
        (&ABORTS, b"x", true),
    ] {
        let mut stage = Stage::open(speaking(service)).await;
        let mut client = stage.connect().await;
        client.write_all(said).await.unwrap();
        let hits = stage.session().await;
        assert_eq!(reason(&hits), "the decoy closed");
        let end = client.read_to_end(&mut Vec::new()).await;
        let was_reset = end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert_eq!(was_reset, resets, "{said:?}");
    }
}

#[tokio::test]
async fn a_source_beyond_its_sessions_is_recorded_and_closed() {
    let mut decoy = spec(GREETER);
    decoy.limits.sessions_per_source = 2;
    decoy.limits.report_after = Duration::ZERO;
    let mut stage = Stage::open(decoy).await;
    let mut held = [stage.connect().await, stage.connect().await];
    for client in &mut held {
        client.read_exact(&mut [0; 24]).await.unwrap();
    }
    let mut third = stage.connect().await;
    let mut said = Vec::new();
    let _ = third.read_to_end(&mut said).await;
    assert_eq!(said, b"");
    assert_eq!(connects(&mut stage, 3).await.len(), 3);
    drop(held);
    stage.session().await;
    stage.session().await;
}

#[tokio::test]
async fn at_the_limit_of_sessions_the_longest_idle_one_makes_room() {
    let mut decoy = spec(GREETER);
    decoy.limits.sessions = 2;
    decoy.limits.report_after = Duration::ZERO;
    let mut stage = Stage::open(decoy).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = stage.connect().await;
        client.read_exact(&mut [0; 24]).await.unwrap();
        clients.push(client);
        // The clock that ages sessions counts milliseconds.
        let now = std::time::Instant::now();
        while now.elapsed() < Duration::from_millis(3) {
            tokio::task::yield_now().await;
        }
    }
    let first = clients[0].local_addr().unwrap();
    let hits = stage.session().await;
    assert_eq!(reason(&hits), "closed: too many sessions");
    assert_eq!(hits.last().unwrap().contact.peer, first);
    clients[0].read_to_end(&mut Vec::new()).await.unwrap();
    clients[2].write_all(b"still here").await.unwrap();
}

#[tokio::test]
async fn a_full_report_channel_makes_sessions_wait_and_loses_nothing() {
    let mut stage = Stage::open_at("127.0.0.1:0", spec(SILENT), 1).await;
    let address = stage.address;
    let clients = (0..50).map(|_| async move {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    });
    let clients = tokio::runtime::Handle::current().spawn(futures_util::future::join_all(clients));
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..150 {
        *counts.entry(stage.hit().await.action).or_insert(0) += 1;
    }
    clients.await.unwrap();
    assert_eq!(Vec::from_iter(counts.into_values()), [50, 50, 50]);
    assert_eq!(actions(&stage.end().await), []);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_stands_still_holds_no_peer_longer_than_a_session_and_loses_nothing() {
    let mut stage = Stage::open_at("127.0.0.1:0", speaking(&LOGIN), 1).await;
    let mut client = stage.connect().await;
    let started = tokio::time::Instant::now();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(started.elapsed().as_secs(), 60);
    let hits = stage.session().await;
    assert_eq!(actions(&hits), [Action::Connect, Action::Handshake, Action::SessionEnd]);
    assert_eq!(reason(&hits), "closed: the journal is slow");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_sessions_after_the_grace_and_reports_their_end() {
    let stage = Stage::open(spec(SILENT)).await;
    let mut client = stage.connect().await;
    let told = stage.end().await;
    assert_eq!(actions(&told), [Action::Connect, Action::SessionEnd]);
    assert_eq!(reason(&told), "closed: trapline stops");
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_decoy_frees_its_address_and_its_sessions_end_by_their_own_limits() {
    let mut stage = Stage::open(spec(SILENT)).await;
    let client = stage.connect().await;
    assert_eq!(stage.hit().await.action, Action::Connect);
    stage.close().await;
    assert!(TcpStream::connect(stage.address).await.is_err());
    crate::decoy::bind::bind(stage.address, crate::decoy::services::Transport::Tcp).expect("the address is free");
    assert_eq!(reason(&stage.session().await), "limit `idle` reached");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_changed_decoy_keeps_its_socket_and_its_sessions() {
    let mut stage = Stage::open(spec(SILENT)).await;
    let early = stage.connect().await;
    assert_eq!(stage.hit().await.action, Action::Connect);
    let other = DecoySpec {
        name: "other".into(),
        ..spec(SILENT)
    };
    stage.change(other).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _late = stage.connect().await;
    assert_eq!(stage.hit().await.contact.spec.name, "other");
    drop(early);
    let ended = stage.hit().await;
    assert_eq!((ended.action, &*ended.contact.spec.name), (Action::SessionEnd, "lure"));
    assert_eq!(reason(&[ended]), "the peer closed");
}

#[tokio::test]
async fn an_ipv6_decoy_records_ipv6_addresses() {
    let mut stage = match std::net::TcpListener::bind("[::1]:0") {
        Ok(_) => Stage::open_at("[::]:0", spec(SILENT), 64).await,
        Err(_) => return,
    };
    let to = SocketAddr::new("::1".parse().unwrap(), stage.address.port());
    let client = TcpStream::connect(to).await.unwrap();
    let hit = stage.hit().await;
    assert_eq!(
        (hit.contact.peer, hit.contact.local),
        (client.local_addr().unwrap(), to)
    );
}

#[test]
fn a_mapped_address_is_its_ipv4_address() {
    let mapped = "[::ffff:192.0.2.1]:80".parse().unwrap();
    assert_eq!(
        crate::decoy::listener::canonical(mapped),
        "192.0.2.1:80".parse().unwrap()
    );
}

#[test]
fn a_session_costs_little_before_its_peer_says_anything() {
    assert!(size_of::<Session>() <= 160, "{}", size_of::<Session>());
    assert!(size_of::<Hit>() <= 96, "{}", size_of::<Hit>());
}

service!(DRAINS, session, {
    session.fill().await?;
    session.drain(Duration::ZERO).await
});

#[tokio::test]
async fn a_drain_lasts_no_longer_than_it_may_however_much_there_is_to_read() {
    let mut stage = Stage::open(speaking(&DRAINS)).await;
    let mut client = stage.connect().await;
    // All of it waits in the kernel before the first is read: this runtime has one thread.
    client.write_all(&[b'x'; 32 << 10]).await.unwrap();
    let hits = stage.session().await;
    let read = fact(hits.last().unwrap(), Field::SourceBytes);
    assert_eq!(read, Some(&Value::from(4096_u32)));
}
