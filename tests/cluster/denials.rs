//! Denials and their explanations: each names the rule that decided, and what is
//! explained is what happens.

use std::time::Duration;

use triad_client::{Client, Item, Reason, Refusal, Wait};
use triad_proto::v1;
use triad_tests::{Cluster, Options, site};

const POLICY: &str = r#"
[groups]
cfd = ["ann", "ben"]
named = ["ann"]

[[exclude]]
feature = "excluded"
user = "dan"

[[include]]
feature = "included"
group = "cfd"

[[max]]
feature = "max"
group = "cfd"
seats = 2

[[reserve]]
feature = "reserved"
group = "cfd"
seats = 2

[[exclude]]
feature = "internet"
internet = "127.0.0.0/8"

[[exclude]]
feature = "elsewhere"
internet = "10.0.0.0/8"

[[include]]
feature = "named"
group = "named"

[[include]]
feature = "named"
user = "eve"
"#;

fn lines() -> String {
    let mut lines = String::new();
    for (feature, seats, terms) in [
        ("full", 2, ""),
        ("excluded", 1, ""),
        ("included", 1, ""),
        ("max", 9, ""),
        ("reserved", 3, ""),
        ("internet", 1, ""),
        ("elsewhere", 1, ""),
        ("queued", 2, ""),
        ("blocked", 1, ""),
        ("lingers", 1, "linger = \"1h\""),
        ("locked", 1, "hostids = [\"ETHERNET:001122334455\", \"STRING:rig\"]"),
        ("unnamed", 1, "user_based = 1"),
        ("named", 1, "user_based = 1"),
        ("tokens", 5, ""),
        ("mesher", 5, "consumes = { feature = \"tokens\", tokens = 3 }"),
        ("shared", 1, "dup_group = \"U\""),
    ] {
        lines.push_str(&site::line(feature, seats, terms));
    }
    for (feature, days) in [
        ("expired", "expires = 2020-12-31"),
        ("future", "start = 2999-01-01\nexpires = \"permanent\""),
    ] {
        lines.push_str(&format!(
            "[[feature]]\nname = \"{feature}\"\nversion = \"1\"\nseats = 1\n{days}\n\n"
        ));
    }
    lines
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(Options::default()).await;
    cluster.license(&site::license(&cluster, 1, &lines())).await;
    assert_eq!(site::apply_policy(&cluster, POLICY).await, 1);
    cluster
}

fn desk(user: &str) -> String {
    format!("desk-of-{user}")
}

fn client(cluster: &Cluster, user: &str, hostids: &[&str]) -> Client {
    let hostids = hostids.iter().map(|id| (*id).to_owned());
    cluster.client().user(user).host(desk(user)).hostids(hostids).build().unwrap()
}

/// The table of the rule in this line of the policy, and its number.
fn rule_in(line: u32) -> (u32, &'static str) {
    let before = POLICY.lines().take(line as usize).filter(|line| line.starts_with("[["));
    let before: Vec<&str> = before.collect();
    (before.len() as u32, before.last().expect("a rule stands there"))
}

/// Seats in use, of how many, wanted, reserved.
type Numbers = (u64, u64, u64, u64);

fn numbers(refusal: &Refusal) -> Numbers {
    let Refusal { seats_in_use, seats_total, seats_wanted, seats_reserved, .. } = refusal;
    (*seats_in_use, *seats_total, *seats_wanted, *seats_reserved)
}

