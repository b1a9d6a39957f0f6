//! RPZ: what a company's resolvers answer to a source, or about it, is policed (DNS response policy zones).
//!
//! ```toml
//! [sinks.sinkhole]
//! type = "rpz"
//! server = "192.0.2.53"          # primary of the zone; takes updates (RFC 2136), over TCP, signed (RFC 8945)
//! zone = "rpz.example"
//! tsig = { name = "trapline", algorithm = "hmac-sha256", secret = "${TSIG_SECRET}" }
//! triggers = ["client-ip", "ip"] # default: inside hosts get no answers, names that lead to outside ones do not resolve
//! policy = "nxdomain"            # default; nodata | drop | passthru | tcp-only | garden
//! forwarders = ["10.0.0.53"]     # who asks for many is never cut off
//! probe = { resolver = "192.0.2.54" }
//! ```
//!
//! Or `path` in the place of `server`: a zone file, written as a whole.
//!
//! On the server (BIND):
//!
//! ```text
//! key "trapline" { algorithm hmac-sha256; secret "…"; };                          # tsig-keygen -a hmac-sha256 trapline
//! zone "rpz.example" { type primary; file "rpz.example.db"; update-policy { grant trapline zonesub ANY; };
//!                      allow-transfer { key trapline; }; allow-query { key trapline; localhost; }; };
//! options { response-policy { zone "rpz.example"; } qname-wait-recurse no break-dnssec yes min-update-interval 1; };
//! ```
//!
//! A resolver that gets the zone from there must get it as a whole: Unbound (1.17.1) takes client-ip triggers over from an
//! IXFR, but does not let go of those that an IXFR removes, and would cut a host off until it is restarted. `provide-ixfr
//! no;` in BIND's zone or `server` clause, `provide-ixfr: off` in Knot's zone, see to it; BIND itself has no such fault.
//!
//! In: what is decided about addresses. Out: for each one CNAME below the zone, and beside it a mark, a TXT at
//! `TRIGGER.OBSERVER._trapline.ZONE` that names decision, end and policy.
//!
//! Invariants: 1. names are made of a parsed address alone, in the one spelling that BIND does not silently ignore; the
//! zone itself, its SOA and NS are never written. 2. Only what a mark of this observer explains is listed or changed; of
//! what another observer wants as well, only the own mark is taken. What somebody changed by hand is theirs. 3. An update
//! is made only under the condition that what it replaces is still as it was read. 4. Every message is signed and every
//! answer verified; NOERROR without a signature that holds is a failure. 5. While nobody knows whether an update was
//! made, the zone is read again before the next one. 6. Those that ask for many (`forwarders`, the servers themselves,
//! networks that somebody else lets pass) never get a client-ip trigger.
//!
//! A record has no end: it goes when the decision's time is up, and one that was left over goes when the zone is next
//! compared. It does not: run commands, sign the zone, write names that a peer chose (QNAME triggers), or manage the
//! server.

mod answer;
mod config;
mod file;
mod keys;
mod ledger;
mod link;
mod mark;
mod plan;
mod policy;
mod probe;
mod records;
mod rules;
mod sink;
mod trigger;
mod update;
mod zone;
mod zonefile;

pub use config::SINK;
