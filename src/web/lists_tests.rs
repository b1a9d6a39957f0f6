//! The door of the lists, and a firewall before it: by TLS, HTTP and `curl`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Body as _;
use hyper::http::request::Parts as Head;
use tokio::net::TcpListener;
use trapline_sink::published::{Document, Parts, Place, Shelf};

use super::bearers::Tokens;
use super::lists::{Answered, Door, OldTokens};
use super::misses::Misses;
use super::reach::Lists;
use super::speech;
use super::tls::{Secured, secured};
use super::tokens::Files;
use crate::config::WebTls;

const FIREWALL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));
const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

/// An instance's lists: one called `edge`.
struct House {
    folder: tempfile::TempDir,
    tokens: Arc<Tokens>,
    shelf: Shelf,
    edge: Place,
    misses: Misses,
    old: OldTokens,
    open_to: Vec<ipnet::IpNet>,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::default();
        Self {
            tokens: Arc::new(Tokens::new(folder.path())),
            edge: shelf.reserve("edge"),
            shelf,
            folder,
            misses: Misses::default(),
            old: OldTokens::default(),
            open_to: Vec::new(),
        }
    }

    fn full() -> Self {
        let house = Self::new();
        house.put("203.0.113.7\n");
        house
    }

    fn put(&self, text: &'static str) {
        let documents = vec![
            ("txt", Document::whole("text/plain; charset=utf-8", text)),
            (
                "stix.json",
                Document::in_parts("application/stix+json;version=2.1", b"stix", Arc::new(Three)),
            ),
        ];
        self.edge.put(documents, Some(Duration::from_secs(900)));
    }

    fn token(&self, name: &str, list: &str) -> String {
        let lists = Lists::parse(&[list.to_owned()]).unwrap();
        self.files().create_for(name, 0, None, Some(lists)).unwrap()
    }

    fn files(&self) -> Files {
        Files::within(self.folder.path())
    }

    fn door(&self, address: IpAddr) -> Door<'_> {
        Door {
            tokens: &self.tokens,
            shelf: &self.shelf,
            misses: &self.misses,
            old: &self.old,
            open_to: &self.open_to,
            address,
        }
    }

    fn ask(&self, address: IpAddr, token: Option<&str>, file: &str) -> (u16, Option<String>) {
        let answered = self.door(address).answer(&head(token), file);
        (answered.answer.status().as_u16(), answered.alarm)
    }
}

/// A document in three parts.
struct Three;

impl Parts for Three {
    fn part(&self, index: usize) -> Option<bytes::Bytes> {
        ["{\"a\":", "1", "}\n"]
            .get(index)
            .map(|part| bytes::Bytes::from_static(part.as_bytes()))
    }
}

fn head(token: Option<&str>) -> Head {
    let request = Request::builder();
    let request = match token {
        Some(token) => request.header("Authorization", format!("Bearer {token}")),
        None => request,
    };
    request.body(()).unwrap().into_parts().0
}

#[tokio::test]
async fn a_list_is_read_with_a_token_of_its_own_and_by_nobody_else() {
    let house = House::full();
    let (fw, other) = (house.token("fw", "edge"), house.token("other", "inside"));
    let api = house.files().create("soc", 0, None).unwrap();
    assert_eq!(house.ask(FIREWALL, Some(&fw), "edge.txt"), (200, None));
    for file in ["edge.txt", "nothing.txt", "", "edge", "../edge.txt"] {
        assert_eq!(house.ask(STRANGER, None, file), (401, None), "{file}");
        assert_eq!(house.ask(STRANGER, Some(&other), file), (403, None), "{file}");
        assert_eq!(house.ask(STRANGER, Some(&api), file), (403, None), "{file}");
    }
    for file in ["edge", "edge.", "edge.csv", "edge.txt/", "edge.txt.txt"] {
        assert_eq!(house.ask(FIREWALL, Some(&fw), file), (404, None), "{file}");
    }
}

#[tokio::test]
async fn before_the_list_is_whole_the_answer_is_to_come_back() {
    let house = House::new();
    let fw = house.token("fw", "edge");
    let answered = house.door(FIREWALL).answer(&head(Some(&fw)), "edge.txt");
    assert_eq!(answered.answer.status(), 503);
    assert_eq!(answered.answer.headers()["retry-after"], "30");
    assert!(answered.has_token && answered.alarm.is_none());
    house.put("203.0.113.7\n");
    assert_eq!(house.ask(FIREWALL, Some(&fw), "edge.txt").0, 200);
    house.edge.clear();
    assert_eq!(house.ask(FIREWALL, Some(&fw), "edge.txt").0, 503);
    assert_eq!(house.edge.pollers()[0].came, 3, "it came, be there a list or not");
}

