//! Rows about borrowed seats.

use std::time::Duration;

use triad_client::{BorrowEnd, Borrowed, verify_borrowed};
use triad_proto::machine;
use triad_tests::clock;

use crate::people::{User, items};
use crate::scene::Scene;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A loan that ends within the column.
const SHORT: Duration = Duration::from_secs(8);

async fn lends(user: &User, feature: &str, time: Duration) -> Borrowed {
    let lent = user.client.borrow(items(&[(feature, 1)]), BorrowEnd::For(time)).await;
    lent.unwrap_or_else(|error| panic!("{} borrows no {feature}: {error:?}", user.name))
}

async fn lends_not(user: &User, feature: &str, time: Duration) -> String {
    let lent = user.client.borrow(items(&[(feature, 1)]), BorrowEnd::For(time)).await;
    user.says(&lent.expect_err("it is not to be borrowed"))
}

/// A loan is proven without a server, outlives its session, and comes back at
/// its date and not before.
pub async fn borrow(mut scene: Scene) {
    let here = machine::host_name();
    let ann = scene.user_at("ann", &here).await;
    let [ben, cid, dan] = scene.users(["ben", "cid", "dan"]).await;
    let ca = std::fs::read(scene.cluster().await.ca()).unwrap();
    let lent = lends(&ann, "borrow", 2 * DAY).await;
    let bens = ben.takes("borrow", 1).await;

    scene.last_call().await;
    let short = lends(&ann, "borrow-short", SHORT).await;
    let waits = cid.waits(&[("borrow-short", 1)]).await;
    ann.client.close().await;

    let expected = [
        "borrow: ann 1 borrowed and ben 1",
        "borrow: 2 of 3 in use, 1 borrowed",
        "cid: BORROW_LOWWATER, borrow, by [[borrow_lowwater]] of borrow",
        "cid: BORROW_TOO_LONG, borrow-long",
        "dan: BORROW_NOT_ALLOWED, borrow, by [[exclude_borrow]] of borrow",
        "the token is for ann, 1 of borrow",
    ];
    let look = async |scene: &Scene| {
        let terms = verify_borrowed(&lent.token, &ca, clock::now()).unwrap();
        assert_eq!(terms.checkout_id, lent.checkout_id);
        let item = &terms.items[0];
        let user = terms.holder.unwrap_or_default().user;
        vec![
            scene.held("borrow").await,
            scene.use_of("borrow").await,
            lends_not(&cid, "borrow", DAY).await,
            lends_not(&cid, "borrow-long", 4 * DAY).await,
            lends_not(&dan, "borrow", DAY).await,
            format!("the token is for {user}, {} of {}", item.seats, item.feature),
        ]
    };
    scene.withstands(&expected, look).await;

    // The date of its end is kept, to the millisecond.
    let row = &scene.checkouts("borrow").await[0];
    assert_eq!(row.checkout_id, lent.checkout_id);
    assert_eq!(Duration::from_millis(row.until_ms), clock::since_epoch(lent.until));
    let seat = cid.is_served(waits).await;
    let row = &scene.checkouts("borrow-short").await[0];
    assert_eq!(row.checkout_id, seat.id());
    let (until, since) = (clock::since_epoch(short.until), Duration::from_millis(row.since_ms));
    assert!(since >= until, "lent until {until:?}, granted to the next at {since:?}");
    // What is borrowed counts among the three.
    let third = cid.takes("borrow", 1).await;
    assert_eq!(
        dan.is_denied("borrow", 1).await,
        "dan: LICENSES_EXHAUSTED, borrow, 3 of 3 in use, 1 wanted, held by ann 1 and ben 1 and \
         cid 1"
    );
    drop((bens, third));
    [ben, cid, dan].iter().for_each(User::lost_nothing);
}

/// A loan comes back early from the desk that borrowed it, and from no other.
pub async fn early_return(mut scene: Scene) {
    let ann = scene.user("ann").await;
    let ben = scene.user("ben").await;
    let lent = lends(&ann, "return", DAY).await;
    let returned = lends(&ann, "return-before", DAY).await;

    scene.last_call().await;
    assert!(ann.client.return_borrowed(returned.checkout_id).await.unwrap());
    ann.client.close().await;

    let expected = [
        "return: ann 1 borrowed",
        "ben returns it: false",
        "ben: LICENSES_EXHAUSTED, return, 1 of 1 in use, 1 wanted, held by ann 1",
        "return-before: nobody",
        "return-before: 0 of 1 in use",
    ];
    let look = async |scene: &Scene| {
        let returned = ben.client.return_borrowed(lent.checkout_id).await.unwrap();
        vec![
            scene.held("return").await,
            format!("ben returns it: {returned}"),
            lends_not(&ben, "return", DAY).await,
            scene.held("return-before").await,
            scene.use_of("return-before").await,
        ]
    };
    scene.withstands(&expected, look).await;

    let ann_again = scene.user("ann").await;
    assert!(ann_again.client.return_borrowed(lent.checkout_id).await.unwrap());
    assert!(!ann_again.client.return_borrowed(lent.checkout_id).await.unwrap(), "once is enough");
    assert!(!ann_again.client.return_borrowed(returned.checkout_id).await.unwrap());
    lends(&ben, "return", DAY).await;
    assert_eq!(scene.held("return").await, "return: ben 1 borrowed");
    lends(&ben, "return-before", DAY).await;
    [ben, ann_again].iter().for_each(User::lost_nothing);
}
