//! The long run: kills, power cuts, freezes and partitions, one after the other,
//! as many as wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use triad_tests::Lab;
use triad_tests::lab::Gear;

use crate::crowd::{Crowd, LEASE, options};

/// Rounds on one cluster; then comes another, so that logs and histories stay
/// small enough to be checked.
const ROUNDS_PER_LAB: usize = 100;
/// After so many rounds everybody holds on, and the ledger is compared.
const ROUNDS_PER_AUDIT: usize = 50;
/// Seats that have to be granted before the next fault.
const SERVED: u64 = 10;
const DISKS: Gear = Gear::Disks { mib: 256 };

/// What is done to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9`, of the leader two times of three, or of a follower.
    Kill,
    /// A power cut of one node, the leader two times of three.
    CutOfOne,
    /// A power cut of all three at one moment.
    CutOfAll,
    /// The leader stands still until another leads.
    Freeze,
    /// The leader and the others hear nothing of each other until another leads.
    Partition,
}

impl Fault {
    /// All there are.
    pub const ALL: [Fault; 5] =
        [Fault::Kill, Fault::CutOfOne, Fault::CutOfAll, Fault::Freeze, Fault::Partition];

    /// As figures name it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kills",
            Fault::CutOfOne => "cuts_of_one",
            Fault::CutOfAll => "cuts_of_all",
            Fault::Freeze => "freezes",
            Fault::Partition => "partitions",
        }
    }
}

/// How many of each.
pub type Plan = BTreeMap<Fault, usize>;

/// How long nobody was answered, in each round of a kind.
pub type Gaps = Arc<Mutex<BTreeMap<Fault, Vec<Duration>>>>;

/// Does all of it, and adds to `gaps` as it goes. `None` where there can be no
/// lab.
///
/// # Panics
///
/// If a promise is broken.
pub async fn run(plan: Plan, gaps: Gaps) -> Option<()> {
    let mut order = shuffled(&plan);
    let total = order.len();
    while !order.is_empty() {
        let some = order.split_off(order.len().saturating_sub(ROUNDS_PER_LAB));
        let lab = Lab::start_with(options(), &[DISKS]).await?;
        on_one_lab(lab, some, &gaps, total).await;
    }
    Some(())
}

/// The faults, so that each kind is spread over the whole run.
fn shuffled(plan: &Plan) -> Vec<Fault> {
    let mut places: Vec<(f64, Fault)> = Vec::new();
    for (fault, count) in plan {
        let place = |n: usize| (n as f64 + 0.5) / *count as f64;
        places.extend((0..*count).map(|n| (place(n), *fault)));
    }
    places.sort_by(|one, other| one.0.total_cmp(&other.0));
    places.into_iter().map(|(_, fault)| fault).collect()
}

async fn on_one_lab(mut lab: Lab, faults: Vec<Fault>, gaps: &Gaps, total: usize) {
    let crowd = Crowd::start(&lab).await;
    for (round, fault) in faults.into_iter().enumerate() {
        let began = Instant::now();
        crowd.book().forget_gaps();
        strike(&mut lab, &crowd, fault, round).await;
        let gap = crowd.book().longest_gap();
        assert!(gap < LEASE, "{fault:?}: nobody was answered for {gap:?}");
        lab.settled().await;
        let done: usize = {
            let mut gaps = gaps.lock().expect("no panic while held");
            gaps.entry(fault).or_default().push(gap);
            gaps.values().map(Vec::len).sum()
        };
        println!(
            "{done} of {total}: {}, gap {gap:.0?}, {:.1?} in all",
            fault.name(),
            began.elapsed()
        );
        if (round + 1) % ROUNDS_PER_AUDIT == 0 {
            crowd.audit(&lab).await;
        }
    }
    crowd.until_held().await;
    crowd.finish("rounds", lab).await;
}

/// One fault, until clients are served again, and what undoes it.
async fn strike(lab: &mut Lab, crowd: &Crowd, fault: Fault, round: usize) {
    let leader = lab.leader().await;
    let victim = if round % 3 == 2 { lab.others(leader)[round % 2] } else { leader };
    match fault {
        Fault::Kill => {
            lab.nodes[victim].kill9().await;
            crowd.until_served(SERVED).await;
            lab.nodes[victim].start();
        }
        Fault::CutOfOne => {
            lab.cut_power(&[victim]).await;
            crowd.until_served(SERVED).await;
            lab.switch_on(victim);
        }
        Fault::CutOfAll => {
            lab.cut_power(&[0, 1, 2]).await;
            for n in 0..3 {
                lab.switch_on(n);
            }
            crowd.until_served(SERVED).await;
        }
        Fault::Freeze => {
            lab.nodes[leader].sigstop();
            crowd.until_served(SERVED).await;
            lab.nodes[leader].sigcont();
        }
        Fault::Partition => {
            lab.partition(leader);
            crowd.until_served(SERVED).await;
            lab.heal();
        }
    }
}

/// Some of each, in the suite.
#[cfg_attr(test, tokio::test)]
pub async fn some_of_each() {
    let plan = Plan::from(Fault::ALL.map(|fault| (fault, 3)));
    let gaps = Gaps::default();
    if run(plan.clone(), gaps.clone()).await.is_some() {
        let gaps = gaps.lock().expect("no panic while held");
        assert!(plan.iter().all(|(fault, count)| gaps[fault].len() == *count), "{gaps:?}");
    }
}
