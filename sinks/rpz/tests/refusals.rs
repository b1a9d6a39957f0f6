//! What a server refuses, what is forged, and what is lost on the way: each is told for what it is.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail so")]

mod lab;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lab::{
    DIG, FAKETIME, NAMED, NAMED_RUN, NSUPDATE, SECRET, bind, member, reconcile, sink, wanted, within, within_time, zone,
};
use trapline_sink::FaultKind;
use trapline_sink::set::{Change, Put, SetSink, Standing, Wanted};

const BIND: &[&str] = &[NAMED, DIG, NSUPDATE];

/// What is told of an update that is refused.
async fn refused(sink: &Arc<dyn SetSink>) -> (FaultKind, String) {
    let applied = sink.apply(&[Change::Put(member("10.0.0.7"))]).await;
    assert_eq!(applied.outcomes, [Put::Retry]);
    let fault = applied.fault.unwrap();
    assert!(!fault.message.contains(SECRET));
    (fault.kind, fault.message)
}

#[test]
fn what_bind_refuses_is_told_with_what_to_look_at() {
    within("what_bind_refuses_is_told_with_what_to_look_at", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        let before = zone();
        let other = "YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMtLS0tLS0=";
        let key = |name: &str, secret: &str| format!("tsig = {{ name = \"{name}\", secret = \"{secret}\" }}");
        for (configured, kind, words) in [
            (key("trapline", other), FaultKind::Auth, ["BADSIG", "`tsig.secret`"]),
            (key("nobody", SECRET), FaultKind::Auth, ["BADKEY", "`tsig.name`"]),
            (
                key("other-512", SECRET),
                FaultKind::Auth,
                ["BADKEY", "`tsig.algorithm`"],
            ),
            // It may read, but not write.
            (
                key("reader", SECRET),
                FaultKind::Config,
                ["refuses", "update-policy { grant reader"],
            ),
            (
                "zone = \"fixed.test\"".to_owned(),
                FaultKind::Config,
                ["refuses", "must take updates"],
            ),
            (
                "zone = \"elsewhere.example\"".to_owned(),
                FaultKind::Config,
                ["NOTAUTH", "`elsewhere.example`"],
            ),
        ] {
            let (found, message) = refused(&sink(&configured)).await;
            assert_eq!(found, kind, "{message}");
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
            // A resolver answers for a zone that is not its own, but not with the SOA of it.
            let checked = sink(&configured).check().await.unwrap_err();
            assert!(
                checked.message == message || checked.message.contains("has no soa for the zone"),
                "{checked:?}"
            );
        }
        assert_eq!(zone(), before);
        let good = sink("").check().await.unwrap();
        assert!(good.contains("zone `rpz.test` of serial 1, 0 entries"), "{good}");
        let other = sink(
            "tsig = { name = \"other-512\", algorithm = \"hmac-sha512\", secret = \"c2VjcmV0LW9mLXRoaXJ0eS10d28tYnl0ZXMtLS0tLS0=\" }",
        );
        assert_eq!(reconcile(&other, &wanted(&["10.0.0.7"])).await, 1);
    });
}

#[test]
fn a_server_whose_clock_is_behind_is_told_with_by_how_much() {
    let name = "a_server_whose_clock_is_behind_is_told_with_by_how_much";
    within_time(name, CLOCK, Some("+1000s"), async || clock("behind ours").await);
}

#[test]
fn a_server_whose_clock_is_ahead_is_told_with_by_how_much() {
    let name = "a_server_whose_clock_is_ahead_is_told_with_by_how_much";
    within_time(name, CLOCK, Some("-1000s"), async || clock("ahead of ours").await);
}

const CLOCK: &[&str] = &[NAMED, DIG, FAKETIME];

async fn clock(word: &str) {
    let _bind = bind(NAMED_RUN, "");
    let (kind, message) = refused(&sink("")).await;
    assert_eq!(kind, FaultKind::Auth, "{message}");
    let is_near = (995..=1005).any(|seconds| message.contains(&format!("its clock is {seconds} s {word}")));
    assert!(is_near && message.contains("BADTIME"), "{message}");
}

/// Passes connections on to BIND; of answers only what `keep` returns.
fn between(keep: impl Fn(usize, Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let keep = Arc::new(keep);
    let count = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (keep, count) = (Arc::clone(&keep), Arc::clone(&count));
            std::thread::spawn(move || pass(&client.unwrap(), &*keep, &count));
        }
    });
    port
}

