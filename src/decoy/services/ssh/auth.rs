//! User authentication: who comes, and with what. Nobody gets in.
//!
//! In: requests of a client that has exchanged keys. Out: a credential for each password and each public key, refused
//! with the words and after the time of the claimed server; who asked only which methods there are is reported when
//! the session ends.
//!
//! Source: RFC 4252, RFC 4256; order, counts and texts as OpenSSH's auth2.c and its methods, compared with a live
//! 9.2p1 under Debian's configuration.

use std::time::Duration;

use trapline_schemas::{Field, Value, text};

use super::hostkey::{fingerprint, key_type};
use super::transport::{End, Message, Transport};
use super::wire::{Reader, Writer};

/// `SSH_MSG_SERVICE_REQUEST` and its answer.
pub(super) const SERVICE_REQUEST: u8 = 5;
const SERVICE_ACCEPT: u8 = 6;

/// `SSH_MSG_USERAUTH_REQUEST` and its answer.
pub(super) const REQUEST: u8 = 50;
const FAILURE: u8 = 51;

/// `SSH_MSG_USERAUTH_INFO_REQUEST` and its answer: RFC 4256.
const INFO_REQUEST: u8 = 60;
pub(super) const INFO_RESPONSE: u8 = 61;

/// Failures until the server hangs up: `MaxAuthTries`.
const TRIES: u32 = 6;

/// Time of the shortest refusal since OpenSSH 7.8, and how much longer it may be for a user.
const DELAY_MIN: Duration = Duration::from_millis(5);
const DELAY_SPREAD_NANOS: u64 = 4_294_967;

/// Methods of authentication: part of the `[look]` of an `ssh` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    /// Methods that can continue, in the product's order.
    methods: Vec<String>,
    /// How long it takes to find a password wrong: half as long to half as long again, as PAM draws it.
    failed_delay_ms: u64,
    /// Whether refusals are drawn out to a time of the user's own, doubled as often as needed: OpenSSH since 7.8.
    draws_out: bool,
    /// What `keyboard-interactive` asks for; empty: the server has nothing to ask with.
    #[serde(default)]
    prompt: String,
    /// What it says after the first key exchange, by name: `server-sig-algs` and others.
    pub(super) extensions: Vec<(String, String)>,
}

/// Where a client's authentication stands.
pub(super) struct Login<'a> {
    look: &'a Auth,
    /// What the install draws the users' own times from.
    draw: &'a (dyn Fn(&str) -> [u8; 32] + Sync),
    /// The service was asked for.
    accepted: bool,
    /// A prompt was sent and waits for its answer.
    asked: bool,
    attempts: u32,
    failures: u32,
    /// As typed in the first request, with the service that it is for and the method.
    user: Vec<u8>,
    service: Vec<u8>,
    method: Vec<u8>,
}

/// A request: RFC 4252 section 5.
struct Request<'a> {
    user: &'a [u8],
    service: &'a [u8],
    method: &'a [u8],
    rest: Reader<'a>,
}

impl<'a> Request<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::new(body);
        Some(Self {
            user: rest.text()?,
            service: rest.text()?,
            method: rest.text()?,
            rest,
        })
    }
}

