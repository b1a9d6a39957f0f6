//! All that is wrong with a personality file, for whoever writes one.
//!
//! Reading stops at the first mistake. So what is wrong is left out and the rest read again, until nothing is wrong or
//! what is wrong cannot be left out: a key that is missing, a rule over the whole table. Bounded by [`MISTAKES_MAX`].

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Head, PersonalityError};
use crate::decoy::services;

/// Most mistakes of one file that are told.
const MISTAKES_MAX: usize = 20;

/// Everything that is wrong with a text; `origin` names it.
pub(super) fn of(origin: &str, text: &str) -> Vec<PersonalityError> {
    let wrong = |error: &toml::de::Error| PersonalityError::wrong(origin, text, error);
    let syntax = DeTable::parse_recoverable(text).1;
    if !syntax.is_empty() {
        return syntax.iter().take(MISTAKES_MAX).map(wrong).collect();
    }
    let mut rest = text.to_owned();
    let mut found = Vec::new();
    let mut left_out: Vec<String> = Vec::new();
    while found.len() < MISTAKES_MAX {
        let Some(error) = first(&rest) else { break };
        // What was left out is not missing.
        let follows = left_out
            .iter()
            .any(|key| error.message().contains(&format!("missing field `{key}`")));
        if follows {
            break;
        }
        found.push(wrong(&error));
        let Some(entry) = error.span().and_then(|span| entry_at(&rest, &span)) else {
            break;
        };
        left_out.push(entry.key);
        blank(&mut rest, entry.span);
        if !DeTable::parse_recoverable(&rest).1.is_empty() {
            break;
        }
    }
    found
}

/// The first mistake of the service's own reader.
fn first(text: &str) -> Option<toml::de::Error> {
    let head: Head = match toml::from_str(text) {
        Ok(head) => head,
        Err(error) => return Some(error),
    };
    let service = services::find(head.service.get_ref())?;
    (service.look)(text).err()
}

/// What can be left out as a whole.
struct Entry {
    key: String,
    span: Range<usize>,
}

/// The smallest key with its value, or element of a list, in which `span` lies.
fn entry_at(text: &str, span: &Range<usize>) -> Option<Entry> {
    let (root, _) = DeTable::parse_recoverable(text);
    in_table(text, root.get_ref(), span)
}

fn in_table(text: &str, table: &DeTable<'_>, at: &Range<usize>) -> Option<Entry> {
    table.iter().find_map(|(key, value)| {
        let is_inline = text.get(value.span()).is_some_and(|value| value.starts_with('{'));
        let inner = match value.get_ref() {
            DeValue::Table(table) if !is_inline => return in_table(text, table, at),
            DeValue::Array(items) => in_list(text, items, at),
            _ => None,
        };
        let span = inner.or_else(|| {
            let whole = key.span().start..value.span().end;
            holds(&whole, at).then_some(whole)
        })?;
        let key = key.get_ref().to_string();
        Some(Entry { key, span })
    })
}

/// The element and the comma behind it, if there is one; a comma before the end of the list may stay.
fn in_list(text: &str, items: &[Spanned<DeValue<'_>>], at: &Range<usize>) -> Option<Range<usize>> {
    let item = items.iter().map(Spanned::span).find(|item| holds(item, at))?;
    let behind = text.get(item.end..)?;
    let spaces = behind.len() - behind.trim_start().len();
    let comma = behind.trim_start().starts_with(',');
    Some(item.start..item.end + if comma { spaces + 1 } else { 0 })
}

const fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Blanks for every byte but line ends, so that places stay.
fn blank(text: &mut String, span: Range<usize>) {
    let blanks = |part: &str| {
        part.bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect::<String>()
    };
    if let Some(part) = text.get(span.clone()).map(blanks) {
        text.replace_range(span, &part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        of("t.toml", text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_of_a_file_is_told_with_its_place() {
        let text = "service = 'banner'\nos = 7\nproduct = 'x'\n[look]\ngreting = ''\nanswers = [\n  \
                    { on = 'A', say = '' },\n  { on = 7 },\n  { no = '' },\n]\nidle = 'é'\n";
        let told = told(text);
        assert!(told.len() >= 3, "{told:#?}");
        for start in ["t.toml:2:6: ", "t.toml:5:1: unknown field `greting`"] {
            assert!(told.iter().any(|one| one.starts_with(start)), "{start} in {told:#?}");
        }
        assert!(!told.iter().any(|one| one.contains("missing field `os`")), "{told:#?}");
    }

    #[test]
    fn a_file_without_mistakes_has_none_and_syntax_is_told_first() {
        assert_eq!(
            told("service = 'banner'\nos = 'l'\nproduct = 'x'\n[look]\n"),
            Vec::<String>::new()
        );
        let torn = told("service = \nos = \n");
        assert_eq!(torn.len(), 2, "{torn:?}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_as_a_personality_end_in_bounded_mistakes(text in "(service = 'banner'\n)?([a-z]{1,3} = [-\\[\\]{}'0-9a-z, =]{0,9}\n|\\[look\\]\n){0,6}") {
            proptest::prop_assert!(told(&text).len() <= MISTAKES_MAX);
        }
    }
}
