//! The text that Prometheus reads, format 0.0.4: families of samples, labels escaped.
//!
//! Source: prometheus.io/docs/instrumenting/exposition_formats. What is written here is OpenMetrics 1.0 but for the name
//! in the HELP and TYPE lines of counters, and for the end mark.

use std::fmt::Write as _;

use super::histogram::Histogram;

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows only, but for a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by size.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Names and values of one sample's labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// The samples of one family.
#[derive(Debug)]
pub struct Samples<'p> {
    name: &'p str,
    text: &'p mut String,
}

/// Writes one family; one without any sample is left out.
pub fn family(text: &mut String, name: &str, kind: Kind, help: &str, write: impl FnOnce(&mut Samples<'_>)) {
    let begin = text.len();
    let _ = writeln!(
        text,
        "# HELP {name} {}",
        help.replace('\\', "\\\\").replace('\n', "\\n")
    );
    let _ = writeln!(text, "# TYPE {name} {}", kind.name());
    let head = text.len();
    write(&mut Samples { name, text });
    if text.len() == head {
        text.truncate(begin);
    }
}

impl Samples<'_> {
    /// One sample.
    pub fn put(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, None, value);
    }

    /// One sample of a count.
    pub fn count(&mut self, labels: Labels<'_>, count: u64) {
        self.put(labels, count as f64);
    }

    /// One sample for each of `all`: 1 for the one that it is, else 0.
    pub fn state(&mut self, labels: Labels<'_>, all: &[&str], is: &str) {
        for state in all {
            let labels = [labels, &[("state", *state)]].concat();
            self.put(&labels, f64::from(u8::from(*state == is)));
        }
    }

    /// All samples of a histogram, in seconds.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            self.line("_bucket", labels, Some(&number(bound.as_secs_f64())), count as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), histogram.count() as f64);
        self.line("_sum", labels, None, histogram.sum().as_secs_f64());
        self.line("_count", labels, None, histogram.count() as f64);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: f64) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut open = '{';
        for (label, value) in labels.iter().copied().chain(bound) {
            self.text.push(open);
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", number(value));
    }
}

fn escape(text: &mut String, value: &str) {
    for sign in value.chars() {
        match sign {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            sign => text.push(sign),
        }
    }
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::histogram::OF_DISK;

    fn written(write: impl FnOnce(&mut Samples<'_>)) -> String {
        let mut text = String::new();
        family(&mut text, "x_total", Kind::Counter, "a\\b\nc", write);
        text
    }

    #[test]
    fn what_a_label_says_cannot_end_it() {
        let text = written(|samples| samples.put(&[("name", "a\"b\\c\nd")], 1.5));
        assert_eq!(
            text,
            "# HELP x_total a\\\\b\\nc\n# TYPE x_total counter\nx_total{name=\"a\\\"b\\\\c\\nd\"} 1.5\n"
        );
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        assert_eq!(written(|_| {}), "");
    }

    #[test]
    fn numbers_are_as_prometheus_reads_them() {
        let numbers = [0.0, 3.0, 0.0001, 1e15, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(number);
        assert_eq!(numbers, ["0", "3", "0.0001", "1000000000000000", "NaN", "+Inf", "-Inf"]);
    }

    #[test]
    fn a_histogram_has_a_last_bucket_with_all() {
        let mut histogram = Histogram::new(OF_DISK);
        histogram.add(Duration::from_secs(60));
        let mut text = String::new();
        family(&mut text, "x_seconds", Kind::Histogram, "h", |samples| {
            samples.histogram(&[("sink", "a")], &histogram);
        });
        assert!(
            text.contains("x_seconds_bucket{sink=\"a\",le=\"0.0001\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("x_seconds_bucket{sink=\"a\",le=\"10\"} 0\n"), "{text}");
        assert!(text.ends_with("le=\"+Inf\"} 1\nx_seconds_sum{sink=\"a\"} 60\nx_seconds_count{sink=\"a\"} 1\n"));
    }
}
