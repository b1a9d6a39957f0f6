//! Shuts sources out by the kernel's own packet filter, over netlink and without a program.

mod settings;
mod sink;

pub use settings::{MEMBERS_MAX, Settings, TABLE_CHARS_MAX};
pub use sink::Nftables;
