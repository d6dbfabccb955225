//! The policy, and what waits or is blocked.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use prost::Message;

use super::parts::{ItemMessage, list, seats, session, unlist, unlist_tight, version};
use super::{CodecError, Result, counted};
use crate::command::ITEMS_MAX;
use crate::ledger::Block;
use crate::names::{FeatureName, Label, NameError, RequestId, Version};
use crate::policy::{
    FeatureSelector, GROUPS_MAX, GroupName, HostMembers, MEMBERS_MAX, Network, Policy, RULES_MAX,
    Rule, RuleId, RuleKind, Subject,
};
use crate::queue::Waiting;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PolicyMessage {
    #[prost(uint64, tag = "1")]
    version: u64,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(message, repeated, tag = "3")]
    groups: Vec<GroupMessage>,
    #[prost(message, repeated, tag = "4")]
    host_groups: Vec<GroupMessage>,
    #[prost(bool, tag = "5")]
    case_insensitive: bool,
    #[prost(message, repeated, tag = "6")]
    rules: Vec<RuleMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GroupMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    members: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    networks: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuleMessage {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(uint32, tag = "2")]
    line: u32,
    #[prost(message, optional, tag = "3")]
    selector: Option<SelectorMessage>,
    #[prost(uint32, tag = "4")]
    kind: u32,
    #[prost(uint64, tag = "5")]
    amount: u64,
    #[prost(uint64, tag = "6")]
    amount_max: u64,
    #[prost(uint32, tag = "7")]
    subject: u32,
    #[prost(string, tag = "8")]
    subject_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SelectorMessage {
    #[prost(string, tag = "1")]
    feature: String,
    #[prost(uint64, optional, tag = "2")]
    version: Option<u64>,
    #[prost(string, optional, tag = "3")]
    vendor_string: Option<String>,
    #[prost(uint64, optional, tag = "4")]
    expires_ms: Option<u64>,
    #[prost(string, optional, tag = "5")]
    hostid: Option<String>,
}

impl From<&Policy> for PolicyMessage {
    fn from(policy: &Policy) -> Self {
        let groups = policy.groups.iter().map(|(name, members)| GroupMessage {
            name: name.to_string(),
            members: members.iter().map(ToString::to_string).collect(),
            networks: Vec::new(),
        });
        let host_groups = policy.host_groups.iter().map(|(name, hosts)| GroupMessage {
            name: name.to_string(),
            members: hosts.names.iter().map(ToString::to_string).collect(),
            networks: hosts.networks.iter().map(ToString::to_string).collect(),
        });
        PolicyMessage {
            version: policy.version,
            text: policy.text.clone(),
            groups: groups.collect(),
            host_groups: host_groups.collect(),
            case_insensitive: policy.case_insensitive,
            rules: list(&policy.rules),
        }
    }
}

impl TryFrom<PolicyMessage> for Policy {
    type Error = CodecError;

    fn try_from(m: PolicyMessage) -> Result<Self> {
        counted("rules in a policy", m.rules.len(), 0..=RULES_MAX)?;
        counted("groups in a policy", m.groups.len() + m.host_groups.len(), 0..=GROUPS_MAX)?;
        let all = m.groups.iter().chain(&m.host_groups);
        let members = all.map(|group| group.members.len() + group.networks.len()).sum();
        counted("members in the groups of a policy", members, 0..=MEMBERS_MAX)?;
        let mut policy = Policy {
            version: m.version,
            text: m.text,
            case_insensitive: m.case_insensitive,
            rules: unlist(m.rules)?,
            ..Policy::default()
        };
        for group in m.groups {
            let members = group.members.iter().map(|name| Label::parse(name));
            let members = members.collect::<core::result::Result<_, _>>()?;
            policy.groups.insert(GroupName::parse(&group.name)?, members);
        }
        for group in m.host_groups {
            let names = group.members.iter().map(|name| Label::parse(name));
            let networks = group.networks.iter().map(|text| Network::parse(text));
            let hosts = HostMembers {
                names: names.collect::<core::result::Result<_, _>>()?,
                networks: networks.collect::<core::result::Result<_, _>>()?,
            };
            policy.host_groups.insert(GroupName::parse(&group.name)?, hosts);
        }
        Ok(policy)
    }
}

