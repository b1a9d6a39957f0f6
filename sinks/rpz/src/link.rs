//! A connection to the primary server: TCP, each message signed and each answer verified.
//!
//! In: update groups, or the wish to see the zone. Out: done, the zone's records, its serial, or why not. One connection
//! serves one call; it is not kept, since calls are rare.
//!
//! Invariants: 1. nothing is sent unsigned, and nothing is believed unsigned. 2. Every wait has an end. 3. A message is
//! read into at most 64 KiB, whatever the peer says its length is.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::{Message, MessageBuilder};
use domain::rdata::Soa;
use domain::rdata::tsig::Time48;
use domain::tsig::{ClientSequence, ClientTransaction, Key};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trapline_sink::dial::Dialer;
use trapline_sink::{Fault, FaultKind};

use crate::answer::{Asked, Place, Refusal, fault, judge};
use crate::ledger::{Ledger, Walk};
use crate::mark::Observer;
use crate::records::Records;
use crate::update::{self, Group};
use crate::zone::Zone;

/// Longest time that a whole zone may take.
const WALK_DEADLINE: Duration = Duration::from_secs(300);

/// The primary server of a zone.
#[derive(Debug)]
pub struct Primary {
    /// Opens connections.
    pub dialer: Dialer,
    /// Signs and verifies.
    pub key: Key,
    /// The policy zone.
    pub zone: Zone,
    /// For messages.
    pub place: Place,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

impl Primary {
    /// Connects. Time: at most [`trapline_sink::dial::CONNECT_DEADLINE`].
    pub async fn connect(&self) -> Result<Link<'_>, Fault> {
        let stream = self.dialer.connect_in_clear().await?;
        Ok(Link { primary: self, stream })
    }

    fn broken(&self, what: &str) -> Fault {
        fault(FaultKind::Unreachable, &self.place, what)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Link<'p> {
    primary: &'p Primary,
    stream: TcpStream,
}

impl Link<'_> {
    /// The address that the server was reached at.
    pub fn peer(&self) -> Option<IpAddr> {
        self.stream.peer_addr().ok().map(|address| address.ip())
    }

    /// Makes the changes of these groups, all or none. Time: at most twice the timeout.
    pub async fn update(&mut self, groups: &[Group]) -> Result<(), Refusal> {
        let message = update::message(&self.primary.zone, groups).map_err(|_| self.too_long())?;
        self.exchange(message, Asked::Update).await.map(|_| ())
    }

    /// The zone's serial. Time: at most twice the timeout.
    pub async fn serial(&mut self) -> Result<u32, Refusal> {
        let mut question = MessageBuilder::new_vec().question();
        let pushed = question.push((self.primary.zone.apex(), Rtype::SOA, Class::IN));
        pushed.map_err(|_| self.too_long())?;
        let answer = self.exchange(question.additional(), Asked::Query).await?;
        let records = answer.answer().ok().map(|section| section.limit_to::<Soa<_>>());
        let soa = records.into_iter().flatten().find_map(Result::ok);
        let nothing = || {
            fault(
                FaultKind::Config,
                &self.primary.place,
                "has no soa for the zone: look at `zone`",
            )
        };
        Ok(soa.ok_or_else(nothing)?.data().serial().into_int())
    }

    /// Reads all of the zone, every signature verified. Time: at most five minutes, and the timeout for each message.
    pub async fn walk(&mut self, observer: &Observer, before: Option<&Ledger>) -> Result<(Ledger, u32), Refusal> {
        let late = || self.primary.broken("did not send the whole zone in 300 s");
        let late = late();
        timeout(WALK_DEADLINE, self.transfer(observer, before))
            .await
            .unwrap_or(Err(late.into()))
    }

    async fn transfer(&mut self, observer: &Observer, before: Option<&Ledger>) -> Result<(Ledger, u32), Refusal> {
        let mut question = MessageBuilder::new_vec().question();
        question.header_mut().set_id(rand::random());
        let pushed = question.push((self.primary.zone.apex(), Rtype::AXFR, Class::IN));
        pushed.map_err(|_| self.too_long())?;
        let mut message = question.additional();
        let key = self.primary.key.clone();
        let mut sequence = ClientSequence::request(key, &mut message, Time48::now()).map_err(|_| self.too_long())?;
        let id = message.header().id();
        self.send(message.as_slice()).await?;
        let (mut records, mut walk) = (Records::default(), Walk::new(observer));
        loop {
            let mut answer = self.receive(id).await?;
            let raw = answer.as_octets().clone();
            let verified = sequence.answer(&mut answer, Time48::now());
            judge(&raw, verified, Asked::Transfer, &self.primary.place)?;
            let taken = records.take(&answer, &self.primary.zone, &mut walk);
            if taken.map_err(|error| self.unreadable(&error.to_string()))? {
                break;
            }
        }
        judge(&GOOD_HEADER, sequence.done(), Asked::Transfer, &self.primary.place)?;
        Ok((walk.finish(before), records.serial.unwrap_or_default()))
    }

    /// Sends a message, signed, and gives the answer, verified.
    async fn exchange(
        &mut self,
        mut message: AdditionalBuilder<Vec<u8>>,
        asked: Asked,
    ) -> Result<Message<Vec<u8>>, Refusal> {
        message.header_mut().set_id(rand::random());
        let signed: Result<_, PushError> =
            ClientTransaction::request(self.primary.key.clone(), &mut message, Time48::now());
        let transaction = signed.map_err(|_| self.too_long())?;
        let id = message.header().id();
        self.send(message.as_slice()).await?;
        let mut answer = self.receive(id).await?;
        let raw = answer.as_octets().clone();
        let verified = transaction.answer(&mut answer, Time48::now());
        judge(&raw, verified, asked, &self.primary.place)?;
        Ok(answer)
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        let length = u16::try_from(message.len()).map_err(|_| self.too_long())?;
        let framed = [&length.to_be_bytes(), message].concat();
        let written = timeout(self.primary.timeout, self.stream.write_all(&framed)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self
                .primary
                .broken(&format!("broke off while it was written to: {error}"))),
            Err(_) => Err(self.primary.broken("does not read")),
        }
    }

    /// The next message, which answers the one of this id.
    async fn receive(&mut self, id: u16) -> Result<Message<Vec<u8>>, Fault> {
        let read = timeout(self.primary.timeout, frame(&mut self.stream)).await;
        let octets = match read {
            Ok(Ok(octets)) => octets,
            Ok(Err(error)) => return Err(self.primary.broken(&format!("broke off before its answer: {error}"))),
            Err(_) => {
                let seconds = self.primary.timeout.as_secs_f32();
                return Err(self.primary.broken(&format!("did not answer within {seconds} s")));
            }
        };
        let message = Message::from_octets(octets).map_err(|_| self.unreadable("answers with less than a header"))?;
        match message.header().qr() && message.header().id() == id {
            true => Ok(message),
            false => Err(self.unreadable("answers something else than was asked")),
        }
    }

    fn unreadable(&self, what: &str) -> Fault {
        fault(FaultKind::Server, &self.primary.place, what)
    }

    fn too_long(&self) -> Fault {
        fault(
            FaultKind::Broken,
            &self.primary.place,
            "would be sent a message of more than 64 KiB",
        )
    }
}

/// A header of NOERROR, for what is judged when all messages are in.
const GOOD_HEADER: [u8; 12] = [0; 12];

/// Reads one message: two bytes of length, then as many.
pub async fn frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut octets = vec![0; length.into()];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}
