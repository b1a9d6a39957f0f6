//! The sink's keys and what becomes of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::ExposeSecret;
use trapline_notice::Voice;
use trapline_schemas::Format;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, OwnerMail, Problem, SinkType, Table};
use trapline_sink::dial::{Address, Dialer, Names};
use trapline_sink::stream::{Fault, FaultKind, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::address;
use crate::message::Letterhead;
use crate::session::{Link, Login, Mechanism, Security};
use crate::sink::EmailSink;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "email",
    keys: KEYS,
    audience: Audience::People,
    follows_incidents: false,
    formats: &[Format::Text],
    parse,
    doc: "A notice a mail, text and HTML, over SMTP with TLS, threaded by incident",
};

/// Most recipients of one sink: a list has an address of its own.
const RECIPIENTS_MAX: usize = 20;
/// Longest user name or password, as servers take them in one line.
const LOGIN_BYTES_MAX: usize = 4096;

const KEYS: &[Key] = &[
    Key::required(
        "server",
        KeyKind::Address,
        "Mail server, host:port; without a port 587, with `security = \"tls\"` 465, with \"off\" 25.",
    ),
    Key::optional(
        "security",
        KeyKind::Choice(&["starttls", "tls", "off"]),
        "\"starttls\" (required of the server, never left out), \"tls\" from the first byte (default for port 465), or \
         \"off\": to this machine only, or with `tls = \"off\"` (whose default it is).",
    ),
    Key::optional("user", KeyKind::Text, "Who logs in; no login if absent."),
    Key::optional(
        "password",
        KeyKind::Secret,
        "The password of `user`; for xoauth2 an access token.",
    ),
    Key::default(
        "auth",
        KeyKind::Choice(&["auto", "plain", "login", "xoauth2"]),
        "\"auto\"",
        "How to log in; auto is plain if the server has it, else login.",
    ),
    Key::required(
        "from",
        KeyKind::Text,
        "Sender, `user@host` or `Name <user@host>`: a mailbox that somebody reads, for bounces go there.",
    ),
    Key::optional(
        "to",
        KeyKind::Texts,
        "Recipients, 1 to 20; required but with `owners = true`.",
    ),
    Key::default(
        "owners",
        KeyKind::Bool,
        "false",
        "Whether whoever answers for the source (`[owners.NAME] email`) gets a mail of its own, each time that somebody \
         lets it go by `trapline owners release`; never by itself.",
    ),
    Key::optional("reply_to", KeyKind::Text, "Where answers go; `from` if absent."),
    Key::optional(
        "tone",
        KeyKind::Text,
        "How notices are worded; that of `[notices]` if absent, else passive-aggressive.",
    ),
    Key::optional(
        "list_id",
        KeyKind::Text,
        "List-Id for filter rules, such as `trapline.example.org`; `trapline.` and the host of `from` if absent.",
    ),
    Key::optional(
        "helo",
        KeyKind::Text,
        "Name of this host in EHLO; the connection's own address if absent.",
    ),
    Key::default(
        "html",
        KeyKind::Bool,
        "true",
        "Whether mails have an HTML part beside the text.",
    ),
    Key::default(
        "timeout",
        KeyKind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(120),
        },
        "\"30s\"",
        "Longest wait for one answer of the server.",
    ),
    tls::KEY,
];

/// Validated settings.
#[derive(Debug, Clone)]
struct Settings {
    server: Address,
    security: Security,
    tls: Option<TlsSettings>,
    login: Option<Login>,
    from: Mailbox,
    to: Vec<Mailbox>,
    owners: bool,
    reply_to: Option<Mailbox>,
    tone: String,
    list_id: String,
    helo: Option<String>,
    html: bool,
    timeout: Duration,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let config = |message: String| Fault {
            kind: FaultKind::Config,
            message,
        };
        let voice = Voice::new(&self.tone, &common.notices).map_err(|error| config(error.to_string()))?;
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        if let Some(tls) = &tls {
            tls.name(&self.server.host)?;
        }
        let names = Names::new(self.server.clone(), common.resolver.clone());
        let link = Link {
            dialer: Dialer::new(names, tls),
            security: self.security,
            login: self.login.clone(),
            helo: self.helo.clone(),
            timeout: self.timeout,
        };
        let letterhead = Letterhead {
            from: self.from.clone(),
            to: self.to.clone(),
            reply_to: self.reply_to.clone(),
            list_id: self.list_id.clone(),
            html: self.html,
            observer: common.observer.clone(),
        };
        Ok(Arc::new(EmailSink::new(link, voice, letterhead, self.owners)))
    }

    fn owner_mail(&self) -> OwnerMail {
        match (self.owners, self.to.is_empty()) {
            (false, _) => OwnerMail::Never,
            (true, false) => OwnerMail::Also,
            (true, true) => OwnerMail::Alone,
        }
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let files = self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default();
        files
            .into_iter()
            .chain(Voice::look(table, "tone", &common.notices))
            .collect()
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let tls_off = table.is_off("tls");
    let security = security(table, tls_off);
    let server = server(table, security);
    hold_against(table, &server, security, tls_off);
    let from = mailbox(table, "from").unwrap_or_else(stand_in);
    let list_id = host(table, "list_id").unwrap_or_else(|| format!("trapline.{}", from.email.domain()));
    Box::new(Settings {
        login: login(table),
        to: recipients(table),
        owners: table.bool("owners"),
        reply_to: mailbox(table, "reply_to"),
        tone: table.text("tone"),
        helo: host(table, "helo"),
        html: table.bool("html"),
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table).filter(|_| security != Security::Off),
        server,
        security,
        list_id,
        from,
    })
}

