//! Puts the documentation into the node, for sites without a way out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a node can show.
const KINDS: [&str; 3] = ["md", "png", "svg"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let docs = here.join("../../docs");
    println!("cargo::rerun-if-changed={}", docs.display());
    let mut files = Vec::new();
    if docs.is_dir() {
        collect(&docs, "", &mut files)?;
    }
    files.sort();
    let mut list = "/// Every file of the documentation: its path there, and what it holds.\n\
                    pub(super) static FILES: &[(&str, &[u8])] = &[\n"
        .to_owned();
    for (name, path) in files {
        let path = fs::canonicalize(path)?;
        writeln!(list, "    ({name:?}, include_bytes!({path:?})),").map_err(io::Error::other)?;
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("documents.rs"), list)
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(own) = path.file_name().and_then(|own| own.to_str()) else { continue };
        let name = if name.is_empty() { own.to_owned() } else { format!("{name}/{own}") };
        // The folder that mdBook writes to is made of these.
        if path.is_dir() && own != "book" {
            collect(&path, &name, files)?;
        } else if path
            .extension()
            .and_then(|kind| kind.to_str())
            .is_some_and(|k| KINDS.contains(&k))
        {
            files.push((name, path));
        }
    }
    Ok(())
}
