//! THE catalogue: one row per event field.
//!
//! A row is `Name = Kind, origin, "ECS path", "OCSF path", "doc";`. The ECS path is the field's name everywhere: in
//! journal bodies, conditions and documentation. The OCSF path is where the value goes in a class that has the attribute;
//! in the other classes, and where it is `""`, a stored value goes under `unmapped` at the ECS path, and a derived one is
//! left out. Array items have no index in it. Origin `stored` is kept in the journal; `derived` is computed from stored
//! fields when an event is rendered.
//!
//! Invariants, tested: rows are sorted by ECS path segment by segment, so a rendering is one pass; paths are unique;
//! every row has a doc line; no path is a prefix of another; every name is found again.

/// What a field holds, and so how it is shown in each form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A short text to filter by.
    Keyword,
    /// A text to read.
    Text,
    /// A whole number.
    Long,
    /// A number with a fraction.
    Float,
    /// Yes or no.
    Bool,
    /// An IP address.
    Ip,
    /// An instant; RFC 3339 in UTC with milliseconds.
    Date,
    /// A UUID.
    Id,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A list of keywords.
    Keywords,
    /// A list of addresses.
    Ips,
    /// A list of whole numbers.
    Longs,
}

/// Whether a field is kept in the journal or computed from what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Kept in the journal body.
    Stored,
    /// Computed when rendered, shown or matched.
    Derived,
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The field this row describes.
    pub field: Field,
    /// What it holds.
    pub kind: Kind,
    /// Stored or derived.
    pub origin: Origin,
    /// Its name: the ECS path, dotted.
    pub ecs: &'static str,
    /// Its place in OCSF; empty: under `unmapped`.
    pub ocsf: &'static str,
    /// What it says, for the documentation and the JSON Schemas.
    pub doc: &'static str,
}

