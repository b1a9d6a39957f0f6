//! The sinks there are: one row each.

use trapline_sink::config::SinkType;
use trapline_sink::set::SetType;

/// Every sink type.
pub static SINKS: &[&SinkType] = &[
    &trapline_sink_case::SINK,
    &trapline_sink_console::SINK,
    &trapline_sink_elasticsearch::SINK,
    &trapline_sink_email::SINK,
    &trapline_sink_file::SINK,
    &trapline_sink_kafka::SINK,
    &trapline_sink_otlp::SINK,
    &trapline_sink_pagerduty::SINK,
    &trapline_sink_sentinel::SINK,
    &trapline_sink_slack::SINK,
    &trapline_sink_splunk_hec::SINK,
    &trapline_sink_syslog::SINK,
    &trapline_sink_teams::SINK,
    &trapline_sink_webhook::SINK,
];

/// Every type of sink that acts.
pub static SETS: &[&SetType] = &[
    &trapline_sink_blocklist::SINK,
    &trapline_sink_firewall::SINK,
    &trapline_sink_rpz::SINK,
];
