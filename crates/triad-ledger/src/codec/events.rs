//! Events, as they stand in the usage history and under the chain hash.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use prost::Message;

use super::answers::{AnswerMessage, DenialMessage};
use super::parts::{
    AtMessage, GrantedItemMessage, HolderMessage, ItemMessage, list, reason, reason_code, session,
    unlist,
};
use super::tokens::{ActorMessage, role, role_code, token_id};
use super::writer::Writer;
use super::{CodecError, Result};
use crate::command::Holder;
use crate::events::{Event, Happening, PoolUse};
use crate::names::{CheckoutId, FeatureName, Label, LicenseId, PoolId, RequestId};
use crate::rights::Share;
use crate::tokens::{Actor, TokenId};

/// Most events are shorter.
const EVENT_BYTES: usize = 256;

#[derive(Clone, PartialEq, prost::Message)]
struct EventMessage {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(message, optional, tag = "2")]
    at: Option<AtMessage>,
    #[prost(
        oneof = "Kind",
        tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19, 20, 22, 23, 24, 25"
    )]
    kind: Option<Kind>,
    #[prost(message, optional, tag = "17")]
    holder: Option<HolderMessage>,
    #[prost(message, repeated, tag = "18")]
    pools: Vec<PoolUseMessage>,
    #[prost(message, optional, tag = "21")]
    by: Option<ActorMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PoolUseMessage {
    #[prost(uint32, tag = "1")]
    pool: u32,
    #[prost(string, tag = "2")]
    feature: String,
    #[prost(uint64, tag = "3")]
    held: u64,
    #[prost(uint64, tag = "4")]
    licensed: u64,
    #[prost(uint64, tag = "5")]
    total: u64,
    #[prost(bool, tag = "6")]
    uncounted: bool,
    #[prost(uint32, tag = "7")]
    share: u32,
}

impl From<&PoolUse> for PoolUseMessage {
    fn from(pool: &PoolUse) -> Self {
        PoolUseMessage {
            pool: pool.pool.0,
            feature: pool.feature.to_string(),
            held: pool.held,
            licensed: pool.licensed,
            total: pool.total,
            uncounted: pool.uncounted,
            share: pool.share.bits().into(),
        }
    }
}

impl TryFrom<PoolUseMessage> for PoolUse {
    type Error = CodecError;

