//! P11: what the pages give to whoever has no token, a low one, or another site's
//! form.

use std::time::Duration;

use tonic::codegen::http::Method;
use triad_tests::cluster::FEATURE;
use triad_tests::web::{Answered, Web};
use triad_tests::{Cluster, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn post(web: &Web, path: &str, headers: &[(&'static str, &str)], body: &str) -> Answered {
    let mut all = vec![FORM];
    all.extend_from_slice(headers);
    web.ask(Method::POST, path, &all, body.to_owned()).await.unwrap()
}

/// Signs in with a token: the cookie, and what forms carry.
pub async fn sign_in(web: &Web, token: &str) -> (String, String) {
    let answer = post(web, "/sign-in", &[], &format!("token={token}&to=%2Fqueue")).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.headers["location"], "/queue");
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    for part in ["__Host-", "HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = web.get("/queue", &[("cookie", &cookie)]).await.unwrap();
    let field = "name=\"form_token\" value=\"";
    let form_token = page.text.split_once(field).expect("a form").1;
    (cookie, form_token.split('"').next().unwrap().to_owned())
}

#[tokio::test]
async fn strangers_see_and_change_nothing() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let client = cluster.client().user("ann").build().unwrap();
    let held = client.checkout(FEATURE, "", 1).await.unwrap();
    let web = cluster.web(0);
    let revoke = format!("/checkouts/{}/revoke", held.id());
    for path in ["/", "/features", "/checkouts", "/queue", "/events", "/checkouts/1"] {
        let answer = web.get(path, &[]).await.unwrap();
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.headers["location"].to_str().unwrap().starts_with("/sign-in?to="));
        let forged = [("cookie", "__Host-triad=x; triad-tc-1=y")];
        assert_eq!(web.get(path, &forged).await.unwrap().status, 303, "{path}");
    }
    assert_eq!(web.get("/events/live?after=0", &[]).await.unwrap().status, 303);
    let body = "form_token=x&reason=x&block_minutes=0";
    assert_eq!(post(&web, &revoke, &[], body).await.status, 401);

    // Every answer, of whatever kind, says what a browser may do with it.
    for path in ["/sign-in", "/metrics", "/nothing", "/assets/node.js", "/docs", "/events/live"] {
        let headers = web.get(path, &[]).await.unwrap().headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{path}");
        assert!(
            policy.contains("frame-ancestors 'none'")
                && headers["x-content-type-options"] == "nosniff"
        );
    }

    // A form without the token of this sign-in, or of another's.
    let (cookie, form_token) = sign_in(&web, cluster.token()).await;
    let (other_cookie, other_token) = sign_in(&web, cluster.token()).await;
    assert_ne!(form_token, other_token);
    for token in ["", "x", &other_token] {
        let body = format!("form_token={token}&reason=x&block_minutes=0");
        let answer = post(&web, &revoke, &[("cookie", &cookie)], &body).await;
        assert_eq!(answer.status, 403, "{token}: {}", answer.text);
        let body = format!("form_token={token}");
        assert_eq!(post(&web, "/sign-out", &[("cookie", &cookie)], &body).await.status, 403);
    }
    assert_eq!(cluster.checkouts().await.len(), 1);
    let body = format!("form_token={form_token}&reason=x&block_minutes=0");
    assert_eq!(post(&web, &revoke, &[("cookie", &cookie)], &body).await.status, 303);
    assert_eq!(cluster.checkouts().await.len(), 0);

    // Signing out ends one sign-in and no other.
    let body = format!("form_token={form_token}");
    assert_eq!(post(&web, "/sign-out", &[("cookie", &cookie)], &body).await.status, 303);
    assert_eq!(web.get("/queue", &[("cookie", &cookie)]).await.unwrap().status, 303);
    assert_eq!(web.get("/queue", &[("cookie", &other_cookie)]).await.unwrap().status, 200);

    let foreign = post(&web, "/sign-in", &[("sec-fetch-site", "cross-site")], "token=x").await;
    assert_eq!(foreign.status, 403);
    // Guesses are throttled, and then the right token waits too.
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(post(&web, "/sign-in", &[], "token=tat_wrong").await.status);
    }
    assert_eq!(statuses, [vec![401; 10], vec![429]].concat());
    let right = format!("token={}", cluster.token());
    assert_eq!(post(&web, "/sign-in", &[], &right).await.status, 429);
}

