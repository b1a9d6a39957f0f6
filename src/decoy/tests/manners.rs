//! Small things by which a product is known.

use crate::decoy::personality::embedded;
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
        ["500 5.5.2 Error: bad syntax", "502 5.5.2 Error: command not recognized"]
    );
}
