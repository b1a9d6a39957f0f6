//! Strict desks on loopback: TheHive 5, ServiceNow's Table API, Jira's REST API v3 and v2. Each holds every call against
//! the documented form, keeps what it takes, and answers as the vendor would.
#![allow(dead_code, reason = "each test file uses the part it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod check;
mod desk;
mod jira;
mod servicenow;
mod thehive;

use std::sync::Arc;

use trapline_schemas::{Action, Event, Field, Format, Timestamp};
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::web::Server;
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, Parcel, StreamSink};
use trapline_sink_case::SINK;
use uuid::Uuid;

pub use check::Checked;
pub use desk::{Desk, Lock, Ticket};

pub const TOKEN: &str = "key-SECRET-1";
pub const PASSWORD: &str = "password-SECRET-2";
pub const CLIENT_SECRET: &str = "client-SECRET-3";

/// A vendor's desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    TheHive,
    ServiceNowSir,
    ServiceNowIncident,
    JiraCloud,
    JiraDataCenter,
}

impl Vendor {
    pub const ALL: [Self; 5] = [
        Self::TheHive,
        Self::ServiceNowSir,
        Self::ServiceNowIncident,
        Self::JiraCloud,
        Self::JiraDataCenter,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::TheHive => "thehive",
            Self::ServiceNowSir => "servicenow_sir",
            Self::ServiceNowIncident => "servicenow_incident",
            Self::JiraCloud => "jira_cloud",
            Self::JiraDataCenter => "jira_datacenter",
        }
    }

    /// Keys that log in.
    pub fn login(self) -> String {
        match self {
            Self::TheHive | Self::JiraDataCenter => format!("token = \"{TOKEN}\""),
            Self::ServiceNowSir => format!("client_id = \"lure\"\nclient_secret = \"{CLIENT_SECRET}\""),
            Self::ServiceNowIncident => format!("username = \"lure\"\npassword = \"{PASSWORD}\""),
            Self::JiraCloud => format!("username = \"soc@example.org\"\ntoken = \"{TOKEN}\""),
        }
    }

    /// Fields that it needs.
    pub fn fields(self) -> &'static str {
        match self {
            Self::JiraCloud | Self::JiraDataCenter => "{ project = \"SEC\", components = [{ name = \"lures\" }] }",
            Self::ServiceNowSir | Self::ServiceNowIncident => "{ assignment_group = \"SOC\" }",
            Self::TheHive => "{ assignee = \"soc@example.org\", organisation = \"lyon\" }",
        }
    }
}

/// A sink set to a desk, with the vendor's login and fields unless others are given.
pub fn sink_at(vendor: Vendor, base: &str, more: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    let fields = format!("fields = {}", vendor.fields());
    let mut lines = vec![more.to_owned()];
    lines.extend((!more.contains("fields")).then_some(fields));
    lines.extend((!more.contains("token") && !more.contains("password")).then(|| vendor.login()));
    sink_of(vendor.word(), base, &lines.join("\n"), resolver)
}

/// A sink set to a vendor of the program's, in a test's own folder where searches are expected to settle quickly.
pub fn sink_of(vendor: &str, base: &str, more: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("vendors")).unwrap();
    let shipped = format!("{}/../../config/vendors/{vendor}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(shipped).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("settle = ") {
        true => "settle = \"20ms\"",
        false => line,
    });
    let quick = lines.collect::<Vec<_>>().join("\n");
    std::fs::write(folder.path().join(format!("vendors/{vendor}.toml")), quick).unwrap();
    let own = "interval = \"1ms\"\ntimeout = \"1s\"";
    let toml = format!("vendor = \"{vendor}\"\nendpoint = \"{base}\"\n{own}\n{more}");
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    let factory = (SINK.parse)(&table);
    let problems = problems.take();
    assert!(problems.is_empty(), "{problems:?}");
    let common = Common {
        name: "desk".to_owned(),
        format: Format::Text,
        observer: "lure-1".to_owned(),
        resolver,
        notices: NoticeSettings {
            folder: Some(folder.path().to_owned()),
            ..NoticeSettings::default()
        },
    };
    assert!(factory.look(&table, &common).is_empty());
    factory.build(&common).unwrap()
}

/// A desk with a sink set to it.
pub struct Office {
    pub vendor: Vendor,
    pub server: Server<Desk>,
    pub sink: Arc<dyn StreamSink>,
}

impl Office {
    pub async fn new(vendor: Vendor) -> Self {
        Self::with(vendor, "").await
    }

    pub async fn with(vendor: Vendor, more: &str) -> Self {
        let server = Server::start(Desk::new(vendor), None).await;
        let sink = sink_at(vendor, &server.url(), more, Resolver::default());
        sink.recall(Vec::new());
        Self { vendor, server, sink }
    }

    /// A sink as after a start, with what the one before wanted kept, or after a kill, without.
    pub fn restart(&mut self, kept: bool) {
        let memos = self.sink.memos();
        self.sink = sink_at(self.vendor, &self.server.url(), "", Resolver::default());
        self.sink.recall(if kept { memos } else { Vec::new() });
    }

    pub async fn deliver(&self, events: &[Event]) -> Delivery {
        let parcel = |event: &Event| Arc::new(Parcel::new(0, Arc::new(event.clone())));
        let batch: Vec<_> = events.iter().map(parcel).collect();
        self.sink.deliver(&batch).await
    }

    /// Delivers what must be taken.
    pub async fn tell(&self, events: &[Event]) {
        let delivery = self.deliver(events).await;
        assert_eq!(
            delivery,
            Delivery::all(events.len()),
            "{:?}: {:?}",
            self.vendor,
            self.wrong()
        );
        assert_eq!(self.wrong(), Vec::<String>::new(), "{:?}", self.vendor);
    }

    pub fn wrong(&self) -> Vec<String> {
        self.server.with(|desk| desk.wrong.clone())
    }

    pub fn tickets(&self) -> Vec<Ticket> {
        self.server.with(|desk| desk.there())
    }

    /// The only ticket that there is.
    pub fn ticket(&self) -> Ticket {
        let tickets = self.tickets();
        assert_eq!(tickets.len(), 1, "{:?}: {tickets:?}", self.vendor);
        tickets.into_iter().next().unwrap()
    }
}

/// A touch of an incident.
pub fn touch(number: u128, incident: u128, level: &str) -> Event {
    let at = Timestamp::from_micros(1_772_619_330_000_000 + i64::try_from(number).unwrap() * 1_000_000);
    let mut event = Event::new(Uuid::from_u128(0x1000_0000_0000_0000 + number), at, Action::Credential);
    event.set(
        Field::IncidentId,
        Uuid::from_u128(0x2000_0000_0000_0000_0000 + incident),
    );
    event.set(Field::SourceIp, std::net::IpAddr::from([192, 0, 2, 7]));
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::SourceZone, "external");
    event.set(Field::ObserverName, "lure-1");
    event.set(Field::TouchLevel, level);
    event.set(Field::UserName, format!("user{number}").as_str());
    event
}

/// The end of an incident.
pub fn end(number: u128, incident: u128) -> Event {
    let mut event = touch(number, incident, "proof");
    event.action = Action::IncidentClosed;
    event
}
