//! What is not a whole login is a secret too: no captured form shows it.

use trapline_schemas::Action;

use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, spec};

/// The capture of a session in which the peer sends `bytes` and ends its side, with `*` in place of secrets.
async fn captured(personality: &str, bytes: &[u8]) -> String {
    let mut stage = Stage::open(spec(embedded(personality).unwrap())).await;
    stage.talk(bytes).await;
    let hits = stage.session().await;
    let payload = hits.into_iter().find(|hit| hit.action == Action::Payload).unwrap();
    let mut capture = payload.capture.unwrap();
    for range in &capture.secrets {
        capture.kept[range.clone()].fill(b'*');
    }
    assert_eq!(capture.has_secret, !capture.secrets.is_empty());
    String::from_utf8(capture.kept).unwrap()
}

#[tokio::test]
async fn a_login_that_was_cut_short_is_in_no_capture() {
    for (personality, bytes, shown) in [
        ("telnet-busybox", "root\r\nhunter2", "root\r\n*******"),
        ("telnet-busybox", "root\r\nhunter2\x03", "root\r\n*******\x03"),
        ("vsftpd-3.0.5", "USER root\r\nPASS hunter2", "USER root\r\n************"),
        (
            "apache-ubuntu-22.04",
            "GET / HTTP/1.1\r\nAuthorization: Basic cm9vdDpodW50ZXIy",
            "*****************************************************",
        ),
        (
            "smtp-postfix",
            "AUTH LOGIN\r\ncm9vdA==\r\naHVudGVyMg==",
            "AUTH LOGIN\r\ncm9vdA==\r\n************",
        ),
    ] {
        assert_eq!(captured(personality, bytes.as_bytes()).await, shown, "{personality}");
    }
}

#[tokio::test]
async fn what_was_cut_short_and_names_no_secret_is_shown() {
    let half = "GET /setup.cgi HTTP/1.1\r\nHost: a";
    assert_eq!(captured("apache-ubuntu-22.04", half.as_bytes()).await, half);
}

#[tokio::test]
async fn logins_sent_ahead_of_a_server_that_hangs_up_are_in_no_capture() {
    let ahead = "root\r\nhunter0\r\n".repeat(9);
    let shown = captured("telnet-busybox", ahead.as_bytes()).await;
    assert!(
        shown.starts_with("root\r\n*******") && !shown.contains("hunter"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_login_before_a_host_is_in_no_capture() {
    for (sent, shown) in [
        (
            "GET / HTTP/1.1\r\nHost: bob:hunter2@lure\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: bob:*******@lure\r\n\r\n",
        ),
        (
            "CONNECT bob:hunter2@lure:443 HTTP/1.1\r\nHost: lure\r\n\r\n",
            "CONNECT bob:*******@lure:443 HTTP/1.1\r\nHost: lure\r\n\r\n",
        ),
        (
            "GET http://bob:hunter2@lure/x HTTP/1.1\r\nHost: lure\r\n\r\n",
            "GET http://bob:*******@lure/x HTTP/1.1\r\nHost: lure\r\n\r\n",
        ),
    ] {
        assert_eq!(captured("apache-ubuntu-22.04", sent.as_bytes()).await, shown);
    }
}
