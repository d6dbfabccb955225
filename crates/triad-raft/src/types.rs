//! What Raft is told about us: the types of entries, answers and nodes, and
//! their bytes. No type of openraft leaves this crate.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership};
use prost::Message;
use triad_ledger::{Answer, CodecError, Command, decode_commands, encode_commands};
use triad_proto::v1;

openraft::declare_raft_types!(
    /// Raft as Triad uses it.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;

/// When a batch was proposed, by the leader's reckoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Cluster time, ms.
    pub cluster_ms: u64,
    /// The date, ms since 1970 UTC.
    pub date_ms: u64,
}

/// The content of one log entry: commands that are committed together. Encoded
/// once, by the leader, and shared from then on: by the log, by the streams to
/// the peers and by the ledger.
#[derive(Clone)]
pub struct Proposal {
    /// When.
    pub(crate) stamp: Stamp,
    /// What.
    pub(crate) commands: Arc<[Command]>,
    encoded: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProposalMessage {
    #[prost(uint64, tag = "1")]
    cluster_ms: u64,
    #[prost(uint64, tag = "2")]
    date_ms: u64,
    #[prost(bytes = "bytes", tag = "3")]
    commands: Bytes,
}

impl Proposal {
    pub(crate) fn new(stamp: Stamp, commands: Vec<Command>) -> Self {
        let m = ProposalMessage {
            cluster_ms: stamp.cluster_ms,
            date_ms: stamp.date_ms,
            commands: encode_commands(&commands).into(),
        };
        Proposal { stamp, commands: commands.into(), encoded: m.encode_to_vec().into() }
    }

    fn decode(encoded: Bytes) -> Result<Self, EntryError> {
        let m = ProposalMessage::decode(encoded.clone())?;
        let stamp = Stamp { cluster_ms: m.cluster_ms, date_ms: m.date_ms };
        let commands = decode_commands(&m.commands)?.into();
        Ok(Proposal { stamp, commands, encoded })
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands at {} ms", self.commands.len(), self.stamp.cluster_ms)
    }
}

/// The answers to the commands of one entry, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied(pub(crate) Vec<Answer>);

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers", self.0.len())
    }
}

/// A node of the cluster, as the others know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// What people call it.
    pub name: String,
    /// Where the other nodes reach it, "host:port".
    pub peer_address: String,
    /// Where clients reach it, "host:port".
    pub client_address: String,
    /// No node is given an id up to this one any more: those that had one may have
    /// voted, and have left. 0 where the members' own ids say as much.
    pub ids_through: u64,
}

impl Member {
    /// Whether it is the same node at the same place.
    pub fn is_same(&self, other: &Member) -> bool {
        (&self.name, &self.peer_address, &self.client_address)
            == (&other.name, &other.peer_address, &other.client_address)
    }

    /// The highest id that was ever given, as far as these members know. 0: there are none.
    pub(crate) fn highest_id<'a>(members: impl Iterator<Item = (u64, &'a Member)>) -> u64 {
        members.map(|(id, member)| id.max(member.ids_through)).max().unwrap_or(0)
    }
}

/// Bytes that are no entry, vote or log id of ours.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not protobuf of this kind.
    #[error("not a readable message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// Commands that the ledger cannot read.
    #[error("unreadable commands: {0}")]
    Commands(#[from] CodecError),
    /// A part that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl EntryError {
    /// Whether the bytes are as a newer version writes them, and not damaged.
    pub(crate) fn is_newer(&self) -> bool {
        matches!(self, EntryError::Commands(error) if error.is_newer())
    }
}

type Decoded<T> = Result<T, EntryError>;

pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry_to_wire(entry).encode_to_vec()
}

