//! Where lines of text hold secrets, whatever protocol they are of: known by the names before them.
//!
//! In: bytes as received. Out: sorted, disjoint ranges. Read are headers (folded ones too), pairs as in URLs, forms,
//! JSON and XML, users with passwords in URLs, and the commands with which FTP, mail and SASL clients log in. Where the
//! end of a value is in doubt all of the line is hidden.
//!
//! Invariants: 1. no range holds a line end, so that what is masked has the lines it had. 2. Time is linear in the
//! bytes. 3. Bytes that are cut anywhere hide no less of what is left of a value.

use std::ops::Range;

use super::names::{self, Header};
use super::union;

/// How often something encoded may hold something encoded.
const DEPTH: usize = 3;

/// Most cookies of one line that are told apart; beyond, the line is hidden as a whole.
const COOKIES_MAX: usize = 100;

/// Where the secrets are.
pub(crate) fn places(bytes: &[u8]) -> Vec<Range<usize>> {
    union(named(bytes, DEPTH).into_iter())
}

/// Whether the bytes name a secret, also if its value is on another line than its name, or has not come yet.
pub(crate) fn name_one(bytes: &[u8]) -> bool {
    if !named(bytes, DEPTH).is_empty() {
        return true;
    }
    // As UTF-16, ASCII has a NUL beside each byte.
    let joined: Vec<u8> = bytes
        .iter()
        .filter(|byte| **byte != 0)
        .map(|byte| blank(*byte))
        .collect();
    !named(&joined, DEPTH).is_empty()
}

fn blank(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

/// The values of names, empty ones too.
fn named(bytes: &[u8], depth: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut goes_on = false;
    for line in lines(bytes) {
        let text = bytes.get(line.clone()).unwrap_or_default();
        let folded = goes_on && text.starts_with(b" ") | text.starts_with(b"\t");
        if folded {
            found.push(line);
            continue;
        }
        let before = found.len();
        Line {
            text,
            at: line.start,
            depth,
            found: &mut found,
        }
        .read();
        goes_on = found.len() > before && found.last().is_some_and(|last| last.end == line.end);
    }
    found
}

/// Lines without their ends. A CR alone ends one too: to some servers it does.
fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let line = at..at + length;
        let end = rest.get(length..).unwrap_or_default();
        at = line.end + if end.starts_with(b"\r\n") { 2 } else { 1 };
        Some(line)
    })
}

/// One line under way.
struct Line<'a> {
    text: &'a [u8],
    /// Where it begins in the bytes.
    at: usize,
    depth: usize,
    found: &'a mut Vec<Range<usize>>,
}

