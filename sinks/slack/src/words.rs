//! The code words of Slack, what each is about, and what an operator is to do.
//!
//! Source: the lists of errors of `auth.test`, `chat.postMessage`, `conversations.*`, and of incoming webhooks.

use trapline_sink::codes::About::{Credentials, Message, Pace, Server, Settings};
use trapline_sink::codes::{Codes, Row};

/// The words but for [`THREADS`].
pub(crate) const CODES: Codes = Codes {
    who: "slack",
    where_unset: "does not let us post",
    rows: ROWS,
};

/// Words that are about the thread of a message.
pub(crate) const THREADS: &[&str] = &[
    "cannot_reply_to_message",
    "invalid_thread_ts",
    "message_not_found",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
    "thread_locked",
    "thread_not_found",
];

const NEW_TOKEN: &str = "take the bot token of an app that is installed";
const INVITE: &str = "invite the bot with /invite, and name the channel by its id";
const NEW_WEBHOOK: &str = "the webhook was removed, make a new one";
const PREFERENCE: &str = "a preference of the workspace or the channel forbids it";

/// The words that are documented.
const ROWS: &[Row] = &[
    ("not_authed", Credentials, NEW_TOKEN),
    ("invalid_auth", Credentials, NEW_TOKEN),
    ("invalid_token", Credentials, "copy it again, whole"),
    ("token_revoked", Credentials, NEW_TOKEN),
    ("token_expired", Credentials, NEW_TOKEN),
    ("account_inactive", Credentials, NEW_TOKEN),
    ("org_login_required", Credentials, ""),
    ("two_factor_setup_required", Credentials, ""),
    ("not_allowed_token_type", Credentials, "take a bot token, xoxb-…"),
    (
        "missing_scope",
        Settings,
        "give the app the scope chat:write and install it again",
    ),
    (
        "no_permission",
        Settings,
        "give the app the scope chat:write and install it again",
    ),
    ("channel_not_found", Settings, INVITE),
    ("not_in_channel", Settings, INVITE),
    ("is_archived", Settings, "the channel is archived"),
    ("channel_is_archived", Settings, "the channel is archived"),
    ("action_prohibited", Settings, PREFERENCE),
    ("posting_to_general_channel_denied", Settings, PREFERENCE),
    ("restricted_action", Settings, PREFERENCE),
    ("restricted_action_read_only_channel", Settings, PREFERENCE),
    ("restricted_action_thread_only_channel", Settings, PREFERENCE),
    ("no_service", Settings, NEW_WEBHOOK),
    ("no_service_id", Settings, NEW_WEBHOOK),
    ("no_active_hooks", Settings, NEW_WEBHOOK),
    ("no_team", Settings, NEW_WEBHOOK),
    ("team_disabled", Settings, "the workspace is closed"),
    ("team_not_found", Settings, ""),
    ("team_access_not_granted", Settings, ""),
    ("user_not_found", Settings, NEW_WEBHOOK),
    ("access_denied", Settings, ""),
    ("accesslimited", Settings, ""),
    ("app_access_restricted", Settings, ""),
    ("ekm_access_denied", Settings, ""),
    ("enterprise_is_restricted", Settings, ""),
    ("messages_tab_disabled", Settings, ""),
    ("method_deprecated", Settings, ""),
    ("deprecated_endpoint", Settings, ""),
    ("unknown_method", Settings, "is `endpoint` the API of Slack?"),
    ("ratelimited", Pace, ""),
    ("rate_limited", Pace, ""),
    ("message_limit_exceeded", Pace, ""),
    ("external_channel_migrating", Pace, ""),
    ("fatal_error", Server, ""),
    ("internal_error", Server, ""),
    ("rollup_error", Server, ""),
    ("server_error", Server, ""),
    ("service_unavailable", Server, ""),
    ("request_timeout", Server, ""),
    ("team_added_to_org", Server, ""),
    ("msg_too_long", Message, ""),
    ("msg_blocks_too_long", Message, ""),
    ("invalid_blocks", Message, ""),
    ("invalid_blocks_format", Message, ""),
    ("invalid_attachments", Message, ""),
    ("invalid_payload", Message, ""),
    ("invalid_arguments", Message, ""),
    ("invalid_json", Message, ""),
    ("json_not_object", Message, ""),
    ("no_text", Message, ""),
    ("too_many_attachments", Message, ""),
    ("attachment_payload_limit_exceeded", Message, ""),
    ("markdown_text_conflict", Message, ""),
    ("metadata_too_large", Message, ""),
    ("metadata_must_be_sent_from_app", Message, ""),
    ("invalid_metadata_format", Message, ""),
    ("invalid_metadata_schema", Message, ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_in_one_table_and_once() {
        assert_eq!(CODES.double(), None);
        assert!(THREADS.iter().all(|word| CODES.verdict(word).is_none()));
    }
}
