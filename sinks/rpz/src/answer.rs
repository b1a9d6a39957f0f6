//! What a server's answer means.
//!
//! In: the bytes of an answer, and whether its signature held. Out: done, or a [`Refusal`] that says what to look at on
//! the server. Servers differ in how they sign errors (Knot refuses unsigned, PowerDNS answers BADTIME without TSIG), so
//! the RCODE is looked at first, then the error in the TSIG record, and of an error no signature is demanded. Of NOERROR
//! it is: one that is unsigned, or signed wrongly, is taken for forged.
//!
//! Source: RFC 2136 section 2.2, RFC 8945 section 5.3.

use domain::base::Message;
use domain::base::iana::{Rcode, TsigRcode};
use domain::rdata::Tsig;
use domain::tsig::ValidationError;
use trapline_sink::{Fault, FaultKind};

/// Whom was asked, about what, with which key: for messages.
#[derive(Debug, Clone)]
pub struct Place {
    /// `host:port` of the server.
    pub server: String,
    /// The policy zone.
    pub zone: String,
    /// The key's name.
    pub key: String,
}

/// What was asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To change the zone.
    Update,
    /// For the whole zone.
    Transfer,
    /// For its SOA.
    Query,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A condition does not hold: somebody else changed the zone since it was walked.
    Changed,
    /// Everything else.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The error in an answer's TSIG record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SignatureError {
    code: TsigRcode,
    /// Seconds by which the server's clock is before ours, as the server says.
    ahead: Option<i64>,
}

/// Reads the error of an answer whose signature was looked at.
pub fn judge(
    message: &[u8],
    verified: Result<(), ValidationError>,
    asked: Asked,
    place: &Place,
) -> Result<(), Refusal> {
    let Ok(parsed) = Message::from_octets(message) else {
        return Err(fault(FaultKind::Server, place, "answers with less than a header").into());
    };
    match parsed.header().rcode() {
        Rcode::NOERROR => verified.map_err(|error| forged(&error, place).into()),
        Rcode::YXDOMAIN | Rcode::YXRRSET | Rcode::NXRRSET if asked == Asked::Update => Err(Refusal::Changed),
        code => Err(refused(code, signature_error(&parsed), asked, place).into()),
    }
}

fn forged(error: &ValidationError, place: &Place) -> Fault {
    let what = match error {
        ValidationError::ServerUnsigned => "without a signature",
        ValidationError::BadTime => "with a signature of another time: look at both clocks",
        ValidationError::BadAlg | ValidationError::BadKey => "signed with another key",
        ValidationError::TooManyUnsigned => "with a signature missing at its end",
        _ => "with a signature that does not hold",
    };
    fault(
        FaultKind::Auth,
        place,
        &format!("answers NOERROR {what}: taken for forged"),
    )
}

/// The TSIG record's error, if there is such a record and it has one.
fn signature_error(message: &Message<&[u8]>) -> Option<SignatureError> {
    let record = message.get_last_additional::<Tsig<_, _>>()?;
    let seconds = |time| i64::try_from(u64::from(time)).ok();
    let tsig = record.data();
    let ahead = tsig
        .other_time()
        .and_then(|server| seconds(server)?.checked_sub(seconds(tsig.time_signed())?));
    Some(SignatureError {
        code: tsig.error(),
        ahead,
    })
    .filter(|error| error.code != TsigRcode::NOERROR)
}

fn refused(code: Rcode, signature: Option<SignatureError>, asked: Asked, place: &Place) -> Fault {
    let Place { zone, key, .. } = place;
    let (kind, what) = match (code, signature) {
        (Rcode::NOTAUTH, Some(error)) => (FaultKind::Auth, signature_refused(error, key)),
        (Rcode::REFUSED, _) => (FaultKind::Config, format!("refuses: {}", leave(asked, zone, key))),
        (Rcode::NOTAUTH, None) => (
            FaultKind::Config,
            format!(
                "is not in charge of `{zone}` (NOTAUTH): look whether it is a primary of the zone, in this view, whether \
                 the zone's name is right, and whether its access list takes key `{key}`, this address and this clock"
            ),
        ),
        (Rcode::NOTZONE, _) => (FaultKind::Broken, format!("says a name is not in `{zone}` (NOTZONE)")),
        (Rcode::SERVFAIL, _) => (
            FaultKind::Server,
            format!("fails (SERVFAIL): look at its log, its disk and whether it may write the journal of `{zone}`"),
        ),
        (Rcode::FORMERR | Rcode::NOTIMP, _) if asked == Asked::Update => (
            FaultKind::Config,
            format!("does not know updates ({code}): RFC 2136 is needed; for a resolver that reads files, set `path`"),
        ),
        (code, _) => (FaultKind::Server, format!("answers {code}")),
    };
    fault(kind, place, &what)
}

/// What gives leave to what was asked, at the servers that are known.
fn leave(asked: Asked, zone: &str, key: &str) -> String {
    match asked {
        Asked::Update => format!(
            "`{zone}` must take updates and key `{key}` must be allowed to make them (BIND: `update-policy {{ grant {key} \
             zonesub ANY; }};` in a zone of type primary; Knot: an `acl` with `action: update` and this key)"
        ),
        Asked::Transfer => format!(
            "key `{key}` must be allowed to read `{zone}` (BIND: `allow-transfer {{ key {key}; }};`; Knot: an `acl` with \
             `action: transfer`)"
        ),
        Asked::Query => {
            format!("key `{key}` must be allowed to ask for `{zone}` (BIND: `allow-query {{ key {key}; }};`)")
        }
    }
}

