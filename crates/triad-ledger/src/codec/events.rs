//! Events, as they stand in the usage history and under the chain hash.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use prost::Message;

use super::answers::DenialMessage;
use super::parts::{
    AtMessage, GrantedItemMessage, HolderMessage, ItemMessage, list, reason, reason_code, session,
    unlist,
};
use super::{CodecError, Result};
use crate::events::{Event, Happening};
use crate::names::{CheckoutId, LicenseId};

#[derive(Clone, PartialEq, prost::Message)]
struct EventMessage {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(message, optional, tag = "2")]
    at: Option<AtMessage>,
    #[prost(oneof = "Kind", tags = "3, 4, 5, 6, 7, 8, 9")]
    kind: Option<Kind>,
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
    let kind = match &event.what {
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
    };
    let at = Some(event.at.into());
    EventMessage { sequence: event.sequence, at, kind: Some(kind) }.encode_to_vec()
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
    };
    Ok(Event { sequence: m.sequence, at: m.at.unwrap_or_default().into(), what })
}
