//! Any bytes as an options file: the policy that it becomes can be read and has the same rules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::meaning;
use triad_license::{PolicyDocument, import_options};

fuzz_target!(|bytes: &[u8]| {
    let import = match import_options(bytes) {
        Ok(import) => import,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let _ = import.report.to_string();
    import.lint(None).iter().for_each(|finding| drop(finding.render("site.opt")));
    let text = &import.policy_text;
    let document =
        PolicyDocument::parse(text).unwrap_or_else(|findings| panic!("{}\n{text}", findings[0]));
    assert_eq!(meaning(document.policy()), meaning(import.policy()), "{text}");
});
