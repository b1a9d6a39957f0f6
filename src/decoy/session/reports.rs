//! What a session reports while it lasts: the peer's identity, credentials, queries.
//!
//! Invariant: a report waits for room in the channel; what it says is masked first.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout_at;
use trapline_schemas::{Action, Field, Timestamp, Value, text};

use super::Session;
use super::secure::Stray;
use crate::decoy::mask;
use crate::roles::{Hit, OfferedSecret, Touch};

impl Session {
    /// Reports the peer's protocol identity (at most once a session). After a handshake of TLS, which is reported as
    /// such, the facts are told with what is reported next; any other later call is ignored.
    pub async fn handshake(&mut self, facts: Vec<(Field, Value)>) {
        if self.handshaken && !self.tls_tried {
            return;
        }
        self.raise(Touch::Intent);
        self.meet(facts).await;
    }

    /// Reports the hello of TLS that was awaited. It asks for nothing yet: whoever goes no further made contact.
    pub(super) async fn meet(&mut self, facts: Vec<(Field, Value)>) {
        self.carry(facts);
        // Half a hello of TLS tells nothing yet; the rest of it is awaited with the next report.
        if !self.handshaken && !matches!(self.stray_hello(), Stray::Begun) {
            self.tell_identity().await;
        }
    }

    /// Keeps what was learned of the peer for its handshake event, which more is to be learned for: a hello of TLS. It
    /// is told with [`Session::handshake`], before anything else is reported, or at the end.
    pub fn introduce(&mut self, facts: Vec<(Field, Value)>) {
        if !self.handshaken {
            self.carry(facts);
        }
    }

    /// Of what a peer says of itself over and over, the last counts: there is one value of a field.
    fn carry(&mut self, facts: Vec<(Field, Value)>) {
        for (field, value) in facts {
            self.carried.retain(|(known, _)| *known != field);
            self.carried.push((field, value));
        }
    }

    async fn tell_identity(&mut self) {
        let facts = self.identity();
        self.handshaken = true;
        self.report(Action::Handshake, facts, None).await;
    }

    /// All that is known of the peer. If it spoke TLS where none was awaited, that is who it is, and what the service
    /// made of it means nothing.
    pub(super) fn identity(&mut self) -> Vec<(Field, Value)> {
        let carried = std::mem::take(&mut self.carried);
        match self.stray_hello() {
            Stray::Whole(facts) => facts,
            _ => carried,
        }
    }

    /// Before anything is reported, the peer is introduced, if it can be; what was learned since goes with it.
    async fn catch_up(&mut self, facts: &mut Vec<(Field, Value)>) {
        if self.handshaken {
            let known = |field: Field| facts.iter().any(|(of, _)| *of == field);
            let mut carried = std::mem::take(&mut self.carried);
            carried.retain(|(field, _)| !known(*field));
            facts.append(&mut carried);
        } else if !self.carried.is_empty() || matches!(self.stray_hello(), Stray::Whole(_)) {
            self.raise(Touch::Intent);
            Box::pin(self.tell_identity()).await;
        }
    }

    /// Reports a credential attempt, up to the limit; beyond it attempts are counted for the session end.
    ///
    /// `kind`: password, community, token, form or hash. `user` may be empty. `secret`: as it would be typed; an encoded form
    /// of it in the stream is to be named by [`Session::mark_secret`].
    pub async fn credential(&mut self, kind: &'static str, user: &[u8], secret: &[u8], facts: Vec<(Field, Value)>) {
        self.offer(Action::Credential, kind, user, secret, facts).await;
    }

    /// Like [`Session::credential`], for an answer to an NTLM challenge. `secret`: the line that crackers of passwords
    /// read; its bytes in the stream are to be named by [`Session::mark_secret`].
    pub async fn ntlm(&mut self, user: &[u8], secret: &[u8], facts: Vec<(Field, Value)>) {
        self.offer(Action::Ntlm, "hash", user, secret, facts).await;
    }

