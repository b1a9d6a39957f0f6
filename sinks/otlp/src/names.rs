//! What a field of the catalogue is called in OpenTelemetry.
//!
//! ECS and the semantic conventions share most names; [`RENAMED`] has those that differ, [`LEFT_OUT`] what stands elsewhere
//! in a record. What only trapline knows has its own name space.

/// The name space of what only a decoy can tell, as ECS has it and as it is in OpenTelemetry.
const OWN: (&str, &str) = ("honeyport.", "trapline.");

/// ECS names and those of the semantic conventions.
const RENAMED: &[(&str, &str)] = &[
    ("honeyport.session.id", "session.id"),
    ("http.request.body.bytes", "http.request.body.size"),
    ("http.version", "network.protocol.version"),
    ("network.protocol", "network.protocol.name"),
    ("tls.version", "tls.protocol.version"),
    ("tls.version_protocol", "tls.protocol.name"),
];

/// The source is the client and the destination the server: whoever connects is sure of its role at a decoy. Both names
/// are there, since queries exist for either.
const ROLES: &[(&str, &str)] = &[
    ("source.address", "client.address"),
    ("source.port", "client.port"),
    ("destination.address", "server.address"),
    ("destination.port", "server.port"),
];

/// What a record or its resource says by other means, what is the same in every event, and lists that only repeat.
const LEFT_OUT: &[&str] = &[
    "@timestamp",
    "ecs.version",
    "event.created",
    "event.dataset",
    "event.module",
    "event.original",
    "event.provider",
    "event.severity",
    "message",
    "observer.ip",
    "observer.product",
    "observer.type",
    "observer.vendor",
    "observer.version",
    "rule.ruleset",
    "rule.version",
    "threat.framework",
];

/// Objects that only repeat what stands in other fields, for stores that cannot search several.
const REPEATED: &str = "related.";

/// What a record is found by where its body is the whole event.
const FOUND_BY: &[&str] = &[
    "client.address",
    "client.port",
    "event.action",
    "event.id",
    "event.kind",
    "event.outcome",
    "event.risk_score",
    "network.protocol.name",
    "network.transport",
    "observer.name",
    "server.address",
    "server.port",
    "session.id",
    "source.address",
    "trapline.decoy.id",
    "trapline.incident.id",
    "trapline.touch.level",
    "user.name",
];

/// The attribute for an ECS path; `None` if it is none.
pub(crate) fn attribute(path: &str) -> Option<String> {
    if LEFT_OUT.contains(&path) || path.starts_with(REPEATED) {
        return None;
    }
    if let Some((_, name)) = RENAMED.iter().find(|(ecs, _)| *ecs == path) {
        return Some((*name).to_owned());
    }
    match path.strip_prefix(OWN.0) {
        Some(rest) => Some(format!("{}{rest}", OWN.1)),
        None => Some(path.to_owned()),
    }
}

/// The second name of an attribute, by its role in the connection.
pub(crate) fn role(name: &str) -> Option<&'static str> {
    ROLES.iter().find(|(end, _)| *end == name).map(|(_, role)| *role)
}

/// Whether a record keeps an attribute beside a body that has everything.
pub(crate) fn is_found_by(name: &str) -> bool {
    FOUND_BY.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_schemas::CATALOGUE;

    #[test]
    fn no_two_fields_have_one_name() {
        let mut seen = std::collections::BTreeSet::new();
        for name in CATALOGUE.iter().filter_map(|row| attribute(row.ecs)) {
            for name in role(&name).map(str::to_owned).into_iter().chain([name.clone()]) {
                assert!(seen.insert(name.clone()), "{name} is there twice");
            }
        }
    }

    #[test]
    fn every_name_of_the_tables_is_a_field() {
        let exists = |path: &str| CATALOGUE.iter().any(|row| row.ecs == path);
        let renamed = RENAMED.iter().map(|(ecs, _)| *ecs);
        for path in renamed
            .chain(LEFT_OUT.iter().copied())
            .chain(ROLES.iter().map(|(ecs, _)| *ecs))
        {
            assert!(exists(path), "{path}");
        }
        let names: Vec<_> = CATALOGUE.iter().filter_map(|row| attribute(row.ecs)).collect();
        for name in FOUND_BY {
            let known = names.iter().any(|known| known == name) || ROLES.iter().any(|(_, role)| role == name);
            assert!(known, "{name}");
        }
    }

    /// "Names SHOULD be lower case", dots between name spaces, letters, digits and underscores.
    #[test]
    fn names_are_as_the_conventions_want_them() {
        for name in CATALOGUE.iter().filter_map(|row| attribute(row.ecs)) {
            let good = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b));
            assert!(
                good && !name.starts_with("otel.") && !name.contains("honeyport"),
                "{name}"
            );
        }
    }
}
