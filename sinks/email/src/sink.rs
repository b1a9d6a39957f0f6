//! The sink: notices into mails, mails onto a session, and what became of each.
//!
//! A batch has one session; a mail has either the recipients in `to`, or one owner of a source. Of mails that some recipients
//! have and some have not, what is settled is remembered, at most [`OPEN_MAIL_MAX`] of them: nobody gets a second one while
//! this process lives. After a restart the mail comes again, under the same Message-ID.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::message::Mailbox;
use tokio::time::Instant;
use trapline_notice::Voice;
use trapline_schemas::{Action, Event, Field};
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};
use trapline_sink::{Parcel, Said};
use uuid::Uuid;

use crate::address;
use crate::message::{Letterhead, Reader};
use crate::session::{Answer, Link, Receipt, Refusal, Session};

/// How long a recipient that is put off is tried again once another has the mail: longer than usual greylisting, and
/// short enough that one full mailbox does not hold the others' mail up for long.
const PATIENCE: Duration = Duration::from_secs(600);
/// No mail of a batch begins later than this.
const BATCH_TIME: Duration = Duration::from_secs(120);
/// Most mails that some recipients have and some have not.
const OPEN_MAIL_MAX: usize = 256;
/// Most mails of one session: servers limit them.
const MAILS_A_BATCH: usize = 20;

/// What a sink without `to` says to all but releases; none but a test comes here.
const NO_TEAM: &str = "this sink has no `to`: it writes to owners alone, and `trapline owners release` alone lets it; \
                       `trapline check --connect` tries the server";

/// A mail server.
#[derive(Debug)]
pub(crate) struct EmailSink {
    link: Link,
    voice: Voice,
    letterhead: Letterhead,
    recipients: Vec<String>,
    /// Whether owners of sources are written to.
    owners: bool,
    state: Mutex<State>,
    said: Said,
}

#[derive(Debug, Default)]
struct State {
    /// Mails under way, by event.
    open: BTreeMap<Uuid, OpenMail>,
    /// What the server said last of recipients whom it refused, by address.
    refused: BTreeMap<String, String>,
}

/// A mail that somebody has and somebody has not.
#[derive(Debug)]
struct OpenMail {
    since: Instant,
    /// Who needs it no more: they have it, or never will.
    settled: Vec<String>,
}

impl EmailSink {
    pub(crate) fn new(link: Link, voice: Voice, letterhead: Letterhead, owners: bool) -> Self {
        Self {
            owners,
            recipients: letterhead.to.iter().map(|to| to.email.to_string()).collect(),
            state: Mutex::default(),
            said: Said::default(),
            link,
            voice,
            letterhead,
        }
    }

    /// Who a mail about the event is for. Errors: why it is for nobody.
    fn addressed(&self, event: &Event) -> Result<Addressed, String> {
        if event.action != Action::NoticeReleased {
            return match self.recipients.is_empty() {
                false => Ok(Addressed::Team),
                true => Err(NO_TEAM.to_owned()),
            };
        }
        if !self.owners {
            return Err("it is for the owner of a source, and this sink does not say `owners = true`".to_owned());
        }
        let address = event.text(Field::ReleaseTo).map_or("", |to| to);
        let owner = address::read(address).ok_or_else(|| {
            let shown = trapline_sink::config::shown(address);
            format!("`{shown}` is no address of an owner; allowed: {}", address::ALLOWED)
        })?;
        Ok(Addressed::Owner(Box::new(owner)))
    }

