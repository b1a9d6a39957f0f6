//! The logins of one connection: each its own negotiation, found again by its number (MS-SMB2 3.3.1.8; in SMB1 the
//! UID, MS-CIFS 3.3.1.6).
//!
//! Invariants: a few are remembered, whatever a peer begins; as many may be open as a live Samba 4.17.12 allows.

use std::collections::VecDeque;

use crate::decoy::services::ntlm::{Acceptor, Names};

/// Logins that are remembered at once. Of more, the oldest that is still under way is forgotten.
const KEPT_MAX: usize = 16;

/// Logins that may be open at once, forgotten ones among them; after so many a Samba has no resources for another.
const OPEN_MAX: usize = 65_534;

/// The logins of one connection.
pub(super) struct Logins {
    names: Names,
    kept: VecDeque<Login>,
    /// Open, and forgotten.
    lost: usize,
    /// Begun, ever.
    begun: u64,
}

/// One login.
pub(super) struct Login {
    /// Its number; 0: it has none yet.
    pub(super) number: u64,
    pub(super) acceptor: Acceptor,
    pub(super) standing: Standing,
}

/// How far a login has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A token is due.
    Begun,
    /// It is let in, as nobody.
    LetIn,
}

impl Logins {
    /// None yet, by a host of these names.
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            kept: VecDeque::new(),
            lost: 0,
            begun: 0,
        }
    }

    /// A login that begins. `None`: too many are open.
    pub(super) fn begin(&self) -> Option<Login> {
        (self.kept.len() + self.lost < OPEN_MAX).then(|| Login {
            number: 0,
            acceptor: Acceptor::new(self.names.clone()),
            standing: Standing::Begun,
        })
    }

    /// The login of this number, which ends unless it is kept again.
    pub(super) fn take(&mut self, number: u64) -> Option<Login> {
        let place = self.kept.iter().position(|login| login.number == number)?;
        self.kept.remove(place)
    }

    /// Keeps a login that goes on; one that has no number yet gets what `draw` makes of how many there were, and how
    /// many there are. Gives its number.
    pub(super) fn keep(&mut self, mut login: Login, draw: impl Fn(u64, u64) -> u64) -> u64 {
        while login.number == 0 || self.standing(login.number).is_some() {
            login.number = draw(self.begun, self.kept.len() as u64);
            self.begun += 1;
        }
        if self.kept.len() >= KEPT_MAX {
            let oldest = self.kept.iter().position(|login| login.standing == Standing::Begun);
            self.kept.remove(oldest.unwrap_or(0));
            self.lost += 1;
        }
        let number = login.number;
        self.kept.push_back(login);
        number
    }

    /// How far the login of this number has come. `None`: there is none.
    pub(super) fn standing(&self, number: u64) -> Option<Standing> {
        let login = self.kept.iter().find(|login| login.number == number);
        login.map(|login| login.standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoy::testing::install;

    fn logins() -> Logins {
        let look = toml::from_str("version = [6, 1, 0]\nmember_of = 'samba'").unwrap();
        Logins::new(Names::new(&look, &install()))
    }

    #[test]
    fn each_login_has_its_number_and_ends_alone() {
        let mut logins = logins();
        let begin = |logins: &mut Logins| logins.keep(logins.begin().unwrap(), |begun, _| begun / 2 + 1);
        let (one, other) = (begin(&mut logins), begin(&mut logins));
        assert_eq!((one, other), (1, 2));
        let mut login = logins.take(one).unwrap();
        assert_eq!(logins.standing(one), None);
        login.standing = Standing::LetIn;
        assert_eq!(logins.keep(login, |_, _| 9), one);
        assert!(logins.take(other).is_some());
        assert_eq!(
            (logins.standing(one), logins.standing(other)),
            (Some(Standing::LetIn), None)
        );
    }

    #[test]
    fn whoever_begins_forever_is_told_what_samba_tells_and_costs_little() {
        let mut logins = logins();
        let mut first = logins.begin().unwrap();
        first.standing = Standing::LetIn;
        let draw = |begun: u64, _| begun + 1;
        let first = logins.keep(first, draw);
        for _ in 1..65_534 {
            let login = logins.begin().unwrap();
            logins.keep(login, draw);
        }
        assert!(logins.begin().is_none());
        assert_eq!(logins.kept.len(), KEPT_MAX);
        assert_eq!(logins.standing(first), Some(Standing::LetIn));
        assert!(logins.take(65_534).is_some());
        assert!(logins.begin().is_some());
    }
}
