//! The sink's keys and what becomes of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trapline_sink::config::{Key, KeyKind, Problem, Table, shown};
use trapline_sink::dial::Address;
use trapline_sink::set::{Scope, SetCommon, SetFactory, SetSink, SetType, Verb};
use trapline_sink::{Fault, FaultKind};

use crate::file;
use crate::guard::{Guard, is_documentation};
use crate::sink::Blocklist;
use crate::text::{Family, Layout};

/// The registry row.
pub static SINK: SetType = SetType {
    name: "blocklist",
    keys: KEYS,
    scope: Scope::Outside,
    interval: Duration::from_secs(60),
    parse: |table| Box::new(Settings::read(table)),
    doc: "Lists that firewalls fetch from `[web]`: Palo Alto EDL, Fortinet threat feed, pfSense and OPNsense URL table, STIX 2.1",
};

/// Entries of the largest list: what a Palo Alto firewall of the largest models takes of all its lists together.
pub(crate) const ENTRIES_MAX: usize = 150_000;

const KEYS: &[Key] = &[
    Key::default(
        "scope",
        KeyKind::Choice(&["outside", "inside"]),
        "\"outside\"",
        "Whose addresses: outside sources, or those in zones that are inside. Never both on one list: a sink for each.",
    ),
    Key::default(
        "family",
        KeyKind::Choice(&["both", "v4", "v6"]),
        "\"both\"",
        "Addresses on the list. With \"both\" there are also a list of either: NAME.v4.txt and NAME.v6.txt.",
    ),
    Key::default(
        "entries_max",
        KeyKind::Integer {
            min: 1,
            max: ENTRIES_MAX as i64,
        },
        "50000",
        "Most lines of a list, the gravest first. Small Palo Alto firewalls take 50000 of all lists together, a FortiGate \
         131072, a FortiADC about 5000; what is over their cap they leave out.",
    ),
    Key::default(
        "comments",
        KeyKind::Bool,
        "false",
        "Whether the rule stands behind each address as ` #RULE`. Palo Alto, pfSense and OPNsense take that; Fortinet \
         documents no comment behind an address.",
    ),
    Key::default(
        "placeholder",
        KeyKind::Texts,
        "[\"192.0.2.1\", \"2001:db8::1\"]",
        "What stands on a list without members, one address of each family, reserved for documentation (RFC 5737, 3849).",
    ),
    Key::optional(
        "expect_every",
        KeyKind::Duration {
            min: Duration::from_secs(60),
            max: Duration::from_secs(86_400),
        },
        "How often each firewall comes for the list; one that stays away for longer is an alarm. Silence if left out.",
    ),
    Key::optional(
        "path",
        KeyKind::OutputPath,
        "File to write the list to as well, whole, for a web server of one's own; its folder must be there.",
    ),
];

/// What the loader keeps.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) layout: Layout,
    pub(crate) expected: Option<Duration>,
    pub(crate) path: Option<PathBuf>,
}

impl Settings {
    fn read(table: &Table) -> Self {
        let (v4, v6) = placeholders(table);
        Self {
            layout: Layout {
                family: Family::find(table.choice("family")),
                entries_max: usize::try_from(table.integer("entries_max")).unwrap_or(ENTRIES_MAX),
                comments: table.bool("comments"),
                v4,
                v6,
            },
            expected: table.duration_opt("expect_every"),
            path: table.path("path"),
        }
    }
}

fn placeholders(table: &Table) -> (Ipv4Addr, Ipv6Addr) {
    let (mut v4, mut v6) = (None, None);
    for (index, text) in table.texts("placeholder").iter().enumerate() {
        let is_taken = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if is_documentation(address.into()) => v4.replace(address).is_some(),
            Ok(IpAddr::V6(address)) if is_documentation(address.into()) => v6.replace(address).is_some(),
            _ => {
                let found = format!("`{}` is not an address for documentation", shown(text));
                table.problem_at("placeholder", index, &found, ALLOWED);
                continue;
            }
        };
        if is_taken {
            table.problem_at("placeholder", index, "a second one of its family", ALLOWED);
        }
    }
    let is_whole = v4.is_some() && v6.is_some();
    if !is_whole && table.is_good("placeholder") {
        table.problem("placeholder", "not one address of each family", ALLOWED);
    }
    let v6 = v6.unwrap_or(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    (v4.unwrap_or(Ipv4Addr::new(192, 0, 2, 1)), v6)
}

