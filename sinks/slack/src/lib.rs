//! Slack: one message per notice, into one channel.
//!
//! By an incoming webhook, which needs one URL and knows its channel:
//!
//! ```toml
//! [sinks.channel]
//! type = "slack"
//! inputs = ["findings", "health"]
//! webhook_url = "${SLACK_WEBHOOK_URL}"    # https://hooks.slack.com/services/T…/B…/…: all of it is the secret
//! ```
//!
//! Or as a bot, which also makes a thread of each incident:
//!
//! ```toml
//! [sinks.channel]
//! type = "slack"
//! inputs = ["findings", "health"]
//! token = "${SLACK_TOKEN}"                # xoxb-…, scope chat:write, invited with /invite
//! channel = "C0123456789"                 # About > at the foot of the channel's details
//! ```
//!
//! In: parcels, each the one notice that somebody is to read. Out: `POST` to the webhook or to `chat.postMessage`:
//! Block Kit, and the whole again as plain text, which is what a notification shows and a screen reader reads.
//!
//! Invariants: 1. what a peer chose stands in `text` elements of `rich_text` and nowhere else in the blocks; nothing is
//! `mrkdwn`; in the text for notifications `&`, `<` and `>` are entities, so no `<!channel>`, `<@U…>` or `<http…|…>` is
//! live; addresses in it are taken apart (`hxxp[:]//evil[.]example`), and nothing unfurls. 2. A message keeps Slack's
//! limits whatever the event. 3. At most one message goes in an `interval`, and none before a `Retry-After` is over. 4.
//! What Slack refuses for its looks goes once more as a short plain text; a notice is put aside only if that is refused
//! too. 5. The token, and of the webhook all but the host, is in no log, error or status.
//!
//! Threads: the first message of an incident begins one, later ones answer it, and one that is graver than all before
//! is shown in the channel as well. Which message began which thread is kept in memory, for the last 1,024 incidents.
//! After a restart it is read from the channel's last two days, where every message carries its incident as metadata.
//! That needs `channels:history` (`groups:history` in a private channel) and the channel's id; without them, or if it
//! fails, an incident goes on in a new thread, and `status` says so. A notice waits for it at
//! most 15 s, and is never lost by it.
//!
//! It does not: fold or count (that is done before), ask for answers, delete or edit, post twice by its own will. Slack
//! has no key against doubles: a message whose answer was lost is sent again, with the same event id at its foot.
//!
//! Source: Slack, "Sending messages using incoming webhooks", "chat.postMessage", "conversations.history", "Block Kit
//! reference", "Formatting message text", "Rate limits".

mod answer;
mod blocks;
mod config;
mod history;
mod memory;
mod message;
mod route;
#[cfg(test)]
mod samples;
mod sink;
mod text;
mod threads;
mod words;

pub use config::SINK;
