//! Journal bodies as this build writes them, read in one pass.
//!
//! In: the text of a body. Out: its event; `None` where the body is in any way unusual: white space, another order of
//! the head, a name that is not known, a value that is not of its kind. Then `codec` reads it by the book, so nothing is
//! refused or lost here. Invariants, tested:
//!
//! 1. What is read here is what is read by the book.
//! 2. What this build writes of an event without unknown fields is read here.
//! 3. No bytes make it panic.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::event::{Action, Event};
use crate::fields::{Field, Kind};
use crate::text::{plain_len, quote_at};
use crate::value::{Timestamp, Value};

/// Reads a body; `None` if it must be read by the book.
pub(crate) fn event(body: &str) -> Option<Event> {
    let mut rest = Rest(body);
    rest.skip(r#"{"v":1,"id":"#)?;
    let id = rest.id()?;
    rest.skip(r#","at":"#)?;
    let at = Timestamp::from_micros(rest.int()?);
    rest.skip(r#","action":"#)?;
    let mut event = Event::new(id, at, Action::Other);
    event.set_action_name(rest.plain()?);
    while rest.skip("}").is_none() {
        let field = rest.field()?;
        event.set_sound(field, rest.value(field.row().kind)?);
    }
    rest.0.is_empty().then_some(event)
}

/// What is still to be read. After a `None` it is of no use.
struct Rest<'b>(&'b str);

impl<'b> Rest<'b> {
    fn skip(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// So many bytes.
    fn take(&mut self, bytes: usize) -> Option<&'b str> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// The name of a stored field, with what stands around it.
    fn field(&mut self) -> Option<Field> {
        self.skip(",\"")?;
        let name = self.take(quote_at(self.0.as_bytes())?)?;
        self.skip("\":")?;
        Field::find(name).filter(|field| field.is_stored())
    }

    /// A value that an event may hold as it is.
    fn value(&mut self, kind: Kind) -> Option<Value> {
        Some(match kind {
            Kind::Keyword | Kind::Text => return self.text(),
            Kind::Long => Value::Int(self.int()?),
            Kind::Float => Value::Float(self.float()?),
            Kind::Bool => Value::Bool(self.bool()?),
            Kind::Ip => Value::Ip(ip(self.plain()?)?),
            Kind::Date => Value::Time(Timestamp::from_micros(self.int()?)),
            Kind::Id => Value::Id(self.id()?),
            Kind::Bytes => Value::Bytes(BASE64_STANDARD.decode(self.plain()?).ok()?.into()),
            Kind::Keywords => {
                let texts: Vec<Text<'_>> = self.list()?;
                return Value::Texts(texts.into_iter().map(|Text(text)| text.into()).collect()).sound();
            }
            Kind::Ips => return Value::Ips(self.list()?).sound(),
            Kind::Longs => Value::Ints(self.list()?),
        })
    }

    /// A string of printable ASCII without escapes.
    fn plain(&mut self) -> Option<&'b str> {
        self.skip("\"")?;
        let text = self.take(plain_len(self.0.as_bytes()))?;
        self.skip("\"")?;
        Some(text)
    }

    fn text(&mut self) -> Option<Value> {
        let from = self.0;
        if let Some(text) = self.plain() {
            return Some(Value::Text(SmolStr::new(text)));
        }
        self.0 = from;
        let raw = self.take(string_len(from)?)?;
        let Text(text) = serde_json::from_str(raw).ok()?;
        Value::Text(text.into()).sound()
    }

    /// An id in its usual form, with hyphens.
    fn id(&mut self) -> Option<Uuid> {
        self.skip("\"")?;
        let id = Uuid::try_parse(self.take(36)?).ok()?;
        self.skip("\"")?;
        Some(id)
    }

    fn bool(&mut self) -> Option<bool> {
        let no = self.skip("true").is_none();
        if no {
            self.skip("false")?;
        }
        Some(!no)
    }

    /// Digits as JSON has them: no zero before others. Up to 18, which any number of microseconds within 30,000 years has.
    fn digits(&mut self) -> Option<&'b str> {
        let bytes = self.0.as_bytes();
        let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_json = bytes.first() != Some(&b'0') || count == 1;
        self.take(count).filter(|_| is_json && (1..=18).contains(&count))
    }

    fn int(&mut self) -> Option<i64> {
        let negative = self.skip("-").is_some();
        let digits = self.digits()?.bytes();
        let number = digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some(if negative { -number } else { number })
    }

    /// A number with digits on both sides of a point, and neither sign nor exponent.
    fn float(&mut self) -> Option<f64> {
        let from = self.0;
        let whole = self.digits()?.len();
        self.skip(".")?;
        let fraction = self.0.bytes().take_while(u8::is_ascii_digit).count();
        self.take(fraction).filter(|digits| !digits.is_empty())?;
        from.get(..whole + 1 + fraction)?.parse().ok()
    }

    /// A list, read by the book.
    fn list<T: Deserialize<'b>>(&mut self) -> Option<Vec<T>> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter();
        let list = values.next()?.ok()?;
        self.take(values.byte_offset())?;
        Some(list)
    }
}

/// A JSON string, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The length of a JSON string with its quotes.
fn string_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// An address as an event holds it.
fn ip(text: &str) -> Option<IpAddr> {
    match ipv4(text.as_bytes()) {
        Some(ip) => Some(IpAddr::V4(ip)),
        None => text.parse().ok().map(|ip: IpAddr| ip.to_canonical()),
    }
}

/// Four numbers of up to three digits; `None` for what is rare or wrong.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut at) = ([0; 4], 0);
    let (mut number, mut digits) = (0_u32, 0);
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                number = number * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' => {
                *octets.get_mut(at)? = octet(number, digits)?;
                (at, number, digits) = (at + 1, 0, 0);
            }
            _ => return None,
        }
        if digits > 3 {
            return None;
        }
    }
    octets[3] = octet(number, digits)?;
    (at == 3).then(|| octets.into())
}

/// An octet without zeros before it.
fn octet(number: u32, digits: u32) -> Option<u8> {
    let least = [u32::MAX, 0, 10, 100];
    let is_whole = number >= *least.get(digits as usize)?;
    u8::try_from(number).ok().filter(|_| is_whole)
}
