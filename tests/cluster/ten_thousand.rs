//! Ten thousand holders: what administrators ask is answered exactly and soon, and
//! grants go on.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use triad_proto::v1;
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

#[tokio::test]
async fn ten_thousand_holders_are_listed_exactly_while_grants_go_on() {
    let features = vec![(FEATURE.into(), HOLDERS + 1_000), ("rare".into(), RARE)];
    let options = Options { features, lease: Duration::from_secs(300), ..Options::default() };
    let cluster = Cluster::start(options).await;
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

    // All pages, as `checkouts -o json` asks for them.
    let list = async |feature: &str| {
        let mut admin = cluster.admin(leader);
        let (mut rows, mut page_token) = (Vec::new(), String::new());
        let mut slowest = Duration::ZERO;
        let began = Instant::now();
        loop {
            let request = v1::ListCheckoutsRequest {
                feature: feature.to_owned(),
                page_size: 500,
                page_token,
            };
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
    };
    let all = list("").await;
    let numbers: std::collections::BTreeSet<u64> = all.iter().map(|row| row.checkout_id).collect();
    assert_eq!((all.len(), numbers.len()), (10_003, 10_003));
    let rare = list("rare").await;
    assert_eq!(rare.len(), RARE as usize);
    assert!(rare.iter().all(|row| row.items[0].feature == "rare"));

    // Grants alone, and then while somebody lists without a pause.
    let mut number = HOLDERS + RARE;
    let mut alone = Vec::new();
    for _ in 0..200 {
        alone.push(take(number, FEATURE).await);
        number += 1;
    }
    let listing = async {
        loop {
            list("rare").await;
            list("").await;
        }
    };
    let granting = async {
        let mut beside = Vec::new();
        for number in number..number + 200 {
            beside.push(take(number, FEATURE).await);
        }
        beside
    };
    let beside = tokio::select! {
        beside = granting => beside,
        () = listing => unreachable!("it never ends"),
    };
    println!("grants alone: {}; beside lists: {}", figures(alone), figures(beside));

    let listed = cluster.triad("checkouts -o json").await;
    assert_eq!(listed.code(), 0, "{}", listed.stderr);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["checkouts"].as_array().map(Vec::len), Some(10_403));
}
