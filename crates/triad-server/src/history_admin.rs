//! The usage history as administrators see it: events in the words of the wire,
//! in order, and their proof.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::BoxStream;
use tokio::sync::watch;
use tonic::Status;
use triad_ledger::names::Label;
use triad_ledger::{Event, Happening, PoolUse, TokenId, decode_event};
use triad_proto::v1;
use triad_proto::v1::{EventKind, Reason, Refusal};
use triad_raft::{History, HistoryBounds};

use crate::admin_service::Admin;
use crate::convert;
use crate::node::Node;
use crate::tokens::role_to_wire;

/// Events that are read from disk in one go.
const PAGE_EVENTS: usize = 1_024;
/// Bytes of one answer, about: well below what a message may have.
const ANSWER_BYTES: usize = 512 << 10;

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal::because(Reason::Internal, format!("the history cannot be read: {error}"))
}

/// Runs what waits for the disk beside everything else, a few at once: whoever
/// waits no more leaves behind what he asked for.
pub(crate) async fn read_beside<T: Send + 'static>(
    node: &Node,
    work: impl FnOnce() -> Result<T, triad_raft::ImageError> + Send + 'static,
) -> Result<T, Refusal> {
    let place = node.reading.clone().acquire_owned().await.map_err(broken)?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    working.await.map_err(broken)?.map_err(broken)
}

impl Admin {
    pub(crate) async fn events(
        &self,
        request: v1::ListEventsRequest,
    ) -> Result<BoxStream<'static, Result<v1::ListEventsResponse, Status>>, Refusal> {
        let history = self.node.consensus.history();
        let HistoryBounds { first, last, .. } = history.bounds();
        let mut after = request.after_sequence.max(first.max(1) - 1);
        if request.since_ms > 0 {
            let (history, since_ms) = (history.clone(), request.since_ms);
            after =
                after.max(read_beside(&self.node, move || history.last_before(since_ms)).await?);
        }
        let reading = Reading {
            node: self.node.clone(),
            newest: history.newest(),
            stopping: self.node.watch_stopping(),
            history,
            request,
            // What happens from now on is another question, unless it is asked.
            through: last,
            after,
            pending: VecDeque::new(),
            head: Some((first, last)),
            is_over: false,
        };
        Ok(Box::pin(futures::stream::unfold(reading, |mut reading| async move {
            let answer = reading.next().await?;
            Some((answer.map_err(Refusal::into_status), reading))
        })))
    }

    pub(crate) async fn history_verified(&self) -> Result<v1::VerifyHistoryResponse, Refusal> {
        let history = self.node.consensus.history();
        let audited = read_beside(&self.node, move || history.audit()).await?;
        let (audit, bounds) = (audited.audit, audited.bounds);
        let mut faults = audit.faults;
        if bounds.missing > 0 {
            faults.insert(
                0,
                format!(
                    "{} events are missing here since this node was sent a snapshot; it asks the \
                     other nodes for them",
                    bounds.missing
                ),
            );
        }
        Ok(v1::VerifyHistoryResponse {
            node_id: self.node.consensus.node_id(),
            first_sequence: bounds.first,
            last_sequence: audit.last,
            first_date_ms: audited.dates_ms.0,
            last_date_ms: audited.dates_ms.1,
            chain: audit.chain.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            faults,
            changes_checked: audit.changes,
            trimmed: bounds.trimmed,
            recounted_from_sequence: if audit.is_whole { 1 } else { 0 },
        })
    }
}

/// A stream of events to one administrator. It reads as fast as he does.
struct Reading {
    node: Arc<Node>,
    history: History,
    newest: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    request: v1::ListEventsRequest,
    after: u64,
    through: u64,
    /// Read and not sent yet.
    pending: VecDeque<v1::HistoryEvent>,
    /// What the first answer says of what is kept.
    head: Option<(u64, u64)>,
    is_over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<v1::ListEventsResponse, Refusal>> {
        if self.is_over {
            return None;
        }
        let mut missing = 0;
        while self.pending.is_empty() {
            if self.after >= self.through {
                let newer = *self.newest.borrow_and_update();
                if self.request.follow && newer > self.through {
                    self.through = newer;
                    continue;
                }
                if self.head.is_some() || !self.request.follow {
                    // An answer even if there is nothing: it says what is kept.
                    self.is_over = !self.request.follow;
                    break;
                }
                let goes_on = tokio::select! {
                    changed = self.newest.changed() => changed.is_ok(),
                    _ = self.stopping.wait_for(|stopping| *stopping) => false,
                };
                if !goes_on {
                    return None;
                }
                continue;
            }
            match self.page().await {
                Ok(lost) => missing += lost,
                Err(refusal) => {
                    self.is_over = true;
                    return Some(Err(refusal));
                }
            }
        }
        let mut bytes = 0;
        let mut events = Vec::new();
        while bytes < ANSWER_BYTES
            && let Some(event) = self.pending.pop_front()
        {
            bytes += prost::Message::encoded_len(&event);
            events.push(event);
        }
        let (first_sequence, last_sequence) = self.head.take().unwrap_or((0, 0));
        Some(Ok(v1::ListEventsResponse { events, first_sequence, last_sequence, missing }))
    }

