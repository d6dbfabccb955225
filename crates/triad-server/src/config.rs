//! The node's configuration, read twice: as written ([`RawConfig`]), then
//! checked, with units in the types ([`Config`]).

mod log;
mod traces;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use triad_license::{HostId, Keyring, PublicKey};
use triad_proto::identity::ClusterId;
use triad_raft::{Member, Retention, SNAPSHOT_ENTRIES_DEFAULT, Timing};

use crate::office::{Around, OfficeConfig, RawOffice};

pub use log::{LogConfig, LogFormat};
pub use traces::{Sample, TracesConfig};

/// Fewer make a snapshot of every breath, more a log that takes long to replay.
const SNAPSHOT_ENTRIES_RANGE: RangeInclusive<u64> = 100..=1_000_000;
const KEEP_DAYS_RANGE: RangeInclusive<u64> = 1..=36_500;
const KEEP_MIB_RANGE: RangeInclusive<u64> = 16..=1_048_576;
const DAY_MS: u64 = 86_400_000;
/// Half of `QUORUM_LEASE_MAX`.
const ELECTION_MAX_MS: u64 = 1_000;
/// Names the back-up of a pair, as `office.backup_server_hostid` does.
const BACKUP_VARIABLE: &str = "BACKUP_SERVER_HOSTID";

/// A configuration that was checked. What the node prints at start.
#[derive(Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This node.
    pub node_id: u64,
    /// This node's name.
    pub name: String,
    /// Where the log and the image are kept.
    pub data_dir: PathBuf,
    /// Whose licenses are accepted.
    pub publishers: Keyring,
    /// SHA-256 of the administrator's token, hex.
    pub admin_token_sha256: String,
    /// Where to listen for clients and administrators.
    pub listen_clients: String,
    /// Where to listen for the other nodes.
    pub listen_peers: String,
    /// Where to listen for browsers and for what collects metrics; `None`: nowhere.
    pub listen_http: Option<String>,
    /// `None`: no TLS, on loopback only.
    pub tls: Option<TlsFiles>,
    /// All nodes, this one included.
    pub nodes: BTreeMap<u64, NodeEntry>,
    /// Leases and graces of sessions.
    pub sessions: SessionTimes,
    /// Raft's clockwork.
    pub timing: Timing,
    /// Stand for election as soon as the leader's process is seen to be dead.
    pub death_notice: bool,
    /// Log entries between two snapshot points; half as many are kept.
    pub snapshot_entries: u64,
    /// How much of the usage history this node keeps.
    pub retention: Retention,
    /// The publisher's back office, if there is one.
    pub office: Option<OfficeConfig>,
    /// Set where two servers, a main and its back-up, serve in turn.
    pub pair: Option<PairConfig>,
    /// How its log is written, where the command line does not say.
    pub log: LogConfig,
    /// Where spans are sent, if anywhere.
    pub traces: Option<TracesConfig>,
}

/// A main server or its back-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairConfig {
    /// Which of the two this is.
    pub role: PairRole,
    /// For how long the main is silent before the back-up serves, if clients ask
    /// it to.
    pub takeover_after: Duration,
    /// For how long the back-up serves at most, where the site wants it shorter
    /// than the publisher allows.
    pub failover_max: Option<Duration>,
}

/// Which of two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairRole {
    /// The one that serves.
    Main,
    /// The one that serves while the main cannot.
    Backup,
}

/// The files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The cluster's certificate authority.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// One node of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Names and addresses.
    pub member: Member,
    /// The machine, for licenses that are bound to machines.
    pub hostid: Option<HostId>,
    /// Where browsers reach its pages.
    pub http: Option<String>,
}

/// Leases and graces of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// The lease of a session that asks for none.
    pub lease_default: Duration,
    /// The shortest lease given.
    pub lease_min: Duration,
    /// The longest lease given.
    pub lease_max: Duration,
    /// How often a session is to be heard, at the longest.
    pub heartbeat_interval: Duration,
    /// How long after a closed socket a session is ended.
    pub disconnect_grace: Duration,
}

