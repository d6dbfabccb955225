//! The counting examples of docs/reference/rules. Each is a conversation with a
//! ledger of its own, and the page shows what that ledger says.

use std::fs;
use std::path::Path;

use crate::conversation::Conversation;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rules");
const SUMMARY: &str = include_str!("../../../../docs/SUMMARY.md");
const INDEX: &str = include_str!("../../../../docs/reference/rules/README.md");
const ERRORS: &str = include_str!("../../../../docs/reference/errors.md");
const FENCE: &str = "```golden\n";

/// File names with their text, in order.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(PAGES).expect("the folder of the pages");
    let mut pages: Vec<(String, String)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            assert!(name.ends_with(".md"), "{name} in docs/reference/rules is no page");
            let text = fs::read_to_string(&path).expect("a page is text");
            (name, text)
        })
        .collect();
    pages.sort();
    pages
}

/// The page with what the ledger says today, and how many examples it has.
fn answered(page: &str) -> Result<(String, usize), String> {
    let (mut text, mut count) = (String::with_capacity(page.len()), 0);
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(FENCE) {
        let above = &page[..page.len() - after.len()];
        let line = above.lines().count();
        let end = after.find("```\n").ok_or_else(|| format!("line {line}: an open fence"))?;
        let said = goldenscript::generate(&mut Conversation::default(), &after[..end])
            .map_err(|error| format!("the example at line {line}: {error}"))?;
        text = [&text, before, FENCE, &said].concat();
        rest = &after[end..];
        count += 1;
    }
    Ok((text + rest, count))
}

/// The first line that is not what it should be.
fn difference(page: &str, answered: &str) -> Option<String> {
    let (shown, said) = (page.lines().chain([""]), answered.lines().chain([""]));
    let mut lines = (1..).zip(shown.zip(said));
    let (number, (shown, said)) = lines.find(|(_, (shown, said))| shown != said)?;
    Some(format!("line {number} shows\n    {shown}\nand the ledger says\n    {said}"))
}

#[test]
fn the_pages_show_what_the_ledger_says() {
    let rewrite = std::env::var("UPDATE_GOLDENFILES").is_ok_and(|value| value == "1");
    let mut findings = Vec::new();
    for (name, page) in pages() {
        match answered(&page) {
            Err(error) => findings.push(format!("{name}, {error}")),
            Ok((_, 0)) => findings.push(format!("{name} has no example")),
            Ok((today, _)) if rewrite => {
                fs::write(Path::new(PAGES).join(&name), today).expect("a page can be written");
            }
            Ok((today, _)) => {
                findings.extend(difference(&page, &today).map(|what| format!("{name}, {what}")));
            }
        }
    }
    let remedy = "UPDATE_GOLDENFILES=1 writes what is said now; read it before it is committed";
    assert!(findings.is_empty(), "{}\n{remedy}", findings.join("\n"));
}

#[test]
fn every_page_is_in_the_index_and_in_the_book() {
    for (name, _) in pages() {
        let in_book = SUMMARY.contains(&format!("(reference/rules/{name})"));
        assert!(in_book, "docs/SUMMARY.md has no link to reference/rules/{name}");
        let row =
            INDEX.lines().any(|line| line.starts_with('|') && line.contains(&format!("({name})")));
        assert!(row || name == "README.md", "the table of README.md has no row for {name}");
    }
}

#[test]
fn links_from_page_to_page_lead_somewhere() {
    let mut count = 0;
    for (name, page) in pages() {
        for rest in page.split("](").skip(1) {
            let target = rest.split([')', '#']).next().expect("the first part");
            let leads = target.is_empty() || Path::new(PAGES).join(target).is_file();
            assert!(leads, "{name} links to {target}, which is no file");
            count += 1;
        }
    }
    assert!(count > 0, "no page links to another");
}

/// What a denied user is told: `TRD-2001 LICENSES_EXHAUSTED` is an entry of the
/// errors page.
#[test]
fn the_codes_on_the_pages_are_those_of_the_errors() {
    let mut count = 0;
    for (name, page) in pages() {
        for rest in page.split("`TRD-").skip(1) {
            let code = rest.split('`').next().expect("the first part");
            let entry = format!("### TRD-{code}\n");
            assert!(ERRORS.contains(&entry), "{name}: errors.md has no entry TRD-{code}");
            count += 1;
        }
    }
    assert!(count > 0, "no page says what a denied user is told");
}

#[test]
fn a_wrong_answer_is_found_and_put_right() {
    let page = "# Pools\n\n```golden\nlicense acme cad=1\n---\nrefused\n```\n\nThe end.\n";
    let (today, count) = answered(page).expect("good examples");
    assert_eq!((today.as_str(), count), (page.replace("refused", "in force").as_str(), 1));
    let found = difference(page, &today).expect("one line differs");
    assert_eq!(found, "line 6 shows\n    refused\nand the ledger says\n    in force");
    assert_eq!(difference(&today, &today), None);
    assert_eq!(answered("# Nothing\n").expect("nothing is wrong").1, 0);
    let open = answered("```golden\nlicense acme cad=1\n---\n").expect_err("it is not closed");
    assert_eq!(open, "line 1: an open fence");
}

#[test]
fn each_example_has_a_ledger_of_its_own() {
    let one =
        "```golden\n1: checkout cad\n---\n1: denied: cad: no license names this feature\n```\n";
    let page = format!("```golden\nlicense acme cad=1\n---\nin force\n```\n{one}");
    assert_eq!(answered(&page), Ok((page, 2)));
}
