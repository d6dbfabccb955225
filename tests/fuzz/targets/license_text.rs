//! Any text as a license document, as the terms of one, and as each small text around it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::{keyring, publisher, site};
use triad_ledger::{At, Command, Ledger, decode_commands, encode_commands};
use triad_license::{
    Day, HostId, KeyId, Keyring, PublicKey, PublisherKey, Verified, Zone, authenticate,
    diff_licenses, issue, show, text_of, verify,
};

fuzz_target!(|bytes: &[u8]| {
    let text = match text_of(bytes) {
        Ok(text) => text,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    small_texts(text);
    match show(text) {
        Ok(summary) => {
            assert!(!summary.to_string().is_empty());
            assert_eq!(diff_licenses(&summary, &summary), Vec::<String>::new());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(verified) = verify(text, &keyring(), &site(), 0) {
        installs(verified);
    }
    // What a publisher signs can be read by everybody, and says the same to all.
    if let Ok(document) = issue(text, &[&publisher()]) {
        let shown = show(&document).expect("what was issued can be shown");
        let authentic = authenticate(&document, &keyring()).expect("it was just signed");
        assert_eq!(shown.features, authentic.summary().features);
        assert_eq!(shown.binding, authentic.summary().binding);
        match verify(&document, &keyring(), &site(), 0) {
            Ok(verified) => installs(verified),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

/// What was verified goes into the log and is counted.
fn installs(verified: Verified) {
    let command = Command::Install { license: verified.into_license() };
    let bytes = encode_commands(std::slice::from_ref(&command));
    assert_eq!(decode_commands(&bytes).as_deref(), Ok(std::slice::from_ref(&command)));
    let mut ledger = Ledger::default();
    ledger.apply(At::default(), &command).expect("the first license is superseded by none");
    ledger.assert_balanced();
}

fn small_texts(text: &str) {
    let _ = Keyring::parse(text);
    let _ = PublicKey::parse(text);
    let _ = PublisherKey::parse(text);
    if let Some(id) = KeyId::parse(text) {
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    }
    if let Ok(id) = HostId::parse(text) {
        assert_eq!(HostId::parse(&id.to_string()).as_ref(), Ok(&id));
    }
    if let Some(day) = Day::parse(text) {
        let _ = (Zone::utc().starts_ms(day), Zone::utc().ends_ms(day));
    }
    if let Some(zone) = Zone::parse(text) {
        let day = Day::parse("2026-03-29").expect("a day");
        assert!(zone.starts_ms(day) < zone.ends_ms(day));
    }
}
