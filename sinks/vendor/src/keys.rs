//! Keys of a sink that logs in to a vendor.

use trapline_sink::config::{Key, KeyKind};

/// A token.
pub const TOKEN: Key = Key::optional(
    "token",
    KeyKind::Secret,
    "API key or token; with `username`, in the place of a password.",
);
/// A user.
pub const USERNAME: Key = Key::optional("username", KeyKind::Text, "User to log in as.");
/// The user's password.
pub const PASSWORD: Key = Key::optional("password", KeyKind::Secret, "The user's password.");
/// A client of OAuth 2.0.
pub const CLIENT_ID: Key = Key::optional(
    "client_id",
    KeyKind::Text,
    "Client of OAuth 2.0 (client credentials), with `client_secret`.",
);
/// Its secret.
pub const CLIENT_SECRET: Key = Key::optional("client_secret", KeyKind::Secret, "The client's secret.");
/// Where tokens are given out.
pub const TOKEN_URL: Key = Key::optional(
    "token_url",
    KeyKind::Address,
    "Where OAuth 2.0 gives out tokens, if not where the vendor usually does.",
);
/// What the token is for.
pub const TOKEN_SCOPE: Key = Key::optional(
    "token_scope",
    KeyKind::Text,
    "Scope of the token, if one must be named.",
);
