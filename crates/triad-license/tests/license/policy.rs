//! What administrators may write into a policy, what it means, and what they
//! are told about the rest.

use proptest::prelude::*;
use triad_ledger::names::{FeatureName, Label, Seats, Version};
use triad_ledger::policy::{
    FeatureSelector, GroupName, HostMembers, Network, Policy, Rule, RuleId, RuleKind, Subject,
};
use triad_ledger::rights::{About, Line, Terms};
use triad_license::*;

const HOUR_MS: u64 = 60 * 60 * 1_000;

fn parsed(text: &str) -> PolicyDocument {
    PolicyDocument::parse(text).unwrap_or_else(|errors| panic!("{}\n{text}", errors[0]))
}

fn refused(text: &str) -> Vec<Diagnostic> {
    PolicyDocument::parse(text).expect_err(text)
}

pub(crate) fn line(feature: &str, seats: u32) -> Line {
    Line {
        feature: FeatureName::parse(feature).expect("good"),
        version: Version::parse("2026.1").expect("good"),
        seats,
        overdraft: 0,
        starts_ms: None,
        expires_ms: None,
        vendor_string: Label::default(),
        terms: Terms::default(),
        about: About::default(),
    }
}

fn label(text: &str) -> Label {
    Label::parse(text).expect("good")
}

fn group(text: &str) -> GroupName {
    GroupName::parse(text).expect("good")
}

const GROUPS: &str =
    "[groups]\ncfd = [\"anna\", \"ben\"]\n[host_groups]\nlab = [\"n1\", \"10.1.0.0/16\"]\n";

#[test]
fn each_table_is_its_rule() {
    let solver = || Some(FeatureSelector::all_of(FeatureName::parse("solver").expect("good")));
    let pool = Some(FeatureSelector {
        version: Some(Version::parse("2026.1").expect("good")),
        vendor_string: Some(label("tier=gold")),
        expires_ms: Some(crate::at("2027-01-01")),
        hostid: Some(label("HOSTNAME:n1")),
        ..solver().expect("good")
    });
    let anna = || Subject::User(label("anna"));
    let anyone = Subject::Anyone;
    let seats = |n| Seats::new(n).expect("good");
    let f = "feature = \"solver\"\n";
    let table: Vec<(String, Option<FeatureSelector>, Subject, RuleKind)> = vec![
        (format!("[[include]]\n{f}user = \"anna\""), solver(), anna(), RuleKind::Include),
        (
            format!("[[exclude]]\n{f}host = \"n1\""),
            solver(),
            Subject::Host(label("n1")),
            RuleKind::Exclude,
        ),
        (
            "[[include_all]]\ngroup = \"cfd\"".to_owned(),
            None,
            Subject::Group(group("cfd")),
            RuleKind::IncludeAll,
        ),
        (
            "[[exclude_all]]\ninternet = \"10.1.*.*\"".to_owned(),
            None,
            Subject::Internet(Network::parse("10.1.0.0/16").expect("good")),
            RuleKind::ExcludeAll,
        ),
        (
            format!("[[include_borrow]]\n{f}host_group = \"lab\""),
            solver(),
            Subject::HostGroup(group("lab")),
            RuleKind::IncludeBorrow,
        ),
        (
            "[[exclude_borrow]]\nproject = \"p\"".to_owned(),
            None,
            Subject::Project(label("p")),
            RuleKind::ExcludeBorrow,
        ),
        (
            format!("[[max]]\n{f}display = \":0\"\nseats = 2"),
            solver(),
            Subject::Display(label(":0")),
            RuleKind::Max(2),
        ),
        (
            format!("[[max]]\n{f}each = \"user\"\nseats = 2"),
            solver(),
            Subject::EachUser,
            RuleKind::Max(2),
        ),
        (
            format!(
                "[[reserve]]\n{f}version = \"2026.10\"\nvendor_string = \"tier=gold\"\n\
                 expires = 2026-12-31\nhostid = \"HOSTNAME:n1\"\nuser = \"anna\"\nseats = 3"
            ),
            pool,
            anna(),
            RuleKind::Reserve(seats(3)),
        ),
        (
            format!("[[timeout]]\n{f}after = \"30m\""),
            solver(),
            anyone.clone(),
            RuleKind::IdleTimeoutMs(HOUR_MS / 2),
        ),
        (
            "[[timeout_all]]\nafter = \"4h\"".to_owned(),
            None,
            anyone.clone(),
            RuleKind::IdleTimeoutAllMs(4 * HOUR_MS),
        ),
        (
            format!("[[linger]]\n{f}period = \"90s\""),
            solver(),
            anyone.clone(),
            RuleKind::LingerMs(90_000),
        ),
        (
            format!("[[borrow_lowwater]]\n{f}seats = 4"),
            solver(),
            anyone.clone(),
            RuleKind::BorrowLowwater(4),
        ),
        (
            format!("[[max_borrow]]\n{f}period = \"7d\""),
            solver(),
            anyone.clone(),
            RuleKind::MaxBorrowMs(168 * HOUR_MS),
        ),
        (
            format!("[[max_overdraft]]\n{f}seats = 0"),
            solver(),
            anyone.clone(),
            RuleKind::MaxOverdraft(0),
        ),
        (
            "[[priority]]\ngroup = \"cfd\"\nlevel = 10".to_owned(),
            None,
            Subject::Group(group("cfd")),
            RuleKind::Priority(10),
        ),
        (
            "[lease]\nmin = \"10s\"\nmax = \"5m\"".to_owned(),
            None,
            anyone.clone(),
            RuleKind::LeaseBoundsMs { min: 10_000, max: 300_000 },
        ),
        (
            "[heartbeat]\nmin = \"500ms\"\nmax = \"20s\"".to_owned(),
            None,
            anyone,
            RuleKind::HeartbeatBoundsMs { min: 500, max: 20_000 },
        ),
    ];
    for (text, selector, subject, kind) in table {
        let document = parsed(&format!("{GROUPS}{text}\n"));
        let id = RuleId { number: 1, line: 5 };
        assert_eq!(document.policy().rules, [Rule { id, selector, kind, subject }], "{text}");
    }
}

