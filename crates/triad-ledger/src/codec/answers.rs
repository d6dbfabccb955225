//! Answers, as sessions remember them and events report them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::parts::{GrantedItemMessage, list, seats, session, unlist, version};
use super::{CodecError, Result};
use crate::command::{Answer, Grant, Outcome};
use crate::denial::{Bound, Denial, FreeSeats};
use crate::names::{CheckoutId, FeatureName, Label, LicenseId, RequestId};

/// The answers that are remembered: those to checkouts and checkins.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnswerMessage {
    #[prost(oneof = "Kind", tags = "1, 2, 3")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Granted(GrantMessage),
    #[prost(message, tag = "2")]
    Denied(DenialMessage),
    #[prost(bool, tag = "3")]
    Returned(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
struct GrantMessage {
    #[prost(uint64, tag = "1")]
    checkout: u64,
    #[prost(message, repeated, tag = "2")]
    items: Vec<GrantedItemMessage>,
}

impl From<&Answer> for AnswerMessage {
    fn from(answer: &Answer) -> Self {
        let kind = match answer {
            Ok(Outcome::Granted(grant)) => {
                let items = list(&grant.items);
                Kind::Granted(GrantMessage { checkout: grant.checkout.0, items })
            }
            Ok(Outcome::Returned { was_held }) => Kind::Returned(*was_held),
            Ok(other) => unreachable!("no request of a session is answered {other:?}"),
            Err(denial) => Kind::Denied(denial.into()),
        };
        AnswerMessage { kind: Some(kind) }
    }
}

impl TryFrom<AnswerMessage> for Answer {
    type Error = CodecError;

    fn try_from(m: AnswerMessage) -> Result<Self> {
        Ok(match m.kind.ok_or(CodecError::Unknown("answer"))? {
            Kind::Granted(m) => Ok(Outcome::Granted(Grant {
                checkout: CheckoutId(m.checkout),
                items: unlist(m.items)?,
            })),
            Kind::Returned(was_held) => Ok(Outcome::Returned { was_held }),
            Kind::Denied(m) => Err(m.try_into()?),
        })
    }
}

/// All denials in one message; `kind` says which fields count.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DenialMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    feature: String,
    #[prost(uint64, tag = "3")]
    wanted: u64,
    #[prost(uint64, tag = "4")]
    total: u64,
    #[prost(uint64, tag = "5")]
    in_use: u64,
    #[prost(uint64, tag = "6")]
    version_wanted: u64,
    #[prost(uint64, tag = "7")]
    version_licensed: u64,
    #[prost(uint64, tag = "8")]
    at_ms: u64,
    #[prost(bytes = "vec", tag = "9")]
    session: Vec<u8>,
    #[prost(string, tag = "10")]
    user: String,
    #[prost(string, tag = "11")]
    host: String,
    #[prost(string, tag = "12")]
    license: String,
    #[prost(uint64, tag = "13")]
    request: u64,
    #[prost(uint64, tag = "14")]
    answered_through: u64,
    #[prost(uint32, tag = "15")]
    bound: u32,
    #[prost(uint32, tag = "16")]
    free_pools: u32,
    #[prost(uint64, tag = "17")]
    free_sum: u64,
    #[prost(uint64, tag = "18")]
    free_largest: u64,
}

