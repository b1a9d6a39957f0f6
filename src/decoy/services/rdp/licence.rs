//! Licences, of which a client needs none: what a server says to end that talk (MS-RDPBCGR 2.2.1.12, MS-RDPELE 2.2.2).

use super::look::Family;

/// What xrdp asks every client for, word for word: its own 512-bit key is in it, and a random that never changes.
const REQUEST: &[u8] = b"\
    \x80\0>\x01\x01\x02>\x01{<1\xa6\xae\xe8t\xf6\xb4\xa5\x03\x90\xe7\xc2\xc79\xbaS\x1c0Tn\x90\x05\xd0\x05\xceD\x18\
    \x91\x83\x81\0\0\x04\0,\0\0\0M\0i\0c\0r\0o\0s\0o\0f\0t\0\x20\0C\0o\0r\0p\0o\0r\0a\0t\0i\0o\0n\0\0\0\x08\0\0\x002\0\
    3\x006\0\0\0\x0d\0\x04\0\x01\0\0\0\x03\0\xb8\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x06\0\\\0RSA1H\0\0\0\0\x02\0\0?\0\0\0\
    \x01\0\x01\0\x01\xc7\xc9\xf7\x8eZ8\xe4)\xc3\0\x95-\xddL>PE\x0b\x0d\x9e*]\x18cd\xc4,\xf7\x8f)\xd5?\xc55\"4\xff\
    \xad:\xe6\xe3\x95\x06\xaeU\x82\xe3\xc8\xc7\xb4\xa8G\xc8Pqt)S\x89m\x9c\xedp\0\0\0\0\0\0\0\0\x08\0H\0\xa8\xf41\xb9\
    \xabK\xe6\xb4\xf49\x89\xd6\xb1\xda\xf6\x1e\xec\xb1\xf0T;^>jq\xb4\xf7u\xc8\x16/$\0\xde\xe9\x82\x99_3\x0b\xa9\xa6\
    \x94\xaf\xcb\x11\xc3\xf2\xdb\x09Bh)VX\x01V\xdbY\x03i\xdb}7\0\0\0\0\0\0\0\0\x01\0\0\0\x0e\0\x0e\0microsoft.com\0";

/// The word that a client is valid: of xrdp, and of a Windows that asks for no licence.
const VALID_BY_XRDP: &[u8] = b"\x80\0\x10\0\xff\x02\x10\0\x07\0\0\0\x02\0\0\0\x28\x14\0\0";
const VALID_BY_WINDOWS: &[u8] = b"\x80\0\0\0\xff\x03\x10\0\x07\0\0\0\x02\0\0\0\x04\0\0\0";

/// What xrdp asks for.
pub(super) const fn request() -> &'static [u8] {
    REQUEST
}

/// The word that the client is valid.
pub(super) const fn valid(family: Family) -> &'static [u8] {
    match family {
        Family::Windows => VALID_BY_WINDOWS,
        Family::Xrdp => VALID_BY_XRDP,
    }
}
