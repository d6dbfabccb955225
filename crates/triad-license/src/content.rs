//! What a license says: its TOML, read as written and then checked.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::value::{Datetime, Value};
use triad_ledger::names::{FeatureName, Label, LicenseId, NameError, Version};
use triad_ledger::rights::{About, LINES_MAX, Line, Terms};

use crate::binding::{Binding, HOSTIDS_PER_BINDING};
use crate::dates::{Day, Zone};
use crate::document::position;
use crate::error::{LicenseError, printable};
use crate::hostid::HostId;
use crate::suggest::nearest;

/// What a license says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) id: LicenseId,
    pub(crate) publisher: Label,
    pub(crate) serial: u64,
    pub(crate) zone: Zone,
    pub(crate) binding: Binding,
    pub(crate) issued: Option<Day>,
    pub(crate) notice: Label,
    pub(crate) features: Vec<Feature>,
}

/// One `[[feature]]`: the line for the ledger, and its days as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) line: Line,
    pub(crate) start: Option<Day>,
    /// `None`: permanent.
    pub(crate) expires: Option<Day>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContent {
    license: Spanned<String>,
    publisher: Spanned<String>,
    serial: Spanned<u64>,
    zone: Option<Spanned<String>>,
    issued: Option<Spanned<Datetime>>,
    notice: Option<Spanned<String>>,
    binding: Spanned<RawBinding>,
    #[serde(default)]
    feature: Vec<RawFeature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBinding {
    cluster: Option<Spanned<String>>,
    hostids: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFeature {
    name: Spanned<String>,
    version: Spanned<String>,
    seats: Spanned<u32>,
    #[serde(default)]
    overdraft: u32,
    start: Option<Spanned<Datetime>>,
    expires: Spanned<Value>,
    vendor_string: Option<Spanned<String>>,
}

/// All keys, for the hint after a misspelt one.
const TOP_KEYS: [&str; 8] =
    ["license", "publisher", "serial", "zone", "issued", "notice", "binding", "feature"];
const BINDING_KEYS: [&str; 2] = ["cluster", "hostids"];
const FEATURE_KEYS: [&str; 7] =
    ["name", "version", "seats", "overdraft", "start", "expires", "vendor_string"];

impl Content {
    /// Reads the text between the markers; `lines_above` of the document stand
    /// above it, so that errors name the line that an editor shows.
    pub(crate) fn parse(text: &str, lines_above: usize) -> Result<Self, LicenseError> {
        let source = Source { text, lines_above };
        let raw: RawContent = toml::from_str(text).map_err(|error| source.toml(&error))?;

        if raw.feature.len() > LINES_MAX {
            let (found, max) = (raw.feature.len(), LINES_MAX);
            return Err(LicenseError::TooLarge { what: "[[feature]] tables", found, max });
        }
        if raw.feature.is_empty() {
            let what = "it grants nothing; add at least one [[feature]]";
            return Err(source.malformed(text.len()..text.len(), what));
        }
        if *raw.serial.get_ref() == 0 {
            return Err(source.malformed(raw.serial.span(), "serials begin at 1"));
        }
        let zone = match &raw.zone {
            None => Zone::utc(),
            Some(name) => Zone::parse(name.get_ref()).ok_or_else(|| {
                let what = "no such time zone; write an IANA name such as \"Europe/Berlin\"";
                source.malformed(name.span(), what)
            })?,
        };
        let id = source.named(&raw.license, "license", LicenseId::parse)?;
        let publisher = source.named(&raw.publisher, "publisher", filled)?;
        let binding = source.binding(&raw.binding)?;
        let issued = raw.issued.as_ref().map(|day| source.day(day)).transpose()?;
        let notice = match &raw.notice {
            None => Label::default(),
            Some(notice) => source.named(notice, "notice", Label::parse)?,
        };
        let features = raw.feature.iter().enumerate();
        let features = features
            .map(|(index, raw)| source.feature(index, raw, &zone))
            .collect::<Result<_, _>>()?;
        let serial = raw.serial.into_inner();
        Ok(Content { id, publisher, serial, zone, binding, issued, notice, features })
    }

    /// When the last feature ends, ms since 1970 UTC; `None`: never.
    pub(crate) fn expires_ms(&self) -> Option<u64> {
        let ends: Option<Vec<u64>> = self.features.iter().map(|f| f.line.expires_ms).collect();
        ends?.into_iter().max()
    }
}

fn filled(text: &str) -> Result<Label, NameError> {
    if text.is_empty() { Err(NameError::Empty) } else { Label::parse(text) }
}

/// The text, for saying where in it something is wrong.
struct Source<'a> {
    text: &'a str,
    lines_above: usize,
}

impl Source<'_> {
    fn malformed(&self, span: Range<usize>, what: impl Into<String>) -> LicenseError {
        let (line, column) = self.place(&span);
        LicenseError::Malformed { line, column, what: what.into() }
    }

    fn place(&self, span: &Range<usize>) -> (usize, usize) {
        let (line, column) = position(self.text, span.start);
        (self.lines_above + line, column)
    }

    fn named<T>(
        &self,
        value: &Spanned<String>,
        place: impl Into<String>,
        parse: impl FnOnce(&str) -> Result<T, NameError>,
    ) -> Result<T, LicenseError> {
        parse(value.get_ref()).map_err(|reason| {
            let (line, column) = self.place(&value.span());
            LicenseError::Name { line, column, place: place.into(), reason }
        })
    }

    fn toml(&self, error: &toml::de::Error) -> LicenseError {
        let span = error.span().unwrap_or(0..0);
        let hint = self.text.get(span.clone()).and_then(hint).unwrap_or_default();
        self.malformed(span, format!("{}{hint}", printable(error.message())))
    }

    fn binding(&self, raw: &Spanned<RawBinding>) -> Result<Binding, LicenseError> {
        match (&raw.get_ref().cluster, &raw.get_ref().hostids) {
            (Some(cluster), None) => {
                Ok(Binding::Cluster(self.named(cluster, "binding, cluster", filled)?.to_string()))
            }
            (None, Some(hostids)) => {
                let mut hosts = Vec::with_capacity(HOSTIDS_PER_BINDING);
                for text in hostids.get_ref().iter().take(HOSTIDS_PER_BINDING + 1) {
                    let host = HostId::parse(text.get_ref())
                        .map_err(|error| self.malformed(text.span(), error.to_string()))?;
                    if hosts.contains(&host) {
                        return Err(
                            self.malformed(text.span(), "the same host id twice; name each node")
                        );
                    }
                    hosts.push(host);
                }
                let what = "name exactly three host ids, one of each node";
                let hosts = hosts.try_into().map_err(|_| self.malformed(hostids.span(), what))?;
                Ok(Binding::Hosts(hosts))
            }
            _ => {
                let what = "[binding] takes either cluster = \"...\" or hostids = [...]";
                Err(self.malformed(raw.span(), what))
            }
        }
    }

    fn feature(
        &self,
        index: usize,
        raw: &RawFeature,
        zone: &Zone,
    ) -> Result<Feature, LicenseError> {
        let place = |key: &str| {
            let name: String = printable(raw.name.get_ref()).chars().take(64).collect();
            format!("feature {} ({name:?}), {key}", index + 1)
        };
        if *raw.seats.get_ref() == 0 {
            let what = "0 seats grant nothing; write at least 1, or leave the feature out";
            return Err(self.malformed(raw.seats.span(), what));
        }
        let out_of_range = "the day is out of range; write one from 1970 to 9999-12-30";
        let start = raw.start.as_ref().map(|day| self.day(day)).transpose()?;
        let starts_ms = match (start, &raw.start) {
            (Some(day), Some(written)) => Some(
                zone.starts_ms(day).ok_or_else(|| self.malformed(written.span(), out_of_range))?,
            ),
            _ => None,
        };
        let expires = self.expires(&raw.expires)?;
        let expires_ms = match expires {
            Some(day) => Some(
                zone.ends_ms(day)
                    .ok_or_else(|| self.malformed(raw.expires.span(), out_of_range))?,
            ),
            None => None,
        };
        if starts_ms.zip(expires_ms).is_some_and(|(starts, expires)| starts >= expires) {
            return Err(self.malformed(raw.expires.span(), "it expires before it starts"));
        }
        let vendor_string = match &raw.vendor_string {
            None => Label::default(),
            Some(text) => self.named(text, place("vendor_string"), Label::parse)?,
        };
        let line = Line {
            feature: self.named(&raw.name, place("name"), FeatureName::parse)?,
            version: self.named(&raw.version, place("version"), Version::parse)?,
            seats: *raw.seats.get_ref(),
            overdraft: raw.overdraft,
            starts_ms,
            expires_ms,
            vendor_string,
            terms: Terms::default(),
            about: About::default(),
        };
        Ok(Feature { line, start, expires })
    }

    fn expires(&self, raw: &Spanned<Value>) -> Result<Option<Day>, LicenseError> {
        match raw.get_ref() {
            Value::String(text) if text == "permanent" => Ok(None),
            Value::Datetime(datetime) => self.day(&Spanned::new(raw.span(), *datetime)).map(Some),
            Value::String(text) if Day::parse(text).is_some() => {
                Err(self.malformed(raw.span(), "write the day without quotes"))
            }
            _ => {
                let what = "write a day such as 2026-12-31, or \"permanent\"";
                Err(self.malformed(raw.span(), what))
            }
        }
    }

    fn day(&self, raw: &Spanned<Datetime>) -> Result<Day, LicenseError> {
        let day = match raw.get_ref() {
            Datetime { date: Some(date), time: None, offset: None } => Day::from_toml(*date),
            _ => None,
        };
        let what = "licenses count in whole days; write one such as 2026-12-31";
        day.ok_or_else(|| self.malformed(raw.span(), what))
    }
}

/// What the writer of an unknown key probably meant.
fn hint(key: &str) -> Option<String> {
    let key = key.trim();
    let known = || TOP_KEYS.into_iter().chain(BINDING_KEYS).chain(FEATURE_KEYS);
    if TOP_KEYS.contains(&key) {
        return Some(format!("; `{key}` stands above the first [table]"));
    }
    let plain =
        key.len() <= 20 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if !plain || known().any(|name| name == key) {
        return None;
    }
    nearest(key, known()).map(|name| format!("; did you mean `{name}`?"))
}
