//! What decoys answer, byte for byte where it tells products apart.

use crate::decoy::personality::embedded;
use crate::decoy::testing::{Stage, spec};

const APACHE: &str = "apache-debian-12";
const NGINX: &str = "nginx-debian-12";

async fn stage(name: &str) -> Stage {
    Stage::open(spec(embedded(name).expect("it is embedded"))).await
}

async fn said(stage: &Stage, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&stage.talk(bytes).await).into_owned()
}

/// The statuses of all answers; `bare` for a body alone.
fn statuses(said: &str) -> String {
    let found: Vec<_> = said
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|answer| answer.get(..3))
        .collect();
    match (found.is_empty(), said.is_empty()) {
        (true, false) => "bare".to_owned(),
        _ => found.join(" "),
    }
}

/// Each row: the request, and what Apache 2.4.71 and nginx 1.22.1 said (both live, with the same site).
#[tokio::test]
async fn each_product_answers_as_the_live_one() {
    let (apache, nginx) = (stage(APACHE).await, stage(NGINX).await);
    let host = "Host: x\r\n\r\n";
    let line = |bytes: usize| format!("GET /?{} HTTP/1.1\r\n{host}", "a".repeat(bytes - 15));
    let field = |bytes: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n{host}", "a".repeat(bytes - 3));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{host}");
    let ask = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\n{host}");
    let with = |header: &str| format!("GET / HTTP/1.1\r\n{header}\r\n{host}");
    for (request, in_apache, in_nginx) in [
        (get("/index.html"), "200", "200"),
        (get("//admin"), "401", "401"),
        (get("/a/../admin"), "401", "401"),
        (get("/admin%2fx"), "404", "401"),
        (get("/.htaccess"), "403", "404"),
        (get("/x/.htaccess"), "404", "404"),
        (get("/server-status"), "403", "404"),
        (get("/icons/"), "403", "404"),
        (get("/icons/x"), "404", "404"),
        (get(&format!("/{}", "a".repeat(256))), "403", "404"),
        (get("/#x"), "400", "200"),
        (get("/a b"), "400", "400"),
        (get("?a"), "200", "400"),
        (get("http://y/x"), "404", "404"),
        (get("http://"), "200", "400"),
        (get("ftp://y/x"), "400", "404"),
        (get("http://u:p@y/x"), "400", "400"),
        (ask("OPTIONS", "/"), "200", "405"),
        (ask("OPTIONS", "/x"), "200", "404"),
        (ask("OPTIONS", "/admin"), "401", "401"),
        (ask("PUT", "/"), "405", "405"),
        (ask("PUT", "/admin"), "401", "401"),
        (ask("SEARCH", "/"), "501", "405"),
        (ask("CHECKIN", "/x"), "405", "404"),
        (ask("get", "/"), "501", "400"),
        (ask("FOO", "/admin"), "401", "401"),
        (ask("TRACE", "/admin"), "405", "405"),
        (ask("CONNECT", "/"), "400", "405"),
        (ask("CONNECT", "a:443"), "405", "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "400", "400"),
        ("\x16\x03\x01\0\x7f".into(), "", "400"),
        ("JRMI\0\x02K".into(), "", "400"),
        ("GET / HTTP/1.10\r\nHost: x\r\n\r\n".into(), "400", "200"),
        ("GET / HTTP/0.9\r\nHost: x\r\n\r\n".into(), "400", "400"),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "400", "200"),
        ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n".into(), "400", "200"),
        ("GET / HTTP/1.1\nHost: x\n\n".into(), "400", "200"),
        ("GET / \r\n".into(), "bare", "bare"),
        ("HEAD /\r\n".into(), "400", "bare"),
        ("GET /%zz\r\n".into(), "bare", "bare"),
        ("\r\n".repeat(10) + &get("/"), "200", "200"),
        ("\r\n".repeat(11) + &get("/"), "400", "200"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), "400", "400"),
        (line(8190), "200", "200"),
        (line(8191), "200", "414"),
        (line(8192), "414", "414"),
        (field(8190), "200", "200"),
        (field(8191), "200", "400"),
        (field(8192), "400", "400"),
        (with("a(b: c"), "400", "200"),
        (with("a: b\x01"), "400", "200"),
        (with("a: b\rc"), "400", "400"),
        (with("Expect: foo"), "417", "200"),
        (with("Expect: 100-continue"), "200", "100 200"),
        (with("Content-Length: 0\r\nContent-Length: 0"), "400", "400"),
        (with("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n", "200", "501"),
        (with("Transfer-Encoding: chunked") + "0\n\n", "400", "200"),
        (with("Transfer-Encoding: chunked") + "zz\r\n", "400", "400"),
        (
            get("/x").replace(host, "Transfer-Encoding: chunked\r\nHost: x\r\n\r\nzz\r\n"),
            "400",
            "404",
        ),
        (with("Range: bytes=0-9"), "206", "206"),
        (with("Range: bytes=9999-"), "416", "416"),
        (with("If-Match: \"a\""), "412", "412"),
        (with("If-None-Match: *") + &get("/x"), "304 404", "304 404"),
        (ask("FOO", "/") + &get("/"), "501", "405 200"),
    ] {
        let answers = [
            said(&apache, request.as_bytes()).await,
            said(&nginx, request.as_bytes()).await,
        ];
        let found = answers.each_ref().map(|said| statuses(said));
        let shown: String = request.chars().take(80).collect();
        assert_eq!(
            found,
            [in_apache, in_nginx],
            "{shown:?}\n{}\n{}",
            answers[0],
            answers[1]
        );
    }
}

