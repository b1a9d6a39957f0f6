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

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue, Headers, To};
use lettre::message::{Mailbox, Mailboxes, Message, MessageBuilder, MultiPart, SinglePart};
use trapline_notice::Notice;
use trapline_schemas::text::clean_within;
use uuid::Uuid;

use crate::{html, text};

/// Longest subject.
const SUBJECT_CHARS_MAX: usize = 150;

/// Who a mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader<'m> {
    /// Those in `to`.
    Team,
    /// Whoever answers for the source, alone.
    Owner(&'m Mailbox),
}

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
    pub(crate) fn write(
        &self,
        notice: &Notice,
        reader: Reader<'_>,
        source: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<Vec<u8>, String> {
        let head = self.head(notice, reader, source, now);
        let footer = self.footer(notice, reader);
        let plain = part(ContentType::TEXT_PLAIN, text::body(notice, &footer));
        let message = match self.html {
            true => {
                let kicker = match reader {
                    Reader::Team => html::weight(notice.weight),
                    Reader::Owner(_) => "to the owner",
                };
                let rich = part(ContentType::TEXT_HTML, html::body(notice, kicker, &footer));
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

    fn head(&self, notice: &Notice, reader: Reader<'_>, source: Option<IpAddr>, now: SystemTime) -> MessageBuilder {
        let to = match reader {
            Reader::Team => to(&self.to),
            Reader::Owner(owner) => to(std::slice::from_ref(owner)),
        };
        let mut head = Message::builder().date(now).from(self.from.clone()).raw_header(to);
        if let Some(reply_to) = &self.reply_to {
            head = head.reply_to(reply_to.clone());
        }
        head = head
            .subject(subject(notice, reader, source))
            .message_id(Some(self.id(notice.event)));
        if let Some(incident) = notice.incident {
            let root = self.root(incident);
            head = head.in_reply_to(root.clone()).references(root);
        }
        self.marks(notice, reader)
            .into_iter()
            .fold(head, |head, (name, value)| {
                head.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value))
            })
    }

    /// What programs read. An owner is on no list, need not know what found the machine out, and is to have the mail even
    /// where bulk is thrown away.
    fn marks(&self, notice: &Notice, reader: Reader<'_>) -> Vec<(&'static str, String)> {
        let mut marks = vec![
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
        ];
        if reader == Reader::Team {
            marks.extend([
                ("Precedence", "bulk".to_owned()),
                ("List-Id", format!("<{}>", self.list_id)),
                ("X-Trapline-Event", notice.event.to_string()),
            ]);
            let incident = notice.incident.map(|incident| incident.to_string());
            marks.extend(incident.map(|incident| ("X-Trapline-Incident", incident)));
        }
        marks
    }

    /// Small print: how to read it, and who says it. The ids stand among the facts.
    fn footer(&self, notice: &Notice, reader: Reader<'_>) -> Vec<String> {
        if let Reader::Owner(_) = reader {
            return vec![
                "This was sent to you alone, because you are recorded as answering for this machine, and not before somebody \
                 decided that it should be. If somebody else answers for it now, please say so."
                    .to_owned(),
            ];
        }
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

/// Recipients, a line each: lettre folds within an address and not between two.
fn to(mailboxes: &[Mailbox]) -> HeaderValue {
    let encoded = mailboxes.iter().map(|to| {
        let mut alone = Headers::new();
        alone.set(To::from(Mailboxes::from(to.clone())));
        let line = alone.to_string();
        line.trim_start_matches("To:").trim().to_owned()
    });
    let encoded: Vec<String> = encoded.collect();
    let plain: Vec<String> = mailboxes.iter().map(ToString::to_string).collect();
    HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str("To"),
        plain.join(", "),
        encoded.join(",\r\n "),
    )
}

/// Quoted-printable whatever is in it: no line is too long, no dot and no `From ` stands where a server would look.
fn part(kind: ContentType, body: String) -> SinglePart {
    SinglePart::builder()
        .header(kind)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(body)
}

/// One for all mails of an incident to the same reader, else the notice's own.
fn subject(notice: &Notice, reader: Reader<'_>, source: Option<IpAddr>) -> String {
    let Some(incident) = notice.incident else {
        return one_line(&notice.subject);
    };
    let short = format!("{:08x}", incident.as_fields().0);
    match (reader, source) {
        (Reader::Team, Some(source)) => format!("Trapline: {source} (incident {short})"),
        (Reader::Team, None) => format!("Trapline: incident {short}"),
        (Reader::Owner(_), Some(source)) => format!("Your machine {source} (reference {short})"),
        (Reader::Owner(_), None) => format!("Your machine (reference {short})"),
    }
}

/// One clean line that no reader takes for an encoded word.
fn one_line(text: &str) -> String {
    clean_within(text.as_bytes(), SUBJECT_CHARS_MAX).replace("=?", "= ?")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_notice::{Fact, Weight};

    use super::*;

    fn letterhead(html: bool) -> Letterhead {
        let mailbox = |text: &str| crate::address::read(text).unwrap();
        Letterhead {
            from: mailbox("Die Wächter <trapline@example.org>"),
            to: (0..20)
                .map(|at| mailbox(&format!("Somebody <u{at}@example.org>")))
                .collect(),
            reply_to: Some(mailbox("ask@example.org")),
            list_id: "trapline.example.org".to_owned(),
            html,
            observer: "lure".to_owned(),
        }
    }

    fn notice(subject: &str, value: &str, incident: Option<u128>) -> Notice {
        Notice {
            event: Uuid::from_u128(7),
            incident: incident.map(Uuid::from_u128),
            weight: Weight::Contact,
            subject: subject.to_owned(),
            opening: "Somebody knocked.".to_owned(),
            facts: vec![Fact {
                label: "user tried",
                value: value.to_owned(),
                foreign: true,
            }],
            closing: "Do ask.".to_owned(),
        }
    }

    fn written(notice: &Notice, html: bool) -> String {
        let mail = letterhead(html)
            .write(notice, Reader::Team, None, SystemTime::UNIX_EPOCH)
            .unwrap();
        String::from_utf8(mail).unwrap()
    }

    fn head(mail: &str) -> &str {
        mail.split_once("\r\n\r\n").unwrap().0
    }

    #[test]
    fn a_mail_that_is_sent_again_is_the_same_mail() {
        let notice = notice("Somebody knocked", "root", Some(1));
        assert_eq!(written(&notice, true), written(&notice, true));
    }

    #[test]
    fn the_subject_of_an_incident_does_not_change_with_what_happens_in_it() {
        let subject = |text, incident| {
            let mail = written(&notice(text, "root", incident), true);
            mail.lines()
                .find(|line| line.starts_with("Subject: "))
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            subject("knocked", Some(1 << 96)),
            subject("offered a password", Some(1 << 96))
        );
        assert_eq!(
            subject("knocked", Some(1 << 96)),
            "Subject: Trapline: incident 00000001"
        );
        assert_eq!(subject("A sink has failed", None), "Subject: A sink has failed");
    }

    #[test]
    fn news_of_trapline_answers_nothing() {
        let mail = written(&notice("A sink has failed", "", None), true);
        for name in ["In-Reply-To", "References", "X-Trapline-Incident"] {
            assert!(!head(&mail).contains(name), "{name}");
        }
    }

    #[test]
    fn a_mail_to_an_owner_has_that_recipient_alone_and_names_nothing_of_ours() {
        let owner = crate::address::read("Lab <lab@example.org>").unwrap();
        let letterhead = letterhead(true);
        let notice = notice("x", "root", Some(7 << 96));
        let write = |reader| {
            let mail = letterhead.write(&notice, reader, None, SystemTime::UNIX_EPOCH).unwrap();
            String::from_utf8(mail).unwrap()
        };
        let mail = write(Reader::Owner(&owner));
        let line = |name: &str| {
            head(&mail)
                .lines()
                .find(|line| line.starts_with(name))
                .map(str::to_owned)
        };
        assert_eq!(line("To: ").as_deref(), Some("To: Lab <lab@example.org>"));
        assert_eq!(
            line("Subject: ").as_deref(),
            Some("Subject: Your machine (reference 00000007)")
        );
        for name in ["Cc:", "Bcc:", "List-Id:", "Precedence:", "X-Trapline"] {
            assert_eq!(line(name), None);
        }
        let thread = |mail: &str| {
            mail.lines()
                .find(|line| line.starts_with("References: "))
                .map(str::to_owned)
        };
        assert_eq!(thread(&mail), thread(&write(Reader::Team)));
        let ours = mail.replace("trapline@example.org", "").to_lowercase();
        assert!(!ours.contains("trapline") && !ours.contains("lure"), "{mail}");
    }

    #[test]
    fn without_html_the_text_is_the_mail() {
        let mail = written(&notice("x", "root", None), false);
        assert!(head(&mail).contains("Content-Type: text/plain; charset=utf-8") && !mail.contains("text/html"));
    }

    proptest! {
        #[test]
        fn any_bytes_in_a_notice_change_no_header_and_break_no_line(
            subject in "([a-z ]|=\\?utf-8\\?q\\?|\r|\n|\u{202e}|\\PC){0,40}",
            value in "([.=-]|\r|\n|From |\\PC){0,60}",
        ) {
            let names = |mail: &str| -> Vec<String> {
                let lines = head(mail).lines().filter(|line| !line.starts_with([' ', '\t']));
                lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
            };
            let mail = written(&notice(&subject, &value, None), true);
            prop_assert_eq!(names(&mail), names(&written(&notice("x", "y", None), true)));
            prop_assert!(mail.is_ascii() && !mail.replace("\r\n", "").contains(['\r', '\n']));
            let (head, body) = mail.split_once("\r\n\r\n").unwrap();
            // Headers are folded between words alone; a subject of one word has a line of its own length.
            prop_assert!(head.lines().all(|line| line.len() <= 200), "{}", head);
            prop_assert!(body.lines().all(|line| line.len() <= 78), "{}", body);
            prop_assert!(!head.contains("=?utf-8?q?") && !head.contains("=?UTF-8?Q?"), "{}", head);
            prop_assert_eq!(mail.matches("\r\n--=_").count(), 3);
        }
    }
}
