//! The pages of a node as a person sees them: in a browser, light and dark, with
//! scripts and without, with a quorum and without.

use std::time::Duration;

use triad_client::{Client, Item, Wait};
use triad_tests::browser::{Browser, Wanted};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// A user whose name would be a script, if anybody forgot to escape it.
const HOSTILE: &str = "<script>document.title='owned'</script>";

const PAGES: [&str; 13] = [
    "/",
    "/features",
    "/features/solver",
    "/features/nothing",
    "/checkouts",
    "/checkouts?q=ann&sort=-since",
    "/checkouts?q=nobody+at+all",
    "/queue",
    "/events",
    "/events?kind=denied",
    "/docs",
    "/docs/reference/metrics",
    "/nothing-like-it",
];

fn at(cluster: &Cluster, n: usize, path: &str) -> String {
    format!("https://{}{path}", cluster.http_address(n))
}

async fn sign_in(browser: &Browser, cluster: &Cluster, n: usize) {
    browser.open(&at(cluster, n, "/")).await;
    browser.fill("[name=token]", cluster.token()).await;
    browser.click("main form button").await;
    assert_eq!(browser.url().await, at(cluster, n, "/"));
}

async fn clean(browser: &Browser, picture: &str) {
    let found = browser.violations().await;
    browser.picture(picture).await;
    assert!(found.is_empty(), "{picture}: {}", found.join("\n"));
}

/// People who hold seats, one of whom waits for another.
async fn busy(cluster: &Cluster, last: &str) -> (Vec<Client>, Vec<triad_client::Checkout>) {
    let (mut clients, mut held) = (Vec::new(), Vec::new());
    for (user, host, feature, seats) in [
        ("ann", "cad-07", FEATURE, 4),
        ("bob", "node18", FEATURE, 3),
        ("carla", "node19", "mesher", 2),
        ("dmitri", "cad-02", "viewer", 1),
        (last, "cad-03", "viewer", 1),
    ] {
        let client = cluster.client().user(user).host(host).application("tests").build().unwrap();
        held.push(client.checkout(feature, "", seats).await.unwrap());
        clients.push(client);
    }
    clients[3].checkout("mesher", "", 1).await.expect_err("none is left");
    (clients, held)
}

fn options() -> Options {
    let features = [(FEATURE, 10), ("mesher", 2), ("viewer", 40), ("post", 5)];
    let features = features.map(|(name, seats)| (name.to_owned(), seats)).into();
    Options { features, ..Options::default() }
}

#[tokio::test]
async fn every_page_is_accessible_light_and_dark_busy_and_without_a_quorum() {
    for dark in [false, true] {
        let Some(browser) = Browser::start(Wanted { dark, scripts: true }).await else { return };
        let scheme = if dark { "dark" } else { "light" };
        let mut cluster = Cluster::start(options()).await;
        let leader = cluster.settled().await;
        browser.open(&at(&cluster, leader, "/sign-in")).await;
        clean(&browser, &format!("{scheme}-sign-in")).await;
        sign_in(&browser, &cluster, leader).await;
        clean(&browser, &format!("{scheme}-quiet")).await;
        let (clients, held) = busy(&cluster, "eve").await;
        let one = Item { feature: "mesher".into(), version: String::new(), seats: 1 };
        let waiting = clients[3].queue(vec![one], Wait::default()).unwrap();
        let is_there = async || waiting.place().ok_or_else(|| "no place yet".to_owned());
        wait::until("dmitri waits", LIMIT, is_there).await;
        for page in PAGES {
            browser.open(&at(&cluster, leader, page)).await;
            clean(&browser, &format!("{scheme}{}", page.replace(['/', '?', '&', '='], "-"))).await;
        }
        let one = at(&cluster, leader, &format!("/checkouts/{}", held[0].id()));
        browser.open(&one).await;
        clean(&browser, &format!("{scheme}-checkout")).await;
        drop(waiting);

        let follower = (leader + 1) % 3;
        sign_in(&browser, &cluster, follower).await;
        clean(&browser, &format!("{scheme}-follower")).await;
        for n in (0..3).filter(|n| *n != follower) {
            cluster.nodes[n].kill9().await;
        }
        let look = async || {
            browser.open(&at(&cluster, follower, "/")).await;
            let page = browser.source().await;
            if page.contains("No quorum") && page.contains("STALE") { Ok(()) } else { Err(page) }
        };
        wait::until("the pages say that there is no quorum", LIMIT, look).await;
        clean(&browser, &format!("{scheme}-no-quorum")).await;
        browser.close().await;
    }
}

#[tokio::test]
async fn an_administrator_takes_a_seat_back_without_any_script() {
    let Some(browser) = Browser::start(Wanted { dark: false, scripts: false }).await else {
        return;
    };
    let cluster = Cluster::start(options()).await;
    let leader = cluster.settled().await;
    let (_clients, held) = busy(&cluster, HOSTILE).await;
    sign_in(&browser, &cluster, leader).await;
    let page = browser.source().await;
    assert!(page.contains("Healthy"), "{page}");
    assert!(page.contains("7 used · 3 free of 10"), "{page}");
    assert!(!page.contains(HOSTILE), "a user's name is text");

    browser.open(&at(&cluster, leader, "/checkouts?q=bob")).await;
    assert!(browser.source().await.contains("1 of 5 checkouts"));
    browser.click("td a").await;
    assert_eq!(browser.url().await, at(&cluster, leader, &format!("/checkouts/{}", held[1].id())));
    browser.fill("[name=reason]", "left for the day").await;
    browser.click("main form button").await;
    let page = browser.source().await;
    assert!(
        page.contains("The checkout was taken back.") && page.contains("4 checkouts"),
        "{page}"
    );
    assert_eq!(cluster.until_checkouts(4, LIMIT).await.len(), 4);
    browser.open(&at(&cluster, leader, "/events")).await;
    assert!(browser.source().await.contains("left for the day"));

    // A follower shows the same, and says where to do it.
    let follower = (leader + 1) % 3;
    sign_in(&browser, &cluster, follower).await;
    browser.open(&at(&cluster, follower, &format!("/checkouts/{}", held[0].id()))).await;
    let page = browser.source().await;
    assert!(!page.contains("name=\"reason\"") && page.contains("Open it at the leader"), "{page}");
    assert!(page.contains(&at(&cluster, leader, &format!("/checkouts/{}", held[0].id()))));
    assert_eq!(cluster.checkouts().await.len(), 4, "nothing was done");

    browser.click(".who button").await;
    assert_eq!(browser.url().await, at(&cluster, follower, "/sign-in"));
    browser.open(&at(&cluster, follower, "/queue")).await;
    let url = browser.url().await;
    assert!(url.ends_with("/sign-in?to=%2Fqueue"), "{url}");
    browser.close().await;
}

#[tokio::test]
async fn what_happens_appears_by_itself_where_scripts_run() {
    let Some(browser) = Browser::start(Wanted { dark: false, scripts: true }).await else {
        return;
    };
    let cluster = Cluster::start(options()).await;
    let leader = cluster.settled().await;
    sign_in(&browser, &cluster, leader).await;
    let client = cluster.client().user("late").host("comer").build().unwrap();
    let _held = client.checkout(FEATURE, "", 2).await.unwrap();
    let look = async || {
        let page = browser.source().await;
        let news = page.contains("late@comer got 2 of solver");
        // The numbers above the news follow them.
        let numbers = page.contains("2 used · 8 free of 10");
        if news && numbers { Ok(()) } else { Err(format!("{news} {numbers} {page}")) }
    };
    wait::until("the page shows the checkout", LIMIT, look).await;
    browser.close().await;
}
