//! The office's configuration, `office.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::OfficeError;

/// A configuration that was checked. Paths are complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The publisher's name, in every license.
    pub publisher: String,
    /// Where to listen.
    pub listen: String,
    /// How people and servers reach it, without a slash at the end.
    pub url: String,
    /// The database.
    pub database: PathBuf,
    /// The folder of the publisher's secret keys.
    pub keys: PathBuf,
    /// Certificate and key; `None`: plain HTTP, as was asked for.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The rules of the exchange.
    pub exchange: Exchange,
}

/// The rules of the capability exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// For how many days a license is good without being renewed; 0: as long as
    /// what was bought.
    pub lifetime_days: u32,
    /// For how long a response may be applied, and how old a request may be.
    pub online_ms: u64,
    /// The same for what travels by file.
    pub offline_ms: u64,
    /// Whether servers that nobody registered before are let in.
    pub register_unknown: bool,
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange {
            lifetime_days: 30,
            online_ms: 24 * HOUR_MS,
            offline_ms: 30 * 24 * HOUR_MS,
            register_unknown: true,
        }
    }
}

const HOUR_MS: u64 = 3_600_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    publisher: String,
    listen: String,
    url: String,
    #[serde(default = "database")]
    database: PathBuf,
    #[serde(default = "keys")]
    keys: PathBuf,
    tls: RawTls,
    #[serde(default)]
    exchange: RawExchange,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    mode: String,
    #[serde(default)]
    certificate: PathBuf,
    #[serde(default)]
    key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExchange {
    lifetime_days: Option<u32>,
    online_hours: Option<u64>,
    offline_days: Option<u64>,
    register_unknown: Option<bool>,
}

fn database() -> PathBuf {
    "office.db".into()
}

fn keys() -> PathBuf {
    "keys".into()
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to it.
    pub fn load(file: &Path) -> Result<Config, OfficeError> {
        let text = fs::read_to_string(file)
            .map_err(|source| OfficeError::File { path: file.to_owned(), source })?;
        Config::parse(&text, file)
    }

    /// Checks the text of a configuration that stands at `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Config, OfficeError> {
        let wrong = |what: String| OfficeError::Config { path: file.to_owned(), what };
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text[..at].matches('\n').count();
            wrong(format!("line {line}: {}", error.message().replace('\n', " ")))
        })?;
        let home = file.parent().unwrap_or(Path::new(""));
        let tls = match raw.tls.mode.as_str() {
            "on" => Some((home.join(&raw.tls.certificate), home.join(&raw.tls.key))),
            "off" => None,
            other => {
                return Err(wrong(format!("tls.mode = {other:?}: must be \"on\" or \"off\"")));
            }
        };
        if raw.tls.mode == "on" && raw.tls.certificate.as_os_str().is_empty() {
            return Err(wrong("tls.certificate names a file when tls.mode is \"on\"".into()));
        }
        if raw.publisher.trim().is_empty() {
            return Err(wrong("publisher is the name that stands in every license".into()));
        }
        let defaults = Exchange::default();
        let online_hours = raw.exchange.online_hours.unwrap_or(defaults.online_ms / HOUR_MS);
        let offline_days = raw.exchange.offline_days.unwrap_or(defaults.offline_ms / HOUR_MS / 24);
        if !(1..=8_760).contains(&online_hours) || !(1..=3_650).contains(&offline_days) {
            let what = "exchange.online_hours takes 1 to 8760, offline_days 1 to 3650";
            return Err(wrong(what.into()));
        }
        let lifetime_days = raw.exchange.lifetime_days.unwrap_or(defaults.lifetime_days);
        if lifetime_days > 3_650 || lifetime_days == 1 {
            return Err(wrong("exchange.lifetime_days takes 0, or 2 to 3650".into()));
        }
        Ok(Config {
            file: file.to_owned(),
            publisher: raw.publisher.trim().to_owned(),
            listen: raw.listen,
            url: raw.url.trim_end_matches('/').to_owned(),
            database: home.join(raw.database),
            keys: home.join(raw.keys),
            tls,
            exchange: Exchange {
                lifetime_days,
                online_ms: online_hours * HOUR_MS,
                offline_ms: offline_days * 24 * HOUR_MS,
                register_unknown: raw
                    .exchange
                    .register_unknown
                    .unwrap_or(defaults.register_unknown),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "publisher = \"Acme\"\nlisten = \"127.0.0.1:0\"\n\
                        url = \"https://office/\"\n[tls]\nmode = \"off\"\n";

    #[test]
    fn paths_are_relative_to_the_file_and_mistakes_are_named() {
        let parse = |text: &str| Config::parse(text, Path::new("/etc/office/office.toml"));
        let config = parse(GOOD).unwrap();
        assert_eq!(config.database, Path::new("/etc/office/office.db"));
        assert_eq!((config.url.as_str(), config.tls.is_none()), ("https://office", true));
        let error = parse(&GOOD.replace("listen", "listne")).unwrap_err().to_string();
        assert!(error.starts_with("/etc/office/office.toml: line 2: unknown field"), "{error}");
        for (from, to, told) in [
            ("\"off\"", "\"no\"", "must be \"on\" or \"off\""),
            ("\"off\"", "\"on\"", "tls.certificate names a file"),
            ("\"Acme\"", "\" \"", "publisher is the name"),
        ] {
            let error = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let error = parse(&format!("{GOOD}[exchange]\nlifetime_days = 1\n")).unwrap_err();
        assert!(error.to_string().contains("lifetime_days takes 0, or 2"), "{error}");
    }
}
