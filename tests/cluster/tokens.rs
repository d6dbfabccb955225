//! Who may administer: roles, revocation, and the names in the history.

use std::time::Duration;

use tonic::Request;
use triad_proto::v1;
use triad_proto::v1::{EventKind, Reason, Refusal, TokenRole};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// What one token is answered.
fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn reason<T>(answer: Result<T, tonic::Status>) -> Result<T, (Reason, String)> {
    answer.map_err(|status| {
        let refusal = Refusal::from_status(&status);
        (refusal.reason(), refusal.message)
    })
}

/// `triad token create`, as a person does it.
async fn create(cluster: &Cluster, role: &str, label: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.token");
    let command = format!(
        "token create --role {role} --label {label} --expires 30d --out {} -o json",
        file.display()
    );
    let ended = cluster.triad(&command).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!ended.stdout.contains(&secret), "it is in the file and nowhere else");
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    (answer["tokenId"].as_str().unwrap().to_owned(), secret)
}

/// News that somebody listens to end, with the reason, when his token is revoked.
#[tokio::test]
async fn who_listens_hears_nothing_more_after_a_revocation() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let (id, secret) = create(&cluster, "viewer", "listener").await;
    let mut request = tonic::Request::new(v1::ListEventsRequest {
        follow: true,
        ..v1::ListEventsRequest::default()
    });
    let bearer = format!("Bearer {secret}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut news = cluster.admin(0).list_events(request).await.unwrap().into_inner();
    assert!(!news.message().await.unwrap().unwrap().events.is_empty());
    let revoked = cluster.triad(&format!("token revoke {id} --yes")).await;
    assert!(revoked.status.success(), "{}", revoked.stderr);
    let refused = loop {
        match tokio::time::timeout(LIMIT, news.message()).await.expect("it ends") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends without a reason"),
            Err(status) => break triad_proto::v1::Refusal::from_status(&status),
        }
    };
    assert_eq!(refused.reason(), Reason::NotAuthenticated);
}

async fn history(cluster: &Cluster, token: &str) -> Vec<v1::HistoryEvent> {
    let mut admin = cluster.admin(cluster.leader().await);
    let request = with(token, v1::ListEventsRequest::default());
    let mut answers = admin.list_events(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        events.extend(answer.events);
    }
    events
}

