//! License files of FlexNet-style managers, for publishers who sign anew: the
//! terms of each line, none of its signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use triad_ledger::names::{FeatureName, Label, LicenseId, Seats, Version};
use triad_ledger::rights::LINES_MAX;

use super::attributes::Attributes;
use super::lines::{Doubt, Line, Word};
use super::report::{Fate, Report};
use super::words::{hostid, last_day, shown};
use crate::binding::HOSTIDS_PER_BINDING;
use crate::content::{Content, PACKAGES_MAX, UPGRADES_MAX};
use crate::dates::{Day, Zone};
use crate::diagnostic::{DIAGNOSTICS_MAX, Severity, Source};
use crate::document::{LICENSE, body_of};
use crate::draft::{DraftFeature, quoted};
use crate::error::LicenseError;
use crate::hostid::HostId;
use crate::resolve::COMPONENTS_MAX;
use crate::suggest::nearest;

const KEYWORDS: [&str; 8] =
    ["SERVER", "VENDOR", "DAEMON", "USE_SERVER", "FEATURE", "INCREMENT", "PACKAGE", "UPGRADE"];
/// Stands in converted terms where the publisher has to say for whom the license is.
pub const CLUSTER_TO_NAME: &str = "REPLACE-BY-THE-CLUSTER-ID";

/// A foreign license file as the terms of a license, and what became of each
/// of its lines.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The text that [`crate::issue`] signs, once license id, serial and
    /// binding were looked at.
    pub terms: String,
    /// What became of each line.
    pub report: Report,
    /// Why [`crate::issue`] would not sign it as it stands; `None`: it would.
    pub problem: Option<LicenseError>,
}

/// Reads a license file of any bytes. No signature of it is checked, and none
/// is carried over.
///
/// # Errors
///
/// It is too large. Everything else is said in the report.
pub fn convert_license(bytes: &[u8]) -> Result<Conversion, LicenseError> {
    let (text, lines) = super::read(bytes)?;
    let lines = joined(lines);
    let mut converter = Converter::default();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; lines.len()];
    // A package needs the line that sells it, wherever that stands.
    for (line, outcome) in lines.iter().zip(&mut outcomes) {
        if !starts_with(line, &["PACKAGE"]) {
            *outcome = Some(converter.line(line));
        }
    }
    for (line, outcome) in lines.iter().zip(&mut outcomes) {
        if outcome.is_none() {
            *outcome = Some(done(converter.package(&line.words[1..])));
        }
    }
    let mut report = Report::default();
    for (line, outcome) in lines.iter().zip(outcomes) {
        let (mut fate, mut remark) = outcome.expect("the second pass fills what the first left");
        if fate == Fate::Carried && starts_with(line, &["SERVER"]) && !converter.is_bound() {
            fate = Fate::NotCarried;
            remark = "a license is bound to a cluster or to three hosts; write the cluster's id \
                      under [binding]"
                .to_owned();
        }
        report.add(&text, line, fate, remark);
    }
    let source = Source::new(&text);
    let doubts = lines.iter().flat_map(|line| &line.doubts);
    // License files have lines of any length.
    let doubts = doubts.filter(|doubt| !matches!(doubt, Doubt::Long(_))).take(DIAGNOSTICS_MAX);
    report.findings = doubts
        .map(|doubt| {
            let (span, message, help) = doubt.told();
            source.diagnostic(Severity::Warning, "doubtful-line", span.clone(), message, help)
        })
        .collect();
    let terms = converter.written();
    let problem = body_of(LICENSE, &terms).and_then(|body| Content::parse(&body, 0)).err();
    Ok(Conversion { terms, report, problem })
}

type Outcome = (Fate, String);

fn starts_with(line: &Line, keywords: &[&str]) -> bool {
    let is = |word: &Word| keywords.iter().any(|keyword| word.text.eq_ignore_ascii_case(keyword));
    line.words.first().is_some_and(is)
}

/// Joins lines that begin with an attribute to the line before: the format
/// needs no backslash any more.
fn joined(lines: Vec<Line>) -> Vec<Line> {
    const WITH_ATTRIBUTES: [&str; 4] = ["FEATURE", "INCREMENT", "PACKAGE", "UPGRADE"];
    let mut joined: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        let begins = line.words.first().filter(|word| word.text.contains('='));
        let before = joined.last_mut().filter(|line| starts_with(line, &WITH_ATTRIBUTES));
        let (Some(first), Some(before)) = (begins, before) else {
            joined.push(line);
            continue;
        };
        before.doubts.push(Doubt::NoBackslash(first.span.clone()));
        before.last = line.last;
        before.span.end = line.span.end;
        before.words.extend(line.words);
        before.doubts.extend(line.doubts);
    }
    joined
}

