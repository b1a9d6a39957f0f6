//! Tokens against a token endpoint on loopback, with a clock that the tests move.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::conformance::web::{Fault as Ordered, Reply, Request, Server, Service};
use crate::dial::Resolver;

/// Hands out tokens by number.
struct Endpoint {
    given: usize,
    life: Value,
    asked: Vec<Request>,
}

impl Service for Endpoint {
    fn answer(&mut self, request: &Request) -> Reply {
        self.asked.push(request.clone());
        self.given += 1;
        let token = format!("token-{}", self.given);
        Reply::json(
            200,
            &json!({"token_type": "Bearer", "expires_in": self.life, "access_token": token}),
        )
    }
}

const HINTS: &[Hint] = &[("AADSTS7000222", "the secret has expired")];

async fn start(life: Value) -> (Server<Endpoint>, Tokens) {
    let endpoint = Endpoint {
        given: 0,
        life,
        asked: Vec::new(),
    };
    let server = Server::start(endpoint, None).await;
    let base = Url::parse(&server.url()).unwrap();
    let client = HttpClient::new(base, None, Duration::from_secs(5), Resolver::default()).unwrap();
    let credentials = Credentials {
        client_id: "an id".into(),
        client_secret: "hush & more".into(),
        scope: "https://x/.default".into(),
    };
    (
        server,
        Tokens::new(client, "tenant/oauth2/v2.0/token", credentials, HINTS),
    )
}

async fn got(tokens: &Tokens) -> String {
    tokens.get().await.unwrap().header.to_str().unwrap().to_owned()
}

/// Moves the clock, which stands still but for this while nothing is sent.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_token_is_asked_for_once_as_the_standard_says() {
    let (server, tokens) = start(json!(3600)).await;
    for _ in 0..3 {
        assert_eq!(got(&tokens).await, "Bearer token-1");
    }
    server.with(|endpoint| {
        let [request] = endpoint.asked.as_slice() else {
            panic!("{} requests", endpoint.asked.len())
        };
        assert_eq!(request.path(), "/tenant/oauth2/v2.0/token");
        assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
        let form = request.form();
        let of = |name: &str| form.get(name).map(String::as_str);
        assert_eq!(of("grant_type"), Some("client_credentials"));
        assert_eq!(
            (of("client_id"), of("client_secret")),
            (Some("an id"), Some("hush & more"))
        );
        assert_eq!(of("scope"), Some("https://x/.default"));
    });
}

