//! How a service looks: one TOML file, read once.
//!
//! ```toml
//! service = "ssh"                # a row of `services`
//! os = "linux"                   # family, so that one host tells one story
//! product = "OpenSSH"
//! version = "9.2p1"
//! [look]                         # keys of that service alone
//! banner = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"
//! [tls]                          # how it does TLS; absent: as Debian, and only where configured
//! alpn = ["http/1.1"]
//! ```
//!
//! In: the embedded `config/personalities/*.toml`, and a same-named file in the folder beside the user's
//! configuration, which wins. Out: [`Personality`], shared by all sessions of its decoys.
//!
//! Invariants: 1. a service's table is parsed once, at load, into the service's own type. 2. No text of ours is equal
//! on two installs where the real product's would differ: `{{…}}` variables come from [`Install`].

mod mistakes;

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;
use trapline_schemas::ids::SiteKey;

use crate::decoy::services::{self, Service};
use crate::decoy::tls::certificate::TlsLook;

/// The files in the binary.
static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/config/personalities");

/// Largest personality file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How a service looks.
pub struct Personality {
    /// File name without `.toml`.
    pub name: SmolStr,
    /// The service it is for.
    pub service: &'static str,
    /// Family of the operating system it belongs on: `linux`, `windows`, `network`, …
    pub os: SmolStr,
    /// The product it claims to be.
    pub product: SmolStr,
    /// The version it claims to be; may be empty.
    pub version: SmolStr,
    /// What makes this install unlike others.
    pub install: Install,
    /// How its product does TLS.
    pub tls: TlsLook,
    look: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Personality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Personality")
            .field("name", &self.name)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Personality {
    /// Reads the personality `name`: `folder/name.toml` if there, else the embedded one.
    pub fn load(name: &str, folder: Option<&Path>, install: &Install) -> Result<Arc<Self>, PersonalityError> {
        let (origin, text) = text_of(name, folder)?;
        Self::parse(name, &origin, &text, install)
    }

    /// Everything that is wrong with the personality `name`, not only what [`Personality::load`] comes to first.
    pub fn mistakes(name: &str, folder: Option<&Path>) -> Vec<PersonalityError> {
        match text_of(name, folder) {
            Ok((origin, text)) => mistakes::of(&origin, &text),
            Err(error) => vec![error],
        }
    }

    /// Parses the text of a personality; `origin` names it in errors.
    pub fn parse(name: &str, origin: &str, text: &str, install: &Install) -> Result<Arc<Self>, PersonalityError> {
        let wrong = |error: toml::de::Error| PersonalityError::wrong(origin, text, &error);
        let head: Head = toml::from_str(text).map_err(wrong)?;
        let word = head.service.get_ref();
        let service = services::find(word).ok_or_else(|| {
            PersonalityError::at(
                origin,
                text,
                head.service.span(),
                &format!("there is no service `{word}`"),
            )
        })?;
        let look = (service.look)(text).map_err(wrong)?;
        Ok(Arc::new(Self {
            name: name.into(),
            service: service.name,
            os: look.os.into(),
            product: look.product.into(),
            version: look.version.into(),
            install: install.clone(),
            tls: look.tls,
            look: look.own,
        }))
    }

    /// The service's own table. The caller names the type that its row's `look` parses.
    pub fn look<T: Any>(&self) -> &T {
        self.look
            .downcast_ref()
            .expect("a service asks for the type that its own row parsed")
    }

    /// Whether this is a look of `service`.
    pub fn is_for(&self, service: &Service) -> bool {
        self.service == service.name
    }
}

/// Every embedded personality's name.
pub fn embedded_names() -> impl Iterator<Item = &'static str> {
    EMBEDDED
        .files()
        .filter_map(|file| file.path().file_name()?.to_str()?.strip_suffix(".toml"))
}

/// The text of an embedded personality.
pub fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.get_file(format!("{name}.toml"))?.contents_utf8()
}

/// A personality's origin, for messages, and its text.
fn text_of(name: &str, folder: Option<&Path>) -> Result<(String, Cow<'static, str>), PersonalityError> {
    if let Some(path) = folder
        .filter(|_| is_plain(name))
        .map(|folder| folder.join(format!("{name}.toml")))
        // Also a link that leads nowhere is a file of that name: one that cannot be read.
        .filter(|path| path.symlink_metadata().is_ok())
    {
        return Ok((path.display().to_string(), read_bounded(&path)?.into()));
    }
    let text = embedded(name).ok_or_else(|| PersonalityError::Unknown(name.into()))?;
    Ok((format!("{name}.toml (embedded)"), text.into()))
}

