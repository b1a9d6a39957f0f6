//! The life of a case, at each vendor.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use fake::{CLIENT_SECRET, Office, PASSWORD, TOKEN, Vendor, end, sink_at, touch};
use serde_json::json;
use trapline_schemas::Field;
use trapline_sink::conformance::web::{Fault, Reply};
use trapline_sink::dial::Resolver;
use trapline_sink::{FaultKind, Outcome};

/// How grave, from 1.
fn graveness(vendor: Vendor, severity: &str) -> usize {
    let words = match vendor {
        Vendor::TheHive => ["1", "2", "3"],
        Vendor::ServiceNowSir | Vendor::ServiceNowIncident => ["3", "2", "1"],
        Vendor::JiraCloud | Vendor::JiraDataCenter => ["Low", "Medium", "High"],
    };
    1 + words
        .iter()
        .position(|word| *word == severity)
        .unwrap_or_else(|| panic!("`{severity}`"))
}

#[tokio::test]
async fn an_incident_has_one_case_that_is_opened_updated_raised_and_closed() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "contact"), touch(2, 1, "contact")]).await;
        let opened = office.ticket();
        assert_eq!(
            (opened.comments.len(), graveness(vendor, &opened.severity)),
            (1, 1),
            "{opened:?}"
        );
        assert!(
            !opened.title.is_empty() && opened.description.contains("user1"),
            "{opened:?}"
        );
        assert!(opened.comments[0].contains("user2"), "{opened:?}");
        office.tell(&[touch(3, 1, "proof")]).await;
        office.tell(&[touch(4, 1, "intent")]).await;
        let raised = office.ticket();
        assert_eq!(
            (raised.comments.len(), graveness(vendor, &raised.severity)),
            (3, 3),
            "{raised:?}"
        );
        office.tell(&[touch(5, 2, "intent")]).await;
        assert_eq!(office.tickets().len(), 2, "another incident, another case");
        office.tell(&[end(6, 1)]).await;
        let tickets = office.tickets();
        let closed: Vec<_> = tickets.iter().map(|ticket| ticket.closed).collect();
        assert_eq!(closed, [true, false], "{vendor:?}");
        assert!(tickets[0].resolution.contains("is over"), "{:?}", tickets[0]);
        office.tell(&[end(6, 1), end(7, 99)]).await;
        assert_eq!(
            office.tickets().len(),
            2,
            "what is closed stays closed, and what nobody knows is not opened"
        );
    }
}

#[tokio::test]
async fn a_case_that_a_person_closed_is_commented_and_opened_again_unless_told_not_to() {
    for vendor in Vendor::ALL {
        for reopen in [true, false] {
            let office = Office::with(vendor, &format!("reopen = {reopen}")).await;
            office.tell(&[touch(1, 1, "intent")]).await;
            office.server.with(|desk| desk.tickets[0].closed = true);
            office.tell(&[touch(2, 1, "intent")]).await;
            let ticket = office.ticket();
            assert_eq!((ticket.closed, ticket.comments.len()), (!reopen, 1), "{vendor:?}");
            office.server.with(|desk| desk.tickets[0].closed = true);
            office.tell(&[end(3, 1)]).await;
            assert!(
                office.ticket().closed && office.ticket().comments.len() == 1,
                "{vendor:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_case_stays_open_where_it_is_not_to_be_closed() {
    for vendor in Vendor::ALL {
        let office = Office::with(vendor, "close = false").await;
        office.tell(&[touch(1, 1, "intent"), end(2, 1)]).await;
        assert!(!office.ticket().closed, "{vendor:?}");
    }
}

#[tokio::test]
async fn the_severity_that_a_person_set_higher_is_not_lowered() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "contact")]).await;
        let higher = match vendor {
            Vendor::TheHive => "4",
            Vendor::ServiceNowSir | Vendor::ServiceNowIncident => "1",
            Vendor::JiraCloud | Vendor::JiraDataCenter => "Highest",
        };
        office.server.with(|desk| desk.tickets[0].severity = higher.to_owned());
        office.tell(&[touch(2, 1, "proof")]).await;
        assert_eq!(office.ticket().severity, higher, "{vendor:?}");
    }
}

#[tokio::test]
async fn a_case_that_was_deleted_is_replaced_by_one_new_case() {
    for vendor in Vendor::ALL {
        let mut office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "intent")]).await;
        office.server.with(|desk| desk.tickets[0].deleted = true);
        office.tell(&[touch(2, 1, "intent"), touch(3, 1, "intent")]).await;
        assert_eq!(office.ticket().comments.len(), 1, "{vendor:?}");
        office.restart(true);
        office.tell(&[touch(4, 1, "intent")]).await;
        assert_eq!(office.ticket().comments.len(), 2, "{vendor:?}");
        office
            .server
            .with(|desk| desk.tickets.iter_mut().for_each(|ticket| ticket.deleted = true));
        office.tell(&[end(5, 1)]).await;
        assert!(office.tickets().is_empty(), "{vendor:?}: what is gone needs no closing");
    }
}

