//! A genuine license document, altered: it is refused, or says exactly what it said (P10).

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::{keyring, publisher, site};
use triad_license::{issue, text_of, verify};

fuzz_target!(|bytes: &[u8]| {
    // Where something is replaced, how many bytes, and by how many of those that follow; the rest
    // are the terms, which are signed first.
    let Some(([low, high, removed, inserted], rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let Some((inserted, terms)) = rest.split_at_checked(usize::from(*inserted)) else { return };
    let Ok(terms) = std::str::from_utf8(terms) else { return };
    let Ok(document) = issue(terms, &[&publisher()]) else { return };
    let genuine = verify(&document, &keyring(), &site(), 0);
    let mut bytes = document.into_bytes();
    let place = usize::from(u16::from_le_bytes([*low, *high])) % (bytes.len() + 1);
    let end = (place + usize::from(*removed)).min(bytes.len());
    bytes.splice(place..end, inserted.iter().copied());
    let altered = text_of(&bytes).and_then(|text| verify(text, &keyring(), &site(), 0));
    let Ok(altered) = altered else { return };
    let genuine = genuine.expect("an alteration that is believed makes nothing good");
    assert_eq!(altered.summary(), genuine.summary());
    assert_eq!(altered.into_license().lines, genuine.into_license().lines);
});
