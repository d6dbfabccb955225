//! Options files as they are found in the field: what is carried over, what is
//! not, and what the administrator is told.

use proptest::prelude::*;
use triad_license::*;

use crate::policy::line;

fn imported(text: &str) -> Import {
    let import = import_options(text.as_bytes()).expect("within the bounds");
    PolicyDocument::parse(&import.policy_text)
        .unwrap_or_else(|errors| panic!("{}\n{}", errors[0], import.policy_text));
    import
}

fn rules(import: &Import) -> Vec<String> {
    let document = PolicyDocument::parse(&import.policy_text).expect("checked");
    document.policy().rules.iter().map(rule_in_words).collect()
}

#[test]
fn each_keyword_becomes_its_rule() {
    let groups = "GROUP cfd anna\nHOST_GROUP lab n1\n";
    let table = [
        ("INCLUDE f USER anna", "include f user anna"),
        ("include f user anna", "include f user anna"),
        ("EXCLUDE f:VERSION=2.10 GROUP cfd", "exclude f(version 2.1) group cfd"),
        ("INCLUDEALL HOST_GROUP lab", "include_all host_group lab"),
        ("EXCLUDEALL INTERNET 10.1.*.*", "exclude_all internet 10.1.0.0/16"),
        ("EXCLUDEALL INTERNET 10.*.3.*", "exclude_all internet 10.*.3.*"),
        ("INCLUDE_BORROW f DISPLAY :0", "include_borrow f display :0"),
        ("EXCLUDE_BORROW f PROJECT \"moon shot\"", "exclude_borrow f project moon shot"),
        ("EXCLUDE f USER ACME\\anna", "exclude f user ACME\\anna"),
        ("EXCLUDE f HOST 10.1.2.3", "exclude f internet 10.1.2.3"),
        ("EXCLUDE f HOST n1.acme.example", "exclude f host n1.acme.example"),
        ("MAX 2 f USER anna", "max f user anna: 2 seats"),
        ("MAX 0 f USER anna", "max f user anna: 0 seats"),
        (
            "RESERVE 1 \"f:VENDOR_STRING=tier gold\" HOST n1",
            "reserve f(vendor_string \"tier gold\") host n1: 1 seat",
        ),
        (
            "RESERVE 1 f:HOSTID=001122334455 HOST n1",
            "reserve f(hostid ETHERNET:001122334455) host n1: 1 seat",
        ),
        ("MAX 1 f:EXPDATE=31-dec-2026 USER anna", "max f(expires 2026-12-31) user anna: 1 seat"),
        ("LINGER f 600", "linger f: 10m"),
        ("TIMEOUT f 3600", "timeout f: after 1h"),
        ("TIMEOUTALL 7200", "timeout_all: after 2h"),
        ("BORROW_LOWWATER f 3", "borrow_lowwater f: 3 seats"),
        ("MAX_BORROW_HOURS f 36", "max_borrow f: 36h"),
        ("MAX_OVERDRAFT f 2", "max_overdraft f: 2 seats"),
    ];
    for (text, rule) in table {
        let import = imported(&format!("{groups}{text}\n"));
        assert_eq!(rules(&import), [rule], "{text}");
        assert!(import.report.is_complete(), "{}", import.report);
    }
}

