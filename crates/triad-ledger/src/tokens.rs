//! Administrators' tokens: who may ask for what. The ledger knows the SHA-256 of
//! each and never the token itself.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::command::Command;
use crate::names::Label;
use crate::rules::DEEDS_JUDGED;

/// The most tokens at once. Each is for a person or a program that administers,
/// and every request of theirs looks here.
pub const TOKENS_MAX: usize = 256;
/// After so long the use of a token is worth another event.
pub(crate) const USE_NOTED_MS: u64 = 24 * 60 * 60 * 1_000;
const ID_BYTES: usize = 6;

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// The public name of a token: the first bytes of its hash. Whoever has the token
/// knows it, and nobody who reads it comes nearer to the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub [u8; ID_BYTES]);

impl TokenId {
    /// The id of the token with this hash.
    pub fn of(hash: &TokenHash) -> Self {
        let (id, _) = hash.0.split_first_chunk().expect("a hash is longer than an id");
        TokenId(*id)
    }

    /// Reads 12 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; ID_BYTES];
        if text.len() != 2 * ID_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(TokenId(id))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a token is good for. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Takes seats back, moves leadership, drains nodes.
    Operator,
    /// Changes licenses, policy, tokens, nodes.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// What a command takes when somebody asks for it. No deed that is noted takes
    /// less than an operator; whether it took more is judged where it is done, and by
    /// older rules all of it was.
    pub(crate) fn for_command(command: &Command, rules: u32) -> Role {
        match command {
            Command::NoteDeed { .. } if rules < DEEDS_JUDGED => Role::Viewer,
            Command::NoteDeed { .. } | Command::Revoke { .. } | Command::MarkLost { .. } => {
                Role::Operator
            }
            _ => Role::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token, as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its hash.
    pub hash: TokenHash,
    /// What it is good for.
    pub role: Role,
    /// Whose it is, in the words of whoever made it.
    pub label: Label,
    /// Since when, ms since 1970 UTC.
    pub created_ms: u64,
    /// The first instant at which it is good for nothing more, ms since 1970 UTC.
    pub expires_ms: Option<u64>,
    /// When its use was last noted, ms since 1970 UTC.
    pub used_ms: Option<u64>,
}

impl Token {
    /// Whether its time is not over.
    pub fn is_valid_at(&self, date_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| date_ms < expires_ms)
    }

    /// Whether its use was not noted for a day.
    pub fn is_use_news(&self, date_ms: u64) -> bool {
        self.used_ms.is_none_or(|used_ms| date_ms >= used_ms.saturating_add(USE_NOTED_MS))
    }

    /// Whether somebody can administer with it for as long as the cluster lives.
    fn is_for_good(&self) -> bool {
        self.role == Role::Admin && self.expires_ms.is_none()
    }
}

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token that was shown.
    pub token: TokenId,
    /// Its label.
    pub label: Label,
}

/// All tokens. Empty until the first is noted; from then on never again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(BTreeMap<TokenId, Token>);

impl Tokens {
    pub(crate) fn get(&self, id: TokenId) -> Option<&Token> {
        self.0.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TokenId) -> Option<&mut Token> {
        self.0.get_mut(&id)
    }

    pub(crate) fn insert(&mut self, token: Token) {
        self.0.insert(TokenId::of(&token.hash), token);
    }

    pub(crate) fn remove(&mut self, id: TokenId) -> Option<Token> {
        self.0.remove(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TokenId, &Token)> {
        self.0.iter().map(|(id, token)| (*id, token))
    }

    /// Whether nobody could administer for good without this one.
    pub(crate) fn is_last(&self, id: TokenId) -> bool {
        let mut others = self.0.iter().filter(|(other, _)| **other != id);
        self.0.get(&id).is_some_and(Token::is_for_good)
            && !others.any(|(_, token)| token.is_for_good())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn an_id_is_the_beginning_of_the_hash_and_reads_back() {
        let mut hash = [0xFF; 32];
        hash[..6].copy_from_slice(&[0x0a, 1, 2, 3, 0xfe, 9]);
        let id = TokenId::of(&TokenHash(hash));
        assert_eq!(id.to_string(), "0a010203fe09");
        assert_eq!(TokenId::parse("0A010203fe09"), Some(id));
        for bad in ["", "0a010203fe0", "0a010203fe091", "0a010203fe0g", "+a010203fe09", "äöüäöü"]
        {
            assert_eq!(TokenId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::ALL.is_sorted() && Role::Viewer < Role::Admin);
    }
}
