//! What the words of a voice may say: the variables of its templates.
//!
//! Invariant: no value holds a text of a peer. They are addresses, numbers, yes and no, times, and names that the
//! configuration gave; the latter without any sign that a client could read as markup.

use std::collections::BTreeMap;
use std::net::IpAddr;

use minijinja::Value;
use smol_str::SmolStr;
use trapline_schemas::derive::service_caption;
use trapline_schemas::{Action, ENFORCEMENT, Event, Field, Timestamp, Value as Fact};

use crate::kind::{Group, Kind};
use crate::{safe, words};

/// A variable of the templates.
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: &'static str,
    /// Which kinds have it.
    pub(crate) group: Group,
    /// Its value for an event. Every variable has one for every event.
    value: fn(&About<'_>) -> Value,
}

const fn row(name: &'static str, group: Group, value: fn(&About<'_>) -> Value) -> Variable {
    Variable { name, group, value }
}

/// Every variable. `config/notices/passive-aggressive.toml` says what each is.
pub(crate) static VARIABLES: &[Variable] = &[
    row("observer", Group::House, |about| about.observer().into()),
    row("site", Group::House, |about| about.name(Field::Site).into()),
    row("contact", Group::All, |about| about.contact.into()),
    row("date", Group::All, |about| words::date(about.last()).into()),
    row("time", Group::All, |about| words::clock(about.last()).into()),
    row("who", Group::Source, |about| about.who().into()),
    row("known", Group::Source, |about| about.is_known().into()),
    row("sources", Group::Source, |about| about.sources().into()),
    row("inside", Group::Source, |about| {
        about.is(Field::SourceZoneInside).into()
    }),
    row("spoofable", Group::Source, |about| {
        about.is(Field::SourceSpoofable).into()
    }),
    row("shared", Group::Source, |about| {
        about.is(Field::SourceSharedAddress).into()
    }),
    row("decoy", Group::Door, |about| about.decoy().into()),
    row("door", Group::Door, |about| about.door().into()),
    row("decoys", Group::Door, |about| about.decoys().into()),
    row("service", Group::Door, |about| about.service().into()),
    row("port", Group::Door, |about| {
        about.number(Field::DestinationPort, 0).into()
    }),
    row("ports", Group::Door, |about| {
        about.number(Field::ScanPortCount, 1).max(1).into()
    }),
    row("hits", Group::Door, |about| about.hits().into()),
    row("more", Group::Door, |about| {
        about.number(Field::FindingHits, 1).max(1).into()
    }),
    row("tries", Group::Door, |about| about.tries().into()),
    row("users", Group::Door, |about| about.users().into()),
    row("span", Group::Door, |about| {
        words::span(about.number(Field::EventDuration, 0)).into()
    }),
    row("deed", Group::Deed, |about| about.deed().into()),
    row("accepted", Group::Deed, |about| {
        about.is(Field::CredentialAccepted).into()
    }),
    row("act", Group::Act, |about| about.act().into()),
    row("target", Group::Act, |about| about.name(Field::ResponseTarget).into()),
    row("rule", Group::Act, |about| about.name(Field::ResponseRule).into()),
    row("lasting", Group::Act, |about| about.lasting().into()),
    row("until", Group::Act, |about| about.until().into()),
    row("decision", Group::Act, |about| about.decision().into()),
    row("person", Group::Act, |about| about.person().into()),
    row("undone", Group::Act, |about| about.undone().into()),
    row("mended", Group::Act, |about| {
        about.number(Field::ResponseRepaired, 1).max(1).into()
    }),
    row("sink", Group::Sink, |about| {
        about.named(Field::SinkName, "a sink without a name").into()
    }),
    row("queued", Group::Sink, |about| {
        about.number(Field::SinkQueued, 0).max(0).into()
    }),
    row("down_for", Group::Sink, |about| about.down_for().into()),
    row("missing", Group::Gap, |about| {
        about.number(Field::FindingHits, 0).max(0).into()
    }),
    row("unit", Group::Gap, |about| about.unit().into()),
    row("sink", Group::Gap, |about| about.name(Field::SinkName).into()),
    row("mistakes", Group::Config, |about| {
        about.number(Field::ConfigMistakes, 1).max(1).into()
    }),
    row("part", Group::Part, |about| about.part().into()),
    row("deed", Group::Owner, |about| conduct(about.event).into()),
    row("hits", Group::Owner, |about| about.hits().into()),
    row("span", Group::Owner, |about| {
        words::span(about.number(Field::EventDuration, 0)).into()
    }),
    row("services", Group::Owner, |about| kept_for_nobody(about.event).into()),
    row("acted", Group::Owner, |about| is_acted_upon(about.event).into()),
];