fn signature_refused(error: SignatureError, key: &str) -> String {
    match (error.code, error.ahead) {
        (TsigRcode::BADSIG, _) => format!("says the secret of key `{key}` is another (BADSIG): compare `tsig.secret`"),
        (TsigRcode::BADKEY, _) => {
            format!(
                "does not know key `{key}`, or does not let it do this (BADKEY): compare `tsig.name` and `tsig.algorithm`, \
             letter by letter, and look at its access list"
            )
        }
        (TsigRcode::BADTIME, Some(ahead)) => format!(
            "does not take the time of this host (BADTIME): its clock is {} s {} ours, {FUDGE} s are allowed; look at NTP \
             on both",
            ahead.unsigned_abs(),
            if ahead < 0 { "behind" } else { "ahead of" },
        ),
        (TsigRcode::BADTIME, None) => {
            format!("does not take the time of this host (BADTIME), {FUDGE} s are allowed: look at NTP on both")
        }
        (code, _) => format!("does not take the signature of key `{key}` ({code})"),
    }
}

/// By how many seconds two clocks may differ (RFC 8945 section 10).
const FUDGE: u16 = 300;

/// A fault of this server's.
pub fn fault(kind: FaultKind, place: &Place, what: &str) -> Fault {
    Fault {
        kind,
        message: format!("dns server {} {what}", place.server),
    }
}

#[cfg(test)]
mod tests {
    use domain::base::MessageBuilder;
    use domain::base::iana::Class;
    use domain::base::name::Name;
    use domain::rdata::tsig::Time48;
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place {
            server: "192.0.2.53:53".into(),
            zone: "rpz.example".into(),
            key: "trapline".into(),
        }
    }

    fn answer(code: Rcode, error: Option<(TsigRcode, Option<u64>)>) -> Vec<u8> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_rcode(code);
        let mut message = message.additional();
        if let Some((error, server)) = error {
            let algorithm: Name<Vec<u8>> = "hmac-sha256".parse().unwrap();
            let other = server.map_or(Vec::new(), |time| Time48::from_u64(time).into_octets().to_vec());
            let data = Tsig::new(
                algorithm,
                Time48::from_u64(1000),
                300,
                Vec::<u8>::new(),
                0,
                error,
                other,
            )
            .unwrap();
            let key: Name<Vec<u8>> = "trapline".parse().unwrap();
            message.push((key, Class::ANY, 0, data)).unwrap();
        }
        message.finish()
    }

    fn refusal(code: Rcode, error: Option<(TsigRcode, Option<u64>)>, asked: Asked) -> (FaultKind, String) {
        // Of an error no signature is demanded.
        let unsigned = Err(ValidationError::ServerUnsigned);
        match judge(&answer(code, error), unsigned, asked, &place()) {
            Err(Refusal::Fault(fault)) => (fault.kind, fault.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_refusal_says_what_to_look_at() {
        let (update, auth, config) = (Asked::Update, FaultKind::Auth, FaultKind::Config);
        let error = |code| Some((code, None));
        for (code, error, asked, kind, word) in [
            (Rcode::NOTAUTH, error(TsigRcode::BADSIG), update, auth, "`tsig.secret`"),
            (Rcode::NOTAUTH, error(TsigRcode::BADKEY), update, auth, "`tsig.name`"),
            (Rcode::NOTAUTH, error(TsigRcode::BADTIME), update, auth, "look at NTP"),
            (
                Rcode::NOTAUTH,
                None,
                update,
                config,
                "is not in charge of `rpz.example`",
            ),
            (Rcode::REFUSED, None, update, config, "update-policy { grant trapline"),
            (
                Rcode::REFUSED,
                None,
                Asked::Transfer,
                config,
                "allow-transfer { key trapline; };",
            ),
            (Rcode::REFUSED, None, Asked::Query, config, "allow-query"),
            (Rcode::NOTZONE, None, update, FaultKind::Broken, "NOTZONE"),
            (Rcode::SERVFAIL, None, update, FaultKind::Server, "its disk"),
            (Rcode::NOTIMP, None, update, config, "set `path`"),
            (Rcode::FORMERR, None, Asked::Transfer, FaultKind::Server, "FORMERR"),
        ] {
            let (found, message) = refusal(code, error, asked);
            assert_eq!(found, kind, "{message}");
            assert!(
                message.starts_with("dns server 192.0.2.53:53 ") && message.contains(word),
                "{message}"
            );
        }
    }

    #[test]
    fn another_clock_is_told_with_its_offset() {
        let told = |server| refusal(Rcode::NOTAUTH, Some((TsigRcode::BADTIME, Some(server))), Asked::Update).1;
        assert!(
            told(2500).contains("its clock is 1500 s ahead of ours"),
            "{}",
            told(2500)
        );
        assert!(told(400).contains("its clock is 600 s behind ours"), "{}", told(400));
    }

    #[test]
    fn an_unsigned_noerror_is_taken_for_forged() {
        let judged = |verified| judge(&answer(Rcode::NOERROR, None), verified, Asked::Update, &place());
        assert_eq!(judged(Ok(())), Ok(()));
        for error in [
            ValidationError::ServerUnsigned,
            ValidationError::BadSig,
            ValidationError::BadTime,
        ] {
            let Err(Refusal::Fault(fault)) = judged(Err(error)) else {
                panic!()
            };
            assert!(
                fault.kind == FaultKind::Auth && fault.message.contains("taken for forged"),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn a_condition_that_does_not_hold_is_no_fault() {
        for code in [Rcode::YXDOMAIN, Rcode::YXRRSET, Rcode::NXRRSET] {
            let judged = judge(&answer(code, None), Ok(()), Asked::Update, &place());
            assert_eq!(judged, Err(Refusal::Changed));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = judge(&bytes, Err(ValidationError::ServerUnsigned), Asked::Update, &place());
        }
    }
}
