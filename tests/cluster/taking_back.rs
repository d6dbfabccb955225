//! Seats that are taken from their holders: by an administrator, and by the
//! clock.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use triad_client::{BorrowEnd, Client, Item, Reason, State, Wait};
use triad_proto::v1;
use triad_proto::v1::session_event::Event;
use triad_tests::cluster::FEATURE;
use triad_tests::raw::{self, RawSession};
use triad_tests::{Cluster, Options, clock, site, wait};

const LIMIT: Duration = Duration::from_secs(20);

fn one(feature: &str) -> Vec<Item> {
    vec![Item { feature: feature.into(), version: String::new(), seats: 1 }]
}

fn client(cluster: &Cluster, user: &str) -> Client {
    cluster.client().user(user).host(format!("desk-of-{user}")).build().unwrap()
}

async fn revoke(cluster: &Cluster, checkout_id: u64, block: Duration) -> Result<(), Reason> {
    let mut admin = cluster.admin(cluster.leader().await);
    let request = v1::RevokeCheckoutRequest {
        checkout_id,
        reason: "the license is needed for a deadline".into(),
        block_ms: block.as_millis() as u64,
    };
    let revoked = admin.revoke_checkout(cluster.authorized(request)).await;
    revoked.map(|_| ()).map_err(|status| v1::Refusal::from_status(&status).reason())
}

async fn mark_lost(cluster: &Cluster, checkout_id: u64) -> Result<(), Reason> {
    let mut admin = cluster.admin(cluster.leader().await);
    let request = cluster.authorized(v1::MarkLostRequest { checkout_id });
    let marked = admin.mark_lost(request).await;
    marked.map(|_| ()).map_err(|status| v1::Refusal::from_status(&status).reason())
}

/// An administrator takes a seat back and blocks it. Its holder is told so with
/// the reason, keeps his session, and does not get the seat again, not on the
/// next leader either; others do.
#[tokio::test]
async fn revoked_and_blocked() {
    let options = Options { features: vec![(FEATURE.into(), 2)], ..Options::default() };
    let mut cluster = Cluster::start(options).await;
    let [ann, ben, cid] = ["ann", "ben", "cid"].map(|user| client(&cluster, user));
    let seat = ann.checkout(FEATURE, "", 1).await.unwrap();
    let bens = ben.checkout(FEATURE, "", 1).await.unwrap();
    let mut waits = cid.queue(one(FEATURE), Wait::default()).unwrap();
    let mut places = waits.places();
    places.wait_for(Option::is_some).await.unwrap();

    let block = Duration::from_secs(600);
    revoke(&cluster, seat.id(), block).await.unwrap();
    let why = timeout(LIMIT, seat.lost()).await.expect("ann is told in time");
    assert!(why.contains("REVOKED") && why.contains("needed for a deadline"), "{why}");
    assert_eq!(ann.state(), State::Held, "her session goes on");
    let cids = timeout(LIMIT, waits.granted()).await.expect("cid is served").unwrap();
    cids.give_back().await.unwrap();
    assert_eq!(revoke(&cluster, seat.id(), block).await, Err(Reason::CheckoutUnknown));

    // There is a seat, and it is not for her.
    let leader = cluster.settled().await;
    for kills in [false, true] {
        if kills {
            cluster.nodes[leader].kill9().await;
        }
        for wait in [None, Some(Wait::default())] {
            let denied = match wait {
                None => ann.checkout(FEATURE, "", 1).await,
                Some(wait) => ann.queue(one(FEATURE), wait).unwrap().granted().await,
            };
            let denied = denied.unwrap_err();
            assert_eq!(denied.reason(), Some(Reason::Blocked), "{denied:?}");
            let again_ms = denied.refusal().unwrap().retry_after_ms;
            assert!(again_ms > 500_000 && again_ms <= 600_000, "{denied:?}");
        }
        cid.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    }
    // Late words about what she no longer holds cost nobody anything.
    drop(seat);
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [bens.id()]);
}

/// The idle timeout takes back what an idle user holds, again and again, and
/// spares who is active, who never said anything, and what has no timeout.
#[tokio::test]
async fn idle_seats_are_taken_back() {
    let features = vec![(FEATURE.into(), 3), ("viewer".into(), 1)];
    let cluster = Cluster::start(Options { features, ..Options::default() }).await;
    let policy = format!("[[timeout]]\nfeature = \"{FEATURE}\"\nafter = \"2s\"\n");
    site::apply_policy(&cluster, &policy).await;
    let [idle, active, silent] = ["idle", "active", "silent"].map(|user| client(&cluster, user));
    let kept = active.checkout(FEATURE, "", 1).await.unwrap();
    let also_kept = silent.checkout(FEATURE, "", 1).await.unwrap();
    let other = idle.checkout("viewer", "", 1).await.unwrap();
    active.set_idle(Duration::ZERO);
    active.set_active();
    for round in 1..=2 {
        let seat = idle.checkout(FEATURE, "", 1).await.unwrap();
        let since = Instant::now();
        // Idle for a second already.
        idle.set_idle(Duration::from_secs(1));
        let why = timeout(LIMIT, seat.lost()).await.expect("it is taken back in time");
        let took = since.elapsed();
        println!("round {round}: taken back after {took:.1?}: {why}");
        assert!(why.contains("IDLE"), "{why}");
        assert!(took >= Duration::from_millis(900), "after {took:?} of 1 s");
        assert_eq!(idle.state(), State::Held);
    }
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [kept.id(), also_kept.id(), other.id()]);
    for seat in [&kept, &also_kept, &other] {
        assert_eq!(seat.state(), State::Held);
    }
}

