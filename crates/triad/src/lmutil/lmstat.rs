//! `lmstat`: which servers are up, what is licensed, and who holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use triad_proto::v1::{
    CheckoutInfo, Holder, NodeStatus, Pool, PoolState, QueueEntry, StatusResponse,
};

use crate::checkouts::all_checkouts;
use crate::clock;
use crate::cluster::{Admin, Cluster, stale_warning};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::{all_features, holder};
use crate::queue::all_waiting;
use crate::settings::Settings;
use crate::text::LAST_DAY_BACK_MS;
use crate::verdict::{Answer, Level, best_view, statuses, verdict};

use super::plain;
use super::typed::Typed;

/// What a server that does not answer is known by.
pub const CANNOT_CONNECT: i32 = -15;
/// What a daemon that is down is known by.
pub const VENDOR_DOWN: i32 = -97;
/// What a feature is known by that no license names.
pub const NO_SUCH_FEATURE: i32 = -5;

/// Prints what was asked for.
pub async fn run(settings: &Settings, typed: &Typed) -> Result<Exit, Failure> {
    if typed.has("v") {
        settings.output.text(&format!(
            "lmstat v{} build 0 {}\n",
            plain::version(env!("CARGO_PKG_VERSION")),
            plain::vendor(&format!("{}_{}", std::env::consts::ARCH, std::env::consts::OS)),
        ))?;
        return Ok(Exit::Ok);
    }
    let wanted = Wanted::new(typed);
    let mut cluster = Cluster::new(settings)?;
    let answers = answers_of(&mut cluster).await?;
    let level = verdict(&answers).level;
    let may_see_people = settings.authorization()?.is_some();
    let feature = wanted.only.clone().unwrap_or_default();
    let sees = wanted.usage && may_see_people;
    let read = cluster
        .read(async |admin: &mut Admin| {
            let features = all_features(admin, &feature).await?;
            let (checkouts, queue) = match sees {
                false => (Vec::new(), Vec::new()),
                true => (
                    all_checkouts(admin, &feature).await?.checkouts,
                    all_waiting(admin, &feature).await?.entries,
                ),
            };
            Ok((features, checkouts, queue))
        })
        .await?;
    let (features, checkouts, queue) = read.answer;
    if wanted.usage && !may_see_people {
        settings.output.warn("who holds the seats is told with a token: set TRIAD_TOKEN_FILE");
    }
    if let Some(warning) = stale_warning(features.freshness.as_ref(), &read.address) {
        settings.output.warn(&warning);
    }
    let heard = statuses(&answers);
    let picture = Picture {
        now: local(clock::now_ms()),
        servers: best_view(&heard).map_or_else(Vec::new, |view| servers(view, &heard)),
        serves: level != Level::NoQuorum,
        pools: &features.pools,
        checkouts: &checkouts,
        queue: &queue,
    };
    settings.output.text(&picture.told(&wanted))?;
    Ok(match (picture.serves, picture.lacks(&wanted)) {
        (false, _) => Exit::lmutil(VENDOR_DOWN),
        (true, Some(_)) => Exit::lmutil(NO_SUCH_FEATURE),
        (true, None) => Exit::Ok,
    })
}

/// What the nodes say of themselves, and a failure if none says anything. What is
/// asked next has the whole time.
pub async fn answers_of(cluster: &mut Cluster) -> Result<Vec<Answer>, Failure> {
    let answers = cluster.statuses().await;
    if verdict(&answers).level == Level::Unreachable {
        let met = |answer: Answer| (answer.address, answer.outcome.err().unwrap_or_default());
        return Err(Failure::Unreachable(answers.into_iter().map(met).collect()));
    }
    cluster.begin_anew();
    Ok(answers)
}

/// What was asked for.
#[derive(Debug, Default)]
struct Wanted {
    /// The servers and the daemons.
    status: bool,
    /// Who holds what.
    usage: bool,
    /// The license lines.
    lines: bool,
    /// Only features that somebody uses.
    active: bool,
    /// Only this feature.
    only: Option<String>,
}

impl Wanted {
    fn new(typed: &Typed) -> Self {
        let lines = typed.has("i");
        let usage = ["a", "A", "f", "S"].iter().any(|name| typed.has(name));
        let only = typed.value("f").or(typed.value("i")).map(str::to_owned);
        let status = usage || !lines || typed.has("s");
        Wanted { status, usage, lines, active: typed.has("A"), only }
    }
}

