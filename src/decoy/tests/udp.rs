//! Datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use trapline_schemas::{Action, Field, Value};

use crate::decoy::DecoySpec;
use crate::decoy::services::{FromPort, Service, Speak, UdpAnswer, UdpCredential};
use crate::decoy::testing::{Stage, actions, fact, personality, spec_of};
use crate::roles::{Hit, Touch};

/// Says its datagram back, one byte longer if that begins with `+`; takes what follows `community=` for a secret.
static ECHO: Service = Service {
    name: "echo",
    personality: "test",
    look: |_| unreachable!("the personality is another's"),
    provide: None,
    speak: Speak::Datagram(|asked| {
        let bytes = asked.bytes;
        let mut reply = bytes.to_vec();
        reply.extend(bytes.starts_with(b"+").then_some(0));
        let credential = bytes.starts_with(b"community=").then(|| UdpCredential {
            kind: "community",
            user: Vec::new(),
            secret: 10..bytes.len(),
            proof: None,
            facts: Vec::new(),
        });
        UdpAnswer {
            reply: Some(reply),
            from: if bytes.starts_with(b"new port") {
                FromPort::New
            } else {
                FromPort::Same
            },
            credential,
            ..UdpAnswer::default()
        }
    }),
};

fn echo() -> DecoySpec {
    spec_of(
        &ECHO,
        personality("service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n"),
    )
}

async fn client(from: &str, to: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind(from).await.unwrap();
    client.connect(to).await.unwrap();
    client
}

async fn answer(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let count = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut buffer)).await;
    buffer.truncate(count.expect("an answer comes in time").unwrap());
    buffer
}

#[tokio::test]
async fn a_datagram_is_one_probe_and_is_answered_with_no_more_bytes_than_it_had() {
    let mut stage = Stage::open(echo()).await;
    let client = client("127.0.0.1:0", stage.address).await;
    client.send(b"+longer").await.unwrap();
    client.send(b"same").await.unwrap();
    // The longer answer to the first one was not sent: the first that comes is to the second.
    assert_eq!(answer(&client).await, b"same");
    let (first, second) = (stage.hit().await, stage.hit().await);
    assert_eq!(actions(&[first, second]), [Action::UdpProbe, Action::UdpProbe]);
    assert_eq!(actions(&stage.end().await), []);
}

#[tokio::test]
async fn a_probe_says_who_sent_it_what_was_touched_and_what_it_held() {
    let mut stage = Stage::open_at("0.0.0.0:0", echo(), 64).await;
    let touched = SocketAddr::new("127.0.0.9".parse().unwrap(), stage.address.port());
    let client = client("127.0.0.5:0", touched).await;
    client.send(b"hello").await.unwrap();
    // A connected socket takes answers only from the address it sent to.
    assert_eq!(answer(&client).await, b"hello");
    let probe = stage.hit().await;
    assert_eq!(
        (probe.contact.peer, probe.contact.local),
        (client.local_addr().unwrap(), touched)
    );
    assert_eq!(probe.capture.as_deref().unwrap().kept, b"hello");
    assert_eq!(fact(&probe, Field::DestinationBytes), Some(&Value::Int(5)));
}

#[tokio::test]
async fn an_answer_from_a_new_port_comes_from_the_address_that_was_touched_and_each_from_another_port() {
    for (bound, ip) in [("0.0.0.0:0", "127.0.0.9"), ("127.0.0.1:0", "127.0.0.1")] {
        let stage = Stage::open_at(bound, echo(), 64).await;
        let touched = SocketAddr::new(ip.parse().unwrap(), stage.address.port());
        let client = UdpSocket::bind("127.0.0.5:0").await.unwrap();
        let mut ports = Vec::new();
        for _ in 0..8 {
            client.send_to(b"new port", touched).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_secs(10), client.recv_from(&mut [0; 16])).await;
            let (count, from) = answer.expect("an answer comes in time").unwrap();
            assert_eq!((count, from.ip()), (8, touched.ip()));
            ports.push(from.port());
        }
        assert!(!ports.contains(&touched.port()), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        // The kernel draws them: two of eight may be one, not all.
        assert!(ports.len() > 4, "{ports:?}");
    }
}

