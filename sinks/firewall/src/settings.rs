//! The `firewall` table: its keys, and what they mean once checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trapline_nftables::{MEMBERS_MAX, Nftables, TABLE_CHARS_MAX};
use trapline_sink::config::{Key, KeyKind, Table};
use trapline_sink::set::{Scope, SetCommon, SetFactory, SetSink, SetType, Verb};
use trapline_sink::{Fault, FaultKind};

use crate::fail2ban::Fail2ban;
use crate::firewalld::Firewalld;
use crate::ipset::Ipset;
use crate::run::Programs;
use crate::sink::Guarded;
use crate::windows::Windows;

/// Longest name of an ipset without its ending: the kernel takes 31, and `-v6-n` is added.
const SET_CHARS_MAX: usize = 24;
/// Longest name of a jail, a zone, or the beginning of a rule's.
const NAME_CHARS_MAX: usize = 48;

/// The registry row.
pub static SINK: SetType = SetType {
    name: "firewall",
    keys: &[
        Key::default(
            "backend",
            KeyKind::Choice(&["auto", "nftables", "ipset", "firewalld", "fail2ban", "windows"]),
            "\"auto\"",
            "what shuts sources out; auto: nftables where the kernel has it, else ipset, on Windows its own firewall",
        ),
        Key::optional(
            "members",
            KeyKind::Integer {
                min: 1,
                max: MEMBERS_MAX as i64,
            },
            "most addresses that are shut out at once, of more the gravest; nftables and ipset 100000, firewalld and windows 10000, fail2ban 2000",
        ),
        Key::default(
            "timeout",
            KeyKind::Duration {
                min: Duration::from_millis(500),
                max: Duration::from_secs(120),
            },
            "\"20s\"",
            "longest time that one program may take; all but nftables start programs",
        ),
        Key::default(
            "table",
            KeyKind::Text,
            "\"trapline\"",
            "nftables: name of the table, which is trapline's own",
        ),
        Key::default(
            "owned",
            KeyKind::Bool,
            "true",
            "nftables: the table is closed to everybody else while trapline runs, where the kernel can (6.9)",
        ),
        Key::default(
            "v6_prefix",
            KeyKind::Integer { min: 64, max: 128 },
            "128",
            "nftables: 64 or 128; with 64 the /64 of an IPv6 source costs no more than a host",
        ),
        Key::default(
            "set",
            KeyKind::Text,
            "\"trapline\"",
            "ipset and firewalld: how the names of the ipsets begin (`trapline-v4`), which are trapline's own",
        ),
        Key::default(
            "zone",
            KeyKind::Text,
            "\"drop\"",
            "firewalld: the zone that the ipsets become sources of; it should drop all",
        ),
        Key::default(
            "jail",
            KeyKind::Text,
            "\"trapline\"",
            "fail2ban: the jail, which is trapline's own (config/fail2ban)",
        ),
        Key::optional(
            "socket",
            KeyKind::InputPath,
            "fail2ban: its server's socket; where fail2ban's own configuration says if absent",
        ),
        Key::default(
            "rule",
            KeyKind::Text,
            "\"trapline-block\"",
            "windows: how the names of the rules begin (`trapline-block-0`)",
        ),
        Key::default(
            "shard",
            KeyKind::Integer { min: 1, max: 1000 },
            "1000",
            "windows: most addresses in one rule; long lists make changes slow",
        ),
    ],
    scope: Scope::Both,
    interval: Duration::from_secs(5),
    parse: |table: &Table| Box::new(Settings::read(table)),
    doc: "Shuts sources out by nftables, ipset, firewalld, fail2ban or the firewall of Windows, each until its end",
};

/// What shuts sources out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first of the others that is there.
    Auto,
    /// The kernel's packet filter, over netlink.
    Nftables,
    /// ipset and iptables.
    Ipset,
    /// firewalld.
    Firewalld,
    /// fail2ban.
    Fail2ban,
    /// The firewall of Windows.
    Windows,
}

