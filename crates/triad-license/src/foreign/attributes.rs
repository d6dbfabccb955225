//! The `KEY=value` attributes of a foreign license line.

use std::collections::BTreeSet;

use triad_ledger::names::{FeatureName, Label, Seats};
use triad_ledger::rights::{About, Share, Terms};

use super::lines::Word;
use super::words::{day, hostid, shown};
use crate::dates::{Day, Zone};
use crate::policy::PERIOD_MS_MAX;
use crate::terms::{LIST_MAX, parse_share};

const HOUR_MS: u64 = 3_600_000;
/// For how long a line may be borrowed that does not say it.
const BORROW_HOURS: u64 = 168;

/// Signatures of the old publisher. They are worth nothing here.
const SIGNATURES: [&str; 5] = ["SIGN", "SIGN2", "AUTH", "CK", "KEY"];
/// What narrows a line and is not known here: without it, it grants more.
const NARROWING: [&str; 6] =
    ["PLATFORMS", "VM_PLATFORMS", "TZ", "MAX", "SUITE_RESERVED", "CAPACITY"];

/// What the attributes of a line say.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub(super) terms: Terms,
    pub(super) about: About,
    pub(super) overdraft: u32,
    pub(super) start: Option<Day>,
    pub(super) vendor_string: String,
    /// Of a package.
    pub(super) components: Option<String>,
    pub(super) suite: bool,
    pub(super) suite_dup_group: Option<Share>,
    /// Whether the bare code of the oldest lines was seen.
    has_code: bool,
    /// What was left out, for the remark.
    dropped: Vec<String>,
}

/// Attributes that need no value.
const FLAGS: [&str; 8] = [
    "BORROW",
    "FLOAT_OK",
    "HOST_BASED",
    "ONE_TS_OK",
    "SUITE_RESERVED",
    "SUPERSEDE",
    "TS_OK",
    "USER_BASED",
];

impl Attributes {
    /// Reads the words behind the fields of a line of `feature` with `seats`.
    pub(super) fn read(
        words: &[Word],
        feature: &FeatureName,
        seats: u32,
    ) -> Result<Attributes, String> {
        let mut attributes = Attributes::default();
        let mut supersedes = false;
        for word in words {
            let (key, value) = match word.text.split_once('=') {
                // `"<=128 CPU"` is a vendor string in its place.
                Some((key, value)) if is_key(key) || !is_quoted(word) => (key, Some(value)),
                _ if attributes.in_its_place(word)? => continue,
                _ => (word.text.as_str(), None),
            };
            let key = key.to_ascii_uppercase();
            supersedes |= key == "SUPERSEDE";
            attributes.one(&key, value, seats)?;
        }
        if supersedes && attributes.about.supersedes.is_empty() {
            attributes.about.supersedes.push(feature.clone());
        }
        if supersedes && attributes.about.issued_ms.is_none() {
            attributes.about.supersedes.clear();
            attributes.drop("SUPERSEDE (it says nothing without ISSUED)");
        }
        Ok(attributes)
    }

