//! `smb`: a file server, direct over TCP (445) or in NetBIOS sessions (139), that nobody gets into.
//!
//! In: SMB1 and SMB2 messages. Out: one handshake with the client's dialects and GUID, an NTLM attempt for each login,
//! a request for each share that is asked for. Every status, and whether the session goes on behind it, was asked of a
//! live Samba 4.17.12; where Windows differs, MS-SMB2 and public captures say how.
//!
//! A null session is let in where the claimed product does that, and then refused whatever it asks for: there are no
//! trees, no pipes and no files here.

mod first;
mod frame;
mod logins;
mod look;
mod second;
mod status;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use smol_str::SmolStr;
use trapline_schemas::{Field, Value, text};

use self::frame::Frame;
use self::look::{Anonymous, Family, Look};
use crate::decoy::personality;
use crate::decoy::services::ntlm::{self, Attempt, Names};
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "smb",
    personality: "samba-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Most dialects that are told; clients offer about ten.
const DIALECTS_MAX: usize = 64;

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    // A silent session holds nothing of what a dialogue needs.
    session.fill().await?;
    Box::pin(Dialogue::new(session).run()).await
}

/// A dialogue with one client.
struct Dialogue<'a> {
    session: &'a mut Session,
    personality: std::sync::Arc<crate::decoy::Personality>,
    names: Names,
    facts: Vec<(Field, Value)>,
    dialects: Vec<String>,
    /// System and program that the client says it is.
    system: SmolStr,
    /// Logins that were judged.
    judged: usize,
    /// A NetBIOS session was granted, or none is needed.
    granted: bool,
    /// A NetBIOS session was asked for, which is done once.
    requested: bool,
    /// It is a NetBIOS session, asked for on its own port, and not the same frames directly over TCP.
    netbios: bool,
    state: State,
}

/// What is spoken.
enum State {
    /// Nothing yet; or SMB2, whose dialect is still open.
    Fresh {
        /// SMB2 it is.
        second: bool,
        /// The number that its negotiation has.
        message: u64,
    },
    First(first::State),
    Second(second::State),
}

/// Whether the server goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Message,
    Close,
}

/// How a login ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As nobody.
    LetIn,
    Refused(u32),
}

impl<'a> Dialogue<'a> {
    fn new(session: &'a mut Session) -> Self {
        let personality = session.personality();
        let look: &Look = personality.look();
        Self {
            names: Names::new(&look.ntlm, &personality.install),
            granted: look.family == Family::Samba || !is_netbios(session.local().port()),
            requested: false,
            netbios: false,
            session,
            personality,
            facts: Vec::new(),
            dialects: Vec::new(),
            system: SmolStr::default(),
            judged: 0,
            state: State::Fresh {
                second: false,
                message: 0,
            },
        }
    }

    async fn run(mut self) -> Result<(), SessionError> {
        let outcome = self.frames().await;
        // What was not read may be a login, whole or in part.
        if v1::may_hold_login(self.session.input()) {
            self.session.hide_input();
        }
        self.introduce().await;
        outcome
    }

    async fn frames(&mut self) -> Result<(), SessionError> {
        loop {
            let Frame::Whole { kind, end } = frame::next(self.session.input()) else {
                self.session.fill().await?;
                continue;
            };
            let message = self.session.input().get(frame::HEAD..end).unwrap_or_default().to_vec();
            let at = self.session.consume(end).start + frame::HEAD as u64;
            let judged = self.judged;
            let next = self.take(kind, &message, at).await;
            self.hide_unjudged(&message, at, self.judged - judged);
            if next? == Next::Close {
                // What a server has not read makes its kernel reset.
                if !self.session.input().is_empty() {
                    self.session.abort();
                }
                return Ok(());
            }
        }
    }

    /// A frame, whose content begins at `at` in the stream.
    async fn take(&mut self, kind: u8, content: &[u8], at: u64) -> Result<Next, SessionError> {
        match kind {
            frame::MESSAGE if self.granted => self.message(content, at).await,
            frame::MESSAGE => self.refuse(frame::UNSPECIFIED).await,
            frame::REQUEST => self.request(content).await,
            // Keep-alives, and what nobody knows.
            _ if is_netbios(self.session.local().port()) => {
                self.netbios = true;
                Ok(Next::Message)
            }
            _ => Ok(Next::Close),
        }
    }

    /// Hides answers to challenges that nobody has judged, for they came too late, too early or broken: passwords can
    /// be guessed by them all the same. In: a message, where it begins in the stream, and how many were judged in it.
    fn hide_unjudged(&mut self, message: &[u8], at: u64, judged: usize) {
        let first = ntlm::response_in(message);
        let count = ntlm::responses(message);
        let all = first.filter(|_| count > judged).map(|first| first..message.len());
        let bare = v1::secret_in(message).filter(|_| judged == 0);
        let unread = v1::unread_chain(message);
        for range in all.into_iter().chain(bare).chain(unread) {
            self.session.hide(at + range.start as u64..at + range.end as u64);
        }
    }

    async fn refuse(&mut self, answer: &[u8]) -> Result<Next, SessionError> {
        self.session.send(answer).await?;
        Ok(Next::Close)
    }

