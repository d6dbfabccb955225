//! A crowd: everybody comes at once, and everybody speaks without a pause.

use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use tokio::time::Instant;
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_tests::node::raise_file_limit;
use triad_tests::{Cluster, Options, RawSession, raw};

const CROWD: u32 = 2_000;
/// Handshakes at a time: a node refuses more than 512 of one address.
const AT_THE_DOOR: usize = 400;
/// How long they go on when all have come.
const SPEAKING: Duration = Duration::from_secs(3);

/// Heartbeats without a pause; says how many were answered.
async fn speak(mut session: RawSession, until: Instant) -> u64 {
    let mut beats = 0;
    while Instant::now() < until {
        session.say(Call::Beat(v1::Beat { beat: beats }));
        let answer = session.next().await.unwrap_or_else(|status| panic!("sent away: {status}"));
        assert!(matches!(answer, Event::Beat(_)), "{answer:?}");
        beats += 1;
    }
    beats
}

/// P12: who leads goes on leading, and nobody is sent away. An election would bring the same
/// crowd to the next leader, and so on.
#[tokio::test]
async fn a_crowd_deposes_nobody() {
    raise_file_limit();
    let cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    let term = cluster.look(leader).await.expect("it answers").term;
    let came = Instant::now();
    let come = |n: u32| {
        let channel = cluster.channel_to(&cluster.nodes[leader].address);
        async move {
            let mut id = [6; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let session = RawSession::open(channel, raw::open(id, false)).await;
            session.unwrap_or_else(|status| panic!("{n} is not let in: {status}"))
        }
    };
    let crowd: Vec<_> =
        stream::iter(0..CROWD).map(come).buffer_unordered(AT_THE_DOOR).collect().await;
    println!("{CROWD} let in after {:.1?}", came.elapsed());
    let until = Instant::now() + SPEAKING;
    let beats = join_all(crowd.into_iter().map(|session| speak(session, until))).await;
    println!("{} heartbeats in {SPEAKING:?}", beats.iter().sum::<u64>());
    let now = cluster.look(leader).await.expect("it answers");
    assert_eq!(now.term, term, "a leader that is well was deposed");
}