/// What is not written goes by the port: 465 has TLS from the first byte, all others begin in clear.
fn security(table: &Table, tls_off: bool) -> Security {
    match table.text_opt("security").as_deref() {
        Some("tls") => Security::Tls,
        Some("off") => Security::Off,
        None if tls_off => Security::Off,
        None if Address::parse(&table.text("server"), None).is_some_and(|server| server.port == 465) => Security::Tls,
        _ => Security::StartTls,
    }
}

fn server(table: &Table, security: Security) -> Address {
    let port = match security {
        Security::StartTls => 587,
        Security::Tls => 465,
        Security::Off => 25,
    };
    Address::parse(&table.text("server"), Some(port)).unwrap_or_else(|| {
        table.problem_with_address("server", "`host:port`, such as `smtp.example:587`");
        Address {
            host: "localhost".to_owned(),
            port,
        }
    })
}

/// What `security`, `tls`, `server` and `user` say against each other.
fn hold_against(table: &Table, server: &Address, security: Security, tls_off: bool) {
    let word = table.choice("security");
    if tls_off && security != Security::Off {
        let found = format!("`\"off\"` with `security = \"{word}\"`");
        return table.problem("tls", &found, "a table or nothing, or `security = \"off\"`");
    }
    if security != Security::Off {
        return;
    }
    if table.is_set("tls") && !tls_off {
        table.problem(
            "tls",
            "a table with `security = \"off\"`",
            "`security = \"starttls\"` or \"tls\"",
        );
    }
    if is_this_machine(&server.host) {
        return;
    }
    if !tls_off {
        table.problem(
            "security",
            "`\"off\"` to another machine",
            "`\"starttls\"` or \"tls\"; \"off\" goes to this machine only, or with `tls = \"off\"`",
        );
    }
    if table.is_set("user") {
        table.problem(
            "user",
            "a login that would travel in clear",
            "`security = \"starttls\"` or \"tls\"",
        );
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn login(table: &Table) -> Option<Login> {
    if table.is_set("user") != table.is_set("password") {
        let lone = if table.is_set("user") { "user" } else { "password" };
        table.problem(lone, &format!("`{lone}` alone"), "`user` and `password` together");
    }
    let (user, password) = (table.text_opt("user")?, table.secret("password")?);
    let fits = |text: &str| !text.is_empty() && text.len() <= LOGIN_BYTES_MAX && !text.contains(char::is_control);
    for (key, text) in [("user", user.as_str()), ("password", password.expose_secret())] {
        if !fits(text) {
            let found = format!("`{key}` is empty, too long or holds control characters");
            table.problem(key, &found, "one line of 1 to 4096 bytes");
        }
    }
    let mechanism = match table.choice("auth") {
        "plain" => Mechanism::Plain,
        "login" => Mechanism::Login,
        "xoauth2" => Mechanism::XOAuth2,
        _ => Mechanism::Auto,
    };
    Some(Login {
        user,
        password,
        mechanism,
    })
}

fn mailbox(table: &Table, key: &str) -> Option<Mailbox> {
    let text = table.text_opt(key)?;
    let read = address::read(&text);
    if read.is_none() {
        table.problem(
            key,
            &format!("`{}`", trapline_sink::config::shown(&text)),
            address::ALLOWED,
        );
    }
    read
}

fn recipients(table: &Table) -> Vec<Mailbox> {
    let written = table.texts("to");
    let mut found: Vec<Mailbox> = Vec::with_capacity(written.len());
    for (at, text) in written.iter().enumerate() {
        let shown = format!("`{}`", trapline_sink::config::shown(text));
        match address::read(text) {
            None => table.problem_at("to", at, &shown, address::ALLOWED),
            Some(mailbox) if found.iter().any(|other| other.email == mailbox.email) => {
                table.problem_at("to", at, &format!("{shown} a second time"), "each recipient once");
            }
            Some(mailbox) => found.push(mailbox),
        }
    }
    if !table.is_set("to") && table.bool("owners") {
        return found;
    }
    if !(1..=RECIPIENTS_MAX).contains(&written.len()) {
        let found = match table.is_set("to") {
            true => format!("{} recipients", written.len()),
            false => "no `to`".to_owned(),
        };
        table.problem(
            "to",
            &found,
            &format!("1 to {RECIPIENTS_MAX}, more have a list of their own; none with `owners = true`"),
        );
    }
    found
}

fn host(table: &Table, key: &str) -> Option<String> {
    let text = table.text_opt(key)?;
    if !address::is_host(&text) {
        let found = format!("`{}`", trapline_sink::config::shown(&text));
        table.problem(key, &found, "a host name such as `lure.example.org`");
    }
    Some(text)
}

/// For a `from` that is wrong or missing, which is told already.
fn stand_in() -> Mailbox {
    let address = lettre::Address::new("trapline", "localhost").expect("a constant address parses");
    Mailbox::new(None, address)
}

#[cfg(test)]
mod tests;
