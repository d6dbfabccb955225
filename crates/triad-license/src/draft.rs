//! A license put together by code, and its TOML.

use std::fmt::Write as _;

use triad_ledger::rights::{About, Share, Terms};

use crate::binding::Binding;
use crate::dates::Day;
use crate::policy::show_period;

/// A license to be issued. Nothing is checked here: [`crate::issue`] checks
/// what [`Draft::to_toml`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The license id, the same through all serials.
    pub license: String,
    /// Who issues it.
    pub publisher: String,
    /// At least 1; higher replaces lower.
    pub serial: u64,
    /// The IANA zone of its days; `None`: UTC.
    pub zone: Option<String>,
    /// The day of issue.
    pub issued: Option<Day>,
    /// A remark for the site.
    pub notice: Option<String>,
    /// Where it may be used.
    pub binding: Binding,
    /// What it grants. Without any it takes back what lower serials granted.
    pub features: Vec<DraftFeature>,
}

/// One feature of a [`Draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftFeature {
    /// What may be used.
    pub name: String,
    /// Up to which version.
    pub version: String,
    /// How many seats.
    pub seats: u32,
    /// How many more may be used, and are reported.
    pub overdraft: u32,
    /// The first day; `None`: from the beginning.
    pub start: Option<Day>,
    /// The last day; `None`: permanent.
    pub expires: Option<Day>,
    /// Handed to the application with each grant; may be empty.
    pub vendor_string: String,
    /// How its seats are counted, and who may have them. What is uncounted has
    /// 0 seats.
    pub terms: Terms,
    /// What is said about it; its day of issue counts in UTC.
    pub about: About,
}

impl DraftFeature {
    /// Seats of a feature without a first and last day.
    pub fn new(name: impl Into<String>, version: impl Into<String>, seats: u32) -> Self {
        DraftFeature {
            name: name.into(),
            version: version.into(),
            seats,
            overdraft: 0,
            start: None,
            expires: None,
            vendor_string: String::new(),
            terms: Terms::default(),
            about: About::default(),
        }
    }
}

impl Draft {
    /// The text that [`crate::issue`] signs.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes any text");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "license = {}", quoted(&self.license))?;
        writeln!(text, "publisher = {}", quoted(&self.publisher))?;
        writeln!(text, "serial = {}", self.serial)?;
        writeln!(text, "zone = {}", quoted(self.zone.as_deref().unwrap_or("UTC")))?;
        if let Some(issued) = self.issued {
            writeln!(text, "issued = {issued}")?;
        }
        if let Some(notice) = &self.notice {
            writeln!(text, "notice = {}", quoted(notice))?;
        }
        if self.features.is_empty() {
            writeln!(text, "grants_nothing = true")?;
        }
        writeln!(text, "\n[binding]")?;
        match &self.binding {
            Binding::Cluster(id) => writeln!(text, "cluster = {}", quoted(id))?,
            Binding::Group { cluster, .. } => writeln!(text, "cluster = {}", quoted(cluster))?,
            Binding::Hosts(_) => {}
        }
        if let Some(hosts) = self.binding.hosts() {
            writeln!(text, "hostids = [")?;
            for host in hosts {
                writeln!(text, "    {},", quoted(&host.to_string()))?;
            }
            writeln!(text, "]")?;
        }
        self.features.iter().try_for_each(|feature| feature.write(text))
    }
}

impl DraftFeature {
    pub(crate) fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n[[feature]]")?;
        writeln!(text, "name = {}", quoted(&self.name))?;
        writeln!(text, "version = {}", quoted(&self.version))?;
        if self.terms.uncounted {
            writeln!(text, "uncounted = true")?;
        } else {
            writeln!(text, "seats = {}", self.seats)?;
        }
        if self.overdraft > 0 {
            writeln!(text, "overdraft = {}", self.overdraft)?;
        }
        if let Some(start) = self.start {
            writeln!(text, "start = {start}")?;
        }
        match self.expires {
            Some(expires) => writeln!(text, "expires = {expires}")?,
            None => writeln!(text, "expires = \"permanent\"")?,
        }
        if !self.vendor_string.is_empty() {
            writeln!(text, "vendor_string = {}", quoted(&self.vendor_string))?;
        }
        self.write_terms(text)?;
        self.write_about(text)
    }

    fn write_terms(&self, text: &mut String) -> std::fmt::Result {
        let terms = &self.terms;
        if terms.share != Share::NOTHING {
            writeln!(text, "dup_group = \"{}\"", terms.share)?;
        }
        if !terms.hostids.is_empty() {
            let hosts = terms.hostids.iter().map(|host| quoted(host.as_str()));
            writeln!(text, "hostids = [{}]", hosts.collect::<Vec<_>>().join(", "))?;
        }
        if let Some(borrow_ms) = terms.borrow_max_ms {
            writeln!(text, "borrow = \"{}\"", show_period(borrow_ms))?;
        }
        if terms.linger_ms > 0 {
            writeln!(text, "linger = \"{}\"", show_period(terms.linger_ms))?;
        }
        if let Some(cost) = &terms.consumes {
            let (feature, version) = (quoted(cost.feature.as_str()), cost.version);
            let tokens = cost.tokens;
            writeln!(
                text,
                "consumes = {{ feature = {feature}, version = \"{version}\", tokens = {tokens} }}"
            )?;
        }
        if let Some(users) = terms.users_max {
            writeln!(text, "user_based = {users}")?;
        }
        if let Some(hosts) = terms.hosts_max {
            writeln!(text, "host_based = {hosts}")?;
        }
        Ok(())
    }

    fn write_about(&self, text: &mut String) -> std::fmt::Result {
        let about = &self.about;
        if !about.notice.as_str().is_empty() {
            writeln!(text, "notice = {}", quoted(about.notice.as_str()))?;
        }
        if !about.serial_number.as_str().is_empty() {
            writeln!(text, "sn = {}", quoted(about.serial_number.as_str()))?;
        }
        if let Some(issued) = about.issued_ms.and_then(Day::in_utc) {
            writeln!(text, "issued = {issued}")?;
        }
        if !about.supersedes.is_empty() {
            let names = about.supersedes.iter().map(|name| quoted(name.as_str()));
            writeln!(text, "supersedes = [{}]", names.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// A TOML string on one line, whatever the text.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            c if c.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("a string takes any text");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
