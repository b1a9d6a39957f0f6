//! Texts that are fit to be told: bounded, one line, nothing hidden, and, where a client would make a link, no link.

use trapline_schemas::text;

/// What ends a text that was cut.
const CUT: char = '…';

/// A text as one line of at most `chars_max` characters: what moves, turns or hides is an escape, every kind of space
/// is a space.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    let spaced: String = text.chars().map(|ch| if is_space(ch) { ' ' } else { ch }).collect();
    let escaped: String = text::clean_within(spaced.trim().as_bytes(), usize::MAX)
        .chars()
        .flat_map(seen)
        .collect();
    cut(&escaped, chars_max)
}

/// A name that was given in a configuration, as it may stand amid our words: letters, digits and a few signs, at most 64.
///
/// A sensor elsewhere may have recorded the event, so the name is not believed to be one.
pub(crate) fn name(text: &str) -> String {
    let kept = |ch: char| ch.is_alphanumeric() || " -_.,()+'".contains(ch);
    let safe: String = text.chars().map(|ch| if kept(ch) { ch } else { '_' }).collect();
    line(&safe, NAME_CHARS_MAX)
}

/// Longest name amid words, in characters.
const NAME_CHARS_MAX: usize = 64;

/// At most `chars_max` characters, the last of them `…` if there were more.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain([CUT]).collect(),
    }
}

/// A line end counts as what it is for [`text::clean_within`]: something that moves.
fn is_space(ch: char) -> bool {
    ch.is_whitespace() && !text::hidden(ch)
}

/// A character; a variation selector, which is not seen, as an escape.
fn seen(ch: char) -> impl Iterator<Item = char> {
    let is_selector = matches!(ch, '\u{fe00}'..='\u{fe0f}' | '\u{2800}');
    let escape = is_selector.then(|| ch.escape_unicode()).into_iter().flatten();
    escape.chain((!is_selector).then_some(ch))
}

/// A text that no mail or chat client makes a link, a mention or a share of: `hxxp[:]//router[.]example`, `[@]here`.
///
/// For values that a peer chose ([`crate::Fact::foreign`]). It is not an escape for a format: HTML, mrkdwn and headers
/// need their own on top. The text may grow to three times its length.
pub fn defang(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut before = None;
    let mut rest = text.chars();
    while let Some(ch) = rest.next() {
        let after = rest.clone().next();
        match ch {
            '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}' if joins(before, after) => out.push_str("[.]"),
            ':' if before.is_some_and(char::is_alphabetic) && joins(before, after) => {
                spoil_scheme(&mut out);
                out.push_str("[:]");
            }
            '@' | '\u{ff20}' => out.push_str("[@]"),
            '\\' if after == Some('\\') => {
                out.push_str("[\\]");
            }
            ch => out.push(ch),
        }
        before = Some(ch);
    }
    out
}

/// Whether a sign stands between two that are no spaces.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let is_part = |ch: Option<char>| ch.is_some_and(|ch| !ch.is_whitespace());
    is_part(before) && is_part(after)
}

/// `http` and `https` at the end of the text as people write them who do not want them followed.
fn spoil_scheme(out: &mut String) {
    for (scheme, spoilt) in [("https", "hxxps"), ("http", "hxxp")] {
        let start = out.len().saturating_sub(scheme.len());
        if out.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(scheme)) {
            out.replace_range(start.., spoilt);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_a_link_is_none_and_the_rest_stays() {
        for (text, told) in [
            ("http://router.example/x", "hxxp[:]//router[.]example/x"),
            ("see HTTPS://a.b now", "see hxxps[:]//a[.]b now"),
            ("www.evil.example", "www[.]evil[.]example"),
            ("evil。example", "evil[.]example"),
            ("mailto:a@b.example", "mailto[:]a[@]b[.]example"),
            ("javascript:alert(1)", "javascript[:]alert(1)"),
            ("@channel", "[@]channel"),
            ("\\\\LURE\\docs", "[\\]\\LURE\\docs"),
            ("The end. Really: yes", "The end. Really: yes"),
            ("root", "root"),
            ("SHA256:abc", "SHA256:abc"),
        ] {
            assert_eq!(defang(text), told);
        }
    }

    #[test]
    fn a_name_amid_words_has_no_sign_that_a_client_could_read_as_markup() {
        assert_eq!(name("lure-dmz_01.lyon"), "lure-dmz_01.lyon");
        assert_eq!(name("<!channel>*`|&@x"), "__channel______x");
        assert_eq!(name(&"n".repeat(70)).chars().count(), 64);
        assert_eq!(name("Gare d'eau, étage 3"), "Gare d'eau, étage 3");
    }

    #[test]
    fn a_line_is_one_line_and_says_where_it_was_cut() {
        assert_eq!(line("a\nb\u{202e}c\u{a0}d\u{fe0f}", 99), "a\\x0ab\\u{202e}c d\\u{fe0f}");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(line("abcd", 4), "abcd");
        assert_eq!(line("abcd", 0), "…");
    }
}
