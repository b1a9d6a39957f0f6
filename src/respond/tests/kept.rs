//! What a restart finds.

use super::*;
use crate::respond::book;
use crate::respond::history;

/// The journal's state after all that came out.
#[derive(Default)]
struct State(std::collections::BTreeMap<String, Vec<u8>>);

impl State {
    fn save(&mut self, engine: &mut Engine) {
        for (name, row) in engine.take().state {
            match row {
                Some(row) => drop(self.0.insert(name, row)),
                None => drop(self.0.remove(&name)),
            }
        }
    }

    fn rows(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let rows = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        rows.map(|(name, row)| (name.clone(), row.clone())).collect()
    }

    fn restored(&self, settings: ResponseSettings) -> Engine {
        let (book, unreadable) = Book::restore(self.rows(book::STATE));
        assert_eq!(unreadable, [""; 0]);
        let (history, unreadable) = History::restore(settings.remember, self.rows(history::STATE));
        assert_eq!(unreadable, [""; 0]);
        let rules = compiled(&settings);
        Engine::new(settings, rules, book, history)
    }
}

fn escalating() -> ResponseSettings {
    let steps = RuleSpec {
        steps: vec![HOUR, DAY],
        ..rule("proof", Touch::Proof)
    };
    settings(Mode::Enforce, vec![steps])
}

#[test]
fn a_decision_keeps_its_id_and_the_rest_of_its_time_and_its_step() {
    let mut engine = engine(escalating());
    let mut state = State::default();
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    engine.add(wish("2001:db8::/64"), at(0)).unwrap();
    let before: std::collections::BTreeMap<_, _> = engine
        .book()
        .all()
        .map(|decision| (decision.id, (decision.target, decision.until)))
        .collect();
    state.save(&mut engine);
    let mut engine = state.restored(escalating());
    let after = engine
        .book()
        .all()
        .map(|decision| (decision.id, (decision.target, decision.until)))
        .collect();
    assert_eq!(before, after);
    assert_eq!(blocked(&engine), ["2001:db8::/64", "203.0.113.7"]);
    engine.pass(at(3600));
    assert_eq!(blocked(&engine), [""; 0]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 3601));
    let next = engine.book().automatic("203.0.113.7".parse().unwrap()).unwrap();
    assert_eq!((next.step(), next.ttl), (2, DAY));
}

#[test]
fn what_is_over_is_known_until_it_is_undone_where_it_was_in_force() {
    let mut engine = engine(escalating());
    let mut state = State::default();
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    let id = only(&engine).id;
    engine.applied(id, "firewall", Some("7".into()));
    engine.applied(id, "sinkhole", None);
    engine.pass(at(3600));
    state.save(&mut engine);
    let mut engine = state.restored(escalating());
    assert_eq!((only(&engine).phase, blocked(&engine).len()), (Phase::Over, 0));
    let target: Target = "203.0.113.7".parse().unwrap();
    assert_eq!(engine.lifted(target, None, "firewall").map(|was| was.id), Some(id));
    assert_eq!(engine.lifted(target, Some(id), "sinkhole").map(|was| was.id), Some(id));
    assert!(engine.book().is_empty());
    state.save(&mut engine);
    assert_eq!(state.rows(book::STATE).len(), 0);
}

#[test]
fn what_nobody_saw_end_is_undone_where_all_is_found_as_wanted() {
    let mut engine = engine(escalating());
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    let id = only(&engine).id;
    engine.applied(id, "firewall", None);
    assert_eq!(engine.undone("firewall", at(10_000)), []);
    engine.pass(at(3600));
    // What the destination is to end by itself may stand for a moment.
    assert_eq!(engine.undone("firewall", at(3605)), []);
    assert_eq!(engine.undone("sinkhole", at(3611)), []);
    assert_eq!(engine.undone("firewall", at(3611)), [(only(&engine).target, id)]);
}

#[test]
fn a_row_that_cannot_be_read_is_handed_back_and_the_others_stand() {
    let mut engine = engine(escalating());
    let mut state = State::default();
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    state.save(&mut engine);
    let mut rows = state.rows(book::STATE);
    rows.push(("decisions/broken".into(), b"{".to_vec()));
    let wide = String::from_utf8(rows[0].1.clone())
        .unwrap()
        .replace("203.0.113.7", "0.0.0.0/0");
    rows.push(("decisions/wide".into(), wide.into_bytes()));
    let (book, unreadable) = Book::restore(rows);
    assert_eq!(
        (book.len(), unreadable),
        (1, vec!["decisions/broken".to_owned(), "decisions/wide".to_owned()])
    );
}

#[test]
fn keys_that_a_later_version_adds_are_passed_over() {
    let mut engine = engine(escalating());
    let mut state = State::default();
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    state.save(&mut engine);
    let (name, row) = state.rows(book::STATE).remove(0);
    let mut json: serde_json::Value = serde_json::from_slice(&row).unwrap();
    json["mood"] = "sour".into();
    let (book, unreadable) = Book::restore(vec![(name, serde_json::to_vec(&json).unwrap())]);
    assert_eq!((book.len(), unreadable.len()), (1, 0));
}
