//! The history as a stream that outlives nodes: when one dies the next is asked
//! for what comes after the last event that was seen.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Status, Streaming};
use triad_proto::v1::{
    HistoryEvent, ListEventsRequest, ListEventsResponse, Reason, Refusal, StatusRequest,
};

use crate::cluster::{Admin, Cluster, Target, stale_warning};
use crate::failure::Failure;

/// Whoever does not follow gives up when so many streams broke without bringing
/// anything.
const FRUITLESS_MAX: usize = 5;

/// Between two attempts to reach a node, after the first.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A stream that is silent for so long may be one to a node that is cut off from
/// the others; then it is asked.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// The events that a request names, from whichever node can tell.
pub struct History {
    cluster: Cluster,
    request: ListEventsRequest,
    open: Option<Open>,
    /// Streams that broke since the last event.
    fruitless: usize,
    /// The numbers of the first and the last event that the first node keeps.
    kept: Option<(u64, u64)>,
    /// The cluster's date when the first node was asked, milliseconds since 1970
    /// UTC.
    date_ms: u64,
    /// The warning that belongs to what the last node tells, if it may be out of
    /// date.
    stale: Option<String>,
}

struct Open {
    admin: Admin,
    address: String,
    stream: Streaming<ListEventsResponse>,
}

/// The next piece of the history.
#[derive(Debug, Default)]
pub struct Piece {
    /// In order; none was told before.
    pub events: Vec<HistoryEvent>,
    /// Events that were looked for and are not kept on the node.
    pub missing: u64,
    /// What happened to the connection, for whoever watches.
    pub notice: Option<String>,
}

impl History {
    /// Asks for events. The request is made once the cluster's date is known.
    pub async fn open(
        cluster: Cluster,
        request: impl FnOnce(u64) -> Result<ListEventsRequest, Failure>,
    ) -> Result<Self, Failure> {
        let target = cluster.reader().await?;
        let date_ms = target.status.date_ms;
        let request = request(date_ms)?;
        let mut history = History {
            cluster,
            request,
            open: None,
            fruitless: 0,
            kept: None,
            date_ms,
            stale: None,
        };
        history.connect(target).await?;
        Ok(history)
    }

    /// The cluster's date when it was asked, milliseconds since 1970 UTC.
    pub fn date_ms(&self) -> u64 {
        self.date_ms
    }

    /// The warning that belongs to what is told, if no quorum confirms it.
    pub fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// The numbers of the first and the last event that the first node keeps, as
    /// far as it said.
    pub fn kept(&self) -> (u64, u64) {
        self.kept.unwrap_or_default()
    }

