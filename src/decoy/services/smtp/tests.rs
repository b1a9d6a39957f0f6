use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trapline_schemas::{Action, Field, Value};

use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, fact, spec};
use crate::roles::Hit;

/// What the decoy said, and its hits.
async fn said(personality: &str, sent: &[u8]) -> (String, Vec<Hit>) {
    let text = embedded(personality).expect("it is embedded");
    // Delays are compared with real servers elsewhere.
    let text = text
        .replace("delay_ms = 2", "delay_ms = 0 #")
        .replace("slow_ms = 1", "slow_ms = 0 #");
    let mut stage = Stage::open(spec(&text)).await;
    let said = stage.talk(sent).await;
    (String::from_utf8(said).expect("text"), stage.session().await)
}

/// What it said after the greeting.
async fn answer(personality: &str, sent: &[u8]) -> String {
    let (text, _) = said(personality, sent).await;
    text.split_once("\r\n").expect("a greeting").1.to_owned()
}

/// All that is kept of a session, secrets hidden.
fn shown(hits: &[Hit]) -> String {
    let mut shown = String::new();
    for hit in hits {
        shown.push_str(&format!("{:?} ", hit.facts));
        if let Some(capture) = &hit.capture {
            let mut kept = capture.kept.clone();
            for range in &capture.secrets {
                kept[range.clone()].fill(b'*');
            }
            shown.push_str(&String::from_utf8_lossy(&kept));
        }
    }
    shown
}

fn secrets(hits: &[Hit]) -> Vec<(Option<Value>, String)> {
    let secret = |hit: &Hit| {
        let bytes = &hit.secret.as_ref()?.bytes;
        Some((
            fact(hit, Field::UserName).cloned(),
            String::from_utf8_lossy(bytes).into_owned(),
        ))
    };
    hits.iter().filter_map(secret).collect()
}

fn login(user: &str, secret: &str) -> Vec<(Option<Value>, String)> {
    vec![(Some(user.into()), secret.to_owned())]
}

#[tokio::test]
async fn a_mail_login_is_a_credential_and_its_base64_is_hidden() {
    let sent = b"EHLO x\r\nAUTH LOGIN\r\nYm9i\r\naHVudGVyMg==\r\nQUIT\r\n";
    let (text, hits) = said("smtp-postfix", sent).await;
    assert!(text.contains("334 UGFzc3dvcmQ6\r\n535 5.7.8 "), "{text}");
    assert!(text.ends_with("221 2.0.0 Bye\r\n"), "{text}");
    assert_eq!(secrets(&hits), login("bob", "hunter2"));
    assert!(!shown(&hits).contains("aHVudGVyMg"), "{}", shown(&hits));
}

#[tokio::test]
async fn a_response_that_is_too_long_is_refused_and_hidden() {
    let sent = format!("AUTH PLAIN\r\n{}\r\nNOOP\r\n", "U3Vw".repeat(3100));
    let (text, hits) = said("smtp-postfix", sent.as_bytes()).await;
    assert!(
        text.ends_with("334 \r\n500 5.5.6 SASL response limit exceeded\r\n250 2.0.0 Ok\r\n"),
        "{text}"
    );
    assert!(!shown(&hits).contains("U3Vw"));
}

#[tokio::test]
async fn a_user_that_is_not_encoded_is_no_credential_and_a_password_that_is_not_is_one() {
    let (_, hits) = said("smtp-postfix", b"AUTH LOGIN\r\nu\r\nSup3rPass\r\n").await;
    assert_eq!(secrets(&hits), []);
    let (_, hits) = said("smtp-postfix", b"AUTH LOGIN\r\nYm9i\r\nSup3r!Pass\r\n").await;
    assert_eq!(secrets(&hits), login("bob", "Sup3r!Pass"));
}

#[tokio::test]
async fn a_short_secret_is_hidden_in_its_query_too() {
    let (_, hits) = said("smtp-postfix", b"PASS abc\r\nQUIT\r\n").await;
    let query = hits.iter().find(|hit| hit.action == Action::Query).expect("a query");
    assert_eq!(
        fact(query, Field::Commands),
        Some(&Value::Texts(vec!["PASS ***".into()]))
    );
}

