//! A secret at any place where clients put one, in any shape, cut anywhere, is in no form of any event.

mod smb;

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use rand::Rng as _;
use rand::distr::SampleString as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use trapline_schemas::{Event, Field, Format, Value, codec, render, text};

use crate::decoy::Secrets;
use crate::decoy::personality::{embedded, embedded_names};
use crate::decoy::services::Transport;
use crate::decoy::testing::{Stage, settings, spec};
use crate::record::make;

const WEB: [&str; 3] = ["apache-ubuntu-22.04", "nginx-debian-12", "iis-10"];

/// One secret in the shapes in which it is sent.
struct Shapes {
    raw: String,
    percent: String,
    json: String,
    base64: String,
    basic: String,
    plain: String,
}

impl Shapes {
    fn random() -> Self {
        Self::of(&rand::distr::Alphanumeric.sample_string(&mut rand::rng(), 16))
    }

    fn of(raw: &str) -> Self {
        let each = |form: fn(u8) -> String| raw.bytes().map(form).collect::<String>();
        Self {
            raw: raw.to_owned(),
            percent: each(|byte| format!("%{byte:02x}")),
            json: each(|byte| format!("\\u{byte:04x}")),
            base64: BASE64_STANDARD.encode(raw),
            basic: BASE64_STANDARD.encode(format!("bob:{raw}")),
            plain: BASE64_STANDARD.encode(format!("\0bob\0{raw}")),
        }
    }

    /// A template with the shapes in it; `{a}` and `{z}` are the halves of the secret.
    fn fill(&self, template: &str) -> Vec<u8> {
        let (a, z) = self.raw.split_at(self.raw.len() / 2);
        let filled = template
            .replace("{s}", &self.raw)
            .replace("{a}", a)
            .replace("{z}", z)
            .replace("{percent}", &self.percent)
            .replace("{json}", &self.json)
            .replace("{base64}", &self.base64)
            .replace("{basic}", &self.basic)
            .replace("{plain}", &self.plain);
        filled.into_bytes()
    }

    /// What must not be seen: each shape, and pieces that are long enough to be no chance.
    fn tells(&self) -> Vec<String> {
        let piece = |text: &str, count: usize| text[..count].to_owned();
        let last = |text: &str, count: usize| text[text.len() - count..].to_owned();
        vec![
            piece(&self.raw, 6),
            last(&self.raw, 6),
            piece(&self.percent, 12),
            last(&self.percent, 12),
            piece(&self.json, 18).replace('\\', "\\\\"),
            piece(&self.json, 18),
            piece(&self.base64, 8),
            last(&self.base64, 10),
            piece(&self.basic, 14),
            last(&self.basic, 10),
            piece(&self.plain, 14),
            last(&self.plain, 10),
        ]
    }
}

