//! The terms of lines, packages and upgrades, from the text of a license to
//! the lines of the ledger.

use proptest::prelude::*;
use triad_ledger::rights::{License, Line, Share};
use triad_license::*;

use crate::*;

const HEAD: &str = "license = \"a\"\npublisher = \"A\"\nserial = 1\nissued = 2026-11-01\n\n\
                    [binding]\ncluster = \"5b1f0e0c9d7a44e2\"\n";

fn feature(name: &str, version: &str, seats: u32, more: &str) -> String {
    format!(
        "\n[[feature]]\nname = \"{name}\"\nversion = \"{version}\"\nseats = {seats}\n\
         expires = \"permanent\"\n{more}\n"
    )
}

fn license(text: &str) -> License {
    let document = issue(&format!("{HEAD}{text}"), &[&key(1)])
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    verify(&document, &trusting(&[&key(1)]), &site(), 0).expect("good").into_license()
}

fn error(text: &str) -> String {
    issue(&format!("{HEAD}{text}"), &[&key(1)]).expect_err(text).to_string()
}

/// Name, version, seats and overdraft of each line.
fn counts(lines: &[Line]) -> Vec<String> {
    let shown = lines.iter().map(|line| {
        let over = if line.overdraft > 0 { format!("+{}", line.overdraft) } else { String::new() };
        format!("{} {} {}{over}", line.feature, line.version, line.seats)
    });
    shown.collect()
}

#[test]
fn each_term_reaches_the_ledger() {
    let hour_ms = 3_600_000;
    let all = "dup_group = \"HU\"\nhostids = [\"HOSTNAME:B\", \"ETHERNET:00-11-22-33-44-55\"]\n\
               borrow = \"168h\"\nlinger = \"10m\"\nuser_based = 5\nhost_based = 6\n\
               notice = \"Ask Bob\"\nsn = \"S-1\"\nsupersedes = [\"old\", \"older\"]\n\
               issued = 2026-11-02\nconsumes = { feature = \"tokens\", version = \"3\", tokens = 4 }";
    let line = &license(&feature("f", "2", 3, all)).lines[0];
    let terms = &line.terms;
    assert_eq!(terms.share, Share::USER.and(Share::HOST));
    let hosts: Vec<&str> = terms.hostids.iter().map(|label| label.as_str()).collect();
    assert_eq!(hosts, ["ETHERNET:001122334455", "HOSTNAME:b"]);
    assert_eq!((terms.borrow_max_ms, terms.linger_ms), (Some(168 * hour_ms), hour_ms / 6));
    let cost = terms.consumes.as_ref().expect("given");
    assert_eq!(format!("{} {} {}", cost.feature, cost.version, cost.tokens), "tokens 3.0 4");
    assert_eq!(terms.users_max.map(u32::from).zip(terms.hosts_max.map(u32::from)), Some((5, 6)));
    let about = &line.about;
    assert_eq!((about.notice.as_str(), about.serial_number.as_str()), ("Ask Bob", "S-1"));
    assert_eq!(about.issued_ms, Some(at("2026-11-02")));
    let names: Vec<&str> = about.supersedes.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["old", "older"]);

    let plain = &license(&feature("f", "2", 3, "")).lines[0];
    assert_eq!(plain.terms, Default::default());
    assert_eq!(plain.about.issued_ms, Some(at("2026-11-01")));
    let uncounted = feature("f", "2", 3, "").replace("seats = 3", "uncounted = true");
    let line = &license(&uncounted).lines[0];
    assert_eq!((line.seats, line.terms.uncounted), (0, true));
    let token = feature("f", "2", 3, "consumes = { feature = \"t\", tokens = 1 }");
    let cost = license(&token).lines[0].terms.consumes.clone().expect("given");
    assert_eq!(cost.version.to_string(), "2.0", "that of the line unless given");
}

#[test]
fn a_package_becomes_its_components() {
    let package = |suite: bool| {
        feature("office", "1", 10, "overdraft = 1\nvendor_string = \"x\"")
            + &feature("calc", "1", 2, "")
            + &format!(
                "\n[[package]]\nname = \"office\"\nversion = \"1\"\nsuite = {suite}\n\
                 components = [{{ feature = \"word\" }}, {{ feature = \"calc\", version = \"2\", \
                 seats = 2 }}]\n"
            )
    };
    let lines = license(&package(false)).lines;
    assert_eq!(counts(&lines), ["calc 1.0 2", "word 1.0 10+1", "calc 2.0 20+2"]);
    assert!(lines[1..].iter().all(|line| line.vendor_string.as_str() == "x"));
    assert!(lines.iter().all(|line| line.terms.consumes.is_none()));

    let lines = license(&package(true)).lines;
    let expected = ["office 1.0 10+1", "calc 1.0 2", "word 1.0 10+1", "calc 2.0 20+2"];
    assert_eq!(counts(&lines), expected);
    assert_eq!(lines[0].terms.share.to_string(), "UHD");
    let token = lines[2].terms.consumes.as_ref().expect("of a suite");
    assert_eq!(format!("{} {} {}", token.feature, token.version, token.tokens), "office 1.0 1");
    assert!(lines[1].terms.consumes.is_none());
}