#[tokio::test]
async fn beyond_its_bound_a_source_is_counted_exactly_and_not_answered() {
    let mut decoy = echo();
    decoy.limits.datagrams_per_source_per_minute = 3;
    let mut stage = Stage::open(decoy).await;
    let noisy = client("127.0.0.5:0", stage.address).await;
    for _ in 0..100 {
        noisy.send(b"12345").await.unwrap();
    }
    let quiet = client("127.0.0.6:0", stage.address).await;
    quiet.send(b"x").await.unwrap();
    assert_eq!(answer(&quiet).await, b"x");
    for _ in 0..4 {
        assert_eq!(fact(&stage.hit().await, Field::SourcePackets), Some(&Value::Int(1)));
    }
    let rest = stage.end().await;
    assert_eq!(actions(&rest), [Action::UdpProbe]);
    assert_eq!(fact(&rest[0], Field::SourcePackets), Some(&Value::Int(97)));
    assert_eq!(fact(&rest[0], Field::SourceBytes), Some(&Value::Int(97 * 5)));
    let mut answers = 0;
    while noisy.try_recv(&mut [0; 16]).is_ok() {
        answers += 1;
    }
    assert!(answers <= 3, "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_count_is_told_when_its_minute_is_over() {
    let mut decoy = echo();
    decoy.limits.datagrams_per_source_per_minute = 1;
    let mut stage = Stage::open(decoy).await;
    let client = client("127.0.0.5:0", stage.address).await;
    client.send(b"a").await.unwrap();
    client.send(b"b").await.unwrap();
    let (probe, sum) = (stage.hit().await, stage.hit().await);
    assert_eq!(fact(&sum, Field::SourcePackets), Some(&Value::Int(1)));
    assert_eq!(sum.contact.session, probe.contact.session);
    client.send(b"c").await.unwrap();
    assert_ne!(stage.hit().await.contact.session, probe.contact.session);
}

#[tokio::test]
async fn a_community_is_a_credential_and_masked_in_the_capture() {
    let mut stage = Stage::open(echo()).await;
    let client = client("127.0.0.1:0", stage.address).await;
    client.send(b"community=private").await.unwrap();
    let (probe, credential) = (stage.hit().await, stage.hit().await);
    assert_eq!(credential.action, Action::Credential);
    assert_eq!(*credential.secret.as_ref().unwrap().bytes, *b"private");
    assert_eq!((probe.touch, credential.touch), (Touch::Intent, Touch::Proof));
    let capture = probe.capture.as_deref().unwrap();
    assert_eq!(capture.secrets, std::slice::from_ref(&(10..17)));
    assert!(capture.has_secret);
}

#[tokio::test]
async fn empty_and_largest_datagrams_are_probes_too() {
    let mut stage = Stage::open(echo()).await;
    let client = client("127.0.0.1:0", stage.address).await;
    client.send(b"").await.unwrap();
    client.send(&[b'x'; 65_507]).await.unwrap();
    let (empty, largest) = (stage.hit().await, stage.hit().await);
    assert!(empty.capture.is_none());
    assert_eq!(largest.capture.as_deref().unwrap().kept.len(), 65_507);
}

#[tokio::test]
async fn datagrams_that_the_recorder_has_no_room_for_are_counted() {
    let mut stage = Stage::open_at("127.0.0.1:0", echo(), 1).await;
    let client = client("127.0.0.1:0", stage.address).await;
    for _ in 0..10 {
        client.send(b"x").await.unwrap();
    }
    // Only the first found room and was answered; by then the others may still be in the socket.
    assert_eq!(answer(&client).await, b"x");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let first = stage.hit().await;
    let mut packets = vec![first];
    packets.extend(stage.end().await);
    let sum: i64 = packets
        .iter()
        .filter_map(|hit| match fact(hit, Field::SourcePackets) {
            Some(Value::Int(count)) => Some(*count),
            _ => None,
        })
        .sum();
    assert_eq!(sum, 10);
    assert_eq!(packets.len(), 2);
}

fn packets(hits: &[Hit]) -> u64 {
    let packets = hits.iter().map(|hit| match fact(hit, Field::SourcePackets) {
        Some(Value::Int(count)) => u64::try_from(*count).unwrap(),
        _ => 0,
    });
    packets.sum()
}

/// Datagrams of a flood.
const FLOOD: u64 = 20_000;

/// Sends a flood while the decoy's task gets no turn: its socket fills up.
fn flood(to: SocketAddr) {
    let client = std::net::UdpSocket::bind("127.0.0.6:0").unwrap();
    for _ in 0..FLOOD {
        client.send_to(b"x", to).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_dropped_is_told_to_the_last_datagram_though_none_comes_after() {
    let mut stage = Stage::open(echo()).await;
    let first = client("127.0.0.5:0", stage.address).await;
    first.send(b"is it there").await.unwrap();
    stage.hit().await;
    flood(stage.address);
    let (mut read, mut dropped) = (0, 0);
    let all = async {
        while read + dropped < FLOOD {
            tokio::select! {
                Some(hit) = stage.hits.recv() => read += packets(&[hit]),
                Some(missed) = stage.missed.recv() => dropped += missed.datagrams,
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(300), all).await;
    assert!(told.is_ok(), "{read} read, {dropped} dropped");
    assert!(dropped > 1000, "{dropped}");
    assert_eq!(read + dropped, FLOOD);
}

#[tokio::test]
async fn what_the_kernel_dropped_is_told_at_the_end() {
    // Several times: the end may come before or after the first burst is read.
    for _ in 0..8 {
        let mut stage = Stage::open(echo()).await;
        let first = client("127.0.0.5:0", stage.address).await;
        first.send(b"is it there").await.unwrap();
        stage.hit().await;
        flood(stage.address);
        let (hits, missed) = stage.end_with_missed().await;
        let dropped = missed.iter().map(|missed| missed.datagrams).sum::<u64>();
        assert_eq!(packets(&hits) + dropped, FLOOD);
        assert!(missed.iter().all(|missed| missed.spec.name == "lure"));
    }
}

#[tokio::test]
async fn what_the_kernel_had_received_at_the_end_is_counted() {
    let mut stage = Stage::open(echo()).await;
    let first = client("127.0.0.5:0", stage.address).await;
    first.send(b"is it there").await.unwrap();
    stage.hit().await;
    let client = std::net::UdpSocket::bind("127.0.0.5:0").unwrap();
    // The decoy's task gets no turn between these and the end.
    for _ in 0..500 {
        client.send_to(b"x", stage.address).unwrap();
    }
    assert_eq!(packets(&stage.end().await), 500);
}
