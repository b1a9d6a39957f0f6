//! Tokens: what a client of the API shows, of which only the hash is kept.
//!
//! In: names and ends, by `trapline token`. Out: whose token it is that a request shows. Two files in the state folder,
//! 0600, written whole under another name and then renamed:
//!
//! - `web.tokens`: name, SHA-256, when it was made and when it ends. Commands alone write it, one at a time (the folder
//!   is locked meanwhile); an instance looks at each request whether it is another file by now.
//! - `web.used`: when each was used last, to the minute. The instance alone writes it.
//!
//! A token is [`PREFIX`] and 256 random bits in base64url: no dictionary holds it, so one round of SHA-256 will do.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rustix::fs::{FlockOperation, Gid, Uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use trapline_schemas::ids::hex;

/// How every token begins, so that those who look for lost secrets find it.
pub const PREFIX: &str = "trapline_";
/// Tokens at most.
pub const TOKENS_MAX: usize = 256;
/// Longest name, bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A use is written when the one on disk is older than this, seconds.
const USED_EVERY_SECS: i64 = 60;

/// What is kept of a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// SHA-256 of the whole text, hex.
    hash: String,
    /// When it was made, seconds since the epoch.
    pub created: i64,
    /// When it ends, seconds since the epoch; `None` is never.
    #[serde(default)]
    pub expires: Option<i64>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// What it is known by beside its name, which another one may get when it was revoked.
    pub fn id(&self) -> &str {
        self.hash.get(..16).unwrap_or_default()
    }

    /// Whether it has ended.
    pub fn is_over(&self, now: i64) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    fn is_of(&self, hash: &str) -> bool {
        self.hash.as_bytes().ct_eq(hash.as_bytes()).into()
    }
}

/// Why tokens could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file or the folder.
    #[error("`{}` cannot be used", path.display())]
    File {
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("`{}` has mode {mode:04o}, allowed is 0600 or tighter", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What stands in it are no tokens.
    #[error("`{}` holds no tokens ({why}): put it back from a backup, or remove it and make tokens anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The name.
    #[error("`{0}` is not a name: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// There is one already.
    #[error("there is a token `{0}`: revoke it first, or take another name")]
    Taken(String),
    /// There is none.
    #[error("there is no token `{0}`")]
    Unknown(String),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens: revoke one first")]
    Full,
}

/// The files of one state folder.
#[derive(Debug, Clone)]
pub struct Files(PathBuf);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    v: u32,
    tokens: Vec<Token>,
}

impl Files {
    /// Those of this state folder.
    pub fn within(state_dir: &Path) -> Self {
        Self(state_dir.to_owned())
    }

    fn tokens(&self) -> PathBuf {
        self.0.join("web.tokens")
    }

    fn used(&self) -> PathBuf {
        self.0.join("web.used")
    }

