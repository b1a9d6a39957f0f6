//! The state folder, and the secrets core draws from its site key.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use trapline_schemas::ids::SiteKey;
use trapline_sink::config::ExposeSecret;

use crate::config::SiteKeySource;
use crate::decoy::personality::Install;
use crate::record::key::{self, KeyError, KeyFile};

/// Makes the state folder, or tightens one that is there, to 0700.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The site key: from its file, made if absent, or from the text that was given. A given text that is not 64 hex
/// digits stands for its BLAKE3 hash, so that a phrase serves.
pub(super) fn site_key(source: &SiteKeySource) -> Result<(SiteKey, Option<KeyFile>), KeyError> {
    match source {
        SiteKeySource::File(path) => key::load(path).map(|(key, file)| (key, Some(file))),
        SiteKeySource::Given(secret) => {
            let text = secret.expose_secret();
            let hashed = || SiteKey::new(*blake3::hash(text.as_bytes()).as_bytes());
            Ok((key::parse(text).unwrap_or_else(|_| hashed()), None))
        }
    }
}

/// What makes this install look unlike others, also unlike those that share its site key.
pub(super) fn install(key: &SiteKey, observer: &str) -> Install {
    let drawn = key.hmac_hex(format!("install {observer}").as_bytes());
    Install::from_seed(*blake3::hash(drawn.as_bytes()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_for_its_owner_alone() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        prepare(&deep).unwrap();
        assert_eq!(mode(&deep), 0o700);
        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        prepare(&deep).unwrap();
        assert_eq!(mode(&deep), 0o700);
    }

    #[test]
    fn a_given_phrase_is_a_key_of_its_own_and_digits_are_the_key_itself() {
        let given = |text: &str| {
            site_key(&SiteKeySource::Given(text.to_owned().into()))
                .unwrap()
                .0
                .hmac_hex(b"x")
        };
        assert_ne!(given("correct horse battery"), given("correct horse staple"));
        let digits = "ab".repeat(32);
        assert_eq!(given(&digits), SiteKey::new([0xab; 32]).hmac_hex(b"x"));
    }

    #[test]
    fn two_sensors_of_one_site_look_different() {
        let key = SiteKey::new([1; 32]);
        assert_eq!(install(&key, "a").draw("x"), install(&key, "a").draw("x"));
        assert_ne!(install(&key, "a").draw("x"), install(&key, "b").draw("x"));
    }
}
