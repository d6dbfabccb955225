//! The pages of the book as text: their fenced blocks, their links, their headings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use triad_tests::program::repository;

/// One page.
pub struct Page {
    /// Below the repository, such as `docs/how-to/upgrade.md`.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// The first word of the fence: the language.
    pub language: String,
    /// The further words, after commas.
    pub words: Vec<String>,
    /// What is in it.
    pub text: String,
}

impl Block {
    /// Whether the fence has this further word.
    pub fn is(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }
}

/// All pages: the book, and the three beside it that people read first.
pub fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(repository().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if repository().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                paths.push(path);
            }
        }
    }
    paths.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from));
    paths.sort();
    let read = |path: &PathBuf| std::fs::read_to_string(repository().join(path)).unwrap();
    paths.into_iter().map(|path| Page { text: read(&path), path }).collect()
}

/// One page.
pub fn page(path: &str) -> Page {
    let text = std::fs::read_to_string(repository().join(path)).unwrap();
    Page { path: path.into(), text }
}

impl Page {
    /// Its fenced blocks.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut indent = None;
        for (line, text) in (1..).zip(self.text.lines()) {
            let bare = text.trim_start();
            match (indent, bare.strip_prefix("```")) {
                (None, Some(info)) => {
                    let mut words = info.split(',').map(|word| word.trim().to_owned());
                    let language = words.next().unwrap_or_default();
                    let words = words.collect();
                    blocks.push(Block { line, language, words, text: String::new() });
                    indent = Some(text.len() - bare.len());
                }
                (Some(_), Some("")) => indent = None,
                (Some(indent), _) => {
                    let block = blocks.last_mut().expect("a block is open");
                    let cut = indent.min(text.len() - bare.len());
                    block.text.push_str(&text[cut..]);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        blocks
    }

    /// Its text without the blocks.
    fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_code = false;
        let mut prose = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                prose.push((number, line));
            }
        }
        prose
    }

    /// What its links point to, with their lines, but for other sites.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            // Code in the middle of a sentence has no links.
            let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            for part in text.split("](").skip(1) {
                let target = part.split([')', ' ']).next().unwrap_or_default();
                let is_away = target.contains("://") || target.starts_with("mailto:");
                if !is_away && !target.is_empty() {
                    links.push((number, target.to_owned()));
                }
            }
        }
        links
    }

    /// The anchors of its headings, as mdBook and forges make them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut anchors = BTreeSet::new();
        for (_, line) in self.prose() {
            let Some(title) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#'))
            else {
                continue;
            };
            let slug = slug(title.trim());
            let times = seen.entry(slug.clone()).or_default();
            anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
            *times += 1;
        }
        anchors
    }
}

/// The anchor of a heading: its letters and digits in lower case, blanks as
/// hyphens.
fn slug(title: &str) -> String {
    let shown = title.replace('`', "");
    let kept = shown.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Links that lead nowhere, a sentence each.
pub fn broken_links(pages: &[Page], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let by_path: BTreeMap<_, _> = pages.iter().map(|page| (page.path.clone(), page)).collect();
    let mut broken = Vec::new();
    for page in pages {
        for (line, link) in page.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.path.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { page.path.clone() } else { tidy(&folder.join(file)) };
            let mut complain = |what: &str| {
                broken.push(format!("{}:{line}: {link}: {what}", page.path.display()));
            };
            if !exists(&target) {
                complain("no such file");
            } else if let Some(there) = by_path.get(&target)
                && !anchor.is_empty()
                && !there.anchors().contains(anchor)
            {
                complain("no such heading");
            }
        }
    }
    broken
}

/// The path without `..` in it.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(tidy.pop()),
            std::path::Component::CurDir => {}
            part => tidy.push(part),
        }
    }
    tidy
}
