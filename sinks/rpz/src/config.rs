//! What becomes of the sink's keys.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::tsig::{Algorithm, Key as TsigKey, KeyName};
use ipnet::IpNet;
use trapline_sink::config::{ExposeSecret, Secret, Table};
use trapline_sink::dial::{Address, Dialer, Names, Resolver};
use trapline_sink::set::{Scope, SetCommon, SetFactory, SetSink, SetType, Verb};
use trapline_sink::{Fault, FaultKind};

use crate::answer::Place;
use crate::file::File;
use crate::keys::KEYS;
use crate::link::Primary;
use crate::policy::Policy;
use crate::probe::Probe;
use crate::rules::Rules;
use crate::sink::Server;
use crate::trigger::Kind;
use crate::zone::{Zone, plain};

/// The registry row.
pub static SINK: SetType = SetType {
    name: "rpz",
    keys: KEYS,
    scope: Scope::Both,
    interval: Duration::from_secs(300),
    parse,
    doc: "DNS response policy zone: answers for inside sources, and those that name outside ones, are policed",
};

/// Shortest secret, bytes: less is guessed.
const SECRET_BYTES_MIN: usize = 16;
const DNS_PORT: u16 = 53;

/// What the loader keeps.
#[derive(Debug)]
struct Settings {
    way: Way,
    zone: Option<Zone>,
    triggers: Vec<Kind>,
    policy: Policy,
    ttl: u32,
    forwarders: Vec<IpNet>,
    members: usize,
}

#[derive(Debug)]
enum Way {
    Server(Box<ServerSettings>),
    File(PathBuf),
}

/// What is missing or wrong is `None`, and told.
#[derive(Debug)]
struct ServerSettings {
    server: Option<Address>,
    key: Option<Signer>,
    probe: Option<ProbeSettings>,
    timeout: Duration,
}

/// A key by its parts; what it is made of is not shown.
#[derive(Debug)]
struct Signer {
    name: KeyName,
    algorithm: Algorithm,
    secret: Secret,
}

#[derive(Debug)]
struct ProbeSettings {
    resolver: Option<Address>,
    wait: Duration,
    late: Duration,
}

impl SetFactory for Settings {
    fn build(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        let zone = self.zone.clone().ok_or_else(|| unset("zone"))?;
        let Self {
            triggers,
            policy,
            ttl,
            forwarders,
            members,
            ..
        } = self;
        let rules = Rules::new(
            zone,
            &common.observer,
            triggers.clone(),
            policy.clone(),
            *ttl,
            forwarders.clone(),
        );
        match &self.way {
            Way::File(path) => Ok(Arc::new(File::new(path.clone(), rules, *members, common.observes))),
            Way::Server(server) => {
                let primary = server.primary(&rules.zone, &common.resolver)?;
                let probe = server.probe.as_ref().map(|probe| probe.build(&common.resolver));
                Ok(Arc::new(Server::new(
                    primary,
                    rules,
                    *members,
                    common.observes,
                    probe.transpose()?,
                )))
            }
        }
    }

    fn verb(&self) -> Verb {
        Verb::Sinkhole
    }

    /// Not the forwarders: those may be acted on, only not by a trigger that cuts off all behind them.
    fn places(&self, _table: &Table) -> Vec<Address> {
        let Way::Server(server) = &self.way else {
            return Vec::new();
        };
        let resolver = server.probe.as_ref().and_then(|probe| probe.resolver.clone());
        server.server.clone().into_iter().chain(resolver).collect()
    }
}

/// The loader refuses such a configuration before it is built.
fn unset(key: &str) -> Fault {
    Fault {
        kind: FaultKind::Local,
        message: format!("`{key}` is not usable"),
    }
}

impl ServerSettings {
    fn primary(&self, zone: &Zone, resolver: &Resolver) -> Result<Primary, Fault> {
        let server = self.server.clone().ok_or_else(|| unset("server"))?;
        let key = self.key.as_ref().ok_or_else(|| unset("tsig"))?;
        Ok(Primary {
            place: Place {
                server: server.to_string(),
                zone: zone.to_string(),
                key: key.name.to_string(),
            },
            dialer: Dialer::new(Names::new(server, resolver.clone()), None),
            key: key.build()?,
            zone: zone.clone(),
            timeout: self.timeout,
        })
    }
}

impl Signer {
    fn build(&self) -> Result<TsigKey, Fault> {
        let secret = decoded(&self.secret).ok_or_else(|| unset("tsig.secret"))?;
        TsigKey::new(self.algorithm, &secret, self.name.clone(), None, None).map_err(|_| unset("tsig"))
    }

