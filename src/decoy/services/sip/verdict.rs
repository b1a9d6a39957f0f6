//! What Kamailio's example configuration makes of a request.
//!
//! In: a request. Out: how it is refused, or nothing. The order of the questions is that of its `request_route`.

use std::net::{IpAddr, SocketAddr};

use super::message::{Name, Request, Uri, has_tag, number};
use crate::decoy::personality::Install;

/// How a request is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Code and reason.
    pub(super) status: &'static str,
    /// The header that asks for a password, if one does.
    pub(super) challenge: Option<&'static str>,
    /// Whether a transaction was begun before.
    pub(super) stateful: bool,
}

impl Verdict {
    const fn plain(status: &'static str) -> Self {
        Self {
            status,
            challenge: None,
            stateful: false,
        }
    }

    const fn challenge(status: &'static str, header: &'static str) -> Self {
        Self {
            status,
            challenge: Some(header),
            stateful: false,
        }
    }
}

/// How a request in a datagram is answered; `None`: it is not.
pub(super) fn of_datagram(request: &Request<'_>, local: SocketAddr, install: &Install) -> Option<Verdict> {
    let length = request.value(Name::ContentLength).and_then(number);
    let is_short = length.is_some_and(|length| length as usize != request.body.len());
    Question::of(request, local, install, is_short)?.verdict()
}

/// Like [`of_datagram`], of one that was cut out of a stream by its length.
pub(super) fn of_message(request: &Request<'_>, local: SocketAddr, install: &Install) -> Option<Verdict> {
    Question::of(request, local, install, false)?.verdict()
}

struct Question<'r, 'm> {
    request: &'r Request<'m>,
    uri: Option<Uri<'m>>,
    from: Option<Uri<'m>>,
    is_for_us: bool,
    is_from_us: bool,
    is_short: bool,
}

impl<'r, 'm> Question<'r, 'm> {
    /// `None`: it is never answered.
    fn of(request: &'r Request<'m>, local: SocketAddr, install: &Install, is_short: bool) -> Option<Self> {
        let twice = |name: Name| request.headers.iter().filter(|header| header.name == name).count() > 1;
        if request.method == b"ACK" || twice(Name::From) || twice(Name::To) {
            return None;
        }
        let uri = Uri::read(request.uri);
        let from = request.value(Name::From).and_then(Uri::of_address);
        let is_us = |uri: &Option<Uri<'_>>| uri.as_ref().is_some_and(|uri| is_us(uri, local, install));
        Some(Self {
            is_for_us: is_us(&uri),
            is_from_us: is_us(&from),
            request,
            uri,
            from,
            is_short,
        })
    }

    fn verdict(&self) -> Option<Verdict> {
        if self.hops_are_used_up() {
            return Some(Verdict::plain("483 Too Many Hops"));
        }
        let method = self.request.method;
        if method.eq_ignore_ascii_case(b"OPTIONS") && self.is_for_us && !self.has_user() {
            return Some(Verdict::plain("200 Keepalive"));
        }
        if let Some(mistake) = self.mistake() {
            return Some(Verdict::plain(mistake));
        }
        if method == b"CANCEL" {
            return None;
        }
        if self.request.value(Name::To).is_some_and(has_tag) {
            let goes_to_presence = method == b"SUBSCRIBE" && self.is_for_us;
            return (!goes_to_presence).then_some(Verdict::plain("404 Not here"));
        }
        Some(self.of_a_first_request())
    }

    fn of_a_first_request(&self) -> Verdict {
        let method = self.request.method;
        if method == b"REGISTER" {
            return Verdict::challenge("401 Unauthorized", "WWW-Authenticate");
        }
        if self.is_from_us {
            return Verdict::challenge("407 Proxy Authentication Required", "Proxy-Authenticate");
        }
        if !self.is_for_us {
            return Verdict::plain("403 Not relaying");
        }
        let event = self.request.value(Name::Event);
        match method {
            b"SUBSCRIBE" if event == Some(b"message-summary") => Verdict::plain("404 No voicemail service"),
            b"PUBLISH" => Verdict::plain("404 Not here"),
            b"SUBSCRIBE" if !self.has_user() => Verdict::plain("404 Not here"),
            _ if !self.has_user() => Verdict::plain("484 Address Incomplete"),
            _ => Verdict {
                stateful: true,
                ..Verdict::plain("404 Not Found")
            },
        }
    }

    fn has_user(&self) -> bool {
        self.uri.as_ref().is_some_and(|uri| uri.user.is_some())
    }

    fn hops_are_used_up(&self) -> bool {
        let hops = self.request.value(Name::MaxForwards);
        hops.is_some_and(|hops| number(hops).is_none_or(|hops| hops == 0))
    }

    /// What its `sanity` module finds wrong, in its words.
    fn mistake(&self) -> Option<&'static str> {
        let mut sequence = self.request.value(Name::CSeq)?.split(u8::is_ascii_whitespace);
        let (count, method) = (
            sequence.next().unwrap_or_default(),
            sequence.next_back().unwrap_or_default(),
        );
        let expires = self.request.value(Name::Expires);
        let to = self.request.value(Name::To).and_then(Uri::of_address);
        let mistakes = [
            (self.uri.is_none(), "400 Bad Request URI"),
            (
                method != self.request.method,
                "400 CSeq method does not match request method",
            ),
            (number(count).is_none(), "400 CSeq number is illegal"),
            (self.is_short, "400 Content-Length mis-match"),
            (
                expires.is_some_and(|expires| number(expires).is_none()),
                "400 Expires value is illegal",
            ),
            (self.from.is_none(), "400 Invalid From Header"),
            // As it writes it.
            (to.is_none(), "400 Ivalid To Header"),
        ];
        mistakes.iter().find(|(is_so, _)| *is_so).map(|(_, mistake)| *mistake)
    }
}

/// Whether a URI means this server.
fn is_us(uri: &Uri<'_>, local: SocketAddr, install: &Install) -> bool {
    let port = uri.port.and_then(number);
    let right_port = uri.port.is_none() || port == Some(local.port().into());
    right_port && (is_address(uri.host, local.ip()) || is_name(uri.host, install))
}

fn is_address(host: &[u8], ip: IpAddr) -> bool {
    let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    let text = std::str::from_utf8(bare.unwrap_or(host)).ok();
    text.and_then(|text| text.parse::<IpAddr>().ok()) == Some(ip)
}

fn is_name(host: &[u8], install: &Install) -> bool {
    let whole = format!("{}.{}", install.host(), install.domain());
    [install.host(), &whole]
        .iter()
        .any(|name| host.eq_ignore_ascii_case(name.as_bytes()))
}
