//! What public documentation says that rules decide, statement by statement:
//! the options file is imported, put in force, and asked.
//!
//! The sources are pages of the FlexNet Publisher License Administration Guide
//! ("guide", by their titles) and guides of publishers who ship it. The words
//! are ours.

use std::num::NonZeroU32;

use triad_ledger::names::{
    CheckoutId, FeatureName, Label, LicenseId, RequestId, Seats, SessionId, Version,
};
use triad_ledger::rights::{License, Line, TokenCost};
use triad_ledger::{At, Command, Denial, Holder, Item, Ledger, Outcome, Pool};
use triad_license::*;

use crate::policy::line;

const HOUR_MS: u64 = 60 * 60 * 1_000;

struct Site {
    ledger: Ledger,
    index: u64,
    now_ms: u64,
}

impl Site {
    fn under(options: &str, lines: Vec<Line>) -> Site {
        let import = import_options(options.as_bytes()).expect("small");
        let document = PolicyDocument::parse(&import.policy_text).expect("an import has no errors");
        let mut site = Site { ledger: Ledger::default(), index: 0, now_ms: 0 };
        let license = License {
            id: LicenseId::parse("acme").expect("good"),
            publisher: Label::parse("Acme").expect("good"),
            serial: 1,
            text: "the text".to_owned(),
            lines,
        };
        site.apply(&Command::Install { license }).expect("a good license");
        site.apply(&Command::SetPolicy { policy: document.into_policy(1) }).expect("a policy");
        site
    }

    fn apply(&mut self, command: &Command) -> Result<Outcome, Denial> {
        self.index += 1;
        let at = At { index: self.index, term: 1, cluster_ms: self.now_ms, date_ms: self.now_ms };
        self.ledger.apply(at, command)
    }

    /// `user@host/address+project`, of which all but the user may be missing.
    fn opens(&mut self, who: &str) -> SessionId {
        let (who, project) = who.split_once('+').unwrap_or((who, ""));
        let (who, address) = who.split_once('/').unwrap_or((who, "10.9.9.9"));
        let (user, host) = who.split_once('@').unwrap_or((who, "n9"));
        let label = |text: &str| Label::parse(text).expect(text);
        let holder = Holder {
            user: label(user),
            host: label(host),
            project: label(project),
            address: Some(address.parse().expect(address)),
            ..Holder::default()
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.index.to_be_bytes());
        let session = SessionId(id);
        self.apply(&Command::Open { session, holder, lease_ms: 30_000, resume: false })
            .expect("sessions are free");
        session
    }

    /// `checkout f`, `checkout 3 f`, `checkout f 2.0`, `borrow 24h f`: the
    /// answer in words.
    fn asks(&mut self, who: &str, what: &str) -> String {
        let session = self.opens(who);
        let words: Vec<&str> = what.split_whitespace().collect();
        let (verb, words) = words.split_first().expect("a verb");
        let (amount, words) = match words {
            [first, rest @ ..] if first.starts_with(|c: char| c.is_ascii_digit()) => (*first, rest),
            words => ("1", words),
        };
        let item = |seats: &str| Item {
            feature: FeatureName::parse(words[0]).expect(what),
            version: Version::parse(words.get(1).unwrap_or(&"0")).expect(what),
            seats: NonZeroU32::new(seats.parse().expect(what)).expect(what),
        };
        let (request, answered_through) = (RequestId(1), RequestId(0));
        let command = match (*verb, amount.strip_suffix('h')) {
            ("borrow", Some(hours)) => {
                let until_ms = self.now_ms + hours.parse::<u64>().expect(what) * HOUR_MS;
                let items = vec![item("1")];
                Command::Borrow { session, request, answered_through, items, until_ms }
            }
            _ => {
                let items = vec![item(amount)];
                Command::Checkout { session, request, answered_through, items, wait: None }
            }
        };
        match self.apply(&command) {
            Ok(_) => "yes".to_owned(),
            Err(denial) => denial.to_string(),
        }
    }
}

