//! The tokens of a running instance: whose it is that a request shows.
//!
//! In: the files of [`super::tokens`], looked at anew by each request. Out: a [`Bearer`]; when each token was used last,
//! written to the minute.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::tokens::{Files, Stored, Token, hash};

/// A use is written when the one on disk is older than this, seconds.
const USED_EVERY_SECS: i64 = 60;

/// Whose token it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The token's name.
    pub name: String,
    /// What it is known by.
    id: String,
}

/// What a token is at the door of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// It reads the list; and whether its use is to be written.
    Reads(Bearer, bool),
    /// It is a good token, by this name, and reads other things.
    Elsewhere(String),
    /// It read lists once, by this name, and was revoked or is over.
    Old(Bearer),
    /// It is none.
    None,
}

/// The tokens as a running instance sees them.
#[derive(Debug)]
pub struct Tokens {
    files: Files,
    seen: Mutex<Seen>,
    /// One write at a time.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Device, inode, length and time of change of the file that was read; `None`: there was none.
    stamp: Option<[u64; 5]>,
    tokens: Vec<Token>,
    /// Tokens of lists that were revoked.
    old: Vec<Token>,
    /// Why there are none, if that is a fault.
    trouble: Option<String>,
    used: BTreeMap<String, i64>,
    /// The uses that are on disk.
    written: BTreeMap<String, i64>,
}

impl Tokens {
    /// Reads those of a state folder.
    pub fn new(state_dir: &Path) -> Self {
        let files = Files::within(state_dir);
        let uses = files.last_uses();
        let seen = Seen {
            used: uses.clone(),
            written: uses,
            ..Seen::default()
        };
        let tokens = Self {
            files,
            seen: Mutex::new(seen),
            writing: Mutex::default(),
        };
        drop(tokens.look());
        tokens
    }

    /// Whose token of the API this is, and whether its use is to be written. Blocking, short: one look at a file.
    pub fn check(&self, text: &str, now: i64) -> Option<(Bearer, bool)> {
        let mut seen = self.look();
        let found = find(&seen.tokens, text)?;
        let is_good = found.lists.is_none() && !found.is_over(now);
        let bearer = is_good.then(|| Bearer::of(found))?;
        let is_news = seen.note_use(&bearer, now);
        Some((bearer, is_news))
    }

    /// Whether a token opens a list. Blocking, short.
    pub fn check_list(&self, text: &str, list: &str, now: i64) -> Pass {
        let mut seen = self.look();
        let Some(found) = find(&seen.tokens, text) else {
            return find(&seen.old, text).map_or(Pass::None, |old| Pass::Old(Bearer::of(old)));
        };
        let (bearer, is_over) = (Bearer::of(found), found.is_over(now));
        let reads = found.lists.as_ref().map(|lists| lists.take(list));
        match reads {
            None if is_over => Pass::None,
            Some(_) if is_over => Pass::Old(bearer),
            Some(true) => {
                let is_news = seen.note_use(&bearer, now);
                Pass::Reads(bearer, is_news)
            }
            _ => Pass::Elsewhere(bearer.name),
        }
    }

    /// Whether a token is a good one that reads lists alone.
    pub fn reads_lists(&self, text: &str, now: i64) -> bool {
        let seen = self.look();
        find(&seen.tokens, text).is_some_and(|found| found.lists.is_some() && !found.is_over(now))
    }

    /// Whether the token still is one.
    pub fn is_good(&self, bearer: &Bearer, now: i64) -> bool {
        let seen = self.look();
        seen.tokens
            .iter()
            .any(|token| token.id() == bearer.id && !token.is_over(now))
    }

    /// Writes when tokens were used. Blocking: a sync.
    pub fn write_uses(&self) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = self.look();
        let ids: Vec<_> = seen.tokens.iter().map(|token| token.id().to_owned()).collect();
        seen.used.retain(|id, _| ids.contains(id));
        if seen.used == seen.written {
            return;
        }
        let uses = seen.used.clone();
        // Set before it is tried: a disk that fails is tried again a minute later, not at each request.
        seen.written = uses.clone();
        drop(seen);
        let written = serde_json::to_vec(&uses)
            .map_err(io::Error::other)
            .and_then(|bytes| self.files.replace(&self.files.used(), &bytes));
        if let Err(error) = written {
            tracing::warn!(error = %error, "when tokens were used could not be written");
        }
    }

    /// How many there are that have not ended.
    pub fn count(&self, now: i64) -> usize {
        self.look().tokens.iter().filter(|token| !token.is_over(now)).count()
    }

    /// Why they cannot be read, if so: nobody is let in then.
    pub fn trouble(&self) -> Option<String> {
        self.look().trouble.clone()
    }

    /// What stands in the file now: it is read if it is another one.
    fn look(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.files.tokens());
        if stamp == seen.stamp && seen.trouble.is_none() {
            return seen;
        }
        let (stored, trouble) = match self.files.stored() {
            Ok(stored) => (stored, None),
            Err(error) => (Stored::default(), Some(format!("{:#}", anyhow::Error::from(error)))),
        };
        if seen.trouble != trouble
            && let Some(why) = &trouble
        {
            tracing::error!("no token is taken: {why}");
        }
        tell_changes(&seen.tokens, &stored.tokens);
        (seen.stamp, seen.trouble) = (stamp, trouble);
        (seen.tokens, seen.old) = (stored.tokens, stored.old);
        seen
    }
}

impl Bearer {
    fn of(token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            id: token.id().to_owned(),
        }
    }

    /// What tells its token from another one of its name.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Seen {
    /// Whether it is to be written.
    fn note_use(&mut self, bearer: &Bearer, now: i64) -> bool {
        self.used.insert(bearer.id.clone(), now);
        let written = self.written.get(&bearer.id);
        written.is_none_or(|written| now - written >= USED_EVERY_SECS)
    }
}

/// The token of this text: every one is compared, whichever fits, and each in constant time.
fn find<'t>(tokens: &'t [Token], text: &str) -> Option<&'t Token> {
    let shown = hash(text);
    tokens.iter().fold(None, |found, token| match token.is_of(&shown) {
        true => Some(token),
        false => found,
    })
}

fn tell_changes(before: &[Token], now: &[Token]) {
    let only = |one: &[Token], other: &[Token]| -> Vec<String> {
        let gone = one.iter().filter(|token| !other.contains(token));
        gone.map(|token| token.name.clone()).collect()
    };
    for name in only(before, now) {
        tracing::info!(token.name = %name, "token {name} was revoked");
    }
    for name in only(now, before) {
        tracing::info!(token.name = %name, "token {name} is taken");
    }
}

fn stamp(path: &Path) -> Option<[u64; 5]> {
    let found = std::fs::metadata(path).ok()?;
    Some([
        found.dev(),
        found.ino(),
        found.len(),
        found.ctime().cast_unsigned(),
        found.ctime_nsec().cast_unsigned(),
    ])
}