impl Line<'_> {
    fn read(mut self) {
        if !self.header() {
            self.command();
            self.logins_in_urls();
            self.pairs();
        }
    }

    fn add(&mut self, place: Range<usize>) {
        self.found.push(self.at + place.start..self.at + place.end);
    }

    /// `Name: value`. `false`: it is none that hides its value.
    fn header(&mut self) -> bool {
        let Some((name, value)) = header(self.text) else {
            return false;
        };
        match names::header(name) {
            Some(Header::Authorization) => self.add(proof(self.text, value)),
            Some(Header::Cookie) => self.cookies(value),
            Some(Header::Secret(_)) => self.add(value),
            None => return false,
        }
        true
    }

    fn cookies(&mut self, value: Range<usize>) {
        let cookies = self.text.get(value.clone()).unwrap_or_default();
        if memchr::memchr_iter(b';', cookies).count() > COOKIES_MAX {
            return self.add(value);
        }
        let mut at = value.start;
        for cookie in cookies.split(|byte| *byte == b';') {
            let name = memchr::memchr(b'=', cookie).map_or(0, |equals| equals + 1);
            self.add(at + name..at + cookie.len());
            at += cookie.len() + 1;
        }
    }

    /// The commands of FTP, POP3, IMAP, SMTP and Redis that log in.
    fn command(&mut self) {
        let words: Vec<_> = Words::of(self.text).take(4).collect();
        if let Some(secret) = login(self.text, &words) {
            self.add(secret..self.text.len());
        }
    }

    /// `scheme://user:password@host`, and `sip:user:password@host`.
    fn logins_in_urls(&mut self) {
        self.logins_behind(b"://", b"/?#\\\"'<> \t");
        for scheme in [&b"sip:"[..], b"sips:", b"SIP:", b"SIPS:"] {
            self.logins_behind(scheme, b";?\"<> \t");
        }
    }

    fn logins_behind(&mut self, mark: &[u8], ends: &[u8]) {
        let mut at = 0;
        while let Some(found) = memchr::memmem::find(self.text.get(at..).unwrap_or_default(), mark) {
            at += found + mark.len();
            let rest = self.text.get(at..).unwrap_or_default();
            let length = rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len());
            let authority = rest.get(..length).unwrap_or_default();
            if let Some(password) = password(authority) {
                self.add(at + password.start..at + password.end);
            }
            at += authority.len();
        }
    }

    /// `name=value`, `"name": "value"`, `<name>value`, and what holds one of them encoded.
    fn pairs(&mut self) {
        let end = without_version(self.text);
        let mut at = 0;
        while let Some(name) = next_name(self.text, at, end) {
            at = name.end;
            if let Some(value) = self.value(&name, end) {
                at = value.end;
                self.add(value);
            } else if self.holds_encoded(&name) {
                at = pair_end(self.text, name.start, end);
                self.add(name.start..at);
            }
        }
    }

    /// The value of a name, if that is the name of a secret.
    fn value(&self, name: &Range<usize>, end: usize) -> Option<Range<usize>> {
        let rest = self.text.get(name.end..end)?;
        let skipped = rest.iter().take_while(|byte| b"\"' \t)".contains(byte)).count();
        let from = match rest.get(skipped) {
            Some(b'=' | b':' | b'>') => name.end + skipped + 1,
            // Attributes of a tag follow its name.
            Some(_) if is_tag(self.text, name.start) && skipped > 0 => name.end,
            _ => return None,
        };
        let word = self.text.get(name.clone())?;
        if names::kind(word).is_none() || is_file(self.text, name) {
            return None;
        }
        let until = match rest.get(skipped) {
            Some(b'=') if !is_quoted(self.text, from) => pair_end(self.text, from, end),
            _ => end,
        };
        Some(from..until)
    }

    fn holds_encoded(&self, word: &Range<usize>) -> bool {
        let word = self.text.get(word.clone()).unwrap_or_default();
        let escaped = memchr::memchr2(b'%', b'\\', word).is_some();
        escaped && self.depth > 0 && !named(&names::decoded(word), self.depth - 1).is_empty()
    }
}

/// Where the password of `user:password@host` is. Without `@`, what is no port is the beginning of a password.
fn password(authority: &[u8]) -> Option<Range<usize>> {
    let login = memchr::memrchr(b'@', authority);
    let end = login.unwrap_or(authority.len());
    let from = memchr::memchr(b':', authority.get(..end)?)? + 1;
    let value = authority.get(from..end)?;
    let is_port = value.len() <= 5 && value.iter().all(u8::is_ascii_digit);
    let is_host = login.is_none() && (is_port || authority.starts_with(b"["));
    (!is_host).then_some(from..end)
}

/// The name of a header and where its value is. Blanks or pairs before the colon make it something else.
fn header(line: &[u8]) -> Option<(&[u8], Range<usize>)> {
    let colon = memchr::memchr(b':', line)?;
    let name = line.get(..colon)?.trim_ascii();
    let odd = |byte: &u8| b" \t/?&=%<>(){}".contains(byte);
    (!name.iter().any(odd)).then_some((name, value(line, colon + 1)))
}

/// Schemes that are shown; what proves them is not.
const SCHEMES: [&str; 17] = [
    "apikey",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "digest",
    "dpop",
    "gnap",
    "hoba",
    "mutual",
    "negotiate",
    "ntlm",
    "oauth",
    "scram-sha-1",
    "scram-sha-256",
    "splunk",
    "token",
    "vapid",
];

