//! Which OCSF class and activity an event is.

use crate::derive::actions::Subject;
use crate::derive::{View, is_datastore};
use crate::event::Action;
use crate::fields::Field;

/// An OCSF 1.8.0 class that we emit.
#[derive(Debug, PartialEq, Eq)]
pub struct Class {
    /// Its `class_uid`; the category is its thousands.
    pub uid: u16,
    /// Its caption.
    pub name: &'static str,
    /// Activity ids and captions that we use, besides 99 Other.
    pub activities: &'static [(u8, &'static str)],
    /// Attributes that the class requires beyond those of every class.
    pub required: &'static [&'static str],
    /// Attributes of which one at least must be there.
    pub one_of: &'static [&'static str],
}

/// Captions of the categories that we use, by number.
pub const CATEGORIES: [(u8, &str); 5] = [
    (2, "Findings"),
    (3, "Identity & Access Management"),
    (4, "Network Activity"),
    (6, "Application Activity"),
    (7, "Remediation"),
];

/// Every class that we emit.
pub static CLASSES: &[&Class] = &[
    &FINDING,
    &INCIDENT,
    &AUTHENTICATION,
    &NETWORK,
    &HTTP,
    &RDP,
    &SMB,
    &SSH,
    &FTP,
    &LIFECYCLE,
    &DATASTORE,
    &ERROR,
    &REMEDIATION,
    &NETWORK_REMEDIATION,
];

macro_rules! classes {
    ($($class:ident = $uid:literal, $name:literal, [$($id:literal $caption:literal),*], [$($required:literal),*],
        [$($one_of:literal),*];)*) => {$(
        #[doc = concat!("OCSF ", $uid, " ", $name, ".")]
        pub static $class: Class = Class {
            uid: $uid,
            name: $name,
            activities: &[$(($id, $caption)),*],
            required: &[$($required),*],
            one_of: &[$($one_of),*],
        };
    )*};
}

classes! {
    FINDING = 2004, "Detection Finding", [1 "Create", 2 "Update", 3 "Close"], ["finding_info"], [];
    INCIDENT = 2005, "Incident Finding", [1 "Create", 2 "Update", 3 "Close"], ["finding_info_list", "status_id"],
        ["assignee", "assignee_group"];
    AUTHENTICATION = 3002, "Authentication", [1 "Logon"], ["user"], ["service", "dst_endpoint"];
    NETWORK = 4001, "Network Activity", [1 "Open", 2 "Close", 6 "Traffic"], [], ["dst_endpoint", "src_endpoint"];
    HTTP = 4002, "HTTP Activity", [1 "Connect", 2 "Delete", 3 "Get", 4 "Head", 5 "Options", 6 "Post", 7 "Put",
        8 "Trace", 9 "Patch"], [], ["http_request", "http_response"];
    RDP = 4005, "RDP Activity", [1 "Initial Request"], [], ["dst_endpoint", "src_endpoint"];
    SMB = 4006, "SMB Activity", [2 "File Open", 3 "File Create"], [], ["dst_endpoint", "src_endpoint"];
    SSH = 4007, "SSH Activity", [1 "Open", 2 "Close", 6 "Traffic"], [], ["dst_endpoint", "src_endpoint"];
    FTP = 4008, "FTP Activity", [1 "Put", 2 "Get", 4 "Delete", 5 "Rename", 6 "List"], [],
        ["dst_endpoint", "src_endpoint"];
    LIFECYCLE = 6002, "Application Lifecycle", [3 "Start", 4 "Stop", 6 "Enable", 7 "Disable"], ["app"], [];
    DATASTORE = 6005, "Datastore Activity", [4 "Query"], ["actor", "src_endpoint"],
        ["database", "databucket", "table"];
    ERROR = 6008, "Application Error", [1 "General Error"], [], [];
    REMEDIATION = 7001, "Remediation Activity", [1 "Isolate", 3 "Restore"], ["command_uid"], [];
    NETWORK_REMEDIATION = 7004, "Network Remediation Activity", [1 "Isolate", 3 "Restore"],
        ["command_uid", "connection_info"], [];
}

/// The id of an activity that a class has no name for.
pub const OTHER: u8 = 99;

impl Class {
    /// The caption of an activity.
    pub fn activity(&self, id: u8) -> &'static str {
        let known = self.activities.iter().find(|(known, _)| *known == id);
        known.map_or("Other", |(_, caption)| caption)
    }

    /// The category's number.
    pub fn category(&self) -> u8 {
        (self.uid / 1000) as u8
    }

    /// The category's caption.
    pub fn category_name(&self) -> &'static str {
        let known = CATEGORIES.iter().find(|(number, _)| *number == self.category());
        known.map_or("", |(_, caption)| caption)
    }

    /// Whether it is of the network activity category, with endpoints, connection and traffic.
    pub(super) fn is_network(&self) -> bool {
        self.category() == 4
    }
}

