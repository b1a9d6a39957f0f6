//! What a mail session tells: its lines as queries, with what may be a secret in them hidden.

use trapline_schemas::{Field, Value};

use super::{Line, Talk};
use crate::decoy::services::lines;

impl Talk<'_> {
    /// Reports a line as a query. From `hidden` on it is hidden; a line that names a secret is hidden all the same.
    pub(super) async fn report(&mut self, line: &Line, hidden: Option<usize>, proof: bool, facts: Vec<(Field, Value)>) {
        let names = || lines::names_a_secret(&line.bytes);
        let from = hidden.or_else(|| names().then(|| lines::shown(&line.bytes)));
        let mut text = line.bytes.clone();
        if let Some(from) = from {
            self.wary = true;
            self.hide(line, from);
            if self.session.masks()
                && let Some(secret) = text.get_mut(from..)
            {
                secret.fill(b'*');
            }
        }
        if proof {
            self.session.query(&text, facts).await;
        } else {
            self.session.request(&text, facts).await;
        }
    }

    /// Hides a line from a place on.
    pub(super) fn hide(&mut self, line: &Line, from: usize) {
        let end = line.at + line.bytes.len() as u64;
        let end = if line.cut { line.end } else { end };
        if line.at + (from as u64) < end {
            self.session.mark_secret(line.at + from as u64..end);
        }
    }

    /// Hides what the peer did not end.
    pub(super) fn hide_rest(&mut self) {
        if let Some(line) = self.cut.take()
            && (self.wary || lines::names_a_secret(&line.bytes))
        {
            self.hide(&line, 0);
        }
        if self.wary || lines::names_a_secret(self.session.input()) {
            self.session.hide_input();
        }
    }
}
