//! The telnet stream: commands out of data, subnegotiations, and who agreed to what.
//!
//! In: bytes one by one. Out: [`Token`]s; the answer an option needs, if any.
//!
//! Invariants: 1. how the bytes were cut on the way changes nothing. 2. A subnegotiation keeps at most [`SUB_MAX`]
//! bytes. 3. Each verb of each option is answered at most once in a session, so no loop can start.
//!
//! Source: RFC 854, RFC 855, RFC 1143; NEW-ENVIRON: RFC 1572.

use crate::decoy::mask::names;

pub(super) const IAC: u8 = 255;
pub(super) const DONT: u8 = 254;
pub(super) const DO: u8 = 253;
pub(super) const WONT: u8 = 252;
pub(super) const WILL: u8 = 251;
pub(super) const SB: u8 = 250;
pub(super) const SE: u8 = 240;

/// Options by number.
pub(super) mod option {
    pub const ECHO: u8 = 1;
    pub const SGA: u8 = 3;
    pub const STATUS: u8 = 5;
    pub const TTYPE: u8 = 24;
    pub const NAWS: u8 = 31;
    pub const TSPEED: u8 = 32;
    pub const LFLOW: u8 = 33;
    pub const XDISPLOC: u8 = 35;
    pub const AUTHENTICATION: u8 = 37;
    pub const NEW_ENVIRON: u8 = 39;
}

/// Most bytes kept of one subnegotiation.
const SUB_MAX: usize = 1024;

/// What a byte completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A byte of data.
    Data(u8),
    /// `WILL`, `WONT`, `DO` or `DONT` of an option.
    Option(u8, u8),
    /// A subnegotiation: option and body.
    Sub(u8, Vec<u8>),
}

/// Takes the stream apart, byte by byte.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    sub: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Data,
    Command,
    Option(u8),
    Sub,
    SubCommand,
}

impl Decoder {
    /// Takes one byte.
    pub(super) fn push(&mut self, byte: u8) -> Option<Token> {
        match (self.state, byte) {
            (State::Data, IAC) => self.go(State::Command),
            (State::Data, _) => Some(Token::Data(byte)),
            (State::Command, IAC) => {
                self.state = State::Data;
                Some(Token::Data(IAC))
            }
            (State::Command, WILL..=DONT) => self.go(State::Option(byte)),
            (State::Command, SB) => {
                self.sub.clear();
                self.go(State::Sub)
            }
            // Interrupt, go ahead, are you there and the like: nothing to do.
            (State::Command, _) => self.go(State::Data),
            (State::Option(verb), _) => {
                self.state = State::Data;
                Some(Token::Option(verb, byte))
            }
            (State::Sub, IAC) => self.go(State::SubCommand),
            (State::Sub, _) => self.keep(byte),
            (State::SubCommand, SE) => self.end(),
            (State::SubCommand, _) => {
                self.state = State::Sub;
                self.keep(byte)
            }
        }
    }

    fn go(&mut self, state: State) -> Option<Token> {
        self.state = state;
        None
    }

    fn keep(&mut self, byte: u8) -> Option<Token> {
        if self.sub.len() < SUB_MAX {
            self.sub.push(byte);
        }
        None
    }

    /// Option and body of the subnegotiation that has begun last.
    pub(super) fn unfinished(&self) -> (u8, &[u8]) {
        let (option, body) = self.sub.split_first().unwrap_or((&0, &[]));
        (*option, body)
    }

    fn end(&mut self) -> Option<Token> {
        self.state = State::Data;
        let sub = std::mem::take(&mut self.sub);
        let (option, body) = sub.split_first()?;
        Some(Token::Sub(*option, body.to_vec()))
    }
}

/// A set of option numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set([u64; 4]);

impl Set {
    /// Adds one; `true` if it was not in.
    pub(super) fn add(&mut self, option: u8) -> bool {
        let fresh = !self.has(option);
        if let Some(word) = self.0.get_mut(usize::from(option / 64)) {
            *word |= 1 << (option % 64);
        }
        fresh
    }

    /// Whether it is in.
    pub(super) fn has(&self, option: u8) -> bool {
        let word = self.0.get(usize::from(option / 64)).copied();
        word.is_some_and(|word| word >> (option % 64) & 1 == 1)
    }
}

/// Who asked and agreed to what.
#[derive(Debug, Default)]
pub(super) struct Options {
    asked_them: Set,
    offered_by_us: Set,
    /// Options that the client said WILL or WONT to.
    pub(super) theirs_known: Set,
    /// Options that the client has on.
    pub(super) theirs_on: Set,
    answered_will: Set,
    answered_do: Set,
}

