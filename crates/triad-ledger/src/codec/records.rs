//! Records, as they stand in the image and in a snapshot.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use prost::Message;

use super::answers::AnswerMessage;
use super::parts::{
    AtMessage, HeldTokensMessage, HolderMessage, list, seats, session, unlist, version,
};
use super::terms::{AboutMessage, TermsMessage, about_message, terms_message};
use super::writer::Writer;
use super::{CodecError, Result, counted, since_rules};
use crate::command::{HeldTokens, Holder};
use crate::events::ChainHash;
use crate::ledger::{Checkout, Epoch, HeldItem, Meta, Stay};
use crate::mutation::{self, Mutation};
use crate::names::{FeatureName, Label, LicenseId, PoolId, RequestId, SessionId};
use crate::pools::{Pool, PoolKey};
use crate::rights::{About, LICENSES_MAX, LINES_MAX, License, Line, Terms};
use crate::rules::RULES_MIN;
use crate::sessions::{Receipt, Receipts, Session};

/// What all lines of all licenses together can give one pool. So sums over
/// pools stay far from the end of u64.
const POOL_SEATS_MAX: u64 = LICENSES_MAX as u64 * LINES_MAX as u64 * u32::MAX as u64;

#[derive(Clone, PartialEq, prost::Message)]
struct MetaMessage {
    #[prost(message, optional, tag = "1")]
    at: Option<AtMessage>,
    #[prost(uint64, tag = "2")]
    last_checkout: u64,
    #[prost(uint32, tag = "3")]
    last_pool: u32,
    #[prost(uint64, tag = "4")]
    last_event: u64,
    #[prost(bytes = "vec", tag = "5")]
    chain: Vec<u8>,
    #[prost(uint64, tag = "6")]
    last_ticket: u64,
    /// Absent in epoch 0.
    #[prost(message, optional, tag = "7")]
    epoch: Option<EpochMessage>,
    /// 0 means 1: the first version has no number.
    #[prost(uint32, tag = "8")]
    rules: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EpochMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    begun_ms: u64,
    #[prost(uint64, tag = "3")]
    last_checkout: u64,
    #[prost(uint64, tag = "4")]
    last_event: u64,
    #[prost(uint64, tag = "5")]
    adopted: u64,
    #[prost(uint64, optional, tag = "6")]
    restored_ms: Option<u64>,
}

pub(crate) fn encode_meta(meta: &Meta) -> Vec<u8> {
    let m = MetaMessage {
        at: Some(meta.at.into()),
        last_checkout: meta.last_checkout,
        last_pool: meta.last_pool,
        last_event: meta.last_event,
        chain: meta.chain.0.to_vec(),
        last_ticket: meta.last_ticket,
        epoch: (meta.epoch != Epoch::default()).then_some(EpochMessage {
            number: meta.epoch.number,
            begun_ms: meta.epoch.begun_ms,
            restored_ms: meta.epoch.restored_ms,
            last_checkout: meta.epoch.last_checkout,
            last_event: meta.epoch.last_event,
            adopted: meta.epoch.adopted,
        }),
        rules: if meta.rules == RULES_MIN { 0 } else { meta.rules },
    };
    m.encode_to_vec()
}

pub(crate) fn decode_meta(bytes: &[u8]) -> Result<Meta> {
    let m = MetaMessage::decode(bytes)?;
    since_rules(m.rules)?;
    Ok(Meta {
        at: m.at.unwrap_or_default().into(),
        last_checkout: m.last_checkout,
        last_pool: m.last_pool,
        last_event: m.last_event,
        chain: m.chain.try_into().map(ChainHash).map_err(|_| CodecError::Unknown("chain"))?,
        last_ticket: m.last_ticket,
        epoch: m.epoch.map_or(Epoch::default(), |m| Epoch {
            number: m.number,
            begun_ms: m.begun_ms,
            restored_ms: m.restored_ms,
            last_checkout: m.last_checkout,
            last_event: m.last_event,
            adopted: m.adopted,
        }),
        rules: m.rules.max(RULES_MIN),
    })
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LicenseMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    publisher: String,
    #[prost(uint64, tag = "3")]
    serial: u64,
    #[prost(string, tag = "4")]
    text: String,
    #[prost(message, repeated, tag = "5")]
    lines: Vec<LineMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LineMessage {
    #[prost(message, optional, tag = "1")]
    key: Option<PoolKeyMessage>,
    #[prost(uint32, tag = "2")]
    seats: u32,
    #[prost(uint32, tag = "3")]
    overdraft: u32,
    #[prost(message, optional, tag = "4")]
    about: Option<AboutMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PoolKeyMessage {
    #[prost(string, tag = "1")]
    feature: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint64, optional, tag = "3")]
    starts_ms: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    expires_ms: Option<u64>,
    #[prost(string, tag = "5")]
    vendor_string: String,
    /// Absent for an ordinary counted line.
    #[prost(message, optional, tag = "6")]
    terms: Option<TermsMessage>,
}