impl Kind {
    fn find(word: &str) -> Self {
        match word {
            "nftables" => Self::Nftables,
            "ipset" => Self::Ipset,
            "firewalld" => Self::Firewalld,
            "fail2ban" => Self::Fail2ban,
            "windows" => Self::Windows,
            _ => Self::Auto,
        }
    }

    /// The default and the bound of `members`.
    const fn members(self) -> (usize, usize) {
        match self {
            Self::Auto | Self::Nftables => (100_000, MEMBERS_MAX),
            Self::Ipset => (100_000, 200_000),
            Self::Firewalld | Self::Windows => (10_000, 100_000),
            Self::Fail2ban => (2000, 20_000),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nftables => "nftables",
            Self::Ipset => "ipset",
            Self::Firewalld => "firewalld",
            Self::Fail2ban => "fail2ban",
            Self::Windows => "windows",
        })
    }
}

/// Which backends a key is for; one that is not here is for all.
const KEYS: &[(&str, &[Kind])] = &[
    (
        "timeout",
        &[Kind::Auto, Kind::Ipset, Kind::Firewalld, Kind::Fail2ban, Kind::Windows],
    ),
    ("table", &[Kind::Auto, Kind::Nftables]),
    ("owned", &[Kind::Auto, Kind::Nftables]),
    ("v6_prefix", &[Kind::Auto, Kind::Nftables]),
    ("set", &[Kind::Auto, Kind::Ipset, Kind::Firewalld]),
    ("zone", &[Kind::Firewalld]),
    ("jail", &[Kind::Fail2ban]),
    ("socket", &[Kind::Fail2ban]),
    ("rule", &[Kind::Auto, Kind::Windows]),
    ("shard", &[Kind::Auto, Kind::Windows]),
];

/// A checked `firewall` table.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What shuts sources out.
    pub kind: Kind,
    /// Most addresses; `None`: the backend's default.
    pub members: Option<usize>,
    /// Where programs are, and how long one may take.
    pub programs: Programs,
    /// Name of the nftables table.
    pub table: String,
    /// Whether that is closed to others.
    pub owned: bool,
    /// 64 or 128.
    pub v6_prefix: u8,
    /// How the names of ipsets begin.
    pub set: String,
    /// firewalld's zone.
    pub zone: String,
    /// fail2ban's jail.
    pub jail: String,
    /// fail2ban's socket; `None`: where its own configuration says.
    pub socket: Option<PathBuf>,
    /// How the names of Windows' rules begin.
    pub rule: String,
    /// Most addresses in one of them.
    pub shard: usize,
}

impl Settings {
    /// The defaults.
    pub fn new(kind: Kind, programs: Programs) -> Self {
        Self {
            kind,
            members: None,
            programs,
            table: "trapline".to_owned(),
            owned: true,
            v6_prefix: 128,
            set: "trapline".to_owned(),
            zone: "drop".to_owned(),
            jail: "trapline".to_owned(),
            socket: None,
            rule: "trapline-block".to_owned(),
            shard: 1000,
        }
    }

    fn read(table: &Table) -> Self {
        let kind = Kind::find(table.choice("backend"));
        refuse_keys_of_others(table, kind);
        check_values(table, kind);
        let members = table.integer_opt("members");
        Self {
            members: members.and_then(|count| usize::try_from(count).ok()),
            table: table.text("table"),
            owned: table.bool("owned"),
            v6_prefix: u8::try_from(table.integer("v6_prefix")).unwrap_or(128),
            set: table.text("set"),
            zone: table.text("zone"),
            jail: table.text("jail"),
            socket: table.path("socket"),
            rule: table.text("rule"),
            shard: usize::try_from(table.integer("shard")).unwrap_or(1),
            ..Self::new(kind, Programs::system(table.duration("timeout")))
        }
    }

    fn members(&self, kind: Kind) -> usize {
        let (usual, most) = kind.members();
        self.members.unwrap_or(usual).min(most)
    }

    fn nftables(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        let settings = trapline_nftables::Settings {
            table: self.table.clone(),
            members: self.members(Kind::Nftables),
            v6_prefix: self.v6_prefix,
            owned: self.owned,
        };
        Ok(Nftables::open(&settings, common)?)
    }

