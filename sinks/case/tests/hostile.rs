//! What a hostile peer, an odd vendor and a strict workflow can do to cases, and what they cannot.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use fake::{Lock, Office, Ticket, Vendor, end, touch};
use serde_json::json;
use trapline_schemas::Field;
use trapline_sink::conformance::web::{Fault, Reply};
use trapline_sink::{FaultKind, Outcome};

const JIRAS: [Vendor; 2] = [Vendor::JiraCloud, Vendor::JiraDataCenter];
const SERVICENOWS: [Vendor; 2] = [Vendor::ServiceNowSir, Vendor::ServiceNowIncident];
/// The end of the third event's id.
const THIRD: &str = "000000000003";

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Rejected(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_notice_that_is_refused_even_as_a_line_of_ours_is_a_dead_letter_and_the_next_one_goes_on() {
    for vendor in Vendor::ALL {
        for known in [true, false] {
            let office = Office::new(vendor).await;
            if known {
                office.tell(&[touch(1, 1, "intent")]).await;
            }
            office.server.with(|desk| desk.poison = Some(THIRD));
            let delivery = office.deliver(&[touch(3, 1, "intent")]).await;
            assert!(
                reason(&delivery.outcomes[0]).contains("http status 400"),
                "{delivery:?}"
            );
            assert_eq!((delivery.fault, delivery.retry_after), (None, None), "{vendor:?}");
            office.tell(&[touch(4, 1, "intent")]).await;
            assert_eq!(office.ticket().comments.len(), usize::from(known), "{vendor:?}");
        }
    }
}

#[tokio::test]
async fn what_a_peer_sent_does_not_decide_what_an_answer_means_that_repeats_it() {
    for (vendor, words) in [
        (Vendor::TheHive, "it already exists"),
        (Vendor::ServiceNowSir, "an Invalid table"),
        (Vendor::JiraCloud, "no such project"),
        (Vendor::JiraDataCenter, "what is required"),
    ] {
        let office = Office::new(vendor).await;
        office.server.with(|desk| desk.poison = Some(words));
        for number in [1, 2] {
            let mut event = touch(number, 1, "intent");
            event.set(Field::UserName, words);
            office.tell(&[event]).await;
        }
        assert_eq!(office.ticket().comments.len(), 1, "{vendor:?}");
    }
}

#[tokio::test]
async fn a_search_that_is_refused_is_about_the_setting_and_no_dead_letter() {
    for vendor in JIRAS {
        let office = Office::new(vendor).await;
        let search = if vendor == Vendor::JiraCloud {
            "/search/jql"
        } else {
            "/search"
        };
        office.server.with(|desk| desk.sick = Some((search, 400)));
        let delivery = office.deliver(&[touch(1, 1, "intent")]).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry], "{vendor:?}");
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Config);
    }
}

#[tokio::test]
async fn a_comment_stands_once_although_the_call_behind_it_failed_or_was_refused() {
    for status in [503, 400] {
        let office = Office::new(Vendor::TheHive).await;
        office.tell(&[touch(1, 1, "intent")]).await;
        office.server.with(|desk| desk.sick = Some(("/observable", status)));
        let delivery = office.deliver(&[touch(2, 1, "intent")]).await;
        let taken = status == 400;
        assert_eq!(delivery.outcomes[0] == Outcome::Delivered, taken, "{delivery:?}");
        office.server.with(|desk| desk.sick = None);
        office.tell(&[touch(2, 1, "intent")]).await;
        assert_eq!(office.ticket().comments.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_case_whose_answer_was_lost_is_told_nothing_twice_also_if_the_next_try_fails_behind_the_search() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office.server.order(Fault::ResetAfterStored);
        if vendor == Vendor::TheHive {
            // There the case is made of the alert by another call.
            assert_eq!(
                office.deliver(&[touch(1, 1, "intent")]).await.outcomes,
                [Outcome::Retry]
            );
            office.server.order(Fault::ResetAfterStored);
        }
        assert_eq!(
            office.deliver(&[touch(1, 1, "intent")]).await.outcomes,
            [Outcome::Retry]
        );
        office.server.with(|desk| desk.unread = 1);
        assert_eq!(
            office.deliver(&[touch(1, 1, "intent")]).await.outcomes,
            [Outcome::Retry],
            "{vendor:?}"
        );
        office.tell(&[touch(1, 1, "intent")]).await;
        assert!(office.ticket().comments.is_empty(), "{vendor:?}");
    }
}

fn endings(ticket: &Ticket) -> usize {
    ticket.comments.iter().filter(|text| text.contains("is over")).count()
}

#[tokio::test]
async fn an_issue_whose_workflow_fails_or_refuses_to_close_it_is_told_of_the_end_once() {
    for (vendor, status) in [
        (Vendor::JiraCloud, 503),
        (Vendor::JiraCloud, 400),
        (Vendor::JiraDataCenter, 503),
        (Vendor::JiraDataCenter, 400),
    ] {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "intent")]).await;
        office.server.with(|desk| desk.sick = Some(("/transitions", status)));
        let first = office.deliver(&[end(2, 1)]).await;
        if status == 400 {
            assert!(
                reason(&first.outcomes[0]).contains("`fields.close_fields`"),
                "{first:?}"
            );
        } else {
            assert_eq!(office.deliver(&[end(2, 1)]).await.outcomes, [Outcome::Retry]);
            office.server.with(|desk| desk.sick = None);
            office.tell(&[end(2, 1)]).await;
            assert!(office.ticket().closed);
        }
        assert_eq!(endings(&office.ticket()), 1, "{vendor:?} {status}");
    }
}

