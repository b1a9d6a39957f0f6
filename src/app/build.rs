//! What a configuration means to each station: pure, but for reading personalities.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use smol_str::SmolStr;
use trapline_sink::config::{Common, NoticeSettings};
use trapline_sink::dial::Resolver;

use crate::app::manager;
use crate::app::tables::{self, BadTable, Watched};
use crate::config::{Config, Decoy, DecoyTls, Durability, IgnoreSettings, SecretPolicy, SinkSettings};
use crate::decoy::bind::Wanted;
use crate::decoy::keys::{KeyFault, KeyFolder, Provided};
use crate::decoy::personality::{self, Install, Personality, PersonalityError};
use crate::decoy::services;
use crate::decoy::tls::Tls;
use crate::decoy::tls::certificate::{self, TlsFault, TlsLook};
use crate::decoy::{self, DecoySpec, Secrets};
use crate::delivery::{Pace, Plan, SinkPlan};
use crate::graph::incident::{self, FollowSpec};
use crate::graph::inputs::Class;
use crate::graph::scan;
use crate::graph::transforms::TransformKind;
use crate::graph::window::node_before;
use crate::graph::{Graph, GraphSpec, SinkWiring};
use crate::journal::{self, FactBody, JournalSettings};
use crate::record::benign::{self, Active, Benign, Ignore};
use crate::record::zones::Zone;
use crate::record::{Identity, Networks, Rules, Zones};
use crate::respond::rule::Rule;
use crate::respond::settings::{ResponseSettings, RuleSpec};
use crate::roles::Touch;
use crate::web::server::Look;

/// Why a good configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A personality's file changed under us, or cannot be read any more.
    #[error("decoy `{decoy}` has no look")]
    Look {
        /// The decoy.
        decoy: String,
        /// Why.
        source: PersonalityError,
    },
    /// What its service needs cannot be made of the install's keys.
    #[error("decoy `{decoy}` has no keys")]
    Keys {
        /// The decoy.
        decoy: String,
        /// Why.
        source: KeyFault,
    },
    /// A file that a transform looks things up in.
    #[error(transparent)]
    Table(#[from] BadTable),
    /// Its certificate or its key.
    #[error("decoy `{decoy}` has no certificate")]
    Tls {
        /// The decoy.
        decoy: String,
        /// Why.
        source: TlsFault,
    },
    /// The certificate, key or authorities of the live feed.
    #[error("the live feed has no TLS")]
    Web {
        /// Why.
        source: TlsFault,
    },
    /// The wiring; the configuration's own check should have found it.
    #[error("the wiring of `{node}` does not hold: {message}")]
    Wiring {
        /// The node.
        node: String,
        /// Why.
        message: String,
    },
}

impl BuildError {
    fn tls(decoy: &Decoy, source: TlsFault) -> Self {
        Self::Tls {
            decoy: decoy.name.clone(),
            source,
        }
    }
}

/// A decoy ready to be wanted, with all that it was made from.
#[derive(Debug, Clone)]
pub(super) struct Made {
    from: From,
    /// What the binder is asked for.
    pub(super) wanted: Wanted,
}

impl Made {
    /// The decoy's name.
    pub(super) fn name(&self) -> &str {
        &self.from.decoy.name
    }

    /// Whether its certificate is the operator's.
    pub(super) fn has_own_certificate(&self) -> bool {
        self.from.certificate.is_some()
    }

    /// Whether it is the same decoy by name, made from something else.
    pub(super) fn is_another(&self, other: &Self) -> bool {
        self.name() == other.name() && self.from != other.from
    }
}

/// What a decoy is made from: equal parts make an equal decoy.
#[derive(Debug, Clone, PartialEq)]
struct From {
    decoy: Decoy,
    limits: decoy::Limits,
    secrets: SecretPolicy,
    look: Option<String>,
    /// What the operator's certificate and key are, for they may change under the same names.
    certificate: Option<[Vec<u8>; 2]>,
}

