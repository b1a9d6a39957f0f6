//! `[decoys.NAME]`: what listens where, and how it looks.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

use trapline_sink::config::{Key, KeyKind, Place, Problem, Table, Visible, listed, plain_address, shown};

use super::load::Loader;
use super::rules::{KnownLook, ServiceRule};
use crate::decoy::bind::Endpoint;
use crate::decoy::services::Transport;
use crate::decoy::tls::certificate::Files;

/// Keys of `[decoys.NAME]`.
pub const KEYS: &[Key] = &[
    Key::required("service", KeyKind::Text, "The protocol it speaks."),
    Key::optional(
        "personality",
        KeyKind::Text,
        "How it looks: a file of config/personalities, or one beside this file. Default: the service's own.",
    ),
    Key::required(
        "listen",
        KeyKind::Texts,
        "Where it listens: ADDRESS:PORT, IPv6 as [ADDRESS]:PORT.",
    ),
    Key::optional(
        "transport",
        KeyKind::Text,
        "tcp or udp, of a protocol that runs over both. Default: both, at each address.",
    ),
    Key::default(
        "tls",
        KeyKind::BoolOr(TLS_KEYS),
        "false",
        "TLS from the first byte, with a certificate made once; or a table with one's own, also for STARTTLS.",
    ),
    Key::default(
        "strict",
        KeyKind::Bool,
        "false",
        "Whether a start without one of its ports fails, in place of trying again every 30 s.",
    ),
];

/// Keys of a decoy's `tls` table.
const TLS_KEYS: &[Key] = &[
    Key::required(
        "cert",
        KeyKind::InputPath,
        "PEM file of the certificate and those above it.",
    ),
    Key::required("key", KeyKind::InputPath, "PEM file of its key."),
    Key::default(
        "upgrade",
        KeyKind::Bool,
        "false",
        "Whether it is for STARTTLS and the like, in place of TLS from the first byte.",
    ),
];

/// A decoy, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoy {
    /// Its name.
    pub name: String,
    /// The word of its service.
    pub service: &'static str,
    /// Name of its personality, which is one of that service.
    pub personality: String,
    /// What it runs over, at each address; at least one.
    pub transports: Vec<Transport>,
    /// Where it listens; at least one address, none twice. Port 0 lets the kernel choose.
    pub listen: Vec<SocketAddr>,
    /// With what it speaks TLS, if not as its personality does.
    pub tls: Option<DecoyTls>,
    /// Whether a start fails that cannot have one of the addresses.
    pub strict: bool,
}

/// With what it speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecoyTls {
    /// With a certificate that the install makes once.
    Made,
    /// With the operator's; `at_once`: from the first byte, else when its service is asked to.
    Files {
        /// Where they are.
        files: Files,
        /// From the first byte.
        at_once: bool,
    },
}

/// Reads all decoys; those with problems are left out.
pub(super) fn decoys(loader: &Loader<'_>) -> Vec<Decoy> {
    let mut taken = Taken::default();
    let mut decoys = Vec::new();
    for (name, table) in loader.named("decoys", KEYS) {
        let service = service(loader, &table);
        let listen = listen(&table);
        let Some(service) = service else { continue };
        let transports = transports(&table, service);
        let (personality, look) = personality(loader, &table, service);
        for (index, address) in &listen {
            taken.take(&name, &table, *index, &transports, *address);
        }
        decoys.push(Decoy {
            name,
            service: service.name,
            tls: tls(&table, service, &transports, look.as_ref()),
            personality,
            transports,
            listen: listen.into_iter().map(|(_, address)| address).collect(),
            strict: table.bool("strict"),
        });
    }
    decoys
}

impl Decoy {
    /// Each socket that it is to have.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        let over = |transport: &Transport| {
            let transport = *transport;
            self.listen.iter().map(move |address| Endpoint {
                transport,
                address: *address,
            })
        };
        self.transports.iter().flat_map(over)
    }
}

/// The transport that is chosen; all that the service runs over if none is, or a wrong one.
fn transports(table: &Table, service: &ServiceRule) -> Vec<Transport> {
    let all = || service.transports.to_vec();
    let Some(word) = table.text_opt("transport") else {
        return all();
    };
    if let Some(chosen) = service.transports.iter().find(|transport| transport.name() == word) {
        return vec![*chosen];
    }
    let names = || service.transports.iter().map(|transport| transport.name());
    let known = [Transport::Tcp, Transport::Udp]
        .iter()
        .any(|transport| transport.name() == word);
    let found = match known {
        true => format!("service `{}` does not run over `{word}`", service.name),
        false => format!("unknown transport `{}`", shown(&word)),
    };
    let problem = Problem::error(table.place("transport"), found, listed(names()));
    table.report("transport", problem.did_you_mean(&word, names()));
    all()
}

/// In: `look`, what the personality is for, if it can be used.
fn tls(table: &Table, service: &ServiceRule, transports: &[Transport], look: Option<&KnownLook>) -> Option<DecoyTls> {
    if transports.contains(&Transport::Udp) && (table.bool("tls") || table.table("tls").is_some()) {
        let chosen = transports == service.transports && service.transports.contains(&Transport::Tcp);
        let (found, allowed) = match chosen {
            true => ("runs over UDP as well", "`tls` with `transport = \"tcp\"`"),
            false if service.transports.contains(&Transport::Tcp) => {
                ("is to run over UDP", "`tls` with `transport = \"tcp\"`")
            }
            false => ("runs over UDP", "`tls` of a service that runs over TCP"),
        };
        table.problem("tls", &format!("service `{}` {found}", service.name), allowed);
    }
    match table.table("tls") {
        Some(own) if own.bool("upgrade") && look.is_some_and(|look| !look.upgrades) => {
            let allowed =
                "a personality that goes on with TLS when a client asks, such as `smtp-postfix`, or no `upgrade`";
            own.problem("upgrade", "the personality has no STARTTLS or the like", allowed);
            None
        }
        Some(own) => Some(DecoyTls::Files {
            files: Files {
                cert: own.path("cert")?,
                key: own.path("key")?,
            },
            at_once: !own.bool("upgrade"),
        }),
        None => table.bool("tls").then_some(DecoyTls::Made),
    }
}

