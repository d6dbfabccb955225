//! `[log]`: how a node's log is written, where the command line does not say.

use serde::Deserialize;

/// How a node's log is written, as far as the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: Option<LogFormat>,
    /// What is logged, such as `debug`, or `warn,triad_server=debug`.
    pub level: Option<String>,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object on each line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_as_configured_or_left_to_the_command_line() {
        let read = |text: &str| toml::from_str::<LogConfig>(text).map_err(|e| e.to_string());
        assert_eq!(read(""), Ok(LogConfig::default()));
        let log = read("format = \"json\"\nlevel = \"warn,triad_server=debug\"\n").expect("good");
        assert_eq!(log.format, Some(LogFormat::Json));
        assert_eq!(log.level.as_deref(), Some("warn,triad_server=debug"));
        assert!(read("format = \"xml\"\n").expect_err("xml").contains("unknown variant `xml`"));
        assert!(read("levl = \"x\"\n").expect_err("levl").contains("unknown field `levl`"));
    }
}
