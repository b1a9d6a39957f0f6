use trapline_schemas::{Action, Field, Value};

use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, fact, spec};
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
async fn pop3_and_imap_logins_are_credentials() {
    let (text, hits) = said("pop3-dovecot", b"USER bob\r\nPASS a b\r\nQUIT\r\n").await;
    assert!(text.contains("-ERR [AUTH] Authentication failed.\r\n"), "{text}");
    let expected = [
        Action::Connect,
        Action::Credential,
        Action::Query,
        Action::Payload,
        Action::SessionEnd,
    ];
    assert_eq!(actions(&hits), expected);
    assert_eq!(secrets(&hits), login("bob", "a b"));
    let (text, hits) = said("imap-dovecot", b"a1 login \"bob\" \"p\\\"w\"\r\na2 LOGOUT\r\n").await;
    assert!(
        text.contains("a1 NO [AUTHENTICATIONFAILED]") && text.ends_with("a2 OK Logout completed.\r\n"),
        "{text}"
    );
    assert_eq!(secrets(&hits), login("bob", "p\"w"));
}

#[tokio::test]
async fn a_login_in_literals_is_let_through_and_hidden() {
    for (sent, go_ahead) in [
        (&b"a1 LOGIN {5}\r\nalice {9}\r\nSup3rPass\r\n"[..], 2),
        (b"a1 LOGIN {5+}\r\nalice {9+}\r\nSup3rPass\r\n", 0),
        (b"a1 LOGIN alice {9}\r\nSup3rPass\r\n", 1),
    ] {
        let (text, hits) = said("imap-dovecot", sent).await;
        let expected = "+ OK\r\n".repeat(go_ahead) + "a1 NO [AUTHENTICATIONFAILED] Authentication failed.\r\n";
        assert_eq!(text.split_once("\r\n").map(|(_, after)| after), Some(expected.as_str()));
        assert_eq!(secrets(&hits), login("alice", "Sup3rPass"));
        assert!(!shown(&hits).contains("Sup3r"), "{}", shown(&hits));
    }
}

