//! OpenTelemetry: each event as an OTLP log record, to a Collector or any backend that takes OTLP.
//!
//! ```toml
//! [sinks.otel]
//! type = "otlp"
//! inputs = ["decoys", "findings", "decisions"]
//! endpoint = "https://otel.example:4317"     # 4317 is gRPC, any other port HTTP
//! headers = "${OTLP_HEADERS}"                # api-key=…,other=…, as OTEL_EXPORTER_OTLP_HEADERS
//! ```
//!
//! In: parcels. Out: `ExportLogsServiceRequest`s, by gRPC (`opentelemetry.proto.collector.logs.v1.LogsService/Export`) or
//! by `POST /v1/logs` as protobuf or JSON, gzip.
//! Invariants: 1 an event is delivered when the receiver said so in its own words: an `ExportLogsServiceResponse`, with
//! gRPC under status 0; 2 every record carries its event's id in the attribute `event.id`, so doubles can be found; the
//! same event is the same record each time; 3 what the receiver refuses of a request without saying which (a partial
//! success) is found by sending the parts again, apart: what it took is then there up to three times, under the same id,
//! and what it did not take is a dead letter by name (the specification has a client send nothing again, and so lose events
//! that nobody can name); 4 an answer is judged by its status alone, never by its text; the text is shown, clean and
//! bounded, and not where it holds a header's value; 5 no request is larger than `request_bytes_max`; 6 an event that the
//! receiver refuses without naming it is a dead letter only where it takes a record of ours (`trapline.record_control`) at
//! that moment: what it refuses of everybody is a fault that a person is told of.
//! It does not: follow redirects or proxies, send traces or metrics, or use the SDK's exporter, which drops records when
//! its queue is full and says nothing of each.
//!
//! Source: OpenTelemetry Protocol 1.9, Logs Data Model and its syslog appendix, semantic conventions 1.38; gRPC over
//! HTTP/2; `google.rpc.Status` and `RetryInfo`.

mod answer;
mod config;
mod doubt;
mod grpc;
mod headers;
mod json;
mod names;
mod proto;
mod record;
mod request;
mod said;
mod sink;

pub use config::SINK;
