//! Where a request goes below a base that is literal: path and query.

mod split;

use self::split::Splitter;
use crate::engine::{Leaf, Part};
use crate::{Mistake, Names, RenderError, Scope, percent};

/// A path and a query in which each value is one segment's or one parameter's part.
pub struct Target {
    segments: Vec<Vec<Part>>,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    /// `None` for one without `=`.
    value: Option<Vec<Part>>,
}

/// Where a request goes, percent-encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Where {
    /// The path, without a leading `/`.
    pub path: String,
    /// The query, without its `?`.
    pub query: Option<String>,
}

/// A path may hold a peer's words.
impl std::fmt::Debug for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Where(…)")
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Target(…)")
    }
}

/// Longest path, and longest query, bytes; servers take hardly more.
const TARGET_BYTES_MAX: usize = 8 << 10;

impl Target {
    /// Reads `path?query`; the leading `/` may be left out. Errors: the first mistake; a scheme and a host are one, for
    /// they belong to the base.
    pub fn parse(text: &str, names: &Names) -> Result<Self, Mistake> {
        let relative = text.strip_prefix('/').unwrap_or(text);
        if relative.starts_with(['/', '\\']) || literal_head(relative).contains("://") {
            return Err(Mistake::new(
                "path",
                text,
                0,
                "a host",
                "a path: the host belongs to the base URL",
            ));
        }
        let leaf = Leaf::parse(relative, "path", names)?;
        Splitter::new(text).split(leaf)
    }

    /// Reads a whole URL: what comes before the path must be literal, and is handed out beside the template.
    ///
    /// Errors: the first mistake: an expression, a user or a password before the path.
    pub fn parse_url(text: &str, names: &Names) -> Result<(String, Self), Mistake> {
        let wrong = |found| {
            Err(Mistake::new(
                "path",
                text,
                0,
                found,
                "`https://host:port/`, literal up to the path",
            ))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("a URL without a scheme");
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if scheme.contains("{{") || authority.contains("{{") {
            return wrong("an expression in the scheme, the host or the port");
        }
        if authority.contains('@') || authority.is_empty() {
            return wrong("a user, or no host");
        }
        Ok((format!("{scheme}://{authority}"), Self::parse(target, names)?))
    }

    /// Where the request goes for some values. A parameter whose value is not there is left out.
    ///
    /// Errors: a part of the path is not there; a segment becomes empty, `.` or `..`; too long.
    pub fn render(&self, scope: &Scope) -> Result<Where, RenderError> {
        let mut path = String::new();
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 {
                path.push('/');
            }
            path.push_str(&rendered_segment(segment, scope)?);
        }
        let mut query = String::new();
        for parameter in &self.parameters {
            parameter.render(scope, &mut query)?;
        }
        for (text, place) in [(&path, "path"), (&query, "query")] {
            if text.len() > TARGET_BYTES_MAX {
                let place = place.to_owned();
                return Err(RenderError::TooLarge { place });
            }
        }
        let query = (!query.is_empty()).then_some(query);
        Ok(Where { path, query })
    }
}

fn rendered_segment(parts: &[Part], scope: &Scope) -> Result<String, RenderError> {
    let place = || "path".to_owned();
    let text = encoded(parts, scope, "path")?.ok_or_else(|| RenderError::Missing { place: place() })?;
    let has_value = parts.iter().any(|part| matches!(part, Part::Expression(_)));
    match has_value && (text.is_empty() || is_dots(&text)) {
        true => Err(RenderError::Segment { place: place() }),
        false => Ok(text),
    }
}

impl Parameter {
    fn render(&self, scope: &Scope, query: &mut String) -> Result<(), RenderError> {
        let value = match &self.value {
            None => String::new(),
            Some(parts) => match encoded(parts, scope, &self.name)? {
                Some(value) => format!("={value}"),
                None => return Ok(()),
            },
        };
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&self.name);
        query.push_str(&value);
        Ok(())
    }
}

/// Literals as they are, values encoded; `None` if one is not there.
fn encoded(parts: &[Part], scope: &Scope, place: &str) -> Result<Option<String>, RenderError> {
    let mut out = String::new();
    for part in parts {
        match (part, part.text(scope, place)?) {
            (_, None) => return Ok(None),
            (Part::Literal(_), Some(literal)) => out.push_str(&literal),
            (Part::Expression(_), Some(text)) => percent::encode(&text, &mut out),
        }
    }
    Ok(Some(out))
}

/// Whether a URL parser takes the segment for this folder or the one above, also in disguise.
fn is_dots(segment: &str) -> bool {
    matches!(percent::decode(segment).as_deref(), Some("." | ".."))
}

