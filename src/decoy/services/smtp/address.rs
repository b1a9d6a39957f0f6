//! Addresses as mail commands carry them. Pure.
//!
//! Source: RFC 5321 sections 4.1.1.2, 4.1.2 and appendix C (source routes, which are left out).

/// An argument of MAIL or RCPT, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    /// The address, without brackets, route and quotes.
    pub(super) address: Vec<u8>,
    /// Where its domain begins; `None`: it has none.
    at: Option<usize>,
    /// What follows it.
    pub(super) rest: Vec<u8>,
}

impl Path {
    /// Reads an argument. `None`: it is no address. An empty one is good: it is the sender of bounces.
    pub(super) fn read(argument: &[u8]) -> Option<Self> {
        let argument = argument.trim_ascii_start();
        let (inner, rest) = match argument.strip_prefix(b"<") {
            Some(inner) => {
                let end = find(inner, b'>')?;
                (inner.get(..end)?, inner.get(end + 1..)?)
            }
            None => argument.split_at(find(argument, b' ').unwrap_or(argument.len())),
        };
        let (address, at) = plain(route_free(inner)?)?;
        Some(Self {
            address,
            at,
            rest: rest.trim_ascii().to_vec(),
        })
    }

    /// What is before the domain.
    pub(super) fn local(&self) -> &[u8] {
        let end = self.at.map_or(self.address.len(), |at| at - 1);
        self.address.get(..end).unwrap_or_default()
    }

    /// What is behind the `@`.
    pub(super) fn domain(&self) -> Option<&[u8]> {
        self.address.get(self.at?..)
    }

    /// The words that follow the address.
    pub(super) fn options(&self) -> impl Iterator<Item = &[u8]> {
        let words = self.rest.split(|byte| *byte == b' ' || *byte == b'\t');
        words.filter(|word| !word.is_empty())
    }
}

/// Where a byte is that is in no quotes.
fn find(text: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        let found = *byte == wanted && !quoted && !escaped;
        quoted ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        found
    })
}

/// What follows a source route.
fn route_free(inner: &[u8]) -> Option<&[u8]> {
    if !inner.starts_with(b"@") {
        return Some(inner);
    }
    inner.get(find(inner, b':')? + 1..)
}

/// An address without quotes, and where its domain begins. `None`: it has blanks or control characters, or an end that
/// is missing.
fn plain(inner: &[u8]) -> Option<(Vec<u8>, Option<usize>)> {
    let mut address = Vec::with_capacity(inner.len());
    let (mut quoted, mut escaped, mut at) = (false, false, None);
    for byte in inner {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => {
                escaped = true;
                continue;
            }
            b'"' => {
                quoted = !quoted;
                continue;
            }
            b'@' if !quoted => at = Some(address.len() + 1),
            b'<' | b'>' if !quoted => return None,
            b' ' | b'\t' if !quoted => return None,
            byte if byte.is_ascii_control() => return None,
            _ => {}
        }
        address.push(*byte);
    }
    let whole = at.is_none_or(|at| at > 1 && at < address.len());
    (whole && !quoted && !escaped).then_some((address, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(argument: &str) -> Option<(String, Option<String>, String)> {
        let path = Path::read(argument.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(path.local()), path.domain().map(text), text(&path.rest)))
    }

    #[test]
    fn an_address_is_taken_out_of_brackets_routes_and_quotes() {
        let of = |local: &str, domain: &str, rest: &str| Some((local.into(), Some(domain.into()), rest.into()));
        assert_eq!(
            read(" <a@b.cc> SIZE=1  BODY=7BIT "),
            of("a", "b.cc", "SIZE=1  BODY=7BIT")
        );
        assert_eq!(read("x@y.zz"), of("x", "y.zz", ""));
        assert_eq!(read("<@a,@b:x@y.zz>"), of("x", "y.zz", ""));
        assert_eq!(read("<\"a b\"@y.zz>"), of("a b", "y.zz", ""));
        assert_eq!(read("<\"a@b>\"@y.zz>"), of("a@b>", "y.zz", ""));
        assert_eq!(read("<root>"), Some(("root".into(), None, String::new())));
        assert_eq!(read("<>"), Some((String::new(), None, String::new())));
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "<a",
            "<a b@c.d>",
            "<a@>",
            "<@b>",
            "<a\0@b>",
            "<\"a@b>",
            "<@a@b>",
            "<a@b<c>",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_address_or_none(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"<>@\"\\: a".to_vec())], 0..40)) {
            if let Some(path) = Path::read(&bytes) {
                prop_assert!(path.address.len() <= bytes.len());
                prop_assert!(path.local().len() <= path.address.len());
                prop_assert_eq!(path.domain().is_some(), path.local().len() < path.address.len());
            }
        }
    }
}
