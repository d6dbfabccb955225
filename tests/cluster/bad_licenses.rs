//! Licenses that must not be accepted, and what they leave in force.

use triad_license::Binding;
use triad_proto::v1::{ApplyLicenseRequest, ApplyLicenseResponse, Reason, Refusal};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, licenses};

/// Every so many bytes of a license one is altered.
const ALTERED_EVERY: usize = 50;

async fn refused(cluster: &Cluster, text: &str) -> Refusal {
    let answer = cluster.apply_license(text).await;
    let refusal = *answer.expect_err("a license that must be refused");
    assert!(refusal.message.len() > 10, "{refusal:?}");
    assert!(!refusal.retryable, "{refusal:?}");
    refusal
}

/// P10: only what the publisher wrote, for this cluster, and not older than what
/// is in force, is accepted; and only from an administrator. What is refused
/// changes nothing.
#[tokio::test]
async fn only_the_publisher_makes_rights() {
    let cluster = Cluster::start(Options::default()).await;
    let good = cluster.draft();
    let mut bigger = good.clone();
    bigger.serial = 3;
    bigger.features[0].seats = 200;
    let text = licenses::document(&bigger, &cluster.publisher);

    for at in (0..text.len()).step_by(ALTERED_EVERY) {
        let mut altered = text.clone().into_bytes();
        altered[at] ^= 1;
        let altered = String::from_utf8(altered).expect("ASCII stays ASCII");
        let refusal = refused(&cluster, &altered).await;
        let expected = [Reason::LicenseTampered, Reason::LicenseMalformed, Reason::LicenseForeign];
        assert!(expected.contains(&refusal.reason()), "byte {at}: {refusal:?}");
    }
    let cut = refused(&cluster, &text[..text.len() / 2]).await;
    assert_eq!(cut.reason(), Reason::LicenseMalformed, "{cut:?}");

    // A demonstration's license is signed by a key of its own.
    let foreign = licenses::document(&bigger, &licenses::key());
    let refusal = refused(&cluster, &foreign).await;
    assert_eq!(refusal.reason(), Reason::LicenseForeign, "{refusal:?}");

    let mut elsewhere = bigger.clone();
    elsewhere.binding = Binding::Cluster("tc-00112233445566778899aabbccddeeff".into());
    let elsewhere = licenses::document(&elsewhere, &cluster.publisher);
    let refusal = refused(&cluster, &elsewhere).await;
    assert_eq!(refusal.reason(), Reason::LicenseWronglyBound, "{refusal:?}");
    assert!(refusal.message.contains("tc-00112233445566778899aabbccddeeff"), "{refusal:?}");

    let mut past = bigger.clone();
    past.features[0].expires = triad_license::Day::parse("2020-01-01");
    let past = licenses::document(&past, &cluster.publisher);
    let refusal = refused(&cluster, &past).await;
    assert_eq!(refusal.reason(), Reason::LicenseExpired, "{refusal:?}");

    assert_eq!(in_force(&cluster).await, (1, 100), "what was refused changed nothing");
    let applied = cluster.apply_license(&text).await.unwrap();
    assert!(applied.changed && applied.serial == 3, "{applied:?}");
    let again = cluster.apply_license(&text).await.unwrap();
    assert_eq!(
        ApplyLicenseResponse { changed: true, ..again },
        ApplyLicenseResponse { position: again.position, ..applied }
    );
    let older = licenses::document(&good, &cluster.publisher);
    let refusal = refused(&cluster, &older).await;
    assert_eq!(refusal.reason(), Reason::LicenseSuperseded, "{refusal:?}");
    assert_eq!(in_force(&cluster).await, (3, 200));
    cluster.equal_ledgers().await;
}

/// The serial and the seats that are in force.
async fn in_force(cluster: &Cluster) -> (u64, u64) {
    let mut admin = cluster.admin(cluster.leader().await);
    let licenses = admin.list_licenses(cluster.authorized(Default::default())).await;
    let licenses = licenses.unwrap().into_inner().licenses;
    let features = admin.list_features(cluster.authorized(Default::default())).await;
    let pools = features.unwrap().into_inner().pools;
    assert_eq!((licenses.len(), pools.len()), (1, 1), "{licenses:?} {pools:?}");
    (licenses[0].serial, pools[0].seats_licensed)
}

/// P11: without the administrator's token nothing is changed, and nobody's name
/// is told.
#[tokio::test]
async fn only_administrators_change_and_see() {
    let cluster = Cluster::start(Options::default()).await;
    let leader = cluster.leader().await;
    let license = licenses::document(&cluster.draft(), &cluster.publisher);
    for token in [None, Some("Bearer tat_guessed"), Some("Basic dGF0"), Some("Bearer ")] {
        let request = |text: &str| {
            let mut request = tonic::Request::new(ApplyLicenseRequest { text: text.into() });
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token.parse().unwrap());
            }
            request
        };
        let applied = cluster.admin(leader).apply_license(request(&license)).await;
        let refusal = Refusal::from_status(&applied.unwrap_err());
        assert_eq!(refusal.reason(), Reason::NotAuthenticated, "{token:?}: {refusal:?}");
        assert!(refusal.remedy.contains("--token-file"), "{refusal:?}");
    }
    let mut admin = cluster.admin(leader);
    let refusals = [
        admin.list_checkouts(triad_proto::v1::ListCheckoutsRequest::default()).await.err(),
        admin.list_sessions(triad_proto::v1::ListSessionsRequest::default()).await.err(),
        admin.list_licenses(triad_proto::v1::ListLicensesRequest::default()).await.err(),
        admin.transfer_leader(triad_proto::v1::TransferLeaderRequest::default()).await.err(),
    ];
    for refusal in refusals {
        let refusal = Refusal::from_status(&refusal.expect("it names people, or changes things"));
        assert_eq!(refusal.reason(), Reason::NotAuthenticated, "{refusal:?}");
    }
    // Status and features are for everybody who reached the node.
    let pools = admin.list_features(triad_proto::v1::ListFeaturesRequest::default()).await;
    assert_eq!(pools.unwrap().into_inner().pools[0].feature, FEATURE);

    let mut command = cluster.command("license apply /dev/null");
    command.env_remove("TRIAD_TOKEN_FILE");
    let empty = triad_tests::node::run(command, triad_tests::cluster::START_LIMIT).await;
    assert_eq!(empty.code(), 1, "{empty:?}");
    assert!(empty.stderr.contains("error[TRD-5001]: /dev/null"), "{empty:?}");
}
