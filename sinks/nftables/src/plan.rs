//! What the table is made of: names, kinds and sizes of its sets, and its chains.

use crate::Settings;
use crate::wire::numbers as nr;

/// A set of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Set {
    /// Hosts, each an element of a hash.
    Hosts4,
    /// The same for IPv6.
    Hosts6,
    /// IPv6 networks of 64 bits, by the masked address.
    Prefixes6,
    /// Other networks, as intervals.
    Nets4,
    /// The same for IPv6.
    Nets6,
    /// Whom the kernel has shut out by itself.
    Armed4,
    /// The same for IPv6.
    Armed6,
    /// Who finished a handshake with a decoy as far as connection tracking can tell: for moments.
    Pending4,
    /// The same for IPv6.
    Pending6,
    /// Whom it never shuts out.
    Allow4,
    /// The same for IPv6.
    Allow6,
    /// Decoys' sockets that have an address.
    Doors4,
    /// The same for IPv6.
    Doors6,
    /// Decoys' sockets on all addresses of the host.
    Ports4,
    /// The same for IPv6.
    Ports6,
}

impl Set {
    /// All that hold members.
    pub(crate) const MEMBERS: [Self; 7] = [
        Self::Hosts4,
        Self::Hosts6,
        Self::Prefixes6,
        Self::Nets4,
        Self::Nets6,
        Self::Armed4,
        Self::Armed6,
    ];
    /// Whom the kernel has shut out by itself.
    pub(crate) const ARMED: [Self; 2] = [Self::Armed4, Self::Armed6];
    /// Whom the kernel drops by itself.
    pub(crate) const BY_ITSELF: [Self; 4] = [Self::Armed4, Self::Armed6, Self::Pending4, Self::Pending6];
    /// What is there only when the kernel acts by itself, but for `ARMED`.
    pub(crate) const ARMS: [Self; 8] = [
        Self::Pending4,
        Self::Pending6,
        Self::Allow4,
        Self::Allow6,
        Self::Doors4,
        Self::Doors6,
        Self::Ports4,
        Self::Ports6,
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hosts4 => "hosts4",
            Self::Hosts6 => "hosts6",
            Self::Prefixes6 => "prefixes6",
            Self::Nets4 => "nets4",
            Self::Nets6 => "nets6",
            Self::Armed4 => "armed4",
            Self::Armed6 => "armed6",
            Self::Pending4 => "pending4",
            Self::Pending6 => "pending6",
            Self::Allow4 => "allow4",
            Self::Allow6 => "allow6",
            Self::Doors4 => "doors4",
            Self::Doors6 => "doors6",
            Self::Ports4 => "ports4",
            Self::Ports6 => "ports6",
        }
    }

    /// Whether it is about IPv4.
    pub(crate) const fn is_v4(self) -> bool {
        matches!(
            self,
            Self::Hosts4 | Self::Nets4 | Self::Armed4 | Self::Pending4 | Self::Allow4 | Self::Doors4 | Self::Ports4
        )
    }

    /// Whether its elements are intervals.
    pub(crate) const fn is_interval(self) -> bool {
        matches!(self, Self::Nets4 | Self::Nets6 | Self::Allow4 | Self::Allow6)
    }

    /// The kernel's flags.
    pub(crate) const fn flags(self) -> u32 {
        match self {
            Self::Allow4 | Self::Allow6 => nr::SET_F_INTERVAL,
            Self::Nets4 | Self::Nets6 => nr::SET_F_INTERVAL | nr::SET_F_TIMEOUT,
            Self::Armed4 | Self::Armed6 | Self::Pending4 | Self::Pending6 => nr::SET_F_TIMEOUT | nr::SET_F_EVAL,
            _ => nr::SET_F_TIMEOUT,
        }
    }

    /// Type of a key, as `nft` numbers it, and its bytes.
    pub(crate) const fn key(self) -> (u32, u32) {
        match self {
            Self::Doors4 => ((nr::TYPE_IPV4 << nr::TYPE_BITS) | nr::TYPE_SERVICE, 8),
            Self::Doors6 => ((nr::TYPE_IPV6 << nr::TYPE_BITS) | nr::TYPE_SERVICE, 20),
            Self::Ports4 | Self::Ports6 => (nr::TYPE_SERVICE, 2),
            _ if self.is_v4() => (nr::TYPE_IPV4, 4),
            _ => (nr::TYPE_IPV6, 16),
        }
    }
}

/// The chain that drops what members of the sets send.
pub(crate) const CHAIN_SHUT: &str = "shut_out";
/// The chain in which the kernel acts by itself, the one that it takes for a new member, and the one that sees the proof.
pub(crate) const CHAIN_ARMED: &str = "armed";
pub(crate) const CHAIN_ARM: &str = "arm";
pub(crate) const CHAIN_PROOF: &str = "proof";
/// `raw`: before connections are tracked, and for what is only forwarded too.
pub(crate) const PRIORITY_SHUT: i32 = -300;
/// Behind connection tracking (-200), before addresses are translated (-100).
pub(crate) const PRIORITY_ARMED: i32 = -140;

/// The table, as settings want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) table: String,
    /// Room in each set.
    pub(crate) members: u32,
    /// Whether an IPv6 /64 has a set of its own.
    pub(crate) masks: bool,
}

impl Plan {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            table: settings.table.clone(),
            members: u32::try_from(settings.members).unwrap_or(u32::MAX / 2),
            masks: settings.v6_prefix == 64,
        }
    }

    /// The sets that must be there.
    pub(crate) fn sets(&self) -> impl Iterator<Item = Set> {
        let masks = self.masks;
        let all = [Set::Hosts4, Set::Hosts6, Set::Prefixes6, Set::Nets4, Set::Nets6];
        all.into_iter().filter(move |set| masks || *set != Set::Prefixes6)
    }

    /// How many elements a set has room for. An interval has a begin and an end.
    pub(crate) const fn size(&self, set: Set) -> u32 {
        match set.is_interval() {
            true => self.members.saturating_mul(2),
            false => self.members,
        }
    }

    /// What a rule says of itself in listings; also how it is known to be ours.
    pub(crate) fn comments(&self) -> Vec<String> {
        self.sets().map(comment).collect()
    }
}

/// The comment of the rule that drops the members of a set.
pub(crate) fn comment(set: Set) -> String {
    format!("trapline: {}", set.name())
}
