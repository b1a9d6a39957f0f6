//! Reading what a configuration consists of: the file, its mode, the environment, secret files, credentials.
//!
//! The only room of the configuration with I/O. In: a path, or none for the embedded configuration. Out:
//! [`Provisioned`], which lends [`Sources`] to [`load()`](super::load()).
//!
//! Invariants:
//! 1. As root a file that others own or may write is refused, and so is one in a folder where others may put one:
//!    every parent, with links resolved. A root-owned sticky folder is fine.
//! 2. The current folder is never looked in: a relative path is the caller's own.
//! 3. What is read is bounded: 1 MiB of configuration, 64 KiB of a secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trapline_sink::config::{Outside, SourceText};

use super::load::Sources;
use super::{EMBEDDED, EMBEDDED_NAME};

/// Largest configuration file, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Largest secret, bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Why a configuration could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The operator's path or its permissions.
    #[error("configuration `{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too long to be one.
    #[error("configuration `{}` is larger than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Text of another encoding.
    #[error("configuration `{}` is UTF-16: save it as UTF-8", .0.display())]
    Utf16(PathBuf),
    /// Running as root, and somebody else could change the file.
    #[error("configuration `{}` is refused: running as root, and {why}", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Who else may change what.
        why: String,
    },
}

impl ProvisionError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } | Self::TooLarge(path) | Self::Utf16(path) | Self::Unsafe { path, .. } => {
                path
            }
        }
    }
}

/// Everything that was read.
#[derive(Debug)]
pub struct Provisioned {
    source: Arc<SourceText>,
    not_utf8: Option<usize>,
    config_dir: PathBuf,
    default_state_dir: PathBuf,
    literal_secrets: bool,
    world: World,
}

impl Provisioned {
    /// Reads the file at `path`, or takes the embedded configuration; and the environment of this process.
    ///
    /// Errors: [`ProvisionError`]; nothing was changed.
    pub fn read(path: Option<&Path>) -> Result<Self, ProvisionError> {
        let world = World::of_process();
        let default_state_dir = world.default_state_dir();
        let Some(path) = path else {
            return Ok(Self::embedded(world, default_state_dir));
        };
        let (bytes, mode) = read_file(path)?;
        let not_utf8 = std::str::from_utf8(&bytes).err().map(|error| error.valid_up_to());
        // The folder is made absolute, for relative paths must mean the same wherever a command is started.
        let absolute = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
        Ok(Self {
            source: Arc::new(SourceText {
                name: path.display().to_string(),
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }),
            not_utf8,
            config_dir: absolute.parent().unwrap_or(Path::new("/")).to_owned(),
            default_state_dir,
            literal_secrets: mode & 0o077 == 0,
            world,
        })
    }

    fn embedded(world: World, default_state_dir: PathBuf) -> Self {
        Self {
            source: Arc::new(SourceText {
                name: EMBEDDED_NAME.into(),
                text: EMBEDDED.into(),
            }),
            not_utf8: None,
            config_dir: default_state_dir.clone(),
            default_state_dir,
            literal_secrets: false,
            world,
        }
    }

    /// What [`load()`](super::load()) takes.
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            source: self.source.clone(),
            not_utf8: self.not_utf8,
            config_dir: self.config_dir.clone(),
            default_state_dir: self.default_state_dir.clone(),
            literal_secrets: self.literal_secrets,
            variables: self.world.variables.clone(),
            outside: &self.world,
        }
    }

    /// Folder of the configuration file, where same-named files win over embedded ones; the state folder for the
    /// embedded configuration.
    pub fn config_dir(&self) -> &Path {
        &self.config_dir
    }
}