impl From<&License> for LicenseMessage {
    fn from(license: &License) -> Self {
        LicenseMessage {
            id: license.id.to_string(),
            publisher: license.publisher.to_string(),
            serial: license.serial,
            text: license.text.clone(),
            lines: list(&license.lines),
        }
    }
}

impl TryFrom<LicenseMessage> for License {
    type Error = CodecError;

    fn try_from(m: LicenseMessage) -> Result<Self> {
        counted("lines in a license", m.lines.len(), 0..=LINES_MAX)?;
        Ok(License {
            id: LicenseId::parse(&m.id)?,
            publisher: Label::parse(&m.publisher)?,
            serial: m.serial,
            text: m.text,
            lines: unlist(m.lines)?,
        })
    }
}

impl From<&Line> for LineMessage {
    fn from(line: &Line) -> Self {
        let key = PoolKeyMessage {
            feature: line.feature.to_string(),
            version: line.version.millionths(),
            starts_ms: line.starts_ms,
            expires_ms: line.expires_ms,
            vendor_string: line.vendor_string.to_string(),
            terms: terms_message(&line.terms),
        };
        let about = about_message(&line.about);
        LineMessage { key: Some(key), seats: line.seats, overdraft: line.overdraft, about }
    }
}

impl TryFrom<LineMessage> for Line {
    type Error = CodecError;