impl SessionTimes {
    /// The lease for a session that asks for `wanted`; zero asks for none.
    pub fn lease(&self, wanted: Duration) -> Duration {
        if wanted.is_zero() {
            return self.lease_default;
        }
        wanted.clamp(self.lease_min, self.lease_max)
    }

    /// How often a session with this lease is to be heard: five beats may be
    /// lost before the lease ends.
    pub fn heartbeat(&self, lease: Duration) -> Duration {
        self.heartbeat_interval.min(lease / 6)
    }
}

/// Why a configuration is not accepted: file, line, key, value, and what would
/// be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}; give the configuration of a node with --config, as `triad init` writes it", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{}:{line}: {what}; see docs/reference/configuration.md", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with the key.
        what: String,
    },
    /// A value out of its range.
    #[error(
        "{}:{line}: {key} = {value}: {expected}; see docs/reference/configuration.md",
        file.display()
    )]
    Value {
        /// The file.
        file: PathBuf,
        /// The line, from 1; 0 for the file as a whole.
        line: usize,
        /// The key, with its table.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What would be right.
        expected: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    cluster_id: Spanned<String>,
    node_id: Spanned<u64>,
    name: Spanned<String>,
    data_dir: PathBuf,
    #[serde(default)]
    publisher_keys: Vec<Spanned<String>>,
    admin_token_sha256: Spanned<String>,
    listen: RawListen,
    tls: RawTls,
    node: Vec<Spanned<RawNode>>,
    #[serde(default)]
    session: RawSession,
    #[serde(default)]
    raft: RawRaft,
    #[serde(default)]
    history: RawHistory,
    office: Option<RawOffice>,
    mode: Option<Spanned<String>>,
    role: Option<Spanned<PairRole>>,
    #[serde(default)]
    pair: RawPair,
    #[serde(default)]
    log: LogConfig,
    #[serde(default)]
    traces: traces::RawTraces,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPair {
    takeover_after_ms: Option<Spanned<u64>>,
    failover_max_s: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    clients: Spanned<String>,
    peers: Spanned<String>,
    http: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    mode: Spanned<String>,
    #[serde(default)]
    ca: PathBuf,
    #[serde(default)]
    certificate: PathBuf,
    #[serde(default)]
    key: PathBuf,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    id: u64,
    name: String,
    clients: String,
    peers: String,
    hostid: Option<String>,
    http: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSession {
    lease_ms: Option<Spanned<u64>>,
    lease_min_ms: Option<Spanned<u64>>,
    lease_max_ms: Option<Spanned<u64>>,
    heartbeat_interval_ms: Option<Spanned<u64>>,
    disconnect_grace_ms: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRaft {
    heartbeat_ms: Option<Spanned<u64>>,
    election_min_ms: Option<Spanned<u64>>,
    election_max_ms: Option<Spanned<u64>>,
    death_notice: Option<bool>,
    snapshot_entries: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHistory {
    keep_days: Option<Spanned<u64>>,
    keep_mib: Option<Spanned<u64>>,
}

impl Config {
    /// Reads and checks a configuration file. Relative paths in it are relative
    /// to it.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let file = path.to_owned();
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { file: file.clone(), source })?;
        Config::read(&text, path, std::env::var(BACKUP_VARIABLE).ok())
    }

    /// Checks the text of a configuration that stands, or would stand, at
    /// `path`.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        Config::read(text, path, None)
    }

    fn read(text: &str, path: &Path, backup: Option<String>) -> Result<Config, ConfigError> {
        let reader = Reader { text, file: path, backup };
        let raw: RawConfig = toml::from_str(text).map_err(|error| {
            let line = reader.line(error.span().map_or(0, |span| span.start));
            let what = error.message().replace('\n', " ");
            ConfigError::Syntax { file: path.to_owned(), line, what }
        })?;
        reader.check(raw)
    }
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
    /// The variable of the environment that names the back-up of a pair.
    backup: Option<String>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text[..at.min(self.text.len())].matches('\n').count()
    }

    fn value<T: fmt::Display>(
        &self,
        key: &'static str,
        value: &Spanned<T>,
        expected: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            file: self.file.to_owned(),
            line: self.line(value.span().start),
            key,
            value: value.get_ref().to_string(),
            expected: expected.into(),
        }
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn duration(
        &self,
        key: &'static str,
        value: Option<Spanned<u64>>,
        default_ms: u64,
        range_ms: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        self.number(key, value, default_ms, range_ms, "milliseconds")
    }

    fn number(
        &self,
        key: &'static str,
        value: Option<Spanned<u64>>,
        default: u64,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Result<u64, ConfigError> {
        let Some(value) = value else { return Ok(default) };
        if range.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let (from, to) = range.into_inner();
        Err(self.value(key, &value, format!("must be {from} to {to} ({unit})")))
    }

    fn check(&self, raw: RawConfig) -> Result<Config, ConfigError> {
        let cluster_id = ClusterId::parse(raw.cluster_id.get_ref()).map_err(|_| {
            let expected = "is not a cluster id: copy it from the triad.toml that \
                            \"triad init\" wrote (\"tc-\" and 32 hexadecimal digits)";
            self.value("cluster_id", &raw.cluster_id, expected)
        })?;
        let nodes = self.nodes(&raw)?;
        let own = nodes.get(raw.node_id.get_ref()).ok_or_else(|| {
            self.value("node_id", &raw.node_id, "is not in the [[node]] list below")
        })?;
        if own.member.name != *raw.name.get_ref() {
            let expected = format!(
                "node {} is named {:?} in the [[node]] list",
                raw.node_id.get_ref(),
                own.member.name
            );
            return Err(self.value("name", &raw.name, expected));
        }
        let tls = self.tls(&raw)?;
        let token = &raw.admin_token_sha256;
        if token.get_ref().len() != 64 || !token.get_ref().bytes().all(|b| b.is_ascii_hexdigit()) {
            let expected = "must be the 64 hexadecimal digits of the token's SHA-256";
            return Err(self.value("admin_token_sha256", token, expected));
        }
        let mut publishers = Keyring::new();
        for key in &raw.publisher_keys {
            let public = PublicKey::parse(key.get_ref());
            let trusted = public.and_then(|public| publishers.trust(public));
            trusted.map_err(|e| self.value("publisher_keys", key, e.to_string()))?;
        }
        let office = self.office(&raw, &nodes)?;
        let pair = self.pair(&raw, &nodes)?;
        let traces = raw.traces.check().map_err(|wrong| ConfigError::Value {
            file: self.file.to_owned(),
            line: self.line(wrong.at),
            key: wrong.key,
            value: wrong.value,
            expected: wrong.expected.to_owned(),
        })?;
        Ok(Config {
            file: self.file.to_owned(),
            cluster_id,
            node_id: *raw.node_id.get_ref(),
            name: raw.name.into_inner(),
            data_dir: self.path(&raw.data_dir),
            publishers,
            admin_token_sha256: raw.admin_token_sha256.into_inner().to_ascii_lowercase(),
            listen_clients: self.address("listen.clients", raw.listen.clients)?,
            listen_peers: self.address("listen.peers", raw.listen.peers)?,
            listen_http: match raw.listen.http {
                Some(http) => Some(self.address("listen.http", http)?),
                None => None,
            },
            tls,
            nodes,
            sessions: self.sessions(raw.session)?,
            death_notice: raw.raft.death_notice.unwrap_or(true),
            retention: self.retention(raw.history)?,
            snapshot_entries: self.number(
                "raft.snapshot_entries",
                raw.raft.snapshot_entries.clone(),
                SNAPSHOT_ENTRIES_DEFAULT,
                SNAPSHOT_ENTRIES_RANGE,
                "entries of the log",
            )?,
            timing: self.timing(raw.raft)?,
            office,
            pair,
            log: raw.log,
            traces,
        })
    }

    fn pair(
        &self,
        raw: &RawConfig,
        nodes: &BTreeMap<u64, NodeEntry>,
    ) -> Result<Option<PairConfig>, ConfigError> {
        let mode = raw.mode.as_ref();
        match (mode.map(|mode| mode.get_ref().as_str()), &raw.role) {
            (None | Some("triad"), None) => return Ok(None),
            (None | Some("triad"), Some(role)) => {
                let expected = "is for mode = \"pair\" alone: three nodes elect who leads";
                return Err(self.value("role", &role_name(role), expected));
            }
            (Some("pair"), _) => {}
            (Some(_), _) => {
                let mode = mode.expect("it was just looked at");
                return Err(self.value("mode", mode, "must be \"triad\" or \"pair\""));
            }
        }
        let mode = mode.expect("it was just looked at");
        let Some(role) = &raw.role else {
            let expected = "needs role = \"main\" or role = \"backup\"";
            return Err(self.value("mode", mode, expected));
        };
        if nodes.len() != 2 {
            let expected = format!("has two [[node]] entries, and here are {}", nodes.len());
            return Err(self.value("mode", mode, expected));
        }
        let takeover_ms = self.duration(
            "pair.takeover_after_ms",
            raw.pair.takeover_after_ms.clone(),
            5_000,
            1_000..=600_000,
        )?;
        let takeover_after = Duration::from_millis(takeover_ms);
        let year_s = 366 * 86_400;
        let failover_max = match &raw.pair.failover_max_s {
            None => None,
            given => {
                let (key, given) = ("pair.failover_max_s", given.clone());
                Some(Duration::from_secs(self.number(key, given, 0, 1..=year_s, "seconds")?))
            }
        };
        Ok(Some(PairConfig { role: *role.get_ref(), takeover_after, failover_max }))
    }

    fn office(
        &self,
        raw: &RawConfig,
        nodes: &BTreeMap<u64, NodeEntry>,
    ) -> Result<Option<OfficeConfig>, ConfigError> {
        let Some(office) = raw.office.clone() else { return Ok(None) };
        let own = raw.node_id.get_ref();
        let others = nodes.iter().filter(|(id, _)| *id != own);
        let around = Around {
            home: self.file.parent().unwrap_or(Path::new("")).to_owned(),
            own: nodes.get(own).and_then(|entry| entry.hostid.as_ref()),
            others: others.map(|(_, e)| (e.member.name.as_str(), e.hostid.as_ref())).collect(),
            backup_variable: self.backup.clone().filter(|text| !text.is_empty()),
            pair: raw.role.as_ref().map(|role| *role.get_ref()),
        };
        let checked = office.check(&around).map_err(|wrong| ConfigError::Value {
            file: self.file.to_owned(),
            line: self.line(wrong.at),
            key: wrong.key,
            value: wrong.value,
            expected: wrong.expected,
        });
        checked.map(Some)
    }

    fn retention(&self, raw: RawHistory) -> Result<Retention, ConfigError> {
        let days = self.number("history.keep_days", raw.keep_days, 731, KEEP_DAYS_RANGE, "days")?;
        let mib = self.number("history.keep_mib", raw.keep_mib, 1_024, KEEP_MIB_RANGE, "MiB")?;
        Ok(Retention { max_age_ms: Some(days * DAY_MS), max_bytes: Some(mib << 20) })
    }

    fn address(&self, key: &'static str, address: Spanned<String>) -> Result<String, ConfigError> {
        if is_address(address.get_ref()) {
            return Ok(address.into_inner());
        }
        let expected = "must read host:port, such as \"0.0.0.0:27070\"";
        Err(self.value(key, &address, expected))
    }

    fn nodes(&self, raw: &RawConfig) -> Result<BTreeMap<u64, NodeEntry>, ConfigError> {
        let mut nodes = BTreeMap::new();
        for spanned in &raw.node {
            let node = spanned.get_ref();
            let wrong = |value: String, expected: &str| ConfigError::Value {
                file: self.file.to_owned(),
                line: self.line(spanned.span().start),
                key: "node",
                value,
                expected: expected.to_owned(),
            };
            if node.id == 0 {
                return Err(wrong("id 0".into(), "node ids start at 1"));
            }
            for address in [&node.clients, &node.peers].into_iter().chain(&node.http) {
                if !is_address(address) {
                    let expected = "addresses read host:port, such as lic-a.example.com:27070";
                    return Err(wrong(format!("{address:?}"), expected));
                }
            }
            let hostid = node.hostid.as_deref().map(HostId::parse).transpose();
            let hostid = hostid.map_err(|e| wrong(format!("{:?}", node.hostid), &e.to_string()))?;
            let member = Member {
                name: node.name.clone(),
                peer_address: node.peers.clone(),
                client_address: node.clients.clone(),
                ids_through: 0,
            };
            if nodes
                .insert(node.id, NodeEntry { member, hostid, http: node.http.clone() })
                .is_some()
            {
                return Err(wrong(format!("id {}", node.id), "stands twice in the list"));
            }
        }
        Ok(nodes)
    }

    fn tls(&self, raw: &RawConfig) -> Result<Option<TlsFiles>, ConfigError> {
        let mode = &raw.tls.mode;
        match mode.get_ref().as_str() {
            "on" => {}
            "off" => {
                let listens = [&raw.listen.clients, &raw.listen.peers];
                let mut listens = listens.into_iter().chain(&raw.listen.http);
                if let Some(open) = listens.find(|a| !is_loopback(a.get_ref())) {
                    let expected = format!(
                        "TLS may be off on loopback only, and this node listens on {}",
                        open.get_ref()
                    );
                    return Err(self.value("tls.mode", mode, expected));
                }
                return Ok(None);
            }
            _ => return Err(self.value("tls.mode", mode, "must be \"on\" or \"off\"")),
        }
        let named = [
            ("tls.ca", &raw.tls.ca),
            ("tls.certificate", &raw.tls.certificate),
            ("tls.key", &raw.tls.key),
        ];
        if let Some((key, _)) = named.into_iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return Err(ConfigError::Value {
                file: self.file.to_owned(),
                line: self.line(mode.span().start),
                key,
                value: "nothing".into(),
                expected: "names a file when tls.mode is \"on\"".into(),
            });
        }
        Ok(Some(TlsFiles {
            ca: self.path(&raw.tls.ca),
            certificate: self.path(&raw.tls.certificate),
            key: self.path(&raw.tls.key),
        }))
    }

    fn sessions(&self, raw: RawSession) -> Result<SessionTimes, ConfigError> {
        let ms = Duration::from_millis;
        let min =
            self.duration("session.lease_min_ms", raw.lease_min_ms, 1_000, 500..=3_600_000)?;
        let max =
            self.duration("session.lease_max_ms", raw.lease_max_ms, 600_000, min..=86_400_000)?;
        let lease =
            self.duration("session.lease_ms", raw.lease_ms, 30_000.clamp(min, max), min..=max)?;
        let heartbeat = self.duration(
            "session.heartbeat_interval_ms",
            raw.heartbeat_interval_ms,
            5_000.min(lease / 2),
            50..=lease / 2,
        )?;
        let grace = self.duration(
            "session.disconnect_grace_ms",
            raw.disconnect_grace_ms,
            2_000.min(lease),
            0..=lease,
        )?;
        Ok(SessionTimes {
            lease_default: ms(lease),
            lease_min: ms(min),
            lease_max: ms(max),
            heartbeat_interval: ms(heartbeat),
            disconnect_grace: ms(grace),
        })
    }

    fn timing(&self, raw: RawRaft) -> Result<Timing, ConfigError> {
        let defaults = Timing::default();
        let heartbeat_ms =
            self.duration("raft.heartbeat_ms", raw.heartbeat_ms, defaults.heartbeat_ms, 10..=480)?;
        // One heartbeat may be lost, and by default two.
        let usual = 3 * heartbeat_ms;
        let election_min_ms = self.duration(
            "raft.election_min_ms",
            raw.election_min_ms,
            defaults.election_min_ms.max(usual.min(ELECTION_MAX_MS - 1)),
            2 * heartbeat_ms..=ELECTION_MAX_MS - 1,
        )?;
        let election_max_ms = self.duration(
            "raft.election_max_ms",
            raw.election_max_ms,
            defaults.election_max_ms.max(election_min_ms + usual).min(ELECTION_MAX_MS),
            election_min_ms + 1..=ELECTION_MAX_MS,
        )?;
        Ok(Timing { heartbeat_ms, election_min_ms, election_max_ms })
    }
}

