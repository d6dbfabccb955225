//! `[traces]`: where spans are sent, and how many of them.

use serde::Deserialize;
use toml::Spanned;

use super::is_address;

/// One in a million: the smallest share that can be asked for.
const MILLION: f64 = 1_000_000.0;
/// One batch in a hundred.
const SAMPLE_DEFAULT: f64 = 0.01;

/// Where spans are sent, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesConfig {
    /// `host:port` of what takes OTLP by gRPC.
    pub collector: String,
    /// Of what happens all the time, how much is told.
    pub sample: Sample,
}

/// A share, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample(u32);

impl Sample {
    /// All of it.
    pub const ALL: Sample = Sample(1_000_000);

    /// Whether this number, drawn from all that there are, is among them.
    pub(crate) fn takes(self, drawn: u64) -> bool {
        // The upper half is as good as the whole, and the product fits.
        (drawn >> 32) * 1_000_000 < u64::from(self.0) << 32
    }
}

/// The table as it is written.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTraces {
    otlp: Option<Spanned<String>>,
    sample: Option<Spanned<f64>>,
}

/// A key that was not accepted: where, what it was, what would be right.
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) at: usize,
    pub(super) value: String,
    pub(super) expected: &'static str,
}

#[cfg(test)]
impl TracesConfig {
    /// What the table comes to.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let raw: RawTraces = toml::from_str(text).map_err(|error| error.to_string())?;
        raw.check().map_err(|wrong| format!("{} = {}: {}", wrong.key, wrong.value, wrong.expected))
    }
}

impl RawTraces {
    pub(super) fn check(&self) -> Result<Option<TracesConfig>, Wrong> {
        let sample = match &self.sample {
            None => SAMPLE_DEFAULT,
            Some(given) if (0.0..=1.0).contains(given.get_ref()) => *given.get_ref(),
            Some(given) => {
                return Err(Wrong {
                    key: "traces.sample",
                    at: given.span().start,
                    value: given.get_ref().to_string(),
                    expected: "must be 0 to 1, such as 0.01 for one in a hundred",
                });
            }
        };
        let Some(otlp) = &self.otlp else { return Ok(None) };
        let wrong = |expected| Wrong {
            key: "traces.otlp",
            at: otlp.span().start,
            value: otlp.get_ref().clone(),
            expected,
        };
        if otlp.get_ref().starts_with("https://") {
            return Err(wrong(
                "spans are sent in plain text: name a collector on this host or in its network as \
                 http://host:port, and let it forward them",
            ));
        }
        let address = otlp.get_ref().strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address = address.filter(|address| is_address(address));
        let address =
            address.ok_or_else(|| wrong("must read http://host:port, port 4317 mostly"))?;
        let sample = Sample((sample * MILLION).round() as u32);
        Ok(Some(TracesConfig { collector: address.to_owned(), sample }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<TracesConfig>, String> {
        TracesConfig::parse(text)
    }

    #[test]
    fn traces_are_off_unless_a_collector_is_named() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("sample = 1"), Ok(None));
        let on = read("otlp = \"http://[::1]:4317/\"").expect("good").expect("on");
        assert_eq!((&*on.collector, on.sample), ("[::1]:4317", Sample(10_000)));
        let all = read("otlp = \"http://otel:4317\"\nsample = 1").expect("good").expect("on");
        assert_eq!(all.sample, Sample::ALL);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (text, expected) in [
            ("otlp = \"otel:4317\"", "must read http://host:port"),
            ("otlp = \"http://otel\"", "must read http://host:port"),
            ("otlp = \"http://otel:4317/v1/traces\"", "must read http://host:port"),
            ("otlp = \"https://otel:4317\"", "plain text"),
            ("sample = 1.01", "traces.sample = 1.01: must be 0 to 1"),
            ("sample = -0.1", "must be 0 to 1"),
            ("sample = nan", "must be 0 to 1"),
            ("smaple = 1", "unknown field `smaple`"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_share_is_taken_of_what_is_drawn() {
        let some = Sample(10_000);
        assert!(some.takes(0) && some.takes(u64::MAX / 101) && !some.takes(u64::MAX / 99));
        assert!(Sample::ALL.takes(u64::MAX) && !Sample(0).takes(0));
    }
}
