//! Expressions of rules. Each helper appends one; a rule is what they say together, left to right.

use crate::plan::Set;
use crate::wire::{Builder, numbers as nr};

/// Expressions of one rule.
pub(crate) struct Expressions<'b>(&'b mut Builder);

/// An end of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// Writes a rule: in which chain, what it says of itself, what it does.
pub(crate) fn rule(b: &mut Builder, table: &str, chain: &str, comment: &str, fill: impl FnOnce(&mut Expressions<'_>)) {
    b.text(nr::RULE_TABLE, table);
    b.text(nr::RULE_CHAIN, chain);
    b.nest(nr::RULE_EXPRESSIONS, |b| fill(&mut Expressions(b)));
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut data = vec![nr::UDATA_COMMENT, length];
    data.extend(comment.as_bytes());
    data.push(0);
    b.raw(nr::RULE_USERDATA, &data);
}

/// NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const PROTOCOL_TCP: u8 = 6;
/// NFT_META_NFPROTO, NFT_META_L4PROTO.
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;
/// NFT_CT_STATE, NFT_CT_DIRECTION, NFT_CT_STATUS.
const CT_STATE: u32 = 0;
const CT_DIRECTION: u32 = 1;
const CT_STATUS: u32 = 2;
/// NF_CT_STATE_BIT(IP_CT_ESTABLISHED).
const ESTABLISHED: u32 = 1 << 1;
/// IPS_ASSURED.
const ASSURED: u32 = 1 << 2;
const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;
/// The flags of TCP that matter.
const SYN_RST_ACK: u8 = 0x16;
const ACK: u8 = 0x10;
const SYN_RST: u8 = 0x06;
const FIN_PSH: u8 = 0x09;
/// NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR, RTN_LOCAL.
const FIB_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
const LOCAL: u32 = 2;

impl Expressions<'_> {
    fn one(&mut self, name: &str, fill: impl FnOnce(&mut Builder)) -> &mut Self {
        self.0.nest(nr::LIST_ELEM, |b| {
            b.text(nr::EXPR_NAME, name);
            b.nest(nr::EXPR_DATA, fill);
        });
        self
    }

    fn load_meta(&mut self, key: u32) -> &mut Self {
        self.one("meta", |b| {
            b.u32(1, nr::REG_1);
            b.u32(2, key);
        })
    }

    fn load_payload(&mut self, register: u32, base: u32, offset: u32, length: u32) -> &mut Self {
        self.one("payload", |b| {
            b.u32(1, register);
            b.u32(2, base);
            b.u32(3, offset);
            b.u32(4, length);
        })
    }

    fn load_ct(&mut self, key: u32) -> &mut Self {
        self.one("ct", |b| {
            b.u32(1, nr::REG_1);
            b.u32(2, key);
        })
    }

    fn compare(&mut self, operator: u32, value: &[u8]) -> &mut Self {
        self.one("cmp", |b| {
            b.u32(1, nr::REG_1);
            b.u32(2, operator);
            b.nest(3, |b| b.raw(nr::DATA_VALUE, value));
        })
    }

    fn mask(&mut self, mask: &[u8]) -> &mut Self {
        let zeros = vec![0; mask.len()];
        self.one("bitwise", |b| {
            b.u32(1, nr::REG_1);
            b.u32(2, nr::REG_1);
            b.u32(3, u32::try_from(mask.len()).unwrap_or_default());
            b.nest(4, |b| b.raw(nr::DATA_VALUE, mask));
            b.nest(5, |b| b.raw(nr::DATA_VALUE, &zeros));
        })
    }

    fn look_up(&mut self, set: Set, register: u32, is_absent: bool) -> &mut Self {
        self.one("lookup", |b| {
            b.text(1, set.name());
            b.u32(2, register);
            // NFT_LOOKUP_F_INV.
            b.u32(5, u32::from(is_absent));
        })
    }

    /// The packet is of the family of a set.
    pub(crate) fn is_family_of(&mut self, set: Set) -> &mut Self {
        let family = match set.is_v4() {
            true => nr::PROTO_IPV4,
            false => nr::PROTO_IPV6,
        };
        self.load_meta(META_FAMILY).compare(EQUAL, &[family])
    }

    /// An address of the family of a set, into a register.
    fn load_address(&mut self, set: Set, end: End, register: u32) -> &mut Self {
        let (offset, length) = match (set.is_v4(), end) {
            (true, End::Source) => (12, 4),
            (true, End::Destination) => (16, 4),
            (false, End::Source) => (8, 16),
            (false, End::Destination) => (24, 16),
        };
        self.load_payload(register, NETWORK, offset, length)
    }

    fn load_source(&mut self, set: Set) -> &mut Self {
        self.load_address(set, End::Source, nr::REG_1)
    }

    /// Its source, masked if the set is of masked ones, is in a set.
    pub(crate) fn source_in(&mut self, set: Set) -> &mut Self {
        self.load_source(set);
        if set == Set::Prefixes6 {
            self.mask(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        self.look_up(set, nr::REG_1, false)
    }

    /// Its source is not in a set.
    pub(crate) fn source_not_in(&mut self, set: Set) -> &mut Self {
        self.load_source(set).look_up(set, nr::REG_1, true)
    }

    /// It is TCP and goes to a decoy's socket: one of a set of addresses and ports, or of ports of this very host.
    pub(crate) fn goes_to(&mut self, doors: Set) -> &mut Self {
        self.is_at(doors, End::Destination)
    }

    /// It is TCP and comes from a decoy's socket; only where what this host sends passes.
    pub(crate) fn comes_from(&mut self, doors: Set) -> &mut Self {
        self.is_at(doors, End::Source)
    }

    fn is_at(&mut self, doors: Set, end: End) -> &mut Self {
        self.load_meta(META_PROTOCOL).compare(EQUAL, &[PROTOCOL_TCP]);
        let register = match doors {
            Set::Doors4 => nr::REG32_00 + 1,
            Set::Doors6 => nr::REG32_00 + 4,
            _ => nr::REG_1,
        };
        match (register, end) {
            (nr::REG_1, End::Destination) => self.is_local(),
            (nr::REG_1, End::Source) => self,
            _ => self.load_address(doors, end, nr::REG32_00),
        };
        let offset = match end {
            End::Source => 0,
            End::Destination => 2,
        };
        self.load_payload(register, TRANSPORT, offset, 2)
            .look_up(doors, nr::REG_1, false)
    }

    fn is_local(&mut self) -> &mut Self {
        self.one("fib", |b| {
            b.u32(1, nr::REG_1);
            b.u32(2, FIB_TYPE);
            b.u32(3, FIB_DESTINATION);
        })
        .compare(EQUAL, &LOCAL.to_ne_bytes())
    }

    /// Its connection has been answered.
    pub(crate) fn is_established(&mut self) -> &mut Self {
        self.load_ct(CT_STATE)
            .mask(&ESTABLISHED.to_ne_bytes())
            .compare(UNEQUAL, &[0; 4])
    }

    /// It comes from who began the connection, and takes part in it, with numbers that connection tracking finds right: a
    /// host that answers what another sent in its name does so with RST.
    pub(crate) fn goes_on(&mut self) -> &mut Self {
        self.load_ct(CT_DIRECTION)
            .compare(EQUAL, &[ORIGINAL])
            .load_flags(SYN_RST_ACK)
            .compare(EQUAL, &[ACK])
            .load_ct(CT_STATUS)
            .mask(&ASSURED.to_ne_bytes())
            .compare(UNEQUAL, &[0; 4])
    }

    /// It is an answer that the kernel sends for a connection alone whose handshake is finished: with data, or its end.
    pub(crate) fn proves(&mut self) -> &mut Self {
        self.load_ct(CT_DIRECTION)
            .compare(EQUAL, &[REPLY])
            .load_flags(SYN_RST)
            .compare(EQUAL, &[0])
            .load_flags(FIN_PSH)
            .compare(UNEQUAL, &[0])
    }

    fn load_flags(&mut self, of: u8) -> &mut Self {
        self.load_payload(nr::REG_1, TRANSPORT, 13, 1).mask(&[of])
    }

    /// More of them come than `rate` in `seconds`, once `burst` are used up.
    pub(crate) fn is_over(&mut self, rate: u64, seconds: u64, burst: u32) -> &mut Self {
        self.one("limit", |b| {
            b.u64(1, rate);
            b.u64(2, seconds);
            b.u32(3, burst);
            // NFT_LIMIT_PKTS, NFT_LIMIT_F_INV.
            b.u32(4, 0);
            b.u32(5, 1);
        })
    }

    /// Its destination is in a set, or is not.
    pub(crate) fn destination_in(&mut self, set: Set, is_in: bool) -> &mut Self {
        self.load_address(set, End::Destination, nr::REG_1)
            .look_up(set, nr::REG_1, !is_in)
    }

    /// Puts an address of it into a set, with an end.
    pub(crate) fn add(&mut self, end: End, set: Set, ttl_ms: u64) -> &mut Self {
        self.load_address(set, end, nr::REG_1).one("dynset", |b| {
            b.text(1, set.name());
            // NFT_DYNSET_OP_ADD.
            b.u32(3, 0);
            b.u32(4, nr::REG_1);
            b.u64(6, ttl_ms);
        })
    }

    /// Counts it.
    pub(crate) fn count(&mut self) -> &mut Self {
        self.one("counter", |_| {})
    }

    /// Ends in a verdict.
    pub(crate) fn end(&mut self, verdict: u32) {
        self.verdict(verdict, None);
    }

    /// Goes on in another chain.
    pub(crate) fn jump(&mut self, chain: &str) {
        self.verdict(nr::VERDICT_JUMP, Some(chain));
    }

    fn verdict(&mut self, verdict: u32, chain: Option<&str>) {
        self.one("immediate", |b| {
            b.u32(1, nr::REG_VERDICT);
            b.nest(2, |b| {
                b.nest(nr::DATA_VERDICT, |b| {
                    b.u32(nr::VERDICT_CODE, verdict);
                    if let Some(chain) = chain {
                        b.text(nr::VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }
}
