//! A writer for what is written at each grant. It writes what the messages of this
//! codec would, without making them first: most of their cost is copies of names. The
//! messages remain what is read, and tests hold each of these against its message.

use alloc::vec::Vec;
use core::net::IpAddr;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::answers::AnswerMessage;
use crate::command::{Answer, At, GrantedItem, GrantedTokens, Holder, Outcome};
use crate::events::PoolUse;
use crate::names::{CheckoutId, SessionId};
use crate::sessions::Receipt;

/// Fields of one message, in the order of their tags.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        Writer(Vec::with_capacity(capacity))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// For fields that are written by their messages.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(super) fn number(&mut self, tag: u32, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.some_number(tag, Some(value));
        }
    }

    pub(super) fn some_number(&mut self, tag: u32, value: Option<u64>) {
        if let Some(value) = value {
            encode_key(tag, WireType::Varint, &mut self.0);
            encode_varint(value, &mut self.0);
        }
    }

    pub(super) fn text(&mut self, tag: u32, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    pub(super) fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            encode_key(tag, WireType::LengthDelimited, &mut self.0);
            encode_varint(bytes.len() as u64, &mut self.0);
            self.0.extend_from_slice(bytes);
        }
    }

    /// A message, also one without fields.
    pub(super) fn message(&mut self, tag: u32, fields: impl FnOnce(&mut Self)) {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        let start = self.0.len();
        // Most are shorter than 128 bytes; others are moved on.
        self.0.push(0);
        fields(self);
        let length = self.0.len() - start - 1;
        let more = encoded_len_varint(length as u64) - 1;
        if more > 0 {
            self.0.resize(self.0.len() + more, 0);
            self.0.copy_within(start + 1..start + 1 + length, start + 1 + more);
        }
        encode_varint(length as u64, &mut &mut self.0[start..=start + more]);
    }

    pub(super) fn session(&mut self, tag: u32, session: SessionId) {
        self.bytes(tag, &session.0);
    }

    pub(super) fn at(&mut self, at: At) {
        let At { index, term, cluster_ms, date_ms } = at;
        for (tag, value) in (1..).zip([index, term, cluster_ms, date_ms]) {
            self.number(tag, value);
        }
    }

    pub(super) fn holder(&mut self, holder: &Holder) {
        let Holder { user, host, display, project, application, .. } = holder;
        for (tag, name) in (1..).zip([user, host, display, project, application]) {
            self.text(tag, name.as_str());
        }
        self.number(6, holder.pid);
        match holder.address {
            None => {}
            Some(IpAddr::V4(address)) => self.bytes(7, &address.octets()),
            Some(IpAddr::V6(address)) => self.bytes(7, &address.octets()),
        }
        self.text(8, holder.vendor_data.as_str());
        for id in &holder.hostids {
            // One of many is written even if it is empty.
            self.message(9, |w| w.0.extend_from_slice(id.as_str().as_bytes()));
        }
    }

    pub(super) fn pool_use(&mut self, pool: &PoolUse) {
        self.number(1, pool.pool.0);
        self.text(2, pool.feature.as_str());
        for (tag, value) in (3..).zip([pool.held, pool.licensed, pool.total]) {
            self.number(tag, value);
        }
        self.number(6, pool.uncounted);
        self.number(7, pool.share.bits());
    }

    /// Repeated items of a grant.
    pub(super) fn granted_items(&mut self, tag: u32, items: &[GrantedItem]) {
        for item in items {
            self.message(tag, |w| {
                w.number(1, item.pool.0);
                w.text(2, item.feature.as_str());
                w.number(3, item.seats.get());
                w.number(4, item.version.millionths());
                w.some_number(5, item.expires_ms);
                w.text(6, item.vendor_string.as_str());
                if let Some(GrantedTokens { pool, feature, seats }) = &item.tokens {
                    w.message(7, |w| {
                        w.number(1, pool.0);
                        w.number(2, seats.get());
                        w.text(3, feature.as_str());
                    });
                }
            });
        }
    }

    /// What was granted to whom, as events tell it.
    pub(super) fn granted(
        &mut self,
        session: SessionId,
        checkout: CheckoutId,
        items: &[GrantedItem],
    ) {
        self.session(1, session);
        self.number(2, checkout.0);
        self.granted_items(3, items);
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        match answer {
            Ok(Outcome::Granted(grant)) => self.grant(grant.checkout, &grant.items),
            Ok(Outcome::Returned { was_held }) => self.some_number(3, Some((*was_held).into())),
            other => AnswerMessage::from(other).encode_raw(&mut self.0),
        }
    }

    /// The same of an answer that is kept.
    pub(super) fn receipt(&mut self, receipt: &Receipt) {
        match receipt {
            Receipt::Granted { checkout, items } => self.grant(*checkout, items),
            Receipt::Returned { was_held } => self.some_number(3, Some((*was_held).into())),
            Receipt::Other(answer) => self.answer(answer),
        }
    }

    fn grant(&mut self, checkout: CheckoutId, items: &[GrantedItem]) {
        self.message(1, |w| {
            w.number(1, checkout.0);
            w.granted_items(2, items);
        });
    }
}