/// The scheme of an `Authorization` value, if it is one that is known, and where the proof begins.
pub(crate) fn scheme(value: &[u8]) -> (&[u8], usize) {
    let end = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(value.len());
    let word = value.get(..end).unwrap_or_default();
    let known = SCHEMES.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    if !known {
        return (b"", 0);
    }
    let blanks = value
        .get(end..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace());
    (word, end + blanks.count())
}

fn proof(line: &[u8], value: Range<usize>) -> Range<usize> {
    let (_, at) = scheme(line.get(value.clone()).unwrap_or_default());
    value.start + at..value.end
}

/// What comes after `from`, without blanks before it.
fn value(line: &[u8], from: usize) -> Range<usize> {
    let value = line.get(from..).unwrap_or_default();
    let blanks = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    from + blanks..line.len()
}

/// Where the secret of a command begins that logs in.
fn login(text: &[u8], words: &[Range<usize>]) -> Option<usize> {
    let word = |at: usize| {
        words
            .get(at)
            .and_then(|word| text.get(word.clone()))
            .unwrap_or_default()
    };
    let is = |at: usize, names: &[&str]| names.iter().any(|name| word(at).eq_ignore_ascii_case(name.as_bytes()));
    let secret = match () {
        () if is(0, &["AUTH", "AUTHENTICATE"]) => 1 + usize::from(is_mechanism(word(1))),
        () if is(0, &["ACCT", "ADAT", "LOGIN", "PASS", "PASSWD", "PASSWORD"]) => 1,
        () if is(0, &["AUTHORIZATION", "COOKIE", "PROXY-AUTHORIZATION"]) => 1,
        () if is(0, &["SITE"]) && is(1, &["CPWD", "PASS", "PASSWD", "PASSWORD", "PSWD"]) => 2,
        () if is(0, &["APOP"]) || is(1, &["LOGIN"]) => 2,
        () if is(1, &["AUTHENTICATE"]) => 3,
        () => return None,
    };
    words.get(secret).map(|word| word.start)
}

/// Whether a word after AUTH is a mechanism of SASL or FTP, which is shown; else it is a password (Redis).
fn is_mechanism(word: &[u8]) -> bool {
    const WHOLE: [&str; 16] = [
        "ANONYMOUS",
        "EXTERNAL",
        "GS2-KRB5",
        "GSS-SPNEGO",
        "GSSAPI",
        "KERBEROS_V4",
        "KERBEROS_V5",
        "LOGIN",
        "NTLM",
        "OAUTHBEARER",
        "PLAIN",
        "SSL",
        "TLS",
        "TLS-C",
        "TLS-P",
        "XOAUTH2",
    ];
    let upper = word.to_ascii_uppercase();
    let family = ["CRAM-", "DIGEST-", "SCRAM-"]
        .iter()
        .any(|family| upper.starts_with(family.as_bytes()));
    family || WHOLE.iter().any(|whole| upper == whole.as_bytes())
}

/// Words apart by blanks, each as its place; what stands before the first letter is passed over.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn of(text: &'a [u8]) -> Self {
        let at = text.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
        Self { text, at }
    }
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..)?;
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let start = self.at + rest.iter().take_while(blank).count();
        let word = self.text.get(start..)?.iter().take_while(|byte| !blank(byte)).count();
        self.at = start + word;
        (word > 0).then_some(start..self.at)
    }
}

/// What ends a name.
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'&'
            | b';'
            | b'?'
            | b'#'
            | b'='
            | b':'
            | b'<'
            | b'>'
            | b'"'
            | b'\''
            | b'('
            | b')'
            | b'{'
            | b'}'
            | b','
            | b'/'
            | b'|'
    )
}

fn next_name(text: &[u8], at: usize, end: usize) -> Option<Range<usize>> {
    let rest = text.get(at..end)?;
    let start = at + rest.iter().position(|byte| !is_delimiter(*byte))?;
    let word = text.get(start..end)?;
    let length = word.iter().position(|byte| is_delimiter(*byte)).unwrap_or(word.len());
    Some(start..start + length)
}

/// Where a pair ends that begins at `from`.
fn pair_end(text: &[u8], from: usize, end: usize) -> usize {
    let rest = text.get(from..end).unwrap_or_default();
    let length = memchr::memchr(b'&', rest).unwrap_or(rest.len());
    #[cfg(test)]
    crate::decoy::testing::work::spend(length);
    from + length
}