/// A server as the tools show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its machine's name.
    pub host: String,
    port: String,
    version: Option<String>,
    is_master: bool,
}

impl Server {
    /// The name by which all other lines call it.
    fn label(&self) -> &str {
        self.host.split('.').next().unwrap_or(&self.host)
    }
}

/// The nodes by the names of their machines; by their own where a machine has no
/// name, or more than one of them.
pub fn servers(view: &StatusResponse, heard: &[&StatusResponse]) -> Vec<Server> {
    let label = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
    let mut labels: BTreeMap<String, usize> = BTreeMap::new();
    for node in &view.nodes {
        *labels.entry(label(&split(node).0)).or_default() += 1;
    }
    let server = |node: &NodeStatus| {
        let (host, port) = split(node);
        let is_name = host.parse::<std::net::IpAddr>().is_err() && !host.is_empty();
        let is_alone = labels.get(&label(&host)) == Some(&1);
        let host = if is_name && is_alone { host } else { node.name.to_ascii_lowercase() };
        let own = heard.iter().find(|status| status.node_id == node.node_id);
        Server {
            host: plain::host(&host),
            port,
            version: own.map(|own| plain::version(&own.version)),
            is_master: view.has_quorum && view.leader_id == node.node_id,
        }
    };
    view.nodes.iter().map(server).collect()
}

/// A node's host and its port for clients.
fn split(node: &NodeStatus) -> (String, String) {
    let (host, port) = node.client_address.rsplit_once(':').unwrap_or((&node.name, "27070"));
    (host.trim_matches(['[', ']']).to_ascii_lowercase(), port.to_owned())
}

/// The server that the others are asked about: the master, or one that answers.
pub fn first_of(servers: &[Server]) -> Option<&Server> {
    let master = servers.iter().find(|server| server.is_master);
    master.or_else(|| servers.iter().find(|server| server.version.is_some()))
}

/// Whether a host and a port are those of a node, by any of its names.
pub fn is_server(view: &StatusResponse, host: &str, port: &str) -> bool {
    let host = host.to_ascii_lowercase();
    view.nodes.iter().zip(servers(view, &[])).any(|(node, shown)| {
        let (own, own_port) = split(node);
        let names = [own.as_str(), &shown.host, shown.label(), &node.name.to_ascii_lowercase()]
            .contains(&host.as_str());
        names && port == own_port
    })
}

/// Everything that is shown.
struct Picture<'a> {
    now: Zoned,
    servers: Vec<Server>,
    serves: bool,
    pools: &'a [Pool],
    checkouts: &'a [CheckoutInfo],
    queue: &'a [QueueEntry],
}

