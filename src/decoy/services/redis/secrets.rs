//! Which arguments of a Redis command are secrets, and how a command is shown. Pure.
//!
//! In: a command. Out: the places of its secrets among its arguments; a text as `redis-cli` takes it, with `*` for them.
//!
//! Commands that are known to carry a secret are read as the server reads them; where they are malformed, and where an
//! unknown one names a secret, all but its first word is hidden: too much rather than too little.
//!
//! Source: the command pages of AUTH, HELLO, CONFIG SET, MIGRATE, ACL SETUSER, SENTINEL SET.

use crate::decoy::services::lines;

use super::wire::Command;

/// Settings whose value is a secret.
const SETTINGS: [&[u8]; 6] = [
    b"auth-pass",
    b"masterauth",
    b"requirepass",
    b"sentinel-pass",
    b"tls-client-key-file-pass",
    b"tls-key-file-pass",
];

/// What of a command is secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// Nothing.
    None,
    /// These arguments.
    Arguments(Vec<usize>),
    /// All behind the first word.
    Rest,
}

/// Finds what is secret in a command.
pub(super) fn of(command: &Command) -> Secret {
    let found = match command.argument(0).to_ascii_lowercase().as_slice() {
        b"auth" => return Secret::Rest,
        b"hello" => hello(command),
        b"config" | b"sentinel" => settings(command),
        b"migrate" => migrate(command),
        b"acl" => rules(command),
        _ => Vec::new(),
    };
    match () {
        () if command.count > command.arguments.len() && !found.is_empty() => Secret::Rest,
        () if !found.is_empty() => Secret::Arguments(found),
        () if lines::names_a_secret(&joined(command)) || logs_in(command) => Secret::Rest,
        () => Secret::None,
    }
}

/// The arguments as a line, as they are.
fn joined(command: &Command) -> Vec<u8> {
    let words: Vec<_> = command
        .arguments
        .iter()
        .map(|argument| argument.bytes.as_slice())
        .collect();
    words.join(&b' ')
}

/// A script that calls AUTH.
fn logs_in(command: &Command) -> bool {
    let scripts = [&b"eval"[..], b"eval_ro", b"function", b"script"];
    let is_script = scripts.iter().any(|name| is(command, 0, name));
    is_script && memchr::memmem::find(&joined(command).to_ascii_lowercase(), b"auth").is_some()
}

fn is(command: &Command, at: usize, word: &[u8]) -> bool {
    command.argument(at).eq_ignore_ascii_case(word)
}

/// `HELLO 3 AUTH user secret`; what follows an AUTH that lacks one may be the secret.
fn hello(command: &Command) -> Vec<usize> {
    let auth = (1..command.arguments.len()).filter(|at| is(command, *at, b"AUTH"));
    let last = command.arguments.len() - 1;
    auth.filter(|at| *at < last).map(|at| (at + 2).min(last)).collect()
}

/// `CONFIG SET name value …`, `SENTINEL SET master name value …`: whatever stands behind the name of one.
fn settings(command: &Command) -> Vec<usize> {
    let names = |at: &usize| {
        let word = command.argument(*at).to_ascii_lowercase();
        SETTINGS.contains(&word.as_slice())
    };
    let named = (1..command.arguments.len()).filter(names);
    named
        .map(|at| at + 1)
        .filter(|at| *at < command.arguments.len())
        .collect()
}

/// `MIGRATE host port key db timeout … AUTH secret`, `… AUTH2 user secret`.
fn migrate(command: &Command) -> Vec<usize> {
    let options = 6..command.arguments.len();
    let secret = |at: usize| match () {
        () if is(command, at, b"AUTH") => Some(at + 1),
        () if is(command, at, b"AUTH2") => Some(at + 2),
        () => None,
    };
    options
        .filter_map(secret)
        .filter(|at| *at < command.arguments.len())
        .collect()
}

/// `ACL SETUSER user >secret <secret #hash !hash`.
fn rules(command: &Command) -> Vec<usize> {
    let rule = |at: &usize| matches!(command.argument(*at).first(), Some(b'>' | b'<' | b'#' | b'!'));
    (2..command.arguments.len()).filter(rule).collect()
}

/// The command as typed, its secrets as `*` each if `masked`.
pub(super) fn shown(command: &Command, secret: &Secret, masked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, argument) in command.arguments.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        let is_secret = match secret {
            Secret::None => false,
            Secret::Arguments(places) => places.contains(&at),
            Secret::Rest => at > 0,
        };
        if is_secret && masked {
            out.resize(out.len() + argument.bytes.len(), b'*');
        } else {
            out.extend(quoted(&argument.bytes));
        }
    }
    if command.count > command.arguments.len() {
        out.extend_from_slice(b" ...");
    }
    out
}

/// An argument so that it is one word to `redis-cli`.
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut out = vec![b'"'];
    for byte in bytes {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            other => out.extend_from_slice(format!("\\x{other:02x}").as_bytes()),
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::{Reader, Step};
    use super::*;

    fn command(line: &[u8]) -> Option<Command> {
        match Reader::default().step(line, 0) {
            Step::Command(_, command) => Some(command),
            _ => None,
        }
    }

    fn masked(line: &str) -> String {
        let command = command(format!("{line}\r\n").as_bytes()).expect("a line is a command");
        String::from_utf8(shown(&command, &of(&command), true)).expect("what is shown is ASCII")
    }

    #[test]
    fn secrets_are_stars_and_all_else_is_as_typed() {
        for (line, expected) in [
            ("AUTH s3cret", "AUTH ******"),
            ("auth root s3cret", "auth **** ******"),
            (
                "HELLO 3 AUTH root s3cret SETNAME x",
                "HELLO 3 AUTH root ****** SETNAME x",
            ),
            ("HELLO 3 AUTH s3cret", "HELLO 3 AUTH ******"),
            ("HELLO 3", "HELLO 3"),
            (
                "CONFIG SET requirepass s3cret dir /tmp",
                "CONFIG SET requirepass ****** dir /tmp",
            ),
            ("config set MasterAuth s3cret", "config set MasterAuth ******"),
            ("CONFIG SET dir /var/spool/cron", "CONFIG SET dir /var/spool/cron"),
            ("SENTINEL SET m auth-pass s3cret", "SENTINEL SET m auth-pass ******"),
            (
                "MIGRATE h 1 k 0 9 COPY AUTH s3cret",
                "MIGRATE h 1 k 0 9 COPY AUTH ******",
            ),
            (
                "MIGRATE h 1 k 0 9 AUTH2 root s3cret",
                "MIGRATE h 1 k 0 9 AUTH2 root ******",
            ),
            (
                "ACL SETUSER eve on >s3cret ~* +@all",
                "ACL SETUSER eve on ******* ~* +@all",
            ),
            ("SET password s3cret", "SET ******** ******"),
            ("SLAVEOF 203.0.113.9 6379", "SLAVEOF 203.0.113.9 6379"),
            ("SET x \"\\n* * * * * root id\\n\"", "SET x \"\\n* * * * * root id\\n\""),
            (
                "EVAL \"redis.call('AUTH', 's3cret')\" 0",
                "EVAL **************************** *",
            ),
            ("EVAL \"return 1\" 0", "EVAL \"return 1\" 0"),
        ] {
            assert_eq!(masked(line), expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_within_bounds(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..90)) {
            let line = [words.join(&b' '), b"\r\n".to_vec()].concat();
            if let Some(command) = command(&line) {
                let text = shown(&command, &of(&command), true);
                prop_assert!(text.is_ascii() && text.len() <= 4 * line.len() + 5 * 64);
            }
        }
    }
}
