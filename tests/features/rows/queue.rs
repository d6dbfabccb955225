//! The row about the queue.

use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_tests::raw;

use crate::people::{User, place};
use crate::rows::seats::{ask_raw, open_raw};
use crate::scene::Scene;

/// Those who wait keep their order and their places, are served in that order,
/// and nobody overtakes them. What one of them was granted while nobody told him
/// he finds when he comes back.
pub async fn position(mut scene: Scene) {
    let [hal, ann, ben, cid, eve, dan] =
        scene.users(["hal", "ann", "ben", "cid", "eve", "dan"]).await;
    let hals = hal.takes("queue", 1).await;
    let anns = ann.waits(&[("queue", 1)]).await;
    let bens = ben.waits(&[("queue", 1)]).await;
    let cids = cid.waits(&[("queue", 1)]).await;
    // By the policy she goes first.
    let eves = eve.waits(&[("queue", 1)]).await;

    let wide = hal.takes("queue-wide", 1).await;
    let ann_waits_for_two = ann.waits(&[("queue-wide", 2)]).await;

    let unheard = hal.takes("queue-unheard", 1).await;
    let id = [2; 16];
    let mut gus = open_raw(&scene, id, false).await;
    let waits = ask_raw(&scene, &mut gus, id, &waiting_take()).await;
    assert!(matches!(waits, Event::Queued(_)), "{waits:?}");

    scene.last_call().await;
    // He hears nothing any more, and is granted his seat.
    drop(gus);
    unheard.give_back().await.unwrap();
    scene.until_held("queue-unheard: raw 1").await;
    let granted = scene.checkouts("queue-unheard").await[0].checkout_id;

    let expected = [
        "queue: hal 1",
        "queue: 1 eve, 2 ann, 3 ben, 4 cid",
        "dan: LICENSES_EXHAUSTED, queue, 1 of 1 in use, 1 wanted, 4 wait, held by hal 1",
        "queue-wide: 1 ann",
        "dan: QUEUE_NONEMPTY, queue-wide, 1 wait, held by hal 1",
        "queue-unheard: raw 1",
    ];
    let look = async |scene: &Scene| {
        vec![
            scene.held("queue").await,
            scene.queue("queue").await,
            dan.is_denied("queue", 1).await,
            scene.queue("queue-wide").await,
            dan.is_denied("queue-wide", 1).await,
            scene.held("queue-unheard").await,
        ]
    };
    scene.withstands(&expected, look).await;

    for (ticket, expected) in [(&eves, 1), (&anns, 2), (&bens, 3), (&cids, 4)] {
        let mut places = ticket.places();
        let told = places.wait_for(|told| told.is_some_and(|told| told.place == expected));
        let told = tokio::time::timeout(crate::people::HEARD_LIMIT, told).await.is_ok();
        assert!(told, "place {expected}: {:?}", ticket.place());
    }
    let dans = dan.waits(&[("queue", 1)]).await;
    assert_eq!(place(&dans), 5);
    hals.give_back().await.unwrap();
    let mut line = vec![(&eve, eves), (&ann, anns), (&ben, bens), (&cid, cids), (&dan, dans)];
    while !line.is_empty() {
        let (first, ticket) = line.remove(0);
        let seat = first.is_served(ticket).await;
        assert_eq!(scene.held("queue").await, format!("queue: {} 1", first.name));
        let rest = line.iter().zip(1..).map(|((user, _), place)| format!("{place} {}", user.name));
        let rest: Vec<String> = rest.collect();
        let rest = if rest.is_empty() { "nobody waits".into() } else { rest.join(", ") };
        assert_eq!(scene.queue("queue").await, format!("queue: {rest}"));
        hal.is_denied("queue", 1).await;
        seat.give_back().await.unwrap();
    }
    wide.give_back().await.unwrap();
    let two = ann.is_served(ann_waits_for_two).await;
    assert_eq!(scene.held("queue-wide").await, "queue-wide: ann 2");
    drop(two);

    let mut gus = open_raw(&scene, id, true).await;
    assert_eq!(gus.opened.checkout_ids, [granted]);
    let answer = match ask_raw(&scene, &mut gus, id, &waiting_take()).await {
        Event::Taken(taken) => raw::granted(taken),
        other => panic!("the grant that he did not hear of: {other:?}"),
    };
    assert_eq!(answer.checkout_id, granted, "the seat that he was granted, and no other");
    assert_eq!(scene.held("queue-unheard").await, "queue-unheard: raw 1");
    [hal, ann, ben, cid, eve, dan].iter().for_each(User::lost_nothing);
}

fn waiting_take() -> Call {
    let mut call = raw::take(1, "queue-unheard", 1);
    if let Call::Take(take) = &mut call {
        take.wait = Some(triad_proto::v1::Wait::default());
    }
    call
}
