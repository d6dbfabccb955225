//! Metrics as Prometheus reads them: text, with every name explained.

use std::fmt::Write as _;

use triad_raft::Counted;

/// A metric, as it is documented and as it is told.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Grows, and begins at 0 with each start of the node.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by length.
    Histogram,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// The text of one answer, in the making.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Explains a metric; its samples follow.
    pub(crate) fn metric(&mut self, metric: &'static Metric) -> Samples<'_> {
        let Metric { name, kind, help, .. } = metric;
        let kind = kind.name();
        put(&mut self.0, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Samples { text: &mut self.0, metric }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// The samples of one metric.
pub(crate) struct Samples<'a> {
    text: &'a mut String,
    metric: &'static Metric,
}

impl Samples<'_> {
    /// One sample, with a value for each label of the metric.
    pub(crate) fn with(&mut self, labels: &[&str], value: impl Number) -> &mut Self {
        self.line("", labels, None, value.number());
        self
    }

    /// The one sample of a metric without labels.
    pub(crate) fn is(&mut self, value: impl Number) {
        self.with(&[], value);
    }

    /// The same, if it is known.
    pub(crate) fn is_some(&mut self, value: Option<impl Number>) {
        if let Some(value) = value {
            self.is(value);
        }
    }

    /// The samples of a histogram, in seconds.
    pub(crate) fn counted(&mut self, counted: &Counted) {
        for (bound, count) in &counted.at_most {
            let bound = bound.as_secs_f64().to_string();
            self.line("_bucket", &[], Some(&bound), count.number());
        }
        self.line("_bucket", &[], Some("+Inf"), counted.count.number());
        self.line("_sum", &[], None, counted.sum.as_secs_f64());
        self.line("_count", &[], None, counted.count.number());
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, number: f64) {
        let Metric { name, labels, .. } = self.metric;
        assert_eq!(labels.len(), values.len(), "{name}: one value for each label");
        put(self.text, format_args!("{name}{suffix}"));
        let pairs = labels.iter().copied().zip(values.iter().copied());
        let mut before = "{";
        for (label, value) in pairs.chain(bound.map(|bound| ("le", bound))) {
            put(self.text, format_args!("{before}{label}=\"{}\"", escaped(value)));
            before = ",";
        }
        let end = if before == "," { "}" } else { "" };
        put(self.text, format_args!("{end} {number}\n"));
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes every write");
}

/// A label's value: names of features and users are anybody's text.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What may be a sample's value. Counts beyond 2^53 lose their last digits, as
/// they would in Prometheus.
pub(crate) trait Number {
    fn number(&self) -> f64;
}

impl Number for u64 {
    fn number(&self) -> f64 {
        *self as f64
    }
}

impl Number for usize {
    fn number(&self) -> f64 {
        *self as f64
    }
}

impl Number for bool {
    fn number(&self) -> f64 {
        f64::from(u8::from(*self))
    }
}

impl Number for f64 {
    fn number(&self) -> f64 {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static HELD: Metric = Metric {
        name: "seats_held",
        kind: Kind::Gauge,
        labels: &["feature", "user"],
        help: "Seats held.",
    };
    static TOOK: Metric =
        Metric { name: "took_seconds", kind: Kind::Histogram, labels: &[], help: "How long." };

    #[test]
    fn a_hostile_name_stays_inside_its_label() {
        let mut text = Exposition::default();
        text.metric(&HELD).with(&["a\"} 1\n# x", "\\"], 3_u64);
        let expected = "# HELP seats_held Seats held.\n# TYPE seats_held gauge\n\
                        seats_held{feature=\"a\\\"} 1\\n# x\",user=\"\\\\\"} 3\n";
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn a_histogram_is_told_by_bounds_in_seconds() {
        let ms = std::time::Duration::from_millis;
        let counted = Counted { at_most: vec![(ms(1), 2), (ms(250), 3)], count: 4, sum: ms(1_500) };
        let mut text = Exposition::default();
        text.metric(&TOOK).counted(&counted);
        let text = text.into_text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let expected = [
            "took_seconds_bucket{le=\"0.001\"} 2",
            "took_seconds_bucket{le=\"0.25\"} 3",
            "took_seconds_bucket{le=\"+Inf\"} 4",
            "took_seconds_sum 1.5",
            "took_seconds_count 4",
        ];
        assert_eq!(lines, expected);
    }
}