#[tokio::test]
async fn many_who_need_a_token_at_once_cause_one_request() {
    let (server, tokens) = start(json!("3600")).await;
    server.order(Ordered::Slow(Duration::from_millis(50)));
    let all = futures_util::future::join_all((0..8).map(|_| got(&tokens))).await;
    assert!(all.iter().all(|token| token == "Bearer token-1"), "{all:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn many_who_need_a_token_that_is_not_given_out_cause_one_request_and_share_the_fault() {
    let (server, tokens) = start(json!(3600)).await;
    server.order(Ordered::Answer(Reply::status(503).with("Retry-After", "7")));
    let all = futures_util::future::join_all((0..8).map(|_| tokens.get())).await;
    for none in all {
        assert_eq!(none.unwrap_err().retry_after, Some(Duration::from_secs(7)));
    }
    assert_eq!(server.asked().len(), 1);
    assert_eq!(got(&tokens).await, "Bearer token-1", "who comes later asks again");
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_used_to_its_end_while_that_fails() {
    let (server, tokens) = start(json!(3600)).await;
    assert_eq!(got(&tokens).await, "Bearer token-1");
    later(3200).await;
    assert_eq!(got(&tokens).await, "Bearer token-1", "five minutes are left");
    later(120).await;
    server.order_lasting(Ordered::Answer(Reply::status(500)));
    assert_eq!(got(&tokens).await, "Bearer token-1");
    assert_eq!(
        got(&tokens).await,
        "Bearer token-1",
        "the endpoint is left alone for a while"
    );
    assert_eq!(server.asked().len(), 2);
    later(300).await;
    assert_eq!(
        tokens.get().await.unwrap_err().fault.kind,
        FaultKind::Server,
        "it is over"
    );
    server.heal();
    assert_eq!(got(&tokens).await, "Bearer token-2");
}

#[tokio::test]
async fn a_short_life_is_used_for_three_quarters() {
    let (_server, tokens) = start(json!(40)).await;
    assert_eq!(got(&tokens).await, "Bearer token-1");
    later(25).await;
    assert_eq!(got(&tokens).await, "Bearer token-1");
    later(6).await;
    assert_eq!(got(&tokens).await, "Bearer token-2");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_however_many_were_refused_with_it() {
    let (server, tokens) = start(json!(3600)).await;
    let (first, same) = (tokens.get().await.unwrap(), tokens.get().await.unwrap());
    tokens.refused(&first);
    assert_eq!(got(&tokens).await, "Bearer token-2");
    tokens.refused(&same);
    assert_eq!(got(&tokens).await, "Bearer token-2");
    assert_eq!(server.asked().len(), 2);
}

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: body.as_bytes().to_vec(),
    }
}

fn refused(status: u16, word: &str, said: &str) -> Fault {
    let body = json!({"error": word, "error_description": said}).to_string();
    read(&answer(status, &body), "the token endpoint login.example", HINTS).unwrap_err()
}

#[test]
fn a_refusal_is_told_by_its_code_and_what_to_do() {
    let expired = refused(
        401,
        "invalid_client",
        "AADSTS7000222: The provided client secret keys hush are expired.",
    );
    assert_eq!(expired.kind, FaultKind::Auth);
    for word in [
        "login.example",
        "invalid_client, AADSTS7000222: the secret has expired",
        "401",
    ] {
        assert!(expired.message.contains(word), "{expired:?}");
    }
    assert!(!expired.message.contains("hush"));
    for (status, word, kind) in [
        (400, "unauthorized_client", FaultKind::Auth),
        (400, "invalid_scope", FaultKind::Config),
        (400, "temporarily_unavailable", FaultKind::Server),
        (429, "invalid_client", FaultKind::Busy),
        (503, "invalid_client", FaultKind::Server),
        (401, "\u{1b}[31m", FaultKind::Auth),
        (404, "", FaultKind::Config),
        (302, "", FaultKind::Config),
    ] {
        let fault = refused(status, word, "AADSTS1: x");
        assert_eq!(fault.kind, kind, "{status} {word}");
        assert!(
            fault.message.contains("token endpoint") && !fault.message.contains('\u{1b}'),
            "{fault:?}"
        );
    }
}

#[test]
fn what_is_no_bearer_token_is_none() {
    for body in [
        "",
        "<html>welcome</html>",
        "{}",
        r#"{"access_token":"x"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"{"access_token":"a b","token_type":"Bearer"}"#,
        r#"{"access_token":"x","token_type":"mac"}"#,
    ] {
        let fault = read(&answer(200, body), "the token endpoint h", HINTS).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Server, "{body}");
    }
    let (header, life) = read(
        &answer(200, r#"{"access_token":"hush","token_type":"bearer"}"#),
        "h",
        HINTS,
    )
    .unwrap();
    assert!(header.is_sensitive() && life == LIFE_UNSAID);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_named_and_no_secret_is_shown() {
    let (mut server, tokens) = start(json!(3600)).await;
    server.stop().await;
    let none = tokens.get().await.unwrap_err();
    assert_eq!(none.fault.kind, FaultKind::Unreachable);
    assert!(none.fault.message.starts_with("token endpoint 127.0.0.1: "), "{none:?}");
    server.resume().await;
    let token = tokens.get().await.unwrap();
    let shown = format!("{none:?} {tokens:?} {token:?} {:?}", tokens.notes());
    assert!(!shown.contains("hush") && !shown.contains("token-1"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_of_a_token_endpoint_are_a_good_token_or_a_short_fault(
        status in 100_u16..600, noise in prop::collection::vec(any::<u8>(), 0..200),
        word in ".{0,60}", said in ".{0,60}", token in ".{0,40}", life in any::<i64>(),
    ) {
        let body = json!({"error": word, "error_description": said, "access_token": token, "token_type": "Bearer", "expires_in": life});
        for body in [noise, body.to_string().into_bytes()] {
            match read(&Answer { status, retry_after: None, body }, "the token endpoint h", HINTS) {
                Ok((_, life)) => prop_assert!(status / 100 == 2 && life <= LIFE_MAX),
                Err(fault) => prop_assert!(fault.message.len() < 200, "{:?}", fault),
            }
        }
    }
}
