//! Rows about rules of the policy that count seats.

use crate::people::User;
use crate::scene::Scene;

/// Seats that are kept for a group count as in use for everybody else.
pub async fn reservation(mut scene: Scene) {
    let [ann, ben, dan] = scene.users(["ann", "ben", "dan"]).await;
    let dans = dan.takes("reserve", 3).await;
    let anns = ann.takes("reserve", 1).await;
    let expected = [
        "reserve: dan 3 and ann 1",
        "2 for group cfd, 1 of them in use",
        "dan: ALL_RESERVED, reserve, 4 of 5 in use, 1 wanted, 1 reserved, held by dan 3 and ann \
         1, by [[reserve]] of reserve",
    ];
    let look = async |scene: &Scene| {
        vec![
            scene.held("reserve").await,
            reserved(scene, "reserve").await,
            dan.is_denied("reserve", 1).await,
        ]
    };
    scene.withstands(&expected, look).await;

    let bens = ben.takes("reserve", 1).await;
    assert_eq!(reserved(&scene, "reserve").await, "2 for group cfd, 2 of them in use");
    anns.give_back().await.unwrap();
    dan.is_denied("reserve", 1).await;
    dans.give_back().await.unwrap();
    assert_eq!(reserved(&scene, "reserve").await, "2 for group cfd, 1 of them in use");
    let three = dan.takes("reserve", 3).await;
    drop((bens, three));
    [ann, ben, dan].iter().for_each(User::lost_nothing);
}

async fn reserved(scene: &Scene, feature: &str) -> String {
    let reservations = scene.pool(feature).await.reservations;
    let word = |kept: &triad_proto::v1::Reservation| {
        format!("{} for {}, {} of them in use", kept.seats, kept.subject, kept.seats_in_use)
    };
    reservations.iter().map(word).collect::<Vec<_>>().join(" and ")
}

/// A group holds its maximum together, whoever granted it.
pub async fn max(mut scene: Scene) {
    let [ann, ben, dan] = scene.users(["ann", "ben", "dan"]).await;
    let anns = ann.takes("max", 1).await;
    let bens = ben.takes("max", 1).await;
    let dans = dan.takes("max", 3).await;
    let expected = [
        "max: ann 1 and ben 1 and dan 3",
        "ann: POLICY_MAX, max, 2 of 2 in use, 1 wanted, by [[max]] of max",
        "ben: POLICY_MAX, max, 2 of 2 in use, 1 wanted, by [[max]] of max",
    ];
    let look = async |scene: &Scene| {
        vec![scene.held("max").await, ann.is_denied("max", 1).await, ben.is_denied("max", 1).await]
    };
    scene.withstands(&expected, look).await;

    bens.give_back().await.unwrap();
    let second = ann.takes("max", 1).await;
    ben.is_denied("max", 1).await;
    let more = dan.takes("max", 4).await;
    assert_eq!(scene.held("max").await, "max: ann 1 and dan 3 and ann 1 and dan 4");
    drop((anns, second, dans, more));
    [ann, ben, dan].iter().for_each(User::lost_nothing);
}

/// One seat beyond the one that was bought, of the two that the license would
/// allow.
pub async fn overdraft(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let anns = ann.takes("overdraft", 1).await;
    let bens = ben.takes("overdraft", 1).await;
    let expected = [
        "overdraft: ann 1 and ben 1",
        "overdraft: 2 of 1+2 in use",
        "cid: LICENSES_EXHAUSTED, overdraft, 2 of 2 in use, 1 wanted, held by ann 1 and ben 1",
    ];
    let look = async |scene: &Scene| {
        vec![
            scene.held("overdraft").await,
            scene.use_of("overdraft").await,
            cid.is_denied("overdraft", 1).await,
        ]
    };
    scene.withstands(&expected, look).await;

    anns.give_back().await.unwrap();
    let cids = cid.takes("overdraft", 1).await;
    ann.is_denied("overdraft", 1).await;
    assert_eq!(scene.use_of("overdraft").await, "overdraft: 2 of 1+2 in use");
    drop((bens, cids));
    [ann, ben, cid].iter().for_each(User::lost_nothing);
}