#[tokio::test]
async fn what_a_transition_needs_can_be_given() {
    for vendor in JIRAS {
        let fields = "fields = { project = \"SEC\", components = [], labels = [\"lures\", \"lyon\"], close_fields = { resolution = { name = \"Done\" } } }";
        let office = Office::with(vendor, fields).await;
        office.tell(&[touch(1, 1, "intent"), end(2, 1)]).await;
        let ticket = office.ticket();
        assert!(ticket.closed, "{ticket:?}");
        let labels = ticket.body["labels"].as_array().unwrap();
        assert!(
            labels.contains(&json!("lures")) && labels.contains(&json!("lyon")),
            "{labels:?}"
        );
        let one = Office::with(
            vendor,
            "fields = { project = \"SEC\", components = [], labels = \"lures\" }",
        )
        .await;
        one.tell(&[touch(1, 1, "intent")]).await;
        assert!(
            one.ticket().body["labels"]
                .as_array()
                .unwrap()
                .contains(&json!("lures"))
        );
    }
}

#[tokio::test]
async fn a_field_that_a_person_emptied_holds_nothing_up() {
    for vendor in SERVICENOWS {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "contact")]).await;
        office.server.with(|desk| desk.tickets[0].severity = String::new());
        office.tell(&[touch(2, 1, "contact"), touch(3, 1, "proof")]).await;
        let ticket = office.ticket();
        assert_eq!(
            (ticket.comments.len(), ticket.severity.as_str()),
            (2, "1"),
            "{vendor:?}"
        );
    }
}

#[tokio::test]
async fn a_search_that_finds_somebody_elses_case_leaves_it_alone() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 9, "contact")]).await;
        office.server.with(|desk| desk.strays = true);
        office.tell(&[touch(2, 1, "proof"), end(3, 1), end(4, 77)]).await;
        let tickets = office.tickets();
        assert_eq!(tickets.len(), 2, "{vendor:?}");
        assert!(!tickets[0].closed && tickets[0].comments.is_empty(), "{:?}", tickets[0]);
        assert!(tickets[1].closed, "{:?}", tickets[1]);
    }
}

#[tokio::test]
async fn where_nobody_may_change_what_is_closed_the_incident_goes_on_in_a_new_case() {
    for vendor in SERVICENOWS {
        for reopen in [true, false] {
            let office = Office::with(vendor, &format!("reopen = {reopen}")).await;
            office.tell(&[touch(1, 1, "intent")]).await;
            office.server.with(|desk| {
                desk.tickets[0].closed = true;
                desk.locked = Some(Lock::Closed);
            });
            office.tell(&[touch(2, 1, "intent"), touch(3, 1, "proof")]).await;
            let tickets = office.tickets();
            assert_eq!(tickets.len(), 2, "{vendor:?}");
            assert_eq!(
                (tickets[0].comments.len(), tickets[1].comments.len()),
                (0, 1),
                "{vendor:?}"
            );
            office.tell(&[end(4, 1)]).await;
            assert!(office.tickets()[1].closed, "{vendor:?}");
        }
    }
}

