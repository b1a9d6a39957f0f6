//! The figures that sinks have of themselves, each name one family over all sinks of a type.

use std::collections::BTreeMap;

use trapline_sink::{Measure, MeasureKind};

use super::OfSink;
use super::text::{Kind, Samples, family};

/// Longest label, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// Writes them all. What is not well formed, or is there twice, is a mistake of the sink and left out.
pub(super) fn render(text: &mut String, sinks: &[OfSink]) {
    let mut families: BTreeMap<String, Vec<(&str, &Measure)>> = BTreeMap::new();
    for sink in sinks {
        let good = sink.measures.iter().filter(|measure| measure.is_well_formed());
        for measure in good {
            let name = format!("trapline_sink_{}_{}", sink.kind, measure.name);
            families.entry(name).or_default().push((&sink.sink, measure));
        }
    }
    for (name, measures) in families {
        let Some((_, first)) = measures.first() else { continue };
        let kind = match first.kind {
            MeasureKind::Counter => Kind::Counter,
            MeasureKind::Gauge => Kind::Gauge,
        };
        family(text, &name, kind, first.help, |samples| put_all(samples, &measures));
    }
}

fn put_all(samples: &mut Samples<'_>, measures: &[(&str, &Measure)]) {
    let mut seen = std::collections::HashSet::new();
    for (sink, measure) in measures {
        let labels: Vec<(&str, String)> = std::iter::once(("sink", (*sink).to_owned()))
            .chain(measure.labels.iter().map(|(label, value)| (*label, plain(value))))
            .collect();
        if seen.insert(labels.clone()) {
            let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
            samples.put(&labels, measure.value);
        }
    }
}

/// What a destination said may be in it.
fn plain(value: &str) -> String {
    trapline_schemas::text::clean_within(value.as_bytes(), LABEL_CHARS_MAX).into()
}
