//! The file as a log of whole lines.
//!
//! In: a block of lines. Out: the block at the end of the file, whole, or nothing of it. What the disk can do wrong is
//! behind [`Medium`], so that tests can do it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::shown;

/// Longest torn line that is cut: more than that without a line end is no file of ours.
pub(crate) const TORN_BYTES_MAX: u64 = 1024 * 1024;

/// Why lines could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The operator's: the folder is missing.
    #[error("folder of `{}` does not exist: create it, or change `path`", shown(.0))]
    NoFolder(PathBuf),
    /// The operator's: a device, folder or pipe.
    #[error("`{}` is not a regular file", shown(.0))]
    NotAFile(PathBuf),
    /// The operator's: a file that is not made of lines.
    #[error("`{}` does not end in a line end within {bound} bytes: not a file of events, left alone", shown(.path))]
    NotLines {
        /// The file.
        path: PathBuf,
        /// How far back was looked.
        bound: u64,
    },
    /// Another process or sink is writing at this moment.
    #[error("`{}` is locked by another writer", shown(.0))]
    Locked(PathBuf),
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

/// Looks at the path without creating or changing anything; says what is there.
pub(crate) fn look_at(path: &Path) -> Result<String, FileError> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(FileError::NotAFile(path.to_owned())),
        Ok(found) => {
            let opened = OpenOptions::new().append(true).open(path);
            opened.map_err(|source| FileError::Io {
                what: "open",
                path: path.to_owned(),
                source,
            })?;
            Ok(format!("{} bytes, writable", found.len()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder(path).is_dir() {
            true => Ok("will be created".to_owned()),
            false => Err(FileError::NoFolder(path.to_owned())),
        },
        Err(source) => Err(FileError::Io {
            what: "look at",
            path: path.to_owned(),
            source,
        }),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What a log needs of a file system.
pub(crate) trait Medium: Send {
    /// An open file.
    type Handle: Send;
    /// The path, for messages.
    fn path(&self) -> &Path;
    /// Opens or creates the file for appending and reading.
    fn open(&mut self) -> Result<Self::Handle, FileError>;
    /// Whether the handle still is the file at the path.
    fn is_current(&mut self, handle: &Self::Handle) -> bool;
    /// Takes the file for one write; `false` if another has it.
    fn lock(&mut self, handle: &Self::Handle) -> io::Result<bool>;
    /// Gives it back.
    fn unlock(&mut self, handle: &Self::Handle);
    /// Its length.
    fn len(&mut self, handle: &Self::Handle) -> io::Result<u64>;
    /// Reads `len` bytes at `at`.
    fn read(&mut self, handle: &mut Self::Handle, at: u64, len: usize) -> io::Result<Vec<u8>>;
    /// Appends all bytes.
    fn write(&mut self, handle: &mut Self::Handle, bytes: &[u8]) -> io::Result<()>;
    /// Cuts it to `len`.
    fn cut(&mut self, handle: &Self::Handle, len: u64) -> io::Result<()>;
    /// Makes its content durable.
    fn sync(&mut self, handle: &Self::Handle) -> io::Result<()>;
}

/// Whole lines at the end of a file.
#[derive(Debug)]
pub(crate) struct Log<M: Medium> {
    medium: M,
    handle: Option<M::Handle>,
    sync: bool,
    torn_lines: u64,
}

impl<M: Medium> Log<M> {
    pub(crate) fn new(medium: M, sync: bool) -> Self {
        Self {
            medium,
            handle: None,
            sync,
            torn_lines: 0,
        }
    }

    /// Torn lines cut so far.
    pub(crate) fn torn_lines(&self) -> u64 {
        self.torn_lines
    }

    /// Appends `lines`, whole or not at all. Blocking: a write and, if so set, a sync.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), FileError> {
        let mut handle = self.current()?;
        if !self.medium.lock(&handle).map_err(|source| self.io("lock", source))? {
            self.handle = Some(handle);
            return Err(FileError::Locked(self.medium.path().to_owned()));
        }
        let written = self.append_locked(&mut handle, lines);
        self.medium.unlock(&handle);
        // After any error the handle is dropped: the next batch opens anew and cuts what is left of this one.
        if written.is_ok() {
            self.handle = Some(handle);
        }
        written
    }

    fn append_locked(&mut self, handle: &mut M::Handle, lines: &[u8]) -> Result<(), FileError> {
        let start = self.cut_torn_line(handle)?;
        let written = self
            .medium
            .write(handle, lines)
            .map_err(|source| self.io("write to", source));
        let synced = written.and_then(|()| match self.sync {
            true => self.medium.sync(handle).map_err(|source| self.io("sync", source)),
            false => Ok(()),
        });
        if synced.is_err()
            && let Err(error) = self.medium.cut(handle, start)
        {
            tracing::debug!(%error, "cannot cut a failed batch now, the next open will");
        }
        synced
    }

    /// The handle of the file that is at the path now.
    fn current(&mut self) -> Result<M::Handle, FileError> {
        match self.handle.take() {
            Some(handle) if self.medium.is_current(&handle) => Ok(handle),
            _ => self.medium.open(),
        }
    }

    /// Cuts a last line without its end, and gives the length. One byte is read if there is none.
    fn cut_torn_line(&mut self, handle: &mut M::Handle) -> Result<u64, FileError> {
        let len = self.medium.len(handle).map_err(|source| self.io("measure", source))?;
        if len == 0 || self.read(handle, len - 1, 1)? == b"\n" {
            return Ok(len);
        }
        let window = len.min(TORN_BYTES_MAX);
        let tail = self.read(handle, len - window, usize::try_from(window).unwrap_or(0))?;
        let keep = match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => len - window + at as u64 + 1,
            None if window == len => 0,
            None => {
                return Err(FileError::NotLines {
                    path: self.medium.path().to_owned(),
                    bound: TORN_BYTES_MAX,
                });
            }
        };
        self.medium.cut(handle, keep).map_err(|source| self.io("cut", source))?;
        self.torn_lines += 1;
        tracing::warn!(
            file.path = %self.medium.path().display(),
            file.bytes = len - keep,
            "a torn last line was cut, its event is sent again if it was not yet acknowledged"
        );
        Ok(keep)
    }

    fn read(&mut self, handle: &mut M::Handle, at: u64, len: usize) -> Result<Vec<u8>, FileError> {
        self.medium
            .read(handle, at, len)
            .map_err(|source| self.io("read", source))
    }

    fn io(&self, what: &'static str, source: io::Error) -> FileError {
        FileError::Io {
            what,
            path: self.medium.path().to_owned(),
            source,
        }
    }
}

/// The real file system.
#[derive(Debug)]
pub(crate) struct System {
    path: PathBuf,
}

impl System {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn io(&self, what: &'static str, source: io::Error) -> FileError {
        FileError::Io {
            what,
            path: self.path.clone(),
            source,
        }
    }
}

impl Medium for System {
    type Handle = File;

    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&mut self) -> Result<File, FileError> {
        look_at(&self.path)?;
        let new = !self.path.exists();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o640)
            .open(&self.path);
        let file = file.map_err(|source| self.io("open", source))?;
        if new {
            // A new name is durable only with its folder.
            let synced = File::open(folder(&self.path)).and_then(|folder| folder.sync_all());
            synced.map_err(|source| self.io("sync the folder of", source))?;
        }
        Ok(file)
    }

    fn is_current(&mut self, handle: &File) -> bool {
        match (handle.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn lock(&mut self, handle: &File) -> io::Result<bool> {
        match handle.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&mut self, handle: &File) {
        if let Err(error) = handle.unlock() {
            tracing::debug!(%error, "cannot unlock, closing will");
        }
    }

    fn len(&mut self, handle: &File) -> io::Result<u64> {
        Ok(handle.metadata()?.len())
    }

    fn read(&mut self, handle: &mut File, at: u64, len: usize) -> io::Result<Vec<u8>> {
        handle.seek(SeekFrom::Start(at))?;
        let mut bytes = vec![0; len];
        handle.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, handle: &mut File, bytes: &[u8]) -> io::Result<()> {
        handle.write_all(bytes)
    }

    fn cut(&mut self, handle: &File, len: u64) -> io::Result<()> {
        handle.set_len(len)?;
        handle.sync_data()
    }

    fn sync(&mut self, handle: &File) -> io::Result<()> {
        handle.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real file whose next write or sync goes wrong.
    #[derive(Debug)]
    struct Faulty {
        inner: System,
        room: Option<usize>,
        sync_fails: bool,
        cut_fails: bool,
        opened: usize,
    }

    impl Medium for Faulty {
        type Handle = File;
        fn path(&self) -> &Path {
            self.inner.path()
        }
        fn open(&mut self) -> Result<File, FileError> {
            self.opened += 1;
            self.inner.open()
        }
        fn is_current(&mut self, handle: &File) -> bool {
            self.inner.is_current(handle)
        }
        fn lock(&mut self, handle: &File) -> io::Result<bool> {
            self.inner.lock(handle)
        }
        fn unlock(&mut self, handle: &File) {
            self.inner.unlock(handle);
        }
        fn len(&mut self, handle: &File) -> io::Result<u64> {
            self.inner.len(handle)
        }
        fn read(&mut self, handle: &mut File, at: u64, len: usize) -> io::Result<Vec<u8>> {
            self.inner.read(handle, at, len)
        }
        fn write(&mut self, handle: &mut File, bytes: &[u8]) -> io::Result<()> {
            match self.room {
                Some(room) if room < bytes.len() => {
                    self.inner.write(handle, &bytes[..room])?;
                    Err(io::ErrorKind::StorageFull.into())
                }
                _ => self.inner.write(handle, bytes),
            }
        }
        fn cut(&mut self, handle: &File, len: u64) -> io::Result<()> {
            if self.cut_fails {
                Err(io::Error::other("read-only"))
            } else {
                self.inner.cut(handle, len)
            }
        }
        fn sync(&mut self, handle: &File) -> io::Result<()> {
            if self.sync_fails {
                Err(io::Error::other("input/output error"))
            } else {
                self.inner.sync(handle)
            }
        }
    }

    fn faulty() -> (tempfile::TempDir, PathBuf, Log<Faulty>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let inner = System::new(&path);
        let medium = Faulty {
            inner,
            room: None,
            sync_fails: false,
            cut_fails: false,
            opened: 0,
        };
        (folder, path, Log::new(medium, true))
    }

    fn content(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_full_disk_leaves_no_half_line_and_the_same_batch_succeeds_later() {
        let (_folder, path, mut log) = faulty();
        log.append(b"one\n").unwrap();
        log.medium.room = Some(5);
        assert!(
            log.append(b"two\nthree\n")
                .unwrap_err()
                .to_string()
                .contains("cannot write to")
        );
        assert_eq!(content(&path), "one\n");
        log.medium.room = None;
        log.append(b"two\nthree\n").unwrap();
        assert_eq!(content(&path), "one\ntwo\nthree\n");
    }

    #[test]
    fn what_could_not_be_cut_at_once_is_cut_before_the_next_batch() {
        let (_folder, path, mut log) = faulty();
        log.append(b"one\n").unwrap();
        (log.medium.room, log.medium.cut_fails) = (Some(2), true);
        log.append(b"two\n").unwrap_err();
        assert_eq!(content(&path), "one\ntw");
        (log.medium.room, log.medium.cut_fails) = (None, false);
        log.append(b"two\n").unwrap();
        assert_eq!((content(&path).as_str(), log.torn_lines()), ("one\ntwo\n", 1));
    }

    #[test]
    fn a_handle_whose_sync_failed_is_never_used_again() {
        let (_folder, path, mut log) = faulty();
        log.append(b"one\n").unwrap();
        log.medium.sync_fails = true;
        log.append(b"two\n").unwrap_err();
        assert_eq!((log.handle.is_none(), log.medium.opened), (true, 1));
        log.medium.sync_fails = false;
        log.append(b"two\n").unwrap();
        assert_eq!((content(&path).as_str(), log.medium.opened), ("one\ntwo\n", 2));
    }

    #[test]
    fn a_torn_last_line_is_cut_and_counted() {
        let (_folder, path, mut log) = faulty();
        std::fs::write(&path, "one\n{\"half\":").unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!((content(&path).as_str(), log.torn_lines()), ("one\ntwo\n", 1));
    }

    #[test]
    fn a_file_that_is_one_torn_line_is_cut_to_nothing() {
        let (_folder, path, mut log) = faulty();
        std::fs::write(&path, "{\"half\":").unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(content(&path), "two\n");
    }

    #[test]
    fn a_file_that_is_not_made_of_lines_is_left_alone() {
        let (_folder, path, mut log) = faulty();
        let foreign = vec![b'x'; usize::try_from(TORN_BYTES_MAX).unwrap() + 1];
        std::fs::write(&path, &foreign).unwrap();
        assert!(matches!(log.append(b"two\n"), Err(FileError::NotLines { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), foreign);
    }

    #[test]
    fn a_renamed_file_gets_nothing_more_and_a_new_one_begins() {
        let (folder, path, mut log) = faulty();
        log.append(b"one\n").unwrap();
        let rotated = folder.path().join("events.jsonl.1");
        std::fs::rename(&path, &rotated).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(
            (content(&rotated).as_str(), content(&path).as_str()),
            ("one\n", "two\n")
        );
    }

    #[test]
    fn a_removed_or_truncated_file_goes_on_at_its_new_end() {
        let (_folder, path, mut log) = faulty();
        log.append(b"one\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(content(&path), "two\n");
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(content(&path), "three\n");
    }

    #[test]
    fn a_writer_that_holds_the_file_is_waited_for() {
        let (_folder, path, mut log) = faulty();
        let other = File::create(&path).unwrap();
        other.lock().unwrap();
        assert!(matches!(log.append(b"one\n"), Err(FileError::Locked(_))));
        other.unlock().unwrap();
        log.append(b"one\n").unwrap();
        assert_eq!(content(&path), "one\n");
    }

    #[test]
    fn a_new_file_is_not_for_everyone() {
        let (_folder, path, mut log) = faulty();
        log.append(b"one\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o137, 0);
    }

    #[test]
    fn a_missing_folder_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = look_at(&folder.path().join("missing/events.jsonl"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("missing/events.jsonl` does not exist: create it"),
            "{error}"
        );
        assert!(matches!(look_at(folder.path()), Err(FileError::NotAFile(_))));
    }
}
