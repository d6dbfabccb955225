//! Nodes of two neighbouring versions in one cluster. There is one version so far, so
//! the older one is this one, told to know the first rules alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use triad_ledger::RULES;
use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::{Cluster, Holders, Options, licenses, skip, wait};

use crate::bad_nodes::copy_folder;
use crate::members::{is_whole, made, spawned};

const LIMIT: Duration = Duration::from_secs(20);
/// Between two rounds of one client: the log is to be read whole afterwards.
const PACE: Duration = Duration::from_millis(20);
const VARIABLE: &str = "TRIAD_EMULATE_RULES";
/// What an older version says when it is too old.
const TOO_OLD: &str = "rules 3 are in use, and this program knows rules up to 1";

/// A cluster of nodes that know these rules alone; `None` where the program under test
/// cannot pretend.
async fn of_rules(rules: [u32; 3]) -> Option<Cluster> {
    let mut cluster = Cluster::create(Options::default()).await;
    for (node, rules) in cluster.nodes.iter_mut().zip(rules) {
        node.set_environment(VARIABLE, &rules.to_string());
        node.start();
    }
    cluster.settled().await;
    if !cluster.nodes[0].log().contains("behaving as an older version") {
        skip::skip("the program under test does not behave as an older version");
        return None;
    }
    let license = licenses::document(&cluster.draft(), &cluster.publisher);
    cluster.license(&license).await;
    Some(cluster)
}

/// Stops a node in order, and starts it as one that knows these rules.
async fn becomes(cluster: &mut Cluster, n: usize, rules: u32) {
    cluster.nodes[n].sigterm().await;
    begins(cluster, n, rules).await;
}

/// Starts a node as one that knows these rules.
async fn begins(cluster: &mut Cluster, n: usize, rules: u32) {
    cluster.nodes[n].set_environment(VARIABLE, &rules.to_string());
    cluster.nodes[n].start();
    let healthy = async || {
        let status = cluster.triad("status").await;
        let is_healthy = status.stdout.starts_with("Healthy: 3 of 3 nodes");
        is_healthy.then_some(()).ok_or(status.stdout)
    };
    wait::until("all three serve", LIMIT, healthy).await;
}

async fn says(cluster: &Cluster, what: &str) {
    let look = async || {
        let status = cluster.triad("status").await;
        status.stdout.contains(what).then_some(()).ok_or(status.stdout)
    };
    wait::until(&format!("status says {what:?}"), LIMIT, look).await;
}

/// Waits until all three use these rules.
async fn until_in_use(cluster: &Cluster, rules: u32) {
    let look = |sightings: &triad_tests::Sightings| {
        let using = sightings.answering().filter(|(_, status)| status.rules == rules).count();
        (using == 3).then_some(())
    };
    cluster.until(&format!("rules {rules} are in use"), START_LIMIT, look).await;
}

/// Every node says that these rules are in use.
async fn assert_in_use(cluster: &Cluster, rules: u32) {
    let sightings = cluster.sightings().await;
    let found: Vec<u32> = sightings.answering().map(|(_, status)| status.rules).collect();
    assert_eq!(found, [rules; 3], "{sightings}");
}

/// Clients who take seats and give them back, again and again.
struct Load {
    done: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster, count: usize) -> Load {
        let (done, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |number| {
            let client = cluster.client().user(format!("busy{number}")).build().unwrap();
            let (done, rounds) = (done.clone(), rounds.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let seat = client.checkout(FEATURE, "", 1).await;
                    let seat = seat.unwrap_or_else(|error| panic!("busy{number}: {error}"));
                    let back = seat.give_back().await;
                    back.unwrap_or_else(|error| panic!("busy{number} gives back: {error}"));
                    rounds.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PACE).await;
                }
            })
        };
        let clients = (0..count).map(one).collect();
        Load { done, rounds, clients }
    }

    /// Waits until so many more rounds were made.
    async fn goes_on(&self, more: u64) {
        let wanted = self.rounds.load(Ordering::Relaxed) + more;
        let look = async || {
            let made = self.rounds.load(Ordering::Relaxed);
            (made >= wanted).then_some(()).ok_or(format!("{made} of {wanted}"))
        };
        wait::until("clients are served", LIMIT, look).await;
    }

    /// Stops. No client ever met an error.
    async fn ended(self) {
        self.done.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no client met an error");
        }
    }
}