/// The client, its user and host ids, the feature, version and seats, and the denial.
type Case<'a> = (&'a Client, &'a str, &'a [&'a str], &'a str, &'a str, u32, Option<Reason>);

/// What stands in a denial, in the words of a person: who holds, who waits, and
/// which rule it was.
#[tokio::test]
async fn a_denial_says_all_there_is_to_know() {
    let cluster = cluster().await;
    let [ann, ben, dan] = ["ann", "ben", "dan"].map(|user| client(&cluster, user, &[]));
    let denied = async |client: &Client, feature: &str| {
        let denied = client.checkout(feature, "", 1).await.unwrap_err();
        denied.refusal().cloned().unwrap_or_else(|| panic!("{feature}: {denied:?}"))
    };
    let rule = |refusal: &Refusal| {
        let (number, table) = rule_in(refusal.rule_line);
        assert_eq!(refusal.rule_number, number, "{refusal:?}");
        table
    };
    let holders = |refusal: &Refusal| {
        let holders = refusal.holders.iter();
        let told = holders.map(|holder| (holder.user.clone(), holder.host.clone(), holder.seats));
        told.collect::<Vec<_>>()
    };
    let by = |user: &str, seats: u64| (user.to_owned(), desk(user), seats);

    let _full = (ann.checkout("full", "", 1).await, ben.checkout("full", "", 1).await);
    ann.set_idle(Duration::from_secs(60));
    let mut waits = ann.queue(vec![item("full")], Wait::default()).unwrap();
    let mut places = waits.places();
    places.wait_for(Option::is_some).await.unwrap();
    ann.set_idle(Duration::from_secs(60));
    let refusal = loop {
        let refusal = denied(&dan, "full").await;
        // Her word may still be on its way.
        if refusal.holders.iter().any(|holder| holder.idle_ms > 0) {
            break refusal;
        }
    };
    assert_eq!(refusal.reason(), Reason::LicensesExhausted);
    assert_eq!(numbers(&refusal), (2, 2, 1, 0));
    assert_eq!(refusal.waiting, 1);
    assert_eq!(holders(&refusal), [by("ann", 1), by("ben", 1)]);
    assert_eq!(refusal.holders[1].idle_ms, 0, "{refusal:?}");
    assert_eq!(refusal.rule_line, 0, "no rule, only seats: {refusal:?}");
    assert!(refusal.retryable, "{refusal:?}");
    assert!(tokio::time::timeout(Duration::ZERO, waits.granted()).await.is_err());

    let refusal = denied(&dan, "excluded").await;
    assert_eq!((refusal.reason(), rule(&refusal)), (Reason::Excluded, "[[exclude]]"));
    assert!(!refusal.retryable, "{refusal:?}");
    let refusal = denied(&dan, "included").await;
    assert_eq!((refusal.reason(), rule(&refusal)), (Reason::NotIncluded, "[[include]]"));
    let _max = (ann.checkout("max", "", 1).await, ben.checkout("max", "", 1).await);
    let refusal = denied(&ann, "max").await;
    assert_eq!((refusal.reason(), rule(&refusal)), (Reason::PolicyMax, "[[max]]"));
    assert_eq!(numbers(&refusal), (2, 2, 1, 0));
    let _reserved = dan.checkout("reserved", "", 1).await.unwrap();
    let refusal = denied(&dan, "reserved").await;
    assert_eq!((refusal.reason(), rule(&refusal)), (Reason::AllReserved, "[[reserve]]"));
    assert_eq!(numbers(&refusal), (1, 3, 1, 2));
    assert_eq!(holders(&refusal), [by("dan", 1)]);

    // By the address that the connection came from.
    let refusal = denied(&ann, "internet").await;
    assert_eq!((refusal.reason(), rule(&refusal)), (Reason::Excluded, "[[exclude]]"));
    assert_eq!(rule_in(refusal.rule_line).0, 5);
    ann.checkout("elsewhere", "", 1).await.unwrap();

    // By what the client's host is.
    assert_eq!(denied(&ann, "locked").await.reason(), Reason::HostNotLicensed);
    for id in ["ETHERNET:00-11-22-33-44-55", "STRING:rig"] {
        let rig = client(&cluster, "ann", &["MACHINE_ID:0123456789abcdef", id]);
        let seat = rig.checkout("locked", "", 1).await.unwrap_or_else(|e| panic!("{id}: {e:?}"));
        seat.give_back().await.unwrap();
    }
    let other = client(&cluster, "ann", &["STRING:RIG", "ETHERNET:001122334456"]);
    assert_eq!(denied(&other, "locked").await.reason(), Reason::HostNotLicensed);
}

fn item(feature: &str) -> Item {
    Item { feature: feature.into(), version: String::new(), seats: 1 }
}

/// What `explain` says is what a request is then told, for every reason.
#[tokio::test]
async fn explanations_agree_with_the_answers() {
    let cluster = cluster().await;
    let [ann, ben, dan, eve] = ["ann", "ben", "dan", "eve"].map(|u| client(&cluster, u, &[]));
    let _held = [
        ann.checkout("full", "", 1).await.unwrap(),
        ben.checkout("full", "", 1).await.unwrap(),
        ann.checkout("max", "", 1).await.unwrap(),
        ben.checkout("max", "", 1).await.unwrap(),
        dan.checkout("reserved", "", 1).await.unwrap(),
        ben.checkout("queued", "", 1).await.unwrap(),
        ann.checkout("mesher", "", 1).await.unwrap(),
        ann.checkout("shared", "", 1).await.unwrap(),
    ];
    let two = vec![Item { seats: 2, ..item("queued") }];
    let waits = ann.queue(two, Wait::default()).unwrap();
    waits.places().wait_for(Option::is_some).await.unwrap();
    ann.checkout("lingers", "", 1).await.unwrap().give_back().await.unwrap();
    let taken = dan.checkout("blocked", "", 1).await.unwrap();
    let mut admin = cluster.admin(cluster.leader().await);
    let revoke = v1::RevokeCheckoutRequest {
        checkout_id: taken.id(),
        reason: "test".into(),
        block_ms: 3_600_000,
    };
    admin.revoke_checkout(cluster.authorized(revoke)).await.unwrap();

    let rig = client(&cluster, "ann", &["STRING:rig"]);
    // Who asks for what, and what comes of it. `None`: a seat.
    let cases: &[Case<'_>] = &[
        (&dan, "dan", &[], "nosuch", "", 1, Some(Reason::FeatureUnknown)),
        (&dan, "dan", &[], "full", "2", 1, Some(Reason::VersionNotLicensed)),
        (&dan, "dan", &[], "full", "", 3, Some(Reason::CountExceedsTotal)),
        (&dan, "dan", &[], "full", "", 1, Some(Reason::LicensesExhausted)),
        (&dan, "dan", &[], "expired", "", 1, Some(Reason::FeatureExpired)),
        (&dan, "dan", &[], "future", "", 1, Some(Reason::NotYetValid)),
        (&dan, "dan", &[], "excluded", "", 1, Some(Reason::Excluded)),
        (&ann, "ann", &[], "excluded", "", 1, None),
        (&dan, "dan", &[], "included", "", 1, Some(Reason::NotIncluded)),
        (&ann, "ann", &[], "included", "", 1, None),
        (&ann, "ann", &[], "max", "", 1, Some(Reason::PolicyMax)),
        (&dan, "dan", &[], "max", "", 1, None),
        (&dan, "dan", &[], "reserved", "", 1, Some(Reason::AllReserved)),
        (&ann, "ann", &[], "reserved", "", 1, None),
        (&dan, "dan", &[], "internet", "", 1, Some(Reason::Excluded)),
        (&dan, "dan", &[], "elsewhere", "", 1, None),
        (&dan, "dan", &[], "queued", "", 1, Some(Reason::QueueNonempty)),
        (&dan, "dan", &[], "blocked", "", 1, Some(Reason::Blocked)),
        (&ann, "ann", &[], "blocked", "", 1, None),
        (&dan, "dan", &[], "lingers", "", 1, Some(Reason::LicensesExhausted)),
        (&ann, "ann", &[], "lingers", "", 1, None),
        (&dan, "dan", &[], "locked", "", 1, Some(Reason::HostNotLicensed)),
        (&rig, "ann", &["STRING:rig"], "locked", "", 1, None),
        (&dan, "dan", &[], "unnamed", "", 1, Some(Reason::NoNamedUsers)),
        (&eve, "eve", &[], "named", "", 1, Some(Reason::NotNamed)),
        (&ann, "ann", &[], "named", "", 1, None),
        (&dan, "dan", &[], "mesher", "", 1, Some(Reason::LicensesExhausted)),
        (&dan, "dan", &[], "shared", "", 1, Some(Reason::LicensesExhausted)),
        (&ann, "ann", &[], "shared", "", 1, None),
    ];
    let mut reasons = Vec::new();
    for (client, user, hostids, feature, version, seats, expected) in cases {
        let what = format!("{user} asks for {seats} of {feature} {version:?}");
        let request = v1::ExplainRequest {
            holder: Some(v1::Holder {
                user: (*user).into(),
                host: desk(user),
                hostids: hostids.iter().map(|id| (*id).to_owned()).collect(),
                ..v1::Holder::default()
            }),
            address: "127.0.0.1".into(),
            item: Some(v1::Item {
                feature: (*feature).into(),
                version: (*version).into(),
                seats: *seats,
            }),
            policy_text: None,
        };
        let explained = admin.explain(cluster.authorized(request)).await.unwrap().into_inner();
        let decides = v1::ExplainVerdict::Decides;
        let decided = explained.steps.iter().any(|step| step.verdict() == decides);
        // The tokens that are short are in the answer, and no step of their own.
        let of_tokens = explained.denial.as_ref().is_some_and(|denial| denial.feature == "tokens");
        assert_eq!(decided || of_tokens, expected.is_some(), "{what}: {:#?}", explained.steps);
        assert_eq!(explained.policy_version, 1);
        let answer = client.checkout(feature, version, *seats).await;
        match (answer, explained.denial) {
            (Ok(seat), None) => {
                assert_eq!(*expected, None, "{what}");
                seat.give_back().await.unwrap();
            }
            (Err(error), Some(explained)) => {
                let told = error.refusal().unwrap_or_else(|| panic!("{what}: {error:?}"));
                assert_eq!(Some(told.reason()), *expected, "{what}: {told:?}");
                let key = |refusal: &Refusal| {
                    let rule = (refusal.rule_number, refusal.rule_line);
                    (refusal.reason(), refusal.feature.clone(), numbers(refusal), rule)
                };
                assert_eq!(key(&explained), key(told), "{what}");
                // All but the time that is left of a block.
                if told.reason() != Reason::Blocked {
                    assert_eq!(explained.message, told.message, "{what}");
                }
                reasons.push(told.reason());
            }
            (answer, explained) => panic!("{what}: told {answer:?}, explained {explained:?}"),
        }
    }
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), 15, "{reasons:?}");
}
