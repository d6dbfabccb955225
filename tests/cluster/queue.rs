//! Those who wait for a seat, while clients die, come back, give up, and leaders
//! change under them.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};
use triad_client::{Checkout, Client, Item, Reason, Ticket, Wait};
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, RawSession, raw, site, wait};

const LIMIT: Duration = Duration::from_secs(20);
/// A feature that is not the one everybody wants.
const OTHER: &str = "viewer";

async fn cluster(more: Options) -> Cluster {
    let features = vec![(FEATURE.into(), 1), (OTHER.into(), 100)];
    Cluster::start(Options { features, ..more }).await
}

fn one(feature: &str) -> Vec<Item> {
    vec![Item { feature: feature.into(), version: String::new(), seats: 1 }]
}

async fn waits(client: &Client, wait: Wait) -> Ticket {
    let ticket = client.queue(one(FEATURE), wait).unwrap();
    let mut places = ticket.places();
    let told = timeout(LIMIT, places.wait_for(Option::is_some)).await;
    told.expect("a place is told in time").unwrap();
    ticket
}

async fn granted(ticket: &mut Ticket) -> Checkout {
    timeout(LIMIT, ticket.granted()).await.expect("granted in time").expect("granted")
}

/// Waits until the client was told this place.
async fn until_told(ticket: &Ticket, place: u64) {
    let mut places = ticket.places();
    let told = places.wait_for(|told| told.is_some_and(|told| told.place == place));
    let told = timeout(LIMIT, told).await.is_ok();
    assert!(told, "place {place}: the last that was told is {:?}", ticket.place());
}

/// Waits until everybody has waited so long: what there was to tell them is told.
async fn until_all_have_waited(cluster: &Cluster, ms: u64) {
    let look = async || {
        let waited: Vec<u64> = site::queue(cluster).await.iter().map(|e| e.waited_ms).collect();
        let all = waited.iter().all(|waited| *waited >= ms);
        all.then_some(()).ok_or_else(|| format!("{waited:?} ms"))
    };
    wait::until("all have waited for long", LIMIT, look).await;
}

/// P13: a client that waits and dies is in nobody's way; those behind him move
/// up, and are told so.
#[tokio::test]
async fn a_place_passes_on() {
    let cluster = cluster(Options::default()).await;
    let client = |user: &str| cluster.client().user(user).build().unwrap();
    let (holder, dying, second, third) =
        (client("holder"), client("dying"), client("second"), client("third"));
    let seat = holder.checkout(FEATURE, "", 1).await.unwrap();
    let first_place = waits(&dying, Wait::default()).await;
    let mut second_place = waits(&second, Wait::default()).await;
    let mut third_place = waits(&third, Wait::default()).await;
    until_told(&third_place, 3).await;
    until_all_have_waited(&cluster, 2_500).await;

    dying.close().await;
    drop(first_place);
    until_told(&second_place, 1).await;
    until_told(&third_place, 2).await;
    seat.give_back().await.unwrap();
    let seat = granted(&mut second_place).await;
    until_told(&third_place, 1).await;
    seat.give_back().await.unwrap();
    let seat = granted(&mut third_place).await;
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
}

/// P13: the same by the death of a process, of which a closed socket is all that
/// is heard.
#[tokio::test]
async fn who_waits_and_falls_silent_is_passed() {
    let disconnect_grace = Duration::from_secs(1);
    let cluster = cluster(Options { disconnect_grace, ..Options::default() }).await;
    let client = |user: &str| cluster.client().user(user).build().unwrap();
    let (holder, second) = (client("holder"), client("second"));
    let seat = holder.checkout(FEATURE, "", 1).await.unwrap();
    let leader = cluster.settled().await;
    // A connection of its own, which ends with it.
    let channel = cluster.channel_to(&cluster.nodes[leader].address);
    let mut dying = RawSession::open(channel, raw::open([3; 16], false)).await.unwrap();
    let Call::Take(take) = raw::take(1, FEATURE, 1) else { unreachable!("it takes") };
    dying.say(Call::Take(v1::Take { wait: Some(v1::Wait::default()), ..take }));
    let answer = dying.next().await.unwrap();
    assert!(matches!(answer, Event::Queued(v1::Queued { place: 1, .. })), "{answer:?}");
    let mut place = waits(&second, Wait::default()).await;
    until_told(&place, 2).await;
    until_all_have_waited(&cluster, 2_500).await;

    drop(dying);
    until_told(&place, 1).await;
    assert_eq!(site::queue(&cluster).await.len(), 1);
    seat.give_back().await.unwrap();
    let seat = granted(&mut place).await;
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
}

/// P2, P3: a seat is granted to one who waits while nothing reaches him. He finds
/// it when he is back, on the same leader and on the next, and it is one seat.
#[tokio::test]
async fn granted_while_the_client_was_away() {
    let more = Options { with_proxies: true, ..Options::default() };
    let mut cluster = cluster(more).await;
    let holder = cluster.direct_client().user("holder").build().unwrap();
    let client = cluster.client().user("away").build().unwrap();
    for kills in [false, true] {
        let leader = cluster.settled().await;
        let seat = holder.checkout(FEATURE, "", 1).await.unwrap();
        let mut place = waits(&client, Wait::default()).await;
        for node in &cluster.nodes {
            node.proxy().hold();
        }
        seat.give_back().await.unwrap();
        let written: Vec<u64> = cluster.until_checkouts(1, LIMIT).await.into_keys().collect();
        for node in &cluster.nodes {
            node.proxy().cut();
        }
        if kills {
            cluster.nodes[leader].kill9().await;
        }
        for node in &cluster.nodes {
            node.proxy().pass();
        }
        let seat = granted(&mut place).await;
        assert_eq!(vec![seat.id()], written, "kills: {kills}");
        let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
        assert_eq!(listed, written, "kills: {kills}");
        seat.give_back().await.unwrap();
        cluster.until_checkouts(0, LIMIT).await;
    }
}

