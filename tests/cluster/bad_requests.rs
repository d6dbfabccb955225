//! Requests that are malformed or hostile: each gets a typed answer, and the
//! nodes go on.

use tonic::Code;
use triad_client::Reason;
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, RawSession, raw};

fn checkout(feature: &str, seats: u32) -> v1::CheckoutRequest {
    let item = v1::Item { feature: feature.into(), version: String::new(), seats };
    v1::CheckoutRequest {
        session_id: vec![5; 16],
        request_id: 1,
        items: vec![item],
        ..v1::CheckoutRequest::default()
    }
}

/// P15: what is malformed is refused with the name of the field; what is too
/// large, by the transport; and neither takes a seat, a session or a node.
#[tokio::test]
async fn bad_requests() {
    let mut cluster = Cluster::start(Options::default()).await;
    let leader = cluster.leader().await;
    let mut licensing =
        LicensingServiceClient::new(cluster.channel(leader)).max_encoding_message_size(8 << 20);
    let good = checkout(FEATURE, 1);
    let holder = |user: &str| Some(v1::Holder { user: user.into(), ..v1::Holder::default() });
    let bad = [
        ("items[0].seats", checkout(FEATURE, 0)),
        ("items[0].feature", checkout("", 1)),
        ("items[0].feature", checkout("sol\u{1b}[2Jver", 1)),
        ("items[0].feature", checkout(&"x".repeat(60_000), 1)),
        ("items: 0 given", v1::CheckoutRequest { items: vec![], ..good.clone() }),
        (
            "items: 100 given",
            v1::CheckoutRequest { items: vec![good.items[0].clone(); 100], ..good.clone() },
        ),
        ("session_id: 3 bytes", v1::CheckoutRequest { session_id: vec![1; 3], ..good.clone() }),
        ("request_id: 0", v1::CheckoutRequest { request_id: 0, ..good.clone() }),
        ("holder.user", v1::CheckoutRequest { holder: holder("a\nb"), ..good.clone() }),
        ("holder.user", v1::CheckoutRequest { holder: holder(&"u".repeat(300)), ..good.clone() }),
    ];
    for (field, request) in bad {
        let status = licensing.checkout(request).await.unwrap_err();
        let refusal = Refusal::from_status(&status);
        assert_eq!(refusal.reason(), Reason::InvalidRequest, "{field}: {refusal:?}");
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert!(refusal.message.starts_with(field), "{field}: {refusal:?}");
    }
    let huge = licensing.checkout(checkout(&"x".repeat(1 << 20), 1)).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange, "{huge:?}");
    let unknown = licensing.checkout(checkout("nosuch", 1)).await.unwrap_err();
    assert_eq!(Refusal::from_status(&unknown).reason(), Reason::FeatureUnknown, "{unknown:?}");
    let mut admin = cluster.admin(leader);
    let huge = v1::ApplyLicenseRequest { text: "x".repeat(3 << 20) };
    let huge = admin.apply_license(cluster.authorized(huge)).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange, "{huge:?}");

    bad_streams(&cluster, leader).await;

    // By the command line too: an exit code, a code to look up, and a hint.
    let unknown = cluster.triad("checkout nosuch").await;
    assert_eq!(unknown.code(), 7, "{unknown:?}");
    assert!(unknown.stderr.contains("error[TRD-2002]"), "{unknown:?}");
    assert!(unknown.stderr.contains("hint: see \"triad features\""), "{unknown:?}");

    for n in 0..3 {
        let process = cluster.nodes[n].process_id();
        assert!(process.is_some(), "{} has gone", cluster.nodes[n].name);
    }
    assert_eq!(cluster.leader().await, leader, "nobody noticed");
    let client = cluster.client().user("good").build().unwrap();
    let seat = client.checkout(FEATURE, "", 1).await.unwrap();
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
}

/// The same on the session stream, where a malformed request is answered and the
/// stream goes on.
async fn bad_streams(cluster: &Cluster, leader: usize) {
    let id = [9; 16];
    let mut session =
        RawSession::open(cluster.channel(leader), raw::open(id, false)).await.unwrap();
    session.say(raw::take(1, FEATURE, 0));
    let Ok(v1::session_event::Event::Taken(taken)) = session.next().await else {
        panic!("a malformed request is answered");
    };
    let Some(v1::taken::Outcome::Denial(denial)) = taken.outcome else { panic!("{taken:?}") };
    assert_eq!(denial.reason(), Reason::InvalidRequest, "{denial:?}");
    let grant = raw::granted(session.take(2, FEATURE).await.unwrap());
    session.say(Call::GiveBack(v1::GiveBack {
        request_id: 3,
        answered_through: 2,
        checkout_id: grant.checkout_id,
    }));
    let given = session.next().await.unwrap();
    assert!(matches!(&given, v1::session_event::Event::GivenBack(g) if g.was_held), "{given:?}");

    // A second opening, and a first call that is no opening, end the stream.
    session.say(Call::Open(raw::open(id, true)));
    let refusal = Refusal::from_status(&session.next().await.unwrap_err());
    assert_eq!(refusal.reason(), Reason::InvalidRequest, "{refusal:?}");
    let newer = v1::Open { protocol_version: 99, ..raw::open([10; 16], false) };
    let refused = RawSession::open(cluster.channel(leader), newer).await.err();
    let refusal = Refusal::from_status(&refused.expect("a version of the future"));
    assert_eq!(refusal.reason(), Reason::ProtocolVersion, "{refusal:?}");
    let unknown = RawSession::open(cluster.channel(leader), raw::open([11; 16], true)).await;
    let refused = unknown.err().expect("a session that never was cannot be resumed");
    assert_eq!(Refusal::from_status(&refused).reason(), Reason::SessionUnknown, "{refused:?}");
    let mut session =
        RawSession::open(cluster.channel(leader), raw::open([12; 16], false)).await.unwrap();
    session.say(raw::take(1, &"x".repeat(1 << 20), 1));
    let refusal = Refusal::from_status(&session.next().await.unwrap_err());
    assert_eq!(refusal.reason(), Reason::InvalidRequest, "{refusal:?}");
    assert!(refusal.message.contains("the limit is"), "{refusal:?}");
}