/// Who asks for what, and `yes` or a part of the reason.
type Asked = (&'static str, &'static str, &'static str);

fn decides(options: &str, lines: &[Line], asked: &[Asked]) {
    let mut site = Site::under(options, lines.to_vec());
    for (who, what, expected) in asked {
        let answer = site.asks(who, what);
        let fits = if *expected == "yes" { answer == "yes" } else { answer.contains(expected) };
        assert!(fits, "{options}\n{who}: {what}\nexpected {expected:?}, was {answer:?}");
    }
    site.ledger.assert_balanced();
}

fn ten() -> Vec<Line> {
    vec![line("f", 10), line("g", 10)]
}

fn borrowable(feature: &str, seats: u32, hours: u64) -> Line {
    let mut line = line(feature, seats);
    line.terms.borrow_max_ms = Some(hours * HOUR_MS);
    line
}

fn version(feature: &str, version: &str, seats: u32) -> Line {
    Line { version: Version::parse(version).expect(version), ..line(feature, seats) }
}

// Guide, "Rules of Precedence in Options Files".
#[test]
fn the_four_rules_of_include_and_exclude() {
    decides(
        "EXCLUDE f USER anna",
        &ten(),
        &[("anna", "checkout f", "excluded"), ("ben", "checkout f", "yes")],
    );
    decides(
        "INCLUDE f USER anna",
        &ten(),
        &[("anna", "checkout f", "yes"), ("ben", "checkout f", "not included")],
    );
    decides("# neither", &ten(), &[("anna", "checkout f", "yes"), ("ben", "checkout f", "yes")]);
    decides(
        "INCLUDE f USER anna\nINCLUDE f USER ben\nEXCLUDE f USER anna",
        &ten(),
        &[
            ("anna", "checkout f", "excluded"),
            ("ben", "checkout f", "yes"),
            ("carl", "checkout f", "not included"),
        ],
    );
}

// Guide, "EXCLUDE" and "EXCLUDEALL"; Esri and Autodesk repeat it: conflicts are
// resolved by EXCLUDE, whichever of the two is about everything.
#[test]
fn exclude_supersedes_include_in_every_pairing() {
    for options in [
        "INCLUDE f USER anna\nEXCLUDE f USER anna",
        "INCLUDEALL USER anna\nEXCLUDE f USER anna",
        "INCLUDE f USER anna\nEXCLUDEALL USER anna",
        "INCLUDEALL USER anna\nEXCLUDEALL USER anna",
        "EXCLUDEALL HOST n1\nINCLUDE f USER anna",
        "GROUP t anna\nINCLUDE f USER anna\nEXCLUDE f GROUP t",
    ] {
        decides(options, &ten(), &[("anna@n1", "checkout f", "excluded")]);
    }
    decides(
        "INCLUDEALL USER anna\nEXCLUDE f USER anna",
        &ten(),
        &[("anna", "checkout g", "yes"), ("ben", "checkout g", "not included")],
    );
}

// Guide, "INCLUDEALL": the include list is made of all INCLUDEALL and INCLUDE
// lines.
#[test]
fn include_and_includeall_are_one_list() {
    decides(
        "INCLUDEALL USER jane\nINCLUDE f USER bob",
        &ten(),
        &[
            ("jane", "checkout f", "yes"),
            ("jane", "checkout g", "yes"),
            ("bob", "checkout f", "yes"),
            ("bob", "checkout g", "not included"),
            ("carl", "checkout f", "not included"),
            ("carl", "checkout g", "not included"),
        ],
    );
}

// Guide, "Limiting Access for Multiple Users".
#[test]
fn a_group_is_a_short_way_to_write_several_lines() {
    let each = "EXCLUDE f USER bob\nEXCLUDE f USER howard\nEXCLUDE f USER james";
    let group = "GROUP Hackers bob howard james\nEXCLUDE f GROUP Hackers";
    // So some publishers' guides write it; the guide itself asks for one name.
    let list = "EXCLUDE f USER bob howard james";
    for options in [each, group, list] {
        for who in ["bob", "howard", "james"] {
            decides(options, &ten(), &[(who, "checkout f", "excluded")]);
        }
        decides(options, &ten(), &[("lori", "checkout f", "yes")]);
    }
    decides(
        "HOST_GROUP writers fred barney\nEXCLUDE f HOST_GROUP writers",
        &ten(),
        &[("a@fred", "checkout f", "excluded"), ("fred@n1", "checkout f", "yes")],
    );
}

// Guide, "GROUP" and "HOST_GROUP": lines of one name add up, names of groups
// and of their members have a case; USER_GROUP is an alias of GROUP.
#[test]
fn groups_add_up_and_have_a_case() {
    decides(
        "GROUP t anna\nUSER_GROUP t ben\nGROUP T carl\nHOST_GROUP h n1\nHOST_GROUP h n2\n\
         INCLUDE f GROUP t\nINCLUDE f HOST_GROUP h",
        &ten(),
        &[
            ("anna", "checkout f", "yes"),
            ("ben", "checkout f", "yes"),
            ("carl", "checkout f", "not included"),
            ("Anna", "checkout f", "not included"),
            ("x@n2", "checkout f", "yes"),
            ("x@N2", "checkout f", "not included"),
        ],
    );
}

// Guide, "GROUPCASEINSENSITIVE", for the names in groups; AVEVA's and
// Autodesk's guides say it of all names, as it is here. It may stand anywhere.
#[test]
fn case_is_switched_off() {
    for options in [
        "GROUPCASEINSENSITIVE ON\nGROUP t Anna\nHOST_GROUP h N1\nINCLUDE f GROUP t\nINCLUDE f HOST_GROUP h",
        "GROUP t ANNA\nHOST_GROUP h n1\nINCLUDE f GROUP t\nINCLUDE f HOST_GROUP h\nGROUPCASEINSENSITIVE ON",
        "GROUPCASEINSENSITIVE ON\nINCLUDE f USER aNNa\nINCLUDE f HOST N1",
    ] {
        decides(
            options,
            &ten(),
            &[
                ("anna", "checkout f", "yes"),
                ("ANNA", "checkout f", "yes"),
                ("x@n1", "checkout f", "yes"),
                ("x@n2", "checkout f", "not included"),
            ],
        );
    }
    decides(
        "GROUPCASEINSENSITIVE OFF\nGROUP t Anna\nINCLUDE f GROUP t",
        &ten(),
        &[("anna", "checkout f", "not included")],
    );
}

// IBM, "Options file commands": a user in several groups gets the most
// restrictive of EXCLUDE, RESERVE, MAX and INCLUDE.
#[test]
fn of_several_groups_the_most_restrictive_rule_holds() {
    let groups = "GROUP a anna\nGROUP b anna ben\n";
    let under = |rules: &str, asked: &[Asked]| decides(&format!("{groups}{rules}"), &ten(), asked);
    under(
        "INCLUDE f GROUP a\nRESERVE 5 f GROUP a\nEXCLUDE f GROUP b",
        &[("anna", "checkout f", "excluded")],
    );
    under(
        "MAX 1 f GROUP a\nMAX 3 f GROUP b\nINCLUDE f GROUP b",
        &[
            ("anna", "checkout f", "yes"),
            ("anna", "checkout f", "1 of at most 1"),
            ("ben", "checkout 2 f", "yes"),
            ("ben", "checkout f", "3 of at most 3"),
            ("carl", "checkout f", "not included"),
        ],
    );
    under(
        "MAX 3 f GROUP a\nMAX 1 f USER anna",
        &[("anna", "checkout f", "yes"), ("anna", "checkout f", "1 of at most 1")],
    );
}

// Guide, "Simple Options File Example".
#[test]
fn reservations_and_an_exclusion() {
    let options = "RESERVE 1 compile USER robert\nRESERVE 3 compile HOST mainline\n\
                   EXCLUDE compile USER lori\nNOLOG QUEUED\n";
    decides(
        options,
        &[line("compile", 4)],
        &[
            ("joe", "checkout compile", "reserved"),
            ("lori@mainline", "checkout compile", "excluded"),
            ("joe@mainline", "checkout 3 compile", "yes"),
            ("ann@mainline", "checkout compile", "reserved"),
            ("robert", "checkout compile", "yes"),
        ],
    );
    // With fewer seats the first reservations count, up to the seats.
    decides(
        options,
        &[line("compile", 2)],
        &[
            ("robert", "checkout compile", "yes"),
            ("joe@mainline", "checkout compile", "yes"),
            ("ann@mainline", "checkout compile", "denied"),
        ]
        .map(|(who, what, expected)| {
            (who, what, if expected == "denied" { "0 of 2 seats free" } else { expected })
        }),
    );
    decides(
        options,
        &[line("compile", 1)],
        &[("joe@mainline", "checkout compile", "reserved"), ("robert", "checkout compile", "yes")],
    );
}

// Guide, "RESERVE": what is reserved is unavailable to others even while it is
// not used, and each name needs a line of its own. HP's guide says the same.
#[test]
fn a_reservation_is_kept_while_it_is_not_used() {
    decides(
        "RESERVE 2 f USER mel\nRESERVE 3 f USER kim",
        &ten(),
        &[
            ("joe", "checkout 6 f", "reserved"),
            ("joe", "checkout 5 f", "yes"),
            ("mel", "checkout 3 f", "reserved"),
            ("mel", "checkout 2 f", "yes"),
            ("kim", "checkout 3 f", "yes"),
        ],
    );
    let report = import_options(b"RESERVE 2 f USER mel kim").expect("small").report;
    assert_eq!(report.count(Fate::NotCarried), 1, "{report}");
}

// Guide, "MAX": the limit is for the group as a whole; ALL_USERS stands for
// every user, each for himself, and a later line for one user is void; likewise
// ALL_GROUPS for the groups of the file. MOSEK's and AVEVA's guides use it.
#[test]
fn max_for_all_users_and_for_all_groups() {
    decides(
        "MAX 2 f USER ALL_USERS",
        &ten(),
        &[
            ("anna", "checkout 2 f", "yes"),
            ("anna@n2", "checkout f", "2 of at most 2"),
            ("ben", "checkout 2 f", "yes"),
            ("anna", "checkout 9 g", "yes"),
        ],
    );
    decides(
        "MAX 4 f USER jan\nMAX 2 f USER ALL_USERS\nMAX 1 f USER kim",
        &ten(),
        &[
            ("jan", "checkout 4 f", "yes"),
            ("jan", "checkout f", "4 of at most 4"),
            ("kim", "checkout 2 f", "yes"),
            ("kim", "checkout f", "2 of at most 2"),
        ],
    );
    decides(
        "GROUP a anna\nGROUP b ben bert\nMAX 5 f GROUP a\nMAX 2 f GROUP ALL_GROUPS\nMAX 1 f GROUP b",
        &ten(),
        &[
            ("anna", "checkout 5 f", "yes"),
            ("ben", "checkout f", "yes"),
            ("bert", "checkout f", "yes"),
            ("bert", "checkout f", "2 of at most 2"),
            ("carl", "checkout 3 f", "yes"),
        ],
    );
    // It is about the pool that it names, as any other.
    decides(
        "MAX 1 f:VERSION=2.0 USER ALL_USERS",
        &[version("f", "1.0", 5), version("f", "2.0", 5)],
        &[
            ("anna", "checkout f 2.0", "yes"),
            ("anna", "checkout f 2.0", "1 of at most 1"),
            ("anna", "checkout f 1.0", "yes"),
        ],
    );
}

// RESERVE keeps, MAX caps: who has a reservation may not go over his MAX, and
// what is kept above it is kept for nobody.
#[test]
fn max_holds_for_those_with_a_reservation() {
    decides(
        "GROUP t anna ben\nRESERVE 4 f GROUP t\nMAX 2 f GROUP t",
        &ten(),
        &[
            ("anna", "checkout 2 f", "yes"),
            ("ben", "checkout f", "2 of at most 2"),
            ("carl", "checkout 6 f", "yes"),
            ("carl", "checkout f", "reserved"),
        ],
    );
    // A reservation is no invitation.
    decides(
        "RESERVE 4 f USER anna\nINCLUDE f USER ben",
        &ten(),
        &[("anna", "checkout f", "not included"), ("ben", "checkout 7 f", "reserved")],
    );
}

// Guide, "Specifying License Restrictions Using Type", "Capabilities that
// Support IPv6"; Autodesk's guide for the wildcards.
#[test]
fn addresses_may_have_wildcards() {
    let pairs = [
        ("EXCLUDE f INTERNET 192.168.0.*", "a@h/192.168.0.7", "a@h/192.168.1.7"),
        ("EXCLUDE f HOST 192.168.0.7", "a@h/192.168.0.7", "a@h/192.168.0.8"),
        ("EXCLUDE f HOST 192.168.*.*", "a@h/192.168.9.8", "a@h/192.169.0.8"),
        ("EXCLUDE f INTERNET fec0::7", "a@h/fec0::7", "a@h/fec0::8"),
        ("HOST_GROUP h n1 10.1.*.*\nEXCLUDE f HOST_GROUP h", "a@h/10.1.2.3", "a@h/10.2.2.3"),
        ("HOST_GROUP h n1 10.1.*.*\nEXCLUDE f HOST_GROUP h", "a@n1", "a@n2"),
    ];
    for (options, inside, outside) in pairs {
        decides(
            options,
            &ten(),
            &[(inside, "checkout f", "excluded"), (outside, "checkout f", "yes")],
        );
    }
}

// Guide, "Managing the Options File": users are known by PROJECT too. User
// names of Windows carry their domain, others are numbers.
#[test]
fn projects_and_odd_names_of_users() {
    decides(
        "INCLUDE f PROJECT \"Civil Project\"\nINCLUDE f USER ACME\\jdoe\nINCLUDE f USER 4711\n\
         INCLUDE f USER \"Anna B\"",
        &ten(),
        &[
            ("x+Civil Project", "checkout f", "yes"),
            ("x+Civil", "checkout f", "not included"),
            ("ACME\\jdoe", "checkout f", "yes"),
            ("jdoe", "checkout f", "not included"),
            ("4711", "checkout f", "yes"),
            ("Anna B", "checkout f", "yes"),
        ],
    );
}

// Guide, "Specifying Features": one pool by feature:keyword=value, or in quotes
// with a blank.
#[test]
fn a_rule_may_be_about_one_pool() {
    let pools = [version("f", "1.0", 5), version("f", "2.0", 5)];
    for options in ["EXCLUDE f:VERSION=2.0 USER anna", "EXCLUDE \"f VERSION=2.000\" USER anna"] {
        decides(
            options,
            &pools,
            &[("anna", "checkout f 2.0", "excluded"), ("anna", "checkout f 1.0", "yes")],
        );
    }
    // A list of one pool leaves the others open.
    decides(
        "INCLUDE f:VERSION=2.0 USER anna",
        &pools,
        &[
            ("ben", "checkout f 2.0", "not included"),
            ("ben", "checkout f 1.0", "yes"),
            ("anna", "checkout f 2.0", "yes"),
        ],
    );
}

// Guide, "Specifying Features" and "RESERVE": the name of a package is about
// all its components. Of a suite each component takes a seat of the package.
#[test]
fn the_name_of_a_suite_is_about_its_components() {
    let component = |name: &str| {
        let mut line = line(name, 4);
        let (feature, version) = (FeatureName::parse("office").expect("good"), line.version);
        line.terms.consumes = Some(TokenCost { feature, version, tokens: Seats::MIN });
        line
    };
    let suite = || vec![line("office", 4), component("word"), component("calc")];
    decides(
        "EXCLUDE office USER anna",
        &suite(),
        &[("anna", "checkout word", "excluded"), ("ben", "checkout calc", "yes")],
    );
    decides(
        "INCLUDE office USER anna",
        &suite(),
        &[("anna", "checkout word", "yes"), ("ben", "checkout calc", "not included")],
    );
    decides(
        "MAX 2 office USER anna",
        &suite(),
        &[
            ("anna", "checkout word", "yes"),
            ("anna", "checkout calc", "yes"),
            ("anna", "checkout word", "2 of at most 2"),
        ],
    );
    decides(
        "RESERVE 3 office USER anna",
        &suite(),
        &[
            ("ben", "checkout word", "yes"),
            ("ben", "checkout calc", "reserved"),
            ("anna", "checkout 3 calc", "yes"),
        ],
    );
}

// Guide, "EXCLUDE_BORROW" and "INCLUDE_BORROW": about borrowing only; to be
// kept out counts more.
#[test]
fn borrowing_has_lists_of_its_own() {
    let lines = [borrowable("f", 10, 168)];
    decides(
        "INCLUDE_BORROW f USER anna\nINCLUDE_BORROW f USER ben\nEXCLUDE_BORROW f USER ben",
        &lines,
        &[
            ("anna", "borrow 24h f", "yes"),
            ("ben", "borrow 24h f", "borrow"),
            ("carl", "borrow 24h f", "borrow"),
            ("ben", "checkout f", "yes"),
            ("carl", "checkout f", "yes"),
        ],
    );
    decides(
        "EXCLUDE_BORROW f INTERNET 192.168.0.*",
        &lines,
        &[
            ("a@h/192.168.0.9", "borrow 24h f", "borrow"),
            ("a@h/192.168.1.9", "borrow 24h f", "yes"),
        ],
    );
}

// Guide, "BORROW_LOWWATER": of ten seats with 3 kept, seven can be borrowed.
// AVEVA's guide writes `* *` for everybody.
#[test]
fn some_seats_are_never_borrowed() {
    for options in ["BORROW_LOWWATER f 3", "BORROW_LOWWATER f * * 3"] {
        let mut asked = vec![("anna", "borrow 24h f", "yes"); 7];
        asked.push(("anna", "borrow 24h f", "borrow"));
        asked.push(("anna", "checkout 3 f", "yes"));
        decides(options, &[borrowable("f", 10, 168)], &asked);
    }
}

// Guide, "MAX_BORROW_HOURS": the last one counts, and only below the license's.
#[test]
fn the_last_bound_on_borrowing_counts() {
    let lines = [borrowable("f", 10, 100)];
    decides(
        "MAX_BORROW_HOURS f 24\nMAX_BORROW_HOURS f 48",
        &lines,
        &[("anna", "borrow 48h f", "yes"), ("anna", "borrow 49h f", "borrow")],
    );
    decides(
        "MAX_BORROW_HOURS f 400",
        &lines,
        &[("anna", "borrow 100h f", "yes"), ("anna", "borrow 101h f", "borrow")],
    );
}

// Guide, "MAX_OVERDRAFT": below what the license allows.
#[test]
fn overdraft_is_lowered() {
    let lines = || [Line { overdraft: 3, ..line("f", 2) }];
    decides(
        "MAX_OVERDRAFT f 1",
        &lines(),
        &[("anna", "checkout 3 f", "yes"), ("anna", "checkout f", "0 of 3")],
    );
    decides("MAX_OVERDRAFT f 9", &lines(), &[("anna", "checkout 5 f", "yes")]);
}

// Guide, "Optional Publisher-Defined Keywords": users of USER_BASED lines must
// be in INCLUDE statements, and are as many as the line says.
#[test]
fn user_based_lines_take_their_names_from_include() {
    let mut named = line("f", 10);
    named.terms.users_max = Seats::new(2);
    let lines = [named];
    decides("# nobody", &lines, &[("anna", "checkout f", "nam")]);
    decides(
        "GROUP t anna\nINCLUDE f:VERSION=2026.1 GROUP t\nINCLUDE f:VERSION=2026.1 USER ben\n\
         INCLUDE f:VERSION=2026.1 USER carl",
        &lines,
        &[
            ("anna", "checkout f", "yes"),
            ("ben", "checkout f", "yes"),
            ("carl", "checkout f", "nam"),
        ],
    );
    decides("INCLUDEALL USER anna", &lines, &[("anna", "checkout f", "nam")]);
}

// Guide, "TIMEOUT" and "TIMEOUTALL": the one of a feature counts for it.
#[test]
fn an_idle_seat_is_taken_back() {
    let options = "TIMEOUTALL 7200\nTIMEOUT f 3600";
    let lines = vec![line("f", 1), line("g", 1)];
    let mut site = Site::under(options, lines);
    let session = site.opens("anna");
    let mut held = Vec::new();
    for (request, feature) in (1..).zip(["f", "g"]) {
        let (version, seats) = (Version::default(), Seats::MIN);
        let feature = FeatureName::parse(feature).expect("good");
        let items = vec![Item { feature, version, seats }];
        let (request, answered_through) = (RequestId(request), RequestId(0));
        let checkout = Command::Checkout { session, request, answered_through, items, wait: None };
        let Ok(Outcome::Granted(grant)) = site.apply(&checkout) else { panic!("it is free") };
        held.push(grant.checkout);
    }
    assert_eq!(held, [CheckoutId(1), CheckoutId(2)]);
    site.apply(&Command::Idle { session, since_ms: Some(0) }).expect("it is open");
    for (hours, free) in [(0, [false, false]), (1, [true, false]), (2, [true, true])] {
        site.now_ms = hours * HOUR_MS;
        site.apply(&Command::Tick).expect("time passes");
        for (feature, free) in ["f", "g"].into_iter().zip(free) {
            let of_feature = |pool: &Pool| pool.key.feature.as_str() == feature;
            let (_, pool) = site.ledger.pools().find(|(_, pool)| of_feature(pool)).expect("a pool");
            assert_eq!(pool.free() == 1, free, "{feature} after {hours} hours");
        }
    }
}

// Guide, "FQDN_MATCHING": exact is the default, and then a short name and a
// whole one do not match.
#[test]
fn hosts_are_compared_by_their_whole_names() {
    for options in ["INCLUDE f HOST myhost", "INCLUDE f HOST myhost\nFQDN_MATCHING exact"] {
        decides(
            options,
            &ten(),
            &[
                ("a@myhost", "checkout f", "yes"),
                ("a@myhost.abc.com", "checkout f", "not included"),
            ],
        );
    }
    decides(
        "INCLUDE f HOST myhost.abc.com",
        &ten(),
        &[("a@myhost", "checkout f", "not included"), ("a@myhost.abc.com", "checkout f", "yes")],
    );
}

// A vendor's knowledge base tells of RESERVE 2 for a feature with two pools that
// it keeps 2 in each. Here it keeps 2: a rule for each pool says the other thing.
#[test]
fn a_reservation_is_laid_once_on_all_pools() {
    let pools = [version("f", "1.0", 4), version("f", "2.9", 4)];
    decides(
        "RESERVE 2 f USER anna",
        &pools,
        &[
            ("ben", "checkout 4 f", "yes"),
            ("ben", "checkout 2 f", "yes"),
            ("ben", "checkout f", "reserved"),
        ],
    );
    decides(
        "RESERVE 2 f:VERSION=1.0 USER anna\nRESERVE 2 f:VERSION=2.9 USER anna",
        &pools,
        &[
            ("ben", "checkout 3 f", "reserved"),
            ("ben", "checkout 2 f", "yes"),
            ("ben", "checkout 2 f", "yes"),
            ("ben", "checkout f", "reserved"),
        ],
    );
}
