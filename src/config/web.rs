//! `[web]`: where the live feed listens, and who may ask it by which name.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use trapline_sink::config::{Key, KeyKind, Problem, Table, Visible, plain_address, shown};

use super::decoys::{Decoy, overlap};
use super::load::Loader;
use crate::decoy::services::Transport;

/// Keys of `[web]`.
pub const KEYS: &[Key] = &[
    Key::default(
        "listen",
        KeyKind::Text,
        "\"127.0.0.1:8420\"",
        "Where the live feed listens: ADDRESS:PORT, IPv6 as [ADDRESS]:PORT. Not loopback: `tls` must be a table.",
    ),
    Key::default(
        "hosts",
        KeyKind::Texts,
        "[]",
        "Names and addresses it may be asked by, beside localhost and the address it listens on.",
    ),
    Key::default(
        "tls",
        KeyKind::OffOr(TLS_KEYS),
        "\"off\"",
        "\"off\", or a table {cert, key, ca}.",
    ),
    Key::default(
        "lists_from",
        KeyKind::Texts,
        "[]",
        "Networks from which lists (`type = \"blocklist\"`) are read without a token. Behind a proxy everybody comes from its \
         address. Default: nobody reads a list without a token of its own.",
    ),
];

/// Keys of its `tls` table.
const TLS_KEYS: &[Key] = &[
    Key::required(
        "cert",
        KeyKind::InputPath,
        "PEM file of the certificate and those above it.",
    ),
    Key::required("key", KeyKind::InputPath, "PEM file of its key."),
    Key::optional(
        "ca",
        KeyKind::InputPath,
        "PEM file of authorities: a client must have a certificate of one of them, beside its token.",
    ),
];

/// The live feed, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// Where it listens; loopback, unless there is TLS. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Further names and addresses it may be asked by, in lower case.
    pub hosts: Vec<String>,
    /// With what it speaks TLS.
    pub tls: Option<WebTls>,
    /// Networks from which lists are read without a token.
    pub lists_from: Vec<IpNet>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebTls {
    /// The certificate, and those above it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of clients, if these must have a certificate.
    pub ca: Option<PathBuf>,
}

/// Reads the table; `None` if there is none, or it says not where to listen.
pub(super) fn web(loader: &Loader<'_>, decoys: &[Decoy]) -> Option<WebSettings> {
    if !loader.is_there("web") {
        return None;
    }
    let table = loader.single("web", KEYS);
    let listen = listen(&table);
    let settings = WebSettings {
        hosts: hosts(&table),
        tls: tls(&table),
        lists_from: lists_from(&table),
        listen: listen?,
    };
    refuse_open(&table, &settings);
    refuse_taken(&table, &settings, decoys);
    Some(settings)
}

const ALLOWED: &str = "ADDRESS:PORT such as \"127.0.0.1:8420\"";

fn listen(table: &Table) -> Option<SocketAddr> {
    let text = table.text("listen");
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (found, visible) = match plain_address(&text) {
        Some(text) => (format!("{text} is not an address and port"), Visible::Place),
        None => ("this is not an address and port".to_owned(), Visible::Nothing),
    };
    let problem = Problem::error(table.place("listen"), found, ALLOWED).show(visible);
    table.report(
        "listen",
        match text.starts_with("localhost:") {
            true => problem.hint("names are not resolved: \"127.0.0.1:PORT\" or \"[::1]:PORT\""),
            false => problem,
        },
    );
    None
}

fn tls(table: &Table) -> Option<WebTls> {
    let own = table.table("tls")?;
    Some(WebTls {
        cert: own.path("cert")?,
        key: own.path("key")?,
        ca: own.path("ca"),
    })
}

fn hosts(table: &Table) -> Vec<String> {
    let mut good = Vec::new();
    for (index, text) in table.texts("hosts").into_iter().enumerate() {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        match is_host(&name) {
            true => good.push(name),
            false => table.problem_at(
                "hosts",
                index,
                &format!("`{}` is neither a host name nor an address", shown(&text)),
                "a name such as \"trap.example.org\", or an address, without port",
            ),
        }
    }
    good
}

fn lists_from(table: &Table) -> Vec<IpNet> {
    let mut good = Vec::new();
    for (index, text) in table.texts("lists_from").into_iter().enumerate() {
        let host = text.parse::<IpAddr>().map(IpNet::from);
        match host.or_else(|_| text.parse::<IpNet>()).map(|net| net.trunc()) {
            Ok(net) if net.prefix_len() > 0 => good.push(net),
            Ok(_) => table.problem_at(
                "lists_from",
                index,
                &format!("`{}` is everybody", shown(&text)),
                NETWORK,
            ),
            Err(_) => {
                let found = format!("`{}` is neither an address nor a network", shown(&text));
                table.problem_at("lists_from", index, &found, NETWORK);
            }
        }
    }
    good
}

const NETWORK: &str = "a network such as \"10.3.0.0/24\", or an address";

fn is_host(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_name = !name.is_empty() && name.len() <= 253 && name.chars().all(good);
    is_name || name.parse::<IpAddr>().is_ok()
}

/// What others can reach is not read on its way: the token is in every request.
fn refuse_open(table: &Table, settings: &WebSettings) {
    let is_wrong_elsewhere = table.is_set("tls") && !table.is_off("tls");
    if settings.listen.ip().is_loopback() || settings.tls.is_some() || is_wrong_elsewhere {
        return;
    }
    let found = format!("`{}` can be reached from other hosts, and TLS is off", settings.listen);
    table.problem(
        "listen",
        &found,
        "a loopback address such as \"127.0.0.1:8420\", or any with `tls = { cert, key }`",
    );
}

/// A decoy and the feed never share a port.
fn refuse_taken(table: &Table, settings: &WebSettings, decoys: &[Decoy]) {
    let address = settings.listen;
    let has = |decoy: &&Decoy| {
        let mut endpoints = decoy.endpoints();
        endpoints.any(|one| {
            one.transport == Transport::Tcp
                && one.address.port() == address.port()
                && address.port() != 0
                && overlap(one.address, address)
        })
    };
    if let Some(decoy) = decoys.iter().find(has) {
        let found = format!("`{address}` is taken: decoy `{}` listens there", decoy.name);
        table.problem("listen", &found, "another address or port");
    }
}
