//! The section `[office]` of `triad.toml`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use triad_license::{DeclaredRole, HostId, RIGHTS_PER_REQUEST_MAX, WantedRights};

use crate::config::PairRole;

const POLL_S_RANGE: RangeInclusive<u64> = 1..=30 * 86_400;
const RETRY_S_RANGE: RangeInclusive<u64> = 1..=86_400;

/// How the office is reached, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficeConfig {
    /// `host:port`.
    pub address: String,
    /// What stands before the paths; usually nothing.
    pub prefix: String,
    /// How its certificate is checked.
    pub trust: Trust,
    /// The file of the key that signs requests; made at the first start.
    pub key: PathBuf,
    /// By which id this machine is known there; chosen by type without.
    pub hostid: Option<HostId>,
    /// What this node is in its group.
    pub role: DeclaredRole,
    /// The others of the group.
    pub partners: Vec<HostId>,
    /// Rights that are asked for by id.
    pub rights: Vec<WantedRights>,
    /// Between two polls, give or take a tenth.
    pub poll_interval: Duration,
    /// Before the first repetition of a call that failed; doubled with each.
    pub retry_min: Duration,
    /// The longest wait before a repetition.
    pub retry_max: Duration,
}

/// How the office's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It has this SHA-256 fingerprint.
    Fingerprint([u8; 32]),
    /// An authority of this file issued it, for the host of the URL.
    Authority(PathBuf),
    /// One of the machine's authorities issued it, for the host of the URL.
    System,
    /// There is none: plain HTTP, as was asked for.
    Plain,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOffice {
    pub(crate) url: Spanned<String>,
    fingerprint: Option<Spanned<String>>,
    ca: Option<PathBuf>,
    #[serde(default)]
    plain_http: bool,
    key: Option<PathBuf>,
    hostid: Option<Spanned<String>>,
    backup_server_hostid: Option<Spanned<String>>,
    main_server_hostid: Option<Spanned<String>>,
    #[serde(default)]
    rights: Vec<Spanned<WantedRights>>,
    poll_interval_s: Option<Spanned<u64>>,
    retry_min_s: Option<Spanned<u64>>,
    retry_max_s: Option<Spanned<u64>>,
}

/// What the rest of the configuration says that matters here.
pub(crate) struct Around<'a> {
    /// The folder of the file.
    pub(crate) home: PathBuf,
    /// The host id of this node in the list of nodes.
    pub(crate) own: Option<&'a HostId>,
    /// Those of the other nodes.
    pub(crate) others: Vec<(&'a str, Option<&'a HostId>)>,
    /// The variable `BACKUP_SERVER_HOSTID`.
    pub(crate) backup_variable: Option<String>,
    /// Which of two servers this is, in a pair.
    pub(crate) pair: Option<PairRole>,
}

