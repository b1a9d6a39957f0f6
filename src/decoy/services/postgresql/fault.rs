//! What a PostgreSQL server says before it hangs up. Pure.
//!
//! An error names the place in the server's source where it was raised, and scanners read the version from the line: so
//! the lines are data of a personality, and the rest is here.
//!
//! Source: "Error and Notice Message Fields" of the manual; texts and lines were captured from PostgreSQL 15.18.

/// Line numbers in the source of one version.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lines {
    startup_after_ssl: u32,
    startup_protocol: u32,
    startup_replication: u32,
    startup_layout: u32,
    startup_user: u32,
    auth_failed: u32,
    password_type: u32,
    password_size: u32,
    password_empty: u32,
    sasl_type: u32,
    message_string: u32,
    message_bytes: u32,
    message_copy: u32,
    message_end: u32,
    scram_mechanism: u32,
    scram_empty: u32,
    scram_length: u32,
    scram_nonce: u32,
    attribute_name: u32,
    attribute_equals: u32,
    any_end: u32,
    any_name: u32,
    any_equals: u32,
    first_comma: u32,
    first_comma_binding: u32,
    first_binding: u32,
    first_flag: u32,
    first_identity: u32,
    first_attribute: u32,
    first_extension: u32,
    first_nonce: u32,
    final_binding: u32,
    first_not_bound: u32,
    first_not_bound_either: u32,
    first_negotiation: u32,
    first_binding_type: u32,
    final_bound_elsewhere: u32,
    final_proof: u32,
    final_end: u32,
}

/// Why the server hangs up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Bytes came with a request for TLS.
    AfterSsl,
    /// A version of the protocol that is not spoken: major, minor.
    Protocol(u32, u32),
    /// `replication` has this value.
    Replication(Vec<u8>),
    /// The parameters do not end where they should.
    Layout,
    /// There is no user.
    User,
    /// The password is wrong.
    Denied(Vec<u8>),
    /// A message of this type where a password should be.
    PasswordType(u8),
    /// A password with a NUL in it, or without one behind it.
    PasswordSize,
    /// No password.
    PasswordEmpty,
    /// A message of this type where SASL should go on.
    SaslType(u8),
    /// A message without the NUL that ends its text.
    MessageString,
    /// A message shorter than it says.
    MessageBytes,
    /// A message without a whole number.
    MessageCopy,
    /// A message that goes on.
    MessageEnd,
    /// Another mechanism.
    Mechanism,
    /// An empty message of SCRAM.
    Empty,
    /// A message of SCRAM with a NUL.
    Length,
    /// The nonce is not the one that was sent.
    Nonce,
    /// Another attribute was due: which, and what was there.
    Attribute(char, u8),
    /// An attribute without `=`.
    Equals(char),
    /// The message ends where an attribute should be.
    AnyEnd,
    /// No letter where an attribute should be.
    AnyName(u8),
    /// An optional attribute without `=`.
    AnyEquals(u8),
    /// No comma after `n`.
    Comma(u8),
    /// No comma after `y`.
    CommaBinding(u8),
    /// Channel binding by a mechanism without it.
    Binding,
    /// The mechanism with channel binding, and `n`.
    NotBound,
    /// The same, and `y`.
    NotBoundEither,
    /// `y` to a server that has the mechanism with channel binding.
    Negotiation,
    /// Channel binding of another kind.
    BindingType(Vec<u8>),
    /// Neither `n`, `y` nor `p`.
    Flag(u8),
    /// An identity to act as.
    Identity,
    /// Something else before the user.
    FirstAttribute(u8),
    /// An extension that the server would have to know.
    Extension,
    /// A nonce that cannot be printed.
    FirstNonce,
    /// Other channel binding than at first.
    FinalBinding,
    /// Bound to another certificate.
    BoundElsewhere,
    /// No proof, or one of another length.
    Proof,
    /// More after the proof.
    FinalEnd,
}

/// A byte as the server shows it.
fn shown(byte: u8) -> String {
    match byte {
        b'!'..=b'~' => format!("'{}'", char::from(byte)),
        _ => format!("0x{byte:02x}"),
    }
}

/// A text as the server shows it: at most 30 bytes, `?` for what cannot be printed (`sanitize_str`).
fn sanitized(text: &[u8]) -> String {
    let shown = |byte: &u8| {
        if byte.is_ascii_graphic() {
            char::from(*byte)
        } else {
            '?'
        }
    };
    text.iter().take(30).map(shown).collect()
}

const MALFORMED: &str = "malformed SCRAM message";
const BINDING: &str = "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel \
                       binding data.";
const NO_BINDING: &str = "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding \
                          data.";
const NEGOTIATION: &str = "The client supports SCRAM channel binding but thinks the server does not.  However, this \
                           server does support channel binding.";
const IN_THE_MIDDLE: &str =
    "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.";

