//! Any text as a request to the back office, and as its response.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::{keyring, publisher};
use triad_license::{
    CapabilityRequest, ServerKey, SignedRequest, SignedResponse, is_response, license_digest,
    text_of,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = text_of(bytes) else { return };
    // Nobody can sign without a key, so what was signed is as somebody made it.
    if let Err(error) = SignedRequest::open(text) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = SignedResponse::open(text, &keyring()) {
        assert!(!error.to_string().is_empty());
    }
    let _ = license_digest(text);
    // What can be read can be signed, and says the same then.
    if let Ok(request) = CapabilityRequest::look(text) {
        let key = ServerKey::generate([5; 32]);
        let sealed = request.seal(&key).expect("what was read can be written");
        let opened = SignedRequest::open(&sealed).expect("it was just signed");
        assert_eq!((opened.request, opened.key), (request, key.public()));
    }
    if let Ok(response) = SignedResponse::look(text) {
        let Ok(sealed) = response.seal(None, &[&publisher()]) else { return };
        assert!(is_response(&sealed));
        match SignedResponse::open(&sealed, &keyring()) {
            Ok(opened) => assert_eq!(opened.response, response),
            // The license that it names is not there.
            Err(error) => assert!(response.license.is_some(), "{error}"),
        }
    }
});