    fn read(table: &Table) -> Option<Self> {
        let name = key_name(&table.text("name"));
        if name.is_none() {
            table.problem(
                "name",
                "`name` is no name of a key",
                "a domain name, such as `trapline-key`",
            );
        }
        let secret = table.secret("secret").unwrap_or_default();
        let good = decoded(&secret).is_some_and(|bytes| bytes.len() >= SECRET_BYTES_MIN);
        if table.is_good("secret") && !good {
            let allowed = format!("{SECRET_BYTES_MIN} bytes or more in base64; `tsig-keygen` makes 32");
            table.problem("secret", "`secret` is no base64, or too short", &allowed);
        }
        Some(Self {
            name: name?,
            algorithm: match table.choice("algorithm") {
                "hmac-sha512" => Algorithm::Sha512,
                "hmac-sha384" => Algorithm::Sha384,
                _ => Algorithm::Sha256,
            },
            secret,
        })
    }
}

fn decoded(secret: &Secret) -> Option<Vec<u8>> {
    STANDARD.decode(secret.expose_secret().trim()).ok()
}

fn key_name(text: &str) -> Option<KeyName> {
    let name: KeyName = text.parse().ok()?;
    (!name.is_root() && plain(&name).is_some()).then_some(name)
}

impl ProbeSettings {
    fn build(&self, resolver: &Resolver) -> Result<Probe, Fault> {
        let address = self.resolver.clone().ok_or_else(|| unset("probe.resolver"))?;
        Ok(Probe {
            dialer: Dialer::new(Names::new(address, resolver.clone()), None),
            wait: self.wait,
            late: self.late,
        })
    }

    fn read(table: &Table) -> Self {
        Self {
            resolver: address(table, "resolver"),
            wait: table.duration("wait"),
            late: table.duration("late"),
        }
    }
}

fn address(table: &Table, key: &str) -> Option<Address> {
    let address = Address::parse(&table.text(key), Some(DNS_PORT));
    if table.is_good(key) && address.is_none() {
        table.problem_with_address(key, "`host:port`, such as `192.0.2.53:53`");
    }
    address
}

fn parse(table: &Table) -> Box<dyn SetFactory> {
    let zone = Zone::parse(&table.text("zone"));
    if let (Err(allowed), true) = (&zone, table.is_good("zone")) {
        table.problem("zone", "`zone` is no name of a zone", allowed);
    }
    Box::new(Settings {
        way: way(table),
        zone: zone.ok(),
        triggers: triggers(table),
        policy: policy(table),
        ttl: u32::try_from(table.duration("ttl").as_secs()).unwrap_or(1),
        forwarders: forwarders(table),
        members: usize::try_from(table.integer("members")).unwrap_or(1),
    })
}

fn way(table: &Table) -> Way {
    let path = table.path("path");
    match (table.is_set("server"), table.is_set("path")) {
        (true, true) => table.problem("path", "both `server` and `path`", "one of them"),
        (false, false) => table.problem("server", "neither `server` nor `path`", "one of them"),
        (true, false) if !table.is_set("tsig") => {
            table.problem(
                "server",
                "`server` without `tsig`",
                "a key beside it: updates are always signed",
            );
        }
        (true, false) => {}
        (false, true) => ["tsig", "probe"]
            .into_iter()
            .filter(|key| table.is_set(key))
            .for_each(|key| {
                table.problem(
                    key,
                    &format!("`{key}` beside `path`"),
                    "no such key: it goes with `server`",
                );
            }),
    }
    match path.filter(|_| !table.is_set("server")) {
        Some(path) => Way::File(path),
        None => Way::Server(Box::new(ServerSettings {
            server: address(table, "server"),
            key: table.table("tsig").as_ref().and_then(Signer::read),
            probe: table.table("probe").as_ref().map(ProbeSettings::read),
            timeout: table.duration("timeout"),
        })),
    }
}

fn triggers(table: &Table) -> Vec<Kind> {
    let words = table.texts("triggers");
    let mut kinds = Vec::new();
    for (at, word) in words.iter().enumerate() {
        match Kind::ALL.into_iter().find(|kind| kind.word() == word) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => table.problem_at("triggers", at, "no such trigger", "`client-ip` or `ip`"),
        }
    }
    if words.is_empty() && table.is_good("triggers") {
        table.problem("triggers", "no trigger", "`client-ip`, `ip` or both");
    }
    kinds
}

