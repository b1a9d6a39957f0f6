use std::net::IpAddr;

use trapline_schemas::Timestamp;

use super::*;

fn event(session: u128, action: Action, level: &str) -> Event {
    let mut event = Event::new(
        Uuid::from_u128(session),
        Timestamp::from_micros(1_772_619_370_000_000),
        action,
    );
    event.set(Field::SessionId, Uuid::from_u128(session));
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 77]));
    event.set(Field::SourceZone, "external");
    event.set(Field::DestinationPort, 2222_i64);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::TouchLevel, level);
    event
}

fn credential(session: u128, user: &str) -> Event {
    let mut event = event(session, Action::Credential, "proof");
    event.set(Field::UserName, user);
    event.set(Field::CredentialKind, "password");
    event.set(Field::CredentialSecret, "hunter2");
    event
}

fn end(session: u128) -> Event {
    let mut event = event(session, Action::SessionEnd, "contact");
    event.set(Field::EventDuration, 4_200_000_000_i64);
    event.set(Field::SourceBytes, 312_i64);
    event
}

#[derive(Default)]
struct Told {
    board: Board,
    lines: Vec<Line>,
}

impl Told {
    fn take(&mut self, event: &Event, now: Instant) -> &mut Self {
        self.board.take(event, now, &mut self.lines);
        self
    }

    fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }
}

#[test]
fn a_session_is_one_line_at_its_end() {
    let (now, mut told) = (Instant::now(), Told::default());
    let mut handshake = event(1, Action::Handshake, "intent");
    handshake.set(Field::SshClientVersion, "SSH-2.0-OpenSSH_9.2p1");
    handshake.set(Field::SshHassh, "ec7378c1a92f5a8dde7e8b7a1ddf33d1");
    told.take(&event(1, Action::Connect, "contact"), now)
        .take(&handshake, now);
    told.take(&credential(1, "root"), now)
        .take(&credential(1, "admin"), now)
        .take(&credential(1, "root"), now);
    assert!(told.lines.is_empty());
    told.take(&end(1), now);
    assert_eq!(
        told.texts(),
        ["login root, admin · password ×3 · OpenSSH_9.2p1 · hassh ec7378c1a92f · 312 B · 4.2 s"]
    );
    let line = &told.lines[0];
    assert_eq!(
        (line.source.as_str(), line.decoy.as_str(), line.service.as_str()),
        ("203.0.113.77", "ssh :2222", "ssh")
    );
    assert_eq!(line.level, crate::layout::Level::Proof);
    assert_eq!(told.board.next_due(), None);
}

#[test]
fn a_secret_is_never_shown() {
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&credential(1, "root"), now).take(&end(1), now);
    assert!(!format!("{:?}", told.lines).contains("hunter2"));
}

#[test]
fn a_contact_that_says_nothing_is_told_after_a_while() {
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&event(1, Action::Connect, "contact"), now);
    assert_eq!(told.board.next_due(), Some(now + QUIET));
    assert!(told.board.due(now + QUIET / 2).is_empty());
    assert_eq!(told.board.due(now + QUIET)[0].text, "connected, nothing said yet");
    assert!(told.board.due(now + OPEN).is_empty());
}

#[test]
fn whoever_takes_a_while_to_type_is_one_line() {
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&event(1, Action::Connect, "contact"), now);
    for seconds in [3, 9, 20, 40] {
        let later = now + Duration::from_secs(seconds);
        assert!(told.board.due(later).is_empty(), "{seconds}");
        told.take(&credential(1, "alice"), later);
    }
    told.take(&end(1), now + Duration::from_secs(60));
    assert_eq!(told.texts(), ["login alice · password ×4 · 312 B · 4.2 s"]);
}

#[test]
fn a_datagram_and_the_community_in_it_are_one_line() {
    let (now, mut told) = (Instant::now(), Told::default());
    let datagram = |action, level| {
        let mut event = event(1, action, level);
        event.set(Field::NetworkTransport, "udp");
        event.set(Field::PayloadBase64, b"0&".to_vec());
        event.set(Field::PayloadSize, 2_i64);
        event
    };
    let mut credential = datagram(Action::Credential, "proof");
    credential.set(Field::CredentialKind, "community");
    for _ in 0..2 {
        told.take(&datagram(Action::UdpProbe, "proof"), now)
            .take(&credential, now);
    }
    assert_eq!(told.texts(), ["community · 2 B", "community · 2 B"]);
    assert_eq!(told.board.next_due(), None);
    told.take(&datagram(Action::UdpProbe, "contact"), now);
    told.take(&datagram(Action::UdpProbe, "proof"), now);
    assert_eq!(told.texts()[2..], ["sent \"0&\" · 2 B"]);
    let alone = told.board.due(now + ALONE);
    assert_eq!(alone[0].text, "sent \"0&\" · 2 B");
}

#[test]
fn an_open_session_is_told_once_and_again_at_its_end_if_more_was_learned() {
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&event(1, Action::Connect, "contact"), now)
        .take(&credential(1, "root"), now);
    let open = told.board.due(now + OPEN);
    assert_eq!(open[0].text, "login root · password · still open");
    assert!(told.board.due(now + 2 * OPEN).is_empty());
    told.take(&credential(1, "admin"), now + OPEN)
        .take(&end(1), now + 2 * OPEN);
    assert_eq!(told.texts(), ["then · login root, admin · password ×2 · 312 B · 4.2 s"]);
}

