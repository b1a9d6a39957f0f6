//! Syslog sink: RFC 5424 and 3164 over UDP, TCP, TLS and unix sockets.
//!
//! ```toml
//! [sinks.rsyslog]
//! type = "syslog"
//! inputs = ["*"]
//! transport = "tls"               # udp | tcp | tls | unix
//! address = "logs.example:6514"   # unix: a path such as "/dev/log"
//! tls = { ca = "ca.pem", cert = "lure.pem", key = "lure.key" }
//! framing = "octet-counting"      # newline | nul; octet-counting is the default, newline on unix streams
//! rfc = "5424"                    # default; 3164
//! facility = "local0"             # default
//! format = "ecs"                  # default; ecs | ocsf | cef | leef | text
//! ```
//!
//! In: batches. Out: one frame an event. PRI is the facility and, from the event's risk, a severity of info to crit; the
//! timestamp is the event's; MSGID its action; HOSTNAME the observer; STRUCTURED-DATA begins with the event's id, so that
//! it outlives a receiver that cuts long messages; MSG is the event in `format`.
//!
//! What `Delivered` means here. Syslog has no acknowledgement. Over UDP it is "sent". Over TCP and TLS it is "the kernel
//! took it, and the peer had not closed", on a new connection for half a second or longer: what a dying peer had not read
//! yet is covered by sending the last `resend_frames` frames of the last two minutes of a good connection again on the
//! next one, also when no new event comes. Those may be doubles; their ids are the same. A peer that does not take them
//! back is a fault of the sink; what is still owed when the sink ends is sent again at the next start, and what is given
//! up is counted and told. Where proof is needed, use a sink with answers beside it.
//!
//! Invariants:
//! 1. An event is one frame, whatever bytes a peer sent: no LF, CR or NUL is in a message.
//! 2. A frame is at most `message_bytes_max` bytes; what does not fit even in its smallest form is rejected, not cut.
//! 3. The read side is looked at before each write: a closed connection is never written to twice. A peer that *sends*
//!    is no syslog receiver: nothing more is called delivered until it is silent.
//! 4. A write that makes no end within `timeout` gives the connection up.

mod block;
mod datagram;
mod frame;
mod link;
mod settings;
mod sink;
mod tail;
mod wire;

pub use settings::{Rfc, SINK, Settings, Transport};
