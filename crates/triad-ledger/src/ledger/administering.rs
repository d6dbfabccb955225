//! Who administers, and what they do: tokens, and the name under each change.

use super::*;
use crate::names::Label;
use crate::tokens::{Actor, Role, TOKENS_MAX, Token, TokenHash, TokenId};

impl Ledger {
    /// The token, if it is known.
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(id)
    }

    /// All tokens, by id. None until the first is noted.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenId, &Token)> {
        self.tokens.iter()
    }

    /// The token with which the cluster was founded, unless any is known: it was
    /// there before the history began.
    pub(super) fn found_token(&mut self, hash: TokenHash) -> Outcome {
        if self.tokens.len() > 0 {
            return Outcome::Void;
        }
        let label = Label::parse("founding").expect("a good label");
        self.keep_token(Token {
            hash,
            role: Role::Admin,
            label,
            created_ms: self.meta.at.date_ms,
            expires_ms: None,
            used_ms: None,
        });
        Outcome::Noted
    }

    pub(super) fn create_token(
        &mut self,
        hash: TokenHash,
        role: Role,
        label: &Label,
        expires_ms: Option<u64>,
    ) -> Answer {
        let id = TokenId::of(&hash);
        if let Some(token) = self.tokens.get(id) {
            // Whoever asks again has drawn it himself.
            let same = token.hash == hash
                && token.role == role
                && token.label == *label
                && token.expires_ms == expires_ms;
            return if same { Ok(Outcome::Void) } else { Err(Denial::TokenTaken { token: id }) };
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Denial::LimitReached { what: Bound::Tokens, max: TOKENS_MAX as u64 });
        }
        let created_ms = self.meta.at.date_ms;
        let label = label.clone();
        self.keep_token(Token {
            hash,
            role,
            label: label.clone(),
            created_ms,
            expires_ms,
            used_ms: None,
        });
        self.happened(Happening::TokenCreated { token: id, role, label, expires_ms });
        Ok(Outcome::Noted)
    }

    pub(super) fn revoke_token(&mut self, id: TokenId) -> Answer {
        if self.tokens.is_last(id) {
            return Err(Denial::LastAdmin { token: id });
        }
        let Some(token) = self.tokens.remove(id) else {
            return Err(Denial::TokenUnknown { token: id });
        };
        self.records.touch(RecordKey::Token(id));
        self.happened(Happening::TokenRevoked { token: id, label: token.label });
        Ok(Outcome::Noted)
    }

    /// Notes that a token is in use: an event once a day.
    pub(super) fn note_use(&mut self, id: TokenId) -> Answer {
        let label = self.valid_token(id)?.label.clone();
        if self.mark_used(id) {
            self.happened(Happening::TokenUsed { token: id, label });
        }
        Ok(Outcome::Noted)
    }

    /// Does what somebody with a token asks for. What comes of it bears his name.
    pub(super) fn obey_for(&mut self, id: TokenId, command: &Command) -> Answer {
        let token = self.valid_token(id)?;
        let (needed, shown) = (Role::for_command(command, self.meta.rules), token.role);
        if shown < needed {
            return Err(Denial::RoleNeeded { token: id, needed, shown });
        }
        let label = token.label.clone();
        let last_event = self.meta.last_event;
        self.acting = Some(Actor { token: id, label: label.clone() });
        let answer = self.obey(command);
        self.acting = None;
        // A change tells of the use by itself; one that was denied does not.
        if self.tokens.get(id).is_some() && self.mark_used(id) && self.meta.last_event == last_event
        {
            self.happened(Happening::TokenUsed { token: id, label });
        }
        answer
    }

    /// Whether its use was not noted for a day.
    fn mark_used(&mut self, id: TokenId) -> bool {
        let date_ms = self.meta.at.date_ms;
        let unnoted = self.tokens.get_mut(id).filter(|token| token.is_use_news(date_ms));
        let Some(token) = unnoted else { return false };
        token.used_ms = Some(date_ms);
        self.records.touch(RecordKey::Token(id));
        true
    }

    fn valid_token(&self, id: TokenId) -> Result<&Token, Denial> {
        let token = self.tokens.get(id).ok_or(Denial::TokenUnknown { token: id })?;
        if !token.is_valid_at(self.meta.at.date_ms) {
            return Err(Denial::TokenExpired { token: id });
        }
        Ok(token)
    }

    fn keep_token(&mut self, token: Token) {
        self.records.touch(RecordKey::Token(TokenId::of(&token.hash)));
        self.tokens.insert(token);
    }
}
