//! The sink's keys, as data.

use std::time::Duration;

use trapline_sink::config::{Key, KeyKind};

use crate::policy::Policy;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Keys of the sink's table.
pub const KEYS: &[Key] = &[
    Key::optional(
        "server",
        KeyKind::Address,
        "Primary server of the zone, `host:port`; port 53 if left out. It is sent updates (RFC 2136). Either this or `path`.",
    ),
    Key::optional(
        "path",
        KeyKind::OutputPath,
        "Zone file to write as a whole, for resolvers that take no updates; they must be told to read it again.",
    ),
    Key::required(
        "zone",
        KeyKind::Text,
        "Name of the policy zone. Entries of others in it are left alone; one for trapline alone is better.",
    ),
    Key::optional(
        "tsig",
        KeyKind::Table(TSIG_KEYS),
        "Key that updates and transfers are signed with; goes with `server`.",
    ),
    Key::default(
        "triggers",
        KeyKind::Texts,
        "[\"client-ip\", \"ip\"]",
        "What is policed: `client-ip`, all questions of an inside host; `ip`, answers that name an outside one.",
    ),
    Key::default(
        "policy",
        KeyKind::Choice(Policy::WORDS),
        "\"nxdomain\"",
        "What the resolver does; `passthru` only lets it log, `garden` leads to the host `garden`.",
    ),
    Key::optional("garden", KeyKind::Text, "Host name that the policy `garden` leads to."),
    Key::default(
        "ttl",
        KeyKind::Duration { min: SECOND, max: HOUR },
        "\"30s\"",
        "How long clients may keep a policed answer: up to so much longer it holds after its end.",
    ),
    Key::default(
        "forwarders",
        KeyKind::Texts,
        "[]",
        "Addresses and networks of forwarding resolvers and of sites behind one address: they never get a client-ip \
         trigger, which would cut off all behind them.",
    ),
    Key::optional(
        "probe",
        KeyKind::Table(PROBE_KEYS),
        "Resolver that is asked whether what was put is in force; goes with `server`.",
    ),
    Key::default(
        "members",
        KeyKind::Integer { min: 1, max: 200_000 },
        "10000",
        "Most entries that stand at once; of more, the gravest.",
    ),
    Key::timeout("\"10s\""),
];

const TSIG_KEYS: &[Key] = &[
    Key::required("name", KeyKind::Text, "Name of the key, the same on the server."),
    Key::default(
        "algorithm",
        KeyKind::Choice(ALGORITHMS),
        "\"hmac-sha256\"",
        "Algorithm of the key, the same on the server.",
    ),
    Key::required(
        "secret",
        KeyKind::Secret,
        "The key, in base64, as `tsig-keygen` writes it.",
    ),
];

const ALGORITHMS: &[&str] = &["hmac-sha256", "hmac-sha384", "hmac-sha512"];

const PROBE_KEYS: &[Key] = &[
    Key::required(
        "resolver",
        KeyKind::Address,
        "Resolver that has the policy zone, `host:port`; port 53 if left out. It is asked over TCP.",
    ),
    Key::default(
        "wait",
        KeyKind::Duration {
            min: Duration::ZERO,
            max: Duration::from_secs(60),
        },
        "\"3s\"",
        "How long it is asked again before `status` says that something is not in force.",
    ),
    Key::default(
        "late",
        KeyKind::Duration {
            min: Duration::ZERO,
            max: HOUR,
        },
        "\"2m\"",
        "After what time it is an alarm that something is not in force.",
    ),
];
