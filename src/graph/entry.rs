//! The bodies of journal entries: events, and passes that name an event let through by a windowed node.

use serde::{Deserialize, Serialize};
use trapline_schemas::Event;
use trapline_schemas::codec::{self, BodyError};

use crate::journal::Offset;

/// Version of the pass body that this build writes.
const VERSION: u64 = 1;
/// How a pass body of any version begins; an event's second name is `id`.
const PASS_MARK: &[u8] = b"{\"v\":";

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// An event.
    Event(Event),
    /// An earlier event, let through by a windowed node.
    Pass(Pass),
}

/// "The windowed node `node` let the event at `of` through."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    v: u64,
    /// Name of the node.
    #[serde(rename = "pass")]
    pub node: String,
    /// Offset of the original event; always smaller than the pass's own.
    pub of: Offset,
}

impl Pass {
    /// A pass.
    pub fn new(node: &str, of: Offset) -> Self {
        Self {
            v: VERSION,
            node: node.to_owned(),
            of,
        }
    }

    /// Its body: `{"v":1,"pass":"NODE","of":OFFSET}`.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a text and two numbers are always JSON")
    }
}

impl Body {
    /// Reads the body of an entry.
    ///
    /// Errors: [`BodyError`] as for events; a newer pass is [`BodyError::Newer`].
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        if is_pass(body) {
            decode_pass(body).map(Self::Pass)
        } else {
            codec::decode(body).map(Self::Event)
        }
    }
}

/// A pass body has `pass` for its second name; told without parsing, as most entries are events.
fn is_pass(body: &[u8]) -> bool {
    let Some(rest) = body.strip_prefix(PASS_MARK) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest.get(digits..).is_some_and(|rest| rest.starts_with(b",\"pass\":"))
}

fn decode_pass(body: &[u8]) -> Result<Pass, BodyError> {
    let pass: Pass = serde_json::from_slice(body).map_err(|error| BodyError::Malformed(error.to_string()))?;
    if pass.v > VERSION {
        return Err(BodyError::Newer {
            found: pass.v,
            known: VERSION,
        });
    }
    Ok(pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_body_is_as_the_journal_has_had_it_since_version_1() {
        let pass = Pass::new("digest", 42);
        assert_eq!(pass.encode(), br#"{"v":1,"pass":"digest","of":42}"#);
        let body = Body::decode(&pass.encode()).expect("a pass");
        assert_eq!(body, Body::Pass(pass));
    }

    #[test]
    fn a_pass_of_a_newer_version_is_not_guessed_at() {
        let newer = br#"{"v":2,"pass":"digest","of":42,"why":"x"}"#;
        let error = Body::decode(newer).expect_err("version 2");
        assert!(matches!(error, BodyError::Newer { found: 2, known: 1 }));
    }

    #[test]
    fn names_keep_their_signs() {
        let pass = Pass::new("a\"b\\ü", 1);
        let body = Body::decode(&pass.encode()).expect("a pass");
        assert_eq!(body, Body::Pass(pass));
    }
}
