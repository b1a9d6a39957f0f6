//! Logging in (RFC 4954): PLAIN, LOGIN, XOAUTH2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::ExposeSecret;
use trapline_sink::config::Secret;
use trapline_sink::{Fault, FaultKind};

use super::{Session, Step};
use crate::reply::Reply;

/// Who we say we are.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) mechanism: Mechanism,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// PLAIN if the server has it, else LOGIN.
    Auto,
    /// RFC 4616.
    Plain,
    /// Two questions; never standardised, and all that some servers have.
    Login,
    /// The password is an access token.
    XOAuth2,
}

impl Mechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::Auto | Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
        }
    }
}

impl Session<'_> {
    /// Says who we are, in the way that the settings and the server agree on.
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<(), Fault> {
        let offered = self.parameters("AUTH").unwrap_or_default();
        let mechanism = self.mechanism(login.mechanism, &offered)?;
        let (user, password) = (&login.user, login.password.expose_secret());
        let token = match mechanism {
            Mechanism::XOAuth2 => BASE64.encode(format!("user={user}\x01auth=Bearer {password}\x01\x01")),
            Mechanism::Login => BASE64.encode(password),
            Mechanism::Auto | Mechanism::Plain => BASE64.encode(format!("\0{user}\0{password}")),
        };
        let reply = match mechanism {
            Mechanism::Login => self.log_in_by_questions(user, &token).await?,
            _ => self.command(&format!("AUTH {} {token}", mechanism.name())).await?,
        };
        // The server says why, and waits for an empty line before it refuses.
        let reply = match (mechanism, reply.code) {
            (Mechanism::XOAuth2, 334) => self.command("").await?,
            _ => reply,
        };
        self.expect(Step::Login, &without(reply, &[&token, password]), 235)
    }

    async fn log_in_by_questions(&mut self, user: &str, token: &str) -> Result<Reply, Fault> {
        let mut reply = self.command("AUTH LOGIN").await?;
        for answer in [BASE64.encode(user).as_str(), token] {
            if reply.code != 334 {
                break;
            }
            reply = self.command(answer).await?;
        }
        Ok(reply)
    }

    fn mechanism(&self, wanted: Mechanism, offered: &[String]) -> Result<Mechanism, Fault> {
        let tried: &[Mechanism] = match wanted {
            Mechanism::Auto => &[Mechanism::Plain, Mechanism::Login],
            _ => &[wanted],
        };
        let found = tried.iter().find(|one| offered.iter().any(|word| word == one.name()));
        found.copied().ok_or_else(|| {
            let names: Vec<_> = tried.iter().map(|one| one.name()).collect();
            let offers = match offered {
                [] => "no login at all".to_owned(),
                words => trapline_schemas::text::clean(words.join(", ").as_bytes()).to_string(),
            };
            let what = format!("offers {offers}, wanted is {}", names.join(" or "));
            self.link.fault(FaultKind::Auth, &what)
        })
    }
}

/// Enough of a secret to know it by: a server's line is cut, also in the middle of one.
const KNOWN_BY_CHARS: usize = 4;

/// The reply, and none of its words if they repeat a secret: some servers quote what they refuse.
fn without(reply: Reply, secrets: &[&str]) -> Reply {
    let beginning = |secret: &str| secret.chars().take(KNOWN_BY_CHARS).collect::<String>();
    let repeats = |line: &String| secrets.iter().any(|secret| line.contains(&beginning(secret)));
    match reply.lines.iter().any(repeats) {
        true => Reply {
            lines: vec!["(its words are not shown, they may repeat the credentials)".to_owned()],
            ..reply
        },
        false => reply,
    }
}