    fn ipset(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        let ipset = Ipset::new(self.programs.clone(), &self.set, self.members(Kind::Ipset))?;
        Ok(Guarded::new(ipset, common))
    }

    fn windows(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        let members = self.members(Kind::Windows);
        let windows = Windows::new(self.programs.clone(), &self.rule, self.shard, members)?;
        Ok(Guarded::new(windows, common))
    }

    /// The first that is there. Errors: none, with what each lacks.
    fn auto(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        if cfg!(windows) {
            return self.windows(common);
        }
        match Nftables::probe() {
            Ok(()) => self.nftables(common),
            Err(fault) => self.instead_of_nftables(&fault, common),
        }
    }

    fn instead_of_nftables(&self, why: &Fault, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        self.ipset(common).map_err(|ipset| Fault {
            kind: FaultKind::Config,
            message: format!(
                "no firewall to shut sources out with: nftables: {}; ipset: {}",
                why.message, ipset.message
            ),
        })
    }
}

impl SetFactory for Settings {
    fn build(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        let programs = self.programs.clone();
        match self.kind {
            Kind::Auto => self.auto(common),
            Kind::Nftables => self.nftables(common),
            Kind::Ipset => self.ipset(common),
            Kind::Windows => self.windows(common),
            Kind::Firewalld => {
                let members = self.members(self.kind);
                let firewalld = Firewalld::new(programs, &self.set, &self.zone, members)?;
                Ok(Guarded::new(firewalld, common))
            }
            Kind::Fail2ban => {
                let members = self.members(self.kind);
                let fail2ban = Fail2ban::new(programs, &self.jail, self.socket.as_deref(), members)?;
                Ok(Guarded::new(fail2ban, common))
            }
        }
    }

    fn verb(&self) -> Verb {
        Verb::Block
    }
}

fn refuse_keys_of_others(table: &Table, kind: Kind) {
    for (key, kinds) in KEYS
        .iter()
        .filter(|(key, kinds)| table.is_set(key) && !kinds.contains(&kind))
    {
        let names: Vec<_> = kinds
            .iter()
            .filter(|kind| **kind != Kind::Auto)
            .map(ToString::to_string)
            .collect();
        let found = format!("`{key}` with `backend = \"{kind}\"`");
        table.problem(key, &found, &format!("no `{key}`: it is a key of {}", names.join(", ")));
    }
}

fn check_values(table: &Table, kind: Kind) {
    let (_, most) = kind.members();
    if let Some(count) = table
        .integer_opt("members")
        .filter(|count| usize::try_from(*count).is_ok_and(|c| c > most))
    {
        table.problem(
            "members",
            &format!("members `{count}` with `backend = \"{kind}\"`"),
            &format!("1..={most}"),
        );
    }
    let prefix = table.integer("v6_prefix");
    if !matches!(prefix, 64 | 128) {
        table.problem("v6_prefix", &format!("v6_prefix `{prefix}`"), "64 or 128");
    }
    check_name(table, "table", TABLE_CHARS_MAX, "_");
    check_name(table, "set", SET_CHARS_MAX, "_-");
    for key in ["zone", "jail", "rule"] {
        check_name(table, key, NAME_CHARS_MAX, "_-");
    }
}

/// A name of another program: a letter first, so that it is never an option; nft's tables are of small letters alone.
fn check_name(table: &Table, key: &str, chars_max: usize, signs: &str) {
    let (name, is_small) = (table.text(key), key == "table");
    let is_good = |c: char| {
        c.is_ascii_digit() || c.is_ascii_lowercase() || (!is_small && c.is_ascii_uppercase()) || signs.contains(c)
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts && name.len() <= chars_max && name.chars().all(is_good) {
        return;
    }
    let letters = if is_small { "a-z" } else { "A-Z, a-z" };
    let signs: Vec<_> = signs.chars().map(String::from).collect();
    let allowed = format!(
        "1 to {chars_max} characters of {letters}, 0-9 and {}, a letter first",
        signs.join(" ")
    );
    table.problem(key, &format!("{key} `{}`", shown(&name)), &allowed);
}

fn shown(text: &str) -> String {
    trapline_schemas::text::clean_within(text.as_bytes(), 60).into()
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
