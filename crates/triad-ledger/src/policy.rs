//! What the site's administrators laid down: who may have what, how many, and
//! for how long. Checked before it comes here; the ledger only follows it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::names::{FeatureName, Label, NameError, Seats, Version};

/// The most rules of one policy. Each is looked at once when the policy comes
/// into force, and those of a feature at each of its checkouts.
pub const RULES_MAX: usize = 10_000;
/// The most groups and host groups of one policy, together.
pub const GROUPS_MAX: usize = 10_000;
/// The most members of all groups and host groups, together.
pub const MEMBERS_MAX: usize = 200_000;

/// The rules of one site. The one with the highest version is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Higher replaces lower.
    pub version: u64,
    /// The document word for word.
    pub text: String,
    /// Named sets of users.
    pub groups: BTreeMap<GroupName, BTreeSet<Label>>,
    /// Named sets of hosts and networks.
    pub host_groups: BTreeMap<GroupName, HostMembers>,
    /// Users, hosts and the members of groups are the same whatever their case.
    /// Only ASCII letters have a case here.
    pub case_insensitive: bool,
    /// In the order of the document; of two that set the same value, the later
    /// one counts.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// The members of all groups and host groups.
    pub fn member_count(&self) -> usize {
        let users: usize = self.groups.values().map(BTreeSet::len).sum();
        let hosts = self.host_groups.values();
        users + hosts.map(|hosts| hosts.names.len() + hosts.networks.len()).sum::<usize>()
    }
}

/// The hosts of a host group: by name, or by their address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMembers {
    /// Host names, as clients say them.
    pub names: BTreeSet<Label>,
    /// Addresses.
    pub networks: Vec<Network>,
}

/// One rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place in the document.
    pub id: RuleId,
    /// What it is about. `None`: every feature.
    pub selector: Option<FeatureSelector>,
    /// What it says.
    pub kind: RuleKind,
    /// To whom.
    pub subject: Subject,
}

/// Where a rule stands, for those who have to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Counts the rules of the document from 1.
    pub number: u32,
    /// The line of the document, from 1.
    pub line: u32,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} (line {})", self.number, self.line)
    }
}

/// What a rule is about: a feature, or only those of its pools that agree in
/// all that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSelector {
    /// The feature.
    pub feature: FeatureName,
    /// Only pools of this licensed version.
    pub version: Option<Version>,
    /// Only pools with this publisher's string.
    pub vendor_string: Option<Label>,
    /// Only pools that end then, ms since 1970 UTC.
    pub expires_ms: Option<u64>,
    /// Only pools that are locked to this host id.
    pub hostid: Option<Label>,
}

impl FeatureSelector {
    /// All pools of a feature.
    pub fn all_of(feature: FeatureName) -> Self {
        FeatureSelector {
            feature,
            version: None,
            vendor_string: None,
            expires_ms: None,
            hostid: None,
        }
    }

    /// Whether it means every pool of its feature.
    pub fn is_whole_feature(&self) -> bool {
        self.version.is_none()
            && self.vendor_string.is_none()
            && self.expires_ms.is_none()
            && self.hostid.is_none()
    }
}

/// What a rule says. The names are those that administrators know from options
/// files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Only subjects of such rules, and of [`Self::IncludeAll`], may have the
    /// feature.
    Include,
    /// The subject may not have the feature; checked before [`Self::Include`].
    Exclude,
    /// The subject is on the list of each feature: only those on a list may
    /// have what it is about, and this one is about everything.
    IncludeAll,
    /// The subject may have nothing.
    ExcludeAll,
    /// Only subjects of such rules may borrow the feature.
    IncludeBorrow,
    /// The subject may not borrow the feature.
    ExcludeBorrow,
    /// The subject, counted together, holds at most so many seats.
    Max(u32),
    /// So many seats are kept for the subject, and count as in use by others.
    Reserve(Seats),
    /// Seats stay taken for so long after their return, unless the same holder
    /// comes back. The longer of this and the license's counts.
    LingerMs(u64),
    /// Seats that were not used for so long are taken back.
    IdleTimeoutMs(u64),
    /// The same for all features that have no rule of their own.
    IdleTimeoutAllMs(u64),
    /// So many seats are never borrowed.
    BorrowLowwater(u32),
    /// Seats are borrowed for at most so long; a license may say less.
    MaxBorrowMs(u64),
    /// At most so many seats of the license's overdraft are lent.
    MaxOverdraft(u32),
    /// The subject's place in the queue: higher goes first. 0 without a rule.
    Priority(u32),
    /// What sessions may ask for as their lease.
    LeaseBoundsMs {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// How often clients are told to send a heartbeat; for the servers.
    HeartbeatBoundsMs {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
}

/// Who a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everybody. Also that of rules which know no subject.
    Anyone,
    /// One user.
    User(Label),
    /// One host, by its name.
    Host(Label),
    /// One display.
    Display(Label),
    /// A project.
    Project(Label),
    /// A group of users.
    Group(GroupName),
    /// A group of hosts.
    HostGroup(GroupName),
    /// The hosts of a network.
    Internet(Network),
    /// Each user for himself, but those for whom the pool has a
    /// [`RuleKind::Max`] of their own. For that kind only; of others it is
    /// [`Self::Anyone`].
    EachUser,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Anyone => f.write_str("anyone"),
            Subject::User(name) => write!(f, "user {name}"),
            Subject::Host(name) => write!(f, "host {name}"),
            Subject::Display(name) => write!(f, "display {name}"),
            Subject::Project(name) => write!(f, "project {name}"),
            Subject::Group(name) => write!(f, "group {name}"),
            Subject::HostGroup(name) => write!(f, "host group {name}"),
            Subject::Internet(network) => write!(f, "network {network}"),
            Subject::EachUser => f.write_str("each user"),
        }
    }
}

