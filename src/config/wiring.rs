//! `inputs`: what may be named, what leads in a circle, what leads nowhere.

use std::collections::BTreeSet;

use trapline_sink::config::{Audience, Node, Place, Problem, Raw, SinkType, listed, nearest, shown};

use super::load::Loader;
use crate::graph::inputs::RESERVED;
use crate::graph::wiring::NODES_MAX;

/// Checks all inputs, also of tables that have other problems.
pub(super) fn check(loader: &Loader<'_>) {
    let names = |section| loader.entries(section).into_iter().map(|(name, _)| name).collect();
    let wiring = Wiring {
        loader,
        decoys: names("decoys"),
        transforms: names("transforms"),
        sinks: names("sinks"),
    };
    wiring.check_names();
    wiring.check_count();
    for section in ["transforms", "sinks"] {
        for (name, node) in loader.entries(section) {
            wiring.check_inputs(&name, node);
        }
    }
    wiring.check_circles();
    wiring.warn_unused();
}

struct Wiring<'a> {
    loader: &'a Loader<'a>,
    decoys: BTreeSet<String>,
    transforms: BTreeSet<String>,
    sinks: BTreeSet<String>,
}

impl Wiring<'_> {
    fn push(&self, problem: Problem) {
        self.loader.context.problems.push(problem);
    }

    /// Decoys and transforms share one space of names with the reserved ones.
    fn check_names(&self) {
        for section in ["decoys", "transforms", "sinks"] {
            for (name, node) in self.loader.entries(section) {
                if RESERVED.contains(&name.as_str()) {
                    let found = format!("`{name}` is a reserved name");
                    let allowed = format!("any name but {}", listed(RESERVED.iter().copied()));
                    self.push(Problem::error(node.key_place.clone(), found, allowed));
                } else if section == "transforms" && self.decoys.contains(&name) {
                    let found = format!("`{name}` is a decoy already");
                    self.push(Problem::error(node.key_place.clone(), found, "a name of its own"));
                }
            }
        }
    }

    fn check_count(&self) {
        // A sink that people read has a window of its own before it, one that follows incidents a watch.
        let people = self.sinks_whose(|kind| kind.audience == Audience::People);
        let following = self.sinks_whose(|kind| kind.follows_incidents);
        let count = self.transforms.len() + self.sinks.len() + people + following;
        if count > NODES_MAX {
            let place = self.loader.place("sinks");
            let mut found = format!("{count} transforms and sinks");
            for (sinks, why) in [(people, "that people read"), (following, "that follow incidents")] {
                if sinks > 0 {
                    found += &format!(", {sinks} sinks {why} counted once more");
                }
            }
            self.push(Problem::error(place, found, format!("at most {NODES_MAX} together")));
        }
    }

    /// How many sinks are of a type like this.
    fn sinks_whose(&self, is_so: impl Fn(&SinkType) -> bool) -> usize {
        let types = self.loader.rules.sinks;
        let sinks = self.loader.entries("sinks");
        let words = sinks.iter().filter_map(|(_, node)| node.get("type")?.as_text());
        let kinds = words.filter_map(|word| types.iter().find(|kind| kind.name == word));
        kinds.filter(|kind| is_so(kind)).count()
    }

    fn check_inputs(&self, name: &str, node: &Node) {
        let Some(inputs) = inputs(node) else { return };
        if inputs.is_empty() {
            let place = node.get("inputs").map_or(&node.place, |inputs| &inputs.place);
            self.push(Problem::error(
                place.clone(),
                format!("`{name}` has no input"),
                self.allowed(),
            ));
        }
        let mut seen = BTreeSet::new();
        for (input, place) in inputs {
            if !self.is_known(&input) {
                self.push(self.unknown(&input, place));
            } else if !seen.insert(input.clone()) {
                let found = format!("input `{input}` is named twice");
                self.push(Problem::warning(place, found, "each once"));
            }
        }
    }

    fn is_known(&self, input: &str) -> bool {
        RESERVED.contains(&input) || self.decoys.contains(input) || self.transforms.contains(input)
    }

    fn unknown(&self, input: &str, place: Place) -> Problem {
        let problem = Problem::error(place, format!("unknown input `{}`", shown(input)), self.allowed());
        let near = nearest(input, self.candidates());
        match (near, self.sinks.contains(input)) {
            (Some(near), _) => problem.hint(format!("did you mean `{near}`?")),
            (None, true) => problem.hint(format!("`{input}` is a sink; sinks give nothing on")),
            (None, false) => problem,
        }
    }

    /// The known input, or the one nearest to an unknown: one slip is one problem.
    fn meant(&self, input: String) -> String {
        match self.is_known(&input) {
            true => input,
            false => nearest(&input, self.candidates()).map(str::to_owned).unwrap_or(input),
        }
    }

    fn candidates(&self) -> impl Iterator<Item = &str> {
        // A name that is two things by mistake is one candidate.
        let transforms = self.transforms.iter().filter(|name| !self.decoys.contains(*name));
        let named = self.decoys.iter().chain(transforms).map(String::as_str);
        let named = named.filter(|name| !RESERVED.contains(name));
        RESERVED.iter().copied().chain(named)
    }

    /// At most 24 names: a host may have hundreds of decoys.
    fn allowed(&self) -> String {
        let shown: Vec<_> = self.candidates().take(24).collect();
        match self.candidates().count().saturating_sub(shown.len()) {
            0 => listed(shown),
            more => format!("{} and {more} more", listed(shown)),
        }
    }

    /// One problem for each circle, at the input that closes it.
    fn check_circles(&self) {
        let mut done = BTreeSet::new();
        for name in &self.transforms {
            self.walk(name, &mut Vec::new(), &mut done);
        }
    }

    fn walk(&self, name: &str, path: &mut Vec<String>, done: &mut BTreeSet<String>) {
        if done.contains(name) {
            return;
        }
        path.push(name.to_owned());
        for (input, place) in self.transform(name).and_then(inputs).unwrap_or_default() {
            if let Some(start) = path.iter().position(|node| *node == input) {
                let circle = path.get(start..).unwrap_or_default().join("` takes from `");
                let found = format!("inputs lead in a circle: `{circle}` takes from `{input}`");
                self.push(Problem::error(place, found, "inputs that lead back to decoys"));
            } else if self.transforms.contains(&input) {
                self.walk(&input, path, done);
            }
        }
        path.pop();
        done.insert(name.to_owned());
    }

    fn transform(&self, name: &str) -> Option<&Node> {
        let mut all = self.loader.entries("transforms").into_iter();
        all.find(|(there, _)| there == name).map(|(_, node)| node)
    }

    /// Transforms that nothing takes from do work for nobody.
    fn warn_unused(&self) {
        let mut used = BTreeSet::new();
        for section in ["transforms", "sinks"] {
            for (_, node) in self.loader.entries(section) {
                let inputs = inputs(node).into_iter().flatten().map(|(input, _)| self.meant(input));
                used.extend(inputs);
            }
        }
        for (name, node) in self.loader.entries("transforms") {
            if !used.contains(&name) {
                let found = format!("nothing takes from transform `{name}`");
                let problem = Problem::warning(node.key_place.clone(), found, "");
                self.push(problem.hint(format!("put \"{name}\" into the `inputs` of a sink")));
            }
        }
    }
}

/// The texts of a table's `inputs`, each with its place; `None` if it has none or they are no list.
fn inputs(node: &Node) -> Option<Vec<(String, Place)>> {
    let written = node.get("inputs")?;
    match &written.value {
        Raw::List(items) => Some(
            items
                .iter()
                .filter_map(|item| Some((item.as_text()?.to_owned(), item.place.clone())))
                .collect(),
        ),
        Raw::Variable(text) => {
            let names = text.trim_matches(['[', ']']).split(',');
            let bare = |name: &str| name.trim().trim_matches(['"', '\'']).to_owned();
            let named = names.map(bare).filter(|name| !name.is_empty());
            Some(named.map(|name| (name, written.place.clone())).collect())
        }
        _ => None,
    }
}
