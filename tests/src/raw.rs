//! A session stream without the client library: every message is the test's own.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use triad_proto::v1;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const CALLS_WAITING_MAX: usize = 64;

/// A stream on which a session is open.
pub struct RawSession {
    calls: mpsc::Sender<v1::SessionRequest>,
    events: Streaming<v1::SessionResponse>,
    waiting: VecDeque<Event>,
    /// What the opening was answered.
    pub opened: v1::Opened,
}

/// A session that a test opens and resumes.
pub fn open(session_id: [u8; 16], resume: bool) -> v1::Open {
    let holder = v1::Holder { user: "raw".into(), host: "test".into(), ..v1::Holder::default() };
    v1::Open {
        session_id: session_id.to_vec(),
        holder: Some(holder),
        protocol_version: 1,
        resume,
        beat: 1,
        ..v1::Open::default()
    }
}

/// One seat of a feature.
pub fn take(request_id: u64, feature: &str, seats: u32) -> Call {
    let item = v1::Item { feature: feature.into(), version: String::new(), seats };
    Call::Take(v1::Take {
        request_id,
        answered_through: request_id - 1,
        items: vec![item],
        wait: None,
    })
}

impl RawSession {
    /// Opens a session on this node.
    ///
    /// # Errors
    ///
    /// What the node says instead.
    pub async fn open(channel: Channel, open: v1::Open) -> Result<Self, Status> {
        let (calls, to_send) = mpsc::channel(CALLS_WAITING_MAX);
        let first = v1::SessionRequest { calls: vec![call(Call::Open(open))] };
        calls.try_send(first).expect("a new queue has room");
        let mut client = LicensingServiceClient::new(channel);
        let events = client.session(ReceiverStream::new(to_send)).await?.into_inner();
        let opened = v1::Opened::default();
        let mut session = RawSession { calls, events, waiting: VecDeque::new(), opened };
        loop {
            // What comes instead of `opened` is followed by the status that says why.
            if let Event::Opened(opened) = session.next().await? {
                session.opened = opened;
                return Ok(session);
            }
        }
    }

    /// Says something. Of a stream that has ended [`RawSession::next`] says why.
    ///
    /// # Panics
    ///
    /// If the queue is full: nothing is read on the other side.
    pub fn say(&self, said: Call) {
        let message = v1::SessionRequest { calls: vec![call(said)] };
        let queued = self.calls.try_send(message);
        assert!(!matches!(queued, Err(TrySendError::Full(_))), "the queue has room");
    }

    /// Ends this side of the stream, in good order.
    pub fn say_no_more(&mut self) {
        self.calls = mpsc::channel(1).0;
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// The status that ends the stream.
    ///
    /// # Panics
    ///
    /// If nothing comes.
    pub async fn next(&mut self) -> Result<Event, Status> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let message = timeout(ANSWER_LIMIT, self.events.message()).await;
            let message = message.unwrap_or_else(|_| panic!("no answer within {ANSWER_LIMIT:?}"));
            let ended = || Status::cancelled("the stream ended without a status");
            let message = message?.ok_or_else(ended)?;
            self.waiting.extend(message.events.into_iter().filter_map(|event| event.event));
        }
    }

    /// Asks for seats and waits for the answer.
    ///
    /// # Errors
    ///
    /// The status that ends the stream.
    pub async fn take(&mut self, request_id: u64, feature: &str) -> Result<v1::Taken, Status> {
        self.say(take(request_id, feature, 1));
        loop {
            match self.next().await? {
                Event::Taken(taken) if taken.request_id == request_id => return Ok(taken),
                _ => {}
            }
        }
    }
}

fn call(call: Call) -> v1::SessionCall {
    v1::SessionCall { call: Some(call) }
}

/// The grant in an answer.
///
/// # Panics
///
/// If it is a denial.
pub fn granted(taken: v1::Taken) -> v1::Grant {
    match taken.outcome {
        Some(v1::taken::Outcome::Grant(grant)) => grant,
        other => panic!("not granted: {other:?}"),
    }
}
