//! What a token opens: the API, or lists alone.
//!
//! A firewall's configuration is read by many, so what stands in it opens the list and nothing else.

use serde::{Deserialize, Serialize};

/// Lists that one token names at most.
pub const LISTS_MAX: usize = 64;
/// Longest name of a list, which is that of a sink.
const NAME_BYTES_MAX: usize = 64;
/// What stands for every list, in the file; no sink is called so.
const EVERY: &str = "*";

/// The lists that a token reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lists(Vec<String>);

impl Lists {
    /// Reads names, and `all`. Errors: the one that is no name of a list, or how many there are.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        if names.iter().any(|name| name == "all") {
            return Ok(Self(vec![EVERY.to_owned()]));
        }
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good);
        if let Some(bad) = names.iter().find(|name| !is_name(name)) {
            return Err(format!("`{bad}` is not a list: allowed are names of sinks, or `all`"));
        }
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        match names.len() {
            1..=LISTS_MAX => Ok(Self(names)),
            count => Err(format!("{count} lists, allowed are 1 to {LISTS_MAX}, or `all`")),
        }
    }

    /// Whether a list is among them.
    pub fn take(&self, list: &str) -> bool {
        self.0.iter().any(|name| name == EVERY || name == list)
    }
}

/// For people.
impl std::fmt::Display for Lists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.iter().any(|name| name == EVERY) {
            true => f.write_str("all lists"),
            false => f.write_str(&self.0.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(names: &[&str]) -> Result<Lists, String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Lists::parse(&names)
    }

    #[test]
    fn a_token_reads_the_lists_that_it_names_or_all() {
        let two = parse(&["inside", "edge", "edge"]).unwrap();
        assert_eq!(two.to_string(), "edge, inside");
        assert!(two.take("edge") && !two.take("other") && !two.take("*"));
        let all = parse(&["edge", "all"]).unwrap();
        assert_eq!(all.to_string(), "all lists");
        assert!(all.take("edge") && all.take("other"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [
            &[][..],
            &[""],
            &["Edge"],
            &["*"],
            &["edge.txt"],
            &["a\n"],
            &["edge", "é"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        let many: Vec<_> = (0..65).map(|number| format!("l{number}")).collect();
        assert!(Lists::parse(&many).unwrap_err().contains("65 lists"));
    }
}
