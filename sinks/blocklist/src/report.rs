//! What a list says of those that come for it: lines for `status`, figures for `/metrics`.

use std::time::Duration;

use trapline_sink::measure::Measure;
use trapline_sink::published::Poller;

/// Pollers that `status` names, those that came last.
const POLLERS_SHOWN: usize = 8;

/// One line a poller, the latest first.
pub(crate) fn notes(all: &[Poller]) -> Vec<String> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|poller| poller.last.elapsed());
    let more = all.len().saturating_sub(POLLERS_SHOWN);
    let shown = all.iter().take(POLLERS_SHOWN).map(|poller| {
        let refused = match poller.refused {
            0 => String::new(),
            count => format!(", refused {count} times since"),
        };
        let (who, address, came) = (&poller.who, poller.address, poller.came);
        format!(
            "{who} ({address}) came {} ago, {came} times in all{refused}",
            ago(poller.last.elapsed())
        )
    });
    let more = (more > 0).then(|| format!("{more} more came for the list"));
    shown.chain(more).collect()
}

fn ago(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3_600),
    }
}

/// By token: an address is no label.
pub(crate) fn measures(pollers: &[Poller]) -> Vec<Measure> {
    let mut names: Vec<_> = pollers.iter().map(|poller| &poller.who).collect();
    names.sort();
    names.dedup();
    names.into_iter().flat_map(|name| by_token(pollers, name)).collect()
}

fn by_token(pollers: &[Poller], name: &str) -> [Measure; 3] {
    let of = || pollers.iter().filter(|poller| poller.who == name);
    let age = of()
        .map(|poller| poller.last.elapsed().as_secs_f64())
        .fold(f64::MAX, f64::min);
    let came: u64 = of().map(|poller| poller.came).sum();
    let refused: u64 = of().map(|poller| poller.refused).sum();
    [
        Measure::counter(
            "fetches_total",
            "How often a token was shown for the list.",
            came as f64,
        ),
        Measure::gauge(
            "refusals",
            "How often its poller was refused since it came last.",
            refused as f64,
        ),
        Measure::gauge(
            "fetch_age_seconds",
            "Time since the list was fetched with the token.",
            age,
        ),
    ]
    .map(|measure| measure.with("token", name))
}