    /// The next events; `None` after the last, which never comes to those who
    /// follow. Not cancel safe.
    pub async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        loop {
            if self.open.is_none() {
                match self.reconnect().await? {
                    None => continue,
                    Some(notice) => {
                        return Ok(Some(Piece { notice: Some(notice), ..Piece::default() }));
                    }
                }
            }
            let Some(open) = &mut self.open else { continue };
            let heard = match self.request.follow {
                true => heard_or_cut_off(open).await,
                false => {
                    self.cluster.begin_anew();
                    match timeout_at(self.cluster.deadline(), open.stream.message()).await {
                        Err(_) => return Err(self.cluster.timed_out(open.address.clone())),
                        Ok(heard) => heard.map_err(Broken::Refused),
                    }
                }
            };
            let why = match heard {
                Ok(Some(answer)) => return Ok(Some(self.piece(answer))),
                Ok(None) if !self.request.follow => return Ok(None),
                // A node that stops ends its streams.
                Ok(None) => "ended the stream".to_owned(),
                Err(Broken::Silent(why)) => why.to_owned(),
                Err(Broken::Refused(status)) => {
                    let refusal = Refusal::from_status(&status);
                    let may_pass = self.request.follow || self.fruitless + 1 < FRUITLESS_MAX;
                    if !is_passing(&refusal) || !may_pass {
                        return Err(Failure::refused(refusal));
                    }
                    match Refusal::typed(&status) {
                        Some(refusal) => refusal.message,
                        None => "the connection broke".to_owned(),
                    }
                }
            };
            return Ok(Some(self.lost(&why)));
        }
    }

    /// What is new in an answer.
    fn piece(&mut self, answer: ListEventsResponse) -> Piece {
        let ListEventsResponse { mut events, first_sequence, last_sequence, missing } = answer;
        self.kept.get_or_insert((first_sequence, last_sequence));
        // A node that was asked for what comes after may not say it again.
        events.retain(|event| event.sequence > self.request.after_sequence);
        if let Some(last) = events.last() {
            self.request.after_sequence = last.sequence;
            self.fruitless = 0;
        }
        Piece { events, missing, notice: None }
    }

    fn lost(&mut self, why: &str) -> Piece {
        self.fruitless += 1;
        let address = self.open.take().map(|open| open.address).unwrap_or_default();
        let after = match self.request.after_sequence {
            0 => String::new(),
            sequence => format!(" after event {sequence}"),
        };
        let notice = format!("{address}: {why}; going on{after} with another node");
        Piece { notice: Some(notice), ..Piece::default() }
    }

    /// One attempt. Says so when it succeeded.
    async fn reconnect(&mut self) -> Result<Option<String>, Failure> {
        if self.fruitless > 1 {
            sleep(RETRY_PAUSE).await;
        }
        self.cluster.begin_anew();
        let connected = match self.cluster.reader().await {
            Ok(target) => self.connect(target).await,
            Err(failure) => Err(failure),
        };
        match connected {
            Ok(()) => {
                let address = self.open.as_ref().map_or("", |open| open.address.as_str());
                Ok(Some(match &self.stale {
                    Some(stale) => format!("{address} goes on; {stale}"),
                    None => format!("{address} goes on"),
                }))
            }
            Err(failure) => {
                self.fruitless += 1;
                let gives_up = !self.request.follow && self.fruitless >= FRUITLESS_MAX;
                if gives_up || !passes(&failure) {
                    return Err(failure);
                }
                Ok(None)
            }
        }
    }

    async fn connect(&mut self, target: Target) -> Result<(), Failure> {
        let Target { mut admin, address, status } = target;
        self.stale = stale_warning(status.freshness.as_ref(), &address);
        let asking = admin.list_events(self.request.clone());
        let stream = match timeout_at(self.cluster.deadline(), asking).await {
            Err(_) => return Err(self.cluster.timed_out(address)),
            Ok(Err(status)) => return Err(Failure::refused(Refusal::from_status(&status))),
            Ok(Ok(response)) => response.into_inner(),
        };
        self.open = Some(Open { admin, address, stream });
        Ok(())
    }
}

/// The next message of a stream without an end. A node that is cut off from the
/// others would be silent for ever, so after a while it is asked.
async fn heard_or_cut_off(open: &mut Open) -> Result<Option<ListEventsResponse>, Broken> {
    loop {
        let silence = Instant::now() + SILENCE_MAX;
        if let Ok(heard) = timeout_at(silence, open.stream.message()).await {
            return heard.map_err(Broken::Refused);
        }
        let patience = Instant::now() + SILENCE_MAX;
        let status = timeout_at(patience, open.admin.status(StatusRequest {})).await;
        let status = status.map_err(|_| Broken::Silent("does not answer any more"))?;
        if !status.map_err(Broken::Refused)?.get_ref().has_quorum {
            return Err(Broken::Silent("is cut off from the other nodes"));
        }
    }
}

/// Why a stream is of no use any more.
enum Broken {
    /// The node or the network said so.
    Refused(Status),
    /// It is of none although nobody said so.
    Silent(&'static str),
}

/// Whether another node, or a later attempt, may do better.
fn is_passing(refusal: &Refusal) -> bool {
    refusal.retryable
        || matches!(
            refusal.reason(),
            Reason::NotLeader
                | Reason::NoQuorum
                | Reason::NotReady
                | Reason::NodeUnreachable
                | Reason::Deadline
                | Reason::Overloaded
        )
}

fn passes(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(refusal) => is_passing(refusal),
        Failure::Unreachable(_) | Failure::NoLeader { .. } | Failure::TimedOut { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
