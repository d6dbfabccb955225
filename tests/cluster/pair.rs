//! A main server and its back-up: who dies, who serves, and who holds what
//! afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use triad_proto::v1::{PairPhase, Reason};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Holders, Options, wait};

const MAIN: usize = 0;
const BACKUP: usize = 1;
const LIMIT: Duration = Duration::from_secs(30);

async fn pair(seats: u32) -> Cluster {
    let options = Options {
        nodes: 2,
        pair: true,
        features: vec![(FEATURE.into(), seats)],
        more_config: "[pair]\ntakeover_after_ms = 1500\n".to_owned(),
        ..Options::default()
    };
    let cluster = Cluster::start(options).await;
    until_mirrored(&cluster).await;
    cluster
}

/// Waits until a node stands so.
async fn until_phase(cluster: &Cluster, n: usize, phase: PairPhase) {
    let look = async || {
        let status = cluster.look(n).await?;
        let stands = status.pair.unwrap_or_default().phase();
        if stands == phase { Ok(()) } else { Err(stands.as_str_name().to_owned()) }
    };
    wait::until(&format!("node {n} is {}", phase.as_str_name()), LIMIT, look).await;
}

/// Waits until the back-up has all that the main has.
async fn until_mirrored(cluster: &Cluster) {
    until_phase(cluster, MAIN, PairPhase::Main).await;
    until_phase(cluster, BACKUP, PairPhase::Following).await;
    cluster.equal_ledgers().await;
    let look = async || {
        let status = cluster.triad("status").await;
        let is_healthy = status.stdout.starts_with("Healthy: main a serves, back-up b follows");
        is_healthy.then_some(()).ok_or(status.stdout)
    };
    wait::until("the pair is healthy", LIMIT, look).await;
}

/// P5: the main is killed with a hundred seats held. The clients keep them on the
/// back-up, twenty more are granted there, and when the main is back it has all
/// hundred and twenty, each once, and the back-up follows again.
#[tokio::test]
async fn a_dead_main_costs_nobody_a_seat() {
    let mut cluster = pair(200).await;
    let before = Holders::seat(&cluster, 100).await;
    cluster.equal_ledgers().await;
    cluster.nodes[MAIN].kill9().await;
    let during = Holders::seat_as(&cluster, "late", 20).await;
    before.until_held(LIMIT).await;
    until_phase(&cluster, BACKUP, PairPhase::Alone).await;
    before.assert_kept_among(&cluster, &during).await;
    let status = cluster.triad("status").await;
    assert!(status.stdout.contains("back-up b serves in the place of a"), "{}", status.stdout);
    assert_eq!(status.code(), 3, "{}", status.stdout);
    let made = cluster.triad("token create --role viewer --label seen-by-the-back-up").await;
    assert_eq!(made.code(), 0, "{}", made.stderr);
    assert!(made.stderr.contains("its main server will not know of this"), "{}", made.stderr);

    // What is given back on the back-up is free on the main.
    let returned = before.0[0].client.checkout(FEATURE, "", 1).await.unwrap();
    returned.give_back().await.unwrap();

    cluster.nodes[MAIN].start();
    until_phase(&cluster, MAIN, PairPhase::Main).await;
    before.until_held(LIMIT).await;
    during.until_held(LIMIT).await;
    before.assert_kept_among(&cluster, &during).await;
    until_mirrored(&cluster).await;
    let numbers: BTreeSet<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(numbers.len(), 120);
    let verified = cluster.triad("audit verify").await;
    assert_eq!(verified.code(), 0, "{}{}", verified.stdout, verified.stderr);
    let events = cluster.triad("events -o jsonl").await.stdout;
    assert_eq!(events.matches("EVENT_KIND_ADOPTED").count(), 20, "each is told");

    // And again, from where it stands now.
    cluster.nodes[MAIN].kill9().await;
    let again = Holders::seat_as(&cluster, "again", 5).await;
    cluster.nodes[MAIN].start();
    until_phase(&cluster, MAIN, PairPhase::Main).await;
    let all = during.and(again);
    before.until_held(LIMIT).await;
    all.until_held(LIMIT).await;
    before.assert_kept_among(&cluster, &all).await;
    until_mirrored(&cluster).await;
}

