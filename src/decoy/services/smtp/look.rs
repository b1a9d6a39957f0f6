//! `[look]` of an `smtp` personality. Data; nothing here speaks.

/// The whole table.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// Whose manners: `postfix` or `exim`.
    pub(super) manner: Manner,
    /// Longest command line, bytes, its end included.
    pub(super) line_max: usize,
    /// Longest answer to a question of a login, bytes, its end included.
    pub(super) response_max: usize,
    /// Largest message, bytes.
    pub(super) size_max: u64,
    /// Mailboxes of this host.
    pub(super) users: Vec<String>,
    /// Names of this host besides its own that a mailbox may have; `{{…}}` are replaced.
    pub(super) domains: Vec<String>,
    /// What separates a user from what it adds to its address; empty: nothing does.
    #[serde(default)]
    pub(super) delimiter: String,
    /// How a login goes.
    pub(super) login: Login,
    /// What mistakes lead to.
    pub(super) mistakes: Bounds,
    /// What it says.
    pub(super) says: Says,
}

/// What no text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Manner {
    Postfix,
    Exim,
}

/// `[look.login]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// PLAIN, LOGIN, CRAM-MD5; the order is that of the list it offers.
    pub(super) mechanisms: Vec<String>,
    /// Asks for the user: LOGIN's first question.
    pub(super) ask_user: String,
    /// Asks for the password.
    pub(super) ask_password: String,
    /// How long a failed one takes.
    pub(super) delay_ms: u64,
    /// Said after it.
    pub(super) failed: String,
    /// To `*` in place of an answer.
    pub(super) cancelled: String,
    /// To base64 with a mistake in the command itself.
    pub(super) not_base64: String,
    /// The same, in an answer to a question.
    pub(super) not_base64_later: String,
    /// To an answer that is too long.
    pub(super) too_long: String,
    /// To AUTH alone.
    pub(super) syntax: String,
    /// To AUTH with more than a mechanism and a response.
    pub(super) excess: String,
    /// To a mechanism that it has not.
    pub(super) unknown: String,
    /// Within a transaction.
    pub(super) in_mail: String,
    /// Before EHLO; empty: it makes no difference.
    #[serde(default)]
    pub(super) not_offered: String,
    /// Before STARTTLS; empty: it makes no difference.
    #[serde(default)]
    pub(super) not_plain: String,
}

/// `[look.mistakes]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
    /// How many, until it hangs up.
    pub(super) max: u32,
    /// How many, until it answers slowly; 0: it never does.
    #[serde(default)]
    pub(super) slow_after: u32,
    /// How slowly.
    #[serde(default)]
    pub(super) slow_ms: u64,
    /// Commands beside mail until it hangs up; 0: it does not count them.
    #[serde(default)]
    pub(super) idle_max: u32,
}

/// `[look.says]`. Every answer may use `{{verb}}`, `{{arg}}`, `{{address}}`, `{{rest}}` (what follows the address),
/// `{{number}}`, `{{total}}` (bytes), `{{queue}}` and `{{refused}}` (what the last recipient was refused with).
/// An empty answer to a situation that a manner does not know is never said.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Says {
    pub(super) greeting: String,
    pub(super) helo: String,
    pub(super) ehlo: String,
    /// To EHLO within TLS.
    pub(super) ehlo_secure: String,
    /// To HELO or EHLO with no name, or with one that cannot be.
    pub(super) no_name: String,
    /// To MAIL before HELO or EHLO.
    pub(super) no_helo: String,
    pub(super) mail: String,
    pub(super) mail_again: String,
    /// To MAIL that is not MAIL FROM:, or has no address.
    pub(super) mail_syntax: String,
    pub(super) mail_bad: String,
    /// To a sender without a domain; empty: it may have none.
    pub(super) mail_bare: String,
    /// To a word after an address that it does not know.
    pub(super) option: String,
    pub(super) size_syntax: String,
    /// To a message that is too large, announced or sent.
    pub(super) mail_large: String,
    pub(super) rcpt: String,
    pub(super) rcpt_early: String,
    pub(super) rcpt_syntax: String,
    pub(super) rcpt_bad: String,
    pub(super) rcpt_empty: String,
    /// To a recipient without a domain; empty: it is of this host.
    pub(super) rcpt_bare: String,
    /// To an address within brackets; empty: it is of this host.
    pub(super) rcpt_literal: String,
    /// To an address of this host with signs that once meant a way through it; empty: it is no address of this host.
    pub(super) rcpt_restricted: String,
    pub(super) rcpt_unknown: String,
    pub(super) rcpt_relay: String,
    /// To RCPT within chunks.
    pub(super) rcpt_late: String,
    /// To DATA or a chunk without a recipient.
    pub(super) data_early: String,
    /// The same, where all were refused.
    pub(super) data_refused: String,
    pub(super) data: String,
    pub(super) data_large: String,
    pub(super) queued: String,
    pub(super) chunk: String,
    pub(super) chunk_last: String,
    pub(super) chunk_syntax: String,
    pub(super) reset: String,
    pub(super) noop: String,
    pub(super) vrfy: String,
    pub(super) vrfy_syntax: String,
    pub(super) expn: String,
    pub(super) etrn: String,
    pub(super) etrn_syntax: String,
    pub(super) help: String,
    /// To STARTTLS that goes on with a handshake.
    pub(super) go_ahead: String,
    /// To STARTTLS that was not offered.
    pub(super) starttls: String,
    /// To STARTTLS within TLS.
    pub(super) starttls_again: String,
    /// From then on, to all but QUIT; empty: it goes on.
    pub(super) barred: String,
    /// To whatever has to do with mail before STARTTLS; empty: it is heard.
    pub(super) must_encrypt: String,
    pub(super) x_command: String,
    pub(super) quit: String,
    /// To what follows a command that takes nothing.
    pub(super) excess: String,
    pub(super) unknown: String,
    pub(super) empty: String,
    pub(super) not_utf8: String,
    /// To what begins with no letter or is a mail header, and to the verbs of another protocol; it hangs up then.
    pub(super) bogus: String,
    /// To what was sent ahead by a client that may not.
    pub(super) ahead: String,
    pub(super) too_many: String,
    pub(super) too_many_unknown: String,
    pub(super) too_many_idle: String,
}
