//! Client processes that die or freeze.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, timeout};
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::{self, Beat, ListSessionsRequest};
use triad_tests::cluster::FEATURE;
use triad_tests::holders::holder_process;
use triad_tests::node::signal_child;
use triad_tests::wait::until;
use triad_tests::{Cluster, Options, RawSession, raw};

const LEASE: Duration = Duration::from_secs(4);
const GRACE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(1_500);
const LIMIT: Duration = Duration::from_secs(20);

async fn cluster() -> Cluster {
    let options = Options { lease: LEASE, disconnect_grace: GRACE, ..Options::default() };
    Cluster::start(options).await
}

/// P13: the seat of a process that was killed is free after the grace.
#[tokio::test]
async fn dead_process() {
    let cluster = cluster().await;
    let mut process = holder_process(&cluster).await;
    assert_eq!(cluster.checkouts().await.len(), 1);
    let killed = Instant::now();
    process.kill().await.unwrap();
    cluster.until_checkouts(0, LIMIT).await;
    let took = killed.elapsed();
    println!("the seat of a dead process is free after {took:.2?}");
    assert!(took >= GRACE, "within the grace it could have come back: {took:?}");
    assert!(took <= GRACE + Duration::from_secs(1), "{took:?}");
}

/// P4, P13: a process that hangs keeps its seat for a lease and not longer, and
/// when it goes on it knows.
#[tokio::test]
async fn frozen_process() {
    let cluster = cluster().await;
    let process = holder_process(&cluster).await;
    let frozen = Instant::now();
    signal_child(&process, Signal::STOP);
    cluster.until_checkouts(0, LIMIT).await;
    let took = frozen.elapsed();
    println!("the seat of a frozen process is free after {took:.1?}");
    // Its last heartbeat went at most one interval before.
    assert!(took >= LEASE - Duration::from_millis(600), "{took:?}");
    assert!(took <= LEASE + SLACK, "{took:?}");
    signal_child(&process, Signal::CONT);
    let ended = timeout(LIMIT, process.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("was lost"), "{said}");
}

/// P5, and no more than it: a process that hung before the leader died keeps its
/// seat for what is left of its lease, not for another one under the new leader.
#[tokio::test]
async fn frozen_process_and_dead_leader() {
    const LONG: Duration = Duration::from_secs(9);
    let beat = LONG / 6;
    let options = Options { lease: LONG, disconnect_grace: GRACE, ..Options::default() };
    let mut cluster = Cluster::start(options).await;
    let process = holder_process(&cluster).await;
    let frozen = Instant::now();
    signal_child(&process, Signal::STOP);
    let leader = cluster.leader().await;
    let look = async || {
        let request = cluster.authorized(ListSessionsRequest::default());
        let answer = cluster.admin(leader).list_sessions(request).await;
        let answer = answer.map_err(|status| status.to_string())?.into_inner();
        let is_marked = answer.sessions.iter().any(|session| session.silent_ms > 0);
        is_marked.then_some(()).ok_or(format!("{:?}", answer.sessions))
    };
    until("the log says that the session is silent", LIMIT, look).await;
    println!("a frozen process is a suspect after {:.1?}", frozen.elapsed());
    cluster.nodes[leader].kill9().await;
    cluster.until_checkouts(0, LIMIT).await;
    let took = frozen.elapsed();
    println!("its seat is free after {took:.1?}, of a lease of {LONG:?}");
    assert!(took >= LONG - beat - Duration::from_millis(100), "{took:?}");
    // Another lease would end two beats and a lease after it was frozen, at the least.
    assert!(took <= LONG + beat * 2, "{took:?}");
}

/// P4: a client that goes away before it had the answer to its opening does not know of
/// that stream and believes in its lease. Its closed socket is no sign of its death.
#[tokio::test]
async fn an_opening_that_was_not_waited_for() {
    let cluster = cluster().await;
    let leader = cluster.leader().await;
    let connection = || cluster.channel_to(&cluster.nodes[leader].address);
    let first = connection();
    let mut session = RawSession::open(first.clone(), raw::open([5; 16], false)).await.unwrap();
    session.say(raw::take(1, FEATURE, 1));
    while !matches!(session.next().await.unwrap(), Event::Taken(_)) {}
    let second = connection();
    let unheard = RawSession::open(second.clone(), raw::open([5; 16], true)).await.unwrap();
    let heard = Instant::now();
    drop((session, first));
    drop((unheard, second));
    cluster.until_checkouts(0, LIMIT).await;
    let took = heard.elapsed();
    println!("its seat is free after {took:.1?}, of a lease of {LEASE:?}");
    assert!(took >= LEASE - Duration::from_millis(100), "{took:?}");
}

/// P13: a process that ends in good order resets its stream, or says no more on it, and then its
/// connection closes. The server may read the two apart, which is made sure of here.
#[tokio::test]
async fn a_stream_ends_before_its_connection_closes() {
    let lease = LIMIT * 2;
    let options = Options { lease, disconnect_grace: GRACE, ..Options::default() };
    let cluster = Cluster::start(options).await;
    let leader = cluster.leader().await;
    for (n, is_reset) in [true, false].into_iter().enumerate() {
        let connection = cluster.channel_to(&cluster.nodes[leader].address);
        let open = raw::open([n as u8; 16], false);
        let mut session = RawSession::open(connection.clone(), open).await.unwrap();
        raw::granted(session.take(1, FEATURE).await.unwrap());
        if is_reset {
            drop(session);
            let mut admin = AdminServiceClient::new(connection.clone());
            admin.status(v1::StatusRequest {}).await.unwrap();
        } else {
            session.say_no_more();
            while session.next().await.is_ok() {}
            drop(session);
        }
        drop(connection);
        cluster.until_checkouts(0, LIMIT).await;
    }
}

/// P4: a client whose network changed speaks through a new connection, and the close of the old
/// one comes after that. It is no death, also where the next heartbeat is further away than the
/// grace. A session that was closed later, and has no other stream, shows that the grace is over.
#[tokio::test]
async fn the_late_close_of_an_older_stream_is_no_death() {
    let options = Options { disconnect_grace: GRACE, ..Options::default() };
    let cluster = Cluster::start(options).await;
    let leader = cluster.leader().await;
    let connection = || cluster.channel_to(&cluster.nodes[leader].address);
    let before = connection();
    let mut old = RawSession::open(before.clone(), raw::open([5; 16], false)).await.unwrap();
    raw::granted(old.take(1, FEATURE).await.unwrap());
    let after = connection();
    let mut new = RawSession::open(after.clone(), raw::open([5; 16], true)).await.unwrap();
    // A process: whoever only drops its stream ends that first, and the connection after it.
    let dying = holder_process(&cluster).await;
    drop((old, before));
    cluster.until_checkouts(2, LIMIT).await;
    signal_child(&dying, Signal::KILL);
    cluster.until_checkouts(1, LIMIT).await;
    new.say(Call::Beat(Beat { beat: 2 }));
    loop {
        match new.next().await.expect("the session is open") {
            Event::Beat(acknowledged) if acknowledged.beat >= 2 => break,
            _ => {}
        }
    }
    assert_eq!(cluster.checkouts().await.len(), 1);
}
