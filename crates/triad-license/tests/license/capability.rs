//! Requests and responses of the capability exchange, as made and as altered.

use triad_license::{
    Binding, CapabilityRequest, CapabilityResponse, DeclaredRole, Draft, LicenseError, Operation,
    RefusedRights, ResponseStatus, ServerKey, SignedRequest, SignedResponse, WantedRights,
    authenticate, check_own_host, license_digest, verify,
};

use super::{CLUSTER, draft, hostid, issued, key, site, trusting};

fn request() -> CapabilityRequest {
    CapabilityRequest {
        operation: Operation::Request,
        correlation: "c-1".into(),
        sequence: 7,
        issued_ms: 1_795_392_000_000,
        cluster: CLUSTER.into(),
        hostid: hostid("ETHERNET:001122334455"),
        role: DeclaredRole::Main,
        partners: vec![hostid("ETHERNET:001122334466")],
        name: "lic-a".into(),
        version: "0.1.0".into(),
        incremental: true,
        rights: vec![WantedRights { id: "R-1".into(), copies: Some(2) }],
        license: None,
        usage: Vec::new(),
    }
}

fn response(license: &str) -> CapabilityResponse {
    CapabilityResponse {
        status: ResponseStatus::Licensed,
        correlation: "c-1".into(),
        request: "d".into(),
        cluster: CLUSTER.into(),
        group: "7".into(),
        issued_ms: 1,
        expires_ms: 2,
        license: Some(license_digest(license).expect("a license")),
        member: Vec::new(),
        refused: vec![RefusedRights {
            id: "R-2".into(),
            reason: "RIGHTS_UNKNOWN".into(),
            message: "no such rights id".into(),
        }],
    }
}

#[test]
fn a_request_is_read_as_it_was_made_and_every_altered_byte_is_found() {
    let server = ServerKey::generate([9; 32]);
    let text = request().seal(&server).expect("good");
    let read = SignedRequest::open(&text.replace('\n', "\r\n")).expect("mail may do that");
    assert_eq!((read.request, read.key), (request(), server.public()));
    assert_eq!(CapabilityRequest::look(&text), Ok(request()));
    let mut refused = 0;
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(altered) = String::from_utf8(bytes) else { continue };
        if let Ok(read) = SignedRequest::open(&altered) {
            // Only what carries no meaning may change: the last bits of base64.
            panic!("byte {at} was altered, and still {read:?}");
        }
        refused += 1;
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_request_signed_by_another_key_than_it_names_is_refused() {
    let text = request().seal(&ServerKey::generate([9; 32])).expect("good");
    let forged = request().seal(&ServerKey::generate([8; 32])).expect("good");
    let signature = |text: &str| text.lines().rev().nth(1).unwrap().to_owned();
    let mixed = text.replace(&signature(&text), &signature(&forged));
    let error = SignedRequest::open(&mixed).unwrap_err();
    assert!(matches!(error, LicenseError::Tampered { .. }), "{error}");
}

#[test]
fn a_response_is_taken_from_a_trusted_publisher_with_its_own_license_only() {
    let (acme, other) = (key(1), key(2));
    let license = issued(&draft(), &[&acme]);
    let text = response(&license).seal(Some(&license), &[&acme]).expect("good");
    let read = SignedResponse::open(&text, &trusting(&[&acme])).expect("trusted");
    assert_eq!(read.response, response(&license));
    authenticate(&read.license.expect("enclosed"), &trusting(&[&acme])).expect("as it was issued");
    let error = SignedResponse::open(&text, &trusting(&[&other])).unwrap_err();
    assert!(matches!(error, LicenseError::Foreign { .. }), "{error}");
    let error = SignedResponse::open(&text.replace("R-2", "R-3"), &trusting(&[&acme]));
    assert!(matches!(error.unwrap_err(), LicenseError::Tampered { .. }));
    let exchanged = issued(&Draft { serial: 4, ..draft() }, &[&acme]);
    let error = SignedResponse::open(&text.replace(&license, &exchanged), &trusting(&[&acme]));
    assert!(error.unwrap_err().to_string().contains("not the one that the response names"));
}

#[test]
fn a_license_of_a_group_serves_on_its_machines_in_its_cluster_only() {
    let acme = key(1);
    let hosts = vec![hostid("ETHERNET:001122334455"), hostid("ETHERNET:001122334466")];
    let binding = Binding::Group { cluster: CLUSTER.into(), hosts: hosts.clone() };
    let text = issued(&Draft { binding, ..draft() }, &[&acme]);
    let verified = verify(&text, &trusting(&[&acme]), &site(), 0).expect("its cluster");
    assert_eq!(check_own_host(&verified, &hosts[1..]), Ok(()));
    let error = check_own_host(&verified, &[hostid("ETHERNET:001122334477")]).unwrap_err();
    assert!(matches!(error, LicenseError::WronglyBound { .. }), "{error}");
    let elsewhere = triad_license::Site { cluster_id: "another", hostids: &hosts };
    let error = verify(&text, &trusting(&[&acme]), &elsewhere, 0).unwrap_err();
    assert!(matches!(error, LicenseError::WronglyBound { .. }), "{error}");
}

#[test]
fn a_license_may_say_that_it_grants_nothing_any_more() {
    let acme = key(1);
    let text = issued(&Draft { features: Vec::new(), ..draft() }, &[&acme]);
    let verified = verify(&text, &trusting(&[&acme]), &site(), 0).expect("on purpose");
    assert_eq!(verified.into_license().lines.len(), 0);
}

#[test]
fn what_can_be_read_can_be_signed_and_says_the_same() {
    let seed = |name: &str| {
        let path =
            format!("{}/../../tests/fuzz/seeds/capability/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("the seed is there")
    };
    let request = CapabilityRequest::look(&seed("request.txt")).expect("it can be read");
    let server = ServerKey::generate([5; 32]);
    let opened = SignedRequest::open(&request.seal(&server).unwrap()).unwrap();
    assert_eq!(opened.request, request);
    let response = SignedResponse::look(&seed("response.txt")).expect("it can be read");
    let sealed = response.seal(None, &[&key(1)]).unwrap();
    assert_eq!(SignedResponse::open(&sealed, &trusting(&[&key(1)])).unwrap().response, response);
}
