//! RDP itself: who the client is, and who logs on, in TLS or in RDP's own encryption (MS-RDPBCGR 1.3.1.1).

use std::borrow::Cow;
use std::sync::Arc;

use trapline_schemas::{Field, Value};

use super::gcc::{self, Client};
use super::info::Info;
use super::key::{Key, Pending};
use super::look::Family;
use super::security::{Cipher, RANDOM, SIGNATURE};
use super::{Dialogue, Piece, Stop, frame, key, licence, mcs, share};
use crate::decoy::services::ntlm::u16_at;

/// Flags of a security header (MS-RDPBCGR 2.2.8.1.1.2.1): the client's random, encryption, the info packet, licensing.
const EXCHANGE: u16 = 0x01;
const ENCRYPTED: u16 = 0x08;
const INFO: u16 = 0x40;
const LICENCE: u16 = 0x80;

/// Most keys of a client that are worked out: each costs a processor a while. A client draws one; xrdp takes fifty.
const EXCHANGES_MAX: u32 = 4;

/// Bytes of a security header.
const SECURITY_HEAD: usize = 4;

/// RDP's own encryption: what was drawn, and what came of it.
pub(super) struct Security {
    key: Arc<Key>,
    method: u32,
    random: [u8; RANDOM],
    /// How often the client drew a key.
    exchanges: u32,
    cipher: Option<Cipher>,
}

/// A packet behind its security header, decrypted.
struct Packet<'p> {
    bytes: Cow<'p, [u8]>,
    /// Where it begins in the stream; encrypted, it is as long.
    at: u64,
    is_signed: bool,
}

/// Whether the server goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Message,
    Close,
}