/// Makes the decoys. One that is made from the same as before is the same, so that its listeners stay open.
pub(super) fn decoys(
    config: &Config,
    looks: &Path,
    install: &Install,
    before: &[Made],
) -> Result<Vec<Made>, BuildError> {
    config
        .decoys
        .iter()
        .map(|decoy| made(config, decoy, looks, install, before))
        .collect()
}

fn made(config: &Config, decoy: &Decoy, looks: &Path, install: &Install, before: &[Made]) -> Result<Made, BuildError> {
    let from = From {
        decoy: decoy.clone(),
        limits: config.limits.clone(),
        secrets: config.capture.secrets,
        look: look_text(&decoy.personality, looks),
        certificate: certificate(decoy)?,
    };
    if let Some(same) = before.iter().find(|made| made.from == from) {
        return Ok(same.clone());
    }
    let wrong = |source| BuildError::Look {
        decoy: decoy.name.clone(),
        source,
    };
    let personality = Personality::load(&decoy.personality, Some(looks), install).map_err(wrong)?;
    let service =
        services::find(decoy.service).ok_or_else(|| wrong(PersonalityError::Unknown(decoy.personality.clone())))?;
    let provided = provided(config, decoy, service, &personality)?;
    let tls = tls(config, decoy, &personality, from.certificate.as_ref())?;
    let spec = DecoySpec {
        name: SmolStr::new(&decoy.name),
        service,
        personality,
        limits: config
            .limits
            .clone()
            .drawn(install.draw(&format!("{} patience", decoy.service))),
        secrets: secrets(config.capture.secrets),
        provided,
        tls,
    };
    let wanted = Wanted {
        spec: Arc::new(spec),
        endpoints: decoy.endpoints().collect(),
    };
    Ok(Made { from, wanted })
}

fn provided(
    config: &Config,
    decoy: &Decoy,
    service: &services::Service,
    personality: &Personality,
) -> Result<Option<Provided>, BuildError> {
    let Some(provide) = service.provide else {
        return Ok(None);
    };
    let folder = KeyFolder::within(&config.state_dir);
    let provided = provide(&folder, &decoy.name, personality).map_err(|source| BuildError::Keys {
        decoy: decoy.name.clone(),
        source,
    })?;
    Ok(Some(provided))
}

/// What the operator's certificate and key are, if the decoy has such.
fn certificate(decoy: &Decoy) -> Result<Option<[Vec<u8>; 2]>, BuildError> {
    let Some(DecoyTls::Files { files, .. }) = &decoy.tls else {
        return Ok(None);
    };
    certificate::read(files)
        .map(Some)
        .map_err(|source| BuildError::tls(decoy, source))
}

/// What it needs to speak TLS, if it does so from the first byte or may be asked to.
fn tls(
    config: &Config,
    decoy: &Decoy,
    personality: &Personality,
    read: Option<&[Vec<u8>; 2]>,
) -> Result<Option<Tls>, BuildError> {
    let made = match (&decoy.tls, read) {
        (Some(DecoyTls::Files { files, at_once }), Some(read)) => {
            certificate::own(files, read, &personality.tls, *at_once)
        }
        (None, _) if !personality.tls.upgrade || !decoy.transports.contains(&services::Transport::Tcp) => {
            return Ok(None);
        }
        (implicit, _) => {
            let folder = KeyFolder::within(&config.state_dir);
            certificate::kept(&folder, &decoy.name, personality, implicit.is_some())
        }
    };
    made.map(Some).map_err(|source| BuildError::tls(decoy, source))
}

/// What the live feed needs of its files, if there is to be one.
pub(super) fn web(config: &Config) -> Result<Option<Look>, BuildError> {
    let look = config.web.as_ref().map(Look::of).transpose();
    look.map_err(|source| BuildError::Web { source })
}