#[tokio::test]
async fn who_may_look_may_not_take_seats_back_and_a_revoked_token_ends_its_sign_ins() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let client = cluster.client().user("ann").build().unwrap();
    let held = client.checkout(FEATURE, "", 1).await.unwrap();
    let file = cluster.folder().join("looker.token");
    let create = format!("token create --role viewer --label looker --out {}", file.display());
    let made = cluster.triad(&format!("{create} -o json")).await;
    assert_eq!(made.code(), 0, "{made:?}");
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let web = cluster.web(0);
    let (cookie, form_token) = sign_in(&web, &token).await;
    let signed_in = [("cookie", cookie.as_str())];
    let one = format!("/checkouts/{}", held.id());
    let page = web.get(&one, &signed_in).await.unwrap();
    assert!(
        page.text.contains("needs the role operator") && !page.text.contains("name=\"reason\"")
    );
    let body = format!("form_token={form_token}&reason=x&block_minutes=0");
    assert_eq!(post(&web, &format!("{one}/revoke"), &signed_in, &body).await.status, 403);
    assert_eq!(cluster.checkouts().await.len(), 1);

    let mut news = web.flowing("/events/live?after=0", &signed_in).await.unwrap();
    news.until("got 1 of solver").await;

    let id = made["tokenId"].as_str().expect("its id").to_owned();
    let revoked = cluster.triad(&format!("token revoke {id} --yes")).await;
    assert_eq!(revoked.code(), 0, "{revoked:?}");
    assert_eq!(web.get("/queue", &signed_in).await.unwrap().status, 303);
    news.ended().await;
}

#[tokio::test]
async fn lists_are_saved_and_news_are_told_to_those_signed_in() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let client = cluster.client().user("=cmd()").host("h,1").build().unwrap();
    let web = cluster.web(0);
    let (cookie, _) = sign_in(&web, cluster.token()).await;
    let signed_in = [("cookie", cookie.as_str())];
    let mut news = web.flowing("/events/live?after=0", &signed_in).await.unwrap();
    let held = client.checkout(FEATURE, "", 2).await.unwrap();
    let told = news.until("got 2 of solver").await;
    assert!(told.contains("\"kind\":\"granted\"") && told.contains("id: "), "{told}");
    let answer = web.get("/checkouts?format=csv", &signed_in).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let lines: Vec<&str> = answer.text.lines().collect();
    assert_eq!(lines[0], "checkout,user,host,features,seats,since,held_ms,state");
    let row = format!("{},\"'=cmd()\",\"h,1\",solver,2,", held.id());
    let rest = lines[1].strip_prefix(&row).unwrap_or_else(|| panic!("{lines:?}"));
    // As the CSV of the command line has them.
    let [since, held_ms, state] = rest.split(',').collect::<Vec<_>>()[..] else { panic!("{rest}") };
    let told = cluster.triad("checkouts -o csv --columns since --no-headers").await;
    assert_eq!((since, state), (told.stdout.trim(), "live"));
    assert!(held_ms.parse::<u64>().is_ok(), "{held_ms}");
    let answer = web.get("/events?format=csv&kind=granted", &signed_in).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let lines: Vec<&str> = answer.text.lines().collect();
    assert_eq!(lines[0], "sequence,date,kind,text");
    let told = cluster.triad("events --kind granted -o csv --columns date --no-headers").await;
    assert!(lines[1].contains(&format!(",{},granted,", told.stdout.trim())), "{lines:?} {told:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let contents = web.get("/docs/", &[]).await.unwrap();
    assert_eq!((contents.status, &contents.headers["location"]), (308, &"/docs".parse().unwrap()));
}

/// What only the leader can do is done there, and a node that is not to lead is shown
/// as one.
#[tokio::test]
async fn a_follower_says_who_takes_back_and_a_drained_node_is_seen() {
    let cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    let client = cluster.client().user("ann").build().unwrap();
    let held = client.checkout(FEATURE, "", 1).await.unwrap();
    let [follower, _] = cluster.others(leader);
    let one = format!("/checkouts/{}", held.id());
    let web = cluster.web(follower);
    let (cookie, form_token) = sign_in(&web, cluster.token()).await;
    let page = wait::until("the follower knows of it", LIMIT, async || {
        let page = web.get(&one, &[("cookie", cookie.as_str())]).await?;
        (page.status == 200).then_some(page.text.clone()).ok_or(page.text)
    });
    let page = page.await;
    assert!(!page.contains("name=\"reason\""), "{page}");
    let name = &cluster.nodes[leader].name;
    assert!(page.contains(&format!("the leader, {name}")), "{page}");

    // A form of when it led is sent to the leader, too.
    let body = format!("form_token={form_token}&reason=x&block_minutes=0");
    let refused = post(&web, &format!("{one}/revoke"), &[("cookie", &cookie)], &body).await;
    assert!(refused.status == 409 && refused.text.contains("do it there"), "{refused:?}");

    // The leader demands the reason that its form demands.
    let web = cluster.web(leader);
    let (cookie, form_token) = sign_in(&web, cluster.token()).await;
    let signed_in = [("cookie", cookie.as_str())];
    let revoke = format!("{one}/revoke");
    let body = format!("form_token={form_token}&reason=+&block_minutes=0");
    let refused = post(&web, &revoke, &signed_in, &body).await;
    assert!(refused.status == 422 && refused.text.contains("Give a reason"), "{refused:?}");
    assert_eq!(cluster.checkouts().await.len(), 1);

    let name = &cluster.nodes[follower].name;
    let drained = cluster.triad(&format!("node drain {name} --yes")).await;
    assert!(drained.status.success(), "{drained:?}");
    wait::until("the leader shows it", LIMIT, async || {
        let page = web.get("/", &signed_in).await?;
        page.text.contains("follows, drained").then_some(()).ok_or(page.text)
    })
    .await;
}
