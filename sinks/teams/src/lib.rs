//! Microsoft Teams: one Adaptive Card per notice, into the channel or the chat of a workflow.
//!
//! ```toml
//! [sinks.team]
//! type = "teams"
//! inputs = ["decoys", "findings", "health"]
//! webhook_url = "${TEAMS_WEBHOOK_URL}"    # of the workflow "Post to a channel when a webhook request is received"
//! ```
//!
//! In Teams: the channel's menu > Workflows > that template; its last page shows the URL, all of which is the secret.
//!
//! In: parcels, each the one notice that somebody is to read. Out: `POST` of a message with one card, version 1.4.
//!
//! Invariants: 1. every text of a card is a `TextRun` of a `RichTextBlock`, which knows no markdown, and there is no
//! `TextBlock`, no `FactSet`, no image, no action and no `msteams.entities`: nothing is a link, a mention or a date;
//! addresses that a peer chose are taken apart besides (`hxxp[:]//evil[.]example`); 2. a message has at most
//! 26,000 bytes, with every character beyond ASCII as an escape, and in UTF-16 as a text within JSON: Teams refuses about
//! 28 KB, does not say how it counts, and does so when the workflow has said yes; facts are left out from the last one
//! on, and the card says how many; 3. only a code of the workflow's own, under 400, 413 or 422, is about the message;
//! 4. the URL beyond its host is in no log, error or status. The pace and the short card are those of all sinks that
//! people read in chat ([`trapline_sink::courier`]).
//!
//! It does not: make threads of incidents, edit or delete, for a workflow answers before it posts and names no message;
//! know whether the card was posted: `202` says that the workflow has begun, and its run history tells the rest; post
//! through the retired connectors of Office 365. A workflow has no key against doubles: a message whose answer was lost
//! is sent again, with the same event id at its foot.
//!
//! Source: Microsoft, "Create incoming webhooks with Workflows for Microsoft Teams", "Microsoft Teams connector" (known
//! limits), "Text formatting in cards"; Adaptive Cards schema 1.4; "Schedule, trigger, and run workflows" (error codes).

mod answer;
mod card;
mod config;
mod sink;

pub use config::SINK;
