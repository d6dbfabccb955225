//! The reference page shows what the code does.

use triad_license::*;

use crate::*;

const PAGE: &str = include_str!("../../../../docs/reference/license-format.md");

#[test]
fn the_example_on_the_page_is_what_the_code_issues() {
    let acme = key(7);
    let draft = Draft {
        zone: Some("America/New_York".to_owned()),
        notice: Some("Support: support@acme.example".to_owned()),
        features: vec![
            DraftFeature {
                overdraft: 2,
                start: Some(day("2026-01-01")),
                expires: Some(day("2026-12-31")),
                vendor_string: "tier=gold".to_owned(),
                ..DraftFeature::new("solver", "2026.1", 40)
            },
            DraftFeature::new("viewer", "2026.1", 5),
        ],
        ..draft()
    };
    let document = issued(&draft, &[&acme]);
    let verified = verify(&document, &trusting(&[&acme]), &site(), at("2026-11-23")).expect("good");
    for shown in [document, verified.summary().to_string(), acme.public().to_string()] {
        assert!(PAGE.contains(&shown), "docs/reference/license-format.md should show:\n{shown}");
    }
}
