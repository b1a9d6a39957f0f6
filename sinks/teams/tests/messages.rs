//! Whatever a peer says, nothing of it is live; what is refused goes short; nothing shows the credential.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use fake::{PATH, Workflow, event, one, sink_at, wrong};
use serde_json::json;
use trapline_schemas::{Action, Field};
use trapline_sink::Outcome;
use trapline_sink::config::Table;
use trapline_sink::conformance::log::{Log, telltales};
use trapline_sink::conformance::samples::filled;
use trapline_sink::conformance::web::Server;
use trapline_sink_teams::SINK;

/// What people have tried on readers of chat.
const LURES: &[&str] = &[
    "<at>everyone</at> <at id=\"0\">SOC</at>",
    "@channel @team",
    "[your bank](https://evil.example) ![x](http://evil.example/x.png)",
    "https://evil.example/?a=b&c=d www.evil.example evil.example a@evil.example",
    "<a href=\"http://evil.example\">x</a><img src=x onerror=alert(1)>",
    "**bold** _italic_ ~~gone~~ `code` # title - list 1. list > quote",
    "{{DATE(2017-02-14T06:08:39Z, LONG)}} {{TIME(2017-02-14T06:08:39Z)}} ${$root.x}",
    "\u{202e}lennahc\u{200b}\r\n\0\u{1b}[31m",
    "\"},{\"type\":\"Image\",\"url\":\"https://evil.example\"},{\"a\":\"",
    "@{triggerBody()} @triggerOutputs()",
    "",
    " ",
];

/// Time stands still but for the pace of messages, so that hundreds of them take none.
#[tokio::test(start_paused = true)]
async fn no_lure_is_live_in_any_field_of_any_event_and_the_longest_keep_the_bound() {
    let server = Server::start(Workflow::default(), None).await;
    let sink = sink_at(&server.url());
    let long: Vec<_> = ["x", "\"", "\\", "é", "界", "😀", "\u{301}", "{{"]
        .iter()
        .map(|text| text.repeat(400))
        .collect();
    let texts = LURES.iter().copied().chain(long.iter().map(String::as_str));
    for text in texts {
        for action in Action::ALL {
            // The clock that stands still runs ahead while the network is waited for.
            let delivery = loop {
                let delivery = sink.deliver(&one(filled(*action, text))).await;
                if delivery.fault.is_none() {
                    break delivery;
                }
            };
            assert_eq!(delivery.outcomes, [Outcome::Delivered], "{text:?} {delivery:?}");
        }
        assert_eq!(server.with(|workflow| workflow.wrong.pop()), None, "{text:?}");
    }
}

/// Every field is set, which no event has: there are some forty facts, each as long as a user's name usually is.
#[tokio::test(start_paused = true)]
async fn a_card_has_room_for_two_dozen_facts_of_usual_length() {
    for action in Action::ALL {
        let server = Server::start(Workflow::default(), None).await;
        let batch = one(filled(*action, "someone@host-17.example"));
        let told = sink_at(&server.url()).deliver(&batch).await;
        assert_eq!(told.outcomes, [Outcome::Delivered], "{told:?}");
        let card = server.with(|workflow| json!(workflow.kept).to_string());
        let is_cut = card.contains("more facts stand in the event");
        let rows = card.matches("\"ColumnSet\"").count();
        assert!(!is_cut || rows >= 24, "{action:?}: {rows} {card}");
    }
}

#[tokio::test]
async fn no_address_of_a_peers_can_be_clicked() {
    let server = Server::start(Workflow::default(), None).await;
    let mut event = event(9, "proof");
    for field in [Field::UserName, Field::UrlOriginal, Field::UrlDomain, Field::UserAgent] {
        event.set(field, "http://evil.example/x and evil.example");
    }
    assert_eq!(
        sink_at(&server.url()).deliver(&one(event)).await.outcomes,
        [Outcome::Delivered]
    );
    let all = server.with(|workflow| json!(workflow.kept).to_string());
    assert!(all.contains("evil[.]example") && !all.contains("evil.example"), "{all}");
}

