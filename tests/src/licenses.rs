//! The publisher of the tests: keys, and licenses that are right or wrong in one
//! point.

use triad_license::{Binding, Day, Draft, DraftFeature, PublisherKey, issue};

use crate::clock;

/// Soon enough for a note, and too late for a warning.
const VALID_DAYS: usize = 14;

/// A key that nobody else has.
///
/// # Panics
///
/// If the system gives no randomness.
pub fn key() -> PublisherKey {
    let mut random = [0; 32];
    getrandom::fill(&mut random).expect("the system has randomness");
    PublisherKey::generate(random)
}

/// A license of the tests' publisher for one cluster: some seats of each
/// feature, version 2026.1, valid for two weeks.
pub fn draft(cluster_id: &str, features: &[(String, u32)]) -> Draft {
    let today = Day::in_utc(clock::now_ms());
    let expires = today.and_then(|today| (0..VALID_DAYS).try_fold(today, |day, _| day.tomorrow()));
    let feature = |(name, seats): &(String, u32)| {
        let mut feature = DraftFeature::new(name, "2026.1", *seats);
        feature.expires = expires;
        feature
    };
    Draft {
        license: "tests".into(),
        publisher: "Triad tests".into(),
        serial: 1,
        zone: None,
        issued: today,
        notice: None,
        binding: Binding::Cluster(cluster_id.into()),
        features: features.iter().map(feature).collect(),
    }
}

/// The document.
///
/// # Panics
///
/// If the draft cannot be issued.
pub fn document(draft: &Draft, key: &PublisherKey) -> String {
    issue(&draft.to_toml(), &[key]).expect("the tests write good drafts")
}