#[tokio::test]
async fn a_poller_that_is_refused_keeps_its_list_and_a_person_is_told_once() {
    let house = House::full();
    let fw = house.token("fw", "edge");
    assert_eq!(house.ask(FIREWALL, Some(&fw), "edge.txt"), (200, None));
    house.files().revoke("fw", super::server::now()).unwrap();
    let (status, alarm) = house.ask(FIREWALL, Some(&fw), "edge.txt");
    assert_eq!(status, 503);
    assert_eq!(
        alarm.as_deref(),
        Some("192.0.2.9, which read list `edge` as `fw` before, is refused: its token `fw` was revoked or is over")
    );
    // However often, it is neither locked out nor told of again.
    for _ in 0..20 {
        assert_eq!(house.ask(FIREWALL, Some(&fw), "edge.txt"), (503, None));
        assert_eq!(house.ask(FIREWALL, Some("trapline_wrong"), "edge.txt"), (503, None));
    }
    let new = house.token("fw", "edge");
    assert_eq!(house.ask(FIREWALL, Some(&new), "edge.txt"), (200, None));
    assert_eq!(
        house.ask(FIREWALL, None, "edge.txt"),
        (401, None),
        "who shows nothing yet is asked for it"
    );
}

#[tokio::test]
async fn an_old_token_is_known_also_from_an_address_that_is_not() {
    let house = House::full();
    let fw = house.token("fw", "edge");
    house.files().revoke("fw", super::server::now()).unwrap();
    let (status, alarm) = house.ask(FIREWALL, Some(&fw), "edge.txt");
    assert_eq!(status, 503);
    let told = "192.0.2.9 is refused a list (it asked for `edge`): its token `fw` was revoked or is over";
    assert_eq!(alarm.as_deref(), Some(told));
    assert_eq!(
        house.ask(STRANGER, Some(&fw), "edge\u{1b}[2J"),
        (503, None),
        "told once, by the token"
    );
}

#[tokio::test]
async fn a_stranger_that_guesses_is_told_to_wait_and_holds_up_nobody() {
    let house = House::full();
    let fw = house.token("fw", "edge");
    let guesses: Vec<_> = (0..7)
        .map(|_| house.ask(STRANGER, Some("trapline_x"), "edge.txt"))
        .collect();
    let statuses: Vec<_> = guesses.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    assert!(guesses.iter().all(|(_, alarm)| alarm.is_none()));
    assert_eq!(
        house.ask(STRANGER, Some(&fw), "edge.txt"),
        (200, None),
        "a right token is taken"
    );
}

#[tokio::test]
async fn without_a_token_lists_are_read_from_the_networks_that_are_named_alone() {
    let mut house = House::full();
    house.open_to = vec!["192.0.2.0/28".parse().unwrap()];
    let answered = house.door(FIREWALL).answer(&head(None), "edge.txt");
    assert_eq!((answered.answer.status().as_u16(), answered.has_token), (200, false));
    assert_eq!(house.ask(FIREWALL, Some("trapline_wrong"), "edge.txt"), (200, None));
    assert_eq!(house.ask(STRANGER, None, "edge.txt"), (401, None));
    assert_eq!(house.edge.pollers()[0].who, "without a token");
    let away = house.shelf.away(Instant::now() + Duration::from_secs(1_000));
    assert_eq!(away.len(), 1);
}

/// Serves the lists, as the live feed does, until the test ends.
async fn served(house: Arc<House>, tls: Option<Secured>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let house = house.clone();
            let answer = move |request: Request<_>| {
                let house = house.clone();
                let (head, _) = request.into_parts();
                let file = head.uri.path().trim_start_matches("/lists/").to_owned();
                let Answered { answer, .. } = house.door(peer.ip()).answer(&head, &file);
                async move { answer }
            };
            let _ = speech::hear(stream, tls.as_ref(), answer).await;
        }
    });
    address
}

fn certificate(folder: &Path) -> WebTls {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let files = WebTls {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        ca: None,
    };
    std::fs::write(&files.cert, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

/// What `curl` gets: head, body.
async fn curl(arguments: &[&str]) -> Option<(String, String)> {
    let mut command = Command::new("curl");
    command.args(["-sSi", "--max-time", "60"]).args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output());
    let output: Output = match run.await.unwrap() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: curl is not installed ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Some((head.to_owned(), body.to_owned()))
}

fn field<'h>(head: &'h str, name: &str) -> &'h str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let line = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).1
}

