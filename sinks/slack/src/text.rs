//! Texts as Slack takes them.
//!
//! Slack counts characters in a way that it does not tell; here they are UTF-16 units of what is sent, entities
//! included, which is the most that any way of counting gives.

use trapline_schemas::text::clean_within;

/// What ends a text that was cut.
const CUT: char = '…';

/// Our own words for a text object, at most `units_max` long: `&`, `<` and `>` are entities, so no control sequence of
/// Slack's can be formed.
pub(crate) fn escaped(text: &str, units_max: usize) -> String {
    fit(text, units_max, |ch| match ch {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    })
}

/// A text as it is, for elements that know no markup, at most `units_max` long.
pub(crate) fn literal(text: &str, units_max: usize) -> String {
    fit(text, units_max, |_| None)
}

/// Hides nothing, and is cut between characters, never inside an entity.
fn fit(text: &str, units_max: usize, entity: fn(char) -> Option<&'static str>) -> String {
    let text = clean_within(text.as_bytes(), usize::MAX);
    let mut out = String::with_capacity(text.len().min(units_max) + 8);
    let (mut units, mut cut_at) = (0, 0);
    for ch in text.chars() {
        match entity(ch) {
            Some(entity) => out.push_str(entity),
            None => out.push(ch),
        }
        units += entity(ch).map_or(ch.len_utf16(), str::len);
        if units > units_max {
            out.truncate(cut_at);
            out.push(CUT);
            return out;
        }
        if units < units_max {
            cut_at = out.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_control_sequence_is_left_and_no_entity_is_cut() {
        assert_eq!(escaped("<!channel> & <@U1>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(escaped("ab&c", 6), "ab…");
        assert_eq!(escaped("ab&c", 8), "ab&amp;c");
        assert_eq!(literal("<!here>", 5), "<!he…");
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_bound_and_hides_nothing(text in any::<String>(), max in 1_usize..40) {
            for fitted in [escaped(&text, max), literal(&text, max)] {
                prop_assert!(fitted.encode_utf16().count() <= max, "{}", fitted);
                prop_assert!(trapline_schemas::text::is_clean(&fitted));
            }
            let escaped = escaped(&text, max);
            prop_assert!(!escaped.contains(['<', '>']));
        }
    }
}
