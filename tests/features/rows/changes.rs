//! Rows about a policy and a license that change around the fault.

use tonic::transport::Channel;
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;

use crate::people::{User, in_words};
use crate::scene::{Authorize, Moment, Scene, assert_seen};
use crate::site;

/// The license of the table, for this cluster.
pub async fn document(scene: &Scene, seats: &site::Seats) -> String {
    let cluster = scene.cluster().await;
    let triad_license::Binding::Cluster(id) = cluster.draft().binding else {
        unreachable!("the tests' licenses are bound to the cluster")
    };
    site::license(&id, seats, &cluster.publisher)
}

/// One policy is applied just before the fault, the next while it happens and
/// until it is taken. Each is in force when it was acknowledged, and nobody loses
/// a seat by it. Since a new policy has everything counted anew, the others have
/// looked by then at what the nodes had counted before.
pub async fn policy(mut scene: Scene) {
    let [ann, ben] = scene.users(["ann", "ben"]).await;
    let anns = [ann.takes("policy", 1).await, ann.takes("policy", 1).await];
    let bens = ben.takes("policy", 1).await;

    scene.last_call().await;
    assert_eq!(scene.applies_policy(&site::policy(2)).await, 2);
    let max = "ann: POLICY_MAX, policy, 2 of 1 in use, 1 wanted, by [[max]] of policy";
    assert_eq!(ann.is_denied("policy", 1).await, max);

    scene.ready_for_fault();
    scene.reached(Moment::Striking).await;
    let tried = scene.tries_policy(&site::policy(3)).await;
    scene.fault().await;
    let (version, text) = in_force(&scene).await;
    match &tried {
        Ok(acknowledged) => assert_eq!((version, *acknowledged), (3, 3)),
        Err(_) => assert!(version == 2 || version == 3, "{version} after {tried:?}"),
    }
    assert_eq!(text, site::policy(version));
    assert_eq!(scene.held("policy").await, "policy: ann 1 and ann 1 and ben 1");
    assert_eq!(ann.is_denied("policy", 1).await, max);

    scene.looked().await;
    // Whatever became of the first attempt, the same text is the same version.
    assert_eq!(scene.applies_policy(&site::policy(3)).await, 3);
    let expected = [
        "version 3, word for word: true",
        "policy: ann 1 and ann 1 and ben 1",
        max,
        "ben: EXCLUDED, policy, by [[exclude]] of policy",
    ];
    let look = async |scene: &Scene| {
        let (version, text) = in_force(scene).await;
        vec![
            format!("version {version}, word for word: {}", text == site::policy(3)),
            scene.held("policy").await,
            ann.is_denied("policy", 1).await,
            ben.is_denied("policy", 1).await,
        ]
    };
    assert_seen("with the fault", &expected, &look(&scene).await);
    scene.repair().await;
    assert_seen("after the repair", &expected, &look(&scene).await);

    bens.give_back().await.unwrap();
    let [first, second] = anns;
    first.give_back().await.unwrap();
    assert_eq!(
        ann.is_denied("policy", 1).await,
        "ann: POLICY_MAX, policy, 1 of 1 in use, 1 wanted, by [[max]] of policy"
    );
    second.give_back().await.unwrap();
    let again = ann.takes("policy", 1).await;
    drop(again);
    [ann, ben].iter().for_each(User::lost_nothing);
}

async fn in_force(scene: &Scene) -> (u64, String) {
    let ask = async |mut admin: AdminServiceClient<Channel>, authorize: Authorize<'_>| {
        let request = authorize.0.authorized(v1::GetPolicyRequest {});
        Ok(admin.get_policy(request).await?.into_inner())
    };
    let answer = scene.confirmed("the policy", ask, |answer| answer.freshness).await;
    (answer.version, answer.text)
}

/// A license of fewer seats than are held: nobody loses one, and nobody is
/// granted one before enough came back. One of more seats: they are there.
pub async fn license(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let anns = ann.takes("license", 2).await;
    let bens = ben.takes("license", 1).await;
    let raised = ann.takes("license-raised", 1).await;
    cid.is_denied("license-raised", 1).await;

    scene.last_call().await;
    let second = document(&scene, &site::SEATS_SECOND).await;
    assert_eq!(scene.applies_license(&second).await, 2, "two are held beyond it");

    let expected = [
        "license: ann 2 and ben 1",
        "license: 3 of 1 in use",
        "cid: LICENSES_EXHAUSTED, license, 3 of 1 in use, 1 wanted, held by ann 2 and ben 1",
        "license-raised: 1 of 2 in use",
        "applied again, 2 are held beyond it",
        "the one before it: LICENSE_SUPERSEDED",
    ];
    let first = document(&scene, &site::SEATS_FIRST).await;
    let look = async |scene: &Scene| {
        let older = scene.is_refused_license(&first).await;
        vec![
            scene.held("license").await,
            scene.use_of("license").await,
            cid.is_denied("license", 1).await,
            scene.use_of("license-raised").await,
            format!("applied again, {} are held beyond it", scene.applies_license(&second).await),
            format!("the one before it: {}", in_words(&older)),
        ]
    };
    scene.withstands(&expected, look).await;

    let cids_raised = cid.takes("license-raised", 1).await;
    bens.give_back().await.unwrap();
    cid.is_denied("license", 1).await;
    anns.give_back().await.unwrap();
    let cids = cid.takes("license", 1).await;
    assert_eq!(
        ben.is_denied("license", 1).await,
        "ben: LICENSES_EXHAUSTED, license, 1 of 1 in use, 1 wanted, held by cid 1"
    );
    let third = document(&scene, &site::SEATS_THIRD).await;
    assert_eq!(scene.applies_license(&third).await, 0);
    let bens = ben.takes("license", 2).await;
    assert_eq!(scene.use_of("license").await, "license: 3 of 3 in use");
    drop((raised, cids_raised, cids, bens));
    [ann, ben, cid].iter().for_each(User::lost_nothing);
}