/// P5, P7: three nodes are upgraded one after the other while people work, and one of
/// them goes back in between. Nobody loses a seat and no client meets an error. Newer
/// rules are used once the third node knows them and not before; from then on the
/// older version refuses, and says what to do.
#[tokio::test]
async fn nodes_are_upgraded_one_after_the_other() {
    let Some(mut cluster) = of_rules([1; 3]).await else { return };
    let holders = Holders::seat(&cluster, 10).await;
    let load = Load::start(&cluster, 4);
    assert_in_use(&cluster, 1).await;

    let last = cluster.settled().await;
    let [first, second] = cluster.others(last);
    for n in [first, second] {
        becomes(&mut cluster, n, RULES).await;
        load.goes_on(20).await;
    }
    // One that knows them leads, and could raise them.
    let name = |cluster: &Cluster, n: usize| cluster.nodes[n].name.clone();
    let to = format!("leader transfer --to {}", name(&cluster, first));
    let moved = cluster.triad(&to).await;
    assert_eq!(moved.code(), 0, "{}{}", moved.stdout, moved.stderr);
    let behind =
        format!("rules 1 of {RULES}: {} still runs an older version", name(&cluster, last));
    says(&cluster, &behind).await;
    load.goes_on(200).await;
    assert_in_use(&cluster, 1).await;

    // Back, and forth again.
    becomes(&mut cluster, second, 1).await;
    load.goes_on(20).await;
    becomes(&mut cluster, second, RULES).await;
    says(&cluster, &behind).await;
    assert_in_use(&cluster, 1).await;

    cluster.nodes[last].sigterm().await;
    let aside = cluster.folder().join("aside");
    copy_folder(&cluster.nodes[last].data(), &aside);
    begins(&mut cluster, last, RULES).await;
    until_in_use(&cluster, RULES).await;
    let status = cluster.triad("status").await.stdout;
    assert!(
        status.contains(&format!(", rules {RULES}\n")) && !status.contains("older version"),
        "{status}"
    );
    for n in 0..3 {
        let metrics = cluster.web(n).get("/metrics", &[]).await.unwrap().text;
        assert!(metrics.contains(&format!("\ntriad_rules {RULES}\n")), "{metrics}");
    }
    load.goes_on(20).await;

    // The older version no more, whether the image has it or the log alone.
    for in_order in [true, false] {
        match in_order {
            true => drop(cluster.nodes[second].sigterm().await),
            false => cluster.nodes[second].kill9().await,
        }
        cluster.nodes[second].set_environment(VARIABLE, "1");
        let refused = cluster.nodes[second].start_in_vain().await;
        assert_eq!(refused.code(), 1, "{}", refused.stderr);
        assert!(refused.stderr.contains(TOO_OLD), "{}", refused.stderr);
        assert!(refused.stderr.contains("docs/how-to/upgrade.md"), "{}", refused.stderr);
        cluster.nodes[second].set_environment(VARIABLE, &RULES.to_string());
        cluster.nodes[second].start();
        cluster.settled().await;
    }
    load.ended().await;
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
    cluster.equal_ledgers().await;
    drop(holders);
    cluster.until_checkouts(0, LIMIT).await;

    // Nor when it has never heard of them: it is as it was before the upgrade, among
    // nodes that do not remember what it confirmed to them.
    for node in &mut cluster.nodes {
        node.sigterm().await;
    }
    std::fs::remove_dir_all(cluster.nodes[last].data()).unwrap();
    std::fs::rename(&aside, cluster.nodes[last].data()).unwrap();
    for n in [first, second] {
        cluster.nodes[n].start();
    }
    cluster.settled().await;
    cluster.nodes[last].set_environment(VARIABLE, "1");
    let refused = cluster.nodes[last].start_in_vain().await;
    assert_eq!(refused.code(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("this program is too old for its cluster"), "{refused:?}");
    assert!(refused.stderr.contains(TOO_OLD), "{}", refused.stderr);

    let checked = cluster.check_history(first, Vec::new()).await;
    assert!(checked.answered > 500, "{checked:?}");
}

/// P7: a node of an older version is not taken into a cluster whose rules it does not
/// know: the command says so, the node stops before it applies anything, and is taken
/// in as soon as it is the right version.
#[tokio::test]
async fn a_node_of_an_older_version_is_not_taken_in() {
    let Some(mut cluster) = of_rules([RULES; 3]).await else { return };
    until_in_use(&cluster, RULES).await;
    let holders = Holders::seat(&cluster, 5).await;
    let (place, directory) = (cluster.spare_place("d"), cluster.folder().display().to_string());
    let command = format!("node add {place} --dir {directory}");
    let adding = spawned(&cluster, &command);
    let made = made(&cluster, "d-4").await;
    let new = cluster.adopt(&made, None);
    cluster.nodes[new].set_environment(VARIABLE, "1");
    cluster.nodes[new].start();
    let refused = tokio::time::timeout(LIMIT, adding.wait_with_output()).await;
    let refused = refused.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("d runs an older version of Triad, which knows rules up to 1"), "{said}");
    assert!(said.contains("docs/how-to/upgrade.md"), "{said}");
    is_whole(&cluster, 3).await;

    // It may have been sent something before it was put out, and have stopped at that.
    match cluster.nodes[new].process_id() {
        Some(_) => drop(cluster.nodes[new].sigterm().await),
        None => {
            assert_eq!(cluster.nodes[new].stopped().await.code(), Some(1));
            assert!(cluster.nodes[new].log().contains(TOO_OLD), "{}", cluster.nodes[new].log());
        }
    }
    cluster.nodes[new].set_environment(VARIABLE, &RULES.to_string());
    cluster.nodes[new].start();
    let added = cluster.triad(&command).await;
    assert_eq!(added.code(), 0, "{}{}", added.stdout, added.stderr);
    is_whole(&cluster, 4).await;
    holders.assert_kept(&cluster).await;
    cluster.equal_ledgers().await;
}