/// A file name and no path: a configuration may not point out of its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn read_bounded(path: &Path) -> Result<String, PersonalityError> {
    let unreadable = |source| PersonalityError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a regular file")));
    }
    let size = found.len();
    if size > FILE_BYTES_MAX {
        return Err(PersonalityError::TooLarge {
            path: path.to_owned(),
            size,
        });
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        PersonalityError::at(&path.display().to_string(), &text, at..at, "this is not UTF-8")
    })
}

/// Only what tells which service reads the rest.
#[derive(serde::Deserialize)]
struct Head {
    service: toml::Spanned<String>,
}

/// A parsed file: what is common, and the service's own part.
pub struct Look {
    os: String,
    product: String,
    version: String,
    tls: TlsLook,
    own: Box<dyn Any + Send + Sync>,
}

/// The whole file, with the service's own table typed.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    #[serde(rename = "service")]
    _service: String,
    os: String,
    product: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    tls: TlsLook,
    look: T,
}

/// Reads a whole personality file with `T` as its `[look]` table: what a service's row names.
pub fn look<T>(text: &str) -> Result<Look, toml::de::Error>
where
    T: serde::de::DeserializeOwned + Any + Send + Sync,
{
    let file: File<T> = toml::from_str(text)?;
    Ok(Look {
        os: file.os,
        product: file.product,
        version: file.version,
        tls: file.tls,
        own: Box::new(file.look),
    })
}

/// Why a personality could not be had. The user's file or word is at fault.
#[derive(Debug, thiserror::Error)]
pub enum PersonalityError {
    /// Neither beside the configuration nor embedded.
    #[error("there is no personality `{0}`")]
    Unknown(String),
    /// The file could not be read.
    #[error("`{}` could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any personality.
    #[error("`{}` has {size} bytes, at most {FILE_BYTES_MAX} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The file says something that cannot be.
    #[error("{origin}:{line}:{column}: {found}")]
    Wrong {
        /// The file, or the name of the embedded one.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What was found and what is allowed.
        found: String,
    },
}

impl PersonalityError {
    fn wrong(origin: &str, text: &str, error: &toml::de::Error) -> Self {
        Self::at(origin, text, error.span().unwrap_or(0..0), error.message())
    }

    fn at(origin: &str, text: &str, span: Range<usize>, found: &str) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self::Wrong {
            origin: origin.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            found: found.to_owned(),
        }
    }
}

/// What makes an install unlike others: a host name to claim, and a secret seed for all that a real product draws at
/// random once.
#[derive(Clone)]
pub struct Install {
    host: SmolStr,
    domain: SmolStr,
    seed: [u8; 32],
}

