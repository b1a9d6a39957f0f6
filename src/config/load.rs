//! From texts to a [`Config`].

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use trapline_sink::config::{
    Context, Key, Node, Origin, Outside, Place, Problem, Problems, Severity, SourceText, Table, Visible, check,
    is_name, listed, no_name, one_of, shown,
};

use super::benign::{BenignSettings, IgnoreSettings, benign, ignores};
use super::canary::{self, CanarySettings};
use super::decoys::{Decoy, decoys};
use super::error::ConfigError;
use super::observer::{Observer, Owner, Zone, observer, owners, zones};
use super::response::response;
use super::rules::Rules;
use super::sections::{SECTIONS, TOP};
use super::sets::{SetSettings, sets};
use super::sinks::{SinkSettings, sinks};
use super::storage::{self, Capture, JournalSettings, Log};
use super::transforms::transforms;
use super::web::{WebSettings, web};
use super::{findings, variables, wiring};
use crate::decoy::Limits;
use crate::graph::scan::ScanSpec;
use crate::graph::transforms::TransformSpec;
use crate::respond::settings::ResponseSettings;

/// Where a configuration comes from: everything that was read, nothing that must be.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// The text and the name that messages show.
    pub source: Arc<SourceText>,
    /// Byte of the text where the first stand-in is for bytes that are not UTF-8.
    pub not_utf8: Option<usize>,
    /// Folder that relative inputs are resolved against.
    pub config_dir: PathBuf,
    /// State folder if neither `state_dir` nor `journal.path` is set.
    pub default_state_dir: PathBuf,
    /// Whether the file's mode allows secrets in it: 0600 or tighter.
    pub literal_secrets: bool,
    /// The environment; `TRAPLINE__…` is laid over the text.
    pub variables: BTreeMap<String, String>,
    /// Variables for `${…}`, secret files, credentials.
    pub outside: &'a dyn Outside,
}

/// A configuration that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder of journal, index, lock, site key and control socket.
    pub state_dir: PathBuf,
    /// This host.
    pub observer: Observer,
    /// Networks that sources come from, by name; at least one.
    pub zones: Vec<Zone>,
    /// Who answers for networks, by name.
    pub owners: Vec<Owner>,
    /// Recognisers of benign noise that are set up, by name.
    pub benign: Vec<BenignSettings>,
    /// Sources that are ignored for a time, by name.
    pub ignores: Vec<IgnoreSettings>,
    /// The journal.
    pub journal: JournalSettings,
    /// What is kept of what peers send.
    pub capture: Capture,
    /// Bounds of sessions.
    pub limits: Limits,
    /// Decoys, by name.
    pub decoys: Vec<Decoy>,
    /// Transforms, by name.
    pub transforms: Vec<TransformSpec>,
    /// What makes a scan, if scans are to be found.
    pub scans: Option<ScanSpec>,
    /// Sinks, by name.
    pub sinks: Vec<SinkSettings>,
    /// Sinks that act, by name.
    pub sets: Vec<SetSettings>,
    /// What is done about sources, if anything.
    pub response: Option<ResponseSettings>,
    /// The live feed, if there is to be one.
    pub web: Option<WebSettings>,
    /// How often the way to them is tried.
    pub canary: CanarySettings,
    /// Diagnostics.
    pub log: Log,
}

/// A configuration that is good, and what to look at nevertheless.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, in the order of the text.
    pub warnings: Vec<Problem>,
}

/// Checks everything and reads it.
///
/// Errors: [`ConfigError`] with every problem there is, warnings among them.
pub fn load(sources: &Sources<'_>, rules: &Rules<'_>) -> Result<Loaded, ConfigError> {
    let problems = Problems::default();
    let mut root = parse(sources, &problems);
    variables::overlay(&mut root, &sources.variables, &problems);
    variables::refuse_not_utf8(sources.outside.not_utf8(), &problems);
    let loader = Loader::new(&root, sources, rules, &problems);
    let config = loader.config();
    let refused = problems.has_errors();
    let problems = problems.take();
    match refused {
        true => Err(ConfigError {
            journal: says_where(&problems).then_some(config.journal.path),
            problems,
            state_dir: config.state_dir,
            sinks: config.sinks,
        }),
        false => Ok(Loaded {
            config,
            warnings: problems,
        }),
    }
}

/// Reads the text. Bytes that are not UTF-8 are one problem, whatever they do to the syntax of their line.
fn parse(sources: &Sources<'_>, problems: &Problems) -> Node {
    let Some(at) = sources.not_utf8 else {
        return Node::parse(&sources.source, problems);
    };
    let origin = Origin::Text {
        source: sources.source.clone(),
        span: at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
    };
    let place = Place {
        origin,
        key: String::new(),
    };
    let line = |place: &Place| place.position().map(|(line, _)| line);
    let syntax = Problems::default();
    let root = Node::parse(&sources.source, &syntax);
    let others = syntax
        .take()
        .into_iter()
        .filter(|other| line(&other.place) != line(&place));
    others.for_each(|problem| problems.push(problem));
    problems.push(Problem::error(place, "this is not UTF-8", "UTF-8 text").show(Visible::Nothing));
    root
}

