//! What a resolver does when a trigger fits: always one CNAME, whose name is the policy.

use std::fmt;

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The name does not exist.
    Nxdomain,
    /// The name exists, but has nothing of what was asked for.
    Nodata,
    /// No answer at all.
    Drop,
    /// As if there were no policy; the resolver's log tells of it.
    Passthru,
    /// Asked over UDP: "ask over TCP", where a source cannot be forged.
    TcpOnly,
    /// The host of this name, which tells people why: small letters, without the dot at the end.
    Garden(Box<str>),
}

impl Policy {
    /// The words of `policy`.
    pub const WORDS: &[&str] = &["nxdomain", "nodata", "drop", "passthru", "tcp-only", "garden"];

    /// The policy of a word, but for a garden, which needs a name.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "nxdomain" => Self::Nxdomain,
            "nodata" => Self::Nodata,
            "drop" => Self::Drop,
            "passthru" => Self::Passthru,
            "tcp-only" => Self::TcpOnly,
            _ => return None,
        })
    }

    /// The policy of a CNAME's name: small letters, without the dot at the end; the root is the empty text.
    pub fn of_name(name: &str) -> Self {
        match name {
            "" => Self::Nxdomain,
            "*" => Self::Nodata,
            "rpz-drop" => Self::Drop,
            "rpz-passthru" => Self::Passthru,
            "rpz-tcp-only" => Self::TcpOnly,
            name => Self::Garden(name.into()),
        }
    }

    /// The CNAME's name, without the dot at the end.
    pub fn name(&self) -> &str {
        match self {
            Self::Nxdomain => "",
            Self::Nodata => "*",
            Self::Drop => "rpz-drop",
            Self::Passthru => "rpz-passthru",
            Self::TcpOnly => "rpz-tcp-only",
            Self::Garden(name) => name,
        }
    }
}

/// As in a zone file: an absolute name.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_the_names_that_resolvers_know() {
        for (word, name) in [
            ("nxdomain", "."),
            ("nodata", "*."),
            ("drop", "rpz-drop."),
            ("passthru", "rpz-passthru."),
            ("tcp-only", "rpz-tcp-only."),
        ] {
            let policy = Policy::of_word(word).unwrap();
            assert_eq!(policy.to_string(), name);
            assert_eq!(Policy::of_name(policy.name()), policy);
            assert!(Policy::WORDS.contains(&word));
        }
        let garden = Policy::of_name("garden.example");
        assert_eq!(garden.to_string(), "garden.example.");
        assert_eq!(Policy::of_word("garden"), None);
    }
}