#[test]
fn a_told_session_ends_silently_if_nothing_more_was_learned() {
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&event(1, Action::Connect, "contact"), now)
        .take(&credential(1, "root"), now);
    assert_eq!(told.board.due(now + OPEN).len(), 1);
    told.take(&end(1), now + 2 * OPEN);
    assert!(told.lines.is_empty());
}

#[test]
fn the_oldest_session_is_told_when_there_is_one_too_many() {
    let (now, mut told) = (Instant::now(), Told::default());
    for session in 0..SESSIONS_MAX as u128 {
        told.take(&credential(session, &format!("user{session}")), now);
    }
    assert!(told.lines.is_empty());
    told.take(&credential(99_999, "last"), now);
    assert_eq!(told.texts(), ["login user0 · password · still open"]);
    assert_eq!(told.board.sessions.len(), SESSIONS_MAX);
    assert_eq!(told.board.finish().len(), SESSIONS_MAX);
}

#[test]
fn a_flood_of_short_sessions_leaves_nothing_behind() {
    let (now, mut told) = (Instant::now(), Told::default());
    for session in 0..20_000 {
        told.take(&event(session, Action::Connect, "contact"), now)
            .take(&credential(session, "x"), now);
        told.take(&end(session), now);
    }
    assert_eq!((told.lines.len(), told.board.sessions.len()), (20_000, 0));
    assert!(told.board.order.len() <= 2 * SESSIONS_MAX);
}

#[test]
fn a_session_whose_end_never_comes_is_forgotten() {
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&event(1, Action::Connect, "contact"), now);
    told.board.due(now + QUIET);
    told.board.due(now + FORGET);
    assert!(told.board.sessions.is_empty() && told.board.order.is_empty());
}

#[test]
fn a_web_request_a_payload_and_a_datagram_each_tell_their_best() {
    let (now, mut told) = (Instant::now(), Told::default());
    let mut request = event(1, Action::Handshake, "intent");
    request.set(Field::HttpMethod, "GET");
    request.set(Field::UrlOriginal, "/wp-login.php");
    request.set(Field::UserAgent, "curl/8.5.0");
    told.take(&request, now).take(&end(1), now);
    let mut payload = event(2, Action::Payload, "intent");
    payload.set(Field::PayloadBase64, b"EHLO x\r\n\x00".to_vec());
    payload.set(Field::PayloadSize, 9_i64);
    told.take(&payload, now);
    told.lines.extend(told.board.finish());
    let mut probe = event(3, Action::UdpProbe, "contact");
    probe.set(Field::PayloadBase64, b"\x30\x26public".to_vec());
    probe.set(Field::PayloadSize, 8_i64);
    probe.set(Field::SourcePackets, 3_i64);
    told.take(&probe, now);
    assert_eq!(
        told.texts(),
        [
            "GET /wp-login.php · curl/8.5.0 · 312 B · 4.2 s",
            "sent \"EHLO x\\r\\n\\x00\" · 9 B · still open",
            "sent \"0&public\" · 8 B · ×3",
        ]
    );
}

#[test]
fn what_a_client_says_of_itself_is_told_once() {
    let long = format!("SSH-2.0-{}", "x".repeat(60));
    for (version, sent, told_too) in [
        ("SSH-2.0-Go", "SSH-2.0-Go\r\n\0\0\x01", ""),
        (&long, &long, ""),
        ("SSH-2.0-Go", "\r\nSSH-2.0-Go\r\n", "sent \"\\r\\nSSH-2.0-Go\\r\\n\" · "),
    ] {
        let (now, mut told) = (Instant::now(), Told::default());
        let mut handshake = event(1, Action::Handshake, "intent");
        handshake.set(Field::SshClientVersion, version);
        let mut payload = event(1, Action::Payload, "intent");
        payload.set(Field::PayloadBase64, sent.as_bytes().to_vec());
        payload.set(Field::PayloadSize, 312_i64);
        told.take(&handshake, now).take(&payload, now).take(&end(1), now);
        let name = &version[8..];
        assert_eq!(told.texts(), [format!("{name} · {told_too}312 B · 4.2 s")]);
    }
}

#[test]
fn many_commands_are_told_as_a_few_and_a_count() {
    let (now, mut told) = (Instant::now(), Told::default());
    for command in ["id", "uname -a", "cat /etc/passwd", "wget http://x/y", "exit"] {
        let mut query = event(1, Action::Query, "proof");
        query.set(Field::Commands, vec![smol_str::SmolStr::from(command)]);
        told.take(&query, now);
    }
    told.take(&end(1), now);
    assert_eq!(
        told.texts(),
        ["id | uname -a | cat /etc/passwd and 2 more · 312 B · 4.2 s"]
    );
}

#[test]
fn a_request_counts_once_however_many_events_tell_of_it() {
    let with_target = |action, target: &str| {
        let mut event = event(1, action, "intent");
        event.set(Field::HttpMethod, "GET");
        event.set(Field::UrlOriginal, target);
        event
    };
    let (now, mut told) = (Instant::now(), Told::default());
    told.take(&with_target(Action::Handshake, "/a"), now);
    for _ in 0..3 {
        let mut offered = with_target(Action::Credential, "/a");
        offered.set(Field::CredentialKind, "token");
        told.take(&offered, now);
    }
    for target in ["/b", "/c", "/d"] {
        let mut query = with_target(Action::Query, target);
        query.set(Field::Commands, vec![smol_str::SmolStr::from(format!("GET {target}"))]);
        told.take(&query, now);
    }
    told.take(&end(1), now);
    assert_eq!(
        told.texts(),
        ["token ×3 · GET /a | GET /b | GET /c and 1 more · 312 B · 4.2 s"]
    );
}