/// What is wrong with the certificates and keys that decoys and the live feed name: one line for each.
pub fn wrong_certificates(config: &Config) -> Vec<String> {
    let wrong = |decoy: &Decoy| match &decoy.tls {
        Some(DecoyTls::Files { files, .. }) => {
            let made =
                certificate::read(files).and_then(|read| certificate::own(files, &read, &TlsLook::default(), true));
            made.err().map(|fault| format!("decoys.{}.tls: {fault}", decoy.name))
        }
        _ => None,
    };
    let web = web(config).err().and_then(|error| match error {
        BuildError::Web { source } => Some(format!("web.tls: {source}")),
        _ => None,
    });
    config.decoys.iter().filter_map(wrong).chain(web).collect()
}

/// The text of a personality, to tell whether it changed.
fn look_text(name: &str, looks: &Path) -> Option<String> {
    let own: PathBuf = looks.join(format!("{name}.toml"));
    std::fs::read_to_string(own)
        .ok()
        .or_else(|| personality::embedded(name).map(str::to_owned))
}

const fn secrets(policy: SecretPolicy) -> Secrets {
    match policy {
        SecretPolicy::Hmac => Secrets::Hmac,
        SecretPolicy::Clear => Secrets::Clear,
        SecretPolicy::None => Secrets::None,
    }
}

/// Which networks are whose.
pub(super) fn zones(config: &Config) -> Zones {
    let zone = |zone: &crate::config::Zone| {
        let named = Zone {
            name: SmolStr::new(&zone.name),
            inside: zone.inside,
        };
        (named, zone.networks.clone())
    };
    Zones::new(config.zones.iter().map(zone).collect())
}

/// Who answers for which networks.
fn owners(config: &Config) -> Networks<SmolStr> {
    let each = config.owners.iter();
    let networks = each.flat_map(|owner| owner.networks.iter().map(|net| (*net, SmolStr::new(&owner.name))));
    Networks::new(networks.collect())
}

/// Addresses that many share.
fn shared(config: &Config) -> Networks<()> {
    Networks::new(config.observer.shared_addresses.iter().map(|net| (*net, ())).collect())
}

/// What events are made by.
pub(super) fn rules(config: &Config, benign: Arc<Benign>) -> Rules {
    Rules {
        zones: zones(config),
        owners: owners(config),
        shared: shared(config),
        benign,
        events_per_source_per_minute: config.limits.events_per_source_per_minute,
    }
}

/// Who is known to mean no harm.
pub(super) fn benign(config: &Config, folder: &Path, resolvers: Vec<IpAddr>) -> Benign {
    let (recognisers, _) = benign::all(folder);
    let settings = |name: &str| config.benign.iter().find(|settings| settings.name == name);
    let active = recognisers.into_iter().filter_map(|recogniser| {
        let settings = settings(&recogniser.name);
        settings.is_none_or(|settings| settings.enabled).then(|| Active {
            sources: settings.map(|settings| settings.sources.clone()).unwrap_or_default(),
            touch: settings.map_or(Touch::Intent, |settings| level(settings.touch)),
            recogniser: Arc::new(recogniser),
        })
    });
    Benign {
        recognisers: active.collect(),
        ignores: config.ignores.iter().map(ignore).collect(),
        resolvers,
    }
}

fn ignore(settings: &IgnoreSettings) -> Ignore {
    Ignore {
        name: SmolStr::new(&settings.name),
        sources: settings.sources.clone(),
        decoys: settings.decoys.iter().map(SmolStr::new).collect(),
        touch: level(settings.touch),
        reason: SmolStr::new(&settings.reason),
        until: settings.until,
    }
}

fn level(name: &str) -> Touch {
    match name {
        "proof" => Touch::Proof,
        "intent" => Touch::Intent,
        _ => Touch::Contact,
    }
}

/// What the journal is told.
pub(super) fn journal(config: &Config, facts: FactBody) -> JournalSettings {
    JournalSettings {
        durability: match config.journal.durability {
            Durability::Full => journal::Durability::Full,
            Durability::Normal => journal::Durability::Normal,
        },
        retain: config.journal.retain,
        retain_bytes: config.journal.retain_bytes,
        consumers: consumers(config),
        watchers: watchers(config),
        guests: guests(config),
        facts,
        upgrading: manager::upgrading,
        ..JournalSettings::at(config.journal.path.clone())
    }
}

