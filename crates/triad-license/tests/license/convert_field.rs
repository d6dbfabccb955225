//! License files in the shapes of the field, read whole: what of each line is
//! carried over, and what is granted once the terms are signed.
//!
//! The shapes are those of published guides; files, names and signatures in them
//! are ours. `UPDATE_GOLDENFILES=1 cargo test` writes the answers anew.

use std::fmt::Write as _;
use std::path::Path;

use triad_license::*;

use crate::key;

/// The report, what is doubtful, and what the terms would grant.
fn answer(bytes: &[u8]) -> String {
    let conversion = convert_license(bytes).expect("within the bounds");
    let mut text = format!("{}\n", conversion.report);
    for Diagnostic { line, column, code, message, .. } in &conversion.report.findings {
        writeln!(text, "{line}:{column} {code}: {message}").expect("a string takes any text");
    }
    match conversion.problem {
        Some(problem) => writeln!(text, "problem: {problem}").expect("a string takes any text"),
        None => {
            let document = issue(&conversion.terms, &[&key(1)]).expect("no problem");
            let summary = show(&document).expect("just issued");
            writeln!(text, "bound to {}", summary.binding).expect("a string takes any text");
            for f in summary.features {
                let (start, end) = (f.start.as_deref(), f.expires.as_deref());
                let days = format!("{} to {}", start.unwrap_or("ever"), end.unwrap_or("permanent"));
                let terms = f.terms.join("; ");
                writeln!(
                    text,
                    "{} {}: {}+{}, {days}, {:?} [{terms}]",
                    f.name, f.version, f.seats, f.overdraft, f.vendor_string,
                )
                .expect("a string takes any text");
            }
        }
    }
    text
}

#[test]
fn license_files_of_the_field_are_answered_line_by_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/license/licenses");
    let mut read = 0;
    for entry in std::fs::read_dir(&folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|extension| extension != "lic") {
            continue;
        }
        read += 1;
        let answer = answer(&std::fs::read(&path).expect("it can be read"));
        let expected = path.with_extension("answer");
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            std::fs::write(&expected, &answer).expect("it can be written");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(answer, expected, "{}", path.display());
    }
    assert_eq!(read, 3, "of the files in {}", folder.display());
}

/// Each spelling of a day, of a count and of the end that never comes.
#[test]
fn days_and_counts_are_read_in_every_spelling() {
    let line = |day: &str, count: &str| format!("FEATURE f v 1.0 {day} {count} HOSTID=ANY SIGN=0");
    let table = [
        ("permanent", "5", Some("permanent")),
        ("PERMANENT", "5", Some("permanent")),
        ("1-jan-0", "5", Some("permanent")),
        ("01-jan-00", "5", Some("permanent")),
        ("1-jan-000", "5", Some("permanent")),
        ("1-jan-0000", "5", Some("permanent")),
        ("0", "5", Some("permanent")),
        ("31-dec-9999", "5", Some("permanent")),
        ("01-jan-2027", "5", Some("2027-01-01")),
        ("1-Jan-2027", "5", Some("2027-01-01")),
        ("07-MAY-2027", "005", Some("2027-05-07")),
        ("1-jan-27", "5", None),
        ("2027-01-01", "5", None),
        ("1/1/2027", "5", None),
        ("31-feb-2027", "5", None),
        ("1-jan-20270", "5", None),
        ("never", "5", None),
        ("permanent", "0x5", None),
        ("permanent", "-5", None),
        ("permanent", "5.0", None),
        ("permanent", "4294967296", None),
        ("permanent", "unlimited", None),
        ("permanent", "0", Some("permanent")),
        ("permanent", "uncounted", Some("permanent")),
        ("permanent", "UNCOUNTED", Some("permanent")),
    ];
    for (day, count, expires) in table {
        let text = line(day, count);
        let conversion = convert_license(text.as_bytes()).expect("small");
        let entry = &conversion.report.entries[0];
        let fate = if expires.is_some() { Fate::Carried } else { Fate::NotCarried };
        assert_eq!(entry.fate, fate, "{text}\n{entry}");
        if let Some(expires) = expires {
            let document = issue(&conversion.terms, &[&key(1)]).expect("signed");
            let summary = show(&document).expect("good");
            let read = summary.features[0].expires.as_deref().unwrap_or("permanent");
            assert_eq!(read, expires, "{text}");
        }
    }
}
