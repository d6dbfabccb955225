//! The tests that name a promise at the head of their comment.

use std::fs;
use std::path::{Path, PathBuf};

/// A test that guards promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its file, from the root of the repository.
    pub file: String,
    /// Its name.
    pub test: String,
    /// The promises that it names, such as 5 for P5.
    pub promises: Vec<u32>,
    /// The first sentence of its comment after them.
    pub sentence: String,
}

/// All of them, in the order of their files.
pub fn guards(root: &Path) -> Vec<Guard> {
    let mut files = Vec::new();
    for part in ["crates", "tests"] {
        collect(&root.join(part), &mut files);
    }
    files.sort();
    let mut guards = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        guards.extend(of_text(&name, &fs::read_to_string(&file).unwrap()));
    }
    guards
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn of_text(file: &str, text: &str) -> Vec<Guard> {
    let mut guards = Vec::new();
    let mut comment = String::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            comment = format!("{comment} {}", words.trim());
        } else if line.starts_with("#[") {
            is_test |= ["test]", "test(", "::test)]"].iter().any(|end| line.contains(end));
        } else {
            let name = line.trim_start_matches("pub ").trim_start_matches("async ");
            let name = name.strip_prefix("fn ");
            if let (true, Some(rest)) = (is_test, name)
                && let Some((promises, sentence)) = head(comment.trim())
            {
                let test = rest.split('(').next().unwrap().to_owned();
                guards.push(Guard { file: file.to_owned(), test, promises, sentence });
            }
            comment.clear();
            is_test = false;
        }
    }
    guards
}

/// "P2, P5: The leader is killed. And so on." is 2 and 5, "The leader is killed."
fn head(comment: &str) -> Option<(Vec<u32>, String)> {
    let (names, rest) = comment.split_once(':')?;
    let promise = |name: &str| name.trim().strip_prefix('P')?.parse().ok();
    let promises: Option<Vec<u32>> = names.split(',').map(promise).collect();
    let rest = rest.trim();
    let end = rest.find(". ").map_or(rest.len(), |at| at + 1);
    Some((promises?, rest[..end].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_found_by_the_promises_that_it_names() {
        let text = "/// P2, P16: the disk is full. More.\n#[cfg_attr(test, tokio::test)]\n\
                    pub async fn full() {\n}\n\
                    /// P3: no test.\nfn helper() {}\n/// Nothing of a promise.\n#[test]\nfn b() {}";
        let expected = Guard {
            file: "a.rs".into(),
            test: "full".into(),
            promises: vec![2, 16],
            sentence: "the disk is full.".into(),
        };
        assert_eq!(of_text("a.rs", text), [expected]);
    }
}