/// A ticket that is dropped leaves the queue, on this leader and on the next;
/// and one that is granted at that moment is returned.
#[tokio::test]
async fn a_dropped_ticket_leaves() {
    let mut cluster = cluster(Options::default()).await;
    let client = |user: &str| cluster.client().user(user).build().unwrap();
    let (holder, fickle, patient) = (client("holder"), client("fickle"), client("patient"));
    let seat = holder.checkout(FEATURE, "", 1).await.unwrap();
    let first = waits(&fickle, Wait::default()).await;
    let again = waits(&fickle, Wait::default()).await;
    let mut last = waits(&patient, Wait::default()).await;
    until_told(&last, 3).await;
    drop(first);
    until_told(&last, 2).await;

    // Given up while nobody leads: the next leader is told.
    let leader = cluster.settled().await;
    cluster.nodes[leader].kill9().await;
    drop(again);
    until_told(&last, 1).await;
    let waiting = site::queue(&cluster).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");

    // Returned and given up at the same time, either may come first.
    for round in 0..5 {
        let racing = fickle.queue(one(FEATURE), Wait::default()).unwrap();
        let returning = tokio::spawn(seat_back(holder.clone(), fickle.clone(), round));
        drop(racing);
        returning.await.unwrap();
    }
    seat.give_back().await.unwrap();
    let seat = granted(&mut last).await;
    let look = async || {
        let (held, waiting) = (cluster.checkouts().await, site::queue(&cluster).await);
        let only = held.keys().eq([&seat.id()]) && waiting.is_empty();
        only.then_some(()).ok_or_else(|| format!("held {held:?}, waiting {waiting:?}"))
    };
    wait::until("nothing is left of who gave up", LIMIT, look).await;
}

/// Somebody else is busy meanwhile.
async fn seat_back(holder: Client, other: Client, round: u32) {
    let seats = [holder.checkout(OTHER, "", 1).await, other.checkout(OTHER, "", 1).await];
    for seat in seats {
        seat.unwrap_or_else(|error| panic!("round {round}: {error:?}")).give_back().await.unwrap();
    }
}

/// P5: a failover keeps the place of one who has waited longer than a checkout
/// may take, and a wait that was to last ten seconds does not begin anew.
#[tokio::test]
async fn a_wait_goes_on_through_a_failover() {
    let mut cluster = cluster(Options::default()).await;
    let client = |user: &str| {
        let patience = Duration::from_secs(2);
        cluster.client().user(user).checkout_timeout(patience).build().unwrap()
    };
    let holder = cluster.client().user("holder").build().unwrap();
    let (limited, patient) = (client("limited"), client("patient"));
    let seat = holder.checkout(FEATURE, "", 1).await.unwrap();
    let asked = Instant::now();
    let wait = Duration::from_secs(10);
    let mut ends = waits(&limited, Wait::at_most(wait)).await;
    let mut stays = waits(&patient, Wait::default()).await;
    until_all_have_waited(&cluster, 7_000).await;
    let leader = cluster.settled().await;
    cluster.nodes[leader].kill9().await;

    let denied = timeout(LIMIT, ends.granted()).await.unwrap().unwrap_err();
    let took = asked.elapsed();
    println!("a wait of {wait:?} ended after {took:.1?}");
    assert_eq!(denied.reason(), Some(Reason::QueueTimedOut), "{denied:?}");
    assert!(took >= wait && took < wait + Duration::from_secs(6), "{took:?}");
    until_told(&stays, 1).await;
    seat.give_back().await.unwrap();
    granted(&mut stays).await;
}

/// P15: one who waits for long does not keep the same client's other requests
/// from being served, more of them than answers are remembered.
#[tokio::test]
async fn who_waits_does_not_stall_others() {
    let mut cluster = cluster(Options::default()).await;
    let holder = cluster.client().user("holder").build().unwrap();
    let client = cluster.client().user("busy").build().unwrap();
    let seat = holder.checkout(FEATURE, "", 1).await.unwrap();
    let mut place = waits(&client, Wait::default()).await;
    for kills in [false, true] {
        if kills {
            let leader = cluster.settled().await;
            cluster.nodes[leader].kill9().await;
        }
        let mut requests = FuturesUnordered::new();
        for n in 0..200 {
            let client = client.clone();
            requests.push(async move {
                let seat = client.checkout(OTHER, "", 1).await;
                seat.unwrap_or_else(|error| panic!("request {n}: {error:?}")).give_back().await
            });
            if requests.len() == 50 {
                requests.next().await.unwrap().unwrap();
            }
        }
        while let Some(returned) = requests.next().await {
            returned.unwrap();
        }
    }
    until_told(&place, 1).await;
    seat.give_back().await.unwrap();
    let seat = granted(&mut place).await;
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
}