#[test]
fn groups_case_and_order_are_read() {
    let text = format!(
        "case = \"ignore\"\n{GROUPS}[[max]]\nfeature = \"b\"\nuser = \"x\"\nseats = 1\n\n\
         [[include]]\nfeature = \"a\"\nuser = \"x\"\n[[max]]\nfeature = \"c\"\nuser = \"x\"\nseats = 1\n"
    );
    let policy = parsed(&text).into_policy(7);
    assert!(policy.case_insensitive);
    assert_eq!((policy.version, &policy.text), (7, &text));
    assert_eq!(policy.groups[&group("cfd")], [label("anna"), label("ben")].into());
    let lab = &policy.host_groups[&group("lab")];
    assert_eq!(lab.names, [label("n1")].into());
    assert_eq!(lab.networks, [Network::parse("10.1.0.0/16").expect("good")]);
    let rules: Vec<(u32, u32, String)> = policy
        .rules
        .iter()
        .map(|rule| (rule.id.number, rule.id.line, rule_in_words(rule)))
        .collect();
    let expected = [
        (1, 6, "max b user x: 1 seat".to_owned()),
        (2, 11, "include a user x".to_owned()),
        (3, 14, "max c user x: 1 seat".to_owned()),
    ];
    assert_eq!(rules, expected);
}