/// UseCanonicalName is off, so Apache signs with what it was asked for; before it knows that, with its own address.
#[tokio::test]
async fn an_apache_page_names_the_host_and_port_that_were_asked_for() {
    let stage = stage(APACHE).await;
    let own = stage.address.port();
    for (request, signed) in [
        (
            "GET /x HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
            "a.example Port 8080".to_owned(),
        ),
        (
            "GET /x HTTP/1.1\r\nHost: A.Example.\r\n\r\n",
            format!("a.example Port {own}"),
        ),
        ("GET http://y:81/x HTTP/1.1\r\nHost: x\r\n\r\n", "y Port 81".to_owned()),
        (
            "GET https://y:81/x HTTP/1.1\r\nHost: x:82\r\n\r\n",
            "x Port 82".to_owned(),
        ),
        ("GET /x HTTP/1.0\r\n\r\n", format!("127.0.0.1 Port {own}")),
        (
            "GET /x HTTP/1.1\r\nHost: y:81\r\nbad\r\n\r\n",
            format!("127.0.0.1 Port {own}"),
        ),
        ("GET /%zz HTTP/1.1\r\nHost: y:81\r\n\r\n", "y Port 81".to_owned()),
    ] {
        let said = said(&stage, request.as_bytes()).await;
        let signature = format!("<address>Apache/2.4.71 (Debian) Server at {signed}</address>");
        assert!(said.contains(&signature), "{request:?}: {said}");
    }
}

#[tokio::test]
async fn a_part_of_a_file_has_the_headers_of_its_product() {
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-14\r\n\r\n";
    let names = |said: &str| {
        let head = said.split("\r\n\r\n").next().unwrap_or_default();
        let names = head.lines().skip(1).filter_map(|line| line.split(':').next());
        names.collect::<Vec<_>>().join(" ")
    };
    let apache = said(&stage(APACHE).await, request).await;
    assert_eq!(
        names(&apache),
        "Date Server Last-Modified ETag Accept-Ranges Content-Length Vary Content-Range Content-Type"
    );
    let nginx = said(&stage(NGINX).await, request).await;
    assert_eq!(
        names(&nginx),
        "Server Date Content-Type Content-Length Last-Modified Connection ETag Content-Range"
    );
    assert!(apache.ends_with("\r\n\r\n<!DOCTYPE html>") && nginx.ends_with("\r\n\r\n<!DOCTYPE html>"));
}

/// A head that is late gets a page if its line was whole, and nothing otherwise.
#[tokio::test(start_paused = true)]
async fn apache_does_not_wait_for_a_head_without_end() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stage = stage(APACHE).await;
    for (sent, expected) in [("GET / HTTP/1.1\r\nHo", "408"), ("GET / HT", "")] {
        let mut client = stage.connect().await;
        client.write_all(sent.as_bytes()).await.expect("the decoy reads");
        let mut said = String::new();
        client.read_to_string(&mut said).await.expect("text and an end");
        assert_eq!(statuses(&said), expected, "{said}");
    }
}

/// What comes after the last answer belongs to no request that was read, so nothing of it is kept.
#[tokio::test]
async fn nothing_is_shown_of_what_comes_after_the_last_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stage = stage(NGINX).await;
    let mut client = stage.connect().await;
    client.write_all(b"\x16\x03pass").await.expect("the decoy reads");
    let mut said = [0; 12];
    client.read_exact(&mut said).await.expect("an answer");
    client.write_all(b"word=hunter2").await.expect("the decoy lingers");
    drop(client);
    let hits = stage.session().await;
    let capture = hits.iter().find_map(|hit| hit.capture.as_ref()).expect("a capture");
    assert_eq!(&capture.kept[..6], b"\x16\x03pass");
    let hidden = |at| capture.secrets.iter().any(|range| range.contains(&at));
    assert!(
        (6..capture.kept.len()).all(hidden) && capture.kept.len() == 18,
        "{capture:?}"
    );
}
