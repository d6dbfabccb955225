//! Tokens, as they stand in commands, records and events.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use prost::Message;

use super::{CodecError, Result};
use crate::names::Label;
use crate::tokens::{Actor, Role, Token, TokenHash, TokenId};

#[derive(Clone, PartialEq, prost::Message)]
struct TokenRecord {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(uint32, tag = "2")]
    role: u32,
    #[prost(string, tag = "3")]
    label: String,
    #[prost(uint64, tag = "4")]
    created_ms: u64,
    #[prost(uint64, optional, tag = "5")]
    expires_ms: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    used_ms: Option<u64>,
}

pub(crate) fn encode_token(token: &Token) -> Vec<u8> {
    let m = TokenRecord {
        hash: token.hash.0.to_vec(),
        role: role_code(token.role),
        label: token.label.to_string(),
        created_ms: token.created_ms,
        expires_ms: token.expires_ms,
        used_ms: token.used_ms,
    };
    m.encode_to_vec()
}

pub(crate) fn decode_token(bytes: &[u8]) -> Result<Token> {
    let m = TokenRecord::decode(bytes)?;
    Ok(Token {
        hash: token_hash(&m.hash)?,
        role: role(m.role)?,
        label: Label::parse(&m.label)?,
        created_ms: m.created_ms,
        expires_ms: m.expires_ms,
        used_ms: m.used_ms,
    })
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ActorMessage {
    #[prost(bytes = "vec", tag = "1")]
    token: Vec<u8>,
    #[prost(string, tag = "2")]
    label: String,
}

impl From<&Actor> for ActorMessage {
    fn from(actor: &Actor) -> Self {
        ActorMessage { token: actor.token.0.to_vec(), label: actor.label.to_string() }
    }
}

impl TryFrom<ActorMessage> for Actor {
    type Error = CodecError;

    fn try_from(m: ActorMessage) -> Result<Self> {
        Ok(Actor { token: token_id(&m.token)?, label: Label::parse(&m.label)? })
    }
}

pub(super) fn token_id(bytes: &[u8]) -> Result<TokenId> {
    bytes.try_into().map(TokenId).map_err(|_| CodecError::Unknown("token id"))
}

pub(super) fn token_hash(bytes: &[u8]) -> Result<TokenHash> {
    bytes.try_into().map(TokenHash).map_err(|_| CodecError::Unknown("token hash"))
}

pub(super) fn role(code: u32) -> Result<Role> {
    let role = Role::ALL.into_iter().find(|role| role_code(*role) == code);
    role.ok_or(CodecError::Unknown("role"))
}

pub(super) fn role_code(role: Role) -> u32 {
    match role {
        Role::Viewer => 1,
        Role::Operator => 2,
        Role::Admin => 3,
    }
}
