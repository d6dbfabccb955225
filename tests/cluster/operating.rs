//! What an administrator does to nodes that run: new certificates, another
//! configuration, draining; and what the service manager is told.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use triad_client::{BorrowEnd, Item, State};
use triad_proto::net::{ClientTls, Connector, Identity, TcpNetwork, fingerprint_of};
use triad_proto::v1::{self, Reason};
use triad_tests::cluster::FEATURE;
use triad_tests::sightings::Sightings;
use triad_tests::{Cluster, Options, RawSession, licenses, raw, site, wait};

use crate::members::{done, is_whole, made, spawned};

const LIMIT: Duration = Duration::from_secs(30);

/// The fingerprint of the certificate in a node's directory.
fn fingerprint(cluster: &Cluster, n: usize) -> [u8; 32] {
    let home = cluster.nodes[n].config().parent().unwrap().to_owned();
    let read = |name| std::fs::read(home.join(name)).unwrap();
    let identity = Identity::from_pem(&read("node.pem"), &read("node-key.pem")).unwrap();
    fingerprint_of(identity.certificate())
}

/// Whether a new handshake at this address shows the certificate with this
/// fingerprint.
async fn shows(address: &str, fingerprint: [u8; 32]) -> Result<(), String> {
    let tls = ClientTls::pinned(fingerprint).unwrap();
    let connector = Connector::new(Arc::new(TcpNetwork::new()), Some(tls));
    connector.connect(address).await.map(|_| ()).map_err(|error| error.to_string())
}

async fn logs(cluster: &Cluster, n: usize, words: &str) {
    wait::until(words, LIMIT, async || {
        let node = &cluster.nodes[n];
        node.log().contains(words).then_some(()).ok_or_else(|| node.log())
    })
    .await;
}

async fn holders(cluster: &Cluster) -> Vec<triad_client::Checkout> {
    let mut seats = Vec::new();
    for user in ["ann", "bob", "cid"] {
        let client = cluster.client().user(user).build().unwrap();
        seats.push(client.checkout(FEATURE, "", 1).await.unwrap());
    }
    seats
}

/// New certificates on three nodes that serve: each new handshake shows the new
/// one, on both ports; a bad file is refused and the old one kept; a node that is
/// started anew is understood by the others; and nobody loses a seat.
#[tokio::test]
async fn certificates_are_renewed_under_load() {
    let mut cluster = Cluster::start(Options::default()).await;
    let seats = holders(&cluster).await;
    let before: Vec<_> = cluster.checkouts().await.into_keys().collect();
    let old = [0, 1, 2].map(|n| fingerprint(&cluster, n));
    for (n, old) in old.iter().enumerate() {
        shows(&cluster.nodes[n].address, *old).await.unwrap();
    }
    let command = format!("cert renew --all --days 100 --dir {}", cluster.folder().display());
    let renewed = cluster.triad(&command).await;
    assert!(renewed.status.success(), "{}", renewed.stderr);
    let new = [0, 1, 2].map(|n| fingerprint(&cluster, n));
    for n in 0..3 {
        assert_ne!(old[n], new[n]);
        let peers = cluster.look(n).await.unwrap().nodes[n].peer_address.clone();
        for address in [cluster.nodes[n].address.clone(), peers] {
            let look = async || shows(&address, new[n]).await;
            wait::until("a handshake shows the new certificate", LIMIT, look).await;
            shows(&address, old[n]).await.unwrap_err();
        }
    }
    let command = format!("cert show --dir {} -o json", cluster.folder().display());
    let shown = cluster.triad(&command).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let days = |n: usize| shown["certificates"][n]["daysLeft"].as_u64().unwrap();
    assert_eq!([days(1), days(2), days(3)], [99; 3], "{shown}");

    // What cannot be used is refused; the good one is shown on.
    let good = std::fs::read(cluster.folder().join("a/node.pem")).unwrap();
    cluster.nodes[0].edit("node.pem", |text| text.replace("BEGIN", "BEGUN"));
    logs(&cluster, 0, "a new certificate is refused; the old one stays in force").await;
    shows(&cluster.nodes[0].address, new[0]).await.unwrap();
    std::fs::write(cluster.folder().join("a/node.pem"), good).unwrap();

    // Everybody dials anew: the peers of one that starts again, and all clients.
    let leader = cluster.settled().await;
    let [follower, _] = cluster.others(leader);
    cluster.nodes[follower].kill9().await;
    cluster.nodes[follower].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;
    let moved = cluster.triad("leader transfer").await;
    assert!(moved.status.success(), "{}", moved.stderr);
    for seat in &seats {
        wait::until("the seat is held under the next leader", LIMIT, async || {
            let state = seat.state();
            assert!(!matches!(state, State::Lost { .. }), "{state:?}");
            (state == State::Held).then_some(()).ok_or_else(|| format!("{state:?}"))
        })
        .await;
    }
    let after: Vec<_> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(after, before, "the same checkouts, none lost and none new");
}

