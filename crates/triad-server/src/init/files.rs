//! Writing a set of files: all of them or none.

use std::fs;
use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::InitError;

/// A directory or file to be made.
pub(super) struct Entry {
    path: PathBuf,
    /// `None` for a directory.
    content: Option<String>,
    access: Access,
}

/// Who may read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Everyone,
    Owner,
}

impl Entry {
    pub(super) fn directory(path: PathBuf, access: Access) -> Self {
        Self { path, content: None, access }
    }

    pub(super) fn file(path: PathBuf, content: String, access: Access) -> Self {
        Self { path, content: Some(content), access }
    }

    /// Makes it, and fails if it is there already.
    fn create(&self) -> io::Result<()> {
        let Some(content) = &self.content else {
            return directory_builder(self.access).create(&self.path);
        };
        let mut file = open_options(self.access).open(&self.path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    }

    fn remove(&self) {
        // Best effort: the failure that led here is the one to report.
        let _ = match self.content {
            None => fs::remove_dir(&self.path),
            Some(_) => fs::remove_file(&self.path),
        };
    }
}

/// Makes all entries or none of them. `top` may be there already.
pub(super) fn write_all(top: &Path, entries: &[Entry]) -> Result<(), InitError> {
    if let Some(taken) = entries.iter().find(|entry| entry.path.symlink_metadata().is_ok()) {
        return Err(InitError::AlreadyExists(taken.path.clone()));
    }
    let failed = |path: &Path, source| InitError::Write { path: path.to_owned(), source };
    fs::create_dir_all(top).map_err(|source| failed(top, source))?;
    for (made, entry) in entries.iter().enumerate() {
        if let Err(source) = entry.create() {
            // Its own file, too, may be half written, unless somebody else made it.
            let own = usize::from(source.kind() != io::ErrorKind::AlreadyExists);
            entries[..made + own].iter().rev().for_each(Entry::remove);
            return Err(failed(&entry.path, source));
        }
    }
    Ok(())
}

fn directory_builder(access: Access) -> fs::DirBuilder {
    #[allow(unused_mut)]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    if access == Access::Owner {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    builder
}

pub(super) fn open_options(access: Access) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_a_failure_is_removed_again() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let entries = [
            Entry::directory(at("one"), Access::Everyone),
            Entry::file(at("one/file"), "x".to_owned(), Access::Everyone),
            Entry::file(at("missing/file"), "x".to_owned(), Access::Everyone),
        ];
        let error = write_all(directory.path(), &entries).unwrap_err();
        assert!(matches!(error, InitError::Write { path, .. } if path.ends_with("missing/file")));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
