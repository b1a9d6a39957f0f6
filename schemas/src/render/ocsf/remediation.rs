//! What is done about sources: classes 7001 and 7004.

use crate::event::Action;
use crate::fields::Field;
use crate::render::ocsf::parts;
use crate::render::ocsf::special::{failure, success};
use crate::render::ocsf::writer::Writer;

/// A countermeasure of D3FEND: its tactic, its technique and the name of that.
type Countermeasure = (&'static str, &'static str, &'static str);

const FILTER: Countermeasure = ("Isolate", "D3-ITF", "Inbound Traffic Filtering");
const DENYLIST: Countermeasure = ("Isolate", "D3-DNSDL", "DNS Denylisting");
const RESTORE: Countermeasure = ("Restore", "D3-RNA", "Restore Network Access");

/// Writes the attributes of both classes, and of 7004 what it alone has.
pub(super) fn write(w: &mut Writer<'_, '_>) {
    if !w.field("command_uid", Field::ResponseId) {
        let id = w.view.event.id;
        w.key("command_uid").id(id);
    }
    status(w);
    if w.class.uid == 7004 {
        w.key("connection_info").open();
        parts::direction(w);
        w.close();
    }
    countermeasures(w);
    if let Some(desc) = description(w.view.action()) {
        w.key("remediation").open().key("desc").word(desc);
        w.close();
    }
    policy(w);
    if w.class.uid == 7004 {
        firewall_rule(w);
    }
    if let Some(repaired) = w.view.int(Field::ResponseRepaired) {
        w.key("count").small(repaired);
        w.place(Field::ResponseRepaired);
    }
}

/// How it stands with the act or the decision.
fn status(w: &mut Writer<'_, '_>) {
    if w.view.failed() {
        return failure(w);
    }
    match w.view.state() {
        Some(state) => {
            let (id, caption) = state.row().status;
            w.pair("status_id", id, "status", caption);
        }
        None => success(w),
    }
    if !w.field("status_detail", Field::ResponseReason) {
        w.field("status_detail", Field::EventReason);
    }
}

/// What D3FEND calls an act, or the acts that a decision is about.
fn countermeasures(w: &mut Writer<'_, '_>) {
    let has =
        |verb: &str| w.view.action() == Action::Decided && w.view.texts(Field::ResponseVerbs).contains(&verb.into());
    let known = match w.view.action() {
        Action::Block => [Some(FILTER), None],
        Action::Sinkhole => [Some(DENYLIST), None],
        Action::Unblock | Action::Unsinkhole => [Some(RESTORE), None],
        _ => [has("block").then_some(FILTER), has("sinkhole").then_some(DENYLIST)],
    };
    if known == [None, None] {
        return;
    }
    w.key("countermeasures").open_list();
    for (tactic, technique, name) in known.into_iter().flatten() {
        w.item().open().key("d3f_tactic").open().key("name").word(tactic);
        w.close();
        parts::named(w, "d3f_technique", technique, name);
        w.close();
    }
    w.close_list();
}

/// What an act does, in words; a decision has its sentence.
const fn description(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::Block => "Add source address to the drop set",
        Action::Unblock => "Remove source address from the drop set",
        Action::Sinkhole => "Add source address to the response policy zone",
        Action::Unsinkhole => "Remove source address from the response policy zone",
        Action::Tag => "Tag the source host",
        Action::Untag => "Take the tag off the source host",
        Action::List => "Add source address to a list that others read",
        Action::Unlist => "Remove source address from a list that others read",
        Action::Repaired => "Make the destination equal what is decided",
        _ => return None,
    })
}

/// `policy`: the configured rule that decided.
fn policy(w: &mut Writer<'_, '_>) {
    if w.view.text(Field::ResponseRule).is_some() {
        w.key("policy").open();
        w.field("name", Field::ResponseRule);
        w.close();
    }
}

/// `firewall_rule`; the address stands in `match_details`, or consumers cannot find it.
fn firewall_rule(w: &mut Writer<'_, '_>) {
    w.key("firewall_rule").open();
    if !w.field("name", Field::ResponseTarget) {
        w.key("name").word("trapline");
    }
    w.field("type", Field::ResponseKind);
    match_details(w);
    if let Some(seconds) = w.view.int(Field::ResponseTtl) {
        w.key("duration").int(seconds.saturating_mul(1000));
        w.place(Field::ResponseTtl);
    }
    w.close();
}

/// `match_details`: the network that is acted on, if it is one, and the address.
fn match_details(w: &mut Writer<'_, '_>) {
    let (network, ip) = (w.view.text(Field::ResponseNetwork), w.view.ip(Field::SourceIp));
    if network.is_none() && ip.is_none() {
        return;
    }
    w.key("match_details").open_list();
    if let Some(network) = network {
        w.item().text(network);
        w.place(Field::ResponseNetwork);
    }
    if let Some(ip) = ip {
        w.item().ip(ip);
        w.place(Field::SourceIp);
    }
    w.close_list();
}