/// Consumers whose cursors hold the age trim back, and that take entries out of the house: enabled sinks.
pub(super) fn consumers(config: &Config) -> Vec<String> {
    enabled(config)
        .map(|sink| crate::delivery::sink_consumer(&sink.name))
        .collect()
}

/// Consumers that hold it back as well, and whose work stands in the journal alone: windows.
pub(super) fn watchers(config: &Config) -> Vec<String> {
    let windows = config
        .transforms
        .iter()
        .filter(|transform| matches!(transform.kind, TransformKind::Window(_)));
    let windows = windows.map(|transform| crate::delivery::window_consumer(&transform.name));
    let people = enabled(config).filter(|sink| sink.window().is_some());
    let notices = people.map(|sink| crate::delivery::window_consumer(&node_before(&sink.name)));
    let following = enabled(config).filter(|sink| sink.follows.is_some());
    let follows = following.map(|sink| crate::delivery::window_consumer(&incident::node_for(&sink.name)));
    let watch = watches_for_scans(config).then(|| crate::delivery::window_consumer(scan::NODE));
    windows.chain(notices).chain(follows).chain(watch).collect()
}

/// Whether scans are to be found and somebody takes findings.
fn watches_for_scans(config: &Config) -> bool {
    let transforms = config.transforms.iter().map(|transform| &transform.inputs);
    let mut inputs = enabled(config).map(|sink| &sink.inputs).chain(transforms).flatten();
    config.scans.is_some() && inputs.any(|input| Class::named(input).contains(&Class::Findings))
}

/// Consumers that do so for as long as they have one: replays to enabled sinks.
pub(super) fn guests(config: &Config) -> Vec<String> {
    enabled(config)
        .map(|sink| crate::delivery::replay_consumer(&sink.name))
        .collect()
}

/// Sinks that run.
pub(super) fn enabled(config: &Config) -> impl Iterator<Item = &SinkSettings> {
    config.sinks.iter().filter(|sink| sink.enabled)
}

/// What delivery runs.
pub(super) fn plan(config: &Config, identity: &Identity, tables: &[Watched]) -> Result<Plan, BuildError> {
    let spec = GraphSpec {
        decoys: config.decoys.iter().map(|decoy| decoy.name.clone()).collect(),
        transforms: config.transforms.clone(),
        sinks: enabled(config).map(wiring).collect(),
        scans: config.scans.clone(),
        key: Some(identity.key.clone()),
        tables: tables::shared(tables),
    };
    let graph = Graph::build(&spec).map_err(|problems| {
        let first = problems.into_iter().next();
        let (node, message) = first.map(|first| (first.node, first.message)).unwrap_or_default();
        BuildError::Wiring { node, message }
    })?;
    Ok(Plan {
        graph: Arc::new(graph),
        sinks: enabled(config).map(|sink| sink_plan(sink, &identity.name)).collect(),
    })
}

/// What a sink is told besides its own keys.
pub(super) fn common(sink: &SinkSettings, observer: &str) -> Common {
    Common {
        name: sink.name.clone(),
        format: sink.format,
        observer: observer.to_owned(),
        resolver: resolver(),
        notices: sink
            .notices
            .as_ref()
            .map_or_else(NoticeSettings::default, |notices| notices.words.clone()),
    }
}

/// How the names of destinations become addresses.
pub(super) fn resolver() -> Resolver {
    Resolver::default()
}

/// The rules of `[response]` at work. Errors: a condition that the configuration's own check should have found.
pub fn rules_of(response: &ResponseSettings) -> Result<Vec<Rule>, BuildError> {
    let rule = |spec: &RuleSpec| {
        Rule::new(spec.clone()).map_err(|problems| BuildError::Wiring {
            node: format!("response.rules.{}", spec.name),
            message: problems
                .first()
                .map_or_else(String::new, |problem| problem.message.clone()),
        })
    };
    response.rules.iter().map(rule).collect()
}

