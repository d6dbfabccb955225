//! Who watches what a client says and hears, for audits and tests.

use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;

/// Watches one client: every call that it puts on the wire and every event that
/// it is told, with the session that they belong to. A request that is sent
/// again on another stream is seen again, under its number.
///
/// Called by the task that keeps the session: it must be quick, and must not
/// ask the client anything.
pub trait Witness: Send + Sync {
    /// A call goes on the wire.
    fn said(&self, session_id: &[u8; 16], call: &Call);
    /// An event came from the leader.
    fn heard(&self, session_id: &[u8; 16], event: &Event);
}
