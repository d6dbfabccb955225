//! Every altered byte is noticed, and no text whatever makes it panic.

use proptest::prelude::*;
use triad_license::*;

use crate::*;

fn small() -> String {
    let mut draft = draft();
    draft.issued = None;
    issued(&draft, &[&key(1)])
}

fn verified(bytes: &[u8]) -> Result<Verified, LicenseError> {
    verify(text_of(bytes)?, &trusting(&[&key(1)]), &site(), 0)
}

#[test]
fn no_byte_can_be_changed() {
    let document = small().into_bytes();
    assert!(verified(&document).is_ok());
    // The last line feed stands after the last marker, where blanks may change.
    for at in 0..document.len() - 1 {
        for bit in 0..8 {
            let mut altered = document.clone();
            altered[at] ^= 1 << bit;
            assert!(verified(&altered).is_err(), "byte {at} bit {bit}: {:?}", altered[at] as char);
        }
    }
}

#[test]
fn no_byte_can_be_left_out_or_added() {
    let document = small().into_bytes();
    for at in 0..document.len() - 1 {
        let mut shorter = document.clone();
        let removed = shorter.remove(at);
        assert!(verified(&shorter).is_err(), "without byte {at}, {:?}", removed as char);
        let mut longer = document.clone();
        longer.insert(at, b'1');
        assert!(verified(&longer).is_err(), "with a 1 at byte {at}");
    }
}

#[test]
fn a_document_is_whole_or_refused() {
    let document = small().into_bytes();
    let end = document.len() - 1;
    for length in 0..end {
        assert!(
            matches!(verified(&document[..length]), Err(LicenseError::Malformed { .. })),
            "{length}"
        );
    }
    assert!(verified(&document[..end]).is_ok(), "only the last line feed is missing");
}

#[test]
fn unsigned_text_cannot_stand_around_the_signed() {
    let document = small();
    for altered in [
        format!("seats = 4000\n{document}"),
        format!("{document}seats = 4000\n"),
        format!("{document}{document}"),
        document.replace("-----SIGNATURE-----\n", "-----SIGNATURE-----\n\n"),
        document.replace("-----SIGNATURE-----\n", "-----SIGNATURE-----\nseats = 4000\n"),
    ] {
        let error = verified(altered.as_bytes()).unwrap_err();
        assert!(matches!(error, LicenseError::Malformed { .. }), "{error}\n{altered}");
    }
}

#[test]
fn signatures_are_bounded_and_each_key_signs_once() {
    let document = small();
    let line = document.lines().rev().nth(1).unwrap();
    let twice = document.replace(line, &format!("{line}\n{line}"));
    assert!(matches!(verified(twice.as_bytes()), Err(LicenseError::Malformed { .. })));
    let many = document.replace(line, &[line; 9].join("\n"));
    assert!(matches!(
        verified(many.as_bytes()),
        Err(LicenseError::TooLarge { found: 9, max: 8, .. })
    ));
    let none = document.replace(&format!("{line}\n"), "");
    assert!(matches!(verified(none.as_bytes()), Err(LicenseError::Malformed { .. })));
}

#[test]
fn bytes_that_are_no_text_are_named_by_place() {
    let error = text_of(b"license\nnotice = \xff").unwrap_err();
    assert!(matches!(error, LicenseError::Malformed { line: 2, column: 10, .. }), "{error}");
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    let line = small().lines().rev().nth(1).unwrap().to_owned();
    let framed = |body: String| {
        format!(
            "-----BEGIN TRIAD LICENSE-----\n{body}\n-----SIGNATURE-----\n{line}\n-----END TRIAD LICENSE-----\n"
        )
    };
    for body in [
        format!("a = {}", "[".repeat(500_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        format!("a{} = 1", ".a".repeat(400_000)),
        format!("[a{}]", ".a".repeat(400_000)),
    ] {
        let error = show(&framed(body)).unwrap_err();
        assert!(matches!(error, LicenseError::Malformed { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verified(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        let _ = (show(&text).is_ok(), Keyring::parse(&text).is_ok(), PublisherKey::parse(&text).is_ok());
        let _ = (HostId::parse(&text).is_ok(), Day::parse(&text), Zone::parse(&text));
    }

    #[test]
    fn any_text_in_a_good_frame_is_answered(body in "(\\PC|\n|[\\[\\]\"=.{}#a-z0-9-]){0,300}") {
        let document = small();
        let start = document.find('\n').unwrap() + 1;
        let end = document.find("-----SIGNATURE").unwrap();
        let altered = format!("{}{body}\n{}", &document[..start], &document[end..]);
        prop_assert!(verified(altered.as_bytes()).is_err());
        let _ = show(&altered).is_ok();
        let _ = issue(&body, &[&key(1)]).is_ok();
    }

    #[test]
    fn any_piece_moved_is_noticed(from in 0usize..400, to in 0usize..400, length in 1usize..60) {
        let document = small().into_bytes();
        let mut altered = document.clone();
        let from = from % altered.len();
        let piece: Vec<u8> = altered.drain(from..(from + length).min(document.len())).collect();
        let to = to % (altered.len() + 1);
        altered.splice(to..to, piece);
        // Moving one blank line past another changes nothing that is signed.
        let trimmed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        prop_assert_eq!(verified(&altered).is_ok(), trimmed(&altered) == trimmed(&document));
    }
}
