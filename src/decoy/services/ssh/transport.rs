//! Messages in both directions, whatever protects them.
//!
//! In: the session's bytes. Out: messages in order; what is sent goes out as one write before the next message is
//! waited for, as sshd does it.
//!
//! What a real server does to a peer that breaks the protocol is one value: [`End::Closed`].

use super::cipher::{Channel, Framed, Keys, Suite};
use super::wire::Writer;
use crate::decoy::session::{Session, SessionError};

/// `SSH_MSG_DISCONNECT`.
pub(super) const DISCONNECT: u8 = 1;

/// `SSH_MSG_UNIMPLEMENTED`.
const UNIMPLEMENTED: u8 = 3;

/// `SSH_MSG_NEWKEYS`.
pub(super) const NEWKEYS: u8 = 21;

/// `SSH_DISCONNECT_PROTOCOL_ERROR`: the one reason that sshd gives.
const PROTOCOL_ERROR: u32 = 2;

/// Longest text of a DISCONNECT, bytes.
const TEXT_MAX: usize = 1023;

/// Why nothing more is said.
#[derive(Debug)]
pub(super) enum End {
    /// The server has read what came, and closes.
    Closed,
    /// The session ended.
    Session(SessionError),
}

impl From<SessionError> for End {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

/// A message.
pub(super) struct Message {
    /// Its number.
    pub(super) number: u8,
    /// All of it, the number first.
    pub(super) payload: Vec<u8>,
    /// Which packet of its direction it was.
    pub(super) sequence: u32,
}

impl Message {
    /// What stands behind the number.
    pub(super) fn body(&self) -> &[u8] {
        self.payload.get(1..).unwrap_or_default()
    }
}

/// Both directions of a session.
pub(super) struct Transport<'a> {
    /// The session.
    pub(super) session: &'a mut Session,
    receive: Channel,
    send: Channel,
    outgoing: Vec<u8>,
}

impl<'a> Transport<'a> {
    /// After both identifications.
    pub(super) fn new(session: &'a mut Session) -> Self {
        Self {
            session,
            receive: Channel::plain(),
            send: Channel::plain(),
            outgoing: Vec::new(),
        }
    }

    /// Puts a message in line; it goes out with the next wait.
    pub(super) fn put(&mut self, payload: &[u8]) {
        let packet = self.send.seal(payload);
        self.outgoing.extend_from_slice(&packet);
    }

    /// Sends what is in line.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        let outgoing = std::mem::take(&mut self.outgoing);
        Ok(self.session.send(&outgoing).await?)
    }

    /// Waits for a message. Errors: one that cannot be, which ends the session as a real server ends it.
    pub(super) async fn next(&mut self) -> Result<Message, End> {
        self.flush().await?;
        let sequence = self.receive.number;
        let payload = loop {
            match self.receive.open(self.session.input()) {
                Framed::Packet { payload, end } => {
                    self.session.consume(end);
                    break payload;
                }
                Framed::More => self.session.fill().await?,
                Framed::Corrupt => return Err(End::Closed),
                Framed::ShortPadding(padding) => {
                    let text = format!("Corrupted padlen {padding} on input.");
                    return Err(self.refuse(text.as_bytes()).await);
                }
            };
        };
        match payload.first().copied() {
            Some(number @ 1..192) => Ok(Message {
                number,
                payload,
                sequence,
            }),
            Some(number) => {
                let text = format!("Invalid ssh2 packet type: {number}");
                Err(self.refuse(text.as_bytes()).await)
            }
            None => Err(End::Closed),
        }
    }

    /// Deals with a message that is not for now, before there are keys. Errors: the server gives up.
    pub(super) fn strange(&mut self, message: &Message) -> Result<(), End> {
        match message.number {
            // Ignore, unimplemented, debug.
            2..=4 => {}
            5..=49 => self.unimplemented(message),
            _ => return Err(End::Closed),
        }
        Ok(())
    }

    /// Says that a message means nothing here.
    pub(super) fn unimplemented(&mut self, message: &Message) {
        let answer = Writer::message(UNIMPLEMENTED).u32(message.sequence).done();
        self.put(&answer);
    }

    /// Says why the server gives up, and gives up.
    pub(super) async fn refuse(&mut self, text: &[u8]) -> End {
        let text = text.get(..TEXT_MAX).unwrap_or(text);
        // No language.
        let message = Writer::message(DISCONNECT).u32(PROTOCOL_ERROR).string(text).string(b"");
        self.put(&message.done());
        match self.flush().await {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    /// Sends NEWKEYS, and goes on with them. `restart`: packets are counted from 0 again.
    pub(super) fn send_with(&mut self, suite: Suite, keys: &Keys, restart: bool) -> Result<(), End> {
        self.put(&[NEWKEYS]);
        self.send.rekey(suite, keys, restart).ok_or(End::Closed)
    }

    /// Goes on receiving with new keys. What comes from now on is ciphertext, which is worth nothing: it is not kept.
    pub(super) fn receive_with(&mut self, suite: Suite, keys: &Keys, restart: bool) -> Result<(), End> {
        self.session.keep_no_more();
        self.receive.rekey(suite, keys, restart).ok_or(End::Closed)
    }
}
