//! Notices for tests.

use proptest::prelude::*;
use trapline_notice::{Fact, Notice, Weight};
use uuid::Uuid;

/// One with facts of ours and of a peer's.
pub(crate) fn notice() -> Notice {
    let fact = |label, value: &str, foreign| Fact {
        label,
        value: value.to_owned(),
        foreign,
    };
    Notice {
        event: Uuid::from_u128(1),
        incident: Some(Uuid::from_u128(2)),
        weight: Weight::Intent,
        subject: "203.0.113.77 tries logins at ssh".to_owned(),
        opening: "Somebody & <friends> try the door.".to_owned(),
        facts: vec![
            fact("source", "203.0.113.77", false),
            fact("user tried", "<!channel> http://evil.example", true),
            fact("times", "3", false),
            fact("incident", "00000000-0000-0000-0000-000000000002", false),
        ],
        closing: "Ask it-security about it.".to_owned(),
    }
}

/// One whose texts are hard to keep within bounds.
pub(crate) fn any_notice() -> impl Strategy<Value = Notice> {
    let hard = prop_oneof![".{0,400}", "[\u{1F600}-\u{1F640}]{0,400}", "[<>&\"\\\\/]{0,400}"];
    let fact = (hard.clone(), any::<bool>());
    let facts = prop::collection::vec(fact, 0..50);
    (hard.clone(), hard.clone(), facts, hard).prop_map(|(subject, opening, facts, closing)| Notice {
        subject,
        opening,
        facts: facts
            .into_iter()
            .map(|(value, foreign)| Fact {
                label: "user <tried>",
                value,
                foreign,
            })
            .collect(),
        closing,
        ..notice()
    })
}