fn is_quoted(text: &[u8], at: usize) -> bool {
    let value = text.get(at..).unwrap_or_default().trim_ascii_start();
    value.starts_with(b"\"") || value.starts_with(b"'")
}

/// Whether a name is that of a tag, perhaps with a prefix: `<name` or `<p:name`.
fn is_tag(text: &[u8], start: usize) -> bool {
    match text.get(..start).and_then(<[u8]>::split_last) {
        Some((b'<', _)) => true,
        Some((b':', before)) => {
            let prefix = before
                .iter()
                .rev()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            before
                .get(..before.len() - prefix)
                .is_some_and(|before| before.ends_with(b"<"))
        }
        _ => false,
    }
}

/// `/etc/passwd` names a file, the most wanted one.
fn is_file(text: &[u8], name: &Range<usize>) -> bool {
    let before = text.get(..name.start).unwrap_or_default();
    before.ends_with(b"/") && text.get(name.clone()) == Some(b"passwd")
}

/// Where a line ends without the version of a request, which no value goes beyond.
fn without_version(line: &[u8]) -> usize {
    let trimmed = line.trim_ascii_end();
    match trimmed
        .strip_suffix(b"HTTP/1.1")
        .or_else(|| trimmed.strip_suffix(b"HTTP/1.0"))
    {
        Some(before) if before.ends_with(b" ") => before.len() - 1,
        _ => line.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_without_an_end_cost_work_by_their_number_and_not_by_its_square() {
        for pair in ["a=", "a%61=", "pass=", "\"a\"=", "a=%3d", "<a b=", "a:b="] {
            let cost = |pairs| crate::decoy::testing::work::of(|| name_one(pair.repeat(pairs).as_bytes()));
            let (one, two) = (cost(500), cost(1000));
            assert!(
                two <= 3 * one,
                "{pair}: {one} bytes looked at for 500 pairs, {two} for 1000"
            );
        }
    }

    fn hidden(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        super::super::apply(&mut bytes, &places(text.as_bytes()));
        String::from_utf8(bytes).expect("ranges cut no character")
    }

    /// Each row: what is sent, and what is left of it.
    #[test]
    fn values_of_secret_names_are_hidden() {
        for (sent, left) in [
            ("Authorization: Bearer abc.def", "Authorization: Bearer *******"),
            ("authorization:abcdef", "authorization:******"),
            ("AUTHORIZATION : My own scheme", "AUTHORIZATION : *************"),
            ("Proxy-Authorization: NTLM TlRM", "Proxy-Authorization: NTLM ****"),
            ("Authorization Basic abcd", "Authorization **********"),
            (
                "Authorization:\r\n Basic\r\n\tabcd\r\nHost: a",
                "Authorization:\r\n******\r\n*****\r\nHost: a",
            ),
            ("X-Api-Key:abc\rCookie: a=b", "X-Api-Key:***\rCookie: a=*"),
            ("Cookie: a=b; cd=\"e;f\"; gh", "Cookie: a=*; cd=**;**;***"),
            ("Set-Cookie: a=b; Path=/", "Set-Cookie: a=*; Path=*"),
            ("GET /?password=a b&c=d HTTP/1.1", "GET /?password=***&c=d HTTP/1.1"),
            ("GET /?p%61ss=a&c=d HTTP/1.1", "GET /?p%61ss=*&c=d HTTP/1.1"),
            ("GET /a?b=c;token=d HTTP/1.0", "GET /a?b=c;token=* HTTP/1.0"),
            ("GET /a;jsessionid=D0?b=c HTTP/1.1", "GET /a;jsessionid=****** HTTP/1.1"),
            ("GET /#access_token=a&b=c HTTP/1.1", "GET /#access_token=*&b=c HTTP/1.1"),
            (
                "GET /?n=%2F%3Fpassword%3Dx&b=c HTTP/1.1",
                "GET /?n=******************&b=c HTTP/1.1",
            ),
            ("GET /?password%3Dx HTTP/1.1", "GET /?************ HTTP/1.1"),
            ("GET http://u:p@h:1/ HTTP/1.1", "GET http://u:*@h:1/ HTTP/1.1"),
            ("Referer: https://h/?api_key=x&y=z", "Referer: https://h/?api_key=*&y=z"),
            ("Referer: https://u:p@h/", "Referer: https://u:*@h/"),
            ("GET http://u:p%40", "GET http://u:****"),
            (
                "{\"user\":\"a\",\"password\":\"b&c\"}",
                "{\"user\":\"a\",\"password\":******",
            ),
            ("{\"p\\u0061ss\" : \"b\"}", "{\"p\\u0061ss\" :*****"),
            (
                "{\"a\":\"{\\\"pass\\\":\\\"b\\\"}\"}",
                "{\"a\":\"{\\\"pass\\\":********",
            ),
            ("<password>a</password>", "<password>************"),
            ("<w:Password Type='x'>a<", "<w:Password************"),
            ("password='a&b'", "password=*****"),
            ("PASS hunter2", "PASS *******"),
            (" pAsS\thunter2", " pAsS\t*******"),
            ("ACCT a b", "ACCT ***"),
            ("SITE PSWD a b", "SITE PSWD ***"),
            ("APOP bob 0a1b", "APOP bob ****"),
            ("a1 LOGIN bob pw", "a1 LOGIN ******"),
            ("AUTH PLAIN AGJvYg==", "AUTH PLAIN ********"),
            ("AUTH hunter2", "AUTH *******"),
            ("a AUTHENTICATE XOAUTH2 dXNl", "a AUTHENTICATE XOAUTH2 ****"),
        ] {
            assert_eq!(hidden(sent), left, "{sent}");
        }
    }

    #[test]
    fn what_names_no_secret_stays() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a:80\r\nUser-Agent: Mozilla/5.0 (X11; rv:109.0)\r\nAccept: */*;q=0.8\r\n\r\n",
            "GET /cgi-bin/../../etc/passwd HTTP/1.1",
            "<!ENTITY x SYSTEM \"file:///etc/passwd\">",
            "cmd=cat%20/etc/passwd;id&x=1",
            "GET /reset-password HTTP/1.1",
            "GET http://h:80/a@b HTTP/1.1",
            "GET http://[2001:db8::1]:8080/ HTTP/1.1",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "AUTH TLS",
            "a1 AUTHENTICATE PLAIN",
            "USER root\r\nSTAT\r\n",
        ] {
            assert_eq!(hidden(text), text);
            assert!(!name_one(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_name_counts_before_its_value_has_come() {
        for text in [
            "{\"password\"\n:\n\"a\"",
            "<secret>\nx",
            "Cookie:",
            "p\0a\0s\0s\0=\0x\0",
            "x-auth-user:",
        ] {
            assert!(name_one(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn many_cookies_are_hidden_as_one() {
        let text = format!("Cookie: {}", "a=b;".repeat(200));
        assert_eq!(places(text.as_bytes()), std::slice::from_ref(&(8..text.len())));
    }

    proptest! {
        #[test]
        fn any_bytes_give_places_in_lines_and_a_cut_hides_no_less(
            bytes in prop::collection::vec(prop::sample::select(b"pasPAS:=&;?%61\\u0/@<>\"' \t\r\nAUTH\0\xff".to_vec()), 0..200),
        ) {
            let whole = places(&bytes);
            for range in &whole {
                prop_assert!(range.start < range.end && range.end <= bytes.len());
                prop_assert!(!bytes[range.clone()].iter().any(|byte| matches!(byte, b'\r' | b'\n')));
            }
            let _ = name_one(&bytes);
        }

        #[test]
        fn a_value_cut_short_is_hidden_as_far_as_it_came(
            before in prop::sample::select(vec!["GET /?pw=", "Cookie: a=", "Authorization: Basic ", "{\"token\":\"", "PASS ", "<pwd>"]),
            value in "[A-Za-z0-9]{1,40}",
        ) {
            for cut in 1..=value.len() {
                let shown = hidden(&format!("{before}{}", &value[..cut]));
                prop_assert_eq!(shown.trim_end_matches('*').trim_end_matches('"'), before.trim_end_matches('"'));
            }
        }
    }
}