#[tokio::test]
async fn a_right_that_is_gone_is_an_alarm_and_neither_a_new_case_nor_a_dead_letter() {
    for vendor in SERVICENOWS {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "intent")]).await;
        office.server.with(|desk| desk.locked = Some(Lock::All));
        for event in [touch(2, 1, "intent"), end(3, 1)] {
            let delivery = office.deliver(&[event]).await;
            assert_eq!(delivery.outcomes, [Outcome::Retry], "{vendor:?}");
            assert_eq!(delivery.fault.unwrap().kind, FaultKind::Auth, "{vendor:?}");
        }
        assert!(office.ticket().comments.is_empty());
    }
}

#[tokio::test]
async fn a_field_that_must_be_set_is_asked_for_by_name_and_costs_no_notice() {
    let jira = |text: &str| json!({ "errorMessages": [], "errors": { "customfield_10042": text } });
    let data = "Data Policy Exception: The following fields are mandatory: Category";
    for (vendor, status, body) in [
        (Vendor::JiraCloud, 400, jira("Team is required.")),
        (
            Vendor::JiraDataCenter,
            400,
            jira("Field 'labels' cannot be set. It is not on the appropriate screen, or unknown."),
        ),
        (
            Vendor::ServiceNowIncident,
            403,
            json!({ "error": { "message": "Operation Failed", "detail": data }, "status": "failure" }),
        ),
    ] {
        let office = Office::new(vendor).await;
        office.server.order_lasting(Fault::Answer(Reply::json(status, &body)));
        let delivery = office.deliver(&[touch(1, 1, "intent")]).await;
        let fault = delivery.fault.unwrap();
        assert_eq!(
            (delivery.outcomes, fault.kind),
            (vec![Outcome::Retry], FaultKind::Config),
            "{fault:?}"
        );
        assert!(fault.message.contains("`fields`"), "{fault:?}");
    }
}

#[tokio::test]
async fn no_form_of_a_credential_that_a_vendor_repeats_is_told() {
    // What stands in the header: base64 of `lure:password-SECRET-2`, and the token that was asked for.
    for (vendor, repeated) in [
        (Vendor::ServiceNowIncident, "bHVyZTpwYXNzd29yZC1TRUNSRVQtMg=="),
        (Vendor::ServiceNowSir, "token-SECRET-1"),
    ] {
        let office = Office::new(vendor).await;
        let detail = format!("bad header `{repeated}`");
        let body = json!({ "error": { "message": "no", "detail": detail }, "status": "failure" });
        office.server.order(Fault::Answer(Reply::json(403, &body)));
        let fault = office.deliver(&[touch(1, 1, "intent")]).await.fault.unwrap();
        assert!(
            fault.message.contains("bad header") && !fault.message.contains(repeated),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_asked_for_in_clear_is_told() {
    let office = Office::new(Vendor::ServiceNowSir).await;
    let notes = office.sink.notes();
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("token endpoint 127.0.0.1: tls is off")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_pause_of_no_time_is_none_so_that_nobody_makes_us_ask_without_end() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office
            .server
            .order(Fault::Answer(Reply::status(429).with("Retry-After", "0")));
        let delivery = office.deliver(&[touch(1, 1, "intent")]).await;
        assert_eq!(
            (delivery.outcomes, delivery.retry_after),
            (vec![Outcome::Retry], None),
            "{vendor:?}"
        );
    }
}

#[tokio::test]
async fn where_cases_are_and_which_one_was_told_last_is_known() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        let place = format!("{} {}", vendor.word(), office.server.url());
        assert_eq!(office.sink.destination().unwrap().trim_end_matches('/'), place);
        assert_eq!(office.sink.word(), None);
        office.tell(&[touch(1, 1, "intent")]).await;
        let word = office.sink.word().unwrap();
        let numbers = ["case 12", "case SIR0010001", "case SEC-1"];
        assert!(numbers.contains(&word.as_str()), "{vendor:?}: {word}");
    }
}

#[tokio::test]
async fn a_test_case_that_could_not_be_closed_at_once_is_closed_with_the_next_try() {
    for vendor in SERVICENOWS {
        let office = Office::new(vendor).await;
        let mut test = touch(1, 1, "contact");
        test.set(Field::BenignName, "send-test");
        office.server.with(|desk| desk.locked = Some(Lock::All));
        assert_eq!(office.deliver(&[test.clone()]).await.outcomes, [Outcome::Retry]);
        office.server.with(|desk| desk.locked = None);
        office.tell(&[test]).await;
        let ticket = office.ticket();
        assert!(ticket.closed && ticket.comments.is_empty(), "{ticket:?}");
    }
}