fn sink_plan(sink: &SinkSettings, observer: &str) -> SinkPlan {
    SinkPlan {
        common: common(sink, observer),
        factory: sink.factory.clone(),
        start: sink.start,
        pace: Pace {
            first: sink.retry.first,
            max: sink.retry.max,
        },
        batch: sink.batch,
    }
}

fn wiring(sink: &SinkSettings) -> SinkWiring {
    SinkWiring {
        name: sink.name.clone(),
        inputs: sink.inputs.clone(),
        notices: sink.window().cloned(),
        follows: sink.follows.map(FollowSpec::after),
        canary: sink.canary,
        owners: sink.owners,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trapline_sink::config::{Audience, SinkType, SourceText, Variables};

    use super::*;
    use crate::config::{Loaded, Recognisers, Sources, load};

    /// Files that people read.
    static LETTERS: SinkType = SinkType {
        name: "letters",
        audience: Audience::People,
        ..trapline_sink_file::SINK
    };

    fn config(text: &str) -> Config {
        let outside = Variables(BTreeMap::new());
        let sources = Sources {
            source: Arc::new(SourceText {
                name: "t.toml".into(),
                text: text.into(),
            }),
            not_utf8: None,
            config_dir: "/etc/trapline".into(),
            default_state_dir: "/var/lib/trapline".into(),
            literal_secrets: false,
            variables: BTreeMap::new(),
            outside: &outside,
        };
        let rules = crate::config::Rules {
            sinks: &[&LETTERS, &CASES],
            sets: &[],
            services: &[],
            look: &|_| panic!("no decoys"),
            condition: &|_| Vec::new(),
            recognisers: &Recognisers::default(),
        };
        let Loaded { config, .. } = load(&sources, &rules).unwrap();
        config
    }

    #[test]
    fn a_sink_of_people_has_a_window_that_is_run_told_to_the_journal_and_worded_as_configured() {
        let letters = |name: &str, more: &str| {
            format!("[sinks.{name}]\ntype = 'letters'\ninputs = ['*']\npath = '{name}'\n{more}\n")
        };
        let text = letters("mail", "") + &letters("off", "enabled = false") + "[notices]\ncontact = 'ext. 4711'";
        let config = config(&text);
        let watchers = watchers(&config);
        assert!(watchers.contains(&"window/notices/mail".to_owned()), "{watchers:?}");
        assert!(!watchers.contains(&"window/notices/off".to_owned()), "{watchers:?}");
        let identity = crate::app::start::identity(&config, trapline_schemas::ids::SiteKey::new([0; 32]));
        let plan = plan(&config, &identity, &[]).unwrap();
        let windows: Vec<_> = plan.graph.windows().map(|(_, name, _)| name.to_owned()).collect();
        assert_eq!(windows, ["notices/mail", scan::NODE]);
        let common = &plan.sinks[0].common;
        assert_eq!(common.notices.contact, "ext. 4711");
        assert_eq!(common.notices.folder.as_deref(), Some(Path::new("/etc/trapline")));
    }

    /// Of machines, and told of the end of incidents.
    static CASES: SinkType = SinkType {
        name: "cases",
        follows_incidents: true,
        ..trapline_sink_file::SINK
    };

    #[test]
    fn a_sink_that_follows_incidents_has_a_watch_whose_place_holds_back_the_trim() {
        let case = |name: &str, more: &str| {
            format!("[sinks.{name}]\ntype = 'cases'\ninputs = ['*']\npath = '{name}'\n{more}\n")
        };
        let config = config(&(case("a", "") + &case("off", "enabled = false") + "[incidents]\nclose_after = '1h'"));
        let watchers = watchers(&config);
        assert!(watchers.contains(&"window/follow/a".to_owned()), "{watchers:?}");
        assert!(!watchers.contains(&"window/follow/off".to_owned()), "{watchers:?}");
        let identity = crate::app::start::identity(&config, trapline_schemas::ids::SiteKey::new([0; 32]));
        let plan = plan(&config, &identity, &[]).unwrap();
        let windows: Vec<_> = plan.graph.windows().map(|(_, name, _)| name.to_owned()).collect();
        assert_eq!(windows, ["follow/a", scan::NODE]);
    }
}
