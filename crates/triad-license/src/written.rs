//! A license as TOML writes it, each word with its place.

use serde::Deserialize;
use toml::Spanned;
use toml::value::{Datetime, Value};

use crate::suggest::nearest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawContent {
    pub(crate) license: Spanned<String>,
    pub(crate) publisher: Spanned<String>,
    pub(crate) serial: Spanned<u64>,
    pub(crate) zone: Option<Spanned<String>>,
    pub(crate) issued: Option<Spanned<Datetime>>,
    pub(crate) notice: Option<Spanned<String>>,
    pub(crate) failover_hours: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) grants_nothing: bool,
    pub(crate) binding: Spanned<RawBinding>,
    #[serde(default)]
    pub(crate) feature: Vec<Spanned<RawFeature>>,
    #[serde(default)]
    pub(crate) package: Vec<Spanned<RawPackage>>,
    #[serde(default)]
    pub(crate) upgrade: Vec<Spanned<RawUpgrade>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPackage {
    pub(crate) name: Spanned<String>,
    pub(crate) version: Spanned<String>,
    #[serde(default)]
    pub(crate) suite: bool,
    pub(crate) components: Vec<Spanned<RawComponent>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawComponent {
    pub(crate) feature: Spanned<String>,
    pub(crate) version: Option<Spanned<String>>,
    pub(crate) seats: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUpgrade {
    pub(crate) feature: Spanned<String>,
    pub(crate) from: Spanned<String>,
    pub(crate) to: Spanned<String>,
    pub(crate) seats: Spanned<u32>,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) expires: Spanned<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBinding {
    pub(crate) cluster: Option<Spanned<String>>,
    pub(crate) hostids: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFeature {
    pub(crate) name: Spanned<String>,
    pub(crate) version: Spanned<String>,
    pub(crate) seats: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) uncounted: bool,
    #[serde(default)]
    pub(crate) overdraft: u32,
    pub(crate) start: Option<Spanned<Datetime>>,
    pub(crate) expires: Spanned<Value>,
    pub(crate) vendor_string: Option<Spanned<String>>,
    pub(crate) dup_group: Option<Spanned<String>>,
    pub(crate) hostids: Option<Spanned<Vec<Spanned<String>>>>,
    pub(crate) borrow: Option<Spanned<String>>,
    pub(crate) linger: Option<Spanned<String>>,
    pub(crate) consumes: Option<RawTokenCost>,
    pub(crate) user_based: Option<Spanned<u32>>,
    pub(crate) host_based: Option<Spanned<u32>>,
    pub(crate) notice: Option<Spanned<String>>,
    pub(crate) sn: Option<Spanned<String>>,
    pub(crate) issued: Option<Spanned<Datetime>>,
    pub(crate) supersedes: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTokenCost {
    pub(crate) feature: Spanned<String>,
    pub(crate) version: Option<Spanned<String>>,
    pub(crate) tokens: Spanned<u32>,
}

/// All keys, for the hint after a misspelt one.
const TOP_KEYS: [&str; 11] = [
    "license",
    "publisher",
    "serial",
    "zone",
    "issued",
    "notice",
    "failover_hours",
    "binding",
    "feature",
    "package",
    "upgrade",
];
const BINDING_KEYS: [&str; 2] = ["cluster", "hostids"];
const FEATURE_KEYS: [&str; 23] = [
    "name",
    "version",
    "seats",
    "uncounted",
    "overdraft",
    "start",
    "expires",
    "vendor_string",
    "dup_group",
    "hostids",
    "borrow",
    "linger",
    "consumes",
    "tokens",
    "user_based",
    "host_based",
    "sn",
    "supersedes",
    "components",
    "suite",
    "feature",
    "from",
    "to",
];

/// What the writer of an unknown key probably meant.
pub(crate) fn hint(key: &str) -> Option<String> {
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
