//! Files of another node, or of another cluster, in the place of a node's own.

use std::fs;
use std::path::{Path, PathBuf};

use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options};

use crate::files::{Damage, Kept, copy_folder};
use crate::trial::{Tally, Truth, Verdict, judge};

/// A cluster with a little history, and its first node stopped.
async fn used(count: usize, user: &str) -> Cluster {
    let mut cluster = Cluster::start(Options::default()).await;
    let client = cluster.client().user(user).build().unwrap();
    for _ in 0..count {
        client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    }
    client.close().await;
    cluster.settled().await;
    cluster.equal_ledgers().await;
    cluster.nodes[0].sigterm().await;
    cluster.settled().await;
    cluster
}

/// Nothing else will do.
fn only(expected: Verdict, verdict: Result<Verdict, String>) -> Result<Verdict, String> {
    match verdict {
        Ok(other) if other != expected => Err(format!("{other:?}, not {expected:?}")),
        verdict => verdict,
    }
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(data.join("log")).unwrap().flatten().map(|entry| entry.path());
    let mut names: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|e| e == "segment")).collect();
    names.sort();
    names
}

/// P8: files of another node, of another cluster and of an older time in the place of a node's own.
#[tokio::test]
async fn files_of_others() {
    let mut cluster = used(20, "own").await;
    let stranger = used(30, "stranger").await;
    let victim = 0;
    let [peer, _] = cluster.others(victim);
    let truth = Truth::of(&cluster, peer).await;
    let node = |of: &Cluster, n: usize| of.nodes[n].directory.clone();
    let directory = node(&cluster, victim);
    let kept = Kept::new(&directory, cluster.folder().join("kept"));
    let sources =
        [("another node's", node(&cluster, peer)), ("another cluster's", node(&stranger, 0))];
    let mut tally = Tally::default();

    for (whose, source) in &sources {
        // The configuration and certificates, one by one.
        for file in ["triad.toml", "node.pem", "node-key.pem", "ca.pem", "data/log/state"] {
            kept.bring_back();
            let same = fs::read(source.join(file)).unwrap() == kept.content(Path::new(file));
            Damage::Other(source.join(file)).to(&directory.join(file));
            // The configuration is what everything else is compared with, and of
            // a certificate and its key the certificate is.
            let named = match file {
                "triad.toml" => directory.clone(),
                "node-key.pem" => directory.join("node"),
                _ => directory.join(file),
            };
            let what = format!("{file} is {whose}");
            let expected = if same { Verdict::Harmless } else { Verdict::Refused };
            let verdict = judge(&mut cluster, victim, &truth, &named).await;
            tally.note(Path::new(file), &what, only(expected, verdict));
        }
        // The log's segments, of which there may be more.
        kept.bring_back();
        for own in segments(&directory.join("data")) {
            fs::remove_file(own).unwrap();
        }
        for other in segments(&source.join("data")) {
            fs::copy(&other, directory.join("data/log").join(other.file_name().unwrap())).unwrap();
        }
        let what = format!("the segments are {whose}");
        let named = directory.join("data/log");
        let verdict = judge(&mut cluster, victim, &truth, &named).await;
        tally.note(Path::new("segments"), &what, only(Verdict::Refused, verdict));
        // The image: another node's is the same ledger; another cluster's is a
        // whole and proven image too, and yet not ours.
        kept.bring_back();
        let image = directory.join("data/image");
        fs::remove_dir_all(&image).unwrap();
        copy_folder(&source.join("data/image"), &image);
        let what = format!("the image is {whose}");
        let is_foreign = source.starts_with(stranger.folder());
        let expected = if is_foreign { Verdict::Refused } else { Verdict::Harmless };
        let verdict = judge(&mut cluster, victim, &truth, &image).await;
        tally.note(Path::new("image"), &what, only(expected, verdict));
    }
    // Lost as a whole, while the log has everything: made again.
    kept.bring_back();
    fs::remove_dir_all(directory.join("data/image")).unwrap();
    let named = directory.join("data/image");
    let verdict = judge(&mut cluster, victim, &truth, &named).await;
    tally.note(Path::new("image"), "the image is gone", only(Verdict::Harmless, verdict));
    // The mark of a newborn on a node that is none: it must not found anything.
    kept.bring_back();
    fs::write(directory.join("data/newborn"), "").unwrap();
    let named = directory.join("data/newborn");
    let verdict = judge(&mut cluster, victim, &truth, &named).await;
    tally.note(Path::new("data/newborn"), "the mark of a newborn", verdict);

    kept.bring_back();
    cluster.nodes[victim].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;
    tally.finish();
}
