//! Answers, as sessions remember them and events report them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::parts::{GrantedItemMessage, list, seats, session, unlist, version};
use super::tokens::{role, role_code, token_id};
use super::{CodecError, Result};
use crate::command::{Answer, Grant, Outcome};
use crate::denial::{Bound, Denial, FreeSeats};
use crate::names::{CheckoutId, FeatureName, Label, LicenseId, RequestId};
use crate::policy::RuleId;

/// The answers that are remembered: those to checkouts and checkins.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnswerMessage {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(clippy::large_enum_variant, reason = "it lives for one encoding")]
enum Kind {
    #[prost(message, tag = "1")]
    Granted(GrantMessage),
    #[prost(message, tag = "2")]
    Denied(DenialMessage),
    #[prost(bool, tag = "3")]
    Returned(bool),
    #[prost(uint64, tag = "4")]
    Queued(u64),
    #[prost(message, tag = "5")]
    Borrowed(BorrowedMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct BorrowedMessage {
    #[prost(message, optional, tag = "1")]
    grant: Option<GrantMessage>,
    #[prost(uint64, tag = "2")]
    until_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GrantMessage {
    #[prost(uint64, tag = "1")]
    checkout: u64,
    #[prost(message, repeated, tag = "2")]
    items: Vec<GrantedItemMessage>,
}

impl From<&Grant> for GrantMessage {
    fn from(grant: &Grant) -> Self {
        GrantMessage { checkout: grant.checkout.0, items: list(&grant.items) }
    }
}

impl TryFrom<GrantMessage> for Grant {
    type Error = CodecError;

    fn try_from(m: GrantMessage) -> Result<Self> {
        Ok(Grant { checkout: CheckoutId(m.checkout), items: unlist(m.items)? })
    }
}

impl From<&Answer> for AnswerMessage {
    fn from(answer: &Answer) -> Self {
        let kind = match answer {
            Ok(Outcome::Granted(grant)) => Kind::Granted(grant.into()),
            Ok(Outcome::Queued { position }) => Kind::Queued(*position),
            Ok(Outcome::Borrowed { grant, until_ms }) => {
                let (grant, until_ms) = (Some(grant.into()), *until_ms);
                Kind::Borrowed(BorrowedMessage { grant, until_ms })
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
            Kind::Granted(m) => Ok(Outcome::Granted(m.try_into()?)),
            Kind::Queued(position) => Ok(Outcome::Queued { position }),
            Kind::Borrowed(m) => {
                let grant = m.grant.ok_or(CodecError::Unknown("grant"))?.try_into()?;
                Ok(Outcome::Borrowed { grant, until_ms: m.until_ms })
            }
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
    #[prost(uint32, tag = "19")]
    rule: u32,
    #[prost(uint32, tag = "20")]
    rule_line: u32,
    #[prost(uint64, tag = "21")]
    reserved: u64,
    /// A time to wait or to borrow, ms.
    #[prost(uint64, tag = "22")]
    duration_ms: u64,
    #[prost(uint64, tag = "23")]
    checkout: u64,
    #[prost(bytes = "vec", tag = "24")]
    token: Vec<u8>,
    #[prost(uint32, tag = "25")]
    role_needed: u32,
    #[prost(uint32, tag = "26")]
    role_shown: u32,
}

impl From<&Denial> for DenialMessage {
    fn from(denial: &Denial) -> Self {
        let mut m = DenialMessage::default();
        let of = |m: &mut DenialMessage, kind, feature: &FeatureName| {
            m.kind = kind;
            m.feature = feature.to_string();
        };
        let by = |m: &mut DenialMessage, rule: RuleId| {
            (m.rule, m.rule_line) = (rule.number, rule.line);
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
            Denial::PolicySuperseded { in_force, offered } => {
                m.kind = 12;
                m.total = *in_force;
                m.wanted = *offered;
            }
            Denial::HostNotLicensed { feature } => of(&mut m, 13, feature),
            Denial::Excluded { feature, rule } => {
                of(&mut m, 14, feature);
                by(&mut m, *rule);
            }
            Denial::NotIncluded { feature, rule } => {
                of(&mut m, 15, feature);
                by(&mut m, *rule);
            }
            Denial::NoNamedUsers { feature } => of(&mut m, 16, feature),
            Denial::NotNamed { feature } => of(&mut m, 17, feature),
            Denial::PolicyMax { feature, wanted, in_use, max, rule } => {
                of(&mut m, 18, feature);
                by(&mut m, *rule);
                m.wanted = wanted.get().into();
                m.in_use = *in_use;
                m.total = *max;
            }
            Denial::AllReserved { feature, wanted, in_use, total, reserved, rule } => {
                of(&mut m, 19, feature);
                by(&mut m, *rule);
                m.wanted = wanted.get().into();
                m.in_use = *in_use;
                m.total = *total;
                m.reserved = *reserved;
            }
            Denial::QueueNonempty { feature, waiting } => {
                of(&mut m, 20, feature);
                m.total = *waiting;
            }
            Denial::QueueTimedOut { feature, waited_ms } => {
                of(&mut m, 21, feature);
                m.duration_ms = *waited_ms;
            }
            Denial::Cancelled { feature } => of(&mut m, 22, feature),
            Denial::Blocked { feature, remaining_ms } => {
                of(&mut m, 23, feature);
                m.duration_ms = *remaining_ms;
            }
            Denial::BorrowOff { feature } => of(&mut m, 24, feature),
            Denial::BorrowNotAllowed { feature, rule } => {
                of(&mut m, 25, feature);
                by(&mut m, *rule);
            }
            Denial::BorrowTooLong { feature, max_ms } => {
                of(&mut m, 26, feature);
                m.duration_ms = *max_ms;
            }
            Denial::BorrowLowwater { feature, borrowed, kept, rule } => {
                of(&mut m, 27, feature);
                by(&mut m, *rule);
                m.in_use = *borrowed;
                m.reserved = *kept;
            }
            Denial::CheckoutUnknown { checkout } => {
                (m.kind, m.checkout) = (28, checkout.0);
            }
            Denial::BorrowedAway { checkout } => {
                (m.kind, m.checkout) = (29, checkout.0);
            }
            Denial::NotBorrowed { checkout } => {
                (m.kind, m.checkout) = (30, checkout.0);
            }
            Denial::TokenUnknown { token } => (m.kind, m.token) = (31, token.0.to_vec()),
            Denial::TokenExpired { token } => (m.kind, m.token) = (32, token.0.to_vec()),
            Denial::RoleNeeded { token, needed, shown } => {
                (m.kind, m.token) = (33, token.0.to_vec());
                (m.role_needed, m.role_shown) = (role_code(*needed), role_code(*shown));
            }
            Denial::TokenTaken { token } => (m.kind, m.token) = (34, token.0.to_vec()),
            Denial::LastAdmin { token } => (m.kind, m.token) = (35, token.0.to_vec()),
        }
        m
    }
}

impl TryFrom<DenialMessage> for Denial {
    type Error = CodecError;

    fn try_from(m: DenialMessage) -> Result<Self> {
        let feature = || FeatureName::parse(&m.feature);
        let rule = RuleId { number: m.rule, line: m.rule_line };
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
            12 => Denial::PolicySuperseded { in_force: m.total, offered: m.wanted },
            13 => Denial::HostNotLicensed { feature: feature()? },
            14 => Denial::Excluded { feature: feature()?, rule },
            15 => Denial::NotIncluded { feature: feature()?, rule },
            16 => Denial::NoNamedUsers { feature: feature()? },
            17 => Denial::NotNamed { feature: feature()? },
            18 => Denial::PolicyMax {
                feature: feature()?,
                wanted: wanted()?,
                in_use: m.in_use,
                max: m.total,
                rule,
            },
            19 => Denial::AllReserved {
                feature: feature()?,
                wanted: wanted()?,
                in_use: m.in_use,
                total: m.total,
                reserved: m.reserved,
                rule,
            },
            20 => Denial::QueueNonempty { feature: feature()?, waiting: m.total },
            21 => Denial::QueueTimedOut { feature: feature()?, waited_ms: m.duration_ms },
            22 => Denial::Cancelled { feature: feature()? },
            23 => Denial::Blocked { feature: feature()?, remaining_ms: m.duration_ms },
            24 => Denial::BorrowOff { feature: feature()? },
            25 => Denial::BorrowNotAllowed { feature: feature()?, rule },
            26 => Denial::BorrowTooLong { feature: feature()?, max_ms: m.duration_ms },
            27 => Denial::BorrowLowwater {
                feature: feature()?,
                borrowed: m.in_use,
                kept: m.reserved,
                rule,
            },
            28 => Denial::CheckoutUnknown { checkout: CheckoutId(m.checkout) },
            29 => Denial::BorrowedAway { checkout: CheckoutId(m.checkout) },
            30 => Denial::NotBorrowed { checkout: CheckoutId(m.checkout) },
            31 => Denial::TokenUnknown { token: token_id(&m.token)? },
            32 => Denial::TokenExpired { token: token_id(&m.token)? },
            33 => Denial::RoleNeeded {
                token: token_id(&m.token)?,
                needed: role(m.role_needed)?,
                shown: role(m.role_shown)?,
            },
            34 => Denial::TokenTaken { token: token_id(&m.token)? },
            35 => Denial::LastAdmin { token: token_id(&m.token)? },
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
        Bound::Queue => 6,
        Bound::Blocks => 7,
        Bound::Tokens => 8,
    }
}

fn bound(code: u32) -> Result<Bound> {
    Ok(match code {
        1 => Bound::Sessions,
        2 => Bound::Checkouts,
        3 => Bound::CheckoutsPerSession,
        4 => Bound::Unacknowledged,
        5 => Bound::Licenses,
        6 => Bound::Queue,
        7 => Bound::Blocks,
        8 => Bound::Tokens,
        _ => return Err(CodecError::Unknown("bound")),
    })
}
