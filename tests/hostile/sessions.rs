//! Sessions without end, and streams that never open one.

use std::time::Duration;

use tokio_stream::StreamExt;
use triad_client::Reason;
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_tests::wait;

use crate::arena::Arena;
use crate::connections::again_and_again;

/// How long a stream may stay without an `open`, and some time for the machine.
const UNOPENED_LIMIT: Duration = Duration::from_secs(30);

/// A checkout that nobody grants, in a session of its own with a short lease.
fn ask(session: [u8; 16]) -> v1::CheckoutRequest {
    let item = v1::Item { feature: "nosuch".into(), seats: 1, ..v1::Item::default() };
    let holder = v1::Holder { user: "greedy".into(), ..v1::Holder::default() };
    v1::CheckoutRequest {
        session_id: session.to_vec(),
        request_id: 1,
        items: vec![item],
        holder: Some(holder),
        lease_ms: 500,
        ..v1::CheckoutRequest::default()
    }
}

/// P15: a client opens sessions without end; those of others go on.
#[tokio::test]
async fn sessions_without_end() {
    let mut arena = Arena::open().await;
    let target = arena.leaders_port().await;
    let host = arena.attacker.clone();
    let attack = again_and_again(16, move |_| {
        let (host, target) = (host.clone(), target.clone());
        async move {
            let mut licensing = LicensingServiceClient::new(host.channel(&target));
            loop {
                let mut session = [0; 16];
                getrandom::fill(&mut session).unwrap();
                let status = licensing.checkout(ask(session)).await.unwrap_err();
                let reason = Refusal::from_status(&status).reason();
                let told = [Reason::FeatureUnknown, Reason::Overloaded, Reason::LimitReached];
                assert!(told.contains(&reason), "{status:?}");
                host.strikes();
            }
        }
    });
    arena.withstand("sessions without end", 2_000, attack).await;
}

/// A stream that says nothing is ended by the node, and one that says something
/// else first too.
#[tokio::test]
async fn streams_that_open_nothing() {
    let arena = Arena::open().await;
    let target = arena.leaders_port().await;
    let channel = arena.attacker.channel(&target);
    let mut streams = Vec::new();
    for _ in 0..60 {
        let silent = futures::stream::pending::<v1::SessionRequest>();
        let mut licensing = LicensingServiceClient::new(channel.clone());
        streams.push(licensing.session(silent).await.unwrap().into_inner());
    }
    for mut stream in streams {
        let ended = tokio::time::timeout(UNOPENED_LIMIT, stream.next()).await;
        let ended = ended.expect("a stream without a session is ended");
        let refusal = Refusal::from_status(&ended.unwrap().unwrap_err());
        assert_eq!(refusal.reason(), Reason::InvalidRequest, "{refusal:?}");
    }
    arena.honest.are_answered(1).await;
    println!("{}", arena.honest.times());
    let look = async || {
        let sightings = arena.cluster.sightings().await;
        let count = sightings.answering().map(|(_, status)| status.sessions).max();
        (count == Some(arena.honest.sessions())).then_some(()).ok_or_else(|| sightings.to_string())
    };
    wait::until("nothing was opened", UNOPENED_LIMIT, look).await;
}
