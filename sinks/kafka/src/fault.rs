//! What an error means for an event and for an operator.
//!
//! In: error codes of librdkafka and of brokers. Out: a [`Verdict`] for a record, a [`Fault`] for the sink. Codes decide,
//! not the wording that comes with them, but for one case with its reason beside it; the wording is shown, escaped and
//! bounded, behind words of our own.

use rdkafka::error::RDKafkaErrorCode as Code;
use trapline_schemas::text::clean_within;
use trapline_sink::{Fault, FaultKind};

/// Longest piece of foreign text in a message, in characters.
const CHARS_MAX: usize = 300;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has an offset.
    Delivered,
    /// The topic takes nothing as large as the request it was in.
    TooLarge,
    /// The broker refuses it, or another record of its request.
    Suspect(String),
    /// It can be made no smaller.
    Unfit(String),
    /// Not taken, because something in front of it or in its request was refused.
    Behind,
    /// Not delivered, for a reason that is not its own.
    Fault(Fault),
}

/// Judges a record that has no offset. In: its topic, and what else is known of the producer's trouble: a fatal error, or
/// what stops every record.
pub(crate) fn judge(code: Code, topic: &str, fatal: Option<Code>, trouble: Option<Fault>) -> Verdict {
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Verdict::TooLarge,
        Code::InvalidRecord => Verdict::Suspect("the broker refuses the record as invalid for its topic".to_owned()),
        Code::InvalidTimestamp => {
            Verdict::Suspect("the broker refuses the record's time; look at this host's clock".to_owned())
        }
        Code::InvalidDifferentRecord | Code::Fatal | Code::MessageTimedOut | Code::PurgeQueue | Code::PurgeInflight
            if fatal == Some(Code::GaplessGuarantee) =>
        {
            Verdict::Behind
        }
        Code::Fatal => Verdict::Fault(of_topic(fatal.unwrap_or(code), topic)),
        Code::MessageTimedOut | Code::PurgeQueue | Code::PurgeInflight => Verdict::Fault(
            fatal
                .map(|code| of_topic(code, topic))
                .or(trouble)
                .unwrap_or_else(|| of_topic(code, topic)),
        ),
        _ => Verdict::Fault(of_topic(code, topic)),
    }
}

/// The fault that a code means for what was sent to `topic`.
pub(crate) fn of_topic(code: Code, topic: &str) -> Fault {
    let (kind, message) = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => (
            FaultKind::Config,
            format!("there is no topic `{topic}`; make it, or correct `topic`"),
        ),
        Code::InvalidTopic => (FaultKind::Config, format!("the brokers do not take `{topic}` for a topic")),
        Code::TopicAuthorizationFailed => (
            FaultKind::Auth,
            format!("we may not write to topic `{topic}`; grant Write and Describe on it"),
        ),
        Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed => (
            FaultKind::Auth,
            "we may not write idempotently; grant Write on the topic, before Kafka 3.0 also IdempotentWrite on the cluster"
                .to_owned(),
        ),
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            (FaultKind::Auth, "the brokers refuse who we say we are; look at `sasl`".to_owned())
        }
        Code::SSL => (FaultKind::Tls, "no TLS connection with a broker".to_owned()),
        Code::PolicyViolation => (FaultKind::Config, format!("a policy of topic `{topic}` refuses our records")),
        Code::UnsupportedCompressionType => (
            FaultKind::Config,
            format!("topic `{topic}` does not take this `compression`"),
        ),
        Code::UnsupportedFeature | Code::UnsupportedVersion | Code::UnsupportedForMessageFormat => (
            FaultKind::Config,
            format!("the brokers are too old for an idempotent producer with this `compression`: {}", said(code)),
        ),
        Code::MessageTimedOut | Code::PurgeQueue | Code::PurgeInflight | Code::OperationTimedOut => (
            FaultKind::Server,
            format!("topic `{topic}` did not confirm in time: no leader, or too few replicas in sync"),
        ),
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            (FaultKind::Server, format!("too few replicas of topic `{topic}` are in sync"))
        }
        Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::ProducerFenced
        | Code::Fatal => (
            FaultKind::Server,
            format!("the brokers lost track of this producer, a new one takes over: {}", said(code)),
        ),
        Code::ThrottlingQuotaExceeded => (FaultKind::Busy, "the brokers ask for a pause: our quota is used up".to_owned()),
        Code::QueueFull => (FaultKind::Local, "the producer's queue is full".to_owned()),
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::NetworkException => {
            (FaultKind::Unreachable, "the brokers cannot be reached".to_owned())
        }
        _ => (FaultKind::Server, format!("topic `{topic}` did not take a record: {}", said(code))),
    };
    Fault { kind, message }
}

/// The fault that a broker's trouble is; `None` for what is not about reaching it.
pub(crate) fn of_broker(code: Code, reason: &str) -> Option<Fault> {
    let (kind, message) = match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            (FaultKind::Auth, "a broker refuses the user or password of `sasl`")
        }
        Code::SSL => (FaultKind::Tls, "no TLS connection with a broker"),
        // Closed in the midst of a handshake has the code of any lost connection; the state is librdkafka's own word.
        Code::BrokerTransportFailure if reason.contains("in state SSL_HANDSHAKE") => {
            (FaultKind::Tls, "no TLS connection with a broker")
        }
        Code::Resolve => (FaultKind::Unreachable, "a broker's name cannot be resolved"),
        Code::BrokerTransportFailure | Code::OperationTimedOut | Code::NetworkException => {
            (FaultKind::Unreachable, "a broker cannot be reached")
        }
        _ => return None,
    };
    let message = format!("{message}: {}", bounded(reason));
    Some(Fault { kind, message })
}