/// As Palo Alto, Fortinet and pfSense come: by TLS, with a user and the token as the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_firewall_fetches_its_list_by_tls_and_asks_next_time_whether_it_changed() {
    let house = Arc::new(House::full());
    let files = certificate(house.folder.path());
    let fw = house.token("fw", "edge");
    let address = served(house.clone(), Some(secured(&files).unwrap())).await;
    let url = format!("https://localhost:{}/lists/edge.txt", address.port());
    let (user, ca) = (format!("fw:{fw}"), files.cert.to_str().unwrap().to_owned());
    let ask = async |more: &[&str]| curl(&[&["--cacert", &ca, "-u", &user, &url], more].concat()).await;

    let Some((head, body)) = ask(&[]).await else { return };
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert_eq!(body, "203.0.113.7\n");
    assert_eq!(field(&head, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(field(&head, "content-length"), "12");
    assert_eq!(field(&head, "cache-control"), "private, no-cache");
    let (tag, modified) = (
        field(&head, "etag").to_owned(),
        field(&head, "last-modified").to_owned(),
    );

    let named = format!("If-None-Match: {tag}");
    let since = format!("If-Modified-Since: {}", modified);
    for condition in [&named, &since] {
        let (head, body) = ask(&["-H", condition]).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 304 Not Modified"), "{condition}: {head}");
        assert_eq!((field(&head, "etag"), body.as_str()), (tag.as_str(), ""));
    }
    let (head, body) = ask(&["--head"]).await.unwrap();
    assert_eq!((field(&head, "content-length"), body.as_str()), ("12", ""));
    let (head, _) = ask(&["--http1.0", "--no-alpn"]).await.unwrap();
    assert!(head.contains(" 200 OK"), "{head}");

    house.put("203.0.113.8\n");
    let (head, body) = ask(&["-H", &named]).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert_ne!(field(&head, "etag"), tag);
    assert_eq!(body, "203.0.113.8\n");
    assert_eq!(house.edge.pollers()[0].who, "fw");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_hundred_thousand_comes_whole_and_a_bundle_part_by_part() {
    let house = Arc::new(House::new());
    let lines: String = (0..100_000_u32)
        .map(|n| format!("{}\n", std::net::Ipv4Addr::from(0x0800_0000 + n)))
        .collect();
    house.put(lines.clone().leak());
    let fw = house.token("fw", "all");
    let address = served(house.clone(), None).await;
    let bearer = format!("Authorization: Bearer {fw}");
    let ask = async |file: &str| curl(&["-H", &bearer, &format!("http://{address}/lists/{file}")]).await;
    let Some((head, body)) = ask("edge.txt").await else {
        return;
    };
    assert_eq!(field(&head, "content-length"), lines.len().to_string());
    assert!(body == lines, "{} bytes came", body.len());
    let (head, body) = ask("edge.stix.json").await.unwrap();
    assert_eq!(field(&head, "content-type"), "application/stix+json;version=2.1");
    assert_eq!(
        (field(&head, "transfer-encoding"), body.as_str()),
        ("chunked", "{\"a\":1}\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_shows_its_password_only_when_it_is_asked_gets_the_list() {
    let house = Arc::new(House::full());
    let fw = house.token("fw", "edge");
    let address = served(house.clone(), None).await;
    let (user, url) = (format!("fw:{fw}"), format!("http://{address}/lists/edge.txt"));
    // Known from here on: its first request, without a password, must get the challenge all the same.
    for _ in 0..2 {
        let Some((head, body)) = curl(&["--anyauth", "-u", &user, &url]).await else {
            return;
        };
        assert!(head.starts_with("HTTP/1.1 401 Unauthorized"), "{head}");
        assert_eq!(
            field(&head, "www-authenticate"),
            "Basic realm=\"lists\", charset=\"UTF-8\""
        );
        assert!(body.contains("200 OK") && body.ends_with("203.0.113.7\n"), "{body}");
    }
}

#[test]
fn a_body_that_is_asked_for_by_head_has_its_length() {
    let house = House::full();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let fw = house.token("fw", "edge");
    let answered = house.door(FIREWALL).answer(&head(Some(&fw)), "edge.txt");
    assert_eq!(answered.answer.body().size_hint().exact(), Some(12));
}
