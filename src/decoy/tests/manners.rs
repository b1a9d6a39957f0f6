//! Small things by which a product is known.

use std::time::Duration;

use crate::decoy::Limits;
use crate::decoy::personality::{Install, embedded};
use crate::decoy::testing::{Stage, spec};

#[tokio::test]
async fn apache_counts_down_how_often_it_still_keeps_a_connection_and_then_closes() {
    let stage = Stage::open(spec(embedded("apache-ubuntu-22.04").unwrap())).await;
    let request = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let said = stage.talk(request.repeat(101).as_bytes()).await;
    let said = String::from_utf8(said).unwrap();
    let kept: Vec<_> = said.matches("Keep-Alive: timeout=5, max=").collect();
    assert_eq!(kept.len(), 100);
    assert!(said.contains("max=100\r\n") && said.contains("max=1\r\n") && !said.contains("max=0"));
    assert_eq!(
        said.matches("Connection: close").count(),
        1,
        "the next answer is the last"
    );
}

#[tokio::test]
async fn postfix_calls_an_empty_line_bad_syntax() {
    let stage = Stage::open(spec(embedded("smtp-postfix").unwrap())).await;
    let said = stage.talk(b"\r\nWHAT\r\n").await;
    let said = String::from_utf8(said).unwrap();
    let answers: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(
        answers,
        ["500 5.5.2 Error: bad syntax", "500 5.5.2 Error: command not recognized"]
    );
}

#[test]
fn how_long_it_waits_is_each_installs_own_and_never_longer_than_configured() {
    let waits = |seed: u8, service: &str| {
        let install = Install::new("files03", "corp.local", [seed; 32]);
        let limits = Limits::default().drawn(install.draw(service));
        (limits.session, limits.idle)
    };
    let drawn: Vec<_> = (0..64).map(|seed| waits(seed, "ssh")).collect();
    assert_eq!(waits(7, "ssh"), drawn[7], "it stays what it is");
    assert_ne!(waits(7, "ftp"), drawn[7]);
    let whole = Limits::default();
    for (session, idle) in &drawn {
        assert!((whole.session * 3 / 4..=whole.session).contains(session));
        assert!((whole.idle * 3 / 4..=whole.idle).contains(idle));
    }
    let longest = drawn.iter().map(|(_, idle)| *idle).max();
    let shortest = drawn.iter().map(|(_, idle)| *idle).min();
    assert!(longest > shortest.map(|shortest| shortest + Duration::from_secs(3)));
}
