//! `trapline status`: how the running instance does.

use std::io;

use crate::control::protocol::{Answer, Request};
use crate::control::status::{
    ActingStatus, CertificateStatus, Fault, Health, ResponseStatus, SinkStatus, Status, WebStatus,
};

use super::output::{Out, safe};
use super::{Exit, Globals, place};

pub(super) fn run(globals: &Globals) -> anyhow::Result<Exit> {
    let status = match place::ask_one(globals, &Request::Status)? {
        Answer::Status(status) => *status,
        other => return place::refused(other),
    };
    let mut out = Out::new();
    if globals.json {
        out.json(&status)?;
    } else {
        show(&mut out, &status)?;
    }
    out.flush()?;
    Ok(exit(status.health))
}

fn exit(health: Health) -> Exit {
    if health == Health::Failing {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn show(out: &mut Out, status: &Status) -> io::Result<()> {
    let health = out.health(status.health, status.health.name());
    out.line(&format!(
        "trapline {} is {health}: process {}, up {}, configuration {}",
        status.version,
        status.pid,
        span(status.uptime_secs),
        safe(status.config.as_deref().unwrap_or("embedded default")),
    ))?;
    for fault in &status.faults {
        show_fault(out, fault)?;
    }
    show_journal(out, status)?;
    show_listeners(out, status)?;
    show_sinks(out, status)?;
    show_acting(out, status)?;
    if let Some(web) = &status.web {
        out.line(&format!("\n{}", feed(web)))?;
    }
    let process = &status.process;
    out.line(&format!(
        "\nprocess: {} of {} descriptors, {} MiB of memory, {} panics",
        process.descriptors,
        process.descriptors_max,
        process.memory_bytes / (1024 * 1024),
        process.panics,
    ))
}

fn show_fault(out: &mut Out, fault: &Fault) -> io::Result<()> {
    let since = fault
        .since
        .as_deref()
        .map(|at| format!(" since {at}"))
        .unwrap_or_default();
    let health = out.health(fault.health, fault.health.name());
    out.line(&format!(
        "  {health}: {}: {}{since}",
        safe(&fault.part),
        safe(&fault.what)
    ))?;
    if !fault.hint.is_empty() {
        out.line(&format!("    hint: {}", safe(&fault.hint)))?;
    }
    Ok(())
}

fn show_journal(out: &mut Out, status: &Status) -> io::Result<()> {
    let journal = &status.journal;
    out.line(&format!(
        "\njournal {}: {} entries, {} MiB, index {} behind",
        safe(&journal.path),
        journal.entries,
        journal.bytes.div_ceil(1024 * 1024),
        journal.index_lag,
    ))
}

fn show_listeners(out: &mut Out, status: &Status) -> io::Result<()> {
    out.line("")?;
    let rows = status.listeners.iter().map(|listener| {
        vec![
            listener.decoy.clone(),
            listener.service.clone(),
            format!("{} {}", listener.transport, listener.address),
            listener.personality.clone(),
            listener.health.name().to_owned(),
            listener.certificate.as_ref().map(certificate).unwrap_or_default(),
            listener.error.as_deref().map(safe).unwrap_or_default(),
        ]
    });
    out.table(
        &[
            "DECOY",
            "SERVICE",
            "LISTENS",
            "PERSONALITY",
            "HEALTH",
            "CERTIFICATE",
            "",
        ],
        rows.collect(),
    )
}

/// How long a certificate is still valid, and whose it is.
fn certificate(certificate: &CertificateStatus) -> String {
    let whose = if certificate.own { "own" } else { "made here" };
    match certificate.days_left {
        ..0 => format!("ran out, {whose}"),
        days => format!("{days} days, {whose}"),
    }
}

fn show_sinks(out: &mut Out, status: &Status) -> io::Result<()> {
    if status.sinks.is_empty() {
        return out.line("\nno sinks");
    }
    out.line("")?;
    let rows = status.sinks.iter().map(|sink| {
        vec![
            sink.name.clone(),
            sink.kind.clone(),
            delivered(sink),
            waiting(sink.lag, sink.oldest_unsent_secs),
            waiting(sink.dead_letters, Some(sink.oldest_dead_letter_secs)),
            sink.health.name().to_owned(),
            remarks(sink),
        ]
    });
    out.table(
        &["SINK", "TYPE", "DELIVERED", "LAG", "DEAD", "HEALTH", ""],
        rows.collect(),
    )
}

fn show_acting(out: &mut Out, status: &Status) -> io::Result<()> {
    if let Some(response) = &status.response {
        out.line(&format!("\n{}", decided(response)))?;
    }
    if status.acting.is_empty() {
        return Ok(());
    }
    let rows = status.acting.iter().map(|sink| {
        vec![
            sink.name.clone(),
            sink.kind.clone(),
            format!("{} {}", sink.verb, sink.scope),
            format!("{} of {}", sink.standing, sink.wanted),
            sink.repaired.to_string(),
            sink.health.name().to_owned(),
            acting_remarks(sink),
        ]
    });
    out.table(
        &["ACTS", "TYPE", "DOES", "IN FORCE", "MENDED", "HEALTH", ""],
        rows.collect(),
    )
}

/// What is decided, in one line.
fn decided(response: &ResponseStatus) -> String {
    let counts = [
        (response.active, "in force"),
        (response.proposed, "waiting for a person"),
        (response.observed, "observed"),
        (response.over, "being undone"),
    ];
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    match counts.is_empty() {
        true => format!("response: mode {}, nothing decided", response.mode),
        false => format!("response: mode {}, {}", response.mode, counts.join(", ")),
    }
}

fn acting_remarks(sink: &ActingStatus) -> String {
    let would = sink.would_put.zip(sink.would_take);
    let would = would
        .filter(|(put, take)| put + take > 0)
        .map(|(put, take)| format!("would put {put} and take {take}"));
    let counts = [
        (sink.failed, "wait for another try"),
        (sink.refused, "refused"),
        (sink.nowhere, "nowhere to be found"),
        (sink.beyond_room, "find no room"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let said = sink.error.iter().map(|error| safe(error));
    let said = said
        .chain(would)
        .chain(counts.map(|(count, what)| format!("{count} {what}")));
    let said = said.chain(sink.notes.iter().map(|note| safe(note)));
    said.collect::<Vec<_>>().join("; ")
}

/// The live feed, in one line.
fn feed(web: &WebStatus) -> String {
    let scheme = if web.tls { "https" } else { "http" };
    let stands = match &web.error {
        Some(error) => format!("{}: {}", web.health.name(), safe(error)),
        None => web.health.name().to_owned(),
    };
    let tokens = match web.tokens {
        0 => "no token yet: `trapline token create NAME`".to_owned(),
        count => format!(
            "{count} good {}, one is needed",
            if count == 1 { "token" } else { "tokens" }
        ),
    };
    let certificate = web.certificate.as_ref().map(certificate);
    let certificate = certificate
        .map(|left| format!(", certificate {left}"))
        .unwrap_or_default();
    format!(
        "live feed {scheme}://{}: {stands}, {} of {} streams, {tokens}{certificate}",
        web.address, web.streams, web.streams_max,
    )
}

fn delivered(sink: &SinkStatus) -> String {
    match sink.unconfirmed {
        true => format!("{} sent", sink.delivered),
        false => sink.delivered.to_string(),
    }
}

/// How many wait, and for how long the oldest has, if that is known.
fn waiting(count: u64, oldest_secs: Option<u64>) -> String {
    match oldest_secs.filter(|_| count > 0) {
        Some(secs) => format!("{count}, oldest {}", span(secs)),
        None => count.to_string(),
    }
}

fn remarks(sink: &SinkStatus) -> String {
    let error = sink.error.as_deref().map(safe);
    let retry = sink.retry_in_secs.map(|secs| format!("tried again in {}", span(secs)));
    let lost = (sink.lost > 0).then(|| format!("{} lost to retention or damage", sink.lost));
    let replay = sink.replay.as_ref();
    let replay = replay.map(|replay| format!("replay at {} %, {} sent", replay.percent(), replay.sent));
    let notes = sink.notes.iter().map(|note| safe(note));
    error
        .into_iter()
        .chain(replay)
        .chain(retry)
        .chain(lost)
        .chain(notes)
        .collect::<Vec<_>>()
        .join("; ")
}

/// A span of seconds in its two largest units.
fn span(secs: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = secs;
    let parts = units.iter().filter_map(|(size, name)| {
        let count = left / size;
        left %= size;
        (count > 0).then(|| format!("{count}{name}"))
    });
    let parts: Vec<_> = parts.take(2).collect();
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_in_its_two_largest_units() {
        assert_eq!(span(0), "0s");
        assert_eq!(span(59), "59s");
        assert_eq!(span(3_661), "1h 1m");
        assert_eq!(span(90_061), "1d 1h");
    }

    #[test]
    fn what_waits_is_shown_with_the_age_of_the_oldest() {
        assert_eq!(waiting(0, Some(0)), "0");
        assert_eq!(waiting(3, Some(7200)), "3, oldest 2h");
        assert_eq!(waiting(7, None), "7");
    }

    #[test]
    fn only_failing_is_a_failure_of_the_command() {
        assert_eq!(exit(Health::Ok), Exit::Done);
        assert_eq!(exit(Health::Degraded), Exit::Done);
        assert_eq!(exit(Health::Failing), Exit::Failed);
    }
}
