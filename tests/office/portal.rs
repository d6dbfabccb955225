//! The portal as a person sees it: in a browser, light and dark, with scripts and
//! without; and as an attacker does.

use serde_json::{Value, json};
use tonic::codegen::http::Method;
use triad_license::{CapabilityRequest, DeclaredRole, FeatureUsage, HostId, Operation, ServerKey};
use triad_tests::browser::{Browser, Wanted};
use triad_tests::{Office, clock};

/// A name that would be a script, if anybody forgot to escape it.
const HOSTILE: &str = "<script>document.title='owned'</script>";

/// A server calls, signed with a key that its letter determines.
pub async fn calls(
    office: &Office,
    letter: char,
    role: DeclaredRole,
    partners: &[char],
    sequence: u64,
) -> u16 {
    let host = |letter: char| HostId::parse(&format!("STRING:{letter}")).unwrap();
    let request = CapabilityRequest {
        operation: Operation::Request,
        correlation: format!("{letter}-{sequence}"),
        sequence,
        issued_ms: clock::now_ms(),
        cluster: "tc-00112233445566778899aabbccddeeff".into(),
        hostid: host(letter),
        role,
        partners: partners.iter().map(|letter| host(*letter)).collect(),
        name: if letter == 'a' { format!("lic-a {HOSTILE}") } else { format!("lic-{letter}") },
        version: "0.1.0".into(),
        incremental: false,
        rights: Vec::new(),
        license: None,
        usage: vec![FeatureUsage { feature: "solver".into(), seats: 40, in_use: 12 }],
    };
    let text = request.seal(&ServerKey::generate([letter as u8; 32])).unwrap();
    let answer = office.ask(Method::POST, "/api/v1/capability", &[], text).await.unwrap();
    answer.status
}

const PAGES: [&str; 8] = [
    "/servers",
    "/register",
    "/rights",
    "/catalogue",
    "/requests",
    "/exchange",
    "/audit",
    "/users",
];

async fn without_violations(browser: &Browser, office: &Office, path: &str, picture: &str) {
    browser.open(&format!("https://{}{path}", office.address())).await;
    let found = browser.violations().await;
    browser.picture(picture).await;
    assert!(found.is_empty(), "{path}: {}", found.join("\n"));
}

async fn choose_password(browser: &Browser, office: &Office) {
    let link = office.console("user invite admin").await;
    browser.open(link.trim()).await;
    browser.fill("[name=new_password]", office.password()).await;
    browser.fill("[name=again]", office.password()).await;
    browser.click("main form button").await;
    assert_eq!(browser.url().await, format!("https://{}/servers", office.address()));
}

#[tokio::test]
async fn every_page_is_accessible_light_and_dark_empty_and_full() {
    for dark in [false, true] {
        let Some(browser) = Browser::start(Wanted { dark, scripts: true }).await else { return };
        let office = Office::start().await;
        let scheme = if dark { "dark" } else { "light" };
        without_violations(&browser, &office, "/sign-in", &format!("{scheme}-sign-in")).await;
        let link = office.console("user invite admin").await;
        let path = link.trim().split_once(office.address()).unwrap().1.to_owned();
        without_violations(&browser, &office, &path, &format!("{scheme}-set-up")).await;
        choose_password(&browser, &office).await;
        for page in PAGES {
            let picture = format!("{scheme}-empty{}", page.replace('/', "-"));
            without_violations(&browser, &office, page, &picture).await;
        }
        let (line_item, _) = office.sell("solver", 10).await;
        calls(&office, 'b', DeclaredRole::Backup, &['a'], 1).await;
        calls(&office, 'a', DeclaredRole::Main, &['b'], 1).await;
        calls(&office, 'd', DeclaredRole::Backup, &['c'], 1).await;
        calls(&office, 'e', DeclaredRole::Member, &['f', 'g'], 1).await;
        calls(&office, 'x', DeclaredRole::Main, &['b'], 1).await;
        office.map(1, line_item, 4).await;
        calls(&office, 'a', DeclaredRole::Main, &['b'], 2).await;
        for page in
            PAGES.into_iter().chain(["/servers/1", "/servers/2", "/servers/3", "/servers/4"])
        {
            let picture = format!("{scheme}-full{}", page.replace('/', "-"));
            without_violations(&browser, &office, page, &picture).await;
        }
        without_violations(
            &browser,
            &office,
            "/servers?q=nothing+like+it",
            &format!("{scheme}-none"),
        )
        .await;
        without_violations(&browser, &office, "/servers/999", &format!("{scheme}-unknown")).await;
        browser.close().await;
    }
}

