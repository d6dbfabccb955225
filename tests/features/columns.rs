//! The columns: one cluster each, all rows on it at once, one fault.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join, join_all};
use tokio::sync::{Mutex, RwLock, mpsc, watch};
use tokio::time::{Instant, timeout};
use triad_tests::cluster::START_LIMIT;
use triad_tests::{Cluster, Lab, Options, wait};

use crate::rows;
use crate::scene::{GATES, Moment, Scene};
use crate::table::{Cell, Column};

/// A session's lease: none ends, however slow the machine is.
const LEASE: Duration = Duration::from_secs(30);
/// How long all rows may take to get to a gate, or to their end.
const ROWS_LIMIT: Duration = Duration::from_secs(120);
/// So many entries make a snapshot, and half as many are kept behind it: the
/// least that a node takes. What a row set up is in the image when nodes restart,
/// and in a snapshot when a node was away.
const SNAPSHOT_ENTRIES: usize = 100;
/// What nobody else asks for, to fill the log with.
const FILLER: &str = "filler";

/// What happens to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    LeaderKilled,
    AllRestarted,
    LeaderPartitioned,
    LeadershipTransferred,
}

impl Fault {
    /// The heads of the table.
    pub const NAMES: [&str; 4] =
        ["leader killed", "all three restarted", "leader partitioned", "leadership transferred"];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What the nodes stand on.
pub enum Ground {
    Loopback(Box<Cluster>),
    Network(Box<Lab>),
}

impl Deref for Ground {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        match self {
            Ground::Loopback(cluster) => cluster,
            Ground::Network(lab) => lab,
        }
    }
}

impl DerefMut for Ground {
    fn deref_mut(&mut self) -> &mut Cluster {
        match self {
            Ground::Loopback(cluster) => cluster,
            Ground::Network(lab) => lab,
        }
    }
}

/// Runs all rows through one fault, and fails if one of them does.
pub async fn run(fault: Fault) {
    // One column at a time in one process: each keeps both processors busy.
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    let options = Options {
        lease: LEASE,
        features: vec![(FILLER.into(), 1)],
        more_config: format!("[raft]\nsnapshot_entries = {SNAPSHOT_ENTRIES}\n"),
        ..Options::default()
    };
    let started = Instant::now();
    let ground = match fault {
        Fault::LeaderPartitioned => match Lab::start(options).await {
            Some(lab) => Ground::Network(Box::new(lab)),
            None => return,
        },
        _ => Ground::Loopback(Box::new(Cluster::start(options).await)),
    };
    let cluster = Arc::new(RwLock::new(ground));
    let (moments, moment) = watch::channel(Moment::SettingUp);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..GATES).map(|_| mpsc::channel(1)).unzip();
    let scene =
        Scene::new(cluster.clone(), moment, std::array::from_fn(|n| Some(senders[n].clone())));
    rows::prepare(&scene).await;
    let rows = rows::all().into_iter().map(|(name, row)| {
        let scene = scene.for_row();
        async move { (name, cell(row(scene)).await) }
    });
    let rows: Vec<_> = rows.collect();
    drop((scene, senders));
    let drive = drive(fault, &cluster, moments, receivers);
    let (cells, driven) = join(join_all(rows), AssertUnwindSafe(drive).catch_unwind()).await;
    let mut cells: BTreeMap<String, Cell> =
        cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect();
    let equal = cell(equal_ledgers(cluster.clone()).boxed_local()).await;
    cells.insert(rows::EQUAL_LEDGERS.into(), equal);
    let column = Column { fault: fault.name().into(), took: started.elapsed(), cells };
    let table = column.add_to_table();
    println!("{table}");
    if let Err(panic) = driven {
        std::panic::resume_unwind(panic);
    }
    assert!(column.is_green(), "red cells under {:?}, see the table", fault.name());
}

/// P7: after all of it, what the nodes have is the same, byte for byte.
async fn equal_ledgers(cluster: Arc<RwLock<Ground>>) {
    cluster.read().await.equal_ledgers().await;
}

/// One row, to its end or to its first surprise.
async fn cell(row: LocalBoxFuture<'static, ()>) -> Cell {
    let limited = timeout(2 * ROWS_LIMIT, row);
    match AssertUnwindSafe(limited).catch_unwind().await {
        Ok(Ok(())) => Cell::Green,
        Ok(Err(_)) => Cell::Red("it came to no end".into()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
            Cell::Red(text.unwrap_or_else(|| "a panic without words".into()))
        }
    }
}