fn policy(table: &Table) -> Policy {
    let word = table.choice("policy");
    match (Policy::of_word(word), table.is_set("garden")) {
        (Some(policy), false) => policy,
        (Some(policy), true) => {
            table.problem(
                "garden",
                &format!("`garden` with policy `{word}`"),
                "no such key: it goes with policy `garden`",
            );
            policy
        }
        (None, _) => garden(table),
    }
}

fn garden(table: &Table) -> Policy {
    let text = table.text("garden").to_ascii_lowercase();
    let text = text.trim_end_matches('.');
    // What a resolver would take for another policy, or for a wildcard, is no host.
    let is_host = Zone::parse(text).is_ok() && matches!(Policy::of_name(text), Policy::Garden(_));
    if !is_host {
        table.problem(
            "garden",
            "policy `garden` without a host to lead to",
            "a host name, such as `quarantine.example`",
        );
    }
    Policy::of_name(text)
}

fn forwarders(table: &Table) -> Vec<IpNet> {
    let read = |(at, text): (usize, String)| {
        let net = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse().map(crate::ledger::host).ok());
        if net.is_none() {
            table.problem_at(
                "forwarders",
                at,
                "neither an address nor a network",
                "such as `10.0.0.53` or `10.1.0.0/16`",
            );
        }
        net.map(|net| net.trunc())
    };
    table
        .texts("forwarders")
        .into_iter()
        .enumerate()
        .filter_map(read)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LW9mLXRoaXJ0eS10d28tYnl0ZXMtLS0tLS0=";

    fn problems(toml: &str) -> Vec<String> {
        let (table, problems) = Table::for_test(toml, KEYS);
        let _ = parse(&table);
        problems.take().iter().map(ToString::to_string).collect()
    }

    fn good() -> String {
        format!(
            "server = \"192.0.2.53\"\nzone = \"rpz.example\"\ntsig = {{ name = \"trapline\", secret = \"{SECRET}\" }}\n"
        )
    }

    #[test]
    fn a_server_needs_a_zone_and_a_key_and_no_more() {
        assert_eq!(problems(&good()), [""; 0]);
        assert_eq!(problems("path = \"rpz.zone\"\nzone = \"rpz.example\""), [""; 0]);
        let more = good()
            + "probe = { resolver = \"192.0.2.54\" }\npolicy = \"garden\"\ngarden = \"q.example\"\nforwarders = [\"10.0.0.53\", \"10.1.0.0/16\"]";
        assert_eq!(problems(&more), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once_and_without_the_secret() {
        let wrong = format!(
            "server = \"user:{SECRET}@host/x\"\npath = \"x\"\nzone = \"a b\"\ntriggers = [\"qname\"]\npolicy = \"garden\"\n\
             forwarders = [\"nobody\"]\ntsig = {{ name = \"a b\", secret = \"c2hvcnQ=\", algorithm = \"hmac-md5\" }}"
        );
        let told = problems(&wrong);
        assert_eq!(told.len(), 9, "{told:#?}");
        for word in [
            "both `server` and `path`",
            "zone",
            "no such trigger",
            "garden",
            "neither an address",
            "too short",
            "hmac-md5",
        ] {
            assert!(told.iter().any(|problem| problem.contains(word)), "{word}: {told:#?}");
        }
        assert!(
            !told.concat().contains("c2hvcnQ") && !told.concat().contains(SECRET),
            "{told:#?}"
        );
    }

    #[test]
    fn keys_that_do_not_go_together_are_told() {
        for (toml, word) in [
            ("zone = \"rpz.example\"", "neither `server` nor `path`"),
            ("zone = \"rpz.example\"\nserver = \"a:53\"", "`server` without `tsig`"),
            (
                "zone = \"rpz.example\"\npath = \"x\"\nprobe = { resolver = \"a\" }",
                "`probe` beside `path`",
            ),
            ("zone = \"rpz.example\"\npath = \"x\"\ntriggers = []", "no trigger"),
            (
                "zone = \"rpz.example\"\npath = \"x\"\ngarden = \"a.example\"",
                "goes with policy `garden`",
            ),
            (
                "zone = \"rpz.example\"\npath = \"x\"\npolicy = \"garden\"\ngarden = \"rpz-drop\"",
                "without a host",
            ),
        ] {
            let told = problems(toml);
            assert!(told.len() == 1 && told[0].contains(word), "{word}: {told:#?}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let (table, _) = Table::for_test(&good(), KEYS);
        let shown = format!("{:?}", parse(&table));
        assert!(!shown.contains(SECRET) && !shown.contains("secret-of"), "{shown}");
    }
}