/// `vendor-feature-00737-55296-1825`, as some files shorten their lines.
fn is_decimal(word: &str) -> bool {
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    word.rsplit('-').take_while(digits).count() >= 3
}

fn done(result: Result<String, String>) -> Outcome {
    match result {
        Ok(remark) => (Fate::Carried, remark),
        Err(why) => (Fate::NotCarried, why),
    }
}

#[derive(Default)]
struct Converter {
    vendor: String,
    hosts: Vec<Option<HostId>>,
    /// The names of counted FEATURE lines: the first of a name counts.
    counted: BTreeSet<FeatureName>,
    /// What the lines sell, for packages.
    sold: BTreeMap<FeatureName, Vec<Version>>,
    features: usize,
    upgrades: usize,
    packages: usize,
    /// The `[[feature]]` and `[[upgrade]]` tables, in order.
    tables: String,
    /// The `[[package]]` tables.
    package_tables: String,
}

impl Converter {
    fn line(&mut self, line: &Line) -> Outcome {
        let Some((keyword, rest)) = line.words.split_first() else {
            return (Fate::Comment, String::new());
        };
        match keyword.text.to_ascii_uppercase().as_str() {
            "SERVER" => done(self.server(rest)),
            "VENDOR" | "DAEMON" => done(self.vendor(rest)),
            "USE_SERVER" => {
                let why = "ignored, because clients always ask the servers";
                (Fate::Ignored, why.to_owned())
            }
            "FEATURE" => done(self.feature(rest, true)),
            "INCREMENT" => done(self.feature(rest, false)),
            "UPGRADE" => done(self.upgrade(rest)),
            _ if is_decimal(&keyword.text) => {
                let why = "a line in the decimal format; convert it with the tools of its \
                           publisher first";
                (Fate::NotCarried, why.to_owned())
            }
            other => {
                let hint = nearest(other, KEYWORDS).map(|name| format!("; did you mean {name}?"));
                let hint = hint.unwrap_or_default();
                (Fate::NotCarried, format!("unknown keyword{hint}"))
            }
        }
    }

    /// `SERVER host hostid [port] ...`
    fn server(&mut self, rest: &[Word]) -> Result<String, String> {
        let [_, id, ..] = rest else { return Err("write SERVER host hostid [port]".to_owned()) };
        let host = hostid(&id.text);
        // With a fourth it is decided that no license is bound to them.
        if self.hosts.len() <= HOSTIDS_PER_BINDING {
            let found = host.clone().ok().flatten();
            let is_new = |host: &HostId| !self.hosts.iter().flatten().any(|other| other == host);
            self.hosts.push(found.filter(is_new));
        }
        match host? {
            Some(host) => Ok(format!("bound to {host}; host and port belong to each node's setup")),
            None => Err("a license is bound to a cluster or to three hosts, not to ANY".to_owned()),
        }
    }

    fn vendor(&mut self, rest: &[Word]) -> Result<String, String> {
        let Some((name, more)) = rest.split_first() else {
            return Err("write VENDOR name".to_owned());
        };
        let label = Label::parse(&name.text).map_err(|reason| reason.to_string())?;
        if !self.vendor.is_empty() && self.vendor != label.as_str() {
            return Err(format!("the license is of {}; convert each vendor alone", self.vendor));
        }
        self.vendor = label.to_string();
        let dropped = "left out: path, options file and port of the vendor daemon";
        Ok(if more.is_empty() { String::new() } else { dropped.to_owned() })
    }