#[test]
fn days_of_pools_count_in_the_declared_zone() {
    let rule = "[[max]]\nfeature = \"a\"\nuser = \"x\"\nseats = 1\nexpires = ";
    let ends =
        |text: String| parsed(&text).policy().rules[0].selector.clone().expect("good").expires_ms;
    let berlin = format!("zone = \"Europe/Berlin\"\n{rule}2026-12-31\n");
    assert_eq!(ends(berlin), Some(crate::at("2027-01-01") - HOUR_MS));
    assert_eq!(ends(format!("{rule}2026-12-31\n")), Some(crate::at("2027-01-01")));
    let instant = format!("{rule}2026-12-31T23:00:00Z\n");
    assert_eq!(ends(instant), Some(crate::at("2027-01-01") - HOUR_MS));
}

#[test]
fn mistakes_are_named_by_line_column_and_remedy() {
    let table = [
        ("[[includ]]\nuser = \"a\"", "1:3", "malformed", "did you mean `include`?"),
        ("[[max]]\nfeature = \"a\"\nusr = \"a\"", "3:1", "malformed", "did you mean `user`?"),
        ("[groups]\na = 1", "2:5", "malformed", ""),
        ("[[max]]\ncase = \"ignore\"", "2:1", "malformed", "above the first [table]"),
        ("case = \"no\"", "1:8", "bad-value", "one of the two"),
        ("zone = \"Mars\"", "1:8", "bad-value", "IANA"),
        ("[[max]]\nfeature = \"a\"\nseats = 1", "1:1", "missing-key", "add one of user"),
        ("[[max]]\nfeature = \"a\"\nuser = \"x\"", "1:1", "missing-key", "add seats = 5"),
        ("[[max]]\nuser = \"x\"\nseats = 1", "1:1", "missing-key", "add feature"),
        (
            "[[max]]\nfeature = \"a\"\nuser = \"x\"\nhost = \"y\"\nseats = 1",
            "4:8",
            "two-subjects",
            "a rule for each",
        ),
        (
            "[[reserve]]\nfeature = \"a\"\nuser = \"x\"\nseats = 0",
            "4:9",
            "bad-value",
            "more than 0",
        ),
        (
            "[[max]]\nfeature = \"a\"\nuser = \"x\"\nseats = 4294967296",
            "4:9",
            "bad-value",
            "4294967295",
        ),
        ("[[timeout]]\nfeature = \"a\"\nafter = \"1800\"", "3:9", "bad-value", "such as \"30m\""),
        ("[[timeout]]\nfeature = \"a\"\nperiod = \"1h\"", "3:10", "extra-key", "write `after`"),
        (
            "[[include_all]]\nfeature = \"a\"\nuser = \"x\"",
            "2:11",
            "extra-key",
            "[[include]] for one feature",
        ),
        (
            "[[linger]]\nfeature = \"a\"\nuser = \"x\"\nperiod = \"1m\"",
            "3:8",
            "extra-key",
            "for everybody",
        ),
        ("[[linger]]\nversion = \"1\"\nperiod = \"1m\"", "2:11", "missing-key", "add feature"),
        ("[[include]]\nfeature = \"a\"\neach = \"user\"", "3:8", "extra-key", "one of user"),
        (
            "[[max]]\nfeature = \"a\"\neach = \"host\"\nseats = 1",
            "3:8",
            "bad-value",
            "each = \"user\"",
        ),
        ("[[include]]\nfeature = \"a b\"\nuser = \"x\"", "2:11", "bad-name", "correct it"),
        ("[[include]]\nfeature = \"a\"\nuser = \"\"", "3:8", "bad-name", "correct it"),
        (
            "[[include]]\nfeature = \"a\"\ninternet = \"10.1.2.3/16\"",
            "3:12",
            "bad-name",
            "correct it",
        ),
        ("[host_groups]\nlab = [\"10.0.0.0/99\"]", "2:8", "bad-name", "correct it"),
        (
            "[groups]\ncfd = [\"a\"]\n[[include_all]]\ngroup = \"cdf\"",
            "4:9",
            "unknown-group",
            "did you mean \"cfd\"?",
        ),
        (
            "[groups]\ncfd = [\"a\"]\n[[include_all]]\nhost_group = \"cfd\"",
            "4:14",
            "unknown-group",
            "write group = \"cfd\"",
        ),
        ("[[include_all]]\ngroup = \"cfd\"", "2:9", "unknown-group", "define it under [groups]"),
        ("[lease]\nmin = \"5m\"\nmax = \"10s\"", "2:7", "bad-value", "not more than `max`"),
    ];
    for (text, place, code, help) in table {
        let found = &refused(text)[0];
        assert_eq!(format!("{}:{}", found.line, found.column), place, "{text}\n{found}");
        assert_eq!((found.code, found.severity), (code, Severity::Error), "{text}\n{found}");
        assert!(found.help.contains(help), "{text}\nexpected {help:?}: {found}");
    }
}

