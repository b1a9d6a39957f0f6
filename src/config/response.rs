//! `[response]`: what is done about sources.

use std::collections::BTreeSet;
use std::time::Duration;

use trapline_schemas::Field;
use trapline_sink::config::{Key, KeyKind, Problem, Table, Visible, listed, one_of, parse_duration, shown};
use trapline_sink::set::Verb;

use super::decoys::Decoy;
use super::load::Loader;
use super::observer::networks;
use super::sets::SetSettings;
use crate::respond::settings::{Mode, ResponseSettings, RuleSpec, ThresholdSpec};
use crate::roles::Touch;

/// Longest time that anything is done for.
const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);
/// Shortest.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Most steps of an escalation.
const STEPS_MAX: usize = 16;
/// Most rules.
pub const RULES_MAX: usize = 100;
/// The levels of touch.
const LEVELS: &[&str] = &["contact", "intent", "proof"];

const TTL: KeyKind = KeyKind::Duration {
    min: TTL_MIN,
    max: TTL_MAX,
};

/// Keys of `[response]`.
pub const KEYS: &[Key] = &[
    Key::default(
        "mode",
        KeyKind::Choice(Mode::WORDS),
        "\"observe\"",
        "What becomes of a decision: it is said and nothing is done, it waits for a person, or it is done.",
    ),
    Key::default(
        "allow",
        KeyKind::Texts,
        "[]",
        "Addresses and CIDR that nothing is ever done to.",
    ),
    Key::default(
        "block_private",
        KeyKind::Bool,
        "true",
        "Whether anything is done to private addresses (RFC 1918, RFC 4193): the best catch is inside.",
    ),
    Key::default(
        "ipv6_prefix",
        KeyKind::Integer { min: 64, max: 128 },
        "128",
        "What of an outside IPv6 source is acted on: 128, the address, or 64, its network.",
    ),
    Key::default(
        "decisions_per_minute",
        KeyKind::Integer { min: 1, max: 100_000 },
        "60",
        "Most decisions that rules make in a minute; more are refused and alarmed.",
    ),
    Key::default(
        "decisions_max",
        KeyKind::Integer { min: 1, max: 1_000_000 },
        "10000",
        "Most decisions that are in force or wait at once; more are refused and alarmed.",
    ),
    Key::default(
        "propose_for",
        KeyKind::Duration {
            min: Duration::from_secs(60),
            max: Duration::from_secs(30 * 86_400),
        },
        "\"1d\"",
        "How long a proposal waits for a person before it ends unasked.",
    ),
    Key::default(
        "remember",
        KeyKind::Duration {
            min: Duration::from_secs(3600),
            max: TTL_MAX,
        },
        "\"30d\"",
        "How long it is remembered that a source was acted on: the next step of `escalate` follows within it.",
    ),
    Key::optional(
        "rules",
        KeyKind::Tables(RULE),
        "When something is done, what, and for how long.",
    ),
];

/// Keys of `[response.rules.NAME]`.
const RULE: &[Key] = &[
    Key::optional(
        "when",
        KeyKind::Condition,
        "A CEL condition of the event over its ECS paths.",
    ),
    Key::optional("level", KeyKind::Choice(LEVELS), "Least level of touch. Default: any."),
    Key::default(
        "decoys",
        KeyKind::Texts,
        "[]",
        "Names of the decoys that it is about; empty: all.",
    ),
    Key::optional(
        "threshold",
        KeyKind::Table(THRESHOLD),
        "How often it has to be so, of one source, before anything is done. Default: once.",
    ),
    Key::default(
        "arm",
        KeyKind::Bool,
        "false",
        "Whether the kernel shuts out whoever finishes a handshake with `decoys`, with no program in the way; only in \
         mode enforce, with a firewall that can.",
    ),
    Key::required(
        "do",
        KeyKind::Texts,
        "What is done: `block`, `sinkhole`, `tag`, `list`.",
    ),
    Key::optional("ttl", TTL, "How long; or `escalate`."),
    Key::optional(
        "escalate",
        KeyKind::Texts,
        "How long the first time, the second and so on, such as [\"1h\", \"1d\"]; or `ttl`.",
    ),
    Key::default(
        "even_contact",
        KeyKind::Bool,
        "false",
        "Whether a contact without a word is enough to act on a source that is inside, such as a printer.",
    ),
];

/// Keys of `threshold`.
const THRESHOLD: &[Key] = &[
    Key::optional(
        "distinct",
        KeyKind::Text,
        "ECS path of a field, different values of which are counted. Default: events are.",
    ),
    Key::required("count", KeyKind::Integer { min: 2, max: 1000 }, "How many."),
    Key::required(
        "within",
        KeyKind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(86_400),
        },
        "Within how long.",
    ),
];

