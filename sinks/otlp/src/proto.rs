//! The messages of OTLP logs that are sent and read: `logs.proto`, `common.proto`, `resource.proto` and
//! `logs_service.proto` of opentelemetry-proto 1.9, and of `google.rpc` those that tell of a pause.
//!
//! Fields that are never set are left out: no field of a message here may be given another number than the public one.
//! `Serialize` gives OTLP JSON: camel case, 64-bit numbers as texts, enums as numbers.

use bytes::Bytes;
use prost::{Message, Oneof};
use serde::{Serialize, Serializer};

/// `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_logs: Vec<ResourceLogs>,
}

/// Records of one resource.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_logs: Vec<ScopeLogs>,
}

/// Who tells.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
}

/// Records of one instrumentation scope.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) log_records: Vec<LogRecord>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(crate) struct Scope {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

/// One event. It belongs to no trace, so the ids of trace and span are absent.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    #[serde(serialize_with = "as_text")]
    pub(crate) time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(crate) severity_number: i32,
    #[prost(string, tag = "3")]
    pub(crate) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "11")]
    #[serde(serialize_with = "as_text")]
    pub(crate) observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    pub(crate) event_name: String,
}

/// A named value.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

/// A value; none of its kinds is null.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(crate) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6")]
    #[serde(flatten)]
    pub(crate) value: Option<Any>,
}

/// The kinds of values.
#[derive(Clone, PartialEq, Oneof, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Any {
    #[prost(string, tag = "1")]
    StringValue(String),
    #[prost(bool, tag = "2")]
    BoolValue(bool),
    #[prost(int64, tag = "3")]
    IntValue(#[serde(serialize_with = "as_text")] i64),
    #[prost(double, tag = "4")]
    DoubleValue(f64),
    #[prost(message, tag = "5")]
    ArrayValue(ArrayValue),
    #[prost(message, tag = "6")]
    KvlistValue(KeyValueList),
}

/// A list.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(crate) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<AnyValue>,
}

/// A map.
#[derive(Clone, PartialEq, Message, Serialize)]
pub(crate) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<KeyValue>,
}

/// `ExportLogsServiceResponse`; of what a newer one holds nothing is known.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_log_records: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// `google.rpc.Status`: why a request failed.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Detail {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Pause>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Pause {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// 64-bit numbers are texts in JSON: not every reader has so many digits.
fn as_text<S: Serializer>(number: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

impl From<&str> for AnyValue {
    fn from(text: &str) -> Self {
        Any::StringValue(text.to_owned()).into()
    }
}

impl From<Any> for AnyValue {
    fn from(value: Any) -> Self {
        Self { value: Some(value) }
    }
}

impl KeyValue {
    /// A named value.
    pub(crate) fn new(key: impl Into<String>, value: impl Into<AnyValue>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LogRecord {
        LogRecord {
            time_unix_nano: 0x0102_0304_0506_0708,
            severity_number: 17,
            severity_text: "H".into(),
            body: Some("b".into()),
            attributes: vec![
                KeyValue::new("i", Any::IntValue(-1)),
                KeyValue::new("d", Any::DoubleValue(1.0)),
            ],
            observed_time_unix_nano: 1,
            event_name: "e".into(),
        }
    }

    /// By hand from logs.proto and common.proto: tags are field << 3 | wire type.
    #[test]
    fn a_record_has_the_bytes_that_the_public_protos_say() {
        let mut expected = vec![
            0x09, 8, 7, 6, 5, 4, 3, 2, 1, 0x10, 17, 0x1a, 1, b'H', 0x2a, 3, 0x0a, 1, b'b',
        ];
        expected.extend([0x32, 16, 0x0a, 1, b'i', 0x12, 11, 0x18]);
        expected.extend([0xff; 9]);
        expected.push(0x01);
        expected.extend([0x32, 14, 0x0a, 1, b'd', 0x12, 9, 0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        expected.extend([0x59, 1, 0, 0, 0, 0, 0, 0, 0, 0x62, 1, b'e']);
        assert_eq!(record().encode_to_vec(), expected);
    }

    #[test]
    fn a_record_has_the_json_that_the_specification_says() {
        let json = serde_json::to_string(&record()).unwrap();
        let expected = concat!(
            r#"{"timeUnixNano":"72623859790382856","severityNumber":17,"severityText":"H","body":{"stringValue":"b"},"#,
            r#""attributes":[{"key":"i","value":{"intValue":"-1"}},{"key":"d","value":{"doubleValue":1.0}}],"#,
            r#""observedTimeUnixNano":"1","eventName":"e"}"#
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn lists_and_maps_are_told_apart_in_json() {
        let list = AnyValue::from(Any::ArrayValue(ArrayValue {
            values: vec!["x".into()],
        }));
        let map = Any::KvlistValue(KeyValueList {
            values: vec![KeyValue::new("k", list), KeyValue::new("t", Any::BoolValue(true))],
        });
        let json = serde_json::to_string(&AnyValue::from(map)).unwrap();
        let expected = concat!(
            r#"{"kvlistValue":{"values":[{"key":"k","value":{"arrayValue":{"values":[{"stringValue":"x"}]}}},"#,
            r#"{"key":"t","value":{"boolValue":true}}]}}"#
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::to_string(&AnyValue { value: None }).unwrap(), "{}");
    }
}
