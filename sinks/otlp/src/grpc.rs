//! gRPC over HTTP/2, one request and one answer: how a message is framed, and where a status stands. Pure.
//!
//! In: bytes and headers of a stranger. Out: the message of a frame, or [`Told`]. Invariants: 1 a status is what the
//! trailers say, or the headers where there is nothing else (trailers only); without one nothing is known; 2 a pause is at
//! most [`RETRY_AFTER_MAX`]; 3 a message inflates to at most [`ANSWER_MAX`] bytes. We say that we take no compression, but
//! servers of grpc-go answer in the request's.
//!
//! Source: gRPC over HTTP2 (PROTOCOL-HTTP2.md), `google.rpc.Status` in `grpc-status-details-bin`.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use prost::Message;
use reqwest::header::HeaderMap;
use trapline_sink::http::{ANSWER_MAX, RETRY_AFTER_MAX};

use crate::headers::decoded;
use crate::proto::{Pause, RetryInfo, Status};

/// The method, below the base URL.
pub(crate) const EXPORT: &str = "opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// The content type of requests and answers.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";
/// Compression flag and length.
const PREFIX: usize = 5;

/// Values of headers whose name ends in `-bin`: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message as gRPC sends it.
pub(crate) fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(u8::from(is_compressed));
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The one message of an answer in `encoding`; `None` if it is not there whole and alone, or cannot be inflated.
pub(crate) fn message<'a>(body: &'a [u8], encoding: &str) -> Option<Cow<'a, [u8]>> {
    let (flag, rest) = body.split_first()?;
    let (length, message) = rest.split_first_chunk::<4>()?;
    let whole = usize::try_from(u32::from_be_bytes(*length)).ok() == Some(message.len());
    match (flag, encoding) {
        _ if !whole => None,
        (0, _) => Some(message.into()),
        (1, "gzip") => inflated(message).map(Cow::Owned),
        _ => None,
    }
}

/// At most [`ANSWER_MAX`] bytes; `None` for more.
fn inflated(message: &[u8]) -> Option<Vec<u8>> {
    let bound = u64::try_from(ANSWER_MAX).ok()?;
    let mut content = Vec::new();
    GzDecoder::new(message).take(bound + 1).read_to_end(&mut content).ok()?;
    (content.len() <= ANSWER_MAX).then_some(content)
}

/// The longest time that gRPC can name is of eight digits.
pub(crate) fn timeout(deadline: Duration) -> String {
    format!("{}m", deadline.as_millis().min(99_999_999))
}

/// What the receiver says of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The status; 2, unknown, for what is no number.
    pub(crate) code: u32,
    /// Its words.
    pub(crate) words: String,
    /// The pause that it asks for.
    pub(crate) pause: Option<Duration>,
}

