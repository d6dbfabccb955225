//! The policy as TOML writes it, each word with its place.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::tables::{TABLES, ValueKey};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub(super) case: Option<Spanned<String>>,
    pub(super) zone: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) groups: BTreeMap<Spanned<String>, RawMembers>,
    #[serde(default)]
    pub(super) host_groups: BTreeMap<Spanned<String>, RawMembers>,
    pub(super) lease: Option<Spanned<RawBounds>>,
    pub(super) heartbeat: Option<Spanned<RawBounds>>,
    #[serde(default)]
    pub(super) include: RawRules,
    #[serde(default)]
    pub(super) exclude: RawRules,
    #[serde(default)]
    pub(super) include_all: RawRules,
    #[serde(default)]
    pub(super) exclude_all: RawRules,
    #[serde(default)]
    pub(super) include_borrow: RawRules,
    #[serde(default)]
    pub(super) exclude_borrow: RawRules,
    #[serde(default)]
    pub(super) max: RawRules,
    #[serde(default)]
    pub(super) reserve: RawRules,
    #[serde(default)]
    pub(super) timeout: RawRules,
    #[serde(default)]
    pub(super) timeout_all: RawRules,
    #[serde(default)]
    pub(super) linger: RawRules,
    #[serde(default)]
    pub(super) borrow_lowwater: RawRules,
    #[serde(default)]
    pub(super) max_borrow: RawRules,
    #[serde(default)]
    pub(super) max_overdraft: RawRules,
    #[serde(default)]
    pub(super) priority: RawRules,
}

pub(super) type RawMembers = Vec<Spanned<String>>;
pub(super) type RawRules = Vec<Spanned<RawRule>>;

/// Any rule. Which keys its table takes is said by [`TABLES`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) feature: Option<Spanned<String>>,
    pub(super) version: Option<Spanned<String>>,
    pub(super) vendor_string: Option<Spanned<String>>,
    pub(super) expires: Option<Spanned<Datetime>>,
    pub(super) hostid: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<String>>,
    pub(super) display: Option<Spanned<String>>,
    pub(super) project: Option<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) host_group: Option<Spanned<String>>,
    pub(super) internet: Option<Spanned<String>>,
    pub(super) each: Option<Spanned<String>>,
    pub(super) seats: Option<Spanned<u64>>,
    pub(super) level: Option<Spanned<u64>>,
    pub(super) after: Option<Spanned<String>>,
    pub(super) period: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBounds {
    pub(super) min: Spanned<String>,
    pub(super) max: Spanned<String>,
}

impl RawPolicy {
    /// In the order of [`TABLES`].
    pub(super) fn tables(&self) -> [&RawRules; TABLES.len()] {
        [
            &self.include,
            &self.exclude,
            &self.include_all,
            &self.exclude_all,
            &self.include_borrow,
            &self.exclude_borrow,
            &self.max,
            &self.reserve,
            &self.timeout,
            &self.timeout_all,
            &self.linger,
            &self.borrow_lowwater,
            &self.max_borrow,
            &self.max_overdraft,
            &self.priority,
        ]
    }
}

impl RawRule {
    pub(super) fn subjects(&self) -> [(&'static str, &Option<Spanned<String>>); 8] {
        [
            ("user", &self.user),
            ("host", &self.host),
            ("display", &self.display),
            ("project", &self.project),
            ("group", &self.group),
            ("host_group", &self.host_group),
            ("internet", &self.internet),
            ("each", &self.each),
        ]
    }

    pub(super) fn values(&self) -> [(ValueKey, Option<Range<usize>>); ValueKey::ALL.len()] {
        ValueKey::ALL.map(|key| {
            let span = match key {
                ValueKey::Seats => self.seats.as_ref().map(Spanned::span),
                ValueKey::Level => self.level.as_ref().map(Spanned::span),
                ValueKey::After => self.after.as_ref().map(Spanned::span),
                ValueKey::Period => self.period.as_ref().map(Spanned::span),
            };
            (key, span)
        })
    }
}
