//! Which voices there are: those in the program, and those in the folder `notices` beside the user's configuration,
//! where a same-named file wins.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use trapline_sink::{Fault, FaultKind};

use crate::book::Mistake;

/// The files in the program.
static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../config/notices");

/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Most files of the user's that are listed in a message.
const FILES_MAX: usize = 64;

/// The tone of those who ask for none.
pub const DEFAULT_TONE: &str = "passive-aggressive";

/// Why there is no voice: a word or a file of the user's is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoiceError {
    /// Neither beside the configuration nor in the program.
    #[error("there is no tone `{tone}`; allowed: {known}")]
    Unknown {
        /// The word that was asked for.
        tone: String,
        /// Those that there are.
        known: String,
    },
    /// The file could not be read.
    #[error("`{}` could not be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{0}")]
    Wrong(Mistake),
}

/// A sink without a voice cannot work before somebody acts.
impl From<VoiceError> for Fault {
    fn from(error: VoiceError) -> Self {
        Self {
            kind: FaultKind::Config,
            message: error.to_string(),
        }
    }
}

/// The names of all voices there would be.
pub fn tones(folder: Option<&Path>) -> Vec<String> {
    let own = folder.and_then(|folder| std::fs::read_dir(folder.join(FOLDER)).ok());
    let own = own
        .into_iter()
        .flatten()
        .flatten()
        .take(FILES_MAX)
        .map(|entry| entry.path());
    let embedded = EMBEDDED.files().map(|file| file.path().to_owned());
    let names = embedded.chain(own).filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".toml")?.to_owned();
        is_plain(&name).then_some(name)
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The folder beside the user's configuration.
const FOLDER: &str = "notices";

/// A voice's origin, for messages, and its text.
pub(crate) fn text_of(tone: &str, folder: Option<&Path>) -> Result<(String, Cow<'static, str>), VoiceError> {
    if let Some(path) = folder
        .filter(|_| is_plain(tone))
        .map(|folder| folder.join(FOLDER).join(format!("{tone}.toml")))
        // Also a link that leads nowhere is a file of that name: one that cannot be read.
        .filter(|path| path.symlink_metadata().is_ok())
    {
        let text = read(&path).map_err(|source| VoiceError::Unreadable {
            path: path.clone(),
            source,
        })?;
        return Ok((path.display().to_string(), text.into()));
    }
    let text = EMBEDDED
        .get_file(format!("{tone}.toml"))
        .and_then(|file| file.contents_utf8());
    let text = text.ok_or_else(|| VoiceError::Unknown {
        tone: crate::safe::line(tone, 60),
        known: tones(folder).join(", "),
    })?;
    Ok((format!("{tone}.toml (embedded)"), text.into()))
}

/// A file name and no path: a configuration may not point out of its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn read(path: &Path) -> std::io::Result<String> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if found.len() > FILE_BYTES_MAX {
        let size = found.len();
        return Err(std::io::Error::other(format!(
            "it has {size} bytes, at most {FILE_BYTES_MAX} are read"
        )));
    }
    std::fs::read_to_string(path)
}
