//! What is particular to Slack: words of refusal, the pace, looks that are refused, what `check` says, secrets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::time::Duration;

use fake::notices::{event, one, parcel};
use fake::{CHANNEL, Settings, TOKEN, WEBHOOK, Workspace, bot, event_of, webhook};
use futures_util::FutureExt;
use trapline_sink::config::Table;
use trapline_sink::conformance::samples::common;
use trapline_sink::conformance::web::{Fault, Reply};
use trapline_sink::{FaultKind, Outcome};
use trapline_sink_slack::SINK;

#[tokio::test]
async fn where_it_sends_and_what_slack_said_are_told_without_the_credential() {
    let workspace = Workspace::start(Settings::default()).await;
    let (bot, hook) = (bot(&workspace, ""), webhook(&workspace, ""));
    assert_eq!(bot.word(), None);
    for sink in [&bot, &hook] {
        assert_eq!(sink.deliver(&one(1, "proof")).await.outcomes, [Outcome::Delivered]);
    }
    assert!(bot.word().unwrap().starts_with("ok, message "), "{:?}", bot.word());
    assert_eq!(hook.word().as_deref(), Some("ok"));
    let (channel, url) = (bot.destination().unwrap(), hook.destination().unwrap());
    assert!(
        channel.starts_with(&format!("channel {CHANNEL} at http://")),
        "{channel}"
    );
    assert!(
        url.starts_with("a webhook of http://") && !url.contains(WEBHOOK),
        "{url}"
    );
    assert!(!channel.contains(TOKEN), "{channel}");
}

#[tokio::test]
async fn each_word_of_refusal_keeps_the_notice_and_says_whom_to_ask() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = bot(&workspace, "");
    for (word, kind) in [
        ("not_authed", FaultKind::Auth),
        ("invalid_auth", FaultKind::Auth),
        ("token_revoked", FaultKind::Auth),
        ("account_inactive", FaultKind::Auth),
        ("channel_not_found", FaultKind::Config),
        ("not_in_channel", FaultKind::Config),
        ("is_archived", FaultKind::Config),
        ("missing_scope", FaultKind::Config),
        ("fatal_error", FaultKind::Server),
        ("internal_error", FaultKind::Server),
        ("service_unavailable", FaultKind::Server),
    ] {
        workspace.refuse(word);
        let delivery = sink.deliver(&one(1, "proof")).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry], "{word}");
        assert_eq!(delivery.fault.map(|fault| fault.kind), Some(kind), "{word}");
    }
    assert!(workspace.kept().is_empty());
    assert_eq!(sink.deliver(&one(1, "proof")).await.outcomes, [Outcome::Delivered]);
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_a_fault_and_loses_nothing() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = webhook(&workspace, "");
    for (status, word, kind) in [
        (403, "action_prohibited", FaultKind::Config),
        (404, "no_service", FaultKind::Config),
        (404, "channel_not_found", FaultKind::Config),
        (410, "channel_is_archived", FaultKind::Config),
        (500, "rollup_error", FaultKind::Server),
        (404, "<html>nothing here</html>", FaultKind::Config),
        (400, "<html>bad request</html>", FaultKind::Config),
        (200, "<html>log in</html>", FaultKind::Server),
        (302, "", FaultKind::Config),
    ] {
        workspace.order(Fault::Answer(Reply::text(status, word)));
        let delivery = sink.deliver(&one(1, "proof")).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry], "{status} {word}");
        assert_eq!(delivery.fault.map(|fault| fault.kind), Some(kind), "{status} {word}");
    }
}

#[tokio::test]
async fn a_pause_in_the_middle_of_a_batch_is_kept_and_nothing_is_told_twice() {
    for sink_of in [bot, webhook] {
        let workspace = Workspace::start(Settings::default()).await;
        let sink = sink_of(&workspace, "");
        let batch: Vec<_> = (0..3).map(|_| parcel(event(1, "intent"))).collect();
        workspace.order(Fault::Slow(Duration::ZERO));
        workspace.order(Fault::Answer(Reply::status(429).with("Retry-After", "30")));
        let first = sink.deliver(&batch).await;
        assert_eq!(first.outcomes, [Outcome::Delivered, Outcome::Retry, Outcome::Retry]);
        assert_eq!(first.retry_after, Some(Duration::from_secs(30)));
        assert_eq!(first.fault.unwrap().kind, FaultKind::Busy);
        let posts = posts(&workspace);
        // Somebody comes before it is over.
        let early = sink.deliver(&batch[1..]).await;
        assert_eq!(early.outcomes, [Outcome::Retry, Outcome::Retry]);
        assert_eq!(early.fault.unwrap().kind, FaultKind::Busy);
        assert!(early.retry_after.unwrap() > Duration::from_secs(20));
        assert_eq!((posts, workspace.ids()), (2, vec![batch[0].event.id]));
        assert_eq!(self::posts(&workspace), 2, "no request before it is over");
    }
}

