//! Ten thousand servers in one office: pages take less than 100 ms of its time.

use triad_license::HostId;
use triad_office::config::Config;
use triad_office::db;
use triad_office::registration::{Kind, Registrar, register_group};
use triad_tests::{Office, clock};

const SERVERS: usize = 10_000;
/// What the office may take for one page.
const LIMIT_MS: f64 = 100.0;

/// Registers pairs and triads until there are enough servers, each with a name
/// and half a year of daily requests for every twentieth.
fn seed(office: &Office) {
    let config = Config::load(&office.home().join("office.toml")).unwrap();
    let mut connection = db::open(&config.database).unwrap();
    db::write(&mut connection, |tx| {
        let mut number = 0_u64;
        while number < SERVERS as u64 {
            let kind = if number.is_multiple_of(5) { Kind::Triad } else { Kind::Pair };
            let hosts: Vec<HostId> = (0..kind.size() as u64)
                .map(|n| HostId::parse(&format!("ETHERNET:02{:010x}", number + n)).unwrap())
                .collect();
            number += kind.size() as u64;
            let by = Registrar {
                actor: "server",
                how: "automatically",
                cluster: None,
                repairs: false,
                now_ms: clock::now_ms(),
            };
            register_group(tx, kind, &hosts, by)?;
        }
        tx.execute_batch(
            "UPDATE servers SET name = 'lic-' || id, version = '0.1.0', public_key = 'k',
                 last_seen_ms = created_ms;
             WITH RECURSIVE day(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM day WHERE n < 180)
             INSERT INTO requests (at_ms, hostid, group_id, digest, correlation, operation, outcome,
                                   message)
             SELECT created_ms, hostid, group_id, hex(randomblob(32)), 'c', 'request', 'UNCHANGED', ''
             FROM servers, day WHERE servers.id % 20 = 0;",
        )?;
        Ok(())
    })
    .unwrap();
}

#[tokio::test]
async fn pages_of_ten_thousand_servers_take_less_than_100_ms() {
    let office = Office::start().await;
    seed(&office);
    let cookie = office.sign_in().await;
    let mut slow = Vec::new();
    for path in [
        "/servers",
        "/servers?page=150&sort=-last_request",
        "/servers?q=lic-9999",
        "/servers?q=02:00:00:00:13:88",
        "/servers?q=nothing+like+it",
        "/servers?sort=-name",
        "/servers/1",
        "/servers/5000",
        "/servers/10000",
        "/requests",
        "/audit",
        "/rights",
    ] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let answer = office.get(path, &[("cookie", &cookie)]).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            let told = answer.headers["server-timing"].to_str().unwrap();
            times.push(told.strip_prefix("total;dur=").unwrap().parse::<f64>().unwrap());
        }
        times.sort_by(f64::total_cmp);
        println!("{:7.1} ms median, {:7.1} ms worst  {path}", times[2], times[4]);
        // The machine does other things besides: three of five have to do.
        if times[2] >= LIMIT_MS {
            slow.push(format!("{path}: {times:?}"));
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
    let page = office.get("/servers?q=02:00:00:00:13:88", &[("cookie", &cookie)]).await.unwrap();
    assert!(page.text.contains("ETHERNET:020000001388"), "{}", page.text);
}
