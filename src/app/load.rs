//! The configuration of this program: which file, checked against the rows of all stations.

use std::path::{Path, PathBuf};

use crate::config::{
    ConditionMistake, ConfigError, KnownLook, Loaded, ProvisionError, Provisioned, Recognisers, Rules, ServiceRule,
    UnknownLook, load,
};
use crate::decoy::personality::{self, Personality, PersonalityError};
use crate::decoy::services::{self, SERVICES};
use crate::delivery::registry::{SETS, SINKS};
use crate::graph::condition;
use crate::record::benign;

/// Where the configuration is if no `--config` names one.
pub(super) const SYSTEM_PATH: &str = "/etc/trapline/trapline.toml";
/// Folder beside the configuration whose personalities win over the embedded ones.
const PERSONALITIES: &str = "personalities";
/// Folder beside the configuration whose recognisers of benign noise win over the embedded ones.
const BENIGN: &str = "benign";

/// Folders beside the configuration whose files win over the embedded ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Looks of decoys.
    pub personalities: PathBuf,
    /// Recognisers of benign noise.
    pub benign: PathBuf,
}

impl Folders {
    fn beside(config_dir: &Path) -> Self {
        Self {
            personalities: config_dir.join(PERSONALITIES),
            benign: config_dir.join(BENIGN),
        }
    }
}

/// Which configuration an instance runs on.
#[derive(Debug, Clone)]
pub struct Source {
    path: Option<PathBuf>,
}

/// Why there is no configuration. Both are exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read, or others may write it.
    #[error(transparent)]
    Read(#[from] ProvisionError),
    /// It was read, and is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
}

impl LoadError {
    /// The file that cannot be read.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Read(error) => Some(error.path()),
            Self::Wrong(_) => None,
        }
    }
}

impl Source {
    /// The file that was named; else the system's, if it is there; else the embedded configuration.
    pub fn choose(named: Option<&Path>) -> Self {
        let system = || Path::new(SYSTEM_PATH).exists().then(|| SYSTEM_PATH.into());
        // Absolute, for a reload must find it whatever becomes of the working folder.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            path: named.map(absolute).or_else(system),
        }
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads and checks it all; changes nothing.
    pub fn load(&self) -> Result<(Loaded, Folders), LoadError> {
        let read = Provisioned::read(self.path())?;
        let folders = Folders::beside(read.config_dir());
        let loaded = with_rules(&folders, |rules| load(&read.sources(), rules))?;
        Ok((loaded, folders))
    }
}

/// Every service, as the configuration needs it.
pub fn service_rules() -> Vec<ServiceRule> {
    let rule = |service: &services::Service| ServiceRule {
        name: service.name,
        transports: service.transports(),
        personality: service.personality,
    };
    SERVICES.iter().map(rule).collect()
}

fn with_rules<T>(folders: &Folders, act: impl FnOnce(&Rules<'_>) -> T) -> T {
    let look = |name: &str| look(name, &folders.personalities);
    let rules = Rules {
        sinks: SINKS,
        sets: SETS,
        services: &service_rules(),
        look: &look,
        condition: &mistakes,
        recognisers: &recognisers(&folders.benign),
    };
    act(&rules)
}

fn recognisers(folder: &Path) -> Recognisers {
    let (_, unreadable) = benign::all(folder);
    Recognisers {
        names: benign::names(folder),
        mistakes: unreadable.iter().map(ToString::to_string).collect(),
    }
}

/// The service that a personality is for.
fn look(name: &str, folder: &Path) -> Result<KnownLook, UnknownLook> {
    // Any install will do: what is asked is only whether it can be read and what it is for.
    let install = personality::Install::from_seed([0; 32]);
    match Personality::load(name, Some(folder), &install) {
        Ok(personality) => Ok(KnownLook {
            service: personality.service,
            upgrades: personality.tls.upgrade,
        }),
        Err(PersonalityError::Unknown(_)) => Err(UnknownLook {
            found: vec![format!("unknown personality `{}`", trapline_sink::config::shown(name))],
            names: names(folder),
        }),
        Err(first) => Err(UnknownLook {
            found: found(first, Personality::mistakes(name, Some(folder))),
            names: Vec::new(),
        }),
    }
}

/// All mistakes of a file; the first one at least, should the file be another by now.
fn found(first: PersonalityError, mut all: Vec<PersonalityError>) -> Vec<String> {
    if all.is_empty() {
        all.push(first);
    }
    let told = |error: PersonalityError| format!("{:#}", anyhow::Error::from(error));
    all.into_iter().map(told).collect()
}

/// Embedded personalities and those beside the configuration.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let own = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned()));
    let mut names: Vec<_> = personality::embedded_names().map(str::to_owned).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

fn mistakes(text: &str) -> Vec<ConditionMistake> {
    let mistake = |problem: condition::ConditionProblem| ConditionMistake {
        offset: problem.offset,
        found: problem.message,
        hint: problem.hint,
    };
    let problems = condition::check(text).err().unwrap_or_default();
    problems.into_iter().map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_personality_of_ones_own_is_told_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(format!("{name}.toml"));
        std::fs::write(
            at("mine"),
            "service = 'banner'\nos = 7\nproduct = 'x'\n[look]\ngreting = ''\n",
        )
        .unwrap();
        std::fs::write(at("bytes"), b"service = 'banner'\nos = '\xff'\n").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", at("dang")).unwrap();
        for (name, count, words) in [
            ("mine", 2, "unknown field `greting`"),
            ("bytes", 1, ":2:7: this is not UTF-8"),
            ("folder", 1, "could not be read: it is not a regular file"),
            ("dang", 1, "could not be read: No such file"),
        ] {
            let unknown = look(name, folder.path()).unwrap_err();
            assert!(unknown.names.is_empty(), "{name}: {unknown:?}");
            assert_eq!(unknown.found.len(), count, "{unknown:?}");
            assert!(unknown.found.iter().any(|found| found.contains(words)), "{unknown:?}");
        }
        let unknown = look("min", folder.path()).unwrap_err();
        assert!(unknown.names.contains(&"mine".to_owned()), "{unknown:?}");
    }
}