/// What a source did, for its owner: no more of it than whoever did it knows.
pub(crate) fn conduct(event: &Event) -> &'static str {
    match event.text(Field::TouchLevel).map_or("", |level| level) {
        "proof" => "tried to log in or to give orders",
        "intent" => "began a conversation",
        _ => "knocked",
    }
}

/// Most services that are named to an owner.
const SERVICES_MAX: usize = 4;

/// `a service for SSH`, `a service for SSH, FTP and Telnet`, `a service`.
pub(crate) fn kept_for_nobody(event: &Event) -> String {
    let services: &[SmolStr] = match event.get(Field::ReleaseServices) {
        Some(Fact::Texts(services)) => services,
        _ => &[],
    };
    let named = services.iter().map(|service| safe::name(service_caption(service)));
    let mut named: Vec<_> = named.filter(|name| !name.is_empty()).collect();
    if named.len() > SERVICES_MAX {
        let more = named.split_off(SERVICES_MAX - 1).len();
        named.push(words::several(i64::try_from(more).unwrap_or(i64::MAX), "other"));
    }
    match named.as_slice() {
        [] => "a service".to_owned(),
        [one] => format!("a service for {one}"),
        [first @ .., last] => format!("a service for {} and {last}", first.join(", ")),
    }
}

/// Whether something was done about the source, rather than said.
pub(crate) fn is_acted_upon(event: &Event) -> bool {
    event.text(Field::ReleaseBy).is_some_and(|by| by == ENFORCEMENT)
}

/// The variables that the words of a kind may use.
pub(crate) fn variables(kind: Kind) -> impl Iterator<Item = &'static Variable> {
    VARIABLES.iter().filter(move |variable| kind.has(variable.group))
}

/// The values of an event for the words of its kind; `contact` is who is to be asked, empty if nobody is named.
pub(crate) fn scope(kind: Kind, event: &Event, contact: &str) -> Value {
    let about = About { event, contact };
    let asked = match contact {
        "" if kind == Kind::Owner => "whoever sent you this".to_owned(),
        "" => format!("whoever runs {}", about.observer()),
        contact => contact.to_owned(),
    };
    let about = About { event, contact: &asked };
    let values = variables(kind).map(|variable| (variable.name, (variable.value)(&about)));
    Value::from(values.collect::<BTreeMap<_, _>>())
}

/// What words are made of.
struct About<'a> {
    event: &'a Event,
    contact: &'a str,
}

