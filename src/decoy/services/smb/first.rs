//! A dialogue in SMB1, or one that begins in it.

use trapline_schemas::text;

use super::logins::{Login, Logins, Standing};
use super::look::{Dialect, Family, Look};
use super::v1::{self, Header, NO_DIALECT, Offer, Security, SessionSetup};
use super::{Dialogue, Next, Verdict, guid, second, status, v2};
use crate::decoy::services::ntlm::{self, Attempt, Step, now};
use crate::decoy::session::SessionError;

/// Where a dialogue in SMB1 stands.
pub(super) struct State {
    /// Logins are by tokens.
    extended: bool,
    /// The challenge, where they are not.
    challenge: [u8; 8],
    logins: Logins,
}

impl Dialogue<'_> {
    /// The first message: dialects of SMB1, maybe with those of SMB2 among them.
    pub(super) async fn negotiate_first(&mut self, message: &[u8]) -> Result<Next, SessionError> {
        let Some(header) = Header::read(message).filter(|header| header.command == v1::NEGOTIATE) else {
            return Ok(Next::Close);
        };
        let personality = self.personality();
        let look: &Look = personality.look();
        let offered = v1::dialects(message);
        self.note_dialects(offered.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
        if look.speaks_beyond_202() && offered.contains(&&b"SMB 2.???"[..]) {
            return self.turn_second(look, v2::ANY).await;
        }
        if look.best(&[Dialect::V202.number()]).is_some() && offered.contains(&&b"SMB 2.002"[..]) {
            return self.turn_second(look, Dialect::V202.number()).await;
        }
        self.introduce().await;
        self.settle_first(look, &header, &offered).await
    }

    async fn turn_second(&mut self, look: &Look, dialect: u16) -> Result<Next, SessionError> {
        let token = look.mechanisms.token();
        let offer = v2::Offer {
            guid: guid(look, &self.personality),
            now: now(),
            token: &token,
            netbios: self.netbios,
        };
        let answer = v2::Header::to_smb1().answer(status::SUCCESS, 1, &offer.to_smb1(look, dialect));
        self.state = if dialect == v2::ANY {
            super::State::Fresh {
                second: true,
                message: 1,
            }
        } else {
            super::State::Second(second::State::new(self.names.clone(), 0))
        };
        self.send(&answer).await?;
        Ok(Next::Message)
    }

    async fn settle_first(&mut self, look: &Look, header: &Header, offered: &[&[u8]]) -> Result<Next, SessionError> {
        if !look.speaks_smb1() && look.family == Family::Windows {
            self.session.abort();
            return Ok(Next::Close);
        }
        if offered.is_empty() {
            self.send(&header.answer(look.family, false, status::BAD_MESSAGE, &[], &[]))
                .await?;
            return Ok(Next::Message);
        }
        let known = |name: &[u8]| name == b"NT LM 0.12" || look.family == Family::Samba && name == b"NT LANMAN 1.0";
        let index = offered
            .iter()
            .position(|name| known(name))
            .filter(|_| look.speaks_smb1());
        let Some(index) = index else {
            self.send(&header.answer(look.family, false, status::SUCCESS, NO_DIALECT, &[]))
                .await?;
            return Ok(Next::Close);
        };
        self.offer_first(look, header, index as u16).await
    }

    async fn offer_first(&mut self, look: &Look, header: &Header, index: u16) -> Result<Next, SessionError> {
        let extended = header.is_extended();
        let challenge = rand::random();
        let token = look.mechanisms.token();
        let security = if extended {
            Security::Tokens(guid(look, &self.personality), &token)
        } else {
            Security::Challenge(challenge, self.workgroup(look), self.names.computer())
        };
        let process = rand::random_range(600..30_000);
        let offer = Offer {
            index,
            security,
            now: now(),
            process,
        };
        let (words, data) = offer.answer(look.family);
        self.state = super::State::First(State {
            extended,
            challenge,
            logins: Logins::new(self.names.clone()),
        });
        self.send(&header.answer(look.family, extended, status::SUCCESS, &words, &data))
            .await?;
        Ok(Next::Message)
    }

    /// What stands for the domain where SMB1 names one.
    fn workgroup<'b>(&'b self, look: &'b Look) -> &'b str {
        if look.ntlm.is_member() {
            self.names.target()
        } else {
            &look.ntlm.workgroup
        }
    }

    /// A message of SMB1 after the negotiation.
    pub(super) async fn first(&mut self, message: &[u8], at: u64) -> Result<Next, SessionError> {
        let personality = self.personality();
        let look: &Look = personality.look();
        let known = Header::read(message).filter(|header| header.command != v1::NEGOTIATE && v1::has_lengths(message));
        let Some(header) = known else {
            return Ok(Next::Close);
        };
        if !v1::is_whole(message) {
            return self.say_first(look, &header, status::BAD_MESSAGE).await;
        }
        match header.command {
            v1::SESSION_SETUP => self.login_first(look, header, message, at).await,
            v1::ECHO => self.echo_first(look, &header, message).await,
            v1::TREE_CONNECT => self.tree_first(look, &header, message, at).await,
            v1::LOGOFF => self.logoff_first(look, &header).await,
            command => match v1::refused(command, self.is_let_in(&header)) {
                Some(status) => self.say_first(look, &header, status).await,
                None => Ok(Next::Message),
            },
        }
    }

    async fn logoff_first(&mut self, look: &Look, header: &Header) -> Result<Next, SessionError> {
        /// No command is chained.
        const ALONE: &[u8] = b"\xff\0\0\0";
        if !self.is_let_in(header) {
            return self.say_first(look, header, status::BAD_UID).await;
        }
        if let super::State::First(state) = &mut self.state {
            state.logins.take(header.user.into());
        }
        self.send(&header.answer(look.family, self.is_extended(), status::SUCCESS, ALONE, &[]))
            .await?;
        Ok(Next::Message)
    }

    fn is_let_in(&self, header: &Header) -> bool {
        let super::State::First(state) = &self.state else {
            return false;
        };
        state.logins.standing(header.user.into()) == Some(Standing::LetIn)
    }

    fn is_extended(&self) -> bool {
        matches!(&self.state, super::State::First(State { extended: true, .. }))
    }

    async fn say_first(&mut self, look: &Look, header: &Header, status: u32) -> Result<Next, SessionError> {
        self.send(&header.answer(look.family, self.is_extended(), status, &[], &[]))
            .await?;
        Ok(Next::Message)
    }

    async fn echo_first(&mut self, look: &Look, header: &Header, message: &[u8]) -> Result<Next, SessionError> {
        /// More is a way to have us talk.
        const ECHOES_MAX: u16 = 10;
        let Some((count, data)) = v1::echo(message) else {
            return self.say_first(look, header, status::BAD_MESSAGE).await;
        };
        for number in 1..=count.min(ECHOES_MAX) {
            let answer = header.answer(
                look.family,
                self.is_extended(),
                status::SUCCESS,
                &number.to_le_bytes(),
                data,
            );
            self.send(&answer).await?;
        }
        Ok(Next::Message)
    }

    async fn tree_first(
        &mut self,
        look: &Look,
        header: &Header,
        message: &[u8],
        at: u64,
    ) -> Result<Next, SessionError> {
        let path = self.asked_first(message, v1::HEADER, at).await;
        let status = match (path, self.is_let_in(header)) {
            (Some(path), true) => super::refused_tree(look, &path),
            (None, true) => status::INVALID_PARAMETER,
            (Some(_), false) => status::BAD_UID,
            (None, false) => status::BAD_MESSAGE,
        };
        self.say_first(look, header, status).await
    }

    /// Reports the share that a TREE_CONNECT asks for, whose words' count stands at `place`; gives its path.
    async fn asked_first(&mut self, message: &[u8], place: usize, at: u64) -> Option<String> {
        if let Some(password) = v1::share_password(message, place) {
            self.session
                .mark_secret(at + password.start as u64..at + password.end as u64);
        }
        let path = v1::path(message, place, Header::read(message)?.is_unicode())?;
        self.ask(&path).await;
        Some(path)
    }

    async fn login_first(
        &mut self,
        look: &Look,
        header: Header,
        message: &[u8],
        at: u64,
    ) -> Result<Next, SessionError> {
        let Some(setup) = SessionSetup::read(message, header.is_unicode()) else {
            let status = v1::broken_login(message);
            return self.say_first(look, &header, status).await;
        };
        self.note_system(&setup.system);
        let answer = match &setup.login {
            v1::Login::Token(range) => {
                let token = message.get(range.clone()).unwrap_or_default();
                self.token_first(look, header, token, at + range.start as u64).await?
            }
            v1::Login::Answers { .. } => self.answers_first(look, header, message, at, &setup).await?,
        };
        if let Some((v1::TREE_CONNECT, place)) = setup.chained {
            self.asked_first(message, place, at).await;
        }
        self.send(&answer).await?;
        Ok(Next::Message)
    }

    /// A login by tokens; what is answered.
    async fn token_first(
        &mut self,
        look: &Look,
        mut header: Header,
        token: &[u8],
        at: u64,
    ) -> Result<Vec<u8>, SessionError> {
        let super::State::First(state) = &mut self.state else {
            return Ok(Vec::new());
        };
        let mut login = match state.login(header.user) {
            Ok(login) => login,
            Err(status) => return Ok(self.refusal_first(look, &header, status)),
        };
        match login.acceptor.step(token) {
            Step::Continue(reply) => {
                login.standing = Standing::Begun;
                header.user = state.logins.keep(login, draw(look.family)) as u16;
                let (words, data) = v1::session(look, Some(&reply), header.is_unicode());
                Ok(header.answer(look.family, true, status::MORE_PROCESSING_REQUIRED, &words, &data))
            }
            Step::Attempt(attempt) => {
                let verdict = self.judge(look, &attempt, at).await?;
                Ok(self.ended_first(look, header, login, verdict))
            }
            Step::Invalid => Ok(self.refusal_first(look, &header, status::INVALID_PARAMETER)),
        }
    }

    fn refusal_first(&self, look: &Look, header: &Header, status: u32) -> Vec<u8> {
        header.answer(look.family, self.is_extended(), status, &[], &[])
    }

    fn ended_first(&mut self, look: &Look, mut header: Header, mut login: Login, verdict: Verdict) -> Vec<u8> {
        let extended = self.is_extended();
        let super::State::First(state) = &mut self.state else {
            return Vec::new();
        };
        match verdict {
            Verdict::LetIn => {
                let token = extended.then(|| login.acceptor.farewell());
                login.standing = Standing::LetIn;
                header.user = state.logins.keep(login, draw(look.family)) as u16;
                let (words, data) = v1::session(look, token.as_deref(), header.is_unicode());
                header.answer(look.family, extended, status::SUCCESS, &words, &data)
            }
            Verdict::Refused(status) => self.refusal_first(look, &header, status),
        }
    }

    fn note_system(&mut self, system: &str) {
        if !system.is_empty() {
            self.system = text::clean(system.as_bytes());
        }
    }

    /// A login by answers to the challenge, or by passwords in clear; what is answered.
    async fn answers_first(
        &mut self,
        look: &Look,
        header: Header,
        message: &[u8],
        at: u64,
        setup: &SessionSetup,
    ) -> Result<Vec<u8>, SessionError> {
        let (super::State::First(state), v1::Login::Answers { lm, nt, user, domain }) = (&self.state, &setup.login)
        else {
            return Ok(Vec::new());
        };
        let challenge = state.challenge;
        let login = state.logins.begin();
        for secret in [lm, nt].into_iter().filter(|secret| secret.len() > 1) {
            self.session
                .mark_secret(at + secret.start as u64..at + secret.end as u64);
        }
        let [lm, nt] = [lm, nt].map(|range| message.get(range.clone()).unwrap_or_default());
        let attempt = Attempt::bare(user.clone(), domain.clone(), lm, nt, challenge, self.names.target());
        let verdict = match clear_password(lm, nt) {
            Some(password) => self.judge_clear(look, &attempt, &password).await?,
            None => self.judge(look, &attempt, at).await?,
        };
        if setup.is_old {
            return Ok(self.refusal_first(look, &header, status::NO_ACCESS));
        }
        Ok(match login {
            Some(login) => self.ended_first(look, header, login, verdict),
            None => self.refusal_first(look, &header, status::INSUFFICIENT_RESOURCES),
        })
    }

    /// Reports a login by a password in clear.
    async fn judge_clear(&mut self, look: &Look, attempt: &Attempt, password: &[u8]) -> Result<Verdict, SessionError> {
        self.judged += 1;
        let facts = [attempt.facts(), self.system_facts()].concat();
        self.session
            .credential("password", attempt.user(), password, facts)
            .await;
        self.refuse_login(look, attempt).await
    }
}

impl State {
    /// The login that a SESSION_SETUP begins or goes on with.
    fn login(&mut self, user: u16) -> Result<Login, u32> {
        match user {
            0 => self.logins.begin().ok_or(status::INSUFFICIENT_RESOURCES),
            known => self.logins.take(known.into()).ok_or(status::BAD_UID),
        }
    }
}

/// The password that stands where answers to a challenge are expected, if there is one.
fn clear_password(lm: &[u8], nt: &[u8]) -> Option<Vec<u8>> {
    let clear = lm.len() != 24 && nt.len() < 24 && lm.len().max(nt.len()) > 1;
    let mut password = match lm.len() {
        0 => ntlm::decode(nt, true).into_bytes(),
        _ => lm.to_vec(),
    };
    while password.last() == Some(&0) {
        password.pop();
    }
    clear.then_some(password)
}

/// How numbers of logins are drawn: Samba's by chance, those of Windows are a place in its table below a count of how
/// often it was given away.
fn draw(family: Family) -> impl Fn(u64, u64) -> u64 {
    move |begun, open| match family {
        Family::Samba => rand::random_range(1..0xfffe),
        Family::Windows => (begun.saturating_sub(open) % 31 + 1) << 11 | open & 0x7ff,
    }
}