    /// Makes a token, and gives its text: the only time that anybody has it.
    pub fn create(&self, name: &str, now: i64, expires: Option<i64>) -> Result<String, TokenError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
            return Err(TokenError::Name(name.to_owned()));
        }
        self.make_folder()?;
        let _alone = self.alone()?;
        let mut tokens = self.list()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        let text = fresh().map_err(|source| self.failed(self.tokens(), source))?;
        tokens.push(Token {
            name: name.to_owned(),
            hash: hash(&text),
            created: now,
            expires,
        });
        self.store(tokens)?;
        Ok(text)
    }

    /// Takes a token away: it is refused from the next request on.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        if !self.tokens().exists() {
            return Err(TokenError::Unknown(name.to_owned()));
        }
        let _alone = self.alone()?;
        let mut tokens = self.list()?;
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        if tokens.len() == before {
            return Err(TokenError::Unknown(name.to_owned()));
        }
        self.store(tokens)
    }

    /// All tokens, the oldest first.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let path = self.tokens();
        let Some(bytes) = self.read(&path)? else {
            return Ok(Vec::new());
        };
        let damaged = |why: String| TokenError::Damaged {
            path: path.clone(),
            why,
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match stored.v {
            1 => Ok(stored.tokens),
            v => Err(damaged(format!("version {v}, this build reads 1"))),
        }
    }

    /// When tokens were used last, by their id. A file that cannot be read says nothing.
    pub fn last_uses(&self) -> BTreeMap<String, i64> {
        let read = self.read(&self.used()).ok().flatten();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn store(&self, tokens: Vec<Token>) -> Result<(), TokenError> {
        let bytes = serde_json::to_vec(&Stored { v: 1, tokens });
        let path = self.tokens();
        let written = bytes
            .map_err(io::Error::other)
            .and_then(|bytes| self.replace(&path, &bytes));
        written.map_err(|source| self.failed(path, source))
    }

    fn failed(&self, path: PathBuf, source: io::Error) -> TokenError {
        TokenError::File { path, source }
    }

    /// As a start would.
    fn make_folder(&self) -> Result<(), TokenError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|source| self.failed(self.0.clone(), source))
    }

    /// One command at a time.
    fn alone(&self) -> Result<File, TokenError> {
        let locked = File::open(&self.0).and_then(|folder| {
            rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        });
        locked.map_err(|source| self.failed(self.0.clone(), source))
    }

    /// `None` if it is not there.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, TokenError> {
        let failed = |source| self.failed(path.to_owned(), source);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Whoever runs the command, the file is the folder's owner's: the service runs as another user than root.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        let written = file.write_all(bytes).and_then(|()| {
            let folder = fs::metadata(&self.0)?;
            if file.metadata()?.uid() != folder.uid() {
                let (user, group) = (Uid::from_raw(folder.uid()), Gid::from_raw(folder.gid()));
                rustix::fs::fchown(&file, Some(user), Some(group))?;
            }
            file.sync_all()?;
            fs::rename(&draft, path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

fn fresh() -> io::Result<String> {
    let mut bits = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bits).map_err(io::Error::other)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits)))
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Whose token it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The token's name.
    pub name: String,
    /// What it is known by.
    id: String,
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

    /// Whose token this is, and whether its use is to be written. Blocking, short: one look at a file.
    ///
    /// Every token is compared, whichever fits, and each in constant time.
    pub fn check(&self, text: &str, now: i64) -> Option<(Bearer, bool)> {
        let mut seen = self.look();
        let shown = hash(text);
        let mut found = None;
        for token in &seen.tokens {
            if token.is_of(&shown) && !token.is_over(now) {
                found = Some(Bearer {
                    name: token.name.clone(),
                    id: token.id().to_owned(),
                });
            }
        }
        let bearer = found?;
        seen.used.insert(bearer.id.clone(), now);
        let written = seen.written.get(&bearer.id);
        let is_news = written.is_none_or(|written| now - written >= USED_EVERY_SECS);
        Some((bearer, is_news))
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
        let (tokens, trouble) = match self.files.list() {
            Ok(tokens) => (tokens, None),
            Err(error) => (Vec::new(), Some(format!("{:#}", anyhow::Error::from(error)))),
        };
        if seen.trouble != trouble
            && let Some(why) = &trouble
        {
            tracing::error!("no token is taken: {why}");
        }
        tell_changes(&seen.tokens, &tokens);
        (seen.stamp, seen.tokens, seen.trouble) = (stamp, tokens, trouble);
        seen
    }
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
    let found = fs::metadata(path).ok()?;
    Some([
        found.dev(),
        found.ino(),
        found.len(),
        found.ctime().cast_unsigned(),
        found.ctime_nsec().cast_unsigned(),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folder() -> (tempfile::TempDir, Files, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let (files, tokens) = (Files::within(folder.path()), Tokens::new(folder.path()));
        (folder, files, tokens)
    }

    fn bearer(tokens: &Tokens, text: &str, now: i64) -> Option<String> {
        tokens.check(text, now).map(|(bearer, _)| bearer.name)
    }

    #[test]
    fn a_token_is_seen_at_once_until_it_ends_or_is_revoked() {
        let (_folder, files, tokens) = folder();
        assert_eq!(bearer(&tokens, "trapline_x", 0), None);
        let soc = files.create("soc", 100, None).unwrap();
        let short = files.create("short", 100, Some(200)).unwrap();
        assert_eq!(bearer(&tokens, &soc, 150).as_deref(), Some("soc"));
        assert_eq!(bearer(&tokens, &short, 199).as_deref(), Some("short"));
        assert_eq!(bearer(&tokens, &short, 200), None);
        assert_eq!((tokens.count(199), tokens.count(200)), (2, 1));
        let (who, _) = tokens.check(&soc, 150).unwrap();
        assert!(tokens.is_good(&who, 150));
        files.revoke("soc").unwrap();
        assert_eq!(bearer(&tokens, &soc, 150), None);
        assert!(!tokens.is_good(&who, 150));
        let again = files.create("soc", 300, None).unwrap();
        assert_ne!(again, soc);
        assert!(
            !tokens.is_good(&who, 300),
            "another token of the same name is another token"
        );
        assert!(matches!(files.revoke("nobody"), Err(TokenError::Unknown(_))));
        assert!(matches!(files.create("soc", 1, None), Err(TokenError::Taken(_))));
    }

    #[test]
    fn only_hashes_are_kept_for_the_owner_alone() {
        let (folder, files, tokens) = folder();
        let text = files.create("soc", 1, None).unwrap();
        assert_eq!(text.len(), PREFIX.len() + 43);
        tokens.check(&text, 1_000).unwrap();
        tokens.write_uses();
        for name in ["web.tokens", "web.used"] {
            let path = folder.path().join(name);
            let kept = fs::read_to_string(&path).unwrap();
            assert!(
                !kept.contains(&text) && !kept.contains(text.trim_start_matches(PREFIX)),
                "{kept}"
            );
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left");
        assert!(!format!("{tokens:?}").contains(&text));
    }

    #[test]
    fn the_last_use_is_written_to_the_minute_and_outlives_the_instance() {
        let (folder, files, tokens) = folder();
        let text = files.create("soc", 1, None).unwrap();
        let use_at = |tokens: &Tokens, at| {
            let (_, is_news) = tokens.check(&text, at).unwrap();
            if is_news {
                tokens.write_uses();
            }
            is_news
        };
        assert_eq!([1_000, 1_030, 1_060].map(|at| use_at(&tokens, at)), [true, false, true]);
        let id = files.list().unwrap()[0].id().to_owned();
        assert_eq!(files.last_uses().get(&id), Some(&1_060));
        let next = Tokens::new(folder.path());
        assert!(!use_at(&next, 1_070));
        files.revoke("soc").unwrap();
        next.write_uses();
        assert!(files.last_uses().is_empty(), "what is gone has no last use");
    }

    #[test]
    fn a_file_that_others_may_read_lets_nobody_in_and_says_so() {
        let (folder, files, tokens) = folder();
        let text = files.create("soc", 1, None).unwrap();
        let path = folder.path().join("web.tokens");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(bearer(&tokens, &text, 2), None);
        assert!(tokens.trouble().unwrap().contains("mode 0644"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(bearer(&tokens, &text, 2).as_deref(), Some("soc"));
        assert_eq!(tokens.trouble(), None);
    }

    #[test]
    fn what_root_makes_is_the_folders_owners() {
        let (folder, files, _) = folder();
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = Some(Uid::from_raw(65_534));
        rustix::fs::chown(folder.path(), nobody, None).unwrap();
        files.create("soc", 1, None).unwrap();
        assert_eq!(fs::metadata(folder.path().join("web.tokens")).unwrap().uid(), 65_534);
    }

    #[test]
    fn names_are_plain_and_tokens_are_counted() {
        let (_folder, files, _) = folder();
        for bad in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(matches!(files.create(bad, 1, None), Err(TokenError::Name(_))), "{bad}");
        }
        let tokens = (0..TOKENS_MAX).map(|number| Token {
            name: number.to_string(),
            hash: hash(&number.to_string()),
            created: 1,
            expires: None,
        });
        files.store(tokens.collect()).unwrap();
        assert!(matches!(files.create("more", 1, None), Err(TokenError::Full)));
    }

    proptest! {
        #[test]
        fn any_bytes_in_the_file_are_tokens_or_told_as_none(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            Just(br#"{"v":2,"tokens":[]}"#.to_vec()),
            Just(br#"{"v":1,"tokens":[{"name":"a","hash":"","created":1}]}"#.to_vec()),
        ]) {
            let (_folder, files, tokens) = folder();
            files.replace(&files.tokens(), &bytes).unwrap();
            files.replace(&files.used(), &bytes).unwrap();
            prop_assert_eq!(tokens.trouble().is_none(), files.list().is_ok());
            prop_assert_eq!(bearer(&tokens, "", 0), None);
            files.last_uses();
        }
    }
}
