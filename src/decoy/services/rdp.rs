//! `rdp`: a remote desktop, at whose door everybody stops.
//!
//! In: a connection request, then what it agreed on. Out: as a handshake, who the client says it is: cookie, layers,
//! name, build, keyboard, channels; a login as CredSSP's NTLM, or in the clear words of the info packet. Windows refuses
//! in CredSSP; where there is none, the door closes behind the licence, before there is a picture: no desktop is drawn.
//!
//! xrdp 0.9.21.1 of Debian 12 was asked all that the tests ask. There is no Windows here: MS-RDPBCGR, MS-CSSP and
//! public captures say how it answers; what its personalities guess is named there.

mod conference;
mod credssp;
mod frame;
mod gcc;
mod info;
mod key;
mod licence;
mod look;
mod mcs;
mod negotiation;
mod rdstls;
mod security;
mod share;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use trapline_schemas::{Field, text};

use self::conference::Security;
use self::frame::Frame;
use self::look::{Family, Look};
use self::negotiation::{Answer, Layer};
use crate::decoy::personality::{self, Install};
use crate::decoy::services::ntlm::{self, Acceptor, Attempt, Names, Step};
use crate::decoy::services::{Service, Speak, lines};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "rdp",
    personality: "xrdp-debian-12",
    look: personality::look::<Look>,
    provide: Some(key::provide),
    speak: Speak::Stream(serve),
};

/// What OpenSSL says to a hello that ends before it has begun: an alert, `decode_error`.
const TRUNCATED: &[u8] = b"\x15\x03\x03\0\x02\x02\x32";

/// First byte of a TLS record that a hello is in.
const TLS_HANDSHAKE: u8 = 0x16;

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    // A silent session holds nothing of what a dialogue needs.
    let outcome = match session.fill().await {
        Ok(_) => Box::pin(Dialogue::new(session, look, &personality.install).run()).await,
        Err(error) => Err(error.into()),
    };
    part(session, look.family, outcome).await
}

/// Why a dialogue ends before its time.
#[derive(Debug)]
enum Stop {
    /// The peer does not speak as it must.
    Broken,
    /// It does not speak TLS as it must.
    Tls(SessionError),
    /// The session itself is over.
    Session(SessionError),
}

impl From<SessionError> for Stop {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

/// Ends as the product does, whatever it ends with.
async fn part(session: &mut Session, family: Family, outcome: Result<(), Stop>) -> Result<(), SessionError> {
    let Err(stop) = outcome else {
        return Ok(());
    };
    // A login of another protocol.
    if lines::names_a_secret(session.input()) {
        session.hide_input();
    }
    // What a server has not read makes its kernel reset; TLS says that it ends before.
    if matches!(&stop, Stop::Broken) && !session.input().is_empty() && !session.is_secure() {
        session.abort();
    }
    match (family, &stop) {
        (Family::Windows, Stop::Broken) => session.abort(),
        (Family::Xrdp, Stop::Tls(SessionError::Closed)) => {
            session
                .send(&[TRUNCATED, &frame::wrap(mcs::DISCONNECT)].concat())
                .await?;
        }
        (Family::Xrdp, Stop::Broken | Stop::Tls(SessionError::Tls(_))) => {
            session.send(&frame::wrap(mcs::DISCONNECT)).await?;
        }
        _ => {}
    }
    match stop {
        Stop::Broken => Ok(()),
        Stop::Tls(error) | Stop::Session(error) => Err(error),
    }
}

/// A dialogue with one client.
struct Dialogue<'a> {
    session: &'a mut Session,
    look: &'a Look,
    install: &'a Install,
    /// The layers that the client asked for.
    asked: Option<u32>,
    /// A login is what comes next: whatever cannot be read may be part of one.
    awaits_login: bool,
    /// RDP's own encryption, where there is no TLS.
    security: Option<Security>,
}

/// Part of the stream: bytes, and where they begin.
struct Piece {
    bytes: Vec<u8>,
    at: u64,
}

impl<'a> Dialogue<'a> {
    const fn new(session: &'a mut Session, look: &'a Look, install: &'a Install) -> Self {
        Self {
            session,
            look,
            install,
            asked: None,
            awaits_login: false,
            security: None,
        }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        // A Windows lets clients begin with CredSSP at once (MS-RDPBCGR 5.4.2.2).
        if self.look.has(Layer::Credssp) && self.session.input().first() == Some(&TLS_HANDSHAKE) {
            return self.speak(Layer::Credssp).await;
        }
        let piece = self.frame().await?;
        let Some(request) = frame::Request::read(&piece.bytes, self.look.family) else {
            return Err(self.broken(&piece));
        };
        let mut facts = request.facts();
        if !request.cookie().is_empty() {
            facts.push((Field::UserName, self.session.user(request.cookie())));
        }
        self.session.introduce(facts);
        self.asked = request.asked;
        match negotiation::answer(self.look, self.asked) {
            Answer::Agreed(said, layer) => {
                self.session.send(&said).await?;
                self.speak(layer).await
            }
            Answer::Refused(said) => {
                self.session.send(&said).await?;
                let is_over = self.look.family == Family::Windows && !said.is_empty();
                if is_over { Ok(()) } else { Err(Stop::Broken) }
            }
        }
    }