/// P2: loans outlive the session that took them and the restart of all three
/// nodes, come back by the cluster's date, and are not free before, lost or not.
#[tokio::test]
async fn loans_come_back_at_their_date() {
    let mut cluster = Cluster::start(Options::default()).await;
    let lines = site::line("laptop", 2, "borrow = \"24h\"");
    cluster.license(&site::license(&cluster, 1, &lines)).await;
    let [ann, ben, cid] = ["ann", "ben", "cid"].map(|user| client(&cluster, user));
    let time = Duration::from_secs(12);
    let lent = ann.borrow(one("laptop"), BorrowEnd::For(time)).await.unwrap();
    let lost = ben.borrow(one("laptop"), BorrowEnd::Until(lent.until)).await.unwrap();
    assert_eq!(lost.until, lent.until);
    ann.close().await;
    ben.close().await;

    for node in &mut cluster.nodes {
        node.kill9().await;
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    mark_lost(&cluster, lost.checkout_id).await.unwrap();
    assert_eq!(revoke(&cluster, lent.checkout_id, Duration::ZERO).await, Err(Reason::BorrowedAway));
    let rows = cluster.checkouts().await;
    let states: Vec<_> = rows.values().map(|row| (row.checkout_id, row.state())).collect();
    let expected = [
        (lent.checkout_id, v1::CheckoutState::Borrowed),
        (lost.checkout_id, v1::CheckoutState::Lost),
    ];
    assert_eq!(states, expected);
    let until_ms = clock::since_epoch(lent.until).as_millis() as u64;
    assert!(rows.values().all(|row| row.until_ms == until_ms), "{rows:?}");
    let denied = cid.checkout("laptop", "", 1).await.unwrap_err();
    assert_eq!(denied.reason(), Some(Reason::LicensesExhausted), "{denied:?}");
    let holders: Vec<_> = denied.refusal().unwrap().holders.iter().map(|h| &h.user).collect();
    assert_eq!(holders, ["ann", "ben"]);

    // Somebody waits, and is served at the date and not before.
    let both = vec![Item { feature: "laptop".into(), version: String::new(), seats: 2 }];
    let mut waits = cid.queue(both, Wait::default()).unwrap();
    let seats = timeout(time + LIMIT, waits.granted()).await.expect("in time").unwrap();
    let row = &cluster.checkouts().await[&seats.id()];
    println!("lent until {until_ms}, granted {} ms later", row.since_ms - until_ms);
    assert!(row.since_ms >= until_ms, "{row:?} came before {until_ms}");
    assert!(row.since_ms < until_ms + 10_000, "{row:?} came long after {until_ms}");
    assert_eq!(mark_lost(&cluster, seats.id()).await, Err(Reason::NotBorrowed));
    assert_eq!(mark_lost(&cluster, lost.checkout_id).await, Err(Reason::CheckoutUnknown));
    let look = async || {
        let listed = cluster.checkouts().await;
        (listed.len() == 1).then_some(()).ok_or_else(|| format!("{listed:?}"))
    };
    wait::until("one checkout is left", LIMIT, look).await;
}

/// P4: an answer is lost, the seats are taken back, and the request is asked again.
/// It gets its first answer, and is told at once that this is over.
#[tokio::test]
async fn a_grant_that_was_taken_back_before_it_was_told() {
    let disconnect_grace = Duration::from_secs(8);
    let options = Options { disconnect_grace, with_proxies: true, ..Options::default() };
    let cluster = Cluster::start(options).await;
    let leader = cluster.settled().await;
    let channel = cluster.channel_to(&cluster.nodes[leader].public_address);
    let session = RawSession::open(channel, raw::open([8; 16], false)).await.unwrap();
    cluster.nodes[leader].proxy().drop_answers();
    session.say(raw::take(1, FEATURE, 1));
    let written = cluster.until_checkouts(1, Duration::from_secs(10)).await;
    let id = *written.keys().next().unwrap();
    revoke(&cluster, id, Duration::ZERO).await.unwrap();
    drop(session);

    let channel = cluster.channel(leader);
    let mut again = RawSession::open(channel, raw::open([8; 16], true)).await.unwrap();
    assert_eq!(again.opened.checkout_ids, Vec::<u64>::new());
    again.say(raw::take(1, FEATURE, 1));
    let (mut told, mut ended) = (None, None);
    while told.is_none() || ended.is_none() {
        match again.next().await.unwrap() {
            Event::Taken(taken) => told = Some(raw::granted(taken).checkout_id),
            Event::Ended(v1::Ended { checkout_id, .. }) => ended = Some(checkout_id),
            _ => {}
        }
    }
    assert_eq!((told, ended), (Some(id), Some(id)));
}
