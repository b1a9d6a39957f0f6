//! What file a path names: escapes undone, dots followed, slashes merged, as each product does.
//!
//! In: the path of a target. Out: a path below the root, or why there is none.

use super::answer::Family;

/// Why a path names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// An escape of no two digits.
    Escape,
    /// It climbs above the root.
    Climbs,
    /// It holds a NUL or, for Apache, a slash that was escaped.
    Hidden,
}

/// Resolves `raw`; the result begins with `/` and has no `.` and `..` in it.
pub(super) fn resolve(raw: &[u8], family: Family) -> Result<Vec<u8>, Lost> {
    let decoded = decode(raw).ok_or(Lost::Escape)?;
    let merges = family != Family::Iis;
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut is_folder = false;
    for part in decoded
        .strip_prefix(b"/")
        .unwrap_or(&decoded)
        .split(|byte| *byte == b'/')
    {
        is_folder = matches!(part, b"" | b"." | b"..");
        match part {
            b"." => {}
            b"" if merges => {}
            b".." => parts.pop().map(drop).ok_or(Lost::Climbs)?,
            part => parts.push(part),
        }
    }
    if decoded.contains(&0) || (family == Family::Apache && has_escaped_slash(raw)) {
        return Err(Lost::Hidden);
    }
    let mut path = Vec::with_capacity(decoded.len() + 1);
    for part in &parts {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() || (is_folder && path.last() != Some(&b'/')) {
        path.push(b'/');
    }
    Ok(path)
}

fn has_escaped_slash(raw: &[u8]) -> bool {
    raw.windows(3).any(|three| three.eq_ignore_ascii_case(b"%2f"))
}

/// Undoes `%XX`; `None` if one is broken.
fn decode(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'%' => {
                let (hex, after) = after.split_first_chunk::<2>()?;
                (super::form::unhex(*hex)?, after)
            }
            byte => (*byte, after),
        };
        out.push(byte);
        rest = after;
    }
    Some(out)
}

/// Whether `path` is `folder` or in it.
pub(super) fn is_under(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether a part of it is longer than a file name can be, or all of it longer than a path (Linux).
pub(super) fn is_too_long(path: &[u8]) -> bool {
    path.len() > 4096 - "/var/www/html".len() || path.split(|byte| *byte == b'/').any(|part| part.len() > 255)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_product_finds_the_file_it_finds() {
        let all = [Family::Apache, Family::Nginx, Family::Iis];
        let [no, up, hid] = [Err(Lost::Escape), Err(Lost::Climbs), Err(Lost::Hidden)];
        for (raw, apache, nginx, iis) in [
            ("/", Ok("/"), Ok("/"), Ok("/")),
            ("/a+b", Ok("/a+b"), Ok("/a+b"), Ok("/a+b")),
            ("//admin", Ok("/admin"), Ok("/admin"), Ok("//admin")),
            ("/a/%2e%2e/b/", Ok("/b/"), Ok("/b/"), Ok("/b/")),
            ("/a/./b/../..//admin/.", Ok("/admin/"), Ok("/admin/"), Ok("//admin/")),
            ("/a/..", Ok("/"), Ok("/"), Ok("/")),
            ("/admin%2Fx", hid, Ok("/admin/x"), Ok("/admin/x")),
            ("/%00", hid, hid, hid),
            ("/%zz", no, no, no),
            ("/%2", no, no, no),
            ("/../x", up, up, up),
            ("/cgi-bin/.%2e/.%2e/bin/sh", up, up, up),
        ] {
            let found = all.map(|family| resolve(raw.as_bytes(), family));
            let expected = [apache, nginx, iis].map(|found| found.map(|path| path.as_bytes().to_vec()));
            assert_eq!(found, expected, "{raw}");
        }
    }

    #[test]
    fn a_folder_is_protected_and_its_namesakes_are_not() {
        assert!(is_under(b"/manager", b"/manager") && is_under(b"/manager/x", b"/manager"));
        assert!(!is_under(b"/managers", b"/manager") && !is_under(b"/", b"/manager"));
        assert!(is_too_long(&[b'a'; 256]) && !is_too_long(&[b'a'; 255]));
    }

    proptest! {
        #[test]
        fn any_bytes_stay_below_the_root(raw in prop::collection::vec(prop::sample::select(b"/.%2efa\0".to_vec()), 0..60)) {
            for family in [Family::Apache, Family::Nginx, Family::Iis] {
                if let Ok(path) = resolve(&raw, family) {
                    prop_assert!(path.starts_with(b"/"));
                    prop_assert!(path.split(|byte| *byte == b'/').all(|part| part != b".."));
                }
            }
        }
    }
}