impl About<'_> {
    fn name(&self, field: Field) -> String {
        self.event.text(field).map(|text| safe::name(text)).unwrap_or_default()
    }

    fn named(&self, field: Field, otherwise: &str) -> String {
        Some(self.name(field))
            .filter(|name| !name.is_empty())
            .unwrap_or(otherwise.to_owned())
    }

    fn number(&self, field: Field, otherwise: i64) -> i64 {
        self.event.int(field).unwrap_or(otherwise)
    }

    fn is(&self, field: Field) -> bool {
        self.event.get(field) == Some(&Fact::Bool(true))
    }

    fn observer(&self) -> String {
        let name = self.name(Field::ObserverName);
        Some(name)
            .filter(|name| !name.is_empty())
            .unwrap_or("this observer".to_owned())
    }

    fn last(&self) -> Timestamp {
        match self.event.get(Field::EventEnd) {
            Some(Fact::Time(end)) => *end,
            _ => self.event.at,
        }
    }

    /// The network that is acted on, an address, the pseudonym in its place, a number of sources, or that nobody knows.
    fn who(&self) -> String {
        let sources = self.sources();
        if let Some(network) = network(self.event) {
            return network;
        }
        match self.event.ip(Field::SourceIp) {
            Some(ip) => ip.to_string(),
            None if sources > 1 => words::several(sources, "source"),
            None => self.named(Field::SourceAddress, "an unknown source"),
        }
    }

    /// Whether there is more to say of who came than that nobody knows.
    fn is_known(&self) -> bool {
        let has = |field| self.event.get(field).is_some();
        has(Field::SourceIp) || has(Field::SourceAddress) || self.sources() > 1
    }

    fn sources(&self) -> i64 {
        match self.event.ip(Field::SourceIp) {
            Some(_) => 1,
            None => self.number(Field::DigestSourceCount, 1).max(1),
        }
    }

    fn decoys(&self) -> i64 {
        match self.event.text(Field::DecoyId) {
            Some(_) => 1,
            None => self.number(Field::ScanDecoyCount, 1).max(1),
        }
    }

    /// `decoy ssh`, `three decoys`, `a decoy`.
    fn decoy(&self) -> String {
        match (self.decoys(), self.name(Field::DecoyId)) {
            (1, name) if name.is_empty() => "a decoy".to_owned(),
            (1, name) => format!("decoy {name}"),
            (many, _) => words::several(many, "decoy"),
        }
    }

    /// `the door marked 'ssh'`, `three doors`, `a door`.
    fn door(&self) -> String {
        match (self.decoys(), self.name(Field::DecoyId)) {
            (1, name) if name.is_empty() => "a door".to_owned(),
            (1, name) => format!("the door marked '{name}'"),
            (many, _) => words::several(many, "door"),
        }
    }

    fn service(&self) -> String {
        service_caption(&self.named(Field::DecoyService, "network")).to_owned()
    }

    /// How many touches a notice stands for: those counted, and those that were told before. Of a digest neither what
    /// ended nor what was done about it: nobody touches anything by that.
    fn hits(&self) -> i64 {
        let told = self
            .number(Field::DigestPassed, 0)
            .max(0)
            .saturating_sub(counted(self.event, NO_TOUCHES));
        let counted = self
            .event
            .int(Field::FindingHits)
            .map(|hits| hits.max(0).saturating_add(told));
        counted.unwrap_or_else(|| self.number(Field::SourcePackets, 1)).max(1)
    }

    /// How many credentials were tried, as far as this event knows.
    fn tries(&self) -> i64 {
        let tries = match self.event.action {
            Action::Credential | Action::Ntlm => self.number(Field::EventSequence, 1).max(1),
            Action::Digest => counted(self.event, &[Action::Credential, Action::Ntlm]),
            _ => self.number(Field::SessionCredentials, 0),
        };
        tries.max(0)
    }

    fn users(&self) -> i64 {
        let one = i64::from(self.event.get(Field::UserName).is_some());
        self.number(Field::DigestUserCount, one).max(0)
    }

    /// What was done, to stand before `at the door`.
    fn deed(&self) -> &'static str {
        let kind = self.event.text(Field::CredentialKind).map_or("", |kind| kind);
        match self.event.action {
            Action::Connect => "knocked",
            Action::UdpProbe if self.hits() > 1 => "dropped datagrams",
            Action::UdpProbe => "dropped a datagram",
            Action::Handshake => "introduced itself",
            Action::Credential | Action::Ntlm => match kind {
                "key" => "offered a key",
                "community" => "offered a community name",
                "token" => "offered a token",
                "hash" => "offered a proof of a password",
                "password" | "form" => "offered a password",
                _ => "offered credentials",
            },
            Action::Payload => "left some bytes",
            Action::Query => "gave orders",
            Action::File if self.event.text(Field::FtpCommand).is_some_and(|verb| verb == "STOR") => "offered a file",
            Action::File => "asked for a file",
            Action::SessionEnd => "said goodbye",
            _ => "was seen",
        }
    }

    /// What was done, or is to be: `block`, `block and tag`.
    fn act(&self) -> String {
        let act = match self.event.action {
            Action::Unblock => "unblock",
            Action::Tag => "tag",
            Action::Untag => "untag",
            Action::Sinkhole => "sinkhole",
            Action::Unsinkhole => "unsinkhole",
            Action::List => "list",
            Action::Unlist => "unlist",
            _ => return listed(&self.verbs()),
        };
        act.to_owned()
    }

    /// What is to be done, in words that a rule can have; whatever else an event says is none of them.
    fn verbs(&self) -> Vec<&'static str> {
        let verbs: &[SmolStr] = match self.event.get(Field::ResponseVerbs) {
            Some(Fact::Texts(verbs)) => verbs,
            _ => &[],
        };
        let known = VERBS
            .iter()
            .copied()
            .filter(|verb| verbs.iter().any(|word| word == verb));
        Some(known.collect())
            .filter(|known: &Vec<_>| !known.is_empty())
            .unwrap_or(vec!["block"])
    }

    fn undone(&self) -> &'static str {
        match self.event.action {
            Action::Tag | Action::Untag => "is no longer tagged",
            Action::Sinkhole | Action::Unsinkhole => "is no longer sinkholed in DNS",
            Action::List | Action::Unlist => "is no longer on the list",
            _ => "is no longer blocked",
        }
    }

    fn decision(&self) -> String {
        let id = self.event.uuid(Field::ResponseId);
        id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// Who decided, if it was a person.
    fn person(&self) -> String {
        match is_of_person(self.event) {
            true => self.name(Field::ResponseBy),
            false => String::new(),
        }
    }

    fn lasting(&self) -> String {
        let seconds = self.event.int(Field::ResponseTtl);
        seconds.map(words::term).unwrap_or_default()
    }

    fn until(&self) -> String {
        match self.event.get(Field::ResponseExpires) {
            Some(Fact::Time(at)) => format!("{}, {}", words::date(*at), words::clock(*at)),
            _ => String::new(),
        }
    }

    /// How long a sink was out of order, in words; empty if nobody said.
    fn down_for(&self) -> String {
        self.event
            .int(Field::EventDuration)
            .map(words::span)
            .unwrap_or_default()
    }

    fn unit(&self) -> &'static str {
        match self.event.get(Field::DecoyId) {
            Some(_) => "datagram",
            None => "event",
        }
    }

    /// What of this host an event is about.
    fn part(&self) -> String {
        match self.event.action {
            Action::HostAlarm => self.named(Field::ErrorType, "state"),
            Action::ListenerStarted => format!("{} started listening", self.decoy()),
            Action::ListenerStopped => format!("{} stopped listening", self.decoy()),
            Action::SensorStarted => "trapline started".to_owned(),
            Action::SensorStopped => "trapline stopped".to_owned(),
            Action::ChainHead => "the head of the journal's chain is on record".to_owned(),
            Action::IncidentClosed => format!("the incident of {} is over", self.who()),
            Action::Recovered => "state was found at the start and adopted".to_owned(),
            _ => "a newer version recorded what this one has no word for".to_owned(),
        }
    }
}

