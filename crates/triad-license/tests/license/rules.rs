//! The documents on the pages of docs/reference/rules: each can be signed or
//! applied, and the FlexNet form beside it means the same.

use std::fs;

use triad_license::*;

use crate::*;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rules");

/// A fenced block: what is written behind its fence, and what stands in it.
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut parts = page.split("```");
    let mut blocks = Vec::new();
    // Text and blocks take turns; what is behind the fence is the first line.
    while let (Some(_), Some(block)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').expect("a block has lines");
        blocks.push(Block { language: language.to_owned(), text: text.to_owned() });
    }
    blocks
}

fn pages() -> Vec<(String, Vec<Block>)> {
    let entries = fs::read_dir(PAGES).expect("the folder of the pages");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, blocks(&fs::read_to_string(&path).expect("a page is text")))
    };
    let mut pages: Vec<_> = paths.map(read).collect();
    pages.sort_by(|(one, _), (other, _)| one.cmp(other));
    pages
}

/// What a block was last, for the block that says the same in another form.
#[derive(Default)]
struct Said {
    license: Option<Summary>,
    policy: Option<PolicyDocument>,
}

impl Said {
    /// What is wrong with the block.
    fn next(&mut self, block: &Block) -> Result<(), String> {
        let text = &block.text;
        match block.language.as_str() {
            "toml" if text.contains("[[feature]]") => {
                let head = "license = \"a\"\npublisher = \"A\"\nserial = 1\n";
                let terms = format!("{head}{text}\n[binding]\ncluster = \"c\"\n");
                self.license = Some(signed(&terms)?);
                Ok(())
            }
            "toml" => {
                let document = PolicyDocument::parse(text)
                    .map_err(|errors| errors[0].render("policy").to_string())?;
                let doubts = document.lint(None);
                self.policy = Some(document);
                match doubts.first() {
                    Some(doubt) => Err(doubt.render("policy").to_string()),
                    None => Ok(()),
                }
            }
            "options" => {
                let written = self.policy.as_ref().ok_or("there is no policy above it")?;
                let import = import_options(text.as_bytes()).map_err(|error| error.to_string())?;
                if import.report.count(Fate::Carried) != import.report.entries.len() {
                    return Err(import.report.to_string());
                }
                let imported = PolicyDocument::parse(&import.policy_text)
                    .map_err(|errors| errors[0].render("import").to_string())?;
                same(diff_policies(written.policy(), imported.policy()))
            }
            "license" => {
                let written = self.license.as_ref().ok_or("there is no license above it")?;
                let conversion =
                    convert_license(text.as_bytes()).map_err(|error| error.to_string())?;
                let report = &conversion.report;
                if report.count(Fate::Carried) != report.entries.len() {
                    return Err(report.to_string());
                }
                let converted = signed(&conversion.terms)?;
                let converted = Summary { features: converted.features, ..written.clone() };
                same(diff_licenses(written, &converted))
            }
            "text" if text.starts_with("FEATURE ") => {
                let shown = self.license.as_ref().ok_or("there is no license above it")?;
                let shown = shown.to_string();
                match shown.contains(text.as_str()) {
                    true => Ok(()),
                    false => Err(format!("it should be\n{shown}")),
                }
            }
            // The ledger's tests run these.
            "golden" => Ok(()),
            other => Err(format!("nobody looks at blocks marked {other:?}")),
        }
    }
}

fn signed(terms: &str) -> Result<Summary, String> {
    let document = issue(terms, &[&key(1)]).map_err(|error| format!("{error}\n{terms}"))?;
    show(&document).map_err(|error| error.to_string())
}

fn same(differences: Vec<String>) -> Result<(), String> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("it means something else than the block above it:\n{}", differences.join("\n")))
}

#[test]
fn the_documents_on_the_pages_are_good_and_mean_the_same() {
    let (mut findings, mut count) = (Vec::new(), 0);
    for (name, blocks) in pages() {
        let mut said = Said::default();
        for block in &blocks {
            count += usize::from(block.language != "golden");
            if let Err(why) = said.next(block) {
                findings.push(format!("{name}, in the block\n{}{why}", block.text));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
    assert!(count > 40, "only {count} blocks were found");
}

#[test]
fn a_block_that_says_something_else_is_found() {
    let page = "```toml\n[[max]]\nfeature = \"f\"\nuser = \"u\"\nseats = 2\n```\n";
    let told = |more: &str| {
        let mut said = Said::default();
        let all = format!("{page}{more}");
        let answers: Result<Vec<()>, String> =
            blocks(&all).iter().map(|block| said.next(block)).collect();
        answers.map(|answers| answers.len())
    };
    assert_eq!(told(""), Ok(1));
    assert_eq!(told("```options\nMAX 2 f USER u\n```\n"), Ok(2));
    for (wrong, why) in [
        ("```options\nMAX 3 f USER u\n```\n", "means something else"),
        ("```options\nMAXX 2 f USER u\n```\n", "did you mean MAX?"),
        ("```license\nFEATURE f v 1.0 permanent 1\n```\n", "no license above it"),
        ("```toml\n[[max]]\nfeature = \"f\"\n```\n", "missing-key"),
        ("```rust\n```\n", "nobody looks"),
    ] {
        let found = told(wrong).expect_err(wrong);
        assert!(found.contains(why), "{wrong}\nexpected {why:?}: {found}");
    }
}
