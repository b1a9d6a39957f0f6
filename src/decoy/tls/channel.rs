//! One TLS connection after its hello: ciphertext in, plaintext and ciphertext out. No I/O.
//!
//! Invariants: 1. ciphertext is held only until its record is whole, and what is held counts in the shared memory.
//! 2. after [`Channel::end`] says so, nothing more is decrypted. 3. what is to be sent is given out once.

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, ServerConfig};

use trapline_schemas::{Field, Value, text};

use super::fingerprint;
use crate::decoy::crowd::Hold;

/// What a connection is counted with besides the ciphertext that it holds, bytes: an estimate of its keys and state.
const STATE_BYTES: usize = 6 << 10;

/// The right to send.
type Traffic<'c> = WriteTraffic<'c, ServerConnectionData>;

/// Why no more plaintext comes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The peer said that it has nothing more to say.
    Closed,
    /// The peer's bytes are no TLS, or not what this handshake needs.
    Failed(Error),
    /// There is no memory left for its ciphertext.
    Memory,
}

impl End {
    /// Whether it is one that TLS provides for: the peer closed, or said by an alert what it does not like of us.
    pub(crate) fn is_in_order(&self) -> bool {
        matches!(self, Self::Closed | Self::Failed(Error::AlertReceived(_)))
    }
}

/// One TLS connection, the server's side.
pub(crate) struct Channel {
    connection: UnbufferedServerConnection,
    /// Ciphertext of records that are not whole yet.
    waiting: Vec<u8>,
    /// What the peer is still to be sent.
    outgoing: Vec<u8>,
    received: u64,
    end: Option<End>,
    hold: Hold,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({} bytes)", self.received)
    }
}

impl Channel {
    /// A connection of which nothing is known yet. `None`: there is no memory for it.
    /// `before`: bytes that came over the wire before its own.
    pub(crate) fn new(config: Arc<ServerConfig>, before: u64, mut hold: Hold) -> Option<Self> {
        let connection = UnbufferedServerConnection::new(config).ok()?;
        hold.grow(STATE_BYTES).then_some(Self {
            connection,
            waiting: Vec::new(),
            outgoing: Vec::new(),
            received: before,
            end: None,
            hold,
        })
    }

    /// Takes ciphertext; gives the plaintext of all records that are whole with it.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.received += bytes.len() as u64;
        let mut plain = Vec::new();
        if self.end.is_some() {
            return plain;
        }
        if !self.hold.grow(bytes.len()) {
            self.end = Some(End::Memory);
            return plain;
        }
        self.waiting.extend_from_slice(bytes);
        while self.step(&mut plain) {}
        if self.end.is_some() || self.waiting.is_empty() {
            self.hold.shrink(self.waiting.len());
            self.waiting = Vec::new();
        }
        plain
    }

    /// Whether the handshake is not over yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Why nothing more will come, if so. What was decrypted before is still good.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What both sides agreed on: cipher suite and protocol.
    pub(crate) fn agreed(&self) -> Vec<(Field, Value)> {
        let suite = self.connection.negotiated_cipher_suite();
        let suite = suite.map(|suite| (Field::TlsCipher, fingerprint::cipher_name(suite.suite().into()).into()));
        let protocol = self.connection.alpn_protocol();
        let protocol = protocol.map(|protocol| (Field::TlsNextProtocol, text::clean(protocol).into()));
        suite.into_iter().chain(protocol).collect()
    }

    /// Bytes that came over the wire, those before it too.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// What the peer is to be sent now, besides what a service says.
    pub(crate) fn outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether there is something to send that no service said, or an end to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.outgoing.is_empty() || self.end.is_some()
    }

    /// The records that say `plain`, behind what is to be sent before them.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.write(|traffic, room| traffic.encrypt(plain, room))
    }

    /// The record that says that nothing more comes from us, behind what is to be sent before it.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        self.write(|traffic, room| traffic.queue_close_notify(room))
    }

    fn write(&mut self, write: impl Fn(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>) -> Vec<u8> {
        let mut out = self.outgoing();
        // All that is whole was decrypted, so nothing comes before the wish to write and nothing is discarded.
        let status = self.connection.process_tls_records(&mut self.waiting);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state
            && let Err(EncryptError::InsufficientSize(short)) = write(&mut traffic, &mut [])
        {
            let at = out.len();
            out.resize(at + short.required_size, 0);
            let room = out.get_mut(at..).unwrap_or_default();
            let written = write(&mut traffic, room).unwrap_or(0);
            out.truncate(at + written);
        }
        out
    }

    /// One step of the connection; `false`: it waits for the peer, or is over.
    fn step(&mut self, plain: &mut Vec<u8>) -> bool {
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.waiting);
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    plain.extend_from_slice(record.payload);
                }
                true
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut self.outgoing);
                true
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                true
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                self.end.get_or_insert(End::Closed);
                false
            }
            // Early data is not accepted, so there is none to read.
            Ok(_) => false,
            // Once more, for the alert that tells the peer.
            Err(error) => self.end.replace(End::Failed(error)).is_none(),
        };
        let discard = discard.min(self.waiting.len());
        self.waiting.drain(..discard);
        self.hold.shrink(discard);
        goes_on
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let at = out.len();
    if let Err(EncodeError::InsufficientSize(short)) = data.encode(&mut []) {
        out.resize(at + short.required_size, 0);
        let room = out.get_mut(at..).unwrap_or_default();
        let _ = data.encode(room);
    }
}
