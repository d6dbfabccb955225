//! What a license says: its TOML, read as written and then checked.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::value::{Datetime, Value};
use triad_ledger::names::{FeatureName, Label, LicenseId, NameError, Seats, Version};
use triad_ledger::rights::{LINES_MAX, Line};

use crate::binding::{Binding, HOSTIDS_PER_BINDING};
use crate::dates::{Day, Zone};
use crate::document::{Frame, position};
use crate::error::{LicenseError, printable};
use crate::hostid::HostId;
use crate::resolve::{COMPONENTS_MAX, Component, Package, Unresolved, Upgrade, unpack, upgrade};
use crate::written::{RawBinding, RawContent, RawFeature, RawPackage, RawUpgrade, hint};

/// The most packages of one license.
pub(crate) const PACKAGES_MAX: usize = 1_000;
/// The most upgrades of one license; each looks through the lines before it.
pub(crate) const UPGRADES_MAX: usize = 1_000;

const OUT_OF_RANGE: &str = "the day is out of range; write one from 1970 to 9999-12-30";

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

/// A line for the ledger, and its days as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) line: Line,
    pub(crate) start: Option<Day>,
    /// `None`: permanent.
    pub(crate) expires: Option<Day>,
}

/// For how many hours a back-up may serve in the place of its main server: up to
/// a year.
const FAILOVER_HOURS_RANGE: std::ops::RangeInclusive<u32> = 1..=8_784;

/// For how many hours a back-up may serve in the place of its main server, as a
/// license document says; `None` where it does not, or where it cannot be read.
/// Its signatures are not looked at: it is for documents that are in force.
pub fn failover_hours(document: &str) -> Option<u32> {
    let frame = Frame::parse(crate::document::LICENSE, document).ok()?;
    let table: toml::Table = frame.body.parse().ok()?;
    let hours = u32::try_from(table.get("failover_hours")?.as_integer()?).ok()?;
    FAILOVER_HOURS_RANGE.contains(&hours).then_some(hours)
}

/// Where a license document may be used; `None` where it cannot be read. Its signatures are not
/// looked at: it is for documents that are in force, whose publisher need not be trusted any more.
pub fn binding_of(document: &str) -> Option<Binding> {
    #[derive(serde::Deserialize)]
    struct OnlyBinding {
        binding: Spanned<RawBinding>,
    }
    let frame = Frame::parse(crate::document::LICENSE, document).ok()?;
    let read: OnlyBinding = toml::from_str(&frame.body).ok()?;
    let source = Source { text: &frame.body, lines_above: frame.lines_above };
    source.binding(&read.binding).ok()
}

impl Content {
    /// Reads the text between the markers; `lines_above` of the document stand
    /// above it, so that errors name the line that an editor shows.
    pub(crate) fn parse(text: &str, lines_above: usize) -> Result<Self, LicenseError> {
        let source = Source { text, lines_above };
        let raw: RawContent = toml::from_str(text).map_err(|error| source.toml(&error))?;

        for (what, found, max) in [
            ("[[feature]] tables", raw.feature.len(), LINES_MAX),
            ("[[package]] tables", raw.package.len(), PACKAGES_MAX),
            ("[[upgrade]] tables", raw.upgrade.len(), UPGRADES_MAX),
        ] {
            if found > max {
                return Err(LicenseError::TooLarge { what, found, max });
            }
        }
        if raw.feature.is_empty() != raw.grants_nothing {
            let what = match raw.grants_nothing {
                true => "grants_nothing = true, but it has a [[feature]]; remove one of the two",
                false => "it grants nothing; add at least one [[feature]]",
            };
            return Err(source.malformed(text.len()..text.len(), what));
        }
        if *raw.serial.get_ref() == 0 {
            return Err(source.malformed(raw.serial.span(), "serials begin at 1"));
        }
        if let Some(hours) = &raw.failover_hours
            && !FAILOVER_HOURS_RANGE.contains(hours.get_ref())
        {
            let (from, to) = (FAILOVER_HOURS_RANGE.start(), FAILOVER_HOURS_RANGE.end());
            let what = format!("failover_hours must be {from} to {to}");
            return Err(source.malformed(hours.span(), what));
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
        let features = source.features(&raw, issued, &zone)?;
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
pub(crate) struct Source<'a> {
    text: &'a str,
    lines_above: usize,
}

impl Source<'_> {
    pub(crate) fn malformed(&self, span: Range<usize>, what: impl Into<String>) -> LicenseError {
        let (line, column) = self.place(&span);
        LicenseError::Malformed { line, column, what: what.into() }
    }

    fn place(&self, span: &Range<usize>) -> (usize, usize) {
        let (line, column) = position(self.text, span.start);
        (self.lines_above + line, column)
    }

    pub(crate) fn named<T>(
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
            (cluster, Some(hostids)) => {
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
                if let Some(cluster) = cluster {
                    let cluster = self.named(cluster, "binding, cluster", filled)?.to_string();
                    if hosts.is_empty() || hosts.len() > HOSTIDS_PER_BINDING {
                        let what = "beside a cluster, name one to three host ids of its nodes";
                        return Err(self.malformed(hostids.span(), what));
                    }
                    return Ok(Binding::Group { cluster, hosts });
                }
                let what = "name exactly three host ids, one of each node";
                let hosts = hosts.try_into().map_err(|_| self.malformed(hostids.span(), what))?;
                Ok(Binding::Hosts(hosts))
            }
            (None, None) => {
                let what = "[binding] takes cluster = \"...\" or hostids = [...], or both";
                Err(self.malformed(raw.span(), what))
            }
        }
    }