#[test]
fn the_reader_finds_what_would_be_live() {
    let run = |text: &str| json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": text }] });
    let message = |element: serde_json::Value| {
        json!({ "type": "message", "summary": "x", "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": { "type": "AdaptiveCard", "version": "1.4", "fallbackText": "x", "body": [element] },
        }]})
    };
    assert_eq!(wrong(&message(run("x")), 100), Vec::<String>::new());
    for element in [
        json!({ "type": "TextBlock", "text": "x" }),
        json!({ "type": "FactSet", "facts": [] }),
        json!({ "type": "Image", "url": "x" }),
        json!({ "type": "RichTextBlock", "inlines": ["x"] }),
        run(""),
        json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "fontType": "Monospace", "text": "https://x" }] }),
        run("{{DATE(x)}}"),
        run("a\u{202e}b"),
    ] {
        assert!(!wrong(&message(element.clone()), 100).is_empty(), "{element}");
    }
    assert!(!wrong(&message(run("x")), 28_001).is_empty());
}

#[tokio::test]
async fn what_is_refused_for_its_looks_goes_once_more_as_a_short_card() {
    let server = Server::start(Workflow::default(), None).await;
    let sink = sink_at(&server.url());
    server.with(|workflow| workflow.refusals.push_back((400, "SomethingNew")));
    assert_eq!(
        sink.deliver(&one(event(1, "proof"))).await.outcomes,
        [Outcome::Delivered]
    );
    let kept = server.with(|workflow| workflow.kept.clone());
    assert_eq!(
        kept[0]["attachments"][0]["content"]["body"].as_array().unwrap().len(),
        2
    );
    assert!(
        sink.notes()
            .iter()
            .any(|note| note.contains("1 notices went as a short card"))
    );
    assert!(sink.notes().iter().any(|note| note.contains("no threads")));
    for (code, outcome) in [
        (
            "InvalidRequestContent",
            Outcome::Rejected("the workflow refused the message: InvalidRequestContent".into()),
        ),
        ("SomethingNew", Outcome::Retry),
    ] {
        server.with(|workflow| workflow.refusals.extend([(400, code), (400, code)]));
        let delivery = sink.deliver(&one(event(1, "proof"))).await;
        assert_eq!(delivery.outcomes, [outcome], "{delivery:?}");
    }
}

#[tokio::test]
async fn a_check_posts_nothing() {
    let server = Server::start(Workflow::default(), None).await;
    let said = sink_at(&server.url()).check().await.unwrap();
    assert!(said.contains("the host answers"), "{said}");
    assert_eq!(server.asked(), ["HEAD /"]);
}

#[test]
fn a_url_that_is_no_workflows_is_refused_and_not_shown() {
    for (url, said) in [
        ("https://contoso.webhook.office.com/webhookb2/hush", "retired"),
        ("https://h.example/?sig=hush", "whole"),
        ("http://h.example/workflows/hush?sig=hush", "https://"),
        ("https://hush:hush@h.example/x?sig=hush", "without user"),
        ("hush", "whole"),
    ] {
        let toml = format!("webhook_url = \"{url}\"");
        let (table, problems) = Table::for_test(&toml, SINK.keys);
        let _ = (SINK.parse)(&table);
        let told: String = problems.take().iter().map(|problem| problem.rich(false)).collect();
        assert!(told.contains(said) && !told.contains("hush"), "{url}: {told}");
    }
}

#[tokio::test]
async fn at_level_trace_no_part_of_the_url_but_its_host_is_shown() {
    let log = Log::of_all();
    let server = Server::start(Workflow::default(), None).await;
    let sink = sink_at(&server.url());
    let mut told = String::new();
    for fault in telltales(PATH) {
        server.order(fault);
        // A new one each time: a pause that was asked for would hold up what comes next.
        told.push_str(&format!(
            "{:?}",
            sink_at(&server.url()).deliver(&one(event(1, "proof"))).await
        ));
    }
    told.push_str(&format!(
        "{:?}{:?}{:?}",
        sink.check().await,
        sink.notes(),
        sink.destination()
    ));
    log.shows_not("SECRET", &told);
}
