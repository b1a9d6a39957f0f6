//! Which profiles there are: those in the program, and those in the folder `vendors` beside the user's configuration,
//! where a same-named file wins.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::profile::{Profile, Wants};
use crate::read::{ProfileError, read};

/// The files in the program.
static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../config/vendors");
/// The folder beside the user's configuration.
const FOLDER: &str = "vendors";
/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most files of the user's that are listed in a message.
const FILES_MAX: usize = 64;

/// The names of all profiles there would be; not each is for every sink.
pub fn vendors(folder: Option<&Path>) -> Vec<String> {
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

/// A vendor's profile, read and held against what its sink wants. Without `folder` only those in the program are known.
/// Errors: everything that is wrong with it.
pub fn load(vendor: &str, folder: Option<&Path>, wants: &Wants<'_>) -> Result<Profile, Vec<ProfileError>> {
    let (origin, text) = text_of(vendor, folder).map_err(|error| vec![error])?;
    read(vendor, &origin, &text, wants)
}

/// Whether the user has a file for a vendor of this name, which then wins.
pub fn is_own(vendor: &str, folder: &Path) -> bool {
    // Also a link that leads nowhere is a file of that name: one that cannot be read.
    is_plain(vendor) && own(vendor, folder).symlink_metadata().is_ok()
}

fn own(vendor: &str, folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(format!("{vendor}.toml"))
}

/// A profile's text, and what it is called in messages.
pub(crate) fn text_of(vendor: &str, folder: Option<&Path>) -> Result<(String, Cow<'static, str>), ProfileError> {
    if let Some(path) = folder
        .filter(|folder| is_own(vendor, folder))
        .map(|folder| own(vendor, folder))
    {
        let origin = path.display().to_string();
        return match read_file(&path) {
            Ok(text) => Ok((origin, text.into())),
            Err(error) => Err(ProfileError::new(
                &origin,
                "",
                &error.to_string(),
                "a file that can be read",
            )),
        };
    }
    let file = EMBEDDED.get_file(format!("{vendor}.toml"));
    match file.and_then(|file| file.contents_utf8()) {
        Some(text) => Ok((format!("{vendor}.toml (embedded)"), text.into())),
        None => {
            let shown = trapline_schemas::text::clean_within(vendor.as_bytes(), 60);
            let found = format!("there is no vendor `{shown}`");
            Err(ProfileError::new("", "", &found, &vendors(folder).join(", ")))
        }
    }
}

/// A file name and no path: a configuration may not point out of its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn read_file(path: &Path) -> std::io::Result<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_the_configuration_wins_and_a_path_is_no_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(FOLDER)).unwrap();
        std::fs::write(folder.path().join("vendors/thehive.toml"), "mine").unwrap();
        std::fs::write(folder.path().join("secret.toml"), "no").unwrap();
        let text = |vendor: &str| text_of(vendor, Some(folder.path())).map(|(_, text)| text.into_owned());
        assert_eq!(text("thehive").unwrap(), "mine");
        assert!(text("jira_cloud").unwrap().contains("[[steps.open]]"));
        for wrong in ["../secret", ".", "", "/etc/passwd", "no_such"] {
            let error = text(wrong).unwrap_err().to_string();
            assert!(error.contains("thehive"), "{error}");
        }
        std::fs::create_dir(folder.path().join("vendors/odd.toml")).unwrap();
        assert!(text("odd").unwrap_err().to_string().contains("regular file"));
    }
}
