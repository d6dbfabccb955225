//! `/metrics/flexlm`: the same in the names that the exporter for FlexNet uses,
//! so that boards and alerts made for it go on working.

use std::collections::BTreeMap;

use triad_ledger::names::CheckoutId;

use super::exposition::{Exposition, Kind, Metric};
use super::metrics::seconds;
use super::{Web, usage};
use crate::meters::FEATURES_MAX;

/// Checkouts looked at while the ledger is held; then it is let go.
const CHECKOUTS_AT_ONCE: usize = 500;
/// Pairs of feature and user that get a series, and reservations that do.
const SERIES_MAX: usize = 20_000;
/// What stands for a right without an end: nothing is known to last longer.
const NEVER: f64 = f64::INFINITY;
/// lmstat tells no seconds.
const MINUTE_MS: u64 = 60_000;
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

static INFO: Metric = Metric {
    name: "flexlm_lmstat_info",
    kind: Kind::Gauge,
    labels: &["arch", "build", "version"],
    help: "1; the labels are what lmstat -v says.",
};
static SERVER: Metric = Metric {
    name: "flexlm_server_status",
    kind: Kind::Gauge,
    labels: &["app", "fqdn", "master", "port", "version"],
    help: "1 for each node that is up, as this node knows; the master is a leader that a quorum follows.",
};
static VENDOR: Metric = Metric {
    name: "flexlm_vendor_status",
    kind: Kind::Gauge,
    labels: &["app", "name", "version"],
    help: "1 while seats are granted.",
};
static ISSUED: Metric = Metric {
    name: "flexlm_feature_issued",
    kind: Kind::Gauge,
    labels: &["app", "name"],
    help: "Seats licensed.",
};
static USED: Metric = Metric {
    name: "flexlm_feature_used",
    kind: Kind::Gauge,
    labels: &["app", "name"],
    help: "Seats in use; as lmstat counts, reserved ones are.",
};
static USERS: Metric = Metric {
    name: "flexlm_feature_used_users",
    kind: Kind::Gauge,
    labels: &["app", "name", "since", "user", "version"],
    help: "Seats held by each user, and the minute in which the first was taken, in seconds since 1970. Told only to whoever shows an administrator's token.",
};
static GROUPS: Metric = Metric {
    name: "flexlm_feature_reserved_groups",
    kind: Kind::Gauge,
    labels: &["app", "group", "name"],
    help: "Seats reserved for a group, or for another subject that is no host.",
};
static HOSTS: Metric = Metric {
    name: "flexlm_feature_reserved_host",
    kind: Kind::Gauge,
    labels: &["app", "host", "name"],
    help: "Seats reserved for a host or a group of hosts.",
};
static EXPIRES: Metric = Metric {
    name: "flexlm_feature_expiration_seconds",
    kind: Kind::Gauge,
    labels: &["app", "index", "licenses", "name", "vendor", "version"],
    help: "When a right ends, in seconds since 1970; +Inf if it does not.",
};
static EXPIRE_TOGETHER: Metric = Metric {
    name: "flexlm_feature_aggregate_expiration_seconds",
    kind: Kind::Gauge,
    labels: &["app", "features", "index", "licenses"],
    help: "When rights end, those that end together in one, the first as number 0.",
};

/// All of them, for the page that explains them.
#[cfg(test)]
pub(super) static ALL: &[&Metric] =
    &[&INFO, &SERVER, &VENDOR, &ISSUED, &USED, &USERS, &GROUPS, &HOSTS, &EXPIRES, &EXPIRE_TOGETHER];

