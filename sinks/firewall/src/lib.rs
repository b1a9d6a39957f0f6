//! Shuts sources out: the set sink whose verb is `block`.
//!
//! ```toml
//! [sinks.firewall]
//! type = "firewall"
//! backend = "auto"           # nftables | ipset | firewalld | fail2ban | windows
//! ```
//!
//! | backend | reached by | an entry ends | needs |
//! |---|---|---|---|
//! | `nftables` | netlink | in the kernel | CAP_NET_ADMIN |
//! | `ipset` | `ipset`, `iptables`, `ip6tables` | in the kernel | root |
//! | `firewalld` | `firewall-cmd` | while trapline runs | root, ipsets of `config/firewalld/` |
//! | `fail2ban` | `fail2ban-client` | in fail2ban | root, the jail of `config/fail2ban/` |
//! | `windows` | one PowerShell | while trapline runs | an administrator |
//!
//! In: what is decided, as addresses. Out: entries of sets, jails or rules that are trapline's own.
//!
//! Invariants, beside those of every set sink: 1. a program gets arguments and lines that stand in the code, come from the
//! checked configuration, or are parsed addresses written again. 2. While nothing may be changed, no set, rule or source is
//! made. 3. What somebody else removed comes back with the next comparison, what belongs to others is left alone.
//!
//! It does not decide, does not make what it needs survive a reboot, and does not install or start services.

mod entry;
mod fail2ban;
#[cfg(test)]
#[cfg(unix)]
mod fake;
mod firewalld;
mod ipset;
mod run;
mod settings;
mod sink;
mod windows;

pub use run::Programs;
pub use settings::{Kind, SINK, Settings};
