//! Email: each parcel is one mail to people, text and HTML, over SMTP with TLS.
//!
//! ```toml
//! [sinks.sysadmin_mail]
//! type = "email"
//! inputs = ["digest"]
//! server = "smtp.example:587"            # STARTTLS, required; :465 has TLS from the first byte
//! user = "trapline@example.org"
//! password = "${SMTP_PASSWORD}"
//! from = "Trapline <trapline@example.org>"
//! to = ["soc@example.org"]
//! tone = "passive-aggressive"            # default
//! ```
//!
//! In: parcels, in number such that people read them: that is the graph's business. Out: a mail each, worded by
//! `trapline-notice`.
//!
//! Invariants:
//! 1. A mail's Message-ID is made of its event's id, so a mail that is sent again is the same mail. All mails of an incident
//!    answer one id that is made of the incident's, under one subject, so they are one thread, also after a restart and from
//!    several hosts; what the notice calls itself heads the body.
//! 2. No byte of a peer stands in a header. In the bodies it is escaped, and defanged: nothing in it can be clicked.
//! 3. Lines end in CRLF; those of bodies have at most 76 bytes (quoted-printable), headers are folded; a body cannot end its
//!    mail (S30).
//! 4. Nothing is said to a server that does not have the protection that is configured (S25).
//! 5. A recipient that is refused costs the others nothing: they have the mail, once, and `status` names it. One that is
//!    put off is tried again alone, for ten minutes at most once another one has the mail.
//! 6. A 5xx to the content is a dead letter; to the login, the sender or all recipients it alarms and is tried again; 4xx is
//!    tried again.
//!
//! 7. Whoever answers for a source (`owners = true`) is written to by a mail that has no other recipient, and only for an
//!    event `notice-released`, once for each. It names neither this program nor what saw the source, for the mailbox may be
//!    the intruder's. If the server refuses it, it is a dead letter; if it is put off, it is tried for ten minutes: the
//!    team's mail waits for no owner.
//!
//! It does not: read mail, so no bounce or answer comes in here; send pictures, links or attachments; decide what is
//! worth a mail.
//!
//! Source: RFC 5321 (SMTP), 5322 (message), 2045 to 2047 (MIME), 3834 (automatic answers), 2919 (List-Id).

mod address;
mod config;
mod html;
mod message;
mod reply;
mod session;
mod sink;
mod text;

pub use address::{ALLOWED as ADDRESS_ALLOWED, is_address};
pub use config::SINK;
