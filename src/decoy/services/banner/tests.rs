use trapline_schemas::{Action, Field, Value};

use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, actions, fact, spec, work};
use crate::decoy::tls::testing::upgrade;
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
async fn a_secret_in_the_wrong_protocol_or_a_broken_form_is_hidden() {
    for (personality, sent) in [
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

/// As a live 2.3.19 counts: all of a command up to where its last literal ends is no longer than 8192 bytes.
#[tokio::test]
async fn a_command_with_its_literals_is_as_long_as_dovecot_lets_it_be() {
    let zeros = |count: usize| format!("a LOGIN {{0}}\r\n{}", " {0}\r\n".repeat(count));
    let lot = "x".repeat(1000);
    for (sent, go_aheads, is_too_large) in [
        ("a LOGIN {8178}\r\n".to_owned(), 1, false),
        ("a LOGIN {8179}\r\n".to_owned(), 0, true),
        ("a LOGIN {8177+}\r\n".to_owned(), 0, false),
        ("a LOGIN {8178+}\r\n".to_owned(), 0, true),
        ("a LOGIN xxxxxxxxxx {8167}\r\n".to_owned(), 1, false),
        ("a LOGIN xxxxxxxxxx {8168}\r\n".to_owned(), 0, true),
        ("a LOGIN {5}\r\nhello {8167}\r\n".to_owned(), 2, false),
        ("a LOGIN {5}\r\nhello {8168}\r\n".to_owned(), 1, true),
        (
            format!("a LOGIN {{1000}}\r\n{lot} {{1000}}\r\n{lot} {{6161}}\r\n"),
            2,
            true,
        ),
        (zeros(1363), 1364, false),
        (zeros(1364), 1364, true),
    ] {
        let answer = answer("imap-dovecot", sent.as_bytes()).await;
        let end = if is_too_large {
            "* BYE Literal size too large\r\n"
        } else {
            ""
        };
        let sent = &sent[..sent.len().min(40)];
        assert_eq!(answer.matches("+ OK\r\n").count(), go_aheads, "{sent:?}");
        assert_eq!(answer.replace("+ OK\r\n", ""), end, "{sent:?}");
    }
}

#[tokio::test]
async fn literals_cost_work_by_their_number_and_not_by_its_square() {
    async fn cost(count: usize) -> u64 {
        let before = work::done();
        answer(
            "imap-dovecot",
            format!("a LOGIN{}", " {0}\r\n".repeat(count)).as_bytes(),
        )
        .await;
        work::done() - before
    }
    let (one, two) = (cost(500).await, cost(1000).await);
    assert!(two < 3 * one, "{one} bytes looked at for 500 literals, {two} for 1000");
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
        ("pop3-dovecot", "CAPA\r\nQUIT\r\n"),
        ("imap-dovecot", "A1 CAPABILITY\r\nA2 LOGOUT\r\n"),
    ] {
        let (_, hits) = said(personality, sent.as_bytes()).await;
        let touch = hits.iter().map(|hit| hit.touch).max();
        assert_eq!(touch, Some(crate::roles::Touch::Intent), "{personality}");
    }
}

/// As captured from Dovecot 2.3.19: what was wrong before counts on, what is sent ahead ends it.
#[tokio::test]
async fn within_tls_dovecot_offers_no_more_of_it_and_a_login_is_taken() {
    for (name, before, ready, within, expected) in [
        (
            "imap-dovecot",
            "a FOO\r\nb STARTTLS x\r\n",
            "b OK Begin TLS negotiation now.\r\n",
            "c CAPABILITY\r\nd STARTTLS\r\ne LOGIN bob hunter2\r\nf FOO\r\ng FOO\r\n",
            "* CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN\r\n\
             c OK Pre-login capabilities listed, post-login capabilities have more.\r\n\
             d BAD TLS is already active.\r\ne NO [AUTHENTICATIONFAILED] Authentication failed.\r\n\
             f BAD Error in IMAP command received by server.\r\n* BYE Too many invalid IMAP commands.\r\n",
        ),
        (
            "pop3-dovecot",
            "STLS\r\n",
            "+OK Begin TLS negotiation now.\r\n",
            "CAPA\r\nSTLS\r\nUSER bob\r\nPASS hunter2\r\nQUIT\r\n",
            "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nUSER\r\nSASL PLAIN\r\n.\r\n\
             -ERR TLS is already active.\r\n+OK\r\n-ERR [AUTH] Authentication failed.\r\n+OK Logging out\r\n",
        ),
    ] {
        let text = embedded(name).unwrap().replace("delay_ms = 2", "delay_ms = 0 #");
        let mut stage = Stage::open(spec(&text)).await;
        let (_, said) = upgrade(&stage, before.as_bytes(), ready.as_bytes(), within.as_bytes()).await;
        assert_eq!(String::from_utf8_lossy(&said), expected, "{name}");
        assert_eq!(secrets(&stage.session().await), login("bob", "hunter2"), "{name}");
        let ahead = answer(name, format!("{before}e LOGIN u Sup3rPass\r\n").as_bytes()).await;
        assert!(ahead.ends_with(ready), "{name}: {ahead}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_ends_dovecot_without_a_word() {
    let stage = Stage::open(spec(embedded("imap-dovecot").unwrap())).await;
    let mut client = stage.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut client, b"a STARTTLS\r\n")
        .await
        .unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"now.\r\n") {
        said.push(tokio::io::AsyncReadExt::read_u8(&mut client).await.unwrap());
    }
    tokio::io::AsyncWriteExt::write_all(&mut client, b"hello there friend\r\n")
        .await
        .unwrap();
    said.clear();
    tokio::io::AsyncReadExt::read_to_end(&mut client, &mut said)
        .await
        .unwrap();
    assert!(said.is_empty(), "{}", said.escape_ascii());
}
