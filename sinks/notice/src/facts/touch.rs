//! Who came and what was touched.

use trapline_schemas::Field;
use trapline_schemas::derive::service_caption;

use super::Facts;

impl Facts<'_> {
    pub(super) fn who(&mut self) {
        match self.event.ip(Field::SourceIp) {
            Some(ip) => self.ours("source", &ip.to_string()),
            None => self.given("source", Field::SourceAddress),
        }
        self.several("sources", Field::DigestSources, Field::DigestSourceCount, false);
        self.theirs("name", Field::SourceDomain);
        self.theirs("workstation", Field::NtlmWorkstation);
        self.given("MAC", Field::SourceMac);
        self.zone();
        self.given("owner", Field::SourceOwner);
        self.given("known as", Field::SourceTags);
        self.network();
        if self.is(Field::SourceSharedAddress) == Some(true) {
            self.ours("mind", "a shared address: many may stand behind it");
        }
        if self.is(Field::SourceSpoofable) == Some(true) {
            self.ours("mind", "no handshake proved the address: it may be forged");
        }
    }

    fn zone(&mut self) {
        let side = match self.is(Field::SourceZoneInside) {
            Some(true) if self.text(Field::SourceZone) != "inside" => " (inside)",
            Some(false) if self.text(Field::SourceZone) != "external" => " (outside)",
            _ => "",
        };
        let zone = self.text(Field::SourceZone).to_owned();
        if !zone.is_empty() {
            self.ours("zone", &format!("{zone}{side}"));
        }
    }

    /// Where in the world, and whose network: the register's words, which whoever holds the network chose.
    fn network(&mut self) {
        let country = self.text(Field::SourceGeoCountryName);
        let country = if country.is_empty() {
            self.text(Field::SourceGeoCountry)
        } else {
            country
        };
        let country = country.to_owned();
        self.ours("country", &country);
        if let Some(number) = self.event.int(Field::SourceAsNumber) {
            let name = self.text(Field::SourceAsName);
            let told = format!("AS{number} {name}");
            self.tell("network", &told, !name.is_empty());
        }
    }

    pub(super) fn what(&mut self) {
        self.decoy();
        self.several("decoys", Field::ScanDecoys, Field::ScanDecoyCount, false);
        self.several("ports", Field::ScanPorts, Field::ScanPortCount, false);
        self.level();
        self.given("taken for", Field::BenignName);
        self.given("because", Field::BenignReason);
        if self.event.get(Field::CredentialKind).is_some() {
            self.given("offered", Field::CredentialKind);
        }
        if self.is(Field::CredentialAccepted) == Some(true) {
            self.ours("answer", "the decoy pretended to accept it");
        }
        self.users();
        for (label, field) in ASKED {
            self.theirs(label, *field);
        }
    }

    /// `ssh: SSH on port 22 over TCP, 10.20.30.40`.
    fn decoy(&mut self) {
        let mut told = self.text(Field::DecoyId).to_owned();
        let service = self.text(Field::DecoyService);
        if !service.is_empty() {
            let caption = service_caption(service);
            told += &format!("{}{caption}", if told.is_empty() { "" } else { ": " });
        }
        if let Some(port) = self.event.int(Field::DestinationPort) {
            told += &format!(" on port {port}");
        }
        if let Some(ip) = self.event.ip(Field::DestinationIp) {
            told += &format!(" at {ip}");
        }
        match self.text(Field::NetworkTransport) {
            "tcp" => told += ", TCP",
            "udp" => told += ", UDP",
            _ => {}
        }
        if self.event.get(Field::DecoyId).is_some() || self.event.get(Field::DestinationPort).is_some() {
            self.ours("decoy", told.trim());
        }
    }

    fn level(&mut self) {
        let meaning = match self.text(Field::TouchLevel) {
            "contact" => "contact: it connected, or sent a datagram, no more",
            "intent" => "intent: it spoke the protocol, or came to several decoys",
            "proof" => "proof: credentials, commands, files or an exploit",
            _ => return,
        };
        self.ours("level", meaning);
    }

    /// Names alone. What was offered with them stays in the journal, and there as an HMAC.
    fn users(&mut self) {
        match self.event.get(Field::DigestUsers) {
            Some(_) => self.several("users tried", Field::DigestUsers, Field::DigestUserCount, true),
            None => self.theirs("user tried", Field::UserName),
        }
        self.theirs("domain", Field::UserDomain);
    }
}

/// What a peer asked for and what it said it was.
const ASKED: &[(&str, Field)] = &[
    ("asked for", Field::UrlOriginal),
    ("asked for", Field::FileName),
    ("asked for", Field::SmbShare),
    ("asked for", Field::DatabaseName),
    ("asked for", Field::DnsQuestionName),
    ("asked for", Field::SipUri),
    ("said", Field::Commands),
    ("client", Field::UserAgent),
    ("client", Field::SshClientVersion),
    ("client", Field::RdpClientName),
    ("client", Field::SmtpHelo),
];