#[test]
fn all_mistakes_are_found_at_once_and_drawn() {
    let text = "[groups]\ncfd = [\"anna\"]\n\n[[include]]\nfeature = \"solver\"\ngroup = \"cdf\"\n\n\
                [[max]]\nfeature = \"solver\"\nuser = \"anna\"\nseats = -1\n";
    // A number of the wrong type is the parser's own finding and comes alone.
    assert_eq!(refused(text).len(), 1);
    let text = text.replace("seats = -1", "after = \"1h\"");
    let found = refused(&text);
    assert_eq!(found.len(), 2);
    let expected = "\
error[unknown-group]: no group is called \"cdf\"
 --> policy.toml:6:9
  |
6 | group = \"cdf\"
  |         ^^^^^
  = help: did you mean \"cfd\"?
";
    assert_eq!(found[0].render("policy.toml"), expected);
}

/// Each lint: a policy in which it is found, and one in which it is not.
#[test]
fn lints_find_what_was_not_meant() {
    let f = "feature = \"solver\"\n";
    let rule = |table: &str, rest: &str| format!("[[{table}]]\n{f}{rest}\n");
    let reserve =
        |who: &str, seats: u32| rule("reserve", &format!("user = \"{who}\"\nseats = {seats}"));
    let table = [
        ("empty-group", "[groups]\na = []\n".to_owned(), "group \"a\" is empty"),
        ("unused-group", "[groups]\na = [\"x\"]\n".to_owned(), "no rule names group \"a\""),
        ("member-twice", "[groups]\na = [\"x\", \"x\"]\n".to_owned(), "twice"),
        ("wildcard", rule("exclude", "user = \"guest*\""), "no wildcard"),
        ("wildcard", "[groups]\na = [\"x*\"]\n".to_owned(), "no wildcard"),
        ("blank", rule("exclude", "user = \"guest \""), "a blank"),
        ("address", rule("exclude", "host = \"10.1.2.3\""), "internet = \"10.1.2.3\""),
        ("whole-internet", rule("exclude", "internet = \"0.0.0.0/0\""), "in particular"),
        (
            "case-differs",
            "[groups]\na = [\"Anna\"]\n[[include_all]]\ngroup = \"a\"\n[[max]]\nfeature = \"solver\"\n\
             user = \"anna\"\nseats = 1\n"
                .to_owned(),
            "in nothing but its case",
        ),
        (
            "duplicate",
            rule("include", "user = \"x\"") + &rule("include", "user = \"x\""),
            "stands in line 1",
        ),
        ("duplicate", reserve("x", 1) + &reserve("x", 1), "both are counted"),
        (
            "overruled",
            rule("max", "user = \"x\"\nseats = 1") + &rule("max", "user = \"x\"\nseats = 2"),
            "line 1 says 1 seat, this 2 seats; both hold, so the lower counts",
        ),
        (
            "contradiction",
            rule("include", "user = \"x\"") + &rule("exclude", "user = \"x\""),
            "kept out by line 4 (exclude solver user x)",
        ),
        (
            "contradiction",
            rule("include", "version = \"2026.1\"\nuser = \"x\"")
                + &rule("exclude", "user = \"x\""),
            "kept out by line 5",
        ),
        (
            "contradiction",
            reserve("x", 1) + "[[exclude_all]]\nuser = \"x\"\n",
            "kept out by line 5 (exclude_all user x)",
        ),
        (
            "contradiction",
            rule("include_borrow", "user = \"x\"") + &rule("exclude_borrow", "user = \"x\""),
            "let borrow here",
        ),
        (
            "borrow-without-include",
            rule("include", "user = \"x\"") + &rule("include_borrow", "user = \"y\""),
            "may borrow solver",
        ),
        ("not-licensed", rule("exclude", "user = \"x\"").replace("solver", "slover"), "\"solver\"?"),
        ("not-licensed", rule("exclude", "version = \"2025\"\nuser = \"x\""), "licensed: version"),
        ("above-seats", rule("max", "user = \"x\"\nseats = 11"), "10 seats"),
        ("above-seats", reserve("x", 11), "11 of 10 seats"),
        ("above-seats", reserve("x", 6) + &reserve("y", 5), "11 of 10 seats"),
        (
            "above-seats",
            reserve("x", 6) + &rule("reserve", "version = \"2026.1\"\nuser = \"y\"\nseats = 5"),
            "11 of 10 seats of solver are",
        ),
        ("not-borrowable", rule("borrow_lowwater", "seats = 1"), "be borrowed"),
        (
            "above-seats",
            rule("borrow_lowwater", "seats = 5").replace("solver", "field"),
            "never borrowed",
        ),
        ("no-effect", rule("max_borrow", "period = \"7d\"").replace("solver", "field"), "for 7d"),
        ("no-effect", rule("max_overdraft", "seats = 2").replace("solver", "field"), "overdraft of 2"),
    ];
    let mut field = line("field", 5);
    field.overdraft = 2;
    field.terms.borrow_max_ms = Some(168 * HOUR_MS);
    let licensed = [line("solver", 10), field];
    for (code, text, told) in table {
        let found = parsed(&text).lint(Some(&licensed));
        let found: Vec<_> = found.iter().filter(|finding| finding.code == code).collect();
        assert_eq!(found.len(), 1, "{code}:\n{text}");
        assert!(found[0].to_string().contains(told), "expected {told:?}: {}", found[0]);
        assert_eq!(found[0].severity, Severity::Warning);
    }
    let good = "[groups]\ncfd = [\"x\", \"y\"]\n[[include]]\nfeature = \"field\"\ngroup = \"cfd\"\n\
        [[include_borrow]]\nfeature = \"field\"\nuser = \"x\"\n\
        [[exclude]]\nfeature = \"solver\"\nuser = \"z\"\n\
        [[max]]\nfeature = \"solver\"\ngroup = \"cfd\"\nseats = 10\n\
        [[reserve]]\nfeature = \"solver\"\nuser = \"x\"\nseats = 5\n\
        [[reserve]]\nfeature = \"solver\"\nuser = \"y\"\nseats = 5\n\
        [[borrow_lowwater]]\nfeature = \"field\"\nseats = 4\n\
        [[max_borrow]]\nfeature = \"field\"\nperiod = \"6d\"\n\
        [[max_overdraft]]\nfeature = \"field\"\nseats = 1\n";
    assert_eq!(parsed(good).lint(Some(&licensed)), []);
    assert_eq!(parsed(&good.replace("solver", "unheard-of")).lint(None), []);
}

