//! The site key's file: 32 random bytes as hex, made if absent, for the owner alone.
//!
//! Limits: the file has 64 hex digits and a line end. Recovery: a lost key makes new incident ids and new HMACs; it
//! cannot be had back. It is written whole and synced under another name first, so a crash leaves no half a key.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rand::TryRngCore as _;
use trapline_schemas::ids::{SiteKey, hex};

use crate::decoy::keys;

/// Why there is no site key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or made.
    #[error("site key `{}` could not be read or made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("site key `{}` has mode {mode:04o}, allowed is 0600 or tighter", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What stands in the file is not a key.
    #[error("site key `{}` does not hold 64 hex digits", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is not a key.
    #[error("a site key has 64 hex digits, this one has not")]
    Malformed,
}

/// The key's file, and what stood in it: so that a file that is gone can be put back.
#[derive(Clone)]
pub struct KeyFile {
    path: PathBuf,
    text: String,
    made: bool,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What stands where the key's file was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The key.
    InPlace,
    /// Nothing stood there; now the key does again.
    Restored,
    /// Something else, which is left as it is.
    Foreign,
    /// Nothing, and the key cannot be put back.
    Unkept(String),
}

impl KeyFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was none at the start.
    pub fn is_new(&self) -> bool {
        self.made
    }

    /// Looks whether the key is still there, and puts it back if nothing is.
    pub fn keep(&self) -> Place {
        match fs::read_to_string(&self.path) {
            Ok(text) if text.trim() == self.text => Place::InPlace,
            Err(error) if error.kind() == io::ErrorKind::NotFound => match write(&self.path, &self.text) {
                Ok(()) => Place::Restored,
                Err(error) => Place::Unkept(error.to_string()),
            },
            _ => Place::Foreign,
        }
    }
}

/// Reads the key, or makes one if there is none.
pub fn load(path: &Path) -> Result<(SiteKey, KeyFile), KeyError> {
    let failed = |source| KeyError::File {
        path: path.to_owned(),
        source,
    };
    let made = !path.exists();
    if made {
        make(path).map_err(failed)?;
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    match file.take(128).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => text.clear(),
        read => drop(read.map_err(failed)?),
    }
    let key = parse(&text).map_err(|_| KeyError::Damaged { path: path.to_owned() })?;
    let file = KeyFile {
        path: path.to_owned(),
        text: text.trim().to_owned(),
        made,
    };
    Ok((key, file))
}

/// A key from its text, as the configuration or a secret store gives it.
pub fn parse(text: &str) -> Result<SiteKey, KeyError> {
    let text = text.trim().as_bytes();
    let mut key = [0; 32];
    if text.len() != 2 * key.len() {
        return Err(KeyError::Malformed);
    }
    for (byte, pair) in key.iter_mut().zip(text.chunks(2)) {
        let digits = std::str::from_utf8(pair).map_err(|_| KeyError::Malformed)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError::Malformed)?;
    }
    Ok(SiteKey::new(key))
}

fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut key).map_err(io::Error::other)?;
    write(path, &hex(&key))
}

fn write(path: &Path, key: &str) -> io::Result<()> {
    keys::write(path, format!("{key}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_the_owner_alone_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        let (first, file) = load(&path).unwrap();
        assert!(file.is_new());
        let (again, file) = load(&path).unwrap();
        assert_eq!(again.hmac_hex(b"x"), first.hmac_hex(b"x"));
        assert!(!file.is_new());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        load(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(KeyError::Open { mode: 0o640, .. })));
    }

    #[test]
    fn a_key_whose_file_is_gone_is_put_back_and_another_one_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        let (first, file) = load(&path).unwrap();
        assert_eq!(file.keep(), Place::InPlace);
        fs::remove_file(&path).unwrap();
        assert_eq!(file.keep(), Place::Restored);
        assert_eq!(load(&path).unwrap().0.hmac_hex(b"x"), first.hmac_hex(b"x"));
        fs::write(&path, "f".repeat(64)).unwrap();
        assert_eq!(file.keep(), Place::Foreign);
        assert_eq!(fs::read_to_string(&path).unwrap(), "f".repeat(64));
        drop(folder);
        assert!(matches!(file.keep(), Place::Unkept(_)));
        assert!(!format!("{file:?}").contains(&file.text), "the key is never shown");
    }

    #[test]
    fn a_file_that_holds_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.key");
        load(&path).unwrap();
        for bad in [&b""[..], b"zz", b"\xff\xfe"] {
            fs::write(&path, bad).unwrap();
            let error = load(&path).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"é".repeat(32)] {
            assert!(matches!(parse(text), Err(KeyError::Malformed)), "{text}");
        }
    }
}