#[tokio::test]
async fn postfix_answers_as_3_7() {
    for (sent, expected) in [
        ("FOO\r\n", "500 5.5.2 Error: command not recognized\r\n"),
        (
            "EHLO\r\nHELO\r\n",
            "501 Syntax: EHLO hostname\r\n501 Syntax: HELO hostname\r\n",
        ),
        (
            "RCPT TO:<a@b>\r\nDATA\r\n",
            "503 5.5.1 Error: need MAIL command\r\n503 5.5.1 Error: need RCPT command\r\n",
        ),
        (
            "MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nRCPT TO: x@y.zz\r\nDATA\r\n",
            "250 2.1.0 Ok\r\n503 5.5.1 Error: nested MAIL command\r\n454 4.7.1 <x@y.zz>: Relay access denied\r\n\
             554 5.5.1 Error: no valid recipients\r\n",
        ),
        (
            "MAIL FROM:<a@b> SIZE=99999999\r\n",
            "552 5.3.4 Message size exceeds fixed limit\r\n",
        ),
        ("MAIL\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>\r\n"),
        ("AUTH\r\n", "501 5.5.4 Syntax: AUTH mechanism\r\n"),
        ("AUTH PLAIN\r\n*\r\n", "334 \r\n501 5.7.0 Authentication aborted\r\n"),
        (
            "AUTH\t PLAIN  AGEAYg==\r\n",
            "535 5.7.8 Error: authentication failed: (reason unavailable)\r\n",
        ),
        (
            "ETRN x\r\nRSET x\r\n",
            "459 <x>: service unavailable\r\n501 5.5.4 Syntax: RSET\r\n",
        ),
        (
            "BDAT 3\r\nabcNOOP\r\n",
            "503 5.5.1 Error: need RCPT command\r\n250 2.0.0 Ok\r\n",
        ),
        (" NOOP\r\n", "250 2.0.0 Ok\r\n"),
        (
            "User-Agent: x\r\n",
            "221 2.7.0 Error: I can break rules, too. Goodbye.\r\n",
        ),
    ] {
        assert_eq!(answer("smtp-postfix", sent.as_bytes()).await, expected, "{sent:?}");
    }
    let many = answer("smtp-postfix", &b"FOO\r\n".repeat(25)).await;
    assert_eq!(many.matches("500 5.5.2").count(), 20);
    assert!(
        many.ends_with("421 4.7.0 files03.corp.local Error: too many errors\r\n"),
        "{many}"
    );
}

#[tokio::test]
async fn a_secret_in_a_line_that_is_too_long_is_hidden_and_answered_as_postfix_does() {
    let secret = "Sup3rPass".repeat(1000);
    for (personality, before, answer) in [
        (
            "smtp-postfix",
            "AUTH PLAIN ",
            "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response\r\n250 2.0.0 Ok\r\n",
        ),
        (
            "smtp-postfix",
            "AUTH PLAIN\r\n",
            "334 \r\n535 5.7.8 Error: authentication failed: (reason unavailable)\r\n250 2.0.0 Ok\r\n",
        ),
        (
            "smtp-postfix",
            "AUTH PLAIN\r\nAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "334 \r\n535 5.7.8 Error: authentication failed: (reason unavailable)\r\n250 2.0.0 Ok\r\n",
        ),
        (
            "smtp-postfix",
            "PASS ",
            "500 5.5.2 Error: command not recognized\r\n250 2.0.0 Ok\r\n",
        ),
    ] {
        let sent = format!("{before}{secret}\r\nNOOP\r\n");
        let (text, hits) = said(personality, sent.as_bytes()).await;
        assert_eq!(
            text.split_once("\r\n").map(|(_, after)| after),
            Some(answer),
            "{before:?}"
        );
        assert!(!shown(&hits).contains("up3rPas"), "{before:?}");
    }
}

#[tokio::test]
async fn a_secret_in_the_wrong_protocol_or_a_broken_form_is_hidden() {
    for (personality, sent) in [
        ("smtp-postfix", "USER u\r\nPASS Sup3rPass\r\n"),
        ("smtp-postfix", "AUTH XOAUTH2 Sup3rPass\r\n"),
        ("smtp-postfix", "AUTH CRAM-MD5\r\nSup3rPass\r\n"),
        ("smtp-postfix", "AUTH PLAIN Sup3rPass x\r\n"),
        ("smtp-postfix", "AUTH LOGIN\r\nu\r\nSup3rPass\r\n"),
        ("smtp-postfix", "AUTH LOGIN\r\nYm9i\r\nSup3rPass"),
        ("smtp-postfix", "Authorization: Basic Sup3rPass\r\n"),
        ("smtp-postfix", "PA\0SS Sup3rPass\r\n"),
        ("smtp-exim", "AUTH LOGIN Sup3rPass\r\n"),
        ("smtp-exim", "EHLO x\r\nAUTH PLAIN Sup3rPass x\r\n"),
        ("smtp-exim", "EHLO x\r\nAUTH Sup3rPass\r\n"),
        ("smtp-exim", "EHLO x\r\nAUTH CRAM-MD5\r\nSup3rPass"),
    ] {
        let (_, hits) = said(personality, sent.as_bytes()).await;
        let shown = shown(&hits);
        assert!(!shown.contains("Sup3r"), "{personality} {sent:?}: {shown}");
    }
}

