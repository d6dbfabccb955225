//! License files of other managers, made the terms of licenses to be signed.

use proptest::prelude::*;
use triad_license::*;

use crate::*;

const FIELD: &str = "\
# License of Example Corp.
SERVER lic-a 001122334401 27000 PRIMARY_IS_MASTER HEARTBEAT_INTERVAL=20
SERVER lic-b 001122334402 27000
SERVER lic-c 001122334403 27000
VENDOR acme /opt/acme/acme OPTIONS=/opt/acme/acme.opt PORT=27001
USE_SERVER
FEATURE solver acme 2026.1 31-dec-2026 40 OVERDRAFT=2 DUP_GROUP=UHD \\
    BORROW=96 LINGER=600 VENDOR_STRING=\"tier gold\" SN=S-17 \\
    NOTICE=\"Licensed to Example\" ISSUED=1-nov-2026 START=1-dec-2026 \\
    SIGN=\"0A1B 2C3D 4E5F\"
FEATURE solver acme 2026.1 31-dec-2026 10 SIGN=00
INCREMENT solver acme 2026.1 31-dec-2026 5 PLATFORMS=\"i86_n\" SIGN=00
FEATURE viewer acme 1.0 permanent uncounted HOSTID=\"001122334455 HOSTNAME=pat\" SIGN=00
INCREMENT office acme 1.0 permanent 10 0A1B2C3D4E5F60718293
PACKAGE office acme 1.0 COMPONENTS=\"word:1.0 calc:2.0:3\" OPTIONS=SUITE SIGN=00
INCREMENT mesher acme 1.0 permanent 8 USER_BASED SIGN=00
UPGRADE mesher acme 1.0 2.0 permanent 3 SIGN=00
INCREMENT solver acme 2027.1 permanent 9 ISSUED=2-nov-2026 SUPERSEDE=\"oldsolver\" SIGN=00
INCREMNT solver acme 2026.1 permanent 5 SIGN=00
INCREMENT keyed acme 1.0 permanent 5 HOSTID=FLEXID=9-1234 SIGN=00
";

#[test]
fn a_file_from_the_field_can_be_signed_again() {
    let conversion = convert_license(FIELD.as_bytes()).expect("within the bounds");
    assert_eq!(conversion.problem, None);
    let report = &conversion.report;
    let counts = [Fate::Carried, Fate::Ignored, Fate::NotCarried, Fate::Comment]
        .map(|fate| report.count(fate));
    assert_eq!(counts, [12, 1, 3, 1], "{report}");
    let document = issue(&conversion.terms, &[&key(1)]).expect("no problem");
    let summary = show(&document).expect("good");
    assert_eq!((summary.license.as_str(), summary.publisher.as_str()), ("acme", "acme"));
    let hosts = "hosts ETHERNET:001122334401, ETHERNET:001122334402, ETHERNET:001122334403";
    assert_eq!(summary.binding, hosts);
    let granted: Vec<String> = summary
        .features
        .iter()
        .map(|f| {
            format!("{} {} {}+{} [{}]", f.name, f.version, f.seats, f.overdraft, f.terms.join("; "))
        })
        .collect();
    let expected = [
        "solver 2026.1 40+2 [dup_group UHD; borrow 4d; linger 10m; sn S-17; notice \"Licensed to Example\"]",
        "solver 2026.1 5+0 []",
        "viewer 1.0 0+0 [uncounted; only on ETHERNET:001122334455, HOSTNAME:pat]",
        "office 1.0 10+0 [dup_group UHD]",
        "mesher 1.0 5+0 [for 8 named users]",
        "mesher 2.0 3+0 [for 8 named users]",
        "solver 2027.1 9+0 [supersedes oldsolver]",
        "word 1.0 10+0 [each takes 1 of office 1.0]",
        "calc 2.0 30+0 [each takes 1 of office 1.0]",
    ];
    let mut sorted = granted.clone();
    sorted.sort();
    let mut wanted = expected.map(str::to_owned).to_vec();
    wanted.sort();
    assert_eq!(sorted, wanted, "{summary}");
    assert_eq!(summary.features[0].start.as_deref(), Some("2026-12-01"));
    assert_eq!(summary.features[0].vendor_string, "tier gold");
    for gone in ["SIGN", "0A1B", "2C3D"] {
        assert!(!conversion.terms.contains(gone), "{}", conversion.terms);
    }
}

