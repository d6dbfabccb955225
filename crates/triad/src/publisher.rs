//! `triad license keygen` and `issue`: the publisher's desk, without a server.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use triad_license::{CLUSTER_TO_NAME, PublisherKey, issue};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::{Settings, read_text};

/// Draws a key and writes its two halves below `directory`. Overwrites
/// nothing: a lost secret key cannot be drawn again.
pub fn keygen(settings: &Settings, directory: &Path) -> Result<Exit, Failure> {
    let (secret, public) = (directory.join("publisher.secret"), directory.join("publisher.public"));
    if let Some(taken) = [&secret, &public].into_iter().find(|path| path.symlink_metadata().is_ok())
    {
        return Err(Failure::Exists(taken.clone()));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(Failure::Random)?;
    let key = PublisherKey::generate(random);
    random.fill(0);
    fs::create_dir_all(directory)
        .map_err(|source| Failure::Write { path: directory.to_owned(), source })?;
    write_new(&secret, key.secret_text().as_bytes(), Readers::Owner)?;
    let line = key.public().to_string();
    if let Err(failure) = write_new(&public, format!("{line}\n").as_bytes(), Readers::Everybody) {
        // Best effort: half a key is worth nothing, and would be in the way.
        let _ = fs::remove_file(&secret);
        return Err(failure);
    }
    let value = json!({
        "keyId": key.key_id().to_string(),
        "publicKey": line,
        "secretFile": secret.display().to_string(),
        "publicFile": public.display().to_string(),
    });
    settings.output.answer(&value, || {
        format!(
            "{line}\n\n{}  signs licenses: keep it where nobody else comes, and keep a copy\n\
             {}  goes to every site, into publisher_keys of triad.toml\n",
            secret.display(),
            public.display(),
        )
    })?;
    Ok(Exit::Ok)
}

/// Signs the terms with all keys and writes the license to `out` or stdout.
pub fn issue_license(
    settings: &Settings,
    keys: &[PathBuf],
    terms: &Path,
    out: Option<&Path>,
) -> Result<Exit, Failure> {
    let failed = |path: &Path| {
        let place = path.display().to_string();
        move |source| Failure::License { place, source }
    };
    let mut secrets = Vec::new();
    for path in keys {
        secrets.push(PublisherKey::parse(&read_text(path)?).map_err(failed(path))?);
    }
    let secrets: Vec<&PublisherKey> = secrets.iter().collect();
    let text = read_text(terms)?;
    demand_named_cluster(&text, terms)?;
    let document = issue(&text, &secrets).map_err(failed(terms))?;
    match out {
        None => settings.output.text(&document)?,
        Some(path) => write_new(path, document.as_bytes(), Readers::Everybody)?,
    }
    Ok(Exit::Ok)
}

/// Converted terms say for whom the license is only once somebody wrote it in.
fn demand_named_cluster(text: &str, terms: &Path) -> Result<(), Failure> {
    match text.lines().position(|line| line.contains(CLUSTER_TO_NAME)) {
        None => Ok(()),
        Some(line) => {
            let what = format!("{} line {}: {CLUSTER_TO_NAME}", terms.display(), line + 1);
            let remedy = "put the site's cluster id there; `triad status` shows it".to_owned();
            Err(Failure::Usage { what, remedy })
        }
    }
}

/// Who may read a file that is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Only whoever runs this.
    Owner,
    /// Whoever may read what is there.
    Everybody,
}

/// Writes a file that was not there before, whole or not at all.
pub fn write_new(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Failure::Exists(path.to_owned()),
        _ => Failure::Write { path: path.to_owned(), source },
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| {
        // Best effort: what matters is the failure that led here.
        let _ = fs::remove_file(path);
        Failure::Write { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_name_nobody_are_not_signed() {
        let terms = |cluster: &str| format!("serial = 1\n\n[binding]\ncluster = \"{cluster}\"\n");
        let file = Path::new("acme.toml");
        demand_named_cluster(&terms("tc-1"), file).unwrap();
        let refused = demand_named_cluster(&terms(CLUSTER_TO_NAME), file).unwrap_err();
        assert_eq!(refused.to_string(), "acme.toml line 4: REPLACE-BY-THE-CLUSTER-ID");
    }
}
