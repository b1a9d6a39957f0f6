//! Logging in: the keys of a sink's table, and what goes into each request.
//!
//! Invariants: 1. a credential is in a header that is marked as sensitive, or in the body of a request for a token;
//! 2. a token is asked for again before it runs out, and once when the vendor refuses it.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Url};
use trapline_sink::base_url;
use trapline_sink::config::{ExposeSecret, Secret, Table};
use trapline_sink::dial::Resolver;
use trapline_sink::http::HttpClient;
use trapline_sink::oauth::{Credentials, Token, Tokens};
use trapline_sink::tls::Tls;
use trapline_sink::{Fault, FaultKind};

use crate::judge::Failed;
use crate::profile::{AuthKind, Profile};

/// What is allowed, for messages.
pub const AUTH_HINT: &str = "`token`, `username` with `password` or `token`, or `client_id` with `client_secret`";

const TOKEN_URL: &str = "https://login.example/oauth/token";

/// Keys of a sink that logs in to a vendor.
pub mod keys {
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
}

/// What the loader keeps of the keys.
#[derive(Debug, Clone)]
pub enum LoginSettings {
    /// A token alone.
    Token(Secret),
    /// A user.
    User {
        /// The name.
        name: String,
        /// Password or token.
        password: Secret,
    },
    /// A client of OAuth 2.0.
    Client {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: Secret,
        /// Where tokens are given out, if not where the vendor does.
        url: Option<Url>,
        /// What the token is for; may be empty.
        scope: String,
    },
}

impl LoginSettings {
    /// Reads the keys of [`keys`]; what is wrong is told.
    pub fn read(table: &Table) -> Self {
        let both = |key: &str, other: &str| {
            if table.is_set(key) && table.is_set(other) {
                table.problem(key, &format!("both `{key}` and `{other}`"), "one of them");
            }
        };
        let token = table.secret("token").unwrap_or_default();
        if table.is_set("client_id") {
            ["token", "username", "password"]
                .into_iter()
                .for_each(|other| both(other, "client_id"));
            need(table, "client_id", "client_secret");
            return Self::Client {
                id: table.text("client_id"),
                secret: table.secret("client_secret").unwrap_or_default(),
                url: table
                    .is_set("token_url")
                    .then(|| base_url::read(table, "token_url", TOKEN_URL)),
                scope: table.text("token_scope"),
            };
        }
        let of_clients = ["client_secret", "token_url", "token_scope"];
        of_clients.into_iter().for_each(|key| need(table, key, "client_id"));
        if table.is_set("username") {
            both("password", "token");
            if !table.is_set("token") {
                need(table, "username", "password");
            }
            return Self::User {
                name: table.text("username"),
                password: table.secret("password").unwrap_or(token),
            };
        }
        need(table, "password", "username");
        if !table.is_set("token") {
            table.problem("token", "no credentials", AUTH_HINT);
        } else if sensitive("Bearer ", &token).is_none() {
            table.problem(
                "token",
                "`token` holds bytes that no header can carry",
                "one line of printable characters",
            );
        }
        Self::Token(token)
    }

    /// How it logs in to a vendor. Errors: not in a way that the vendor takes.
    pub fn kind(&self, profile: &Profile) -> Result<AuthKind, String> {
        let fits: &[AuthKind] = match self {
            Self::Token(_) => &[AuthKind::Bearer, AuthKind::Header],
            Self::User { .. } => &[AuthKind::Basic],
            Self::Client { .. } => &[AuthKind::OAuth2],
        };
        let kind = profile.auth.iter().find(|kind| fits.contains(kind)).copied();
        kind.ok_or_else(|| {
            let ways = profile.auth.iter().map(|kind| match kind {
                AuthKind::Bearer | AuthKind::Header => "`token`",
                AuthKind::Basic => "`username` with `password` or `token`",
                AuthKind::OAuth2 => "`client_id` with `client_secret`",
            });
            ways.collect::<Vec<_>>().join(", or ")
        })
    }
}

fn need(table: &Table, key: &'static str, other: &'static str) {
    if table.is_set(key) && !table.is_set(other) {
        table.problem(
            key,
            &format!("`{key}` without `{other}`"),
            &format!("both, or neither: {AUTH_HINT}"),
        );
    }
}

/// A login at work.
#[derive(Debug)]
pub enum Login {
    /// A header that never changes.
    Fixed {
        /// Its name.
        name: HeaderName,
        /// Its value, sensitive.
        value: HeaderValue,
        /// What must not be shown.
        secret: Secret,
    },
    /// User and password.
    Basic {
        /// The user.
        name: String,
        /// The password.
        password: Secret,
    },
    /// A token that is asked for.
    Tokens {
        /// Where from.
        tokens: Box<Tokens>,
        /// What must not be shown.
        secret: Secret,
    },
}

/// What a login needs besides its settings.
#[derive(Debug)]
pub struct Place {
    /// The vendor's base URL.
    pub base: Url,
    /// TLS of the sink.
    pub tls: Option<Tls>,
    /// The sink's deadline.
    pub timeout: Duration,
    /// How names become addresses.
    pub resolver: Resolver,
}