/// Reads `[response]`; `None` if there is no such table: then nothing is ever done.
pub(super) fn response(loader: &Loader<'_>, decoys: &[Decoy], sets: &[SetSettings]) -> Option<ResponseSettings> {
    if !loader.is_there("response") {
        warn_idle(loader, sets);
        return None;
    }
    let table = loader.single("response", KEYS);
    let rules = table.tables("rules");
    if rules.len() > RULES_MAX {
        table.problem(
            "rules",
            &format!("{} rules", rules.len()),
            &format!("at most {RULES_MAX}"),
        );
    }
    let reader = Reader { loader, decoys, sets };
    let rules: Vec<_> = rules
        .into_iter()
        .map(|(name, table)| reader.rule(name, &table))
        .collect();
    Some(ResponseSettings {
        mode: Mode::find(table.choice("mode")).unwrap_or_default(),
        allow: networks(&table, "allow"),
        block_private: table.bool("block_private"),
        ipv6_prefix: ipv6_prefix(&table),
        decisions_per_minute: u32::try_from(table.integer("decisions_per_minute")).unwrap_or(1),
        decisions_max: usize::try_from(table.integer("decisions_max")).unwrap_or(1),
        propose_for: table.duration("propose_for"),
        remember: table.duration("remember"),
        rules,
    })
}

/// Set sinks have nothing to do where nothing decides.
fn warn_idle(loader: &Loader<'_>, sets: &[SetSettings]) {
    for set in sets.iter().filter(|set| set.enabled) {
        let found = format!("sink `{}` waits for decisions, and nothing decides", set.name);
        let problem = Problem::warning(set.table.own_place(), found, "");
        loader
            .context
            .problems
            .push(problem.hint("a table `[response]` with rules decides"));
    }
}

fn ipv6_prefix(table: &Table) -> u8 {
    let prefix = table.integer("ipv6_prefix");
    if !matches!(prefix, 64 | 128) {
        table.problem("ipv6_prefix", &format!("a prefix of {prefix} bits"), "64 or 128");
    }
    u8::try_from(prefix).unwrap_or(128)
}

struct Reader<'a> {
    loader: &'a Loader<'a>,
    decoys: &'a [Decoy],
    sets: &'a [SetSettings],
}