/// The name of a group: like a [`Label`], but not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Accepts `text` if it is not empty and a good [`Label`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        Label::parse(text).map(|label| GroupName(Arc::from(label.as_str())))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The addresses that agree with one in the bits of a mask: `10.1.0.0/16`,
/// `10.1.*.*`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    family: Family,
    bits: u128,
    mask: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn width(self) -> u32 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    fn mask(self, prefix_bits: u32) -> u128 {
        let all = u128::MAX >> (128 - self.width());
        let host_bits = self.width() - prefix_bits;
        all & u128::MAX.checked_shl(host_bits).unwrap_or(0)
    }
}

fn numeric(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(v4) => (Family::V4, u32::from(v4).into()),
        // A v4 client on a v6 socket is a v4 client.
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (Family::V4, u32::from(v4).into()),
            None => (Family::V6, v6.into()),
        },
    }
}

impl Network {
    /// Accepts an address, an address with a prefix length, or a version 4
    /// address with `*` in place of whole numbers.
    ///
    /// # Errors
    ///
    /// [`NameError::Network`] if it is none of these, or has bits beyond its
    /// prefix: `10.1.2.3/16` is more likely a mistake than a network.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains('*') {
            return Self::wildcards(text).ok_or(NameError::Network);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NameError::Network)?;
        let (family, bits) = numeric(address);
        let prefix_bits = match prefix {
            None => family.width(),
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().map_err(|_| NameError::Network)?
            }
            Some(_) => return Err(NameError::Network),
        };
        if prefix_bits > family.width() {
            return Err(NameError::Network);
        }
        let mask = family.mask(prefix_bits);
        if bits & !mask != 0 {
            return Err(NameError::Network);
        }
        Ok(Network { family, bits, mask })
    }

    fn wildcards(text: &str) -> Option<Self> {
        let (mut bits, mut mask, mut parts) = (0, 0, 0);
        for part in text.split('.') {
            let (value, known) = match part {
                "*" => (0, 0),
                digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                    (digits.parse::<u8>().ok()?, 0xff)
                }
                _ => return None,
            };
            bits = bits << 8 | u128::from(value);
            mask = mask << 8 | known;
            parts += 1;
        }
        (parts == 4).then_some(Network { family: Family::V4, bits, mask })
    }

    /// Whether the address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (family, bits) = numeric(address);
        family == self.family && bits & self.mask == self.bits
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix_bits = self.mask.count_ones();
        let address = match self.family {
            Family::V4 => IpAddr::V4((self.bits as u32).into()),
            Family::V6 => IpAddr::V6(self.bits.into()),
        };
        if prefix_bits == self.family.width() {
            return write!(f, "{address}");
        }
        if self.mask == self.family.mask(prefix_bits) {
            return write!(f, "{address}/{prefix_bits}");
        }
        for place in (0..4).rev() {
            let dot = if place == 0 { "" } else { "." };
            match self.mask >> (8 * place) & 0xff {
                0 => write!(f, "*{dot}")?,
                _ => write!(f, "{}{dot}", self.bits >> (8 * place) & 0xff)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn networks_are_read_as_they_are_written() {
        for (text, shown, inside, outside) in [
            ("10.1.0.0/16", "10.1.0.0/16", "10.1.2.3", "10.2.0.0"),
            ("10.1.*.*", "10.1.0.0/16", "::ffff:10.1.255.255", "11.1.0.0"),
            ("10.*.3.*", "10.*.3.*", "10.9.3.8", "10.9.4.8"),
            ("192.168.7.9", "192.168.7.9", "192.168.7.9", "192.168.7.8"),
            ("0.0.0.0/0", "0.0.0.0/0", "8.8.8.8", "::1"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("::1", "::1", "::1", "::2"),
        ] {
            let network = Network::parse(text).expect(text);
            assert_eq!(network.to_string(), shown);
            assert_eq!(Network::parse(shown), Ok(network));
            assert!(network.contains(inside.parse().expect("an address")), "{text}");
            assert!(!network.contains(outside.parse().expect("an address")), "{text}");
        }
        for text in ["", "10.1", "10.1.2.3/16", "10.0.0.0/33", "::/129", "*.*", "10.1.2.*.*", "a/8"]
        {
            assert_eq!(Network::parse(text), Err(NameError::Network), "{text:?}");
        }
        for text in ["10.0.0.0/+8", "10.+1.*.*", "10.0.0.0/", "10..*.*"] {
            assert_eq!(Network::parse(text), Err(NameError::Network), "{text:?}");
        }
    }

    #[test]
    fn a_group_has_a_name() {
        assert_eq!(GroupName::parse(""), Err(NameError::Empty));
        assert!(GroupName::parse("Analysts, day shift").is_ok());
        assert!(GroupName::parse("a\nb").is_err());
    }
}
