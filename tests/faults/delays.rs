//! Networks that are slow: nodes that are far apart, packets that come late,
//! twice, or in another order.

use std::time::Duration;

use triad_tests::lab::{Gear, Host, Lag};
use triad_tests::{Lab, Options};

use crate::crowd::{Crowd, LEASE, options, raft_config};

/// How long each lasts: some ten election timeouts.
const TIME: Duration = Duration::from_secs(8);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A site whose nodes are farther apart than the default settings allow: a round
/// trip must be shorter than `heartbeat_ms`.
fn far_apart(heartbeat_ms: u64, election_min_ms: u64, election_max_ms: u64) -> Options {
    let raft = raft_config(&format!(
        "heartbeat_ms = {heartbeat_ms}\nelection_min_ms = {election_min_ms}\n\
         election_max_ms = {election_max_ms}\n"
    ));
    Options { more_config: raft, ..options() }
}

/// The crowd is served, by one leader all the time, and no promise is broken.
async fn is_stable(what: &str, lab: &Lab, crowd: &Crowd) {
    crowd.until_served(20).await;
    let leader = lab.settled().await;
    let term = lab.look(leader).await.unwrap().term;
    crowd.book().forget_gaps();
    let granted = crowd.book().tally.grants;
    crowd.go_on(TIME).await;
    let granted = crowd.book().tally.grants - granted;
    let gap = crowd.book().longest_gap();
    // A leader that has nothing to say is heard as well.
    crowd.rest(TIME).await;
    assert_eq!(lab.settled().await, leader);
    let term_after = lab.look(leader).await.unwrap().term;
    println!("{what}: {granted} granted in {TIME:?}, gap {gap:.0?}, one leader");
    assert_eq!(term_after, term, "there were elections");
    assert!(gap < LEASE, "{gap:?}");
    assert!(granted > 0);
    crowd.until_held().await;
}

/// P5, P12: each packet between nodes takes 10 ms, with the settings that every
/// site has.
#[cfg_attr(test, tokio::test)]
pub async fn nodes_in_two_cities() {
    let Some(mut lab) = Lab::start_with(options(), &[Gear::Switch]).await else { return };
    let crowd = Crowd::start(&lab).await;
    lab.lag_nodes(Lag::of(ms(10), ms(3)));
    is_stable("nodes_in_two_cities: 10 ms", &lab, &crowd).await;
    lab.heal();
    crowd.finish("nodes_in_two_cities", lab).await;
}

/// P5, P12: each packet between nodes takes 50 ms, and 10 more or less; then
/// another leads.
#[cfg_attr(test, tokio::test)]
pub async fn nodes_far_apart() {
    let Some(mut lab) = Lab::start_with(far_apart(200, 600, 800), &[Gear::Switch]).await else {
        return;
    };
    let crowd = Crowd::start(&lab).await;
    lab.lag_nodes(Lag::of(ms(50), ms(10)));
    is_stable("nodes_far_apart: 50 ms", &lab, &crowd).await;
    let leader = lab.settled().await;
    crowd.book().forget_gaps();
    lab.nodes[leader].kill9().await;
    crowd.until_served(20).await;
    let gap = crowd.book().longest_gap();
    println!("nodes_far_apart: the leader is killed, gap {gap:.0?}");
    assert!(gap < LEASE, "{gap:?}");
    lab.nodes[leader].start();
    is_stable("nodes_far_apart: 50 ms", &lab, &crowd).await;
    lab.heal();
    crowd.finish("nodes_far_apart", lab).await;
}

/// P5, P12: each packet between nodes takes 200 ms, and 30 more or less: the
/// farthest that the settings allow for.
#[cfg_attr(test, tokio::test)]
pub async fn nodes_on_two_continents() {
    let Some(mut lab) = Lab::start_with(far_apart(480, 960, 1_000), &[Gear::Switch]).await else {
        return;
    };
    let crowd = Crowd::start(&lab).await;
    lab.lag_nodes(Lag::of(ms(200), ms(30)));
    is_stable("nodes_on_two_continents: 200 ms", &lab, &crowd).await;
    lab.heal();
    crowd.finish("nodes_on_two_continents", lab).await;
}

/// P5, P12: what the leader says takes 80 ms, what it is told nothing; then the
/// other way.
#[cfg_attr(test, tokio::test)]
pub async fn one_way_is_slow() {
    let Some(mut lab) = Lab::start_with(far_apart(200, 600, 800), &[Gear::Switch]).await else {
        return;
    };
    let crowd = Crowd::start(&lab).await;
    for says in [true, false] {
        let leader = lab.settled().await;
        for other in lab.others(leader) {
            let (from, to) = (Host::Node(leader), Host::Node(other));
            let (from, to) = if says { (from, to) } else { (to, from) };
            lab.lag(from, to, Lag::of(ms(80), ms(20)));
        }
        is_stable("one_way_is_slow", &lab, &crowd).await;
        lab.heal();
    }
    crowd.finish("one_way_is_slow", lab).await;
}

/// P3, P5: of the packets between all hosts a third come twice, and a fifth are
/// overtaken by others.
#[cfg_attr(test, tokio::test)]
pub async fn doubled_and_overtaken() {
    let Some(mut lab) = Lab::start_with(options(), &[Gear::Switch]).await else { return };
    let crowd = Crowd::start(&lab).await;
    for (doubled_percent, overtaken_percent) in [(33, 0), (0, 20), (33, 20)] {
        let lag = Lag {
            doubled_percent,
            overtaken_percent,
            ..Lag::of(ms(1), Duration::from_micros(500))
        };
        for from in Host::ALL {
            for to in Host::ALL.into_iter().filter(|to| *to != from) {
                lab.lag(from, to, lag);
            }
        }
        let what = format!("doubled_and_overtaken: {doubled_percent} and {overtaken_percent} %");
        is_stable(&what, &lab, &crowd).await;
    }
    lab.heal();
    crowd.finish("doubled_and_overtaken", lab).await;
}
