//! A dialogue in SMB2 or SMB3, up to the refused login.

use std::ops::Range;

use trapline_schemas::Field;

use super::logins::{Login, Logins, Standing};
use super::look::Look;
use super::v2::{self, Header, Negotiate, Offer, flags};
use super::{Dialogue, Next, Verdict, guid, look::Family, status};
use crate::decoy::services::ntlm::{Names, Step, decode, now};
use crate::decoy::session::SessionError;

/// Where a dialogue in SMB2 stands.
pub(super) struct State {
    logins: Logins,
    credits: Credits,
}

/// Which numbers of messages the client may use (MS-SMB2 3.3.1.1).
#[derive(Debug)]
struct Credits {
    next: u64,
    granted: u64,
    /// Asked for within a compound, whose last answer alone grants any.
    owed: u64,
}

impl Credits {
    /// Credits out at the same time.
    const OUT_MAX: u64 = 8192;

    /// Takes the number of a request. `false`: it is none that the client may use.
    fn take(&mut self, header: &Header) -> bool {
        let fits = (self.next..self.granted).contains(&header.message);
        if fits {
            self.next = header.message + u64::from(header.charge.max(1));
        }
        fits
    }

    /// Grants what is asked for, at least one.
    fn grant(&mut self, asked: u16) -> u16 {
        let asked = u64::from(asked) + std::mem::take(&mut self.owed);
        let room = Self::OUT_MAX.saturating_sub(self.granted.saturating_sub(self.next));
        let granted = asked.min(room).max(1);
        self.granted += granted;
        granted as u16
    }
}

impl State {
    /// Behind a negotiation, which the message of this number settled.
    pub(super) fn new(names: Names, message: u64) -> Self {
        Self {
            logins: Logins::new(names),
            credits: Credits {
                next: message + 1,
                granted: message + 2,
                owed: 0,
            },
        }
    }

    /// A negotiation is settled once; a CANCEL uses the number of what it cancels.
    fn may_ask(&mut self, header: &Header) -> bool {
        match header.command {
            v2::NEGOTIATE => false,
            v2::CANCEL => true,
            _ => self.credits.take(header),
        }
    }

    /// What is wrong with a header, whatever its command. `first`: of its frame.
    fn objection(&self, header: &Header, first: bool) -> Option<u32> {
        const KNOWN: u32 = flags::RELATED | flags::SIGNED | flags::PRIORITY | flags::DFS;
        let is = |flag| header.flags & flag != 0;
        match self.logins.standing(header.session) {
            _ if is(!KNOWN) || first && is(flags::RELATED) => Some(status::INVALID_PARAMETER),
            None if is(flags::SIGNED) => Some(status::USER_SESSION_DELETED),
            // There is no key to sign with.
            Some(_) if is(flags::SIGNED) && header.command != v2::SESSION_SETUP => Some(status::ACCESS_DENIED),
            _ => None,
        }
    }

    /// An answer that is no error, with the credits that were asked for.
    fn done(&mut self, header: &Header, body: &[u8]) -> Vec<u8> {
        self.answer(header, status::SUCCESS, header.credits, body)
    }

    /// A refusal; a login that goes on or fails is worth one credit.
    fn error(&mut self, header: &Header, status: u32) -> Vec<u8> {
        let asked = if header.command == v2::SESSION_SETUP {
            1
        } else {
            header.credits
        };
        self.answer(header, status, asked, &v2::error())
    }

    fn answer(&mut self, header: &Header, status: u32, asked: u16, body: &[u8]) -> Vec<u8> {
        let credits = if header.next > 0 {
            self.credits.owed += u64::from(asked);
            0
        } else if header.flags & flags::ASYNC != 0 {
            0
        } else {
            self.credits.grant(asked)
        };
        header.answer(status, credits, body)
    }