pub(crate) fn decode_entry(bytes: &[u8]) -> Decoded<Entry> {
    entry_from_wire(v1::LogEntry::decode(bytes)?)
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    vote_to_wire(vote).encode_to_vec()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Decoded<Vote> {
    Ok(vote_from_wire(v1::VoteRecord::decode(bytes)?))
}

pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    log_id_to_wire(id).encode_to_vec()
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Decoded<LogId> {
    Ok(log_id_from_wire(v1::LogId::decode(bytes)?))
}

pub(crate) fn encode_membership(membership: &StoredMembership) -> Vec<u8> {
    let m = StoredMembershipMessage {
        log_id: membership.log_id().as_ref().map(log_id_to_wire),
        membership: Some(membership_to_wire(membership.membership())),
    };
    m.encode_to_vec()
}

pub(crate) fn decode_membership(bytes: &[u8]) -> Decoded<StoredMembership> {
    let m = StoredMembershipMessage::decode(bytes)?;
    let membership = membership_from_wire(m.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(m.log_id.map(log_id_from_wire), membership))
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredMembershipMessage {
    #[prost(message, optional, tag = "1")]
    log_id: Option<v1::LogId>,
    #[prost(message, optional, tag = "2")]
    membership: Option<v1::Membership>,
}

pub(crate) fn vote_to_wire(vote: &Vote) -> v1::VoteRecord {
    let LeaderId { term, node_id } = vote.leader_id;
    v1::VoteRecord { term, node_id, committed: vote.committed }
}

pub(crate) fn vote_from_wire(m: v1::VoteRecord) -> Vote {
    Vote { leader_id: LeaderId::new(m.term, m.node_id), committed: m.committed }
}

pub(crate) fn log_id_to_wire(id: &LogId) -> v1::LogId {
    let LeaderId { term, node_id } = *id.committed_leader_id();
    v1::LogId { term, node_id, index: id.index() }
}

pub(crate) fn log_id_from_wire(m: v1::LogId) -> LogId {
    LogId::new(LeaderId::new(m.term, m.node_id), m.index)
}

pub(crate) fn entry_to_wire(entry: &Entry) -> v1::LogEntry {
    use v1::log_entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(v1::Blank {}),
        EntryPayload::Normal(proposal) => Payload::Batch(proposal.encoded.clone()),
        EntryPayload::Membership(m) => Payload::Membership(membership_to_wire(m)),
    };
    v1::LogEntry { id: Some(log_id_to_wire(&entry.log_id)), payload: Some(payload) }
}

pub(crate) fn entry_from_wire(m: v1::LogEntry) -> Decoded<Entry> {
    use v1::log_entry::Payload;
    let id = log_id_from_wire(m.id.ok_or(EntryError::Missing("log id"))?);
    let payload = match m.payload.ok_or(EntryError::Missing("payload"))? {
        Payload::Blank(v1::Blank {}) => EntryPayload::Blank,
        Payload::Batch(bytes) => EntryPayload::Normal(Proposal::decode(bytes)?),
        Payload::Membership(m) => EntryPayload::Membership(membership_from_wire(m)?),
    };
    Ok(Entry::new(id, payload))
}

pub(crate) fn membership_to_wire(membership: &Membership<u64, Member>) -> v1::Membership {
    let voters = |ids: &std::collections::BTreeSet<u64>| v1::VoterSet {
        node_ids: ids.iter().copied().collect(),
    };
    let member = |(id, member): (&u64, &Member)| v1::Member {
        node_id: *id,
        name: member.name.clone(),
        peer_address: member.peer_address.clone(),
        client_address: member.client_address.clone(),
        ids_through: member.ids_through,
    };
    v1::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        members: membership.nodes().map(member).collect(),
    }
}

pub(crate) fn membership_from_wire(m: v1::Membership) -> Decoded<Membership<u64, Member>> {
    if m.configs.is_empty() {
        // A node that belongs to no cluster yet.
        return Ok(Membership::default());
    }
    let configs = m.configs.into_iter().map(|set| set.node_ids.into_iter().collect()).collect();
    let member = |m: v1::Member| {
        let v1::Member { node_id, name, peer_address, client_address, ids_through } = m;
        (node_id, Member { name, peer_address, client_address, ids_through })
    };
    let members: std::collections::BTreeMap<_, _> = m.members.into_iter().map(member).collect();
    Membership::new(configs, members).map_err(|_| EntryError::Missing("a voter's address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_trip() {
        let id = LogId::new(LeaderId::new(3, 2), 17);
        let stamp = Stamp { cluster_ms: 5, date_ms: 6 };
        let members = [(1, Member { name: "a".into(), ..Member::default() })];
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal::new(stamp, vec![Command::Tick])),
            EntryPayload::Membership(
                Membership::new(vec![[1].into()], std::collections::BTreeMap::from(members))
                    .expect("the voter has an address"),
            ),
        ];
        for payload in payloads {
            let entry = Entry::new(id, payload);
            let back = decode_entry(&encode_entry(&entry)).expect("readable");
            assert_eq!(back, entry);
        }
        let vote = Vote::new_committed(3, 2);
        assert_eq!(decode_vote(&encode_vote(&vote)).expect("readable"), vote);
        assert_eq!(decode_log_id(&encode_log_id(&id)).expect("readable"), id);
    }
}
