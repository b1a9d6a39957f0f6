//! Small files of this host, below a folder that is `/` but in tests. Blocking: called on threads that may wait.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Largest file that is read whole; of a larger one the rest is left.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files of one folder; the first by name.
const FILES_MAX: usize = 1024;

/// The folder that absolute paths are below.
#[derive(Debug, Clone)]
pub(super) struct Root(PathBuf);

impl Root {
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The bytes of a file; `None` if it is not there or no regular file. Errors: with the path.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        // A pipe in its place would be waited for.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(self.at(path));
        let read = opened.and_then(|file| {
            let mut bytes = Vec::new();
            if file.metadata()?.is_file() {
                file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
                return Ok(Some(bytes));
            }
            Ok(None)
        });
        match read {
            Err(error) if is_absent(&error) => Ok(None),
            read => read.map_err(|error| format!("`{path}`: {error}")),
        }
    }

    /// The text of a file, whatever it is encoded in; none if it is not there.
    pub fn text(&self, path: &str) -> Result<Option<String>, String> {
        let bytes = self.read(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Paths of the files of a folder whose names end so, by name; none if it is not there.
    pub fn list(&self, folder: &str, end: &str) -> Result<Vec<String>, String> {
        let entries = match std::fs::read_dir(self.at(folder)) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries.map_err(|error| format!("`{folder}`: {error}"))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).take(FILES_MAX).collect();
        names.sort();
        Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_below_the_root_and_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/b.conf"), "text").unwrap();
        std::fs::write(folder.path().join("etc/a.conf"), "").unwrap();
        let pipe = folder.path().join("etc/pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let root = Root::new(folder.path());
        assert_eq!(root.text("/etc/b.conf").unwrap().as_deref(), Some("text"));
        assert_eq!(root.read("/etc/pipe"), Ok(None));
        assert_eq!(root.read("/etc/none"), Ok(None));
        assert_eq!(root.read("/etc/b.conf/c"), Ok(None));
        assert_eq!(root.list("/etc", ".conf").unwrap(), ["/etc/a.conf", "/etc/b.conf"]);
        assert_eq!(root.list("/run", ""), Ok(vec![]));
    }
}
