//! What a peer chose, made so that no mail client turns it into something to click. Pure.
//!
//! Clients make links of what looks like one, also in plain text: URLs, hosts, addresses, and Outlook of `\\host\share`,
//! which gives a password hash to whoever it leads to. Brackets break the look and stay readable, as analysts write it.

/// Words that make a link with a colon alone.
const SCHEMES: &[&str] = &[
    "mailto",
    "tel",
    "sms",
    "sip",
    "javascript",
    "data",
    "file",
    "callto",
    "news",
    "xmpp",
];

/// `text` with brackets around the signs that make links: `hxxp[:]//evil[.]example`.
///
/// A version (`2.0`) or an address (`192.0.2.1`) has no letter after its dots and stays as it is.
pub(crate) fn defanged(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 16);
    for (at, c) in chars.iter().copied().enumerate() {
        let (before, after) = chars.split_at(at);
        let next = after.get(1).copied().unwrap_or(' ');
        let has_word = before.last().is_some_and(|last| !last.is_whitespace());
        match c {
            '.' if has_word && next.is_alphabetic() => out.push_str("[.]"),
            '@' if has_word && !next.is_whitespace() => out.push_str("[@]"),
            ':' if is_scheme(before, after) => {
                unhitch(&mut out);
                out.push_str("[:]");
            }
            '\\' if next == '\\' && !before.ends_with(&['\\']) => out.push_str("[\\]"),
            _ => out.push(c),
        }
    }
    out
}

/// Whether the colon after `before` ends a scheme.
fn is_scheme(before: &[char], after: &[char]) -> bool {
    if after.starts_with(&[':', '/', '/']) {
        return true;
    }
    let word: Vec<char> = before
        .iter()
        .rev()
        .take_while(|c| c.is_ascii_alphabetic())
        .copied()
        .collect();
    let word: String = word.iter().rev().map(char::to_ascii_lowercase).collect();
    SCHEMES.contains(&word.as_str())
}

/// `http` becomes `hxxp` at the end of what was written.
fn unhitch(out: &mut String) {
    for (word, harmless) in [("http", "hxxp"), ("https", "hxxps")] {
        let Some(at) = out.len().checked_sub(word.len()) else {
            continue;
        };
        if out.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(word)) {
            out.replace_range(at.., harmless);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_link_is_broken_and_readable() {
        for (text, harmless) in [
            ("http://evil.example/x.php?a=b", "hxxp[:]//evil[.]example/x[.]php?a=b"),
            ("HTTPS://203.0.113.7/x", "hxxps[:]//203.0.113.7/x"),
            ("${jndi:ldap://evil.example/a}", "${jndi:ldap[:]//evil[.]example/a}"),
            ("www.evil.example", "www[.]evil[.]example"),
            ("root@evil.example", "root[@]evil[.]example"),
            ("mailto:a@b", "mailto[:]a[@]b"),
            ("javascript:alert(1)", "javascript[:]alert(1)"),
            (r"\\evil\share", r"[\]\evil\share"),
            ("пример.рф", "пример[.]рф"),
        ] {
            assert_eq!(defanged(text), harmless);
        }
    }

    #[test]
    fn what_is_no_link_stays_as_it_is() {
        for text in [
            "root",
            "SSH-2.0-libssh_0.9.6",
            "192.0.2.1",
            "2001:db8::1",
            "a: b. C",
            "ls -la ./x",
            "@",
            r"a\x00b",
        ] {
            assert_eq!(defanged(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_peer_keep_no_scheme_host_or_address(
            text in "([a-z]{1,5}|[.@:/\\\\]| |http|//|mailto|www|\\PC){0,24}",
        ) {
            let harmless = defanged(&text);
            prop_assert!(!harmless.contains("://"), "{}", harmless);
            let chars: Vec<char> = harmless.chars().collect();
            for window in chars.windows(3) {
                prop_assert!(!(window[0].is_alphanumeric() && window[1] == '.' && window[2].is_alphabetic()), "{}", harmless);
                prop_assert!(!(window[0].is_alphanumeric() && window[1] == '@' && window[2].is_alphanumeric()), "{}", harmless);
            }
        }
    }
}