fn unreadable(path: &Path, source: io::Error) -> ProvisionError {
    ProvisionError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

/// The bytes and the mode of one open file: what is checked is what is read.
fn read_file(path: &Path) -> Result<(Vec<u8>, u32), ProvisionError> {
    let fail = |source| unreadable(path, source);
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    if rustix::process::geteuid().is_root() {
        refuse_unsafe(path, &metadata, ROOT)?;
    }
    let bytes = read_bounded(file, FILE_BYTES_MAX)
        .map_err(fail)?
        .ok_or_else(|| ProvisionError::TooLarge(path.to_owned()))?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ProvisionError::Utf16(path.to_owned()));
    }
    Ok((bytes, metadata.mode()))
}

fn read_bounded(file: File, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// Refuses a file that somebody but root and `trusted` could change or replace.
fn refuse_unsafe(path: &Path, metadata: &Metadata, trusted: u32) -> Result<(), ProvisionError> {
    let refuse = |why| ProvisionError::Unsafe {
        path: path.to_owned(),
        why,
    };
    if let Some(why) = others(metadata, trusted) {
        return Err(refuse(format!("the file {why}")));
    }
    // The path as written and the file it leads to: a link in a folder of others is as good as the folder.
    let written = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
    let real = match path.canonicalize() {
        // A pipe that a shell made stands in no folder.
        Err(_) if metadata.file_type().is_fifo() => written.clone(),
        real => real.map_err(|source| unreadable(path, source))?,
    };
    for folder in written.ancestors().skip(1).chain(real.ancestors().skip(1)) {
        let metadata = folder.metadata().map_err(|source| unreadable(folder, source))?;
        let sticky = metadata.uid() == ROOT && metadata.mode() & 0o1000 != 0;
        if let Some(why) = others(&metadata, trusted).filter(|_| !sticky) {
            return Err(refuse(format!("its folder `{}` {why}", folder.display())));
        }
    }
    Ok(())
}

const ROOT: u32 = 0;

/// What somebody but root and `trusted` may do with it, if anything.
fn others(metadata: &Metadata, trusted: u32) -> Option<String> {
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != ROOT && owner != trusted {
        return Some(format!("is owned by user {owner}"));
    }
    (mode & 0o022 != 0).then(|| format!("is writable for others (mode {:o})", mode & 0o7777))
}

/// The process's environment and file system, as far as a configuration may look.
#[derive(Debug)]
struct World {
    variables: BTreeMap<String, String>,
    /// Names of those whose value is not UTF-8.
    not_utf8: Vec<String>,
}

impl World {
    fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    /// A name that is not UTF-8 is none of ours and left out.
    fn of(all: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let (mut variables, mut not_utf8) = (BTreeMap::new(), Vec::new());
        for (name, value) in all.filter_map(|(name, value)| Some((name.into_string().ok()?, value))) {
            match value.into_string() {
                Ok(value) => drop(variables.insert(name, value)),
                Err(_) => not_utf8.push(name),
            }
        }
        Self { variables, not_utf8 }
    }

    /// `$STATE_DIRECTORY` of systemd, `$XDG_STATE_HOME/trapline`, `~/.local/state/trapline`, `/var/lib/trapline`.
    fn default_state_dir(&self) -> PathBuf {
        let folder = |name: &str| {
            let path = PathBuf::from(self.variables.get(name)?.split(':').next()?);
            path.is_absolute().then_some(path)
        };
        folder("STATE_DIRECTORY")
            .or_else(|| Some(folder("XDG_STATE_HOME")?.join("trapline")))
            .or_else(|| Some(folder("HOME")?.join(".local/state/trapline")))
            .unwrap_or_else(|| "/var/lib/trapline".into())
    }
}

impl Outside for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn not_utf8(&self) -> &[String] {
        &self.not_utf8
    }

    fn secret_file(&self, path: &Path) -> Result<String, String> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
        let bytes = read_bounded(file, SECRET_BYTES_MAX)
            .map_err(|error| format!("`{shown}` cannot be read: {error}"))?
            .ok_or_else(|| format!("`{shown}` is larger than {SECRET_BYTES_MAX} bytes"))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("`{shown}` is not UTF-8"))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn credential(&self, name: &str) -> Result<String, String> {
        let plain = !name.is_empty() && !name.contains(['/', '\0']) && name != ".." && name != ".";
        if !plain {
            return Err("the name of a credential is a file name".into());
        }
        match self.variables.get("CREDENTIALS_DIRECTORY") {
            Some(folder) => self.secret_file(&Path::new(folder).join(name)),
            None if self.not_utf8.iter().any(|name| name == "CREDENTIALS_DIRECTORY") => {
                Err("no credentials here: $CREDENTIALS_DIRECTORY is not UTF-8".into())
            }
            None => Err("no credentials here: $CREDENTIALS_DIRECTORY is not set".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    /// A folder of mode 0755 with a file of mode 0600.
    fn file(text: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        fs::write(&path, text).unwrap();
        set_mode(folder.path(), 0o755);
        set_mode(&path, 0o600);
        (folder, path)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Why the file is refused by somebody who trusts root and `trusted`.
    fn refusal(path: &Path, trusted: u32) -> Option<String> {
        let checked = refuse_unsafe(path, &path.metadata().unwrap(), trusted);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn a_file_that_only_we_can_change_is_taken_also_below_a_sticky_folder() {
        let (folder, path) = file("");
        let us = path.metadata().unwrap().uid();
        let above = folder.path().parent().unwrap().metadata().unwrap();
        assert!(
            above.mode() & 0o1000 != 0 || above.mode() & 0o022 == 0,
            "the temporary folder is a usual one"
        );
        assert_eq!(refusal(&path, us), None);
    }

    #[test]
    fn a_file_or_folder_that_others_may_write_is_refused() {
        let (folder, path) = file("");
        let us = path.metadata().unwrap().uid();
        for mode in [0o620, 0o602, 0o666] {
            set_mode(&path, mode);
            let why = refusal(&path, us).unwrap();
            assert!(
                why.ends_with(&format!("the file is writable for others (mode {mode:o})")),
                "{why}"
            );
        }
        set_mode(&path, 0o644);
        set_mode(folder.path(), 0o775);
        let why = refusal(&path, us).unwrap();
        assert!(
            why.contains("its folder `") && why.ends_with("is writable for others (mode 775)"),
            "{why}"
        );
    }

    #[test]
    fn a_link_in_a_folder_of_others_is_refused() {
        let (_real, path) = file("");
        let us = path.metadata().unwrap().uid();
        let (open, _) = file("");
        let link = open.path().join("link.toml");
        symlink(&path, &link).unwrap();
        assert_eq!(refusal(&link, us), None);
        set_mode(open.path(), 0o777);
        assert!(refusal(&link, us).is_some());
    }

    #[test]
    fn a_file_of_somebody_else_is_refused() {
        let (_folder, path) = file("");
        // Given away where we may (as root); else it is ours, and not of the one who is trusted.
        let given = std::os::unix::fs::chown(&path, Some(12_345), None).is_ok();
        let owner = path.metadata().unwrap().uid();
        let trusted = if given { ROOT } else { owner + 1 };
        assert!(
            refusal(&path, trusted)
                .unwrap()
                .contains(&format!("the file is owned by user {owner}"))
        );
    }

    #[test]
    fn what_was_read_keeps_its_folder_and_whether_secrets_may_stand_in_it() {
        let (folder, path) = file("# text");
        let read = Provisioned::read(Some(&path)).unwrap();
        let sources = read.sources();
        assert_eq!(sources.source.text, "# text");
        assert_eq!(sources.config_dir, folder.path());
        assert!(sources.literal_secrets);
        set_mode(&path, 0o640);
        assert!(!Provisioned::read(Some(&path)).unwrap().sources().literal_secrets);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_stood_in_for_and_the_first_is_known() {
        let (_folder, path) = file("");
        fs::write(&path, b"a = '\xff'\nb = '\xc3'").unwrap();
        let read = Provisioned::read(Some(&path)).unwrap();
        assert_eq!(read.sources().not_utf8, Some(5));
        assert_eq!(read.sources().source.text, "a = '\u{fffd}'\nb = '\u{fffd}'");
        fs::write(&path, "a = '\u{fffd}'").unwrap();
        assert_eq!(Provisioned::read(Some(&path)).unwrap().sources().not_utf8, None);
    }

    #[test]
    fn files_that_are_no_configuration_are_told_apart() {
        let (folder, path) = file("");
        let told = |path: &Path| Provisioned::read(Some(path)).unwrap_err();
        assert!(matches!(
            told(&folder.path().join("none")),
            ProvisionError::Unreadable { .. }
        ));
        assert!(matches!(told(folder.path()), ProvisionError::Unreadable { .. }));
        fs::write(&path, b"\xff\xfea\0").unwrap();
        assert!(matches!(told(&path), ProvisionError::Utf16(_)));
        fs::write(&path, vec![b' '; 1 + (1 << 20)]).unwrap();
        assert!(matches!(told(&path), ProvisionError::TooLarge(_)));
    }

    #[test]
    fn secrets_are_read_bounded_and_without_their_line_end() {
        let (folder, path) = file("hush\n");
        let credentials = folder.path().display().to_string();
        let world = World {
            variables: BTreeMap::from([("CREDENTIALS_DIRECTORY".to_owned(), credentials)]),
            not_utf8: Vec::new(),
        };
        assert_eq!(world.secret_file(&path).unwrap(), "hush");
        assert_eq!(world.credential("t.toml").unwrap(), "hush");
        for name in ["", "..", "../t.toml", "/etc/passwd"] {
            assert!(world.credential(name).is_err(), "{name}");
        }
        fs::write(&path, vec![b'x'; 1 + (64 << 10)]).unwrap();
        assert!(world.secret_file(&path).unwrap_err().contains("larger than"));
        let none = World {
            variables: BTreeMap::new(),
            not_utf8: Vec::new(),
        };
        assert!(
            none.credential("t.toml")
                .unwrap_err()
                .contains("$CREDENTIALS_DIRECTORY is not set")
        );
    }

    #[test]
    fn the_state_folder_follows_the_system_then_the_user() {
        let folder = |variables: &[(&str, &str)]| {
            let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            World {
                variables: variables.iter().map(text).collect(),
                not_utf8: Vec::new(),
            }
            .default_state_dir()
        };
        let home = ("HOME", "/home/a");
        assert_eq!(folder(&[home]), Path::new("/home/a/.local/state/trapline"));
        assert_eq!(
            folder(&[home, ("XDG_STATE_HOME", "relative")]),
            Path::new("/home/a/.local/state/trapline")
        );
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "/x")]), Path::new("/x/trapline"));
        assert_eq!(
            folder(&[("STATE_DIRECTORY", "/var/lib/t:/other"), ("XDG_STATE_HOME", "/x")]),
            Path::new("/var/lib/t")
        );
        assert_eq!(folder(&[]), Path::new("/var/lib/trapline"));
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_known_by_its_name() {
        use std::os::unix::ffi::OsStringExt;
        let pair = |name: &[u8], value: &[u8]| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()));
        let all = [
            pair(b"A", b"\xff5"),
            pair(b"B", b"5"),
            pair(b"\xff", b"5"),
            pair(b"CREDENTIALS_DIRECTORY", b"\xff"),
        ];
        let world = World::of(all.into_iter());
        assert_eq!(world.not_utf8(), ["A", "CREDENTIALS_DIRECTORY"]);
        assert_eq!((world.variable("A"), world.variable("B")), (None, Some("5".into())));
        assert!(world.credential("x").unwrap_err().contains("is not UTF-8"));
    }
}
