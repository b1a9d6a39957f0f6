//! How an event is shown to a client: one line, whatever stands in it.

use trapline_schemas::{Event, Format, codec, render};

/// How an event is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// By catalogue names, as `events --json` does.
    Json,
    /// In a form that sinks send.
    As(Format),
}

impl Shown {
    /// Appends an event as one line of JSON: an object, or a text of the forms that are none.
    pub(super) fn append_json(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::As(format) if !format.is_json() => {
                let mut line = Vec::new();
                render::render(event, format, &mut line);
                let text = String::from_utf8_lossy(&line);
                out.extend_from_slice(serde_json::Value::from(text.as_ref()).to_string().as_bytes());
            }
            _ => self.append(event, out),
        }
    }

    /// Appends an event as one line without its end.
    pub(super) fn append(self, event: &Event, out: &mut Vec<u8>) {
        let from = out.len();
        match self {
            Self::Json => codec::encode_into(event, out),
            Self::As(format) => render::render(event, format, out),
        }
        // Only white space between the names of a body that another version wrote can be a line end.
        let line = out.get_mut(from..).unwrap_or_default();
        for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_any_form_is_one_line_of_json() {
        let at = trapline_schemas::Timestamp::from_micros(5);
        let mut event = Event::new(uuid::Uuid::nil(), at, trapline_schemas::Action::Credential);
        event.set(trapline_schemas::Field::UserName, "ro\"ot\r\nid: 7\u{2028}");
        event.keep_unknown("new".into(), "{\n\"a\":1}".into());
        for shown in [Shown::Json]
            .into_iter()
            .chain(Format::ALL.iter().copied().map(Shown::As))
        {
            let mut line = Vec::new();
            shown.append_json(&event, &mut line);
            serde_json::from_slice::<serde_json::Value>(&line).unwrap();
            line.clear();
            shown.append(&event, &mut line);
            assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "{shown:?}");
        }
    }
}
