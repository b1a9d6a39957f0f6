//! The sink's keys and what becomes of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};
use trapline_notice::Voice;
use trapline_schemas::Format;
use trapline_sink::base_url;
use trapline_sink::config::{
    Audience, Common, Factory, Key, KeyKind, Origin, Problem, SinkType, Table, parse_duration,
};
use trapline_sink::http::HttpClient;
use trapline_sink::pace::INTERVAL_MAX;
use trapline_sink::stream::{Fault, FaultKind, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};
use trapline_vendor::{Login, LoginSettings, Place, Profile, ProfileError, Vendor, Wants, is_own, keys, load};

use crate::desk::{Desk, Habits};
use crate::markup::Markup;
use crate::told::NAMES;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "case",
    keys: KEYS,
    audience: Audience::People,
    follows_incidents: true,
    // A case has no form of events; the plainest one stands for it.
    formats: &[Format::Text],
    parse,
    doc: "A case per incident at TheHive, ServiceNow or Jira: opened, updated, closed",
};

/// What a profile must have for this sink.
pub const WANTS: Wants<'static> = Wants {
    names: NAMES,
    needed: &["check", "find", "open", "look", "update"],
    optional: &["raise", "close", "reopen"],
    takes: &[("find", "id"), ("open", "id"), ("look", "closed")],
    settings: &["markup", "settle"],
};

const KEYS: &[Key] = &[
    Key::required(
        "vendor",
        KeyKind::Text,
        "Whose cases: the name of a file in `config/vendors/`, or in the folder `vendors` beside this file.",
    ),
    Key::required(
        "endpoint",
        KeyKind::Address,
        "Base URL, such as `https://thehive.example`.",
    ),
    keys::TOKEN,
    keys::USERNAME,
    keys::PASSWORD,
    keys::CLIENT_ID,
    keys::CLIENT_SECRET,
    keys::TOKEN_URL,
    keys::TOKEN_SCOPE,
    Key::optional(
        "fields",
        KeyKind::Values,
        "Fields that each case gets, in the vendor's words, such as `{ project = \"SEC\" }`.",
    ),
    Key::default(
        "close",
        KeyKind::Bool,
        "true",
        "Whether a case is closed when its incident is over.",
    ),
    Key::default(
        "reopen",
        KeyKind::Bool,
        "true",
        "Whether a case that somebody closed is opened again when its incident goes on.",
    ),
    Key::default("tone", KeyKind::Text, "\"formal\"", "Voice of the notices."),
    Key::default(
        "interval",
        KeyKind::Duration {
            min: Duration::from_millis(1),
            max: INTERVAL_MAX,
        },
        "\"1s\"",
        "Shortest time between two notices.",
    ),
    Key::default(
        "timeout",
        KeyKind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(60),
        },
        "\"10s\"",
        "Longest wait for one answer, from the connection to its last byte.",
    ),
    tls::KEY,
];

/// What the loader keeps.
#[derive(Debug)]
struct Settings {
    vendor: String,
    base: Url,
    login: LoginSettings,
    fields: Map<String, Value>,
    close: bool,
    reopen: bool,
    tone: String,
    interval: Duration,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let profile = self.profile(common.notices.folder.as_deref());
        let profile = profile.map_err(|errors| config(errors.first().map(ToString::to_string).unwrap_or_default()))?;
        if let [missing, ..] = profile.missing(&self.fields).as_slice() {
            return Err(config(format!("{} needs `fields.{missing}`", self.vendor)));
        }
        let habits = self.habits(&profile);
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let login = Login::new(
            &self.login,
            &profile,
            Place {
                base: self.base.clone(),
                tls: tls.clone(),
                timeout: self.timeout,
                resolver: common.resolver.clone(),
            },
        )?;
        let voice = Voice::new(&self.tone, &common.notices).map_err(|error| config(error.to_string()))?;
        let tls = tls.filter(|_| self.base.scheme() == "https");
        let client = HttpClient::new(self.base.clone(), tls, self.timeout, common.resolver.clone())?;
        let vendor = Vendor::new(client, profile, login, &self.fields);
        let place = format!("{} {}", self.vendor, self.base);
        Ok(Arc::new(Desk::new(vendor, voice, habits, place)))
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let mut problems = self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default();
        problems.extend(Voice::look(table, "tone", &common.notices));
        match self.profile(common.notices.folder.as_deref()) {
            Ok(profile) => problems.extend(self.unfit(&profile, table)),
            Err(errors) => problems.extend(errors.into_iter().map(|error| wrong(table, error))),
        }
        problems
    }
}

