//! Options files in the shapes of the field, read whole: what of each line is
//! carried over, which rules that makes, and what is doubtful about it.
//!
//! The shapes are those of the guides of many publishers and of the license
//! manager itself; the files and all names in them are ours. After a change that
//! is meant, `UPDATE_GOLDENFILES=1 cargo test` writes the answers anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use triad_license::*;

use crate::policy::line;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/license/options")
}

/// The report, the rules, and the findings by their place.
fn answer(bytes: &[u8]) -> String {
    let import = import_options(bytes).expect("within the bounds");
    let document = PolicyDocument::parse(&import.policy_text)
        .unwrap_or_else(|errors| panic!("{}\n{}", errors[0], import.policy_text));
    let mut text = format!("{}\n", import.report);
    for (name, members) in &document.policy().groups {
        let members: Vec<&str> = members.iter().map(|member| member.as_str()).collect();
        writeln!(text, "group {name}: {}", members.join(", ")).expect("a string takes any text");
    }
    for (name, members) in &document.policy().host_groups {
        let names = members.names.iter().map(ToString::to_string);
        let networks = members.networks.iter().map(ToString::to_string);
        let members: Vec<String> = names.chain(networks).collect();
        writeln!(text, "hosts {name}: {}", members.join(", ")).expect("a string takes any text");
    }
    for rule in &document.policy().rules {
        writeln!(text, "{}", rule_in_words(rule)).expect("a string takes any text");
    }
    text.push('\n');
    for Diagnostic { line, column, code, message, .. } in &import.report.findings {
        writeln!(text, "{line}:{column} {code}: {message}").expect("a string takes any text");
    }
    text
}

#[test]
fn files_of_the_field_are_answered_line_by_line() {
    let mut read = 0;
    for entry in std::fs::read_dir(folder()).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|extension| extension != "opt") {
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
    assert_eq!(read, 11, "of the files in {}", folder().display());
}

/// All that stands in options files, and some of what should not.
const SOUP: &[&str] = &[
    "ACTIVATION_LOWWATER",
    "AUTOMATIC_REREAD",
    "BORROW_LOWWATER",
    "DEBUGLOG",
    "EXCLUDE",
    "EXCLUDEALL",
    "EXCLUDE_BORROW",
    "FQDN_MATCHING",
    "GROUP",
    "GROUPCASEINSENSITIVE",
    "HOST_GROUP",
    "INCLUDE",
    "INCLUDEALL",
    "INCLUDE_BORROW",
    "LINGER",
    "MAX",
    "MAX_BORROW_HOURS",
    "MAX_OVERDRAFT",
    "NOLOG",
    "REPORTLOG",
    "RESERVE",
    "TIMEOUT",
    "TIMEOUTALL",
    "USER_GROUP",
    "USER",
    "HOST",
    "DISPLAY",
    "INTERNET",
    "PROJECT",
    "ALL_USERS",
    "ALL_GROUPS",
    "ON",
    "OFF",
    "exact",
    "lenient",
    "HIDE_USER",
    "f",
    "g",
    "team",
    "team",
    "lab",
    "anna",
    "ACME\\anna",
    "f:VERSION=1.0",
    "f:VENDOR_STRING=",
    "\"f VERSION=1.0\"",
    "f:EXPDATE=31-dec-9999",
    "f:HOSTID=ANY",
    "f:SIGN=1",
    "f:",
    ":",
    "=",
    "0",
    "1",
    "2",
    "4294967295",
    "4294967296",
    "-1",
    "10.1.*.*",
    "10.1.2.3",
    "*.*.*.*",
    "fec0::/16",
    "::",
    "10.0.0.0/33",
    "*",
    ",",
    "\"",
    "\"\"",
    "\"a b\"",
    "#",
    "\\",
    "\\\n",
    "\\ \n",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\u{a0}",
    "\u{feff}",
    "\u{201c}",
    "\u{202e}",
    "\u{1b}[2J",
    "\0",
    "ü",
];

