//! The list as firewalls read it: one address or network a line, each line ended by LF, nothing else.
//!
//! Palo Alto takes a comment only behind an address, Fortinet documents one only on a line of its own, and both count
//! lines: so there is none unless it is asked for, and then behind the address.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use trapline_sink::published::{Body, Document};
use trapline_sink::set::Target;

use crate::roll::Entry;

/// Media type of the lists.
pub(crate) const KIND: &str = "text/plain; charset=utf-8";

/// Which addresses are on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Both,
    V4,
    V6,
}

impl Family {
    /// By the word in `family`.
    pub(crate) fn find(word: &str) -> Self {
        match word {
            "v4" => Self::V4,
            "v6" => Self::V6,
            _ => Self::Both,
        }
    }

    pub(crate) const fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// How a list is written.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) family: Family,
    /// Most lines.
    pub(crate) entries_max: usize,
    /// Whether the reason stands behind the address.
    pub(crate) comments: bool,
    /// What stands on an empty list.
    pub(crate) v4: Ipv4Addr,
    /// The same for a list of IPv6.
    pub(crate) v6: Ipv6Addr,
}

/// A list, and how many found no room on it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) left_out: usize,
}

/// Writes the list of one family. In: entries in their order.
pub(crate) fn write(entries: &[Arc<Entry>], family: Family, layout: &Layout) -> Written {
    let of_family = || entries.iter().filter(|entry| family.takes(entry.target.address()));
    let count = of_family().count();
    let mut text = String::with_capacity(count.min(layout.entries_max) * LINE_BYTES);
    for entry in of_family().take(layout.entries_max) {
        // Writing to a string does not fail.
        let _ = match layout.comments {
            true => writeln!(text, "{} #{}", entry.target, entry.reason),
            false => writeln!(text, "{}", entry.target),
        };
    }
    if text.is_empty() {
        text = placeholder(family, layout);
    }
    Written {
        text,
        left_out: count.saturating_sub(layout.entries_max),
    }
}

/// Reads a list back: who stands on it.
pub(crate) fn read(document: &Document, layout: &Layout) -> Vec<Target> {
    let Body::Whole(bytes) = &document.body else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(bytes);
    if text == placeholder(layout.family, layout) {
        return Vec::new();
    }
    let words = text.lines().filter_map(|line| line.split(' ').next());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// A guess at a line.
const LINE_BYTES: usize = 20;

fn placeholder(family: Family, layout: &Layout) -> String {
    match family {
        Family::V6 => format!("{}\n", layout.v6),
        Family::V4 | Family::Both => format!("{}\n", layout.v4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_sink::set::Member;

    use super::*;
    use crate::roll::Roll;
    use crate::roll::tests::{NOW, member};

    fn layout() -> Layout {
        Layout {
            family: Family::Both,
            entries_max: 100,
            comments: false,
            v4: [192, 0, 2, 1].into(),
            v6: "2001:db8::1".parse().unwrap(),
        }
    }

    fn entries(members: &[Member]) -> Vec<Arc<Entry>> {
        let mut roll = Roll::default();
        members.iter().for_each(|member| roll.put(member, NOW));
        roll.ranked()
    }

    fn mixed() -> Vec<Arc<Entry>> {
        entries(&[
            member("203.0.113.7", 50),
            member("2001:db8::7", 60),
            member("198.51.100.0/24", 70),
            member("2001:db8:7::/48", 40),
        ])
    }

    #[test]
    fn a_list_is_one_target_a_line_and_each_family_has_its_own() {
        let text = |family| write(&mixed(), family, &layout()).text;
        assert_eq!(
            text(Family::Both),
            "198.51.100.0/24\n2001:db8::7\n203.0.113.7\n2001:db8:7::/48\n"
        );
        assert_eq!(text(Family::V4), "198.51.100.0/24\n203.0.113.7\n");
        assert_eq!(text(Family::V6), "2001:db8::7\n2001:db8:7::/48\n");
    }

    #[test]
    fn an_empty_list_holds_an_address_of_the_documentation() {
        let text = |family| write(&[], family, &layout()).text;
        assert_eq!(text(Family::Both), "192.0.2.1\n");
        assert_eq!(text(Family::V4), "192.0.2.1\n");
        assert_eq!(text(Family::V6), "2001:db8::1\n");
    }

    #[test]
    fn over_the_cap_the_gravest_stay_and_the_rest_is_counted_for_each_list() {
        let layout = Layout {
            entries_max: 1,
            ..layout()
        };
        let both = write(&mixed(), Family::Both, &layout);
        assert_eq!((both.text.as_str(), both.left_out), ("198.51.100.0/24\n", 3));
        let v6 = write(&mixed(), Family::V6, &layout);
        assert_eq!((v6.text.as_str(), v6.left_out), ("2001:db8::7\n", 1));
    }

    #[test]
    fn a_comment_stands_behind_its_address_and_makes_no_line() {
        let hostile = Member {
            reason: "a\r\n8.8.8.8\n#\u{2028}<b>".into(),
            ..member("203.0.113.7", 50)
        };
        let layout = Layout {
            comments: true,
            ..layout()
        };
        assert_eq!(
            write(&entries(&[hostile]), Family::Both, &layout).text,
            "203.0.113.7 #a8.8.8.8#<b>\n"
        );
        assert_eq!(write(&[], Family::Both, &layout).text, "192.0.2.1\n");
    }

    proptest! {
        #[test]
        fn every_line_reads_back_as_the_target_that_it_was(bits in prop::collection::vec(any::<(u32, u8)>(), 0..40)) {
            let members: Vec<_> = bits.iter().map(|(bits, gravity)| Member {
                target: Target::around(IpAddr::V4(Ipv4Addr::from_bits(*bits)), 24 + gravity % 9),
                ..member("203.0.113.1", *gravity)
            }).collect();
            let entries = entries(&members);
            let written = write(&entries, Family::Both, &layout());
            prop_assert!(written.text.ends_with('\n'));
            let read: Vec<Target> = written.text.lines().map(|line| line.parse().unwrap()).collect();
            let put: Vec<_> = entries.iter().map(|entry| entry.target).collect();
            prop_assert!(entries.is_empty() || read == put);
            let document = Document::whole(KIND, written.text);
            prop_assert_eq!(super::read(&document, &layout()), put);
        }
    }
}