/// Leads the rows through the column. If it fails, so do they.
async fn drive(
    fault: Fault,
    cluster: &RwLock<Ground>,
    moments: watch::Sender<Moment>,
    gates: Vec<mpsc::Receiver<()>>,
) {
    let mut gates = gates.into_iter();
    let mut all_rows = async || {
        let mut gate = gates.next().expect("a gate for each moment");
        // Closed when the last row has let go of it.
        let open = timeout(ROWS_LIMIT, gate.recv()).await;
        open.expect("all rows come to the gate in time");
    };
    all_rows().await;
    moments.send_replace(Moment::LastCall);
    all_rows().await;
    let old = cluster.read().await.settled().await;
    moments.send_replace(Moment::Striking);
    let struck = Instant::now();
    strike(fault, cluster, old).await;
    println!("{}: somebody leads after {:.1?}", fault.name(), struck.elapsed());
    moments.send_replace(Moment::Struck);
    all_rows().await;
    moments.send_replace(Moment::Looked);
    all_rows().await;
    repair(fault, cluster, old).await;
    moments.send_replace(Moment::Repaired);
}

/// Does it, and waits until somebody leads.
async fn strike(fault: Fault, cluster: &RwLock<Ground>, old: usize) {
    // The rows that act at this very moment begin.
    tokio::task::yield_now().await;
    match fault {
        Fault::LeaderKilled => {
            cluster.write().await.nodes[old].kill9().await;
            cluster.read().await.leader().await;
            fill(cluster).await;
        }
        Fault::AllRestarted => {
            let mut cluster = cluster.write().await;
            for node in &mut cluster.nodes {
                node.kill9().await;
            }
            for node in &mut cluster.nodes {
                node.start();
            }
            cluster.leader().await;
        }
        Fault::LeaderPartitioned => {
            match &mut *cluster.write().await {
                Ground::Network(lab) => lab.partition(old),
                Ground::Loopback(_) => unreachable!("loopback cannot be parted"),
            }
            let another = |s: &triad_tests::Sightings| s.leader().filter(|leader| *leader != old);
            cluster.read().await.until("another leads", START_LIMIT, another).await;
            fill(cluster).await;
        }
        Fault::LeadershipTransferred => {
            let cluster = cluster.read().await;
            let [next, _] = cluster.others(old);
            transfer(&cluster, next).await;
        }
    }
}

/// Undoes it. Whoever was away leads then, so that what he was given since counts.
async fn repair(fault: Fault, cluster: &RwLock<Ground>, old: usize) {
    match fault {
        Fault::LeaderKilled => cluster.write().await.nodes[old].start(),
        Fault::LeaderPartitioned => match &mut *cluster.write().await {
            Ground::Network(lab) => lab.heal(),
            Ground::Loopback(_) => unreachable!("loopback cannot be parted"),
        },
        Fault::AllRestarted | Fault::LeadershipTransferred => {}
    }
    let cluster = cluster.read().await;
    cluster.settled().await;
    let next = match fault {
        Fault::LeaderKilled | Fault::LeaderPartitioned => {
            let look = async || {
                let log = cluster.nodes[old].log();
                let replaced = log.contains("the ledger was replaced by a snapshot");
                replaced.then_some(()).ok_or_else(|| "it caught up by entries".to_owned())
            };
            wait::until("the old leader is given a snapshot", START_LIMIT, look).await;
            old
        }
        Fault::LeadershipTransferred => cluster.others(old)[1],
        Fault::AllRestarted => return,
    };
    transfer(&cluster, next).await;
}

/// Makes a node the leader, by one command.
async fn transfer(cluster: &Cluster, next: usize) {
    let name = &cluster.nodes[next].name;
    let moved = cluster.triad(&format!("leader transfer --to {name}")).await;
    assert_eq!(moved.code(), 0, "{moved:?}");
    assert_eq!(cluster.settled().await, next, "{moved:?}");
}

/// More entries than the log keeps for who is away.
async fn fill(cluster: &RwLock<Ground>) {
    let filler = cluster.read().await.client().user("filler").build().unwrap();
    for _ in 0..SNAPSHOT_ENTRIES {
        // Two entries each.
        filler.checkout(FILLER, "", 1).await.unwrap().give_back().await.unwrap();
    }
    filler.close().await;
}
