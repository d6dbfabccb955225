//! Any bytes as a foreign license file: what is said to be good for signing is signed and read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::publisher;
use triad_license::{convert_license, issue, show};

fuzz_target!(|bytes: &[u8]| {
    let conversion = match convert_license(bytes) {
        Ok(conversion) => conversion,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let _ = conversion.report.to_string();
    let issued = issue(&conversion.terms, &[&publisher()]);
    match (&conversion.problem, issued) {
        (None, Ok(document)) => {
            show(&document).expect("what was issued can be shown");
        }
        (None, Err(error)) => panic!("no problem, and still: {error}\n{}", conversion.terms),
        (Some(problem), Ok(_)) => panic!("signed in spite of: {problem}\n{}", conversion.terms),
        (Some(problem), Err(_)) => assert!(!problem.to_string().is_empty()),
    }
});