    fn try_from(m: LineMessage) -> Result<Self> {
        let key: PoolKey = m.key.ok_or(CodecError::Unknown("line"))?.try_into()?;
        Ok(Line {
            feature: key.feature,
            version: key.version,
            seats: m.seats,
            overdraft: m.overdraft,
            starts_ms: key.starts_ms,
            expires_ms: key.expires_ms,
            vendor_string: key.vendor_string,
            terms: key.terms,
            about: m.about.map(About::try_from).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<&PoolKey> for PoolKeyMessage {
    fn from(key: &PoolKey) -> Self {
        PoolKeyMessage {
            feature: key.feature.to_string(),
            version: key.version.millionths(),
            starts_ms: key.starts_ms,
            expires_ms: key.expires_ms,
            vendor_string: key.vendor_string.to_string(),
            terms: terms_message(&key.terms),
        }
    }
}

impl TryFrom<PoolKeyMessage> for PoolKey {
    type Error = CodecError;

    fn try_from(m: PoolKeyMessage) -> Result<Self> {
        Ok(PoolKey {
            feature: FeatureName::parse(&m.feature)?,
            version: version(m.version)?,
            starts_ms: m.starts_ms,
            expires_ms: m.expires_ms,
            vendor_string: Label::parse(&m.vendor_string)?,
            terms: m.terms.map(Terms::try_from).transpose()?.unwrap_or_default(),
        })
    }
}

pub(crate) fn encode_license(license: &License) -> Vec<u8> {
    LicenseMessage::from(license).encode_to_vec()
}

pub(crate) fn decode_license(bytes: &[u8]) -> Result<License> {
    LicenseMessage::decode(bytes)?.try_into()
}

#[derive(Clone, PartialEq, prost::Message)]
struct PoolMessage {
    #[prost(message, optional, tag = "1")]
    key: Option<PoolKeyMessage>,
    #[prost(uint64, tag = "2")]
    licensed: u64,
    #[prost(uint64, tag = "3")]
    overdraft: u64,
    #[prost(bool, tag = "4")]
    withdrawn: bool,
}

pub(crate) fn encode_pool(pool: &Pool) -> Vec<u8> {
    let m = PoolMessage {
        key: Some((&pool.key).into()),
        licensed: pool.licensed,
        overdraft: pool.overdraft,
        withdrawn: pool.withdrawn,
    };
    m.encode_to_vec()
}

pub(crate) fn decode_pool(bytes: &[u8]) -> Result<Pool> {
    let m = PoolMessage::decode(bytes)?;
    if m.licensed.max(m.overdraft) > POOL_SEATS_MAX {
        return Err(CodecError::Counters);
    }
    Ok(Pool {
        key: m.key.ok_or(CodecError::Unknown("pool"))?.try_into()?,
        licensed: m.licensed,
        overdraft: m.overdraft,
        held: 0,
        withdrawn: m.withdrawn,
        borrowed: 0,
        overdraft_max: None,
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionRecord {
    #[prost(message, optional, tag = "1")]
    holder: Option<HolderMessage>,
    #[prost(uint64, tag = "2")]
    lease_ms: u64,
    #[prost(uint64, tag = "3")]
    opened_ms: u64,
    #[prost(uint64, tag = "4")]
    answered_through: u64,
    #[prost(message, repeated, tag = "5")]
    receipts: Vec<ReceiptMessage>,
    #[prost(uint64, optional, tag = "6")]
    idle_since_ms: Option<u64>,
    #[prost(uint64, optional, tag = "7")]
    silent_since_ms: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReceiptMessage {
    #[prost(uint64, tag = "1")]
    request: u64,
    #[prost(message, optional, tag = "2")]
    answer: Option<AnswerMessage>,
}

/// Most sessions are shorter.
const SESSION_BYTES: usize = 256;
/// And most checkouts.
const CHECKOUT_BYTES: usize = 64;

pub(crate) fn encode_session(session: &Session) -> Vec<u8> {
    let mut w = Writer::new(SESSION_BYTES);
    w.message(1, |w| w.holder(&session.holder));
    w.number(2, session.lease_ms);
    w.number(3, session.opened_ms);
    w.number(4, session.receipts.answered_through);
    if !mutation::is_on(Mutation::ReceiptsNotRecorded) {
        for (request, receipt) in session.receipts.answers.iter() {
            w.message(5, |w| {
                w.number(1, request.0);
                w.message(2, |w| w.receipt(receipt));
            });
        }
    }
    w.some_number(6, session.idle_since_ms);
    w.some_number(7, session.silent_since_ms);
    let bytes = w.into_bytes();
    #[cfg(debug_assertions)]
    assert_eq!(bytes, session_by_message(session), "{session:?}");
    bytes
}

/// What [`encode_session`] is to write.
#[cfg(debug_assertions)]
fn session_by_message(session: &Session) -> Vec<u8> {
    let message = |(request, receipt): (RequestId, &Receipt)| ReceiptMessage {
        request: request.0,
        answer: Some((&receipt.answer()).into()),
    };
    let m = SessionRecord {
        holder: Some((&*session.holder).into()),
        lease_ms: session.lease_ms,
        opened_ms: session.opened_ms,
        answered_through: session.receipts.answered_through,
        receipts: match mutation::is_on(Mutation::ReceiptsNotRecorded) {
            true => Vec::new(),
            false => session.receipts.answers.iter().map(message).collect(),
        },
        idle_since_ms: session.idle_since_ms,
        silent_since_ms: session.silent_since_ms,
    };
    m.encode_to_vec()
}

pub(crate) fn decode_session(bytes: &[u8]) -> Result<Session> {
    let m = SessionRecord::decode(bytes)?;
    let mut receipts = Receipts { answered_through: m.answered_through, ..Receipts::default() };
    for m in m.receipts {
        let answer = m.answer.ok_or(CodecError::Unknown("receipt"))?.try_into()?;
        let receipt = Receipt::of(&answer, |items| items.into());
        receipts.answers.insert(RequestId(m.request), receipt);
    }
    Ok(Session {
        holder: Arc::new(m.holder.unwrap_or_default().try_into()?),
        lease_ms: m.lease_ms,
        opened_ms: m.opened_ms,
        checkouts: Default::default(),
        idle_since_ms: m.idle_since_ms,
        silent_since_ms: m.silent_since_ms,
        receipts,
    })
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckoutRecord {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    since_ms: u64,
    #[prost(message, repeated, tag = "3")]
    items: Vec<HeldItemMessage>,
    /// Absent while its session keeps it.
    #[prost(message, optional, tag = "4")]
    away: Option<AwayMessage>,
}

/// A checkout that no session keeps.
#[derive(Clone, PartialEq, prost::Message)]
struct AwayMessage {
    #[prost(message, optional, tag = "1")]
    holder: Option<HolderMessage>,
    /// In cluster time.
    #[prost(uint64, optional, tag = "2")]
    lingers_until_ms: Option<u64>,
    /// A date.
    #[prost(uint64, optional, tag = "3")]
    borrowed_until_ms: Option<u64>,
    #[prost(bool, tag = "4")]
    lost: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeldItemMessage {
    #[prost(uint32, tag = "1")]
    pool: u32,
    #[prost(uint32, tag = "2")]
    seats: u32,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(message, optional, tag = "4")]
    tokens: Option<HeldTokensMessage>,
}

pub(crate) fn encode_checkout(checkout: &Checkout) -> Vec<u8> {
    if checkout.stay != Stay::Live {
        return checkout_by_message(checkout);
    }
    let mut w = Writer::new(CHECKOUT_BYTES);
    w.session(1, checkout.session);
    w.number(2, checkout.since_ms);
    for item in &checkout.items {
        w.message(3, |w| {
            w.number(1, item.pool.0);
            w.number(2, item.seats.get());
            w.number(3, item.version.millionths());
            if let Some(HeldTokens { pool, seats }) = item.tokens {
                w.message(4, |w| {
                    w.number(1, pool.0);
                    w.number(2, seats.get());
                });
            }
        });
    }
    let bytes = w.into_bytes();
    debug_assert_eq!(bytes, checkout_by_message(checkout), "{checkout:?}");
    bytes
}

fn checkout_by_message(checkout: &Checkout) -> Vec<u8> {
    let away = AwayMessage { holder: Some((&*checkout.holder).into()), ..Default::default() };
    let away = match checkout.stay {
        Stay::Live => None,
        Stay::Lingering { until_ms } => {
            Some(AwayMessage { lingers_until_ms: Some(until_ms), ..away })
        }
        Stay::Borrowed { until_ms, lost } => {
            Some(AwayMessage { borrowed_until_ms: Some(until_ms), lost, ..away })
        }
    };
    let m = CheckoutRecord {
        session: checkout.session.0.to_vec(),
        since_ms: checkout.since_ms,
        items: list(&checkout.items),
        away,
    };
    m.encode_to_vec()
}

pub(crate) fn decode_checkout(bytes: &[u8]) -> Result<Checkout> {
    let m = CheckoutRecord::decode(bytes)?;
    let (session, items) = (session(&m.session)?, unlist(m.items)?.into());
    let (holder, stay) = match m.away {
        None => (Holder::default(), Stay::Live),
        Some(away) => {
            let stay = match (away.lingers_until_ms, away.borrowed_until_ms) {
                (Some(until_ms), None) => Stay::Lingering { until_ms },
                (None, Some(until_ms)) => Stay::Borrowed { until_ms, lost: away.lost },
                _ => return Err(CodecError::Unknown("stay")),
            };
            (away.holder.unwrap_or_default().try_into()?, stay)
        }
    };
    Ok(Checkout { session, since_ms: m.since_ms, items, holder: Arc::new(holder), stay })
}

impl From<&HeldItem> for HeldItemMessage {
    fn from(item: &HeldItem) -> Self {
        HeldItemMessage {
            pool: item.pool.0,
            seats: item.seats.get(),
            version: item.version.millionths(),
            tokens: item.tokens.as_ref().map(HeldTokensMessage::from),
        }
    }
}

impl TryFrom<HeldItemMessage> for HeldItem {
    type Error = CodecError;

    fn try_from(m: HeldItemMessage) -> Result<Self> {
        Ok(HeldItem {
            pool: PoolId(m.pool),
            seats: seats(m.seats)?,
            version: version(m.version)?,
            tokens: m.tokens.map(HeldTokens::try_from).transpose()?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct EndedRecord {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
}

pub(crate) fn encode_ended(session: SessionId) -> Vec<u8> {
    EndedRecord { session: session.0.to_vec() }.encode_to_vec()
}

pub(crate) fn decode_ended(bytes: &[u8]) -> Result<SessionId> {
    session(&EndedRecord::decode(bytes)?.session)
}
