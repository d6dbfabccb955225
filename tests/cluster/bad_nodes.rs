//! Nodes that must not start: each says where the trouble is and what to do
//! about it, and the other two go on.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use triad_server::authority::Authority;
use triad_server::node_spec::NodeSpec;
use triad_tests::cluster::FEATURE;
use triad_tests::node::{Ended, flip_bit};
use triad_tests::{Cluster, Node, Options, clock};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The node that is maltreated.
const VICTIM: usize = 2;

/// A node refused to start: with an error for a person, which contains all of
/// `words`, and without the traces of a crash.
fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("error: "), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
    }
    for trace in ["panicked", "RUST_BACKTRACE", "Error {"] {
        assert!(!ended.stderr.contains(trace), "{trace:?} is in {ended:?}");
    }
}

async fn assert_served(cluster: &Cluster) {
    let client = cluster.client().user("meanwhile").build().unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
}

fn path_of(node: &Node, file: &str) -> String {
    node.directory.join(file).display().to_string()
}

/// P8, P11, P15: wrong configurations, certificates, ports and directories.
#[tokio::test]
async fn nodes_that_are_set_up_wrongly() {
    let mut cluster = Cluster::start(Options::default()).await;
    cluster.nodes[VICTIM].sigterm().await;
    let node = &cluster.nodes[VICTIM];
    let config = path_of(node, "triad.toml");

    let good = fs::read_to_string(node.config()).unwrap();
    let own_id = cluster.draft().binding.to_string();
    let own_id = own_id.rsplit(' ').next().unwrap().to_owned();
    let other_id = "tc-00112233445566778899aabbccddeeff";
    let wrong_cluster = good.replace(&own_id, other_id);
    let configs: [(String, &[&str]); 5] = [
        (format!("colour = 1\n{good}"), &[&format!("{config}:1: unknown field `colour`")]),
        (good.replace("\nlease_ms = 20000", "\nlease_ms = 5"), &["session.lease_ms = 5: must be"]),
        (good.replace("node_id = 3", "node_id = 9"), &["node_id = 9: is not in the [[node]] list"]),
        (good.replacen('=', "", 1), &[&format!("{config}:")]),
        (wrong_cluster, &["ca.pem", &own_id, other_id, "or correct cluster_id"]),
    ];
    for (text, words) in configs {
        assert_ne!(text, good);
        fs::write(node.config(), text).unwrap();
        assert_refused(&node.start_in_vain().await, words);
    }
    fs::write(node.config(), &good).unwrap();

    // A certificate that has ended, and that of another node.
    let kept = ["node.pem", "node-key.pem"].map(|f| fs::read(node.directory.join(f)).unwrap());
    let put = |certificate: &[u8], key: &[u8]| {
        fs::write(node.directory.join("node.pem"), certificate).unwrap();
        fs::write(node.directory.join("node-key.pem"), key).unwrap();
    };
    let ca = cluster.folder().join("ca");
    let pem = |file: &str| fs::read_to_string(ca.join(file)).unwrap();
    let authority = Authority::from_pem(&pem("ca.pem"), &pem("ca-key.pem")).unwrap();
    let spec: NodeSpec = "c=127.0.0.1:27070".parse().unwrap();
    let issued = authority.issue_node(node.id, &spec, clock::now() - 100 * DAY, 90).unwrap();
    put(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes());
    let certificate = path_of(node, "node.pem");
    assert_refused(&node.start_in_vain().await, &[&certificate, "days ago"]);
    let other = ["node.pem", "node-key.pem"]
        .map(|file| fs::read(cluster.nodes[0].directory.join(file)).unwrap());
    put(&other[0], &other[1]);
    assert_refused(&node.start_in_vain().await, &[&certificate, "copy node.pem of this node"]);
    put(&kept[0], &kept[1]);

    // A port in use.
    let blocker = TcpListener::bind(&node.address).unwrap();
    let words = ["listen.clients", &node.address, "choose another port"];
    assert_refused(&node.start_in_vain().await, &words);
    drop(blocker);

    // A wiped disk: this node must not vote as if it had never promised anything.
    let (data, aside) = (node.data(), node.directory.join("aside"));
    fs::rename(&data, &aside).unwrap();
    let words = [data.to_str().unwrap(), "must not vote", "replace-a-node.md"];
    assert_refused(&node.start_in_vain().await, &words);
    fs::create_dir(&data).unwrap();
    assert_refused(&node.start_in_vain().await, &words);
    fs::remove_dir(&data).unwrap();
    fs::rename(&aside, &data).unwrap();
    fs::rename(data.join("log"), &aside).unwrap();
    assert_refused(&node.start_in_vain().await, &words);
    fs::rename(&aside, data.join("log")).unwrap();

    assert_served(&cluster).await;
    cluster.nodes[VICTIM].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;
}

