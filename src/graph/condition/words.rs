//! What a field can say at all: the words of those that have a closed set, and the form of addresses and dates.

use std::net::IpAddr;

use trapline_schemas::{Action, Field, Kind, schema};
use trapline_sink::config::{nearest, shown};

use crate::roles::Touch;

/// A literal that a field never equals.
pub(super) struct Never {
    /// Why.
    pub(super) message: String,
    /// What to write instead, if that is known.
    pub(super) hint: Option<String>,
}

/// Why `field` can never equal `literal`, if it cannot.
pub(super) fn never_equal(field: Field, literal: &str) -> Option<Never> {
    match field.row().kind {
        Kind::Ip | Kind::Ips => no_address(field, literal),
        Kind::Date => (!is_date(literal, literal.len() == DATE.len())).then(|| no_date(field, literal)),
        _ => no_word(field, literal),
    }
}

/// Why an order between a date and `literal` means nothing, if it does.
pub(super) fn never_ordered(field: Field, literal: &str) -> Option<Never> {
    let wrong = field.row().kind == Kind::Date && !is_date(literal, true);
    wrong.then(|| no_date(field, literal))
}

/// The words of a field with a closed set; empty for all others.
fn words(field: Field) -> Vec<String> {
    let few = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let actions = || Action::ALL.iter().map(|action| action.name());
    match field {
        Field::TouchLevel => few(&[Touch::Contact, Touch::Intent, Touch::Proof].map(Touch::name)),
        Field::EventAction => actions().map(str::to_owned).collect(),
        Field::EventCode => actions().map(|name| format!("TL-{name}")).collect(),
        Field::EventKind => few(&["alert", "event"]),
        Field::ResponseMode | Field::ResponseState => few(schema::words(field.name()).unwrap_or_default()),
        Field::NetworkTransport => few(&["tcp", "udp"]),
        Field::NetworkIana => few(&["6", "17"]),
        Field::NetworkType => few(&["ipv4", "ipv6"]),
        Field::NetworkDirection => few(&["inbound", "internal"]),
        _ => Vec::new(),
    }
}

fn no_word(field: Field, literal: &str) -> Option<Never> {
    let words = words(field);
    if words.is_empty() || words.iter().any(|word| word == literal) {
        return None;
    }
    let names = || words.iter().map(String::as_str);
    let hint = match nearest(literal, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of {}", trapline_sink::config::listed(names())),
    };
    Some(Never {
        message: format!("`{}` is never `{}`", path(field), shown(literal)),
        hint: Some(hint),
    })
}

fn no_address(field: Field, literal: &str) -> Option<Never> {
    let written = literal.parse::<IpAddr>().ok().map(|address| address.to_string());
    if written.as_deref() == Some(literal) {
        return None;
    }
    let network = super::values::network_of(literal).map(|_| format!("`in_cidr({}, \"{literal}\")`", path(field)));
    let hint = written.map(|right| format!("did you mean `{right}`?")).or(network);
    let message = format!("`{}` is an address and never `{}`", path(field), shown(literal));
    Some(Never { message, hint })
}

/// A date as every rendering has it.
const DATE: &str = "0000-01-01T00:00:00.000Z";

/// Whether the text is such a date; or, where only the order counts, the beginning of one.
fn is_date(text: &str, beginning: bool) -> bool {
    let text = match text.strip_suffix('Z') {
        Some(seconds) if seconds.len() == 19 => seconds,
        _ => text,
    };
    let Some(rest) = DATE.get(text.len()..).filter(|_| text.len() >= 4) else {
        return false;
    };
    beginning && format!("{text}{rest}").parse::<jiff::Timestamp>().is_ok() && text.is_ascii()
}

fn no_date(field: Field, literal: &str) -> Never {
    Never {
        message: format!(
            "`{}` is a date and never compares with `{}`",
            path(field),
            shown(literal)
        ),
        hint: Some("such as `2026-01-31T23:59:59.000Z`, or for an order its beginning".to_owned()),
    }
}

/// How a condition names a field.
pub(super) fn path(field: Field) -> &'static str {
    match field {
        Field::Timestamp => "timestamp",
        field => field.name(),
    }
}
