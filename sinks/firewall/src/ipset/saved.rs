//! What `ipset save` says.

use ipnet::IpNet;
use trapline_schemas::text::clean_within;
use trapline_sink::set::Target;
use trapline_sink::{Fault, FaultKind};

use crate::entry::{Entry, entry};

/// What `ipset save` says of one set.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct Saved {
    /// The words after the name: type, family and so on.
    form: Vec<String>,
    pub maxelem: Option<usize>,
    /// Seconds left; 0: it never ends.
    pub entries: Vec<(Target, u64)>,
    /// What nobody of us put there: too wide, or an exception.
    pub foreign: Vec<IpNet>,
}

impl Saved {
    /// Reads the answer. Errors: a line of this set that has no address, or one that is none of a set.
    pub fn read(text: &str, set: &str) -> Result<Self, Fault> {
        let mut saved = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                [] => {}
                ["create", name, form @ ..] if *name == set => saved.head(form),
                ["add", name, element, options @ ..] if *name == set => saved.add(element, options)?,
                _ => return Err(unreadable(line)),
            }
        }
        Ok(saved)
    }

    fn head(&mut self, form: &[&str]) {
        self.form = form.iter().map(|&word| word.to_owned()).collect();
        self.maxelem = self.value("maxelem").and_then(|count| count.parse().ok());
    }

    /// The word after `name` in the form.
    fn value(&self, name: &str) -> Option<&str> {
        let at = self.form.iter().position(|word| word == name)?;
        self.form.get(at.saturating_add(1)).map(String::as_str)
    }

    /// Whether it is of this kind, for this family (as `ipset` calls it), with timeouts.
    pub fn is_form(&self, kind: &str, family: &str) -> bool {
        let is_kind = self.form.first().is_some_and(|word| word == kind);
        is_kind && self.value("family") == Some(family) && self.value("timeout").is_some()
    }

    fn add(&mut self, element: &str, options: &[&str]) -> Result<(), Fault> {
        let secs = match options {
            [] => Some(0),
            ["timeout", secs] => secs.parse().ok(),
            // Such as `nomatch`, which lets somebody through.
            _ => None,
        };
        match (entry(element), secs) {
            (Entry::Target(target), Some(secs)) => self.entries.push((target, secs)),
            (Entry::Target(target), None) => self.foreign.push(target.net()),
            (Entry::Wide(net), _) => self.foreign.push(net),
            (Entry::Unreadable, _) => return Err(unreadable(element)),
        }
        Ok(())
    }
}

fn unreadable(text: &str) -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: format!(
            "`ipset save` said what is no entry: `{}`",
            clean_within(text.as_bytes(), 80)
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAVED: &str = "create t-v4 hash:net family inet hashsize 1024 maxelem 20 timeout 3600 bucketsize 12 initval 0xe0\n\
        add t-v4 203.0.113.7 timeout 99\nadd t-v4 203.0.113.0/24 timeout 0\nadd t-v4 10.0.0.0/8 timeout 5\n\
        add t-v4 198.51.100.1 timeout 5 nomatch\n";

    #[test]
    fn a_set_is_read_with_its_form_and_what_cannot_be_ours_apart() {
        let saved = Saved::read(SAVED, "t-v4").unwrap();
        assert!(
            saved.is_form("hash:net", "inet")
                && !saved.is_form("hash:net", "inet6")
                && !saved.is_form("hash:ip", "inet")
        );
        assert_eq!(saved.maxelem, Some(20));
        let shown: Vec<_> = saved
            .entries
            .iter()
            .map(|(target, secs)| format!("{target} {secs}"))
            .collect();
        assert_eq!(shown, ["203.0.113.7 99", "203.0.113.0/24 0"]);
        let foreign: Vec<_> = saved.foreign.iter().map(ToString::to_string).collect();
        assert_eq!(foreign, ["10.0.0.0/8", "198.51.100.1/32"]);
    }

    #[test]
    fn a_line_of_another_set_or_without_an_address_is_a_fault() {
        for text in ["add other 203.0.113.7\n", "add t-v4 somebody timeout 5\n", "what\n"] {
            assert!(Saved::read(text, "t-v4").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_ipset_are_a_set_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Saved::read(&String::from_utf8_lossy(&bytes), "t-v4");
        }

        #[test]
        fn any_bytes_within_a_set_are_entries_or_a_fault(element in "[ -~]{0,30}", options in "[ a-z0-9]{0,20}") {
            let text = format!("{SAVED}add t-v4 {element} {options}\n");
            if let Ok(saved) = Saved::read(&text, "t-v4") {
                prop_assert!(saved.entries.len() + saved.foreign.len() <= 5);
            }
        }
    }
}