#[tokio::test]
async fn postfix_takes_mail_for_its_own_mailboxes_alone() {
    for (sent, expected) in [
        (
            "MAIL FROM:<a@b.cc>\r\nRCPT TO:<nobodyx>\r\nRCPT TO:<x@files03.corp.local>\r\nVRFY root\r\nVRFY foo\r\n",
            "250 2.1.0 Ok\r\n\
             550 5.1.1 <nobodyx>: Recipient address rejected: User unknown in local recipient table\r\n\
             550 5.1.1 <x@files03.corp.local>: Recipient address rejected: User unknown in local recipient table\r\n\
             252 2.0.0 root\r\n550 5.1.1 <foo>: Recipient address rejected: User unknown in local recipient table\r\n",
        ),
        (
            "MAIL FROM:<>\r\nRCPT TO:<root@[127.0.0.1]>\r\nRCPT TO:<@a,@b:x@y.zz>\r\nRCPT TO:<x%y.zz@files03>\r\n",
            "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n454 4.7.1 <x@y.zz>: Relay access denied\r\n\
             454 4.7.1 <x%y.zz@files03>: Relay access denied\r\n",
        ),
        (
            "MAIL FROM:<a@b.cc> FOO=1\r\nMAIL FROM:<a@b.cc> SIZE=x\r\nMAIL FROM:<a\r\nMAIL FROM:<a@b.cc>\r\nDATA\r\n",
            "555 5.5.4 Unsupported option: FOO=1\r\n501 5.5.4 Bad message size syntax\r\n\
             501 5.1.7 Bad sender address syntax\r\n250 2.1.0 Ok\r\n554 5.5.1 Error: no valid recipients\r\n",
        ),
        (
            "MAIL FROM:<a@b.cc>\r\nRCPT TO:<root>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\ndeBDAT\r\n",
            "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok: 3 bytes\r\n250 2.0.0 Ok: 7 bytes queued as QUEUE\r\n\
             521 5.5.4 Syntax: BDAT count [LAST]\r\n",
        ),
    ] {
        let said = answer("smtp-postfix", sent.as_bytes()).await;
        let said = match said.split_once("queued as ") {
            Some((before, after)) => format!("{before}queued as QUEUE{}", &after[after.find('\r').unwrap()..]),
            None => said,
        };
        assert_eq!(said, expected, "{sent:?}");
    }
}

#[tokio::test]
async fn a_message_leaves_its_envelope_and_subject() {
    let sent = b"EHLO WIN-1\r\nMAIL FROM:<a@b.cc>\r\nRCPT TO:<x@y.zz>\r\nRCPT TO:<root@files03.corp.local>\r\nDATA\r\n\
        From: a\r\nsubject: first\r\n second\r\n\r\nSubject: no\r\n..\r\n.\r\nQUIT\r\n";
    let (text, hits) = said("smtp-postfix", sent).await;
    assert!(
        text.contains("354 End data with <CR><LF>.<CR><LF>\r\n250 2.0.0 Ok: queued as "),
        "{text}"
    );
    let handshake = hits.iter().find(|hit| hit.action == Action::Handshake).expect("a name");
    assert_eq!(fact(handshake, Field::SmtpHelo), Some(&"WIN-1".into()));
    let values = |field| {
        hits.iter()
            .filter_map(|hit| fact(hit, field).cloned())
            .collect::<Vec<_>>()
    };
    assert_eq!(values(Field::EmailSubject), ["first second".into()]);
    let one = |text: &str| Value::Texts(vec![text.into()]);
    let to = [
        one("x@y.zz"),
        one("root@files03.corp.local"),
        one("root@files03.corp.local"),
    ];
    assert_eq!(values(Field::EmailTo), to);
    assert_eq!(values(Field::EmailFrom)[0], one("a@b.cc"));
}