/// Heads with `{s}` and the like; each is sent with every head line that a server wants.
const HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\naUTHORIZATION:bAsIc\t{basic}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization:\r\n Basic\r\n {basic}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization : Basic {basic}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n Authorization: Basic {basic}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rAuthorization: Bearer {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization Bearer {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {s}\r\nAuthorization: Bearer {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Digest username=\"bob\", realm=\"r\", response=\"{s}\"\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM {base64}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate {base64}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Own-Scheme {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic {basic}\r\n\r\n",
    "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\nProxy-Authorization: Bearer {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Vault-Token:{s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nPassword: {s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nCookie: sid={s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\ncookie: a=b; c=\"d;{s}\";{s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b;\r\n\tc={s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nSet-Cookie: a={s}; Path=/\r\n\r\n",
    "GET /?password={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?a=b&pass={s}&c=d HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?PaSsWoRd={percent} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?p%61ssword={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?p%2561ss%77ord={percent} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?user[password]={s}&user[name]=bob HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?password={s}&password=x&password={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?password={a} {z} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?a=b;password={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a;jsessionid={s}?b=c HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?token={s} HTTP/1.0\r\n\r\n",
    "GET /?access_token={s}#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /#access_token={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?next=%2Flogin%3Fpassword%3D{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?password%3D{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://bob:{s}@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://bob:{percent}@a/?x=y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?password={s}\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nReferer: http://a/?password={s}&x=y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nReferer: http://bob:{s}@a/\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x (token={s})\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Original-URL: /?p%61ss={s}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4?token={s}\r\n\r\n",
    "get /?password={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "FOO /?password={s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?password={s} HTTP/9.9\r\nHost: a\r\n\r\n",
    "GET /?password={s} HTTX/1.1\r\n\r\n",
    "password={s}\r\n",
    "PASS {s}\r\n",
    "{\"password\":\"{s}\"}\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{s}{basic}",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /?password={s} HTTP/1.1\r\nHost: a\r\nCookie: a={s}\r\n\r\n",
    "GET /?password={s} HTTX/1.1\r\nCookie: a={s}\r\n\r\n",
    "HELP\r\nGET /?p%61ss={s} HTTP/1.1\r\n\r\n",
];

/// Bodies: content type, body, headers further.
const BODIES: &[(&str, &str, &str)] = &[
    ("application/x-www-form-urlencoded", "user=bob&password={s}", ""),
    ("application/x-www-form-urlencoded", "p%61ssword={percent}&user=bob", ""),
    (
        "application/x-www-form-urlencoded",
        "password={s}&password={s}&pwd={s}",
        "",
    ),
    ("application/x-www-form-urlencoded", "csrf_token={s}&user=bob", ""),
    (
        "application/x-www-form-urlencoded",
        "data=%7B%22password%22%3A%22{s}%22%7D",
        "",
    ),
    ("", "user=bob&password={s}", ""),
    ("text/plain", "user=bob\r\npassword={s}\r\n", ""),
    ("application/json", "{\"user\":\"bob\",\"password\":\"{s}\"}", ""),
    (
        "application/json",
        "{\"a\":[{\"b\":{\"p\\u0061ssword\":\"{json}\"}}]}",
        "",
    ),
    ("application/json", "{\n  \"password\"\n  :\n\"{s}\"\n}", ""),
    ("application/json", "{\"password\":\"x\",\"password\":\"{s}\"}", ""),
    ("application/json", "{\"token\":\"{s}\", broken", ""),
    ("text/plain", " [{'api_key': '{s}'}]", ""),
    ("application/xml", "<login><password>\n{s}\n</password></login>", ""),
    ("text/xml", "<s:E><w:Password Type=\"x\">{s}</w:Password></s:E>", ""),
    (
        "text/xml",
        "<?xml version=\"1.0\"?><methodCall><methodName>wp.getUsersBlogs</methodName><params><param><value>bob</value>\
         </param><param><value>{s}</value></param></params></methodCall>",
        "",
    ),
    (
        "multipart/form-data; boundary=x9",
        "--x9\r\nContent-Disposition: form-data; name=\"login\"\r\n\r\nbob\r\n--x9\r\nContent-Disposition: form-data;\r\n \
         name=\"PassWord\"\r\n\r\n{a}\r\n{z}\r\n--x9--\r\n",
        "",
    ),
    (
        "multipart/form-data",
        "--b\r\nContent-Disposition: form-data; name*=UTF-8''p%61ss\r\n\r\n{s}\r\n--b--\r\n",
        "",
    ),
    ("multipart/form-data; boundary=x", "--x\r\nname=\"password\"\r\n{s}", ""),
    ("application/octet-stream", "{s}", "Content-Encoding: gzip\r\n"),
];

const OTHERS: &[(&str, &str)] = &[
    ("vsftpd-3.0.5", "USER bob\r\nPASS {s}\r\n"),
    (
        "vsftpd-3.0.5",
        "USER bob\r\npAsS {s}\r\nUSER bob\r\nPASS {s}\r\nQUIT\r\n",
    ),
    ("vsftpd-3.0.5", "PASS\t{s}\r\n"),
    ("vsftpd-3.0.5", " PASS {s}\r\n"),
    ("vsftpd-3.0.5", "PASSWORD={s}\r\n"),
    ("vsftpd-3.0.5", "USER bob\rPASS {s}\r\n"),
    ("vsftpd-3.0.5", "USER bob\r\nACCT {s}\r\n"),
    (
        "proftpd-debian-12",
        "SITE PSWD old {s}\r\nADAT {base64}\r\nHELP\r\nCONNECT x\r\nPASS {s}\r\n",
    ),
    ("telnet-busybox", "bob\r\n{s}\r\n"),
    ("telnet-busybox", "bob\r\0{a}x\x7f{z}\r\0"),
    ("telnet-busybox", "bob\r\nx\x15{s}\r\nbob\r\n{s}\r\n"),
    ("telnet-busybox", "{env}PASSWORD\x01{a}&{z}{end}bob\r\n"),
    ("telnet-busybox", "{env}PASSWORD\x01{s}"),
    ("telnet-ubuntu-22.04", "bob\r\n{s}\r\n"),
    ("smtp-postfix", "EHLO x\r\nAUTH PLAIN {plain}\r\nQUIT\r\n"),
    ("smtp-postfix", "auth  plain\r\n{plain}\r\n"),
    ("smtp-postfix", "AUTH LOGIN\r\nYm9i\r\n{base64}\r\n"),
    ("smtp-postfix", "AUTH LOGIN Ym9i\r\n{base64}\r\n"),
    ("smtp-postfix", "AUTH CRAM-MD5\r\n{base64}\r\n"),
    (
        "smtp-postfix",
        "EHLO x\r\nSTARTTLS\r\nAUTH PLAIN {plain}\r\nPASS {s}\r\n",
    ),
    ("smtp-exim", "EHLO x\r\nSTARTTLS\r\nAUTH PLAIN {plain}\r\nPASS {s}\r\n"),
    (
        "smtp-postfix-submission",
        "EHLO x\r\nAUTH PLAIN {plain}\r\nSTARTTLS\r\n",
    ),
    ("imap-dovecot", "a STARTTLS\r\nb LOGIN bob {s}\r\n"),
    ("pop3-dovecot", "STLS\r\nUSER bob\r\nPASS {s}\r\n"),
    ("vsftpd-3.0.5-tls", "AUTH TLS\r\nUSER bob\r\nPASS {s}\r\n"),
    ("smtp-postfix", "AUTH XOAUTH2 {base64}\r\n"),
    (
        "smtp-postfix",
        "HELO a\r\nMAIL FROM:<a@b?password={s}>\r\nRCPT TO:<c@d?token={s}>\r\nVRFY x?password={s}\r\n",
    ),
    (
        "smtp-exim",
        "EHLO a\r\nAUTH PLAIN\r\n{plain}\r\nEHLO password={s}\r\nAUTH LOGIN\r\nYm9i\r\n{base64}\r\n",
    ),
    ("openssh-debian-12", "SSH-2.0-x password={s}\r\n"),
    ("openssh-debian-12", "SSH-1.5-x?token={s}\r\n"),
    (
        "bind-debian-12",
        "\0\x2b\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x19password={s}\0\0\x10\0\x01",
    ),
    ("smtp-postfix", "GET /?password={s} HTTP/1.1\r\nCookie: a={s}\r\n\r\n"),
    ("pop3-dovecot", "USER bob\r\nPASS {s}\r\nPASS {s}\r\n"),
    ("pop3-dovecot", "user bob\r\npass\t{s}\r\n"),
    ("pop3-dovecot", "APOP bob {s}\r\n"),
    ("pop3-dovecot", "AUTH PLAIN\r\n{plain}\r\n"),
    ("imap-dovecot", "a LOGIN bob {s}\r\n"),
    ("imap-dovecot", "a login \"bob\" \"{s}\"\r\n"),
    ("imap-dovecot", "a LOGIN {3+}\r\nbob {16+}\r\n{s}\r\n"),
    ("imap-dovecot", "a AUTHENTICATE PLAIN {plain}\r\n"),
    ("imap-dovecot", "a AUTHENTICATE LOGIN\r\nYm9i\r\n{base64}\r\n"),
    ("redis-debian-12", "AUTH {s}\r\nAUTH root '{s}'\r\nAUTH a b {s}\r\n"),
    ("redis-debian-12", "*2\r\n$4\r\nAUTH\r\n$16\r\n{s}\r\n"),
    (
        "redis-debian-12",
        "*3\r\n$4\r\nauth\r\n$3\r\nbob\r\n$16\r\n{s}\r\nPING\r\n",
    ),
    ("redis-debian-12", "*2\r\n$4\r\nAUTH\r\n$17\r\n{s}"),
    ("redis-debian-12", "*2\r\n$4\r\nAUTH\r\n{s}\r\n"),
    (
        "redis-debian-12",
        "HELLO 3 AUTH bob {s} SETNAME x\r\nHELLO 3 AUTH {s}\r\n",
    ),
    (
        "redis-debian-12",
        "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$16\r\n{s}\r\n",
    ),
    (
        "redis-debian-12",
        "CONFIG SET requirepass {s}\r\nCONFIG SET dir /tmp masterauth {s}\r\n",
    ),
    (
        "redis-debian-12",
        "*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$11\r\nrequirepass\r\n$16\r\n{s}\r\n",
    ),
    (
        "redis-debian-12",
        "MIGRATE h 1 k 0 9 AUTH2 bob {s}\r\nACL SETUSER bob on >{s}\r\n",
    ),
    (
        "redis-debian-12",
        "EVAL \"redis.call('auth', '{s}')\" 0\r\nSET password {s}\r\n",
    ),
    ("redis-debian-12", "*2\r\n$8\r\npassword\r\n$16\r\n{s}\r\n"),
    ("redis-debian-12", "AUTH \"{s}\r\n"),
    ("rdp-windows-10", "GET /?password={s} HTTP/1.1\r\nCookie: a={s}\r\n\r\n"),
    ("xrdp-debian-12", "USER bob\r\nPASS {s}\r\n"),
    ("xrdp-debian-12", "\x03\0\0\x20password={s}\r\n"),
    (
        "postgresql-debian-12",
        "\0\0\0\x30\0\x03\0\0user\0postgres://bob:{s}@h\0\0",
    ),
    ("bind-debian-12", "PO\r\n{\"password\":\r\n\"{s}\"}\r\n"),
    (
        "openssh-debian-12",
        "GET /?password={s} HTTP/1.1\r\nAuthorization: Basic {basic}\r\n\r\n",
    ),
];

/// What clients send to the wrong port, whose secret is on another line than its name, or has none.
const ASTRAY: &[&str] = &[
    "POST /xmlrpc.php HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 138\r\n\r\n<methodCall><methodName>\
     wp.getUsersBlogs</methodName><params>\r\n<value>admin</value>\r\n<value>{s}</value>\r\n</params></methodCall>\r\n\r\n",
    "{\"password\":\r\n\"{s}\"}\r\n\r\n",
    "NTLMSSP\0\x03\0\0\0{s}",
];

/// Every session: personality and what the client sends.
fn sessions(shapes: &Shapes) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    for (at, head) in HEADS.iter().enumerate() {
        all.push((WEB[at % 3], shapes.fill(head)));
        all.push((WEB[(at + 1) % 3], shapes.fill(head)));
    }
    for (at, (kind, body, further)) in BODIES.iter().enumerate() {
        let body = shapes.fill(body);
        let web = WEB[at % 3];
        let head = |method: &str, length: &str| {
            format!("{method} /login.php HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n{further}{length}\r\n\r\n")
                .into_bytes()
        };
        let sized = format!("Content-Length: {}", body.len());
        all.push((web, [head("POST", &sized), body.clone()].concat()));
        all.push((web, [head("PUT", &sized), body.clone()].concat()));
        // A length that lies: the last bytes are no part of the body.
        let short = format!("Content-Length: {}", body.len() - 3);
        all.push((web, [head("POST", &short), body.clone(), b"\r\n".to_vec()].concat()));
        if further.is_empty() {
            all.push((web, [head("POST", "X: y"), body.clone()].concat()));
        }
        let padded = [&b"a=".to_vec(), &vec![b'x'; 20_000], &b"&"[..].to_vec(), &body]
            .map(|part| &part[..])
            .concat();
        let sized = format!("Content-Length: {}", padded.len());
        all.push((web, [head("POST", &sized), padded].concat()));
        let mut chunked = head("POST", "Transfer-Encoding: chunked");
        for chunk in body.chunks(7) {
            chunked.extend([format!("{:x};x=y\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        chunked.extend(shapes.fill("0\r\nX-Auth-Token: {s}\r\n\r\n"));
        all.push((web, chunked));
    }
    all.extend(SIP.map(|sent| ("kamailio-debian-12", shapes.fill(sent))));
    for (personality, sent) in OTHERS {
        let sent = shapes.fill(sent);
        // Telnet: NEW-ENVIRON IS, USERVAR; end of the subnegotiation.
        let sent = replace(&sent, b"{env}", b"\xff\xfb\x27\xff\xfa\x27\x00\x03");
        all.push((*personality, replace(&sent, b"{end}", b"\xff\xf0")));
    }
    all.extend(smb::sessions(shapes));
    all
}

fn streams() -> impl Iterator<Item = &'static str> {
    embedded_names().filter(|name| spec(embedded(name).unwrap()).service.is_stream())
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match memchr::memmem::find(bytes, from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

/// Every form of every event of a session, and the bytes of its capture.
fn shown(events: &[Event]) -> String {
    let mut all = Vec::new();
    for event in events {
        all.extend(codec::encode(event));
        for format in Format::ALL {
            render::render(event, *format, &mut all);
            all.push(b'\n');
        }
        if let Some(Value::Bytes(bytes)) = event.get(Field::PayloadBase64) {
            all.extend_from_slice(bytes);
            all.extend(text::printable(bytes).bytes());
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The events of a session in which the client sends `parts`, one after another.
async fn events(personality: &str, secrets: Secrets, parts: &[&[u8]]) -> Vec<Event> {
    let mut spec = spec(embedded(personality).unwrap());
    spec.secrets = secrets;
    let mut stage = Stage::open(spec).await;
    let mut client = stage.connect().await;
    client.set_nodelay(true).unwrap();
    for part in parts {
        // A server that has hung up takes no more.
        let _ = client.write_all(part).await;
        tokio::task::yield_now().await;
    }
    let _ = client.shutdown().await;
    let _ = client.read_to_end(&mut Vec::new()).await;
    make(settings(), stage.session().await)
}

async fn assert_hidden(shapes: &Shapes, personality: &str, secrets: Secrets, parts: &[&[u8]]) {
    let events = events(personality, secrets, parts).await;
    assert!(events.len() >= 3, "{events:?}");
    let found = told(shapes, &shown(&events));
    let sent = parts.concat().escape_ascii().to_string().replace("xxxxxxxx", "");
    assert!(found.is_empty(), "{personality}: `{sent}` shows {found:#?}");
}

/// Where a text tells the secret.
fn told(shapes: &Shapes, shown: &str) -> Vec<String> {
    let tells = shapes.tells().into_iter();
    let found = tells.filter_map(|tell| {
        shown
            .split_once(&tell)
            .map(|(before, after)| (before, tell.clone(), after))
    });
    let near = |(before, tell, after): (&str, String, &str)| {
        let before: String = before.chars().rev().take(60).collect();
        let before: String = before.chars().rev().collect();
        let after: String = after.chars().take(20).collect();
        format!("{before}>>{tell}<<{after}")
    };
    found.map(near).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_no_form_of_any_event() {
    for secrets in [Secrets::Hmac, Secrets::None] {
        let shapes = Shapes::random();
        let all = sessions(&shapes);
        join_all(all.iter().map(async |(personality, sent)| {
            assert_hidden(&shapes, personality, secrets, &[sent]).await;
        }))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_sent_to_any_wrong_port_is_in_no_form_of_any_event() {
    let shapes = Shapes::random();
    let all = streams().flat_map(|name| ASTRAY.iter().map(move |sent| (name, *sent)));
    let shown = join_all(all.map(async |(name, sent)| {
        let events = events(name, Secrets::Hmac, &[&shapes.fill(sent)]).await;
        let found = told(&shapes, &shown(&events));
        (!found.is_empty()).then(|| format!("{name} {sent:.20}: {}", found[0]))
    }));
    let shown: Vec<_> = shown.await.into_iter().flatten().collect();
    assert!(shown.is_empty(), "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_one_that_is_cut_short_or_comes_in_two_parts() {
    let shapes = Shapes::random();
    let all = sessions(&shapes);
    join_all(all.iter().map(async |(personality, sent)| {
        let cut = rand::rng().random_range(1..sent.len());
        let (first, second) = sent.split_at(cut);
        assert_hidden(&shapes, personality, Secrets::Hmac, &[first, second]).await;
        assert_hidden(&shapes, personality, Secrets::Hmac, &[first]).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_clear_all_is_kept_as_it_was_sent() {
    let shapes = Shapes::random();
    let all = sessions(&shapes);
    join_all(all.iter().map(async |(personality, sent)| {
        let events = events(personality, Secrets::Clear, &[sent]).await;
        let payload = events.iter().find_map(|event| event.get(Field::PayloadBase64));
        let Some(Value::Bytes(kept)) = payload else {
            panic!("{personality}: no payload");
        };
        assert!(sent.starts_with(kept), "{}", sent.escape_ascii());
        assert!(events.iter().all(|event| event.get(Field::PayloadMasked).is_none()));
        let stars = shown(&events).contains("****");
        assert!(!stars, "{personality}: {}", sent.escape_ascii());
    }))
    .await;
}

/// A login and a call, each with a secret in several places.
const SIP: [&str; 2] = [
    "REGISTER sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\nFrom: <sip:bob:{s}@a>;tag=c\r\nTo: <sip:bob@a>\r\nCall-ID: d\r\nCSeq: 1 REGISTER\r\nUser-Agent: x?password={s}\r\nAuthorization: Digest username=\"bob\", realm=\"a\", nonce=\"n\", uri=\"sip:a:5060\", cnonce=\"c\", nc=1, qop=auth, algorithm=MD5, response=\"{s}\"\r\nContent-Length: 0\r\n\r\n",
    "INVITE sip:bob:{s}@a;x=y SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\nFrom: \"b\" <sip:bob:{s}@a>;tag=c\r\nTo: sip:bob:{s}@a\r\nCall-ID: d\r\nCSeq: 1 INVITE\r\nContact: <sips:bob:{s}@b>\r\nProxy-Authorization: Basic {basic}\r\nContent-Length: 0\r\n\r\n",
];

#[tokio::test]
async fn a_secret_in_a_datagram_to_any_wrong_port_is_in_no_form_of_any_event() {
    let shapes = Shapes::random();
    let mut shows = Vec::new();
    let answers = |name: &&str| spec(embedded(name).unwrap()).service.speak.datagram().is_some();
    for name in embedded_names().filter(answers) {
        for astray in ASTRAY {
            let spec = spec(embedded(name).unwrap());
            let stage = Stage::open_over(Transport::Udp, "127.0.0.1:0", spec, 64).await;
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(&shapes.fill(astray), stage.address).await.unwrap();
            let events = make(settings(), stage.end().await);
            assert!(!events.is_empty());
            shows.extend(
                told(&shapes, &shown(&events))
                    .first()
                    .map(|found| format!("{name} {astray:.20}: {found}")),
            );
        }
    }
    assert!(shows.is_empty(), "{shows:#?}");
}

/// A login whose user's name has a password.
const LOGIN_AS_USER: &str = "REGISTER sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:bob@a>;tag=c\r\nTo: \
    <sip:bob@a>\r\nCall-ID: d\r\nCSeq: 1 REGISTER\r\nAuthorization: Digest username=\"sip:bob:{s}@h\", realm=\"a\", \
    nonce=\"n\", uri=\"sip:a\", response=\"0123456789abcdef0123456789abcdef\"\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_secret_in_a_datagram_is_in_no_form_of_any_event() {
    let shapes = Shapes::random();
    let community = shapes.raw.as_bytes();
    let long = [
        b"\x30\x82\x00\x40\x02\x02\x00\x01\x04\x84\x00\x00\x00\x10",
        community,
        b"\xa0\x19",
    ]
    .concat();
    let short = [b"\x30\x26\x02\x01\x00\x04\x10", &community[..12]].concat();
    let digest =
        shapes.fill("REGISTER sip:a SIP/2.0\r\nAuthorization: Digest username=\"bob\", response=\"{s}\"\r\n\r\n");
    let file = shapes.fill("\0\x01x?password={s}\0octet\0");
    let register = shapes.fill(SIP[0]);
    let call = shapes.fill(SIP[1]);
    let once = [b"\x30\x36\x02\x01\x01\x04\x10", community, b"\xa0\x19", community].concat();
    let user = [
        &b"\x30\x46\x02\x01\x03\x30\x11\x02\x04\x6b\x85\xd3\x8f\x02\x03\0\xff\xe3\x04\x01\x05\x02\x01\x03\x04\x23\x30\x21\x04\x01\x80\x02\x01\x01\x02\x01\x09\x04\x03bob\x04\x10"[..],
        community,
        b"\x04\0\x30\x04\x04\0\x04\0",
    ]
    .concat();
    let read = [
        &b"\x30\x3d\x02\x01\x01\x04\x06public\xa3\x30\x02\x01\x01\x02\x01\0\x02\x01\0\x30\x25"[..],
        b"password=",
        community,
    ]
    .concat();
    let question = [
        &b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x19password="[..],
        community,
        b"\0\0\x01\0\x01",
    ]
    .concat();
    for (personality, sent) in [
        ("snmp-silent", once.clone()),
        ("snmp-silent", long),
        ("snmp-silent", short),
        ("net-snmp-debian-12", once),
        ("net-snmp-debian-12", user),
        ("net-snmp-debian-12", read),
        ("bind-debian-12", question),
        ("tftpd-hpa-debian-12", file.clone()),
        ("ntp-server", digest),
        ("tftp-silent", file),
        ("kamailio-debian-12", register),
        ("kamailio-debian-12", shapes.fill(LOGIN_AS_USER)),
        ("kamailio-debian-12", call),
    ] {
        let spec = spec(embedded(personality).unwrap());
        let stage = Stage::open_over(Transport::Udp, "127.0.0.1:0", spec, 64).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(&sent, stage.address).await.unwrap();
        let events = make(settings(), stage.end().await);
        let shown = shown(&events);
        assert!(!events.is_empty());
        assert!(told(&shapes, &shown).is_empty(), "{personality}: {shown}");
    }
}

/// What curl sends; the secret is `{s}`, the address is added.
const CURL: &[&[&str]] = &[
    &["-u", "bob:{s}"],
    &["--digest", "-u", "bob:{s}"],
    &["--oauth2-bearer", "{s}"],
    &["-H", "Authorization: Own {s}"],
    &["-H", "x-api-key: {s}"],
    &["-b", "sid={s}; other={s}"],
    &["-e", "http://bob:{s}@h/?token={s}"],
    &["-A", "agent token={s}"],
    &["-d", "user=bob", "-d", "password={s}"],
    &["-G", "--data-urlencode", "password={s} &x"],
    &["-F", "user=bob", "-F", "password={s}"],
    &[
        "-H",
        "Content-Type: application/json",
        "-d",
        "{\"a\":{\"password\":\"{s}\"}}",
    ],
    &["-H", "Transfer-Encoding: chunked", "-d", "password={s}"],
    &["--http2-prior-knowledge", "-H", "X-Auth-Token: {s}"],
    &["-X", "PUT", "-d", "{\"secret\":\"{s}\"}"],
    &["-0", "-u", "bob:{s}", "-d", "pwd={s}"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_curl_sends_is_hidden() {
    let known = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if known.is_err() {
        eprintln!("SKIPPED: curl is not installed");
        return;
    }
    for web in WEB {
        join_all(CURL.iter().map(async |options| {
            let shapes = Shapes::random();
            let mut stage = Stage::open(spec(embedded(web).unwrap())).await;
            let mut command = Command::new("curl");
            command.args(["-q", "-s", "-m", "20", "-o", "/dev/null", "--noproxy", "*"]);
            command.args(options.iter().map(|option| option.replace("{s}", &shapes.raw)));
            command.arg(format!("http://{}/admin/?access_token={}", stage.address, shapes.raw));
            tokio::task::spawn_blocking(move || command.status().unwrap())
                .await
                .unwrap();
            let events = make(settings(), stage.session().await);
            let shown = shown(&events);
            let found = told(&shapes, &shown);
            assert!(found.is_empty(), "{options:?} shows {found:#?}");
            let named = events
                .iter()
                .any(|event| event.get(Field::CredentialSecretHmac).is_some());
            assert!(
                named || options.contains(&"--http2-prior-knowledge"),
                "{options:?}: {shown}"
            );
        }))
        .await;
    }
}