/// The class and activity of an event.
pub(super) fn classify(view: &View<'_>) -> (&'static Class, u8) {
    let has_place = has_source(view) || view.ip(Field::DestinationIp).is_some() || view.has(Field::DestinationAddress);
    match view.action() {
        Action::Block => (&NETWORK_REMEDIATION, 1),
        Action::Unblock => (&NETWORK_REMEDIATION, 3),
        Action::Sinkhole => (&REMEDIATION, 1),
        Action::Unsinkhole => (&REMEDIATION, 3),
        Action::Tag | Action::Untag | Action::List | Action::Unlist | Action::Decided | Action::Repaired => {
            (&REMEDIATION, OTHER)
        }
        Action::Scan | Action::HeldBack | Action::Digest => (&FINDING, finding_activity(view)),
        Action::IncidentClosed => (&INCIDENT, 3),
        Action::NoticeReleased => (&INCIDENT, 2),
        Action::ListenerStarted | Action::SensorStarted => (&LIFECYCLE, 3),
        Action::ListenerStopped | Action::SensorStopped => (&LIFECYCLE, 4),
        Action::SinkRecovered => (&LIFECYCLE, 6),
        Action::ChainHead | Action::Recovered | Action::SourceFolded | Action::ConfigReloaded | Action::Canary => {
            (&LIFECYCLE, OTHER)
        }
        Action::SinkFailed
        | Action::ListenerFailed
        | Action::ConfigRefused
        | Action::HostAlarm
        | Action::JournalGap
        | Action::ChainBreak => (&ERROR, 1),
        Action::Credential | Action::Ntlm => (&AUTHENTICATION, 1),
        _ if !has_place => (&LIFECYCLE, OTHER),
        action => contact(view, action),
    }
}

fn contact(view: &View<'_>, action: Action) -> (&'static Class, u8) {
    let activity = match action {
        Action::Connect => return (&NETWORK, 1),
        Action::Handshake => 1,
        Action::SessionEnd => 2,
        Action::Other => return (&NETWORK, OTHER),
        _ => 6,
    };
    match view.service() {
        "ssh" if action != Action::File => (&SSH, activity),
        "http" | "https" if action != Action::SessionEnd && has_request(view) => {
            (&HTTP, method_activity(view.text(Field::HttpMethod)))
        }
        "rdp" if action == Action::Handshake => (&RDP, 1),
        "smb" if action == Action::File => (&SMB, if view.is_upload() { 3 } else { 2 }),
        "ftp" if action == Action::File => (&FTP, ftp_activity(view.text(Field::FtpCommand))),
        service if action == Action::Query && is_datastore(service) && has_source(view) => (&DATASTORE, 4),
        _ => (&NETWORK, activity),
    }
}

fn has_source(view: &View<'_>) -> bool {
    view.ip(Field::SourceIp).is_some() || view.has(Field::SourceAddress)
}

fn has_request(view: &View<'_>) -> bool {
    view.text(Field::HttpMethod).is_some() || view.text(Field::UrlOriginal).is_some()
}

/// The methods that OCSF knows, with their activity.
pub(super) const METHODS: [(&str, u8); 9] = [
    ("CONNECT", 1),
    ("DELETE", 2),
    ("GET", 3),
    ("HEAD", 4),
    ("OPTIONS", 5),
    ("POST", 6),
    ("PUT", 7),
    ("TRACE", 8),
    ("PATCH", 9),
];

fn method_activity(method: Option<&str>) -> u8 {
    let known = METHODS.iter().find(|(name, _)| Some(*name) == method);
    known.map_or(OTHER, |(_, activity)| *activity)
}

fn ftp_activity(command: Option<&str>) -> u8 {
    match command {
        Some("STOR" | "APPE" | "STOU") => 1,
        Some("RETR") => 2,
        Some("DELE") => 4,
        Some("RNFR" | "RNTO") => 5,
        Some("LIST" | "NLST" | "MLSD" | "MLST") => 6,
        _ => OTHER,
    }
}

fn finding_activity(view: &View<'_>) -> u8 {
    match view.text(Field::FindingStatus) {
        Some("updated") => 2,
        Some("closed") => 3,
        _ => 1,
    }
}

/// Whether the attributes of the profile `security_control` are used: all but events about this host.
pub(super) fn is_guarded(view: &View<'_>, class: &Class) -> bool {
    view.row().subject != Subject::Health && class.uid != LIFECYCLE.uid
}
