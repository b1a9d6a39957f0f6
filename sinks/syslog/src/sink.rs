//! The sink: events into frames, frames onto a path, and what became of each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use trapline_sink::{Arrears, BatchLimits, Delivery, Fault, Outcome, Parcel, StreamSink};

use crate::block::Block;
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

    /// The messages of the events that fit, framed if so asked, and an outcome for each event: `Retry` stands for "has a
    /// message".
    fn written(&self, batch: &[Arc<Parcel>], framing: Option<Framing>) -> (Block, Vec<Outcome>) {
        let mut block = Block::with_room(batch.len());
        let mut header = Vec::with_capacity(512);
        let write = |parcel: &Arc<Parcel>| match self.writer.message(parcel, &mut header) {
            Ok(body) => {
                block.push(&header, &body, framing);
                Outcome::Retry
            }
            Err(reason) => Outcome::Rejected(reason),
        };
        let outcomes = batch.iter().map(write).collect();
        (block, outcomes)
    }

    async fn by_stream(&self, link: &Link, batch: &[Arc<Parcel>]) -> Delivery {
        let (block, outcomes) = self.written(batch, Some(self.framing));
        if block.is_empty() {
            return sent(outcomes, &[]);
        }
        match link.send(block.finish()).await {
            Ok(count) => sent_first(outcomes, count),
            Err(fault) => failed(outcomes, fault),
        }
    }

    /// Errors: [`NotSent::Stream`] alone; nothing was sent then.
    async fn by_datagrams(&self, datagrams: &Datagrams, batch: &[Arc<Parcel>]) -> Result<Delivery, NotSent> {
        let (block, outcomes) = self.written(batch, None);
        if block.is_empty() {
            return Ok(sent(outcomes, &[]));
        }
        let messages: Vec<_> = block.finish().pieces().collect();
        match datagrams.send(&messages).await {
            Ok(too_large) => Ok(sent(outcomes, &too_large)),
            Err(NotSent::Stream) => Err(NotSent::Stream),
            Err(NotSent::Fault(fault)) => Ok(failed(outcomes, fault)),
        }
    }
}

/// The first messages went, the others are to be sent again.
fn sent_first(mut outcomes: Vec<Outcome>, count: usize) -> Delivery {
    let waiting = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Retry);
    waiting.take(count).for_each(|outcome| *outcome = Outcome::Delivered);
    Delivery {
        outcomes,
        retry_after: None,
        fault: None,
    }
}

/// All messages went but those too large, by place among the messages.
fn sent(mut outcomes: Vec<Outcome>, too_large: &[usize]) -> Delivery {
    let waiting = outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Retry);
    for (at, outcome) in waiting.enumerate() {
        *outcome = match too_large.contains(&at) {
            true => Outcome::Rejected("the network takes no datagram of this size".to_owned()),
            false => Outcome::Delivered,
        };
    }
    Delivery {
        outcomes,
        retry_after: None,
        fault: None,
    }
}

fn failed(outcomes: Vec<Outcome>, fault: Fault) -> Delivery {
    Delivery {
        outcomes,
        retry_after: None,
        fault: Some(fault),
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
        let (datagrams, link) = match &self.path {
            Path::Stream(link) => return self.by_stream(link, batch).await,
            Path::Datagram(datagrams) => (datagrams, None),
            Path::Unix(datagrams, link) => (datagrams, Some(link)),
        };
        match (self.by_datagrams(datagrams, batch).await, link) {
            (Ok(delivery), _) => delivery,
            (Err(NotSent::Stream), Some(link)) => self.by_stream(link, batch).await,
            (Err(error), _) => failed(vec![Outcome::Retry; batch.len()], error.into()),
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

    fn destination(&self) -> Option<String> {
        Some(match &self.path {
            Path::Stream(link) => link.shown(),
            Path::Datagram(datagrams) | Path::Unix(datagrams, _) => datagrams.shown(),
        })
    }

    fn confirms(&self) -> bool {
        false
    }

    fn arrears(&self) -> Option<watch::Receiver<Arrears>> {
        match &self.path {
            Path::Datagram(_) => None,
            Path::Stream(link) | Path::Unix(_, link) => Some(link.arrears()),
        }
    }

    async fn close(&self) {
        if let Path::Stream(link) | Path::Unix(_, link) = &self.path {
            link.close().await;
        }
    }
}
