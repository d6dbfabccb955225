//! A site that reaches nobody: the request goes out by file, the response comes
//! back by file.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::codegen::http::Method;
use triad_license::{CapabilityResponse, SignedResponse, license_digest};
use triad_proto::v1::Reason;
use triad_tests::{Cluster, Office, Options, clock, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// Hands a file in by the form of the portal, as a browser would.
async fn handed_in(office: &Office, cookie: &str, request: &str) -> triad_tests::web::Answered {
    let page = office.get("/exchange", &[("cookie", cookie)]).await.unwrap().text;
    let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let part = |name: &str, value: &str| {
        format!(
            "--X\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{value}\r\n"
        )
    };
    let body = part("form_token", token) + &part("file", request) + &part("text", "") + "--X--\r\n";
    let kind = ("content-type", "multipart/form-data; boundary=X");
    office.ask(Method::POST, "/exchange", &[("cookie", cookie), kind], body).await.unwrap()
}

/// A cluster that knows of the office and cannot reach it.
async fn cut_off(office: &Office, options: Options) -> Cluster {
    let mut cluster = Cluster::create(options).await;
    office.adopt(&cluster, &["a", "b", "c"], &["", "", ""]);
    for node in &mut cluster.nodes {
        node.edit("triad.toml", |text| text.replace(office.address(), "127.0.0.1:9"));
        node.start();
    }
    cluster.settled().await;
    cluster
}

/// `triad capability request` on one of the hosts.
async fn request(cluster: &Cluster, name: &str, more: &str) -> String {
    let out = cluster.folder().join(name);
    let (config, shown) = (cluster.nodes[0].config(), out.display().to_string());
    let arguments =
        format!("capability request --config {} --out {shown} {more}", config.display());
    let ended = cluster.triad(&arguments).await;
    assert_eq!(ended.code(), 0, "{ended:?}");
    fs::read_to_string(out).unwrap()
}

/// `triad capability apply`.
async fn apply(cluster: &Cluster, name: &str, response: &str) -> triad_tests::node::Ended {
    let path = cluster.folder().join(name);
    fs::write(&path, response).unwrap();
    // A node leads a little earlier than its services know.
    let look = async || {
        let ended = cluster.triad(&format!("capability apply {}", path.display())).await;
        if ended.code() == 4 { Err(format!("{ended:?}")) } else { Ok(ended) }
    };
    wait::until("somebody leads", LIMIT, look).await
}

#[tokio::test]
async fn rights_go_and_come_by_file() {
    let office = Office::start().await;
    let cookie = office.sign_in().await;
    let (line_item, rights_id) = office.sell("solver", 8).await;
    let cluster = cut_off(&office, Options::default()).await;
    let asked =
        request(&cluster, "one.txt", &format!("--rights {rights_id}=5 --rights R-NONE")).await;
    let answer = handed_in(&office, &cookie, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let ended = apply(&cluster, "answer.txt", &answer.text).await;
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(ended.stdout.contains("serial 1: in force"), "{ended:?}");
    assert!(ended.stderr.contains("refused: R-NONE: RIGHTS_UNKNOWN"), "{ended:?}");
    let client = cluster.client().build().unwrap();
    let seat = client.checkout("solver", "", 5).await.unwrap();
    drop(seat);

    // Fewer, and the next request says that they have arrived.
    office.map(1, line_item, 2).await;
    let asked = request(&cluster, "two.txt", "").await;
    let answer = handed_in(&office, &cookie, &asked).await;
    let ended = apply(&cluster, "answer.txt", &answer.text).await;
    assert!(ended.stdout.contains("serial 2: in force"), "{ended:?}");
    let mapped = async || {
        let items = office.done(Method::GET, "/line-items", Value::Null).await;
        items["rows"][0]["mapped"].as_i64().unwrap()
    };
    assert_eq!(mapped().await, 5);
    let asked = request(&cluster, "three.txt", "").await;
    let answer = handed_in(&office, &cookie, &asked).await;
    assert_eq!(mapped().await, 2);
    let ended = apply(&cluster, "answer.txt", &answer.text).await;
    assert!(ended.stdout.contains("UNCHANGED"), "{ended:?}");
}

/// P10: what the office did not answer to this site, or answered long ago, is not put in
/// force.
#[tokio::test]
async fn altered_foreign_old_and_misdirected_responses_are_refused_with_the_reason() {
    let office = Office::start().await;
    let cookie = office.sign_in().await;
    let (_, rights_id) = office.sell("solver", 8).await;
    let one = cut_off(&office, Options { nodes: 1, ..Options::default() }).await;
    let more = format!("--rights {rights_id}=3");
    let first = handed_in(&office, &cookie, &request(&one, "one.txt", &more).await).await.text;
    apply(&one, "first.txt", &first).await;
    let more = format!("--rights {rights_id}=4");
    let second = handed_in(&office, &cookie, &request(&one, "two.txt", &more).await).await.text;
    assert_eq!(apply(&one, "second.txt", &second).await.code(), 0);
    let refused = async |cluster: &Cluster, text: &str| {
        let refusal = cluster.apply_license(text).await.unwrap_err();
        (refusal.reason(), refusal.message.clone())
    };
    // Replayed: what it grants is over.
    let (reason, text) = refused(&one, &first).await;
    assert_eq!(reason, Reason::LicenseSuperseded, "{text}");
    // Altered, in the response and in the license below it.
    let altered = second.replacen("LICENSED", "UNCHANGED", 1);
    assert_eq!(refused(&one, &altered).await.0, Reason::LicenseTampered);
    let (reason, text) = refused(&one, &second.replace("seats = 4", "seats = 9")).await;
    assert_eq!(reason, Reason::LicenseMalformed);
    assert!(text.contains("not the one that the response names"), "{text}");
    // Of somebody else's office.
    let other = Office::start().await;
    let (_, foreign_id) = other.sell("solver", 8).await;
    let foreign = cut_off(&other, Options { nodes: 1, ..Options::default() }).await;
    let asked = request(&foreign, "one.txt", &format!("--rights {foreign_id}=1")).await;
    let answer = other.call(Method::POST, "/capability/offline", json!(null)).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let cookie = other.sign_in().await;
    let answer = handed_in(&other, &cookie, &asked).await.text;
    assert_eq!(refused(&one, &answer).await.0, Reason::LicenseForeign);
    // Too old; signed by somebody whom this cluster trusts, so that nothing else
    // is wrong with it.
    let license = &second[second.find("-----BEGIN TRIAD LICENSE-----").unwrap()..];
    let old = CapabilityResponse {
        expires_ms: clock::now_ms() - 1,
        license: Some(license_digest(license).unwrap()),
        ..SignedResponse::look(&second).unwrap()
    };
    let old = old.seal(Some(license), &[&one.publisher]).unwrap();
    let (reason, text) = refused(&one, &old).await;
    assert_eq!(reason, Reason::LicenseExpired);
    assert!(text.contains("too old to be applied"), "{text}");
    // For another cluster of the same publisher.
    let neighbour = cut_off(&office, Options { nodes: 1, ..Options::default() }).await;
    let (reason, text) = refused(&neighbour, &second).await;
    assert_eq!(reason, Reason::LicenseWronglyBound);
    assert!(text.contains("the response is for cluster") && text.contains(one.id()), "{text}");
}