/// SIGHUP puts in force what can be changed, names what cannot, and changes nothing
/// for a file with a mistake. A service manager at a real socket hears of it, of the
/// start, of every sign of life, and of the end.
#[tokio::test]
async fn the_configuration_is_read_again() {
    let mut cluster = Cluster::start(Options::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut heard: Vec<String> = Vec::new();
    let mut listen = async |word: &str| {
        let from = heard.len();
        wait::until(word, LIMIT, async || {
            let mut bytes = [0; 256];
            while let Ok(length) = manager.recv(&mut bytes) {
                heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            let said = heard[from..].iter().any(|said| said == word);
            said.then_some(()).ok_or_else(|| format!("{heard:?}"))
        })
        .await;
    };
    let n = cluster.settled().await;
    let status = cluster.nodes[n].sigterm().await;
    assert!(status.success());
    cluster.nodes[n].set_environment("NOTIFY_SOCKET", &socket.display().to_string());
    cluster.nodes[n].set_environment("WATCHDOG_USEC", "500000");
    cluster.nodes[n].start();
    listen("READY=1").await;
    listen("WATCHDOG=1").await;
    cluster.settled().await;
    // It is to lead, so that licenses are judged by its configuration.
    let name = cluster.nodes[n].name.clone();
    wait::until("it leads", LIMIT, async || {
        let moved = cluster.triad(&format!("leader transfer --to {name}")).await;
        let leads = cluster.leader().await == n;
        leads.then_some(()).ok_or(moved.stderr)
    })
    .await;
    let license = || {
        let draft = triad_license::Draft { serial: 2, ..cluster.draft() };
        licenses::document(&draft, &cluster.publisher)
    };

    // A file that is as it was changes nothing, and that is said.
    cluster.nodes[n].sighup();
    logs(&cluster, n, "the configuration was read again; nothing changed in it").await;
    let log = cluster.nodes[n].log();
    let begun = log.lines().find(|line| line.contains(" starting ")).unwrap();
    assert!(begun.contains("node_id=") && begun.contains("data_dir="), "{begun}");
    assert!(!begun.contains(['{', '[', '(']), "plain fields: {begun}");

    // No publisher is trusted any more; and the port cannot change.
    let mut keys = String::new();
    cluster.nodes[n].edit("triad.toml", |text| {
        let line = text.lines().find(|line| line.starts_with("publisher_keys")).unwrap();
        keys = line.to_owned();
        let text = text.replace(line, "publisher_keys = []");
        let text = text.replace("[session]\n", "[session]\nlease_max_ms = 700000\n");
        let text = text.replace("disconnect_grace_ms = 4000\n", "disconnect_grace_ms = 9000\n");
        format!("{text}\n[log]\nlevel = \"warn,triad=debug\"\n[history]\nkeep_days = 30\n")
    });
    cluster.nodes[n].sighup();
    listen("RELOADING=1").await;
    logs(&cluster, n, "the configuration was read again").await;
    logs(&cluster, n, "needs a restart").await;
    let log = cluster.nodes[n].log();
    assert!(log.contains("publisher_keys, session, log.level"), "{log}");
    let waits = log.lines().find(|line| line.contains("needs a restart")).unwrap();
    assert!(waits.contains("history"), "{waits}");
    let refused = cluster.apply_license(&license()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::LicenseForeign);
    // P4: clients are told the grace by which this leader goes for as long as it leads.
    let session = RawSession::open(cluster.channel(n), raw::open([3; 16], false)).await.unwrap();
    assert_eq!(session.opened.disconnect_grace_ms, 4_000);

    // A mistake changes nothing.
    cluster.nodes[n]
        .edit("triad.toml", |text| text.replace("publisher_keys = []", "publisher_keys = 7"));
    cluster.nodes[n].sighup();
    logs(&cluster, n, "the configuration is refused; the old one stays in force").await;
    let refused = cluster.apply_license(&license()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::LicenseForeign);

    // Nor does a certificate that cannot be used, beside changes that are good.
    let reloaded = || cluster.nodes[n].log().matches("the configuration was read again").count();
    let before = reloaded();
    cluster.nodes[n].edit("triad.toml", |text| {
        let text = text.replace("publisher_keys = 7", &keys);
        text.replace("certificate = \"node.pem\"", "certificate = \"ca.pem\"")
    });
    cluster.nodes[n].sighup();
    wait::until("it is refused for the certificate", LIMIT, async || {
        let log = cluster.nodes[n].log();
        let is_refused = |line: &str| line.contains("is refused") && line.contains("ca.pem");
        log.lines().any(is_refused).then_some(()).ok_or(log)
    })
    .await;
    let refused = cluster.apply_license(&license()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::LicenseForeign, "the key was good and is not trusted");
    assert_eq!(reloaded(), before);

    // And back.
    cluster.nodes[n].edit("triad.toml", |text| {
        text.replace("certificate = \"ca.pem\"", "certificate = \"node.pem\"")
    });
    cluster.nodes[n].sighup();
    wait::until("the license is accepted", LIMIT, async || {
        cluster.apply_license(&license()).await.map(|_| ()).map_err(|refusal| refusal.to_string())
    })
    .await;
    let status = cluster.nodes[n].sigterm().await;
    assert!(status.success());
    listen("STOPPING=1").await;
}

/// A ledger is saved by one at a time: each holds all of it in memory.
#[tokio::test]
async fn one_snapshot_is_saved_at_a_time() {
    // More than a connection takes before anybody reads.
    let features = (0..3_000).map(|n| (format!("feature-with-a-long-name-{n:04}"), 1)).collect();
    let cluster = Cluster::start(Options { nodes: 1, features, ..Options::default() }).await;
    let save = async || {
        let request = cluster.authorized(triad_proto::v1::SaveSnapshotRequest {});
        let saved = cluster.admin(0).save_snapshot(request).await;
        saved.map_err(|status| triad_proto::v1::Refusal::from_status(&status))
    };
    let first = save().await.unwrap();
    let refused = save().await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Overloaded, "{refused:?}");
    assert!(refused.message.contains("being saved already"), "{refused:?}");
    drop(first);
    let saved = wait::until("the place is free again", LIMIT, async || {
        save().await.map_err(|refused| refused.to_string())
    });
    let mut saved = saved.await.into_inner();
    let mut bytes = 0;
    while let Some(piece) = saved.message().await.unwrap() {
        bytes += piece.piece.len();
    }
    assert!(bytes > 600_000, "{bytes} bytes may have waited in buffers");
}

/// A drained node hands leadership over, its clients move with their seats, and it
/// does not lead again, not even when the leader dies; until it is told that it may.
#[tokio::test]
async fn a_drained_node_leads_no_more() {
    let mut cluster = Cluster::start(Options::default()).await;
    let seats = holders(&cluster).await;
    let drained = cluster.settled().await;
    let name = cluster.nodes[drained].name.clone();
    let planned = cluster.triad(&format!("node drain {name} --dry-run")).await;
    assert!(planned.stdout.contains("hands leadership over"), "{}", planned.stdout);
    assert_eq!(cluster.leader().await, drained, "it was only said");
    let refused = cluster.triad(&format!("node drain {name}")).await;
    assert_eq!(refused.code(), 2, "nobody can be asked: {}", refused.stderr);

    let done = cluster.triad(&format!("node drain {name} --yes")).await;
    assert!(done.status.success(), "{}", done.stderr);
    let next = cluster.settled().await;
    assert_ne!(next, drained);
    let warnings = cluster.look(drained).await.unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("drained")), "{warnings:?}");
    let planned = cluster.triad(&format!("node drain {name} --undo --dry-run")).await;
    assert!(planned.stdout.contains("may lead again"), "{planned:?}");
    let refused = cluster.triad(&format!("leader transfer --to {name} --timeout 8s")).await;
    assert!(!refused.status.success(), "{}", refused.stdout);

    // Somebody must be left who can lead: the last is refused before anything is noted,
    // whoever asks.
    let [second, last] = cluster.others(drained).map(|n| cluster.nodes[n].name.clone());
    let command = format!("node drain {second} --yes");
    wait::until("two are drained, and the leader has heard so", LIMIT, async || {
        let done = cluster.triad(&command).await;
        let nodes = cluster.look(cluster.leader().await).await.map_err(|e| e.to_string())?.nodes;
        let drained = nodes.iter().filter(|node| node.drained).count();
        (done.status.success() && drained == 2).then_some(()).ok_or(done.stderr)
    })
    .await;
    let (one, other) = if name < second { (&name, &second) } else { (&second, &name) };
    let words = format!("{one} and {other} are drained, nobody could lead");
    for how in ["--dry-run", "--yes"] {
        let refused = cluster.triad(&format!("node drain {last} {how}")).await;
        assert_eq!(refused.code(), 1, "{how}: {refused:?}");
        assert!(refused.stderr.contains(&words), "{how}: {refused:?}");
        assert!(refused.stderr.contains(&format!("node drain {one} --undo")), "{refused:?}");
    }
    let node_id = cluster.nodes.iter().find(|node| node.name == last).unwrap().id;
    let request = cluster.authorized(v1::DrainNodeRequest { node_id, undo: false });
    let refused = cluster.admin(cluster.leader().await).drain_node(request).await.unwrap_err();
    let refused = v1::Refusal::from_status(&refused);
    assert_eq!((refused.reason(), &refused.message), (Reason::InvalidRequest, &words));
    let mistyped = cluster.triad("node drain zzz").await;
    assert!(mistyped.stderr.contains("no node of the cluster is named"), "{mistyped:?}");
    let undone = cluster.triad(&format!("node drain {second} --undo")).await;
    assert!(undone.status.success(), "{undone:?}");

    // It may be the first to see that the leader is dead, and leaves it to the other.
    let third = (0..3).find(|n| *n != drained && *n != next).unwrap();
    for round in 0..2 {
        let leader = cluster.settled().await;
        assert_ne!(leader, drained, "round {round}");
        cluster.nodes[leader].kill9().await;
        // Where the other one lacks what was agreed, the drained one leads until it
        // has handed that on.
        let other = if leader == next { third } else { next };
        let leads = |s: &Sightings| (s.agreed_leader(2) == Some(other)).then_some(());
        cluster.until("the other one leads", LIMIT, leads).await;
        cluster.nodes[leader].start();
        cluster.settled().await;
    }
    for seat in &seats {
        let state = seat.state();
        assert!(!matches!(state, State::Lost { .. }), "{state:?}");
    }
    assert_eq!(cluster.checkouts().await.len(), seats.len());

    let undone = cluster.triad(&format!("node drain {name} --undo")).await;
    assert!(undone.status.success(), "{}", undone.stderr);
    wait::until("it leads again", LIMIT, async || {
        let moved = cluster.triad(&format!("leader transfer --to {name}")).await;
        let leads = cluster.leader().await == drained;
        leads.then_some(()).ok_or(moved.stderr)
    })
    .await;

    // A node that hears nobody does not know whether a token is still good.
    for n in cluster.others(third) {
        cluster.nodes[n].kill9().await;
    }
    let alone = |s: &Sightings| s.0[third].as_ref().is_ok_and(|s| s.leader_id == 0).then_some(());
    cluster.until("it hears nobody", LIMIT, alone).await;
    let node_id = cluster.nodes[third].id;
    let request = cluster.authorized(v1::DrainNodeRequest { node_id, undo: false });
    let refused = cluster.admin(third).drain_node(request).await.expect_err("nobody vouches");
    assert_eq!(v1::Refusal::from_status(&refused).reason(), Reason::NoQuorum);
    let warnings = cluster.look(third).await.unwrap().warnings;
    assert!(!warnings.iter().any(|warning| warning.contains("drained")), "{warnings:?}");
}