/// P2, P5: every process dies while the other is still busy with what came before:
/// the back-up while it serves, the main while it takes over, and both.
#[tokio::test]
async fn deaths_at_every_step_cost_nobody_a_seat() {
    let mut cluster = pair(100).await;
    let holders = Holders::seat(&cluster, 20).await;
    cluster.equal_ledgers().await;
    cluster.nodes[MAIN].kill9().await;
    let during = Holders::seat_as(&cluster, "late", 10).await;
    // The back-up dies while it serves, and goes on where it was.
    cluster.nodes[BACKUP].kill9().await;
    cluster.nodes[BACKUP].start();
    until_phase(&cluster, BACKUP, PairPhase::Alone).await;
    holders.until_held(LIMIT).await;
    during.until_held(LIMIT).await;
    holders.assert_kept_among(&cluster, &during).await;
    // In an epoch of its own: of the one before it, the main may have taken over all it asks for.
    let epoch = cluster.look(BACKUP).await.unwrap().pair.unwrap().epoch;
    assert_eq!(epoch, 3);

    // The main dies as soon as it has begun to take over, several times.
    for _ in 0..3 {
        cluster.nodes[MAIN].start();
        let phase = async || {
            let log = cluster.nodes[BACKUP].log();
            let count = log.matches("PAIR_PHASE_HANDING_BACK").count();
            (count > 0).then_some(()).ok_or(String::new())
        };
        wait::until("the main asks for what was granted", LIMIT, phase).await;
        cluster.nodes[MAIN].kill9().await;
    }
    // And both at once.
    cluster.nodes[BACKUP].kill9().await;
    for n in [BACKUP, MAIN] {
        cluster.nodes[n].start();
    }
    until_phase(&cluster, MAIN, PairPhase::Main).await;
    holders.until_held(LIMIT).await;
    during.until_held(LIMIT).await;
    holders.assert_kept_among(&cluster, &during).await;
    until_mirrored(&cluster).await;
}

/// P5: a back-up serves no longer than it may, and says so. Who holds a seat keeps
/// it until the lease ends, and the main takes over even then.
#[tokio::test]
async fn a_back_up_serves_only_for_a_while() {
    let more_config = "[pair]\ntakeover_after_ms = 1500\nfailover_max_s = 4\n".to_owned();
    let options = Options { nodes: 2, pair: true, more_config, ..Options::default() };
    let mut cluster = Cluster::start(options).await;
    until_mirrored(&cluster).await;
    let before = Holders::seat(&cluster, 5).await;
    cluster.equal_ledgers().await;
    cluster.nodes[MAIN].kill9().await;
    let during = Holders::seat_as(&cluster, "late", 3).await;
    until_phase(&cluster, BACKUP, PairPhase::Over).await;
    let client = cluster.client().user("one-more").build().unwrap();
    let refused = client.checkout(FEATURE, "", 1).await.expect_err("its time is over");
    assert_eq!(refused.reason(), Some(Reason::FailoverOver), "{refused}");
    let status = cluster.triad("status").await;
    assert!(status.stdout.contains("for as long as the publisher allows"), "{}", status.stdout);
    // A restart gives it no more time.
    cluster.nodes[BACKUP].kill9().await;
    cluster.nodes[BACKUP].start();
    until_phase(&cluster, BACKUP, PairPhase::Over).await;
    cluster.nodes[MAIN].start();
    until_phase(&cluster, MAIN, PairPhase::Main).await;
    before.until_held(LIMIT).await;
    during.until_held(LIMIT).await;
    before.assert_kept_among(&cluster, &during).await;
    until_mirrored(&cluster).await;
}