impl Picture<'_> {
    fn told(&self, wanted: &Wanted) -> String {
        let mut text = format!(
            "lmstat - Triad v{}\nLicense Manager status on {}\n",
            plain::version(env!("CARGO_PKG_VERSION")),
            self.now.strftime("%a %-m/%-d/%Y %-H:%M"),
        );
        if wanted.status {
            self.status(&mut text);
        }
        if wanted.usage {
            text.push_str("\nFeature usage info:\n");
            for (feature, pools) in self.features() {
                self.usage(&mut text, feature, &pools, wanted.active);
            }
            if let Some(feature) = self.lacks(wanted) {
                let feature = plain::line(feature);
                let _ = writeln!(
                    text,
                    "\nUsers of {feature}:  Cannot get users of {feature}: No such feature \
                     exists. ({NO_SUCH_FEATURE})"
                );
            }
        }
        if wanted.lines {
            self.lines(&mut text);
            if self.lacks(wanted).is_some() && !wanted.usage {
                let _ = writeln!(text, "\nNo such feature exists. ({NO_SUCH_FEATURE})");
            }
        }
        text
    }

    /// The feature that was asked for and does not exist.
    fn lacks<'w>(&self, wanted: &'w Wanted) -> Option<&'w str> {
        let asked = wanted.usage || wanted.lines;
        wanted.only.as_deref().filter(|_| asked && self.features().is_empty())
    }

    /// `server/port`, where the seats are kept.
    fn place(&self) -> String {
        first_of(&self.servers).map_or_else(
            || "unknown/27070".to_owned(),
            |server| format!("{}/{}", server.label(), server.port),
        )
    }

    fn status(&self, text: &mut String) {
        let named = self.servers.iter().map(|server| format!("{}@{}", server.port, server.host));
        let named = named.collect::<Vec<_>>().join(",");
        let _ = write!(text, "\nLicense server status: {named}\n\n");
        for server in &self.servers {
            let _ = match (&server.version, server.is_master) {
                (None, _) => writeln!(
                    text,
                    "{}: Cannot connect to license server system. ({CANNOT_CONNECT})",
                    server.label()
                ),
                (Some(version), true) => {
                    writeln!(text, "{}: license server UP (MASTER) v{version}", server.label())
                }
                (Some(version), false) => {
                    writeln!(text, "{}: license server UP v{version}", server.label())
                }
            };
        }
        let Some(master) = first_of(&self.servers) else { return };
        let _ = write!(text, "\nVendor daemon status (on {}):\n\n", master.label());
        let vendors: BTreeSet<String> =
            self.pools.iter().map(|pool| plain::vendor(&pool.publisher)).collect();
        let version = master.version.as_deref().unwrap_or("0");
        let state = match self.serves {
            true => format!("UP v{version}"),
            false => format!("The desired vendor daemon is down. ({VENDOR_DOWN})"),
        };
        for vendor in vendors {
            let _ = writeln!(text, "    {vendor}: {state}");
        }
    }

    /// The features, each with its pools. What no license grants any more and
    /// nobody holds is not there.
    fn features(&self) -> BTreeMap<&str, Vec<&Pool>> {
        let mut features: BTreeMap<&str, Vec<&Pool>> = BTreeMap::new();
        for pool in self.pools.iter().filter(|pool| counts(pool) || pool.seats_in_use > 0) {
            features.entry(&pool.feature).or_default().push(pool);
        }
        features
    }

    fn usage(&self, text: &mut String, feature: &str, pools: &[&Pool], active: bool) {
        let holders = self.holders(feature);
        let waiting = self.waiting(feature);
        let kept: Vec<String> = pools.iter().flat_map(|pool| self.reservations(pool)).collect();
        let has_lines = !(holders.is_empty() && waiting.is_empty() && kept.is_empty());
        if active && !has_lines {
            return;
        }
        if pools.iter().all(|pool| pool.uncounted) {
            let _ = writeln!(text, "\nUsers of {feature}:  (Uncounted, node-locked)");
        } else {
            let issued: u64 =
                pools.iter().filter(|pool| counts(pool)).map(|p| p.seats_licensed).sum();
            // Of what is not counted none is taken from those issued.
            let used: u64 = pools
                .iter()
                .filter(|pool| !pool.uncounted)
                .map(|pool| pool.seats_in_use + unused_reservations(pool))
                .sum();
            let _ = writeln!(
                text,
                "\nUsers of {feature}:  (Total of {} issued;  Total of {} in use)",
                licenses(issued),
                licenses(used)
            );
        }
        if !has_lines {
            return;
        }
        for pool in pools {
            let kind = if pool.uncounted { "uncounted nodelocked" } else { "floating" };
            let _ = write!(
                text,
                "\n  \"{feature}\" v{}, vendor: {}, expiry: {}\n  {kind} license\n",
                plain::version(&pool.version),
                plain::vendor(&pool.publisher),
                expiry(pool),
            );
        }
        text.push('\n');
        for line in kept.iter().chain(&holders).chain(&waiting) {
            let _ = writeln!(text, "    {line}");
        }
    }

    fn holders(&self, feature: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for checkout in self.checkouts {
            let who = holder(checkout.holder.as_ref());
            for item in &checkout.items {
                let seats = if item.feature == feature {
                    item.seats
                } else if item.token_feature == feature {
                    item.tokens
                } else {
                    continue;
                };
                let more = if seats > 1 { format!(", {seats} licenses") } else { String::new() };
                lines.push(format!(
                    "{} (v{}) ({} {}), start {}{more}",
                    who_and_where(&who),
                    plain::version(&item.version_licensed),
                    self.place(),
                    handle(checkout.checkout_id),
                    local(checkout.since_ms).strftime("%a %-m/%-d %-H:%M"),
                ));
            }
        }
        lines
    }

    fn waiting(&self, feature: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for entry in self.queue {
            let who = holder(entry.holder.as_ref());
            for item in entry.items.iter().filter(|item| item.feature == feature) {
                let version = plain::version(&item.version);
                let plural = if item.seats == 1 { "" } else { "s" };
                lines.push(format!(
                    "{} {version} (v{version}) ({} {}) queued for {} license{plural}",
                    who_and_where(&who),
                    self.place(),
                    ticket(entry),
                    item.seats,
                ));
            }
        }
        lines
    }

    /// What is kept and not used; what is used is told by who uses it.
    fn reservations(&self, pool: &Pool) -> Vec<String> {
        let mut lines = Vec::new();
        for kept in &pool.reservations {
            let free = kept.seats.saturating_sub(kept.seats_in_use);
            if free > 0 {
                let plural = if free == 1 { "" } else { "s" };
                let subject = subject(&kept.subject);
                lines.push(format!("{free} RESERVATION{plural} for {subject} ({})", self.place()));
            }
        }
        lines
    }

    fn lines(&self, text: &mut String) {
        text.push_str(
            "\nFeature                         Version     #licenses    Expires      Vendor\n\
             _______                         _________   _________    __________   ______\n",
        );
        for (feature, pools) in self.features() {
            for pool in pools.into_iter().filter(|pool| pool.state() != PoolState::Withdrawn) {
                let licenses = if pool.uncounted { 0 } else { pool.seats_licensed };
                let _ = writeln!(
                    text,
                    "{feature:<31} {:<11} {licenses:<12} {:<12} {}",
                    plain::version(&pool.version),
                    expiry(pool),
                    plain::vendor(&pool.publisher),
                );
            }
        }
    }
}