    /// The lines, after upgrades and packages were resolved.
    fn features(
        &self,
        raw: &RawContent,
        issued: Option<Day>,
        zone: &Zone,
    ) -> Result<Vec<Feature>, LicenseError> {
        // An upgrade concerns the lines that stand before it.
        let mut upgrades = raw.upgrade.iter().peekable();
        let mut features = Vec::with_capacity(raw.feature.len());
        for (index, written) in raw.feature.iter().enumerate() {
            while let Some(next) = upgrades.next_if(|u| u.span().start < written.span().start) {
                self.upgrade(&mut features, next, zone)?;
            }
            features.push(self.feature(index, written, issued, zone)?);
        }
        upgrades.try_for_each(|next| self.upgrade(&mut features, next, zone))?;
        if features.len() > LINES_MAX {
            let (what, found) = ("lines after its [[upgrade]] tables", features.len());
            return Err(LicenseError::TooLarge { what, found, max: LINES_MAX });
        }
        for written in &raw.package {
            let package = self.package(written.get_ref())?;
            unpack(&mut features, &package).map_err(|why| self.unresolved(written.span(), &why))?;
        }
        self.tokens_cost_nothing(raw, &features)?;
        Ok(features)
    }

    /// The ledger takes no tokens for tokens. A price that is written on them
    /// would be ignored in silence, so it is refused.
    fn tokens_cost_nothing(
        &self,
        raw: &RawContent,
        features: &[Feature],
    ) -> Result<(), LicenseError> {
        // Which tokens are taken, from which version on, and by what.
        let mut taken: BTreeMap<&FeatureName, (Version, &FeatureName)> = BTreeMap::new();
        for Feature { line, .. } in features {
            let Some(cost) = &line.terms.consumes else { continue };
            let (lowest, _) = taken.entry(&cost.feature).or_insert((cost.version, &line.feature));
            *lowest = cost.version.min(*lowest);
        }
        for Feature { line, .. } in features.iter().filter(|f| f.line.terms.consumes.is_some()) {
            let name = &line.feature;
            let Some((_, by)) = taken.get(name).filter(|(lowest, _)| line.version >= *lowest)
            else {
                continue;
            };
            let price = raw.feature.iter().find_map(|written| {
                let raw = written.get_ref();
                let costs = raw.consumes.as_ref()?;
                (raw.name.get_ref() == name.as_str()).then(|| costs.feature.span())
            });
            let sells = |written: &&Spanned<RawPackage>| {
                let mut components = written.get_ref().components.iter();
                components.any(|of| of.get_ref().feature.get_ref() == name.as_str())
            };
            let (span, remedy) = match price {
                Some(span) => (span, format!("remove `consumes` from {name}")),
                None => {
                    let suite = raw.package.iter().find(sells);
                    let span = suite.map_or(0..0, Spanned::span);
                    (span, format!("take {name} out of the suite"))
                }
            };
            let what = format!("{by} takes {name} as tokens, and tokens take none; {remedy}");
            return Err(self.malformed(span, what));
        }
        Ok(())
    }

    fn feature(
        &self,
        index: usize,
        written: &Spanned<RawFeature>,
        issued: Option<Day>,
        zone: &Zone,
    ) -> Result<Feature, LicenseError> {
        let raw = written.get_ref();
        let place = |key: &str| {
            let name: String = printable(raw.name.get_ref()).chars().take(64).collect();
            format!("feature {} ({name:?}), {key}", index + 1)
        };
        let seats = match (&raw.seats, raw.uncounted) {
            (None, true) => 0,
            (None, false) => {
                let what = "missing field `seats`; write a number, or uncounted = true";
                return Err(self.malformed(written.span(), what));
            }
            (Some(seats), true) => {
                let what = "what is uncounted has no seats; remove one of the two";
                return Err(self.malformed(seats.span(), what));
            }
            (Some(seats), false) if *seats.get_ref() == 0 => {
                let what = "0 seats grant nothing; write at least 1, or leave the feature out";
                return Err(self.malformed(seats.span(), what));
            }
            (Some(seats), false) => *seats.get_ref(),
        };
        let (start, starts_ms) = self.start(raw.start.as_ref(), zone)?;
        let (expires, expires_ms) = self.end(&raw.expires, starts_ms, zone)?;
        let vendor_string = match &raw.vendor_string {
            None => Label::default(),
            Some(text) => self.named(text, place("vendor_string"), Label::parse)?,
        };
        let version = self.named(&raw.version, place("version"), Version::parse)?;
        let line = Line {
            feature: self.named(&raw.name, place("name"), FeatureName::parse)?,
            version,
            seats,
            overdraft: raw.overdraft,
            starts_ms,
            expires_ms,
            vendor_string,
            terms: self.terms(raw, version)?,
            about: self.about(raw, issued, zone)?,
        };
        if line.terms.consumes.as_ref().is_some_and(|cost| cost.feature == line.feature) {
            let what = "a feature cannot consume itself";
            return Err(self.malformed(raw.name.span(), what));
        }
        Ok(Feature { line, start, expires })
    }

