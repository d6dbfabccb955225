//! Rows about seats and how they are counted.

use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::taken::Outcome;
use triad_tests::cluster::START_LIMIT;
use triad_tests::{RawSession, raw, wait};

use crate::people::{User, in_words};
use crate::scene::Scene;

/// Seats are held, the pool is full, and the next is denied. A client that asks
/// again what it asked before the fault gets the same answers.
pub async fn checkout(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let anns = ann.takes("checkout", 2).await;
    let bens = ben.takes("checkout", 1).await;
    let id = [1; 16];
    let mut eve = open_raw(&scene, id, false).await;
    let first = granted(ask_raw(&scene, &mut eve, id, &wants(1)).await);
    let second = denial(ask_raw(&scene, &mut eve, id, &wants(2)).await);
    let expected = [
        "checkout: ann 2 and ben 1 and raw 1",
        "cid: LICENSES_EXHAUSTED, checkout, 4 of 4 in use, 1 wanted, held by ann 2 and ben 1 and \
         raw 1",
    ];
    let look = async |scene: &Scene| {
        vec![scene.held("checkout").await, cid.is_denied("checkout", 1).await]
    };
    scene.withstands(&expected, look).await;

    // P3: neither a second seat nor another answer. What was denied then is
    // denied again, though a seat is free by now.
    bens.give_back().await.unwrap();
    let mut eve = open_raw(&scene, id, true).await;
    assert_eq!(eve.opened.checkout_ids, [first.checkout_id]);
    assert_eq!(granted(ask_raw(&scene, &mut eve, id, &wants(1)).await), first);
    assert_eq!(denial(ask_raw(&scene, &mut eve, id, &wants(2)).await), second);
    let cids = cid.takes("checkout", 1).await;
    assert_eq!(scene.held("checkout").await, "checkout: ann 2 and raw 1 and cid 1");
    for seats in [anns, cids] {
        seats.give_back().await.unwrap();
    }
    assert_eq!(scene.held("checkout").await, "checkout: raw 1");
    [ann, ben, cid].iter().for_each(User::lost_nothing);
}

/// A session without the library, on whoever leads. It sends no heartbeats, so
/// its lease is long.
pub async fn open_raw(scene: &Scene, id: [u8; 16], resume: bool) -> RawSession {
    let look = async || {
        let channel = {
            let cluster = scene.cluster().await;
            let leader = cluster.sightings().await.leader().ok_or("nobody leads")?;
            cluster.channel(leader)
        };
        let open = v1::Open { lease_ms: 600_000, ..raw::open(id, resume) };
        RawSession::open(channel, open).await.map_err(|status| status.to_string())
    };
    wait::until("a session is opened", START_LIMIT, look).await
}

