//! Ten thousand holders: what administrators ask is answered exactly and soon, and
//! grants go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tonic::transport::Channel;
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options};

const HOLDERS: u32 = 10_000;
/// Requests in flight while seats are taken.
const AT_ONCE: usize = 64;
/// The rare feature's holders are the last of all.
const RARE: u32 = 3;

fn request(number: u32, feature: &str) -> v1::CheckoutRequest {
    let mut session_id = vec![7; 16];
    session_id[..4].copy_from_slice(&number.to_be_bytes());
    let holder = v1::Holder {
        user: format!("user{number}"),
        host: format!("host{}", number % 500),
        ..v1::Holder::default()
    };
    v1::CheckoutRequest {
        session_id,
        holder: Some(holder),
        request_id: 1,
        items: vec![v1::Item { feature: feature.into(), seats: 1, ..v1::Item::default() }],
        lease_ms: 600_000,
        ..v1::CheckoutRequest::default()
    }
}

/// The slowest of these, and the one in the middle.
fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("p50 {:.1?}, slowest {:.1?}", times[times.len() / 2], times[times.len() - 1])
}

/// All pages, as `checkouts -o json` asks for them.
async fn list(
    admin: &mut AdminServiceClient<Channel>,
    cluster: &Cluster,
    feature: &str,
) -> Vec<v1::CheckoutInfo> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    let mut slowest = Duration::ZERO;
    let began = Instant::now();
    loop {
        let feature = feature.to_owned();
        let request = v1::ListCheckoutsRequest { feature, page_size: 500, page_token };
        let asked = Instant::now();
        let page = admin.list_checkouts(cluster.authorized(request)).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        let page = page.into_inner();
        assert!(page.freshness.unwrap().linearizable);
        rows.extend(page.checkouts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    println!(
        "{} checkouts of {feature:?} listed in {:.1?}, the slowest page {slowest:.1?}",
        rows.len(),
        began.elapsed()
    );
    rows
}

/// Lists without a pause on a connection of its own, and says how often.
fn list_until(cluster: &Cluster, leader: usize, is_over: &AtomicBool) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = cluster.channel_to(&cluster.nodes[leader].address);
        let mut admin = AdminServiceClient::new(channel);
        let mut lists = 0;
        while !is_over.load(Ordering::Relaxed) {
            list(&mut admin, cluster, "rare").await;
            list(&mut admin, cluster, "").await;
            lists += 2;
        }
        lists
    })
}

#[tokio::test]
async fn ten_thousand_holders_are_listed_exactly_while_grants_go_on() {
    let features = vec![(FEATURE.into(), HOLDERS + 1_000), ("rare".into(), RARE)];
    // The leader that is asked is to lead to the end, whatever else this machine does.
    let more_config = "[raft]\nelection_min_ms = 800\nelection_max_ms = 1000\n".to_owned();
    let lease = Duration::from_secs(300);
    let options = Options { features, lease, more_config, ..Options::default() };
    let cluster = Arc::new(Cluster::start(options).await);
    let leader = cluster.settled().await;
    let take = async |number: u32, feature: &str| {
        let mut client = LicensingServiceClient::new(cluster.channel(leader));
        let asked = Instant::now();
        client.checkout(request(number, feature)).await.unwrap();
        asked.elapsed()
    };
    let began = Instant::now();
    let taking = stream::iter(0..HOLDERS).map(|number| take(number, FEATURE));
    assert_eq!(taking.buffer_unordered(AT_ONCE).count().await, HOLDERS as usize);
    println!("{HOLDERS} sessions hold a seat each, taken in {:.1?}", began.elapsed());
    for number in 0..RARE {
        take(HOLDERS + number, "rare").await;
    }

    let mut admin = cluster.admin(leader);
    let asked = Instant::now();
    let status = admin.status(v1::StatusRequest {}).await.unwrap().into_inner();
    println!("status after {:.1?}", asked.elapsed());
    assert_eq!(status.checkouts, u64::from(HOLDERS + RARE));
    assert_eq!(status.sessions, u64::from(HOLDERS + RARE));

    let all = list(&mut admin, &cluster, "").await;
    let numbers: std::collections::BTreeSet<u64> = all.iter().map(|row| row.checkout_id).collect();
    assert_eq!((all.len(), numbers.len()), (10_003, 10_003));
    let rare = list(&mut admin, &cluster, "rare").await;
    assert_eq!(rare.len(), RARE as usize);
    assert!(rare.iter().all(|row| row.items[0].feature == "rare"));

    // Grants alone, and then while somebody lists without a pause.
    let mut number = HOLDERS + RARE;
    let mut alone = Vec::new();
    for _ in 0..200 {
        alone.push(take(number, FEATURE).await);
        number += 1;
    }
    // By a thread of its own, which has rows to read while others ask for seats.
    let is_over = Arc::new(AtomicBool::new(false));
    let listing = tokio::task::spawn_blocking({
        let (cluster, is_over) = (cluster.clone(), is_over.clone());
        move || list_until(&cluster, leader, &is_over)
    });
    let mut beside = Vec::new();
    for number in number..number + 200 {
        beside.push(take(number, FEATURE).await);
    }
    is_over.store(true, Ordering::Relaxed);
    let lists = listing.await.unwrap();
    println!("grants alone: {}; beside {lists} lists: {}", figures(alone), figures(beside));

    let listed = cluster.triad("checkouts -o json").await;
    assert_eq!(listed.code(), 0, "{}", listed.stderr);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["checkouts"].as_array().map(Vec::len), Some(10_403));
}