impl Reader<'_> {
    fn rule(&self, name: String, table: &Table) -> RuleSpec {
        let rule = RuleSpec {
            name,
            when: self.condition(table),
            level: table.text_opt("level").as_deref().and_then(level),
            decoys: self.decoys(table),
            threshold: table.table("threshold").map(|threshold| self.threshold(&threshold)),
            arm: table.bool("arm"),
            verbs: self.verbs(table),
            steps: steps(table),
            even_contact: table.bool("even_contact"),
        };
        if rule.arm {
            self.check_armed(&rule, table);
        } else if rule.when.is_none() && rule.level.is_none() && rule.decoys.is_empty() && rule.threshold.is_none() {
            let found = format!("rule `{}` is about everybody who touches anything", rule.name);
            let problem = Problem::error(
                table.own_place(),
                found,
                "one of `when`, `level`, `decoys` or `threshold`",
            );
            self.loader.context.problems.push(problem);
        }
        rule
    }

    fn condition(&self, table: &Table) -> Option<String> {
        let text = table.text_opt("when")?;
        for mistake in (self.loader.rules.condition)(&text) {
            let place = table.place_within("when", mistake.offset);
            let mut problem = Problem::error(place, mistake.found, "a CEL condition over ECS paths");
            problem.hint = mistake.hint;
            table.report("when", problem.show(Visible::Line));
        }
        Some(text)
    }

    fn decoys(&self, table: &Table) -> Vec<String> {
        let known = || self.decoys.iter().map(|decoy| decoy.name.as_str());
        let named = table.texts("decoys");
        for (index, name) in named.iter().enumerate() {
            if !known().any(|known| known == name) {
                let found = format!("unknown decoy `{}`", shown(name));
                let problem = Problem::error(table.item_place("decoys", index), found, listed(known()));
                table.report("decoys", problem.did_you_mean(name, known()));
            }
        }
        named
    }

    fn threshold(&self, table: &Table) -> ThresholdSpec {
        let path = table.text_opt("distinct");
        let distinct = path.as_deref().and_then(Field::find);
        if let (Some(path), None) = (&path, distinct) {
            let found = format!("unknown field `{}`", shown(path));
            table.problem(
                "distinct",
                &found,
                "the ECS path of a field, such as `honeyport.decoy.id`",
            );
        }
        ThresholdSpec {
            distinct,
            count: usize::try_from(table.integer("count")).unwrap_or(2),
            within: table.duration("within"),
        }
    }

    fn verbs(&self, table: &Table) -> Vec<Verb> {
        let words = || Verb::ALL.iter().map(|verb| verb.name());
        let written = table.texts("do");
        if table.is_good("do") && written.is_empty() {
            table.problem("do", "nothing to do", &one_of(words()));
        }
        let mut verbs = BTreeSet::new();
        for (index, word) in written.iter().enumerate() {
            match Verb::find(word) {
                Some(verb) if verbs.insert(verb) => self.warn_unserved(table, index, verb),
                Some(verb) => table.problem_at("do", index, &format!("`{}` stands twice", verb.name()), "each once"),
                None => {
                    let found = format!("unknown act `{}`", shown(word));
                    let problem = Problem::error(table.item_place("do", index), found, one_of(words()));
                    table.report("do", problem.did_you_mean(word, words()));
                }
            }
        }
        verbs.into_iter().collect()
    }

    fn warn_unserved(&self, table: &Table, index: usize, verb: Verb) {
        if self.sets.iter().any(|set| set.enabled && set.verb() == verb) {
            return;
        }
        let found = format!("`{}` is decided, and no enabled sink does it", verb.name());
        let problem = Problem::warning(table.item_place("do", index), found, "");
        table.report("do", problem.hint(format!("{} do", doers(verb))));
    }

    fn check_armed(&self, rule: &RuleSpec, table: &Table) {
        let conditions = [
            ("when", rule.when.is_some()),
            ("level", rule.level.is_some()),
            ("threshold", rule.threshold.is_some()),
        ];
        for (key, _) in conditions.iter().filter(|(_, is_there)| *is_there) {
            table.problem(
                key,
                &format!("`{key}` in a rule that the kernel follows by itself"),
                "`decoys` alone",
            );
        }
        if table.texts("decoys").is_empty() {
            table.problem(
                "arm",
                "a rule for the kernel without `decoys`",
                "the names of the decoys that it is about",
            );
        }
        if !rule.verbs.is_empty() && !rule.verbs.contains(&Verb::Block) {
            table.problem(
                "do",
                "a rule for the kernel that does not block",
                "`block`, alone or with others",
            );
        }
        if !rule.even_contact {
            let found = "the kernel shuts out whoever finishes a handshake, inside as well";
            table.problem("arm", found, "`even_contact = true` beside it");
        }
    }
}

fn level(word: &str) -> Option<Touch> {
    [Touch::Contact, Touch::Intent, Touch::Proof]
        .into_iter()
        .find(|level| level.name() == word)
}

/// Types of sinks that do it.
const fn doers(verb: Verb) -> &'static str {
    match verb {
        Verb::Block => "sinks of type `firewall`",
        Verb::Sinkhole => "sinks of type `rpz`",
        Verb::Tag => "sinks of type `edr_tag`",
        Verb::List => "sinks of type `blocklist`",
    }
}

fn steps(table: &Table) -> Vec<Duration> {
    match (table.is_set("ttl"), table.is_set("escalate")) {
        (true, true) => {
            table.problem("escalate", "both `ttl` and `escalate`", "one of them");
            vec![table.duration("ttl")]
        }
        (true, false) => vec![table.duration("ttl")],
        (false, true) => escalation(table),
        (false, false) => {
            table.problem("do", "no word of how long it is done", "`ttl` or `escalate` beside it");
            vec![TTL_MIN]
        }
    }
}

fn escalation(table: &Table) -> Vec<Duration> {
    let written = table.texts("escalate");
    if table.is_good("escalate") && !(1..=STEPS_MAX).contains(&written.len()) {
        table.problem(
            "escalate",
            &format!("{} steps", written.len()),
            &format!("1 to {STEPS_MAX}"),
        );
    }
    let mut steps = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match parse_duration(text).filter(|ttl| (TTL_MIN..=TTL_MAX).contains(ttl)) {
            None => {
                let found = format!("`{}` for a step", shown(text));
                table.problem_at("escalate", index, &found, &TTL.allowed());
            }
            Some(ttl) => {
                if steps.last().is_some_and(|before| *before > ttl) {
                    table.problem_at(
                        "escalate",
                        index,
                        "a step shorter than the one before",
                        "as long or longer",
                    );
                }
                steps.push(ttl);
            }
        }
    }
    if steps.is_empty() {
        steps.push(TTL_MIN);
    }
    steps
}