/// The files of a folder that have something in them, the largest first.
fn files_in(folder: &Path) -> Vec<(u64, PathBuf)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.len() > 0 {
                files.push((metadata.len(), entry.path()));
            }
        }
    }
    files.sort();
    files.reverse();
    files
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// P8: one bit of the log is flipped, or the image is damaged, while a node is
/// down. It does not start, and names the file; the other two go on; with its
/// bytes back it is one of three again.
#[tokio::test]
async fn damaged_data_is_not_served() {
    let mut cluster = Cluster::start(Options::default()).await;
    let holder = cluster.client().user("holder").build().unwrap();
    let mut seats = Vec::new();
    for _ in 0..20 {
        seats.push(holder.checkout(FEATURE, "", 1).await.unwrap());
    }
    cluster.equal_ledgers().await;
    cluster.nodes[VICTIM].sigterm().await;
    let node = &cluster.nodes[VICTIM];

    // Bytes that say something, from the records in the middle of what is written.
    let log = node.data().join("log");
    let segments = files_in(&log).into_iter().filter(|(_, path)| path.extension().is_some());
    let mut flipped = 0;
    for (_, path) in segments {
        let bytes = fs::read(&path).unwrap();
        let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let Some(last) = written.last().copied().filter(|last| *last > 4_096) else { continue };
        for share in [2, 3] {
            let middle = written[written.len() / share];
            assert!(middle < last);
            flip_bit(&path, middle as u64).unwrap();
            let ended = node.start_in_vain().await;
            assert_refused(&ended, &[path.to_str().unwrap(), "offset", "damaged", "node replace"]);
            flip_bit(&path, middle as u64).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 0, "no segment has records: {:?}", files_in(&log));

    // A store changes its files even where it then gives up, so each attempt begins
    // with the same ones.
    let (image, kept) = (node.data().join("image"), node.directory.join("kept"));
    fs::rename(&image, &kept).unwrap();
    let (mut refused, mut healed) = (0, 0);
    for (_, path) in files_in(&kept) {
        let bytes = fs::read(&path).unwrap();
        // Somewhere in every line of 64 bytes, so that something that counts is hit.
        let alter = |(at, byte): (usize, &u8)| if at % 64 == 17 { byte ^ 1 } else { *byte };
        let damaged: Vec<u8> = bytes.iter().enumerate().map(alter).collect();
        copy_folder(&kept, &image);
        fs::write(image.join(path.strip_prefix(&kept).unwrap()), &damaged).unwrap();
        let node = &mut cluster.nodes[VICTIM];
        if let Some(ended) = node.start_or_refuse().await {
            assert_refused(&ended, &[image.to_str().unwrap(), "damaged", "replace-a-node.md"]);
            refused += 1;
        } else {
            // An image that ends earlier is no harm: the log has the rest.
            cluster.settled().await;
            cluster.equal_ledgers().await;
            cluster.nodes[VICTIM].kill9().await;
            healed += 1;
        }
        fs::remove_dir_all(&image).unwrap();
    }
    assert!(refused > 0, "the image is empty: {:?}", files_in(&kept));
    println!("{flipped} bits of the log damaged; {refused} files of the image, {healed} healed");
    fs::rename(&kept, &image).unwrap();

    assert_served(&cluster).await;
    cluster.nodes[VICTIM].start();
    cluster.settled().await;
    assert_eq!(cluster.checkouts().await.len(), seats.len());
    cluster.equal_ledgers().await;
}
