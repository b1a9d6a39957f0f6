//! Who holds the trim back.

use std::sync::Arc;

use super::sqlite::Cursors;

/// Consumers whose cursors the age trim does not pass.
#[derive(Debug, Clone)]
pub(super) struct Holders {
    /// Each of them holds everything until it has a cursor.
    steady: Arc<[String]>,
    /// Whether one of those takes entries out of the house, so that what all have read is not here alone.
    delivers: bool,
    /// Each of them holds while it has a cursor.
    guests: Arc<[String]>,
}

impl Holders {
    /// In: `takers` take entries out of the house, `watchers` only make others of them.
    pub fn new(takers: &[String], watchers: &[String], guests: &[String]) -> Self {
        Self {
            steady: [takers, watchers].concat().into(),
            delivers: !takers.is_empty(),
            guests: guests.into(),
        }
    }

    /// Whether what all of them have read stands elsewhere as well.
    pub const fn delivers(&self) -> bool {
        self.delivers
    }

    /// Those that hold it back, given the cursors that there are.
    pub fn at(&self, cursors: &Cursors) -> Arc<[String]> {
        let mut present = self
            .guests
            .iter()
            .filter(|guest| cursors.contains_key(*guest))
            .peekable();
        match present.peek() {
            None => self.steady.clone(),
            Some(_) => self.steady.iter().chain(present).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_holds_while_it_has_a_cursor_and_the_others_always_do() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let holders = Holders::new(
            &names(&["sink/a"]),
            &names(&["window/w"]),
            &names(&["replay/a", "replay/b"]),
        );
        assert_eq!(*holders.at(&Cursors::new()), names(&["sink/a", "window/w"]));
        let there = Cursors::from([("replay/b".to_owned(), 7)]);
        assert_eq!(*holders.at(&there), names(&["sink/a", "window/w", "replay/b"]));
    }
}