    /// What the oldest lines have without a key: the code, then a vendor string
    /// in quotes, then a host id.
    fn in_its_place(&mut self, word: &Word) -> Result<bool, String> {
        let text = word.text.as_str();
        if FLAGS.iter().any(|flag| flag.eq_ignore_ascii_case(text)) {
            return Ok(false);
        }
        if is_quoted(word) {
            if !text.is_empty() {
                self.vendor_string = label(text)?.to_string();
            }
        } else if is_code(text) && !self.has_code {
            self.has_code = true;
            self.drop("the license code (sign the new license)");
        } else if is_code(text)
            || text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit())
            || ["ANY", "DEMO"].iter().any(|any| any.eq_ignore_ascii_case(text))
        {
            self.terms.hostids = hosts(text)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn one(&mut self, key: &str, value: Option<&str>, seats: u32) -> Result<(), String> {
        let text = value.unwrap_or_default();
        match key {
            "BORROW" => {
                let hours = value.map_or(Ok(BORROW_HOURS), number)?;
                self.terms.borrow_max_ms = Some(period_ms(hours, HOUR_MS)?);
            }
            "LINGER" => self.terms.linger_ms = period_ms(number(text)?, 1_000)?,
            "DUP_GROUP" => self.terms.share = share(text)?,
            "SUITE_DUP_GROUP" => self.suite_dup_group = Some(share(text)?),
            "HOSTID" => self.terms.hostids = hosts(text)?,
            "USER_BASED" => self.terms.users_max = Some(named(value, seats)?),
            "HOST_BASED" => self.terms.hosts_max = Some(named(value, seats)?),
            "OVERDRAFT" => {
                let count = u32::try_from(number(text)?);
                self.overdraft = count.map_err(|_| "OVERDRAFT is too large".to_owned())?;
            }
            "VENDOR_STRING" => self.vendor_string = label(text)?.to_string(),
            // They grant nothing: a line does not fall with them.
            "NOTICE" | "SN" => match (label(text), key) {
                (Ok(label), "SN") => self.about.serial_number = label,
                (Ok(label), _) => self.about.notice = label,
                (Err(why), _) => self.drop(&format!("{key}: {why}")),
            },
            "START" => self.start = day(text)?,
            "ISSUED" => {
                let issued = day(text)?;
                self.about.issued_ms = issued.and_then(|day| Zone::utc().starts_ms(day));
            }
            "SUPERSEDE" => {
                for name in text.split_whitespace() {
                    if self.about.supersedes.len() >= LIST_MAX {
                        return Err(format!("SUPERSEDE names more than {LIST_MAX} features"));
                    }
                    let name = FeatureName::parse(name).map_err(|reason| {
                        format!("SUPERSEDE, feature {:?}: {reason}", shown(name))
                    })?;
                    self.about.supersedes.push(name);
                }
            }
            "COMPONENTS" => self.components = Some(text.to_owned()),
            "OPTIONS" => {
                for option in text.split([' ', ',']).filter(|option| !option.is_empty()) {
                    match option.to_ascii_uppercase().as_str() {
                        "SUITE" => self.suite = true,
                        "SUITE_RESERVED" => self.drop("SUITE_RESERVED"),
                        _ => self.drop(&format!("option {}", shown(option))),
                    }
                }
            }
            _ if SIGNATURES.contains(&key) || key.starts_with("V7.1_") => {
                self.drop("the signature (sign the new license)");
            }
            _ if NARROWING.contains(&key) => self.drop(&format!("{key}, so it grants more")),
            _ => self.drop(&shown(key)),
        }
        Ok(())
    }

    fn drop(&mut self, what: &str) {
        const TOLD_MAX: usize = 12;
        if self.dropped.len() < TOLD_MAX && !self.dropped.iter().any(|told| told == what) {
            self.dropped.push(what.to_owned());
        }
    }

    pub(super) fn remark(&self) -> String {
        if self.dropped.is_empty() {
            return String::new();
        }
        format!("left out: {}", self.dropped.join("; "))
    }
}

fn is_quoted(word: &Word) -> bool {
    word.span.len() > word.text.len()
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

/// The bare hexadecimal code of the oldest lines.
fn is_code(text: &str) -> bool {
    (12..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn number(text: &str) -> Result<u64, String> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| format!("{:?} is no number", shown(text)))
}

fn period_ms(count: u64, unit_ms: u64) -> Result<u64, String> {
    let period_ms = count.saturating_mul(unit_ms);
    if period_ms > PERIOD_MS_MAX {
        return Err(format!("{count} is longer than ten years"));
    }
    Ok(period_ms)
}

fn share(text: &str) -> Result<Share, String> {
    parse_share(text).ok_or_else(|| format!("{:?} is not NONE, SITE or some of UHDV", shown(text)))
}

fn label(text: &str) -> Result<Label, String> {
    Label::parse(text).map_err(|reason| format!("{:?}: {reason}", shown(text)))
}

/// How many may be named; the seats of the line unless given.
fn named(value: Option<&str>, seats: u32) -> Result<Seats, String> {
    let count = match value {
        Some(text) => u32::try_from(number(text)?).unwrap_or(0),
        None => seats,
    };
    Seats::new(count).ok_or_else(|| "USER_BASED and HOST_BASED need a number".to_owned())
}

/// A list of host ids, none if it is for any host.
fn hosts(text: &str) -> Result<Vec<Label>, String> {
    let mut hosts = BTreeSet::new();
    for text in text.split_whitespace() {
        let Some(host) = hostid(text)? else { return Ok(Vec::new()) };
        hosts.insert(label(&host.to_string())?);
        if hosts.len() > LIST_MAX {
            return Err(format!("HOSTID names more than {LIST_MAX} hosts"));
        }
    }
    if hosts.is_empty() {
        Err("HOSTID is empty".to_owned())
    } else {
        Ok(hosts.into_iter().collect())
    }
}
