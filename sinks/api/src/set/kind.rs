//! What a set sink is in the configuration and the registry.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::SetSink;
use crate::config::{Key, Problem, Table};
use crate::dial::{Address, Resolver};
use crate::published::Shelf;
use crate::stream::Fault;

/// What a rule can have done, and a set sink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Shut the source out.
    Block,
    /// Answer its DNS questions, or those for it, otherwise.
    Sinkhole,
    /// Mark the host where the company keeps account of hosts.
    Tag,
    /// Write it on a list that others read.
    List,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Block, Self::Sinkhole, Self::Tag, Self::List];

    /// The word in `do`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Sinkhole => "sinkhole",
            Self::Tag => "tag",
            Self::List => "list",
        }
    }

    /// Finds a verb by its word.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

/// Whom a set sink acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Sources in zones that are inside.
    Inside,
    /// All other sources.
    Outside,
    /// Everybody.
    Both,
}

impl Scope {
    /// The words of `scope`.
    pub const WORDS: &[&str] = &["inside", "outside", "both"];

    /// The word in `scope`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
            Self::Both => "both",
        }
    }

    /// Finds a scope by its word.
    pub fn find(name: &str) -> Option<Self> {
        [Self::Inside, Self::Outside, Self::Both]
            .into_iter()
            .find(|scope| scope.name() == name)
    }

    /// Whether a source that is inside, or is not, is acted on.
    pub const fn takes(self, inside: bool) -> bool {
        match self {
            Self::Inside => inside,
            Self::Outside => !inside,
            Self::Both => true,
        }
    }
}

/// What every set sink gets besides its own table.
#[derive(Debug, Clone)]
pub struct SetCommon {
    /// The sink's name in the configuration.
    pub name: String,
    /// Name of the observer: part of the ownership mark, where it has room.
    pub observer: String,
    /// How the names of destinations become addresses.
    pub resolver: Resolver,
    /// Whether nothing may be changed: `stands` and `check` alone are asked then.
    pub observes: bool,
    /// Whom it acts on: its `scope`. It is told of no others; what it must never say of others it checks again.
    pub scope: Scope,
    /// Networks of the zones that are inside.
    pub inside: Arc<[IpNet]>,
    /// Where a sink that others come for puts its documents; the web server has the same.
    pub shelf: Shelf,
}

impl SetCommon {
    /// For a sink of this name that may act on everybody; the rest is as it is without a configuration.
    pub fn new(name: &str, observer: &str, resolver: Resolver) -> Self {
        Self {
            name: name.to_owned(),
            observer: observer.to_owned(),
            resolver,
            observes: false,
            scope: Scope::Both,
            inside: Arc::default(),
            shelf: Shelf::default(),
        }
    }
}

/// A set sink's validated settings, ready to be made real.
pub trait SetFactory: Send + Sync + Debug {
    /// Opens what the sink needs; the destination is not changed. Called on start, reload and `check`.
    fn build(&self, common: &SetCommon) -> Result<Arc<dyn SetSink>, Fault>;

    /// What it does.
    fn verb(&self) -> Verb;

    /// The hosts that it speaks to, which are never acted on; `table` is the one that this was read from. A port that is
    /// not written means nothing.
    fn places(&self, table: &Table) -> Vec<Address> {
        table.places()
    }

    /// What is wrong beyond the keys of its table. Reaches nobody and changes nothing.
    fn look(&self, _table: &Table, _common: &SetCommon) -> Vec<Problem> {
        Vec::new()
    }
}

/// A set sink type: one row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct SetType {
    /// The word after `type =`, also the crate's folder.
    pub name: &'static str,
    /// Its own keys; `type`, `enabled`, `scope`, `interval` and `retry` are added by the loader.
    pub keys: &'static [Key],
    /// Whom it acts on unless `scope` says otherwise.
    pub scope: Scope,
    /// How often what stands is compared with what is wanted, unless `interval` says otherwise.
    pub interval: Duration,
    /// Reads the checked table.
    pub parse: fn(&Table) -> Box<dyn SetFactory>,
    /// One line for `README.md` and `schema config`.
    pub doc: &'static str,
}
