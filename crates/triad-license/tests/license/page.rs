//! The reference pages show what the code does.

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

const POLICY_PAGE: &str = include_str!("../../../../docs/reference/policy-format.md");

/// The blocks between fences that are marked as `language`.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let after = page.split(fence.as_str()).skip(1);
    after.map(|rest| &rest[..rest.find("```\n").expect("a closed fence")]).collect()
}

#[test]
fn the_policies_on_the_page_are_good_and_not_doubtful() {
    let blocks = blocks(POLICY_PAGE, "toml");
    assert_eq!(blocks.len(), 2);
    for text in blocks {
        let document = PolicyDocument::parse(text)
            .unwrap_or_else(|errors| panic!("{}", errors[0].render("policy-format.md")));
        assert_eq!(document.lint(None), [], "{text}");
    }
}

#[test]
fn the_import_on_the_page_is_what_the_code_does() {
    let import = import_options(blocks(POLICY_PAGE, "options")[0].as_bytes()).expect("small");
    for shown in [import.report.to_string(), import.policy_text] {
        assert!(POLICY_PAGE.contains(&shown), "policy-format.md should show:\n{shown}");
    }
}

#[test]
fn the_terms_on_the_page_can_be_signed() {
    let head = "license = \"a\"\npublisher = \"A\"\nserial = 1\n[binding]\ncluster = \"c\"\n";
    let granted: Vec<Vec<String>> = blocks(PAGE, "toml")
        .into_iter()
        .map(|text| {
            let document = issue(&format!("{head}{text}"), &[&key(1)]).expect(text);
            let features = show(&document).expect("good").features;
            features.iter().map(|f| format!("{} {} {}", f.name, f.version, f.seats)).collect()
        })
        .collect();
    let expected = [
        vec!["solver 2026.1 40", "tokens 1.0 100", "mesher 2026.1 50"],
        vec!["office 1.0 10", "word 1.0 10", "calc 2.0 30"],
        vec!["viewer 1.0 2", "viewer 2.0 3"],
    ];
    assert_eq!(granted, expected);
}

/// Each table of the page is one that the code reads, with what it takes.
#[test]
fn the_rules_on_the_page_take_what_the_page_says() {
    let rows: Vec<Vec<&str>> = POLICY_PAGE
        .lines()
        .filter(|line| line.starts_with("| `[["))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), 15);
    for row in rows {
        let [table, _, feature, subject, value, _] = row[..] else { panic!("{row:?}") };
        let value = match value.trim_matches('`') {
            "" => "",
            "seats" => "seats = 3\n",
            "level" => "level = 3\n",
            "after" => "after = \"3h\"\n",
            "period" => "period = \"3h\"\n",
            other => panic!("{other:?}"),
        };
        let table = table.trim_matches('`');
        for (has_feature, has_subject, has_value) in
            (0..8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0))
        {
            let mut text = format!("{table}\n");
            text += if has_feature { "feature = \"f\"\n" } else { "" };
            text += if has_subject { "user = \"u\"\n" } else { "" };
            text += if has_value { value } else { "" };
            let good = has_subject != subject.is_empty()
                && (has_value || value.is_empty())
                && match feature {
                    "required" => has_feature,
                    "optional" => true,
                    _ => !has_feature,
                };
            assert_eq!(PolicyDocument::parse(&text).is_ok(), good, "{text}");
        }
    }
}