/// Whether a pool's seats may be had now.
fn counts(pool: &Pool) -> bool {
    matches!(pool.state(), PoolState::Valid | PoolState::Unspecified)
}

fn unused_reservations(pool: &Pool) -> u64 {
    pool.reservations.iter().map(|kept| kept.seats.saturating_sub(kept.seats_in_use)).sum()
}

fn who_and_where(who: &Holder) -> String {
    let (user, host) = (plain::user(&who.user), plain::host(&who.host));
    format!("{user} {host} {}", plain::display(&who.display))
}

/// The number by which the tools call a checkout. Checkouts are numbered one by
/// one; after four billion the numbers begin again.
pub fn handle(checkout_id: u64) -> u32 {
    (checkout_id & u64::from(u32::MAX)) as u32
}

/// The same for a request that waits. Sessions number their own requests, so both
/// are stirred together (FNV-1a).
fn ticket(entry: &QueueEntry) -> u32 {
    let number = entry.request_id.to_le_bytes();
    let bytes = entry.session_id.bytes().chain(number);
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// `GROUP cfd`, `HOST_GROUP farm`, `USER ann`.
fn subject(text: &str) -> String {
    let kinds = [
        ("host group ", "HOST_GROUP"),
        ("group ", "GROUP"),
        ("user ", "USER"),
        ("host ", "HOST"),
        ("display ", "DISPLAY"),
        ("project ", "PROJECT"),
        ("network ", "INTERNET"),
    ];
    for (kind, word) in kinds {
        if let Some(name) = text.strip_prefix(kind) {
            return format!("{word} {}", plain::subject(name));
        }
    }
    format!("USER {}", plain::subject(text))
}

/// `1 license`, `2 licenses`.
fn licenses(count: u64) -> String {
    format!("{count} license{}", if count == 1 { "" } else { "s" })
}

/// `31-dec-2026`, or `permanent`.
pub fn expiry(pool: &Pool) -> String {
    match pool.expires_ms {
        0 => "permanent".to_owned(),
        ms => day(ms.saturating_sub(LAST_DAY_BACK_MS)),
    }
}

/// The day of an instant, as licenses write it: `31-dec-2026`.
pub fn day(ms: u64) -> String {
    let day = timestamp(ms).to_zoned(TimeZone::UTC);
    day.strftime("%d-%b-%Y").to_string().to_ascii_lowercase()
}

fn timestamp(ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// An instant by this machine's clock, as the tools show it.
fn local(ms: u64) -> Zoned {
    timestamp(ms).to_zoned(TimeZone::system())
}

#[cfg(test)]
#[path = "lmstat_tests.rs"]
mod tests;