/// What is lent to those who take it away.
const LENT: &str = "laptop";

/// What an administrator is told in the time after a restore.
async fn nothing_is_granted(cluster: &Cluster) {
    let checked = cluster.triad("check").await;
    assert_eq!(checked.code(), 1, "{checked:?}");
    let begins = "TRIAD WARNING - nothing is granted for another ";
    assert!(checked.stdout.starts_with(begins), "{checked:?}");
    let status = cluster.triad("status").await;
    assert_eq!(status.code(), 3, "{status:?}");
    assert!(status.stdout.contains("\n  WARN  nothing is granted for another "), "{status:?}");
    let explained = cluster.triad(&format!("explain {FEATURE}")).await;
    assert_eq!(explained.code(), 4, "{explained:?}");
    assert!(explained.stdout.contains("\nDECIDES  quorum "), "{explained:?}");
    assert!(explained.stdout.contains("next: wait until then"), "{explained:?}");
}

/// All three nodes are lost. One begins anew with a saved ledger: what that knows to be
/// held is held on, a loan included; numbers are never given out again; and nothing
/// new is granted before every lease of before has ended. It grows to three again.
#[tokio::test]
async fn a_saved_ledger_begins_anew() {
    let lease = Duration::from_secs(5);
    let options = Options { lease, features: vec![(FEATURE.into(), 3)], ..Options::default() };
    let mut cluster = Cluster::start(options).await;
    let lines = site::line(LENT, 2, "borrow = \"24h\"");
    cluster.license(&site::license(&cluster, 1, &lines)).await;
    for node in &cluster.nodes {
        node.edit("triad.toml", |text| {
            text.replace("[session]\n", "[session]\nlease_max_ms = 9000\n")
        });
        node.sighup();
    }
    let known = cluster.client().user("ann").build().unwrap();
    let known = known.checkout(FEATURE, "", 1).await.unwrap();
    let dora = cluster.client().user("dora").build().unwrap();
    let items = vec![Item { feature: LENT.into(), version: String::new(), seats: 1 }];
    let lent = dora.borrow(items, BorrowEnd::For(Duration::from_secs(3_600))).await.unwrap();
    dora.close().await;
    let file = cluster.folder().join("monday.snapshot");
    let saved = cluster.triad(&format!("snapshot save {}", file.display())).await;
    assert!(saved.status.success(), "{}", saved.stderr);
    assert!(saved.stdout.contains("2 checkouts, of them 1 loan"), "{}", saved.stdout);
    // The ledger that is restored knows nothing of this one.
    let unknown = cluster.client().user("bob").build().unwrap();
    let unknown = unknown.checkout(FEATURE, "", 1).await.unwrap();

    let config = cluster.nodes[0].config();
    let command =
        format!("snapshot restore {} --config {} --yes", file.display(), config.display());
    let refused = cluster.triad(&command).await;
    assert!(refused.stderr.contains("the cluster lives"), "{}", refused.stderr);
    for node in &mut cluster.nodes {
        node.kill9().await;
    }
    let refused = cluster.triad(&command).await;
    assert!(refused.stderr.contains("nothing is ever restored over it"), "{}", refused.stderr);
    // To look first says the same.
    let looked = command.replace("--yes", "--dry-run");
    let refused = cluster.triad(&looked).await;
    assert!(refused.stderr.contains("nothing is ever restored over it"), "{refused:?}");
    let (data, aside) = (cluster.nodes[0].data(), cluster.folder().join("aside"));
    std::fs::rename(&data, &aside).unwrap();
    let refused = cluster.triad(&looked).await;
    assert!(!refused.status.success() && refused.stderr.contains("data: "), "{refused:?}");
    std::fs::rename(&aside, &data).unwrap();
    let other = command.replace(&file.display().to_string(), &config.display().to_string());
    let refused = cluster.triad(&other).await;
    assert!(refused.stderr.contains("it is no snapshot of Triad"), "{refused:?}");
    for folder in ["log", "image", "snapshot"] {
        let _ = std::fs::remove_dir_all(cluster.nodes[0].data().join(folder));
    }
    let mut damaged = std::fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let broken = cluster.folder().join("broken.snapshot");
    std::fs::write(&broken, damaged).unwrap();
    let refused = cluster.triad(&command.replace("monday", "broken")).await;
    assert!(refused.stderr.contains("not a whole snapshot"), "{}", refused.stderr);
    // A file is not as safe as three nodes: the signatures are looked at once more.
    let key = |text: String| {
        let own = cluster.publisher.public().to_string();
        text.replace(&own, &licenses::key().public().to_string())
    };
    let trusted = std::fs::read_to_string(&config).unwrap();
    cluster.nodes[0].edit("triad.toml", key);
    let refused = cluster.triad(&command).await;
    assert!(refused.stderr.contains("license site is not to be trusted"), "{}", refused.stderr);
    std::fs::write(&config, trusted).unwrap();
    let restored = cluster.triad(&command).await;
    assert!(restored.status.success(), "{}", restored.stderr);
    let began = tokio::time::Instant::now();
    cluster.nodes[0].start();
    cluster.settled().await;
    nothing_is_granted(&cluster).await;

    // What was held is held on, by the same client with the same number.
    let listed: Vec<_> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [known.id(), lent.checkout_id]);
    wait::until("ann holds her seat", LIMIT, async || {
        let state = known.state();
        (state == State::Held).then_some(()).ok_or_else(|| format!("{state:?}"))
    })
    .await;
    let warnings = cluster.look(0).await.unwrap().warnings;
    assert!(warnings.iter().any(|w| w.contains("restored from a snapshot")), "{warnings:?}");

    // Nothing is granted while bob may believe in his.
    let client = cluster.client().user("cid").build().unwrap();
    let granted = wait::until("cid is served", LIMIT, async || {
        let answer = client.checkout(FEATURE, "", 1).await;
        answer.map_err(|error| error.to_string())
    })
    .await;
    assert!(began.elapsed() >= lease, "granted after {:?}", began.elapsed());
    assert!(matches!(unknown.state(), State::Lost { .. }), "{:?}", unknown.state());
    assert!(granted.id() > 1 << 32, "{} may have been given out before", granted.id());
    let events = cluster.triad("events --kind epoch -o jsonl").await;
    assert!(events.stdout.contains("a snapshot was restored"), "{}", events.stdout);

    // The loan counts as it did: one of two is left.
    let left = client.checkout(LENT, "", 1).await.unwrap();
    let denied = client.checkout(LENT, "", 1).await.unwrap_err();
    assert_eq!(denied.reason(), Some(Reason::LicensesExhausted), "{denied:?}");

    // The others join anew, with ids of their own, and all three have one ledger.
    let directory = cluster.folder().display().to_string();
    for (place_of, id, name) in [(1, 4, "d"), (2, 5, "e")] {
        let place = cluster.spare_place(name);
        let adding = spawned(&cluster, &format!("node add {place} --dir {directory}"));
        let new = made(&cluster, &format!("{name}-{id}")).await;
        let new = cluster.adopt(&new, Some(place_of));
        cluster.nodes[new].start();
        done(adding).await;
        is_whole(&cluster, place_of + 1).await;
    }
    cluster.equal_ledgers().await;
    let row = cluster.checkouts().await.remove(&lent.checkout_id).expect("it is out");
    assert_eq!(row.state(), v1::CheckoutState::Borrowed);
    assert_eq!(left.state(), State::Held);
}

/// A node starts whatever the other disks of its machine do: it runs no program that waits for
/// them. This one of the name that its store looks for never ends.
#[tokio::test]
async fn a_node_runs_no_programs() {
    let mut cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    cluster.leader().await;
    let node = &mut cluster.nodes[0];
    assert_eq!(node.sigterm().await.code(), Some(0));
    let programs = node.config().with_file_name("programs");
    let ran = programs.join("ran");
    std::fs::create_dir(&programs).unwrap();
    let script = format!("#!/bin/sh\n> '{}'\nexec /bin/sleep 3600\n", ran.display());
    std::fs::write(programs.join("sync"), script).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.join("sync"), executable).unwrap();
    node.set_environment("PATH", &programs.to_string_lossy());
    node.start();
    cluster.leader().await;
    assert!(!ran.exists(), "it ran `sync`");
    let log = cluster.nodes[0].log();
    assert!(!log.contains("sync command"), "nobody needs to read of that: {log}");
}
