//! Keys that an install makes once and keeps: host keys, certificates.
//!
//! In: the state folder. Out: the bytes of one file `keys/NAME`, made if it is absent, for the owner alone.
//!
//! Invariants: 1. what a file holds never changes by itself: a decoy whose host key changes is no host. 2. A file is
//! written whole and synced under another name first, so a crash leaves no half a key. 3. Only core calls this: the
//! decoy role has no files and gets what was made of them.

use std::any::Any;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Personality;

/// Largest file of a key that is read, bytes.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// What a service makes of its keys, for its sessions: see [`crate::decoy::services::Service::provide`].
pub type Provided = Box<dyn Any + Send + Sync>;

/// Makes what a service's sessions need besides the look. In: the keys' folder, the decoy's name, its personality.
pub type Provide = fn(&KeyFolder, &str, &Personality) -> Result<Provided, KeyFault>;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file could not be read or made.
    #[error("key `{}` could not be read or made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("key `{}` has mode {mode:04o}, allowed is 0600 or tighter", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What stands in the file is not such a key.
    #[error("key `{}` cannot be used: {reason}; put it back from a backup, or remove it, and a new one is made", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The folder of the install's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFolder(PathBuf);

impl KeyFolder {
    /// The folder `keys` in the state folder; it is made with the first key.
    pub fn within(state_dir: &Path) -> Self {
        Self(state_dir.join("keys"))
    }

    /// Where the key `name` is, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The key `name`; if there is none, what `make` gives is kept as such.
    ///
    /// Limits: `name` is a plain file name, and what others made of their own choice (a decoy's name) has passed the
    /// configuration; the file has at most 64 KiB.
    pub fn keep(&self, name: &str, make: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<Vec<u8>, KeyFault> {
        let path = self.path(name);
        let failed = |source| KeyFault::File {
            path: path.clone(),
            source,
        };
        if !path.exists() {
            let made = make().map_err(failed)?;
            self.prepare().and_then(|()| write(&path, &made)).map_err(failed)?;
        }
        let file = File::open(&path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFault::Open { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(KEY_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Says that the key `name` is not what its file's name says.
    pub fn damaged(&self, name: &str, reason: impl std::fmt::Display) -> KeyFault {
        KeyFault::Damaged {
            path: self.path(name),
            reason: reason.to_string(),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }
}

/// Writes a new file for the owner alone. One that somebody else made in the meantime stays.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        // A link, not a rename: it never replaces a key that somebody else made in the meantime.
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_the_owner_alone_and_stays() {
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::within(state.path());
        assert_eq!(folder.keep("a.key", || Ok(b"first".to_vec())).unwrap(), b"first");
        assert_eq!(folder.keep("a.key", || Ok(b"second".to_vec())).unwrap(), b"first");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path("a.key")), 0o600);
        assert_eq!(mode(&state.path().join("keys")), 0o700);
        assert_eq!(fs::read_dir(state.path().join("keys")).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::within(state.path());
        folder.keep("a.key", || Ok(b"x".to_vec())).unwrap();
        fs::set_permissions(folder.path("a.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = folder.keep("a.key", || Ok(Vec::new())).unwrap_err();
        assert!(matches!(error, KeyFault::Open { mode: 0o644, .. }), "{error}");
    }

    #[test]
    fn a_key_that_cannot_be_made_leaves_nothing_behind() {
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::within(state.path());
        let error = folder
            .keep("a.key", || Err(io::Error::other("no entropy")))
            .unwrap_err();
        assert!(error.to_string().contains("a.key"), "{error}");
        assert!(!state.path().join("keys").exists());
    }
}
