//! What an install made, so that an uninstall takes back exactly that.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Where it stands, under the root.
const PATH: &str = "etc/trapline/.service.json";

/// What was made, in the order of making. Paths are under the root.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Files, with the hash of what was written into them.
    pub(super) files: Vec<(String, String)>,
    /// Folders.
    pub(super) folders: Vec<String>,
    /// The user, if it was made.
    pub(super) user: Option<String>,
}

impl Record {
    /// Reads what an earlier install left; empty if there was none.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = Self::path(root);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("failed to read `{}`", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("failed to read `{}`", path.display())),
        }
    }

    pub(super) fn path(root: &Path) -> PathBuf {
        root.join(PATH)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty() && self.user.is_none()
    }

    /// Notes a file with what was written into it, in place of what was noted before.
    pub(super) fn note_file(&mut self, path: &str, text: &str) {
        self.files.retain(|(noted, _)| noted != path);
        self.files.push((path.to_owned(), hash(text.as_bytes())));
    }

    /// Whether a file is as an install wrote it.
    pub(super) fn is_as_written(&self, root: &Path, path: &str) -> bool {
        let written = self.files.iter().find(|(noted, _)| noted == path);
        let found = std::fs::read(root.join(path)).ok();
        written
            .zip(found)
            .is_some_and(|((_, written), found)| *written == hash(&found))
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
