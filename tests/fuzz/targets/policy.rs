//! Any text as a policy: what is read is written and read again as the same, and may be put in
//! force.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::ledgers::Watched;
use triad_fuzz::meaning;
use triad_ledger::names::FeatureName;
use triad_ledger::rights::{About, Line, Terms};
use triad_ledger::{At, Command, decode_commands, encode_commands};
use triad_license::{PolicyDocument, diff_policies, render_policy, rule_in_words};

fuzz_target!(|text: &str| {
    let document = match PolicyDocument::parse(text) {
        Ok(document) => document,
        Err(findings) => {
            assert!(!findings.is_empty(), "refused without a reason");
            return findings.iter().for_each(|finding| drop(finding.render("policy.toml")));
        }
    };
    let lines: Vec<Line> = ["solver", "mesher"].map(line).into();
    for findings in [document.lint(None), document.lint(Some(&lines))] {
        findings.iter().for_each(|finding| drop(finding.render("policy.toml")));
    }
    let policy = document.policy();
    policy.rules.iter().for_each(|rule| drop(rule_in_words(rule)));
    let rendered = render_policy(policy);
    let again = PolicyDocument::parse(&rendered)
        .unwrap_or_else(|findings| panic!("{}\n{rendered}", findings[0]));
    assert_eq!(meaning(again.policy()), meaning(policy), "{rendered}");
    assert_eq!(diff_policies(policy, again.policy()), Vec::<String>::new(), "{rendered}");
    assert_eq!(render_policy(again.policy()), rendered);

    let command = Command::SetPolicy { policy: document.into_policy(1) };
    let bytes = encode_commands(std::slice::from_ref(&command));
    assert_eq!(decode_commands(&bytes).as_deref(), Ok(std::slice::from_ref(&command)));
    let mut watched = Watched::default();
    watched.ledger.apply(At::default(), &command).expect("the first policy is the newest");
    watched.check();
    watched.check_records();
});

fn line(feature: &str) -> Line {
    Line {
        feature: FeatureName::parse(feature).expect("a name"),
        version: Default::default(),
        seats: 4,
        overdraft: 0,
        starts_ms: None,
        expires_ms: None,
        vendor_string: Default::default(),
        terms: Terms::default(),
        about: About::default(),
    }
}
