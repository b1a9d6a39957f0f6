//! The live feed, by curl and a client of Server-Sent Events.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::clients::{curl, has};
use crate::harness::feed::{Got, Stream, WEB, feed_address, get, token};
use crate::harness::{Trap, eventually, json as json_of, text, touch};
use crate::{SINK, one_decoy};

fn config() -> String {
    format!("{}{WEB}{SINK}", one_decoy("service = \"ssh\""))
}

/// A trap with the feed, where it listens, and a token.
fn fed() -> (Trap, SocketAddr, String) {
    let trap = Trap::start(&config());
    let (address, token) = (feed_address(&trap), token(&trap, "soc"));
    (trap, address, token)
}

/// Touches the decoy so often, one after the other, until all is recorded.
fn touched(trap: &Trap, times: usize) {
    let lure = trap.address("lure");
    let count = || trap.events(&["--limit", "0", "--action", "decoy-connect"]).len();
    let before = count();
    for _ in 0..times {
        touch(lure);
    }
    eventually("every touch is recorded", || (count() == before + times).then_some(()));
}

fn offset(event: &Value) -> u64 {
    event["honeyport"]["journal"]["sequence"].as_u64().unwrap()
}

fn offsets(got: &Got) -> Vec<u64> {
    got.json()["events"].as_array().unwrap().iter().map(offset).collect()
}