/// All brokers are lost, and none said why.
pub(crate) fn all_lost() -> Fault {
    Fault {
        kind: FaultKind::Unreachable,
        message: "no broker can be reached".to_owned(),
    }
}

/// A delivery that took longer than any may.
pub(crate) fn overdue() -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: "no report of a delivery came within `delivery_timeout`".to_owned(),
    }
}

/// A broker that confirms, and does not know where.
pub(crate) fn unplaced() -> Fault {
    Fault {
        kind: FaultKind::Server,
        message: "a broker confirmed a record without its offset".to_owned(),
    }
}

/// Foreign text, escaped and cut.
pub(crate) fn bounded(text: &str) -> String {
    clean_within(text.as_bytes(), CHARS_MAX).to_string()
}

/// What librdkafka says of a code, without its own frame.
fn said(code: Code) -> String {
    let text = code.to_string();
    let text = text.split_once('(').map_or(text.as_str(), |(_, rest)| rest);
    bounded(text.trim_end_matches(')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: Code) -> FaultKind {
        of_topic(code, "t").kind
    }

    #[test]
    fn each_cause_has_the_kind_that_an_operator_acts_on() {
        for (codes, expected) in [
            (
                &[Code::UnknownTopic, Code::UnknownTopicOrPartition, Code::InvalidTopic][..],
                FaultKind::Config,
            ),
            (&[Code::PolicyViolation, Code::UnsupportedVersion], FaultKind::Config),
            (
                &[Code::TopicAuthorizationFailed, Code::ClusterAuthorizationFailed],
                FaultKind::Auth,
            ),
            (&[Code::SaslAuthenticationFailed, Code::Authentication], FaultKind::Auth),
            (&[Code::SSL], FaultKind::Tls),
            (
                &[Code::NotEnoughReplicas, Code::MessageTimedOut, Code::Unknown],
                FaultKind::Server,
            ),
            (&[Code::OutOfOrderSequenceNumber, Code::Fatal], FaultKind::Server),
            (&[Code::AllBrokersDown, Code::Resolve], FaultKind::Unreachable),
            (&[Code::ThrottlingQuotaExceeded], FaultKind::Busy),
            (&[Code::QueueFull], FaultKind::Local),
        ] {
            for code in codes {
                assert_eq!(kind(*code), expected, "{code:?}");
            }
        }
    }

    #[test]
    fn a_record_of_its_own_fault_is_told_from_a_fault_of_the_topic() {
        let judged = |code| judge(code, "t", None, None);
        assert_eq!(judged(Code::MessageSizeTooLarge), Verdict::TooLarge);
        assert!(matches!(judged(Code::InvalidRecord), Verdict::Suspect(_)));
        assert!(matches!(judged(Code::InvalidDifferentRecord), Verdict::Fault(_)));
        assert!(matches!(judged(Code::TopicAuthorizationFailed), Verdict::Fault(_)));
    }

    #[test]
    fn what_stands_behind_a_refusal_has_no_fault_and_what_timed_out_has_the_trouble_of_the_brokers() {
        let trouble = of_broker(Code::SSL, "certificate verify failed").unwrap();
        let judged = judge(Code::MessageTimedOut, "t", None, Some(trouble.clone()));
        assert_eq!(judged, Verdict::Fault(trouble.clone()));
        for code in [
            Code::InvalidDifferentRecord,
            Code::Fatal,
            Code::PurgeQueue,
            Code::PurgeInflight,
        ] {
            let behind = judge(code, "t", Some(Code::GaplessGuarantee), Some(trouble.clone()));
            assert_eq!(behind, Verdict::Behind, "{code:?}");
        }
        let fatal = judge(Code::Fatal, "t", Some(Code::ClusterAuthorizationFailed), Some(trouble));
        assert!(matches!(fatal, Verdict::Fault(fault) if fault.kind == FaultKind::Auth));
    }

    #[test]
    fn what_a_broker_says_is_escaped_and_cut() {
        let said = format!("SASL authentication error: \x1b[31m{}", "x".repeat(5000));
        let fault = of_broker(Code::Authentication, &said).unwrap();
        assert!(
            fault
                .message
                .starts_with("a broker refuses the user or password of `sasl`: SASL")
        );
        assert!(
            fault.message.len() < 500 && !fault.message.contains('\x1b'),
            "{}",
            fault.message
        );
        assert_eq!(of_broker(Code::Fatal, "x"), None);
    }

    #[test]
    fn a_listener_without_tls_that_closes_is_a_matter_of_tls() {
        let kind = |reason| of_broker(Code::BrokerTransportFailure, reason).map(|fault| fault.kind);
        let closed = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 3ms in state SSL_HANDSHAKE)";
        assert_eq!(kind(closed), Some(FaultKind::Tls));
        assert_eq!(
            kind("Disconnected (after 3ms in state UP)"),
            Some(FaultKind::Unreachable)
        );
    }

    #[test]
    fn a_rare_code_is_told_in_its_own_words() {
        let message = of_topic(Code::KafkaStorageError, "t").message;
        assert!(
            message.starts_with("topic `t` did not take a record: ") && message.len() > 40,
            "{message}"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_of_a_broker_are_clean_and_bounded_in_a_fault(said in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
            let said = String::from_utf8_lossy(&said);
            for code in [Code::Authentication, Code::SSL, Code::Resolve, Code::BrokerTransportFailure] {
                let message = of_broker(code, &said).map(|fault| fault.message).unwrap_or_default();
                proptest::prop_assert!(trapline_schemas::text::is_clean(&message), "{message:?}");
                proptest::prop_assert!(!message.is_empty() && message.chars().count() < CHARS_MAX + 100);
            }
        }
    }
}
