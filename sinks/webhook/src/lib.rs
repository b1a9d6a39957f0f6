//! Webhook: events as JSON requests to any address, signed.
//!
//! ```toml
//! [sinks.soar]
//! type = "webhook"
//! inputs = ["decoys", "findings"]
//! url = "https://soar.example/hooks/honeyport"
//! secret = "${SOAR_WEBHOOK_SECRET}"       # whsec_…, as the receiver's library of Standard Webhooks takes it
//! ```
//!
//! In: parcels. Out: `POST` (or `PUT`) with the event as JSON, whole in `format`, or as a template says:
//!
//! ```toml
//! body = '{ "text": "{{ source.ip }} touched {{ honeyport.decoy.id }}", "risk": "{{ event.risk_score }}" }'
//! ```
//!
//! [`trapline_template`] describes templates. They name the event's fields as conditions do, and `whole`, the event as
//! it would be sent without one. `payload` says what a request holds: an event (the default), an array of events, or
//! lines of JSON.
//!
//! Every request has Standard Webhooks' headers: `webhook-id`, which stays the same when a request is sent again (the
//! event's id, or for several events a UUIDv8 of their ids); `webhook-timestamp`, of this attempt; and with a `secret`
//! `webhook-signature`, HMAC-SHA256 over `id.timestamp.body`, the body as it is sent, compressed or not.
//!
//! Invariants: 1. delivered means an answer of 2xx, and one that `success` takes if there is such a condition; 2. no
//! redirect is followed, and no link-local or metadata address is asked, unless that is allowed; 3. what a peer chose
//! is never in a URL, a header, or outside of a JSON value; 4. a signature is over the very bytes that are sent; 5. no
//! secret, URL path, query or header of the operator's is in a log, a status or an error.
//!
//! Answers: 400, 409, 413 and 422 are about the event (alone a dead letter, in a batch it is split); 410 means that the
//! endpoint is gone; 401 and 403 are the credentials', other 4xx and 3xx the configuration's; 429, 503 with
//! `Retry-After` and 5xx are tried again.
//!
//! It does not: sign with Ed25519, ask for OAuth tokens, or put values into the URL.
//!
//! Source: Standard Webhooks 1.0.0; RFC 9110 sections 10.2.3 and 15.

mod answer;
mod config;
mod endpoint;
mod headers;
mod payload;
mod signer;
mod sink;

pub use config::SINK;
