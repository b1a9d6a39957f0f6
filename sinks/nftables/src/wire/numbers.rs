//! The kernel's numbers, by the names of its headers without their prefixes.

// linux/netlink.h
pub(crate) const F_REQUEST: u16 = 0x1;
pub(crate) const F_ACK: u16 = 0x4;
pub(crate) const F_DUMP_INTR: u16 = 0x10;
pub(crate) const F_DUMP: u16 = 0x300;
pub(crate) const F_CREATE: u16 = 0x400;
pub(crate) const F_APPEND: u16 = 0x800;
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;
/// NLMSG_OVERRUN: data was lost.
pub(crate) const OVERRUN: u16 = 4;

// linux/netfilter/nfnetlink.h
pub(crate) const BATCH_BEGIN: u16 = 0x10;
pub(crate) const BATCH_END: u16 = 0x11;
pub(crate) const SUBSYS_NFTABLES: u16 = 10;
/// NFNLGRP_NFTABLES as a bit of a socket's groups.
pub(crate) const GROUP_NFTABLES: u32 = 1 << 6;

// linux/netfilter.h
pub(crate) const PROTO_UNSPEC: u8 = 0;
pub(crate) const PROTO_INET: u8 = 1;
pub(crate) const PROTO_IPV4: u8 = 2;
pub(crate) const PROTO_IPV6: u8 = 10;
pub(crate) const HOOK_PREROUTING: u32 = 0;
pub(crate) const HOOK_OUTPUT: u32 = 3;
pub(crate) const VERDICT_DROP: u32 = 0;
pub(crate) const VERDICT_ACCEPT: u32 = 1;
/// NFT_JUMP (-3) and NFT_RETURN (-5).
pub(crate) const VERDICT_JUMP: u32 = -3_i32 as u32;
pub(crate) const VERDICT_RETURN: u32 = -5_i32 as u32;

// linux/netfilter/nf_tables.h: messages
pub(crate) const NEWTABLE: u16 = 0;
pub(crate) const GETTABLE: u16 = 1;
pub(crate) const DELTABLE: u16 = 2;
pub(crate) const NEWCHAIN: u16 = 3;
pub(crate) const GETCHAIN: u16 = 4;
pub(crate) const NEWRULE: u16 = 6;
pub(crate) const GETRULE: u16 = 7;
pub(crate) const DELRULE: u16 = 8;
pub(crate) const NEWSET: u16 = 9;
pub(crate) const GETSET: u16 = 10;
pub(crate) const DELSET: u16 = 11;
pub(crate) const NEWSETELEM: u16 = 12;
pub(crate) const GETSETELEM: u16 = 13;
pub(crate) const DELSETELEM: u16 = 14;
pub(crate) const NEWGEN: u16 = 15;
pub(crate) const DESTROYSETELEM: u16 = 30;

// Tables
pub(crate) const TABLE_NAME: u16 = 1;
pub(crate) const TABLE_FLAGS: u16 = 2;
pub(crate) const TABLE_OWNER: u16 = 7;
pub(crate) const TABLE_F_DORMANT: u32 = 1;
pub(crate) const TABLE_F_OWNER: u32 = 2;
pub(crate) const TABLE_F_PERSIST: u32 = 4;

// Chains
pub(crate) const CHAIN_TABLE: u16 = 1;
pub(crate) const CHAIN_NAME: u16 = 3;
pub(crate) const CHAIN_HOOK: u16 = 4;
pub(crate) const CHAIN_POLICY: u16 = 5;
pub(crate) const CHAIN_TYPE: u16 = 7;
pub(crate) const HOOK_NUM: u16 = 1;
pub(crate) const HOOK_PRIORITY: u16 = 2;

// Rules
pub(crate) const RULE_TABLE: u16 = 1;
pub(crate) const RULE_CHAIN: u16 = 2;
pub(crate) const RULE_EXPRESSIONS: u16 = 4;
pub(crate) const RULE_USERDATA: u16 = 7;
pub(crate) const LIST_ELEM: u16 = 1;
pub(crate) const EXPR_NAME: u16 = 1;
pub(crate) const EXPR_DATA: u16 = 2;
/// NFTNL_UDATA_RULE_COMMENT: what `nft` shows behind `comment`.
pub(crate) const UDATA_COMMENT: u8 = 0;

// Sets
pub(crate) const SET_TABLE: u16 = 1;
pub(crate) const SET_NAME: u16 = 2;
pub(crate) const SET_FLAGS: u16 = 3;
pub(crate) const SET_KEY_TYPE: u16 = 4;
pub(crate) const SET_KEY_LEN: u16 = 5;
pub(crate) const SET_DESC: u16 = 9;
pub(crate) const SET_ID: u16 = 10;
/// Since Linux 6.17.
pub(crate) const SET_COUNT: u16 = 20;
pub(crate) const DESC_SIZE: u16 = 1;
pub(crate) const SET_F_INTERVAL: u32 = 0x4;
pub(crate) const SET_F_TIMEOUT: u32 = 0x10;
/// NFT_SET_EVAL, which `nft` calls `dynamic`: packets may change it.
pub(crate) const SET_F_EVAL: u32 = 0x20;

// Elements
pub(crate) const LIST_TABLE: u16 = 1;
pub(crate) const LIST_SET: u16 = 2;
pub(crate) const LIST_ELEMENTS: u16 = 3;
pub(crate) const ELEM_KEY: u16 = 1;
pub(crate) const ELEM_FLAGS: u16 = 3;
pub(crate) const ELEM_TIMEOUT: u16 = 4;
pub(crate) const ELEM_EXPIRATION: u16 = 5;
pub(crate) const ELEM_F_INTERVAL_END: u32 = 1;
pub(crate) const DATA_VALUE: u16 = 1;
pub(crate) const DATA_VERDICT: u16 = 2;
pub(crate) const VERDICT_CODE: u16 = 1;
pub(crate) const VERDICT_CHAIN: u16 = 2;

// Registers
pub(crate) const REG_VERDICT: u32 = 0;
pub(crate) const REG_1: u32 = 1;
/// The first of the registers of 4 bytes; it begins where `REG_1` does.
pub(crate) const REG32_00: u32 = 8;

// Types of keys, as `nft` numbers them
pub(crate) const TYPE_IPV4: u32 = 7;
pub(crate) const TYPE_IPV6: u32 = 8;
pub(crate) const TYPE_SERVICE: u32 = 13;
/// Bits for each type of a concatenation.
pub(crate) const TYPE_BITS: u32 = 6;
