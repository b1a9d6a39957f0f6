//! The configuration: every sink at its receiver.

use std::net::SocketAddr;

use crate::TOPIC;
use crate::cluster::Cluster;
use crate::desk::{self, Vendor};
use crate::exim::Exim;
use crate::harness::rsyslog::Rsyslog;
use crate::receivers::TOKEN;

/// What one source does in so long is one digest, but at Teams, which takes four messages a second: there it is longer.
pub const WINDOW_SECONDS: u64 = 5;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

/// What visitors find, and what needs no server.
pub fn decoys(at: &[SocketAddr]) -> String {
    let mut tables = format!(
        "[observer]\nname = \"lure-dmz-01\"\nsite = \"lyon\"\n[journal]\npath = \"state/journal.db\"\n\
         [limits]\nsessions_per_source = 10000\nevents_per_source_per_minute = 1000000\n\
         [notices]\nwindow = \"{WINDOW_SECONDS}s\"\n\
         [transforms.proofs]\ntype = \"filter\"\ninputs = [\"decoys\"]\nwhen = 'honeyport.touch.level == \"proof\"'\n\
         [transforms.few]\ntype = \"filter\"\ninputs = [\"decoys\"]\nwhen = 'in_cidr(source.ip, \"127.0.7.0/29\")'\n\
         [sinks.archive]\ntype = \"file\"\ninputs = [\"decoys\"]\npath = \"events.jsonl\"\n",
    );
    for (service, at) in ["telnet", "ftp", "http"].iter().zip(at) {
        tables += &format!("[decoys.{service}]\nservice = \"{service}\"\nlisten = [\"{at}\"]\n");
    }
    tables
}

/// The sinks that speak HTTP, each named as its receiver is.
pub fn web(url: &str) -> String {
    let tables = [
        (
            "hec",
            "proofs",
            format!("type = \"splunk_hec\"\nendpoint = \"{url}/hec\"\ntoken = \"{TOKEN}\"\nacknowledge = false"),
        ),
        (
            "webhook",
            "proofs",
            format!("type = \"webhook\"\nurl = \"{url}/webhook\"\nin_flight = 8\nsecret = \"{SECRET}\""),
        ),
        (
            "elastic",
            "decoys",
            format!("type = \"elasticsearch\"\nendpoint = \"{url}/elastic\""),
        ),
        (
            "otlp",
            "decoys",
            format!("type = \"otlp\"\nendpoint = \"{url}/otlp\"\nprotocol = \"http/json\""),
        ),
        ("azure", "decoys", azure_keys(url)),
        (
            "slack",
            "decoys",
            format!("type = \"slack\"\nwebhook_url = \"{url}/slack/services/T0/B0/x\"\ninterval = \"10ms\""),
        ),
        (
            "teams",
            "decoys",
            format!("type = \"teams\"\nwebhook_url = \"{url}/teams/x?sig=y\"\ninterval = \"250ms\"\nwindow = \"10s\""),
        ),
        (
            "pagerduty",
            "decoys",
            format!("type = \"pagerduty\"\nendpoint = \"{url}/pagerduty\"\nrouting_key = \"{ROUTING_KEY}\""),
        ),
    ];
    let tables = tables
        .iter()
        .map(|(name, inputs, keys)| format!("[sinks.{name}]\ninputs = [\"{inputs}\"]\nretry.max = \"1s\"\n{keys}\n"));
    tables.collect::<String>() + &desk_tables(url)
}

/// Cases at TheHive: of everybody, and of a few at a desk of their own, so that none of them is told of in a crowd.
fn desk_tables(url: &str) -> String {
    let tables = [("desk", "decoys"), ("corner", "few")].map(|(name, inputs)| {
        let more = format!("inputs = [\"{inputs}\"]\nretry.max = \"1s\"\n");
        desk::table(name, Vendor::TheHive, &format!("{url}/{name}"), &more)
    });
    tables.concat()
}

fn azure_keys(url: &str) -> String {
    format!(
        "type = \"sentinel\"\nendpoint = \"{url}/azure\"\nauthority = \"{url}/azure\"\n\
         rule = \"dcr-00000000000000000000000000000000\"\ntenant = \"00000000-0000-0000-0000-000000000000\"\n\
         client_id = \"00000000-0000-0000-0000-000000000000\"\nclient_secret = \"{TOKEN}\""
    )
}

/// rsyslog.
pub fn log(server: &Rsyslog) -> String {
    format!(
        "[sinks.rsyslog]\ninputs = [\"decoys\"]\n{}retry.max = \"1s\"\n",
        server.sink()
    )
}

/// Kafka.
pub fn bus(cluster: &Cluster) -> String {
    let brokers = cluster.brokers();
    format!(
        "[sinks.bus]\ntype = \"kafka\"\ninputs = [\"decoys\"]\nbrokers = {brokers:?}\ntopic = \"{TOPIC}\"\n\
         timeout = \"3s\"\nretry.max = \"1s\"\n"
    )
}

/// exim.
pub fn mail(server: &Exim) -> String {
    format!(
        "[sinks.mail]\ntype = \"email\"\ninputs = [\"decoys\"]\nserver = \"{}\"\nuser = \"trapline\"\n\
         password = \"hush\"\nfrom = \"trapline@example.org\"\nto = [\"soc@example.org\"]\nretry.max = \"1s\"\n\
         tls = {{ ca = \"{}\" }}\n",
        server.at,
        server.path("ca.pem").display()
    )
}