/// One error: code, text, detail, and where it was raised.
struct Report {
    code: &'static str,
    text: Vec<u8>,
    detail: String,
    hint: &'static str,
    place: (&'static str, u32, &'static str),
}

impl Fault {
    /// The server's last words.
    pub(super) fn said(&self, lines: &Lines) -> Vec<u8> {
        match *self {
            // Clients of that age read another form.
            Self::Protocol(major @ 1..=2, minor) => format!("EFATAL:  {}\n\0", unsupported(major, minor)).into_bytes(),
            _ => message(&self.report(lines)),
        }
    }

    fn report(&self, lines: &Lines) -> Report {
        match self {
            Self::AfterSsl
            | Self::Protocol(..)
            | Self::Replication(_)
            | Self::Layout
            | Self::User
            | Self::Denied(_)
            | Self::PasswordType(_)
            | Self::PasswordSize
            | Self::PasswordEmpty => self.before_sasl(lines),
            _ => self.of_sasl(lines),
        }
    }

    fn before_sasl(&self, lines: &Lines) -> Report {
        let startup = |line| ("postmaster.c", line, "ProcessStartupPacket");
        let packet = |line| ("auth.c", line, "recv_password_packet");
        match self {
            Self::AfterSsl => plain(
                "08P01",
                "received unencrypted data after SSL request",
                startup(lines.startup_after_ssl),
            )
            .detail(IN_THE_MIDDLE),
            Self::Protocol(major, minor) => {
                plain("0A000", &unsupported(*major, *minor), startup(lines.startup_protocol))
            }
            Self::Replication(value) => {
                let text = [
                    b"invalid value for parameter \"replication\": \"",
                    value.as_slice(),
                    b"\"",
                ]
                .concat();
                let hint = "Valid values are: \"false\", 0, \"true\", 1, \"database\".";
                let place = startup(lines.startup_replication);
                Report {
                    text,
                    hint,
                    ..plain("22023", "", place)
                }
            }
            Self::Layout => {
                let text = "invalid startup packet layout: expected terminator as last byte";
                plain("08P01", text, startup(lines.startup_layout))
            }
            Self::User => plain(
                "28000",
                "no PostgreSQL user name specified in startup packet",
                startup(lines.startup_user),
            ),
            Self::PasswordType(kind) => plain(
                "08P01",
                &format!("expected password response, got message type {kind}"),
                packet(lines.password_type),
            ),
            Self::PasswordSize => plain("08P01", "invalid password packet size", packet(lines.password_size)),
            Self::PasswordEmpty => plain(
                "28P01",
                "empty password returned by client",
                packet(lines.password_empty),
            ),
            Self::Denied(user) => {
                let text = [b"password authentication failed for user \"", user.as_slice(), b"\""].concat();
                Report {
                    text,
                    ..plain("28P01", "", ("auth.c", lines.auth_failed, "auth_failed"))
                }
            }
            other => other.of_sasl(lines),
        }
    }

    fn of_sasl(&self, lines: &Lines) -> Report {
        let format = |line, routine| ("pqformat.c", line, routine);
        match self {
            Self::SaslType(kind) => {
                let text = format!("expected SASL response, got message type {kind}");
                plain("08P01", &text, ("auth-sasl.c", lines.sasl_type, "CheckSASLAuth"))
            }
            Self::MessageString => plain(
                "08P01",
                "invalid string in message",
                format(lines.message_string, "pq_getmsgrawstring"),
            ),
            Self::MessageBytes => plain(
                "08P01",
                "insufficient data left in message",
                format(lines.message_bytes, "pq_getmsgbytes"),
            ),
            Self::MessageCopy => plain(
                "08P01",
                "insufficient data left in message",
                format(lines.message_copy, "pq_copymsgbytes"),
            ),
            Self::MessageEnd => plain(
                "08P01",
                "invalid message format",
                format(lines.message_end, "pq_getmsgend"),
            ),
            other => other.of_scram(lines),
        }
    }