/// A value that is not accepted: where it stands, its key, and what would be
/// right.
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl RawOffice {
    pub(crate) fn check(self, around: &Around<'_>) -> Result<OfficeConfig, Wrong> {
        let (secure, address, prefix) = self.address()?;
        let trust = self.trust(secure, around)?;
        let own = match &self.hostid {
            Some(text) => Some(hostid("office.hostid", text)?),
            None => around.own.cloned(),
        };
        let (role, partners) = self.group(own.as_ref(), around)?;
        if let (Some(own), Some(other)) = (&own, partners.first())
            && own.kind() != other.kind()
        {
            let expected = "is of another type than its partner's; name both by the same type, as \
                            \"triad hostid\" prints them";
            return Err(self.wrong("office.hostid", own, expected));
        }
        if self.rights.len() > RIGHTS_PER_REQUEST_MAX {
            let expected = format!("at most {RIGHTS_PER_REQUEST_MAX} rights ids");
            return Err(self.wrong("office.rights", self.rights.len(), expected));
        }
        let retry_min = seconds("office.retry_min_s", &self.retry_min_s, 5, RETRY_S_RANGE)?;
        let retry_max = seconds("office.retry_max_s", &self.retry_max_s, 900, RETRY_S_RANGE)?;
        Ok(OfficeConfig {
            address,
            prefix,
            trust,
            key: around.home.join(self.key.unwrap_or_else(|| "office.key".into())),
            hostid: own,
            role,
            partners,
            rights: self.rights.into_iter().map(Spanned::into_inner).collect(),
            poll_interval: seconds(
                "office.poll_interval_s",
                &self.poll_interval_s,
                86_400,
                POLL_S_RANGE,
            )?,
            retry_min,
            retry_max: retry_max.max(retry_min),
        })
    }

    fn wrong(&self, key: &'static str, value: impl ToString, expected: impl Into<String>) -> Wrong {
        let at = self.url.span().start;
        Wrong { at, key, value: value.to_string(), expected: expected.into() }
    }

    /// Whether by TLS; `host:port`; what stands before the paths.
    fn address(&self) -> Result<(bool, String, String), Wrong> {
        let url = self.url.get_ref();
        let expected = "must read https://host:port";
        let (secure, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(self.wrong("office.url", url, expected)),
        };
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if authority.is_empty() || !authority.bytes().all(good) {
            return Err(self.wrong("office.url", url, expected));
        }
        let port = if secure { 443 } else { 80 };
        let address = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        Ok((secure, address, prefix.trim_end_matches('/').to_owned()))
    }

    fn trust(&self, secure: bool, around: &Around<'_>) -> Result<Trust, Wrong> {
        match (&self.fingerprint, &self.ca) {
            _ if !secure && self.plain_http => Ok(Trust::Plain),
            _ if !secure => {
                let expected =
                    "is not encrypted; write https://, or plain_http = true if you mean it";
                Err(self.wrong("office.url", self.url.get_ref(), expected))
            }
            (Some(text), None) => match fingerprint(text.get_ref()) {
                Some(fingerprint) => Ok(Trust::Fingerprint(fingerprint)),
                None => {
                    let expected = "must be the 64 hexadecimal digits that \"triad-office init\" \
                                    printed";
                    Err(self.wrong("office.fingerprint", text.get_ref(), expected))
                }
            },
            (None, Some(ca)) => Ok(Trust::Authority(around.home.join(ca))),
            (None, None) => Ok(Trust::System),
            (Some(_), Some(ca)) => {
                let expected =
                    "stands beside a fingerprint, which says more; remove one of the two";
                Err(self.wrong("office.ca", ca.display(), expected))
            }
        }
    }

    /// What this node is, and with whom.
    fn group(
        &self,
        own: Option<&HostId>,
        around: &Around<'_>,
    ) -> Result<(DeclaredRole, Vec<HostId>), Wrong> {
        let backup = match (&around.backup_variable, &self.backup_server_hostid) {
            (Some(text), _) => Some(
                HostId::parse(text)
                    .map_err(|error| self.wrong("BACKUP_SERVER_HOSTID", text, error.to_string()))?,
            ),
            (None, Some(text)) => Some(hostid("office.backup_server_hostid", text)?),
            (None, None) => None,
        };
        let main = match &self.main_server_hostid {
            Some(text) => Some(hostid("office.main_server_hostid", text)?),
            None => None,
        };
        let is_own_backup = backup.is_some() && backup.as_ref() == own;
        match (backup, main) {
            // The same settings on both servers: the back-up knows itself.
            (Some(_), main) if is_own_backup => {
                let other = match &around.others[..] {
                    [(_, other)] => other.cloned(),
                    _ => None,
                };
                Ok(match main.or(other) {
                    Some(main) => (DeclaredRole::Backup, vec![main]),
                    None => (DeclaredRole::Single, Vec::new()),
                })
            }
            (Some(backup), Some(main)) if Some(&main) != own => {
                let expected = format!("is not this server, which has {backup} as its back-up");
                Err(self.wrong("office.main_server_hostid", main, expected))
            }
            (Some(backup), _) => Ok((DeclaredRole::Main, vec![backup])),
            (None, Some(main)) => Ok((DeclaredRole::Backup, vec![main])),
            (None, None) if around.others.len() == 2 => {
                let mut partners = Vec::new();
                for (name, other) in &around.others {
                    match other {
                        Some(host) => partners.push((*host).clone()),
                        None => {
                            let expected = "a triad registers all three: give hostid in each \
                                            [[node]], as \"triad hostid\" prints it there";
                            return Err(self.wrong("node", name, expected));
                        }
                    }
                }
                Ok((DeclaredRole::Member, partners))
            }
            (None, None) => Ok(match (around.pair, &around.others[..]) {
                (Some(PairRole::Main), [(_, Some(backup))]) => {
                    (DeclaredRole::Main, vec![(*backup).clone()])
                }
                (Some(PairRole::Backup), [(_, Some(main))]) => {
                    (DeclaredRole::Backup, vec![(*main).clone()])
                }
                _ => (DeclaredRole::Single, Vec::new()),
            }),
        }
    }
}

fn hostid(key: &'static str, text: &Spanned<String>) -> Result<HostId, Wrong> {
    HostId::parse(text.get_ref()).map_err(|error| Wrong {
        at: text.span().start,
        key,
        value: text.get_ref().clone(),
        expected: error.to_string(),
    })
}

