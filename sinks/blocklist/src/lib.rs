//! Blocklists: the addresses that are acted on, as documents that firewalls come for.
//!
//! ```toml
//! [sinks.edge]
//! type = "blocklist"
//! # scope = "inside"          # default "outside"; a list of inside hosts is a sink of its own
//! # family = "v4"             # default "both"; `edge.v4.txt` and `edge.v6.txt` are there besides
//! # entries_max = 50000       # a firewall skips what is over its cap: the gravest come first
//! # expect_every = "15m"      # an alarm when a firewall stays away
//! # path = "edge.txt"         # also a file, for a web server of one's own
//! ```
//!
//! In: members and their ends. Out: documents on the [`Shelf`](trapline_sink::published::Shelf), from which `[web]` hands
//! them out: `/lists/edge.txt` as Palo Alto (external dynamic list), Fortinet (external threat feed), pfSense and
//! OPNsense (URL table) read it, and `/lists/edge.stix.json`, a bundle of STIX 2.1 indicators.
//!
//! Invariants:
//! 1. A line is an address or a network that was parsed and is written anew, and with `comments` the name of a rule in
//!    printable ASCII. No byte of a peer is on a list.
//! 2. A list for outside holds no address that is not routed on the internet, and none of the zones that are inside,
//!    whatever it is told. A list for inside holds no other.
//! 3. No list is empty: some firewalls take an empty file for a fault, so an address of the documentation's stands alone.
//! 4. Before all that is wanted has stood once ([`settled`](trapline_sink::set::SetSink::settled)) there is no list, and a
//!    file of the last run stays as it was: half a list would let in who was shut out.
//! 5. Same members, same bytes, same tag. Of more members than `entries_max` the gravest are on the list, and `status`
//!    says how many are not.
//! 6. An indicator keeps its id as long as its decision stands; one that was lifted before its time is told as revoked.
//!
//! 7. A member whose time is over leaves the list by itself. A firewall that cannot reach us keeps the list it has.
//!
//! It does not: listen, judge tokens, know who may read a list: that is `[web]`'s.
//!
//! Source: PAN-OS, "Formatting Guidelines for an External Dynamic List"; FortiOS, "External feeds"; OPNsense, "Aliases";
//! OASIS, "STIX Version 2.1" sections 2.9, 3.2, 4.7, 8 and 9.

mod cast;
mod config;
mod file;
mod guard;
mod report;
mod roll;
mod sink;
mod stix;
mod text;

pub use config::SINK;