impl Options {
    /// Notes what `bytes`, which we send, ask and offer.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        for command in bytes.windows(3) {
            match *command {
                [IAC, DO, option] => drop(self.asked_them.add(option)),
                [IAC, WILL, option] => drop(self.offered_by_us.add(option)),
                _ => {}
            }
        }
    }

    /// Takes what the client says of an option; gives what to answer.
    pub(super) fn take(&mut self, verb: u8, option: u8) -> Option<[u8; 3]> {
        let answer = match verb {
            WILL | WONT => self.take_theirs(verb == WILL, option),
            DO => self.take_ours(option),
            _ => None,
        }?;
        Some([IAC, answer, option])
    }

    fn take_theirs(&mut self, will: bool, option: u8) -> Option<u8> {
        self.theirs_known.add(option);
        if will {
            self.theirs_on.add(option);
        }
        // An answer to our DO needs none.
        if !will || self.asked_them.has(option) || !self.answered_will.add(option) {
            return None;
        }
        let wanted = matches!(
            option,
            option::TTYPE | option::NAWS | option::TSPEED | option::NEW_ENVIRON | option::LFLOW | option::SGA
        );
        Some(if wanted { DO } else { DONT })
    }

    fn take_ours(&mut self, option: u8) -> Option<u8> {
        if self.offered_by_us.has(option) || !self.answered_do.add(option) {
            return None;
        }
        let able = matches!(option, option::ECHO | option::SGA | option::STATUS);
        Some(if able { WILL } else { WONT })
    }
}

/// The variables of a NEW-ENVIRON IS or INFO body, as `NAME=value`, raw.
pub(super) fn environment(body: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    const VALUE: u8 = 1;
    const ESC: u8 = 2;
    let mut variables: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let Some((0 | 2, rest)) = body.split_first() else {
        return variables;
    };
    let mut in_value = false;
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        let byte = match *byte {
            // VAR and USERVAR.
            0 | 3 => {
                variables.push(Default::default());
                in_value = false;
                continue;
            }
            VALUE => {
                in_value = true;
                continue;
            }
            ESC => bytes.next().copied().unwrap_or(ESC),
            byte => byte,
        };
        if let Some((name, value)) = variables.last_mut() {
            if in_value { value.push(byte) } else { name.push(byte) }
        }
    }
    variables
}

/// Whether a subnegotiation holds a secret: what proves a user (RFC 2941), or a variable that is named as one. So does
/// one that is not kept whole.
pub(super) fn holds_secret(option: u8, body: &[u8]) -> bool {
    match option {
        option::AUTHENTICATION => true,
        option::NEW_ENVIRON if body.len() + 1 >= SUB_MAX => true,
        option::NEW_ENVIRON => environment(body).iter().any(|(name, _)| names::kind(name).is_some()),
        _ => false,
    }
}

/// Columns and rows of a NAWS body.
pub(super) fn window(body: &[u8]) -> Option<(u16, u16)> {
    match *body {
        [a, b, c, d] => Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(bytes: &[u8]) -> Vec<Token> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    #[test]
    fn commands_come_out_of_data() {
        let bytes = b"a\xff\xffb\xff\xfb\x18c\xff\xf1\xff\xfa\x18\x00XT\xff\xff\xff\xf0d";
        let data = |byte| Token::Data(byte);
        assert_eq!(
            tokens(bytes),
            [
                data(b'a'),
                data(IAC),
                data(b'b'),
                Token::Option(WILL, 24),
                data(b'c'),
                Token::Sub(24, b"\0XT\xff".to_vec()),
                data(b'd'),
            ]
        );
    }

    #[test]
    fn a_subnegotiation_without_end_is_bounded() {
        let mut decoder = Decoder::default();
        for byte in [IAC, SB, 24].into_iter().chain(std::iter::repeat_n(b'x', 100_000)) {
            assert_eq!(decoder.push(byte), None);
        }
        assert!(decoder.sub.len() <= SUB_MAX);
    }

    #[test]
    fn each_question_is_answered_once() {
        let mut options = Options::default();
        options.sent(&[IAC, DO, option::TTYPE, IAC, WILL, option::ECHO]);
        assert_eq!(options.take(WILL, option::TTYPE), None);
        assert_eq!(options.take(DO, option::ECHO), None);
        assert_eq!(options.take(WILL, option::NAWS), Some([IAC, DO, option::NAWS]));
        assert_eq!(options.take(WILL, option::NAWS), None);
        assert_eq!(options.take(WILL, 99), Some([IAC, DONT, 99]));
        assert_eq!(options.take(DO, 99), Some([IAC, WONT, 99]));
        for _ in 0..10 {
            assert_eq!(options.take(WILL, 99), None);
            assert_eq!(options.take(DO, 99), None);
        }
        assert!(options.theirs_known.has(99) && !options.theirs_known.has(98));
    }

    #[test]
    fn variables_are_read_with_their_escapes() {
        let body = b"\0\0USER\x01bob\x03A\x02\x01B\x01c\x02\x02d\0EMPTY";
        let read = environment(body);
        let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(
            read,
            [pair(b"USER", b"bob"), pair(b"A\x01B", b"c\x02d"), pair(b"EMPTY", b"")]
        );
        assert!(environment(b"\x01\0USER").is_empty(), "SEND is not an answer");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut options = Options::default();
            let mut answers = 0;
            for token in tokens(&bytes) {
                match token {
                    Token::Option(verb, option) => answers += usize::from(options.take(verb, option).is_some()),
                    Token::Sub(_, body) => {
                        let kept: usize = environment(&body).iter().map(|(name, value)| name.len() + value.len()).sum();
                        prop_assert!(kept <= body.len());
                        let _ = window(&body);
                    }
                    Token::Data(_) => {}
                }
            }
            prop_assert!(answers <= 512);
        }
    }
}
