//! Netlink as nf_tables speaks it: how messages are built and read. Knows no socket and no table.
//!
//! Layout: `nlmsghdr` (length, type, flags, sequence, port; 16 bytes, native byte order), `nfgenmsg` (family, version,
//! resource; 4 bytes, the last two big-endian), attributes (length and type, 2 bytes each, native; value; padded to 4).
//! Numbers in attributes of nf_tables are big-endian. An attribute, and so a nest of them, is shorter than 64 KiB.
//! Source: netlink(7), linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.

mod build;
pub(crate) mod numbers;
mod read;

pub(crate) use build::{Builder, Head};
pub(crate) use read::{Attributes, Message, messages};

/// Bytes of `nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `nfgenmsg`.
const GENERIC: usize = 4;
/// Bytes of an attribute's length and type.
const ATTRIBUTE: usize = 4;
/// Messages and attributes begin at multiples of this.
const ALIGN: usize = 4;