impl fmt::Debug for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Install")
            .field("host", &self.host)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl Install {
    /// An install with the names it claims; `seed` is secret and stable, such as a digest of the site key.
    pub fn new(host: &str, domain: &str, seed: [u8; 32]) -> Self {
        Self {
            host: host.into(),
            domain: domain.into(),
            seed,
        }
    }

    /// An install whose names are drawn from its seed, so that no host name is ours by default.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let drawn = draw(&seed, "host name");
        let pick = |words: &[&'static str], at: usize| words[usize::from(drawn[at]) % words.len()];
        let number = drawn[2] % 12 + 1;
        let host = format!(
            "{}{number:02}",
            pick(&["srv", "app", "web", "files", "backup", "db", "mail", "vm"], 0)
        );
        let domain = pick(&["local", "lan", "internal", "intra", "corp.local", "office.lan"], 1);
        Self::new(&host, domain, seed)
    }

    /// The install of this sensor at this site: sensors that share a key still differ.
    pub fn of(key: &SiteKey, observer: &str) -> Self {
        let secret = key.hmac_hex(format!("decoy install\0{observer}").as_bytes());
        Self::from_seed(Sha256::digest(secret).into())
    }

    /// The short host name it claims.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The domain it claims.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// 32 bytes that are the same on this install for this label, and unlike on any other: host keys, GUIDs, serials.
    pub fn draw(&self, label: &str) -> [u8; 32] {
        draw(&self.seed, label)
    }

    /// Replaces `{{host}}`, `{{domain}}`, `{{fqdn}}` and `{{hex LABEL}}` (32 hex digits, stable per label). What is
    /// not known stays as it is.
    pub fn expand<'a>(&self, template: &'a str) -> Cow<'a, str> {
        expand(template, |name| self.variable(name))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        match name {
            "host" => Some(self.host.to_string()),
            "domain" => Some(self.domain.to_string()),
            "fqdn" => Some(format!("{}.{}", self.host, self.domain)),
            _ => name.strip_prefix("hex ").map(|label| self.hex(label)),
        }
    }

    fn hex(&self, label: &str) -> String {
        let drawn = self.draw(label);
        drawn.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn draw(seed: &[u8; 32], label: &str) -> [u8; 32] {
    Sha256::new_with_prefix(seed)
        .chain_update(label.as_bytes())
        .finalize()
        .into()
}

/// Replaces each `{{name}}` that `value` knows. No copy if there is none.
pub(crate) fn expand(template: &str, value: impl Fn(&str) -> Option<String>) -> Cow<'_, str> {
    if !template.contains("{{") {
        return Cow::Borrowed(template);
    }
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, from)) = rest.split_once("{{") {
        out.push_str(before);
        let known = from
            .split_once("}}")
            .and_then(|(name, after)| Some((value(name.trim())?, after)));
        match known {
            Some((text, after)) => {
                out.push_str(&text);
                rest = after;
            }
            None => {
                out.push_str("{{");
                rest = from;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoy::testing::install;

    fn parse(text: &str) -> String {
        match Personality::parse("test", "test.toml", text, &install()) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_embedded_personality_is_whole_and_every_service_has_its_own() {
        let mut names = Vec::new();
        for name in embedded_names() {
            names.push(name);
            let personality = Personality::load(name, None, &install()).unwrap_or_else(|error| panic!("{error}"));
            assert!(!personality.os.is_empty() && !personality.product.is_empty(), "{name}");
        }
        for service in services::SERVICES {
            let personality = Personality::load(service.personality, None, &install());
            assert!(personality.is_ok_and(|found| found.is_for(service)), "{}", service.name);
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/personalities");
        let files = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(
            names.len(),
            files,
            "a new file needs a rebuild: touch src/decoy/personality.rs"
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let unknown = parse("service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\ngreting = ''\n");
        assert!(
            unknown.starts_with("test.toml:5:1: unknown field `greting`"),
            "{unknown}"
        );
        let service = parse("os = 'é'\nservice = 'sssh'\n");
        assert_eq!(service, "test.toml:2:11: there is no service `sssh`");
        let torn = parse("service = 'banner'\nos = \n");
        assert!(torn.starts_with("test.toml:2:"), "{torn}");
    }

    #[test]
    fn a_file_beside_the_configuration_wins_and_cannot_point_out_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let own = "service = 'banner'\nos = 'linux'\nproduct = 'mine'\n[look]\n";
        std::fs::write(folder.path().join("banner-postfix.toml"), own).unwrap();
        let load = |name| Personality::load(name, Some(&folder.path().join("sub")), &install());
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        assert!(matches!(load("../banner-postfix"), Err(PersonalityError::Unknown(_))));
        let found = Personality::load("banner-postfix", Some(folder.path()), &install()).unwrap();
        assert_eq!(found.product, "mine");
    }

    #[test]
    fn variables_are_this_installs_and_unknown_ones_stay() {
        let install = install();
        assert_eq!(
            install.expand("{{fqdn}} {{ host }} {{nope}} {{"),
            "files03.corp.local files03 {{nope}} {{"
        );
        let drawn = |key: u8, observer: &str| {
            Install::of(&SiteKey::new([key; 32]), observer)
                .expand("{{hex id}}")
                .into_owned()
        };
        assert_eq!(drawn(1, "a"), drawn(1, "a"));
        assert_ne!(drawn(1, "a"), drawn(1, "b"));
        assert_ne!(drawn(1, "a"), drawn(2, "a"));
        assert_eq!(drawn(1, "a").len(), 32);
    }
}