    async fn offer(
        &mut self,
        action: Action,
        kind: &'static str,
        user: &[u8],
        secret: &[u8],
        facts: Vec<(Field, Value)>,
    ) {
        if let Some(inbound) = self.inbound.as_deref_mut() {
            inbound.know(secret);
        }
        let secret = OfferedSecret { bytes: secret.into() };
        self.attempt(action, kind, user, Some(secret), facts).await;
    }

    /// Like [`Session::credential`] for a public key, which is no secret.
    pub async fn key(&mut self, user: &[u8], facts: Vec<(Field, Value)>) {
        self.attempt(Action::Credential, "key", user, None, facts).await;
    }

    /// Attempts so far.
    pub fn credentials(&self) -> u32 {
        self.credentials
    }

    async fn attempt(
        &mut self,
        action: Action,
        kind: &'static str,
        user: &[u8],
        secret: Option<OfferedSecret>,
        mut facts: Vec<(Field, Value)>,
    ) {
        self.raise(Touch::Proof);
        self.credentials = self.credentials.saturating_add(1);
        if self.credentials > self.limits().credentials_per_session {
            return;
        }
        facts.push((Field::CredentialKind, kind.into()));
        facts.push((Field::EventSequence, self.credentials.into()));
        if !user.is_empty() {
            facts.push((Field::UserName, self.user(user)));
        }
        self.catch_up(&mut facts).await;
        self.report(action, facts, secret).await;
    }

    /// Whether the handshake was reported.
    pub fn is_introduced(&self) -> bool {
        self.handshaken
    }

    /// Reports a command or statement, up to the limit; beyond it queries are counted for the session end.
    pub async fn query(&mut self, text: &[u8], facts: Vec<(Field, Value)>) {
        self.ask(Touch::Proof, text, facts).await;
    }

    /// Like [`Session::query`] for what browsers and monitors ask as well: it proves intent and no more.
    pub async fn request(&mut self, text: &[u8], facts: Vec<(Field, Value)>) {
        self.ask(Touch::Intent, text, facts).await;
    }

    async fn ask(&mut self, touch: Touch, text: &[u8], mut facts: Vec<(Field, Value)>) {
        self.raise(touch);
        self.queries = self.queries.saturating_add(1);
        if self.queries > self.limits().queries_per_session {
            return;
        }
        let typed = self.masked(text);
        facts.push((Field::Commands, vec![text::clean(&typed)].into()));
        facts.push((Field::EventSequence, self.queries.into()));
        self.catch_up(&mut facts).await;
        self.report(Action::Query, facts, None).await;
    }
}

impl Session {
    /// A user name, which may be a known secret too, but names none.
    pub fn user(&self, typed: &[u8]) -> Value {
        let mut typed = typed.to_vec();
        if self.masks() {
            let places = mask::lines::places(&typed);
            mask::apply(&mut typed, &places);
        }
        text::clean(&typed).into()
    }

    /// Masks what is known or named as secret in facts.
    pub(super) fn mask_facts(&self, facts: &mut [(Field, Value)]) {
        if let Some(inbound) = self.inbound.as_deref().filter(|_| self.masks()) {
            inbound.mask_facts(facts);
        }
    }

    async fn report(&mut self, action: Action, mut facts: Vec<(Field, Value)>, secret: Option<OfferedSecret>) {
        self.reported = true;
        self.mask_facts(&mut facts);
        let hit = Hit {
            action,
            at: Timestamp::now(),
            contact: Arc::clone(&self.contact),
            touch: self.touch,
            facts,
            secret,
            capture: None,
        };
        if let Err(TrySendError::Full(hit)) = self.shared.hits.try_send(hit) {
            Box::pin(self.report_late(hit)).await;
        }
    }

    /// Waits for room; the peer is not held longer than the session may last.
    async fn report_late(&mut self, hit: Hit) {
        let permit = match timeout_at(self.deadline(), self.shared.hits.reserve()).await {
            Ok(permit) => permit,
            Err(_) => {
                self.live.end("the journal is slow");
                self.shared.hits.reserve().await
            }
        };
        if let Ok(permit) = permit {
            permit.send(hit);
        }
    }
}