    /// `FEATURE name vendor version expires count ...`
    fn feature(&mut self, rest: &[Word], first_counts: bool) -> Result<String, String> {
        let [name, vendor, version, expires, count, attributes @ ..] = rest else {
            return Err("it ends too early; expected name vendor version day count".to_owned());
        };
        let name = feature_name(&name.text)?;
        let version = version_of(&version.text)?;
        self.of_vendor(vendor)?;
        let (expires, never) = (last_day(&expires.text)?, said_never(&expires.text));
        let seats = seats(&count.text)?;
        let attributes = Attributes::read(attributes, &name, seats)?;
        check_days(attributes.start, expires)?;
        if first_counts && seats > 0 && self.counted.contains(&name) {
            let why = "only the first counted FEATURE of a name counts; INCREMENT adds seats";
            return Err(why.to_owned());
        }
        if self.features >= LINES_MAX {
            return Err(format!("a license has at most {LINES_MAX} lines"));
        }
        let remark = [never, attributes.remark()].into_iter().filter(|text| !text.is_empty());
        let remark = remark.collect::<Vec<_>>().join("; ");
        let mut terms = attributes.terms;
        terms.uncounted = seats == 0;
        let feature = DraftFeature {
            overdraft: attributes.overdraft,
            start: attributes.start,
            expires,
            vendor_string: attributes.vendor_string,
            terms,
            about: attributes.about,
            ..DraftFeature::new(name.to_string(), version.to_string(), seats)
        };
        feature.write(&mut self.tables).expect("a string takes any text");
        if self.vendor.is_empty() {
            self.vendor = Label::parse(&vendor.text).map(|l| l.to_string()).unwrap_or_default();
        }
        if first_counts && seats > 0 {
            self.counted.insert(name.clone());
        }
        let versions = self.sold.entry(name).or_default();
        if !versions.contains(&version) {
            versions.push(version);
        }
        self.features += 1;
        Ok(remark)
    }

    /// `UPGRADE feature vendor from to expires count ...`
    fn upgrade(&mut self, rest: &[Word]) -> Result<String, String> {
        let [name, vendor, from, to, expires, count, attributes @ ..] = rest else {
            return Err("it ends too early; expected name vendor from to day count".to_owned());
        };
        self.of_vendor(vendor)?;
        let name = feature_name(&name.text)?;
        let (from, to) = (version_of(&from.text)?, version_of(&to.text)?);
        let expires = last_day(&expires.text)?;
        let seats = seats(&count.text)?;
        let attributes = Attributes::read(attributes, &name, seats)?;
        check_days(attributes.start, expires)?;
        let before = self.sold.get(&name).map(Vec::as_slice).unwrap_or_default();
        if seats == 0 || from >= to || !before.iter().any(|v| (from..to).contains(v)) {
            return Err("no line before it has seats of such a version".to_owned());
        }
        if self.upgrades >= UPGRADES_MAX {
            return Err(format!("a license has at most {UPGRADES_MAX} upgrades"));
        }
        self.upgrades += 1;
        let text = &mut self.tables;
        let end = expires.map_or("\"permanent\"".to_owned(), |day| day.to_string());
        write!(
            text,
            "\n[[upgrade]]\nfeature = {}\nfrom = \"{from}\"\nto = \"{to}\"\nseats = {seats}\n",
            quoted(name.as_str()),
        )
        .expect("a string takes any text");
        if let Some(start) = attributes.start {
            writeln!(text, "start = {start}").expect("a string takes any text");
        }
        writeln!(text, "expires = {end}").expect("a string takes any text");
        let versions = self.sold.entry(name).or_default();
        if !versions.contains(&to) {
            versions.push(to);
        }
        Ok(attributes.remark())
    }

    /// `PACKAGE name vendor [version] COMPONENTS="..." ...`
    fn package(&mut self, rest: &[Word]) -> Result<String, String> {
        let [name, vendor, more @ ..] = rest else {
            return Err("it ends too early; expected name vendor version COMPONENTS=".to_owned());
        };
        self.of_vendor(vendor)?;
        let name = feature_name(&name.text)?;
        let sold = self.sold.get(&name).map(Vec::as_slice).unwrap_or_default();
        let (version, attributes) = match more.split_first() {
            Some((word, rest)) if !word.text.contains('=') => (version_of(&word.text)?, rest),
            _ => (sold.first().copied().unwrap_or_default(), more),
        };
        if !sold.contains(&version) {
            return Err("no FEATURE has its name and version, and alone it grants nothing".into());
        }
        if self.packages >= PACKAGES_MAX {
            return Err(format!("a license has at most {PACKAGES_MAX} packages"));
        }
        let attributes = Attributes::read(attributes, &name, 0)?;
        let written = attributes.components.as_deref().unwrap_or_default();
        let mut components = Vec::new();
        for text in written.split_whitespace() {
            if components.len() >= COMPONENTS_MAX {
                return Err(format!("a package has at most {COMPONENTS_MAX} components"));
            }
            components.push(component(text, &name, version)?);
        }
        if components.is_empty() {
            return Err("it has no COMPONENTS".to_owned());
        }
        self.packages += 1;
        let mut remarks = vec![attributes.remark()];
        if !attributes.about.supersedes.is_empty() {
            remarks.push("left out: SUPERSEDE; write it to the line that sells it".to_owned());
        }
        if attributes.suite_dup_group.is_some() {
            remarks.push("left out: SUITE_DUP_GROUP; write dup_group to that line".to_owned());
        }
        remarks.retain(|remark| !remark.is_empty());
        let text = &mut self.package_tables;
        write!(
            text,
            "\n[[package]]\nname = {}\nversion = \"{version}\"\nsuite = {}\ncomponents = [\n{}]\n",
            quoted(name.as_str()),
            attributes.suite,
            components.concat(),
        )
        .expect("a string takes any text");
        Ok(remarks.join("; "))
    }