#[test]
fn findings_and_documents_are_bounded() {
    let rules = "[[exclude]]\nfeature = \"a\"\nuser = \"x*\"\n".repeat(5_000);
    assert_eq!(parsed(&rules).lint(None).len(), DIAGNOSTICS_MAX);
    let rules = "[[exclude]]\nfeature = \"a b\"\nuser = \"x\"\n".repeat(5_000);
    assert_eq!(refused(&rules).len(), DIAGNOSTICS_MAX);
    let rules = "[[exclude_all]]\nuser = \"x\"\n".repeat(10_001);
    assert_eq!(refused(&rules)[0].code, "too-many");
    assert_eq!(refused(&" ".repeat(POLICY_BYTES_MAX + 1))[0].code, "too-large");
    assert_eq!(refused(&format!("a = {}", "[".repeat(500_000)))[0].code, "malformed");
}

#[test]
fn a_diff_reads_like_what_was_changed() {
    let old = format!(
        "{GROUPS}[[include]]\nfeature = \"solver\"\ngroup = \"cfd\"\n\
         [[max]]\nfeature = \"solver\"\nuser = \"anna\"\nseats = 5\n\
         [[timeout_all]]\nafter = \"4h\"\n[lease]\nmin = \"10s\"\nmax = \"1m\"\n"
    );
    let new = "case = \"ignore\"\n[groups]\ncfd = [\"anna\", \"dora\"]\nqa = []\n\
         [[timeout_all]]\nafter = \"4h\"\n\
         [[max]]\nfeature = \"solver\"\nuser = \"anna\"\nseats = 6\n\
         [[reserve]]\nfeature = \"solver\"\nversion = \"2\"\ngroup = \"cfd\"\nseats = 1\n\
         [lease]\nmin = \"10s\"\nmax = \"2m\"\n";
    let (old, new) = (parsed(&old), parsed(new));
    let expected = [
        "~ case: exact -> ignore",
        "~ group cfd: + dora; - ben",
        "+ group qa: (empty)",
        "- host_group lab: 10.1.0.0/16, n1",
        "- include solver group cfd",
        "~ max solver user anna: 5 seats -> 6 seats",
        "~ lease: 10s to 1m -> 10s to 2m",
        "+ reserve solver(version 2.0) group cfd: 1 seat",
    ];
    assert_eq!(diff_policies(old.policy(), new.policy()), expected);
    assert!(diff_policies(new.policy(), new.policy()).is_empty());
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let name = || "[a-zA-Z\"\\\\ä.*# -]{1,9}";
    let labels = prop::collection::btree_set(name().prop_map(|t| label(&t)), 0..5);
    let networks =
        prop::sample::subsequence(vec!["10.1.0.0/16", "10.*.1.*", "::1", "fe80::/10"], 0..3);
    let hosts = (prop::collection::btree_set("[a-z]{1,5}".prop_map(|t| label(&t)), 0..4), networks)
        .prop_map(|(names, networks)| {
            let networks = networks.into_iter().map(|n| Network::parse(n).expect("good")).collect();
            HostMembers { names, networks }
        });
    let groups = prop::collection::btree_map(name().prop_map(|t| group(&t)), labels, 1..4);
    let host_groups = prop::collection::btree_map(name().prop_map(|t| group(&t)), hosts, 1..4);
    let selector = (any::<bool>(), any::<bool>(), prop::option::of(1u64..4_000_000_000_000))
        .prop_map(|(version, vendor, expires_ms)| FeatureSelector {
            version: version.then(|| Version::parse("1.25").expect("good")),
            vendor_string: vendor.then(|| label("a \"b\"")),
            expires_ms,
            ..FeatureSelector::all_of(FeatureName::parse("f").expect("good"))
        });
    let rule = (0usize..18, selector, 0usize..7, name(), 1u32..9, any::<prop::sample::Index>());
    (groups, host_groups, any::<bool>(), prop::collection::vec(rule, 0..12)).prop_map(
        |(groups, host_groups, case_insensitive, rules)| {
            let mut policy = Policy { groups, host_groups, case_insensitive, ..Policy::default() };
            let mut once = std::collections::BTreeSet::new();
            for (kind, selector, subject, name, n, index) in rules {
                let ms = u64::from(n) * 7_500;
                let subject = match subject {
                    0 => Subject::User(label(&name)),
                    1 => Subject::Host(label(&name)),
                    2 => Subject::Display(label(&name)),
                    3 => Subject::Project(label(&name)),
                    4 => Subject::Internet(Network::parse("10.1.2.*").expect("good")),
                    5 => {
                        let at = index.index(policy.groups.len());
                        Subject::Group(policy.groups.keys().nth(at).expect("good").clone())
                    }
                    _ => {
                        let at = index.index(policy.host_groups.len());
                        Subject::HostGroup(policy.host_groups.keys().nth(at).expect("good").clone())
                    }
                };
                let (some, none, anyone) = (Some(selector), None, Subject::Anyone);
                let (selector, subject, kind) = match kind {
                    0 => (some, subject, RuleKind::Include),
                    1 => (some, subject, RuleKind::Exclude),
                    2 => (none, subject, RuleKind::IncludeAll),
                    3 => (none, subject, RuleKind::ExcludeAll),
                    4 => (none, subject, RuleKind::IncludeBorrow),
                    5 => (some, subject, RuleKind::ExcludeBorrow),
                    6 => (some, subject, RuleKind::Max(n)),
                    7 => (some, subject, RuleKind::Reserve(Seats::new(n).expect("good"))),
                    8 => (some, anyone, RuleKind::LingerMs(ms)),
                    9 => (some, anyone, RuleKind::IdleTimeoutMs(ms)),
                    10 => (none, anyone, RuleKind::IdleTimeoutAllMs(ms)),
                    11 => (some, anyone, RuleKind::BorrowLowwater(n)),
                    12 => (none, anyone, RuleKind::MaxBorrowMs(ms)),
                    13 => (some, anyone, RuleKind::MaxOverdraft(n)),
                    14 => (some, subject, RuleKind::Priority(n)),
                    17 => (some, Subject::EachUser, RuleKind::Max(n)),
                    15 => (none, anyone, RuleKind::LeaseBoundsMs { min: ms, max: 2 * ms }),
                    _ => (none, anyone, RuleKind::HeartbeatBoundsMs { min: ms, max: ms }),
                };
                let single = matches!(
                    kind,
                    RuleKind::LeaseBoundsMs { .. } | RuleKind::HeartbeatBoundsMs { .. }
                );
                if single && !once.insert(matches!(kind, RuleKind::LeaseBoundsMs { .. })) {
                    continue;
                }
                let id = RuleId { number: 0, line: 0 };
                policy.rules.push(Rule { id, selector, kind, subject });
            }
            policy
        },
    )
}

