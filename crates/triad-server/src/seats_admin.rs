//! Who waits, and what an administrator may do to a checkout.

use std::collections::BTreeMap;

use triad_ledger::names::CheckoutId;
use triad_ledger::{Command, Ledger, Outcome, Waiting};
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};

use crate::admin_service::{Admin, bad_token, page_rows};
use crate::convert;
use crate::node::Now;
use crate::session_stream::position;
use crate::tokens::Principal;

impl Admin {
    pub(crate) async fn queue(
        &self,
        request: v1::ListQueueRequest,
    ) -> Result<v1::ListQueueResponse, Refusal> {
        let after: u64 = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| bad_token())?,
        };
        let rows = page_rows(request.page_size);
        let wanted = request.feature;
        let now = self.node.now();
        let (freshness, (waiting, next)) = self
            .read(|ledger| {
                let positions = ledger.queue_positions();
                let mut last = String::new();
                let mut page = Vec::new();
                for (ticket, waiting) in ledger.waiting().filter(|(ticket, _)| *ticket > after) {
                    let about = |item: &triad_ledger::Item| item.feature.as_str() == wanted;
                    if !wanted.is_empty() && !waiting.items.iter().any(about) {
                        continue;
                    }
                    let entry = entry(ledger, &positions, ticket, waiting, now);
                    page.push((waiting.clone(), entry));
                    if page.len() == rows {
                        last = ticket.to_string();
                        break;
                    }
                }
                (page, last)
            })
            .await;
        let desk = &self.node.desk;
        let entries = waiting.into_iter().map(|(waiting, entry)| v1::QueueEntry {
            estimate_ms: desk.estimate_ms(&waiting.items, entry.place),
            ..entry
        });
        Ok(v1::ListQueueResponse {
            freshness: Some(freshness),
            entries: entries.collect(),
            next_page_token: next,
        })
    }

    pub(crate) async fn revoked(
        &self,
        by: &Principal,
        request: v1::RevokeCheckoutRequest,
    ) -> Result<v1::RevokeCheckoutResponse, Refusal> {
        let command = Command::Revoke {
            checkout: CheckoutId(request.checkout_id),
            reason: convert::reason(&request.reason)?,
            block_ms: request.block_ms,
        };
        let position = self.done(by, command).await?;
        Ok(v1::RevokeCheckoutResponse { position: Some(position) })
    }

    pub(crate) async fn marked_lost(
        &self,
        by: &Principal,
        request: v1::MarkLostRequest,
    ) -> Result<v1::MarkLostResponse, Refusal> {
        let command = Command::MarkLost { checkout: CheckoutId(request.checkout_id) };
        let position = self.done(by, command).await?;
        Ok(v1::MarkLostResponse { position: Some(position) })
    }

    /// Proposes a command that is done or denied.
    pub(crate) async fn done(
        &self,
        by: &Principal,
        command: Command,
    ) -> Result<v1::LogPosition, Refusal> {
        let committed = self.node.propose_by(by, command).await?;
        let position = position(&committed);
        let answer = committed.answers.into_iter().next();
        let answer = answer.ok_or_else(|| Refusal::because(Reason::Internal, "no answer"))?;
        match answer.map_err(|denial| convert::denial(&denial))? {
            Outcome::Returned { .. } | Outcome::Noted => Ok(position),
            other => unreachable!("an administrator is not answered {other:?}"),
        }
    }
}

fn entry(
    ledger: &Ledger,
    positions: &BTreeMap<u64, u64>,
    ticket: u64,
    waiting: &Waiting,
    now: Now,
) -> v1::QueueEntry {
    let now_ms = now.of(ledger).cluster_ms;
    let session = ledger.session(waiting.session);
    v1::QueueEntry {
        session_id: waiting.session.to_string(),
        request_id: waiting.request.0,
        holder: session.map(|session| convert::holder_to_wire(&session.holder)),
        items: waiting.items.iter().map(convert::item_to_wire).collect(),
        priority: waiting.priority,
        place: positions.get(&ticket).copied().unwrap_or(0),
        waited_ms: now_ms.saturating_sub(waiting.since_ms),
        // 0 would say that there is no end.
        remaining_ms: waiting.until_ms.map_or(0, |until| until.saturating_sub(now_ms).max(1)),
        estimate_ms: 0,
        held_back: waiting.held_back,
    }
}
