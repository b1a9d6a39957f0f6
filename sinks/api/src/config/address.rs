//! What may be shown of a URL or an address that is refused: people write users, tokens and channels into them, and a
//! message goes far (terminals, the journal, every sink).

use crate::dial::Address;

/// What was found where a URL or an address should be: at most `scheme://host:port`, and which other parts there are.
/// A text whose host cannot be read is not shown at all, for nobody knows what it is.
pub fn seen(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let Some(parts) = Parts::of(text) else {
        return "a text without a readable host".to_owned();
    };
    let others = parts.others();
    match others.split_last() {
        None => format!("`{}`", parts.origin),
        Some((last, [])) => format!("`{}` with {last}", parts.origin),
        Some((last, rest)) => format!("`{}` with {} and {last}", parts.origin, rest.join(", ")),
    }
}

/// An address in a list of addresses or networks, quoted; what has other signs than these have is not shown.
pub fn plain(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '[' | ']' | '/' | '%' | '*' | '-' | '_');
    let is_plain = text.chars().all(good) && !text.contains("//");
    is_plain.then(|| format!("`{}`", super::problem::shown(text)))
}

/// A text whose host could be read.
struct Parts<'t> {
    /// `scheme://host:port`, as far as it is written.
    origin: String,
    has_user: bool,
    /// Path, query and fragment.
    tail: &'t str,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").map_or((None, text), |(s, rest)| (Some(s), rest));
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(u, h)| (Some(u), h));
        let parts = |origin| Self {
            origin,
            has_user: user.is_some(),
            tail,
        };
        // An `@` in the tail: what looks like a host is the beginning of a user.
        let is_host = |default_port| !tail.contains('@') && Address::parse(host, default_port).is_some();
        match scheme {
            Some(scheme) if is_scheme(scheme) && is_host(Some(1)) => Some(parts(format!("{scheme}://{host}"))),
            // A lone word may be anything; one with a port is a host.
            None if user.is_none() && tail.is_empty() && is_host(None) => Some(parts(host.to_owned())),
            _ => None,
        }
    }

    fn others(&self) -> Vec<&'static str> {
        let (before, fragment) = self
            .tail
            .split_once('#')
            .map_or((self.tail, None), |(b, f)| (b, Some(f)));
        let (path, query) = before.split_once('?').map_or((before, None), |(p, q)| (p, Some(q)));
        let parts = [
            (self.has_user, "a user"),
            (!matches!(path, "" | "/"), "a path"),
            (query.is_some(), "a query"),
            (fragment.is_some(), "a fragment"),
        ];
        parts
            .into_iter()
            .filter(|(there, _)| *there)
            .map(|(_, name)| name)
            .collect()
    }
}

/// Longest scheme that is shown.
const SCHEME_CHARS_MAX: usize = 12;

fn is_scheme(text: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(good) && text.len() <= SCHEME_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_a_url_scheme_host_and_port_are_shown_and_the_names_of_the_rest() {
        for (text, found) in [
            ("https://h:8088/?token=S", "`https://h:8088` with a query"),
            (
                "https://h:8088/x?channel=X#S",
                "`https://h:8088` with a path, a query and a fragment",
            ),
            (
                "https://u:S@[2001:db8::1]:8088",
                "`https://[2001:db8::1]:8088` with a user",
            ),
            ("ftp://hec.example/", "`ftp://hec.example`"),
            ("hec.example:8088", "`hec.example:8088`"),
            ("", "an empty text"),
        ] {
            assert_eq!(seen(text), found);
        }
    }

    #[test]
    fn what_does_not_parse_as_a_host_is_not_shown() {
        for text in [
            "Splunk S",
            "S",
            "user:S@host:514",
            "user@S:514",
            "https://user:S/w@host",
            "https://user:12/S@host",
            "https://S host/",
            "https://h:S/",
            "S S://host",
            "https:/S",
            "h:514/S",
            "host:S",
        ] {
            assert_eq!(seen(text), "a text without a readable host", "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_and_a_url_is_not() {
        assert_eq!(plain("[::1]:99999").as_deref(), Some("`[::1]:99999`"));
        for text in ["ssh://S", "u:S@0.0.0.0:22", "0.0.0.0:22?S", "S S"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_around_an_address_stay_hidden(before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
            for text in [format!("https://{before}hush@h:1/{after}"), format!("https://h:1/{before}?hush={after}#hush")] {
                prop_assert!(!seen(&text).contains("hush"), "{}", seen(&text));
            }
        }
    }
}