proptest! {
    #[test]
    fn any_soup_of_keywords_is_answered(
        words in prop::collection::vec(prop::sample::select(SOUP), 0..80),
        glued in any::<bool>(),
    ) {
        let text = words.join(if glued { "" } else { " " });
        let import = import_options(text.as_bytes()).expect("within the bounds");
        let document = PolicyDocument::parse(&import.policy_text);
        prop_assert!(document.is_ok(), "{text:?}\n{}", import.policy_text);
        let document = document.expect("just seen");
        let carried = import.report.entries.iter().filter(|e| e.fate == Fate::Carried).count();
        prop_assert!(document.policy().rules.is_empty() || carried > 0);
        prop_assert!(!import.report.to_string().contains(|c: char| c.is_control() && c != '\n'));
        // Every line that is not blank is told of, and none twice.
        let mut last = 0;
        for entry in &import.report.entries {
            prop_assert!(entry.first_line > last && entry.last_line >= entry.first_line);
            last = entry.last_line;
        }
        for finding in import.lint(Some(&[line("f", 1)])) {
            prop_assert!(finding.render("f").contains('^'));
        }
        // What was written is what is read: the rules survive a second writing.
        let again = render_policy(document.policy());
        let again = PolicyDocument::parse(&again).expect("rendered");
        prop_assert_eq!(&again.policy().groups, &document.policy().groups);
        prop_assert_eq!(again.policy().rules.len(), document.policy().rules.len());
    }

    #[test]
    fn any_soup_is_a_license_file_too(
        words in prop::collection::vec(prop::sample::select(LICENSE_SOUP), 0..60),
        glued in any::<bool>(),
    ) {
        let text = words.join(if glued { "" } else { " " });
        let conversion = convert_license(text.as_bytes()).expect("within the bounds");
        prop_assert!(!conversion.report.to_string().contains(|c: char| c.is_control() && c != '\n'));
        let signed = issue(&conversion.terms, &[&crate::key(1)]);
        prop_assert_eq!(signed.err(), conversion.problem, "{}", conversion.terms);
    }
}

const LICENSE_SOUP: &[&str] = &[
    "\nSERVER",
    "\nVENDOR",
    "\nDAEMON",
    "\nUSE_SERVER",
    "\nFEATURE",
    "\nINCREMENT",
    "\nPACKAGE",
    "\nUPGRADE",
    "\nFEATURE f v 1.0 permanent 5",
    "\nINCREMENT f v 2.0 1-jan-0 5",
    "\nPACKAGE f v 1.0 COMPONENTS=\"g h:2:3\"",
    "\nUPGRADE f v 1.0 2.0 31-dec-9999 2",
    "\nSERVER a 001122334455",
    "\nSERVER b 001122334456",
    "\nSERVER c 001122334457",
    "f",
    "v",
    "1.0",
    "2.0",
    "permanent",
    "31-dec-2026",
    "1-jan-27",
    "uncounted",
    "0",
    "5",
    "ANY",
    "DEMO",
    "17007ea8",
    "001122334455",
    "0A1B2C3D4E5F60718293",
    "SIGN=\"1 2",
    "3 4\"",
    "\"vendor string\"",
    "\"\"",
    "BORROW",
    "BORROW=0",
    "LINGER=9",
    "DUP_GROUP=UHDV",
    "SUITE_DUP_GROUP=U",
    "OPTIONS=SUITE",
    "HOSTID=\"001122334455 HOSTNAME=x\"",
    "HOSTID=ANY",
    "HOSTID=",
    "START=1-jan-2026",
    "ISSUED=1-jan-2026",
    "SUPERSEDE",
    "SUPERSEDE=\"f g\"",
    "OVERDRAFT=4294967295",
    "USER_BASED",
    "HOST_BASED=2",
    "VENDOR_STRING=a",
    "NOTICE=\"b c\"",
    "SN=1",
    "ck=12",
    "sort=1",
    "TZ=SERVERTZ",
    "PLATFORMS=\"i86_n\"",
    "COMPONENTS=f",
    "COMPONENTS=\"a:1:0\"",
    "\\\n",
    "\n",
    "\n ",
    "#",
    "\"",
    "=",
    "\u{1b}",
    "\u{202e}",
    "v-f-00737-55296-1825",
];
