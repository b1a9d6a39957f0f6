//! Which recognisers there are: those in the binary, and those in a folder of the user's, where a same-named file wins.

use std::collections::BTreeMap;
use std::path::Path;

use include_dir::{Dir, include_dir};

use super::{Recogniser, RecogniserError};

/// The files in the binary.
static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/config/benign");

/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Most files of the user's that are read.
const FILES_MAX: usize = 256;

/// Names of recognisers.
pub type Names = Vec<String>;

/// What is wrong with files that cannot be used.
pub type Unreadable = Vec<RecogniserError>;

/// Every recogniser, by name, and what is wrong with those that cannot be used.
pub fn all(folder: &Path) -> (Vec<Recogniser>, Unreadable) {
    let mut texts: BTreeMap<String, (String, Result<String, String>)> = embedded()
        .map(|(name, text)| {
            (
                name.to_owned(),
                (format!("{name}.toml (embedded)"), Ok(text.to_owned())),
            )
        })
        .collect();
    texts.extend(own(folder));
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, (origin, text)) in texts {
        let read = match text {
            Ok(text) => Recogniser::parse(&name, &origin, &text),
            Err(why) => Err(RecogniserError::unreadable(&origin, why)),
        };
        match read {
            Ok(recogniser) => good.push(recogniser),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

/// The names of all recognisers there would be.
pub fn names(folder: &Path) -> Names {
    let own = own(folder).into_iter().map(|(name, _)| name);
    let mut names: Names = embedded_names().map(str::to_owned).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

/// The names of those in the binary.
pub fn embedded_names() -> impl Iterator<Item = &'static str> {
    embedded().map(|(name, _)| name)
}

fn embedded() -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.files().filter_map(|file| {
        let name = file.path().file_name()?.to_str()?.strip_suffix(".toml")?;
        Some((name, file.contents_utf8()?))
    })
}

type Text = (String, Result<String, String>);

/// Files of the user's: name, and origin with text or why there is none.
fn own(folder: &Path) -> Vec<(String, Text)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned();
            (!name.starts_with('.')).then(|| (name, entry.path()))
        })
        .collect();
    files.sort();
    files.truncate(FILES_MAX);
    let read = |(name, path): (String, std::path::PathBuf)| {
        let text = read(&path).map_err(|error| format!("could not be read: {error}"));
        (name, (path.display().to_string(), text))
    };
    files.into_iter().map(read).collect()
}

fn read(path: &Path) -> std::io::Result<String> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    std::fs::read_to_string(path)
}
