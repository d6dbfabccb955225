//! Writes down what clients ask and are told, as it goes over the wire.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use triad_client::Witness;
use triad_ledger::QueueWait;
use triad_ledger::names::SessionId;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;

use super::reply::Reply;
use super::{Answered, Asked, Operation, Place};

/// A record of all clients that it is given to, with the times of one clock.
pub struct Recorder {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    operations: Mutex<BTreeMap<(SessionId, u64), Operation>>,
}

impl Recorder {
    /// Begins an empty record. The clock is the same for all clients, and never
    /// runs backwards.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Recorder { clock: Box::new(clock), operations: Mutex::default() })
    }

    /// Everything so far, by session and request.
    pub fn operations(&self) -> Vec<Operation> {
        self.record().values().cloned().collect()
    }

    fn record(&self) -> MutexGuard<'_, BTreeMap<(SessionId, u64), Operation>> {
        self.operations.lock().expect("no panic while held")
    }
}

impl Witness for Recorder {
    fn said(&self, session_id: &[u8; 16], call: &Call) {
        let (request, asked) = match call {
            Call::Take(take) => {
                let items = super::items_of_wire(&take.items);
                let wait = take.wait.map(|wait| QueueWait {
                    priority: wait.priority,
                    // On the wire 0 is for ever.
                    timeout_ms: Some(wait.timeout_ms).filter(|ms| *ms > 0),
                });
                (take.request_id, Asked::Seats { items, wait })
            }
            Call::Borrow(borrow) => {
                let items = super::items_of_wire(&borrow.items);
                (borrow.request_id, Asked::Loan { items })
            }
            Call::GiveBack(back) => (back.request_id, Asked::Return { checkout: back.checkout_id }),
            _ => return,
        };
        let (session, invoked) = (SessionId(*session_id), (self.clock)());
        let new = Operation { session, request, asked, invoked, answers: Vec::new() };
        self.record().entry((session, request)).or_insert(new);
    }

    fn heard(&self, session_id: &[u8; 16], event: &Event) {
        let Some((request, position, reply)) = Reply::of_event(event) else { return };
        let place = position.map(|position| Place { term: position.term, index: position.index });
        let answered = Answered { returned: (self.clock)(), place, reply };
        let key = (SessionId(*session_id), request);
        if let Some(operation) = self.record().get_mut(&key) {
            operation.answers.push(answered);
        }
    }
}
