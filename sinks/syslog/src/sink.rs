//! The sink: events into frames, frames onto a path, and what became of each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use trapline_sink::{BatchLimits, Delivery, Fault, Outcome, Parcel, StreamSink};

use crate::datagram::{Datagrams, NotSent};
use crate::frame::{Framing, Writer};
use crate::link::Link;

/// How messages travel.
#[derive(Debug)]
pub(crate) enum Path {
    /// A message a datagram.
    Datagram(Datagrams),
    /// Frames in a stream.
    Stream(Link),
    /// Datagrams, or a stream if the socket is one.
    Unix(Datagrams, Link),
}

/// A syslog receiver.
#[derive(Debug)]
pub(crate) struct SyslogSink {
    path: Path,
    writer: Writer,
    framing: Framing,
}

impl SyslogSink {
    pub(crate) fn new(path: Path, writer: Writer, framing: Framing) -> Self {
        Self { path, writer, framing }
    }

    /// Messages of the events that fit, and an outcome for each: `Retry` stands for "has a message".
    fn messages(&self, batch: &[Arc<Parcel>]) -> (Vec<Bytes>, Vec<Outcome>) {
        let mut scratch = Vec::with_capacity(2048);
        let mut messages = Vec::with_capacity(batch.len());
        let outcomes = batch
            .iter()
            .map(|parcel| match self.writer.message(parcel, &mut scratch) {
                Ok(()) => {
                    messages.push(Bytes::copy_from_slice(&scratch));
                    Outcome::Retry
                }
                Err(reason) => Outcome::Rejected(reason),
            });
        let outcomes = outcomes.collect();
        (messages, outcomes)
    }

    fn frames(&self, messages: &[Bytes]) -> Vec<Bytes> {
        let frame = |message: &Bytes| {
            let mut out = Vec::with_capacity(message.len() + 8);
            self.framing.frame(message, &mut out);
            Bytes::from(out)
        };
        messages.iter().map(frame).collect()
    }

    async fn send(&self, messages: &[Bytes]) -> Sent {
        match &self.path {
            Path::Datagram(datagrams) => datagrams.send(messages).await.into(),
            Path::Stream(link) => self.stream(link, messages).await,
            Path::Unix(datagrams, link) => match datagrams.send(messages).await {
                Err(NotSent::Stream) => self.stream(link, messages).await,
                sent => sent.into(),
            },
        }
    }

    async fn stream(&self, link: &Link, messages: &[Bytes]) -> Sent {
        match link.send(self.frames(messages)).await {
            Ok(()) => Sent {
                too_large: Vec::new(),
                fault: None,
            },
            Err(fault) => Sent {
                too_large: Vec::new(),
                fault: Some(fault),
            },
        }
    }
}

/// What became of messages: all sent but those too large, or a fault.
struct Sent {
    too_large: Vec<usize>,
    fault: Option<Fault>,
}

impl From<Result<Vec<usize>, NotSent>> for Sent {
    fn from(sent: Result<Vec<usize>, NotSent>) -> Self {
        match sent {
            Ok(too_large) => Self { too_large, fault: None },
            Err(error) => Self {
                too_large: Vec::new(),
                fault: Some(error.into()),
            },
        }
    }
}

#[async_trait]
impl StreamSink for SyslogSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 256,
            bytes: 256 * 1024,
            linger: Duration::from_millis(10),
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let (messages, mut outcomes) = self.messages(batch);
        if messages.is_empty() {
            return Delivery {
                outcomes,
                retry_after: None,
                fault: None,
            };
        }
        let sent = self.send(&messages).await;
        if sent.fault.is_none() {
            let waiting = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Retry);
            for (at, outcome) in waiting.enumerate() {
                *outcome = match sent.too_large.contains(&at) {
                    true => Outcome::Rejected("the network takes no datagram of this size".to_owned()),
                    false => Outcome::Delivered,
                };
            }
        }
        Delivery {
            outcomes,
            retry_after: None,
            fault: sent.fault,
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        match &self.path {
            Path::Datagram(datagrams) => datagrams.check().await.map_err(Into::into),
            Path::Stream(link) => link.check().await,
            Path::Unix(datagrams, link) => match datagrams.check().await {
                Err(NotSent::Stream) => link.check().await,
                checked => checked.map_err(Into::into),
            },
        }
    }

    fn notes(&self) -> Vec<String> {
        match &self.path {
            Path::Datagram(datagrams) => datagrams.notes(),
            Path::Stream(link) => link.notes(),
            Path::Unix(..) => Vec::new(),
        }
    }

    async fn close(&self) {
        if let Path::Stream(link) | Path::Unix(_, link) = &self.path {
            link.close().await;
        }
    }
}