/// P4, P14: a main that starts alone serves at once where the back-up is dead, and
/// a back-up that starts alone serves nobody before it has a mirror.
#[tokio::test]
async fn either_may_start_first() {
    let options = Options { nodes: 2, pair: true, ..Options::default() };
    let mut cluster = Cluster::create(options).await;
    cluster.nodes[BACKUP].start();
    until_phase(&cluster, BACKUP, PairPhase::Following).await;
    let refused = cluster.triad("--timeout 2s checkout solver --hold 1s").await;
    assert_ne!(refused.code(), 0, "it has nothing to serve from");
    cluster.nodes[MAIN].start();
    until_phase(&cluster, MAIN, PairPhase::Main).await;
    let license = triad_tests::licenses::document(&cluster.draft(), &cluster.publisher);
    cluster.license(&license).await;
    until_mirrored(&cluster).await;
    for n in [MAIN, BACKUP] {
        cluster.nodes[n].kill9().await;
    }
    cluster.nodes[MAIN].start();
    until_phase(&cluster, MAIN, PairPhase::Main).await;
    let client = cluster.client().user("ann").build().unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    cluster.nodes[BACKUP].start();
    until_mirrored(&cluster).await;
}

/// P5: a site that began with one node gets a back-up, and then a third node, and
/// is a cluster of nodes that agree. Nobody loses a seat on the way.
#[tokio::test]
async fn one_grows_to_a_pair_and_to_three() {
    let mut cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let holders = Holders::seat(&cluster, 10).await;
    let directory = cluster.folder().display().to_string();
    let place = cluster.spare_place("b");
    let made = cluster.triad(&format!("node add {place} --dir {directory} --backup")).await;
    assert_eq!(made.code(), 0, "{}", made.stderr);
    let backup = cluster.adopt(&cluster.folder().join("b-2"), None);
    cluster.nodes[backup].start();
    // As the command said.
    let said = made.stdout.split_once("role = \"main\"").unwrap().1.to_owned();
    cluster.nodes[MAIN]
        .edit("triad.toml", |text| format!("mode = \"pair\"\nrole = \"main\"\n{text}\n{said}"));
    cluster.nodes[MAIN].sigterm().await;
    cluster.nodes[MAIN].start();
    until_mirrored(&cluster).await;
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;

    // Both become nodes like others, one after the other, and a third joins.
    for n in [backup, MAIN] {
        cluster.nodes[n].edit("triad.toml", |text| {
            let is_of_pair =
                |line: &&str| !line.starts_with("mode = \"pair\"") && !line.starts_with("role = ");
            text.lines().filter(is_of_pair).map(|line| format!("{line}\n")).collect()
        });
        cluster.nodes[n].sigterm().await;
        cluster.nodes[n].start();
    }
    cluster.leader().await;
    let promoted = cluster.triad("node promote b").await;
    assert_eq!(promoted.code(), 0, "{}", promoted.stderr);
    let place = cluster.spare_place("c");
    let prepared = format!("node add {place} --dir {directory}");
    let made = cluster.triad(&format!("{prepared} --prepare")).await;
    assert_eq!(made.code(), 0, "{}", made.stderr);
    let third = cluster.adopt(&cluster.folder().join("c-3"), None);
    cluster.nodes[third].start();
    let joined = cluster.triad(&prepared).await;
    assert_eq!(joined.code(), 0, "{}", joined.stderr);
    let leader = cluster.settled().await;
    let late = Holders::seat_as(&cluster, "late", 5).await;
    cluster.nodes[leader].kill9().await;
    late.until_held(LIMIT).await;
    cluster.nodes[leader].start();
    cluster.settled().await;
    holders.until_held(LIMIT).await;
    holders.assert_kept_among(&cluster, &late).await;
    cluster.equal_ledgers().await;
}
