//! Mail addresses of the configuration.
//!
//! In: `user@host` or `Name <user@host>`. Out: a [`Mailbox`] that is safe in a command and in a header, or what is wrong
//! with it. Invariants: 1. an address is ASCII of at most 254 characters, without quotes, so that no server needs an
//! extension for it; 2. a name is clean and at most [`NAME_CHARS_MAX`] long.
//!
//! Source: RFC 5321 section 4.1.2 (`Dot-string`, `Domain`) and 4.5.3.1 (lengths).

use lettre::message::Mailbox;
use trapline_schemas::text::is_clean;

/// Longest display name.
const NAME_CHARS_MAX: usize = 100;
/// Longest address that fits a path of 256 with its brackets.
const ADDRESS_CHARS_MAX: usize = 254;
/// Longest part before the `@`.
const USER_CHARS_MAX: usize = 64;
/// Longest host name.
const HOST_CHARS_MAX: usize = 253;

/// What an address should look like.
pub const ALLOWED: &str = "`user@host.example` or `Name <user@host.example>`, ASCII, at most 254 characters";

/// Reads an address; `None` if it is none that every server takes.
pub(crate) fn read(text: &str) -> Option<Mailbox> {
    let mailbox: Mailbox = text.trim().parse().ok()?;
    let (user, host) = (mailbox.email.user(), mailbox.email.domain());
    let is_name = |name: &String| is_clean(name) && name.chars().count() <= NAME_CHARS_MAX;
    let good = is_dotted(user, USER_CHARS_MAX, is_atom)
        && is_host(host)
        && user.len() + 1 + host.len() <= ADDRESS_CHARS_MAX
        && mailbox.name.as_ref().is_none_or(is_name);
    good.then_some(mailbox)
}

/// Whether it is an address that a mail may go to: for those of the configuration that stand in no sink's table.
pub fn is_address(text: &str) -> bool {
    read(text).is_some()
}

/// Whether it is a host name, as in an address, EHLO or List-Id.
pub(crate) fn is_host(text: &str) -> bool {
    is_dotted(text, HOST_CHARS_MAX, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
    })
}

fn is_dotted(text: &str, chars_max: usize, good: fn(char) -> bool) -> bool {
    text.len() <= chars_max && text.split('.').all(|part| !part.is_empty() && part.chars().all(good))
}

/// `atext` of RFC 5322.
fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_may_have_a_name() {
        let plain = read("soc@example.org").unwrap();
        assert_eq!(
            (plain.name, plain.email.to_string()),
            (None, "soc@example.org".to_owned())
        );
        let named = read("Wächter der Nacht <soc+night@mail.example.org>").unwrap();
        assert_eq!(named.name.as_deref(), Some("Wächter der Nacht"));
        assert!(read("root@localhost").is_some());
    }

    #[test]
    fn what_a_server_or_a_header_would_trip_over_is_refused() {
        let long = format!("{}@example.org", "x".repeat(65));
        for text in [
            "",
            "soc",
            "soc@",
            "@example.org",
            "soc@example.org, two@example.org",
            "soc@exa mple.org",
            "sörgel@example.org",
            "soc@exämple.org",
            "\"a b\"@example.org",
            "a..b@example.org",
            "soc@example..org",
            "soc@example.org>\r\nRCPT TO:<x@y",
            "Name\r\nBcc: x@y <soc@example.org>",
            "a\u{202e}b <soc@example.org>",
            long.as_str(),
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_an_address_make_one_word_of_a_command(text in "\\PC{0,20}@\\PC{0,20}|[a-z<>@\"\r\n .]{0,40}") {
            if let Some(mailbox) = read(&text) {
                let address = mailbox.email.to_string();
                prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\" ".contains(&byte)), "{address:?}");
            }
        }
    }
}
