//! A main server and its back-up, cut off from each other while clients reach
//! both.

use std::time::Duration;

use triad_proto::v1::PairPhase;
use triad_tests::cluster::FEATURE;
use triad_tests::lab::Host;
use triad_tests::{Holders, Lab, Options, wait};

const MAIN: usize = 0;
const BACKUP: usize = 1;
const LIMIT: Duration = Duration::from_secs(40);

fn options(seats: u32) -> Options {
    Options {
        nodes: 2,
        pair: true,
        lease: Duration::from_secs(20),
        features: vec![(FEATURE.into(), seats)],
        more_config: "[pair]\ntakeover_after_ms = 1500\n".to_owned(),
        ..Options::default()
    }
}

async fn until_phase(lab: &Lab, n: usize, phase: PairPhase) {
    let look = async || {
        let status = lab.look(n).await?;
        let stands = status.pair.unwrap_or_default().phase();
        if stands == phase { Ok(()) } else { Err(stands.as_str_name().to_owned()) }
    };
    wait::until(&format!("node {n} is {}", phase.as_str_name()), LIMIT, look).await;
}

/// What the features' pools hold, and how many seats there are.
async fn used(lab: &Lab, n: usize) -> (u64, u64) {
    let request = triad_proto::v1::ListFeaturesRequest::default();
    let pools = lab.admin(n).list_features(request).await.unwrap().into_inner().pools;
    (pools.iter().map(|pool| pool.seats_in_use).sum(), pools[0].seats_licensed)
}

/// P5: main and back-up are cut off from each other, and clients reach both. Both
/// grant what each has, and no more. When they meet again the main holds what both
/// granted: nobody loses a seat, the overage is exactly that, each of the back-up's
/// grants is told, and nothing is granted before enough has come back.
#[cfg_attr(test, tokio::test)]
pub async fn pair_cut_apart() {
    let Some(mut lab) = Lab::start(options(10)).await else { return };
    until_phase(&lab, BACKUP, PairPhase::Following).await;
    let before = Holders::seat(&lab, 6).await;
    lab.equal_ledgers().await;
    lab.separate(Host::Node(MAIN), Host::Node(BACKUP));
    let look = async || {
        let status = lab.look(BACKUP).await?;
        if status.leader_id == 0 { Ok(()) } else { Err("it follows".to_owned()) }
    };
    wait::until("the back-up hears nothing of the main", LIMIT, look).await;
    // Who reaches the main stays with it; who knows only the back-up makes it serve.
    let at_main = Holders::seat_at(&lab, &lab.nodes[MAIN].public_address, "main", 4).await;
    let at_backup = Holders::seat_at(&lab, &lab.nodes[BACKUP].public_address, "backup", 4).await;
    until_phase(&lab, BACKUP, PairPhase::Alone).await;
    for n in [MAIN, BACKUP] {
        let client = lab.client().servers(lab.nodes[n].public_address.clone());
        let client = client.user("one-more").build().unwrap();
        let denied = client.checkout(FEATURE, "", 1).await.expect_err("each is full");
        assert!(denied.to_string().contains("0 of 10 seats free"), "{denied}");
        client.close().await;
        assert_eq!(used(&lab, n).await, (10, 10));
    }
    lab.heal();
    until_phase(&lab, BACKUP, PairPhase::Following).await;
    until_phase(&lab, MAIN, PairPhase::Main).await;
    // They knew only the back-up, which sends them to the main.
    for some in [&before, &at_main, &at_backup] {
        some.until_held(LIMIT).await;
    }
    let all = at_main.and(at_backup);
    before.assert_kept_among(&lab, &all).await;
    assert_eq!(used(&lab, MAIN).await, (14, 10), "six, and four on each side");
    let told = lab.triad("events -o jsonl").await.stdout;
    assert_eq!(told.matches("EVENT_KIND_ADOPTED").count(), 4, "by name");
    // The back-up has begun anew, and knows nobody before it has the main's ledger.
    lab.equal_ledgers().await;
    let verified = lab.triad("audit verify").await;
    assert_eq!(verified.code(), 0, "{}{}", verified.stdout, verified.stderr);

    let client = lab.client().user("patient").build().unwrap();
    let mut all = all.0.into_iter();
    for _ in 0..4 {
        assert!(client.checkout(FEATURE, "", 1).await.is_err(), "still beyond the rights");
        let holder = all.next().unwrap();
        holder.seat.give_back().await.unwrap();
        holder.client.close().await;
    }
    assert!(client.checkout(FEATURE, "", 1).await.is_err(), "ten of ten");
    let holder = all.next().unwrap();
    holder.seat.give_back().await.unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    lab.equal_ledgers().await;
    println!("pair_cut_apart: 6 before, 4 granted on each side; 14 of 10 held, then given back");
}
