//! Console sink: one line per session for a person at a terminal.
//!
//! ```toml
//! [sinks.console]
//! type = "console"
//! inputs = ["*"]
//! format = "line"    # default; ecs | ocsf | cef | leef | text print each event as it is
//! ```
//!
//! In: events. Out: lines on standard output: local time, level of touch, source, decoy, service, and what tells most.
//!
//! ```text
//! 14:02:11  proof    203.0.113.77              ssh :2222        ssh     login root, admin · password ×3 · OpenSSH_9.2p1 · 4.2 s
//! 14:02:15  intent   10.0.0.9 (inside)         http :8080       http    GET /wp-login.php · curl/8.5.0 · 212 B · 0.1 s
//! 14:02:19  contact  198.51.100.3              telnet :2323     telnet  connected, said nothing
//! ```
//!
//! Each touch is one line. A session's comes at its end. One of which nothing was learned for five seconds after it
//! connected has a line then, because a contact that ends at once has no end of its own; so has one that is still open
//! after 65 seconds. Only what such a session does later is a second line. A datagram with the community in it, a
//! finding or a health event is a line of its own.
//!
//! Invariants:
//! 1. No secret is shown, only that one was offered; no control, bidi or zero-width character leaves here.
//! 2. At most 4096 sessions are remembered; the oldest is printed when one more comes.
//! 3. A blocked terminal (Ctrl-S) stalls this sink and nothing else: writing is a thread's, behind a bounded queue.
//! 4. In `line`, `Delivered` means shown or waiting to be shown: what a crash takes is a line, never an event, which the
//!    journal has. In the other formats it means written.

mod board;
mod facts;
mod layout;
mod out;
mod sink;

use std::io::IsTerminal;
use std::sync::Arc;

use trapline_schemas::Format;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, SinkType, Table};
use trapline_sink::{Fault, StreamSink};

use crate::layout::Screen;
use crate::out::{DEADLINE, Out};
use crate::sink::ConsoleSink;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "console",
    keys: &[Key::default(
        "format",
        KeyKind::Choice(&["line", "ecs", "ocsf", "cef", "leef", "text"]),
        "\"line\"",
        "line: one line per session; else each event as it is",
    )],
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Text, Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef],
    parse: |table: &Table| {
        Box::new(Settings {
            format: Format::find(table.choice("format")),
        })
    },
    doc: "one line per session on the terminal",
};

/// A checked `console` table.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The form of each event; `None`: one line per session.
    pub format: Option<Format>,
}

impl Factory for Settings {
    fn build(&self, _common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let stdout = std::io::stdout();
        let screen = Screen::of(
            stdout.is_terminal(),
            std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()),
        );
        Ok(Arc::new(ConsoleSink::new(
            self.format,
            screen,
            Out::new(Box::new(stdout), DEADLINE),
        )))
    }
}