impl Settings {
    fn profile(&self, folder: Option<&Path>) -> Result<Profile, Vec<ProfileError>> {
        load(&self.vendor, folder, &WANTS).and_then(|profile| {
            let errors = settings_of(&profile).err();
            errors.map_or(Ok(profile), |error| Err(vec![error]))
        })
    }

    fn habits(&self, profile: &Profile) -> Habits {
        let (markup, settle) = settings_of(profile).unwrap_or((Markup::Plain, Duration::ZERO));
        Habits {
            close: self.close && profile.has("close"),
            reopen: self.reopen && profile.has("reopen"),
            interval: self.interval,
            settle,
            markup,
        }
    }

    /// What the table lacks for a vendor that the program carries. A file of the user's, which wins, is looked at by
    /// `check`.
    fn unfit_at_once(&self, table: &Table, folder: Option<&Path>) -> Vec<Problem> {
        if folder.is_some_and(|folder| is_own(&self.vendor, folder)) {
            return Vec::new();
        }
        let profile = self.profile(None);
        profile.map_or_else(|_| Vec::new(), |profile| self.unfit(&profile, table))
    }

    /// What the table lacks for this vendor.
    fn unfit(&self, profile: &Profile, table: &Table) -> Vec<Problem> {
        let missing = profile.missing(&self.fields).into_iter().map(|name| {
            let found = format!("`{}` needs the field `{name}`", self.vendor);
            Problem::error(table.place("fields"), found, format!("fields = {{ {name} = … }}"))
        });
        let mut problems: Vec<_> = missing.collect();
        if let Err(allowed) = self.login.kind(profile) {
            let found = format!("`{}` does not take these credentials", self.vendor);
            problems.push(Problem::error(table.place("vendor"), found, allowed));
        }
        problems
    }
}

/// The sink's own keys of a profile.
fn settings_of(profile: &Profile) -> Result<(Markup, Duration), ProfileError> {
    let wrong = |key: &str, found: &str, allowed: String| ProfileError {
        place: format!("{}.toml: settings.{key}", profile.name),
        found: found.to_owned(),
        allowed,
    };
    let word = profile.settings.get("markup").map_or("plain", String::as_str);
    let markup = Markup::parse(word).ok_or_else(|| {
        let words: Vec<_> = Markup::WORDS.iter().map(|(word, _)| *word).collect();
        wrong("markup", &format!("`{word}`"), words.join(", "))
    })?;
    let settle = profile.settings.get("settle").map_or("0s", String::as_str);
    let within = |settle: &Duration| *settle <= Duration::from_secs(60);
    match parse_duration(settle).filter(within) {
        Some(settle) => Ok((markup, settle)),
        None => Err(wrong(
            "settle",
            &format!("`{settle}`"),
            "a duration of at most \"60s\"".to_owned(),
        )),
    }
}

fn wrong(table: &Table, error: ProfileError) -> Problem {
    let gap = if error.place.is_empty() { "" } else { ": " };
    let found = format!("{}{gap}{}", error.place, error.found);
    Problem::error(table.place("vendor"), found, error.allowed)
}

fn config(message: String) -> Fault {
    Fault {
        kind: FaultKind::Config,
        message,
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let settings = settings(table);
    let unfit = settings.unfit_at_once(table, folder(table).as_deref());
    unfit.into_iter().for_each(|problem| table.report("vendor", problem));
    Box::new(settings)
}

fn settings(table: &Table) -> Settings {
    let base = base_url::read(table, "endpoint", "https://thehive.example");
    Settings {
        vendor: table.text("vendor"),
        login: LoginSettings::read(table),
        fields: table.values("fields"),
        close: table.bool("close"),
        reopen: table.bool("reopen"),
        tone: table.text("tone"),
        interval: table.duration("interval"),
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table),
        base,
    }
}

