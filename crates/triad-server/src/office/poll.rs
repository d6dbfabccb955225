//! When the office is called, and what is done with its answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use triad_license::{
    Keyring, LicenseError, Operation, ResponseStatus, SignedRequest, SignedResponse,
};
use triad_raft::WallClock;

use super::call::CallError;
use super::request::told_of;
use super::{OfficeError, Prepared};
use crate::licenses;
use crate::node::Node;

/// A back-up that waits for its main asks again after this long at the latest.
const PENDING_RETRY: Duration = Duration::from_secs(60);

/// Why a round brought nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Ask(#[from] OfficeError),
    #[error("the office's answer is not accepted: {0}")]
    Answer(String),
    #[error("the license cannot be put in force: {0}")]
    Apply(String),
}

/// When to call next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// At once: a new license is in force, and the office is to know.
    Now,
    /// Soon: something is awaited.
    Soon,
    /// With the next poll.
    Poll,
}

/// Calls the office until the node stops.
pub(crate) async fn run(node: Arc<Node>, prepared: Prepared, wall: Arc<dyn WallClock>) {
    let Prepared { caller, asker, config } = prepared;
    let mut leadership = node.consensus.watch_leadership();
    let mut calls = Calls { node: node.clone(), caller, asker, wall, unanswered: None };
    let mut failures = 0_u32;
    loop {
        let leads = leadership.borrow_and_update().serving;
        let operation = if leads { Operation::Request } else { Operation::Report };
        let next = match calls.round(operation).await {
            Ok(next) => {
                failures = 0;
                next
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(%error, failures, "the back office");
                let doubled =
                    config.retry_min.saturating_mul(1 << failures.min(16).saturating_sub(1));
                let pause = jittered(doubled.min(config.retry_max));
                wait(&mut leadership, leads, Instant::now() + pause).await;
                continue;
            }
        };
        let pause = match next {
            Next::Now => Duration::ZERO,
            Next::Soon => jittered(PENDING_RETRY.min(config.poll_interval)),
            Next::Poll => jittered(config.poll_interval),
        };
        wait(&mut leadership, leads, Instant::now() + pause).await;
    }
}

/// Until then, or until this node begins to lead: the cluster asks at once under
/// a new leader.
async fn wait(
    leadership: &mut tokio::sync::watch::Receiver<triad_raft::Leadership>,
    led: bool,
    until: Instant,
) {
    let leads_now = async {
        if led || leadership.wait_for(|now| now.serving).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = sleep_until(until) => {}
        () = leads_now => {}
    }
}

/// Give or take a tenth, so that sites which started together do not call
/// together for ever.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness there is no jitter, which hurts nobody.
    let _ = getrandom::fill(&mut random);
    let share = u32::from(u16::from_le_bytes(random)) % 2_001;
    pause * (9_000 + share) / 10_000
}

/// The answer, if a trusted publisher signed it and it answers this very request.
fn accepted(asked: &str, answer: &str, publishers: &Keyring) -> Result<SignedResponse, RoundError> {
    let refused = |error: LicenseError| RoundError::Answer(error.to_string());
    let asked = SignedRequest::open(asked).map_err(refused)?;
    let read = SignedResponse::open(answer, publishers).map_err(refused)?;
    let response = &read.response;
    if response.request != asked.digest || response.correlation != asked.request.correlation {
        let what = "it answers another request; somebody may be replaying old answers";
        return Err(RoundError::Answer(what.into()));
    }
    Ok(read)
}

struct Calls {
    node: Arc<Node>,
    caller: super::call::Caller,
    asker: super::request::Asker,
    wall: Arc<dyn WallClock>,
    /// A request whose answer did not come; it is sent again as it is, so that
    /// the office answers it once.
    unanswered: Option<(Operation, String)>,
}

impl Calls {
    async fn round(&mut self, operation: Operation) -> Result<Next, RoundError> {
        let text = match self.unanswered.take().filter(|(before, _)| *before == operation) {
            Some((_, text)) => text,
            None => self.ask(operation)?,
        };
        let answer = match self.caller.call(&text).await {
            Ok(answer) => answer,
            Err(CallError::Unreachable { address, what }) => {
                self.unanswered = Some((operation, text));
                return Err(CallError::Unreachable { address, what }.into());
            }
            Err(CallError::Refused { last_sequence: Some(last), .. }) => {
                // The clock went back, or another run of this node was ahead.
                self.asker.is_behind(last);
                let again = self.ask(operation)?;
                let answer = self.caller.call(&again).await?;
                return self.take(&again, &answer).await;
            }
            Err(error) => return Err(error.into()),
        };
        self.take(&text, &answer).await
    }