fn seconds(
    key: &'static str,
    value: &Option<Spanned<u64>>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<Duration, Wrong> {
    let Some(value) = value else { return Ok(Duration::from_secs(default)) };
    if range.contains(value.get_ref()) {
        return Ok(Duration::from_secs(*value.get_ref()));
    }
    let expected = format!("must be {} to {} (seconds)", range.start(), range.end());
    Err(Wrong { at: value.span().start, key, value: value.get_ref().to_string(), expected })
}

/// 64 hexadecimal digits; colons between them do not matter.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, nodes: &[&str], variable: Option<&str>) -> Result<OfficeConfig, String> {
        let raw: RawOffice = toml::from_str(text).expect("TOML");
        let hosts: Vec<HostId> = nodes.iter().map(|text| HostId::parse(text).unwrap()).collect();
        let around = Around {
            home: "/etc/triad".into(),
            own: hosts.first(),
            others: hosts.iter().skip(1).map(|host| ("other", Some(host))).collect(),
            backup_variable: variable.map(str::to_owned),
            pair: None,
        };
        raw.check(&around)
            .map_err(|wrong| format!("{} = {}: {}", wrong.key, wrong.value, wrong.expected))
    }

    const URL: &str = "url = \"https://office:27090\"\n";

    #[test]
    fn the_group_follows_from_who_is_named() {
        let group = |text: &str, nodes: &[&str], variable| {
            let config = check(&format!("{URL}{text}"), nodes, variable).unwrap();
            (config.role, config.partners.iter().map(HostId::to_string).collect::<Vec<_>>())
        };
        let names = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        let (a, b, c) = ("STRING:a", "STRING:b", "STRING:c");
        assert_eq!(group("", &[a], None), (DeclaredRole::Single, names(&[])));
        assert_eq!(group("", &[a, b, c], None), (DeclaredRole::Member, names(&[b, c])));
        let main = (DeclaredRole::Main, names(&[b]));
        assert_eq!(group("backup_server_hostid = \"STRING:b\"", &[a], None), main);
        assert_eq!(group("", &[a, b], Some(b)), main);
        let backup = (DeclaredRole::Backup, names(&[a]));
        assert_eq!(group("main_server_hostid = \"STRING:a\"", &[b], None), backup);
        // The same setting on both servers.
        assert_eq!(group("backup_server_hostid = \"STRING:b\"", &[b, a], None), backup);
        assert_eq!(group("", &[b], Some(b)), (DeclaredRole::Single, names(&[])));
    }

    #[test]
    fn a_pair_is_declared_by_the_roles_of_its_servers() {
        let (a, b) = (HostId::parse("STRING:a").unwrap(), HostId::parse("STRING:b").unwrap());
        let group = |pair, own, other| {
            let around = Around {
                home: "/etc/triad".into(),
                own: Some(own),
                others: vec![("other", other)],
                backup_variable: None,
                pair: Some(pair),
            };
            let raw: RawOffice = toml::from_str(URL).unwrap();
            let config = raw.check(&around).unwrap_or_else(|wrong| panic!("{}", wrong.expected));
            (config.role, config.partners)
        };
        assert_eq!(group(PairRole::Main, &a, Some(&b)), (DeclaredRole::Main, vec![b.clone()]));
        assert_eq!(group(PairRole::Backup, &b, Some(&a)), (DeclaredRole::Backup, vec![a.clone()]));
        assert_eq!(group(PairRole::Backup, &b, None), (DeclaredRole::Single, Vec::new()));
    }

    #[test]
    fn mistakes_are_named_with_their_key() {
        let digits = "ab".repeat(32);
        let good = check(&format!("{URL}fingerprint = \"{digits}\""), &["STRING:a"], None).unwrap();
        assert_eq!(good.trust, Trust::Fingerprint([0xab; 32]));
        assert_eq!(good.key, std::path::Path::new("/etc/triad/office.key"));
        for (text, told) in [
            ("url = \"http://office\"", "office.url = http://office: is not encrypted"),
            ("url = \"office\"", "office.url = office: must read https://host:port"),
            (
                "url = \"https://o\"\nfingerprint = \"ab\"",
                "office.fingerprint = ab: must be the 64",
            ),
            ("url = \"https://o\"\npoll_interval_s = 0", "office.poll_interval_s = 0: must be 1"),
            (
                "url = \"https://o\"\nbackup_server_hostid = \"ETHERNET:001122334455\"",
                "office.hostid = STRING:a: is of another type",
            ),
            (
                "url = \"https://o\"\nbackup_server_hostid = \"x\"",
                "office.backup_server_hostid = x: host id \"x\": write TYPE:value",
            ),
        ] {
            let error = check(text, &["STRING:a"], None).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