/// Asks on such a session, on a new stream as often as one ends before the
/// answer, and acknowledges nothing yet.
pub async fn ask_raw(scene: &Scene, session: &mut RawSession, id: [u8; 16], call: &Call) -> Event {
    loop {
        session.say(call.clone());
        loop {
            match session.next().await {
                Ok(answer @ (Event::Taken(_) | Event::Queued(_))) => return answer,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        *session = open_raw(scene, id, true).await;
    }
}

fn wants(request_id: u64) -> Call {
    let mut call = raw::take(request_id, "checkout", 1);
    if let Call::Take(take) = &mut call {
        take.answered_through = 0;
    }
    call
}

fn granted(answer: Event) -> v1::Grant {
    match answer {
        Event::Taken(taken) => raw::granted(taken),
        other => panic!("not granted: {other:?}"),
    }
}

/// What was decided. Who holds the seats is told as of the moment of telling.
fn denial(answer: Event) -> String {
    match answer {
        Event::Taken(v1::Taken { outcome: Some(Outcome::Denial(refusal)), .. }) => {
            in_words(&triad_client::Refusal { holders: Vec::new(), ..refusal })
        }
        other => panic!("not denied: {other:?}"),
    }
}

/// Several features in one checkout: all of them or none.
pub async fn several(mut scene: Scene) {
    let [ann, ben] = scene.users(["ann", "ben"]).await;
    let anns = ann.takes_all(&[("several-a", 2), ("several-b", 1)]).await;
    let both = [("several-a", 1), ("several-b", 1)];
    let expected = [
        "several-a: ann 2",
        "several-b: ann 1",
        "ben: LICENSES_EXHAUSTED, several-b, 1 of 1 in use, 1 wanted, held by ann 1",
        "several-a: 2 of 3 in use",
    ];
    let look = async |scene: &Scene| {
        vec![
            scene.held("several-a").await,
            scene.held("several-b").await,
            ben.is_denied_all(&both).await,
            scene.use_of("several-a").await,
        ]
    };
    scene.withstands(&expected, look).await;

    anns.give_back().await.unwrap();
    assert_eq!(scene.use_of("several-a").await, "several-a: 0 of 3 in use");
    let bens = ben.takes_all(&both).await;
    assert_eq!(bens.items().len(), 2);
    assert_eq!(scene.held("several-a").await, "several-a: ben 1");
    assert_eq!(scene.held("several-b").await, "several-b: ben 1");
    [ann, ben].iter().for_each(User::lost_nothing);
}

/// The same user on the same host takes one seat, however often.
pub async fn dup_group(mut scene: Scene) {
    let tower = scene.user_at("ann", "tower").await;
    let tower_again = scene.user_at("ann", "tower").await;
    let laptop = scene.user_at("ann", "laptop").await;
    let ben = scene.user("ben").await;
    let first = tower.takes("dup", 1).await;
    let second = tower_again.takes("dup", 1).await;
    let third = laptop.takes("dup", 1).await;
    let expected = [
        "dup: ann 1 and ann 1 and ann 1",
        "dup: 2 of 2 in use",
        "ben: LICENSES_EXHAUSTED, dup, 2 of 2 in use, 1 wanted, held by ann 1 and ann 1 and ann 1",
    ];
    let look = async |scene: &Scene| {
        vec![scene.held("dup").await, scene.use_of("dup").await, ben.is_denied("dup", 1).await]
    };
    scene.withstands(&expected, look).await;

    // At the tower there is room for her though no seat is free.
    let fourth = tower.takes("dup", 1).await;
    assert_eq!(scene.use_of("dup").await, "dup: 2 of 2 in use");
    for seat in [first, second] {
        seat.give_back().await.unwrap();
        assert_eq!(scene.use_of("dup").await, "dup: 2 of 2 in use", "the others share it still");
    }
    ben.is_denied("dup", 1).await;
    fourth.give_back().await.unwrap();
    assert_eq!(scene.use_of("dup").await, "dup: 1 of 2 in use");
    let bens = ben.takes("dup", 1).await;
    assert_eq!(scene.held("dup").await, "dup: ann 1 and ben 1");
    drop((third, bens));
    [tower, tower_again, laptop, ben].iter().for_each(User::lost_nothing);
}

/// A mesher takes three tokens and a viewer two, of seven.
pub async fn tokens(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let anns = ann.takes("mesher", 1).await;
    let bens = ben.takes("mesher", 1).await;
    let expected = [
        "mesher: ann 1 and ben 1",
        "tokens: 6 of 7 in use",
        "cid: LICENSES_EXHAUSTED, tokens, 6 of 7 in use, 2 wanted",
        "cid: COUNT_EXCEEDS_TOTAL, tokens, 0 of 7 in use, 9 wanted",
    ];
    let look = async |scene: &Scene| {
        vec![
            scene.held("mesher").await,
            scene.use_of("tokens").await,
            cid.is_denied("viewer", 1).await,
            cid.is_denied("mesher", 3).await,
        ]
    };
    scene.withstands(&expected, look).await;

    anns.give_back().await.unwrap();
    let cids = cid.takes("viewer", 2).await;
    assert_eq!(scene.use_of("tokens").await, "tokens: 7 of 7 in use");
    ann.is_denied("mesher", 1).await;
    bens.give_back().await.unwrap();
    cids.give_back().await.unwrap();
    assert_eq!(scene.use_of("tokens").await, "tokens: 0 of 7 in use");
    [ann, ben, cid].iter().for_each(User::lost_nothing);
}

/// Who uses any part of a suite has one seat of it, and all of its parts.
pub async fn suite(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let word = ann.takes("word", 1).await;
    let bens = ben.takes("calc", 1).await;
    let expected = [
        "word: ann 1",
        "calc: ben 1",
        "suite: 2 of 2 in use",
        "cid: LICENSES_EXHAUSTED, suite, 2 of 2 in use, 1 wanted",
    ];
    let look = async |scene: &Scene| {
        vec![
            scene.held("word").await,
            scene.held("calc").await,
            scene.use_of("suite").await,
            cid.is_denied("word", 1).await,
        ]
    };
    scene.withstands(&expected, look).await;

    let calc = ann.takes("calc", 1).await;
    assert_eq!(scene.use_of("suite").await, "suite: 2 of 2 in use", "ann has it already");
    word.give_back().await.unwrap();
    cid.is_denied("word", 1).await;
    calc.give_back().await.unwrap();
    let cids = cid.takes("word", 1).await;
    assert_eq!(scene.use_of("suite").await, "suite: 2 of 2 in use");
    drop((bens, cids));
    [ann, ben, cid].iter().for_each(User::lost_nothing);
}