    fn of_scram(&self, lines: &Lines) -> Report {
        let (line, routine) = self.place_in_scram(lines);
        let scram = |code, text: &str| plain(code, text, ("auth-scram.c", line, routine));
        let malformed = |detail: &str| scram("08P01", MALFORMED).detail(detail);
        match self {
            Self::Mechanism => scram("08P01", "client selected an invalid SASL authentication mechanism"),
            Self::Empty => malformed("The message is empty."),
            Self::Length => malformed("Message length does not match input length."),
            Self::Nonce => scram("08P01", "invalid SCRAM response").detail("Nonce does not match."),
            Self::Attribute(due, found) => malformed(&format!(
                "Expected attribute \"{due}\" but found \"{}\".",
                shown(*found)
            )),
            Self::Equals(due) => malformed(&format!("Expected character \"=\" for attribute \"{due}\".")),
            Self::AnyEnd => malformed("Attribute expected, but found end of string."),
            Self::AnyName(found) => malformed(&format!(
                "Attribute expected, but found invalid character \"{}\".",
                shown(*found)
            )),
            Self::AnyEquals(name) => malformed(&format!(
                "Expected character \"=\" for attribute \"{}\".",
                char::from(*name)
            )),
            Self::Comma(found) | Self::CommaBinding(found) => {
                malformed(&format!("Comma expected, but found character \"{}\".", shown(*found)))
            }
            Self::Binding => malformed(BINDING),
            Self::NotBound | Self::NotBoundEither => malformed(NO_BINDING),
            Self::Negotiation => scram("28000", "SCRAM channel binding negotiation error").detail(NEGOTIATION),
            Self::BindingType(kind) => scram(
                "08P01",
                &format!("unsupported SCRAM channel-binding type \"{}\"", sanitized(kind)),
            ),
            Self::BoundElsewhere => scram("28000", "SCRAM channel binding check failed"),
            Self::Flag(found) => malformed(&format!("Unexpected channel-binding flag \"{}\".", shown(*found))),
            Self::Identity => scram("0A000", "client uses authorization identity, but it is not supported"),
            Self::FirstAttribute(found) => malformed(&format!(
                "Unexpected attribute \"{}\" in client-first-message.",
                shown(*found)
            )),
            Self::Extension => scram("0A000", "client requires an unsupported SCRAM extension"),
            Self::FirstNonce => scram("08P01", "non-printable characters in SCRAM nonce"),
            Self::FinalBinding => scram(
                "08P01",
                "unexpected SCRAM channel-binding attribute in client-final-message",
            ),
            Self::Proof => malformed("Malformed proof in client-final-message."),
            _ => malformed("Garbage found at the end of client-final-message."),
        }
    }

    fn place_in_scram(&self, lines: &Lines) -> (u32, &'static str) {
        let first = "read_client_first_message";
        let last = "read_client_final_message";
        match self {
            Self::Mechanism => (lines.scram_mechanism, "scram_init"),
            Self::Empty => (lines.scram_empty, "scram_exchange"),
            Self::Length => (lines.scram_length, "scram_exchange"),
            Self::Nonce => (lines.scram_nonce, "scram_exchange"),
            Self::Attribute(..) => (lines.attribute_name, "read_attr_value"),
            Self::Equals(_) => (lines.attribute_equals, "read_attr_value"),
            Self::AnyEnd => (lines.any_end, "read_any_attr"),
            Self::AnyName(_) => (lines.any_name, "read_any_attr"),
            Self::AnyEquals(_) => (lines.any_equals, "read_any_attr"),
            Self::Comma(_) => (lines.first_comma, first),
            Self::CommaBinding(_) => (lines.first_comma_binding, first),
            Self::Binding => (lines.first_binding, first),
            Self::NotBound => (lines.first_not_bound, first),
            Self::NotBoundEither => (lines.first_not_bound_either, first),
            Self::Negotiation => (lines.first_negotiation, first),
            Self::BindingType(_) => (lines.first_binding_type, first),
            Self::BoundElsewhere => (lines.final_bound_elsewhere, last),
            Self::Flag(_) => (lines.first_flag, first),
            Self::Identity => (lines.first_identity, first),
            Self::FirstAttribute(_) => (lines.first_attribute, first),
            Self::Extension => (lines.first_extension, first),
            Self::FirstNonce => (lines.first_nonce, first),
            Self::FinalBinding => (lines.final_binding, last),
            Self::Proof => (lines.final_proof, last),
            _ => (lines.final_end, last),
        }
    }
}

fn unsupported(major: u32, minor: u32) -> String {
    format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0")
}

fn plain(code: &'static str, text: &str, place: (&'static str, u32, &'static str)) -> Report {
    Report {
        code,
        text: text.as_bytes().to_vec(),
        detail: String::new(),
        hint: "",
        place,
    }
}

impl Report {
    fn detail(self, detail: &str) -> Self {
        Self {
            detail: detail.to_owned(),
            ..self
        }
    }
}

fn message(report: &Report) -> Vec<u8> {
    let (file, line, routine) = report.place;
    let line = line.to_string();
    let fields: [(u8, &[u8]); 9] = [
        (b'S', b"FATAL"),
        (b'V', b"FATAL"),
        (b'C', report.code.as_bytes()),
        (b'M', &report.text),
        (b'D', report.detail.as_bytes()),
        (b'H', report.hint.as_bytes()),
        (b'F', file.as_bytes()),
        (b'L', line.as_bytes()),
        (b'R', routine.as_bytes()),
    ];
    let mut body = Vec::new();
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        body.push(name);
        body.extend_from_slice(value);
        body.push(0);
    }
    body.push(0);
    super::wire::message(b'E', &body)
}