    /// Reads some more; says how many were missing.
    async fn page(&mut self) -> Result<u64, Refusal> {
        let (history, after) = (self.history.clone(), self.after);
        let page = read_beside(&self.node, move || history.read(after, PAGE_EVENTS)).await?;
        let mut missing = 0;
        let from = self.after;
        for (number, bytes) in page.iter().filter(|(number, _)| *number <= self.through) {
            missing += number - self.after - 1;
            self.after = *number;
            let event = decode_event(bytes).map_err(broken)?;
            if self.request.until_ms > 0 && event.at.date_ms >= self.request.until_ms {
                // Dates never run back: nothing after this is wanted.
                (self.after, self.request.follow) = (self.through, false);
                break;
            }
            let event = event_to_wire(&event);
            if self.is_wanted(&event) {
                self.pending.push_back(event);
            }
        }
        if self.after == from {
            missing += self.through - self.after;
            self.after = self.through;
        }
        Ok(missing)
    }

    fn is_wanted(&self, event: &v1::HistoryEvent) -> bool {
        let request = &self.request;
        let of_kind = request.kinds.is_empty() || request.kinds.contains(&event.kind);
        let feature = request.feature.as_str();
        let about = feature.is_empty()
            || event.granted.iter().any(|item| item.feature == feature)
            || event.wanted.iter().any(|item| item.feature == feature)
            || event.r#use.iter().any(|pool| pool.feature == feature);
        of_kind && about
    }
}

/// An event in the words of the wire.
pub(crate) fn event_to_wire(event: &Event) -> v1::HistoryEvent {
    let mut wire = v1::HistoryEvent {
        sequence: event.sequence,
        position: Some(v1::LogPosition { term: event.at.term, index: event.at.index }),
        date_ms: event.at.date_ms,
        holder: event.whose().map(convert::holder_to_wire),
        r#use: event.pools.iter().map(pool_use).collect(),
        by: event.by.as_ref().map(|actor| token_ref(actor.token, &actor.label)),
        ..v1::HistoryEvent::default()
    };
    let kind = match &event.what {
        Happening::Opened { session, .. } => {
            wire.session_id = session.to_string();
            EventKind::Opened
        }
        Happening::Ended { session, reason, checkouts, .. } => {
            wire.session_id = session.to_string();
            wire.end_reason = convert::end_reason(*reason).into();
            wire.count = *checkouts;
            EventKind::Ended
        }
        Happening::Granted { session, checkout, items } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.granted = items.iter().map(convert::granted_item).collect();
            EventKind::Granted
        }
        Happening::Denied { session, items, denial } => {
            wire.session_id = session.to_string();
            wire.wanted = items.iter().map(convert::item_to_wire).collect();
            wire.denial = Some(convert::denial(denial));
            EventKind::Denied
        }
        Happening::Returned { session, checkout, reason } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.end_reason = convert::end_reason(*reason).into();
            EventKind::Returned
        }
        Happening::Moved { session, checkout, items } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.granted = items.iter().map(convert::granted_item).collect();
            EventKind::Moved
        }
        Happening::Installed { license, serial, overage } => {
            wire.license_id = license.to_string();
            (wire.version, wire.count) = (*serial, *overage);
            EventKind::License
        }
        Happening::PolicySet { version } => {
            wire.version = *version;
            EventKind::Policy
        }
        Happening::Queued { session, request, items, position } => {
            (wire.session_id, wire.request_id) = (session.to_string(), request.0);
            wire.wanted = items.iter().map(convert::item_to_wire).collect();
            wire.place = *position;
            EventKind::Queued
        }
        Happening::Settled { session, request, answer } => {
            (wire.session_id, wire.request_id) = (session.to_string(), request.0);
            wire.denial = answer.as_ref().err().map(convert::denial);
            EventKind::Settled
        }
        Happening::Borrowed { session, checkout, items, until_ms, .. } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.granted = items.iter().map(convert::granted_item).collect();
            wire.until_ms = *until_ms;
            EventKind::Borrowed
        }
        Happening::Lingering { session, checkout, items, .. } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.granted = items.iter().map(convert::granted_item).collect();
            EventKind::Lingering
        }
        Happening::Revoked { session, checkout, reason, .. } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.reason = reason.to_string();
            EventKind::Revoked
        }
        Happening::EpochBegun { epoch } => {
            wire.version = *epoch;
            EventKind::Epoch
        }
        Happening::Adopted { session, checkout, items } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            wire.granted = items.iter().map(convert::granted_item).collect();
            EventKind::Adopted
        }
        Happening::MarkedLost { session, checkout } => {
            (wire.session_id, wire.checkout_id) = (session.to_string(), checkout.0);
            EventKind::MarkedLost
        }
        Happening::TokenCreated { token, role, label, expires_ms } => {
            wire.token = Some(token_ref(*token, label));
            wire.role = role_to_wire(*role).into();
            wire.until_ms = expires_ms.unwrap_or(0);
            EventKind::TokenCreated
        }
        Happening::TokenRevoked { token, label } => {
            wire.token = Some(token_ref(*token, label));
            EventKind::TokenRevoked
        }
        Happening::TokenUsed { token, label } => {
            wire.token = Some(token_ref(*token, label));
            EventKind::TokenUsed
        }
        Happening::Administered { what } => {
            wire.reason = what.to_string();
            EventKind::Administered
        }
    };
    wire.kind = kind.into();
    wire.text = in_words(&wire);
    if let Some(by) = &wire.by {
        wire.text += &format!(", by {} (token {})", by.label, by.token_id);
    }
    wire
}