#[tokio::test]
async fn a_person_sells_registers_and_maps_without_any_script() {
    let Some(browser) = Browser::start(Wanted { dark: false, scripts: false }).await else {
        return;
    };
    let office = Office::start().await;
    choose_password(&browser, &office).await;
    let at = |path: &str| format!("https://{}{path}", office.address());
    let form = |action: &str, field: &str| format!("form[action='{action}'] [name={field}]");
    let button = |action: &str| format!("form[action='{action}'] button");

    browser.open(&at("/catalogue")).await;
    browser.fill(&form("/organisations", "name"), "Customer & Co").await;
    browser.click(&button("/organisations")).await;
    browser.fill(&form("/products", "name"), "Suite").await;
    browser.fill(&form("/products", "version"), "1").await;
    browser.fill(&form("/products", "features"), "solver 2026.1 4").await;
    browser.click(&button("/products")).await;
    browser.fill(&form("/entitlements", "reference"), "PO-1").await;
    browser.click(&button("/entitlements")).await;
    browser.fill(&form("/line-items", "copies"), "10").await;
    browser.fill(&form("/line-items", "rights_id"), "R-1").await;
    browser.click(&button("/line-items")).await;
    assert!(browser.source().await.contains("Customer &amp; Co"));

    browser.open(&at("/register")).await;
    browser.fill("form[action='/register'] [name=first]", "ETHERNET:00-11-22-33-44-55").await;
    browser.fill("form[action='/register'] [name=second]", "ETHERNET:00:11:22:33:44:66").await;
    browser.click("form[action='/register'] button").await;
    let page = browser.source().await;
    assert!(page.contains("Registered."), "{page}");
    let main = page.find("data-role=\"MAIN\" data-hostid=\"ETHERNET:001122334455\"");
    let backup = page.find("data-role=\"BACKUP\" data-hostid=\"ETHERNET:001122334466\"");
    assert!(main.unwrap() < backup.unwrap());
    browser.fill("form[action^='/groups/1/rights'] [name=copies]", "3").await;
    browser.click("form[action^='/groups/1/rights'] button").await;
    assert!(browser.source().await.contains("Mapped."));

    // Looked for as it stands on the card.
    browser.open(&at("/servers")).await;
    browser.fill("[name=q]", "00:11:22:33:44:66").await;
    browser.click(".search button").await;
    let page = browser.source().await;
    assert!(page.contains("1 server found") && page.contains("ETHERNET:001122334466"), "{page}");
    browser.click("td a").await;
    assert!(browser.url().await.ends_with("/servers/2"));
    // The roles are the wrong way round after all.
    browser.click("form[action='/groups/1/repair'] button").await;
    let page = browser.source().await;
    assert!(page.contains("data-role=\"MAIN\" data-hostid=\"ETHERNET:001122334466\""), "{page}");
    browser.click(".who button").await;
    assert_eq!(browser.url().await, at("/sign-in"));
    browser.open(&at("/servers/1")).await;
    assert_eq!(browser.url().await, at("/sign-in"), "nothing is shown to strangers");
    browser.fill("[name=name]", "admin").await;
    browser.fill("[name=password]", office.password()).await;
    browser.click("main form button").await;
    assert_eq!(browser.url().await, at("/servers"));
    browser.close().await;
}