fn literal_head(text: &str) -> &str {
    text.split("{{").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        Names::new(["a", "b"])
    }

    fn target(text: &str, values: serde_json::Value) -> Result<(String, Option<String>), RenderError> {
        let found = Target::parse(text, &names()).unwrap().render(&Scope::from(&values))?;
        Ok((found.path, found.query))
    }

    #[test]
    fn values_are_encoded_and_literals_stay() {
        let values = json!({"a": "x/../y?z#ä &=%2e", "b": 7});
        let (path, query) = target(
            "/api/v1/{{ a }}/id-{{ b }}(x)/?q={{ a }}&flag&f=local_ip:'{{ b }}'",
            values,
        )
        .unwrap();
        assert_eq!(path, "api/v1/x%2F..%2Fy%3Fz%23%C3%A4%20%26%3D%252e/id-7(x)/");
        assert_eq!(
            query.unwrap(),
            "q=x%2F..%2Fy%3Fz%23%C3%A4%20%26%3D%252e&flag&f=local_ip:'7'"
        );
    }

    #[test]
    fn a_parameter_without_a_value_is_left_out_and_a_path_needs_one() {
        assert_eq!(
            target("x?a={{ a }}&b={{ b }}", json!({"b": 1})).unwrap(),
            ("x".into(), Some("b=1".into()))
        );
        assert_eq!(target("x?a={{ a }}", json!({})).unwrap(), ("x".into(), None));
        assert!(matches!(
            target("x/{{ a }}", json!({})),
            Err(RenderError::Missing { .. })
        ));
    }

    #[test]
    fn a_value_makes_no_empty_segment_and_no_way_up() {
        for value in ["", ".", ".."] {
            let found = target("x/{{ a }}/y", json!({"a": value}));
            assert!(matches!(found, Err(RenderError::Segment { .. })), "{value}");
        }
        assert!(matches!(
            target("x/.{{ a }}", json!({"a": "."})),
            Err(RenderError::Segment { .. })
        ));
        assert!(matches!(
            target("%2e{{ a }}", json!({"a": "."})),
            Err(RenderError::Segment { .. })
        ));
        assert_eq!(target("x/{{ a }}", json!({"a": "..."})).unwrap().0, "x/...");
        assert_eq!(target("x/{{ a }}", json!({"a": "%2e%2e"})).unwrap().0, "x/%252e%252e");
    }

    #[test]
    fn a_template_that_could_go_elsewhere_is_refused() {
        for (text, found) in [
            ("https://{{ a }}/", "a host"),
            ("//host/x", "a host"),
            ("x/../y", "`.` or `..`"),
            ("x/%2E%2e/y", "`.` or `..`"),
            ("x//y", "an empty segment"),
            ("x#y", "`#`"),
            ("x y", "` `"),
            ("x\\y", "`\\`"),
            ("x?{{ a }}=1", "an expression in a parameter's name"),
        ] {
            let mistake = Target::parse(text, &names()).unwrap_err();
            assert!(mistake.found.contains(found), "{text}: {mistake}");
        }
    }

    #[test]
    fn of_a_url_all_before_the_path_is_literal() {
        let (base, target) = Target::parse_url("https://h:8443/x/{{ a }}?b={{ b }}", &names()).unwrap();
        let found = target.render(&Scope::from(&json!({"a": "@evil/", "b": 1}))).unwrap();
        assert_eq!((base.as_str(), found.path.as_str()), ("https://h:8443", "x/%40evil%2F"));
        for text in [
            "https://{{ a }}/x",
            "{{ a }}://h/x",
            "https://h:{{ a }}/x",
            "https://u{{ a }}@h/",
            "h/x",
            "https:///x",
            "https://h{{ '/' }}",
        ] {
            assert!(Target::parse_url(text, &names()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_text_are_one_segment_and_one_parameter_and_come_back(one in any::<String>(), two in any::<String>()) {
            let Ok((path, query)) = target("p/{{ a }}/q?x={{ b }}&y=1", json!({"a": one, "b": two})) else {
                prop_assert!(["", ".", ".."].contains(&one.as_str()) || one.len() + two.len() > 2000);
                return Ok(());
            };
            let query = query.unwrap();
            let segments: Vec<_> = path.split('/').collect();
            let pairs: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
            prop_assert_eq!(segments.len(), 3);
            prop_assert_eq!(percent::decode(segments[1]).unwrap(), one);
            prop_assert_eq!(pairs.len(), 2);
            prop_assert_eq!(percent::decode(pairs[0].1).unwrap(), two);
        }

        #[test]
        fn any_text_as_a_target_is_read_or_refused(text in any::<String>()) {
            let _ = Target::parse(&text, &names());
            let _ = Target::parse_url(&format!("https://{text}"), &names());
        }
    }
}