#[test]
fn a_token_opens_what_it_is_for_from_its_making_to_its_revocation() {
    if !has("curl") {
        return;
    }
    let (trap, address, soc) = fed();
    let url = format!("http://{address}/api/v1/status");
    let bare = get(&url, None, &[]);
    assert_eq!(bare.status, 401);
    assert!(
        bare.head.contains("\r\nwww-authenticate: bearer realm=\"api\""),
        "{}",
        bare.head
    );
    let good = get(&url, Some(&soc), &[]);
    assert_eq!((good.status, good.json()["web"]["tokens"].clone()), (200, json!(1)));
    assert_eq!(good.json()["pid"], trap.status()["pid"]);

    let taken = trap.trapline(&["token", "create", "soc"]);
    assert_eq!(taken.status.code(), Some(1), "{}", text(&taken.stderr));
    let wrong = trap.trapline(&["token", "create", "so c"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
    let made = json_of(&trap.trapline(&["token", "create", "siem", "--expires", "90d", "--json"]));
    let siem = made["token"].as_str().unwrap();
    assert_eq!(get(&url, Some(siem), &[]).status, 200);
    let listed = eventually("the uses are written", || {
        let listed = json_of(&trap.trapline(&["token", "list", "--json"]));
        let rows = listed.as_array().unwrap();
        rows.iter().all(|row| row["last_used"].is_string()).then_some(listed)
    });
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["soc", "siem"]);
    assert!(listed[0]["expires"].is_null(), "{listed:#}");
    assert!(listed[1]["expires"].is_string(), "{listed:#}");

    assert!(trap.trapline(&["token", "revoke", "siem"]).status.success());
    let gone = get(&url, Some(siem), &[]);
    assert_eq!(gone.status, 401);
    assert!(gone.head.contains("error=\"invalid_token\""), "{}", gone.head);
    assert_eq!(get(&url, Some(&soc), &[]).status, 200);
    for place in ["stderr.log", "stdout.log", "state/web.tokens", "state/web.used"] {
        let kept = std::fs::read_to_string(trap.path(place)).unwrap();
        assert!(!kept.contains(&soc) && !kept.contains(siem), "{place}");
    }
}

#[test]
fn wrong_tokens_are_slowed_down_and_logged_without_the_token_and_a_right_one_is_taken() {
    if !has("curl") {
        return;
    }
    let (trap, address, soc) = fed();
    let url = format!("http://{address}/api/v1/status");
    let statuses: Vec<_> = (0..7).map(|_| get(&url, Some("trapline_guessed"), &[])).collect();
    let words: Vec<_> = statuses.iter().map(|got| got.status).collect();
    assert_eq!(words, [401, 401, 401, 401, 401, 429, 429]);
    assert!(statuses[6].head.contains("\r\nretry-after: "), "{}", statuses[6].head);
    assert_eq!(get(&url, Some(&soc), &[]).status, 200);
    let log = trap.log();
    assert_eq!(log.matches("showed a wrong token").count(), 2, "{log}");
    assert!(!log.contains("guessed"), "{log}");
}

#[test]
fn only_reading_is_answered_and_only_to_who_calls_us_by_our_name() {
    if !has("curl") {
        return;
    }
    let (trap, address, soc) = fed();
    let base = format!("http://{address}");
    let health = get(&format!("{base}/healthz"), None, &[]);
    for path in ["/healthz", "/", "/metrics", "/api/v1/events"] {
        let told = get(&format!("{base}{path}"), None, &[]);
        let all = format!("{}{}", told.head, told.body);
        assert!(!all.contains("trap"), "a stranger learns what this is: {all}");
    }
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    for header in [
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'",
    ] {
        assert!(health.head.contains(header), "{}", health.head);
    }
    assert!(!health.head.contains("access-control"), "{}", health.head);
    for host in ["evil.example", "localhost.evil.example", "127.0.0.2"] {
        let host = format!("Host: {host}");
        for path in ["/healthz", "/api/v1/status"] {
            let got = get(&format!("{base}{path}"), Some(&soc), &["-H", &host]);
            assert_eq!(got.status, 421, "{host} {path}");
        }
    }
    assert_eq!(
        get(&format!("{base}/healthz"), None, &["-H", "Host: localhost:1"]).status,
        200
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let got = get(&format!("{base}/api/v1/events"), Some(&soc), &["-X", method]);
        assert_eq!(got.status, 405, "{method}");
        assert!(got.head.contains("\r\nallow: get, head"), "{}", got.head);
    }
    let body = get(&format!("{base}/healthz"), None, &["-X", "GET", "-d", "x=1"]);
    assert_eq!(body.status, 400);
    let head = curl(&["-I", &format!("{base}/healthz")]);
    assert!(text(&head.stdout).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(get(&format!("{base}/"), None, &[]).status, 404);
    assert_eq!(get(&format!("{base}/api/v1/nothing"), None, &[]).status, 401);
    assert_eq!(get(&format!("{base}/api/v1/nothing"), Some(&soc), &[]).status, 404);

    trap.configure(&config().replace(WEB, &format!("{WEB}hosts = [\"trap.example\"]\n")));
    let host = ["-H", "Host: trap.example"];
    assert_eq!(get(&format!("{base}/healthz"), None, &host).status, 421);
    let reloaded = trap.trapline(&["reload"]);
    assert!(
        text(&reloaded.stdout).contains("live feed changed"),
        "{}",
        text(&reloaded.stdout)
    );
    assert_eq!(get(&format!("{base}/healthz"), None, &host).status, 200);
    trap.configure(&config().replace("127.0.0.1:0\"\n[sinks", "127.0.0.2:0\"\n[sinks"));
    let refused = trap.trapline(&["reload"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(
        text(&refused.stderr).contains("`web.listen` changed, which takes a restart"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn figures_are_for_who_has_a_token_in_the_form_of_prometheus() {
    if !has("curl") {
        return;
    }
    let (trap, address, soc) = fed();
    touched(&trap, 2);
    let url = format!("http://{address}/metrics");
    assert_eq!(get(&url, None, &[]).status, 401);
    let figures = get(&url, Some(&soc), &[]);
    assert_eq!(figures.status, 200);
    assert!(
        figures.head.contains("content-type: text/plain; version=0.0.4"),
        "{}",
        figures.head
    );
    let command = text(&trap.trapline(&["metrics"]).stdout);
    let names = |text: &str| -> BTreeSet<String> {
        let helps = text.lines().filter(|line| line.starts_with("# HELP "));
        helps.map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&figures.body), names(&command));
    assert!(names(&command).len() > 10, "{command}");
}

/// A connection that says nothing, from an address of this machine.
fn silent(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true).unwrap();
    stream
}

#[test]
fn silent_connections_of_many_sources_make_room_for_who_has_a_token() {
    let (trap, address, soc) = fed();
    let sources = (1..=6).flat_map(|last| [[127, 0, 1, last]; 16]);
    let silent: Vec<_> = sources.map(|from| silent(from, address)).collect();
    eventually("they have every seat", || {
        (trap.status()["web"]["connections"] == 96).then_some(())
    });
    let mut asked = TcpStream::connect(address).unwrap();
    let request = format!("GET /api/v1/status HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {soc}\r\n\r\n");
    asked.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    asked.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // It did not wait until they had no more time.
    let is_open =
        |stream: &&TcpStream| matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    assert_eq!(silent.iter().filter(is_open).count(), 95);
}

#[test]
fn heads_that_never_end_or_are_too_large_are_left() {
    let (_trap, address, _) = fed();
    let mut large = TcpStream::connect(address).unwrap();
    // It may be cut off before all is sent.
    let _ = large.write_all(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10)).as_bytes());
    let mut answer = String::new();
    let _ = large.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn pages_and_single_events_are_those_of_the_command() {
    if !has("curl") {
        return;
    }
    let (trap, address, soc) = fed();
    touched(&trap, 12);
    let url = |query: &str| format!("http://{address}/api/v1/events{query}");
    let ask = |query: &str| get(&url(query), Some(&soc), &[]);
    let expected: Vec<u64> = trap
        .events(&["--limit", "0", "--action", "decoy-connect", "--format", "ecs"])
        .iter()
        .map(offset)
        .collect();
    for order in ["newest", "oldest"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..100 {
            let page = ask(&format!("?action=decoy-connect&limit=5&order={order}{cursor}"));
            assert_eq!(page.status, 200, "{}", page.body);
            seen.extend(offsets(&page));
            match page.json()["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if order == "newest" {
            seen.reverse();
        }
        assert_eq!(seen, expected, "{order}");
    }
    assert!(offsets(&ask("?source=127.0.0.0/8&decoy=lure&limit=1000")).len() >= 12);
    assert!(offsets(&ask("?source=192.0.2.0/24")).is_empty());
    assert!(offsets(&ask("?until=1h")).is_empty());
    let first = ask(&format!("/{}?format=json", expected[0])).json();
    let id = first["id"].as_str().unwrap();
    let by_id = ask(&format!("/{id}")).json();
    assert_eq!((by_id["event"]["id"].as_str(), offset(&by_id)), (Some(id), expected[0]));
    assert_eq!(ask("/ffffffff-ffff-7fff-bfff-ffffffffffff").status, 404);
    assert_eq!(ask("/999999").status, 404);
    assert_eq!(ask("/x").status, 400);
    let ocsf = ask("?format=ocsf&action=decoy-connect&limit=1").json();
    assert!(ocsf["events"][0]["class_uid"].is_number(), "{ocsf:#}");
    let cef = ask("?format=cef&action=decoy-connect&limit=1").json();
    assert!(cef["events"][0].as_str().unwrap().starts_with("CEF:0|"), "{cef:#}");
    let wrong = ask("?sorce=x&limit=0");
    assert_eq!(wrong.status, 400);
    let errors = wrong.json()["errors"].to_string();
    assert!(
        errors.contains("did you mean `source`") && errors.contains("1..=1000"),
        "{errors}"
    );
}

#[test]
fn a_stream_tells_each_touch_as_it_comes_in_either_framing() {
    if !has("curl") {
        return;
    }
    let (trap, address, soc) = fed();
    let mut sse = Stream::sse(address, "?action=decoy-connect&format=ecs", &soc, None);
    assert!(
        sse.head
            .to_ascii_lowercase()
            .contains("content-type: text/event-stream"),
        "{}",
        sse.head
    );
    let begun = sse.id.unwrap();
    let ndjson = ["Accept: application/x-ndjson"];
    let mut lines = Stream::open(address, "/api/v1/events/stream?decoy=lure", &soc, &ndjson);
    assert!(
        lines
            .head
            .to_ascii_lowercase()
            .contains("content-type: application/x-ndjson"),
        "{}",
        lines.head
    );
    let place: Value = serde_json::from_str(&lines.line().unwrap()).unwrap();
    assert!(place["offset"].as_u64().unwrap() >= begun, "{place}");
    assert_eq!(trap.status()["web"]["streams"], 2);
    touched(&trap, 3);
    let told: Vec<_> = sse.by_ref().take(3).collect();
    for sent in &told {
        assert_eq!(sent.event, "decoy-connect");
        assert_eq!(offset(&sent.data), sent.id);
        assert!(sent.id > begun);
    }
    let line: Value = serde_json::from_str(&lines.line().unwrap()).unwrap();
    assert_eq!(
        (line["offset"].as_u64(), offset(&line["event"])),
        (Some(told[0].id), told[0].id)
    );

    // By its last id, by the parameter, and by the time: the same.
    let again: Vec<_> = Stream::sse(address, "?action=decoy-connect", &soc, Some(told[0].id))
        .take(2)
        .collect();
    assert_eq!(again, told[1..]);
    let after = format!("/api/v1/events/stream?action=decoy-connect&after={begun}&framing=sse");
    assert_eq!(
        Stream::open(address, &after, &soc, &[]).take(3).collect::<Vec<_>>(),
        told
    );
    let since = Stream::sse(address, "?action=decoy-connect&since=1h", &soc, None);
    assert_eq!(since.take(3).collect::<Vec<_>>(), told);
    let url = format!("http://{address}/api/v1/events/stream");
    assert_eq!(get(&url, Some(&soc), &["-H", "Last-Event-ID: x"]).status, 400);

    // Revoked: the streams end, as a whole.
    assert!(trap.trapline(&["token", "revoke", "soc"]).status.success());
    assert_eq!(sse.next(), None);
    assert!(sse.is_whole);
    eventually("seats are free again", || {
        (trap.status()["web"]["streams"] == 0).then_some(())
    });
}

#[test]
fn a_reader_that_takes_nothing_keeps_nobody_waiting_and_streams_are_bounded() {
    let (trap, address, soc) = fed();
    let idle: Vec<_> = (0..63)
        .map(|_| Stream::open(address, "/api/v1/events/stream?after=0", &soc, &[]))
        .collect();
    let mut reader = Stream::sse(address, "?action=decoy-connect", &soc, None);
    let status = trap.status();
    assert_eq!(
        (&status["web"]["streams"], &status["web"]["streams_max"]),
        (&json!(64), &json!(64))
    );
    if has("curl") {
        let url = format!("http://{address}/api/v1/events/stream");
        let full = get(&url, Some(&soc), &[]);
        assert_eq!(full.status, 503);
        assert!(full.head.contains("\r\nretry-after: "), "{}", full.head);
        assert_eq!(get(&format!("http://{address}/healthz"), None, &[]).status, 200);
    }
    let before = trap.status()["process"]["memory_bytes"].as_u64().unwrap();
    touched(&trap, 300);
    let seen: BTreeSet<u64> = reader.by_ref().take(300).map(|sent| sent.id).collect();
    assert_eq!(seen.len(), 300);
    let after = trap.status()["process"]["memory_bytes"].as_u64().unwrap();
    assert!(after < before + (64 << 20), "{before} {after}");
    drop(idle);
    eventually("who has gone gives the seat back", || {
        (trap.status()["web"]["streams"] == 1).then_some(())
    });
}

/// An authority, and a certificate of its for a server and for a client: PEM files.
fn certificates(trap: &Trap) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(trap.path("ca.pem"), authority.pem()).unwrap();
    for name in ["localhost", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(trap.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(trap.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

const TLS: &str = "tls.cert = \"localhost.pem\"\ntls.key = \"localhost.key\"\n";

#[test]
fn over_tls_it_is_open_to_other_hosts_and_asks_clients_for_certificates_if_it_is_to() {
    if !has("curl") {
        return;
    }
    let open = "[web]\nlisten = \"0.0.0.0:0\"\n";
    let config = config().replace(WEB, &format!("{open}{TLS}"));
    let mut trap = Trap::idle(&config);
    certificates(&trap);
    trap.launch();
    let (port, soc) = (feed_address(&trap).port(), token(&trap, "soc"));
    let url = format!("https://localhost:{port}/api/v1/status");
    let ca = trap.path("ca.pem");
    let ca = ["--cacert", ca.to_str().unwrap()];
    let got = get(&url, Some(&soc), &ca);
    assert_eq!((got.status, &got.json()["web"]["tls"]), (200, &json!(true)));
    assert!(got.json()["web"]["certificate"]["days_left"].as_i64().unwrap() > 0);
    let plain = curl(&[&url.replace("https", "http")]);
    assert!(!plain.status.success(), "{}", text(&plain.stdout));

    trap.configure(&config.replace(TLS, &format!("{TLS}tls.ca = \"ca.pem\"\n")));
    assert!(trap.trapline(&["reload"]).status.success());
    let refused = curl(&[&["-H", "Host: localhost", &url], &ca[..]].concat());
    assert!(!refused.status.success(), "{}", text(&refused.stdout));
    let (cert, key) = (trap.path("client.pem"), trap.path("client.key"));
    let own = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    assert_eq!(get(&url, Some(&soc), &[&ca[..], &own[..]].concat()).status, 200);
    assert_eq!(
        get(&url, None, &[&ca[..], &own[..]].concat()).status,
        401,
        "a token is needed as well"
    );
}

#[test]
fn without_tls_it_starts_on_loopback_alone() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8420"] {
        let trap = Trap::idle(&config().replace("127.0.0.1:0\"\n[sinks", &format!("{listen}\"\n[sinks")));
        for command in ["run", "check"] {
            let refused = trap.trapline(&[command]);
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(78), "{said}");
            assert!(said.contains("trapline.toml:7:10"), "{said}");
            assert!(
                said.contains(&format!("`{listen}` can be reached from other hosts, and TLS is off")),
                "{said}"
            );
        }
    }
    let trap = Trap::idle(&config().replace(WEB, &format!("{WEB}{TLS}")));
    let refused = trap.trapline(&["run"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(
        text(&refused.stderr).contains("localhost.pem` cannot be used"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_port_that_is_taken_is_told_and_stops_no_decoy() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let config = config().replace("127.0.0.1:0\"\n[sinks", &format!("{taken}\"\n[sinks"));
    let trap = Trap::start(&config);
    touched(&trap, 1);
    let status = trap.status();
    assert_eq!(
        (&status["web"]["bound"], &status["health"]),
        (&json!(false), &json!("degraded"))
    );
    let told = format!("`{taken}` is taken by another process");
    assert!(status["faults"].to_string().contains(&told), "{status:#}");
    let shown = text(&trap.trapline(&["status"]).stdout);
    assert!(
        shown.contains(&format!("live feed http://{taken}: degraded: {told}")),
        "{shown}"
    );
    let checked = trap.trapline(&["check"]);
    assert!(
        text(&checked.stderr).contains(&format!("web: {told}")),
        "{}",
        text(&checked.stderr)
    );
}
