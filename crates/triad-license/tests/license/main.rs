//! Documents as publishers issue them, sites apply them and attackers alter
//! them.

mod capability;
mod content;
mod convert;
mod convert_field;
mod decisions;
mod hostile;
mod import;
mod import_field;
mod page;
mod policy;
mod precedence;
mod rules;
mod terms;
mod verification;

use triad_license::{
    Binding, Day, Draft, DraftFeature, HostId, Keyring, PublisherKey, Site, issue,
};

const CLUSTER: &str = "5b1f0e0c9d7a44e2";

fn key(seed: u8) -> PublisherKey {
    PublisherKey::generate([seed; 32])
}

fn trusting(keys: &[&PublisherKey]) -> Keyring {
    let mut keyring = Keyring::new();
    for key in keys {
        keyring.trust(key.public()).expect("within the bound");
    }
    keyring
}

fn day(text: &str) -> Day {
    Day::parse(text).expect(text)
}

/// Milliseconds since 1970 of the beginning of a day in UTC.
fn at(text: &str) -> u64 {
    triad_license::Zone::utc().starts_ms(day(text)).expect(text)
}

fn hostid(text: &str) -> HostId {
    HostId::parse(text).expect(text)
}

fn hosts() -> [HostId; 3] {
    ["ETHERNET:001122334455", "ETHERNET:001122334466", "MACHINE_ID:0011223344556677"].map(hostid)
}

fn site() -> Site<'static> {
    Site { cluster_id: CLUSTER, hostids: &[] }
}

fn draft() -> Draft {
    Draft {
        license: "acme-2026".to_owned(),
        publisher: "Acme".to_owned(),
        serial: 3,
        zone: None,
        issued: Some(day("2026-11-23")),
        notice: None,
        binding: Binding::Cluster(CLUSTER.to_owned()),
        features: vec![DraftFeature {
            start: Some(day("2026-01-01")),
            expires: Some(day("2026-12-31")),
            ..DraftFeature::new("solver", "2026.1", 40)
        }],
    }
}

fn issued(draft: &Draft, keys: &[&PublisherKey]) -> String {
    issue(&draft.to_toml(), keys).expect("the draft is good")
}
