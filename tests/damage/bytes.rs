//! Bits, sectors and lengths of every file of a node, and files that are gone
//! or cannot be read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, wait};

use crate::files::{Damage, Kept, damages, dice};
use crate::trial::{Tally, Truth, Verdict, judge};

/// The run ends after about so long; what is left out is said.
const BUDGET: Duration = Duration::from_secs(60);
/// Places in each file, for each kind of damage.
const SAMPLES: usize = 2;
/// A long run: so many places instead, and no end before all were tried.
const SAMPLES_VARIABLE: &str = "TRIAD_DAMAGE_SAMPLES";
/// Entries after which a log may be purged: soon, so that a snapshot is sent
/// and the log does not reach back to the beginning.
const SNAPSHOT_ENTRIES: usize = 100;

/// How often the victim is sent a snapshot until one was caught: it lies there for
/// some milliseconds, which a busy machine may sleep through.
const ROUNDS_MAX: usize = 10;

/// Looks, without a pause, for a file that is soon removed again, and keeps it under another
/// name; until it was caught or is waited for no more. Whether it was.
fn catch(file: PathBuf, kept: PathBuf, is_over: Arc<AtomicBool>) -> JoinHandle<bool> {
    tokio::task::spawn_blocking(move || {
        loop {
            if fs::hard_link(&file, &kept).is_ok() {
                return true;
            }
            if is_over.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::yield_now();
        }
    })
}

/// A cluster whose victim was sent a snapshot, stopped in good order; and the
/// snapshot as it lay on its disk while it was installed.
pub async fn with_a_snapshot(
    victim_of: impl Fn(usize, [usize; 2]) -> usize,
) -> (Cluster, usize, PathBuf) {
    let more_config = format!("[raft]\nsnapshot_entries = {SNAPSHOT_ENTRIES}\n");
    let mut cluster = Cluster::start(Options { more_config, ..Options::default() }).await;
    let leader = cluster.settled().await;
    let victim = victim_of(leader, cluster.others(leader));
    let client = cluster.client().user("busy").build().unwrap();
    let kept = client.checkout(FEATURE, "", 1).await.unwrap();
    cluster.equal_ledgers().await;
    let folder = cluster.nodes[victim].data().join("snapshot");
    let caught = cluster.folder().join("caught.snapshot");
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds <= ROUNDS_MAX, "no incoming.snapshot was ever seen");
        cluster.nodes[victim].sigterm().await;
        for _ in 0..3 * SNAPSHOT_ENTRIES {
            client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let catching = catch(folder.join("incoming.snapshot"), caught.clone(), is_over.clone());
        cluster.nodes[victim].start();
        cluster.settled().await;
        cluster.equal_ledgers().await;
        is_over.store(true, Ordering::Relaxed);
        if catching.await.unwrap() {
            break;
        }
    }
    kept.give_back().await.unwrap();
    client.close().await;
    cluster.equal_ledgers().await;
    let look = async || crate::trial::history_is_whole(&cluster, victim).await;
    wait::until("the victim's history is whole", Duration::from_secs(30), look).await;
    cluster.nodes[victim].sigterm().await;
    (cluster, victim, caught)
}

/// The file that a refusal must name: the image is one thing, whatever it is
/// made of.
fn named(directory: &Path, file: &Path) -> PathBuf {
    match file.starts_with("data/image") {
        true => directory.join("data/image"),
        false => directory.join(file),
    }
}

/// The words of a configuration that say where a node listens. Altered, they
/// make a good configuration of another node, which nobody finds.
fn is_where_it_listens(content: &[u8], at: u64) -> bool {
    let line_begins = content[..at as usize].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let line = &content[line_begins..];
    line.starts_with(b"clients") || line.starts_with(b"peers")
}

/// P8, P15: bits are flipped, sectors zeroed, and ends cut off in every file of a node, and files
/// are gone or cannot be read. It refuses with the file and a way out, or it has what its peers have.
#[tokio::test]
async fn bits_sectors_and_lengths() {
    let mut dice = dice();
    let given = std::env::var(SAMPLES_VARIABLE).ok();
    let samples = given.as_ref().map_or(SAMPLES, |text| text.parse().expect("a count of places"));
    let budget = given.map_or(BUDGET, |_| Duration::MAX);
    let (mut cluster, victim, caught) = with_a_snapshot(|_, [follower, _]| follower).await;
    let [other, _] = cluster.others(victim);
    let truth = Truth::of(&cluster, other).await;
    let directory = cluster.nodes[victim].directory.clone();
    let kept = Kept::new(&directory, cluster.folder().join("kept"));
    let mut trials = Vec::new();
    for file in kept.files() {
        let is_ours = file != Path::new("log.txt") && !file.ends_with("DO_NOT_PUT_YOUR_FILES_HERE");
        if is_ours {
            let content = kept.content(&file);
            trials.extend(
                damages(&content, samples, &mut dice).into_iter().map(|d| (file.clone(), d)),
            );
        }
    }
    // A snapshot that is not in the image yet, whole and damaged.
    let pending = PathBuf::from("data/snapshot/pending.snapshot");
    let content = fs::read(&caught).unwrap();
    trials.push((pending.clone(), Damage::Other(caught.clone())));
    trials.extend(damages(&content, samples, &mut dice).into_iter().map(|d| (pending.clone(), d)));
    rand::seq::SliceRandom::shuffle(&mut *trials, &mut dice);

    let (mut tally, began, all) = (Tally::default(), Instant::now(), trials.len());
    let mut done = 0;
    for (file, damage) in trials {
        if began.elapsed() > budget {
            break;
        }
        if let Damage::Flip { at, .. } | Damage::Zero { at } | Damage::Cut { length: at } = damage
            && file == Path::new("triad.toml")
            && is_where_it_listens(&kept.content(&file), at)
        {
            continue;
        }
        kept.bring_back();
        let path = directory.join(&file);
        if file == pending {
            fs::copy(&caught, &path).unwrap();
        }
        damage.to(&path);
        let what = format!("{} {damage:?}", file.display());
        let verdict = judge(&mut cluster, victim, &truth, &named(&directory, &file)).await;
        tally.note(&file, &what, verdict);
        done += 1;
    }
    println!("{done} of {all} trials in {:.0?}", began.elapsed());
    assert!(tally.of(Verdict::Refused) > done / 4, "damage is found: {tally:?}");

    kept.bring_back();
    cluster.nodes[victim].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;
    tally.finish();
}