impl From<&Rule> for RuleMessage {
    fn from(rule: &Rule) -> Self {
        let (kind, amount, amount_max) = match rule.kind {
            RuleKind::Include => (1, 0, 0),
            RuleKind::Exclude => (2, 0, 0),
            RuleKind::IncludeAll => (3, 0, 0),
            RuleKind::ExcludeAll => (4, 0, 0),
            RuleKind::IncludeBorrow => (5, 0, 0),
            RuleKind::ExcludeBorrow => (6, 0, 0),
            RuleKind::Max(seats) => (7, seats.into(), 0),
            RuleKind::Reserve(seats) => (8, seats.get().into(), 0),
            RuleKind::LingerMs(ms) => (9, ms, 0),
            RuleKind::IdleTimeoutMs(ms) => (10, ms, 0),
            RuleKind::IdleTimeoutAllMs(ms) => (11, ms, 0),
            RuleKind::BorrowLowwater(seats) => (12, seats.into(), 0),
            RuleKind::MaxBorrowMs(ms) => (13, ms, 0),
            RuleKind::MaxOverdraft(seats) => (14, seats.into(), 0),
            RuleKind::Priority(priority) => (15, priority.into(), 0),
            RuleKind::LeaseBoundsMs { min, max } => (16, min, max),
            RuleKind::HeartbeatBoundsMs { min, max } => (17, min, max),
        };
        let (subject, subject_name) = match &rule.subject {
            Subject::Anyone => (0, String::new()),
            Subject::User(name) => (1, name.to_string()),
            Subject::Host(name) => (2, name.to_string()),
            Subject::Display(name) => (3, name.to_string()),
            Subject::Project(name) => (4, name.to_string()),
            Subject::Group(name) => (5, name.to_string()),
            Subject::HostGroup(name) => (6, name.to_string()),
            Subject::Internet(network) => (7, network.to_string()),
            Subject::EachUser => (8, String::new()),
        };
        let selector = rule.selector.as_ref().map(|selector| SelectorMessage {
            feature: selector.feature.to_string(),
            version: selector.version.map(Version::millionths),
            vendor_string: selector.vendor_string.as_ref().map(ToString::to_string),
            expires_ms: selector.expires_ms,
            hostid: selector.hostid.as_ref().map(ToString::to_string),
        });
        let RuleId { number, line } = rule.id;
        RuleMessage { number, line, selector, kind, amount, amount_max, subject, subject_name }
    }
}

impl TryFrom<RuleMessage> for Rule {
    type Error = CodecError;

    fn try_from(m: RuleMessage) -> Result<Self> {
        let narrow = || u32::try_from(m.amount).map_err(|_| CodecError::Unknown("amount"));
        let kind = match m.kind {
            1 => RuleKind::Include,
            2 => RuleKind::Exclude,
            3 => RuleKind::IncludeAll,
            4 => RuleKind::ExcludeAll,
            5 => RuleKind::IncludeBorrow,
            6 => RuleKind::ExcludeBorrow,
            7 => RuleKind::Max(narrow()?),
            8 => RuleKind::Reserve(narrow().and_then(seats)?),
            9 => RuleKind::LingerMs(m.amount),
            10 => RuleKind::IdleTimeoutMs(m.amount),
            11 => RuleKind::IdleTimeoutAllMs(m.amount),
            12 => RuleKind::BorrowLowwater(narrow()?),
            13 => RuleKind::MaxBorrowMs(m.amount),
            14 => RuleKind::MaxOverdraft(narrow()?),
            15 => RuleKind::Priority(narrow()?),
            16 => RuleKind::LeaseBoundsMs { min: m.amount, max: m.amount_max },
            17 => RuleKind::HeartbeatBoundsMs { min: m.amount, max: m.amount_max },
            _ => return Err(CodecError::Unknown("rule")),
        };
        let (label, group) =
            (|| Label::parse(&m.subject_name), || GroupName::parse(&m.subject_name));
        let subject = match m.subject {
            0 => Subject::Anyone,
            1 => Subject::User(label()?),
            2 => Subject::Host(label()?),
            3 => Subject::Display(label()?),
            4 => Subject::Project(label()?),
            5 => Subject::Group(group()?),
            6 => Subject::HostGroup(group()?),
            7 => Subject::Internet(Network::parse(&m.subject_name)?),
            8 => Subject::EachUser,
            _ => return Err(CodecError::Unknown("subject")),
        };
        let selector = m.selector.map(|m| {
            let label = |text: Option<String>| text.map(|text| Label::parse(&text)).transpose();
            Ok::<_, CodecError>(FeatureSelector {
                feature: FeatureName::parse(&m.feature)?,
                version: m.version.map(version).transpose()?,
                vendor_string: label(m.vendor_string)?,
                expires_ms: m.expires_ms,
                hostid: label(m.hostid)?,
            })
        });
        let id = RuleId { number: m.number, line: m.line };
        Ok(Rule { id, selector: selector.transpose()?, kind, subject })
    }
}

