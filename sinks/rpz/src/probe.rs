//! Asks a resolver whether what was put is in force there.
//!
//! A trigger by address cannot be tried without being that address. But the mark beside it is, to a resolver, a policy
//! for a question: whoever asks for `32.7.113.0.203.rpz-client-ip.OBSERVER._trapline` gets the mark's text as soon as the
//! resolver goes by the zone as it is now, and by nothing else. No source is forged and nobody is cut off for it.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, MessageBuilder};
use domain::rdata::Txt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use trapline_sink::dial::Dialer;
use trapline_sink::{Fault, FaultKind};

use crate::link::frame;
use crate::zone::WireName;

/// How long a resolver may take for what it is asked.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// A resolver that has the policy zone.
#[derive(Debug)]
pub struct Probe {
    /// Opens connections.
    pub dialer: Dialer,
    /// For how long it is asked again at once.
    pub wait: Duration,
    /// After what time it is a fault that the resolver does not go by what was put.
    pub late: Duration,
}

impl Probe {
    /// Whether the resolver answers the question for `name` with `text`, asked again for [`wait`](Self::wait); and where
    /// it was reached.
    pub async fn sees(&self, name: &WireName, text: &str) -> Result<(bool, Option<IpAddr>), Fault> {
        let until = Instant::now() + self.wait;
        loop {
            let asked = timeout(ANSWER_DEADLINE, self.ask(name, text)).await;
            let (is_seen, peer) = asked.unwrap_or_else(|_| Err(self.fault("does not answer")))?;
            if is_seen || Instant::now() >= until {
                return Ok((is_seen, peer));
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask(&self, name: &WireName, text: &str) -> Result<(bool, Option<IpAddr>), Fault> {
        let mut stream = self.dialer.connect_in_clear().await?;
        let peer = stream.peer_addr().ok().map(|address| address.ip());
        let question = question(name).ok_or_else(|| self.fault("cannot be asked for a name of this length"))?;
        let answer = exchange(&mut stream, &question).await;
        let answer = answer.map_err(|error| self.fault(&format!("broke off: {error}")))?;
        Ok((says(&answer, &question, text), peer))
    }

    fn fault(&self, what: &str) -> Fault {
        Fault {
            kind: FaultKind::Unreachable,
            message: format!("resolver {} {what}", self.dialer.address()),
        }
    }
}

fn question(name: &WireName) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(rand::random());
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name, Rtype::TXT, Class::IN)).ok()?;
    Some(builder.finish())
}

async fn exchange(stream: &mut TcpStream, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    frame(stream).await
}

/// Whether an answer to this question holds this very text.
fn says(answer: &[u8], question: &[u8], text: &str) -> bool {
    let (Ok(answer), Ok(question)) = (Message::from_octets(answer), Message::from_octets(question)) else {
        return false;
    };
    let Some(records) = answer.answer().ok().filter(|_| answer.is_answer(&question)) else {
        return false;
    };
    let texts = records.limit_to::<Txt<_>>().filter_map(Result::ok);
    texts.into_iter().any(|txt| txt.data().iter().eq([text.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked() -> Vec<u8> {
        question(&"32.7.113.0.203.rpz-ip.o._trapline".parse().unwrap()).unwrap()
    }

    fn answered(text: &[u8]) -> Vec<u8> {
        let question = asked();
        let question = Message::from_octets(question.as_slice()).unwrap();
        let mut answer = MessageBuilder::new_vec()
            .start_answer(&question, domain::base::iana::Rcode::NOERROR)
            .unwrap();
        let txt = Txt::<Vec<u8>>::build_from_slice(text).unwrap();
        answer
            .push((question.first_question().unwrap().qname(), 30, txt))
            .unwrap();
        answer.finish()
    }

    #[test]
    fn only_the_very_text_counts() {
        let mut asked = asked();
        let answer = answered(b"decision=7");
        asked[..2].copy_from_slice(&answer[..2]);
        assert!(says(&answer, &asked, "decision=7"));
        assert!(!says(&answer, &asked, "decision=8"));
        asked[0] ^= 1;
        assert!(!says(&answer, &asked, "decision=7"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = says(&bytes, &asked(), "decision=7");
        }
    }
}
