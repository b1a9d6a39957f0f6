//! The table of families.

use super::Facts;
use super::text::{Kind, Samples};
use crate::control::status::Health;
use crate::delivery::{SinkState, SinkStatus};
use Kind::{Counter, Gauge, Histogram};
use trapline_schemas::Action;

/// One family.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    pub(super) samples: fn(&Facts, &mut Samples<'_>),
}

const fn row(name: &'static str, kind: Kind, help: &'static str, samples: fn(&Facts, &mut Samples<'_>)) -> Family {
    Family {
        name,
        kind,
        help,
        samples,
    }
}

const HEALTH: [&str; 3] = [Health::Ok.name(), Health::Degraded.name(), Health::Failing.name()];

/// Every family but those of [`trapline_sink::StreamSink::measures`], in the order of the text.
#[rustfmt::skip]
pub const FAMILIES: &[Family] = &[
    // The instance.
    row("trapline_build_info", Gauge, "Always 1, with the version.",
        |facts, out| out.put(&[("version", &facts.status.version)], 1.0)),
    row("trapline_start_time_seconds", Gauge, "When the process started, in seconds since 1970.",
        |facts, out| out.put(&[], facts.started_secs)),
    row("trapline_uptime_seconds", Gauge, "For how long the process runs.",
        |facts, out| out.count(&[], facts.status.uptime_secs)),
    row("trapline_health_state", Gauge, "1 for the worst that is wrong now, as `trapline status` says it.",
        |facts, out| out.state(&[], &HEALTH, facts.status.health.name())),
    row("trapline_faults", Gauge, "Faults that `trapline status` lists, by how bad they are.", faults),
    row("trapline_panics_total", Counter, "Panics, each of which is a bug.",
        |facts, out| out.count(&[], facts.status.process.panics)),
    row("trapline_process_cpu_seconds_total", Counter, "Processor time used.",
        |facts, out| out.put(&[], facts.cpu_secs)),
    row("trapline_process_resident_memory_bytes", Gauge, "Resident memory.",
        |facts, out| out.count(&[], facts.status.process.memory_bytes)),
    row("trapline_process_open_descriptors", Gauge, "Open file descriptors.",
        |facts, out| out.count(&[], facts.status.process.descriptors)),
    row("trapline_process_max_descriptors", Gauge, "Most file descriptors that may be open.",
        |facts, out| out.count(&[], facts.status.process.descriptors_max)),
    // Decoys.
    row("trapline_listener_up", Gauge, "Whether a decoy listens on an address of the configuration.", listeners),
    row("trapline_decoy_certificate_expiry_seconds", Gauge, "Until when a decoy's certificate is valid, in seconds since 1970.",
        |facts, out| facts.certificates.iter().for_each(|(decoy, until)| out.put(&[("decoy", decoy)], *until as f64))),
    row("trapline_contacts_total", Counter, "Contacts: TCP connections accepted, and datagrams or what stands for several.", contacts),
    row("trapline_hits_total", Counter, "What was observed at decoys, also what was folded into a count.", hits),
    row("trapline_folded_hits_total", Counter, "Hits that made no event of their own, as their source had had its share of the minute; told by counts.",
        |facts, out| out.count(&[], facts.hits.folded)),
    row("trapline_dropped_datagrams_total", Counter, "Datagrams that the kernel dropped because they came faster than they were read.",
        |facts, out| facts.hits.dropped.iter().for_each(|(decoy, count)| out.count(&[("decoy", decoy)], *count))),
    row("trapline_open_sessions", Gauge, "Sessions that are open.",
        |facts, out| out.count(&[], facts.sessions.open)),
    row("trapline_sessions_total", Counter, "Sessions begun.",
        |facts, out| out.count(&[], facts.sessions.begun)),
    row("trapline_refused_sessions_total", Counter, "Connections closed at once: their source (`source`) or all decoys together (`full`) had all they may have.", refused_sessions),
    row("trapline_shed_sessions_total", Counter, "Sessions ended to make room for others, the longest idle first.",
        |facts, out| out.count(&[], facts.sessions.ended)),
    row("trapline_canary_up", Gauge, "Whether the last canary came to every sink that wants it; absent before the first.",
        |facts, out| facts.status.canary.iter().for_each(|canary| out.put(&[], f64::from(u8::from(canary.ok))))),
    row("trapline_canary_age_seconds", Gauge, "How long ago the last canary ended.",
        |facts, out| facts.status.canary.iter().for_each(|canary| out.count(&[], canary.age_secs))),
    // The journal.
    row("trapline_journal_state", Gauge, "1 for how the journal does.",
        |facts, out| out.state(&[], &HEALTH, facts.status.journal.health.name())),
    row("trapline_journal_head_offset", Gauge, "The next offset to be given.",
        |facts, out| out.count(&[], facts.status.journal.head)),
    row("trapline_journal_oldest_offset", Gauge, "The oldest offset kept.",
        |facts, out| out.count(&[], facts.status.journal.oldest)),
    row("trapline_journal_entries", Gauge, "Entries kept.",
        |facts, out| out.count(&[], facts.status.journal.entries)),
    row("trapline_journal_size_bytes", Gauge, "Size of the file with its write-ahead log.",
        |facts, out| out.count(&[], facts.status.journal.bytes)),
    row("trapline_journal_index_lag_entries", Gauge, "Entries that are not in the search index yet.",
        |facts, out| out.count(&[], facts.status.journal.index_lag)),
    row("trapline_journal_appended_entries_total", Counter, "Entries made durable.",
        |facts, out| out.count(&[], facts.journal.appended)),
    row("trapline_journal_commit_duration_seconds", Histogram, "How long a group of commits took to be durable, its sync included.",
        |facts, out| out.histogram(&[], &facts.journal.commits)),
    row("trapline_journal_refused_commits_total", Counter, "Groups of commits that the disk refused; they are held and tried again.",
        |facts, out| out.count(&[], facts.journal.refused)),
    row("trapline_journal_held_entries", Gauge, "Entries held in memory because the disk fails.",
        |facts, out| out.count(&[], facts.held.0)),
    row("trapline_journal_shed_entries_total", Counter, "Entries dropped because memory was full while the disk failed.",
        |facts, out| out.count(&[], facts.held.1)),
    row("trapline_journal_gone_entries_total", Counter, "Entries told as gone by a gap event, by cause; once for each consumer that missed them.",
        |facts, out| facts.gone.iter().for_each(|(cause, count)| out.count(&[("cause", cause)], *count))),
    // Transforms.
    row("trapline_window_events_total", Counter, "Events that a window let through, or held back to sum them up; `notices/NAME` stands before sink NAME.", windows),
    // Sinks.
    row("trapline_sink_info", Gauge, "Always 1, with the sink's type.",
        |facts, out| facts.status.sinks.iter().for_each(|sink| out.put(&[("sink", &sink.name), ("type", &sink.kind)], 1.0))),
    row("trapline_sink_state", Gauge, "1 for what the sink is doing.", sink_states),
    row("trapline_sink_delivered_events_total", Counter, "Events delivered.",
        |facts, out| each(facts, out, |sink| sink.totals.delivered)),
    row("trapline_sink_retried_events_total", Counter, "Events to be sent again.",
        |facts, out| each(facts, out, |sink| sink.totals.retried)),
    row("trapline_sink_refused_events_total", Counter, "Events that the destination refused for good: dead letters made.",
        |facts, out| each(facts, out, |sink| sink.totals.rejected)),
    row("trapline_sink_dead_letters", Gauge, "Dead letters kept.",
        |facts, out| facts.status.sinks.iter().for_each(|sink| out.count(&[("sink", &sink.name)], sink.dead_letters))),
    row("trapline_sink_lost_entries_total", Counter, "Entries that were gone or unreadable before the sink had them.",
        |facts, out| each(facts, out, |sink| sink.totals.missing + sink.totals.lost + sink.totals.unreadable)),
    row("trapline_sink_given_up_events_total", Counter, "Events sent on connections that were lost, perhaps never read, and sent no more.",
        |facts, out| each(facts, out, |sink| sink.totals.given_up)),
    row("trapline_sink_breakdowns_total", Counter, "How often the sink's worker broke down, which is a bug.",
        |facts, out| each(facts, out, |sink| sink.totals.breakdowns)),
    row("trapline_sink_cursor_offset", Gauge, "The lowest offset that the sink has not finished.",
        |facts, out| each(facts, out, |sink| sink.cursor)),
    row("trapline_sink_lag_entries", Gauge, "Entries that the sink has not finished.",
        |facts, out| each(facts, out, |sink| sink.lag)),
    row("trapline_sink_lag_seconds", Gauge, "Age of the oldest event that the sink should have and has not; 0 if there is none.", lag_seconds),
    row("trapline_sink_batches_total", Counter, "Batches sent.",
        |facts, out| each(facts, out, |sink| sink.totals.batches)),
    row("trapline_sink_open_batches", Gauge, "Batches that are not answered yet.",
        |facts, out| each(facts, out, |sink| sink.figures.in_flight)),
    row("trapline_sink_failed_tries_total", Counter, "Tries that failed, by kind of fault.", failed_tries),
    row("trapline_sink_batch_duration_seconds", Histogram, "How long the sink took to answer a batch.",
        |facts, out| facts.sinks.iter().for_each(|sink| out.histogram(&[("sink", &sink.name)], &sink.figures.answers))),
    row("trapline_sink_latency_seconds", Histogram, "How long after a hit its event was delivered.",
        |facts, out| facts.sinks.iter().for_each(|sink| out.histogram(&[("sink", &sink.name)], &sink.figures.latency))),
];

fn faults(facts: &Facts, out: &mut Samples<'_>) {
    for health in [Health::Degraded, Health::Failing] {
        let faults = facts.status.faults.iter().filter(|fault| fault.health == health);
        out.count(&[("health", health.name())], faults.count() as u64);
    }
}

fn listeners(facts: &Facts, out: &mut Samples<'_>) {
    let mut seen = std::collections::HashSet::new();
    for listener in &facts.status.listeners {
        let labels = [
            ("decoy", listener.decoy.as_str()),
            ("service", listener.service.as_str()),
            ("transport", listener.transport.as_str()),
            ("address", listener.address.as_str()),
        ];
        // Several may be wanted of a port that the system chooses.
        if seen.insert(labels) {
            out.put(&labels, f64::from(u8::from(listener.bound)));
        }
    }
}

fn contacts(facts: &Facts, out: &mut Samples<'_>) {
    for (decoy, action, count) in &facts.hits.hits {
        let transport = match action {
            Action::Connect => "tcp",
            Action::UdpProbe => "udp",
            _ => continue,
        };
        out.count(&[("decoy", decoy), ("transport", transport)], *count);
    }
}

fn hits(facts: &Facts, out: &mut Samples<'_>) {
    for (decoy, action, count) in &facts.hits.hits {
        out.count(&[("decoy", decoy), ("action", action.name())], *count);
    }
}

fn refused_sessions(facts: &Facts, out: &mut Samples<'_>) {
    out.count(&[("reason", "source")], facts.sessions.refused_of_source);
    out.count(&[("reason", "full")], facts.sessions.refused_as_full);
}

fn windows(facts: &Facts, out: &mut Samples<'_>) {
    for window in &facts.windows {
        out.count(&[("transform", &window.node), ("verdict", "passed")], window.passed);
        out.count(&[("transform", &window.node), ("verdict", "held")], window.held);
    }
}

fn sink_states(facts: &Facts, out: &mut Samples<'_>) {
    let all = SinkState::ALL.map(SinkState::name);
    for sink in &facts.sinks {
        out.state(&[("sink", &sink.name)], &all, sink.state.name());
    }
}

fn lag_seconds(facts: &Facts, out: &mut Samples<'_>) {
    for sink in &facts.sinks {
        let age = sink.oldest_unsent.map_or(0.0, |at| facts.at.since(at).as_secs_f64());
        out.put(&[("sink", &sink.name)], age);
    }
}

fn failed_tries(facts: &Facts, out: &mut Samples<'_>) {
    for sink in &facts.sinks {
        for (kind, count) in &sink.figures.failed {
            out.count(&[("sink", &sink.name), ("kind", kind)], *count);
        }
    }
}

fn each(facts: &Facts, out: &mut Samples<'_>, count: fn(&SinkStatus) -> u64) {
    for sink in &facts.sinks {
        out.count(&[("sink", &sink.name)], count(sink));
    }
}