/// Reads the status; `None` if there is none.
pub(crate) fn told(headers: &HeaderMap, trailers: &HeaderMap) -> Option<Told> {
    let place = [trailers, headers]
        .into_iter()
        .find(|place| place.contains_key("grpc-status"))?;
    let text = |name| {
        place
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let details = status(text("grpc-status-details-bin"));
    Some(Told {
        code: text("grpc-status").parse().unwrap_or(2),
        words: String::from_utf8_lossy(&decoded(text("grpc-message"))).into_owned(),
        pause: details.as_ref().and_then(pause),
    })
}

fn status(text: &str) -> Option<Status> {
    Status::decode(BASE64.decode(text.trim()).ok()?.as_slice()).ok()
}

/// The pause of the first `RetryInfo`.
pub(crate) fn pause(status: &Status) -> Option<Duration> {
    let is_retry = |url: &str| url.rsplit('/').next() == Some("google.rpc.RetryInfo");
    let detail = status.details.iter().find(|detail| is_retry(&detail.type_url))?;
    let Pause { seconds, nanos } = RetryInfo::decode(detail.value.as_ref()).ok()?.retry_delay?;
    let pause = Duration::new(u64::try_from(seconds).unwrap_or(0), 0)
        .saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)));
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Detail;
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_frame_is_a_flag_a_length_and_the_message() {
        assert_eq!(framed(b"abc", false).as_ref(), b"\0\0\0\0\x03abc");
        assert_eq!(framed(b"", true).as_ref(), b"\x01\0\0\0\0");
        assert_eq!(message(b"\0\0\0\0\x03abc", "identity").as_deref(), Some(&b"abc"[..]));
        for torn in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x03ab",
            b"\0\0\0\0\x03abcd",
            b"\x01\0\0\0\0",
            b"<html>",
        ] {
            for encoding in ["identity", "gzip", ""] {
                assert_eq!(message(torn, encoding), None, "{torn:?}");
            }
        }
    }

    fn deflated(content: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, content).unwrap();
        framed(&encoder.finish().unwrap(), true)
    }

    #[test]
    fn a_compressed_message_is_inflated_within_the_bound() {
        assert_eq!(message(&deflated(b"abc"), "gzip").as_deref(), Some(&b"abc"[..]));
        assert_eq!(message(&deflated(b"abc"), "identity"), None);
        assert!(message(&deflated(&[0; ANSWER_MAX]), "gzip").is_some());
        assert_eq!(message(&deflated(&[0; ANSWER_MAX + 1]), "gzip"), None);
    }

    #[test]
    fn a_status_is_in_the_trailers_or_alone_in_the_headers() {
        let (none, ok) = (HeaderMap::new(), headers(&[("grpc-status", "0")]));
        let failed = headers(&[
            ("grpc-status", "14"),
            ("grpc-message", "down%20for%20a%20while%E2%80%A6"),
        ]);
        assert_eq!(told(&none, &none), None);
        assert_eq!(told(&none, &ok).unwrap().code, 0);
        let told_alone = told(&failed, &none).unwrap();
        assert_eq!((told_alone.code, told_alone.words.as_str()), (14, "down for a while…"));
        assert_eq!(told(&ok, &failed).unwrap().code, 14);
        assert_eq!(told(&none, &headers(&[("grpc-status", "fine")])).unwrap().code, 2);
    }

    fn with_pause(seconds: i64, nanos: i32) -> Status {
        let info = RetryInfo {
            retry_delay: Some(Pause { seconds, nanos }),
        };
        let other = Detail {
            type_url: "type.googleapis.com/google.rpc.DebugInfo".into(),
            value: b"\xff".as_slice().into(),
        };
        let detail = Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec().into(),
        };
        Status {
            code: 8,
            message: String::new(),
            details: vec![other, detail],
        }
    }

    #[test]
    fn a_pause_is_read_from_the_details_and_bounded() {
        for (pause_of, expected) in [
            ((7, 500_000_000), Duration::from_millis(7500)),
            ((-1, -1), Duration::ZERO),
            ((i64::MAX, i32::MAX), RETRY_AFTER_MAX),
        ] {
            let status = with_pause(pause_of.0, pause_of.1);
            assert_eq!(pause(&status), Some(expected));
            let padded = base64::engine::general_purpose::STANDARD.encode(status.encode_to_vec());
            for text in [padded.as_str(), padded.trim_end_matches('=')] {
                let trailers = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", text)]);
                assert_eq!(told(&HeaderMap::new(), &trailers).unwrap().pause, Some(expected));
            }
        }
    }

    #[test]
    fn a_timeout_has_eight_digits_at_most() {
        assert_eq!(timeout(Duration::from_secs(10)), "10000m");
        assert_eq!(timeout(Duration::MAX), "99999999m");
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_status_are_a_bounded_pause_or_none(
            mut details in Just(with_pause(7, 0).encode_to_vec()),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            words in "[ -~]{0,30}",
            body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            for (at, byte) in damage {
                let at = at.index(details.len());
                details[at] = byte;
            }
            let details = base64::engine::general_purpose::STANDARD.encode(details);
            let trailers = headers(&[("grpc-status", &words), ("grpc-message", &words), ("grpc-status-details-bin", &details)]);
            let told = told(&HeaderMap::new(), &trailers).unwrap();
            prop_assert!(told.pause.is_none_or(|pause| pause <= RETRY_AFTER_MAX));
            prop_assert!(message(&body, "").is_none_or(|message| message.len() + PREFIX == body.len()));
            prop_assert!(message(&framed(&body, true), "gzip").is_none_or(|message| message.len() <= ANSWER_MAX));
        }
    }
}
