//! What several messages have in common.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{CodecError, Result, counted};
use crate::command::{
    At, GrantedItem, GrantedTokens, HOSTIDS_MAX, HeldTokens, Holder, Item, Silence,
};
use crate::events::EndReason;
use crate::names::{FeatureName, Label, PoolId, Seats, SessionId, Version};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AtMessage {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    cluster_ms: u64,
    #[prost(uint64, tag = "4")]
    date_ms: u64,
}

impl From<At> for AtMessage {
    fn from(at: At) -> Self {
        let At { index, term, cluster_ms, date_ms } = at;
        AtMessage { index, term, cluster_ms, date_ms }
    }
}

impl From<AtMessage> for At {
    fn from(m: AtMessage) -> Self {
        At { index: m.index, term: m.term, cluster_ms: m.cluster_ms, date_ms: m.date_ms }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HolderMessage {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    host: String,
    #[prost(string, tag = "3")]
    display: String,
    #[prost(string, tag = "4")]
    project: String,
    #[prost(string, tag = "5")]
    application: String,
    #[prost(uint32, tag = "6")]
    pid: u32,
    /// 4 or 16 bytes; none if it is not known.
    #[prost(bytes = "vec", tag = "7")]
    address: Vec<u8>,
    #[prost(string, tag = "8")]
    vendor_data: String,
    #[prost(string, repeated, tag = "9")]
    hostids: Vec<String>,
}

impl From<&Holder> for HolderMessage {
    fn from(holder: &Holder) -> Self {
        HolderMessage {
            user: holder.user.to_string(),
            host: holder.host.to_string(),
            display: holder.display.to_string(),
            project: holder.project.to_string(),
            application: holder.application.to_string(),
            pid: holder.pid,
            address: match holder.address {
                None => Vec::new(),
                Some(IpAddr::V4(address)) => address.octets().to_vec(),
                Some(IpAddr::V6(address)) => address.octets().to_vec(),
            },
            vendor_data: holder.vendor_data.to_string(),
            hostids: holder.hostids.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<HolderMessage> for Holder {
    type Error = CodecError;

    fn try_from(m: HolderMessage) -> Result<Self> {
        counted("host ids of a client", m.hostids.len(), 0..=HOSTIDS_MAX)?;
        let hostids = m.hostids.iter().map(|text| Label::parse(text));
        Ok(Holder {
            user: Label::parse(&m.user)?,
            host: Label::parse(&m.host)?,
            display: Label::parse(&m.display)?,
            project: Label::parse(&m.project)?,
            application: Label::parse(&m.application)?,
            pid: m.pid,
            address: address(&m.address)?,
            vendor_data: Label::parse(&m.vendor_data)?,
            hostids: hostids.collect::<core::result::Result<_, _>>()?,
        })
    }
}

fn address(bytes: &[u8]) -> Result<Option<IpAddr>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| v6());
    address.map(Some).map_err(|_| CodecError::Unknown("address"))
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ItemMessage {
    #[prost(string, tag = "1")]
    feature: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint32, tag = "3")]
    seats: u32,
}

impl From<&Item> for ItemMessage {
    fn from(item: &Item) -> Self {
        ItemMessage {
            feature: item.feature.to_string(),
            version: item.version.millionths(),
            seats: item.seats.get(),
        }
    }
}

impl TryFrom<ItemMessage> for Item {
    type Error = CodecError;

    fn try_from(m: ItemMessage) -> Result<Self> {
        Ok(Item {
            feature: FeatureName::parse(&m.feature)?,
            version: version(m.version)?,
            seats: seats(m.seats)?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GrantedItemMessage {
    #[prost(uint32, tag = "1")]
    pool: u32,
    #[prost(string, tag = "2")]
    feature: String,
    #[prost(uint32, tag = "3")]
    seats: u32,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(uint64, optional, tag = "5")]
    expires_ms: Option<u64>,
    #[prost(string, tag = "6")]
    vendor_string: String,
    #[prost(message, optional, tag = "7")]
    tokens: Option<GrantedTokensMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GrantedTokensMessage {
    #[prost(uint32, tag = "1")]
    pool: u32,
    #[prost(uint32, tag = "2")]
    seats: u32,
    #[prost(string, tag = "3")]
    feature: String,
}

impl From<&GrantedTokens> for GrantedTokensMessage {
    fn from(tokens: &GrantedTokens) -> Self {
        let GrantedTokens { pool, feature, seats } = tokens;
        GrantedTokensMessage { pool: pool.0, seats: seats.get(), feature: feature.to_string() }
    }
}

impl TryFrom<GrantedTokensMessage> for GrantedTokens {
    type Error = CodecError;

    fn try_from(m: GrantedTokensMessage) -> Result<Self> {
        let feature = FeatureName::parse(&m.feature)?;
        Ok(GrantedTokens { pool: PoolId(m.pool), feature, seats: seats(m.seats)? })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HeldTokensMessage {
    #[prost(uint32, tag = "1")]
    pool: u32,
    #[prost(uint32, tag = "2")]
    seats: u32,
}

impl From<&HeldTokens> for HeldTokensMessage {
    fn from(tokens: &HeldTokens) -> Self {
        HeldTokensMessage { pool: tokens.pool.0, seats: tokens.seats.get() }
    }
}

impl TryFrom<HeldTokensMessage> for HeldTokens {
    type Error = CodecError;

    fn try_from(m: HeldTokensMessage) -> Result<Self> {
        Ok(HeldTokens { pool: PoolId(m.pool), seats: seats(m.seats)? })
    }
}

impl From<&GrantedItem> for GrantedItemMessage {
    fn from(item: &GrantedItem) -> Self {
        GrantedItemMessage {
            pool: item.pool.0,
            feature: item.feature.to_string(),
            seats: item.seats.get(),
            version: item.version.millionths(),
            expires_ms: item.expires_ms,
            vendor_string: item.vendor_string.to_string(),
            tokens: item.tokens.as_ref().map(GrantedTokensMessage::from),
        }
    }
}

impl TryFrom<GrantedItemMessage> for GrantedItem {
    type Error = CodecError;

    fn try_from(m: GrantedItemMessage) -> Result<Self> {
        Ok(GrantedItem {
            pool: PoolId(m.pool),
            feature: FeatureName::parse(&m.feature)?,
            seats: seats(m.seats)?,
            version: version(m.version)?,
            expires_ms: m.expires_ms,
            vendor_string: Label::parse(&m.vendor_string)?,
            tokens: m.tokens.map(GrantedTokens::try_from).transpose()?,
        })
    }
}

/// A list of one kind of message from another kind of thing, both ways.
pub(super) fn list<'a, T: 'a, M: From<&'a T>>(things: &'a [T]) -> Vec<M> {
    things.iter().map(M::from).collect()
}

pub(super) fn unlist<M, T: TryFrom<M, Error = CodecError>>(messages: Vec<M>) -> Result<Vec<T>> {
    messages.into_iter().map(T::try_from).collect()
}

/// [`unlist`] for what is kept for long. Things are made in the memory of their messages,
/// which may be several times as much.
pub(super) fn unlist_tight<M, T: TryFrom<M, Error = CodecError>>(
    messages: Vec<M>,
) -> Result<Vec<T>> {
    let mut things = unlist(messages)?;
    things.shrink_to_fit();
    Ok(things)
}

pub(super) fn version(millionths: u64) -> Result<Version> {
    Version::from_millionths(millionths).ok_or(CodecError::Unknown("version"))
}

pub(super) fn seats(seats: u32) -> Result<Seats> {
    Seats::new(seats).ok_or(CodecError::Unknown("seats"))
}

pub(super) fn session(bytes: &[u8]) -> Result<SessionId> {
    bytes.try_into().map(SessionId).map_err(|_| CodecError::Unknown("session id"))
}

pub(super) fn silence(code: u32) -> Result<Silence> {
    match code {
        1 => Ok(Silence::Lease),
        2 => Ok(Silence::Disconnect),
        _ => Err(CodecError::Unknown("silence")),
    }
}

pub(super) fn silence_code(silence: Silence) -> u32 {
    match silence {
        Silence::Lease => 1,
        Silence::Disconnect => 2,
    }
}

pub(super) fn reason(code: u32) -> Result<EndReason> {
    match code {
        3 => Ok(EndReason::Closed),
        4 => Ok(EndReason::Expired),
        5 => Ok(EndReason::Lingered),
        6 => Ok(EndReason::Idle),
        7 => Ok(EndReason::Revoked),
        8 => Ok(EndReason::BorrowEnded),
        other => silence(other).map(EndReason::Silent),
    }
}

pub(super) fn reason_code(reason: EndReason) -> u32 {
    match reason {
        EndReason::Silent(silence) => silence_code(silence),
        EndReason::Closed => 3,
        EndReason::Expired => 4,
        EndReason::Lingered => 5,
        EndReason::Idle => 6,
        EndReason::Revoked => 7,
        EndReason::BorrowEnded => 8,
    }
}
