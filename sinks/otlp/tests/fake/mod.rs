//! Strict receivers of OTLP logs on loopback, over HTTP and over gRPC, and sinks for them.
#![allow(dead_code, reason = "each test file uses the part it needs")]

pub mod grpc;
pub mod http;
pub mod store;
pub mod wire;

use std::sync::Arc;

use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::web::Place;
use trapline_sink::dial::Resolver;
use trapline_sink_otlp::SINK;

/// The key that the receivers want.
pub const KEY: &str = "s3cr3t-api-key";

/// A sink of `protocol` at a place.
pub fn sink(protocol: &str, place: &Place, format: Format, more: &str) -> Arc<dyn StreamSink> {
    let toml = format!(
        "endpoint = \"{}\"\nprotocol = \"{protocol}\"\nheaders = \"api-key={KEY}\"\n{}\n{more}",
        place.base,
        place.tls()
    );
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "otel".into(),
        format,
        observer: "lure".into(),
        resolver: place.resolver.clone(),
        notices: NoticeSettings::default(),
    };
    (SINK.parse)(&table).build(&common).unwrap()
}

/// A place without TLS.
pub fn place(base: String) -> Place {
    Place {
        base,
        ca: None,
        resolver: Resolver::default(),
    }
}