impl From<&Denial> for DenialMessage {
    fn from(denial: &Denial) -> Self {
        let mut m = DenialMessage::default();
        let of = |m: &mut DenialMessage, kind, feature: &FeatureName| {
            m.kind = kind;
            m.feature = feature.to_string();
        };
        match denial {
            Denial::SessionUnknown { session } => {
                m.kind = 1;
                m.session = session.0.to_vec();
            }
            Denial::SessionTaken { session, holder_user, holder_host } => {
                m.kind = 2;
                m.session = session.0.to_vec();
                m.user = holder_user.to_string();
                m.host = holder_host.to_string();
            }
            Denial::LimitReached { what, max } => {
                m.kind = 3;
                m.bound = bound_code(*what);
                m.total = *max;
            }
            Denial::RequestForgotten { request, answered_through } => {
                m.kind = 4;
                m.request = request.0;
                m.answered_through = answered_through.0;
            }
            Denial::FeatureUnknown { feature } => of(&mut m, 5, feature),
            Denial::VersionNotLicensed { feature, wanted, licensed } => {
                of(&mut m, 6, feature);
                m.version_wanted = wanted.millionths();
                m.version_licensed = licensed.millionths();
            }
            Denial::Expired { feature, at_ms } => {
                of(&mut m, 7, feature);
                m.at_ms = *at_ms;
            }
            Denial::NotYetValid { feature, at_ms } => {
                of(&mut m, 8, feature);
                m.at_ms = *at_ms;
            }
            Denial::MoreThanExist { feature, wanted, total } => {
                of(&mut m, 9, feature);
                m.wanted = wanted.get().into();
                m.total = *total;
            }
            Denial::NoSeat { feature, wanted, in_use, total, free } => {
                of(&mut m, 10, feature);
                m.wanted = wanted.get().into();
                m.in_use = *in_use;
                m.total = *total;
                m.free_pools = free.pools;
                m.free_sum = free.sum;
                m.free_largest = free.largest;
            }
            Denial::LicenseSuperseded { license, in_force, offered } => {
                m.kind = 11;
                m.license = license.to_string();
                m.total = *in_force;
                m.wanted = *offered;
            }
        }
        m
    }
}

impl TryFrom<DenialMessage> for Denial {
    type Error = CodecError;

    fn try_from(m: DenialMessage) -> Result<Self> {
        let feature = || FeatureName::parse(&m.feature);
        let wanted = || {
            let narrow = u32::try_from(m.wanted).map_err(|_| CodecError::Unknown("seats"));
            narrow.and_then(seats)
        };
        Ok(match m.kind {
            1 => Denial::SessionUnknown { session: session(&m.session)? },
            2 => Denial::SessionTaken {
                session: session(&m.session)?,
                holder_user: Label::parse(&m.user)?,
                holder_host: Label::parse(&m.host)?,
            },
            3 => Denial::LimitReached { what: bound(m.bound)?, max: m.total },
            4 => Denial::RequestForgotten {
                request: RequestId(m.request),
                answered_through: RequestId(m.answered_through),
            },
            5 => Denial::FeatureUnknown { feature: feature()? },
            6 => Denial::VersionNotLicensed {
                feature: feature()?,
                wanted: version(m.version_wanted)?,
                licensed: version(m.version_licensed)?,
            },
            7 => Denial::Expired { feature: feature()?, at_ms: m.at_ms },
            8 => Denial::NotYetValid { feature: feature()?, at_ms: m.at_ms },
            9 => Denial::MoreThanExist { feature: feature()?, wanted: wanted()?, total: m.total },
            10 => Denial::NoSeat {
                feature: feature()?,
                wanted: wanted()?,
                in_use: m.in_use,
                total: m.total,
                free: FreeSeats { pools: m.free_pools, sum: m.free_sum, largest: m.free_largest },
            },
            11 => Denial::LicenseSuperseded {
                license: LicenseId::parse(&m.license)?,
                in_force: m.total,
                offered: m.wanted,
            },
            _ => return Err(CodecError::Unknown("denial")),
        })
    }
}

fn bound_code(bound: Bound) -> u32 {
    match bound {
        Bound::Sessions => 1,
        Bound::Checkouts => 2,
        Bound::CheckoutsPerSession => 3,
        Bound::Unacknowledged => 4,
        Bound::Licenses => 5,
    }
}

fn bound(code: u32) -> Result<Bound> {
    Ok(match code {
        1 => Bound::Sessions,
        2 => Bound::Checkouts,
        3 => Bound::CheckoutsPerSession,
        4 => Bound::Unacknowledged,
        5 => Bound::Licenses,
        _ => return Err(CodecError::Unknown("bound")),
    })
}