fn token_ref(token: TokenId, label: &Label) -> v1::TokenRef {
    v1::TokenRef { token_id: token.to_string(), label: label.to_string() }
}

fn pool_use(pool: &PoolUse) -> v1::PoolUse {
    v1::PoolUse {
        pool_id: pool.pool.0,
        feature: pool.feature.to_string(),
        seats_in_use: pool.held,
        seats_licensed: pool.licensed,
        seats_total: pool.total,
        uncounted: pool.uncounted,
    }
}

/// The event on one line.
fn in_words(event: &v1::HistoryEvent) -> String {
    let whose = event.holder.as_ref().map_or("somebody".to_owned(), |holder| {
        let (user, host) = (&holder.user, &holder.host);
        if host.is_empty() { user.clone() } else { format!("{user}@{host}") }
    });
    let granted = || {
        let item = |item: &v1::GrantedItem| format!("{} of {}", item.seats, item.feature);
        event.granted.iter().map(item).collect::<Vec<_>>().join(", ")
    };
    let wanted = || {
        let item = |item: &v1::Item| format!("{} of {}", item.seats, item.feature);
        event.wanted.iter().map(item).collect::<Vec<_>>().join(", ")
    };
    let why = || {
        let reason = event.end_reason();
        reason.as_str_name().trim_start_matches("END_REASON_").to_lowercase().replace('_', " ")
    };
    let token = || {
        let token = event.token.clone().unwrap_or_default();
        (token.token_id, token.label)
    };
    let id = event.checkout_id;
    match event.kind() {
        EventKind::Opened => format!("{whose} connected"),
        EventKind::Ended => format!("{whose} is gone: {}", why()),
        EventKind::Granted => format!("{whose} got {} (checkout {id})", granted()),
        EventKind::Denied => {
            let why = event.denial.as_ref().map_or("", |denial| &denial.message);
            format!("{whose} was denied {}: {why}", wanted())
        }
        EventKind::Returned => format!("{whose} returned checkout {id}: {}", why()),
        EventKind::Moved => format!("{whose}, checkout {id} goes on as {}", granted()),
        EventKind::License => {
            format!("license {} serial {} in force", event.license_id, event.version)
        }
        EventKind::Policy => format!("policy version {} in force", event.version),
        EventKind::Queued => format!("{whose} waits for {} at place {}", wanted(), event.place),
        EventKind::Settled => match event.denial {
            None => format!("{whose} waits no longer: granted"),
            Some(_) => format!("{whose} waits no longer: denied"),
        },
        EventKind::Borrowed => format!("{whose} borrowed {} (checkout {id})", granted()),
        EventKind::Lingering => format!("{whose} returned checkout {id}, which lingers"),
        EventKind::Revoked => {
            format!("checkout {id} was taken from {whose}: {}", event.reason)
        }
        EventKind::Epoch => {
            format!(
                "epoch {} begins: a back-up serves, the main is back, or a snapshot was restored",
                event.version
            )
        }
        EventKind::Adopted => format!("checkout {id} of {whose}, granted by the back-up, goes on"),
        EventKind::MarkedLost => format!("checkout {id}, borrowed by {whose}, is lost"),
        EventKind::TokenCreated => {
            let role = event.role().as_str_name().trim_start_matches("TOKEN_ROLE_").to_lowercase();
            format!("token {} was made for {}, role {role}", token().0, token().1)
        }
        EventKind::TokenRevoked => format!("token {} of {} was revoked", token().0, token().1),
        EventKind::TokenUsed => format!("token {} of {} is in use", token().0, token().1),
        EventKind::Administered => event.reason.clone(),
        EventKind::Unspecified => String::new(),
    }
}