#[test]
fn what_is_not_carried_over_says_why() {
    let table = [
        ("RESERV 1 f USER x", Fate::NotCarried, "did you mean RESERVE?"),
        ("HOSTGROUP lab n1", Fate::NotCarried, "did you mean HOST_GROUP?"),
        ("anna ben carl", Fate::NotCarried, "continued with a backslash?"),
        ("INCLUDE f", Fate::NotCarried, "Mind: a missing INCLUDE"),
        ("INCLUDE f USR anna", Fate::NotCarried, "did you mean USER?"),
        ("EXCLUDE f USER anna ben", Fate::Carried, "2 rules, one for each name"),
        ("EXCLUDE f PROJECT moon shot", Fate::NotCarried, "\"shot\" is too much"),
        ("EXCLUDE f USER guest*", Fate::NotCarried, "no wildcard"),
        ("EXCLUDE f GROUP nobody", Fate::NotCarried, "about nobody"),
        ("EXCLUDE f INTERNET 10.1.2.3/16", Fate::NotCarried, "prefix"),
        ("EXCLUDE f:SIGN=12 USER x", Fate::NotCarried, "not told apart by SIGN"),
        ("EXCLUDE a/b USER x", Fate::NotCarried, "letters, digits"),
        ("EXCLUDE f USER \"\"", Fate::NotCarried, "empty"),
        ("MAX x f USER anna", Fate::NotCarried, "no number"),
        ("MAX 4294967296 f USER anna", Fate::NotCarried, "no number"),
        ("MAX 1 f", Fate::NotCarried, "count feature type name"),
        ("RESERVE 0 f USER anna", Fate::NotCarried, "RESERVE 0 says nothing"),
        ("TIMEOUT f 0", Fate::NotCarried, "at once"),
        ("TIMEOUT f 4000000000", Fate::NotCarried, "ten years"),
        ("TIMEOUTALL", Fate::NotCarried, "write TIMEOUTALL seconds"),
        ("LINGER f", Fate::NotCarried, "write LINGER feature seconds"),
        ("GROUP", Fate::NotCarried, "write GROUP name"),
        ("GROUPCASEINSENSITIVE", Fate::NotCarried, "ON"),
        ("FQDN_MATCHING LENIENT", Fate::NotCarried, "short and the long"),
        ("FQDN_MATCHING EXACT", Fate::Ignored, "ignored, because"),
        ("REPORTLOG +/var/log/acme.rl", Fate::Ignored, "triad report"),
        ("DEBUGLOG +/var/log/acme.dl AUTO_ROLLOVER 10", Fate::Ignored, "ignored, because"),
        ("NOLOG QUEUED", Fate::Ignored, "ignored, because"),
        ("AUTOMATIC_REREAD OFF", Fate::Ignored, "ignored, because"),
        ("MAX_CONNECTIONS 100", Fate::Ignored, "ignored, because"),
        ("DAEMON_SELECT_TIMEOUT 2", Fate::Ignored, "ignored, because"),
        ("ACTIVATION_LOWWATER f 2", Fate::Ignored, "trusted storage"),
        ("ACTIVATION_EXPIRY_DAYS f 2", Fate::Ignored, "trusted storage"),
        ("EXCLUDE_ENTITLEMENT f USER x", Fate::Ignored, "trusted storage"),
        ("INCLUDEALL_ENTITLEMENT USER x", Fate::Ignored, "trusted storage"),
        ("# nothing", Fate::Comment, ""),
        ("GROUPCASEINSENSITIVE ON", Fate::Carried, "case = \"ignore\""),
        ("INCLUDE f GROUP nobody", Fate::Carried, "lets nobody in"),
        ("HOST_GROUP g n1 10.1.2.3/8", Fate::Carried, "\"10.1.2.3/8\" was left out"),
        ("HOST_GROUP g n1 node*", Fate::Carried, "`*` is no wildcard"),
        ("HOST_GROUP g n1 rack/n1", Fate::Carried, "no host has a `/`"),
        ("EXCLUDEALL f USER anna", Fate::NotCarried, "\"f\" is not one of"),
        ("INCLUDE * USER anna", Fate::NotCarried, "INCLUDEALL"),
        ("INCLUDE f:asset_info=1 USER anna", Fate::NotCarried, "leave it out if f has one pool"),
        ("REPORTLOG +/var/log/acme.rl HIDE_USER", Fate::NotCarried, "nothing hides its users"),
        ("EXCLUDE f HOST 10.1.*.*", Fate::Carried, "a network here"),
    ];
    for (text, fate, remark) in table {
        let report = imported(text).report;
        assert_eq!(report.entries.len(), 1, "{text}");
        let entry = &report.entries[0];
        assert_eq!(entry.fate, fate, "{text}\n{entry}");
        assert!(entry.remark.contains(remark), "{text}\nexpected {remark:?}: {entry}");
    }
}

/// A file as an engineering department writes it over ten years.
const FIELD: &str = "\
# Options of the simulation department
#   last changed by jsmith
REPORTLOG +C:\\logs\\acme.rl
DEBUGLOG +\"C:\\Program Files\\acme\\debug.log\"
NOLOG QUEUED

GROUPCASEINSENSITIVE ON
GROUP cfd anna ben \\
          carl dora
GROUP cfd Emil
GROUP interns u0001 \\
  # who left in June
  u0002
HOST_GROUP farm node01 node02 10.20.30.*

RESERVE 2 solver GROUP cfd
RESERVE 2 solver GROUP cfd
RESERVE 10 mesher HOST_GROUP farm
MAX 1 solver GROUP interns   # one is enough
EXCLUDE solver USER carl
INCLUDE solver USER carl
INCLUDE viewer GROUP farm
TIMEOUTALL 7200
TIMEOUT solver 14400
BORROW_LOWWATER viewer 5
MAX_BORROW_HOURS viewer 72
INCLUDE_BORROW viewer USER anna
INCLUDEALLL USER x
";

