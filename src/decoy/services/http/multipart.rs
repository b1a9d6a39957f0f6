//! Fields and files of a `multipart/form-data` body.
//!
//! In: the body. Out: what it offers and where its secrets are, or `None` if its parts cannot be told apart for sure.
//! What a file holds is no field: it is looked at only by its name.
//!
//! Source: RFC 7578 section 4, RFC 2046 section 5.1.

use std::ops::Range;

use super::form::{Fields, Found};
use crate::decoy::mask::names;

/// Most parts that are told apart.
const PARTS_MAX: usize = 256;

/// Reads a body that begins with its boundary.
pub(super) fn read(body: &[u8]) -> Option<Found> {
    let start = body.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let line = line_end(body, start);
    let boundary = body.get(start..line)?.trim_ascii_end();
    let mut fields = Fields::default();
    if !boundary.starts_with(b"--") || boundary.len() < 3 {
        return None;
    }
    let mut at = line;
    for _ in 0..PARTS_MAX {
        let part = at..next(body, at, boundary);
        take(body, part.clone(), &mut fields)?;
        at = line_end(body, part.end);
        let ends = body.get(part.end..at)?.trim_ascii();
        if at == body.len() || ends.ends_with(b"--") && ends.len() == boundary.len() + 2 {
            return Some(fields.end());
        }
    }
    None
}

/// Where the next boundary begins at or after `at`, at the beginning of a line.
fn next(body: &[u8], at: usize, boundary: &[u8]) -> usize {
    let rest = body.get(at..).unwrap_or_default();
    let found = memchr::memmem::find_iter(rest, boundary).map(|found| at + found);
    let mut at_line = found.filter(|at| body.get(at.saturating_sub(1)) == Some(&b'\n'));
    at_line.next().unwrap_or(body.len())
}

/// After the line end that comes next.
fn line_end(body: &[u8], at: usize) -> usize {
    let rest = body.get(at..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(body.len(), |end| at + end + 1)
}

/// Takes a part: its head, a blank line, its value. `None`: it has no such line.
fn take(body: &[u8], part: Range<usize>, fields: &mut Fields) -> Option<()> {
    let bytes = body.get(part.clone())?;
    let blank = [&b"\n\r\n"[..], b"\n\n"];
    let ends = blank
        .iter()
        .filter_map(|blank| Some(memchr::memmem::find(bytes, blank)? + blank.len()));
    let end = ends.min()?;
    let head = bytes.get(..end)?;
    let value = bytes.get(end..)?;
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let place = part.start + end..part.start + end + value.len();
    let is_file = memchr::memmem::find(&head.to_ascii_lowercase(), b"filename").is_some();
    match is_file {
        true => fields.hide(name(head), place),
        false => fields.add(name(head), value.to_vec(), place),
    }
    Some(())
}

/// The word of a part's head that names a secret, else the value of `name`.
fn name(head: &[u8]) -> &[u8] {
    let mut words = head
        .split(|byte| b" \t\r\n;:=\"'".contains(byte))
        .filter(|word| !word.is_empty());
    let secret = words.clone().find(|word| names::kind(word).is_some());
    secret.unwrap_or_else(|| {
        words.find(|word| word.eq_ignore_ascii_case(b"name"));
        words.next().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &[u8] = b"--x9\r\nContent-Disposition: form-data; name=\"login\"\r\n\r\nbob\r\n\
        --x9\r\ncontent-disposition: form-data;\r\n name=PassWord\r\n\r\nhun\r\nter2\r\n\
        --x9\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\n\r\n$password='x';\r\n--x9--\r\n";

    #[test]
    fn a_field_is_a_login_and_a_file_is_shown() {
        let found = read(FORM).expect("its parts can be told apart");
        let login = found.login.expect("a login");
        assert_eq!((&login.user[..], &login.secret[..]), (&b"bob"[..], &b"hun\r\nter2"[..]));
        let shown: Vec<_> = found.places.iter().map(|place| &FORM[place.clone()]).collect();
        assert_eq!(shown, [b"hun\r\nter2"]);
    }

    #[test]
    fn an_encoded_name_and_a_field_of_json_are_secret() {
        let body = b"--b\n content-disposition: form-data; name*=UTF-8''p%61ss\n\nabcd\n\
            --b\nContent-Disposition: form-data; name=\"data\"\n\n{\"token\":\"efgh\"}\n--b--";
        let found = read(body).expect("its parts can be told apart");
        let shown: Vec<_> = found.places.iter().map(|place| &body[place.clone()]).collect();
        assert_eq!(shown, [&b"abcd"[..], b"{\"token\":\"efgh\"}"]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_not() {
        for body in [
            &b""[..],
            b"a=b",
            b"--",
            b"--b\r\nname=\"password\"\r\nhunter2",
            b"\n--b\nx\n--b--",
        ] {
            assert_eq!(read(body), None, "{}", body.escape_ascii());
        }
        assert_eq!(read(&b"--b\na: b\n\nc\n".repeat(300)), None, "too many parts");
    }

    proptest! {
        #[test]
        fn any_bytes_give_places_within_them_and_a_cut_hides_no_less(
            bytes in prop::collection::vec(prop::sample::select(b"--b\r\n\n: =name\"pw;".to_vec()), 0..200), cut in 0..FORM.len(),
        ) {
            if let Some(found) = read(&[b"--b\n", &bytes[..]].concat()) {
                prop_assert!(found.places.iter().all(|place| place.start <= place.end && place.end <= bytes.len() + 4));
            }
            let value = FORM.windows(3).position(|three| three == b"hun").unwrap_or_default();
            if cut > value
                && let Some(found) = read(&FORM[..cut])
            {
                prop_assert_eq!(found.places[0].start, value);
                // A line end before the boundary is none of the value's.
                prop_assert!(found.places[0].end + 2 >= cut.min(value + 9));
            }
        }
    }
}
