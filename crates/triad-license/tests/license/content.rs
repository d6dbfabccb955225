//! What a publisher may write, and what an error says about what he may not.

use triad_license::*;

use crate::*;

const GOOD: &str = r#"license = "acme-2026"
publisher = "Acme"
serial = 3

[binding]
cluster = "5b1f0e0c9d7a44e2"

[[feature]]
name = "solver"
version = "2026.1"
seats = 40
expires = 2026-12-31
"#;

fn error(from: &str, to: &str) -> LicenseError {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "nothing was replaced");
    issue(&text, &[&key(1)]).expect_err(to)
}

#[test]
fn mistakes_are_named_by_line_column_and_remedy() {
    assert!(issue(GOOD, &[&key(1)]).is_ok());
    let table = [
        ("seats = 40", "seatz = 40", "line 11, column 1: ", "did you mean `seats`?"),
        ("[binding]", "[bindings]", "line 5, column 2: ", "did you mean `binding`?"),
        (
            "[[feature]]",
            "notice = \"x\"\n[[feature]]",
            "line 8, column 1: ",
            "above the first [table]",
        ),
        ("seats = 40", "seats = 0", "line 11, column 9: ", "at least 1"),
        ("seats = 40", "seats = -1", "line 11, column 9: ", "u32"),
        ("seats = 40", "seats = 4294967296", "line 11, column 9: ", "u32"),
        ("seats = 40\n", "", "line 8, column 1: ", "missing field `seats`"),
        ("serial = 3", "serial = 0", "line 3, column 10: ", "begin at 1"),
        ("serial = 3", "serial = 3\nserial = 3", "line 4, column 1: ", "duplicate key"),
        ("serial = 3", "serial = 3\nzone = \"Mars/Olympus\"", "line 4, column 8: ", "IANA"),
        ("2026-12-31", "2026-12-31T10:00:00Z", "line 12, column 11: ", "whole days"),
        ("2026-12-31", "\"2026-12-31\"", "line 12, column 11: ", "without quotes"),
        ("2026-12-31", "\"never\"", "line 12, column 11: ", "\"permanent\""),
        ("2026-12-31", "9999-12-31", "line 12, column 11: ", "9999-12-30"),
        ("2026-12-31", "1969-12-30", "line 12, column 11: ", "1970"),
        (
            "expires = ",
            "start = 2027-01-01\nexpires = ",
            "line 13, column 11: ",
            "before it starts",
        ),
        ("\"Acme\"", "\"\"", "line 2, column 13: publisher: ", "empty"),
        (
            "\"solver\"",
            "\"sol ver\"",
            "line 9, column 8: feature 1 (\"sol ver\"), name: ",
            "byte 3",
        ),
        ("\"2026.1\"", "\"v1\"", "line 10, column 11: feature 1 (\"solver\"), version: ", "digits"),
        ("cluster = ", "hostids = []\ncluster = ", "line 6, column 11: ", "one to three"),
        ("cluster = \"5b1f0e0c9d7a44e2\"", "", "line 5, ", "or both"),
        ("\n[binding]", "grants_nothing = true\n[binding]", "line ", "remove one of the two"),
        (
            "cluster = \"5b1f0e0c9d7a44e2\"",
            "hostids = [\"STRING:a\", \"STRING:b\"]",
            "line 6, column 11: ",
            "three",
        ),
        (
            "cluster = \"5b1f0e0c9d7a44e2\"",
            "hostids = [\"STRING:a\", \"STRING:b\", \"ETHERNET:1\"]",
            "line 6, column 36: ",
            "12 hex",
        ),
        (
            "cluster = \"5b1f0e0c9d7a44e2\"",
            "hostids = [\"STRING:a\", \"STRING:b\", \"string: a\"]",
            "line 6, column 36: ",
            "twice",
        ),
        ("[[feature]]", "-----SIGNATURE-----\n[[feature]]", "line 8, column 1: ", "marker"),
        ("serial = 3", "serial = 3\n\"\\u001b[2J\" = 1", "line 4, column 1: ", "\\u{1b}"),
    ];
    for (from, to, place, remedy) in table {
        let message = error(from, to).to_string();
        assert!(message.starts_with(place), "{to:?}: expected {place:?}: {message}");
        assert!(message.contains(remedy), "{to:?}: expected {remedy:?}: {message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn errors_in_a_signed_document_count_its_own_lines() {
    let document = issue(GOOD, &[&key(1)]).unwrap().replace("seats", "seatz");
    let message = show(&format!("\n\n{document}")).unwrap_err().to_string();
    assert!(message.starts_with("line 14, column 1: "), "{message}");
}

#[test]
fn a_license_grants_something_and_not_too_much() {
    let (head, feature) = GOOD.split_at(GOOD.find("[[feature]]").unwrap());
    let message = issue(head, &[&key(1)]).unwrap_err().to_string();
    assert!(message.contains("add at least one [[feature]]"), "{message}");
    let short = "[[feature]]\nname='a'\nversion='1'\nseats=1\nexpires='permanent'\n";
    let features = |count| format!("{head}{}", short.repeat(count));
    assert!(issue(&features(10_000), &[&key(1)]).is_ok());
    let error = issue(&features(10_001), &[&key(1)]).unwrap_err();
    assert!(matches!(error, LicenseError::TooLarge { found: 10_001, max: 10_000, .. }), "{error}");
    // An upgrade of a part of a line makes two of it.
    let upgrade = "[[upgrade]]\nfeature='a'\nfrom='1'\nto='2'\nseats=1\nexpires='permanent'\n";
    let two = short.replace("seats=1", "seats=2");
    let full = format!("{}{two}{upgrade}", features(9_999));
    let error = issue(&full, &[&key(1)]).unwrap_err();
    assert!(matches!(error, LicenseError::TooLarge { found: 10_001, max: 10_000, .. }), "{error}");
    let large = format!("{head}{feature}{}", "#\n".repeat(DOCUMENT_BYTES_MAX / 2));
    assert!(matches!(issue(&large, &[&key(1)]), Err(LicenseError::TooLarge { .. })));
    assert!(matches!(show(&large), Err(LicenseError::TooLarge { .. })));
}

#[test]
fn text_within_the_bound_whose_document_is_not_is_never_issued() {
    let room = DOCUMENT_BYTES_MAX - GOOD.len() - 10;
    let error = issue(&format!("{GOOD}#{}\n", "x".repeat(room)), &[&key(1)]).unwrap_err();
    assert!(matches!(error, LicenseError::TooLarge { .. }), "{error}");
}

#[test]
fn a_draft_of_any_text_stays_one_string_or_is_refused() {
    for text in ["a\"\nseats = 9", "a\\", "a\u{7f}", "-----SIGNATURE-----", "\u{202e}a", "\t"] {
        let draft = Draft { notice: Some(text.to_owned()), ..draft() };
        match issue(&draft.to_toml(), &[&key(1)]) {
            Ok(document) => assert_eq!(show(&document).unwrap().notice, text),
            Err(error) => assert!(matches!(error, LicenseError::Name { .. }), "{text:?}: {error}"),
        }
    }
}