    fn try_from(m: PoolUseMessage) -> Result<Self> {
        let share = u8::try_from(m.share).ok().and_then(Share::from_bits);
        Ok(PoolUse {
            pool: PoolId(m.pool),
            feature: FeatureName::parse(&m.feature)?,
            held: m.held,
            licensed: m.licensed,
            total: m.total,
            uncounted: m.uncounted,
            share: share.ok_or(CodecError::Unknown("share"))?,
        })
    }
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "3")]
    Opened(OpenedMessage),
    #[prost(message, tag = "4")]
    Ended(EndedMessage),
    #[prost(message, tag = "5")]
    Granted(GrantedMessage),
    #[prost(message, tag = "6")]
    Denied(DeniedMessage),
    #[prost(message, tag = "7")]
    Returned(ReturnedMessage),
    #[prost(message, tag = "8")]
    Installed(InstalledMessage),
    /// The same shape as a grant: what is held now.
    #[prost(message, tag = "9")]
    Moved(GrantedMessage),
    /// The version.
    #[prost(uint64, tag = "10")]
    PolicySet(u64),
    #[prost(message, tag = "11")]
    Queued(QueuedMessage),
    #[prost(message, tag = "12")]
    Settled(SettledMessage),
    #[prost(message, tag = "13")]
    Borrowed(BorrowedMessage),
    #[prost(message, tag = "14")]
    Lingering(LingeringMessage),
    #[prost(message, tag = "15")]
    Revoked(RevokedMessage),
    /// Nothing but whose and which.
    #[prost(message, tag = "16")]
    MarkedLost(RevokedMessage),
    /// The number of the epoch.
    #[prost(uint64, tag = "19")]
    EpochBegun(u64),
    /// The same shape as a grant.
    #[prost(message, tag = "20")]
    Adopted(GrantedMessage),
    #[prost(message, tag = "22")]
    TokenCreated(TokenMessage),
    /// Nothing but which and whose.
    #[prost(message, tag = "23")]
    TokenRevoked(TokenMessage),
    #[prost(message, tag = "24")]
    TokenUsed(TokenMessage),
    /// In words.
    #[prost(string, tag = "25")]
    Administered(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct TokenMessage {
    #[prost(bytes = "vec", tag = "1")]
    token: Vec<u8>,
    #[prost(string, tag = "2")]
    label: String,
    #[prost(uint32, tag = "3")]
    role: u32,
    #[prost(uint64, optional, tag = "4")]
    expires_ms: Option<u64>,
}

impl TokenMessage {
    fn of(token: TokenId, label: &Label) -> Self {
        let (token, label) = (token.0.to_vec(), label.to_string());
        TokenMessage { token, label, ..TokenMessage::default() }
    }

    fn read(&self) -> Result<(TokenId, Label)> {
        Ok((token_id(&self.token)?, Label::parse(&self.label)?))
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct QueuedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    request: u64,
    #[prost(message, repeated, tag = "3")]
    items: Vec<ItemMessage>,
    #[prost(uint64, tag = "4")]
    position: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SettledMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    request: u64,
    #[prost(message, optional, tag = "3")]
    answer: Option<AnswerMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BorrowedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    holder: Option<HolderMessage>,
    #[prost(uint64, tag = "3")]
    checkout: u64,
    #[prost(message, repeated, tag = "4")]
    items: Vec<GrantedItemMessage>,
    #[prost(uint64, tag = "5")]
    until_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LingeringMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    checkout: u64,
    #[prost(message, repeated, tag = "3")]
    items: Vec<GrantedItemMessage>,
    #[prost(uint64, tag = "4")]
    until_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RevokedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    checkout: u64,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(uint64, tag = "4")]
    block_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    holder: Option<HolderMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EndedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    holder: Option<HolderMessage>,
    #[prost(uint32, tag = "3")]
    reason: u32,
    #[prost(uint64, tag = "4")]
    checkouts: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GrantedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    checkout: u64,
    #[prost(message, repeated, tag = "3")]
    items: Vec<GrantedItemMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeniedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<ItemMessage>,
    #[prost(message, optional, tag = "3")]
    denial: Option<DenialMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReturnedMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    checkout: u64,
    #[prost(uint32, tag = "3")]
    reason: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InstalledMessage {
    #[prost(string, tag = "1")]
    license: String,
    #[prost(uint64, tag = "2")]
    serial: u64,
    #[prost(uint64, tag = "3")]
    overage: u64,
}

/// One event as bytes.
pub fn encode_event(event: &Event) -> Vec<u8> {
    let mut w = Writer::new(EVENT_BYTES);
    w.number(1, event.sequence);
    w.message(2, |w| w.at(event.at));
    match &event.what {
        Happening::Granted { session, checkout, items } => {
            w.message(5, |w| w.granted(*session, *checkout, items));
        }
        Happening::Returned { session, checkout, reason } => w.message(7, |w| {
            w.session(1, *session);
            w.number(2, checkout.0);
            w.number(3, reason_code(*reason));
        }),
        other => kind(other).encode(w.buffer()),
    }
    if let Some(holder) = &event.holder {
        w.message(17, |w| w.holder(holder));
    }
    for pool in &event.pools {
        w.message(18, |w| w.pool_use(pool));
    }
    if let Some(by) = &event.by {
        prost::encoding::message::encode(21, &ActorMessage::from(by), w.buffer());
    }
    let bytes = w.into_bytes();
    #[cfg(debug_assertions)]
    assert_eq!(bytes, event_by_message(event), "{event:?}");
    bytes
}

fn kind(what: &Happening) -> Kind {
    match what {
        Happening::Opened { session, holder } => {
            Kind::Opened(OpenedMessage { session: session.0.to_vec(), holder: Some(holder.into()) })
        }
        Happening::Ended { session, holder, reason, checkouts } => Kind::Ended(EndedMessage {
            session: session.0.to_vec(),
            holder: Some(holder.into()),
            reason: reason_code(*reason),
            checkouts: *checkouts,
        }),
        Happening::Granted { session, checkout, items } => Kind::Granted(GrantedMessage {
            session: session.0.to_vec(),
            checkout: checkout.0,
            items: list(items),
        }),
        Happening::Moved { session, checkout, items } => Kind::Moved(GrantedMessage {
            session: session.0.to_vec(),
            checkout: checkout.0,
            items: list(items),
        }),
        Happening::Denied { session, items, denial } => Kind::Denied(DeniedMessage {
            session: session.0.to_vec(),
            items: list(items),
            denial: Some(denial.into()),
        }),
        Happening::Returned { session, checkout, reason } => Kind::Returned(ReturnedMessage {
            session: session.0.to_vec(),
            checkout: checkout.0,
            reason: reason_code(*reason),
        }),
        Happening::Installed { license, serial, overage } => Kind::Installed(InstalledMessage {
            license: license.to_string(),
            serial: *serial,
            overage: *overage,
        }),
        Happening::PolicySet { version } => Kind::PolicySet(*version),
        Happening::Queued { session, request, items, position } => Kind::Queued(QueuedMessage {
            session: session.0.to_vec(),
            request: request.0,
            items: list(items),
            position: *position,
        }),
        Happening::Settled { session, request, answer } => Kind::Settled(SettledMessage {
            session: session.0.to_vec(),
            request: request.0,
            answer: Some(answer.into()),
        }),
        Happening::Borrowed { session, holder, checkout, items, until_ms } => {
            Kind::Borrowed(BorrowedMessage {
                session: session.0.to_vec(),
                holder: Some(holder.into()),
                checkout: checkout.0,
                items: list(items),
                until_ms: *until_ms,
            })
        }
        Happening::Lingering { session, checkout, items, until_ms } => {
            Kind::Lingering(LingeringMessage {
                session: session.0.to_vec(),
                checkout: checkout.0,
                items: list(items),
                until_ms: *until_ms,
            })
        }
        Happening::Revoked { session, checkout, reason, block_ms } => {
            Kind::Revoked(RevokedMessage {
                session: session.0.to_vec(),
                checkout: checkout.0,
                reason: reason.to_string(),
                block_ms: *block_ms,
            })
        }
        Happening::EpochBegun { epoch } => Kind::EpochBegun(*epoch),
        Happening::Adopted { session, checkout, items } => Kind::Adopted(GrantedMessage {
            session: session.0.to_vec(),
            checkout: checkout.0,
            items: list(items),
        }),
        Happening::MarkedLost { session, checkout } => Kind::MarkedLost(RevokedMessage {
            session: session.0.to_vec(),
            checkout: checkout.0,
            reason: String::new(),
            block_ms: 0,
        }),
        Happening::TokenCreated { token, role, label, expires_ms } => {
            Kind::TokenCreated(TokenMessage {
                role: role_code(*role),
                expires_ms: *expires_ms,
                ..TokenMessage::of(*token, label)
            })
        }
        Happening::TokenRevoked { token, label } => {
            Kind::TokenRevoked(TokenMessage::of(*token, label))
        }
        Happening::TokenUsed { token, label } => Kind::TokenUsed(TokenMessage::of(*token, label)),
        Happening::Administered { what } => Kind::Administered(what.to_string()),
    }
}

/// What [`encode_event`] is to write.
#[cfg(debug_assertions)]
fn event_by_message(event: &Event) -> Vec<u8> {
    let at = Some(event.at.into());
    let holder = event.holder.as_deref().map(HolderMessage::from);
    let by = event.by.as_ref().map(ActorMessage::from);
    let (sequence, pools) = (event.sequence, list(&event.pools));
    let kind = Some(kind(&event.what));
    EventMessage { sequence, at, kind, holder, pools, by }.encode_to_vec()
}

/// The inverse of [`encode_event`].
///
/// # Errors
///
/// Bytes that are no event, or one that this version does not know.
pub fn decode_event(bytes: &[u8]) -> Result<Event> {
    let m = EventMessage::decode(bytes)?;
    let what = match m.kind.ok_or(CodecError::Unknown("event"))? {
        Kind::Opened(m) => Happening::Opened {
            session: session(&m.session)?,
            holder: m.holder.unwrap_or_default().try_into()?,
        },
        Kind::Ended(m) => Happening::Ended {
            session: session(&m.session)?,
            holder: m.holder.unwrap_or_default().try_into()?,
            reason: reason(m.reason)?,
            checkouts: m.checkouts,
        },
        Kind::Granted(m) => Happening::Granted {
            session: session(&m.session)?,
            checkout: CheckoutId(m.checkout),
            items: unlist(m.items)?,
        },
        Kind::Moved(m) => Happening::Moved {
            session: session(&m.session)?,
            checkout: CheckoutId(m.checkout),
            items: unlist(m.items)?,
        },
        Kind::Denied(m) => Happening::Denied {
            session: session(&m.session)?,
            items: unlist(m.items)?,
            denial: m.denial.ok_or(CodecError::Unknown("denial"))?.try_into()?,
        },
        Kind::Returned(m) => Happening::Returned {
            session: session(&m.session)?,
            checkout: CheckoutId(m.checkout),
            reason: reason(m.reason)?,
        },
        Kind::Installed(m) => Happening::Installed {
            license: LicenseId::parse(&m.license)?,
            serial: m.serial,
            overage: m.overage,
        },
        Kind::PolicySet(version) => Happening::PolicySet { version },
        Kind::Queued(m) => Happening::Queued {
            session: session(&m.session)?,
            request: RequestId(m.request),
            items: unlist(m.items)?,
            position: m.position,
        },
        Kind::Settled(m) => Happening::Settled {
            session: session(&m.session)?,
            request: RequestId(m.request),
            answer: m.answer.ok_or(CodecError::Unknown("answer"))?.try_into()?,
        },
        Kind::Borrowed(m) => Happening::Borrowed {
            session: session(&m.session)?,
            holder: m.holder.unwrap_or_default().try_into()?,
            checkout: CheckoutId(m.checkout),
            items: unlist(m.items)?,
            until_ms: m.until_ms,
        },
        Kind::Lingering(m) => Happening::Lingering {
            session: session(&m.session)?,
            checkout: CheckoutId(m.checkout),
            items: unlist(m.items)?,
            until_ms: m.until_ms,
        },
        Kind::Revoked(m) => Happening::Revoked {
            session: session(&m.session)?,
            checkout: CheckoutId(m.checkout),
            reason: Label::parse(&m.reason)?,
            block_ms: m.block_ms,
        },
        Kind::EpochBegun(epoch) => Happening::EpochBegun { epoch },
        Kind::Adopted(m) => Happening::Adopted {
            session: session(&m.session)?,
            checkout: CheckoutId(m.checkout),
            items: unlist(m.items)?,
        },
        Kind::MarkedLost(m) => {
            let (session, checkout) = (session(&m.session)?, CheckoutId(m.checkout));
            Happening::MarkedLost { session, checkout }
        }
        Kind::TokenCreated(m) => {
            let ((token, label), role) = (m.read()?, role(m.role)?);
            Happening::TokenCreated { token, role, label, expires_ms: m.expires_ms }
        }
        Kind::TokenRevoked(m) => {
            let (token, label) = m.read()?;
            Happening::TokenRevoked { token, label }
        }
        Kind::TokenUsed(m) => {
            let (token, label) = m.read()?;
            Happening::TokenUsed { token, label }
        }
        Kind::Administered(what) => Happening::Administered { what: Label::parse(&what)? },
    };
    Ok(Event {
        sequence: m.sequence,
        at: m.at.unwrap_or_default().into(),
        by: m.by.map(Actor::try_from).transpose()?,
        holder: m.holder.map(Holder::try_from).transpose()?.map(Arc::new),
        pools: unlist(m.pools)?,
        what,
    })
}