    /// A command that belongs into a session, which at best is nobody's. `path`: of the share that is asked for.
    fn within(&mut self, look: &Look, header: &Header, path: &str) -> Vec<u8> {
        let status = match (self.logins.standing(header.session), header.command) {
            (None, _) => status::USER_SESSION_DELETED,
            (Some(Standing::Begun), _) => status::INVALID_HANDLE,
            (Some(Standing::LetIn), v2::LOGOFF) => {
                self.logins.take(header.session);
                return self.done(header, &v2::nothing());
            }
            (Some(Standing::LetIn), v2::TREE_CONNECT) => super::refused_tree(look, path),
            (Some(Standing::LetIn), _) => status::NETWORK_NAME_DELETED,
        };
        self.error(header, status)
    }

    /// The login that a SESSION_SETUP begins or goes on with.
    fn login(&mut self, header: &Header) -> Result<Login, u32> {
        match header.session {
            0 => self.logins.begin().ok_or(status::INSUFFICIENT_RESOURCES),
            known => self.logins.take(known).ok_or(status::USER_SESSION_DELETED),
        }
    }

    /// Another token is due, or the login is let in.
    fn go_on(&mut self, look: &Look, header: &Header, login: Login, token: &[u8]) -> Vec<u8> {
        let is_let_in = login.standing == Standing::LetIn;
        let number = self.logins.keep(login, |_, _| fresh_session(look.family));
        let header = Header {
            session: number,
            named: number,
            ..header.clone()
        };
        let body = v2::session(token, is_let_in && look.family == Family::Windows);
        if is_let_in {
            self.done(&header, &body)
        } else {
            self.answer(&header, status::MORE_PROCESSING_REQUIRED, 1, &body)
        }
    }
}

/// The answer to one request of a compound: `None` where the server closes.
type Answer = Option<Vec<u8>>;