    /// Sends one mail to whoever has it not yet.
    async fn send<'s>(&'s self, session: &mut Option<Session<'s>>, parcel: &Parcel) -> Sent {
        let addressed = match self.addressed(&parcel.event) {
            Ok(addressed) => addressed,
            Err(why) => return Sent::Done(Outcome::Rejected(why)),
        };
        let mail = match self.write(&addressed, &parcel.event) {
            Ok(mail) => mail,
            Err(why) => return Sent::Done(Outcome::Rejected(format!("no message can be made of it: {why}"))),
        };
        let opened = match session.take() {
            Some(opened) => opened,
            None => match self.link.open().await {
                Ok(opened) => opened,
                Err(fault) => return Sent::Stop(fault),
            },
        };
        let opened = session.insert(opened);
        let owner = addressed.owner();
        let to = match &owner {
            Some(owner) => vec![owner.as_str()],
            None => self.waiting(parcel.event.id),
        };
        let from = self.letterhead.from.email.to_string();
        match opened.send(&from, &to, &mail).await {
            Ok(receipt) => {
                self.said.keep(opened.accepted(), &[]);
                match &owner {
                    Some(owner) => self.settle_owner(parcel.event.id, owner, &receipt),
                    None => self.settle(parcel.event.id, &to, &receipt),
                }
            }
            Err(Refusal::Content(why)) => {
                self.state().open.remove(&parcel.event.id);
                Sent::Done(Outcome::Rejected(format!("the mail server refuses it: {why}")))
            }
            Err(Refusal::PutOff(said)) => self.put_off(parcel.event.id, owner.as_deref(), said),
            Err(Refusal::Fault(fault)) => {
                *session = None;
                Sent::Stop(fault)
            }
        }
    }

    fn write(&self, addressed: &Addressed, event: &Event) -> Result<Vec<u8>, String> {
        let reader = match addressed {
            Addressed::Team => Reader::Team,
            Addressed::Owner(owner) => Reader::Owner(owner),
        };
        let notice = self.voice.compose(event);
        self.letterhead
            .write(&notice, reader, event.ip(Field::SourceIp), SystemTime::now())
    }

    /// What it means that the server puts the mail itself off: as little as a recipient, where that is one owner.
    fn put_off(&self, event: Uuid, owner: Option<&str>, said: String) -> Sent {
        match owner {
            Some(owner) => self.settle_owner(event, owner, &[Answer::Later(said)]),
            None => Sent::Stop(self.fault(FaultKind::Busy, &format!("asks to come later: {said}"))),
        }
    }

    /// What the server's answer to an owner means. One mailbox that is wrong or full holds up nobody: refused, the mail is
    /// a dead letter, and put off it is one in the end.
    fn settle_owner(&self, event: Uuid, owner: &str, receipt: &[Answer]) -> Sent {
        let mut state = self.state();
        match receipt.first() {
            Some(Answer::Taken) => Sent::Done(state.finish(event)),
            Some(Answer::Later(said)) if state.is_patient(event, Vec::new()) => {
                Sent::Owed(self.fault(FaultKind::Busy, &format!("puts the owner `{owner}` off: {said}")))
            }
            Some(Answer::Later(said) | Answer::Never(said)) => {
                state.open.remove(&event);
                let why = format!("the mail server refuses the owner `{owner}`: {said}");
                Sent::Done(Outcome::Rejected(why))
            }
            None => Sent::Stop(self.nobody(receipt)),
        }
    }

    /// Who is still to get the mail.
    fn waiting(&self, event: Uuid) -> Vec<&str> {
        let state = self.state();
        let settled = state
            .open
            .get(&event)
            .map(|mail| mail.settled.as_slice())
            .unwrap_or_default();
        self.recipients
            .iter()
            .filter(|to| !settled.contains(to))
            .map(String::as_str)
            .collect()
    }

    /// What the server's answers to the recipients mean for the mail.
    fn settle(&self, event: Uuid, to: &[&str], receipt: &Receipt) -> Sent {
        let mut state = self.state();
        let taken = receipt.contains(&Answer::Taken) || state.open.contains_key(&event);
        let mut put_off = Vec::new();
        let mut settled = Vec::new();
        for (to, answer) in to.iter().copied().zip(receipt) {
            match answer {
                Answer::Later(said) if !taken || !state.refused.contains_key(to) => put_off.push((to, said.as_str())),
                _ => settled.push(to.to_owned()),
            }
            state.note(to, answer);
        }
        let Some((first, said)) = put_off.first().copied() else {
            return match taken {
                true => Sent::Done(state.finish(event)),
                false => Sent::Stop(self.nobody(receipt)),
            };
        };
        let fault = self.fault(FaultKind::Busy, &format!("puts `{first}` off: {said}"));
        if !taken {
            return Sent::Stop(fault);
        }
        if state.is_patient(event, settled) {
            return Sent::Owed(fault);
        }
        put_off.iter().for_each(|(to, said)| state.give_up(to, said));
        Sent::Done(state.finish(event))
    }

    fn nobody(&self, receipt: &[Answer]) -> Fault {
        let said = receipt.iter().find_map(|answer| match answer {
            Answer::Never(said) | Answer::Later(said) => Some(said.as_str()),
            Answer::Taken => None,
        });
        let what = format!("refuses every recipient: {}", said.unwrap_or("without a word"));
        self.fault(FaultKind::Config, &what)
    }

    fn fault(&self, kind: FaultKind, what: &str) -> Fault {
        Fault {
            kind,
            message: format!("{} {what}", self.link.dialer.address()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn finish(&mut self, event: Uuid) -> Outcome {
        self.open.remove(&event);
        Outcome::Delivered
    }

    /// Remembers who needs the mail no more; `false` if the others have been tried long enough.
    fn is_patient(&mut self, event: Uuid, settled: Vec<String>) -> bool {
        let now = Instant::now();
        while self.open.len() >= OPEN_MAIL_MAX && !self.open.contains_key(&event) {
            let oldest = self
                .open
                .iter()
                .min_by_key(|(_, mail)| mail.since)
                .map(|(event, _)| *event);
            oldest.map(|oldest| self.open.remove(&oldest));
        }
        let mail = self.open.entry(event).or_insert_with(|| OpenMail {
            since: now,
            settled: Vec::new(),
        });
        mail.settled.extend(settled);
        now.duration_since(mail.since) < PATIENCE
    }

    /// Keeps what is to be said of a recipient; the log has it when it begins.
    fn note(&mut self, to: &str, answer: &Answer) {
        match answer {
            Answer::Taken => {
                self.refused.remove(to);
            }
            Answer::Never(said) => self.refuse(to, said),
            Answer::Later(_) => {}
        }
    }

    /// Later mails do not wait for this recipient, until it has taken one.
    fn give_up(&mut self, to: &str, said: &str) {
        self.refuse(to, &format!("put off for {} min: {said}", PATIENCE.as_secs() / 60));
    }

    fn refuse(&mut self, to: &str, said: &str) {
        if self.refused.insert(to.to_owned(), said.to_owned()).is_none() {
            tracing::warn!(recipient = to, "the mail server refuses the recipient {to}: {said}");
        }
    }
}

/// Who a mail is for.
enum Addressed {
    Team,
    Owner(Box<Mailbox>),
}

impl Addressed {
    /// The address of an owner, without the name.
    fn owner(&self) -> Option<String> {
        match self {
            Self::Team => None,
            Self::Owner(owner) => Some(owner.email.to_string()),
        }
    }
}

/// What became of a mail, and of the batch.
enum Sent {
    /// It needs no second look.
    Done(Outcome),
    /// Somebody has it, somebody is put off.
    Owed(Fault),
    /// Nobody has it, and the next one would fare no better.
    Stop(Fault),
}

#[async_trait]
impl StreamSink for EmailSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: MAILS_A_BATCH,
            bytes: 1024 * 1024,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let until = Instant::now() + BATCH_TIME;
        let mut outcomes = vec![Outcome::Retry; batch.len()];
        let mut session = None;
        let mut fault = None;
        for (outcome, parcel) in outcomes.iter_mut().zip(batch) {
            if Instant::now() >= until {
                break;
            }
            match self.send(&mut session, parcel).await {
                Sent::Done(became) => *outcome = became,
                Sent::Owed(why) => fault = Some(why),
                Sent::Stop(why) => {
                    fault = Some(why);
                    break;
                }
            }
        }
        if let Some(session) = session {
            session.quit().await;
        }
        Delivery {
            outcomes,
            retry_after: None,
            fault,
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        let session = self.link.open().await?;
        let shown = session.shown();
        session.quit().await;
        Ok(shown)
    }

    fn destination(&self) -> Option<String> {
        let server = self.link.dialer.address();
        let owners = "owners, what somebody releases";
        Some(match (self.recipients.join(", "), self.owners) {
            (to, false) => format!("{server}, to {to}"),
            (to, true) if to.is_empty() => format!("{server}, to {owners}"),
            (to, true) => format!("{server}, to {to} (and to {owners})"),
        })
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let protection = match self.link.dialer.tls() {
            Some(tls) => tls.notes(),
            None => vec!["tls is off: mails and credentials travel in clear".to_owned()],
        };
        let refused: Vec<String> = self
            .state()
            .refused
            .iter()
            .map(|(to, said)| format!("`{to}` is refused and gets no mail: {said}"))
            .collect();
        protection.into_iter().chain(refused).collect()
    }
}
