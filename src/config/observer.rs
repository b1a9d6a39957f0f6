//! `[observer]`, `[zones]`, `[owners]`: where this host stands.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use trapline_sink::config::{Key, KeyKind, Place, Problem, Secret, Table, Visible, plain_address, shown};

use super::load::Loader;

/// Keys of `[observer]`.
pub const OBSERVER: &[Key] = &[
    Key::optional(
        "name",
        KeyKind::Text,
        "Name of this sensor in events. Default: the host name.",
    ),
    Key::default("site", KeyKind::Text, "\"default\"", "Site this sensor belongs to."),
    Key::default(
        "site_key",
        KeyKind::MadeSecret,
        "\"file:site.key\"",
        "Key that hides secrets and names incidents; shared by the sensors of a site. `file:` is relative to \
         `state_dir` and made if absent.",
    ),
    Key::default(
        "neighbours",
        KeyKind::Bool,
        "true",
        "Whether events name the MAC of a source that is a neighbour, as the kernel knows it.",
    ),
    Key::optional(
        "leases",
        KeyKind::InputPath,
        "Leases of a DHCP server (dnsmasq, ISC dhcpd, Kea's CSV), which name sources and their MACs.",
    ),
    Key::default(
        "shared_addresses",
        KeyKind::Texts,
        "[]",
        "Addresses or CIDR that many share (NAT, VPN, proxy, terminal server): never acted on automatically.",
    ),
];

/// Keys of `[zones.NAME]`.
pub const ZONE: &[Key] = &[
    Key::required(
        "networks",
        KeyKind::Texts,
        "Networks of the zone, as addresses or CIDR.",
    ),
    Key::default("inside", KeyKind::Bool, "false", "Whether its hosts are our own."),
];

/// Keys of `[owners.NAME]`.
pub const OWNER: &[Key] = &[
    Key::required(
        "networks",
        KeyKind::Texts,
        "Networks the owner answers for, as addresses or CIDR.",
    ),
    Key::optional(
        "email",
        KeyKind::Text,
        "Where the owner is reached, `user@host` or `Name <user@host>`; nothing is sent there but by an email sink with \
         `owners = true`, and only when somebody lets it go by `trapline owners release`.",
    ),
];

/// The networks of the zone `inside` when no zone is configured.
const INSIDE: &[&str] = &[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "::1/128",
    "fe80::/10",
];

/// This host, as events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observer {
    /// Its name; the host name if `None`.
    pub name: Option<String>,
    /// Its site.
    pub site: String,
    /// Where the site key comes from.
    pub site_key: SiteKeySource,
    /// Whether the kernel's neighbours are followed.
    pub neighbours: bool,
    /// Leases of a DHCP server.
    pub leases: Option<PathBuf>,
    /// Networks whose addresses many share.
    pub shared_addresses: Vec<IpNet>,
}

/// Where the site key comes from.
#[derive(Debug, Clone)]
pub enum SiteKeySource {
    /// A file that is made, with 0600, if it is absent.
    File(PathBuf),
    /// Given by a variable or a credential.
    Given(Secret),
}

impl PartialEq for SiteKeySource {
    fn eq(&self, other: &Self) -> bool {
        use trapline_sink::config::ExposeSecret;
        match (self, other) {
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Given(a), Self::Given(b)) => a.expose_secret() == b.expose_secret(),
            _ => false,
        }
    }
}

impl Eq for SiteKeySource {}

/// Networks that sources come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its networks, host bits cleared.
    pub networks: Vec<IpNet>,
    /// Whether its hosts are our own.
    pub inside: bool,
}

/// Who answers for a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its networks, host bits cleared.
    pub networks: Vec<IpNet>,
    /// Where it is reached.
    pub email: Option<String>,
}

/// Shortest site key that is given, bytes.
const SITE_KEY_BYTES_MIN: usize = 16;

pub(super) fn observer(loader: &Loader<'_>) -> Observer {
    let table = loader.single("observer", OBSERVER);
    Observer {
        name: table.text_opt("name"),
        site: table.text("site"),
        site_key: site_key(loader, &table),
        neighbours: table.bool("neighbours"),
        leases: table.path("leases"),
        shared_addresses: networks(&table, "shared_addresses"),
    }
}

fn site_key(loader: &Loader<'_>, table: &Table) -> SiteKeySource {
    use trapline_sink::config::ExposeSecret;
    let Some(secret) = table.secret("site_key") else {
        let made = || loader.context.state_dir.join("site.key");
        return SiteKeySource::File(table.path("site_key").unwrap_or_else(made));
    };
    let length = secret.expose_secret().len();
    if length < SITE_KEY_BYTES_MIN {
        let found = format!("site_key of {length} bytes");
        table.problem("site_key", &found, &format!("{SITE_KEY_BYTES_MIN} bytes or more"));
    }
    SiteKeySource::Given(secret)
}

pub(super) fn zones(loader: &Loader<'_>) -> Vec<Zone> {
    let zone = |(name, table): (String, Table)| Zone {
        name,
        networks: networks(&table, "networks"),
        inside: table.bool("inside"),
    };
    let zones: Vec<_> = loader.named("zones", ZONE).into_iter().map(zone).collect();
    match zones.is_empty() {
        true => vec![inside()],
        false => zones,
    }
}

pub(super) fn owners(loader: &Loader<'_>) -> Vec<Owner> {
    let owner = |(name, table): (String, Table)| Owner {
        name,
        networks: networks(&table, "networks"),
        email: email(&table),
    };
    loader.named("owners", OWNER).into_iter().map(owner).collect()
}

fn email(table: &Table) -> Option<String> {
    let text = table.text_opt("email")?;
    if !trapline_sink_email::is_address(&text) {
        table.problem(
            "email",
            &format!("`{}`", shown(&text)),
            trapline_sink_email::ADDRESS_ALLOWED,
        );
    }
    Some(text)
}

fn inside() -> Zone {
    Zone {
        name: "inside".into(),
        networks: INSIDE.iter().filter_map(|text| network(text)).collect(),
        inside: true,
    }
}

/// The networks of a list; what is none is a problem.
pub(super) fn networks(table: &Table, key: &str) -> Vec<IpNet> {
    let mut good = Vec::new();
    for (index, text) in table.texts(key).iter().enumerate() {
        match network(text) {
            Some(network) => good.push(network),
            None => table.report(key, no_network(table.item_place(key, index), text)),
        }
    }
    good
}

/// What is no network may be anything: only what looks like one is shown.
fn no_network(place: Place, text: &str) -> Problem {
    let (found, visible) = match plain_address(text) {
        Some(text) => (format!("{text} is not a network"), Visible::Place),
        None => ("this is not a network".to_owned(), Visible::Nothing),
    };
    let allowed = "an address or CIDR such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
    Problem::error(place, found, allowed).show(visible)
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    let host = || text.parse::<IpAddr>().ok().map(IpNet::from);
    network.or_else(host).map(|network| network.trunc())
}
