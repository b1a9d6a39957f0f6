//! One document: what it says, of which type it is, and by what a poller knows that it has it already.

use std::fmt::{self, Debug};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use trapline_schemas::Timestamp;
use trapline_schemas::ids::hex;

/// A document that is made when it is asked for, so that a long one is never in memory as a whole.
pub trait Parts: Send + Sync {
    /// The part of this number, from 0 on without a gap; `None` behind the last. The same each time.
    fn part(&self, index: usize) -> Option<Bytes>;
}

/// What a document says.
#[derive(Clone)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Part by part.
    Parts(Arc<dyn Parts>),
}

impl Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Parts(_) => f.write_str("parts"),
        }
    }
}

/// A document.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its media type.
    pub kind: &'static str,
    /// What it says.
    pub body: Body,
    /// Its entity tag, a strong one, with the quotes.
    pub tag: String,
    /// When its tag changed last, in whole seconds. Set when it is published; it may lie ahead by a few seconds if it
    /// changed more often than once in each.
    pub modified: Timestamp,
}

impl Document {
    /// One whose bytes are there.
    pub fn whole(kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let tag = tag(&Sha256::digest(&bytes));
        Self::new(kind, Body::Whole(bytes), tag)
    }

    /// One that is made part by part, of which `digest` is the hash of all that its bytes depend on.
    pub fn in_parts(kind: &'static str, digest: &[u8], parts: Arc<dyn Parts>) -> Self {
        Self::new(kind, Body::Parts(parts), tag(digest))
    }

    fn new(kind: &'static str, body: Body, tag: String) -> Self {
        Self {
            kind,
            body,
            tag,
            modified: Timestamp::default(),
        }
    }
}

/// Bits of the hash in a tag, bytes: two lists that are alike in it do not come about.
const TAG_BYTES: usize = 16;

fn tag(digest: &[u8]) -> String {
    format!("\"{}\"", hex(digest.get(..TAG_BYTES).unwrap_or(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_the_bytes_alone() {
        let document = Document::whole("text/plain", "192.0.2.1\n");
        assert_eq!(document.tag, Document::whole("text/csv", "192.0.2.1\n").tag);
        assert_ne!(document.tag, Document::whole("text/plain", "192.0.2.2\n").tag);
        assert_eq!(document.tag.len(), 34);
        assert!(document.tag.starts_with('"') && document.tag.ends_with('"'));
    }
}
