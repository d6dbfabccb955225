//! The book: complete, without broken links, and true: its commands are run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use triad_tests::program::repository;
use triad_tests::skip;

use crate::pages::{Block, Page, broken_links, page, pages};
use crate::session;
use crate::tools::{can, command, have};

/// How many blocks of commands are not run by any test, at most: those that need
/// a build of hours, a foreign site or a machine that is not this one. Fewer is
/// better; each says so itself, by `by-hand`.
const BY_HAND_MAX: usize = 53;
/// What a line of a block begins with that people type into a shell.
const COMMANDS: [&str; 17] = [
    "$ ",
    "triad ",
    "triad-office ",
    "sudo ",
    "cargo ",
    "docker ",
    "docker-compose ",
    "export ",
    "bash ",
    "scp ",
    "nft ",
    "firewall-cmd ",
    "grpcurl ",
    "python3 ",
    "kubectl ",
    "ansible-playbook ",
    "systemctl ",
];

#[test]
fn no_link_leads_nowhere() {
    let broken = broken_links(&pages(), |path| repository().join(path).exists());
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}

/// The check before can fail.
#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = |path: &str, text: &str| Page { path: path.into(), text: text.into() };
    let pages = [
        page(
            "docs/a.md",
            "# A\n[b](sub/b.md#the-end) [c](c.md) [a](#no) `[x](y)`\n```\n[z](z)\n```\n",
        ),
        page("docs/sub/b.md", "## The `End`\n[a](../a.md)\n"),
    ];
    let broken = broken_links(&pages, |path| pages.iter().any(|page| page.path == path));
    assert_eq!(broken, ["docs/a.md:2: c.md: no such file", "docs/a.md:2: #no: no such heading"]);
}

#[test]
fn the_summary_names_every_page_once() {
    let summary = page("docs/SUMMARY.md");
    let named: Vec<_> = summary.links().into_iter().map(|(_, link)| link).collect();
    let once: BTreeSet<_> = named.iter().cloned().collect();
    assert_eq!(named.len(), once.len(), "a page is named twice in docs/SUMMARY.md");
    let below = |page: Page| page.path.strip_prefix("docs").map(Path::to_owned).ok();
    let there = pages().into_iter().filter_map(below);
    let there = there.filter(|path| path != Path::new("SUMMARY.md"));
    let there: BTreeSet<_> = there.map(|path| path.to_string_lossy().into_owned()).collect();
    assert_eq!(once, there, "docs/SUMMARY.md is the list of all pages");
}

#[test]
fn mdbook_makes_a_book_without_a_warning() {
    if !have(&["mdbook"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut mdbook = command("mdbook");
    mdbook.arg("build").arg(repository().join("docs")).arg("--dest-dir").arg(folder.path());
    let output = mdbook.env("RUST_LOG", "warn").output().unwrap();
    let (told, said) = crate::tools::both(&output);
    assert!(output.status.success() && !said.contains("WARN"), "{told}{said}");
    let first = std::fs::read_to_string(folder.path().join("tutorial/first-five-minutes.html"));
    assert!(first.unwrap().contains("triad status"));
}

/// A block of commands says whether it is run (`sh`, `console`) or why not.
#[test]
fn every_block_of_commands_says_whether_it_is_run() {
    let mut unmarked = Vec::new();
    let mut by_hand = 0;
    for page in pages() {
        for block in page.blocks() {
            let is_typed = block.text.lines().any(|line| {
                let line = line.trim_start();
                COMMANDS.iter().any(|command| line.starts_with(command))
            });
            let is_shell = matches!(block.language.as_str(), "sh" | "console");
            if is_shell && block.is("by-hand") {
                by_hand += 1;
            } else if is_typed && block.language.is_empty() {
                unmarked.push(format!("{}:{}", page.path.display(), block.line));
            }
        }
    }
    let unmarked = unmarked.join("\n  ");
    assert!(unmarked.is_empty(), "mark these with sh, console or sh,by-hand:\n  {unmarked}");
    assert!(by_hand <= BY_HAND_MAX, "{by_hand} blocks are not run, of {BY_HAND_MAX} at most");
}

/// Every block that can be run by itself is run, a session for each page.
#[test]
fn the_commands_of_the_book_do_what_it_says() {
    if !can(&["unshare", "ip", "bash"]) {
        return;
    }
    let mut failures = Vec::new();
    let mut ran = 0;
    for page in pages() {
        let blocks: Vec<Block> = page.blocks().into_iter().filter(session::runs_alone).collect();
        if blocks.is_empty() {
            continue;
        }
        ran += blocks.len();
        if let Err(failure) = session::run(&page.path, &blocks) {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(ran >= 8, "only {ran} blocks were run");
    if skip::skipped() == 0 {
        eprintln!("{ran} blocks of commands were run");
    }
}

/// Each setting that a program reads has a row in its page, and each row is read.
#[test]
fn every_setting_has_a_row_in_its_page() {
    let node = [
        "crates/triad-server/src/config.rs",
        "crates/triad-server/src/config/log.rs",
        "crates/triad-server/src/office/config.rs",
    ];
    for (sources, page_path) in [
        (&node[..], "docs/reference/configuration.md"),
        (&["crates/triad-office/src/config.rs"][..], "docs/reference/office.md"),
    ] {
        let read = |path: &&str| std::fs::read_to_string(repository().join(path)).unwrap();
        let keys: BTreeSet<_> = sources.iter().flat_map(|path| keys_read(&read(path))).collect();
        assert!(keys.len() > 8, "{page_path}: {keys:?}");
        let text = page(page_path).text;
        let missing: Vec<_> =
            keys.iter().filter(|key| !text.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "{page_path} has no row for {missing:?}");
    }
}

/// The fields of the structures that `serde` fills from a file: those that refuse
/// unknown keys, but for those that hold a table.
fn keys_read(source: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for part in source.split("#[serde(deny_unknown_fields)]").skip(1) {
        let body = part.split_once('{').map_or("", |(_, body)| body);
        let body = body.split("\n}").next().unwrap_or_default();
        for line in body.lines() {
            let line = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            let Some((name, kind)) = line.split_once(": ") else { continue };
            let is_name =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if is_name && !kind.contains("Raw") && kind != "LogConfig," {
                keys.insert(name.to_owned());
            }
        }
    }
    keys
}

#[test]
fn the_keys_that_are_read_are_found_in_the_source() {
    let source = "#[serde(deny_unknown_fields)]\nstruct RawX {\n    /// Why: so.\n    \
                  pub port: u16,\n    #[serde(default)]\n    inner: RawY,\n}\nstruct Z { no: u8 }\n";
    assert_eq!(keys_read(source), BTreeSet::from(["port".to_owned()]));
}

/// Both packages and their page name the version that the programs have.
#[test]
fn the_changelog_of_the_packages_has_the_version_of_the_programs() {
    let changelog: PathBuf = repository().join("deploy/debian/changelog");
    let first = std::fs::read_to_string(changelog).unwrap();
    let version = format!("triad ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(first.starts_with(&version), "deploy/debian/changelog does not begin with {version}");
}
