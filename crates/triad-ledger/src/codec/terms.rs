//! The terms of a license line, and what is said about it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::parts::{seats, version};
use super::{CodecError, Result};
use crate::names::{FeatureName, Label, Seats};
use crate::rights::{About, Share, Terms, TokenCost};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TermsMessage {
    #[prost(bool, tag = "1")]
    uncounted: bool,
    #[prost(uint32, tag = "2")]
    share: u32,
    #[prost(string, repeated, tag = "3")]
    hostids: Vec<String>,
    #[prost(uint64, optional, tag = "4")]
    borrow_max_ms: Option<u64>,
    #[prost(uint64, tag = "5")]
    linger_ms: u64,
    #[prost(message, optional, tag = "6")]
    consumes: Option<TokenCostMessage>,
    #[prost(uint32, optional, tag = "7")]
    users_max: Option<u32>,
    #[prost(uint32, optional, tag = "8")]
    hosts_max: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TokenCostMessage {
    #[prost(string, tag = "1")]
    feature: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(uint32, tag = "3")]
    tokens: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AboutMessage {
    #[prost(string, tag = "1")]
    notice: String,
    #[prost(string, tag = "2")]
    serial_number: String,
    #[prost(uint64, optional, tag = "3")]
    issued_ms: Option<u64>,
    #[prost(string, repeated, tag = "4")]
    supersedes: Vec<String>,
}

/// Nothing for the terms of an ordinary line: its bytes are those that it had
/// before there were terms.
pub(super) fn terms_message(terms: &Terms) -> Option<TermsMessage> {
    (*terms != Terms::default()).then(|| TermsMessage {
        uncounted: terms.uncounted,
        share: terms.share.bits().into(),
        hostids: terms.hostids.iter().map(ToString::to_string).collect(),
        borrow_max_ms: terms.borrow_max_ms,
        linger_ms: terms.linger_ms,
        consumes: terms.consumes.as_ref().map(|cost| TokenCostMessage {
            feature: cost.feature.to_string(),
            version: cost.version.millionths(),
            tokens: cost.tokens.get(),
        }),
        users_max: terms.users_max.map(Seats::get),
        hosts_max: terms.hosts_max.map(Seats::get),
    })
}

impl TryFrom<TermsMessage> for Terms {
    type Error = CodecError;

    fn try_from(m: TermsMessage) -> Result<Self> {
        let share = u8::try_from(m.share).ok().and_then(Share::from_bits);
        let consumes = m.consumes.map(|cost| {
            Ok::<_, CodecError>(TokenCost {
                feature: FeatureName::parse(&cost.feature)?,
                version: version(cost.version)?,
                tokens: seats(cost.tokens)?,
            })
        });
        let hostids = m.hostids.iter().map(|text| Label::parse(text));
        Ok(Terms {
            uncounted: m.uncounted,
            share: share.ok_or(CodecError::Unknown("duplicate group"))?,
            hostids: hostids.collect::<core::result::Result<_, _>>()?,
            borrow_max_ms: m.borrow_max_ms,
            linger_ms: m.linger_ms,
            consumes: consumes.transpose()?,
            users_max: m.users_max.map(seats).transpose()?,
            hosts_max: m.hosts_max.map(seats).transpose()?,
        })
    }
}

pub(super) fn about_message(about: &About) -> Option<AboutMessage> {
    (*about != About::default()).then(|| AboutMessage {
        notice: about.notice.to_string(),
        serial_number: about.serial_number.to_string(),
        issued_ms: about.issued_ms,
        supersedes: about.supersedes.iter().map(ToString::to_string).collect(),
    })
}

impl TryFrom<AboutMessage> for About {
    type Error = CodecError;

    fn try_from(m: AboutMessage) -> Result<Self> {
        let supersedes = m.supersedes.iter().map(|text| FeatureName::parse(text));
        Ok(About {
            notice: Label::parse(&m.notice)?,
            serial_number: Label::parse(&m.serial_number)?,
            issued_ms: m.issued_ms,
            supersedes: supersedes.collect::<core::result::Result<_, _>>()?,
        })
    }
}