/// The folder of the file in which the table stands.
fn folder(table: &Table) -> Option<PathBuf> {
    match table.own_place().origin {
        Origin::Text { source, .. } => Path::new(&source.name).parent().map(Path::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use trapline_sink::config::NoticeSettings;
    use trapline_sink::dial::Resolver;

    use super::*;

    /// What is said of a table: by the loader, and by `check`.
    fn said(toml: &str, folder: Option<&Path>) -> (Vec<String>, Vec<String>) {
        let (table, problems) = Table::for_test(toml, KEYS);
        let factory = parse(&table);
        let common = Common {
            name: "desk".to_owned(),
            format: Format::Text,
            observer: "lure-1".to_owned(),
            resolver: Resolver::default(),
            notices: NoticeSettings {
                folder: folder.map(Path::to_owned),
                ..NoticeSettings::default()
            },
        };
        let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        assert!(!format!("{factory:?}").contains("hush"));
        (told(problems.take()), told(factory.look(&table, &common)))
    }

    #[test]
    fn what_a_vendor_needs_is_told_at_once_with_what_is_allowed() {
        let thehive = "vendor = 'thehive'\nendpoint = 'https://thehive.example'\n";
        let jira = "vendor = 'jira_cloud'\nendpoint = 'https://x.atlassian.net'\n";
        for (toml, found) in [
            (format!("{thehive}token = 'hush'"), None),
            (
                format!("{jira}username = 'u'\ntoken = 'hush'\nfields = {{ project = 'SEC' }}"),
                None,
            ),
            (
                format!("{jira}username = 'u'\ntoken = 'hush'"),
                Some("needs the field `project`"),
            ),
            (
                format!("{thehive}client_id = 'c'\nclient_secret = 'hush'"),
                Some("does not take these credentials"),
            ),
            (thehive.to_owned(), Some("no credentials")),
            (
                format!("{}token = 'hush'", thehive.replace("https", "http")),
                Some("thehive.example"),
            ),
        ] {
            let (problems, _) = said(&toml, None);
            assert_eq!(problems.is_empty(), found.is_none(), "{toml}: {problems:?}");
            let told = |found: &str| problems.iter().any(|problem| problem.contains(found));
            assert!(found.is_none_or(told), "{problems:?}");
        }
    }

    #[test]
    fn a_profile_of_the_users_is_looked_at_by_check() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("vendors")).unwrap();
        let toml = "vendor = 'mine'\nendpoint = 'https://desk.example'\ntoken = 'hush'";
        let (problems, looked) = said(toml, Some(folder.path()));
        assert!(problems.is_empty(), "{problems:?}");
        assert!(
            looked[0].contains("there is no vendor `mine`") && looked[0].contains("thehive"),
            "{looked:?}"
        );
        let shipped = include_str!("../../../config/vendors/thehive.toml");
        let wrong = shipped.replace("markup = \"markdown\"", "markup = \"html\"");
        std::fs::write(folder.path().join("vendors/mine.toml"), wrong).unwrap();
        let (_, looked) = said(toml, Some(folder.path()));
        assert!(
            looked[0].contains("settings.markup") && looked[0].contains("markdown"),
            "{looked:?}"
        );
        std::fs::write(folder.path().join("vendors/mine.toml"), shipped).unwrap();
        assert_eq!(said(toml, Some(folder.path())).1, Vec::<String>::new());
    }

    #[test]
    fn a_file_of_the_users_is_not_held_against_the_one_that_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("vendors")).unwrap();
        let toml = "vendor = 'jira_cloud'\nendpoint = 'https://x.atlassian.net'\nusername = 'u'\ntoken = 'hush'";
        let (table, _) = Table::for_test(toml, KEYS);
        let at_once = || settings(&table).unfit_at_once(&table, Some(folder.path())).len();
        assert_eq!(at_once(), 1, "no project");
        let shipped = include_str!("../../../config/vendors/jira_cloud.toml");
        let own = shipped.replace("needs = [\"project\"]", "needs = []");
        std::fs::write(folder.path().join("vendors/jira_cloud.toml"), own).unwrap();
        assert_eq!(at_once(), 0);
        assert_eq!(said(toml, Some(folder.path())).1, Vec::<String>::new());
    }

    #[test]
    fn the_folder_is_that_of_the_file_in_which_the_table_stands() {
        let (table, _) = Table::for_test("vendor = 'thehive'", KEYS);
        assert_eq!(folder(&table).as_deref(), Some(Path::new("")), "of `test.toml`");
    }
}