/// What a digest may count besides touches.
const NO_TOUCHES: &[Action] = &[
    Action::SessionEnd,
    Action::Scan,
    Action::Block,
    Action::Unblock,
    Action::Tag,
    Action::Untag,
    Action::Sinkhole,
    Action::Unsinkhole,
    Action::List,
    Action::Unlist,
    Action::Decided,
    Action::Repaired,
];

/// What a rule can have done.
const VERBS: [&str; 4] = ["block", "sinkhole", "tag", "list"];

/// `block`, `block and tag`, `block, sinkhole and tag`.
fn listed(verbs: &[&str]) -> String {
    match verbs {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Whether a person decided, of this host or by the API: a rule that decides has its own name there.
pub(crate) fn is_of_person(event: &Event) -> bool {
    let by = event.text(Field::ResponseBy);
    by.is_some() && (event.get(Field::ResponseUid).is_some() || by != event.text(Field::ResponseRule))
}

/// The network that is acted on; `None` of an address, and of a text that is no network.
pub(crate) fn network(event: &Event) -> Option<String> {
    let (address, prefix) = event.text(Field::ResponseNetwork)?.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    Some(format!("{address}/{prefix}"))
}

/// How many events of some actions a digest counted.
pub(crate) fn counted(event: &Event, actions: &[Action]) -> i64 {
    let tally: &[SmolStr] = match event.get(Field::DigestActions) {
        Some(Fact::Texts(tally)) => tally,
        _ => &[],
    };
    let counts = tally.iter().filter_map(|entry| entry.rsplit_once('='));
    let wanted = counts.filter(|(name, _)| actions.iter().any(|action| action.name() == *name));
    wanted
        .filter_map(|(_, count)| count.parse::<i64>().ok())
        .fold(0, i64::saturating_add)
}