/// How many messages were asked for.
fn posts(workspace: &Workspace) -> usize {
    let asked = workspace.asked();
    asked
        .iter()
        .filter(|method| ["chat.postMessage", "webhook"].contains(&method.as_str()))
        .count()
}

#[tokio::test]
async fn messages_keep_the_interval() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = webhook(&workspace, "").limits();
    assert_eq!(
        (sink.events, sink.in_flight),
        (1, 1),
        "a crash doubles one notice at most"
    );
    let sink = webhook_with_interval(&workspace, "60s");
    assert_eq!(sink.deliver(&one(1, "proof")).await.outcomes, [Outcome::Delivered]);
    let batch = one(1, "proof");
    // The first turn of the second message is to wait, and nothing is asked meanwhile.
    assert!(sink.deliver(&batch).now_or_never().is_none());
    assert_eq!(workspace.kept().len(), 1);
}

fn webhook_with_interval(workspace: &Workspace, interval: &str) -> std::sync::Arc<dyn trapline_sink::StreamSink> {
    let address = workspace.address;
    let toml = format!("webhook_url = \"http://{address}{WEBHOOK}\"\ninterval = \"{interval}\"");
    fake::sink_with(&toml, trapline_sink::dial::Resolver::default())
}

#[tokio::test]
async fn what_is_refused_for_its_looks_goes_as_a_line_of_text() {
    for word in [
        "invalid_blocks",
        "msg_too_long",
        "msg_blocks_too_long",
        "metadata_too_large",
        "new_in_2030",
    ] {
        for sink_of in [bot, webhook] {
            let workspace = Workspace::start(Settings::default()).await;
            let sink = sink_of(&workspace, "");
            workspace.refuse(word);
            let batch = one(1, "proof");
            assert_eq!(sink.deliver(&batch).await.outcomes, [Outcome::Delivered], "{word}");
            let kept = workspace.kept();
            assert_eq!((kept.len(), event_of(&kept[0])), (1, Some(batch[0].event.id)), "{word}");
            assert!(
                kept[0].get("blocks").is_none() && kept[0].get("metadata").is_none(),
                "{word}"
            );
            assert!(
                sink.notes().iter().any(|note| note.contains("1 notices")),
                "{:?}",
                sink.notes()
            );
        }
    }
}

#[tokio::test]
async fn what_is_refused_twice_is_put_aside_and_an_unknown_word_is_not() {
    let workspace = Workspace::start(Settings::default()).await;
    let sink = bot(&workspace, "");
    let refuse_twice = |word| [word, word].map(|word| workspace.refuse(word));
    refuse_twice("invalid_blocks");
    let batch = vec![parcel(event(1, "proof")), parcel(event(2, "proof"))];
    let delivery = sink.deliver(&batch).await;
    assert!(matches!(&delivery.outcomes[0], Outcome::Rejected(reason) if reason.contains("invalid_blocks")));
    assert_eq!(delivery.outcomes[1], Outcome::Delivered, "the next one goes on");
    refuse_twice("new_in_2030");
    let delivery = sink.deliver(&batch).await;
    assert_eq!(delivery.outcomes, [Outcome::Retry, Outcome::Retry]);
    assert_eq!(delivery.fault.map(|fault| fault.kind), Some(FaultKind::Config));
}

#[tokio::test]
async fn a_check_asks_who_we_are_and_posts_nothing() {
    let workspace = Workspace::start(Settings::default()).await;
    let said = bot(&workspace, "").check().await.unwrap();
    assert_eq!(
        said,
        "the token is good: bot `trapline` of `Lab`; it is in the channel `security`"
    );
    let said = webhook(&workspace, "").check().await.unwrap();
    assert!(
        said.contains("http status 404") && said.contains("shows a first one"),
        "{said}"
    );
    assert!(workspace.kept().is_empty() && !workspace.asked().contains(&WEBHOOK.to_owned()));
}

