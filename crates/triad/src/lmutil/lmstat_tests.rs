//! Tests of what lmstat shows: word for word, and as its readers read it.

use triad_proto::v1::{GrantedItem, Item, Reservation};

use super::super::typed;
use super::*;

/// 2026-11-23 00:21 UTC, a Monday.
const START_MS: u64 = 1_795_393_260_000;

fn picture_of(change: impl FnOnce(&mut Scene)) -> String {
    let mut scene = Scene::new();
    change(&mut scene);
    scene.told("-a")
}

struct Scene {
    servers: Vec<Server>,
    serves: bool,
    pools: Vec<Pool>,
    checkouts: Vec<CheckoutInfo>,
    queue: Vec<QueueEntry>,
}

impl Scene {
    fn new() -> Self {
        let server = |host: &str, up: bool, is_master| Server {
            host: host.into(),
            port: "27070".into(),
            version: up.then(|| "0.1.0".into()),
            is_master,
        };
        let pool = |feature: &str, version: &str| Pool {
            feature: feature.into(),
            version: version.into(),
            seats_licensed: 40,
            state: PoolState::Valid.into(),
            publisher: "Acme CFD".into(),
            expires_ms: 1_798_761_600_000,
            ..Pool::default()
        };
        let kept = |subject: &str, seats, seats_in_use| Reservation {
            subject: subject.into(),
            seats,
            seats_in_use,
            rule: None,
        };
        let mut solver = pool("solver", "2026.1");
        solver.seats_in_use = 5;
        solver.reservations = vec![kept("group cfd", 4, 1), kept("host group farm", 1, 0)];
        let mut viewer = pool("viewer", "3");
        viewer.expires_ms = 0;
        let holder = |user: &str, host: &str| {
            Some(Holder { user: user.into(), host: host.into(), ..Holder::default() })
        };
        let item = |seats| GrantedItem {
            feature: "solver".into(),
            seats,
            version_licensed: "2026.1".into(),
            ..GrantedItem::default()
        };
        let checkout = |checkout_id, who, seats| CheckoutInfo {
            checkout_id,
            holder: who,
            items: vec![item(seats)],
            since_ms: START_MS,
            ..CheckoutInfo::default()
        };
        Scene {
            servers: vec![
                server("lic-a.example.com", true, false),
                server("lic-b.example.com", true, true),
                server("lic-c.example.com", false, false),
            ],
            serves: true,
            pools: vec![solver, viewer],
            checkouts: vec![
                checkout(17, holder("ann", "n1.example.com"), 1),
                checkout(18, holder("bob", "node18"), 4),
            ],
            queue: vec![QueueEntry {
                request_id: 3,
                holder: holder("eve", "n2"),
                items: vec![Item { feature: "solver".into(), version: "2026".into(), seats: 1 }],
                ..QueueEntry::default()
            }],
        }
    }

    fn told(&self, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let picture = Picture {
            now: utc(START_MS),
            servers: self.servers.clone(),
            serves: self.serves,
            pools: &self.pools,
            checkouts: &self.checkouts,
            queue: &self.queue,
        };
        // The machine that runs this test may live anywhere.
        let here = local(START_MS).strftime("%a %-m/%-d %-H:%M").to_string();
        let wanted = Wanted::new(&typed::read("lmstat", &words).unwrap());
        picture.told(&wanted).replace(&here, "Mon 11/23 0:21")
    }
}

fn utc(ms: u64) -> Zoned {
    timestamp(ms).to_zoned(TimeZone::UTC)
}

#[test]
fn everything_word_for_word() {
    let expected = "\
lmstat - Triad v0.1.0
License Manager status on Mon 11/23/2026 0:21

License server status: 27070@lic-a.example.com,27070@lic-b.example.com,27070@lic-c.example.com

lic-a: license server UP v0.1.0
lic-b: license server UP (MASTER) v0.1.0
lic-c: Cannot connect to license server system. (-15)

Vendor daemon status (on lic-b):

    Acme_CFD: UP v0.1.0

Feature usage info:

Users of solver:  (Total of 40 licenses issued;  Total of 9 licenses in use)

  \"solver\" v2026.1, vendor: Acme_CFD, expiry: 31-dec-2026
  floating license

    3 RESERVATIONs for GROUP cfd (lic-b/27070)
    1 RESERVATION for HOST_GROUP farm (lic-b/27070)
    ann n1.example.com /dev/tty (v2026.1) (lic-b/27070 17), start Mon 11/23 0:21
    bob node18 /dev/tty (v2026.1) (lic-b/27070 18), start Mon 11/23 0:21, 4 licenses
    eve n2 /dev/tty 2026 (v2026) (lic-b/27070 4181905542) queued for 1 license

Users of viewer:  (Total of 40 licenses issued;  Total of 0 licenses in use)
";
    assert_eq!(picture_of(|_| {}), expected);
}

#[test]
fn the_lines_of_the_license() {
    let text = Scene::new().told("-i");
    let table = text.split_once("Feature   ").unwrap().1;
    let rows: Vec<Vec<&str>> =
        table.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        ["solver", "2026.1", "40", "31-dec-2026", "Acme_CFD"],
        ["viewer", "3", "40", "permanent", "Acme_CFD"],
    ];
    assert_eq!(rows, expected);
    assert!(!text.contains("Users of"), "{text}");
}