#[tokio::test]
async fn after_a_kill_between_the_case_and_our_memory_of_it_there_is_one_case() {
    for vendor in Vendor::ALL {
        for late in [0, 1] {
            let mut office = Office::new(vendor).await;
            office.tell(&[touch(1, 1, "intent")]).await;
            office.restart(false);
            office.server.with(|desk| desk.late = late);
            office.tell(&[touch(1, 1, "intent"), touch(2, 1, "intent")]).await;
            let ticket = office.ticket();
            assert_eq!(
                ticket.comments.len(),
                2,
                "{vendor:?}: the event of the kill comes once more"
            );
        }
    }
}

#[tokio::test]
async fn after_a_restart_a_case_is_remembered_without_a_search() {
    for vendor in Vendor::ALL {
        let mut office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "proof")]).await;
        office.restart(true);
        office.server.with(|desk| desk.late = 1000);
        office.tell(&[touch(2, 1, "intent")]).await;
        let ticket = office.ticket();
        assert_eq!(
            (ticket.comments.len(), graveness(vendor, &ticket.severity)),
            (1, 3),
            "{vendor:?}"
        );
    }
}

#[tokio::test]
async fn a_case_whose_answer_was_lost_is_found_and_told_nothing_twice() {
    for vendor in Vendor::ALL {
        for late in [0, 1] {
            let office = Office::new(vendor).await;
            office.tell(&[touch(9, 9, "intent")]).await;
            office.server.order(Fault::ResetAfterStored);
            let delivery = office.deliver(&[touch(1, 1, "intent")]).await;
            assert_eq!(delivery.outcomes, [Outcome::Retry], "{vendor:?}");
            office.server.with(|desk| desk.late = late);
            office.tell(&[touch(1, 1, "intent")]).await;
            let tickets = office.tickets();
            assert_eq!((tickets.len(), tickets[1].comments.len()), (2, 0), "{vendor:?}");
        }
    }
}

/// Sensors of one site give a source's incident the same id.
#[tokio::test]
async fn a_case_that_another_sensor_opened_a_moment_ago_is_told_what_this_one_saw() {
    for late in [1, 2] {
        let mut office = Office::new(Vendor::TheHive).await;
        let other = sink_at(Vendor::TheHive, &office.server.url(), "", Resolver::default());
        office.tell(&[touch(9, 9, "intent")]).await;
        let here = std::mem::replace(&mut office.sink, other);
        office.tell(&[touch(1, 1, "intent")]).await;
        office.sink = here;
        office.server.with(|desk| desk.late = late);
        office.tell(&[touch(2, 1, "intent"), touch(3, 1, "intent")]).await;
        let comments: Vec<_> = office.tickets().iter().map(|ticket| ticket.comments.len()).collect();
        assert_eq!(comments, [0, 2], "{late} searches too early");
    }
}

#[tokio::test]
async fn of_two_notices_a_failure_repeats_only_the_one_that_met_it() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office.tell(&[touch(1, 1, "contact")]).await;
        office.server.order(Fault::Answer(Reply::status(503)));
        let delivery = office.deliver(&[touch(2, 1, "contact"), touch(3, 1, "contact")]).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry, Outcome::Retry], "{vendor:?}");
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Server);
        office.tell(&[touch(2, 1, "contact"), touch(3, 1, "contact")]).await;
        assert_eq!(office.ticket().comments.len(), 2, "{vendor:?}");
    }
}

#[tokio::test]
async fn what_is_refused_as_it_is_goes_as_a_line_of_our_own_and_is_no_dead_letter() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        office.server.with(|desk| desk.poison = Some("user1"));
        office.tell(&[touch(1, 1, "intent")]).await;
        office.server.with(|desk| desk.poison = Some("user2"));
        office.tell(&[touch(2, 1, "intent")]).await;
        let ticket = office.ticket();
        assert!(
            !ticket.description.contains("user1") && ticket.comments.len() == 1,
            "{ticket:?}"
        );
        assert!(
            office.sink.notes().iter().any(|note| note.contains("2 notices")),
            "{:?}",
            office.sink.notes()
        );
        // What is refused even so is not about the event.
        office.server.with(|desk| desk.poison = Some("event"));
        let delivery = office.deliver(&[touch(3, 1, "intent")]).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry]);
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Config, "{vendor:?}");
    }
}

