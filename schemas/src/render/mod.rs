//! The forms an event is shown in.
//!
//! In: an event. Out: one line of bytes in the form a sink asked for, made from the canonical event and never from
//! another form. Invariants, tested on hostile values: the line is valid UTF-8 without control, bidi or invisible
//! character; each form escapes for itself; [`render_within`] keeps its bound and marks what it left out, in JSON as
//! `honeyport.truncated` or `metadata.is_truncated`.

mod cef;
mod ecs;
mod leef;
mod nested;
pub mod ocsf;
mod pairs;
mod text;

use crate::derive::{Detail, View};
use crate::event::Event;
use crate::fields::Field;
use crate::value::Value;
pub(crate) use ecs::VERSION as ECS_VERSION;

/// A form that a sink sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Elastic Common Schema 9.4 JSON.
    Ecs,
    /// OCSF 1.8 JSON.
    Ocsf,
    /// ArcSight CEF:0.
    Cef,
    /// IBM LEEF 2.0.
    Leef,
    /// One line for a person.
    Text,
}

impl Format {
    /// Every form.
    pub const ALL: &[Self] = &[Self::Ecs, Self::Ocsf, Self::Cef, Self::Leef, Self::Text];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
            Self::Cef => "cef",
            Self::Leef => "leef",
            Self::Text => "text",
        }
    }

    /// Finds a form by its word.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// The version of the form's standard; a line for a person has none.
    pub const fn version(self) -> Option<&'static str> {
        match self {
            Self::Ecs => Some(ecs::VERSION),
            Self::Ocsf => Some(ocsf::VERSION),
            Self::Cef => Some("0"),
            Self::Leef => Some("2.0"),
            Self::Text => None,
        }
    }

    /// Whether the form is a JSON object.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Ecs | Self::Ocsf)
    }
}

/// Appends the event in `format` to `out`: one line, valid UTF-8, no control character, no line end.
pub fn render(event: &Event, format: Format, out: &mut Vec<u8>) {
    render_as(event, format, Detail::Whole, out);
}

/// Like [`render`], but at most `max` bytes: fields are left out in the drop order (base64, printable and original,
/// commands, long texts, then all but who came, what was touched and what was offered) and the truncation is marked; JSON
/// is never cut. `false`, with nothing appended, if even the smallest form does not fit.
pub fn render_within(event: &Event, format: Format, max: usize, out: &mut Vec<u8>) -> bool {
    let from = out.len();
    let bytes_fit = match event.get(Field::PayloadBase64) {
        Some(Value::Bytes(bytes)) => bytes.len() <= max,
        _ => true,
    };
    for detail in Detail::ALL {
        // A payload above the bound cannot be there as base64 or text: not worth the try.
        if !bytes_fit && detail < Detail::NoText {
            continue;
        }
        render_as(event, format, detail, out);
        if out.len() - from <= max {
            return true;
        }
        out.truncate(from);
    }
    false
}

fn render_as(event: &Event, format: Format, detail: Detail, out: &mut Vec<u8>) {
    let view = View::new(event, detail);
    match format {
        Format::Ecs => ecs::render(&view, out),
        Format::Ocsf => ocsf::render(&view, out),
        Format::Cef => cef::render(&view, out),
        Format::Leef => leef::render(&view, out),
        Format::Text => text::render(&view, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Action;
    use crate::fields::{CATALOGUE, Kind};
    use crate::value::Timestamp;

    #[test]
    fn the_version_of_a_form_is_the_one_that_stands_in_it() {
        for format in Format::ALL {
            let mut out = Vec::new();
            render(&full(Action::Connect), *format, &mut out);
            let (line, version) = (String::from_utf8(out).unwrap(), format.version().unwrap_or_default());
            let stands = match format {
                Format::Cef | Format::Leef => format!("{}:{version}|", format.name().to_uppercase()),
                Format::Ecs | Format::Ocsf => format!("\"version\":\"{version}\""),
                Format::Text => continue,
            };
            assert!(line.contains(&stands), "{stands} in {line}");
        }
    }

    /// An event with a fact in every field, the texts long.
    fn full(action: Action) -> Event {
        let at = Timestamp::now();
        let mut event = Event::new(crate::ids::fresh(at), at, action);
        for row in CATALOGUE.iter().filter(|row| row.field.is_stored()) {
            match row.kind {
                Kind::Keyword | Kind::Text => event.set(row.field, "k".repeat(300)),
                Kind::Long => event.set(row.field, 4_000_000_000_i64),
                Kind::Bool => event.set(row.field, true),
                Kind::Id => event.set(row.field, crate::ids::fresh(at)),
                Kind::Ip => event.set(row.field, std::net::IpAddr::from([0x2001; 8])),
                Kind::Float => event.set(row.field, 50.5),
                Kind::Bytes => event.set(row.field, vec![b'x'; 9000]),
                _ => {}
            }
        }
        event
    }

    #[test]
    fn an_event_with_everything_fits_in_little_more_than_a_packet_a_line_and_keeps_who_came_and_what_was_offered() {
        for format in Format::ALL {
            let max = if format.is_json() { 4400 } else { 1400 };
            for action in Action::ALL.iter().copied() {
                let mut out = Vec::new();
                assert!(
                    render_within(&full(action), *format, max, &mut out),
                    "{format:?} {action:?}"
                );
                let line = String::from_utf8(out).unwrap();
                let by_peer = matches!(action, Action::Connect | Action::Credential);
                assert!(!by_peer || line.contains("2001:"), "{line}");
                let offered = format.is_json() && action == Action::Credential;
                assert!(
                    !offered || line.contains("kkkkkkkk") && line.contains("secret_hmac_sha256"),
                    "{line}"
                );
            }
        }
    }
}