proptest! {
    #[test]
    fn what_is_rendered_reads_back(policy in any_policy()) {
        let text = render_policy(&policy);
        let mut read = parsed(&text).into_policy(0);
        for rule in &mut read.rules {
            rule.id = RuleId { number: 0, line: 0 };
        }
        read.text.clear();
        prop_assert_eq!(&read, &policy);
        prop_assert!(diff_policies(&read, &policy).is_empty());
        prop_assert_eq!(render_policy(&read), text);
    }

    #[test]
    fn any_text_is_answered(text in "(\\PC|\n|[\\[\\]\"=.{}#a-z0-9-]){0,300}") {
        if let Err(errors) = PolicyDocument::parse(&text) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.render("f").contains('^'));
            }
        }
    }

    #[test]
    fn any_pieces_of_policies_are_answered(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "[[max]]\n", "[[include]]\n", "[groups]\n", "[lease]\n", "[[timeout_all]]\n", "\n",
            "feature = \"a\"\n", "user = \"x*\"\n", "group = \"g\"\n", "g = [\"x\", \"X\"]\n",
            "seats = 3\n", "seats = -3\n", "after = \"1h\"\n", "min = \"1s\"\n", "max = \"1s\"\n",
            "expires = 2026-12-31\n", "expires = 9999-12-31\n", "version = \"1\"\n", "[", "\u{1b}",
        ]), 0..20),
    ) {
        let text = pieces.concat();
        match PolicyDocument::parse(&text) {
            Ok(document) => {
                let _ = document.lint(Some(&[line("a", 1)]));
                let _ = render_policy(document.policy());
            }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }
}