impl Dialogue<'_> {
    /// A message, which may be a compound of several.
    pub(super) async fn second(&mut self, message: &[u8], at: u64) -> Result<Next, SessionError> {
        let Some(mut parts) = v2::parts(message).filter(|parts| self.may_ask(parts)) else {
            return Ok(Next::Close);
        };
        relate(&mut parts);
        let mut answers = Vec::new();
        for (header, range) in parts.iter().filter(|(header, _)| header.command != v2::CANCEL) {
            let part = message.get(range.clone()).unwrap_or_default();
            let first = range.start == 0;
            let Some(answer) = self.answer(header, part, first, at + range.start as u64).await? else {
                return Ok(Next::Close);
            };
            answers.push(answer);
        }
        if !answers.is_empty() {
            self.send(&v2::compound(answers)).await?;
        }
        Ok(Next::Message)
    }

    /// Whether the numbers of a compound's messages are those that the client may use next, all of them. A negotiation
    /// stands alone.
    fn may_ask(&mut self, parts: &[(Header, Range<usize>)]) -> bool {
        match &mut self.state {
            super::State::Second(state) => parts.iter().all(|(header, _)| state.may_ask(header)),
            super::State::First(_) => false,
            super::State::Fresh { message, .. } => {
                matches!(parts, [(header, _)] if header.command == v2::NEGOTIATE && header.message == *message)
            }
        }
    }

    async fn answer(&mut self, header: &Header, message: &[u8], first: bool, at: u64) -> Result<Answer, SessionError> {
        let personality = self.personality();
        let look: &Look = personality.look();
        let super::State::Second(state) = &mut self.state else {
            return Ok(Some(self.negotiate_second(look, header, message).await));
        };
        if let Some(status) = state.objection(header, first) {
            return Ok(Some(state.error(header, status)));
        }
        if !v2::is_whole(header.command, message) {
            return Ok(Some(state.error(header, status::INVALID_PARAMETER)));
        }
        match header.command {
            v2::SESSION_SETUP => self.login_second(look, header, message, at).await,
            v2::ECHO => Ok(Some(state.done(header, &v2::nothing()))),
            _ => Ok(self.within(look, header, message).await),
        }
    }

    /// The negotiation; a dialect is settled by it.
    async fn negotiate_second(&mut self, look: &Look, header: &Header, message: &[u8]) -> Vec<u8> {
        let request = Negotiate::read(message);
        if let Some(request) = &request {
            self.note_dialects(request.dialects.iter().map(|number| named(*number)));
            if request.guid != [0; 16] {
                let guid = uuid::Uuid::from_bytes_le(request.guid).to_string();
                self.facts.push((Field::SmbClientGuid, guid.into()));
            }
        }
        self.introduce().await;
        let token = look.mechanisms.token();
        let offer = Offer {
            guid: guid(look, &self.personality),
            now: now(),
            token: &token,
            netbios: self.netbios,
        };
        let chosen = request
            .ok_or(status::INVALID_PARAMETER)
            .and_then(|request| request.answer(look, &offer));
        match chosen {
            Ok(body) => {
                self.state = super::State::Second(State::new(self.names.clone(), header.message));
                header.answer(status::SUCCESS, 1, &body)
            }
            Err(status) => {
                self.state = super::State::Fresh {
                    second: true,
                    message: header.message + 1,
                };
                header.answer(status, 1, &v2::error())
            }
        }
    }

    async fn within(&mut self, look: &Look, header: &Header, message: &[u8]) -> Answer {
        let path = match header.command {
            v2::TREE_CONNECT => v2::path(message).map(|path| decode(path, true)),
            _ => None,
        };
        if let Some(path) = &path {
            self.ask(path).await;
        }
        match &mut self.state {
            super::State::Second(state) => Some(state.within(look, header, &path.unwrap_or_default())),
            _ => None,
        }
    }

    async fn login_second(
        &mut self,
        look: &Look,
        header: &Header,
        message: &[u8],
        at: u64,
    ) -> Result<Answer, SessionError> {
        let super::State::Second(state) = &mut self.state else {
            return Ok(None);
        };
        let mut login = match state.login(header) {
            Ok(login) => login,
            Err(status) => return Ok(Some(state.error(header, status))),
        };
        let range = v2::token(message).unwrap_or_default();
        match login.acceptor.step(message.get(range.clone()).unwrap_or_default()) {
            Step::Continue(reply) => {
                login.standing = Standing::Begun;
                Ok(Some(state.go_on(look, header, login, &reply)))
            }
            Step::Attempt(attempt) => {
                let verdict = self.judge(look, &attempt, at + range.start as u64).await?;
                Ok(self.ended(look, header, login, verdict))
            }
            Step::Invalid => Ok(Some(state.error(header, status::INVALID_PARAMETER))),
        }
    }

    fn ended(&mut self, look: &Look, header: &Header, mut login: Login, verdict: Verdict) -> Answer {
        let super::State::Second(state) = &mut self.state else {
            return None;
        };
        match verdict {
            Verdict::LetIn => {
                login.standing = Standing::LetIn;
                let farewell = login.acceptor.farewell();
                Some(state.go_on(look, header, login, &farewell))
            }
            Verdict::Refused(status) => Some(state.error(header, status)),
        }
    }
}

/// Gives related requests of a compound the session of the one before (MS-SMB2 3.3.5.2.7.2).
fn relate(parts: &mut [(Header, Range<usize>)]) {
    let mut session = 0;
    for (header, _) in parts {
        if header.flags & flags::RELATED != 0 && header.session == u64::MAX {
            header.session = session;
        } else {
            session = header.session;
        }
    }
}

/// A number for a session, as each family draws them.
fn fresh_session(family: Family) -> u64 {
    match family {
        Family::Samba => u64::from(rand::random_range(1..u32::MAX)),
        Family::Windows => rand::random_range(1..64_u64) << 42 | rand::random_range(1..64_u64) << 2 | 1,
    }
}

/// A dialect as people write it.
fn named(number: u16) -> String {
    match number {
        0x0202 => "2.0.2".to_owned(),
        0x0210 => "2.1".to_owned(),
        0x0300 => "3.0".to_owned(),
        0x0302 => "3.0.2".to_owned(),
        0x0311 => "3.1.1".to_owned(),
        other => format!("{other:#06x}"),
    }
}