/// Whether the text could be read, and where the journal is stands in it: its other mistakes do not matter to that. A
/// wrong word at the top may be a misspelt `state_dir`.
fn says_where(problems: &[Problem]) -> bool {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let mut keys = errors.map(|problem| problem.place.key.as_str());
    !keys.any(|key| !key.contains('.') || key == "journal.path")
}

/// A tree on its way to a [`Config`].
pub(super) struct Loader<'a> {
    root: &'a Node,
    pub(super) context: Context<'a>,
    pub(super) rules: &'a Rules<'a>,
    journal: JournalSettings,
    /// The configuration's own.
    file: PathBuf,
}

impl<'a> Loader<'a> {
    /// Finds the state folder, which other values are resolved against.
    fn new(root: &'a Node, sources: &Sources<'a>, rules: &'a Rules<'a>, problems: &Problems) -> Self {
        let mut context = Context {
            outside: sources.outside,
            config_dir: sources.config_dir.clone(),
            // What `state_dir` itself is resolved against.
            state_dir: sources.config_dir.clone(),
            literal_secrets: sources.literal_secrets,
            problems: problems.clone(),
        };
        check_tables(root, problems);
        let state_dir = state_dir(root, &context);
        let journal_path = || root.get("journal").and_then(|table| table.get("path"));
        context.state_dir = match (&state_dir, journal_path()) {
            (Some(folder), _) => folder.clone(),
            (None, Some(_)) => sources.config_dir.clone(),
            (None, None) => sources.default_state_dir.clone(),
        };
        let table = section(root, "journal", storage::JOURNAL, &context);
        let journal = storage::journal(&table, context.state_dir.join("journal.db"));
        if state_dir.is_none() {
            let folder = journal.path.parent().map_or(sources.config_dir.as_path(), |f| f);
            context.state_dir = folder.to_owned();
        }
        let name = Path::new(&sources.source.name).file_name();
        Self {
            root,
            context,
            rules,
            journal,
            file: sources.config_dir.join(name.unwrap_or_default()),
        }
    }

    fn config(&self) -> Config {
        let decoys = decoys(self);
        let sets = sets(self);
        let config = Config {
            web: web(self, &decoys),
            state_dir: self.context.state_dir.clone(),
            observer: observer(self),
            zones: zones(self),
            owners: owners(self),
            benign: benign(self),
            ignores: ignores(self),
            journal: self.journal.clone(),
            capture: storage::capture(self),
            limits: storage::limits(self),
            response: response(self, &decoys, &sets),
            decoys,
            sets,
            sinks: sinks(self),
            log: storage::log(self),
            transforms: transforms(self),
            scans: findings::scans(self),
            canary: canary::canary(self),
        };
        wiring::check(self);
        config
    }

    /// The checked table of a section that has no names.
    pub(super) fn single(&self, name: &str, keys: &'static [Key]) -> Table {
        section(self.root, name, keys, &self.context)
    }

    /// Whether a section is written, as a table.
    pub(super) fn is_there(&self, name: &str) -> bool {
        self.root.get(name).is_some_and(|node| node.entries().is_some())
    }

    /// The checked tables of a section that has names.
    pub(super) fn named(&self, section: &str, keys: &'static [Key]) -> Vec<(String, Table)> {
        self.entries(section)
            .into_iter()
            .map(|(name, node)| (name, self.check(node, keys)))
            .collect()
    }

    /// The tables of a section that has names. Names that are none, and what is no table, are problems of
    /// [`check_tables`].
    pub(super) fn entries(&self, section: &str) -> Vec<(String, &'a Node)> {
        let entries = self.root.get(section).and_then(Node::entries);
        let tables = entries
            .into_iter()
            .flatten()
            .filter(|(_, node)| node.entries().is_some());
        tables.map(|(name, node)| (name.clone(), node)).collect()
    }

    /// Holds a table against keys.
    pub(super) fn check(&self, node: &Node, keys: impl IntoIterator<Item = &'static Key>) -> Table {
        check(node, &keys.into_iter().collect::<Vec<_>>(), &self.context)
    }

