//! Figures that a sink knows of itself beyond what the delivery worker counts: for `/metrics`, never for judging.
//!
//! In: what a protocol's library counts. Out: [`Measure`]s, which the rendering shows as
//! `trapline_sink_TYPE_NAME{sink="…", labels…}`. Labels are bounded: brokers, partitions, never what a peer sent.

/// Most figures of one sink; what is beyond is left out.
pub const MEASURES_MAX: usize = 1024;

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureKind {
    /// Grows only, but for a restart; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name behind `trapline_sink_TYPE_`: small letters, digits and `_`, with its unit at the end (`_seconds`,
    /// `_bytes`, `_total`).
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it is.
    pub kind: MeasureKind,
    /// What tells it from others of its name; none is called `sink`.
    pub labels: Vec<(&'static str, String)>,
    /// How much, in base units.
    pub value: f64,
}

impl Measure {
    /// A figure that grows.
    pub fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(MeasureKind::Counter, name, help, value)
    }

    /// A figure that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(MeasureKind::Gauge, name, help, value)
    }

    /// The same with one more label.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }

    /// Whether name and labels are as they must be.
    pub fn is_well_formed(&self) -> bool {
        let is_counter = self.kind == MeasureKind::Counter;
        let labels = self.labels.iter().map(|(label, _)| *label);
        is_name(self.name)
            && self.name.ends_with("_total") == is_counter
            && labels
                .clone()
                .all(|label| is_name(label) && label != "sink" && label != "le")
    }

    fn new(kind: MeasureKind, name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            kind,
            labels: Vec::new(),
            value,
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain) && !name.contains("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_called_total_and_no_other_is() {
        assert!(Measure::counter("errors_total", "", 1.0).is_well_formed());
        assert!(!Measure::counter("errors", "", 1.0).is_well_formed());
        assert!(!Measure::gauge("errors_total", "", 1.0).is_well_formed());
    }

    #[test]
    fn names_and_labels_are_plain() {
        for wrong in ["", "Queue", "queue-bytes", "9_bytes", "queue__bytes", "queue\n"] {
            assert!(!Measure::gauge(wrong, "", 0.0).is_well_formed(), "{wrong:?}");
        }
        let queue = Measure::gauge("queue_bytes", "", 0.0);
        assert!(queue.clone().with("broker", "any \" value\n").is_well_formed());
        for wrong in ["sink", "le", "Broker"] {
            assert!(!queue.clone().with(wrong, "1").is_well_formed(), "{wrong}");
        }
    }
}
