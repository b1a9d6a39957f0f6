//! Who holds the trim back.

use std::sync::Arc;

use super::sqlite::Cursors;

/// Consumers whose cursors the age trim does not pass.
#[derive(Debug, Clone)]
pub(super) struct Holders {
    /// Each of them holds everything until it has a cursor.
    steady: Arc<[String]>,
    /// Each of them holds while it has a cursor.
    guests: Arc<[String]>,
}

impl Holders {
    pub fn new(steady: &[String], guests: &[String]) -> Self {
        Self {
            steady: steady.into(),
            guests: guests.into(),
        }
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
        let holders = Holders::new(&names(&["sink/a"]), &names(&["replay/a", "replay/b"]));
        assert_eq!(*holders.at(&Cursors::new()), names(&["sink/a"]));
        let there = Cursors::from([("replay/b".to_owned(), 7)]);
        assert_eq!(*holders.at(&there), names(&["sink/a", "replay/b"]));
    }
}