#[test]
fn each_line_says_what_became_of_it() {
    let feature = "FEATURE f v 1.0 permanent 5";
    let table = [
        ("SERVER a ANY 1", Fate::NotCarried, "not to ANY"),
        ("SERVER a 17003456", Fate::NotCarried, "not an Ethernet address"),
        ("SERVER a", Fate::NotCarried, "write SERVER"),
        ("VENDOR v /path", Fate::Carried, "left out: path"),
        ("USE_SERVER", Fate::Ignored, "ignored, because"),
        ("FEATUR f v 1.0 permanent 5", Fate::NotCarried, "did you mean FEATURE?"),
        ("FEATURE f v 1.0 permanent", Fate::NotCarried, "ends too early"),
        ("FEATURE f v 1.x permanent 5", Fate::NotCarried, "digits"),
        ("FEATURE f v 1.0 never 5", Fate::NotCarried, "no day"),
        ("FEATURE f v 1.0 31-dec-9999 5", Fate::Carried, "taken for permanent"),
        ("FEATURE f v 1.0 permanent many", Fate::NotCarried, "no count"),
        ("FEATURE a/b v 1.0 permanent 5", Fate::NotCarried, "letters, digits"),
        ("FEATURE f v 1.0 1-jan-2026 5 START=1-jan-2027", Fate::NotCarried, "before it starts"),
        ("UPGRADE f v 1.0 2.0 permanent 5", Fate::NotCarried, "no line before it"),
        ("PACKAGE p v 1.0 COMPONENTS=f", Fate::NotCarried, "grants nothing"),
        ("FEATURE f v 1.0 permanent 5 HOSTID=DEMO", Fate::NotCarried, "DEMO"),
        ("FEATURE f v 1.0 permanent 5 DUP_GROUP=X", Fate::NotCarried, "UHDV"),
        ("FEATURE f v 1.0 permanent 5 SIGN=12", Fate::Carried, "the signature"),
        ("FEATURE f v 1.0 permanent 5 TZ=SERVERTZ", Fate::Carried, "TZ, so it grants more"),
        ("FEATURE f v 1.0 permanent 5 vendor_info=x", Fate::Carried, "VENDOR_INFO"),
        ("FEATURE f v 1.0 permanent 5 SUPERSEDE", Fate::Carried, "without ISSUED"),
        ("FEATURE f v 1.0 permanent 5 BORROW", Fate::Carried, ""),
        ("FEATURE f v 1.0 0 uncounted", Fate::Carried, ""),
    ];
    for (text, fate, remark) in table {
        let report = convert_license(text.as_bytes()).expect("within the bounds").report;
        let entry = &report.entries[0];
        assert_eq!(entry.fate, fate, "{text}\n{entry}");
        assert!(entry.remark.contains(remark), "{text}\nexpected {remark:?}: {entry}");
    }
    let nothing = convert_license(b"").expect("within the bounds");
    assert!(nothing.problem.expect("grants nothing").to_string().contains("grants nothing"));
    let unbound = convert_license(feature.as_bytes()).expect("within the bounds");
    assert!(unbound.terms.contains("REPLACE-BY-THE-CLUSTER-ID"), "{}", unbound.terms);
    let more = format!("{feature}\nUPGRADE f v 1.0 2.0 permanent 6\n");
    let problem = convert_license(more.as_bytes()).expect("within the bounds").problem;
    assert!(problem.expect("too few").to_string().contains("has 5 seats"));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let conversion = convert_license(&bytes).expect("within the bounds");
        let report = conversion.report.to_string();
        prop_assert!(!report.contains(|c: char| c.is_control() && c != '\n'));
    }

    #[test]
    fn what_has_no_problem_can_be_signed(
        words in prop::collection::vec(prop::sample::select(vec![
            "\nFEATURE f v 1.0 permanent 5", "\nINCREMENT f v 2.0 31-dec-2026 5", "\nUSE_SERVER",
            "\nPACKAGE f v 1.0 COMPONENTS=\"g h:2:3\"", "\nUPGRADE f v 1.0 2.0 permanent 2",
            "\nINCREMENT g v 1.0 permanent uncounted", "\nSERVER a 001122334455 27000",
            "BORROW=9", "BORROW", "LINGER=60", "DUP_GROUP=SITE", "HOSTID=HOSTNAME=x", "SUPERSEDE",
            "ISSUED=1-jan-2026", "START=1-jan-2026", "OVERDRAFT=3", "SN=\"a b\"", "USER_BASED=3",
            "OPTIONS=SUITE", "SIGN=00", "\\\n", "\"", "#", "\u{1b}", "NOTICE=\u{202e}", "x=",
        ]), 0..30),
    ) {
        let conversion = convert_license(words.join(" ").as_bytes()).expect("within the bounds");
        let signed = issue(&conversion.terms, &[&key(1)]);
        prop_assert_eq!(signed.err(), conversion.problem);
    }
}

/// Each was compared with all before it, which took half a minute for such a file.
#[test]
fn any_number_of_servers_is_read_once() {
    let servers: String = (0..30_000).map(|n| format!("SERVER h {n:012x}\n")).collect();
    let conversion = convert_license(servers.as_bytes()).expect("within the bounds");
    assert_eq!(conversion.report.entries.len(), 30_000);
    assert!(!conversion.terms.contains("hostids"), "{}", conversion.terms);
}