    fn ask(&mut self, operation: Operation) -> Result<String, OfficeError> {
        let told = self.node.consensus.read(|ledger| told_of(ledger, &self.node.config));
        self.asker.ask(operation, told, self.wall.wall_ms())
    }

    async fn take(&self, asked: &str, answer: &str) -> Result<Next, RoundError> {
        let read = accepted(asked, answer, &self.node.in_force().publishers)?;
        let response = &read.response;
        for refused in &response.refused {
            tracing::warn!(rights = refused.id, reason = refused.reason, "{}", refused.message);
        }
        let hostid = self.asker.hostid();
        match (response.status, &read.license) {
            (ResponseStatus::PendingMain, _) => {
                tracing::warn!(%hostid, "registered as a back-up whose main server has not called yet");
                Ok(Next::Soon)
            }
            (ResponseStatus::Licensed, Some(_)) => {
                let applied = licenses::apply(&self.node, answer, None).await;
                let applied = applied.map_err(|refusal| RoundError::Apply(refusal.to_string()))?;
                let (license, serial) = (&applied.license_id, applied.serial);
                tracing::info!(
                    license,
                    serial,
                    group = response.group,
                    "rights from the back office"
                );
                // Without a change the office would send the same for ever.
                Ok(if applied.changed { Next::Now } else { Next::Poll })
            }
            (status, _) => {
                tracing::info!(%hostid, status = status.as_str(), group = response.group, "the back office");
                Ok(Next::Poll)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use triad_license::{
        CapabilityRequest, CapabilityResponse, DeclaredRole, HostId, PublisherKey, ServerKey,
    };

    use super::*;

    fn request(correlation: &str) -> String {
        let request = CapabilityRequest {
            operation: Operation::Report,
            correlation: correlation.into(),
            sequence: 1,
            issued_ms: 1,
            cluster: "tc".into(),
            hostid: HostId::parse("STRING:a").unwrap(),
            role: DeclaredRole::Single,
            partners: Vec::new(),
            name: "a".into(),
            version: "1".into(),
            incremental: false,
            rights: Vec::new(),
            license: None,
            usage: Vec::new(),
        };
        request.seal(&ServerKey::generate([1; 32])).unwrap()
    }

    fn answer_to(asked: &str, key: &PublisherKey) -> String {
        let asked = SignedRequest::open(asked).unwrap();
        let response = CapabilityResponse {
            status: ResponseStatus::Registered,
            correlation: asked.request.correlation,
            request: asked.digest,
            cluster: asked.request.cluster,
            group: "1".into(),
            issued_ms: 1,
            expires_ms: 2,
            license: None,
            member: Vec::new(),
            refused: Vec::new(),
        };
        response.seal(None, &[key]).unwrap()
    }

    #[test]
    fn only_the_publishers_answer_to_this_very_request_is_taken() {
        let (acme, other) = (PublisherKey::generate([2; 32]), PublisherKey::generate([3; 32]));
        let mut trusted = Keyring::new();
        trusted.trust(acme.public()).unwrap();
        let (first, second) = (request("one"), request("two"));
        accepted(&first, &answer_to(&first, &acme), &trusted).unwrap();
        let refused = |answer: String, told: &str| {
            let error = accepted(&second, &answer, &trusted).err().unwrap().to_string();
            assert!(error.contains(told), "{error}");
        };
        refused(answer_to(&first, &acme), "replaying old answers");
        refused(answer_to(&second, &other), "none of the 1 trusted publisher keys");
        refused(answer_to(&second, &acme).replace("REGISTERED", "UNCHANGED"), "altered after");
    }

    #[test]
    fn polls_are_spread_by_a_tenth_and_no_more() {
        let pause = Duration::from_secs(100);
        let drawn: Vec<Duration> = (0..200).map(|_| jittered(pause)).collect();
        assert!(drawn.iter().all(|d| (90..=110).contains(&d.as_secs())), "{drawn:?}");
        assert!(drawn.iter().any(|d| *d != drawn[0]));
    }
}
