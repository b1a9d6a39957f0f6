//! The list as a file: there whole or not at all, and touched only when its content changes.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use trapline_schemas::text::clean_within;

/// Mode of a new file; whoever serves it is in its group, or is let in by hand once: it stays so.
const MODE: u32 = 0o640;

/// Why the file could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The operator's: the folder is missing.
    #[error("folder of `{}` does not exist: create it, or change `path`", shown(.0))]
    NoFolder(PathBuf),
    /// The operator's: a device, folder, pipe or link.
    #[error("`{}` is not a regular file", shown(.0))]
    NotAFile(PathBuf),
    /// The disk's or the file mode's.
    #[error("cannot {what} `{}`: {source}", shown(.path))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    clean_within(path.to_string_lossy().as_bytes(), 200).into()
}

/// Looks at the path without changing anything; says what is there.
pub(crate) fn look_at(path: &Path) -> Result<String, FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(FileError::NotAFile(path.to_owned())),
        Ok(found) => Ok(format!("{} bytes", found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder(path).is_dir() {
            true => Ok("will be created".to_owned()),
            false => Err(FileError::NoFolder(path.to_owned())),
        },
        Err(source) => Err(failed("look at", path)(source)),
    }
}

/// By what it is seen that a file is still the one that was written: device, inode, length and time of change.
pub(crate) type Stamp = [u64; 5];

/// `None` if there is none.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::symlink_metadata(path).ok()?;
    let (secs, nanos) = (found.mtime().cast_unsigned(), found.mtime_nsec().cast_unsigned());
    Some([found.dev(), found.ino(), found.len(), secs, nanos])
}

/// Puts `text` in the place of what is there: under another name, synced, renamed. Blocking.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), FileError> {
    look_at(path)?;
    if holds(path, text) {
        return Ok(());
    }
    let draft = draft(path);
    let _ = fs::remove_file(&draft);
    let written = write(&draft, path, text);
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Whether the file says this already: then its times stay, by which others see whether to read it.
fn holds(path: &Path, text: &str) -> bool {
    let same_length = fs::metadata(path).is_ok_and(|found| found.len() == text.len() as u64);
    let mut held = Vec::new();
    let read = |held: &mut Vec<u8>| File::open(path)?.take(text.len() as u64 + 1).read_to_end(held);
    same_length && read(&mut held).is_ok() && held == text.as_bytes()
}

fn write(draft: &Path, path: &Path, text: &str) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(MODE).open(draft);
    let mut file = file.map_err(failed("create", draft))?;
    keep_access(&file, path).map_err(failed("keep mode and group of", path))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(failed("write", draft))?;
    let renamed = fs::rename(draft, path).and_then(|()| File::open(folder(path))?.sync_all());
    renamed.map_err(failed("replace", path))
}

/// Who could read the old file can read the new one.
fn keep_access(file: &File, path: &Path) -> io::Result<()> {
    let Ok(old) = fs::metadata(path) else { return Ok(()) };
    if file.metadata()?.gid() != old.gid() {
        std::os::unix::fs::fchown(file, None, Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Beside it, so that the rename is one within a file system.
fn draft(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_keeps_its_mode_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.txt");
        replace(&path, "203.0.113.7\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(draft(&path), "left by a crash").unwrap();
        replace(&path, "203.0.113.8\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "203.0.113.8\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_says_it_already_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.txt");
        replace(&path, "203.0.113.7\n").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        replace(&path, "203.0.113.7\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        replace(&path, "203.0.113.9\n").unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn what_is_no_file_is_left_alone_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| replace(path, "203.0.113.7\n").unwrap_err().to_string();
        assert!(told(folder.path()).contains("is not a regular file"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(told(&link).contains("is not a regular file"));
        assert!(told(&folder.path().join("no/edge.txt")).contains("does not exist: create it"));
    }
}