/// Tokens of a lower version than is taken are not what is taken.
#[test]
fn only_what_is_taken_may_take_nothing() {
    let text = feature("f", "1", 1, "consumes = { feature = \"t\", version = \"2\", tokens = 1 }")
        + &feature("t", "1", 9, "consumes = { feature = \"u\", tokens = 1 }")
        + &feature("t", "2", 9, "");
    assert_eq!(counts(&license(&text).lines), ["f 1.0 1", "t 1.0 9", "t 2.0 9"]);
}

#[test]
fn an_upgrade_takes_from_the_closest_line_before() {
    let upgrade = |from: &str, to: &str, seats: u32| {
        format!(
            "\n[[upgrade]]\nfeature = \"f\"\nfrom = \"{from}\"\nto = \"{to}\"\nseats = {seats}\n\
             expires = 2027-12-31\n"
        )
    };
    let two = feature("f", "1", 5, "overdraft = 1") + &feature("f", "1.5", 4, "");
    let lines = license(&(two.clone() + &upgrade("1", "2", 3))).lines;
    assert_eq!(counts(&lines), ["f 1.0 5+1", "f 1.5 1", "f 2.0 3"]);
    assert_eq!(lines[2].expires_ms, Some(at("2028-01-01")));
    let lines = license(&(two.clone() + &upgrade("1", "1.5", 2))).lines;
    assert_eq!(counts(&lines), ["f 1.0 3+1", "f 1.5 4", "f 1.5 2"]);
    let lines = license(&(two.clone() + &upgrade("1.5", "2", 4))).lines;
    assert_eq!(counts(&lines), ["f 1.0 5+1", "f 2.0 4"]);
    let lines = license(&(two.clone() + &upgrade("1", "2", 4) + &upgrade("2", "3", 1))).lines;
    assert_eq!(counts(&lines), ["f 1.0 5+1", "f 2.0 3", "f 3.0 1"]);

    assert!(error(&(upgrade("1", "2", 3) + &two)).contains("put the line above the upgrade"));
    assert!(error(&(two.clone() + &upgrade("1", "2", 5))).contains("has 4 seats"));
    assert!(error(&(two.clone() + &upgrade("2", "3", 1))).contains("no line before it"));
    assert!(error(&(two + &upgrade("2", "2", 1))).contains("not higher"));
}

#[test]
fn mistakes_in_terms_are_named_by_place_and_remedy() {
    let package = |more: &str| {
        feature("p", "1", 4_000_000_000, "") + &format!("\n[[package]]\nname = \"p\"\n{more}\n")
    };
    let table = [
        (feature("f", "1", 1, "dup_group = \"UX\""), "line 14, column 13: ", "U, H, D and V"),
        (feature("f", "1", 1, "borrow = \"168\""), "line 14, column 10: ", "such as \"168h\""),
        (feature("f", "1", 1, "linger = \"x\""), "line 14, column 10: ", "such as"),
        (feature("f", "1", 1, "hostids = [\"x\"]"), "line 14, column 12: ", "TYPE:value"),
        (
            feature("f", "1", 1, "hostids = [\"STRING:x\", \"string:x\"]"),
            "line 14, column 24: ",
            "twice",
        ),
        (feature("f", "1", 1, "uncounted = true"), "line 12, column 9: ", "remove one"),
        (feature("f", "1", 1, "user_based = 0"), "line 14, column 14: ", "at least 1"),
        (
            feature("f", "1", 1, "consumes = { feature = \"f\", tokens = 1 }"),
            "line 10, column 8: ",
            "itself",
        ),
        (
            feature("f", "1", 1, "consumes = { feature = \"t\", tokens = 1 }")
                + &feature("t", "1", 9, "consumes = { feature = \"u\", tokens = 1 }"),
            "line 21, column 24: ",
            "remove `consumes` from t",
        ),
        (
            feature("f", "1", 1, "consumes = { feature = \"p\", tokens = 1 }")
                + &feature("q", "1", 9, "")
                + "\n[[package]]\nname = \"q\"\nversion = \"1\"\nsuite = true\n\
                   components = [{ feature = \"p\" }]\n",
            "line 23, column 1: ",
            "take p out of the suite",
        ),
        (feature("f", "1", 1, "supersedes = [\"a b\"]"), "line 14, column 15: ", "supersedes"),
        (feature("f", "1", 1, "hostid = \"x\""), "line 14, column 1: ", "`hostids`"),
        (feature("f", "1", 1, "").replace("seats = 1\n", ""), "line 9, column 1: ", "uncounted"),
        (package("version = \"1\"\ncomponents = []"), "line 17, column 8: ", "1 to 1000"),
        (
            package("version = \"2\"\ncomponents = [{ feature = \"a\" }]"),
            "line 16, column 1: ",
            "no [[feature]] has",
        ),
        (
            package("version = \"1\"\ncomponents = [{ feature = \"p\" }]"),
            "line 16, column 1: ",
            "contain itself",
        ),
        (
            package("version = \"1\"\ncomponents = [{ feature = \"a\", seats = 2 }]"),
            "line 16, column 1: ",
            "than can be counted",
        ),
    ];
    for (text, place, remedy) in table {
        let message = error(&text);
        assert!(message.starts_with(place), "{text}\nexpected {place:?}: {message}");
        assert!(message.contains(remedy), "{text}\nexpected {remedy:?}: {message}");
    }
    let undated =
        HEAD.replace("issued = 2026-11-01\n", "") + &feature("f", "1", 1, "supersedes = [\"g\"]");
    let message = issue(&undated, &[&key(1)]).expect_err("undated").to_string();
    assert!(message.contains("add the day in `issued`"), "{message}");
}