    /// Takes the next frame.
    async fn frame(&mut self) -> Result<Piece, Stop> {
        loop {
            match frame::next(self.session.input(), self.look.family) {
                Frame::More => self.fill().await?,
                Frame::Whole(length) => return Ok(self.take(length)),
                Frame::Broken(read) => {
                    if self.awaits_login {
                        self.session.hide_input();
                    }
                    self.session.consume(read);
                    return Err(Stop::Broken);
                }
            }
        }
    }

    /// Waits for more; what was to be part of a login is hidden, should there be no more.
    async fn fill(&mut self) -> Result<(), Stop> {
        let filled = self.session.fill().await;
        if filled.is_err() && self.awaits_login {
            self.session.hide_input();
        }
        Ok(filled.map(drop)?)
    }

    fn take(&mut self, length: usize) -> Piece {
        let bytes = self.session.input().get(..length).unwrap_or_default().to_vec();
        let at = self.session.consume(length).start;
        Piece { bytes, at }
    }

    /// Gives up on a peer for this.
    fn broken(&mut self, piece: &Piece) -> Stop {
        if self.awaits_login || lines::names_a_secret(&piece.bytes) {
            self.session.hide(piece.at..piece.at + piece.bytes.len() as u64);
        }
        Stop::Broken
    }

    async fn speak(&mut self, layer: Layer) -> Result<(), Stop> {
        if layer != Layer::Rdp {
            self.session.start_tls().await.map_err(Stop::Tls)?;
        }
        match layer {
            Layer::Rdp | Layer::Tls => self.conference().await,
            Layer::Credssp | Layer::CredsspEarly => self.log_on().await,
            Layer::Rdstls => self.show_login().await,
        }
    }
}

/// RDSTLS.
impl Dialogue<'_> {
    async fn show_login(&mut self) -> Result<(), Stop> {
        self.awaits_login = true;
        self.session.send(rdstls::CAPABILITIES).await?;
        loop {
            match rdstls::next(self.session.input()) {
                rdstls::Front::More => self.fill().await?,
                rdstls::Front::Whole(login, length) => {
                    let piece = self.take(length);
                    return self.refuse_shown(&login, &piece).await;
                }
                rdstls::Front::Broken => {
                    self.session.hide_input();
                    return Err(Stop::Broken);
                }
            }
        }
    }

    async fn refuse_shown(&mut self, login: &rdstls::Login, piece: &Piece) -> Result<(), Stop> {
        self.session.mark_secret(frame::placed(&login.secret, piece.at));
        let secret = piece.bytes.get(login.secret.clone()).unwrap_or_default();
        let domain = Some(&login.domain).filter(|domain| !domain.is_empty());
        let facts = domain.map(|domain| (Field::UserDomain, text::clean(domain.as_bytes()).into()));
        let facts = facts.into_iter().collect();
        self.session
            .credential("token", login.user.as_bytes(), secret, facts)
            .await;
        let delay = Duration::from_millis(self.look.failed_delay_ms);
        self.session.pause(delay).await?;
        Ok(self.session.send(rdstls::LOGON_FAILURE).await?)
    }
}

/// CredSSP.
impl Dialogue<'_> {
    async fn log_on(&mut self) -> Result<(), Stop> {
        let ntlm = self.look.credssp.as_ref().ok_or(Stop::Broken)?;
        let mut acceptor = Acceptor::new(Names::new(ntlm, self.install));
        self.awaits_login = true;
        loop {
            let piece = self.request().await?;
            let Some(request) = credssp::Request::read(&piece.bytes) else {
                return Err(self.broken(&piece));
            };
            let token_at = piece.at + request.token.start as u64;
            match acceptor.step(piece.bytes.get(request.token.clone()).unwrap_or_default()) {
                Step::Continue(reply) => self.session.send(&credssp::carry(&reply)).await?,
                Step::Attempt(attempt) => return self.refuse(&request, &attempt, token_at).await,
                Step::Invalid => {
                    self.broken(&piece);
                    return self.fail(&request, credssp::INVALID_TOKEN).await;
                }
            }
        }
    }

    /// Takes the next TSRequest.
    async fn request(&mut self) -> Result<Piece, Stop> {
        loop {
            match credssp::next(self.session.input()) {
                credssp::Front::More => self.fill().await?,
                credssp::Front::Whole(length) => return Ok(self.take(length)),
                credssp::Front::Broken => {
                    self.session.hide_input();
                    return Err(Stop::Broken);
                }
            }
        }
    }

    async fn refuse(&mut self, request: &credssp::Request, attempt: &Attempt, token_at: u64) -> Result<(), Stop> {
        if !attempt.is_anonymous() {
            let version = vec![(Field::RdpCredsspVersion, request.version.into())];
            ntlm::report(self.session, attempt, token_at, version).await;
        }
        let delay = Duration::from_millis(self.look.failed_delay_ms);
        self.session.pause(delay).await?;
        self.fail(request, credssp::LOGON_FAILURE).await
    }

    async fn fail(&mut self, request: &credssp::Request, status: u32) -> Result<(), Stop> {
        if request.hears_of_errors() {
            self.session.send(&credssp::failure(status)).await?;
        }
        Ok(())
    }
}