    /// The word after `type =`, if it is one of `types`; else the problem.
    pub(super) fn kind(
        &self,
        node: &Node,
        noun: &str,
        types: impl Iterator<Item = &'static str> + Clone,
        later: &[&str],
    ) -> Option<&'static str> {
        let allowed = || one_of(types.clone());
        let Some(written) = node.get("type") else {
            let found = format!("key `type` is missing in `{}`", node.place.key);
            self.context
                .problems
                .push(Problem::error(node.key_place.clone(), found, allowed()));
            return None;
        };
        let word = written.as_text().unwrap_or("");
        let known = types.clone().find(|name| *name == word);
        if known.is_none() {
            let found = match later.contains(&word) {
                true => format!("this build has no {noun} of type `{word}`"),
                false => format!("unknown {noun} type `{}`", shown(word)),
            };
            let problem = Problem::error(written.place.clone(), found, allowed());
            self.context.problems.push(problem.did_you_mean(word, types));
        }
        known
    }

    /// Where a section's name stands; the whole text if it is not there.
    pub(super) fn place(&self, section: &str) -> Place {
        self.root.get(section).unwrap_or(self.root).key_place.clone()
    }

    /// Files in the state folder that no sink may write.
    pub(super) fn reserved_outputs(&self) -> Vec<(PathBuf, String)> {
        let own = |name: &str| (self.context.state_dir.join(name), "trapline itself".to_owned());
        let configuration = (self.file.clone(), "the configuration".to_owned());
        let beside = |suffix: &str| {
            let mut path = self.journal.path.clone().into_os_string();
            path.push(suffix);
            (PathBuf::from(path), "the journal".to_owned())
        };
        let named = |extension: &str| (self.journal.path.with_extension(extension), "the journal".to_owned());
        let journal = [
            beside(""),
            beside("-wal"),
            beside("-shm"),
            named("lock"),
            named("unkept"),
        ];
        let index = ["index.db", "index.db-wal", "index.db-shm"].map(own);
        let others = ["site.key", "control.sock", "web.tokens", "web.used"].map(own);
        let all = journal.into_iter().chain(index).chain(others).chain([configuration]);
        all.map(|(path, owner)| (plain(&path), owner)).collect()
    }
}

fn section(root: &Node, name: &str, keys: &'static [Key], context: &Context<'_>) -> Table {
    let keys: Vec<_> = keys.iter().collect();
    match root.get(name).filter(|node| node.entries().is_some()) {
        Some(node) => check(node, &keys, context),
        None => check(&empty(root, name), &keys, context),
    }
}

/// An absent table: everything in it has its default.
fn empty(root: &Node, name: &str) -> Node {
    let place = Place {
        key: name.to_owned(),
        ..root.place.clone()
    };
    Node {
        place: place.clone(),
        key_place: place,
        value: trapline_sink::config::Raw::Table(BTreeMap::new()),
    }
}

fn state_dir(root: &Node, context: &Context<'_>) -> Option<PathBuf> {
    let mut only = root.clone();
    if let trapline_sink::config::Raw::Table(entries) = &mut only.value {
        entries.retain(|name, _| TOP.iter().any(|key| key.name == name));
    }
    let keys: Vec<_> = TOP.iter().collect();
    check(&only, &keys, context)
        .path("state_dir")
        .map(|path: PathBuf| clean(&path))
}

/// Without `.` and `..`, as far as that can be told without looking, so that paths compare.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// Without `.` parts, so that paths compare.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Every table by its name: unknown ones, those of other builds, and names that are none.
fn check_tables(root: &Node, problems: &Problems) {
    for (name, node) in root.entries().into_iter().flatten() {
        if TOP.iter().any(|key| key.name == name) {
            continue;
        }
        match SECTIONS.iter().find(|section| section.name == name) {
            Some(section) if node.entries().is_none() => {
                let found = format!("`{name}` is not a table");
                let dot_name = if section.named { ".NAME" } else { "" };
                problems.push(Problem::error(node.place.clone(), found, format!("[{name}{dot_name}]")));
            }
            Some(section) if section.named => check_names(name, node, problems),
            Some(_) => {}
            None => problems.push(unknown_table(name, node)),
        }
    }
}

fn unknown_table(name: &str, node: &Node) -> Problem {
    let names = || {
        SECTIONS
            .iter()
            .map(|section| section.name)
            .chain(TOP.iter().map(|key| key.name))
    };
    let found = match node.entries() {
        Some(_) => format!("unknown table `[{}]`", shown(name)),
        None => format!("unknown key `{}`", shown(name)),
    };
    Problem::error(node.key_place.clone(), found, listed(names())).did_you_mean(name, names())
}

fn check_names(section: &str, node: &Node, problems: &Problems) {
    for (name, node) in node.entries().into_iter().flatten() {
        if node.entries().is_none() {
            let found = format!("`{section}.{}` is not a table", shown(name));
            let allowed = format!("[{section}.NAME]");
            problems.push(Problem::error(node.key_place.clone(), found, allowed));
        } else if !is_name(name) {
            problems.push(no_name(name, node));
        }
    }
}