#[tokio::test]
async fn a_secret_in_a_line_that_is_too_long_is_hidden_and_answered_as_the_product_does() {
    let secret = "Sup3rPass".repeat(1000);
    for (personality, before, answer) in [
        (
            "pop3-dovecot",
            "USER u\r\nPASS ",
            "+OK\r\n-ERR Input buffer full, aborting\r\n",
        ),
        ("imap-dovecot", "a LOGIN u ", "* BYE Input buffer full, aborting\r\n"),
        (
            "imap-dovecot",
            "a LOGIN u {5000}\r\n",
            "+ OK\r\n* BYE Input buffer full, aborting\r\n",
        ),
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
        let shown = shown(&hits);
        assert!(
            !shown.contains("up3rPas"),
            "{before:?}: {}",
            &shown[..shown.len().min(900)]
        );
    }
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
        ("pop3-dovecot", "PASS Sup3rPass\r\n"),
        ("pop3-dovecot", " PASS Sup3rPass\r\n"),
        ("pop3-dovecot", "PASS\tSup3rPass\r\n"),
        ("pop3-dovecot", "APOP u Sup3rPass\r\n"),
        ("pop3-dovecot", "a LOGIN u Sup3rPass\r\n"),
        ("pop3-dovecot", "AUTH LOGIN\r\ndXNlcg==\r\nSup3rPass\r\n"),
        ("pop3-dovecot", "USER u\rPASS Sup3rPass\r\n"),
        ("imap-dovecot", "a  LOGIN u Sup3rPass\r\n"),
        ("imap-dovecot", "LOGIN u Sup3rPass\r\n"),
        ("imap-dovecot", "a LOGIN Sup3rPass\r\n"),
        ("imap-dovecot", "a LOGIN \"u Sup3rPass\r\n"),
        ("imap-dovecot", "a LOGIN u{9}\r\nSup3rPass\r\n"),
        ("imap-dovecot", "a LOGIN u {9}\r\nSup3rPa"),
        ("imap-dovecot", "a AUTHENTICATE LOGIN\r\ndXNlcg==\r\nSup3rPass\r\n"),
        ("imap-dovecot", "a AUTHENTICATE {9}\r\nSup3rPass\r\n"),
        ("imap-dovecot", "USER u\r\nPASS Sup3rPass\r\n"),
    ] {
        let (_, hits) = said(personality, sent.as_bytes()).await;
        let shown = shown(&hits);
        assert!(!shown.contains("Sup3r"), "{personality} {sent:?}: {shown}");
    }
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
async fn dovecot_answers_as_2_3() {
    const BAD: &str = "BAD Error in IMAP command received by server.\r\n";
    const BYE: &str = "* BYE Too many invalid IMAP commands.\r\n";
    const NO: &str = "a NO [ALERT] Unsupported authentication mechanism.\r\n";
    for (sent, expected) in [
        ("\r\n", format!("* {BAD}")),
        ("GET / HTTP/1.0\r\n\r\n", format!("GET {BAD}* {BAD}")),
        ("a LOGIN\r\nb LOGIN u\r\n", format!("a {BAD}b {BAD}")),
        ("a FOO\r\nb FOO\r\nc FOO\r\nd FOO\r\n", format!("a {BAD}b {BAD}{BYE}")),
        ("a AUTHENTICATE FOO\r\n", NO.to_owned()),
        ("a LOGIN \"u p\r\n", "a BAD Missing '\"'\r\n".to_owned()),
        (
            "a FOO {5}\r\nhello\r\nb NOOP\r\n",
            format!("+ OK\r\na {BAD}b OK NOOP completed.\r\n"),
        ),
        ("a LOGIN {9000}\r\n", "* BYE Literal size too large\r\n".to_owned()),
        (
            "a ENABLE X\r\n",
            "* ENABLED\r\na OK ENABLE ignored in non-authenticated state.\r\n".to_owned(),
        ),
        (
            "a AUTHENTICATE PLAIN\r\n*\r\n",
            "+ \r\na BAD Authentication aborted by client.\r\n".to_owned(),
        ),
    ] {
        assert_eq!(answer("imap-dovecot", sent.as_bytes()).await, expected, "{sent:?}");
    }
    const ERR: &str = "-ERR Unknown command.\r\n";
    const MANY: &str = "-ERR Too many invalid bad commands.\r\n";
    for (sent, expected) in [
        ("PASS a\r\n", "-ERR No username given.\r\n".to_owned()),
        (
            "USER a\r\nPASS b\r\nPASS c\r\n",
            "+OK\r\n-ERR [AUTH] Authentication failed.\r\n-ERR No username given.\r\n".to_owned(),
        ),
        (
            "AUTH FOO\r\n",
            "-ERR [AUTH] Unsupported authentication mechanism.\r\n".to_owned(),
        ),
        ("APOP a b\r\n", "-ERR APOP not enabled.\r\n".to_owned()),
        ("FOO\r\nFOO\r\nFOO\r\nFOO\r\n", format!("{ERR}{ERR}{ERR}{MANY}")),
        (
            "FOO\r\nFOO\r\nAUTH\r\nFOO\r\n",
            format!("{ERR}{ERR}+OK\r\nPLAIN\r\n.\r\n{ERR}"),
        ),
    ] {
        assert_eq!(answer("pop3-dovecot", sent.as_bytes()).await, expected, "{sent:?}");
    }
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
    for (personality, sent) in [
        ("smtp-postfix", "EHLO x\r\nQUIT\r\n"),
        ("pop3-dovecot", "CAPA\r\nQUIT\r\n"),
        ("imap-dovecot", "A1 CAPABILITY\r\nA2 LOGOUT\r\n"),
    ] {
        let (_, hits) = said(personality, sent.as_bytes()).await;
        let touch = hits.iter().map(|hit| hit.touch).max();
        assert_eq!(touch, Some(crate::roles::Touch::Intent), "{personality}");
    }
}