macro_rules! catalogue {
    ($($field:ident = $kind:ident, $origin:ident, $ecs:literal, $ocsf:literal, $doc:literal;)*) => {
        /// A field of the catalogue; the order is the rows' order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Field { $(#[doc = $doc] $field,)* }

        /// Every row, in the order of the ECS rendering.
        pub static CATALOGUE: &[Row] = &[$(Row {
            field: Field::$field, kind: Kind::$kind, origin: Origin::$origin, ecs: $ecs, ocsf: $ocsf, doc: $doc,
        },)*];
    };
}

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = CATALOGUE.len();

    /// The field's row.
    pub fn row(self) -> &'static Row {
        &CATALOGUE[self as usize]
    }

    /// The field's name: its ECS path.
    pub fn name(self) -> &'static str {
        self.row().ecs
    }

    /// Whether the field is kept in the journal.
    pub fn is_stored(self) -> bool {
        matches!(self.row().origin, Origin::Stored)
    }

    /// Finds a field by its ECS path.
    #[inline]
    pub fn find(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes()) as usize % SLOTS;
        loop {
            let row = &CATALOGUE[usize::from(INDEX[slot].checked_sub(1)?)];
            if row.ecs == name {
                return Some(row.field);
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

impl Field {
    /// The fields that can be derived, in catalogue order: the derived ones, and those that have a default.
    pub(crate) const DERIVED: [Self; DERIVED_COUNT] = {
        let mut derived = [Self::Timestamp; DERIVED_COUNT];
        let (mut row, mut at) = (0, 0);
        while row < CATALOGUE.len() {
            if is_derived(&CATALOGUE[row]) {
                derived[at] = CATALOGUE[row].field;
                at += 1;
            }
            row += 1;
        }
        derived
    };
}

const DERIVED_COUNT: usize = {
    let (mut row, mut count) = (0, 0);
    while row < CATALOGUE.len() {
        count += is_derived(&CATALOGUE[row]) as usize;
        row += 1;
    }
    count
};

const fn is_derived(row: &Row) -> bool {
    matches!(row.origin, Origin::Derived)
        || matches!(
            row.field,
            Field::EventReason | Field::EventRiskScore | Field::SourceAddress | Field::DestinationAddress
        )
}

/// Size of the name index: sparse, so that most names are found or missed at the first slot.
const SLOTS: usize = 1024;

/// Names to rows, made when compiled: 1 + the row's number, 0 where nothing is; collisions go to the next slot.
static INDEX: [u16; SLOTS] = {
    let mut index = [0; SLOTS];
    let mut row = 0;
    while row < CATALOGUE.len() {
        let mut slot = hash(CATALOGUE[row].ecs.as_bytes()) as usize % SLOTS;
        while index[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        row += 1;
        assert!(row <= SLOTS / 2, "the index is sparse");
        index[slot] = row as u16;
    }
    index
};

/// A hash of a name: of its length, its first and its last eight bytes. Names are ours, so it need not withstand an
/// opponent.
const fn hash(name: &[u8]) -> u64 {
    let length = name.len() as u64;
    match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => mix(mix(length, u64::from_le_bytes(*first)), u64::from_le_bytes(*last)) >> 40,
        _ => length,
    }
}

const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

catalogue! {
    Timestamp = Date, Derived, "@timestamp", "time", "When the hit happened: accept or first datagram.";
    DestinationAddress = Keyword, Stored, "destination.address", "dst_endpoint.uid", "The address that was touched, as text; a pseudonym where `redact` hides it.";
    DestinationBytes = Long, Stored, "destination.bytes", "traffic.bytes_out", "Bytes the decoy sent.";
    DestinationDomain = Keyword, Derived, "destination.domain", "dst_endpoint.hostname", "Name of the host that was touched.";
    DestinationIp = Ip, Stored, "destination.ip", "dst_endpoint.ip", "The address that was touched, never a wildcard.";
    DestinationPort = Long, Stored, "destination.port", "dst_endpoint.port", "The port that was touched.";
    DnsOpcode = Keyword, Stored, "dns.op_code", "", "DNS operation that was asked for, when it is not a plain query.";
    DnsQuestionClass = Keyword, Stored, "dns.question.class", "", "Class of the DNS question.";
    DnsQuestionName = Keyword, Stored, "dns.question.name", "", "Name that the DNS question asks about.";
    DnsQuestionType = Keyword, Stored, "dns.question.type", "", "Type of record that the DNS question asks for.";
    EcsVersion = Keyword, Derived, "ecs.version", "", "Version of ECS this rendering follows.";
    EmailFrom = Keywords, Stored, "email.from.address", "", "Sender of the envelope, as typed.";
    EmailSubject = Keyword, Stored, "email.subject", "", "Subject of a message, as typed.";
    EmailTo = Keywords, Stored, "email.to.address", "", "Recipients of the envelope, as typed.";
    ErrorCode = Keyword, Stored, "error.code", "status_code", "Code of a failure, as the failing side gave it.";
    ErrorMessage = Text, Stored, "error.message", "status_detail", "What failed, for a person.";
    ErrorType = Keyword, Stored, "error.type", "", "Kind of failure, one word.";
    EventAction = Keyword, Derived, "event.action", "", "What happened, stable and lower case.";
    EventCategory = Keywords, Derived, "event.category", "", "ECS categories of the action.";
    EventCode = Keyword, Derived, "event.code", "metadata.event_code", "`TL-` and the action.";
    EventCreated = Date, Stored, "event.created", "metadata.logged_time", "When the event was made by the sensor.";
    EventDataset = Keyword, Derived, "event.dataset", "metadata.log_name", "Always `trapline.event`.";
    EventDuration = Long, Stored, "event.duration", "duration", "How long it lasted; nanoseconds in ECS, milliseconds in OCSF.";
    EventEnd = Date, Stored, "event.end", "end_time", "When it ended.";
    EventId = Id, Derived, "event.id", "metadata.uid", "The event's id for ever: UUIDv7, or UUIDv8 for derived events.";
    EventKind = Keyword, Derived, "event.kind", "is_alert", "`alert` for decoy contact over TCP, else `event`.";
    EventModule = Keyword, Derived, "event.module", "", "Always `trapline`.";
    EventOriginal = Text, Derived, "event.original", "raw_data", "A text payload, printable and masked.";
    EventOutcome = Keyword, Derived, "event.outcome", "status_id", "`failure` for refused logins, `success` or `failure` of acts, `unknown` of what was only said.";
    EventProvider = Keyword, Derived, "event.provider", "", "Always `trapline`.";
    EventReason = Text, Stored, "event.reason", "status_detail", "Why it ended or was decided so.";
    EventRiskScore = Float, Stored, "event.risk_score", "risk_score", "Risk, 0 to 100; severity follows from it.";
    EventSequence = Long, Stored, "event.sequence", "metadata.sequence", "Number of the attempt within the session, from 1.";
    EventSeverity = Long, Derived, "event.severity", "severity_id", "0, 21, 47, 73 or 99, from the risk.";
    EventStart = Date, Stored, "event.start", "start_time", "When it began.";
    EventType = Keywords, Derived, "event.type", "", "ECS types of the action.";
    FileHashSha256 = Keyword, Stored, "file.hash.sha256", "file.hashes.value", "SHA-256 of a file offered.";
    FileName = Keyword, Stored, "file.name", "file.name", "Name of a file offered or asked for.";
    FileSize = Long, Stored, "file.size", "file.size", "Size of a file offered.";
    BenignName = Keyword, Stored, "honeyport.benign.name", "", "The recogniser that knows this as benign noise.";
    BenignReason = Text, Stored, "honeyport.benign.reason", "", "Why it is taken for benign.";
    BenignWalk = Bool, Stored, "honeyport.benign.walk", "", "Whether that explains a walk over several ports or decoys, too.";
    BootId = Id, Stored, "honeyport.boot.id", "", "This run of trapline on this boot; orders events together with the journal sequence.";
    ClientAttributes = Keywords, Stored, "honeyport.client.attributes", "", "What the client's software says of itself, as name=value.";
    Commands = Keywords, Stored, "honeyport.commands", "", "Commands or statements as typed, masked.";
    ConfigMistakes = Long, Stored, "honeyport.config.mistakes", "", "How many mistakes a refused configuration has.";
    CredentialAccepted = Bool, Stored, "honeyport.credential.accepted", "", "Whether the decoy pretended to accept it.";
    CredentialKind = Keyword, Stored, "honeyport.credential.kind", "", "password, key, community, token, form, or hash for a proof that can be cracked.";
    CredentialSecret = Keyword, Stored, "honeyport.credential.secret", "", "The secret in clear; only with `secrets = \"clear\"`.";
    CredentialSecretHmac = Keyword, Stored, "honeyport.credential.secret_hmac_sha256", "", "HMAC-SHA-256 of the secret under the site key, hex.";
    CredentialSecretLength = Long, Stored, "honeyport.credential.secret_length", "", "Length of the secret in bytes.";
    DatabaseName = Keyword, Stored, "honeyport.database.name", "", "Database that was asked for.";
    DecoyD3fend = Keywords, Derived, "honeyport.decoy.d3fend", "metadata.tags.value", "D3FEND techniques of the decoy.";
    DecoyEngage = Keywords, Derived, "honeyport.decoy.engage", "metadata.tags.value", "Engage activities of the decoy.";
    DecoyId = Keyword, Stored, "honeyport.decoy.id", "", "The decoy's name in the configuration.";
    DecoyInteraction = Keyword, Derived, "honeyport.decoy.interaction", "", "Always `low`: nothing a peer sends is run.";
    DecoyPersonality = Keyword, Stored, "honeyport.decoy.personality", "", "How the decoy looks.";
    DecoyService = Keyword, Stored, "honeyport.decoy.service", "dst_endpoint.svc_name", "The protocol the decoy speaks.";
    DigestActions = Keywords, Stored, "honeyport.digest.actions", "", "What a digest counted by action, as `decoy-connect=12`, most frequent first.";
    DigestPassed = Long, Stored, "honeyport.digest.passed", "", "Events of a digest's window that were sent as themselves; they are not in its count.";
    DigestSample = Id, Stored, "honeyport.digest.sample_event_id", "finding_info.related_events.uid", "The first event of the window, as an example of what was counted.";
    DigestSourceCount = Long, Stored, "honeyport.digest.source_count", "", "How many different sources a digest saw; its list ends at 32.";
    DigestSources = Ips, Stored, "honeyport.digest.sources", "", "Which sources a digest saw, up to 32.";
    DigestUserCount = Long, Stored, "honeyport.digest.user_count", "", "How many different users a digest saw tried; its list ends at 32.";
    DigestUsers = Keywords, Stored, "honeyport.digest.users", "", "Which users a digest saw tried, up to 32.";
    FindingHits = Long, Stored, "honeyport.finding.hits", "count", "How many hits a finding or summary stands for.";
    FindingId = Id, Stored, "honeyport.finding.id", "finding_info.uid", "The finding's id over all its updates.";
    FindingStatus = Keyword, Stored, "honeyport.finding.status", "status_id", "new, updated or closed.";
    FtpCommand = Keyword, Stored, "honeyport.ftp.command", "", "An FTP command verb.";
    GapFirst = Long, Stored, "honeyport.gap.first", "", "First journal offset that is missing.";
    GapLast = Long, Stored, "honeyport.gap.last", "", "Last journal offset that is missing.";
    HttpForwardedFor = Keyword, Stored, "honeyport.http.claimed_source", "", "X-Forwarded-For or Forwarded as claimed; never the source.";
    HttpHeaders = Keywords, Stored, "honeyport.http.header_order", "", "Names of the request headers, in order.";
    IncidentId = Id, Stored, "honeyport.incident.id", "finding_info_list.uid", "All hits of one source in one UTC day; equal on all sensors of a site.";
    IncidentPrevious = Id, Stored, "honeyport.incident.previous_id", "", "The incident that this one goes on from, over midnight.";
    JournalHash = Keyword, Stored, "honeyport.journal.hash", "", "Head hash of the journal's chain, hex.";
    JournalPreviousHash = Keyword, Stored, "honeyport.journal.previous_hash", "", "Hash that the journal's chain had before a break, hex.";
    JournalSequence = Long, Stored, "honeyport.journal.sequence", "", "Offset in the journal; orders events within a boot.";
    NtlmClientVersion = Keyword, Stored, "honeyport.ntlm.client_version", "", "Version of the client's system, as its NTLM messages say.";
    NtlmDomain = Keyword, Stored, "honeyport.ntlm.domain", "", "Domain in an NTLM message.";
    NtlmResponseSha256 = Keyword, Stored, "honeyport.ntlm.response_sha256", "", "SHA-256 of the NTLM response.";
    NtlmServerChallenge = Keyword, Stored, "honeyport.ntlm.server_challenge", "", "The challenge that the decoy sent, hex.";
    NtlmSpn = Keyword, Stored, "honeyport.ntlm.spn", "", "The service that the client believes it talks to, such as `cifs/files03`.";
    NtlmTarget = Keyword, Stored, "honeyport.ntlm.target_name", "", "Target name that the decoy gave.";
    NtlmVersion = Keyword, Stored, "honeyport.ntlm.version", "", "NTLMv1 or NTLMv2.";
    NtlmWorkstation = Keyword, Stored, "honeyport.ntlm.workstation", "", "Workstation in an NTLM message.";
    NtpMode = Long, Stored, "honeyport.ntp.mode", "", "NTP mode of the request: 3 client, 6 control, 7 private.";
    NtpVersion = Long, Stored, "honeyport.ntp.version", "", "NTP version of the request.";
    PayloadBase64 = Bytes, Stored, "honeyport.payload.base64", "packet_list.value", "Bytes received, secrets masked.";
    PayloadCaptured = Long, Derived, "honeyport.payload.captured", "", "How many bytes were kept.";
    PayloadHmac = Keyword, Stored, "honeyport.payload.hmac_sha256", "", "HMAC of all bytes seen, where something was masked, hex.";
    PayloadMasked = Bool, Stored, "honeyport.payload.masked", "", "Whether credential bytes were masked.";
    PayloadPrintable = Text, Derived, "honeyport.payload.printable", "", "The kept bytes as escaped ASCII.";
    PayloadSha256 = Keyword, Stored, "honeyport.payload.sha256", "raw_data_hash.value", "SHA-256 of all bytes seen, hex; absent if something was masked.";
    PayloadSize = Long, Stored, "honeyport.payload.size", "raw_data_size", "How many bytes were seen.";
    PayloadTruncated = Bool, Derived, "honeyport.payload.truncated", "", "Whether more was seen than kept.";
    RdpChannels = Keywords, Stored, "honeyport.rdp.channels", "", "Channels that an RDP client asked for, at most 31.";
    RdpClientAddress = Keyword, Stored, "honeyport.rdp.client_address", "", "Address that an RDP client says it has, as sent.";
    RdpClientBuild = Keyword, Stored, "honeyport.rdp.client_build", "", "Build of the RDP client.";
    RdpClientFolder = Keyword, Stored, "honeyport.rdp.client_folder", "", "Where the RDP client's program is on its own machine.";
    RdpClientName = Keyword, Stored, "honeyport.rdp.client_name", "", "Name that an RDP client gave itself.";
    RdpClientProduct = Keyword, Stored, "honeyport.rdp.client_product", "", "Product id of the RDP client, unlike on each install.";
    RdpCookie = Keyword, Stored, "honeyport.rdp.cookie", "identifier_cookie", "mstshash cookie.";
    RdpCorrelationId = Keyword, Stored, "honeyport.rdp.correlation_id", "", "Correlation id of an RDP connection request, hex.";
    RdpCredsspVersion = Long, Stored, "honeyport.rdp.credssp_version", "", "CredSSP version of the client.";
    RdpDesktop = Keyword, Stored, "honeyport.rdp.desktop", "", "Size of the desktop that an RDP client asked for, width x height.";
    RdpKeyboardLayout = Keyword, Stored, "honeyport.rdp.keyboard_layout", "", "Keyboard layout of an RDP client, a language id in hex such as 0x00000407.";
    RdpProtocols = Keywords, Stored, "honeyport.rdp.protocols", "", "Security layers that an RDP client asked for, and how it would log on.";
    RdpRoutingToken = Keyword, Stored, "honeyport.rdp.routing_token", "", "Where a balancer is to send an RDP connection.";
    RdpShell = Keyword, Stored, "honeyport.rdp.shell", "", "Program that an RDP client wants started instead of a desktop.";
    RdpWorkingFolder = Keyword, Stored, "honeyport.rdp.working_folder", "", "Folder that such a program is to be started in.";
    ReleaseBy = Keyword, Stored, "honeyport.release.by", "", "Who let the owner of a source be written to: a user of this host, or `enforcement`.";
    ReleaseNumber = Long, Stored, "honeyport.release.number", "", "Which release of its incident it is, from 1.";
    ReleaseServices = Keywords, Stored, "honeyport.release.services", "", "Services that the source touched in the incident.";
    ReleaseSinks = Keywords, Stored, "honeyport.release.sinks", "", "The email sinks that write to the owner; no other one ever does.";
    ReleaseTo = Keyword, Stored, "honeyport.release.to", "", "The owner's mail address.";
    ReleaseUid = Long, Stored, "honeyport.release.uid", "", "The number of the user who let the owner be written to.";
    ResponseBy = Keyword, Stored, "honeyport.response.by", "", "Who decided: the name of a rule or of a user of this host, or `hub`.";
    ResponseCause = Id, Stored, "honeyport.response.cause_event_id", "metadata.correlation_uid", "The event that caused a decision.";
    ResponseDryRun = Bool, Stored, "honeyport.response.dry_run", "", "Whether it was only said, not done.";
    ResponseExpires = Date, Stored, "honeyport.response.expires", "", "When the act ends; of a proposal, when it is no longer open.";
    ResponseId = Id, Stored, "honeyport.response.id", "command_uid", "The decision's id.";
    ResponseKind = Keyword, Stored, "honeyport.response.kind", "firewall_rule.type", "block, sinkhole, tag or list.";
    ResponseLatency = Long, Stored, "honeyport.response.latency_micros", "", "From the accept of the contact to the act being in force, microseconds.";
    ResponseMode = Keyword, Stored, "honeyport.response.mode", "", "What the rule may do: observe, propose or enforce.";
    ResponseNetwork = Keyword, Stored, "honeyport.response.network", "firewall_rule.match_details", "The network that is acted on, where it is more than one address.";
    ResponseReason = Text, Stored, "honeyport.response.reason", "status_detail", "Why it was refused, how it ended, or what a person gave as the reason.";
    ResponseRepaired = Long, Stored, "honeyport.response.repaired", "count", "How many entries others had changed and are as decided again.";
    ResponseRule = Keyword, Stored, "honeyport.response.rule", "policy.name", "The configured rule that decided.";
    ResponseScope = Keyword, Stored, "honeyport.response.scope", "", "What is acted on: an address or a network.";
    ResponseState = Keyword, Stored, "honeyport.response.state", "", "Of an act: enforced, failed or lifted. Of a decision: observed, proposed, decided, approved, rejected, extended, refused or ended.";
    ResponseStep = Long, Stored, "honeyport.response.step", "", "Which step of an escalation it is, from 1.";
    ResponseTarget = Keyword, Stored, "honeyport.response.target", "firewall_rule.name", "The set sink that acts.";
    ResponseTtl = Long, Stored, "honeyport.response.ttl_seconds", "firewall_rule.duration", "How long the act lasts, seconds.";
    ResponseUid = Long, Stored, "honeyport.response.uid", "", "The number of the user who decided.";
    ResponseVerbs = Keywords, Stored, "honeyport.response.verbs", "", "What is to be done: block, sinkhole, tag, list.";
    SampleOneIn = Long, Stored, "honeyport.sample.one_in", "", "How many events this one stands for: a sample lets one in so many through.";
    ScanDecoyCount = Long, Stored, "honeyport.scan.decoy_count", "", "How many decoys a scan or digest touched.";
    ScanDecoys = Keywords, Stored, "honeyport.scan.decoys", "", "Which decoys a scan or digest touched.";
    ScanKind = Keyword, Stored, "honeyport.scan.kind", "", "vertical or horizontal.";
    ScanPortCount = Long, Stored, "honeyport.scan.port_count", "", "How many ports a scan or digest touched.";
    ScanPorts = Longs, Stored, "honeyport.scan.ports", "", "Which ports a scan or digest touched.";
    ScanRate = Float, Stored, "honeyport.scan.rate_per_minute", "", "Hits a minute.";
    SessionCredentials = Long, Stored, "honeyport.session.credentials", "", "How many credentials the session offered in all.";
    SessionId = Id, Stored, "honeyport.session.id", "connection_info.uid", "One connection, from accept to close.";
    SessionQueries = Long, Stored, "honeyport.session.queries", "", "How many queries or commands the session sent in all.";
    SinkDeadLetters = Long, Stored, "honeyport.sink.dead_letters", "", "Events that the sink refused for good.";
    SinkName = Keyword, Stored, "honeyport.sink.name", "", "The sink that the event is about.";
    SinkQueued = Long, Stored, "honeyport.sink.queued", "", "Events that wait for the sink.";
    SinkRetries = Long, Stored, "honeyport.sink.retries", "", "How often the sink was tried again.";
    SinkType = Keyword, Stored, "honeyport.sink.type", "", "That sink's type.";
    SipCallId = Keyword, Stored, "honeyport.sip.call_id", "", "Call-ID of a SIP request; some scanners hide their target in it.";
    SipContact = Keyword, Stored, "honeyport.sip.contact", "", "Where the SIP client says that it can be reached.";
    SipFrom = Keyword, Stored, "honeyport.sip.from", "", "Who a SIP request says that it is from.";
    SipMethod = Keyword, Stored, "honeyport.sip.method", "", "What a SIP request asks for: REGISTER, INVITE, OPTIONS.";
    SipRealm = Keyword, Stored, "honeyport.sip.realm", "", "Realm that a SIP client logs in to.";
    SipTo = Keyword, Stored, "honeyport.sip.to", "", "Who a SIP request is for.";
    SipUri = Keyword, Stored, "honeyport.sip.uri", "", "Address of a SIP request.";
    Site = Keyword, Stored, "honeyport.site", "", "The site of the observer.";
    SmbClientGuid = Keyword, Stored, "honeyport.smb.client_guid", "", "ClientGuid of an SMB client; the same until it starts again.";
    SmbClientSystem = Keyword, Stored, "honeyport.smb.client_system", "", "System and program that an SMB1 client names.";
    SmbDialects = Keywords, Stored, "honeyport.smb.dialects", "client_dialects", "SMB dialects that the client offered.";
    SmbShare = Keyword, Stored, "honeyport.smb.share", "share", "SMB share that was asked for.";
    SmtpHelo = Keyword, Stored, "honeyport.smtp.helo", "", "Name that the SMTP client gave itself.";
    SnmpOids = Keywords, Stored, "honeyport.snmp.oids", "", "Objects that the SNMP request is about.";
    SnmpOperation = Keyword, Stored, "honeyport.snmp.operation", "", "get, get-next, get-bulk, set, or another SNMP operation.";
    SnmpVersion = Keyword, Stored, "honeyport.snmp.version", "", "SNMP version of the request.";
    SourceZoneInside = Bool, Stored, "honeyport.source.inside", "", "Whether that zone is inside.";
    SourceOwner = Keyword, Stored, "honeyport.source.owner", "src_endpoint.owner.name", "Who answers for the source.";
    SourceSharedAddress = Bool, Stored, "honeyport.source.shared_address", "", "A known shared address: never acted on automatically.";
    SourceSpoofable = Bool, Stored, "honeyport.source.spoofable", "", "True where no handshake proved the address.";
    SourceTags = Keywords, Stored, "honeyport.source.tags", "", "What an inventory says of the source, in words.";
    SourceZone = Keyword, Stored, "honeyport.source.zone", "", "The configured zone of the source, else `external`.";
    SshAuthMethod = Keyword, Stored, "honeyport.ssh.auth_method", "", "SSH authentication method tried.";
    SshClientVersion = Keyword, Stored, "honeyport.ssh.client_version", "", "SSH identification of the client.";
    SshHassh = Keyword, Stored, "honeyport.ssh.hassh", "client_hassh.fingerprint.value", "HASSH: MD5 of the client's algorithm lists.";
    SshHasshAlgorithms = Keyword, Stored, "honeyport.ssh.hassh_algorithms", "", "The lists that the HASSH was made of.";
    SshIdentFirst = Bool, Stored, "honeyport.ssh.ident_first", "", "Whether the client spoke before the server's identification.";
    SshKeyFingerprint = Keyword, Stored, "honeyport.ssh.key_fingerprint", "", "Fingerprint of the public key that was offered, as `SHA256:` and base64.";
    SshKeyType = Keyword, Stored, "honeyport.ssh.key_type", "", "Type of the public key that was offered.";
    TelnetEnvironment = Keywords, Stored, "honeyport.telnet.environment", "", "NEW-ENVIRON variables that the client gave.";
    TelnetOptions = Keyword, Stored, "honeyport.telnet.options", "", "Options in the client's order, as a fingerprint.";
    TelnetTerminal = Keyword, Stored, "honeyport.telnet.terminal", "", "Terminal type that the client gave.";
    TelnetWindow = Keyword, Stored, "honeyport.telnet.window", "", "Window size that the client gave, columns x rows.";
    TftpMode = Keyword, Stored, "honeyport.tftp.mode", "", "Transfer mode of a TFTP request.";
    TftpOperation = Keyword, Stored, "honeyport.tftp.operation", "", "read or write.";
    TlsAlpn = Keywords, Stored, "honeyport.tls.alpn", "", "Protocols that the TLS client offered, at most 16.";
    TlsCipherCount = Long, Stored, "honeyport.tls.cipher_count", "", "How many cipher suites the TLS client offered.";
    TlsJa4 = Keyword, Stored, "honeyport.tls.ja4", "ja4_fingerprint_list.value", "JA4 of the TLS client.";
    TlsVersions = Keywords, Stored, "honeyport.tls.versions", "", "TLS versions that the client listed, at most 16.";
    TouchLevel = Keyword, Stored, "honeyport.touch.level", "", "contact, intent or proof.";
    TransformKey = Keyword, Stored, "honeyport.transform.key", "", "The values that the window of a derived event was counted by.";
    TransformName = Keyword, Stored, "honeyport.transform.name", "", "The graph node that made a derived event.";
    Truncated = Bool, Derived, "honeyport.truncated", "metadata.is_truncated", "Whether fields were left out or cut to stay within the sink's bound.";
    VncSecurityType = Keyword, Stored, "honeyport.vnc.security_type", "", "RFB security type that the client chose.";
    VncVersion = Keyword, Stored, "honeyport.vnc.version", "", "RFB version that the client asked for, as sent.";
    HttpRequestBytes = Long, Stored, "http.request.body.bytes", "http_request.body_length", "Size of the request body.";
    HttpMethod = Keyword, Stored, "http.request.method", "http_request.http_method", "Request method as sent.";
    HttpReferrer = Keyword, Stored, "http.request.referrer", "http_request.referrer", "Referer as sent.";
    HttpStatus = Long, Stored, "http.response.status_code", "http_response.code", "Status that the decoy answered with.";
    HttpVersion = Keyword, Stored, "http.version", "http_request.version", "HTTP version of the request.";
    Message = Text, Derived, "message", "message", "The event in one sentence; no secret, no raw bytes.";
    NetworkCommunityId = Keyword, Stored, "network.community_id", "connection_info.community_uid", "Community id v1, seed 0.";
    NetworkDirection = Keyword, Derived, "network.direction", "connection_info.direction_id", "inbound from outside, internal from inside.";
    NetworkIana = Keyword, Derived, "network.iana_number", "connection_info.protocol_num", "IANA protocol number.";
    NetworkProtocol = Keyword, Derived, "network.protocol", "app_protocol_name", "The protocol the decoy speaks, once the peer spoke it.";
    NetworkTransport = Keyword, Stored, "network.transport", "connection_info.protocol_name", "tcp or udp.";
    NetworkType = Keyword, Derived, "network.type", "connection_info.protocol_ver_id", "ipv4 or ipv6.";
    ObserverHostname = Keyword, Stored, "observer.hostname", "", "Host name of the sensor.";
    ObserverIp = Ips, Derived, "observer.ip", "", "Address of the sensor that was touched.";
    ObserverName = Keyword, Stored, "observer.name", "", "Name of the sensor.";
    ObserverProduct = Keyword, Derived, "observer.product", "metadata.product.name", "Always `trapline`.";
    ObserverType = Keyword, Derived, "observer.type", "", "Always `sensor`.";
    ObserverVendor = Keyword, Derived, "observer.vendor", "metadata.product.vendor_name", "Always `Trapline`.";
    ObserverVersion = Keyword, Stored, "observer.version", "metadata.product.version", "Version that made the event.";
    OrganizationId = Keyword, Stored, "organization.id", "metadata.tenant_uid", "The organisation, where several share a hub.";
    RelatedHash = Keywords, Derived, "related.hash", "observables.value", "Hashes to pivot on.";
    RelatedHosts = Keywords, Derived, "related.hosts", "observables.value", "Host names to pivot on.";
    RelatedIp = Ips, Derived, "related.ip", "observables.value", "Addresses to pivot on.";
    RelatedUser = Keywords, Derived, "related.user", "observables.value", "User names to pivot on.";
    RuleCategory = Keyword, Derived, "rule.category", "", "decoy, response or health.";
    RuleId = Keyword, Derived, "rule.id", "finding_info.analytic.uid", "Id of the built-in rule.";
    RuleName = Keyword, Derived, "rule.name", "finding_info.title", "Name of the built-in rule.";
    RuleRuleset = Keyword, Derived, "rule.ruleset", "", "Always `trapline-builtin`.";
    RuleVersion = Keyword, Derived, "rule.version", "finding_info.analytic.version", "Version of the rule.";
    SourceAddress = Keyword, Stored, "source.address", "src_endpoint.uid", "Who came, as text; a pseudonym where `redact` hides it.";
    SourceAsNumber = Long, Stored, "source.as.number", "src_endpoint.autonomous_system.number", "Number of the autonomous system that the source is in.";
    SourceAsName = Keyword, Stored, "source.as.organization.name", "src_endpoint.autonomous_system.name", "Who runs that system.";
    SourceBytes = Long, Stored, "source.bytes", "traffic.bytes_in", "Bytes the peer sent.";
    SourceDomain = Keyword, Stored, "source.domain", "src_endpoint.hostname", "Name that the peer gave itself.";
    SourceGeoCity = Keyword, Stored, "source.geo.city_name", "src_endpoint.location.city", "City of the source.";
    SourceGeoContinent = Keyword, Stored, "source.geo.continent_code", "", "Continent of the source, two letters.";
    SourceGeoCountry = Keyword, Stored, "source.geo.country_iso_code", "src_endpoint.location.country", "Country of the source, two letters of ISO 3166-1.";
    SourceGeoCountryName = Keyword, Stored, "source.geo.country_name", "", "Country of the source.";
    SourceGeoLat = Float, Stored, "source.geo.location.lat", "src_endpoint.location.lat", "Latitude of the source, about.";
    SourceGeoLon = Float, Stored, "source.geo.location.lon", "src_endpoint.location.long", "Longitude of the source, about.";
    SourceGeoRegion = Keyword, Stored, "source.geo.region_name", "src_endpoint.location.region", "Region of the source.";
    SourceIp = Ip, Stored, "source.ip", "src_endpoint.ip", "Who came: the kernel's peer address.";
    SourceMac = Keyword, Stored, "source.mac", "src_endpoint.mac", "MAC of a neighbour.";
    SourcePackets = Long, Stored, "source.packets", "traffic.packets_in", "Datagrams the peer sent.";
    SourcePort = Long, Stored, "source.port", "src_endpoint.port", "The peer's port.";
    ThreatFramework = Keyword, Derived, "threat.framework", "", "Always `MITRE ATT&CK`.";
    ThreatTacticId = Keywords, Derived, "threat.tactic.id", "attacks.tactic.uid", "ATT&CK tactics.";
    ThreatTacticName = Keywords, Derived, "threat.tactic.name", "attacks.tactic.name", "Their names.";
    ThreatTechniqueId = Keywords, Derived, "threat.technique.id", "attacks.technique.uid", "ATT&CK techniques.";
    ThreatTechniqueName = Keywords, Derived, "threat.technique.name", "attacks.technique.name", "Their names.";
    ThreatSubtechniqueId = Keywords, Derived, "threat.technique.subtechnique.id", "attacks.sub_technique.uid", "ATT&CK sub-techniques.";
    ThreatSubtechniqueName = Keywords, Derived, "threat.technique.subtechnique.name", "attacks.sub_technique.name", "Their names.";
    TlsCipher = Keyword, Stored, "tls.cipher", "tls.cipher", "Cipher suite that was agreed on.";
    TlsJa3 = Keyword, Stored, "tls.client.ja3", "tls.ja3_hash.value", "JA3 of the TLS client.";
    TlsServerName = Keyword, Stored, "tls.client.server_name", "tls.sni", "Server name that the client asked for.";
    TlsCiphers = Keywords, Stored, "tls.client.supported_ciphers", "tls.client_ciphers", "Cipher suites that the client offered, at most 64.";
    TlsEstablished = Bool, Stored, "tls.established", "", "Whether the TLS handshake succeeded.";
    TlsNextProtocol = Keyword, Stored, "tls.next_protocol", "", "Protocol that was agreed on.";
    TlsVersion = Keyword, Stored, "tls.version", "tls.version", "Highest TLS version that the client offered.";
    TlsProtocol = Keyword, Stored, "tls.version_protocol", "", "tls or ssl.";
    UrlDomain = Keyword, Stored, "url.domain", "http_request.url.domain", "Host that the request named.";
    UrlOriginal = Keyword, Stored, "url.original", "http_request.url.url_string", "Request target as sent.";
    UrlPath = Keyword, Stored, "url.path", "http_request.url.path", "Path of the target.";
    UserDomain = Keyword, Stored, "user.domain", "user.domain", "Domain of the user that was tried.";
    UserName = Keyword, Stored, "user.name", "user.name", "User that was tried.";
    UserAgent = Keyword, Stored, "user_agent.original", "http_request.user_agent", "User agent as sent.";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(row: &Row) -> Vec<&'static str> {
        row.ecs.split('.').collect()
    }

    #[test]
    fn rows_are_sorted_by_segments_and_unique() {
        for pair in CATALOGUE.windows(2) {
            assert!(
                segments(&pair[0]) < segments(&pair[1]),
                "{} {}",
                pair[0].ecs,
                pair[1].ecs
            );
        }
    }

    #[test]
    fn no_path_is_the_parent_of_another() {
        for row in CATALOGUE {
            let parent = format!("{}.", row.ecs);
            assert!(
                !CATALOGUE.iter().any(|other| other.ecs.starts_with(&parent)),
                "{parent}"
            );
        }
    }

    #[test]
    fn every_row_says_what_it_is() {
        for row in CATALOGUE {
            assert!(row.doc.ends_with('.') && row.doc.len() > 8, "{}", row.ecs);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@".contains(c);
            assert!(row.ecs.chars().all(plain) && row.ocsf.chars().all(plain), "{}", row.ecs);
        }
    }

    #[test]
    fn every_field_is_found_by_its_name_and_nothing_else_is() {
        for row in CATALOGUE {
            assert_eq!(Field::find(row.ecs), Some(row.field));
            assert_eq!(row.field.row().ecs, row.ecs);
            assert_eq!(Field::find(&format!("{}x", row.ecs)), None);
        }
        assert_eq!(Field::find(""), None);
    }
}