pub(crate) fn encode_policy(policy: &Policy) -> Vec<u8> {
    PolicyMessage::from(policy).encode_to_vec()
}

pub(crate) fn decode_policy(bytes: &[u8]) -> Result<Policy> {
    PolicyMessage::decode(bytes)?.try_into()
}

#[derive(Clone, PartialEq, prost::Message)]
struct WaitingRecord {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    request: u64,
    #[prost(message, repeated, tag = "3")]
    items: Vec<ItemMessage>,
    #[prost(uint32, tag = "4")]
    priority: u32,
    #[prost(uint64, tag = "5")]
    since_ms: u64,
    #[prost(uint64, optional, tag = "6")]
    until_ms: Option<u64>,
    #[prost(bool, tag = "7")]
    held_back: bool,
    #[prost(string, repeated, tag = "8")]
    lines: Vec<String>,
}

pub(crate) fn encode_waiting(waiting: &Waiting) -> Vec<u8> {
    let m = WaitingRecord {
        session: waiting.session.0.to_vec(),
        request: waiting.request.0,
        items: list(&waiting.items),
        priority: waiting.priority,
        since_ms: waiting.since_ms,
        until_ms: waiting.until_ms,
        held_back: waiting.held_back,
        lines: waiting.lines.iter().map(ToString::to_string).collect(),
    };
    m.encode_to_vec()
}

pub(crate) fn decode_waiting(bytes: &[u8]) -> Result<Waiting> {
    let m = WaitingRecord::decode(bytes)?;
    counted("items in a request", m.items.len(), 1..=ITEMS_MAX)?;
    let lines = m.lines.iter().map(|name| FeatureName::parse(name));
    Ok(Waiting {
        session: session(&m.session)?,
        request: RequestId(m.request),
        items: unlist_tight(m.items)?,
        priority: m.priority,
        since_ms: m.since_ms,
        until_ms: m.until_ms,
        held_back: m.held_back,
        lines: lines.collect::<core::result::Result<_, NameError>>()?,
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct BlockRecord {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    host: String,
    #[prost(string, repeated, tag = "3")]
    features: Vec<String>,
    #[prost(uint64, tag = "4")]
    until_ms: u64,
}

pub(crate) fn encode_block(block: &Block) -> Vec<u8> {
    let m = BlockRecord {
        user: block.user.to_string(),
        host: block.host.to_string(),
        features: block.features.iter().map(ToString::to_string).collect(),
        until_ms: block.until_ms,
    };
    m.encode_to_vec()
}

pub(crate) fn decode_block(bytes: &[u8]) -> Result<Block> {
    let m = BlockRecord::decode(bytes)?;
    let features = m.features.iter().map(|name| FeatureName::parse(name));
    Ok(Block {
        user: Label::parse(&m.user)?,
        host: Label::parse(&m.host)?,
        features: features.collect::<core::result::Result<_, NameError>>()?,
        until_ms: m.until_ms,
    })
}