    /// A NetBIOS session request. A second one makes Samba leave without a word.
    async fn request(&mut self, request: &[u8]) -> Result<Next, SessionError> {
        if std::mem::replace(&mut self.requested, true) {
            return Ok(Next::Close);
        }
        let Some(name) = frame::calling_name(request) else {
            return self.refuse(frame::NOT_PRESENT).await;
        };
        self.granted = true;
        self.netbios = is_netbios(self.session.local().port());
        self.facts.push((
            Field::SourceDomain,
            text::clean(name.to_ascii_lowercase().as_bytes()).into(),
        ));
        self.session.send(frame::GRANTED).await?;
        Ok(Next::Message)
    }

    /// A message, which begins at `at` in the stream.
    async fn message(&mut self, message: &[u8], at: u64) -> Result<Next, SessionError> {
        match &self.state {
            State::Fresh { second: false, .. } if message.starts_with(v1::SIGNATURE) => {
                self.negotiate_first(message).await
            }
            State::First(_) if message.starts_with(v1::SIGNATURE) => self.first(message, at).await,
            // A Samba lets a client think better of it.
            State::First(_) if message.starts_with(v2::SIGNATURE) && self.is_samba() => {
                self.state = State::Fresh {
                    second: true,
                    message: 0,
                };
                self.second(message, at).await
            }
            State::Fresh { .. } | State::Second(_) if message.starts_with(v2::SIGNATURE) => {
                self.second(message, at).await
            }
            _ => Ok(Next::Close),
        }
    }

    fn personality(&self) -> std::sync::Arc<crate::decoy::Personality> {
        std::sync::Arc::clone(&self.personality)
    }

    fn is_samba(&self) -> bool {
        self.personality.look::<Look>().family == Family::Samba
    }

    async fn send(&mut self, answer: &[u8]) -> Result<(), SessionError> {
        self.session.send(&frame::wrap(answer)).await
    }

    /// Notes dialects that the client offers, as far as there is room for them.
    fn note_dialects(&mut self, offered: impl Iterator<Item = String>) {
        let room = DIALECTS_MAX.saturating_sub(self.dialects.len());
        self.dialects.extend(offered.take(room));
    }

    /// Reports who it is that speaks, once.
    async fn introduce(&mut self) {
        let mut facts = std::mem::take(&mut self.facts);
        let dialects = std::mem::take(&mut self.dialects);
        if !dialects.is_empty() {
            let clean: Vec<_> = dialects.iter().map(|dialect| text::clean(dialect.as_bytes())).collect();
            facts.push((Field::SmbDialects, clean.into()));
        }
        if !facts.is_empty() {
            self.session.handshake(facts).await;
        }
    }

    /// Reports a login, and says how it ends. In: where in the stream its token begins.
    async fn judge(&mut self, look: &Look, attempt: &Attempt, token_at: u64) -> Result<Verdict, SessionError> {
        self.judged += 1;
        if attempt.is_anonymous() {
            return Ok(match look.anonymous {
                Anonymous::Accepted => Verdict::LetIn,
                Anonymous::Denied => Verdict::Refused(status::ACCESS_DENIED),
            });
        }
        ntlm::report(self.session, attempt, token_at, self.system_facts()).await;
        self.refuse_login(look, attempt).await
    }

    /// Takes the time that a refusal takes, and says which it is.
    async fn refuse_login(&mut self, look: &Look, attempt: &Attempt) -> Result<Verdict, SessionError> {
        if look.family == Family::Samba && !attempt.is_coherent() {
            return Ok(Verdict::Refused(status::INVALID_PARAMETER));
        }
        self.session.pause(Duration::from_millis(look.failed_delay_ms)).await?;
        // The guest of a Windows has no password, and is disabled.
        let guest = look.family == Family::Windows && attempt.is_guest() && attempt.has_empty_password();
        Ok(Verdict::Refused(if guest {
            status::ACCOUNT_DISABLED
        } else {
            status::LOGON_FAILURE
        }))
    }

    /// What the client said it is, if it did.
    fn system_facts(&self) -> Vec<(Field, Value)> {
        let named = Some(&self.system).filter(|system| !system.is_empty());
        named
            .map(|system| (Field::SmbClientSystem, system.clone().into()))
            .into_iter()
            .collect()
    }

    /// Reports a share that is asked for.
    async fn ask(&mut self, path: &str) {
        let share = text::clean(path.as_bytes());
        self.session
            .request(path.as_bytes(), vec![(Field::SmbShare, share.into())])
            .await;
    }
}

/// What nobody hears who asks for a share: there are those that such a server has from the start, and no others.
fn refused_tree(look: &Look, path: &str) -> u32 {
    let known: &[&str] = match look.family {
        Family::Samba => &["IPC$", "print$"],
        Family::Windows => &["IPC$", "ADMIN$", "C$"],
    };
    let share = path.rsplit('\\').next().unwrap_or_default();
    if known.iter().any(|name| share.eq_ignore_ascii_case(name)) {
        status::ACCESS_DENIED
    } else {
        status::BAD_NETWORK_NAME
    }
}

/// Whether a port is that of NetBIOS sessions, or one that usually stands for it where that takes no privileges.
const fn is_netbios(port: u16) -> bool {
    matches!(port, 139 | 1139 | 10139)
}

/// The server's GUID: Samba's is its name, a Windows draws one.
fn guid(look: &Look, personality: &crate::decoy::Personality) -> [u8; 16] {
    let mut guid = [0; 16];
    let drawn = personality.install.draw("smb guid");
    let name = personality.install.host().to_ascii_lowercase();
    let bytes = match look.family {
        Family::Samba => name.as_bytes(),
        Family::Windows => &drawn,
    };
    for (to, from) in guid.iter_mut().zip(bytes) {
        *to = *from;
    }
    guid
}
