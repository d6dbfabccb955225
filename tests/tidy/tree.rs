//! The repository as text: every Rust file, every manifest, README and CI.

use std::fs;
use std::path::{Path, PathBuf};

/// One file, by its path from the repository's root.
pub struct File {
    pub path: String,
    pub text: String,
}

/// One crate's manifest, read.
pub struct Manifest {
    pub path: String,
    pub table: toml::Table,
}

/// What the rules look at.
pub struct Tree {
    pub sources: Vec<File>,
    pub manifests: Vec<Manifest>,
    pub readme: String,
    pub ci: String,
}

impl Tree {
    /// Reads the repository that this package stands in.
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
        let mut files = Vec::new();
        for folder in ["crates", "tests"] {
            walk(&root.join(folder), &mut files);
        }
        files.sort();
        let path_of = |file: &Path| {
            let relative = file.strip_prefix(root).expect("the walk began at the root");
            relative.to_str().expect("our paths are UTF-8").to_owned()
        };

        let mut sources = Vec::new();
        let mut manifests = Vec::new();
        for file in &files {
            let path = path_of(file);
            if path.ends_with(".rs") {
                sources.push(File { path, text: read(file) });
            } else if path.ends_with("/Cargo.toml") {
                let table =
                    read(file).parse().unwrap_or_else(|error| panic!("{path} is TOML: {error}"));
                manifests.push(Manifest { path, table });
            }
        }
        assert!(sources.len() > 10, "the walk saw only {} Rust files", sources.len());
        let readme = fs::read_to_string(root.join("README.md")).unwrap_or_default();
        Self { sources, manifests, readme, ci: read(&root.join(".ci/run")) }
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("reading {}: {error}", file.display()))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("reading {}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a folder's entries can be read");
        let path = entry.path();
        if !entry.file_type().expect("an entry has a type").is_dir() {
            files.push(path);
        } else if entry.file_name() != "target" {
            walk(&path, files);
        }
    }
}
