//! From an options file to an answer: what the incumbent's documentation says
//! of its rules is what the ledger decides once they are imported.

use std::num::NonZeroU32;

use triad_ledger::names::{FeatureName, Label, LicenseId, RequestId, SessionId, Version};
use triad_ledger::rights::License;
use triad_ledger::{At, Command, Denial, Holder, Item, Ledger, Outcome};
use triad_license::*;

use crate::policy::line;

struct Site {
    ledger: Ledger,
    index: u64,
}

impl Site {
    /// Ten seats of `f` and of `g`, under these options.
    fn under(options: &str) -> Site {
        let import = import_options(options.as_bytes()).expect("small");
        let document = PolicyDocument::parse(&import.policy_text).expect("an import has no errors");
        let mut site = Site { ledger: Ledger::default(), index: 0 };
        let license = License {
            id: LicenseId::parse("acme").expect("good"),
            publisher: Label::parse("Acme").expect("good"),
            serial: 1,
            text: "the text".to_owned(),
            lines: vec![line("f", 10), line("g", 10)],
        };
        assert!(site.apply(&Command::Install { license }).is_ok());
        assert!(site.apply(&Command::SetPolicy { policy: document.into_policy(1) }).is_ok());
        site
    }

    fn apply(&mut self, command: &Command) -> Result<Outcome, Denial> {
        self.index += 1;
        let (index, cluster_ms) = (self.index, self.index);
        self.ledger.apply(At { index, term: 1, cluster_ms, date_ms: cluster_ms }, command)
    }

    /// `user@host/address`, of which all but the user may be missing, asks for
    /// seats of a feature; what is granted is kept.
    fn asks(&mut self, who: &str, feature: &str, seats: u32) -> Result<Outcome, Denial> {
        let (who, address) = who.split_once('/').unwrap_or((who, "10.9.9.9"));
        let (user, host) = who.split_once('@').unwrap_or((who, "n9"));
        let label = |text: &str| Label::parse(text).expect(text);
        let holder = Holder {
            user: label(user),
            host: label(host),
            address: Some(address.parse().expect(address)),
            ..Holder::default()
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.index.to_be_bytes());
        let session = SessionId(id);
        self.apply(&Command::Open { session, holder, lease_ms: 30_000, resume: false })
            .expect("sessions are free");
        let item = Item {
            feature: FeatureName::parse(feature).expect(feature),
            version: Version::default(),
            seats: NonZeroU32::new(seats).expect("at least one"),
        };
        let (request, answered_through) = (RequestId(1), RequestId(0));
        let items = vec![item];
        self.apply(&Command::Checkout { session, request, answered_through, items, wait: None })
    }
}

/// Options, and in their order who asks for how many of what, and whether it is
/// granted.
type Example = (&'static str, &'static [(&'static str, &'static str, u32, bool)]);

const EXAMPLES: &[Example] = &[
    // Neither list: everybody.
    ("# nothing", &[("anna", "f", 1, true)]),
    // Only an EXCLUDE list: all others are allowed.
    (
        "EXCLUDE f USER anna",
        &[("anna", "f", 1, false), ("ben", "f", 1, true), ("anna", "g", 1, true)],
    ),
    // Only an INCLUDE list: only those.
    (
        "INCLUDE f USER anna",
        &[("anna", "f", 1, true), ("ben", "f", 1, false), ("ben", "g", 1, true)],
    ),
    // On both lists: denied.
    (
        "INCLUDE f USER anna\nEXCLUDE f USER anna",
        &[("anna", "f", 1, false), ("ben", "f", 1, false)],
    ),
    (
        "EXCLUDE f HOST n1\nINCLUDE f USER anna",
        &[("anna@n1", "f", 1, false), ("anna@n2", "f", 1, true)],
    ),
    // A group that is let in, without one of it.
    (
        "GROUP team anna ben\nINCLUDE f GROUP team\nEXCLUDE f USER ben",
        &[("anna", "f", 1, true), ("ben", "f", 1, false), ("carl", "f", 1, false)],
    ),
    (
        "EXCLUDEALL USER anna",
        &[("anna", "f", 1, false), ("anna", "g", 1, false), ("ben", "f", 1, true)],
    ),
    ("INCLUDEALL USER anna", &[("anna", "g", 1, true), ("ben", "f", 1, false)]),
    // Names are compared with their case, unless it is switched off.
    ("EXCLUDE f USER anna", &[("Anna", "f", 1, true)]),
    ("GROUPCASEINSENSITIVE ON\nGROUP t anna\nEXCLUDE f GROUP t", &[("Anna", "f", 1, false)]),
    // Hosts, networks, and groups of them.
    (
        "EXCLUDE f INTERNET 10.1.*.*",
        &[("a@h/10.1.2.3", "f", 1, false), ("a@h/10.2.2.3", "f", 1, true)],
    ),
    (
        "HOST_GROUP lab n1 10.1.0.0/16\nINCLUDE f HOST_GROUP lab",
        &[("a@n1", "f", 1, true), ("a@h/10.1.2.3", "f", 1, true), ("a@n2", "f", 1, false)],
    ),
    // MAX counts a group together.
    (
        "GROUP team anna ben\nMAX 3 f GROUP team",
        &[
            ("anna", "f", 2, true),
            ("ben", "f", 2, false),
            ("ben", "f", 1, true),
            ("carl", "f", 5, true),
        ],
    ),
    ("MAX 0 f USER anna", &[("anna", "f", 1, false)]),
    // RESERVE counts as in use for others, and adds up.
    (
        "RESERVE 4 f USER anna",
        &[
            ("ben", "f", 7, false),
            ("ben", "f", 6, true),
            ("carl", "f", 1, false),
            ("anna", "f", 4, true),
        ],
    ),
    (
        "RESERVE 2 f USER anna\nRESERVE 2 f USER anna",
        &[("ben", "f", 7, false), ("ben", "f", 6, true), ("anna", "f", 4, true)],
    ),
    // A reservation lets nobody in whom an EXCLUDE keeps out.
    (
        "RESERVE 4 f USER anna\nEXCLUDE f USER anna",
        &[("anna", "f", 1, false), ("ben", "f", 7, false)],
    ),
    // Who has a reservation may have more than that.
    ("RESERVE 2 f USER anna", &[("anna", "f", 5, true), ("ben", "f", 5, true)]),
    // A rule for one pool leaves the others alone.
    ("EXCLUDE f:VERSION=2025.1 USER anna", &[("anna", "f", 1, true)]),
    ("EXCLUDE f:VERSION=2026.1 USER anna", &[("anna", "f", 1, false)]),
    // A group that is defined nowhere lets nobody in, and keeps nobody out.
    ("INCLUDE f GROUP nobody", &[("anna", "f", 1, false)]),
    ("EXCLUDE f GROUP nobody", &[("anna", "f", 1, true)]),
    // Groups may be defined after they are named, and on several lines.
    (
        "INCLUDE f GROUP t\nGROUP t anna\nGROUP t ben",
        &[("anna", "f", 1, true), ("ben", "f", 1, true)],
    ),
];

#[test]
fn imported_rules_decide_as_they_are_documented() {
    for (options, asked) in EXAMPLES {
        let mut site = Site::under(options);
        for (who, feature, seats, granted) in *asked {
            let answer = site.asks(who, feature, *seats);
            assert_eq!(answer.is_ok(), *granted, "{options}\n{who} {feature} {seats}: {answer:?}");
        }
        site.ledger.assert_balanced();
    }
}
