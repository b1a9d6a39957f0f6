//! The client's info packet: user, domain and password, and where the client says it is (MS-RDPBCGR 2.2.1.11.1.1).
//!
//! In: the packet behind its security header. Out: what it says, and where in it secrets are.

use std::ops::Range;

use trapline_schemas::{Field, Value, text};

use super::look::Family;
use crate::decoy::services::ntlm::{decode, u16_at, u32_at};

/// Flags: log on at once; strings are UTF-16.
const AUTOLOGON: u32 = 0x08;
const UNICODE: u32 = 0x10;

/// Flags without which xrdp takes a packet for one that was not decrypted well, and one with which it wants to know
/// where the client is.
const NORMAL: u32 = 0x33;
const EXTENDED: u32 = 0x100;

/// Bytes between the client's folder and its cookie: time zone, session, performance.
const BEFORE_COOKIE: usize = 172 + 4 + 4;

/// Most bytes of a string; xrdp's bound.
const STRING_MAX: u16 = 512;

/// What a client says who logs on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    flags: u32,
    domain: String,
    pub(super) user: String,
    pub(super) password: String,
    shell: String,
    folder: String,
    address: String,
    program: String,
    /// The extended packet was all there, up to the cookie.
    is_extended: bool,
    /// Where the password is, and what a session could be taken over with.
    pub(super) secrets: Vec<Range<usize>>,
}

impl Info {
    /// Reads a packet. `None`: a string of it is longer than it, or than any may be.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let flags = u32_at(packet, 4)?;
        let mut cursor = Cursor {
            packet,
            at: 18,
            unicode: flags & UNICODE != 0,
        };
        let length = |at| u16_at(packet, at).filter(|length| *length < STRING_MAX);
        let mut next = |at| cursor.string(length(at)?.into());
        let [domain, user, password, shell, folder] = [next(8)?, next(10)?, next(12)?, next(14)?, next(16)?];
        let text = |range: &Range<usize>| decode(packet.get(range.clone()).unwrap_or_default(), flags & UNICODE != 0);
        let mut info = Self {
            flags,
            domain: text(&domain),
            user: text(&user),
            password: text(&password),
            shell: text(&shell),
            folder: text(&folder),
            secrets: vec![password],
            ..Self::default()
        };
        info.read_more(&mut cursor);
        Some(info)
    }

    /// The extended packet, as far as it goes; its strings are always UTF-16, their NUL counted.
    fn read_more(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        cursor.unicode = true;
        cursor.at += 2;
        self.address = cursor.counted()?;
        self.program = cursor.counted()?;
        cursor.at += BEFORE_COOKIE;
        self.is_extended = cursor.at <= cursor.packet.len();
        let length = cursor.length()?;
        // What is cut off is no less secret.
        let end = (cursor.at + length).min(cursor.packet.len());
        self.secrets.push(cursor.at.min(end)..end);
        Some(())
    }

    /// Whether a server goes on behind it, which may have been signed wrong.
    pub(super) fn is_welcome(&self, family: Family, is_signed: bool) -> bool {
        let is_whole = self.is_extended || self.flags & EXTENDED == 0;
        family == Family::Windows || (is_signed && self.flags & NORMAL == NORMAL && is_whole)
    }

    /// Whether it is an attempt to log on, and not only the name of who would.
    pub(super) fn is_attempt(&self) -> bool {
        !self.password.is_empty() || (self.flags & AUTOLOGON != 0 && !self.user.is_empty())
    }

    /// What is known of the peer by it, but for the user's name.
    pub(super) fn facts(&self) -> Vec<(Field, Value)> {
        let all = [
            (Field::UserDomain, &self.domain),
            (Field::RdpClientAddress, &self.address),
            (Field::RdpClientFolder, &self.program),
            (Field::RdpShell, &self.shell),
            (Field::RdpWorkingFolder, &self.folder),
        ];
        let told = all.into_iter().filter(|(_, text)| !text.is_empty());
        told.map(|(field, text)| (field, text::clean(text.as_bytes()).into()))
            .collect()
    }
}

/// Reads strings one after another.
struct Cursor<'a> {
    packet: &'a [u8],
    at: usize,
    unicode: bool,
}

impl Cursor<'_> {
    /// Where a string of so many bytes is, which a NUL follows.
    fn string(&mut self, length: usize) -> Option<Range<usize>> {
        let end = self.at + length;
        let range = self.at..end;
        self.packet.get(range.clone())?;
        self.at = end + if self.unicode { 2 } else { 1 };
        Some(range)
    }

    /// A length before a string.
    fn length(&mut self) -> Option<usize> {
        let length = u16_at(self.packet, self.at)?;
        self.at += 2;
        Some(length.into())
    }

    /// A string with its length before it and its NUL within.
    fn counted(&mut self) -> Option<String> {
        let length = self.length()?;
        let bytes = self.packet.get(self.at..self.at + length)?;
        self.at += length;
        Some(decode(bytes, true).trim_end_matches('\0').to_owned())
    }
}