/// Each role may do what it is for and nothing more, on every node; what was done
/// bears a name; and who is revoked is out, also on the nodes that do not lead.
#[tokio::test]
async fn roles_are_kept_and_deeds_bear_names() {
    let cluster = Cluster::start(Options::default()).await;
    let (viewer_id, viewer) = create(&cluster, "viewer", "monitoring").await;
    let (_, operator) = create(&cluster, "operator", "ann").await;
    let (_, admin) = create(&cluster, "admin", "bob").await;
    let leader = cluster.leader().await;
    let [follower, _] = cluster.others(leader);

    let seat = cluster.client().user("u").build().unwrap();
    let seat = seat.checkout(FEATURE, "", 1).await.unwrap();
    let revoke = || v1::RevokeCheckoutRequest {
        checkout_id: seat.id(),
        reason: "for a test".into(),
        block_ms: 0,
    };
    let policy = || v1::ApplyPolicyRequest {
        text: "[[timeout]]\nfeature = \"solver\"\nafter = \"1h\"\n".into(),
        base_version: None,
    };

    // The founding token is known by its id, like any other.
    let whoami = |token: &str| with(token, v1::WhoAmIRequest {});
    let mut asked = cluster.admin(leader);
    let me = asked.who_am_i(whoami(&viewer)).await.unwrap().into_inner();
    assert_eq!((me.token_id.as_str(), me.label.as_str()), (viewer_id.as_str(), "monitoring"));
    assert_eq!(me.role(), TokenRole::Viewer);

    // A viewer reads, and a refusal says what is needed and what was shown.
    asked.list_checkouts(with(&viewer, v1::ListCheckoutsRequest::default())).await.unwrap();
    let (why, message) = reason(asked.revoke_checkout(with(&viewer, revoke())).await).unwrap_err();
    assert_eq!(why, Reason::RoleNeeded);
    assert_eq!(
        message,
        format!("this needs the role operator, and token {viewer_id} has the role viewer")
    );
    let (why, message) = reason(asked.apply_policy(with(&operator, policy())).await).unwrap_err();
    assert_eq!(why, Reason::RoleNeeded);
    assert!(
        message.contains("needs the role admin") && message.contains("has the role operator"),
        "{message}"
    );
    let tokens = with(&operator, v1::RevokeTokenRequest { token_id: viewer_id.clone() });
    assert_eq!(reason(asked.revoke_token(tokens).await).unwrap_err().0, Reason::RoleNeeded);

    // What they may, they do.
    asked.revoke_checkout(with(&operator, revoke())).await.unwrap();
    asked.apply_policy(with(&admin, policy())).await.unwrap();
    let mut on_follower = cluster.admin(follower);
    let reads = v1::ListCheckoutsRequest::default;
    wait::until("the follower knows the viewer", LIMIT, async || {
        let read = cluster.admin(follower).list_checkouts(with(&viewer, reads())).await;
        read.err().map(|status| status.message().to_owned()).map_or(Ok(()), Err)
    })
    .await;

    // The history says who.
    let events = history(&cluster, &admin).await;
    let by = |kind: EventKind| {
        let event = events.iter().rfind(|event| event.kind() == kind);
        let event = event.unwrap_or_else(|| panic!("no {kind:?}"));
        event.by.clone().map(|by| by.label)
    };
    assert_eq!(by(EventKind::Revoked).as_deref(), Some("ann"));
    assert_eq!(by(EventKind::Policy).as_deref(), Some("bob"));
    assert_eq!(by(EventKind::License).as_deref(), Some("founding"));
    assert_eq!(by(EventKind::TokenCreated).as_deref(), Some("founding"));
    assert_eq!(by(EventKind::Granted), None);

    // Uses are noted once, however often somebody polls.
    for _ in 0..20 {
        asked.list_checkouts(with(&viewer, reads())).await.unwrap();
        on_follower.list_checkouts(with(&viewer, reads())).await.unwrap();
    }
    let used = async || {
        let events = history(&cluster, &admin).await;
        let of = |event: &&v1::HistoryEvent| {
            event.kind() == EventKind::TokenUsed
                && event.token.as_ref().is_some_and(|token| token.label == "monitoring")
        };
        events.iter().filter(of).count()
    };
    wait::until("the use is noted", LIMIT, async || match used().await {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    assert_eq!(used().await, 1);

    // Revoked: out everywhere.
    asked
        .revoke_token(with(&admin, v1::RevokeTokenRequest { token_id: viewer_id.clone() }))
        .await
        .unwrap();
    let (why, _) = reason(asked.list_checkouts(with(&viewer, reads())).await).unwrap_err();
    assert_eq!(why, Reason::NotAuthenticated);
    wait::until("the follower has heard of it", LIMIT, async || {
        match reason(cluster.admin(follower).list_checkouts(with(&viewer, reads())).await) {
            Err((Reason::NotAuthenticated, _)) => Ok(()),
            other => Err(format!("{:?}", other.map(|_| ()))),
        }
    })
    .await;
}

/// The founding token may be replaced, but not before somebody else can administer
/// for good; and a read on a follower is noted by the leader.
#[tokio::test]
async fn the_founding_token_is_replaced() {
    let mut cluster = Cluster::start(Options::default()).await;
    let listed = cluster.triad("token list -o json").await;
    let tokens: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let founding = tokens["tokens"][0]["tokenId"].as_str().unwrap().to_owned();
    let refused = cluster.triad(&format!("token revoke {founding} --yes")).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("TRD-4007"), "{}", refused.stderr);

    // One that expires is no successor.
    let (_, other) = create(&cluster, "admin", "temporary").await;
    let refused = cluster.triad(&format!("token revoke {founding} --yes")).await;
    assert!(refused.stderr.contains("TRD-4007"), "{}", refused.stderr);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("successor.token");
    let made = format!("token create --role admin --label successor --out {}", file.display());
    let made = cluster.triad(&made).await;
    assert!(made.status.success(), "{}", made.stderr);
    let revoked = cluster.triad(&format!("token revoke {founding} --yes")).await;
    assert!(revoked.status.success(), "{}", revoked.stderr);
    let refused = cluster.triad("sessions").await;
    assert!(refused.stderr.contains("TRD-4002"), "{}", refused.stderr);

    // It stays so after the nodes have started again from their disks: what the
    // configuration says counts no more.
    for node in &mut cluster.nodes {
        node.kill9().await;
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.settled().await;
    let refused = cluster.triad("sessions").await;
    assert!(refused.stderr.contains("TRD-4002"), "{}", refused.stderr);

    // The successor reads on a follower, and the leader hears of it.
    let successor = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let leader = cluster.leader().await;
    let [follower, _] = cluster.others(leader);
    let listed = v1::ListTokensRequest {};
    let read = cluster.admin(follower).list_tokens(with(&successor, listed)).await.unwrap();
    let labels: Vec<_> = read.into_inner().tokens.into_iter().map(|token| token.label).collect();
    assert!(labels.contains(&"successor".to_owned()), "{labels:?}");
    wait::until("the leader has noted the use", LIMIT, async || {
        // This is a read as well, but of the leader: it tells nothing of itself.
        let events = history(&cluster, &other).await;
        let used = events.iter().any(|event| {
            event.kind() == EventKind::TokenUsed
                && event.token.as_ref().is_some_and(|token| token.label == "successor")
        });
        if used {
            return Ok(());
        }
        Err("no such event".to_owned())
    })
    .await;
}