#[test]
fn only_what_is_asked_for() {
    let scene = Scene::new();
    assert!(!scene.told("-s").contains("Users of"));
    assert!(!scene.told("").contains("Users of"));
    assert!(scene.told("").contains("license server UP (MASTER)"));
    let active = scene.told("-A");
    assert!(active.contains("Users of solver") && !active.contains("Users of viewer"), "{active}");
}

#[test]
fn without_a_leader_no_daemon_is_up_and_nobody_is_master() {
    let text = picture_of(|scene| {
        scene.serves = false;
        scene.servers[1].is_master = false;
    });
    assert!(!text.contains("MASTER"), "{text}");
    let down = "\n    Acme_CFD: The desired vendor daemon is down. (-97)\n";
    assert!(text.contains(down), "{text}");
}

#[test]
fn a_feature_that_nobody_sells_is_named_as_missing() {
    let mut scene = Scene::new();
    scene.pools.clear();
    let used = scene.told("-f nosuch");
    let line = "\nUsers of nosuch:  Cannot get users of nosuch: No such feature exists. (-5)\n";
    assert!(used.ends_with(line), "{used}");
    let lines = scene.told("-i nosuch");
    assert!(lines.ends_with("\nNo such feature exists. (-5)\n"), "{lines}");
    // Nothing was asked for by name, so nothing is missing.
    assert!(!scene.told("-a").contains("No such feature"));
}

fn node(node_id: u64, name: &str, address: &str) -> NodeStatus {
    NodeStatus {
        node_id,
        name: name.into(),
        client_address: address.into(),
        ..NodeStatus::default()
    }
}

#[test]
fn servers_are_meant_by_host_and_port() {
    let nodes = vec![node(1, "a", "127.0.0.1:1"), node(2, "b", "LIC.example.com:2")];
    let view = StatusResponse { nodes, ..StatusResponse::default() };
    for (host, port) in [("a", "1"), ("127.0.0.1", "1"), ("lic", "2"), ("Lic.Example.com", "2")] {
        assert!(is_server(&view, host, port), "{host} {port}");
    }
    for (host, port) in [("a", "2"), ("wronghost", "1"), ("lic", "x"), ("", "1"), ("example", "2")]
    {
        assert!(!is_server(&view, host, port), "{host} {port}");
    }
}

/// Every line with a name in it is still read as one holder, whatever the names.
#[test]
fn hostile_names_make_no_lines_of_their_own() {
    let hostile = [
        "eve) (v9) (x/1 1), start Mon 1/1 0:00",
        "eve\nUsers of fake:  (Total of 9 licenses issued;  Total of 9 licenses in use)",
        "8 RESERVATIONs for GROUP root",
        "\u{202e}\x1b[31m\u{17d}",
        "lic-b: license server UP",
        "",
    ];
    let text = picture_of(|scene| {
        scene.queue.clear();
        let item = scene.checkouts[0].items.clone();
        scene.checkouts = Vec::new();
        for (number, name) in hostile.iter().enumerate() {
            let (user, host) = (name.to_string(), name.to_string());
            let holder = Holder { user, host, display: name.to_string(), ..Holder::default() };
            scene.checkouts.push(CheckoutInfo {
                checkout_id: number as u64 + 1,
                holder: Some(holder),
                items: item.clone(),
                since_ms: START_MS,
                ..CheckoutInfo::default()
            });
        }
    });
    assert!(text.is_ascii(), "{text}");
    let count = |part: &str| text.matches(part).count();
    assert_eq!(count("Users of "), 2, "{text}");
    assert_eq!(count("license server UP"), 2, "{text}");
    assert_eq!(count(" RESERVATION"), 2, "{text}");
    assert_eq!(count(", start "), hostile.len(), "{text}");
    for line in text.lines().filter(|line| line.contains(", start ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.len(), 10, "{line}");
        assert_eq!((words[3], words[4]), ("(v2026.1)", "(lic-b/27070"), "{line}");
    }
}

#[test]
fn machines_without_a_name_of_their_own_are_called_by_their_nodes() {
    let view = StatusResponse {
        has_quorum: true,
        leader_id: 2,
        nodes: vec![
            node(1, "a", "127.0.0.1:1"),
            node(2, "b", "LIC.example.com:2"),
            node(3, "c", "lic.elsewhere.com:3"),
            node(4, "d", "node-d:4"),
            node(5, "e", "[::1]:5"),
        ],
        ..StatusResponse::default()
    };
    let shown = servers(&view, &[]);
    let hosts: Vec<_> = shown.iter().map(|server| server.host.as_str()).collect();
    assert_eq!(hosts, ["a", "b", "c", "node-d", "e"]);
    assert!(shown[1].is_master && shown.iter().all(|server| server.version.is_none()));
}

#[test]
fn what_costs_nothing_is_uncounted() {
    let text = picture_of(|scene| {
        scene.pools[1].uncounted = true;
        scene.pools[1].state = PoolState::Valid.into();
    });
    assert!(text.ends_with("\nUsers of viewer:  (Uncounted, node-locked)\n"), "{text}");
}

#[test]
fn what_costs_nothing_is_taken_from_no_total() {
    let text = picture_of(|scene| {
        let mut beside = scene.pools[0].clone();
        (beside.uncounted, beside.seats_licensed, beside.seats_in_use) = (true, 0, 50);
        beside.reservations.clear();
        scene.pools.insert(1, beside);
    });
    let total = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Users of solver:"));
        line.expect("it is there").to_owned()
    };
    assert_eq!(total(&text), total(&picture_of(|_| {})));
}