fn service<'a>(loader: &Loader<'a>, table: &Table) -> Option<&'a ServiceRule> {
    let word = table.text_opt("service")?;
    let found = loader.rules.services.iter().find(|service| service.name == word);
    if found.is_none() {
        let names = || loader.rules.services.iter().map(|service| service.name);
        let found = format!("unknown service `{}`", shown(&word));
        let problem = Problem::error(table.place("service"), found, listed(names()));
        table.report("service", problem.did_you_mean(&word, names()));
    }
    found
}

/// Its name, and what it is for if it is one of the service.
fn personality(loader: &Loader<'_>, table: &Table, service: &ServiceRule) -> (String, Option<KnownLook>) {
    let name = table
        .text_opt("personality")
        .unwrap_or_else(|| service.personality.to_owned());
    let wrong = |found: String, allowed: String| Problem::error(table.place("personality"), found, allowed);
    match (loader.rules.look)(&name) {
        Ok(look) if look.service == service.name => return (name, Some(look)),
        Ok(KnownLook { service: of, .. }) => table.report(
            "personality",
            wrong(
                format!("personality `{}` is one of `{of}`", shown(&name)),
                format!("a personality of `{}`", service.name),
            ),
        ),
        Err(unknown) => {
            let names = || unknown.names.iter().map(String::as_str);
            for found in &unknown.found {
                let problem = wrong(found.clone(), listed(names())).did_you_mean(&name, names());
                table.report("personality", problem);
            }
        }
    }
    (name, None)
}

/// The addresses that are right, each with its place in the list.
fn listen(table: &Table) -> Vec<(usize, SocketAddr)> {
    let texts = table.texts("listen");
    if texts.is_empty() && table.is_good("listen") {
        table.problem("listen", "no address to listen on", ALLOWED);
    }
    let mut good = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<SocketAddr>() {
            Ok(address) => good.push((index, address)),
            Err(_) => {
                let problem = Problem::error(table.item_place("listen", index), not_an_address(text), ALLOWED);
                let problem = problem.show(visible(text));
                table.report("listen", with_hint(problem, text));
            }
        }
    }
    good
}

const ALLOWED: &str = "ADDRESS:PORT such as \"0.0.0.0:2222\" or \"[::]:2222\"";

fn not_an_address(text: &str) -> String {
    match text {
        "all-tcp" => "this build has no `all-tcp`".into(),
        _ => match plain_address(text) {
            Some(text) => format!("{text} is not an address and port"),
            None => "this is not an address and port".into(),
        },
    }
}

/// What is no address may be anything, also a URL with a password in it.
fn visible(text: &str) -> Visible {
    match plain_address(text) {
        Some(_) => Visible::Place,
        None => Visible::Nothing,
    }
}

/// Guesses what was meant: a port alone, or IPv6 without brackets.
fn with_hint(problem: Problem, text: &str) -> Problem {
    if let Ok(port) = text.trim_start_matches([':', '*']).parse::<u16>() {
        return problem.hint(format!("for every address: \"0.0.0.0:{port}\", \"[::]:{port}\""));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
            problem.hint(format!("did you mean `[{host}]:{port}`?"))
        }
        Some((_, port)) if port.parse::<u16>().is_err() => problem.hint("a port is a number in 0..=65535"),
        Some((host, port)) => match unclosed(host) {
            Some(host) => problem.hint(format!("did you mean `[{host}]:{port}`?")),
            None if is_name(host) => problem.hint("names are not resolved: give an address"),
            None => problem,
        },
        None => problem,
    }
}

/// The IPv6 address in a host that lacks a bracket.
fn unclosed(host: &str) -> Option<Ipv6Addr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_name(host: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    host.chars().all(good) && host.contains(|c: char| c.is_ascii_alphabetic())
}

/// Addresses that are taken, by transport and port.
#[derive(Default)]
struct Taken(BTreeMap<(Transport, u16), Vec<Holder>>);

/// Who took an address.
struct Holder {
    address: SocketAddr,
    decoy: String,
    place: Place,
}

impl Taken {
    /// Takes an address for each transport, or tells who has it.
    fn take(&mut self, decoy: &str, table: &Table, index: usize, transports: &[Transport], address: SocketAddr) {
        if address.port() == 0 {
            return;
        }
        let place = table.item_place("listen", index);
        let holders = |transport: &Transport| self.0.get(&(*transport, address.port())).into_iter().flatten();
        let mut all = transports.iter().flat_map(holders);
        if let Some(other) = all.find(|other| overlap(other.address, address)) {
            let found = format!(
                "`{address}` is taken: decoy `{}` listens on `{}`",
                other.decoy, other.address
            );
            let problem = Problem::error(place, found, "another address or port");
            table.report(
                "listen",
                problem.hint(format!("the other one is at {}", other.place.label())),
            );
            return;
        }
        for transport in transports {
            let holders = self.0.entry((*transport, address.port())).or_default();
            holders.push(Holder {
                address,
                decoy: decoy.to_owned(),
                place: place.clone(),
            });
        }
    }
}

/// Whether the kernel would refuse to bind both: IPv4 and IPv6 never collide, for ours are IPv6 only.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