#[tokio::test]
async fn a_check_says_what_it_could_not_see() {
    let workspace = Workspace::start(Settings {
        without: vec!["channels:read"],
        ..Settings::default()
    })
    .await;
    let said = bot(&workspace, "").check().await.unwrap();
    assert!(said.contains("needs the scope channels:read"), "{said}");
    let wrong = |keys: &str| {
        let toml = format!("endpoint = \"http://{}/api\"\n{keys}", workspace.address);
        fake::sink_with(&toml, trapline_sink::dial::Resolver::default())
    };
    let by_name = wrong(&format!("token = \"{TOKEN}\"\nchannel = \"#security\""));
    assert!(by_name.check().await.unwrap().contains("was not looked for"));
    let fault = wrong("token = \"xoxb-old\"\nchannel = \"C0123456789\"")
        .check()
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Auth);
}

#[test]
fn a_table_that_would_leak_or_mislead_is_refused_without_showing_a_secret() {
    for toml in [
        "",
        "token = \"hush\"",
        "token = \"hush\"\nchannel = \"two words\"",
        "token = \"hu\\u0000sh\"\nchannel = \"C0123456789\"",
        "channel = \"C0123456789\"",
        "webhook_url = \"https://hooks.slack.com/services/T/B/hush\"\ntoken = \"hush\"\nchannel = \"C1\"",
        "webhook_url = \"https://hooks.slack.com/services/T/B/hush\"\nchannel = \"C1\"",
        "webhook_url = \"https://hooks.slack.com/services/T/B/hush\"\nthreads = false",
        "webhook_url = \"http://hooks.slack.com/services/T/B/hush\"",
        "webhook_url = \"https://hooks.slack.com\"",
        "webhook_url = \"https://hush@hooks.slack.com/services\"",
        "webhook_url = \"https://hooks.slack.com/services?hush\"",
        "webhook_url = \"hush\"",
        "token = \"x\"\nchannel = \"C1\"\nendpoint = \"http://slack.example/api\"",
        "token = \"x\"\nchannel = \"C1\"\nendpoint = \"https://me:hush@slack.example/api\"",
        "token = \"x\"\nchannel = \"C1\"\nendpoint = \"slack.example\"",
    ] {
        let (table, problems) = Table::for_test(toml, SINK.keys);
        let factory = (SINK.parse)(&table);
        assert!(problems.has_errors(), "{toml}");
        let told: Vec<_> = problems.take().iter().map(ToString::to_string).collect();
        assert!(!told.join("\n").contains("hush"), "{told:?}");
        assert!(!format!("{factory:?}").contains("hush"), "{factory:?}");
    }
}

#[test]
fn the_place_is_the_webhooks_or_the_bots_and_shows_no_secret() {
    for (toml, host) in [
        (
            "webhook_url = \"https://hooks.slack.com/services/T/B/hush\"",
            "hooks.slack.com",
        ),
        ("token = \"x\"\nchannel = \"C1\"", "slack.com"),
    ] {
        let (table, _) = Table::for_test(toml, SINK.keys);
        let places = (SINK.parse)(&table).places(&table);
        let hosts: Vec<_> = places.iter().map(|place| place.host.as_str()).collect();
        assert_eq!(hosts, [host]);
    }
}

#[test]
fn an_interval_that_no_delivery_could_keep_is_a_mistake() {
    for (interval, mistakes) in [("3m", 0), ("181s", 1), ("1h", 1)] {
        let toml = format!("webhook_url = \"https://hooks.slack.com/services/T/B/x\"\ninterval = \"{interval}\"");
        let (table, problems) = Table::for_test(&toml, SINK.keys);
        (SINK.parse)(&table);
        assert_eq!(problems.count(), mistakes, "{interval}: {:?}", problems.take());
    }
}

#[tokio::test]
async fn a_voice_that_is_not_there_is_told_at_its_key() {
    let toml = format!("token = \"x\"\nchannel = \"{CHANNEL}\"\ntone = \"sulking\"");
    let (table, _) = Table::for_test(&toml, SINK.keys);
    let mut common = common(trapline_schemas::Format::Text, trapline_sink::dial::Resolver::default());
    let factory = (SINK.parse)(&table);
    let told: Vec<_> = factory.look(&table, &common).iter().map(ToString::to_string).collect();
    assert!(
        told.len() == 1 && told[0].contains("sulking") && told[0].contains("3:"),
        "{told:?}"
    );
    assert_eq!(
        factory.build(&common).err().map(|fault| fault.kind),
        Some(FaultKind::Config)
    );
    // That of all sinks is told here too: nobody else looks at it.
    let (table, _) = Table::for_test(&toml.replace("tone = \"sulking\"", ""), SINK.keys);
    common.notices.tone = "shouting".into();
    let told = (SINK.parse)(&table).look(&table, &common);
    assert!(told.len() == 1 && told[0].to_string().contains("shouting"), "{told:?}");
}