#[test]
fn packages_do_not_multiply_without_bound() {
    let mut text = String::new();
    for _ in 0..100 {
        text += &feature("p", "1", 1, "");
    }
    let components: Vec<String> = (0..200).map(|n| format!("{{ feature = \"c{n}\" }}")).collect();
    text += &format!(
        "\n[[package]]\nname = \"p\"\nversion = \"1\"\ncomponents = [{}]\n",
        components.join(", ")
    );
    assert!(error(&text).contains("more than 10000 lines"));
}

#[test]
fn a_draft_writes_what_it_holds() {
    let text = feature(
        "f",
        "2",
        3,
        "dup_group = \"UH\"\nhostids = [\"STRING:x\"]\nborrow = \"7d\"\nlinger = \"1m\"\n\
         user_based = 5\nhost_based = 6\nnotice = \"n\"\nsn = \"s\"\nsupersedes = [\"old\"]\n\
         consumes = { feature = \"t\", tokens = 4 }",
    );
    let line = license(&text).lines[0].clone();
    let mut draft = draft();
    draft.features = vec![DraftFeature {
        terms: line.terms.clone(),
        about: line.about.clone(),
        ..DraftFeature::new("f", "2", 3)
    }];
    let document = issued(&draft, &[&key(1)]);
    let verified = verify(&document, &trusting(&[&key(1)]), &site(), 0).expect("good");
    let shown = verified.summary().to_string();
    assert!(
        shown.contains(
            "dup_group UH; only on STRING:x; borrow 7d; linger 1m; each takes 4 of t 2.0; \
             for 5 named users; for 6 named hosts; supersedes old; sn s; notice \"n\""
        ),
        "{shown}"
    );
    let again = verified.into_license().lines.remove(0);
    assert_eq!((again.terms, again.about), (line.terms, line.about));
}

#[test]
fn a_diff_of_licenses_reads_like_what_was_changed() {
    let summary = |text: &str| {
        show(&issue(&format!("{HEAD}{text}"), &[&key(1)]).expect("good")).expect("good")
    };
    let old = feature("solver", "2026", 40, "")
        + &feature("viewer", "2026", 5, "")
        + &feature("mesher", "2026", 5, "")
        + &feature("old", "1", 1, "borrow = \"1d\"");
    let new = feature("solver", "2026", 30, "overdraft = 2")
        + &feature("solver", "2026", 20, "")
        + &feature("mesher", "2027", 5, "")
        + &feature("viewer", "2026", 5, "")
        + &feature("new", "1", 1, "").replace("\"permanent\"", "2026-12-31");
    let (old, mut new) = (summary(&old), summary(&new));
    new.serial = 2;
    let expected = [
        "~ serial: 1 -> 2",
        "~ mesher: 5 seats, version 2026.0, permanent -> 5 seats, version 2027.0, permanent",
        "+ new: 1 seat, version 1.0, until 2026-12-31",
        "- old: 1 seat, version 1.0, permanent, borrow 1d",
        "~ solver, version 2026.0, permanent: 40 seats -> 50 (+2) seats",
    ];
    assert_eq!(diff_licenses(&old, &new), expected);
    assert!(diff_licenses(&new, &new).is_empty());
}

proptest! {
    #[test]
    fn any_pieces_of_licenses_are_answered(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "[[feature]]\nname = \"f\"\nversion = \"1\"\nseats = 9\nexpires = \"permanent\"\n",
            "[[feature]]\nname = \"p\"\nversion = \"1\"\nuncounted = true\nexpires = 2026-01-01\n",
            "[[package]]\nname = \"p\"\nversion = \"1\"\ncomponents = [{ feature = \"f\" }]\n",
            "[[package]]\nname = \"f\"\nversion = \"1\"\nsuite = true\ncomponents = [{ feature = \"p\" }]\n",
            "[[upgrade]]\nfeature = \"f\"\nfrom = \"1\"\nto = \"2\"\nseats = 4\nexpires = 2027-01-01\n",
            "dup_group = \"UHD\"\n", "hostids = []\n", "borrow = \"1d\"\n", "linger = \"1x\"\n",
            "overdraft = 4294967295\n", "consumes = { feature = \"t\", tokens = 1 }\n",
            "supersedes = [\"f\"]\n", "issued = 2026-01-01\n", "user_based = 1\n", "\n", "[",
        ]), 0..14),
    ) {
        let _ = issue(&format!("{HEAD}{}", pieces.concat()), &[&key(1)]).is_ok();
    }
}
