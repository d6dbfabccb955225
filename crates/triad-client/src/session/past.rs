//! Sessions that were given up without a word of the leader. After an outage it may keep them for
//! a whole lease more, and what they hold would be missing to their own application.

use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use triad_proto::v1;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;

use super::Session;

/// So many are remembered; earlier ones end by themselves.
const PAST_MAX: usize = 4;
/// How long their end is waited for. If it is not heard of by then, they end as they did before.
const PATIENCE: Duration = Duration::from_secs(1);

/// While this runs nothing is asked for: it may be what those sessions hold.
pub(super) type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Session {
    /// By our clock the lease has ended.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.past.push(self.id);
        if self.past.len() > PAST_MAX {
            self.past.remove(0);
        }
        self.lose("no heartbeat was acknowledged for a whole lease", now);
    }

    /// Somebody leads again: the sessions before this one are over. The application was told so
    /// when they were given up, so that nobody uses what they hold.
    pub(super) fn end_past(&mut self, channel: &Channel) {
        if self.past.is_empty() {
            return;
        }
        let close = |session_id: [u8; 16]| {
            let mut leader = LicensingServiceClient::new(channel.clone());
            let request = v1::CloseSessionRequest { session_id: session_id.to_vec() };
            async move { leader.close_session(request).await }
        };
        let all = join_all(self.past.drain(..).map(close));
        self.ending = Some(Box::pin(async move { drop(timeout(PATIENCE, all).await) }));
    }
}
