//! The suite that every sink must pass, against a fake mail server with STARTTLS and with TLS from the first byte.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fake::{Behaviour, Protection, Server};
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::certs::{Authority, Identity, self_signed};
use trapline_sink::conformance::names::{NAME, Zone};
use trapline_sink::conformance::{BAD_USER, Case, Rig, Start, Suite};
use trapline_sink::dial::Resolver;
use trapline_sink_email::SINK;
use uuid::Uuid;

struct MailRig {
    server: Server,
    healed: Protection,
    sink: Arc<dyn StreamSink>,
    zone: Zone,
    /// Whether the server is not to be trusted.
    distrusted: bool,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl Rig for MailRig {
    fn sink(&self) -> Arc<dyn StreamSink> {
        self.sink.clone()
    }
    async fn heal(&mut self) {
        self.zone.heal();
        self.server.behave(Behaviour::Well, self.healed.clone()).await;
    }
    fn stored(&self) -> Vec<Uuid> {
        self.server.mails().iter().map(fake::Mail::event).collect()
    }
    /// Asked while the fault lasts: nobody who is not to be trusted hears more than a greeting.
    fn leaked(&self) -> bool {
        let secret = |line: &String| ["AUTH", "MAIL", "RCPT"].iter().any(|verb| line.starts_with(verb));
        self.distrusted && self.server.heard().iter().any(secret)
    }
}

fn build(server: &str, security: &str, ca: &std::path::Path, resolver: Resolver) -> Arc<dyn StreamSink> {
    let toml = format!(
        "server = '{server}'\nsecurity = '{security}'\nuser = 'trapline'\npassword = 'hush'\nfrom = 'trapline@example.org'\n\
         to = ['soc@example.org', 'it@example.org']\ntimeout = '1s'\ntls = {{ ca = '{}' }}\n",
        ca.display()
    );
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    let factory = (SINK.parse)(&table);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "mail".into(),
        format: Format::Text,
        observer: "lure-test".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    factory.build(&common).unwrap()
}

fn behaviour(case: Case) -> Option<Behaviour> {
    Some(match case {
        Case::Refused => Behaviour::Closed,
        Case::Slow => Behaviour::Slow(Duration::from_millis(20)),
        Case::HalfOpen => Behaviour::Silent,
        Case::Garbage => Behaviour::Says(b"\x00\xff\x1b]0;x\x07\r\n"),
        Case::Html => Behaviour::Says(b"HTTP/1.1 200 OK\r\n\r\n<html>250 ok</html>"),
        Case::Endless => Behaviour::Endless,
        Case::ShortBody => Behaviour::Says(b"220-mx.example\r\n22"),
        Case::ResetAfterStored => Behaviour::ResetsAfterStored,
        Case::Busy | Case::TooLarge | Case::GzipBomb => return None,
        _ => Behaviour::Well,
    })
}

/// The server's own words in a case.
fn rule(case: Case) -> impl Fn(&str) -> Option<String> + Send + Sync {
    move |line| {
        let said = match case {
            Case::ServerError if line == "connect" => "554 5.3.2 not today",
            Case::Unauthorized if line.starts_with("AUTH") => "535 5.7.8 no",
            Case::Forbidden if line.starts_with("MAIL") => "530 5.7.0 log in first",
            Case::OneBad if line.contains(BAD_USER) => "554 5.7.1 looks like spam",
            _ => return None,
        };
        Some(said.to_owned())
    }
}

/// Who the server says it is.
fn shown(case: Case, authority: &Authority, host: &str) -> Identity {
    match case {
        Case::TlsExpired => authority.issue_expired(host),
        Case::TlsWrongHost => authority.issue("elsewhere.example"),
        Case::TlsSelfSigned => self_signed(host),
        _ => authority.issue(host),
    }
    .unwrap()
}

async fn rig(case: Case, security: &'static str) -> Option<Box<dyn Rig>> {
    let behaviour = match (case, security) {
        (Case::TlsPlainPort, "starttls") => Behaviour::Stripped,
        _ => behaviour(case)?,
    };
    let by_name = matches!(case, Case::NameGone | Case::ResolverDead | Case::NameLost);
    let host = if by_name { NAME } else { "127.0.0.1" };
    let authority = Authority::new().unwrap();
    let protect = |identity: Identity| match security {
        "tls" => Protection::Tls(identity.server(None).unwrap()),
        _ => Protection::StartTls(identity.server(None).unwrap()),
    };
    let healed = protect(authority.issue(host).unwrap());
    let first = match (case, security) {
        (Case::TlsPlainPort, "tls") => Protection::None,
        _ => protect(shown(case, &authority, host)),
    };
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let server = Server::start(behaviour, first);
    server.answer(rule(case));
    let zone = Zone::new(server.address());
    let at = format!("{host}:{}", server.address().port());
    let sink = build(&at, security, &ca, zone.resolver());
    if case == Case::NameLost {
        sink.check().await.unwrap();
    }
    if by_name {
        zone.fail(case);
    }
    let distrusted = matches!(
        case,
        Case::TlsExpired | Case::TlsWrongHost | Case::TlsSelfSigned | Case::TlsPlainPort
    );
    Some(Box::new(MailRig {
        distrusted,
        server,
        healed,
        sink,
        zone,
        _folder: folder,
    }))
}

async fn suite<'a>(name: &'static str, start: &'a Start<'a>) {
    let suite = Suite {
        name,
        confirms: true,
        declared: &[
            (
                Case::Busy,
                "SMTP has no word for when to come back; 421, 450, 451 and 452 are in answers.rs",
            ),
            (Case::TooLarge, "one mail is one event: there is nothing to split"),
            (Case::GzipBomb, "nothing is ever inflated"),
        ],
        start,
    };
    suite.run().await.unwrap();
}

#[tokio::test]
async fn every_fault_is_run_or_declared_with_starttls() {
    suite("email starttls", &|case| Box::pin(rig(case, "starttls"))).await;
}

#[tokio::test]
async fn every_fault_is_run_or_declared_with_tls_from_the_first_byte() {
    suite("email tls", &|case| Box::pin(rig(case, "tls"))).await;
}