    fn upgrade(
        &self,
        before: &mut Vec<Feature>,
        written: &Spanned<RawUpgrade>,
        zone: &Zone,
    ) -> Result<(), LicenseError> {
        let raw = written.get_ref();
        let (start, starts_ms) = self.start(raw.start.as_ref(), zone)?;
        let (expires, expires_ms) = self.end(&raw.expires, starts_ms, zone)?;
        let from = self.named(&raw.from, "upgrade, from", Version::parse)?;
        let to = self.named(&raw.to, "upgrade, to", Version::parse)?;
        if from >= to {
            return Err(self.malformed(raw.to.span(), "`to` is not higher than `from`"));
        }
        let feature = self.named(&raw.feature, "upgrade, feature", FeatureName::parse)?;
        let seats = self.seats(&raw.seats)?;
        let what = Upgrade { feature, from, to, seats, start, starts_ms, expires, expires_ms };
        upgrade(before, &what).map_err(|why| self.unresolved(written.span(), &why))
    }

    fn package(&self, raw: &RawPackage) -> Result<Package, LicenseError> {
        let name = self.named(&raw.name, "package, name", FeatureName::parse)?;
        let version = self.named(&raw.version, "package, version", Version::parse)?;
        if raw.components.is_empty() || raw.components.len() > COMPONENTS_MAX {
            let what = format!("a package has 1 to {COMPONENTS_MAX} components");
            return Err(self.malformed(raw.name.span(), what));
        }
        let mut components = Vec::with_capacity(raw.components.len());
        for component in &raw.components {
            let raw = component.get_ref();
            let version = match &raw.version {
                Some(version) => self.named(version, "component, version", Version::parse)?,
                None => version,
            };
            let feature = self.named(&raw.feature, "component, feature", FeatureName::parse)?;
            let seats = raw.seats.as_ref().map_or(Ok(Seats::MIN), |seats| self.seats(seats))?;
            components.push(Component { feature, version, seats });
        }
        Ok(Package { name, version, suite: raw.suite, components })
    }

    fn unresolved(&self, span: Range<usize>, why: &Unresolved) -> LicenseError {
        let what = match why {
            Unresolved::NothingToUpgrade => {
                "no line before it has the feature in a version from `from` up to `to`; put the \
                 line above the upgrade"
                    .to_owned()
            }
            Unresolved::TooFewToUpgrade { found } => {
                format!("the closest line before it has {found} seats; upgrade at most as many")
            }
            Unresolved::PackageNotSold => {
                "no [[feature]] has the name and version of the package; a package alone grants \
                 nothing"
                    .to_owned()
            }
            Unresolved::Nested => "a package cannot contain itself".to_owned(),
            Unresolved::TooManyLines => {
                format!("with its components the license has more than {LINES_MAX} lines")
            }
            Unresolved::TooManySeats => {
                "more seats of a component than can be counted; lower them".to_owned()
            }
        };
        self.malformed(span, what)
    }

    /// The first day and instant.
    fn start(
        &self,
        raw: Option<&Spanned<Datetime>>,
        zone: &Zone,
    ) -> Result<(Option<Day>, Option<u64>), LicenseError> {
        let Some(raw) = raw else { return Ok((None, None)) };
        let day = self.day(raw)?;
        let starts_ms =
            zone.starts_ms(day).ok_or_else(|| self.malformed(raw.span(), OUT_OF_RANGE))?;
        Ok((Some(day), Some(starts_ms)))
    }

    /// The last day, and the instant after it.
    fn end(
        &self,
        raw: &Spanned<Value>,
        starts_ms: Option<u64>,
        zone: &Zone,
    ) -> Result<(Option<Day>, Option<u64>), LicenseError> {
        let Some(day) = self.expires(raw)? else { return Ok((None, None)) };
        let ends_ms = zone.ends_ms(day).ok_or_else(|| self.malformed(raw.span(), OUT_OF_RANGE))?;
        if starts_ms.is_some_and(|starts_ms| starts_ms >= ends_ms) {
            return Err(self.malformed(raw.span(), "it expires before it starts"));
        }
        Ok((Some(day), Some(ends_ms)))
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

    pub(crate) fn day(&self, raw: &Spanned<Datetime>) -> Result<Day, LicenseError> {
        let day = match raw.get_ref() {
            Datetime { date: Some(date), time: None, offset: None } => Day::from_toml(*date),
            _ => None,
        };
        let what = "licenses count in whole days; write one such as 2026-12-31";
        day.ok_or_else(|| self.malformed(raw.span(), what))
    }
}