#[tokio::test]
async fn faults_are_told_with_the_vendors_words_and_what_to_do_and_no_secret() {
    for (vendor, reply, kind, said) in [
        (
            Vendor::TheHive,
            Reply::json(
                403,
                &json!({"type": "AuthorizationError", "message": format!("key {TOKEN} lacks it")}),
            ),
            FaultKind::Auth,
            "AuthorizationError",
        ),
        (
            Vendor::ServiceNowSir,
            Reply::json(
                400,
                &json!({"error": {"message": "Invalid table sn_si_incident"}, "status": "failure"}),
            ),
            FaultKind::Config,
            "is the application with the table `sn_si_incident` installed?",
        ),
        (
            Vendor::JiraCloud,
            Reply::json(
                400,
                &json!({"errorMessages": [], "errors": {"project": "valid project is required"}}),
            ),
            FaultKind::Config,
            "fields.project",
        ),
        (
            Vendor::JiraCloud,
            Reply::json(429, &json!({"errorMessages": ["Rate limit exceeded."]})).with("Retry-After", "7"),
            FaultKind::Busy,
            "Rate limit exceeded.",
        ),
    ] {
        let office = Office::new(vendor).await;
        office.server.order(Fault::Answer(reply));
        let delivery = office.deliver(&[touch(1, 1, "intent")]).await;
        let fault = delivery.fault.unwrap();
        assert_eq!(fault.kind, kind, "{fault:?}");
        assert!(fault.message.contains(said), "{fault:?}");
        for secret in [TOKEN, PASSWORD, CLIENT_SECRET, "SECRET"] {
            assert!(!fault.message.contains(secret), "{fault:?}");
            assert!(!office.sink.notes().concat().contains(secret));
        }
        assert_eq!(delivery.retry_after.is_some(), kind == FaultKind::Busy);
    }
}

#[tokio::test]
async fn a_token_that_ran_out_is_asked_for_again_and_a_login_that_is_refused_is_an_alarm() {
    let office = Office::new(Vendor::ServiceNowSir).await;
    office.tell(&[touch(1, 1, "intent")]).await;
    office.server.with(|desk| desk.tokens += 1);
    office.tell(&[touch(2, 1, "intent")]).await;
    assert_eq!(office.ticket().comments.len(), 1);
    for (vendor, login) in [
        (Vendor::TheHive, "token = \"wrong\""),
        (
            Vendor::ServiceNowSir,
            "client_id = \"lure\"\nclient_secret = \"wrong\"\ntoken_scope = \"x\"",
        ),
        (Vendor::ServiceNowIncident, "username = \"lure\"\npassword = \"wrong\""),
        (Vendor::JiraDataCenter, "token = \"wrong\""),
    ] {
        let office = Office::with(vendor, login).await;
        let delivery = office.deliver(&[touch(1, 1, "intent")]).await;
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Auth, "{vendor:?}");
        assert_eq!(
            office.sink.check().await.unwrap_err().kind,
            FaultKind::Auth,
            "{vendor:?}"
        );
        assert!(office.tickets().is_empty());
    }
}

#[tokio::test]
async fn check_says_who_answers_and_opens_nothing() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        let said = office.sink.check().await.unwrap();
        assert!(said.contains("takes the login"), "{said}");
        assert!(
            office.tickets().is_empty() && office.wrong().is_empty(),
            "{:?}",
            office.wrong()
        );
    }
}

#[tokio::test]
async fn a_test_opens_a_case_of_its_own_and_closes_it() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        for number in [1, 2] {
            let mut test = touch(number, 1, "contact");
            test.set(Field::BenignName, "send-test");
            office.tell(&[test]).await;
        }
        let tickets = office.tickets();
        assert_eq!(tickets.len(), 2, "{vendor:?}");
        assert!(
            tickets
                .iter()
                .all(|ticket| ticket.closed && ticket.resolution.contains("test")),
            "{tickets:?}"
        );
    }
}

#[tokio::test]
async fn what_has_no_incident_has_a_case_of_its_own() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        let mut events = [touch(1, 1, "intent"), touch(2, 1, "intent")];
        events
            .iter_mut()
            .for_each(|event| drop(event.remove(Field::IncidentId)));
        office.tell(&events).await;
        office.tell(&events).await;
        assert_eq!(office.tickets().len(), 2, "{vendor:?}");
    }
}

#[tokio::test]
async fn hostile_names_stay_names() {
    for vendor in Vendor::ALL {
        let office = Office::new(vendor).await;
        let hostile =
            "</p><script>alert(1)</script>[code]<b>x</b>[/code]{html}![x](http://evil.example)`|*\"}\n\u{202e}";
        for number in [1, 2] {
            let mut event = touch(number, 1, "intent");
            event.set(Field::UserName, hostile);
            event.set(Field::DecoyService, "ssh");
            event.set(Field::UserAgent, hostile);
            office.tell(&[event]).await;
        }
        let ticket = office.ticket();
        for text in ticket.comments.iter().chain([&ticket.description]) {
            assert!(
                !text.contains('\u{202e}') && !text.contains("http://evil.example"),
                "{text}"
            );
            let is_journal = matches!(vendor, Vendor::ServiceNowSir | Vendor::ServiceNowIncident);
            assert!(!is_journal || !text.to_lowercase().contains("[code]"), "{text}");
        }
        assert!(!ticket.title.contains('<'), "{}", ticket.title);
    }
}