    /// One license is of one publisher.
    fn of_vendor(&self, vendor: &Word) -> Result<(), String> {
        if self.vendor.is_empty() || self.vendor == vendor.text {
            return Ok(());
        }
        let (of, license) = (shown(&vendor.text), &self.vendor);
        Err(format!("it is of {of}, the license of {license}; convert each vendor alone"))
    }

    /// Whether the hosts are three that a license can be bound to.
    fn is_bound(&self) -> bool {
        let found = self.hosts.iter().flatten().count();
        self.hosts.len() == HOSTIDS_PER_BINDING && found == HOSTIDS_PER_BINDING
    }

    fn written(&self) -> String {
        let vendor = if self.vendor.is_empty() { "unknown" } else { &self.vendor };
        let id = LicenseId::parse(vendor).map_or("converted".to_owned(), |id| id.to_string());
        let mut text = String::from(
            "# Converted from a license file. Look at license, serial and binding, then sign it.\n",
        );
        let publisher = quoted(vendor);
        write!(text, "license = {}\npublisher = {publisher}\nserial = 1\n\n", quoted(&id))
            .expect("a string takes any text");
        let hosts = self.hosts.iter().flatten();
        let binding = if self.is_bound() {
            let hosts: Vec<String> = hosts.map(|host| quoted(&host.to_string())).collect();
            format!("[binding]\nhostids = [{}]\n", hosts.join(", "))
        } else {
            format!("[binding]\ncluster = \"{CLUSTER_TO_NAME}\"\n")
        };
        [&text, binding.as_str(), &self.tables, &self.package_tables].concat()
    }
}

/// `feature[:version[:count]]` as a line of the table.
fn component(text: &str, package: &FeatureName, version: Version) -> Result<String, String> {
    let mut parts = text.splitn(3, ':');
    let feature = feature_name(parts.next().unwrap_or_default())?;
    if feature == *package {
        return Err("it contains itself".to_owned());
    }
    let version = match parts.next() {
        None | Some("") => version,
        Some(text) => version_of(text)?,
    };
    let count = match parts.next() {
        None | Some("") => Seats::MIN,
        Some(text) => Seats::new(seats(text)?).unwrap_or(Seats::MIN),
    };
    let name = quoted(feature.as_str());
    Ok(format!("    {{ feature = {name}, version = \"{version}\", seats = {count} }},\n"))
}

fn feature_name(text: &str) -> Result<FeatureName, String> {
    FeatureName::parse(text).map_err(|reason| format!("feature {:?}: {reason}", shown(text)))
}

fn version_of(text: &str) -> Result<Version, String> {
    Version::parse(text).map_err(|reason| format!("version {:?}: {reason}", shown(text)))
}

/// What to say of a day that stands for none.
fn said_never(text: &str) -> String {
    if last_day(text) == Ok(None) && text.contains("9999") {
        "31-dec-9999 is taken for permanent".to_owned()
    } else {
        String::new()
    }
}

/// A count; 0 stands for uncounted.
fn seats(text: &str) -> Result<u32, String> {
    if text.eq_ignore_ascii_case("uncounted") {
        return Ok(0);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let count = if digits { text.parse().ok() } else { None };
    count.ok_or_else(|| format!("{:?} is no count of seats", shown(text)))
}

fn check_days(start: Option<Day>, expires: Option<Day>) -> Result<(), String> {
    let utc = Zone::utc();
    let starts_ms =
        start.map(|day| utc.starts_ms(day).ok_or("START is before 1970")).transpose()?;
    let ends_ms =
        expires.map(|day| utc.ends_ms(day).ok_or("the last day is out of range")).transpose()?;
    match starts_ms.zip(ends_ms) {
        Some((starts_ms, ends_ms)) if starts_ms >= ends_ms => {
            Err("it expires before it starts".to_owned())
        }
        _ => Ok(()),
    }
}