/// P11: no sign-in without a password that somebody chose, no form of another site, and no
/// script in a server's name.
#[tokio::test]
async fn attackers_get_nothing_from_the_portal() {
    let office = Office::start().await;
    let cookie = office.sign_in().await;
    let signed_in = ("cookie", cookie.as_str());
    let kind = ("content-type", "application/x-www-form-urlencoded");
    calls(&office, 'a', DeclaredRole::Single, &[], 1).await;

    // A name that is a script is text, and nothing else could run either.
    let page = office.get("/servers", &[signed_in]).await.unwrap();
    assert!(page.text.contains("&#60;script&#62;") || page.text.contains("&lt;script&gt;"));
    assert!(!page.text.contains(HOSTILE));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");

    // Forms without the token of this sign-in, or with another's.
    let count = async || office.servers().await.len();
    for token in ["", "x", &"A".repeat(43)] {
        let body = format!("form_token={token}&kind=SINGLE&first=STRING:z");
        let answer = office.ask(Method::POST, "/register", &[signed_in, kind], body).await.unwrap();
        assert_eq!((answer.status, count().await), (403, 1), "{}", answer.text);
    }
    let body = || "name=admin&password=x".to_owned();
    let foreign = ("sec-fetch-site", "cross-site");
    let answer = office.ask(Method::POST, "/sign-in", &[kind, foreign], body()).await.unwrap();
    assert_eq!(answer.status, 403);
    let answer = office.ask(Method::POST, "/sign-in", &[kind], body()).await.unwrap();
    assert_eq!(answer.status, 422, "there is no default password");

    // A set-up link works once.
    let link = office.console("user invite admin").await;
    let path = link.trim().split_once(office.address()).unwrap().1;
    let body = || "new_password=another+good+password&again=another+good+password".to_owned();
    let first = office.ask(Method::POST, path, &[kind], body()).await.unwrap();
    let second = office.ask(Method::POST, path, &[kind], body()).await.unwrap();
    assert_eq!((first.status, second.status), (303, 422));
    let old = office.get("/servers", &[signed_in]).await.unwrap();
    assert_eq!(old.status, 303, "a new password ends the sign-ins of the old one");

    // Who may look may not write.
    let token = office.console("token add looker --role viewer").await;
    let bearer = format!("Bearer {}", token.trim());
    let viewer = ("authorization", bearer.as_str());
    let group = json!({ "kind": "SINGLE", "hostids": ["STRING:z"] }).to_string();
    let answer = office.ask(Method::POST, "/api/v1/groups", &[viewer], group).await.unwrap();
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (403, Some("NOT_ALLOWED")));
    let answer = office.get("/api/v1/servers", &[viewer]).await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = office.get("/api/v1/servers", &[]).await.unwrap();
    assert_eq!(answer.status, 401);

    // Every write stands in the audit.
    let audit = office.done(Method::GET, "/audit", Value::Null).await;
    let actions: Vec<&str> =
        audit["rows"].as_array().unwrap().iter().filter_map(|row| row["action"].as_str()).collect();
    for action in ["token.add", "user.set-up", "user.sign-in", "server.first-call", "key.draw"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}

#[tokio::test]
async fn the_interface_is_as_it_is_described() {
    let office = Office::start().await;
    let described = office.get("/api/v1/openapi.json", &[]).await.unwrap().json();
    let mut called = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let path = path.replace("{id}", "999999").replace("{line_item}", "999999");
            let path = path.strip_prefix("/api/v1").unwrap();
            let method = method.to_uppercase().parse::<Method>().unwrap();
            let answer = office.call(method.clone(), path, json!({})).await;
            // Nothing of the kind is there, or the body lacks something: but the
            // call is known, and says why in its own words.
            let known = answer.status == 200 || answer.json()["reason"].is_string();
            assert!(known && answer.status != 405, "{method} {path}: {answer:?}");
            called += 1;
        }
    }
    assert!(called > 15, "{called}");
}
