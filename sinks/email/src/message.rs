//! A notice as a message: headers, and a body of two equal parts. Pure.
//!
//! In: a [`Notice`] and the sink's [`Letterhead`]. Out: the bytes of a message as RFC 5322 and MIME have it.
//! Invariants:
//! 1. Headers hold ids, words of ours and addresses of the configuration; a subject is cleaned and cut once more.
//! 2. The same notice makes the same message but for `Date`: the boundary is made of the event's id, and its `=_` cannot
//!    stand in quoted-printable, so no body can hold it.
//! 3. Mails of one incident answer its root: an id that no mail has, which every reader of threads copes with, and which
//!    needs no memory of who came first. Some readers (Gmail) part a thread where its subject changes, so that is made of
//!    source and incident alone; `Re:` they leave out of account, and here it would be false.
//!
//! Source: RFC 5322 section 3.6.4 (ids), 2046 section 5.1.4 (the best part last), 3834 section 5 (`Auto-Submitted`),
//! 2919 (`List-Id`); Exchange, "X-Auto-Response-Suppress".

use std::net::IpAddr;
use std::time::SystemTime;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder, MultiPart, SinglePart};
use trapline_notice::Notice;
use trapline_schemas::text::clean_within;
use uuid::Uuid;

use crate::{html, text};

/// Longest subject.
const SUBJECT_CHARS_MAX: usize = 150;

/// What all mails of a sink share.
#[derive(Debug, Clone)]
pub(crate) struct Letterhead {
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) reply_to: Option<Mailbox>,
    pub(crate) list_id: String,
    pub(crate) html: bool,
    pub(crate) observer: String,
}

impl Letterhead {
    /// The message. Errors: what is wrong with the letterhead, in a few words.
    pub(crate) fn write(&self, notice: &Notice, source: Option<IpAddr>, now: SystemTime) -> Result<Vec<u8>, String> {
        let head = self.head(notice, source, now);
        let footer = self.footer(notice);
        let plain = part(ContentType::TEXT_PLAIN, text::body(notice, &footer));
        let message = match self.html {
            true => {
                let rich = part(ContentType::TEXT_HTML, html::body(notice, &footer));
                let boundary = format!("=_{}", notice.event.simple());
                head.multipart(
                    MultiPart::alternative()
                        .boundary(boundary)
                        .singlepart(plain)
                        .singlepart(rich),
                )
            }
            false => head.singlepart(plain),
        };
        message
            .map(|message| message.formatted())
            .map_err(|error| error.to_string())
    }

    fn head(&self, notice: &Notice, source: Option<IpAddr>, now: SystemTime) -> MessageBuilder {
        let mut head = Message::builder().date(now).from(self.from.clone());
        for to in &self.to {
            head = head.to(to.clone());
        }
        if let Some(reply_to) = &self.reply_to {
            head = head.reply_to(reply_to.clone());
        }
        head = head
            .subject(subject(notice, source))
            .message_id(Some(self.id(notice.event)));
        if let Some(incident) = notice.incident {
            let root = self.root(incident);
            head = head.in_reply_to(root.clone()).references(root);
        }
        let incident = notice
            .incident
            .map(|incident| ("X-Trapline-Incident", incident.to_string()));
        let marks = [
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("Precedence", "bulk".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
            ("List-Id", format!("<{}>", self.list_id)),
            ("X-Trapline-Event", notice.event.to_string()),
        ];
        marks.into_iter().chain(incident).fold(head, |head, (name, value)| {
            head.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value))
        })
    }

    /// Small print: how to read it, and who says it. The ids stand among the facts.
    fn footer(&self, notice: &Notice) -> Vec<String> {
        let theirs = notice.facts.iter().any(|fact| fact.foreign);
        let theirs =
            theirs.then(|| "What is set apart was chosen by the other side; [ ] keep it from being a link.".to_owned());
        let observer = clean_within(self.observer.as_bytes(), 100);
        theirs.into_iter().chain([format!("trapline on {observer}")]).collect()
    }

    fn id(&self, event: Uuid) -> String {
        format!("<{event}@{}>", self.from.email.domain())
    }

    /// What the mails of an incident answer.
    fn root(&self, incident: Uuid) -> String {
        format!("<incident.{incident}@{}>", self.from.email.domain())
    }
}

/// Quoted-printable whatever is in it: no line is too long, no dot and no `From ` stands where a server would look.
fn part(kind: ContentType, body: String) -> SinglePart {
    SinglePart::builder()
        .header(kind)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(body)
}

/// One for all mails of an incident, else the notice's own.
fn subject(notice: &Notice, source: Option<IpAddr>) -> String {
    let Some(incident) = notice.incident else {
        return one_line(&notice.subject);
    };
    let short = format!("{:08x}", incident.as_fields().0);
    match source {
        Some(source) => format!("Trapline: {source} (incident {short})"),
        None => format!("Trapline: incident {short}"),
    }
}

/// One clean line that no reader takes for an encoded word.
fn one_line(text: &str) -> String {
    clean_within(text.as_bytes(), SUBJECT_CHARS_MAX).replace("=?", "= ?")
}