fn pass(mut client: &TcpStream, keep: &dyn Fn(usize, Vec<u8>) -> Option<Vec<u8>>, count: &AtomicUsize) -> Option<()> {
    let mut server = TcpStream::connect("10.0.0.53:53").unwrap();
    while let Some(request) = message(&mut client) {
        server.write_all(&request).ok()?;
        let is_update = request.get(4).is_some_and(|flags| flags & 0x78 == 0x28);
        let answer = message(&mut server)?;
        let answer = match is_update {
            true => keep(count.fetch_add(1, Ordering::SeqCst), answer),
            false => Some(answer),
        };
        match answer {
            Some(answer) => client.write_all(&answer).ok()?,
            None => client.shutdown(Shutdown::Both).ok()?,
        }
    }
    Some(())
}

/// A message with its length before it.
fn message(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let mut framed = vec![0; 2];
    stream.read_exact(&mut framed).ok()?;
    let length = u16::from_be_bytes([framed[0], framed[1]]);
    stream.take(length.into()).read_to_end(&mut framed).ok()?;
    Some(framed)
}

#[test]
fn an_answer_that_was_lost_does_no_harm() {
    within("an_answer_that_was_lost_does_no_harm", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        let empty = zone();
        // The first answer to an update is eaten, and so is the third.
        let port = between(|at, answer| (at % 2 == 1).then_some(answer));
        let sink = sink(&format!("server = \"127.0.0.1:{port}\""));
        let all = wanted(&["10.0.0.7", "203.0.113.77"]);
        let puts: Vec<_> = all.values().cloned().map(Change::Put).collect();
        let applied = sink.apply(&puts).await;
        assert_eq!(applied.outcomes, [Put::Retry, Put::Retry]);
        assert_eq!(applied.fault.unwrap().kind, FaultKind::Unreachable);
        let made = zone();
        assert_eq!(made.len(), empty.len() + 4, "{made:?}");
        assert_eq!(sink.apply(&puts).await.outcomes, [Put::DONE, Put::DONE]);
        assert_eq!(zone(), made, "no second entry");
        let takes: Vec<_> = all
            .keys()
            .map(|target| {
                Change::Take(Standing {
                    target: *target,
                    until: None,
                    decision: None,
                    handle: None,
                })
            })
            .collect();
        assert_eq!(sink.apply(&takes).await.outcomes, [Put::Retry, Put::Retry]);
        assert_eq!(zone(), empty);
        assert_eq!(sink.apply(&takes).await.outcomes, [Put::DONE, Put::DONE]);
        assert_eq!(reconcile(&sink, &Wanted::new()).await, 0);
    });
}

/// Takes the last record, the signature, away.
fn unsigned(mut answer: Vec<u8>) -> Vec<u8> {
    // The name of the key, `trapline`, begins the record: in small letters, uncompressed or behind the zone.
    let at = answer.windows(9).rposition(|part| part == b"\x08trapline").unwrap();
    answer.truncate(at);
    answer[13] -= 1;
    let length = u16::try_from(answer.len() - 2).unwrap();
    answer[..2].copy_from_slice(&length.to_be_bytes());
    answer
}

#[test]
fn a_forged_noerror_is_a_failure() {
    within("a_forged_noerror_is_a_failure", BIND, async || {
        let _bind = bind(NAMED_RUN, "");
        type Forge = fn(Vec<u8>) -> Vec<u8>;
        let spoilt: Forge = |mut answer| {
            let end = answer.len();
            // In the middle of the MAC, which is followed by six bytes.
            answer[end - 20] ^= 1;
            answer
        };
        for (forge, word) in [
            (unsigned as Forge, "without a signature"),
            (spoilt, "a signature that does not hold"),
        ] {
            let port = between(move |_, answer| Some(forge(answer)));
            let (kind, message) = refused(&sink(&format!("server = \"127.0.0.1:{port}\""))).await;
            assert_eq!(kind, FaultKind::Auth, "{message}");
            assert!(
                message.contains(word) && message.contains("taken for forged"),
                "{message}"
            );
        }
    });
}

#[tokio::test]
async fn a_server_that_says_nothing_or_nonsense_is_a_fault_in_time() {
    for (answer, kind) in [
        (&b""[..], FaultKind::Unreachable),
        (b"\x00", FaultKind::Unreachable),
        (b"\x00\x05hello", FaultKind::Server),
        (b"\x00\x0chello, world", FaultKind::Server),
        (b"\xff\xffhello", FaultKind::Unreachable),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = std::thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            client.write_all(answer).unwrap();
            // Held open until the client gives up.
            let _ = client.read_to_end(&mut Vec::new());
        });
        let sink = sink(&format!("server = \"127.0.0.1:{port}\"\ntimeout = \"200ms\""));
        let fault = sink.stands().await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault:?}");
        held.join().unwrap();
    }
}