impl Login {
    /// Makes a login. Errors: the vendor does not take this kind, or a secret fits no header.
    pub fn new(settings: &LoginSettings, profile: &Profile, place: Place) -> Result<Self, Fault> {
        let kind = settings.kind(profile).map_err(|allowed| Fault {
            kind: FaultKind::Config,
            message: format!("{} does not take these credentials; allowed: {allowed}", profile.name),
        })?;
        match settings {
            LoginSettings::Token(token) => {
                let (name, prefix) = match (kind, &profile.header) {
                    (AuthKind::Header, Some(name)) => (name.clone(), ""),
                    _ => (AUTHORIZATION, "Bearer "),
                };
                let value = sensitive(prefix, token).ok_or_else(|| Fault {
                    kind: FaultKind::Local,
                    message: "the token holds bytes that no header can carry".to_owned(),
                })?;
                let secret = token.clone();
                Ok(Self::Fixed { name, value, secret })
            }
            LoginSettings::User { name, password } => Ok(Self::Basic {
                name: name.clone(),
                password: password.clone(),
            }),
            LoginSettings::Client { id, secret, url, scope } => {
                let mut url = url.clone().unwrap_or_else(|| below(&place.base, profile));
                let path = url.path().trim_start_matches('/').to_owned();
                url.set_path("");
                let tls = place.tls.filter(|_| url.scheme() == "https");
                let client = HttpClient::new(url, tls, place.timeout, place.resolver)?;
                let credentials = Credentials {
                    client_id: id.clone(),
                    client_secret: secret.clone(),
                    scope: scope.clone(),
                };
                Ok(Self::Tokens {
                    tokens: Box::new(Tokens::new(client, &path, credentials, &[])),
                    secret: secret.clone(),
                })
            }
        }
    }

    /// Adds the credentials; the token, if one was asked for. Errors: none was given out.
    pub(crate) async fn sign(&self, request: RequestBuilder) -> Result<(RequestBuilder, Option<Token>), Failed> {
        Ok(match self {
            Self::Fixed { name, value, .. } => (request.header(name, value.clone()), None),
            Self::Basic { name, password } => (request.basic_auth(name, Some(password.expose_secret())), None),
            Self::Tokens { tokens, .. } => {
                let token = tokens.get().await.map_err(|none| Failed::Fault {
                    fault: none.fault,
                    retry_after: none.retry_after,
                })?;
                (request.header(AUTHORIZATION, token.header.clone()), Some(token))
            }
        })
    }

    /// The vendor refused a token that was asked for: the next request has another.
    pub(crate) fn refused(&self, token: &Token) {
        if let Self::Tokens { tokens, .. } = self {
            tokens.refused(token);
        }
    }

    /// What must not be shown, should a vendor repeat it.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        vec![match self {
            Self::Fixed { secret, .. } => secret.expose_secret(),
            Self::Basic { password, .. } => password.expose_secret(),
            Self::Tokens { secret, .. } => secret.expose_secret(),
        }]
    }
}

/// Where a vendor gives out tokens, below its base.
fn below(base: &Url, profile: &Profile) -> Url {
    let mut url = base.clone();
    let path = profile.token_path.as_deref().unwrap_or_default();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn sensitive(prefix: &str, secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", secret.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use trapline_sink::config::Key;

    use super::*;

    fn read(toml: &str) -> (LoginSettings, Vec<String>) {
        static KEYS_AND_TLS: [Key; 8] = [
            keys::TOKEN,
            keys::USERNAME,
            keys::PASSWORD,
            keys::CLIENT_ID,
            keys::CLIENT_SECRET,
            keys::TOKEN_URL,
            keys::TOKEN_SCOPE,
            trapline_sink::tls::KEY,
        ];
        let (table, problems) = Table::for_test(toml, &KEYS_AND_TLS);
        let settings = LoginSettings::read(&table);
        (
            settings,
            problems.take().into_iter().map(|problem| problem.found).collect(),
        )
    }

    #[test]
    fn each_way_to_log_in_is_told_by_its_keys_and_half_of_one_is_a_mistake() {
        for (toml, is_good) in [
            ("token = 't'", true),
            ("username = 'u'\npassword = 'p'", true),
            ("username = 'u'\ntoken = 't'", true),
            ("client_id = 'c'\nclient_secret = 's'", true),
            (
                "client_id = 'c'\nclient_secret = 's'\ntoken_url = 'https://login.example/t'",
                true,
            ),
            ("", false),
            ("username = 'u'", false),
            ("password = 'p'", false),
            ("username = 'u'\npassword = 'p'\ntoken = 't'", false),
            ("client_id = 'c'", false),
            ("token = 't'\nclient_secret = 's'", false),
            ("token = 't'\nclient_id = 'c'\nclient_secret = 's'", false),
            (
                "client_id = 'c'\nclient_secret = 's'\ntoken_url = 'http://login.example/t'",
                false,
            ),
            ("token = \"a\\nb\"", false),
        ] {
            let (_, problems) = read(toml);
            assert_eq!(problems.is_empty(), is_good, "{toml}: {problems:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let (settings, _) = read("client_id = 'a&b'\nclient_secret = 'hush=hush'");
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