/// The metrics now; users are named only to administrators.
pub(super) fn text(web: &Web, with_users: bool) -> String {
    let mut told = Exposition::default();
    let consensus = &web.node.consensus;
    let date_ms = consensus.date_ms();
    let (features, reserved, rights, vendor) = consensus.read(|ledger| {
        let vendor = ledger.licenses().next().map(|license| license.publisher.to_string());
        let rights: Vec<_> = ledger
            .pools()
            .filter(|(_, pool)| !pool.withdrawn)
            .take(FEATURES_MAX)
            .map(|(_, pool)| {
                let key = &pool.key;
                let (name, version) = (key.feature.to_string(), key.version.to_string());
                (name, version, pool.licensed, key.expires_ms)
            })
            .collect();
        (usage::by_feature(ledger, date_ms), usage::reservations(ledger), rights, vendor)
    });
    // The publisher is to the site what the vendor daemon is called there.
    let app = vendor.map_or_else(|| "triad".to_owned(), |vendor| word(&vendor));
    let arch = [std::env::consts::ARCH, std::env::consts::OS].join("_");
    told.metric(&INFO).with(&[&arch, "0", VERSION], true);
    servers(&mut told, web, &app);
    let features: Vec<_> = features.iter().take(FEATURES_MAX).collect();
    let mut issued = told.metric(&ISSUED);
    for (name, feature) in &features {
        issued.with(&[&app, name], feature.licensed);
    }
    let mut used = told.metric(&USED);
    for (name, feature) in &features {
        used.with(&[&app, name], feature.held + feature.reserved);
    }
    let mut users = told.metric(&USERS);
    if with_users {
        for ((name, user, version), held) in held_by_user(web) {
            let since = (held.since_ms / MINUTE_MS * MINUTE_MS / 1_000).to_string();
            users.with(&[&app, &name, &since, &user, &version], held.seats);
        }
    }
    for (metric, for_hosts) in [(&GROUPS, false), (&HOSTS, true)] {
        let mut samples = told.metric(metric);
        // Who somebody is, strangers are not told.
        let of_kind = reserved
            .iter()
            .filter(|(kept, _)| kept.for_hosts == for_hosts && (kept.is_group || with_users));
        for (kept, seats) in of_kind.take(SERIES_MAX) {
            samples.with(&[&app, &kept.whom, &kept.feature], *seats);
        }
    }
    let mut expires = told.metric(&EXPIRES);
    let mut together: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (n, (name, version, licensed, ends_ms)) in rights.iter().enumerate() {
        let (index, licenses) = ((n + 1).to_string(), licensed.to_string());
        let labels = [&app, &index, &licenses, name, &app, version].map(String::as_str);
        expires.with(&labels, ends_ms.map_or(NEVER, seconds));
        let (features, seats) = together.entry(ends_ms.unwrap_or(u64::MAX)).or_default();
        (*features, *seats) = (*features + 1, *seats + licensed);
    }
    let mut expire = told.metric(&EXPIRE_TOGETHER);
    for (n, (ends_ms, (features, seats))) in together.into_iter().enumerate() {
        let labels = [&app, &features.to_string(), &n.to_string(), &seats.to_string()];
        let ends = if ends_ms == u64::MAX { NEVER } else { seconds(ends_ms) };
        expire.with(&labels.map(String::as_str), ends);
    }
    told.into_text()
}

fn servers(told: &mut Exposition, web: &Web, app: &str) {
    let node = &web.node;
    let view = node.consensus.view();
    let (own, leader) = (node.consensus.node_id(), view.leadership.leader);
    let mut status = told.metric(&SERVER);
    for member in &view.members {
        let leads = leader == Some(member.node_id);
        // Without a quorum a leader is none, though it may not have noticed yet.
        let is_master = leads && node.is_ready();
        // What only the leader could see, a follower takes for well.
        let seen = leads || leader != Some(own) || member.answers();
        let is_up = member.node_id == own || (leader.is_some() && seen);
        let address = &member.member.client_address;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let master = if is_master { "true" } else { "false" };
        status.with(&[app, host, master, port, VERSION], is_up);
    }
    told.metric(&VENDOR).with(&[app, app, VERSION], node.is_ready());
}

/// What one user holds of one feature in one version.
#[derive(Clone, Copy, Debug)]
struct Held {
    since_ms: u64,
    seats: u64,
}

/// By feature, user and version. The ledger is let go between parts, so the sum
/// may be of two moments.
fn held_by_user(web: &Web) -> BTreeMap<(String, String, String), Held> {
    let mut held = BTreeMap::new();
    let mut after = CheckoutId(0);
    loop {
        let part: Vec<_> = web.node.consensus.read(|ledger| {
            let some = ledger.checkouts(after).take(CHECKOUTS_AT_ONCE);
            some.map(|(id, checkout)| {
                let items = ledger.granted_items(checkout);
                (id, checkout.holder.clone(), checkout.since_ms, items)
            })
            .collect()
        });
        for (id, holder, since_ms, items) in &part {
            after = *id;
            for item in items {
                // With what stands around it in the text of lmstat.
                let version = format!("(v{})", item.version);
                let key = (item.feature.to_string(), holder.user.to_string(), version);
                if held.len() < SERIES_MAX || held.contains_key(&key) {
                    let none = Held { since_ms: *since_ms, seats: 0 };
                    let held = held.entry(key).or_insert(none);
                    held.since_ms = held.since_ms.min(*since_ms);
                    held.seats += u64::from(item.seats.get());
                }
            }
        }
        if part.len() < CHECKOUTS_AT_ONCE {
            return held;
        }
    }
}

/// A vendor daemon's name is one word.
fn word(publisher: &str) -> String {
    let plain = publisher.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_');
    let word: String = plain.take(64).collect::<String>().to_ascii_lowercase();
    if word.is_empty() { "triad".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publishers_name_becomes_one_word() {
        for (publisher, expected) in
            [("Acme", "acme"), ("Acme & Co. \"x\"", "acmecox"), ("é", "triad")]
        {
            assert_eq!(word(publisher), expected);
        }
    }
}
