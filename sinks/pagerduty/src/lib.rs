//! PagerDuty: an alert per incident, by the Events API v2, resolved when the incident closes.
//!
//! ```toml
//! [sinks.pager]
//! type = "pagerduty"
//! inputs = ["worth_a_human", "health"]       # a filter on intent and proof: README
//! routing_key = "${PAGERDUTY_ROUTING_KEY}"   # the service's integration "Events API V2", 32 letters and digits
//! ```
//!
//! In: parcels, each the one notice that somebody is to be woken by, and `incident-closed`. Out: `POST /v2/enqueue`, one
//! event each. What has the same `dedup_key` is one alert:
//!
//! | event | `event_action` | `dedup_key` |
//! |---|---|---|
//! | a touch, a digest, a scan, an act with an incident | `trigger` | the incident's id |
//! | `incident-closed` | `resolve` | the incident's id |
//! | `sink-failed` / `sink-recovered` | `trigger` / `resolve` | `trapline/OBSERVER/sink/SINK` |
//! | anything else: a digest of several sources, a gap, a test | `trigger` | the event's id; a person resolves it |
//!
//! Invariants: 1. an event that is sent again is the same alert, as long as that is open; 2. what a peer chose stands in `custom_details` alone, one
//! line each, defanged, and so is every text of the whole event; summary, source, component, group and class are ours; 3.
//! an event keeps PagerDuty's bounds, and is at most 256 KiB of the 512 KB; 4. what PagerDuty refuses goes once more
//! without details, and is put aside only if PagerDuty itself refuses that too ([`trapline_sink::courier`]); 5. the routing
//! key is in a request's body and nowhere else, also where an answer repeats it.
//!
//! It does not: fold or count (that is done before), acknowledge, ask for answers, send change events, or know what is
//! open: PagerDuty makes a new alert of a trigger whose alert was resolved, so a dead letter that is sent again after its
//! incident closed opens one that a person resolves; and it drops a resolve under another routing key than the trigger's,
//! so a new key leaves open what is open. PagerDuty takes an event into a queue: a key of the right form that no service
//! has is taken as well, and nobody is called. So `send-test` is to be looked for in PagerDuty.
//!
//! Source: PagerDuty, "Send an alert event", "PD-CEF", OpenAPI of the Events API v2.

mod answer;
mod config;
mod message;
mod sink;

pub use config::SINK;