impl Dialogue<'_> {
    /// Speaks RDP, up to where a picture would come.
    pub(super) async fn conference(&mut self) -> Result<(), Stop> {
        let piece = self.frame().await?;
        let Some(client) = Client::connect(&piece.bytes) else {
            return Err(self.broken(&piece));
        };
        self.tell(client.facts()).await;
        let security = match self.session.is_secure() {
            true => gcc::NO_ENCRYPTION.to_vec(),
            false => self.draw(&client).await?,
        };
        let data = gcc::server(self.look, &client, self.asked, &security);
        self.say(&mcs::connect_response(&data, self.look.family)).await?;
        self.expect(mcs::Request::ErectDomain).await?;
        self.expect(mcs::Request::AttachUser).await?;
        self.say(&mcs::attach_confirm(client.user())).await?;
        self.awaits_login = true;
        self.join(&client).await?;
        loop {
            let piece = self.frame().await?;
            let next = self.answer(&client, &piece).await;
            if !matches!(next, Ok(Next::Message)) {
                return next.map(drop);
            }
        }
    }

    /// Draws what RDP's own encryption needs; gives what the client is told of it.
    async fn draw(&mut self, client: &Client) -> Result<Vec<u8>, Stop> {
        let encryption = self.look.encryption;
        let method = encryption.method(client.methods).ok_or(Stop::Broken)?;
        let mut pending = self.session.provided::<Pending>().cloned().ok_or(Stop::Broken)?;
        let key = self.session.wait_for(pending.wait_for(Option::is_some)).await?;
        let key = key.ok().and_then(|key| key.clone()).ok_or(Stop::Broken)?;
        let random = rand::random();
        let told = encryption.block(method, &random, key.certificate());
        self.security = Some(Security {
            key,
            method,
            random,
            exchanges: 0,
            cipher: None,
        });
        Ok(told)
    }

    /// Lets the client join its channels: over TLS, xrdp wants all of them, and then no more.
    async fn join(&mut self, client: &Client) -> Result<(), Stop> {
        let count = if self.is_strict() {
            client.channel_count() + 2
        } else {
            0
        };
        for _ in 0..count {
            let piece = self.frame().await?;
            let Some(mcs::Request::Join { channel, .. }) = frame::data(&piece.bytes).and_then(mcs::request) else {
                return Err(self.broken(&piece));
            };
            self.say(&mcs::join_confirm(client.user(), channel)).await?;
        }
        Ok(())
    }

    fn is_strict(&self) -> bool {
        self.look.family == Family::Xrdp && self.session.is_secure()
    }

    /// Says something in a frame.
    async fn say(&mut self, content: &[u8]) -> Result<(), Stop> {
        Ok(self.session.send(&frame::wrap(content)).await?)
    }

    async fn expect(&mut self, wanted: mcs::Request) -> Result<(), Stop> {
        let piece = self.frame().await?;
        let request = frame::data(&piece.bytes).and_then(mcs::request);
        if request == Some(wanted) {
            Ok(())
        } else {
            Err(self.broken(&piece))
        }
    }

    async fn answer(&mut self, client: &Client, piece: &Piece) -> Result<Next, Stop> {
        let message = frame::data(&piece.bytes).unwrap_or_default();
        match mcs::request(message) {
            Some(mcs::Request::Join { user, channel }) if !self.is_strict() => {
                self.say(&mcs::join_confirm(user, channel)).await?;
                Ok(Next::Message)
            }
            Some(mcs::Request::Data(range)) => {
                let at = piece.at + (frame::HEAD + range.start) as u64;
                let data = message.get(range).unwrap_or_default();
                self.data(client, data, at).await
            }
            Some(mcs::Request::Disconnect) if self.look.family == Family::Windows => Ok(Next::Close),
            _ => Err(self.broken(piece)),
        }
    }

    /// Data of the client, which begin at `at` in the stream.
    async fn data(&mut self, client: &Client, data: &[u8], at: u64) -> Result<Next, Stop> {
        let Some((flags, packet)) = u16_at(data, 0).zip(data.get(SECURITY_HEAD..)) else {
            return Err(Stop::Broken);
        };
        if flags & EXCHANGE != 0 {
            return self.exchange(packet).await;
        }
        let packet = self.decrypt(flags, packet, at + SECURITY_HEAD as u64)?;
        if flags & INFO != 0 {
            return self.info(client, &packet).await;
        }
        if flags & LICENCE != 0 {
            self.send_data(client, licence::valid(self.look.family)).await?;
        }
        Err(Stop::Broken)
    }

    /// What a packet says, which begins at `at` in the stream. Below TLS nothing is encrypted twice, whatever it says.
    fn decrypt<'p>(&mut self, flags: u16, packet: &'p [u8], at: u64) -> Result<Packet<'p>, Stop> {
        let Some(security) = self.security.as_mut().filter(|_| flags & ENCRYPTED != 0) else {
            return Ok(Packet {
                bytes: packet.into(),
                at,
                is_signed: true,
            });
        };
        let read = security.cipher.as_mut().and_then(|cipher| cipher.read(packet));
        let (bytes, is_signed) = read.ok_or(Stop::Broken)?;
        Ok(Packet {
            bytes: bytes.into(),
            at: at + SIGNATURE as u64,
            is_signed,
        })
    }

    /// The client's random, under the server's key. Beyond the bound it is taken and not read: what is encrypted with it
    /// cannot be read either.
    async fn exchange(&mut self, packet: &[u8]) -> Result<Next, Stop> {
        let security = self.security.as_mut().ok_or(Stop::Broken)?;
        let encrypted = key::encrypted(packet).ok_or(Stop::Broken)?;
        security.cipher = None;
        security.exchanges = security.exchanges.saturating_add(1);
        if security.exchanges > EXCHANGES_MAX {
            return Ok(Next::Message);
        }
        let opened = Arc::clone(&security.key).open(encrypted.to_vec());
        let random = self.session.wait_for(opened).await?.ok_or(Stop::Broken)?;
        security.cipher = Some(Cipher::new(security.method, &random, &security.random));
        Ok(Next::Message)
    }

    async fn info(&mut self, client: &Client, packet: &Packet<'_>) -> Result<Next, Stop> {
        let Some(info) = Info::read(&packet.bytes) else {
            self.session.hide(packet.at..packet.at + packet.bytes.len() as u64);
            return Err(Stop::Broken);
        };
        for range in &info.secrets {
            self.session.mark_secret(frame::placed(range, packet.at));
        }
        self.report(&info).await;
        if !info.is_welcome(self.look.family, packet.is_signed) {
            return Err(Stop::Broken);
        }
        match self.look.family {
            Family::Xrdp => {
                self.send_data(client, licence::request()).await?;
                Ok(Next::Message)
            }
            Family::Windows => {
                self.send_data(client, licence::valid(Family::Windows)).await?;
                if client.wants_reasons() && self.session.is_secure() {
                    self.send_data(client, &share::refusal()).await?;
                }
                self.say(mcs::DISCONNECT).await?;
                Ok(Next::Close)
            }
        }
    }

    async fn report(&mut self, info: &Info) {
        let mut facts = info.facts();
        if info.is_attempt() {
            let (user, password) = (info.user.as_bytes(), info.password.as_bytes());
            self.session.credential("password", user, password, facts).await;
        } else {
            if !info.user.is_empty() {
                facts.push((Field::UserName, self.session.user(info.user.as_bytes())));
            }
            self.tell(facts).await;
        }
    }

    /// Tells more of the client: a hello of TLS has introduced it already, or more is to come.
    async fn tell(&mut self, facts: Vec<(Field, Value)>) {
        match self.session.is_secure() {
            true => self.session.handshake(facts).await,
            false => self.session.introduce(facts),
        }
    }

    async fn send_data(&mut self, client: &Client, data: &[u8]) -> Result<(), Stop> {
        // A Windows speaks as itself, xrdp as its client.
        let sender = match self.look.family {
            Family::Windows => 1,
            Family::Xrdp => client.user(),
        };
        self.say(&mcs::data(sender, data)).await
    }
}
