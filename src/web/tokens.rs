//! Tokens: what a client of the API shows, of which only the hash is kept.
//!
//! In: names and ends, by `trapline token`. Out: whose token it is that a request shows. Two files in the state folder,
//! 0600, written whole under another name and then renamed:
//!
//! - `web.tokens`: name, SHA-256, when it was made and when it ends, which lists it reads if it is one of lists. Commands
//!   alone write it, one at a time (the folder is locked meanwhile); an instance looks at each request whether it is
//!   another file by now. Of a token of lists that was revoked the hash stays for [`OLD_SECS`]: a firewall that still
//!   shows it is to be told of, not taken for a stranger. With such tokens the file is of version 2, which an older build
//!   does not read: it would take them for tokens of the API.
//! - `web.used`: when each was used last, to the minute. The instance alone writes it.
//!
//! A token is [`PREFIX`] and 256 random bits in base64url: no dictionary holds it, so one round of SHA-256 will do.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rustix::fs::{FlockOperation, Gid, Uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use trapline_schemas::ids::hex;

use super::reach::Lists;

/// How every token begins, so that those who look for lost secrets find it.
pub const PREFIX: &str = "trapline_";
/// Tokens at most.
pub const TOKENS_MAX: usize = 256;
/// Longest name, bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// How long a revoked token of lists is known, seconds.
pub const OLD_SECS: i64 = 90 * 86_400;
/// Revoked tokens that are known at most; the oldest makes room.
const OLD_MAX: usize = 64;
/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is kept of a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// SHA-256 of the whole text, hex.
    pub(super) hash: String,
    /// When it was made, seconds since the epoch.
    pub created: i64,
    /// When it ends, seconds since the epoch; `None` is never.
    #[serde(default)]
    pub expires: Option<i64>,
    /// The lists that it reads, and nothing else; `None`: it is one of the API, and reads all but lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<Lists>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("expires", &self.expires)
            .field("lists", &self.lists)
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

    pub(super) fn is_of(&self, hash: &str) -> bool {
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

/// What stands in the file of tokens.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    v: u32,
    pub(super) tokens: Vec<Token>,
    /// Tokens of lists that were revoked, the oldest first; each ended then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) old: Vec<Token>,
}

impl Stored {
    fn version(&self) -> u32 {
        let of_lists = self.tokens.iter().chain(&self.old).any(|token| token.lists.is_some());
        if of_lists { 2 } else { 1 }
    }

    /// Remembers a token that was taken away.
    fn bury(&mut self, mut token: Token, now: i64) {
        token.expires = Some(token.expires.map_or(now, |end| end.min(now)));
        self.old.push(token);
        self.old
            .retain(|old| old.expires.is_some_and(|end| end > now - OLD_SECS));
        let surplus = self.old.len().saturating_sub(OLD_MAX);
        self.old.drain(..surplus);
    }
}

impl Files {
    /// Those of this state folder.
    pub fn within(state_dir: &Path) -> Self {
        Self(state_dir.to_owned())
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.0.join("web.tokens")
    }

    pub(super) fn used(&self) -> PathBuf {
        self.0.join("web.used")
    }

    /// Makes a token of the API, and gives its text: the only time that anybody has it.
    pub fn create(&self, name: &str, now: i64, expires: Option<i64>) -> Result<String, TokenError> {
        self.create_for(name, now, expires, None)
    }

    /// The same for one that reads these lists and nothing else.
    pub fn create_for(
        &self,
        name: &str,
        now: i64,
        expires: Option<i64>,
        lists: Option<Lists>,
    ) -> Result<String, TokenError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
            return Err(TokenError::Name(name.to_owned()));
        }
        self.make_folder()?;
        let _alone = self.alone()?;
        let mut stored = self.stored()?;
        if stored.tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        if stored.tokens.len() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        let text = fresh().map_err(|source| self.failed(self.tokens(), source))?;
        stored.tokens.push(Token {
            name: name.to_owned(),
            hash: hash(&text),
            created: now,
            expires,
            lists,
        });
        self.store(stored)?;
        Ok(text)
    }

    /// Takes a token away at `now`: it is refused from the next request on.
    pub fn revoke(&self, name: &str, now: i64) -> Result<(), TokenError> {
        let unknown = || TokenError::Unknown(name.to_owned());
        if !self.tokens().exists() {
            return Err(unknown());
        }
        let _alone = self.alone()?;
        let mut stored = self.stored()?;
        let index = stored.tokens.iter().position(|token| token.name == name);
        let token = stored.tokens.remove(index.ok_or_else(unknown)?);
        if token.lists.is_some() {
            stored.bury(token, now);
        }
        self.store(stored)
    }

    /// All tokens, the oldest first.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        Ok(self.stored()?.tokens)
    }

    /// All that is known of tokens.
    pub(super) fn stored(&self) -> Result<Stored, TokenError> {
        let path = self.tokens();
        let Some(bytes) = self.read(&path)? else {
            return Ok(Stored::default());
        };
        let damaged = |why: String| TokenError::Damaged {
            path: path.clone(),
            why,
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match stored.v {
            1 | 2 => Ok(stored),
            v => Err(damaged(format!("version {v}, this build reads 1 and 2"))),
        }
    }

    /// When tokens were used last, by their id. A file that cannot be read says nothing.
    pub fn last_uses(&self) -> BTreeMap<String, i64> {
        let read = self.read(&self.used()).ok().flatten();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    pub(super) fn store(&self, mut stored: Stored) -> Result<(), TokenError> {
        stored.v = stored.version();
        let bytes = serde_json::to_vec(&stored);
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
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Each file has one writer at a time, and a name of its own: two containers may have the same process id.
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
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
            fs::rename(&draft, path)?;
            // A token that was revoked must not come back when the power fails.
            File::open(&self.0)?.sync_all()
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

pub(super) fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
