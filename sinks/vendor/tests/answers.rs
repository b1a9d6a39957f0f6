//! Whatever a vendor answers: a step ends, and what is kept of the answer is short and clean.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use proptest::prelude::*;
use serde_json::{Map, json};
use trapline_sink::conformance::web::{Reply, Request, Server, Service};
use trapline_sink::dial::Resolver;
use trapline_sink::http::HttpClient;
use trapline_vendor::{Login, LoginSettings, Place, ProfileError, Remote, Vendor, Wants, load};

const WANTS: Wants<'static> = Wants {
    names: &["ref"],
    needed: &["find"],
    optional: &[],
    takes: &[("find", "id")],
    settings: &[],
};
const PROFILE: &str = r#"
doc = "a desk"
endpoint = "https://desk.example"
auth = ["bearer"]
says = ["{{ answer.message }}", "{{ answer.errors }}"]
[[steps.find]]
method = "GET"
path = "find/{{ ref }}"
must = "answer.list is list"
pick = { from = "{{ answer.list }}", where = "item.open" }
take = { id = "{{ answer.id }}", picked = "{{ picked.name }}", last = "{{ answer.list | last }}" }
"#;

/// Answers the same to everybody.
struct Echo(Reply);

impl Service for Echo {
    fn answer(&mut self, _request: &Request) -> Reply {
        self.0.clone()
    }
}

/// What is known after the step, or what was said of it.
async fn found(reply: Reply) -> Result<Remote, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("vendors")).unwrap();
    std::fs::write(folder.path().join("vendors/desk.toml"), PROFILE).unwrap();
    let profile = load("desk", Some(folder.path()), &WANTS).unwrap();
    let server = Server::start(Echo(reply), None).await;
    let base: reqwest::Url = server.url().parse().unwrap();
    let timeout = std::time::Duration::from_secs(10);
    let place = Place {
        base: base.clone(),
        tls: None,
        timeout,
        resolver: Resolver::default(),
    };
    let login = Login::new(&LoginSettings::Token("hush".to_owned().into()), &profile, place).unwrap();
    let client = HttpClient::new(base, None, timeout, Resolver::default()).unwrap();
    let vendor = Vendor::new(client, profile, login, &Map::new());
    let mut remote = Remote::default();
    let ended = vendor.run("find", &json!({ "ref": "a/b" }), &mut remote).await;
    ended.map(|()| remote).map_err(|failed| format!("{failed:?}"))
}

const PARTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"list\":",
    "\"id\":",
    "\"message\":",
    "\"errors\":",
    "\"open\":true",
    "\"name\":",
    "\"hush\"",
    "\"a\\u202eb\"",
    "1e999",
    "null",
    ",",
    "\"x\"",
    "[{\"open\":true,\"name\":\"n\"}]",
    "\u{0}",
];

fn body() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(PARTS).prop_map(|part| part.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..8);
    let mixed = prop::collection::vec(prop_oneof![5 => part, 1 => noise], 0..14).prop_map(|parts| parts.concat());
    let whole = (prop::sample::select(PARTS), prop::sample::select(PARTS)).prop_map(|(one, two)| {
        format!("{{\"list\":[{{\"open\":true,\"name\":{one}}}],\"id\":{two},\"message\":{one}}}").into_bytes()
    });
    prop_oneof![mixed, whole]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_bytes_of_an_answer_are_short_clean_values_or_a_failure_without_our_secrets(
        status in prop::sample::select(&[200_u16, 201, 204, 302, 400, 401, 404, 409, 429, 500][..]),
        body in body(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = Reply { status, body, ..Reply::default() };
        match runtime.block_on(found(reply)) {
            Ok(remote) => {
                let text = remote.to_json().to_string();
                prop_assert!(text.len() < 2000 && !text.contains('\u{202e}'), "{}", text);
            }
            Err(said) => prop_assert!(!said.contains("hush") && said.len() < 2000, "{}", said),
        }
    }
}

#[tokio::test]
async fn the_first_element_that_fits_is_picked_and_a_list_that_is_none_is_a_failure() {
    let list = json!({ "id": 7, "list": [{ "open": false, "name": "a" }, { "open": true, "name": "b" }, "z"] });
    let remote = found(Reply::json(200, &list)).await.unwrap();
    assert_eq!(remote.to_json(), json!({ "id": 7, "picked": "b", "last": "z" }));
    let none = found(Reply::json(200, &json!({ "list": [] }))).await.unwrap();
    assert_eq!(none, Remote::default());
    for odd in [json!({ "list": "x" }), json!({ "ok": true }), json!("x")] {
        assert!(
            found(Reply::json(200, &odd))
                .await
                .unwrap_err()
                .contains("means nothing")
        );
    }
    let empty = found(Reply::json(200, &json!({ "list": [], "id": "" }))).await.unwrap();
    assert_eq!(empty, Remote::default(), "an empty text is a field that is not set");
    assert!(found(Reply::status(204)).await.unwrap_err().contains("means nothing"));
    let long = json!({ "list": [], "id": "x".repeat(300) });
    assert!(
        found(Reply::json(200, &long))
            .await
            .unwrap_err()
            .contains("no short text")
    );
}

#[test]
fn every_mistake_of_a_profile_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("vendors")).unwrap();
    for (from, to, place, found) in [
        ("{{ ref }}", "{{ reff }}", "steps.find[0].path", "reff"),
        ("item.open", "item.open |", "steps.find[0].pick", ""),
        ("answer.id }}", "answer.id", "steps.find[0].take.id", "`{{`"),
        ("\"GET\"", "\"FETCH\"", "steps.find[0].method", "FETCH"),
        ("[[steps.find]]", "[[steps.fnd]]", "steps.fnd", "unknown step"),
        (
            "[[steps.find]]",
            "[each.all]\nof = \"reff\"\nitem = 1\n[[steps.find]]",
            "each.all.of",
            "reff",
        ),
        (
            "[[steps.find]]",
            "[each.ref]\nof = \"ref\"\nitem = 1\n[[steps.find]]",
            "each.ref",
            "already",
        ),
        (
            "path =",
            "merge = \"/x\"\nbody = { y = {} }\npath =",
            "steps.find[0].merge",
            "/x",
        ),
        ("path =", "merge = \"\"\npath =", "steps.find[0].merge", "no object"),
        ("id = \"{{", "di = \"{{", "steps.find", "no call takes `id`"),
        (
            "path =",
            "headers = { X-Who = \"{{ reff }}\" }\npath =",
            "steps.find[0].headers.X-Who",
            "reff",
        ),
        (
            "path =",
            "body = { a = [1, \"{{ reff }}\"] }\npath =",
            "steps.find[0].body/a/1",
            "reff",
        ),
        ("auth = [\"bearer\"]", "auth = []", "auth", "no way"),
        ("auth = [\"bearer\"]", "auth = [\"oauth2\"]", "token_path", "oauth2"),
        ("auth = [\"bearer\"]", "auth = [\"header\"]", "header", "no name"),
        ("method =", "metod =", "line 7", "unknown field"),
        ("doc =", "doc", "line 2", ""),
    ] {
        let text = PROFILE.replacen(from, to, 1);
        assert_ne!(text, PROFILE);
        std::fs::write(folder.path().join("vendors/desk.toml"), text).unwrap();
        let errors = load("desk", Some(folder.path()), &WANTS).unwrap_err();
        let is_there =
            |error: &ProfileError| error.place.ends_with(place) || error.place.contains(&format!("{place}: "));
        let told = |error: &ProfileError| is_there(error) && error.found.contains(found);
        assert!(errors.iter().any(told), "{to}: {errors:?}");
    }
}