/// What a client tries.
enum Attempt<'a> {
    /// The secret.
    Password(&'a [u8]),
    /// A new password with the old one, which OpenSSH does not look at.
    Change(&'a [u8]),
    /// The public key.
    Key(&'a [u8]),
    /// Anything that can be answered with one prompt.
    Interactive,
    /// Another method, or none.
    Other,
}

impl<'a> Attempt<'a> {
    /// Reads what a method sends. `None`: a packet that sshd dies of.
    fn read(method: &[u8], mut from: Reader<'a>) -> Option<Self> {
        match method {
            b"password" => {
                let is_change = from.boolean()?;
                let password = from.text()?;
                if is_change {
                    from.text()?;
                }
                let attempt = if is_change { Self::Change } else { Self::Password };
                from.is_empty().then(|| attempt(password))
            }
            b"publickey" | b"publickey-hostbound-v00@openssh.com" => {
                let _is_signed = from.boolean()?;
                let _algorithm = from.text()?;
                from.string().map(Self::Key)
            }
            b"keyboard-interactive" => {
                let (_language, _devices) = (from.text()?, from.text()?);
                from.is_empty().then_some(Self::Interactive)
            }
            _ => Some(Self::Other),
        }
    }
}

impl<'a> Login<'a> {
    /// Before anything was asked. In: also what is drawn by the install for a label.
    pub(super) fn new(look: &'a Auth, draw: &'a (dyn Fn(&str) -> [u8; 32] + Sync)) -> Self {
        Self {
            look,
            draw,
            accepted: false,
            asked: false,
            attempts: 0,
            failures: 0,
            user: Vec::new(),
            service: Vec::new(),
            method: Vec::new(),
        }
    }

    /// Answers a message of authentication.
    pub(super) async fn answer(&mut self, transport: &mut Transport<'_>, message: &Message) -> Result<(), End> {
        match message.number {
            SERVICE_REQUEST => self.accept(transport, message).await,
            REQUEST if self.accepted => self.request(transport, message).await,
            INFO_RESPONSE if self.asked => self.respond(transport, message).await,
            _ => {
                transport.unimplemented(message);
                Ok(())
            }
        }
    }

    async fn accept(&mut self, transport: &mut Transport<'_>, message: &Message) -> Result<(), End> {
        let mut body = Reader::new(message.body());
        let service = body.text().filter(|_| body.is_empty()).ok_or(End::Closed)?;
        if service != b"ssh-userauth" {
            let text = [b"bad service request ", service].concat();
            return Err(transport.refuse(&text).await);
        }
        self.accepted = true;
        transport.put(&Writer::message(SERVICE_ACCEPT).string(service).done());
        Ok(())
    }

    async fn request(&mut self, transport: &mut Transport<'_>, message: &Message) -> Result<(), End> {
        let request = Request::read(message.body()).ok_or(End::Closed)?;
        self.attempts += 1;
        if self.attempts == 1 {
            self.user = request.user.to_vec();
            self.service = request.service.to_vec();
            self.method = request.method.to_vec();
        } else if account(&self.user) != account(request.user) || self.service != request.service {
            return Err(transport.refuse(&self.changed(&request)).await);
        }
        self.asked = false;
        let is_offered = self.look.methods.iter().any(|method| offers(method, request.method));
        let attempt = if is_offered {
            Attempt::read(request.method, request.rest).ok_or(End::Closed)?
        } else {
            Attempt::Other
        };
        if matches!(attempt, Attempt::Interactive) && !self.look.prompt.is_empty() {
            return self.ask(transport);
        }
        self.report(transport, request.method, &attempt).await;
        self.wait(transport, request.method, &attempt).await?;
        self.fail(transport, request.method == b"none").await
    }

    fn changed(&self, request: &Request<'_>) -> Vec<u8> {
        [
            b"Change of username or service not allowed: (",
            account(&self.user),
            b",",
            &self.service,
            b") -> (",
            account(request.user),
            b",",
            request.service,
            b")",
        ]
        .concat()
    }

    /// Sends the prompt of keyboard-interactive.
    fn ask(&mut self, transport: &mut Transport<'_>) -> Result<(), End> {
        self.asked = true;
        let message = Writer::message(INFO_REQUEST).string(b"").string(b"").string(b"");
        let message = message.u32(1).string(self.look.prompt.as_bytes()).byte(0);
        transport.put(&message.done());
        Ok(())
    }

    /// Reads the answer to the prompt.
    async fn respond(&mut self, transport: &mut Transport<'_>, message: &Message) -> Result<(), End> {
        self.asked = false;
        let mut body = Reader::new(message.body());
        let count = body.u32().ok_or(End::Closed)?;
        let typed = if count == 1 { body.text() } else { None };
        let typed = typed.filter(|_| body.is_empty()).ok_or(End::Closed)?;
        let facts = vec![(Field::SshAuthMethod, "keyboard-interactive".into())];
        transport.session.credential("password", &self.user, typed, facts).await;
        transport.session.pause_for(self.checking()).await?;
        self.fail(transport, false).await
    }

    async fn report(&self, transport: &mut Transport<'_>, method: &[u8], attempt: &Attempt<'_>) {
        let mut facts: Vec<(Field, Value)> = vec![(Field::SshAuthMethod, text::clean(method).into())];
        match attempt {
            Attempt::Password(password) | Attempt::Change(password) => {
                transport
                    .session
                    .credential("password", &self.user, password, facts)
                    .await;
            }
            Attempt::Key(key) => {
                facts.push((Field::SshKeyFingerprint, fingerprint(key).into()));
                let kind = key_type(key).unwrap_or_default();
                facts.push((Field::SshKeyType, text::clean_within(kind, KEY_TYPE_CHARS_MAX).into()));
                transport.session.key(&self.user, facts).await;
            }
            Attempt::Interactive | Attempt::Other => {}
        }
    }

    /// Takes the time of a refusal.
    async fn wait(&self, transport: &mut Transport<'_>, method: &[u8], attempt: &Attempt<'_>) -> Result<(), End> {
        let busy = match attempt {
            Attempt::Password(_) => self.checking(),
            _ => Duration::ZERO,
        };
        let time = if self.look.draws_out && method != b"none" {
            drawn_out(busy, self.own_time())
        } else {
            busy
        };
        if !time.is_zero() {
            transport.flush().await?;
            transport.session.pause_for(time).await?;
        }
        Ok(())
    }

    /// How long a password takes to be found wrong: the mean of three draws, as PAM delays it.
    fn checking(&self) -> Duration {
        let draws: f64 = (0..3).map(|_| rand::random_range(0.0..1.0)).sum();
        Duration::from_millis(self.look.failed_delay_ms).mul_f64(0.5 + draws / 3.0)
    }

    /// The user's own time: the same at each visit, unlike on another install.
    fn own_time(&self) -> Duration {
        let label = format!("ssh delay {}", text::clean(account(&self.user)));
        let [a, b, c, d, ..] = (self.draw)(&label);
        let share = u64::from(u32::from_be_bytes([a, b, c, d]));
        DELAY_MIN + Duration::from_nanos(share * DELAY_SPREAD_NANOS / u64::from(u32::MAX))
    }

    /// Counts a failure, and says so, or hangs up. Whoever asks first which methods there are has not failed.
    async fn fail(&mut self, transport: &mut Transport<'_>, is_none: bool) -> Result<(), End> {
        if self.attempts > 1 || !is_none {
            self.failures += 1;
        }
        if self.failures >= TRIES {
            return Err(transport.refuse(b"Too many authentication failures").await);
        }
        let methods = self.look.methods.join(",");
        let message = Writer::message(FAILURE).string(methods.as_bytes()).byte(0);
        transport.put(&message.done());
        Ok(())
    }

    /// Reports, at the end, a user that nothing was tried for.
    pub(super) async fn leave(self, transport: &mut Transport<'_>) {
        if self.attempts == 0 || transport.session.credentials() > 0 {
            return;
        }
        let session = &mut *transport.session;
        let facts = vec![
            (Field::SshAuthMethod, text::clean(&self.method).into()),
            (Field::UserName, session.user(&self.user)),
        ];
        // As sshd logs it.
        let parts = [b"userauth-request for user ", &*self.user, b" method ", &*self.method];
        session.request(&parts.concat(), facts).await;
    }
}

/// Longest type of a key in an event, characters: the longest of OpenSSH has 43.
const KEY_TYPE_CHARS_MAX: usize = 64;

/// The account that a user name is of: what follows a colon is a style.
fn account(user: &[u8]) -> &[u8] {
    user.split(|byte| *byte == b':').next().unwrap_or_default()
}

/// Whether a method that is offered goes by this name too.
fn offers(method: &str, asked: &[u8]) -> bool {
    let bound = asked == b"publickey-hostbound-v00@openssh.com" && method == "publickey";
    bound || method.as_bytes() == asked
}

/// A user's own time, doubled until it is no shorter than what was done.
fn drawn_out(busy: Duration, own: Duration) -> Duration {
    let mut time = own;
    while time < busy {
        time *= 2;
    }
    time
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_takes_the_users_own_time_doubled() {
        let millis = Duration::from_millis;
        assert_eq!(drawn_out(Duration::ZERO, millis(7)), millis(7));
        // A live 9.2p1 with PAM took 3.1 s for one user three times, and 2.2 s and 4.1 s for another.
        assert_eq!(drawn_out(millis(1200), millis(8)), millis(2048));
        assert_eq!(drawn_out(millis(2100), millis(8)), millis(4096));
    }

    #[test]
    fn a_method_that_is_offered_goes_by_its_other_name_too() {
        assert!(offers("publickey", b"publickey-hostbound-v00@openssh.com"));
        assert!(!offers("password", b"publickey-hostbound-v00@openssh.com"));
        assert_eq!(account(b"root:pam"), b"root");
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_request_are_read_or_not(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            method in prop::sample::select(vec![&b"password"[..], b"publickey", b"keyboard-interactive", b"none", b"x"]),
        ) {
            let _ = Request::read(&bytes).map(|request| request.user.len() + request.service.len());
            match Attempt::read(method, Reader::new(&bytes)) {
                Some(Attempt::Password(part) | Attempt::Change(part) | Attempt::Key(part)) => {
                    prop_assert!(part.len() < bytes.len());
                }
                Some(Attempt::Interactive | Attempt::Other) | None => {}
            }
        }
    }
}