const ALLOWED: &str = "one address of 192.0.2.0/24, 198.51.100.0/24 or 203.0.113.0/24, and one of 2001:db8::/32";

impl SetFactory for Settings {
    fn build(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        if common.scope == Scope::Both {
            return Err(Fault {
                kind: FaultKind::Config,
                message: "scope is `both`, allowed is inside or outside, a sink for each: others read these lists"
                    .to_owned(),
            });
        }
        let guard = Guard::new(common.scope, &common.inside);
        Ok(Arc::new(Blocklist::new(self.clone(), common, guard)))
    }

    fn verb(&self) -> Verb {
        Verb::List
    }

    /// It speaks to nobody.
    fn places(&self, _: &Table) -> Vec<Address> {
        Vec::new()
    }

    fn look(&self, table: &Table, _: &SetCommon) -> Vec<Problem> {
        let path = self.path.as_deref().filter(|_| table.is_good("path"));
        let unusable = path.and_then(|path| file::look_at(path).err());
        let warning = |error: file::FileError| Problem::warning(table.place("path"), error.to_string(), "");
        unusable.map(warning).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> (Settings, Vec<String>) {
        let (table, problems) = Table::for_test(toml, KEYS);
        let settings = Settings::read(&table);
        let told = problems.take().into_iter();
        let told = told.map(|problem| format!("{} {}", problem.found, problem.allowed));
        (settings, told.collect())
    }

    #[test]
    fn an_empty_table_is_a_list_of_both_families_that_small_firewalls_take_whole() {
        let (settings, problems) = read("");
        assert_eq!(problems, [""; 0]);
        assert_eq!(settings.layout.family, Family::Both);
        assert_eq!(settings.layout.entries_max, 50_000);
        assert!(!settings.layout.comments);
        assert_eq!(settings.layout.v4.to_string(), "192.0.2.1");
        assert_eq!(settings.layout.v6.to_string(), "2001:db8::1");
        assert_eq!((settings.expected, settings.path), (None, None));
    }

    #[test]
    fn a_placeholder_harms_nobody() {
        for (toml, part) in [
            (
                "placeholder = [\"198.51.100.9\", \"10.0.0.1\"]",
                "`10.0.0.1` is not an address for documentation",
            ),
            (
                "placeholder = [\"192.0.2.0/24\", \"2001:db8::1\"]",
                "`192.0.2.0/24` is not an address",
            ),
            (
                "placeholder = [\"192.0.2.1\", \"192.0.2.2\", \"2001:db8::1\"]",
                "a second one of its family",
            ),
            ("placeholder = [\"192.0.2.1\"]", "not one address of each family"),
            ("placeholder = []", "not one address of each family"),
            (
                "placeholder = [\"example.org\\n\", \"2001:db8::1\"]",
                "is not an address for documentation",
            ),
        ] {
            let (_, problems) = read(toml);
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{toml}: {problems:?}"
            );
        }
        let (settings, problems) = read("placeholder = [\"2001:db8::9\", \"203.0.113.9\"]");
        assert_eq!(
            (problems.len(), settings.layout.v4.to_string().as_str()),
            (0, "203.0.113.9")
        );
    }

    #[test]
    fn every_mistake_of_a_table_is_told_at_once() {
        let (_, problems) = read("family = \"v5\"\nentries_max = 0\nexpect_every = \"5s\"\ncoments = true");
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn a_list_of_inside_and_outside_is_refused() {
        let (settings, problems) = read("scope = \"both\"");
        assert_eq!(problems.len(), 1, "{problems:?}");
        let common = SetCommon::new("edge", "lure", trapline_sink::dial::Resolver::default());
        let Err(fault) = settings.build(&common) else {
            unreachable!("built")
        };
        assert_eq!(fault.kind, FaultKind::Config);
        for scope in [Scope::Inside, Scope::Outside] {
            let common = SetCommon {
                scope,
                ..common.clone()
            };
            assert!(settings.build(&common).is_ok());
        }
    }

    #[test]
    fn a_path_that_cannot_be_is_a_warning() {
        let (table, _) = Table::for_test("path = \"/nowhere/at/all.txt\"", KEYS);
        let settings = Settings::read(&table);
        let common = SetCommon::new("edge", "lure", trapline_sink::dial::Resolver::default());
        let common = SetCommon {
            scope: Scope::Outside,
            ..common
        };
        let problems = settings.look(&table, &common);
        assert!(problems[0].found.contains("does not exist"), "{problems:?}");
    }
}