fn role_name(role: &Spanned<PairRole>) -> Spanned<String> {
    let name = match role.get_ref() {
        PairRole::Main => "main",
        PairRole::Backup => "backup",
    };
    Spanned::new(role.span(), name.to_owned())
}

/// `host:port` as it stands in a URI; an IPv6 address in brackets.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(plain)
        }
    };
    host_is_good && port.parse::<u16>().is_ok()
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    let numeric = host.parse::<std::net::IpAddr>();
    host == "localhost" || numeric.is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("cluster_id", &self.cluster_id.as_str())
            .field("node_id", &self.node_id)
            .field("name", &self.name)
            .field("data_dir", &self.data_dir)
            .field("publishers", &self.publishers.len())
            .field("listen_clients", &self.listen_clients)
            .field("listen_peers", &self.listen_peers)
            .field("listen_http", &self.listen_http)
            .field("tls", &self.tls.is_some())
            .field("nodes", &self.nodes.len())
            .field("sessions", &self.sessions)
            .field("timing", &self.timing)
            .field("death_notice", &self.death_notice)
            .field("snapshot_entries", &self.snapshot_entries)
            .field("retention", &self.retention)
            .field("office", &self.office)
            .field("pair", &self.pair)
            .field("log", &self.log)
            .field("traces", &self.traces)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(change: impl Fn(&str) -> String) -> Result<Config, String> {
        let good = r#"cluster_id = "tc-00112233445566778899aabbccddeeff"
node_id = 1
name = "a"
data_dir = "data"
admin_token_sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
[listen]
clients = "127.0.0.1:0"
peers = "127.0.0.1:0"
[tls]
mode = "on"
ca = "ca.pem"
certificate = "node.pem"
key = "node-key.pem"
[[node]]
id = 1
name = "a"
clients = "a:27070"
peers = "a:27071"
"#;
        Config::parse(&change(good), Path::new("/etc/triad/triad.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = text(str::to_owned).expect("good");
        assert_eq!(config.data_dir, Path::new("/etc/triad/data"));
        assert_eq!(config.tls.expect("on").ca, Path::new("/etc/triad/ca.pem"));
        assert_eq!(config.sessions.lease(Duration::ZERO), Duration::from_secs(30));
        assert_eq!(config.sessions.heartbeat(Duration::from_secs(3)), Duration::from_millis(500));
    }

    #[test]
    fn every_mistake_names_line_key_and_remedy() {
        let swap = |from: &'static str, to: &'static str| {
            text(move |good| good.replacen(from, to, 1)).expect_err(to)
        };
        let at = "/etc/triad/triad.toml";
        let error = swap("data_dir", "data_dri");
        assert!(error.starts_with(&format!("{at}:4: unknown field `data_dri`")), "{error}");
        let error = swap("node_id = 1", "node_id = 2");
        let expected = "node_id = 2: is not in the [[node]] list below; \
                        see docs/reference/configuration.md";
        assert_eq!(error, format!("{at}:2: {expected}"));
        let error = swap("tc-0", "tc-x");
        assert!(error.contains(":1: cluster_id = tc-x") && error.contains("copy it"), "{error}");
        let error = swap("mode = \"on\"", "mode = \"yes\"");
        assert!(error.contains(":10: tls.mode = yes: must be"), "{error}");
        let error = swap("[listen]\nclients = \"127.0.0.1:0\"", "[listen]\nclients = \"x\"");
        assert!(error.contains(":7: listen.clients = x: must read host:port"), "{error}");
        let error = text(|good| format!("{good}[session]\nlease_ms = 5\n")).expect_err("range");
        assert!(error.contains("session.lease_ms = 5: must be 1000 to 600000"), "{error}");
        for address in ["::1:27071", "a/b:27071", "user@h:1", "h", "h:x", ":1"] {
            let error = text(|good| good.replacen("a:27071", address, 1)).expect_err(address);
            assert!(error.contains("addresses read host:port"), "{error}");
        }
    }

    #[test]
    fn tls_cannot_be_off_where_others_can_listen() {
        let off = |good: &str| good.replace("mode = \"on\"", "mode = \"off\"");
        assert!(text(off).expect("loopback").tls.is_none());
        let error = text(|good| off(good).replacen("127.0.0.1:0", "0.0.0.0:0", 1));
        assert!(error.expect_err("open").contains("loopback only"));
    }
}