#[tokio::test]
async fn exim_answers_as_4_96() {
    for (sent, expected) in [
        (
            "EHLO\r\nRCPT\r\nNOOP\r\nBDAT\r\nMAIL FROM:<root>\r\n",
            "501 Syntactically invalid EHLO argument(s)\r\n500 unrecognized command\r\n250 OK\r\n\
             501 missing size for BDAT command\r\n\
             503-HELO or EHLO required\r\n503 Too many syntax or protocol errors\r\n",
        ),
        (
            "HELO y\r\nMAIL FROM:<a@b.cc> FOO=1\r\n",
            "250 files03.corp.local Hello y [127.0.0.1]\r\n\
             501 <a@b.cc> FOO=1: malformed address: FOO=1 may not follow <a@b.cc> \r\n",
        ),
        (
            "FOO\r\nFOO\r\nFOO\r\nFOO\r\n",
            concat!(
                "500 unrecognized command\r\n500 unrecognized command\r\n500 unrecognized command\r\n",
                "500 Too many unrecognized commands\r\n"
            ),
        ),
        (
            "HELO a\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<x@y.zz>\r\n",
            "250 files03.corp.local Hello a [127.0.0.1]\r\n554 SMTP synchronization error\r\n",
        ),
        (
            "AUTH PLAIN AGEAYg==\r\n",
            "503 AUTH command used when not advertised\r\n",
        ),
        ("RSET x\r\n", "501 unexpected argument data\r\n"),
    ] {
        assert_eq!(answer("smtp-exim", sent.as_bytes()).await, expected, "{sent:?}");
    }
    let ahead = b"EHLO a\r\nMAIL FROM:<a@b.cc>\r\nRCPT TO:<x@y.zz>\r\nDATA\r\nQUIT\r\n";
    let said = answer("smtp-exim", ahead).await;
    assert!(
        said.ends_with(
            "250 HELP\r\n250 OK\r\n550 relay not permitted\r\n\
             503-All RCPT commands were rejected with this error:\r\n503-relay not permitted\r\n\
             503 Valid RCPT command must precede DATA\r\n221 files03.corp.local closing connection\r\n"
        ),
        "{said}"
    );
    let many = answer("smtp-exim", &b"NOOP\r\n".repeat(12)).await;
    assert_eq!(many, "250 OK\r\n".repeat(10) + "554 Too many nonmail commands\r\n");
}

#[tokio::test]
async fn a_digest_that_can_be_tried_passwords_on_is_a_credential() {
    let response = "Ym9iIDAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAx";
    let sent = format!("EHLO x\r\nAUTH CRAM-MD5\r\n{response}\r\nQUIT\r\n");
    let (text, hits) = said("smtp-exim", sent.as_bytes()).await;
    assert!(text.contains("535 Incorrect authentication data\r\n"), "{text}");
    assert_eq!(secrets(&hits), login("bob", "01234567890123456789012345678901"));
    assert!(!shown(&hits).contains("IDAxMjM0"), "{}", shown(&hits));
}

/// 10,000 clients that say nothing are to cost little.
#[test]
fn a_silent_client_costs_no_room_for_an_answer() {
    fn size<F: Future>(_: impl FnOnce(&'static mut crate::decoy::session::Session) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(super::talk);
    assert!(size <= 600, "{size}");
}

#[tokio::test]
async fn a_greeting_alone_is_no_proof() {
    let (_, hits) = said("smtp-postfix", b"EHLO x\r\nQUIT\r\n").await;
    let touch = hits.iter().map(|hit| hit.touch).max();
    assert_eq!(touch, Some(crate::roles::Touch::Intent));
}

/// The subject of a message that comes in two parts; the first was read before the second is sent.
async fn subject_of_parts(first: &[u8], second: &[u8]) -> Option<Value> {
    let text = embedded("smtp-postfix").unwrap();
    let mut stage = Stage::open(spec(text)).await;
    let mut client = stage.connect().await;
    client.write_all(first).await.unwrap();
    // The clock stands: it goes on only where nobody has anything left to do.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    client.write_all(second).await.unwrap();
    client.shutdown().await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    let hits = stage.session().await;
    hits.iter().find_map(|hit| fact(hit, Field::EmailSubject)).cloned()
}

#[tokio::test(start_paused = true)]
async fn the_subject_of_a_chunk_is_told_wherever_the_chunk_is_cut() {
    let message = b"From: a\r\nSubject: come\r\n here\r\n\r\nSubject: no\r\n";
    let chunk = format!(
        "EHLO x\r\nMAIL FROM:<a@b.cc>\r\nRCPT TO:<root>\r\nBDAT {} LAST\r\n",
        message.len()
    );
    for cut in 1..message.len() {
        let (first, second) = message.split_at(cut);
        let subject = subject_of_parts(&[chunk.as_bytes(), first].concat(), second).await;
        assert_eq!(
            subject,
            Some("come here".into()),
            "{}|{}",
            first.escape_ascii(),
            second.escape_ascii()
        );
    }
}

#[tokio::test]
async fn a_line_of_a_chunk_that_never_ends_is_no_more_than_its_beginning() {
    let message = [&b"Subject: come"[..], &vec![b'x'; 100_000], b"\r\nA: b\r\n"].concat();
    let head = format!(
        "EHLO x\r\nMAIL FROM:<a@b.cc>\r\nRCPT TO:<root>\r\nBDAT {} LAST\r\n",
        message.len()
    );
    let (text, hits) = said("smtp-postfix", &[head.as_bytes(), &message, b"QUIT\r\n"].concat()).await;
    assert!(
        text.contains(&format!("250 2.0.0 Ok: {} bytes queued", message.len())),
        "{text}"
    );
    let subject = hits.iter().find_map(|hit| fact(hit, Field::EmailSubject));
    assert!(
        matches!(subject, Some(Value::Text(text)) if text.starts_with("comexxx")),
        "{subject:?}"
    );
}