#[test]
fn a_file_from_the_field_is_accounted_for_line_by_line() {
    let import = imported(FIELD);
    let expected = [
        "reserve solver group cfd: 2 seats",
        "reserve solver group cfd: 2 seats",
        "reserve mesher host_group farm: 10 seats",
        "max solver group interns: 1 seat",
        "exclude solver user carl",
        "include solver user carl",
        "include viewer group farm",
        "timeout_all: after 2h",
        "timeout solver: after 4h",
        "borrow_lowwater viewer: 5 seats",
        "max_borrow viewer: 3d",
        "include_borrow viewer user anna",
    ];
    assert_eq!(rules(&import), expected);
    let fates: Vec<(usize, usize, Fate)> =
        import.report.entries.iter().map(|e| (e.first_line, e.last_line, e.fate)).collect();
    let mut covered = vec![false; FIELD.lines().count() + 1];
    for (first, last, _) in fates {
        (first..=last).for_each(|line| covered[line] = true);
    }
    for (at, text) in (1..).zip(FIELD.lines()) {
        assert_eq!(covered[at], !text.trim().is_empty(), "line {at}: {text}");
    }
    let report = &import.report;
    let counts = [Fate::Carried, Fate::Ignored, Fate::NotCarried, Fate::Comment]
        .map(|fate| report.count(fate));
    assert_eq!(counts, [17, 3, 2, 2], "{report}");
    let policy = PolicyDocument::parse(&import.policy_text).expect("checked").into_policy(1);
    let names: Vec<(&str, usize)> =
        policy.groups.iter().map(|(name, members)| (name.as_str(), members.len())).collect();
    assert_eq!(names, [("cfd", 5), ("farm", 0), ("interns", 1)]);
    // The comment did not end in a backslash: what follows is no member.
    assert!(report.entries.iter().any(|e| e.first_line == 13 && e.fate == Fate::NotCarried));
    let found: Vec<(usize, &str)> =
        report.findings.iter().map(|finding| (finding.line, finding.code)).collect();
    let expected = [
        (12, "doubtful-line"),
        (17, "duplicate"),
        (19, "doubtful-line"),
        (21, "contradiction"),
        (22, "unknown-group"),
        (22, "empty-group"),
        (27, "borrow-without-include"),
    ];
    assert_eq!(found, expected, "{:#?}", report.findings);
    let licensed = [line("solver", 3), line("mesher", 12), line("viewer", 20)];
    let with_rights = import.lint(Some(&licensed));
    let above: Vec<usize> =
        with_rights.iter().filter(|f| f.code == "above-seats").map(|f| f.line).collect();
    assert_eq!(above, [17]);
}

#[test]
fn findings_point_into_the_options_file() {
    let import = imported("GROUP cfd anna\nEXCLUDE f GROUP cdf\n");
    let expected = "\
warning[unknown-group]: no GROUP is called \"cdf\"
 --> acme.opt:2:17
  |
2 | EXCLUDE f GROUP cdf
  |                 ^^^
  = help: did you mean \"cfd\"?
";
    let unknown = import.report.findings.iter().find(|f| f.code == "unknown-group");
    assert_eq!(unknown.expect("found").render("acme.opt"), expected);
}

#[test]
fn the_report_can_be_read() {
    let report = imported("MAX 1 f USER x\nRESERV 1 f USER x\n# end\n").report.to_string();
    let expected = "        1  carried over  MAX 1 f USER x
        2  NOT CARRIED   RESERV 1 f USER x
                         unknown keyword; did you mean RESERVE?
1 carried over, 0 ignored, 1 not carried over; 1 comments
";
    assert_eq!(report, expected);
}

#[test]
fn large_files_are_read_in_time_proportional_to_them_or_refused() {
    let big = |line: &str, count: usize| line.repeat(count);
    let unknown_groups: String =
        (0..9_000).map(|n| format!("GROUP g{n:04} u{n}\nEXCLUDE f GROUP x{n:04}\n")).collect();
    imported(&unknown_groups);
    imported(&big("HOST_GROUP g 10.1.2.3 n1\n", 40_000));
    imported(&big("EXCLUDE f USER x\n", 20_000));
    imported(&format!("GROUP g {}", big("x ", 500_000)));
    imported(&big("x\\\n", 300_000));
    imported(&format!("EXCLUDE f:VERSION={} USER x", big(":", 1_000_000)));
    assert!(import_options(&vec![b'x'; FOREIGN_BYTES_MAX + 1]).is_err());
    assert!(import_options(big("x\n", FOREIGN_LINES_MAX + 1).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let import = import_options(&bytes).expect("within the bounds");
        prop_assert!(PolicyDocument::parse(&import.policy_text).is_ok(), "{}", import.policy_text);
        prop_assert!(!import.report.to_string().contains(|c: char| c.is_control() && c != '\n'));
    }

    #[test]
    fn any_words_are_answered(
        words in prop::collection::vec(prop::sample::select(vec![
            "INCLUDE", "EXCLUDEALL", "MAX", "RESERVE", "GROUP", "HOST_GROUP", "TIMEOUT", "LINGER",
            "USER", "HOST", "INTERNET", "PROJECT", "f", "g", "g", "f:VERSION=1", "f:EXPDATE=0", "1",
            "99999999999", "10.1.*.*", "\"a b\"", "\"", "\\", "\\\n", "\n", "\n", "\r\n", "#", "x*",
            "\u{1b}[2J", "\u{202e}", "é", "\u{feff}", "GROUPCASEINSENSITIVE ON\n",
        ]), 0..60),
    ) {
        let text = words.join(" ");
        let import = import_options(text.as_bytes()).expect("within the bounds");
        prop_assert!(PolicyDocument::parse(&import.policy_text).is_ok(), "{}", import.policy_text);
        let _ = import.lint(Some(&[line("f", 1)]));
        for finding in &import.report.findings {
            prop_assert!(finding.render("f").contains('^'));
        }
    }
}
